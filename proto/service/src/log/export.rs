//! Writes a part of a log as the file that verifies offline (`kith_proto::trail::export`). Called by nodes and gateways with what
//! only they know: whose trust stands before the events, and which events were asked for.
//! Never an event that is not under a checkpoint that counts: it is left out, and said.

use super::append::{self, Stored};
use super::epoch::{self, Epoch};
use super::tiles::Prover;
use super::{Log, LogError, index};
use crate::store::{StoreError, Tx};
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::proof::Plan;
use kith_proto::problem::Problem;
use kith_proto::sign::SigningKey;
use kith_proto::trail::export::{EventLeaf, ExportError, ExportWriter, Header, Line, LogCheckpoint, Opened};

/// Events read and proven in one transaction.
const CHUNK: usize = 256;
/// Events found by one look into the index.
const PAGE: i64 = 4096;

/// Why an export was not written, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It would be over its limits: ask for less, by time.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Whoever takes the file takes no more of it: the disk is full, or the caller went away.
    #[error("the export could not be written")]
    Sink,
}

impl WriteError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Log(error) => error.problem(),
            Self::Export(error) => error.problem(),
            Self::Sink => Problem::Unavailable,
        }
    }
}

/// What is to be exported.
#[derive(Clone, Debug)]
pub struct Part {
    /// The first line.
    pub header: Header,
    /// What stands between it and the checkpoints: trust, members, bindings.
    pub preface: Vec<Line>,
    /// The numbers of the events, ascending.
    pub seqs: Vec<i64>,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Events in the file.
    pub events: usize,
    /// Events that were asked for and are not under a checkpoint that counts yet: export again in a minute.
    pub too_new: usize,
}

/// An epoch with the checkpoint that its events are proven under.
struct Proven {
    epoch: Epoch,
    note: Note,
    size: u64,
}

impl Log {
    /// Writes a part of the log, line by line, into `sink`, which says whether it takes more. `shows` decides which events are
    /// opened; the others are proven without saying what they are.
    pub async fn export(
        &self,
        part: Part,
        key: &SigningKey,
        shows: impl Fn(&Stored) -> bool,
        mut sink: impl FnMut(String) -> bool,
    ) -> Result<Written, WriteError> {
        let epochs = self.proven_epochs().await?;
        let asked = part.seqs.len();
        let placed: Vec<(usize, i64)> = part
            .seqs
            .iter()
            .filter_map(|seq| Some((place(&epochs, *seq)?, *seq)))
            .collect();
        let (mut writer, header) = ExportWriter::new(part.header)?;
        let mut put = |text: String| sink(text).then_some(()).ok_or(WriteError::Sink);
        put(header)?;
        for line in &part.preface {
            put(writer.line(line)?)?;
        }
        for (number, proven) in epochs.iter().enumerate() {
            // The newest always, so that a file without events shows as of when it has none.
            let is_newest = number + 1 == epochs.len();
            if is_newest || placed.iter().any(|(at, _)| *at == number) {
                put(writer.line(&Line::Checkpoint(LogCheckpoint {
                    epoch: proven.epoch.number,
                    note: proven.note.clone(),
                    consistency: Vec::new(),
                }))?)?;
            }
        }
        for (number, proven) in epochs.iter().enumerate() {
            let seqs: Vec<i64> = placed
                .iter()
                .filter(|(at, _)| *at == number)
                .map(|(_, seq)| *seq)
                .collect();
            let mut prover = Prover::new(proven.epoch.number, proven.size);
            for chunk in seqs.chunks(CHUNK) {
                let (lines, used) = self.lines(prover, proven, chunk, &shows).await?;
                prover = used;
                for line in &lines {
                    put(writer.line(line)?)?;
                }
            }
        }
        put(writer.end(key)?)?;
        Ok(Written {
            events: placed.len(),
            too_new: asked - placed.len(),
        })
    }

    /// The epochs that have a checkpoint that counts.
    async fn proven_epochs(&self) -> Result<Vec<Proven>, LogError> {
        let read = |mut tx: Tx| async move { epoch::all(&mut tx).await };
        let epochs: Vec<Epoch> = self.store.read::<_, StoreError, _, _>("epochs", read).await?;
        let mut proven = Vec::with_capacity(epochs.len());
        for epoch in epochs {
            if let Some(note) = epoch.counted.clone() {
                let checkpoint: Checkpoint = note.text().parse()?;
                proven.push(Proven {
                    size: checkpoint.head().size,
                    epoch,
                    note,
                });
            }
        }
        Ok(proven)
    }

    /// Reads and proves some events; gives the prover back with the tiles it has read.
    async fn lines(
        &self,
        prover: Prover,
        proven: &Proven,
        seqs: &[i64],
        shows: &impl Fn(&Stored) -> bool,
    ) -> Result<(Vec<Line>, Prover), LogError> {
        let read = |mut tx: Tx| {
            let mut prover = prover.clone();
            async move {
                let stored = append::those(&mut tx, seqs).await?;
                let mut lines = Vec::with_capacity(stored.len());
                for event in stored {
                    let index = (event.seq - proven.epoch.first_seq).cast_unsigned();
                    let plan = Plan::inclusion(index, proven.size)?;
                    let hashes = prover.hashes(&mut tx, &plan).await?;
                    lines.push(Line::Event(EventLeaf {
                        epoch: proven.epoch.number,
                        index,
                        entry: event.leaf(),
                        hashes,
                        opened: shows(&event).then_some(Opened {
                            salt: event.salt,
                            preimage: event.preimage,
                        }),
                    }));
                }
                Ok::<_, LogError>((lines, prover))
            }
        };
        self.store.read("export", read).await
    }

    /// Every event with this key, ascending; the index is brought up to the trail first.
    pub async fn found(&self, key: i64) -> Result<Vec<i64>, LogError> {
        index::follow(self, true).await?;
        let mut seqs = Vec::new();
        let mut before = i64::MAX;
        loop {
            let look = |mut tx: Tx| async move { index::found(&mut tx, key, (0, before), PAGE).await };
            let page: Vec<i64> = self.store.read("find events", look).await?;
            before = page.last().copied().unwrap_or_default();
            let full = i64::try_from(page.len()) == Ok(PAGE);
            seqs.extend(page);
            if !full {
                seqs.reverse();
                return Ok(seqs);
            }
        }
    }
}

/// The epoch in whose counted tree an event is.
fn place(epochs: &[Proven], seq: i64) -> Option<usize> {
    epochs.iter().rposition(|proven| {
        let index = seq
            .checked_sub(proven.epoch.first_seq)
            .filter(|index| *index >= 0);
        index.is_some_and(|index| index.cast_unsigned() < proven.size)
    })
}
