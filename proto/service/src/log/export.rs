//! Writes a part of a log as the file that verifies offline (`kith_proto::trail::export`). Called by nodes and gateways with what
//! only they know: whose trust stands before the events, and which events were asked for.
//! Never an event that is not under a checkpoint that counts: it is left out, and said.

use super::append::{self, Stored};
use super::proofs::{Basis, Proofs};
use super::{Log, LogError, index};
use crate::store::Tx;
use kith_proto::problem::Problem;
use kith_proto::sign::SigningKey;
use kith_proto::trail::export::{EventLeaf, ExportError, ExportWriter, Header, Line, LogCheckpoint};

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
        let load = |mut tx: Tx| async move { Proofs::load(&mut tx, Basis::Counted).await };
        let mut proofs: Proofs = self.store.read("checkpoints", load).await?;
        let asked = part.seqs.len();
        let mut seqs = part.seqs;
        seqs.retain(|seq| proofs.reach(*seq));
        let (mut writer, header) = ExportWriter::new(part.header)?;
        let mut put = |text: String| sink(text).then_some(()).ok_or(WriteError::Sink);
        put(header)?;
        for line in &part.preface {
            put(writer.line(line)?)?;
        }
        for (epoch, note) in proofs.checkpoints() {
            put(writer.line(&Line::Checkpoint(LogCheckpoint {
                epoch,
                note: note.clone(),
                consistency: Vec::new(),
            }))?)?;
        }
        for chunk in seqs.chunks(CHUNK) {
            let (events, used) = self.proven(proofs, chunk, &shows).await?;
            proofs = used;
            for event in events {
                put(writer.line(&Line::Event(event))?)?;
            }
        }
        put(writer.end(key)?)?;
        Ok(Written {
            events: seqs.len(),
            too_new: asked - seqs.len(),
        })
    }

    /// Reads and proves some events; gives the proofs back with the tiles that were read.
    async fn proven(
        &self,
        proofs: Proofs,
        seqs: &[i64],
        shows: &impl Fn(&Stored) -> bool,
    ) -> Result<(Vec<EventLeaf>, Proofs), LogError> {
        let read = |mut tx: Tx| {
            let mut proofs = proofs.clone();
            async move {
                let mut proven = Vec::with_capacity(seqs.len());
                for event in append::those(&mut tx, seqs).await? {
                    let is_shown = shows(&event);
                    proven.extend(proofs.exported(&mut tx, &event, is_shown).await?);
                }
                Ok::<_, LogError>((proven, proofs))
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
