//! The sections of a holding, and their keys as one stored value: section number and wrapped key, repeated.
//! Called by `content` alone, which hands out [`Section`].
//! Never leaves a section's key readable without the holding's.

use std::str::FromStr;

use kith_proto::id::HoldingId;
use kith_proto::words::{Category, UnknownWord};
use kith_service::rng::Rng;

use super::keys::{DataKey, Place, WRAPPED_LEN};
use super::{ContentError, HoldingKeys};

/// What one key of a holding is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// One category of what was shared.
    Category(Category),
    /// Captures, consent records, bodies in the outbox: goes with the whole holding only.
    Record,
}

impl Section {
    /// Every section.
    pub fn all() -> impl Iterator<Item = Self> {
        Category::ALL
            .iter()
            .map(|c| Self::Category(*c))
            .chain([Self::Record])
    }

    /// The word in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Category(category) => category.as_str(),
            Self::Record => "record",
        }
    }

    /// The number in front of a stored key: the category's, or 255.
    pub(crate) fn number(self) -> u8 {
        match self {
            // cannot be cut: categories are numbered from 1 to 9.
            Self::Category(category) => u8::try_from(category.number()).unwrap_or(u8::MAX - 1),
            Self::Record => u8::MAX,
        }
    }

    /// The section of a number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        if number == u8::MAX {
            return Some(Self::Record);
        }
        Category::try_from(i32::from(number)).ok().map(Self::Category)
    }
}

impl FromStr for Section {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        if text == "record" {
            Ok(Self::Record)
        } else {
            text.parse().map(Self::Category)
        }
    }
}

/// The stored form of a holding's section keys.
pub(super) fn wrap(key: &DataKey, keys: &HoldingKeys, rng: &Rng) -> Result<Vec<u8>, ContentError> {
    let mut stored = Vec::with_capacity(keys.keys.len() * (1 + WRAPPED_LEN));
    for (section, section_key) in &keys.keys {
        stored.push(section.number());
        stored.extend(key.seal(rng, &place(keys.holding_id, *section), section_key.seed())?);
    }
    Ok(stored)
}

/// Reads the stored form back.
pub(super) fn unwrap(
    key: &DataKey,
    holding_id: HoldingId,
    stored: &[u8],
) -> Result<Vec<(Section, DataKey)>, ContentError> {
    let (entries, rest) = stored.as_chunks::<{ 1 + WRAPPED_LEN }>();
    if !rest.is_empty() {
        return Err(ContentError::Foreign);
    }
    let mut keys = Vec::with_capacity(entries.len());
    for [number, wrapped @ ..] in entries {
        let section = Section::from_number(*number).ok_or(ContentError::Foreign)?;
        let seed = key.open(&place(holding_id, section), wrapped)?;
        keys.push((
            section,
            DataKey::new(seed.try_into().map_err(|_| ContentError::Foreign)?)?,
        ));
    }
    Ok(keys)
}

/// A section's key lies in its holding's row, under the section's word.
fn place(holding_id: HoldingId, section: Section) -> Place {
    Place {
        table: "holding",
        row: *holding_id.as_bytes(),
        column: section.as_str(),
    }
}
