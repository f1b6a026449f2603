//! What a referral says, as it was sent: one row for each thread, its parts and the record of the consent sealed each under
//! its own section's key, so that narrowing takes a part away without touching the row.
//! Written by the doors of sending and receiving, read by what shows or rebuilds a referral.
//! Never opens a part whose section's key is gone, never is changed once written.
//!
//! `sealed` is, repeated: section number (1 byte) ‖ length (4 bytes, big-endian) ‖ so many sealed bytes.

use kith_proto::id::{HoldingId, ThreadId};
use kith_proto::v1;
use kith_proto::words::Category;
use kith_service::rng::Rng;
use kith_service::store::{Insert, StoreError, Tx, column, query};
use prost::Message as _;

use super::id;
use crate::content::{ContentError, HoldingKeys, Place, Section};

const TABLE: &str = "referral_content";

/// One row.
#[derive(Clone, PartialEq, Eq)]
pub struct ReferralContent {
    /// The thread.
    pub thread_id: ThreadId,
    /// The holding whose keys seal it.
    pub holding_id: HoldingId,
    /// All pieces, sealed.
    sealed: Vec<u8>,
}

/// What could be opened of a referral.
#[derive(Default)]
pub struct Said {
    /// Its parts, in wire order.
    pub parts: Vec<v1::Part>,
    /// What the recipient is told of the consent.
    pub consent: Option<v1::ConsentRecord>,
    /// Whether the key of a piece is gone.
    pub erased: bool,
}

impl ReferralContent {
    /// Seals what a referral says; [`ContentError::Erased`] when there is no key for one of its sections.
    pub fn seal(
        keys: &HoldingKeys,
        rng: &Rng,
        thread_id: ThreadId,
        (parts, consent): (&[v1::Part], Option<&v1::ConsentRecord>),
    ) -> Result<Self, ContentError> {
        let mut sealed = Vec::with_capacity(256 + parts.iter().map(v1::Part::encoded_len).sum::<usize>());
        let mut put = |section: Section, text: &[u8]| -> Result<(), ContentError> {
            let piece = keys.seal(rng, section, &place(thread_id), text)?;
            let length = u32::try_from(piece.len()).map_err(|_| ContentError::Library)?;
            sealed.push(section.number());
            sealed.extend_from_slice(&length.to_be_bytes());
            sealed.extend_from_slice(&piece);
            Ok(())
        };
        for part in parts {
            // An unknown category has no key either.
            let category = Category::try_from(part.category).map_err(|_| ContentError::Erased)?;
            put(Section::Category(category), &part.encode_to_vec())?;
        }
        if let Some(consent) = consent {
            put(Section::Record, &consent.encode_to_vec())?;
        }
        Ok(Self {
            thread_id,
            holding_id: keys.holding_id(),
            sealed,
        })
    }

    /// Opens what the keys still open; [`ContentError::Foreign`] when the row was not sealed by this node, or was altered.
    pub fn open(&self, keys: &HoldingKeys) -> Result<Said, ContentError> {
        let mut said = Said::default();
        let mut rest = self.sealed.as_slice();
        while !rest.is_empty() {
            let (section, piece, after) = next(rest).ok_or(ContentError::Foreign)?;
            rest = after;
            match keys.open(section, &place(self.thread_id), piece) {
                Ok(text) => said.add(section, &text)?,
                Err(ContentError::Erased) => said.erased = true,
                Err(error) => return Err(error),
            }
        }
        said.parts.sort_by_key(|part| part.category);
        Ok(said)
    }
}

impl std::fmt::Debug for ReferralContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ReferralContent({:?}, {} bytes)",
            self.thread_id,
            self.sealed.len()
        )
    }
}

impl Said {
    fn add(&mut self, section: Section, text: &[u8]) -> Result<(), ContentError> {
        match section {
            Section::Category(_) => {
                let part = v1::Part::decode(text).map_err(|_| ContentError::Foreign)?;
                self.parts.push(part);
            }
            Section::Record => {
                let consent = v1::ConsentRecord::decode(text).map_err(|_| ContentError::Foreign)?;
                self.consent = Some(consent);
            }
        }
        Ok(())
    }
}

/// The first piece, and what follows it.
fn next(sealed: &[u8]) -> Option<(Section, &[u8], &[u8])> {
    let (number, rest) = sealed.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (piece, rest) = rest.split_at_checked(length)?;
    Some((Section::from_number(*number)?, piece, rest))
}

static INSERT: Insert = Insert::into(
    "INSERT INTO referral_content (thread_id, holding_id, sealed)",
    3,
    "",
);

/// Inserts rows; [`StoreError::Unique`] when a thread has one.
pub async fn insert(tx: &mut Tx, rows: &[&ReferralContent]) -> Result<(), StoreError> {
    let inserted = INSERT.rows(tx, rows, |q, row| {
        q.bind(row.thread_id.as_bytes().to_vec())
            .bind(row.holding_id.as_bytes().to_vec())
            .bind(row.sealed.clone())
    });
    inserted.await.map(drop)
}

const FIND: &str = "SELECT thread_id, holding_id, sealed FROM referral_content WHERE thread_id = $1";

/// What the referral of a thread says.
pub async fn find(tx: &mut Tx, thread_id: &ThreadId) -> Result<Option<ReferralContent>, StoreError> {
    let found = tx.one(query(FIND).bind(thread_id.as_bytes().to_vec())).await?;
    let Some(row) = found else {
        return Ok(None);
    };
    Ok(Some(ReferralContent {
        thread_id: id(&row, TABLE, "thread_id")?,
        holding_id: id(&row, TABLE, "holding_id")?,
        sealed: column(&row, TABLE, "sealed")?,
    }))
}

/// Where all pieces of a row lie; each has a key of its own.
const fn place(thread_id: ThreadId) -> Place {
    Place {
        table: TABLE,
        row: *thread_id.as_bytes(),
        column: "sealed",
    }
}
