//! Messages on a thread, both ways. Each story says who may speak, and that nothing is kept of what was refused.

use kith_node::messages::{self, Asking};
use kith_node::moves::MoveError;
use kith_node::requests::Asked;
use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_proto::id::ThreadId;
use kith_proto::problem::Problem;
use kith_proto::v1;

use super::provider;
use crate::fixture::{Desk, Pair};

async fn open() -> Pair {
    Pair::open(provider().await, provider().await).await
}

fn asking(desk: &Desk, thread_id: ThreadId, words: &str) -> Asking {
    let request_id = desk.request_id();
    let wire = v1::SendMessageRequest {
        request_id: request_id.as_bytes().to_vec(),
        thread_id: thread_id.as_bytes().to_vec(),
        words: words.to_owned(),
    };
    Asking {
        asked: Asked::new("send_message", request_id, &wire),
        caller: desk.coordinator,
        thread_id,
        words: words.to_owned(),
    }
}

async fn words(desk: &Desk, thread_id: ThreadId) -> Vec<String> {
    let opening = Opening {
        caller: desk.coordinator,
        visible: Visible::All,
        which: Which::Thread(thread_id),
    };
    let thread = threads_view::open(&desk.node, &opening).await.unwrap();
    thread.messages.into_iter().map(|message| message.words).collect()
}

#[tokio::test]
async fn a_talk_is_the_same_at_both_nodes() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    let talk = ["Is Tuesday good?", "Tuesday is good.", "Thank you."];
    let said = async |desk: &Desk, words| {
        messages::send(&desk.node, &asking(desk, thread_id, words))
            .await
            .unwrap();
        pair.to_both().await;
        pair.hand.advance(1_000);
    };
    said(&pair.circle, talk[0]).await;
    said(&pair.gp, talk[1]).await;
    said(&pair.circle, talk[2]).await;
    assert_eq!(words(&pair.gp, thread_id).await, talk);
    assert_eq!(words(&pair.circle, thread_id).await, talk);
}

#[tokio::test]
async fn a_repeat_says_it_once_and_another_body_is_refused() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    let asked = asking(&pair.gp, thread_id, "Hello");
    let first = messages::send(&pair.gp.node, &asked).await.unwrap();
    assert_eq!(messages::send(&pair.gp.node, &asked).await.unwrap(), first);
    let other = Asking {
        asked: Asked {
            body_hash: [0; 32],
            ..asked.asked.clone()
        },
        ..asked
    };
    let refused = messages::send(&pair.gp.node, &other).await.unwrap_err();
    assert_eq!(refused.problem(), Problem::Conflict);
    assert_eq!(words(&pair.gp, thread_id).await, ["Hello"]);
}

#[tokio::test]
async fn what_may_not_be_said_leaves_nothing_behind() {
    let pair = open().await;
    let (thread_id, _) = pair.received(false).await;
    let rows = pair.gp.rows().await;
    let refused = async |words: &str| {
        let said = messages::send(&pair.gp.node, &asking(&pair.gp, thread_id, words)).await;
        said.unwrap_err().problem()
    };
    assert_eq!(refused("  \n").await, Problem::Invalid);
    assert_eq!(refused(&"a".repeat(9_000)).await, Problem::Invalid);
    assert_eq!(
        refused("her passport number is 123456789").await,
        Problem::NumberRefused
    );
    let stranger = asking(&pair.gp, ThreadId::from_bytes([0; 16]), "Hello");
    assert!(matches!(
        messages::send(&pair.gp.node, &stranger).await,
        Err(MoveError::NotFound)
    ));
    assert_eq!(pair.gp.rows().await, rows);
}
