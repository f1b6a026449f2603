//! Stopping and suspending: what waits is dropped and told, what ends things always passes, the rest is refused or waits.

use kith_gateway::members::Standing::{Active, Suspended};
use kith_gateway::stop;
use kith_proto::envelope::envelope_hash;
use kith_proto::id::SlipId;
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::v1::{attach_request::Frame as Up, attach_response::Frame};
use kith_proto::words::EnvelopeKind::{Blob, Event, Referral, Withdrawal};

use crate::network::{START_MS, pair};
use crate::node::{Answered, HeldSlip, alone, named, refused};

const TAKEN: Answered = Answered::Taken { at_ms: START_MS };

fn stopped(frame: &Frame, slip: &HeldSlip, by_secret: bool) -> bool {
    match frame {
        Frame::Stopped(stopped) => {
            stopped.slip_id == slip.slip.id.as_bytes() && stopped.by_secret == by_secret
        }
        _ => false,
    }
}

#[tokio::test]
async fn a_stop_drops_what_waits_and_both_are_told() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let other = gp.slip(&peers);
    let envelopes = vec![
        gp.envelope(&peers, Referral, &slip),
        gp.envelope(&peers, Event, &slip),
        gp.envelope(&peers, Referral, &other),
        gp.envelope(&peers, Referral, &slip),
    ];
    let submission = gp.submission(&peers, envelopes.clone());
    assert_eq!(line.submit(&submission).await, vec![TAKEN; 4]);
    let blob = gp.envelope(&peers, Blob, &slip);
    assert_eq!(line.submit(&alone(blob.clone())).await, [TAKEN]);

    line.send(Up::Stop(gp.stop_notice(&slip))).await;
    let notices = line.notices(4).await;
    let dropped: Vec<([u8; 32], u64)> = notices
        .iter()
        .filter_map(|(_, frame)| match frame {
            Frame::Dropped(dropped) => {
                receipt::verify(&network.gateway_key, dropped).unwrap();
                assert_eq!(dropped.problem, Problem::ConsentWithdrawn.number());
                Some((
                    dropped.envelope_hash.as_slice().try_into().unwrap(),
                    dropped.number,
                ))
            }
            _ => None,
        })
        .collect();
    let hash = |n: usize| envelope_hash(&envelopes[n]);
    assert_eq!(dropped, [(hash(0), 1), (hash(3), 4), (envelope_hash(&blob), 0)]);
    assert!(stopped(&notices[3].1, &slip, false));

    let mut receiving = peers.attach().await;
    assert!(stopped(&receiving.next().await, &slip, false));
    let got = receiving.delivered(4).await;
    let order: Vec<_> = got.iter().map(|got| (got.number, got.tombstone)).collect();
    let dead = Some(Problem::ConsentWithdrawn);
    assert_eq!(
        order,
        [(Some(1), dead), (Some(2), None), (Some(3), None), (Some(4), dead)]
    );

    let late = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&late).await, [refused(Problem::ConsentWithdrawn)]);
    let bare = gp.submission(&peers, vec![gp.envelope(&peers, Event, &slip)]);
    assert_eq!(line.submit(&bare).await, [TAKEN]);
    let withdrawal = gp.envelope(&peers, Withdrawal, &slip);
    assert_eq!(line.submit(&alone(withdrawal)).await, [TAKEN]);
    // What was dropped was taken all the same; the notice has told the rest.
    assert_eq!(line.submit(&submission).await, vec![TAKEN; 4]);
}

#[tokio::test]
async fn a_forged_stop_ends_the_stream() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let submission = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&submission).await, [TAKEN]);
    line.send(Up::Stop(peers.stop_notice(&slip))).await;
    assert_eq!(line.ended().await.1, Problem::Unauthenticated);
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM stop").await, 0);
}

#[tokio::test]
async fn either_party_stops_a_slip_and_a_stranger_does_not() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let mosque = network.node("hope-mosque", 3).await;
    let first = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&first).await, [TAKEN]);
    let mut stranger = mosque.attach().await;
    stranger.send(Up::Stop(mosque.stop_notice(&slip))).await;
    assert!(
        stopped(&stranger.next().await, &slip, false),
        "told no more than anybody"
    );
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM stop").await, 0);
    let second = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&second).await, [TAKEN]);

    let mut other = peers.attach().await;
    other.delivered(2).await;
    other.send(Up::Stop(peers.stop_notice(&slip))).await;
    let told = line.notices(3).await;
    assert!(stopped(&told[2].1, &slip, false));
    other.notices(1).await;
    // Said again, as on every attach until it is seen: told again, stopped once.
    other.send(Up::Stop(peers.stop_notice(&slip))).await;
    assert!(stopped(&other.notices(1).await[0].1, &slip, false));
    let stops = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'slip_stopped'";
    assert_eq!(network.count(stops).await, 1);
}

#[tokio::test]
async fn a_stop_before_the_slip_was_seen_counts_for_its_parties() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let mosque = network.node("hope-mosque", 3).await;
    let mut stranger = mosque.attach().await;
    stranger.send(Up::Stop(mosque.stop_notice(&slip))).await;
    stranger.next().await;
    let first = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(
        line.submit(&first).await,
        [TAKEN],
        "a stranger's word does not count"
    );
    line.send(Up::Stop(gp.stop_notice(&slip))).await;
    line.notices(2).await;
    let second = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&second).await, [refused(Problem::ConsentWithdrawn)]);

    let unseen = gp.slip(&peers);
    line.send(Up::Stop(gp.stop_notice(&unseen))).await;
    assert!(stopped(&line.notices(1).await[0].1, &unseen, false));
    let third = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &unseen)]);
    assert_eq!(line.submit(&third).await, [refused(Problem::ConsentWithdrawn)]);
}

#[tokio::test]
async fn a_strangers_earlier_word_hides_no_partys_stop() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let mosque = network.node("hope-mosque", 3).await;
    let mut stranger = mosque.attach().await;
    let mut other = peers.attach().await;
    for said in [true, false] {
        // Each party once: what a stranger has said before stands beside it, in whichever order the ids sort.
        let unseen = gp.slip(&peers);
        stranger.send(Up::Stop(mosque.stop_notice(&unseen))).await;
        stranger.notices(1).await;
        if said {
            line.send(Up::Stop(gp.stop_notice(&unseen))).await;
            line.notices(1).await;
        } else {
            other.send(Up::Stop(peers.stop_notice(&unseen))).await;
            other.notices(1).await;
        }
        let first = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &unseen)]);
        assert_eq!(line.submit(&first).await, [refused(Problem::ConsentWithdrawn)]);
    }

    stranger.send(Up::Stop(mosque.stop_notice(&slip))).await;
    stranger.notices(1).await;
    let taken = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&taken).await, [TAKEN]);
    let secret = &slip.secret;
    let stopped_at = stop::by_secret(&network.gateway, slip.slip.id, secret).await;
    assert_eq!(stopped_at, Ok(START_MS));
    let late = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    line.notices(2).await;
    assert_eq!(line.submit(&late).await, [refused(Problem::ConsentWithdrawn)]);
    let said = "SELECT COUNT(*) AS n FROM stop";
    assert_eq!(
        network.count(said).await,
        6,
        "nobody's word takes another's place"
    );
}

#[tokio::test]
async fn whoever_holds_the_secret_stops_the_slip_at_once() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let submission = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&submission).await, [TAKEN]);
    let gateway = &network.gateway;
    let wrong = [
        stop::by_secret(gateway, slip.slip.id, &[7; 32]).await,
        stop::by_secret(gateway, SlipId::from_bytes([7; 16]), &slip.secret).await,
    ];
    for refusal in wrong {
        assert_eq!(refusal.unwrap_err().problem, Problem::NotFound);
    }
    assert_eq!(
        stop::by_secret(gateway, slip.slip.id, &slip.secret).await,
        Ok(START_MS)
    );
    network.hand.advance(1000);
    assert_eq!(
        stop::by_secret(gateway, slip.slip.id, &slip.secret).await,
        Ok(START_MS),
        "the first time stands"
    );
    let told = line.notices(2).await;
    assert!(matches!(told[0].1, Frame::Dropped(_)));
    assert!(stopped(&told[1].1, &slip, true));
    assert!(stopped(&peers.attach().await.next().await, &slip, true));
    let notices = "SELECT COUNT(*) AS n FROM notice";
    assert_eq!(network.count(notices).await, 3, "the second time tells nobody");
}

#[tokio::test]
async fn a_member_suspended_mid_stream_may_only_end_things() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let waiting = vec![
        gp.envelope(&peers, Referral, &slip),
        gp.envelope(&peers, Event, &slip),
    ];
    let waiting = gp.submission(&peers, waiting);
    network.set_standing(&peers.org, Suspended).await;
    assert_eq!(
        line.submit(&waiting).await,
        [refused(Problem::MemberSuspended), TAKEN],
        "to a suspended member"
    );
    network.set_standing(&peers.org, Active).await;
    let live = gp.submission(
        &peers,
        vec![
            gp.envelope(&peers, Referral, &slip),
            gp.envelope(&peers, Event, &slip),
        ],
    );
    assert_eq!(line.submit(&live).await, [TAKEN, TAKEN]);
    network.set_standing(&peers.org, Suspended).await;

    let mut receiving = peers.attach().await;
    let first = receiving.delivered(2).await;
    assert_eq!(first[0].tombstone, Some(Problem::MemberSuspended));
    let withdrawal = gp.envelope(&peers, Withdrawal, &slip);
    assert_eq!(line.submit(&alone(withdrawal.clone())).await, [TAKEN]);
    let passed = receiving.delivered(1).await;
    assert_eq!(
        (passed[0].id, passed[0].hash),
        named(&withdrawal),
        "past all that waits"
    );

    let mut back = peers.slip(&gp);
    back.slip.to = gp.org.clone();
    let mut peers = peers;
    let sent = peers.submission(
        &gp,
        vec![
            peers.envelope(&gp, Referral, &back),
            peers.envelope(&gp, Event, &back),
        ],
    );
    assert_eq!(
        receiving.submit(&sent).await,
        [refused(Problem::MemberSuspended), TAKEN],
        "from a suspended member, on its living stream"
    );
    let own = peers.envelope(&gp, Withdrawal, &back);
    assert_eq!(receiving.submit(&alone(own)).await, [TAKEN]);
    line.delivered(3).await;

    network.set_standing(&peers.org, Active).await;
    let rest = receiving.delivered(2).await;
    let numbers: Vec<_> = rest.iter().map(|got| (got.number, got.tombstone)).collect();
    assert_eq!(
        numbers,
        [(Some(3), None), (Some(4), None)],
        "what waited, in its order"
    );
}

#[tokio::test]
async fn mail_of_a_suspended_sender_waits() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let sent = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&sent).await, [TAKEN]);
    network.set_standing(&gp.org, Suspended).await;
    let mut receiving = peers.attach().await;
    let withdrawal = gp.envelope(&peers, Withdrawal, &slip);
    assert_eq!(line.submit(&alone(withdrawal)).await, [TAKEN]);
    assert_eq!(receiving.delivered(1).await[0].number, None);
    network.set_standing(&gp.org, Active).await;
    assert_eq!(receiving.delivered(1).await[0].number, Some(1));
}
