//! A node that comes back from a backup: its database, or its whole data folder, is an older copy of itself.
//! Called by `kith-node restore`, which marks it ([`begin`]) and lets the network say what the backup cannot know ([`finish`]).
//! Never serves, signs or sends anything between the two; never begins two epochs of the log for one restore.
//!
//! ```text
//! begin: the row `restore`, drawn once ──> finish: ask the gateway (read whole before anything is written)
//!   ──> one transaction: the old epoch of the log ends, the next begins with the event that says why, alarms are put away,
//!       numbers of the inbox go on where none was lost
//!   ──> what was answered is settled, what was stopped is withdrawn, both by the link's own code
//!   ──> the gateway cosigns the new epoch ──> done
//! ```
//! From the new epoch on nothing is opened that was shared under another member's slip before that has returned the thread ([`crate::returning`]).
//! After an interruption every step may be taken again: under the same id, with the same effect. The epoch comes before what is
//! applied again, so that each withdrawal stands in a log that somebody vouches for.

mod books;
mod epoch;

use kith_proto::id::{OrgId, SlipId};
use kith_proto::problem::Problem;
use kith_proto::recovery::RestoreReason;
use kith_proto::v1;
use kith_service::log::LogError;
use kith_service::rng::RandomFailed;
use kith_service::store::{StoreError, Tx};
use kith_service::tls::dial::Dial;

use crate::link;
use crate::node::Node;
use crate::settle::{Answered, OutboxRow, SettleError, Settlement, Stopped};
use crate::store;
use crate::store::restore::Restore;
use crate::store::slip::SlipStanding;
use crate::store::status::Awaiting;

pub(crate) use books::{Books, Reader};

/// Envelopes that one question names: what the gateway takes at once.
pub(crate) const QUEUED_MAX: usize = 4096;
/// Rows settled in one go.
const SETTLED_MAX: usize = 512;
/// How long after a restore threads may still be returned: the mailbox window, for which a peer may be away.
pub const RETURNED_MS_MAX: i64 = 30 * crate::threads::DAY_MS;
/// What everybody is told until the restore is done.
pub const SENTENCE: &str = "This node's database is older than the network has seen it. Stop it and run `kith-node restore`; until then \
     nothing is shown, taken or sent.";

/// Why a restore did not come to its end, by what its operator can do; it goes on where it stopped when it is run again.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Nothing is to be restored: run the node.
    #[error("no restore is pending")]
    NothingPending,
    /// The gateway did not answer, or refused: see the problem.
    #[error("the gateway did not say what this node cannot know: {0}")]
    Gateway(String, Problem),
    /// The gateway has not cosigned the new epoch of the log: run it again; where that repeats, ask the network's operator.
    #[error("the gateway has not cosigned the new epoch of this node's log")]
    NotCosigned,
    /// What the gateway said cannot be believed: ask the network's owner.
    #[error("the gateway's answer cannot be believed: {0}")]
    Disbelieved(&'static str),
    /// The log of this database cannot be carried on: bring back another backup.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What had been answered was not settled.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl RestoreError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NothingPending => Problem::WrongState,
            Self::Gateway(_, problem) => *problem,
            Self::NotCosigned => Problem::Unavailable,
            Self::Disbelieved(_) => Problem::Unauthenticated,
            Self::Log(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Settle(error) => error.problem(),
            Self::Random(error) => error.problem(),
        }
    }
}

impl From<link::Ended> for RestoreError {
    fn from(ended: link::Ended) -> Self {
        match ended {
            link::Ended::Protocol(what) => Self::Disbelieved(what),
            ended => Self::Gateway(ended.to_string(), ended.problem()),
        }
    }
}

/// What came of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Slips whose withdrawal was applied again in this run.
    pub withdrawn: usize,
    /// Envelopes that had been answered since the backup.
    pub answered: usize,
    /// Who was asked to send again.
    pub asked: Vec<OrgId>,
    /// The epoch that the log goes on as.
    pub epoch: u64,
    /// Sign-ins that count in this copy, also where they were revoked since.
    pub tokens: usize,
    /// Whose word is awaited before anything that they shared is opened.
    pub awaiting: Vec<Awaiting>,
}

/// Marks this database as a backup that came back; the restore that is pending, where one is. The backup reaches to what the gateway
/// had cosigned of the log: what was written after that may be from after the loss.
pub async fn begin(node: &Node, reason: RestoreReason) -> Result<Restore, RestoreError> {
    let restore_id = node.rng.bytes()?;
    let now_ms = node.now_ms();
    let write = |mut tx: Tx| async move {
        if let Some(pending) = store::restore::pending(&mut tx).await? {
            return Ok(pending);
        }
        let backup_at_ms = epoch::reaches_to_ms(&mut tx).await?;
        let new = Restore::begun(restore_id, reason, (backup_at_ms, now_ms));
        store::restore::insert(&mut tx, &new).await?;
        Ok::<_, StoreError>(new)
    };
    let begun = node.store.tx("begin restore", write).await?;
    node.own_log_ended.send_replace(true);
    Ok(begun)
}

/// Whether a restore was begun and is not done.
pub async fn is_pending(node: &Node) -> Result<bool, RestoreError> {
    let read = |mut tx: Tx| async move { store::restore::pending(&mut tx).await };
    let pending = node.store.read::<_, StoreError, _, _>("restore", read).await?;
    Ok(pending.is_some())
}

/// Asks the network and takes over what it says, to the end; after an interruption it is called again.
pub async fn finish(node: &Node, dial: &Dial) -> Result<Restored, RestoreError> {
    let read = |mut tx: Tx| async move { store::restore::pending(&mut tx).await };
    let pending = node.store.read::<_, StoreError, _, _>("restore", read).await?;
    let restore = pending.ok_or(RestoreError::NothingPending)?;
    let mut gateway = link::restoring::reach(node, dial).await?;
    let mut restored = Restored {
        withdrawn: 0,
        answered: 0,
        asked: Vec::new(),
        epoch: 0,
        tokens: live_tokens(node).await?,
        awaiting: Vec::new(),
    };
    let mut after = 0;
    loop {
        let queued = &queued(node, after).await?;
        let books = gateway.ask(node, &restore, queued).await?;
        if restored.epoch == 0 {
            restored.epoch = epoch::open(node, &restore, books.cosigned.as_ref()).await?;
            restored.asked.clone_from(&books.asked);
        }
        take_over(node, queued, &books, &mut restored).await?;
        match queued.last() {
            Some(last) if queued.len() == QUEUED_MAX => after = last.seq,
            _ => break,
        }
    }
    node.log.catch_up(&node.keys.signing).await?;
    let (now_ms, id) = (node.now_ms(), &restore.restore_id);
    // Its own log goes on from here, also in this process; nothing else of the node runs in it.
    node.own_log_ended.send_replace(false);
    let cosigned = gateway.cosign(node).await;
    node.own_log_ended.send_replace(true);
    // The number is taken only once the gateway knows it: a second restore of the same backup must find it.
    if !cosigned? {
        return Err(RestoreError::NotCosigned);
    }
    let done = |mut tx: Tx| async move { store::restore::done(&mut tx, id, now_ms).await };
    node.store.tx::<_, StoreError, _, _>("restore done", done).await?;
    node.own_log_ended.send_replace(false);
    let read = |mut tx: Tx| async move { store::status::awaiting(&mut tx).await };
    restored.awaiting = node.store.read::<_, StoreError, _, _>("awaiting", read).await?;
    Ok(restored)
}

/// How many sign-ins this copy takes: tokens, and colleagues with their passkeys. Sessions ended with the restore.
async fn live_tokens(node: &Node) -> Result<usize, StoreError> {
    let read = |mut tx: Tx| async move { store::token::list(&mut tx).await };
    let tokens = node.store.read::<_, StoreError, _, _>("tokens", read).await?;
    let read = |mut tx: Tx| async move { store::colleague::list(&mut tx).await };
    let colleagues = node.store.read::<_, StoreError, _, _>("colleagues", read).await?;
    let tokens = tokens.iter().filter(|token| token.revoked_at_ms.is_none());
    let colleagues = colleagues.iter().filter(|one| one.ended_at_ms.is_none());
    Ok(tokens.count() + colleagues.count())
}

/// The envelopes that this database shows as not answered, after a place in the outbox.
pub(crate) async fn queued(node: &Node, after: i64) -> Result<Vec<OutboxRow>, StoreError> {
    let limit = i64::try_from(QUEUED_MAX).unwrap_or(i64::MAX);
    let read = |mut tx: Tx| async move { store::outgoing::pending(&mut tx, after, limit).await };
    node.store.read("queued envelopes", read).await
}

/// Settles what had been answered, then applies every stop, then takes the places in each order that the gateway holds.
async fn take_over(
    node: &Node,
    queued: &[OutboxRow],
    books: &Books,
    restored: &mut Restored,
) -> Result<(), RestoreError> {
    restored.answered += settle_answered(node, queued, books).await?;
    restored.withdrawn += stop_all(node, &books.stops).await?;
    let put = |mut tx: Tx| async move {
        store::pair::put_sent(&mut tx, &books.taken).await?;
        store::pair::put_received(&mut tx, &books.begins).await
    };
    Ok(node.store.tx::<_, StoreError, _, _>("pairs", put).await?)
}

/// Takes over what a gateway says that had forgotten the restore, in a node that serves: answers, stops, and where pairs begin.
pub(crate) async fn told_again(
    node: &Node,
    restore: &Restore,
    (queued, books): (&[OutboxRow], &Books),
) -> Result<(), SettleError> {
    settle_answered(node, queued, books).await?;
    stop_all(node, &books.stops).await?;
    let now_ms = node.now_ms();
    let put = |mut tx: Tx| async move {
        store::pair::put_received(&mut tx, &books.begins).await?;
        store::restore::insert(&mut tx, restore).await?;
        store::restore::done(&mut tx, &restore.restore_id, now_ms).await
    };
    Ok(node
        .store
        .tx::<_, StoreError, _, _>("restore told again", put)
        .await?)
}

/// Settles what had been answered; gives how many.
async fn settle_answered(node: &Node, queued: &[OutboxRow], books: &Books) -> Result<usize, SettleError> {
    let answered = books.answered.iter().filter_map(|one| {
        let row = queued.iter().find(|row| row.envelope_id == one.envelope_id)?;
        // What is to come again under a second number has its answer under the first, and goes all the same.
        if row.ordered && row.again && row.number.is_none() {
            return None;
        }
        let resealed = row.envelope_hash != one.envelope_hash;
        let row = OutboxRow {
            envelope_hash: one.envelope_hash,
            ..row.clone()
        };
        Some(Settlement::Answered(Answered {
            row,
            resealed,
            number: (one.number > 0).then_some(one.number),
            problem: one.problem,
            at_ms: one.taken_at_ms,
        }))
    });
    let answered: Vec<Settlement> = answered.collect();
    let count = answered.len();
    settle(node, answered).await?;
    Ok(count)
}

/// Applies stops; gives how many slips still stood.
async fn stop_all(node: &Node, stops: &[Stopped]) -> Result<usize, SettleError> {
    let mut stood = 0;
    for stops in stops.chunks(SETTLED_MAX) {
        stood += keep_stops(node, stops).await?;
        settle(node, stops.iter().copied().map(Settlement::Stopped).collect()).await?;
    }
    Ok(stood)
}

async fn settle(node: &Node, rows: Vec<Settlement>) -> Result<(), SettleError> {
    for settled in node.settle_door.submit_all(rows).await {
        node.tell_change(settled?);
    }
    Ok(())
}

/// Keeps the stops of slips that are not held here; gives how many of the others still stand.
async fn keep_stops(node: &Node, stops: &[Stopped]) -> Result<usize, StoreError> {
    let write = |mut tx: Tx| async move {
        let ids: Vec<SlipId> = stops.iter().map(|stop| stop.slip_id).collect();
        let held = store::slip_link::standing(&mut tx, &ids).await?;
        for stop in stops {
            if !held.iter().any(|(slip_id, ..)| *slip_id == stop.slip_id) {
                store::restore::keep_stop(&mut tx, &stop.slip_id, stop.at_ms).await?;
            }
        }
        let stands = |standing: &SlipStanding| *standing != SlipStanding::Withdrawn;
        Ok(held.iter().filter(|(_, standing, _)| stands(standing)).count())
    };
    node.store.tx("keep stops", write).await
}

/// The question about these envelopes.
pub(crate) fn question(
    restore: &Restore,
    received: Vec<v1::PairPosition>,
    queued: &[OutboxRow],
) -> v1::RestoreRequest {
    let named = queued.iter().map(|row| v1::QueuedEnvelope {
        envelope_id: row.envelope_id.as_bytes().to_vec(),
        envelope_hash: row.envelope_hash.to_vec(),
    });
    v1::RestoreRequest {
        restore_id: restore.restore_id.to_vec(),
        backup_at_ms: restore.backup_at_ms,
        received,
        queued: named.collect(),
    }
}
