//! A node that comes back from a backup: what the gateway knows of it, the next epoch of its log, and nothing served before.
//! Never a word of the gateway that is taken over in part.

use std::pin::Pin;

use kith_node::node::Node;
use kith_node::restore::{self, RestoreError, Restored};
use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_node::{timers, trail};
use kith_proto::envelope::envelope_hash;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::origin::Keeper;
use kith_proto::log::tree::{Hash, TreeHead};
use kith_proto::problem::Problem;
use kith_proto::recovery::RestoreReason;
use kith_proto::sign::SigningKey;
use kith_proto::v1::restore_response::What;
use kith_proto::v1::restore_service_server::RestoreService;
use kith_proto::{envelope, v1};
use kith_service::status::status;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::gateway::{Gateway, T0, head};
use crate::host::Story;
use crate::peer::{HeldSlip, Peer, position, random};
use crate::services::Service;

/// What the gateway says to a restored node, frame by frame; and what it was asked.
#[derive(Default)]
pub(crate) struct Script {
    frames: Vec<v1::RestoreResponse>,
    /// After so many frames the line breaks.
    pub(crate) breaks_after: Option<usize>,
    pub(crate) asked: Vec<v1::RestoreRequest>,
}

#[tonic::async_trait]
impl RestoreService for Service {
    type RestoreStream = Pin<Box<dyn Stream<Item = Result<v1::RestoreResponse, Status>> + Send>>;

    async fn restore(
        &self,
        request: Request<v1::RestoreRequest>,
    ) -> Result<Response<Self::RestoreStream>, Status> {
        let mut script = self.0.restore.lock().unwrap();
        let request = request.into_inner();
        // As the real one: nothing is said of an envelope that was not asked about.
        let is_asked = |frame: &&v1::RestoreResponse| {
            !matches!(frame.what, Some(What::Answered(_))) || !request.queued.is_empty()
        };
        let frames = script.frames.iter().filter(is_asked);
        let mut frames: Vec<Result<_, Status>> = frames.cloned().map(Ok).collect();
        script.asked.push(request);
        if let Some(after) = script.breaks_after {
            frames.truncate(after);
            frames.push(Err(status(Problem::Unavailable)));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(frames))))
    }
}

/// A node that sent one referral which waits, and received one; then the computer was lost, and this is its backup.
pub(crate) struct Lost {
    pub(crate) story: Story,
    peer: Peer,
    sent_slip: Vec<u8>,
    came: HeldSlip,
    waits: v1::Envelope,
    thread_id: kith_proto::id::ThreadId,
}

const QUEUED: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM outbox WHERE state = 'queued'";
pub(crate) const EPOCHS: &str = "SELECT CAST(epoch AS TEXT) FROM log_epoch ORDER BY epoch";
const SLIPS: &str = "SELECT state FROM slip ORDER BY side";
const KEYS: &str =
    "SELECT CAST(COUNT(*) AS BIGINT) FROM holding WHERE kind = 'slip' AND wrapped_key IS NOT NULL";
pub(crate) const PENDING: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM restore WHERE done_at_ms IS NULL";
const CUT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM audit_event WHERE code = 'holding_destroyed'";

impl Lost {
    pub(crate) async fn begin() -> Self {
        let mut story = Story::begin().await;
        let peer = story.peer("riverside-gp");
        let mut stream = story.gateway.greeted(vec![]).await;
        story.known(&peer).await;
        let came = peer.slip();
        stream.deliver(vec![peer.next(&[peer.referral(&came)])]).await;
        assert_eq!(stream.receipts().await.problems, [0]);
        let consent = story.host.consent(&[&peer]).await;
        let thread_id = story.host.refer(&peer, consent).await;
        let waits = stream.submission().await.envelopes.remove(0);
        let envelope::Ground::Slip { claimed, .. } = head(&waits).ground else {
            panic!("no slip");
        };
        stream.break_off().await;
        let (gateway, host, time) = (story.gateway, story.host.unlinked().await, story.time);
        Self {
            story: Story { gateway, host, time },
            peer,
            sent_slip: claimed.id.as_bytes().to_vec(),
            came,
            waits,
            thread_id,
        }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.story.host.node
    }

    pub(crate) fn says(&self, frames: Vec<What>) {
        let frames = frames
            .into_iter()
            .map(|what| v1::RestoreResponse { what: Some(what) });
        self.story.gateway.inner.restore.lock().unwrap().frames = frames.collect();
    }

    /// The node's checkpoint of an epoch, signed by `key` and cosigned by `witness`.
    fn cosigned(&self, epoch: u64, key: &SigningKey, witness: &SigningKey) -> String {
        let keeper = Keeper::Node(self.node().organisation().clone());
        let network = &self.node().membership.network;
        let root = Hash([7; 32]);
        let checkpoint =
            Checkpoint::new(&keeper.origin(network, epoch), TreeHead { size: 999, root }).unwrap();
        let cosignature = checkpoint.cosign(&Keeper::Gateway.witness(network), witness, 1_800_000_000);
        let lines = vec![checkpoint.sign(key).unwrap(), cosignature.unwrap()];
        checkpoint.note(lines).unwrap().to_string()
    }

    pub(crate) fn standing(&self) -> v1::Standing {
        let receipts = &self.story.gateway.inner.receipts;
        v1::Standing {
            begins: Vec::new(),
            gateway_time_ms: T0 + 1_000,
            cosigned: self.cosigned(1, &self.node().keys.signing, receipts),
            taken: vec![position(&self.peer.org, 4, [9; 32])],
            asked: vec![self.peer.org.to_string()],
        }
    }

    fn stops(&self) -> v1::StoppedSlips {
        let stop = |slip_id: Vec<u8>| v1::SlipStopped {
            slip_id,
            stopped_at_ms: T0 + 500,
            by_secret: false,
        };
        let all = [
            self.sent_slip.clone(),
            self.came.id().as_bytes().to_vec(),
            vec![0xee; 16],
        ];
        v1::StoppedSlips {
            stops: all.into_iter().map(stop).collect(),
        }
    }

    fn answered(&self) -> v1::AnsweredEnvelopes {
        let one = v1::AnsweredEnvelope {
            envelope_id: head(&self.waits).envelope_id.as_bytes().to_vec(),
            envelope_hash: envelope_hash(&self.waits).to_vec(),
            number: 1,
            taken_at_ms: T0 + 100,
            problem: 0,
        };
        v1::AnsweredEnvelopes { envelopes: vec![one] }
    }

    fn all(&self) -> Vec<What> {
        vec![
            What::Standing(self.standing()),
            What::Stopped(self.stops()),
            What::Answered(self.answered()),
        ]
    }

    pub(crate) async fn finish(&self) -> Result<Restored, RestoreError> {
        restore::finish(self.node(), &self.story.host.joining.dial).await
    }

    /// Everything that was withdrawn is gone, the log goes on, and the database is whole.
    async fn is_restored(&self) {
        let host = &self.story.host;
        assert_eq!(host.words(EPOCHS).await, ["1", "2"]);
        assert_eq!(host.words(SLIPS).await, ["withdrawn", "withdrawn"]);
        assert_eq!(host.words("SELECT state FROM grant_record").await, ["withdrawn"]);
        assert_eq!(host.number(KEYS).await, 0, "no key of what was withdrawn is left");
        assert_eq!(host.number(CUT).await, 2, "each once");
        assert_eq!(host.number(QUEUED).await, 0);
        assert_eq!(host.number("SELECT number FROM pair_sent").await, 4);
        assert_eq!(host.number(PENDING).await, 0);
        assert_eq!(
            host.number("SELECT CAST(COUNT(*) AS BIGINT) FROM stopped_slip")
                .await,
            1
        );
        assert_eq!(host.words("SELECT kind FROM alarm").await, [""; 0]);
        assert!(!*host.node.own_log_ended.borrow());
        let opening = Opening {
            caller: host.caller(),
            visible: Visible::All,
            which: Which::Thread(self.thread_id),
        };
        let shown = threads_view::open(&host.node, &opening).await.unwrap();
        assert_eq!(shown.referral, None, "nothing of it is readable");
        self.is_whole().await;
    }

    async fn is_whole(&self) {
        let node = self.node();
        node.log.catch_up(&node.keys.signing).await.unwrap();
        let key = node.keys.signing.public();
        let whole = trail::whole(&node.store, &node.membership, &key, T0).await;
        assert_eq!(whole.unwrap().damages, []);
    }
}

#[tokio::test]
async fn a_restored_node_hears_what_its_backup_cannot_know() {
    let lost = Lost::begin().await;
    assert_eq!(lost.story.host.number(QUEUED).await, 1);
    lost.says(lost.all());
    let begun = restore::begin(lost.node(), RestoreReason::Broken).await.unwrap();
    let again = restore::begin(lost.node(), RestoreReason::Lost).await.unwrap();
    assert_eq!(begun, again, "one restore at a time");
    assert!(*lost.node().own_log_ended.borrow(), "nothing is served");
    let held = timers::tick(lost.node(), T0).await.unwrap();
    assert!(held.is_held_back);
    let restored = lost.finish().await.unwrap();
    let expected = Restored {
        withdrawn: 2,
        answered: 1,
        asked: vec![lost.peer.org.clone()],
        epoch: 2,
        tokens: 0,
        awaiting: Vec::new(),
    };
    assert_eq!(restored, expected);
    lost.is_restored().await;
    let counted = "SELECT CAST(COUNT(*) AS BIGINT) FROM log_epoch WHERE epoch = 2 AND counted IS NOT NULL";
    assert_eq!(lost.story.host.number(counted).await, 1);
    let said = "SELECT CAST(COUNT(*) AS BIGINT) FROM referral WHERE side = 'inbox' AND epoch = 2";
    assert_eq!(
        lost.story.host.number(said).await,
        1,
        "no lost number is given again"
    );
    {
        let script = lost.story.gateway.inner.restore.lock().unwrap();
        let asked = &script.asked[0];
        assert_eq!(asked.restore_id, begun.restore_id);
        assert_eq!((asked.received.len(), asked.queued.len()), (1, 1));
    }
    assert!(matches!(lost.finish().await, Err(RestoreError::NothingPending)));
    // It serves again, and its log goes on as the new epoch.
    let mut story = lost.story.relinked().await;
    let _stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    assert_eq!(story.host.words(EPOCHS).await, ["1", "2"]);
}

#[tokio::test]
async fn an_interrupted_restore_is_taken_up_where_it_was_and_has_each_effect_once() {
    let lost = Lost::begin().await;
    lost.says(lost.all());
    let begun = restore::begin(lost.node(), RestoreReason::Moved).await.unwrap();
    for frames in 0..=3 {
        lost.story.gateway.inner.restore.lock().unwrap().breaks_after = Some(frames);
        let failed = lost.finish().await.unwrap_err();
        assert_eq!(failed.problem(), Problem::Unavailable, "after {frames} frames");
        assert_eq!(
            lost.story.host.words(EPOCHS).await,
            ["1"],
            "nothing of half an answer"
        );
        assert_eq!(lost.story.host.words(SLIPS).await, ["live", "live"]);
    }
    lost.story.gateway.inner.restore.lock().unwrap().breaks_after = None;
    // All was taken over, and the last step, the cosignature, is lost.
    lost.story.gateway.inner.logs.lock().unwrap().cosigns_nothing = true;
    assert!(matches!(lost.finish().await, Err(RestoreError::NotCosigned)));
    assert_eq!(lost.story.host.number(PENDING).await, 1);
    let lost = Lost {
        story: lost.story.reopened().await,
        ..lost
    };
    assert!(*lost.node().own_log_ended.borrow(), "also in the next run");
    lost.story.gateway.inner.logs.lock().unwrap().cosigns_nothing = false;
    let restored = lost.finish().await.unwrap();
    assert_eq!((restored.epoch, restored.withdrawn), (2, 0), "each once");
    lost.is_restored().await;
    let script = lost.story.gateway.inner.restore.lock().unwrap();
    assert!(
        script
            .asked
            .iter()
            .all(|asked| asked.restore_id == begun.restore_id)
    );
}

#[tokio::test]
async fn an_epoch_that_the_network_has_seen_is_not_begun_again() {
    let lost = Lost::begin().await;
    let receipts = SigningKey::from_seed([3; 32]).unwrap();
    let standing = v1::Standing {
        cosigned: lost.cosigned(4, &lost.node().keys.signing, &receipts),
        ..lost.standing()
    };
    lost.says(vec![What::Standing(standing)]);
    restore::begin(lost.node(), RestoreReason::Damaged).await.unwrap();
    let restored = lost.finish().await.unwrap();
    assert_eq!(restored.epoch, 5);
    assert_eq!(lost.story.host.words(EPOCHS).await, ["1", "5"]);
    let awaiting: Vec<(&str, i64)> = restored
        .awaiting
        .iter()
        .map(|one| (one.organisation.as_str(), one.threads))
        .collect();
    assert_eq!(awaiting, [("riverside-gp", 1)], "what came; not what was sent");
    lost.is_whole().await;
}

#[tokio::test]
async fn what_the_gateway_cannot_know_or_makes_up_is_taken_over_in_no_part() {
    let lost = Lost::begin().await;
    restore::begin(lost.node(), RestoreReason::Lost).await.unwrap();
    let (own, other) = (
        &lost.node().keys.signing,
        SigningKey::from_seed(random()).unwrap(),
    );
    let receipts = SigningKey::from_seed([3; 32]).unwrap();
    let (standing, answered) = (lost.standing(), lost.answered());
    let stand = |turn: &dyn Fn(&mut v1::Standing)| {
        let mut standing = standing.clone();
        turn(&mut standing);
        vec![What::Standing(standing), What::Stopped(lost.stops())]
    };
    let answer = |turn: &dyn Fn(&mut v1::AnsweredEnvelope)| {
        let mut answered = answered.clone();
        turn(&mut answered.envelopes[0]);
        let stops = What::Stopped(lost.stops());
        vec![What::Standing(standing.clone()), stops, What::Answered(answered)]
    };
    let mut many = lost.stops();
    many.stops = vec![many.stops[0].clone(); 1025];
    let cases: Vec<Vec<What>> = vec![
        vec![],
        vec![What::Stopped(lost.stops())],
        vec![What::Standing(standing.clone()), What::Standing(standing.clone())],
        vec![What::Standing(standing.clone()), What::Stopped(many)],
        vec![
            What::Standing(standing.clone()),
            What::Stopped(v1::StoppedSlips::default()),
        ],
        stand(&|standing| standing.cosigned = lost.cosigned(1, &other, &receipts)),
        stand(&|standing| standing.cosigned = lost.cosigned(1, own, &other)),
        stand(&|standing| standing.cosigned = "no note".into()),
        stand(&|standing| standing.cosigned = standing.cosigned.replace("hope-street", "riverside-gp")),
        stand(&|standing| standing.taken[0].number = 0),
        stand(&|standing| standing.taken.push(standing.taken[0].clone())),
        stand(&|standing| standing.taken[0].organisation = "hope-street".into()),
        stand(&|standing| standing.asked = vec!["No, body".into()]),
        stand(&|standing| standing.gateway_time_ms = 0),
        answer(&|one| one.envelope_id = vec![1; 16]),
        answer(&|one| one.envelope_hash = vec![1; 31]),
        answer(&|one| one.number = 0),
        answer(&|one| one.problem = 9_999),
    ];
    for (case, frames) in cases.into_iter().enumerate() {
        lost.says(frames);
        let failed = lost.finish().await.unwrap_err();
        assert_eq!(
            failed.problem(),
            Problem::Unauthenticated,
            "case {case}: {failed}"
        );
        assert_eq!(lost.story.host.words(EPOCHS).await, ["1"], "case {case}");
        assert_eq!(
            lost.story.host.words(SLIPS).await,
            ["live", "live"],
            "case {case}"
        );
    }
    lost.says(lost.all());
    lost.finish().await.unwrap();
    lost.is_restored().await;
}

#[tokio::test]
async fn what_was_sealed_again_after_the_backup_counts_as_it_was_taken() {
    let lost = Lost::begin().await;
    let mut answered = lost.answered();
    answered.envelopes[0].envelope_hash = vec![0xab; 32];
    let standing = v1::Standing {
        taken: vec![position(&lost.peer.org, 1, [0xab; 32])],
        ..lost.standing()
    };
    lost.says(vec![What::Standing(standing), What::Answered(answered)]);
    restore::begin(lost.node(), RestoreReason::Broken).await.unwrap();
    assert_eq!(lost.finish().await.unwrap().answered, 1);
    let host = &lost.story.host;
    assert_eq!(host.words("SELECT state FROM outbox").await, ["taken"]);
    let unlike = "SELECT CAST(COUNT(*) AS BIGINT) FROM outbox JOIN pair_sent ON pair_sent.peer = outbox.peer \
         WHERE outbox.envelope_hash <> pair_sent.envelope_hash OR outbox.number <> pair_sent.number";
    assert_eq!(host.number(unlike).await, 0, "the hash that was taken");
    let kept = "SELECT CAST(COUNT(*) AS BIGINT) FROM outbox_envelope";
    assert_eq!(host.number(kept).await, 0, "what never left is gone");
    lost.is_whole().await;
}

#[tokio::test]
async fn a_sealing_key_that_was_lost_is_replaced_and_is_no_alarm() {
    let lost = Lost::begin().await;
    let elsewhere = kith_proto::seal::SealingKey::from_seed(random()).unwrap();
    lost.story
        .gateway
        .publish_for(lost.node(), elsewhere.public(), T0);
    lost.says(vec![What::Standing(lost.standing())]);
    restore::begin(lost.node(), RestoreReason::Lost).await.unwrap();
    lost.finish().await.unwrap();
    let chain = lost.story.gateway.inner.chain("hope-street");
    assert_eq!(chain.bindings.len(), 3, "a fresh one, once");
    assert_eq!(lost.story.host.words("SELECT kind FROM alarm").await, [""; 0]);
    let mut story = lost.story.relinked().await;
    let _stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("up").await;
    assert_eq!(story.gateway.inner.chain("hope-street").bindings.len(), 3);
    assert_eq!(story.host.words("SELECT kind FROM alarm").await, [""; 0]);
    // What comes after the fresh one is somebody else's, who has the signing key.
    let thief = kith_proto::seal::SealingKey::from_seed(random()).unwrap();
    story
        .gateway
        .publish_for(&story.host.node, thief.public(), T0 + 2_000);
    let mut story = story.relinked().await;
    let _stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("stopped").await;
    assert_eq!(
        story.host.words("SELECT kind FROM alarm").await,
        ["foreign_binding"]
    );
}

#[tokio::test]
async fn a_binding_from_long_after_the_restore_is_an_alarm() {
    let lost = Lost::begin().await;
    lost.says(vec![What::Standing(lost.standing())]);
    restore::begin(lost.node(), RestoreReason::Lost).await.unwrap();
    lost.finish().await.unwrap();
    let mut story = lost.story;
    story.time.advance(2 * crate::gateway::DAY_MS);
    let thief = kith_proto::seal::SealingKey::from_seed(random()).unwrap();
    let at_ms = T0 + 2 * crate::gateway::DAY_MS;
    story.gateway.publish_for(&story.host.node, thief.public(), at_ms);
    story = story.relinked().await;
    let _stream = story.gateway.greeted(vec![]).await;
    story.host.link_is("stopped").await;
    assert_eq!(
        story.host.words("SELECT kind FROM alarm").await,
        ["foreign_binding"]
    );
}

impl Gateway {
    /// Lists a binding that this node's key signed, with a sealing key that the node does not hold.
    fn publish_for(&self, node: &Node, sealing_key: &kith_proto::seal::SealingPublicKey, at_ms: i64) {
        let mut chain = self.inner.chain("hope-street");
        let (root, network) = (self.inner.root.public(), &self.inner.network);
        let member = kith_proto::trust::verify_chain(&chain, &root, network, at_ms).unwrap();
        let keys = kith_proto::trust::NewKeys {
            signing_key: node.keys.signing.public(),
            sealing_key: sealing_key.clone(),
        };
        let next = kith_proto::trust::next_binding(&node.keys.signing, &member, &keys, at_ms);
        chain.bindings.push(next.unwrap());
        self.inner.list("hope-street", chain);
    }
}
