//! Fetches the bundle that the gateway keeps of an organisation, with the fetch secret of its sheet; no certificate is needed.
//! Called by a restore on a new computer. Never gives a file out whose length and hash are not what the gateway said.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest;
use kith_proto::id::{NetworkName, OrgId};
use kith_proto::problem::Problem;
use kith_proto::recovery::{BUNDLE_BYTES_MAX, RecoveryKeys};
use kith_proto::trust::Issuer;
use kith_proto::v1::fetch_bundle_response::What;
use kith_proto::v1::{self, bundle_service_client::BundleServiceClient};
use kith_service::clock::Clock;
use kith_service::status::{Failure, failure_of};
use kith_service::tls::dial::Dial;
use tonic::Request;

use super::RecoveryError;
use crate::link;

/// The longest wait for the whole bundle: 256 MiB over a slow line.
const FETCHING_MAX: Duration = Duration::from_secs(60 * 60);

/// Which gateway, and how it is known.
#[derive(Clone, Copy, Debug)]
pub struct Gateway<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// The network.
    pub network: &'a NetworkName,
    /// What it may speak with, by the root's word.
    pub issuer: &'a Issuer,
    /// The time.
    pub clock: &'a Clock,
}

/// Writes the kept bundle to a file and says when it was made. The file is there whole or not at all; whether it opens is for
/// [`check`](super::load::check) to say. [`Problem::NotFound`] when the gateway keeps none of this organisation, or of another sheet.
pub async fn fetch(
    dial: &Dial,
    gateway: &Gateway<'_>,
    organisation: &OrgId,
    keys: &RecoveryKeys,
    file: &Path,
) -> Result<i64, RecoveryError> {
    let asked = link::Gateway {
        address: gateway.address,
        network: gateway.network,
        issuer: gateway.issuer,
        clock: gateway.clock,
    };
    let channel = link::anonymous(&asked, dial).await;
    let channel = channel.map_err(|ended| refused(Failure::new(ended.problem())))?;
    let mut request = Request::new(v1::FetchBundleRequest {
        organisation: organisation.to_string(),
        fetch_secret: keys.fetch_secret.to_vec(),
    });
    request.set_timeout(FETCHING_MAX);
    let answer = BundleServiceClient::new(channel).fetch_bundle(request).await;
    let mut answer = answer
        .map_err(|status| refused(failure_of(&status)))?
        .into_inner();
    let mut beside = file.to_owned().into_os_string();
    beside.push(".part");
    let beside = Path::new(&beside);
    let fetched = receive(&mut answer, beside).await;
    if fetched.is_err() {
        fs::remove_file(beside).ok();
    }
    let made_at_ms = fetched?;
    fs::rename(beside, file)?;
    Ok(made_at_ms)
}

async fn receive(
    answer: &mut tonic::Streaming<v1::FetchBundleResponse>,
    beside: &Path,
) -> Result<i64, RecoveryError> {
    let mut file = File::create(beside)?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let (mut head, mut bytes) = (None::<v1::BundleHead>, 0_u64);
    while let Some(message) = answer
        .message()
        .await
        .map_err(|status| refused(failure_of(&status)))?
    {
        match (message.what, &head) {
            (Some(What::Head(said)), None) => head = Some(said),
            (Some(What::Chunk(chunk)), Some(said)) => {
                bytes += chunk.len() as u64; // widens.
                if bytes > said.bytes || bytes > BUNDLE_BYTES_MAX {
                    return Err(refused(Failure::new(Problem::TooLarge)));
                }
                hash.update(&chunk);
                file.write_all(&chunk)?;
            }
            _ => return Err(refused(Failure::new(Problem::Invalid))),
        }
    }
    let hash = hash.finish();
    let said = head.filter(|said| said.bytes == bytes && said.hash == hash.as_ref());
    file.sync_all()?;
    said.map(|said| said.made_at_ms)
        .ok_or_else(|| refused(Failure::new(Problem::Unavailable)))
}

fn refused(failure: Failure) -> RecoveryError {
    RecoveryError::Gateway(Box::new(failure))
}
