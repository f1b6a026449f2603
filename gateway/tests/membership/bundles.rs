//! Recovery bundles at the gateway: the newest whole one of each member, given to nobody but the holder of the sheet.

use super::DATABASE;
use crate::fixture::{DAY, HOUR, Network, Node};
use kith_gateway::limits::BUNDLES_PER_HOUR_MAX;
use kith_gateway::window;
use kith_proto::problem::Problem;
use kith_proto::recovery::fetch_hash;
use kith_proto::sign::sha256;
use kith_proto::v1::bundle_service_client::BundleServiceClient;
use kith_proto::v1::fetch_bundle_response::What as Given;
use kith_proto::v1::keep_bundle_request::What;
use kith_proto::v1::{self, KeepBundleRequest};
use kith_service::status::failure_of;
use kith_service::store::{StoreError, Tx, query};
use tonic::transport::Channel;

const SECRET: [u8; 32] = [7; 32];
const CHUNK: usize = 768 << 10;
/// More than the shortest bundle has.
const SMALL: usize = 1999;

fn head(bytes: &[u8]) -> v1::BundleHead {
    v1::BundleHead {
        made_at_ms: 5,
        bytes: bytes.len() as u64,
        hash: sha256(&[bytes]).to_vec(),
        fetch_hash: fetch_hash(&SECRET).to_vec(),
    }
}

async fn client(network: &Network, node: &Node) -> BundleServiceClient<Channel> {
    BundleServiceClient::new(network.channel(Some(node.identity())).await.unwrap())
}

async fn keep(
    client: &mut BundleServiceClient<Channel>,
    head: v1::BundleHead,
    bytes: &[u8],
) -> Result<(), (Problem, String)> {
    let chunks: Vec<Vec<u8>> = bytes.chunks(CHUNK).map(<[u8]>::to_vec).collect();
    let frames = [What::Head(head)]
        .into_iter()
        .chain(chunks.into_iter().map(What::Chunk));
    let frames: Vec<_> = frames
        .map(|what| KeepBundleRequest { what: Some(what) })
        .collect();
    let kept = client.keep_bundle(tokio_stream::iter(frames)).await;
    kept.map(drop).map_err(|status| {
        let failure = failure_of(&status);
        (failure.problem, failure.sentence().to_owned())
    })
}

async fn fetch(network: &Network, organisation: &str, secret: &[u8]) -> Result<Vec<u8>, (Problem, String)> {
    let refused = |status: tonic::Status| {
        let failure = failure_of(&status);
        (failure.problem, failure.sentence().to_owned())
    };
    let mut anonymous = BundleServiceClient::new(network.channel(None).await.unwrap());
    let request = v1::FetchBundleRequest {
        organisation: organisation.into(),
        fetch_secret: secret.to_vec(),
    };
    let mut answer = anonymous
        .fetch_bundle(request)
        .await
        .map_err(refused)?
        .into_inner();
    let (mut bytes, mut said) = (Vec::new(), None);
    while let Some(message) = answer.message().await.map_err(refused)? {
        match message.what.unwrap() {
            Given::Head(head) => said = Some(head),
            Given::Chunk(chunk) => bytes.extend(chunk),
        }
    }
    assert_eq!(said.unwrap().hash, sha256(&[&bytes]));
    Ok(bytes)
}

async fn chunks(network: &Network) -> i64 {
    let count = |mut tx: Tx| async move {
        let row = tx
            .one(query("SELECT CAST(COUNT(*) AS BIGINT) AS n FROM bundle_chunk"))
            .await?;
        row.unwrap().nth::<i64>(0)
    };
    network
        .gateway
        .store
        .read::<_, StoreError, _, _>("count", count)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_newest_whole_one_is_kept_and_fetched_with_its_secret() {
    let network = Network::start(DATABASE).await;
    let node = network.join("riverside-gp").await;
    let mut client = client(&network, &node).await;
    let (old, new) = (vec![1; 2 * CHUNK + 9], vec![2; CHUNK]);
    keep(&mut client, head(&old), &old).await.unwrap();
    assert_eq!(fetch(&network, "riverside-gp", &SECRET).await.unwrap(), old);
    keep(&mut client, head(&new), &new).await.unwrap();
    // The same again is no news.
    keep(&mut client, head(&new), &new).await.unwrap();
    assert_eq!(fetch(&network, "riverside-gp", &SECRET).await.unwrap(), new);
    assert_eq!(chunks(&network).await, 1, "the older one is gone");
    let audited = network.audited().await;
    let told = |code: &str| audited.iter().filter(|line| line.contains(code)).count();
    assert_eq!(
        (told("bundle_kept"), told("bundle_fetched")),
        (2, 2),
        "{audited:?}"
    );
    network.stop().await;
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_organisation_are_answered_alike() {
    let network = Network::start(DATABASE).await;
    let node = network.join("riverside-gp").await;
    let bytes = vec![1; SMALL];
    keep(&mut client(&network, &node).await, head(&bytes), &bytes)
        .await
        .unwrap();
    let wrong = fetch(&network, "riverside-gp", &[8; 32]).await.unwrap_err();
    assert_eq!(wrong.0, Problem::NotFound);
    for (organisation, secret) in [
        ("nobody-here", &SECRET[..]),
        ("riverside-gp", b"short"),
        ("Not a slug", &SECRET),
    ] {
        assert_eq!(fetch(&network, organisation, secret).await.unwrap_err(), wrong);
    }
    assert!(
        !network
            .audited()
            .await
            .iter()
            .any(|line| line.contains("bundle_fetched"))
    );
    network.stop().await;
}

#[tokio::test]
async fn what_is_not_as_it_was_said_leaves_the_one_before() {
    let network = Network::start(DATABASE).await;
    let node = network.join("riverside-gp").await;
    let mut client = client(&network, &node).await;
    let (good, other) = (vec![1; SMALL], vec![2; CHUNK + 1]);
    keep(&mut client, head(&good), &good).await.unwrap();
    let mut forged = head(&other);
    forged.hash[0] ^= 1;
    let mut huge = head(&other);
    huge.bytes = (256 << 20) + 1;
    let mut longer = head(&other);
    longer.bytes -= 1;
    let mut odd = head(&other);
    odd.fetch_hash.pop();
    // What is on the disk of the computer, given again so that nobody fetches it.
    let mut hidden = head(&good);
    hidden.fetch_hash = fetch_hash(&[8; 32]).to_vec();
    let junk = [7; 9];
    for (said, bytes, problem) in [
        (forged, other.as_slice(), Problem::Invalid),
        (huge, &other, Problem::TooLarge),
        (longer, &other, Problem::Invalid),
        (odd, &other, Problem::Invalid),
        (hidden, &good, Problem::Invalid),
        (head(&junk), &junk, Problem::Invalid),
        (head(&other), &other[..CHUNK], Problem::Invalid),
    ] {
        assert_eq!(keep(&mut client, said, bytes).await.unwrap_err().0, problem);
        assert_eq!(fetch(&network, "riverside-gp", &SECRET).await.unwrap(), good);
    }
    assert_eq!(chunks(&network).await, 1, "nothing is left of them");
    // Anonymous callers keep nothing.
    let mut anonymous = BundleServiceClient::new(network.channel(None).await.unwrap());
    let refused = keep(&mut anonymous, head(&good), &good).await.unwrap_err();
    assert_eq!(refused.0, Problem::Unauthenticated);
    network.stop().await;
}

/// As [`head`], fetched with another secret.
fn head_of(bytes: &[u8], secret: u8) -> v1::BundleHead {
    v1::BundleHead {
        fetch_hash: fetch_hash(&[secret; 32]).to_vec(),
        ..head(bytes)
    }
}

#[tokio::test]
async fn what_another_secret_fetches_takes_nobodys_place_for_two_days() {
    let network = Network::start(DATABASE).await;
    let node = network.join("riverside-gp").await;
    let mut client = client(&network, &node).await;
    let (good, newer) = (vec![1; SMALL], vec![9; SMALL]);
    keep(&mut client, head(&good), &good).await.unwrap();
    for number in 2..=3 {
        let junk = vec![number; SMALL];
        keep(&mut client, head_of(&junk, number), &junk).await.unwrap();
        assert_eq!(fetch(&network, "riverside-gp", &SECRET).await.unwrap(), good);
    }
    // More of them than are kept push nothing out, and what the member gives itself is taken all the same.
    let junk = vec![4; SMALL];
    let refused = keep(&mut client, head_of(&junk, 4), &junk).await.unwrap_err();
    assert_eq!(refused.0, Problem::Unavailable);
    keep(&mut client, head(&newer), &newer).await.unwrap();
    assert_eq!(fetch(&network, "riverside-gp", &SECRET).await.unwrap(), newer);
    assert_eq!(chunks(&network).await, 3, "one of each secret");
    let last = vec![5; SMALL];
    keep(&mut client, head_of(&last, 3), &last).await.unwrap();

    for (wait_ms, left) in [(DAY, 3), (DAY + HOUR, 1)] {
        network.time.advance(wait_ms);
        window::sweep_once(&network.gateway).await.unwrap();
        assert_eq!(chunks(&network).await, left);
    }
    assert!(fetch(&network, "riverside-gp", &SECRET).await.is_err());
    assert_eq!(fetch(&network, "riverside-gp", &[3; 32]).await.unwrap(), last);
    network.stop().await;
}

#[tokio::test]
async fn short_chunks_and_too_many_bundles_in_an_hour_are_refused() {
    let network = Network::start(DATABASE).await;
    let node = network.join("riverside-gp").await;
    let mut client = client(&network, &node).await;
    let good = vec![1; SMALL];
    let crumbs = [vec![1; SMALL - 1], vec![1]].into_iter().map(What::Chunk);
    let frames: Vec<_> = [What::Head(head(&good))]
        .into_iter()
        .chain(crumbs)
        .map(|what| KeepBundleRequest { what: Some(what) })
        .collect();
    let refused = client.keep_bundle(tokio_stream::iter(frames)).await.unwrap_err();
    assert_eq!(failure_of(&refused).problem, Problem::Invalid);
    for _ in 1..BUNDLES_PER_HOUR_MAX {
        keep(&mut client, head(&good), &good).await.unwrap();
    }
    let refused = keep(&mut client, head(&good), &good).await.unwrap_err();
    assert_eq!(refused.0, Problem::Unavailable);
    for _ in 0..BUNDLES_PER_HOUR_MAX {
        fetch_when_free(&network).await.unwrap();
    }
    let refused = fetch_when_free(&network).await.unwrap_err();
    assert_eq!(refused.0, Problem::Unavailable);
    network.time.advance(HOUR);
    keep(&mut client, head(&good), &good).await.unwrap();
    fetch_when_free(&network).await.unwrap();
    network.stop().await;
}

/// Fetches once the place of the fetch before is free, which is a moment after its last byte.
async fn fetch_when_free(network: &Network) -> Result<Vec<u8>, (Problem, String)> {
    let moment = std::time::Duration::from_millis(50);
    tokio::time::timeout(moment, std::future::pending::<()>())
        .await
        .ok();
    fetch(network, "riverside-gp", &SECRET).await
}

#[tokio::test]
async fn bundles_that_are_fetched_slowly_hold_no_place_of_other_calls() {
    let network = Network::start(DATABASE).await;
    let node = network.join("riverside-gp").await;
    let large = vec![1; 40 * CHUNK];
    keep(&mut client(&network, &node).await, head(&large), &large)
        .await
        .unwrap();
    let request = v1::FetchBundleRequest {
        organisation: "riverside-gp".into(),
        fetch_secret: SECRET.to_vec(),
    };
    // Read no further than its beginning.
    let mut anonymous = BundleServiceClient::new(network.channel(None).await.unwrap());
    let held = anonymous.fetch_bundle(request).await.unwrap();
    let refused = fetch(&network, "riverside-gp", &SECRET).await.unwrap_err();
    assert_eq!(refused.0, Problem::Unavailable, "one at a time");
    drop(held);
    crate::fixture::until("the place is free", async || {
        fetch(&network, "riverside-gp", &SECRET).await.is_ok()
    })
    .await;
    network.stop().await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_swept_after_a_day() {
    let network = Network::start(DATABASE).await;
    let node = network.join("riverside-gp").await;
    let mut client = client(&network, &node).await;
    let good = vec![1; SMALL];
    keep(&mut client, head(&good), &good).await.unwrap();
    let other = vec![2; 2 * CHUNK];
    let (frames, waiting) = tokio::sync::mpsc::channel(1);
    let mut broken = client.clone();
    let upload = tokio::spawn(async move {
        let frames = tokio_stream::wrappers::ReceiverStream::new(waiting);
        broken.keep_bundle(frames).await
    });
    for what in [What::Head(head(&other)), What::Chunk(other[..CHUNK].to_vec())] {
        frames.send(KeepBundleRequest { what: Some(what) }).await.unwrap();
    }
    crate::fixture::until("the chunk is there", async || chunks(&network).await == 2).await;
    // A second one of the same member is told to come again, while the first is at work.
    assert_eq!(
        keep(&mut client, head(&good), &good).await.unwrap_err().0,
        Problem::Unavailable
    );
    upload.abort();
    window::sweep_once(&network.gateway).await.unwrap();
    assert_eq!(chunks(&network).await, 2, "it may still be coming");
    network.time.advance(DAY + 1);
    window::sweep_once(&network.gateway).await.unwrap();
    assert_eq!(chunks(&network).await, 1);
    assert_eq!(fetch(&network, "riverside-gp", &SECRET).await.unwrap(), good);
    network.stop().await;
}
