//! Gives the newest recovery bundle to the gateway, on the stream's channel. Called as one half of a stream, and before a new sealing key
//! is published. Never ends a stream: whatever fails is tried again at the next look.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use kith_proto::recovery::BUNDLE_BYTES_MAX;
use kith_proto::v1::keep_bundle_request::What;
use kith_proto::v1::{self, KeepBundleRequest, bundle_service_client::BundleServiceClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::Channel;

use super::Ended;
use crate::keys::HeldSealingKey;
use crate::node::Node;
use crate::recovery::{keep, kept_sheet};
use crate::store::bundle::BundleRow;

/// Bytes of one message.
const CHUNK: usize = 768 << 10;
/// Messages that wait to leave.
const CHUNKS_MAX: usize = 2;
/// How often it is looked whether a bundle waits that nobody told of: one of a command beside.
const LOOK: Duration = Duration::from_secs(10 * 60);
/// The longest that giving a bundle may take: 256 MiB over a slow line.
const GIVING_MAX: Duration = Duration::from_secs(60 * 60);

/// Gives bundles as they come, until the stream ends.
pub(super) async fn run(node: &Node, channel: Channel) -> Result<(), Ended> {
    loop {
        if let Err(error) = give(node, &channel).await {
            tracing::warn!(%error, "the recovery bundle was not given to the gateway; the next look tries again");
        }
        #[expect(clippy::disallowed_methods, reason = "the worker that gives bundles")]
        let look = tokio::time::sleep(LOOK);
        tokio::select! {
            biased;
            () = node.bundle_made.notified() => {}
            () = look => {}
        }
    }
}

/// Whether a bundle with this key is kept somewhere, or need not be: there is no sheet, or the key has waited long enough. Makes and
/// gives one first.
pub(super) async fn holds_key(node: &Node, channel: &Channel, key: &HeldSealingKey, now_ms: i64) -> bool {
    if matches!(kept_sheet(&node.folder), Ok(None)) {
        return true;
    }
    if let Err(error) = keep::before_publishing(node, now_ms).await {
        tracing::warn!(%error, "no recovery bundle could be made for a new sealing key");
    }
    if let Err(error) = give(node, channel).await {
        tracing::warn!(%error, "the recovery bundle was not given to the gateway");
    }
    let is_held = keep::holds_key(node, &key.id).await.unwrap_or(false);
    is_held || now_ms.saturating_sub(key.made_at_ms) >= keep::HOLD_OFF_MS
}

/// Gives the newest bundle, unless the gateway has it or it is of an older sheet.
async fn give(node: &Node, channel: &Channel) -> Result<(), Ended> {
    let Ok(Some(sheet)) = kept_sheet(&node.folder) else {
        return Ok(());
    };
    // One at a time: the file is not replaced meanwhile.
    let _held = node.bundling.lock().await;
    let row = keep::newest(&node.store).await?;
    let waiting = row.filter(|row| row.gateway_at_ms.is_none() && row.sheet == sheet.id.0);
    let Some(row) = waiting.filter(|row| Path::new(&row.path).is_file()) else {
        return Ok(());
    };
    let kept_at_ms = send(&row, sheet.fetch_hash, channel).await?;
    keep::given(node, &row.hash, kept_at_ms).await?;
    tracing::info!("the gateway keeps the newest recovery bundle");
    Ok(())
}

async fn send(row: &BundleRow, fetch_hash: [u8; 32], channel: &Channel) -> Result<i64, Ended> {
    let bytes = u64::try_from(row.bytes).unwrap_or(u64::MAX);
    if bytes > BUNDLE_BYTES_MAX {
        return Err(Ended::Protocol("a bundle that is too long"));
    }
    let head = v1::BundleHead {
        made_at_ms: row.made_at_ms,
        bytes,
        hash: row.hash.to_vec(),
        fetch_hash: fetch_hash.to_vec(),
    };
    let (frames, waiting) = mpsc::channel(CHUNKS_MAX);
    let path = row.path.clone();
    let reading = async move {
        let mut next = Some(What::Head(head));
        // Whoever waits for nothing more has answered already; a file that cannot be read ends the upload short, and it is refused.
        let mut file = File::open(path).ok();
        while let Some(what) = next.take() {
            if frames.send(KeepBundleRequest { what: Some(what) }).await.is_err() {
                break;
            }
            next = file.as_mut().and_then(chunk).map(What::Chunk);
        }
    };
    let mut request = Request::new(ReceiverStream::new(waiting));
    request.set_timeout(GIVING_MAX);
    let mut client = BundleServiceClient::new(channel.clone());
    let (answer, ()) = tokio::join!(client.keep_bundle(request), reading);
    Ok(answer?.into_inner().kept_at_ms)
}

/// The next bytes of a file; `None` at its end, or where it cannot be read.
fn chunk(file: &mut File) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHUNK);
    // widens: a constant.
    file.take(CHUNK as u64).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then_some(bytes)
}
