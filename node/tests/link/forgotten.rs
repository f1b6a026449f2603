//! What a node asked for after its backup and knows no more: a narrowing comes back with its recipient's proof, and only then.

use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_proto::envelope;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::store::{StoreError, query};

use crate::gateway::T0;
use crate::peer::{loose, random};
use crate::threads::Sent;

/// The categories that the referral still says.
async fn said(sent: &Sent) -> Vec<i32> {
    let host = &sent.story.host;
    let opening = Opening {
        caller: host.caller(),
        visible: Visible::All,
        which: Which::Thread(sent.thread_id),
    };
    let opened = threads_view::open(&host.node, &opening).await.unwrap();
    opened
        .referral
        .unwrap()
        .parts
        .iter()
        .map(|part| part.category)
        .collect()
}

/// The recipient proves that it took a category away, which this node does not know of.
async fn proves(sent: &mut Sent, withdrawal_id: [u8; 16], category: i32) -> i32 {
    let slip = kith_proto::slip::Slip::decode(&sent.slip.slip).unwrap();
    let proof = v1::WithdrawalProof {
        withdrawal_id: withdrawal_id.to_vec(),
        slip_id: slip.id.as_bytes().to_vec(),
        outcome: v1::WithdrawalOutcome::Erased.into(),
        done_at_ms: T0,
        categories: vec![category],
        ..v1::WithdrawalProof::default()
    };
    let to = sent.story.host.sealing_key();
    let thread_id = *sent.thread_id.as_bytes();
    let head = sent
        .peer
        .head(EnvelopeKind::WithdrawalProof, &sent.slip, thread_id);
    let body = v1::Body {
        body: Some(Body::WithdrawalProof(proof)),
        ..v1::Body::default()
    };
    let envelope = envelope::seal_envelope(head, &body, &to, &sent.peer.signing, &random()).unwrap();
    sent.stream.deliver(vec![loose(envelope.into_envelope())]).await;
    sent.stream.receipts().await.problems[0]
}

#[tokio::test]
async fn a_narrowing_that_a_backup_does_not_hold_comes_back_with_its_proof() {
    let mut sent = Sent::begin().await;
    let before = said(&sent).await;
    let category = *before.first().expect("the referral says something");
    assert!(Category::try_from(category).is_ok());
    let refused = Problem::NotFound.number();
    assert_eq!(
        proves(&mut sent, [7; 16], category).await,
        refused,
        "nobody forgot anything"
    );
    assert_eq!(said(&sent).await, before);

    let row = "INSERT INTO restore (restore_id, reason, backup_at_ms, begun_at_ms, done_at_ms) VALUES ($1, 'lost', $2, $3, $3)";
    let put = |mut tx: kith_service::store::Tx| async move {
        let put = query(row).bind(vec![1_u8; 16]).bind(T0 - 1).bind(T0 + 1);
        tx.run(put).await.map(drop)
    };
    let store = &sent.story.host.node.store;
    store.tx::<_, StoreError, _, _>("test", put).await.unwrap();
    assert_eq!(proves(&mut sent, [8; 16], category).await, 0);
    assert!(
        !said(&sent).await.contains(&category),
        "what was taken back is gone again"
    );
    let proven = "SELECT CAST(COUNT(*) AS TEXT) FROM slip WHERE proof IS NOT NULL AND state = 'live'";
    assert_eq!(sent.story.host.words(proven).await, ["1"]);
    // Another one of its kind takes nothing more: a slip has one such proof.
    assert_eq!(proves(&mut sent, [9; 16], category).await, refused);
}
