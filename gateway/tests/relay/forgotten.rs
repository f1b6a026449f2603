//! A gateway that came back from a backup may have forgotten that a person took consent back: what it had taken before is delivered only once its
//! sender has told its stops again.

use kith_proto::problem::Problem;
use kith_proto::v1::{StopsTold, attach_request::Frame as Up, attach_response::Frame};
use kith_proto::words::EnvelopeKind::{Event, Referral, Withdrawal};

use crate::network::{START_MS, pair};
use crate::node::{Answered, Got, alone};

fn numbers(got: &[Got]) -> Vec<(Option<u64>, Option<Problem>)> {
    got.iter().map(|got| (got.number, got.tombstone)).collect()
}

#[tokio::test]
async fn what_a_restored_gateway_had_taken_waits_for_its_senders_word() {
    for withdrawn in [false, true] {
        let (mut network, mut gp, peers, slip, mut line) = pair().await;
        // A bare code may say that consent stands: it waits too.
        let bare = gp.seal(&peers, Event, &slip, |head| head.categories.clear());
        let first = vec![gp.envelope(&peers, Referral, &slip), bare];
        let first = gp.submission(&peers, first);
        assert_eq!(
            line.submit(&first).await,
            vec![Answered::Taken { at_ms: START_MS }; 2]
        );
        drop(line);
        network.hand.advance(1_000);
        network.comes_back().await;
        network.hand.advance(1_000);

        let mut receiving = peers.attach().await;
        let mut line = gp.attach().await;
        let second = gp.envelope(&peers, Referral, &gp.slip(&peers));
        let second = gp.submission(&peers, vec![second]);
        let at_ms = START_MS + 2_000;
        assert_eq!(line.submit(&second).await, [Answered::Taken { at_ms }]);
        // Nor does it help to have told an earlier epoch.
        line.send(Up::StopsTold(StopsTold { epoch: 1 })).await;
        let ends = alone(gp.envelope(&peers, Withdrawal, &slip));
        assert_eq!(line.submit(&ends).await, [Answered::Taken { at_ms }]);
        let got = receiving.delivered(1).await;
        assert_eq!(numbers(&got), [(None, None)], "what ends things waits for nobody");

        if withdrawn {
            line.send(Up::Stop(gp.stop_notice(&slip))).await;
        }
        line.send(Up::StopsTold(StopsTold { epoch: 2 })).await;
        if withdrawn {
            assert!(matches!(receiving.next().await, Frame::Stopped(_)));
        }
        let why = withdrawn.then_some(Problem::ConsentWithdrawn);
        let got = receiving.delivered(3).await;
        assert_eq!(numbers(&got), [(Some(1), why), (Some(2), None), (Some(3), None)]);
    }
}
