//! Content at rest: what people said is sealed under keys that can be destroyed.
//!
//! ```text
//! epoch key (a file, not in the database) ── wraps ──> holding key ── wraps ──> section keys ── seal ──> content
//! ```
//! A *holding* is one body of content that is erased as one: a person's own record, or all that is held under one slip.
//! A *section* of it is a category, or the record (captures, consent records, bodies in the outbox). Destroying a holding
//! clears its keys; narrowing gives it a new key and leaves sections out, so that old pages open nothing that was taken
//! away once the epoch key that they need is gone.
//!
//! Called by every use-case that stores or shows words. Unwrapped keys live as long as one call: nothing is cached, so a
//! destroyed key is gone at once.
//! Never writes a key in clear into the database, never says why something does not open.

mod epochs;
mod keys;
mod rotation;
mod sections;

use std::sync::{PoisonError, RwLock};

use kith_proto::id::{HoldingId, SlipId};
use kith_proto::problem::Problem;
use kith_service::rng::{RandomFailed, Rng};

use crate::keys::{DataFolder, KeysError};
use crate::store::counter::Counter;
use crate::store::holding::{Holding, HoldingKind, NewestEpoch};

pub(crate) use epochs::EPOCH;
pub use epochs::Epochs;
pub use keys::Place;
pub use rotation::{RotationError, rotate_epoch};
pub use sections::Section;

use keys::DataKey;

/// Why content was not sealed or opened, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The keys of this folder do not open this database: bring together what belongs together.
    #[error("the content cannot be opened with the keys of this data folder")]
    Foreign,
    /// The holding has no key for this section: it was erased, narrowed away, or never held.
    #[error("the content was erased")]
    Erased,
    /// A new epoch began between the wrapping of a key and its transaction: try again.
    #[error("a new epoch began meanwhile")]
    Overtaken,
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// The cryptographic library failed: try again.
    #[error("the cryptographic library failed")]
    Library,
}

impl ContentError {
    /// The problem code.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Erased => Problem::ConsentWithdrawn,
            Self::Foreign | Self::Overtaken | Self::Random(_) | Self::Library => Problem::Unavailable,
        }
    }
}

/// How often keys are prepared before their caller hears that a new epoch overtook them; an epoch lasts a day.
pub(crate) const PREPARED_MAX: usize = 3;

/// The open epoch keys of a node, and what makes new holdings with them.
pub struct Content {
    folder: DataFolder,
    rng: Rng,
    epochs: RwLock<Epochs>,
}

/// The unwrapped section keys of one holding, for one call.
pub struct HoldingKeys {
    holding_id: HoldingId,
    /// Few: at most one for each section.
    keys: Vec<(Section, DataKey)>,
}

impl Content {
    /// Loads the epoch keys of a data folder.
    pub fn load(folder: &DataFolder, rng: Rng) -> Result<Self, KeysError> {
        let epochs = RwLock::new(Epochs::load(folder)?);
        Ok(Self {
            folder: folder.clone(),
            rng,
            epochs,
        })
    }

    /// Makes a holding with a key for each of these sections; insert the row in the transaction that fills it.
    pub fn new_holding(
        &self,
        kind: HoldingKind,
        slip_id: Option<SlipId>,
        sections: impl IntoIterator<Item = Section>,
    ) -> Result<(Holding, HoldingKeys), ContentError> {
        let holding_id = HoldingId::from_bytes(self.rng.bytes()?);
        let mut keys = Vec::new();
        for section in sections {
            keys.push((section, DataKey::new(self.rng.bytes()?)?));
        }
        let keys = HoldingKeys { holding_id, keys };
        let (epoch, wrapped_key, category_keys) = self.wrap(&keys)?;
        let row = Holding {
            holding_id,
            kind,
            slip_id,
            epoch,
            keys: Some((wrapped_key, category_keys)),
            destroyed_at_ms: None,
        };
        Ok((row, keys))
    }

    /// The newest epoch for this transaction, which holds the lock: what a holding must be wrapped for to be written.
    pub fn newest_under(&self, lock: &Counter) -> Result<NewestEpoch, ContentError> {
        Ok(NewestEpoch::under(lock, self.newest_epoch()?))
    }

    /// Unwraps the keys of a stored holding; [`ContentError::Erased`] when they were destroyed.
    pub fn unwrap(&self, holding: &Holding) -> Result<HoldingKeys, ContentError> {
        let (wrapped_key, category_keys) = holding.keys.as_ref().ok_or(ContentError::Erased)?;
        let key = self.holding_key(holding.holding_id, holding.epoch, wrapped_key)?;
        let keys = sections::unwrap(&key, holding.holding_id, category_keys)?;
        Ok(HoldingKeys {
            holding_id: holding.holding_id,
            keys,
        })
    }

    /// The stored form of a holding that keeps only these sections, under a new holding key: for
    /// [`store::holding::replace_keys`](crate::store::holding::replace_keys).
    pub fn narrowed(&self, holding: &Holding, keep: &[Section]) -> Result<Holding, ContentError> {
        let mut keys = self.unwrap(holding)?;
        keys.keys.retain(|(section, _)| keep.contains(section));
        let (epoch, wrapped_key, category_keys) = self.wrap(&keys)?;
        Ok(Holding {
            epoch,
            keys: Some((wrapped_key, category_keys)),
            ..holding.clone()
        })
    }

    /// Wraps section keys under a new holding key, and that under the newest epoch key.
    fn wrap(&self, keys: &HoldingKeys) -> Result<(i64, Vec<u8>, Vec<u8>), ContentError> {
        let seed = self.rng.bytes::<32>()?;
        let category_keys = sections::wrap(&DataKey::new(seed)?, keys, &self.rng)?;
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        let (epoch, epoch_key) = epochs.newest()?;
        let wrapped_key = epoch_key.seal(&self.rng, &holding_place(keys.holding_id), &seed)?;
        Ok((epoch, wrapped_key, category_keys))
    }

    fn holding_key(
        &self,
        holding_id: HoldingId,
        epoch: i64,
        wrapped: &[u8],
    ) -> Result<DataKey, ContentError> {
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        let seed = epochs.key(epoch)?.open(&holding_place(holding_id), wrapped)?;
        DataKey::new(seed.try_into().map_err(|_| ContentError::Foreign)?)
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Content(..)")
    }
}

impl HoldingKeys {
    /// The holding that they are of.
    pub const fn holding_id(&self) -> HoldingId {
        self.holding_id
    }

    /// Whether there is a key for this section.
    pub fn has(&self, section: Section) -> bool {
        self.key(section).is_ok()
    }

    /// Seals a text for one place; it opens nowhere else.
    pub fn seal(
        &self,
        rng: &Rng,
        section: Section,
        place: &Place,
        text: &[u8],
    ) -> Result<Vec<u8>, ContentError> {
        self.key(section)?.seal(rng, place, text)
    }

    /// Opens what [`HoldingKeys::seal`] made for this place.
    pub fn open(&self, section: Section, place: &Place, sealed: &[u8]) -> Result<Vec<u8>, ContentError> {
        self.key(section)?.open(place, sealed)
    }

    fn key(&self, section: Section) -> Result<&DataKey, ContentError> {
        let found = self.keys.iter().find(|(s, _)| *s == section);
        found.map(|(_, key)| key).ok_or(ContentError::Erased)
    }
}

impl std::fmt::Debug for HoldingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HoldingKeys(of {})", self.holding_id)
    }
}

fn holding_place(holding_id: HoldingId) -> Place {
    Place {
        table: "holding",
        row: *holding_id.as_bytes(),
        column: "wrapped_key",
    }
}
