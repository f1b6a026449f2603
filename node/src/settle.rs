//! What others said about envelopes of this node: the gateway's receipts and refusals, recipients' receipts, drops, stops.
//! The link verifies the signatures, then hands them in here; the batch door `settle` writes many in one transaction.
//! Never takes a word twice for two: every effect asks first whether it is there already.

mod answers;
mod notices;
mod reoffers;

use std::collections::BTreeSet;

use kith_proto::id::{EnvelopeId, OrgId, SlipId, ThreadId};
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::words::EnvelopeKind;
use kith_service::rng::Rng;
use kith_service::store::{Batch, Store, StoreError, Tx};

use crate::audit::{self, Event};
use crate::store::counter::Counter;
use crate::thread_set::ThreadSet;

/// Most rows of one transaction: as many as may be in flight at a busy node, some 20 ms of the one writer.
pub const SETTLE_ROWS_MAX: usize = 512;

/// A row of the outbox on its way to the gateway, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its place in the outbox.
    pub seq: i64,
    /// Who it is for.
    pub peer: OrgId,
    /// What it carries.
    pub kind: EnvelopeKind,
    /// Its thread.
    pub thread_id: ThreadId,
    /// The slip that it goes under.
    pub slip_id: Option<SlipId>,
    /// Its envelope, the idempotency key on every hop.
    pub envelope_id: EnvelopeId,
    /// The envelope's hash.
    pub envelope_hash: [u8; 32],
    /// Whether it has a line in the pair's order.
    pub ordered: bool,
    /// Whether its line goes without an envelope.
    pub withheld: bool,
    /// How large its envelope is.
    pub envelope_bytes: usize,
    /// Whether the gateway has answered it before: it is sent again, and its effects are there.
    pub again: bool,
    /// The number under which it was answered, and has to go again; none before, and outside the order.
    pub number: Option<u64>,
}

/// The gateway's final answer to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The row.
    pub row: OutboxRow,
    /// Whether what was taken is not what the database holds: this is a backup, and the envelope was sealed again after it. The row then
    /// names the hash that was taken.
    pub resealed: bool,
    /// The number that it used up; none for kinds outside the order.
    pub number: Option<u64>,
    /// Why it was refused; none when it was taken.
    pub problem: Option<Problem>,
    /// When, by the gateway's clock.
    pub at_ms: i64,
}

/// A recipient's receipts, verified as its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipts {
    /// The recipient.
    pub peer: OrgId,
    /// When it took them.
    pub received_at_ms: i64,
    /// Each envelope with its hash, and why it was refused.
    pub envelopes: Vec<(EnvelopeId, [u8; 32], Option<Problem>)>,
}

/// The gateway's word that a taken envelope will not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedNotice {
    /// The envelope.
    pub envelope_id: EnvelopeId,
    /// Its hash.
    pub envelope_hash: [u8; 32],
    /// Why.
    pub problem: Problem,
    /// When.
    pub at_ms: i64,
}

/// The gateway's word that a slip is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The slip.
    pub slip_id: SlipId,
    /// From when on.
    pub at_ms: i64,
}

/// A row that can never be sealed to its recipient's key again: its line goes without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The row.
    pub row: OutboxRow,
    /// When.
    pub at_ms: i64,
}

/// The gateway's word that a member came back from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reoffer {
    /// The member.
    pub peer: OrgId,
    /// Its restore.
    pub restore_id: [u8; 16],
    /// The last position that it holds of what this node sent; none when it lacks nothing.
    pub held: Option<Position>,
    /// Up to when its backup reaches.
    pub since_ms: i64,
    /// When the word came.
    pub asked_at_ms: i64,
}

/// One thing to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The gateway answered a submission.
    Answered(Answered),
    /// The recipient answered.
    Received(Receipts),
    /// The gateway dropped what it had taken.
    Dropped(DroppedNotice),
    /// The gateway stopped a slip.
    Stopped(Stopped),
    /// This node gave up sending something.
    GivenUp(GivenUp),
    /// A member lost what it had received. Ends the stream on which it came: positions go back.
    Reoffer(Reoffer),
}

/// Why nothing was settled; the same things are said again on the next stream.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SettleError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SettleError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => error.problem(),
        }
    }
}

/// The batch door: answers with the number of the last change, for watchers.
pub type SettleDoor = Batch<Settlement, i64, SettleError>;

/// Opens the batch door `settle`.
pub fn door(store: &Store, rng: &Rng) -> SettleDoor {
    let rng = rng.clone();
    store.batch("settle", SETTLE_ROWS_MAX, move |mut tx, rows| {
        let rng = rng.clone();
        async move {
            let changed = settle(&mut tx, &rng, &rows).await?;
            Ok(rows.iter().map(|_| Ok(changed)).collect())
        }
    })
}

/// What one transaction gathers before it writes.
#[derive(Default)]
struct Work {
    threads: ThreadSet,
    trail: Vec<Event>,
}

async fn settle(tx: &mut Tx, rng: &Rng, rows: &[Settlement]) -> Result<i64, StoreError> {
    let mut counter = Counter::lock(tx).await?;
    let mut work = Work::default();
    let (mut answered, mut received, mut dropped, mut stopped) = (vec![], vec![], vec![], vec![]);
    let (mut given_up, mut reoffers) = (vec![], vec![]);
    for row in rows {
        match row {
            Settlement::Answered(one) => answered.push(one.clone()),
            Settlement::Received(one) => received.push(one),
            Settlement::Dropped(one) => dropped.push(*one),
            Settlement::Stopped(one) => stopped.push(*one),
            Settlement::GivenUp(one) => given_up.push(one),
            Settlement::Reoffer(one) => reoffers.push(one),
        }
    }
    answers::write(tx, &mut counter, &mut work, answered).await?;
    notices::received(tx, &mut work, &received).await?;
    notices::dropped(tx, &mut work, &dropped).await?;
    notices::stopped(tx, &mut work, &stopped).await?;
    notices::given_up(tx, &mut work, &given_up).await?;
    reoffers::write(tx, &mut counter, &mut work, &reoffers).await?;
    work.trail.extend(work.threads.take_trail());
    work.threads.write(tx, &mut counter).await?;
    audit::insert(tx, &mut counter, rng, &work.trail).await?;
    let changed = counter.change();
    counter.save(tx).await?;
    Ok(changed)
}

/// The distinct values, in order.
fn distinct<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    values.into_iter().collect::<BTreeSet<T>>().into_iter().collect()
}
