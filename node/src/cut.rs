//! The end of everything under one slip at this node, inside a caller's transaction: keys destroyed, mail held back,
//! openings told to nobody any more, threads withdrawn; where it was captured here the gateway is to be told, and its grant ends with its last slip.
//! Called wherever consent ends: by `withdrawals`, for a WITHDRAWAL that arrived, for a stopped slip.
//! Never leaves a key, never withholds what only ends things.

use kith_proto::id::{EventId, HoldingId, SlipId, WithdrawalId};
use kith_proto::lifecycle::{Consent, Move, Party, Reason};
use kith_proto::problem::Problem;
use kith_proto::sign::sha256;
use kith_service::store::{StoreError, Tx};

use crate::audit::{Code, Event};
use crate::store;
use crate::store::withdrawals;
use crate::thread_set::ThreadSet;
use crate::threads::{Numbered, Side, Step};

/// In front of what the event id of a withdrawn thread is derived from.
const EVENT_LABEL: &[u8] = b"kith/node/withdraw\0";

/// What ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut<'a> {
    /// The slip.
    pub(crate) slip_id: SlipId,
    /// What was held under it.
    pub(crate) holding_id: HoldingId,
    /// On whose word.
    pub(crate) party: Party,
    /// The withdrawal, or what stands for it.
    pub(crate) withdrawal_id: &'a [u8; 16],
    /// When.
    pub(crate) at_ms: i64,
}

/// Cuts one slip that has not ended; gives what the trail is to say. A slip that was withdrawn before changes nothing.
pub(crate) async fn cut(
    tx: &mut Tx,
    threads: &mut ThreadSet,
    cut: &Cut<'_>,
) -> Result<Vec<Event>, StoreError> {
    let id = WithdrawalId::from_bytes(*cut.withdrawal_id);
    if !withdrawals::withdraw(tx, &cut.slip_id, &id, cut.at_ms).await? {
        return Ok(Vec::new());
    }
    withdrawals::stop_pending(tx, &cut.slip_id).await?;
    withdrawals::end_grant_of(tx, &cut.slip_id, cut.at_ms).await?;
    let destroyed = store::holding::destroy(tx, &[cut.holding_id], cut.at_ms).await?;
    let waiting = withdrawals::queued(tx, &cut.slip_id).await?;
    let held_back = waiting
        .iter()
        .filter(|one| !one.always_passes())
        .map(|one| one.seq);
    let held_back: Vec<i64> = held_back.collect();
    withdrawals::withhold(tx, &held_back, Problem::ConsentWithdrawn.as_str()).await?;
    withdrawals::forget_taken(tx, &cut.slip_id).await?;
    store::opening::forget(tx, &cut.slip_id).await?;
    for thread_id in threads.load_of_slips(tx, &[cut.slip_id]).await? {
        let Some(thread) = threads.get(&thread_id) else {
            continue;
        };
        let side = thread.side;
        let step = Step {
            event_id: event_id(cut.withdrawal_id, thread_id.as_bytes()),
            mv: Move::Withdraw,
            party: cut.party,
            reason: Some(Reason::NotSaid),
            happened_at_ms: cut.at_ms,
            deadline_ms: None,
            words_id: None,
            numbered: if side == Side::Inbox {
                Numbered::Here
            } else {
                Numbered::Not
            },
        };
        if let Err(refused) = threads.step(&thread_id, &step) {
            tracing::warn!(%refused, "a thread did not take its withdrawal");
        }
        if side == Side::Inbox {
            threads.set(&thread_id, |thread| thread.situation.consent = Consent::Erased);
        }
    }
    let mut trail = Vec::new();
    if destroyed > 0 {
        let event = Event::new(Code::HoldingDestroyed, cut.at_ms);
        trail.push(
            event
                .id("holding", cut.holding_id.as_bytes())
                .id("slip", cut.slip_id.as_bytes()),
        );
    }
    Ok(trail)
}

/// One event for each thread and withdrawal, the same however often it is told.
fn event_id(withdrawal_id: &[u8; 16], thread_id: &[u8; 16]) -> EventId {
    let hash = sha256(&[EVENT_LABEL, withdrawal_id, thread_id]);
    let mut id = [0; 16];
    // cannot leave a byte unset: the hash is longer than the id.
    for (to, from) in id.iter_mut().zip(hash) {
        *to = from;
    }
    EventId::from_bytes(id)
}
