//! What only time brings: threads expire, days' openings are reported, consent runs out, envelopes grow too old, rows leave their windows,
//! keys turn.
//! The server calls [`tick`] every few seconds, tests and simulations once with a time of their own.
//! Never reads a clock for its judgement, never erases by a time that is not believed, never does twice what one tick did;
//! a failed step leaves the rest to the next.

mod belief;
pub mod bundles;
mod expire;
mod lapse;
mod old_keys;
mod report;
mod resend;
mod tidy;

use kith_proto::problem::Problem;
use kith_service::store::{StoreError, Tx};

use crate::content::{RotationError, rotate_epoch};
use crate::keys::KeysError;
use crate::moves::MoveError;
use crate::node::Node;
use crate::returning;
use crate::store;
use crate::threads::DAY_MS;
use crate::withdrawals::WithdrawError;

use belief::Belief;
pub use belief::{ALONE_MS_MAX, is_plausible};

/// After a deadline, how long the other side's word may still come before a thread expires: 24 hours (design, section 5).
pub const EXPIRE_AFTER_MS: i64 = DAY_MS;
/// How long the link must have been up before a thread expires, so that what waited at the gateway has come first: 1 min.
pub const CAUGHT_UP_MS: i64 = 60 * 1000;
/// After a restore, how long the other sides have to return threads before old deadlines count again: a week, so that a group that opens
/// one day in seven has been there.
pub const RETURN_MS: i64 = 7 * DAY_MS;
/// From the end of a consent to the end of access: 14 days' notice to both sides (design, section 7).
pub const NOTICE_MS: i64 = 14 * DAY_MS;
/// How long an envelope that has its answer is kept, for a gateway that must be restored: 30 days (design, section 5).
pub const OUTBOX_KEPT_MS: i64 = 30 * DAY_MS;
/// How long the line of such an envelope is kept, its number and hash: a recipient that lost it must still be able to pass its number.
/// The gateway knows its outcome for 60 days, waits 30 for its sender, and two are spare.
pub const OUTBOX_LINES_KEPT_MS: i64 = 92 * DAY_MS;
/// How long first answers to writes are kept: 60 days.
pub const REQUESTS_KEPT_MS: i64 = 60 * DAY_MS;
/// How long ids of received envelopes are kept: one day more than the gateway may deliver one again (60 days).
pub const RECEIVED_KEPT_MS: i64 = 61 * DAY_MS;
/// How often the epoch key turns: daily, so that what was destroyed is out of old copies within 24 hours.
pub const ROTATE_EVERY_MS: i64 = DAY_MS;
/// How often rows are tidied away and lost withdrawals sent again: hourly.
pub const TIDY_EVERY_MS: i64 = 60 * 60 * 1000;
/// How many things of one sort are handled in one go; a tick goes on until none is left.
const CHUNK: i64 = 64;

const TIDY: &str = "prune";
const ROTATE: &str = "rotate";

/// What one tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticked {
    /// Nothing was done: the time is not believed before the gateway has greeted.
    pub is_held_back: bool,
    /// It was held back by a clock that does not fit what the gateway said last, not for want of any such word.
    pub is_in_doubt: bool,
    /// Threads whose standing goes back to a member that came back from a backup.
    pub threads_returned: u64,
    /// Reports of a day's openings to the member that captured the consent.
    pub access_reports: u64,
    /// Threads that expired.
    pub threads_expired: u64,
    /// Grants whose time was over.
    pub grants_expired: u64,
    /// Slips whose time was over, of either side.
    pub slips_expired: u64,
    /// Slips whose notice was over: what was held under them is erased.
    pub slips_cut: u64,
    /// Envelopes that nobody will take any more.
    pub envelopes_given_up: u64,
    /// Withdrawals that were lost on the way and are sent again.
    pub withdrawals_resent: u64,
    /// Rows deleted.
    pub rows_pruned: u64,
    /// Holdings wrapped under a new epoch key; none where no rotation was due.
    pub holdings_rotated: Option<u64>,
    /// Sealing keys that were destroyed.
    pub sealing_keys_destroyed: u64,
}

/// Why a tick stopped; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum TimerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event could not be told.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// A withdrawal could not be sealed again.
    #[error(transparent)]
    Withdraw(#[from] WithdrawError),
    /// The epoch could not turn.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// Old sealing keys could not be destroyed.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl TimerError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => error.problem(),
            Self::Move(error) => error.problem(),
            Self::Withdraw(error) => error.problem(),
            Self::Rotation(error) => error.problem(),
            Self::Keys(error) => error.problem(),
        }
    }
}

/// Does everything that is due at `now_ms`, the gateway's time; nothing while that is only a guess of a doubtful clock.
pub async fn tick(node: &Node, now_ms: i64) -> Result<Ticked, TimerError> {
    if *node.own_log_ended.borrow() {
        return Ok(Ticked {
            is_held_back: true,
            ..Ticked::default()
        });
    }
    let belief = belief::judge(node, now_ms).await?;
    if belief != Belief::Believed {
        return Ok(Ticked {
            is_held_back: true,
            is_in_doubt: belief == Belief::Doubted,
            ..Ticked::default()
        });
    }
    let returned = returning::give(node, now_ms).await?;
    let mut ticked = Ticked {
        threads_returned: returned,
        threads_expired: expire::threads(node, now_ms).await?,
        access_reports: report::openings(node, now_ms).await?,
        ..Ticked::default()
    };
    lapse::end(node, now_ms, &mut ticked).await?;
    lapse::cut(node, now_ms, &mut ticked).await?;
    ticked.envelopes_given_up = tidy::give_up(node, now_ms).await?;
    if is_due(node, TIDY, (TIDY_EVERY_MS, now_ms)).await? {
        ticked.withdrawals_resent = resend::withdrawals(node, now_ms).await?;
        ticked.rows_pruned = tidy::prune(node, now_ms).await?;
        ran(node, TIDY, now_ms).await?;
    }
    if is_due(node, ROTATE, (ROTATE_EVERY_MS, now_ms)).await? {
        ticked.holdings_rotated = Some(rotate_epoch(node).await?);
        ticked.sealing_keys_destroyed = old_keys::destroy(node, now_ms).await?;
        ran(node, ROTATE, now_ms).await?;
    }
    Ok(ticked)
}

/// Whether a slow timer is due; one that never ran begins to count now, one that ran in the future is due.
async fn is_due(node: &Node, name: &'static str, (every_ms, now_ms): (i64, i64)) -> Result<bool, StoreError> {
    let last = |mut tx: Tx| async move { store::timers::last(&mut tx, name).await };
    match node.store.read::<_, StoreError, _, _>("timer", last).await? {
        Some(last_ms) => Ok(now_ms.saturating_sub(last_ms).saturating_abs() >= every_ms),
        None => ran(node, name, now_ms).await.map(|()| false),
    }
}

async fn ran(node: &Node, name: &'static str, now_ms: i64) -> Result<(), StoreError> {
    let note = |mut tx: Tx| async move { store::timers::ran(&mut tx, name, now_ms).await };
    node.store.tx("timer", note).await
}
