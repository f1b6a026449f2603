//! Sending again from a node that began a run of its numbers: what it had before keeps its numbers, what is new goes on in the run, and what
//! the gateway holds gets no second number.

use kith_node::store;
use kith_proto::envelope::envelope_hash;
use kith_proto::id::GrantId;
use kith_proto::order::{Position, RUN_LINES};
use kith_proto::v1;
use kith_service::store::{StoreError, Tx, query};

use crate::gateway::{Attached, T0};
use crate::host::Story;
use crate::peer::{Peer, position};
use crate::reoffering::{at, hash, lines, reaches, reoffer, told};

const RUN: u64 = 2 * RUN_LINES;
const SENT: &str = "SELECT number FROM pair_sent";

/// The node came back from a backup, and the gateway after it.
async fn begins_a_run(story: &Story) {
    let row = "INSERT INTO restore (restore_id, reason, backup_at_ms, begun_at_ms, done_at_ms) VALUES ($1, 'lost', $2, $3, $3)";
    let write = |mut tx: Tx| async move {
        let put = query(row).bind(vec![1_u8; 16]).bind(T0 - 1).bind(T0 + 1);
        tx.run(put).await?;
        store::restore::begin_run(&mut tx, 2, Position::run(2).unwrap()).await
    };
    let store = &story.host.node.store;
    store.tx::<_, StoreError, _, _>("test", write).await.unwrap();
}

/// Three referrals that were taken, then a run.
async fn sent() -> (Story, Peer, Attached, Vec<v1::Envelope>, GrantId) {
    let (mut story, peer, stream, sent, grant) = crate::reoffering::sent(3).await;
    begins_a_run(&story).await;
    stream.break_off().await;
    let stream = story.gateway.greeted(vec![at(&peer, 3, &sent)]).await;
    (story, peer, stream, sent, grant)
}

async fn refer(story: &mut Story, peer: &Peer, stream: &mut Attached) -> v1::Submission {
    let consent = story.consent(stream, &[peer]).await;
    story.host.refer(peer, consent).await;
    stream.submission().await
}

/// The lines of submissions, until there are so many.
async fn all(story: &Story, stream: &mut Attached, count: usize) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(lines(story, &stream.submission().await));
    }
    all
}

#[tokio::test]
async fn a_member_that_came_back_from_before_the_run_gets_what_it_lost_and_then_the_run() {
    let (mut story, peer, mut stream, sent, _) = sent().await;
    let fourth = refer(&mut story, &peer, &mut stream).await;
    let order = fourth.order.clone().unwrap();
    assert_eq!(
        (order.lines[0].number, order.lines[0].previous_hash.clone()),
        (RUN + 1, vec![])
    );
    stream.take(&fourth.envelopes).await;
    reaches(&story, SENT, (RUN + 1) as i64).await;
    let wish = reoffer(&peer, Some(at(&peer, 1, &sent)));
    let taken = position(&peer.org, RUN + 1, envelope_hash(&fourth.envelopes[0]));
    let mut stream = told(&mut story, stream, wish, taken.clone()).await;
    let again = all(&story, &mut stream, 3).await;
    let expected = [
        (2, hash(&sent[1])),
        (3, hash(&sent[2])),
        (RUN + 1, hash(&fourth.envelopes[0])),
    ];
    assert_eq!(again, expected);
    stream.take(&sent[1..]).await;
    stream.take(&fourth.envelopes).await;
    reaches(&story, SENT, (RUN + 1) as i64).await;
    let fifth = refer(&mut story, &peer, &mut stream).await;
    assert_eq!(
        lines(&story, &fifth)[0].0,
        RUN + 2,
        "what is new goes on in the run"
    );
    // All have the numbers that they had, and nothing was counted twice.
    let numbers = "SELECT COUNT(*) FROM outbox WHERE ordered = 1 AND number > 0";
    assert_eq!(story.host.number(numbers).await, 4);
}

#[tokio::test]
async fn what_is_new_goes_in_the_run_also_where_nothing_was_sent_in_it_before() {
    let (mut story, peer, stream, sent, _) = sent().await;
    let wish = reoffer(&peer, Some(at(&peer, 1, &sent)));
    let mut stream = told(&mut story, stream, wish, at(&peer, 3, &sent)).await;
    assert_eq!(
        all(&story, &mut stream, 2).await,
        [(2, hash(&sent[1])), (3, hash(&sent[2]))]
    );
    stream.take(&sent[1..]).await;
    reaches(&story, SENT, 3).await;
    let new = refer(&mut story, &peer, &mut stream).await;
    let line = &new.order.unwrap().lines[0];
    assert_eq!((line.number, line.previous_hash.clone()), (RUN + 1, vec![]));
}

#[tokio::test]
async fn what_was_to_be_offered_again_when_the_run_begins_keeps_its_answer() {
    let (mut story, peer, stream, sent, _) = crate::reoffering::sent(3).await;
    let wish = reoffer(&peer, Some(at(&peer, 1, &sent)));
    // Back, and broken off before anything was offered; meanwhile the gateway came back from when it had taken two.
    let mut stream = told(&mut story, stream, wish, at(&peer, 3, &sent)).await;
    assert_eq!(all(&story, &mut stream, 2).await.len(), 2);
    begins_a_run(&story).await;
    stream.break_off().await;
    let mut stream = story.gateway.greeted(vec![at(&peer, 2, &sent)]).await;
    let again = all(&story, &mut stream, 1).await;
    assert_eq!(
        again,
        [(RUN + 1, hash(&sent[2]))],
        "what it has not got, in the run"
    );
    stream.take(&sent[2..]).await;
    reaches(&story, SENT, (RUN + 1) as i64).await;
    let numbers = "SELECT COUNT(*) FROM outbox WHERE number IN (1, 2) AND state = 'taken'";
    assert_eq!(
        story.host.number(numbers).await,
        2,
        "and the others have their answers"
    );
}
