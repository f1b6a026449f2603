//! Sealing keys turn every 30 days, by themselves; the old one opens what was sealed to it until nothing can be waiting.

use kith_node::timers;
use kith_proto::envelope::{PREVIOUS_KEY_KEPT_MS, SEALING_KEY_LIFE_MS};
use kith_proto::v1;
use prost::Message as _;

use crate::gateway::{Attached, DAY_MS, T0};
use crate::host::Story;

const ROTATED: &str = "SELECT COUNT(*) FROM audit_event WHERE code = 'key_rotated'";
const INBOX: &str = "SELECT COUNT(*) FROM referral WHERE side = 'inbox'";

impl Story {
    /// Lets time pass while the computer is off, and gives the first stream after it.
    async fn asleep(self, days: i64) -> (Self, Attached) {
        self.time.advance(days * DAY_MS);
        let mut story = self.restart().await;
        let stream = story.gateway.greeted(vec![]).await;
        (story, stream)
    }

    /// Waits until the gateway lists so many bindings of the node; gives the sealing key of each.
    async fn bindings(&self, count: usize) -> Vec<Vec<u8>> {
        loop {
            let chain = self.gateway.inner.chain("hope-street");
            if chain.bindings.len() >= count {
                let statements = chain.bindings.iter().map(|signed| signed.statement.as_slice());
                return statements
                    .map(|statement| v1::Binding::decode(statement).unwrap().sealing_key)
                    .collect();
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_sealing_key_is_replaced_after_thirty_days_and_destroyed_after_thirty_one_more() {
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await.break_off().await;
    let peer = story.peer("riverside-gp");
    let old = story.host.sealing_key();
    let to_old = peer.referral(&peer.slip());
    let (story, mut stream) = story.asleep(SEALING_KEY_LIFE_MS / DAY_MS).await;
    let published = story.bindings(2).await;
    assert_eq!(published.len(), 2, "one key, once");
    assert_eq!(published[0], old.as_bytes());
    assert_eq!(published[1], story.host.sealing_key().as_bytes());
    assert_ne!(published[0], published[1]);

    stream.deliver(vec![peer.next(&[to_old])]).await;
    assert_eq!(
        stream.receipts().await.problems,
        [0],
        "what was on its way still opens"
    );
    assert_eq!(story.host.number(INBOX).await, 1);
    // The certificate was renewed too.
    while story.host.number(ROTATED).await < 2 {
        tokio::task::yield_now().await;
    }

    let replaced_ms = T0 + SEALING_KEY_LIFE_MS;
    let node = &story.host.node;
    timers::tick(node, replaced_ms).await.unwrap();
    let kept = timers::tick(node, replaced_ms + PREVIOUS_KEY_KEPT_MS)
        .await
        .unwrap();
    assert_eq!(
        (kept.sealing_keys_destroyed, node.keys.sealing_keys().len()),
        (0, 2)
    );
    let ended = timers::tick(node, replaced_ms + PREVIOUS_KEY_KEPT_MS + DAY_MS)
        .await
        .unwrap();
    assert_eq!(
        (ended.sealing_keys_destroyed, node.keys.sealing_keys().len()),
        (1, 1)
    );
    let newest = story.host.sealing_key();
    let story = story.restart().await;
    assert_eq!(story.host.sealing_key(), newest, "the file is as the memory was");
    assert_eq!(story.host.node.keys.sealing_keys().len(), 1);
}

#[tokio::test]
async fn a_key_whose_publishing_was_cut_off_is_published_once_and_raises_no_alarm() {
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await.break_off().await;
    story.time.advance(SEALING_KEY_LIFE_MS);
    // Made, and not yet published, when the power went.
    let node = &story.host.node;
    let made = node
        .keys
        .add_sealing_key(&node.folder, &node.rng, T0 + SEALING_KEY_LIFE_MS);
    let made = made.unwrap();
    let mut story = story.restart().await;
    // Published, but the answer was lost.
    *story.gateway.inner.lose_answers.lock().unwrap() = 1;
    let first = story.gateway.greeted(vec![]).await;
    let published = story.bindings(2).await;
    assert_eq!(published[1], made.key.public().as_bytes());
    first.break_off().await;
    let _stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    assert_eq!(story.bindings(2).await.len(), 2, "not once more");
    assert_eq!(story.host.node.keys.sealing_keys().len(), 2);
}

#[tokio::test]
async fn a_key_that_cannot_be_published_ends_no_stream() {
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await.break_off().await;
    *story.gateway.inner.lose_answers.lock().unwrap() = u32::MAX;
    // The certificate is good for all this time; only the sealing key is to be turned.
    let peer = story.peer("riverside-gp");
    let (slip, key) = (peer.slip(), story.host.sealing_key());
    story.time.advance(SEALING_KEY_LIFE_MS);
    let mut story = story.restart().await;
    let mut stream = story.gateway.greeted(vec![]).await;
    assert_eq!(story.bindings(2).await[0], key.as_bytes());
    for _ in 0..20 {
        stream.deliver(vec![peer.next(&[peer.referral(&slip)])]).await;
        assert_eq!(stream.receipts().await.problems, [0]);
    }
    story.host.link_is("up").await;
}

#[tokio::test]
async fn no_key_is_made_without_its_line_in_the_trail() {
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await.break_off().await;
    // The line of the renewed certificate takes the one place that there is.
    story
        .run("CREATE UNIQUE INDEX one ON audit_event (code) WHERE code = 'key_rotated'")
        .await;
    let peer = story.peer("riverside-gp");
    let (mut story, mut stream) = story.asleep(SEALING_KEY_LIFE_MS / DAY_MS).await;
    for _ in 0..5 {
        stream
            .deliver(vec![peer.next(&[peer.referral(&peer.slip())])])
            .await;
        assert_eq!(stream.receipts().await.problems, [0]);
    }
    assert_eq!(story.host.node.keys.sealing_keys().len(), 1);
    story.run("DROP INDEX one").await;
    stream.break_off().await;
    let _stream = story.gateway.greeted(vec![]).await;
    story.bindings(2).await;
    assert_eq!(story.host.number(ROTATED).await, 2, "written before it was made");
}

#[tokio::test]
async fn no_key_is_destroyed_without_its_line_in_the_trail() {
    const DESTROYED: &str = "SELECT COUNT(*) FROM audit_event WHERE code = 'key_destroyed'";
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await.break_off().await;
    let (story, _stream) = story.asleep(SEALING_KEY_LIFE_MS / DAY_MS).await;
    story.bindings(2).await;
    while story.host.number(ROTATED).await < 2 {
        tokio::task::yield_now().await;
    }
    story.host.link_is("up").await;
    let node = &story.host.node;
    // Replaced is what the node's own copy of the directory shows so; it is read again after the publishing.
    while node
        .members
        .get(node.organisation())
        .unwrap()
        .member
        .bindings
        .len()
        < 2
    {
        tokio::task::yield_now().await;
    }
    let over_ms = T0 + SEALING_KEY_LIFE_MS + PREVIOUS_KEY_KEPT_MS;
    timers::tick(node, over_ms).await.unwrap();
    story
        .run(
            "INSERT INTO audit_event (seq, at_ms, code, salt, preimage) \
             SELECT -1, at_ms, 'key_destroyed', salt, preimage FROM audit_event WHERE seq = 1",
        )
        .await;
    story
        .run("CREATE UNIQUE INDEX one ON audit_event (code) WHERE code = 'key_destroyed'")
        .await;
    timers::tick(node, over_ms + DAY_MS).await.unwrap_err();
    assert_eq!(node.keys.sealing_keys().len(), 2, "no line, no deed");
    story.run("DROP INDEX one").await;
    let ticked = timers::tick(node, over_ms + DAY_MS).await.unwrap();
    assert_eq!(
        (ticked.sealing_keys_destroyed, node.keys.sealing_keys().len()),
        (1, 1)
    );
    assert_eq!(story.host.number(DESTROYED).await, 2);
}

/// The small gateway keeps no bundles, as one of an earlier version: then only the named folder does.
#[tokio::test]
async fn a_new_key_is_not_published_before_a_bundle_with_it_lies_somewhere() {
    use kith_node::recovery::{Source, keep, make_sheet};
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await.break_off().await;
    let node = &story.host.node;
    make_sheet(&Source::of(node, node.now_ms())).await.unwrap();
    let old = story.host.sealing_key();
    let (story, stream) = story.asleep(SEALING_KEY_LIFE_MS / DAY_MS).await;
    let held = |story: &Story| story.host.node.keys.sealing_keys().len();
    while held(&story) < 2 {
        tokio::task::yield_now().await;
    }
    let bundle = "SELECT COUNT(*) FROM bundle WHERE gateway_at_ms IS NULL";
    while story.host.number(bundle).await < 1 {
        tokio::task::yield_now().await;
    }
    stream.break_off().await;
    let chain = story.gateway.inner.chain("hope-street");
    assert_eq!(chain.bindings.len(), 1, "it lies on the node's own disk alone");

    let stick = tempfile::TempDir::new().unwrap();
    story.host.node.folder.keep_bundles(stick.path()).unwrap();
    story.time.advance(keep::EVERY_MS);
    let mut story = story.restart().await;
    let stream = story.gateway.greeted(vec![]).await;
    let published = story.bindings(2).await;
    assert_eq!(published[0], old.as_bytes());
    assert_eq!(published[1], story.host.sealing_key().as_bytes());
    stream.break_off().await;
    assert_eq!(std::fs::read_dir(stick.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_new_key_waits_for_a_bundle_three_days_and_no_longer() {
    use kith_node::recovery::{Source, keep, make_sheet};
    let mut story = Story::begin().await;
    story.gateway.greeted(vec![]).await.break_off().await;
    let node = &story.host.node;
    make_sheet(&Source::of(node, node.now_ms())).await.unwrap();
    let (story, stream) = story.asleep(SEALING_KEY_LIFE_MS / DAY_MS).await;
    while story.host.node.keys.sealing_keys().len() < 2 {
        tokio::task::yield_now().await;
    }
    stream.break_off().await;
    let (story, _stream) = story.asleep(keep::HOLD_OFF_MS / DAY_MS).await;
    assert_eq!(story.bindings(2).await.len(), 2);
}
