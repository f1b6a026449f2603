//! The log as strangers and members read it, verified by implementations that nobody here wrote.

use super::DATABASE;
use crate::fixture::Network;
use kith_gateway::members::Standing;
use kith_gateway::membership;
use kith_gateway::witnessing::log_key;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::proof::verify_inclusion;
use kith_proto::log::tree::Hash;
use kith_proto::problem::Problem;
use kith_proto::trail::Leaf;
use kith_proto::trust::binding_hash;
use kith_proto::v1;
use kith_service::status::failure_of;
use std::collections::BTreeMap;
use tlog_tiles::tlog::{check_record, check_tree, prove_record, prove_tree, tree_hash};

/// Tiles that were fetched, as the other implementation reads them.
struct Fetched(BTreeMap<String, Vec<u8>>);

/// The other implementation's paths name the height too.
fn path(tile: &tlog_tiles::Tile) -> String {
    format!("/{}", tile.path().replacen("tile/8/", "tile/", 1))
}

impl tlog_tiles::TileReader for Fetched {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.0[&path(tile)].clone()).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// Fetches the entries of bundles up to a size.
async fn bundles(network: &Network, size: u64) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for start in (0..size).step_by(256) {
        let width = (size - start).min(256);
        let partial = if width < 256 {
            format!(".p/{width}")
        } else {
            String::new()
        };
        let answer = network
            .fetch(&format!("/tile/entries/{:03}{partial}", start / 256))
            .await;
        assert_eq!(answer.status, 200);
        let mut rest = answer.body.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (entry, after) = after.split_at(u16::from_be_bytes(*length).into());
            entries.push(entry.to_vec());
            rest = after;
        }
    }
    entries
}

#[tokio::test]
async fn every_leaf_is_proven_over_plain_https_by_other_implementations_and_nobody_is_named() {
    let network = Network::start(DATABASE).await;
    network.join("riverside-gp").await;
    network.join("womens-circle").await;
    let first = network.counted(6).await;
    network.grow(600).await;
    network.counted(606).await;

    let answer = network.fetch("/checkpoint").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let vkey = log_key(&network.gateway, 1).to_string();
    let known = signed_note::StandardVerifier::new(&vkey).unwrap();
    let known = signed_note::VerifierList::new(vec![Box::new(known)]);
    let note = signed_note::Note::from_bytes(&answer.body).unwrap();
    assert_eq!(note.verify(&known).unwrap().0.len(), 1);
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(checkpoint.origin(), "lune-valley.example/log/1");
    let size = checkpoint.size();

    let mut fetched = Fetched(BTreeMap::new());
    for tile in tlog_tiles::Tile::new_tiles(8, 0, size) {
        let answer = network.fetch(&path(&tile)).await;
        assert_eq!(answer.status, 200, "{}", path(&tile));
        fetched.0.insert(path(&tile), answer.body);
    }
    let root = *checkpoint.hash();
    let reader = tlog_tiles::TileHashReader::new(size, root, &fetched);
    assert_eq!(tree_hash(size, &reader).unwrap().0, root.0);
    let entries = bundles(&network, size).await;
    assert_eq!(entries.len() as u64, size);
    for (index, entry) in (0..).zip(&entries) {
        let proof = prove_record(size, index, &reader).unwrap();
        check_record(&proof, size, root, index, tlog_tiles::tlog::record_hash(entry)).unwrap();
        let leaf: Leaf = std::str::from_utf8(entry).unwrap().parse().unwrap();
        assert_eq!(leaf.to_string().as_bytes(), entry);
    }
    let old = tlog_tiles::Hash(first.head().root.0);
    let proof = prove_tree(size, first.head().size, &reader).unwrap();
    check_tree(&proof, size, root, first.head().size, old).unwrap();

    let served = fetched.0.into_values().chain(entries).chain([answer.body]);
    for bytes in served {
        let text = String::from_utf8_lossy(&bytes);
        for planted in ["riverside-gp", "womens-circle", "The organisation"] {
            assert!(!text.contains(planted), "{planted} in {text}");
        }
    }
    network.stop().await;
}

#[tokio::test]
async fn paths_that_are_none_are_not_found_and_what_never_changes_is_kept() {
    let network = Network::start(DATABASE).await;
    network.grow(260).await;
    network.counted(262).await;
    let kept = network.fetch("/log/1/tile/0/000").await;
    assert_eq!(
        kept.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(kept.header("content-type"), Some("application/octet-stream"));
    assert_eq!(network.fetch("/tile/0/000").await.body, kept.body);
    assert_eq!(network.fetch("/tile/0/000.p/5").await.body, kept.body[..160]);
    let whole = network.fetch("/log/1/checkpoint").await;
    assert_eq!(whole.body, network.fetch("/checkpoint").await.body);
    for missing in [
        "/tile/0/001",
        "/tile/1/001",
        "/tile/0/000.p/256",
        "/tile/x/000",
        "/tile/entries/009",
        "/log/2/checkpoint",
        "/log/99999999999999999999/checkpoint",
        "/log/18446744073709551615/tile/0/000",
        "/",
        "/kith.v1.StopService/StopSlip",
        "/grpc.health.v1.Health/Check",
    ] {
        assert_eq!(network.fetch(missing).await.status, 404, "{missing}");
    }
    network.stop().await;
}

#[tokio::test]
async fn members_page_the_entries_open_the_key_log_and_prove_leaves() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    network.grow(1500).await;
    let size = network.counted(1504).await.head().size;
    let mut log = gp.log(&network).await;
    let mut entries = Vec::new();
    while (entries.len() as u64) < size {
        let request = v1::ListEntriesRequest {
            epoch: 1,
            first: entries.len() as u64,
            count: 700,
        };
        let page = log.list_entries(request).await.unwrap().into_inner().entries;
        assert!(!page.is_empty() && page.len() <= 700);
        entries.extend(page);
    }
    let opened: Vec<_> = entries.iter().filter(|e| !e.preimage.is_empty()).collect();
    assert_eq!(
        opened.len(),
        3,
        "policy_published, member_joined, certificate_issued"
    );
    for entry in &opened {
        let salt = entry.salt.as_slice().try_into().unwrap();
        let (leaf, told) = Leaf::opened(&salt, &entry.preimage).unwrap();
        assert_eq!(leaf.to_string(), entry.entry);
        assert!(told.code.is_of_key_log());
    }
    let known = network.gateway.member(&gp.org).unwrap();
    let policy = binding_hash(&network.gateway.policy().signed);
    let (_, told) = Leaf::opened(
        &opened[0].salt.as_slice().try_into().unwrap(),
        &opened[0].preimage,
    )
    .unwrap();
    assert_eq!(told.hash("policy"), Some(policy));
    assert_eq!(known.member.org, gp.org);

    let indexes: Vec<u64> = (0..256).map(|n| n * 5).collect();
    let request = v1::ProveLeavesRequest {
        epoch: 1,
        indexes: indexes.clone(),
    };
    let proven = log.prove_leaves(request).await.unwrap().into_inner();
    let note = Note::parse(proven.counted.as_bytes()).unwrap();
    let checkpoint = Checkpoint::open(&note, &[log_key(&network.gateway, 1)]).unwrap();
    for (index, leaf) in indexes.iter().zip(&proven.leaves) {
        assert_eq!(*index, leaf.index);
        let hashes: Vec<Hash> = leaf
            .hashes
            .iter()
            .map(|hash| Hash(hash.as_slice().try_into().unwrap()))
            .collect();
        let entry = &entries[usize::try_from(*index).unwrap()].entry;
        let hash = Hash::of_leaf(entry.as_bytes());
        verify_inclusion(checkpoint.head(), *index, &hash, &hashes).unwrap();
    }
    for (indexes, problem) in [
        (vec![size + 1_000_000], Problem::WrongState),
        (vec![0; 257], Problem::TooLarge),
    ] {
        let refused = log
            .prove_leaves(v1::ProveLeavesRequest { epoch: 1, indexes })
            .await;
        assert_eq!(failure_of(&refused.unwrap_err()).problem, problem);
    }
    network.stop().await;
}

#[tokio::test]
async fn the_service_is_for_members_alone_and_for_suspended_ones_too() {
    let network = Network::start(DATABASE).await;
    let channel = network.channel(None).await.unwrap();
    let mut log = v1::log_service_client::LogServiceClient::new(channel);
    let refused = log.get_checkpoint(v1::GetCheckpointRequest {}).await.unwrap_err();
    assert_eq!(failure_of(&refused).problem, Problem::Unauthenticated);
    // A suspended one too: it must see what is said about it.
    let gp = network.join("riverside-gp").await;
    let suspended = membership::set_standing(&network.gateway, &gp.org, Standing::Suspended).await;
    assert!(suspended.unwrap());
    let mut log = gp.log(&network).await;
    let read = log.get_checkpoint(v1::GetCheckpointRequest {}).await.unwrap();
    assert_eq!(
        read.into_inner().policy,
        Some(network.gateway.policy().signed.clone())
    );
    network.stop().await;
}

#[tokio::test]
async fn an_altered_event_of_the_key_log_is_not_shown_as_if_it_were_true() {
    let network = Network::start(DATABASE).await;
    let gp = network.join("riverside-gp").await;
    network.counted(4).await;
    let altered = network.gateway.store.tx("tamper", |mut tx| async move {
        let text = "UPDATE audit_event SET preimage = $1 WHERE code = 'member_joined'";
        let preimage = b"code=member_joined\nat_ms=1\norganisation=home-raids".to_vec();
        tx.run(kith_service::store::query(text).bind(preimage)).await
    });
    let altered: Result<u64, kith_service::store::StoreError> = altered.await;
    assert_eq!(altered.unwrap(), 1);
    let request = v1::ListEntriesRequest {
        epoch: 1,
        ..v1::ListEntriesRequest::default()
    };
    let refused = gp.log(&network).await.list_entries(request).await.unwrap_err();
    assert_eq!(failure_of(&refused).problem, Problem::Unavailable);
    network.stop().await;
}

#[tokio::test]
async fn slow_and_endless_requests_keep_nobody_from_reading_or_stopping() {
    let network = Network::start(DATABASE).await;
    network.counted(2).await;
    // More than there are places, each with the beginning of a request.
    let mut slow = Vec::new();
    for _ in 0..80 {
        let head = "POST /add-checkpoint HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\nold 0\n";
        slow.push(network.line(head.as_bytes()).await);
    }
    assert_eq!(network.fetch("/checkpoint").await.status, 200);
    let endless = format!(
        "GET /checkpoint HTTP/1.1\r\nHost: gateway\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    assert_eq!(network.speak(endless.as_bytes()).await.status, 431);
    let mut stop = v1::stop_service_client::StopServiceClient::new(network.channel(None).await.unwrap());
    let request = v1::StopSlipRequest {
        slip_id: vec![1; 16],
        stop_secret: vec![2; 32],
    };
    let refused = stop.stop_slip(request).await.unwrap_err();
    assert_ne!(failure_of(&refused).problem, Problem::Unavailable);
    drop(slow);
    network.stop().await;
}
