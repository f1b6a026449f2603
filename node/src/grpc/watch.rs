//! `WatchReferrals`: every change after a cursor, then live, until the caller goes or the node stops.
//! Called by the `ReferralService` handlers. A broken stream goes on from the last cursor; a change may then come twice.
//! It must never pile up changes for a caller who does not read: it reads the store only as fast as they are taken.

use super::page::{List, token};
use super::{Edge, listed, refused};
use crate::threads_view::{self, Visible};
use crate::tokens::Caller;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::status::{Failure, status};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

/// Changes on their way to one caller.
const UNREAD_MAX: usize = 64;
/// When to come again when every place for a watch is taken, in ms.
const RETRY_AFTER_MS: i64 = 5_000;

type Changes = mpsc::Sender<Result<v1::WatchReferralsResponse, Status>>;

/// Starts a watch after this place in the order of changes; that it began is in the trail before anything is sent.
pub(crate) async fn start(
    edge: &Edge,
    caller: &Caller,
    after: i64,
) -> Result<mpsc::Receiver<Result<v1::WatchReferralsResponse, Status>>, Failure> {
    let place = edge.watches.clone().try_acquire_owned();
    let place = place.map_err(|_| Failure::new(Problem::Unavailable).with_retry_after(RETRY_AFTER_MS))?;
    let noted = threads_view::note_watch(&edge.node, caller).await;
    noted.map_err(|error| refused(error.problem().into(), &error))?;
    let (changes, watched) = mpsc::channel(UNREAD_MAX);
    edge.shutdown
        .spawn(follow(edge.clone(), (listed(caller), after), changes, place));
    Ok(watched)
}

async fn follow(edge: Edge, from: (Visible, i64), changes: Changes, _place: OwnedSemaphorePermit) {
    let stop = edge.shutdown.wait();
    let ended = tokio::select! {
        ended = send_all(&edge, from, &changes) => ended,
        // Goes on here as soon as the caller has gone, also while nothing changes.
        () = changes.closed() => return,
        older = edge.is_older() => older,
        () = stop => Failure::new(Problem::Unavailable).with_retry_after(RETRY_AFTER_MS),
    };
    changes.send(Err(status(ended))).await.ok();
}

/// Sends what has changed, waits for more, and so on; ends only with a failure.
async fn send_all(edge: &Edge, (visible, mut after): (Visible, i64), changes: &Changes) -> Failure {
    let mut latest = edge.node.changes.subscribe();
    loop {
        // Seen before the store is read, so that a change in between wakes us again.
        latest.mark_unchanged();
        let found = match threads_view::changes(&edge.node, visible, after).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "a watch could not read on");
                return Failure::new(error.problem());
            }
        };
        if found.is_empty() && latest.changed().await.is_err() {
            return Failure::new(Problem::Unavailable);
        }
        for (place, referral) in found {
            let change = v1::WatchReferralsResponse {
                cursor: token(List::Changes, &place.to_be_bytes()),
                referral: Some(referral),
            };
            if changes.send(Ok(change)).await.is_err() {
                return Failure::new(Problem::Unavailable);
            }
            after = place;
        }
    }
}
