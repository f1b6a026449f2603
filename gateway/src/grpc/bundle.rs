//! `BundleService`: keeping needs the certificate of a member of this network; fetching is anonymous and needs the sheet's secret.
//! Logs no secret and no hash.

use super::{Anonymous, caller, missing};
use crate::bundles::{self, BundleError, Giving, Keeping};
use crate::gateway::Gateway;
use crate::limits::{BUNDLE_MESSAGE_MS_MAX, BUNDLE_MS_MAX};
use kith_proto::problem::Problem;
use kith_proto::v1::bundle_service_server::BundleService;
use kith_proto::v1::fetch_bundle_response::What as Given;
use kith_proto::v1::keep_bundle_request::What as Kept;
use kith_proto::v1::{self, FetchBundleResponse, KeepBundleRequest};
use kith_service::status::{Failure, status};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The edge of recovery bundles.
pub(crate) struct Bundle {
    pub(super) gateway: Arc<Gateway>,
    pub(super) anonymous: Arc<Anonymous>,
}

#[tonic::async_trait]
impl BundleService for Bundle {
    type FetchBundleStream = ReceiverStream<Result<FetchBundleResponse, Status>>;

    async fn keep_bundle(
        &self,
        request: Request<Streaming<KeepBundleRequest>>,
    ) -> Result<Response<v1::KeepBundleResponse>, Status> {
        let peer = caller(&self.gateway, &request).map_err(status)?;
        let mut messages = request.into_inner();
        let keeping = async {
            let Some(Kept::Head(head)) = next(&mut messages).await? else {
                return Err(status(missing("head")));
            };
            let begun = Keeping::begin(&self.gateway, &peer.org, &head).await;
            let mut keeping = begun.map_err(|error| refused("keep_bundle", &error))?;
            loop {
                match next(&mut messages).await? {
                    Some(Kept::Chunk(chunk)) => {
                        let taken = keeping.chunk(&chunk).await;
                        taken.map_err(|error| refused("keep_bundle", &error))?;
                    }
                    Some(Kept::Head(_)) => return Err(status(missing("chunk"))),
                    None => break,
                }
            }
            keeping
                .end()
                .await
                .map_err(|error| refused("keep_bundle", &error))
        };
        let kept = timeout(Duration::from_millis(BUNDLE_MS_MAX), keeping).await;
        let kept_at_ms = kept.map_err(|_| status(Failure::new(Problem::DeadlineExceeded)))??;
        Ok(Response::new(v1::KeepBundleResponse { kept_at_ms }))
    }

    async fn fetch_bundle(
        &self,
        request: Request<v1::FetchBundleRequest>,
    ) -> Result<Response<Self::FetchBundleStream>, Status> {
        // For the search alone; what leaves has a place of its own kind until the last byte has left.
        let _place = self.anonymous.enter().map_err(status)?;
        let request = request.into_inner();
        let found = bundles::fetch(&self.gateway, &request.organisation, &request.fetch_secret).await;
        let giving = found.map_err(|error| refused("fetch_bundle", &error))?;
        let (frames, waiting) = mpsc::channel(1);
        tokio::spawn(give(self.gateway.clone(), giving, frames));
        Ok(Response::new(ReceiverStream::new(waiting)))
    }
}

/// Gives a bundle chunk by chunk, until it is over, the caller has gone or reads too slowly.
async fn give(
    gateway: Arc<Gateway>,
    mut giving: Giving,
    frames: mpsc::Sender<Result<FetchBundleResponse, Status>>,
) {
    let work = async {
        let mut what = Some(Given::Head(giving.head()));
        while let Some(frame) = what {
            let frame = FetchBundleResponse { what: Some(frame) };
            let sent = timeout(
                Duration::from_millis(BUNDLE_MESSAGE_MS_MAX),
                frames.send(Ok(frame)),
            )
            .await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
            what = match giving.next(&gateway).await {
                Ok(chunk) => chunk.map(Given::Chunk),
                Err(error) => {
                    // Nobody is left to tell when this fails.
                    frames.try_send(Err(refused("fetch_bundle", &error))).ok();
                    return;
                }
            };
        }
    };
    // Nobody waits for longer than the whole may take.
    timeout(Duration::from_millis(BUNDLE_MS_MAX), work).await.ok();
}

/// The next message, within its deadline.
async fn next(messages: &mut Streaming<KeepBundleRequest>) -> Result<Option<Kept>, Status> {
    let message = timeout(Duration::from_millis(BUNDLE_MESSAGE_MS_MAX), messages.message()).await;
    let message = message.map_err(|_| status(Failure::new(Problem::DeadlineExceeded)))??;
    match message {
        Some(message) => message.what.map(Some).ok_or_else(|| status(missing("chunk"))),
        None => Ok(None),
    }
}

/// Logs the cause once, here at the edge, and answers the problem.
fn refused(call: &'static str, error: &BundleError) -> Status {
    tracing::info!(call, %error, problem = error.problem().as_str(), "refused");
    status(error.failure())
}
