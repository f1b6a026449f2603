//! Stopping a slip: from the commit on the gate takes nothing more under it, and what waits is buried. Called by the relay with a
//! member's notice, and by the edge of `StopService` with the stop secret. Learns no name; never stops a slip for somebody who is
//! neither its party nor holds its secret, and tells such a caller no more than that it is done.

use std::collections::BTreeSet;

use kith_proto::id::{OrgId, SlipId};
use kith_proto::problem::Problem;
use kith_proto::slip::stop_hash;
use kith_proto::v1;
use kith_service::status::Failure;
use kith_service::store::{StoreError, Tx};

use crate::audit::{Code, Event, Salted};
use crate::budget::Purpose;
use crate::gateway::Gateway;
use crate::relay::bury::{BuryError, Told, bury};
use crate::store::mailbox;
use crate::store::notice::Frame;
use crate::store::slip::{self, SlipRow, StopRow};

/// Why a slip was not stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// No slip has this id and this secret; which of the two is wrong is not said.
    #[error("no slip is stopped by this secret")]
    NotFound,
    /// The member has left too much for nothing in this hour: say it again in the next.
    #[error("the member has nothing left of this hour")]
    Budget,
    /// The rows could not be written, or the gateway could not sign: try again.
    #[error(transparent)]
    Bury(#[from] BuryError),
}

impl StopError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::NotFound,
            Self::Budget => Problem::Unavailable,
            Self::Bury(error) => error.problem(),
        }
    }
}

impl From<StoreError> for StopError {
    fn from(error: StoreError) -> Self {
        Self::Bury(error.into())
    }
}

/// Stops the slip that the secret opens; returns when it was stopped, ms UTC: the first time, when it comes again.
pub async fn by_secret(gateway: &Gateway, slip_id: SlipId, secret: &[u8; 32]) -> Result<i64, Failure> {
    let opened = stop_hash(secret);
    let stopped = gateway
        .store
        .tx("stop by secret", |mut tx| async move {
            let tx = &mut tx;
            let slip = slip::lock(tx, slip_id).await?;
            // Hashes of 256 random bits: how long comparing takes tells nothing of the secret.
            let slip = slip
                .filter(|slip| slip.stop_hash == opened)
                .ok_or(StopError::NotFound)?;
            if let Some(stop) = standing(tx, slip_id).await? {
                return Ok((stop.stopped_at_ms, BTreeSet::new()));
            }
            let mut told = Told::default();
            let at_ms = stop(gateway, tx, (slip_id, &slip), None, &mut told).await?;
            Ok::<_, StopError>((at_ms, told.write(tx).await?))
        })
        .await;
    match stopped {
        Ok((at_ms, woken)) => {
            gateway.relay.wake_all(&woken);
            Ok(at_ms)
        }
        Err(error) => {
            if error.problem() != Problem::NotFound {
                tracing::warn!(%error, "a slip was not stopped");
            }
            Err(Failure::new(error.problem()))
        }
    }
}

/// What became of a member's word about a slip.
enum Said {
    /// The slip is stopped by it: both parties are told with a notice.
    Stopped,
    /// It was kept, for when the slip is seen.
    Kept(StopRow),
    /// Nothing is written: it was said before, or a stranger says it.
    Before(StopRow),
}

/// Stops a slip for a member that is a party to it. Of a slip that no envelope has shown yet the member's word is kept: it counts
/// once the slip shows that the member is a party. Returns what the caller answers at once where no notice tells the member; a
/// repeat leaves nothing, and is answered as often as it comes.
pub async fn by_member(
    gateway: &Gateway,
    member: &OrgId,
    slip_id: SlipId,
) -> Result<Option<v1::SlipStopped>, StopError> {
    let (said, woken) = gateway
        .store
        .tx("stop by member", |mut tx| async move {
            let tx = &mut tx;
            let mut told = Told::default();
            let said = match slip::lock(tx, slip_id).await? {
                Some(slip) if slip.has(member) => match standing(tx, slip_id).await? {
                    Some(stop) => Said::Before(stop),
                    None => {
                        stop(gateway, tx, (slip_id, &slip), Some(member), &mut told).await?;
                        Said::Stopped
                    }
                },
                Some(_) => Said::Before(now(gateway, Some(member))),
                None => keep(gateway, tx, slip_id, member, &mut told).await?,
            };
            Ok::<_, StopError>((said, told.write(tx).await?))
        })
        .await?;
    gateway.relay.wake_all(&woken);
    Ok(match said {
        Said::Stopped => None,
        Said::Before(row) => Some(stopped(slip_id, &row)),
        Said::Kept(row) => {
            gateway.budgets.spend(member, 1, row.stopped_at_ms);
            Some(stopped(slip_id, &row))
        }
    })
}

/// The stop of a slip that counts.
async fn standing(tx: &mut Tx, slip_id: SlipId) -> Result<Option<StopRow>, StoreError> {
    let mut stops = slip::stops(tx, &[slip_id]).await?;
    Ok(stops.remove(&slip_id))
}

/// Stops a locked slip that was not stopped.
async fn stop(
    gateway: &Gateway,
    tx: &mut Tx,
    (slip_id, slip): (SlipId, &SlipRow),
    member: Option<&OrgId>,
    told: &mut Told,
) -> Result<i64, BuryError> {
    let row = now(gateway, member);
    slip::stop(tx, slip_id, &row).await?;
    told.events.push(event(gateway, (slip_id, Some(slip)), &row)?);
    let waiting = mailbox::of_slip(tx, slip_id).await?;
    bury(gateway, tx, &waiting, Problem::ConsentWithdrawn, told).await?;
    for party in [&slip.sender, &slip.recipient] {
        told.notice(party, Frame::Stopped(stopped(slip_id, &row)));
    }
    Ok(row.stopped_at_ms)
}

/// Keeps the word of a member about a slip that was never seen, beside those of others.
async fn keep(
    gateway: &Gateway,
    tx: &mut Tx,
    slip_id: SlipId,
    member: &OrgId,
    told: &mut Told,
) -> Result<Said, StopError> {
    let row = now(gateway, Some(member));
    if slip::said(tx, slip_id, member).await?.is_some() {
        // With the time of now, as a stranger is answered: nobody learns from a repeat whether the slip has been seen.
        return Ok(Said::Before(row));
    }
    let wait_ms = gateway
        .budgets
        .wait_ms(member, Purpose::Ending, row.stopped_at_ms);
    if wait_ms.is_some() {
        return Err(StopError::Budget);
    }
    slip::stop(tx, slip_id, &row).await?;
    told.events.push(event(gateway, (slip_id, None), &row)?);
    Ok(Said::Kept(row))
}

fn now(gateway: &Gateway, member: Option<&OrgId>) -> StopRow {
    StopRow {
        organisation: member.cloned(),
        stopped_at_ms: gateway.clock.now_ms(),
    }
}

fn stopped(slip_id: SlipId, stop: &StopRow) -> v1::SlipStopped {
    v1::SlipStopped {
        slip_id: slip_id.as_bytes().to_vec(),
        stopped_at_ms: stop.stopped_at_ms,
        by_secret: stop.organisation.is_none(),
    }
}

/// The line of a stop; of a slip that was seen with both its members, so that either finds it whoever said it.
fn event(
    gateway: &Gateway,
    (slip_id, slip): (SlipId, Option<&SlipRow>),
    stop: &StopRow,
) -> Result<Salted, BuryError> {
    let event = Event::new(Code::SlipStopped, stop.stopped_at_ms).id("slip", slip_id.as_bytes());
    let event = match slip {
        Some(slip) => event.org("from", &slip.sender).org("to", &slip.recipient),
        None => event,
    };
    let event = match &stop.organisation {
        Some(member) => event.org("by", member),
        None => event.word("shown", "stop_secret"),
    };
    Salted::new(&gateway.rng, event).map_err(|_| BuryError::Library)
}
