//! This node's own log: the gateway cosigns it, remembers what it cosigned, and so shows a database that is an older copy.
//! Never a checkpoint of two histories.

use kith_node::audit::{self, Code, Event};
use kith_proto::log::origin::Keeper;
use kith_proto::log::tree::{Hash, TreeHead};

use crate::gateway::{PATIENCE, T0};
use crate::host::Story;

const COUNTED: &str = "SELECT COUNT(*) FROM log_epoch WHERE counted IS NOT NULL";
const ALARMS: &str = "SELECT kind FROM alarm ORDER BY kind";
const RAISED: &str = "SELECT COUNT(*) FROM audit_event WHERE code = 'alarm_raised'";

impl Story {
    /// Puts another event into the node's log; gives the head after it.
    async fn grow(&self) -> TreeHead {
        let node = &self.host.node;
        let event = Event::new(Code::KeyRotated, T0).word("key", "tls");
        audit::note(&node.store, &node.rng, event).await.unwrap();
        node.log.catch_up(&node.keys.signing).await.unwrap();
        node.log.newest().await.unwrap().frontier.head()
    }

    fn origin(&self) -> String {
        let keeper = Keeper::Node(self.host.node.organisation().clone());
        let origin = keeper.origin(&self.gateway.inner.network, 1);
        origin.as_str().to_owned()
    }

    /// What the gateway has cosigned.
    fn cosigned(&self) -> Option<TreeHead> {
        let logs = self.gateway.inner.logs.lock().unwrap();
        logs.cosigned.get(&self.origin()).copied()
    }

    /// As though the gateway had cosigned this before.
    fn has_cosigned(&self, head: TreeHead) {
        let mut logs = self.gateway.inner.logs.lock().unwrap();
        logs.cosigned.insert(self.origin(), head);
    }

    async fn is_cosigned(&self, head: TreeHead) {
        let waiting = async {
            while self.cosigned() != Some(head) || self.host.number(COUNTED).await == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    }
}

#[tokio::test]
async fn the_log_is_cosigned_at_the_start_of_a_stream_and_when_it_has_grown() {
    let mut story = Story::begin().await;
    let first = story.grow().await;
    story.gateway.greeted(vec![]).await.break_off().await;
    story.is_cosigned(first).await;
    let _stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    let second = story.grow().await;
    story.is_cosigned(second).await;
    assert_eq!(story.host.words(ALARMS).await, [""; 0]);
}

#[tokio::test]
async fn a_lost_answer_is_made_good_from_the_size_that_the_gateway_holds() {
    let mut story = Story::begin().await;
    let first = story.grow().await;
    story.has_cosigned(first);
    let second = story.grow().await;
    let _stream = story.gateway.greeted(vec![]).await;
    story.is_cosigned(second).await;
    assert_eq!(story.gateway.inner.logs.lock().unwrap().asked, 2);
}

#[tokio::test]
async fn a_database_that_is_older_than_what_was_cosigned_stops_the_node_for_good() {
    let mut story = Story::begin().await;
    let head = story.grow().await;
    story.has_cosigned(TreeHead {
        size: head.size + 1,
        root: Hash([7; 32]),
    });
    story.gateway.greeted(vec![]).await;
    story.host.link_is("stopped").await;
    assert_eq!(story.host.words(ALARMS).await, ["own_log_behind"]);
    assert_eq!(story.host.number(RAISED).await, 1);
    assert!(
        *story.host.node.own_log_ended.borrow(),
        "nothing more of it is signed"
    );
    let story = story.restart().await;
    story.has_cosigned(head);
    // It does not even call.
    story.host.link_is("stopped").await;
    assert!(*story.host.node.own_log_ended.borrow(), "also in the next run");
}

#[tokio::test]
async fn another_history_than_the_one_that_was_cosigned_stops_the_node_for_good() {
    let mut story = Story::begin().await;
    let head = story.grow().await;
    story.has_cosigned(TreeHead {
        size: head.size,
        root: Hash([7; 32]),
    });
    story.grow().await;
    story.gateway.greeted(vec![]).await;
    story.host.link_is("stopped").await;
    assert_eq!(story.host.words(ALARMS).await, ["own_log_forked"]);
    assert_eq!(story.cosigned().unwrap().root, Hash([7; 32]));
}
