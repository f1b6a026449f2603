//! A gateway that comes back from a backup: the next epoch by the root's word, and members that the backup does not have.

use super::DATABASE;
use crate::fixture::{Network, Node, T0};
use kith_gateway::gateway::{Gateway, GatewayConfig};
use kith_gateway::keys::RootKeys;
use kith_gateway::members::Standing;
use kith_gateway::membership::{MembershipError, enrol, set_standing};
use kith_gateway::restore::{RestoreError, restore};
use kith_gateway::{log, member_restore, whole, witnessing};
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::epoch_word::{EpochWord, read_word};
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::note::Note;
use kith_proto::log::tree::Hash;
use kith_proto::recovery::RestoreReason;
use kith_proto::sign::SigningKey;
use kith_proto::trust::TrustError;
use kith_proto::v1::{self, restore_response::What};
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use std::sync::Arc;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// The folders of a network whose gateway has stopped.
struct Stopped {
    folder: tempfile::TempDir,
    config: GatewayConfig,
    clock: Clock,
}

impl Stopped {
    async fn of(network: Network) -> Self {
        network.shutdown.request();
        network.serving.await.unwrap();
        Self {
            folder: network.folder,
            config: network.config,
            clock: network.clock,
        }
    }

    async fn open(&self) -> Arc<Gateway> {
        let rng = Rng::system();
        Gateway::open(&self.config, self.clock.clone(), rng)
            .await
            .unwrap()
    }

    /// The oldest backup that there can be: of a gateway that nobody had joined.
    async fn open_empty(&self) -> Arc<Gateway> {
        let config = GatewayConfig {
            store_url: DATABASE.fresh(&self.folder.path().join("network")).await,
            ..self.config.clone()
        };
        Gateway::open(&config, self.clock.clone(), Rng::system())
            .await
            .unwrap()
    }

    fn word(&self, above: u64) -> v1::Signed {
        let dir = self.folder.path().join("network/root");
        let root = RootKeys::load(&dir).unwrap();
        let (_, signed) = root.sign_epoch(&dir, above, self.clock.now_ms()).unwrap();
        signed
    }
}

async fn entries(gateway: &Gateway, epoch: u64) -> Vec<v1::LogEntry> {
    let all = v1::ListEntriesRequest {
        epoch,
        ..v1::ListEntriesRequest::default()
    };
    log::entries(gateway, &all).await.unwrap()
}

fn code(entry: &v1::LogEntry) -> &str {
    entry.entry.split(' ').next().unwrap()
}

#[tokio::test]
async fn the_next_epoch_begins_with_the_whole_key_log_and_stands_alone() {
    let network = Network::start(DATABASE).await;
    network.join("riverside-gp").await;
    network.join("harbour-welcome").await;
    let peers = "harbour-welcome".parse().unwrap();
    set_standing(&network.gateway, &peers, Standing::Suspended)
        .await
        .unwrap();
    network.counted(5).await;
    let stopped = Stopped::of(network).await;
    let gateway = stopped.open().await;
    let before = gateway.log.newest().await.unwrap();
    let word = stopped.word(1);
    let restored = restore(&gateway, &word, RestoreReason::Broken)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (restored.epoch, restored.found_epoch, restored.members),
        (2, 1, 2)
    );
    assert_eq!(restored.found, before.frontier.head());
    assert_eq!(restored.backup_at_ms, T0);

    let leaves = entries(&gateway, 2).await;
    let codes: Vec<&str> = leaves.iter().map(code).collect();
    let expected = [
        "epoch_opened",
        "member_joined",
        "member_joined",
        "member_suspended",
        "policy_published",
    ];
    assert_eq!(codes, expected);
    assert!(leaves.iter().all(|leaf| leaf.salt.len() == 16));
    let first = &leaves[0].preimage;
    for line in ["epoch=2", "found_epoch=1", "reason=broken"] {
        assert!(first.lines().any(|said| said == line), "{first}");
    }
    assert!(first.contains(&format!("found_size={}", before.frontier.size())));
    // What makes keys known is the same to the byte as before, but for its time and salt.
    let bound = |leaf: &v1::LogEntry| {
        leaf.preimage
            .lines()
            .find(|line| line.starts_with("binding="))
            .map(str::to_owned)
    };
    let known = |leaves: &[v1::LogEntry]| leaves.iter().filter_map(bound).collect::<Vec<_>>();
    assert_eq!(known(&leaves), known(&entries(&gateway, 1).await));
    assert_eq!(whole::look(&gateway).await.unwrap().faults, [""; 0]);
    let signed = gateway.log.newest().await.unwrap().signed.unwrap();
    let checkpoint = Checkpoint::open(&signed, &[witnessing::log_key(&gateway, 2)]).unwrap();
    assert_eq!(checkpoint.head().size, 5);

    let shown = log::checkpoint(&gateway).await.unwrap();
    assert_eq!(shown.epoch.as_ref(), Some(&word));
    let text = log::word(&gateway, Some(2)).await.unwrap().unwrap();
    assert_eq!(read_word(&text), Ok((gateway.keys.root, word.clone())));
    assert_eq!(log::word(&gateway, Some(1)).await.unwrap(), None);
    gateway.store.close().await;
}

#[tokio::test]
async fn it_is_done_once_by_one_word_and_by_no_other() {
    let network = Network::start(DATABASE).await;
    network.join("riverside-gp").await;
    let stopped = Stopped::of(network).await;
    let gateway = stopped.open().await;
    let stranger = SigningKey::from_seed([9; 32]).unwrap();
    let forged = EpochWord::issue(&stranger, &gateway.network, 2, T0).unwrap();
    let refused = restore(&gateway, &forged, RestoreReason::Lost).await.unwrap_err();
    assert!(
        matches!(refused, RestoreError::Word(TrustError::Forged)),
        "{refused}"
    );
    assert_eq!(gateway.log.newest().await.unwrap().number, 1);

    let (word, next) = (stopped.word(1), stopped.word(1));
    assert!(
        restore(&gateway, &word, RestoreReason::Lost)
            .await
            .unwrap()
            .is_some()
    );
    let size = gateway.log.newest().await.unwrap().frontier.size();
    assert!(
        restore(&gateway, &word, RestoreReason::Lost)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(gateway.log.newest().await.unwrap().frontier.size(), size);
    // The root signs no epoch twice, so another restore is another epoch; and the ones before are over.
    assert_eq!(
        restore(&gateway, &next, RestoreReason::Moved)
            .await
            .unwrap()
            .unwrap()
            .epoch,
        3
    );
    let over = restore(&gateway, &word, RestoreReason::Lost).await.unwrap_err();
    assert!(matches!(over, RestoreError::Over { word: 2, held: 3 }), "{over}");
    assert_eq!(whole::look(&gateway).await.unwrap().faults, [""; 0]);
    gateway.store.close().await;

    // A backup of before the first restore passes over the epochs that the network has seen.
    let gateway = stopped.open_empty().await;
    let word = stopped.word(1);
    assert_eq!(
        restore(&gateway, &word, RestoreReason::Lost)
            .await
            .unwrap()
            .unwrap()
            .epoch,
        4
    );
    assert_eq!(whole::look(&gateway).await.unwrap().faults, [""; 0]);
    gateway.store.close().await;
}

/// What a node keeps of its own joining.
async fn evidence(gateway: &Gateway, node: &Node) -> v1::LoggedBefore {
    let leaves = entries(gateway, 1).await;
    let named = format!("organisation={}", node.org);
    let is_joining = |leaf: &v1::LogEntry| code(leaf) == "member_joined" && leaf.preimage.contains(&named);
    let index = leaves.iter().position(is_joining).unwrap();
    let asked = v1::ProveLeavesRequest {
        epoch: 1,
        indexes: vec![index as u64],
    };
    let proven = log::prove(gateway, &asked).await.unwrap();
    let hashes = proven.leaves[0].hashes.iter();
    let hashes = hashes
        .map(|hash| Hash(hash.as_slice().try_into().unwrap()))
        .collect();
    let note = Note::parse(proven.counted.as_bytes()).unwrap();
    let proof = LeafProof::new(index as u64, hashes, note, Vec::new()).unwrap();
    v1::LoggedBefore {
        salt: leaves[index].salt.clone(),
        preimage: leaves[index].preimage.clone(),
        proof: proof.to_string(),
    }
}

#[tokio::test]
async fn a_member_that_the_backup_does_not_have_comes_back_by_what_the_log_had_signed() {
    let network = Network::start(DATABASE).await;
    let mut node = Node::new("riverside-gp");
    let request = node.enrol_request(&network.invite("riverside-gp"), T0);
    let answer = network.enrolment().await.enrol(request.clone()).await.unwrap();
    node.chain_pem = answer.into_inner().certificate_chain_pem;
    network.counted(3).await;
    let logged = evidence(&network.gateway, &node).await;
    let time = network.time.clone();
    let stopped = Stopped::of(network).await;
    let gateway = stopped.open_empty().await;
    let with = v1::EnrolRequest {
        logged: Some(logged.clone()),
        ..request.clone()
    };
    // Not before the root has said that this gateway came back.
    let refused = enrol(&gateway, with.clone()).await.unwrap_err();
    assert!(matches!(refused, MembershipError::InviteExpired), "{refused}");
    time.set(T0 + 2 * DAY);
    restore(&gateway, &stopped.word(1), RestoreReason::Lost)
        .await
        .unwrap()
        .unwrap();

    // Every member knows chain and leaf: with another TLS key they are worth nothing.
    let thief = Node::new("riverside-gp");
    let theft = v1::EnrolRequest {
        certificate_request_der: thief.renew_request(T0).certificate_request_der,
        ..with.clone()
    };
    let mut altered = with.clone();
    let leaf = altered.logged.as_mut().unwrap();
    leaf.preimage = leaf.preimage.replace("number=1", "number=2");
    let mut unsigned = with.clone();
    unsigned.logged.as_mut().unwrap().proof = String::new();
    for request in [theft, altered, unsigned, request.clone()] {
        let refused = enrol(&gateway, request).await.unwrap_err();
        assert!(matches!(refused, MembershipError::InviteExpired), "{refused}");
    }
    enrol(&gateway, with.clone()).await.unwrap();
    // Again, as the answer was lost.
    enrol(&gateway, request).await.unwrap();
    assert!(gateway.member(&node.org).is_some());
    gateway.store.close().await;
}

#[tokio::test]
async fn an_invite_that_a_lost_member_used_is_nobodys_while_it_could_be_used_still() {
    let network = Network::start(DATABASE).await;
    let node = Node::new("riverside-gp");
    let request = node.enrol_request(&network.invite("riverside-gp"), T0);
    let (time, fresh) = (network.time.clone(), network.invite("harbour-welcome"));
    let stopped = Stopped::of(network).await;
    let gateway = stopped.open_empty().await;
    time.set(T0 + 1000);
    restore(&gateway, &stopped.word(1), RestoreReason::Lost)
        .await
        .unwrap()
        .unwrap();
    let refused = enrol(&gateway, request).await.unwrap_err();
    assert!(matches!(refused, MembershipError::InviteExpired), "{refused}");
    // Whoever makes its keys only now joins as ever.
    let newcomer = Node::new("harbour-welcome");
    let request = newcomer.enrol_request(&fresh, T0 + 2000);
    enrol(&gateway, request).await.unwrap();
    gateway.store.close().await;
}

/// Whom a member that came back under this id has asked, as it holds mail of these.
async fn asked(
    gateway: &Gateway,
    id: u8,
    senders: &[&str],
) -> Result<Vec<String>, member_restore::RestoreError> {
    let held = |sender: &&str| v1::PairPosition {
        organisation: (*sender).to_owned(),
        number: 3,
        envelope_hash: vec![7; 32],
    };
    let request = v1::RestoreRequest {
        restore_id: vec![id; 16],
        backup_at_ms: T0,
        received: senders.iter().map(held).collect(),
        queued: Vec::new(),
    };
    let member = "riverside-gp".parse().unwrap();
    let answer = member_restore::restore(gateway, &member, &request).await?;
    match answer.into_iter().next().unwrap().what.unwrap() {
        What::Standing(standing) => Ok(standing.asked),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_member_that_comes_back_names_whom_the_gateway_has_forgotten() {
    let network = Network::start(DATABASE).await;
    network.join("riverside-gp").await;
    network.join("harbour-welcome").await;
    network.counted(4).await;
    let stopped = Stopped::of(network).await;
    let gateway = stopped.open().await;
    let named = ["harbour-welcome", "riverside-gp", "nobody-here"];
    let refused = asked(&gateway, 1, &named).await;
    assert!(
        matches!(refused, Err(member_restore::RestoreError::OtherHistory)),
        "a gateway that has lost nothing knows better"
    );
    let word = stopped.word(1);
    restore(&gateway, &word, RestoreReason::Broken).await.unwrap();
    gateway.store.close().await;
    let gateway = stopped.open().await;
    assert_eq!(asked(&gateway, 2, &[]).await.unwrap(), [""; 0]);
    assert_eq!(
        asked(&gateway, 3, &named).await.unwrap(),
        ["harbour-welcome"],
        "a member, and another one"
    );
    let read = |mut tx: kith_service::store::Tx| async move {
        let told = kith_service::store::query("SELECT organisation FROM notice");
        tx.all(told).await
    };
    let told = gateway
        .store
        .read::<_, kith_service::store::StoreError, _, _>("test", read)
        .await;
    assert_eq!(told.unwrap().len(), 1);
    gateway.store.close().await;
}
