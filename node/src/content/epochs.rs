//! The epoch keys, in a file of the data folder: what a copy of the database alone can never be opened with.
//! Made at `join`, loaded at start, added to and cut by the rotation.
//! Never removes a key that a living holding is still wrapped with.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use kith_service::rng::Rng;
use serde::{Deserialize, Serialize};

use super::ContentError;
use super::keys::DataKey;
use crate::keys::{DataFolder, KeysError, seed};

/// The file of `keys/`.
pub(crate) const EPOCH: &str = "epoch";

/// Epoch keys by number; the newest wraps.
#[derive(Debug)]
pub struct Epochs {
    keys: BTreeMap<i64, DataKey>,
}

/// An epoch key as the file keeps it.
#[derive(Serialize, Deserialize)]
struct Line {
    number: i64,
    key: String,
}

impl Epochs {
    /// Makes the first epoch key, unless there is one.
    pub fn make(folder: &DataFolder, rng: &Rng) -> Result<(), KeysError> {
        if folder.read(EPOCH)?.is_some() {
            return Ok(());
        }
        let first = DataKey::new(rng.bytes()?).map_err(|_| KeysError::Library)?;
        Self {
            keys: BTreeMap::from([(1, first)]),
        }
        .save(folder)
    }

    /// Loads the keys; [`KeysError::Missing`] when there is no file.
    pub fn load(folder: &DataFolder) -> Result<Self, KeysError> {
        Self::parse(&folder.read(EPOCH)?.ok_or(KeysError::Missing(EPOCH))?)
    }

    /// Reads what the file holds.
    pub fn parse(text: &[u8]) -> Result<Self, KeysError> {
        let lines: Vec<Line> = serde_json::from_slice(text).map_err(|_| KeysError::Malformed(EPOCH))?;
        let mut keys = BTreeMap::new();
        for line in lines {
            let key = DataKey::new(seed(line.key.as_bytes(), EPOCH)?).map_err(|_| KeysError::Library)?;
            keys.insert(line.number, key);
        }
        if keys.is_empty() {
            return Err(KeysError::Malformed(EPOCH));
        }
        Ok(Self { keys })
    }

    /// The number and key that new holdings are wrapped with.
    pub(super) fn newest(&self) -> Result<(i64, &DataKey), ContentError> {
        self.keys
            .last_key_value()
            .map(|(number, key)| (*number, key))
            .ok_or(ContentError::Foreign)
    }

    /// The key of an epoch; [`ContentError::Foreign`] when it is not held.
    pub(super) fn key(&self, epoch: i64) -> Result<&DataKey, ContentError> {
        self.keys.get(&epoch).ok_or(ContentError::Foreign)
    }

    /// This and a new key after the newest.
    pub(super) fn with_next(&self, rng: &Rng) -> Result<Self, KeysError> {
        let next = self.keys.last_key_value().map_or(1, |(number, _)| number + 1);
        let mut keys = self.copies()?;
        keys.insert(next, DataKey::new(rng.bytes()?).map_err(|_| KeysError::Library)?);
        Ok(Self { keys })
    }

    /// Only the newest key.
    pub(super) fn only_newest(&self) -> Result<Self, KeysError> {
        let keys = self.copies()?.into_iter().next_back().into_iter().collect();
        Ok(Self { keys })
    }

    /// How many keys are held: more than one while a rotation is under way.
    pub(super) fn count(&self) -> usize {
        self.keys.len()
    }

    /// Writes the file, whole or not at all.
    pub(super) fn save(&self, folder: &DataFolder) -> Result<(), KeysError> {
        let line = |(number, key): (&i64, &DataKey)| Line {
            number: *number,
            key: HEXLOWER.encode(key.seed()),
        };
        let lines: Vec<Line> = self.keys.iter().map(line).collect();
        let text = serde_json::to_vec(&lines).map_err(|_| KeysError::Malformed(EPOCH))?;
        folder.write(EPOCH, &text)
    }

    /// What the file holds with the keys of an earlier reading of it as well: a backup needs both.
    pub fn with_earlier(earlier: &[u8], later: &[u8]) -> Result<Vec<u8>, KeysError> {
        let read = |text: &[u8]| serde_json::from_slice::<Vec<Line>>(text);
        let both = read(earlier).and_then(|earlier| Ok((earlier, read(later)?)));
        let (earlier, later) = both.map_err(|_| KeysError::Malformed(EPOCH))?;
        let lines = earlier.into_iter().chain(later);
        let lines: BTreeMap<i64, Line> = lines.map(|line| (line.number, line)).collect();
        let lines: Vec<Line> = lines.into_values().collect();
        serde_json::to_vec(&lines).map_err(|_| KeysError::Malformed(EPOCH))
    }

    fn copies(&self) -> Result<BTreeMap<i64, DataKey>, KeysError> {
        let copy = |(number, key): (&i64, &DataKey)| Ok((*number, DataKey::new(*key.seed())?));
        let copies: Result<_, ContentError> = self.keys.iter().map(copy).collect();
        copies.map_err(|_| KeysError::Library)
    }
}
