//! The sequencer: reads events that are not in the tree yet, makes their leaves, and commits tiles, bundles and the checkpoint at once.
//! Run by every server beside its edges; any number of them on one database do no harm.
//! Never skips an event: where one is missing it stops and says which, because whatever came after would hide it.
//!
//! A crash between any two writes leaves all of a step or nothing of it. A checkpoint goes out only after its commit, and the same
//! events give the same leaves, so what a step began is begun again and cannot fork.

use super::epoch::{self, Epoch};
use super::{Log, LogError, append, index, tiles};
use crate::shutdown::Shutdown;
use crate::store::Tx;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::tree::Frontier;
use kith_proto::sign::SigningKey;
use kith_proto::trail::Code;
use kith_proto::trail::event::Told;
use std::time::Duration;

/// How often a sequencer looks for events: a receipt promises inclusion within 10 s.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Most events of one step: some 2 MiB of preimages, hashed in a few milliseconds.
pub const STEP_MAX: i64 = 4096;

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many leaves were appended.
    pub appended: usize,
    /// The size of the tree after it.
    pub size: u64,
}

impl Log {
    /// Takes one step: at most [`STEP_MAX`] events. Without new events, or when another sequencer was first, it writes nothing.
    pub async fn step(&self, key: &SigningKey) -> Result<Step, LogError> {
        let (held, events) = self
            .store
            .read("read leaves", |mut tx| async move {
                let held = epoch::must(&mut tx).await?;
                let events = append::after(&mut tx, held.last_seq(), STEP_MAX).await?;
                Ok::<_, LogError>((held, events))
            })
            .await?;
        if events.is_empty() {
            // Another replica may have appended since.
            self.tell(held.frontier.size());
            return Ok(Step {
                appended: 0,
                size: held.frontier.size(),
            });
        }
        let mut next = held.frontier.clone();
        let mut grown = tiles::Grown::of(held.frontier.size());
        for (expected, event) in (held.last_seq() + 1..).zip(&events) {
            let told = Told::read(&event.preimage).map_err(|_| LogError::Broken(expected))?;
            // A later epoch begins with the event that says why, or it was not opened by a person who restored this server.
            let begins = held.number > 1 && expected == held.first_seq;
            let is_whole = event.seq == expected && told.code == event.code;
            if !is_whole || (begins && event.code != Code::EpochOpened) {
                return Err(LogError::Broken(expected));
            }
            let leaf = event.leaf();
            grown.push(&leaf, &mut next)?;
        }
        let signed = self.sign(&held, &next, key)?;
        let (held, next, grown, signed) = (&held, &next, &grown, &signed);
        let was_first = self
            .store
            .tx("append leaves", |mut tx| async move {
                append_leaves(&mut tx, held, next, grown, signed).await
            })
            .await?;
        if !was_first {
            return Ok(Step {
                appended: 0,
                size: held.frontier.size(),
            });
        }
        self.tell(next.size());
        Ok(Step {
            appended: events.len(),
            size: next.size(),
        })
    }

    fn tell(&self, size: u64) {
        self.grown.send_if_modified(|told| {
            let is_new = *told != size;
            *told = size;
            is_new
        });
    }

    fn sign(&self, held: &Epoch, next: &Frontier, key: &SigningKey) -> Result<Note, LogError> {
        let origin = self.keeper.origin(&self.network, held.number);
        let checkpoint = Checkpoint::new(&origin, next.head())?;
        Ok(checkpoint.note(vec![checkpoint.sign(key)?])?)
    }

    /// Takes steps until there is nothing left to append; the size of the tree then.
    pub async fn catch_up(&self, key: &SigningKey) -> Result<u64, LogError> {
        loop {
            let step = self.step(key).await?;
            if step.appended < STEP_MAX.unsigned_abs() as usize {
                return Ok(step.size);
            }
        }
    }
}

/// The writes of one step. The size first: it fences off whoever is late, and holds the row to the commit.
async fn append_leaves(
    tx: &mut Tx,
    held: &Epoch,
    next: &Frontier,
    grown: &tiles::Grown,
    signed: &Note,
) -> Result<bool, LogError> {
    if !epoch::advance(tx, held, next, signed).await? {
        return Ok(false);
    }
    grown.write(tx, held.number).await?;
    Ok(true)
}

/// Appends and indexes until the wish to stop. A failure is logged when it begins and tried again at every look.
pub async fn run(log: &Log, key: &SigningKey, shutdown: Shutdown) {
    let wish = shutdown.wait();
    tokio::pin!(wish);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed = None;
    loop {
        tokio::select! {
            biased;
            () = &mut wish => break,
            _ = look.tick() => {}
        }
        if super::switch_off() {
            return;
        }
        match turn(log, key).await {
            Ok(()) => failed = None,
            Err(error) => {
                if failed.as_ref() != Some(&error) {
                    tracing::error!(%error, "the log cannot be carried on; no event after this is signed");
                }
                failed = Some(error);
            }
        }
    }
    // What was committed before the wish is in the log before the end.
    if let Err(error) = turn(log, key).await {
        tracing::warn!(%error, "the last events will be put into the log at the next start");
    }
}

async fn turn(log: &Log, key: &SigningKey) -> Result<(), LogError> {
    let before = *log.grown.borrow();
    let size = log.catch_up(key).await?;
    if let Err(error) = index::follow(log, size == before).await {
        // Events are signed all the same; only finding them is slower.
        tracing::warn!(%error, "the index of the trail is behind");
    }
    Ok(())
}
