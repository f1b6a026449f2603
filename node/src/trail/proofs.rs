//! Proofs of events: inclusion under one checkpoint of each epoch, for many events in a row.
//! Called by lists, gaps and exports. Never gives a proof under a checkpoint that does not reach the event.

use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::note::Note;
use kith_proto::log::proof::Plan;
use kith_proto::log::tree::Hash;
use kith_service::log::LogError;
use kith_service::log::epoch::{self, Epoch};
use kith_service::log::tiles::Prover;
use kith_service::store::Tx;

use super::TrailError;

/// The epochs of the log, the newest first, each with the checkpoint that is proven under.
pub(super) struct Proofs(Vec<Under>);

/// One epoch's checkpoint.
pub(super) struct Under {
    /// The epoch's number.
    pub(super) epoch: u64,
    /// The event that is leaf 0.
    pub(super) first_seq: i64,
    /// The checkpoint; none before the first.
    pub(super) note: Option<(Note, u64)>,
    prover: Option<Prover>,
}

impl Proofs {
    /// Reads where the log stands.
    pub(super) async fn load(tx: &mut Tx) -> Result<Self, TrailError> {
        let epochs = epoch::all(tx).await?;
        let newest_first = epochs.into_iter().rev();
        Ok(Self(newest_first.map(Under::of).collect::<Result<_, _>>()?))
    }

    /// The same checkpoints, with no tile read yet: for a transaction that may run again.
    pub(super) fn again(&self) -> Self {
        let again = |under: &Under| Under {
            epoch: under.epoch,
            first_seq: under.first_seq,
            note: under.note.clone(),
            prover: under
                .note
                .as_ref()
                .map(|(_, size)| Prover::new(under.epoch, *size)),
        };
        Self(self.0.iter().map(again).collect())
    }

    /// The epochs that have a checkpoint, the oldest first.
    pub(super) fn under(&self) -> impl Iterator<Item = (u64, i64, &Note)> {
        self.0.iter().rev().filter_map(|under| {
            let (note, _) = under.note.as_ref()?;
            Some((under.epoch, under.first_seq, note))
        })
    }

    /// Whether a checkpoint reaches an event.
    pub(super) fn reach(&self, seq: i64) -> bool {
        let under = self.0.iter().find(|under| under.first_seq <= seq);
        under.is_some_and(|under| {
            under
                .note
                .as_ref()
                .is_some_and(|(_, size)| seq.abs_diff(under.first_seq) < *size)
        })
    }

    /// The receipt of an event; none where no checkpoint reaches it yet.
    pub(super) async fn of(&mut self, tx: &mut Tx, seq: i64) -> Result<Option<LeafProof>, TrailError> {
        let Some((under, index, hashes)) = self.hashes(tx, seq).await? else {
            return Ok(None);
        };
        let Some((note, _)) = &under.note else {
            return Ok(None);
        };
        Ok(Some(LeafProof::new(index, hashes, note.clone(), Vec::new())?))
    }

    /// The epoch of an event, its leaf's number and the hashes that lead to the checkpoint; none where none reaches it yet.
    pub(super) async fn hashes(
        &mut self,
        tx: &mut Tx,
        seq: i64,
    ) -> Result<Option<(&Under, u64, Vec<Hash>)>, TrailError> {
        let Some(under) = self.0.iter_mut().find(|under| under.first_seq <= seq) else {
            return Ok(None);
        };
        let index = seq.abs_diff(under.first_seq);
        let (Some((_, size)), Some(prover)) = (&under.note, &mut under.prover) else {
            return Ok(None);
        };
        if index >= *size {
            return Ok(None);
        }
        let plan = Plan::inclusion(index, *size).map_err(LogError::from)?;
        let hashes = prover.hashes(tx, &plan).await?;
        Ok(Some((under, index, hashes)))
    }
}

impl Under {
    fn of(epoch: Epoch) -> Result<Self, TrailError> {
        let note = epoch.counted.or(epoch.signed);
        let sized = note.map(|note| {
            let checkpoint: Checkpoint = note.text().parse()?;
            Ok::<_, TrailError>((note, checkpoint.head().size))
        });
        let note = sized.transpose()?;
        Ok(Self {
            epoch: epoch.number,
            first_seq: epoch.first_seq,
            prover: note.as_ref().map(|(_, size)| Prover::new(epoch.number, *size)),
            note,
        })
    }
}
