//! The gateway comes back from a backup: its log begins anew, by the root's word alone, and this node gives back what was lost of it.
//! Never an earlier epoch again, and never a word of anybody else.

use std::collections::BTreeSet;
use std::time::Duration;

use kith_node::rekey::rekey;
use kith_node::restore::begin;
use kith_node::store::restore as rows;
use kith_proto::envelope::SEALING_KEY_LIFE_MS;
use kith_proto::log::epoch_word::EpochWord;
use kith_proto::recovery::RestoreReason;
use kith_proto::sign::SigningKey;
use kith_proto::trail::Code;
use kith_proto::trust::CLOCK_SKEW_MS;
use kith_proto::v1;
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::restore_response::What;
use kith_service::store::{StoreError, Tx, query};

use crate::gateway::{Attached, DAY_MS, T0};
use crate::host::{Host, Story};
use crate::peer::random;
use crate::restoring::{EPOCHS, Lost, PENDING};

/// More than the node reads at once, and twice the same would be.
const STOPS: usize = 300;

const ALARMS: &str = "SELECT kind FROM alarm ORDER BY kind";
const FOLLOWED: &str = "SELECT COUNT(*) FROM audit_event WHERE code = 'epoch_followed'";
const RAISED: &str = "SELECT COUNT(*) FROM audit_event WHERE code = 'alarm_raised'";
const EPOCH: &str = "SELECT CAST(COALESCE(MAX(epoch), 1) AS BIGINT) FROM keylog";
const BELIEVED: &str = "SELECT CAST(COALESCE(MAX(believed_size), -1) AS BIGINT) FROM keylog WHERE epoch = 2";
const PROVEN: &str = "SELECT COUNT(*) FROM keylog_leaf WHERE proof IS NOT NULL";

impl Story {
    /// Has the gateway's log begin anew, of what it lists.
    fn begin_epoch(&self, epoch: u64) {
        let members = self.gateway.inner.members.lock().unwrap().clone();
        self.turn(|logs| logs.begin_epoch(epoch, &members));
    }

    /// The word of a root, or of somebody who says so.
    fn word(&self, by: &SigningKey, epoch: u64, made_at_ms: i64) -> v1::Signed {
        EpochWord::issue(by, &self.gateway.inner.network, epoch, made_at_ms).unwrap()
    }

    fn root_word(&self, epoch: u64) -> v1::Signed {
        self.word(&self.gateway.inner.root, epoch, T0)
    }

    /// Starts the node again, and greets it.
    async fn again(self) -> (Self, Attached) {
        let mut story = self.restart().await;
        let stream = story.gateway.greeted(vec![]).await;
        (story, stream)
    }
}

#[tokio::test]
async fn a_later_epoch_is_followed_by_the_roots_word_and_ends_what_the_old_one_raised() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    story.believes(&peer).await;
    story.turn(|logs| logs.shown = Some(2));
    stream.offer().await;
    story.is_stopped_by("gateway_behind").await;

    // Nobody but the root lets a log begin anew: not the gateway, not a stranger, not a word of another day.
    story.turn(|logs| logs.shown = None);
    story.begin_epoch(2);
    let stranger = SigningKey::from_seed([9; 32]).unwrap();
    let later = T0 + CLOCK_SKEW_MS + 60_000;
    let words = [
        None,
        Some(story.word(&stranger, 2, T0)),
        Some(story.word(&story.gateway.inner.root, 2, later)),
    ];
    for word in words {
        story.turn(|logs| logs.word = word);
        let (next, _stream) = story.again().await;
        story = next;
        story.host.link_is("stopped").await;
        assert_eq!(story.host.words(ALARMS).await, ["gateway_behind", "gateway_log"]);
        assert_eq!(story.host.number(EPOCH).await, 1);
    }
    assert_eq!(story.host.number(RAISED).await, 2);

    let word = story.root_word(2);
    story.turn(|logs| logs.word = Some(word));
    let (story, _stream) = story.again().await;
    story.number_is(EPOCH, 2).await;
    story.believes(&peer).await;
    assert_eq!(story.host.words(ALARMS).await, [""; 0]);
    assert_eq!(story.host.number(FOLLOWED).await, 1);
    story.host.link_is("up").await;

    // The same after a restart, and the first epoch never again.
    let (story, _stream) = story.again().await;
    story.host.link_is("up").await;
    story.believes(&peer).await;
    assert_eq!(story.host.number(FOLLOWED).await, 1);
    story.begin_epoch(1);
    story.turn(|logs| logs.word = None);
    let (story, _stream) = story.again().await;
    story.host.link_is("stopped").await;
    assert_eq!(story.host.words(ALARMS).await, ["gateway_behind"]);
}

#[tokio::test]
async fn a_rekey_that_the_gateway_lost_is_given_back_with_its_invite() {
    let mut story = Story::begin().await;
    let stream = story.gateway.greeted(vec![]).await;
    story.number_is(PROVEN, 2).await;
    drop(stream);
    let before = story.gateway.inner.chain("hope-street");
    let token = story.gateway.rekey_token("hope-street").encode().unwrap();
    let Story { gateway, host, time } = story;
    let (joining, folder) = host.stop().await;
    rekey(&token, &joining).await.unwrap();
    let host = Host::open(joining, folder).await;
    let mut story = Story { gateway, host, time };
    story.gateway.greeted(vec![]).await;
    story.host.link_is("keys_wait").await;
    story.time.advance(DAY_MS);
    let mut story = story.restart().await;
    let stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    drop(stream);
    let whole = story.gateway.inner.chain("hope-street");
    assert_eq!((whole.bindings.len(), whole.later_invites.len()), (2, 1));

    let members = || story.gateway.inner.members.lock().unwrap();
    members().get_mut("hope-street").unwrap().chain = Some(before);
    story.begin_epoch(2);
    let word = story.root_word(2);
    story.turn(|logs| logs.word = Some(word));
    let (story, _stream) = story.again().await;
    let given_back = async {
        while story.gateway.inner.chain("hope-street") != whole {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), given_back)
        .await
        .expect("the gateway has it again");
    assert_eq!(story.host.words(ALARMS).await, [""; 0]);
}

#[tokio::test]
async fn nothing_is_believed_or_sent_before_the_new_epoch_counts() {
    let (story, mut stream) = Story::witnessed().await;
    let peer = story.peer("riverside-gp");
    stream
        .send(Down::MembersChanged(v1::MembersChanged { cursor: 2 }))
        .await;
    story.cosign();
    while story.host.node.members.keys_of(&peer.org, T0).is_none() {
        stream.offer().await;
        tokio::task::yield_now().await;
    }
    story.begin_epoch(2);
    let word = story.root_word(2);
    story.turn(|logs| logs.word = Some(word));
    stream.offer().await;
    // In the middle of a stream: it ends, and the next ones as well until a witness has cosigned.
    assert!(stream.is_left().await);
    story.number_is(EPOCH, 2).await;
    let (mut story, mut stream) = story.again().await;
    assert!(stream.is_left().await);
    assert!(story.host.node.members.keys_of(&peer.org, T0).is_none());
    assert_eq!(story.host.number(BELIEVED).await, 0);
    story.cosign();
    let _stream = story.gateway.greeted(vec![]).await;
    story.believes(&peer).await;
    story.host.link_is("up").await;
}

#[tokio::test]
async fn a_member_that_the_gateway_lost_enrols_again_and_publishes_its_later_keys() {
    let mut story = Story::begin().await;
    let stream = story.gateway.greeted(vec![]).await;
    story.number_is(PROVEN, 2).await;
    drop(stream);
    story.time.advance(SEALING_KEY_LIFE_MS / DAY_MS * DAY_MS);
    let (story, stream) = story.again().await;
    let chain = loop {
        let chain = story.gateway.inner.chain("hope-street");
        if chain.bindings.len() == 2 {
            break chain;
        }
        tokio::task::yield_now().await;
    };
    drop(stream);

    story.gateway.inner.members.lock().unwrap().clear();
    story.begin_epoch(2);
    let word = story.root_word(2);
    story.turn(|logs| logs.word = Some(word));
    let enrolled = story.gateway.inner.issued.lock().unwrap().len();
    let (story, _stream) = story.again().await;
    story.number_is(EPOCH, 2).await;
    let requests = story.gateway.inner.issued.lock().unwrap().clone();
    assert_eq!(requests.len(), enrolled + 1);
    assert_eq!(requests[enrolled].binding, requests[0].binding);
    let logged = requests[enrolled].logged.clone().unwrap();
    assert!(logged.preimage.contains("organisation=hope-street"), "{logged:?}");
    assert!(
        logged
            .preimage
            .starts_with(&format!("code={}\n", Code::MemberJoined))
    );
    while story.gateway.inner.chain("hope-street") != chain {
        tokio::task::yield_now().await;
    }
    assert_eq!(story.host.words(ALARMS).await, [""; 0]);
    assert_eq!(story.host.number(FOLLOWED).await, 1);
}

const TOLD: &str = "SELECT COUNT(*) FROM restore WHERE done_at_ms IS NOT NULL";

/// The restores that the gateway was told of, in order.
fn ids(story: &Story) -> Vec<Vec<u8>> {
    let script = story.gateway.inner.restore.lock().unwrap();
    script
        .asked
        .iter()
        .map(|asked| asked.restore_id.clone())
        .collect()
}

/// Greets every stream of the node until something is so.
async fn greeted_until(story: &mut Story, is_so: impl AsyncFn(&Story) -> bool) {
    let mut open = Vec::new();
    while !is_so(story).await {
        let next = story.gateway.greeted(vec![]);
        open.extend(tokio::time::timeout(Duration::from_millis(100), next).await);
    }
}

/// The id under which the gateway is to be told again.
async fn still_forgotten(story: &Story) -> Option<Vec<u8>> {
    let read = |mut tx| async move { rows::forgotten(&mut tx, 0).await };
    let store = &story.host.node.store;
    let forgotten = store.read::<_, StoreError, _, _>("test", read).await.unwrap();
    forgotten.map(|(restore, _)| restore.restore_id.to_vec())
}

#[tokio::test]
async fn a_gateway_that_came_back_itself_is_told_once_more_under_one_id() {
    let lost = Lost::begin().await;
    lost.says(vec![What::Standing(lost.standing())]);
    let begun = begin(lost.node(), RestoreReason::Broken).await.unwrap();
    lost.finish().await.unwrap();
    let mut story = lost.story.relinked().await;
    let _stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    assert_eq!(ids(&story), [begun.restore_id], "the gateway has lost nothing");

    // Its log begins anew. The first answer breaks off: the stream opens all the same, and the next one asks again.
    story.begin_epoch(2);
    let word = story.root_word(2);
    story.turn(|logs| logs.word = Some(word));
    story.gateway.inner.restore.lock().unwrap().breaks_after = Some(0);
    let (mut story, first) = story.again().await;
    greeted_until(&mut story, async |story| ids(story).len() >= 2).await;
    let forgotten = still_forgotten(&story).await.unwrap();
    story.gateway.inner.restore.lock().unwrap().breaks_after = None;
    drop(first);
    greeted_until(&mut story, async |story| story.host.number(TOLD).await == 2).await;
    assert_eq!(still_forgotten(&story).await, None, "it is told no more");
    let all = ids(&story);
    assert_ne!(all[1], all[0], "everybody has followed the first");
    assert!(
        all[1..].iter().all(|id| *id == forgotten),
        "one id until it was heard"
    );
    assert_eq!(story.host.number(PENDING).await, 0);
    assert_eq!(story.host.words(EPOCHS).await, ["1", "2"], "its own log goes on");
}

#[tokio::test]
async fn the_gateway_is_told_when_it_has_every_stop() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    assert!(
        matches!(stream.any().await, Up::StopsTold(told) if told.epoch == 1),
        "there is none"
    );
    let (_, grant_id) = story.consent(&mut stream, &[&peer]).await;
    stream.break_off().await;
    story.withdraw(grant_id).await;
    let mut stream = story.gateway.greeted(vec![]).await;
    assert!(matches!(stream.any().await, Up::Stop(_)), "the stop comes first");
    assert!(matches!(stream.any().await, Up::StopsTold(_)));
}

#[tokio::test]
async fn of_more_stops_than_are_read_at_once_the_gateway_is_told_every_one_first() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let mut stream = story.gateway.greeted(vec![]).await;
    let (_, grant_id) = story.consent(&mut stream, &[&peer]).await;
    stream.break_off().await;
    story.withdraw(grant_id).await;
    let another = "INSERT INTO slip (slip_id, grant_id, side, peer, slip, signature, holding_id, person_salt, issued_at_ms, expires_at_ms, \
         state, ended_at_ms, stop_state) SELECT $1, grant_id, side, peer, slip, signature, holding_id, person_salt, issued_at_ms, \
         expires_at_ms, state, ended_at_ms, stop_state FROM slip LIMIT 1";
    let write = |mut tx: Tx| async move {
        for _ in 1..STOPS {
            tx.run(query(another).bind(random::<16>().to_vec())).await?;
        }
        Ok::<_, StoreError>(())
    };
    let store = &story.host.node.store;
    store.tx("test", write).await.unwrap();
    let mut stream = story.gateway.greeted(vec![]).await;
    let mut told = BTreeSet::new();
    loop {
        match stream.any().await {
            Up::Stop(stop) => {
                assert!(told.insert(stop.slip_id.clone()), "each once");
                let stopped = v1::SlipStopped {
                    slip_id: stop.slip_id,
                    stopped_at_ms: T0,
                    by_secret: false,
                };
                stream.notice(told.len() as u64, Down::Stopped(stopped)).await;
            }
            Up::StopsTold(_) => break,
            Up::NoticesHeld(_) => {}
            // What is sent to the peer of it.
            Up::Submission(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told.len(), STOPS);
}
