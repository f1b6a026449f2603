//! Proofs of events: inclusion under one checkpoint of each epoch, for many events in a row.
//! Called by lists, gaps and exports of nodes and gateways. Never gives a proof under a checkpoint that does not reach the event.

use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::note::Note;
use kith_proto::log::proof::Plan;
use kith_proto::log::tree::Hash;
use kith_proto::trail::export::{EventLeaf, Opened};

use super::LogError;
use super::append::Stored;
use super::epoch::{self, Epoch};
use super::tiles::Prover;
use crate::store::Tx;

/// Which checkpoint of an epoch is proven under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The newest that counts.
    Counted,
    /// The newest that counts or, while there is none, the newest that was signed.
    CountedOrSigned,
}

/// The epochs of the log, the newest first, each with the checkpoint that is proven under. A clone has the tiles that were read so far.
#[derive(Clone, Debug)]
pub struct Proofs(Vec<Under>);

/// One epoch's checkpoint.
#[derive(Clone, Debug)]
struct Under {
    epoch: u64,
    /// The event that is leaf 0.
    first_seq: i64,
    /// The checkpoint; none before the first.
    proven: Option<Proven>,
}

#[derive(Clone, Debug)]
struct Proven {
    note: Note,
    size: u64,
    prover: Prover,
}

/// An inclusion proof of an event.
struct Inclusion<'a> {
    epoch: u64,
    index: u64,
    hashes: Vec<Hash>,
    note: &'a Note,
}

impl Proofs {
    /// Reads where the log stands.
    pub async fn load(tx: &mut Tx, basis: Basis) -> Result<Self, LogError> {
        let newest_first = epoch::all(tx).await?.into_iter().rev();
        let under = newest_first.enumerate().map(|(place, epoch)| {
            // Of an epoch that has ended only what counted counts: nobody has seen, or will see, what was signed alone.
            let basis = if place == 0 { basis } else { Basis::Counted };
            Under::of(epoch, basis)
        });
        Ok(Self(under.collect::<Result<_, _>>()?))
    }

    /// The epochs that have a checkpoint, the oldest first, each with it.
    pub fn checkpoints(&self) -> impl Iterator<Item = (u64, &Note)> {
        let oldest_first = self.0.iter().rev();
        oldest_first.filter_map(|under| Some((under.epoch, &under.proven.as_ref()?.note)))
    }

    /// Whether a checkpoint reaches an event.
    pub fn reach(&self, seq: i64) -> bool {
        let under = self.0.iter().find(|under| under.first_seq <= seq);
        under.is_some_and(|under| {
            let size = under.proven.as_ref().map_or(0, |proven| proven.size);
            seq.abs_diff(under.first_seq) < size
        })
    }

    /// Whether an event is of an epoch that ended before a checkpoint reached it: nobody can prove it any more.
    pub fn is_left_behind(&self, seq: i64) -> bool {
        let newest = self.0.first().map_or(1, |under| under.first_seq);
        seq < newest && !self.reach(seq)
    }

    /// The receipt of an event; none where no checkpoint reaches it yet.
    pub async fn receipt(&mut self, tx: &mut Tx, seq: i64) -> Result<Option<LeafProof>, LogError> {
        let Some(found) = self.inclusion(tx, seq).await? else {
            return Ok(None);
        };
        let note = found.note.clone();
        Ok(Some(LeafProof::new(found.index, found.hashes, note, Vec::new())?))
    }

    /// An event as an export carries it, opened or not; none where no checkpoint reaches it yet.
    pub async fn exported(
        &mut self,
        tx: &mut Tx,
        event: &Stored,
        is_shown: bool,
    ) -> Result<Option<EventLeaf>, LogError> {
        let Some(found) = self.inclusion(tx, event.seq).await? else {
            return Ok(None);
        };
        Ok(Some(EventLeaf {
            epoch: found.epoch,
            index: found.index,
            entry: event.leaf(),
            hashes: found.hashes,
            opened: is_shown.then(|| Opened {
                salt: event.salt,
                preimage: event.preimage.clone(),
            }),
        }))
    }

    async fn inclusion(&mut self, tx: &mut Tx, seq: i64) -> Result<Option<Inclusion<'_>>, LogError> {
        let Some(under) = self.0.iter_mut().find(|under| under.first_seq <= seq) else {
            return Ok(None);
        };
        let index = seq.abs_diff(under.first_seq);
        let Some(proven) = under.proven.as_mut().filter(|proven| index < proven.size) else {
            return Ok(None);
        };
        let plan = Plan::inclusion(index, proven.size)?;
        Ok(Some(Inclusion {
            epoch: under.epoch,
            index,
            hashes: proven.prover.hashes(tx, &plan).await?,
            note: &proven.note,
        }))
    }
}

impl Under {
    fn of(epoch: Epoch, basis: Basis) -> Result<Self, LogError> {
        let signed = epoch.signed.filter(|_| basis == Basis::CountedOrSigned);
        let proven = epoch.counted.or(signed).map(|note| {
            let checkpoint: Checkpoint = note.text().parse()?;
            let size = checkpoint.head().size;
            Ok::<_, LogError>(Proven {
                note,
                size,
                prover: Prover::new(epoch.number, size),
            })
        });
        Ok(Self {
            epoch: epoch.number,
            first_seq: epoch.first_seq,
            proven: proven.transpose()?,
        })
    }
}
