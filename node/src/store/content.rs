//! Rows of `content`: sealed words, but for those of a referral itself (see [`referral_content`](super::referral_content)).
//! Called by the use-cases that hold the keys; sealing is [`content`](crate::content)'s.
//! Never selects sealed bytes for a list.

use kith_proto::id::HoldingId;
use kith_service::rng::Rng;
use kith_service::store::{InList, Insert, Row, StoreError, Tx, column};

use super::{id, word};
use crate::content::{ContentError, HoldingKeys, Place, Section};

const TABLE: &str = "content";

static INSERT: Insert = Insert::into(
    "INSERT INTO content (owner_id, content_id, holding_id, section, kind, sealed, at_ms)",
    7,
    "",
);
static OF_OWNERS: InList = InList::new(
    "SELECT owner_id, content_id, holding_id, section, kind, sealed, at_ms FROM content WHERE owner_id IN",
    0,
    "ORDER BY at_ms, content_id",
);
static DELETE_OF_OWNER: InList =
    InList::new("DELETE FROM content WHERE owner_id = $1 AND content_id IN", 1, "");

/// What a row of content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// One category of a person's own record; owner: the person.
    PersonPart,
    /// How consent was captured; owner: the grant.
    GrantCapture,
    /// The words of an event; owner: the thread, id: the event's `words_id`.
    EventWords,
    /// A message's words; owner: the thread. Which message's is in what is sealed.
    Message,
}

/// One row.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// The person, grant or thread that it belongs to.
    pub owner_id: [u8; 16],
    /// Its id among the owner's.
    pub content_id: [u8; 16],
    /// The holding whose keys seal it.
    pub holding_id: HoldingId,
    /// Which of the holding's keys.
    pub section: Section,
    /// What it is.
    pub kind: ContentKind,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// When it was written.
    pub at_ms: i64,
}

/// Where and what a new row is.
#[derive(Clone, Copy, Debug)]
pub struct NewContent {
    /// The person, grant or thread.
    pub owner_id: [u8; 16],
    /// Its id among the owner's.
    pub content_id: [u8; 16],
    /// Which key.
    pub section: Section,
    /// What it is.
    pub kind: ContentKind,
    /// When.
    pub at_ms: i64,
}

impl NewContent {
    /// Seals a text into a row.
    pub fn seal(self, keys: &HoldingKeys, rng: &Rng, text: &[u8]) -> Result<Content, ContentError> {
        Ok(Content {
            owner_id: self.owner_id,
            content_id: self.content_id,
            holding_id: keys.holding_id(),
            section: self.section,
            kind: self.kind,
            sealed: keys.seal(rng, self.section, &place(self.content_id), text)?,
            at_ms: self.at_ms,
        })
    }
}

impl Content {
    /// Opens the row with its holding's keys; [`ContentError::Erased`] when its section's key is gone.
    pub fn open(&self, keys: &HoldingKeys) -> Result<Vec<u8>, ContentError> {
        keys.open(self.section, &place(self.content_id), &self.sealed)
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Content({:?}, {:?}, {} bytes)",
            self.kind,
            self.section,
            self.sealed.len()
        )
    }
}

/// Inserts rows; [`StoreError::Unique`] when one is there.
pub async fn insert(tx: &mut Tx, rows: &[Content]) -> Result<(), StoreError> {
    insert_all(tx, rows, |row| row).await
}

/// Inserts rows that are reached through something else.
pub(crate) async fn insert_all<R>(
    tx: &mut Tx,
    rows: &[R],
    of: impl Fn(&R) -> &Content,
) -> Result<(), StoreError> {
    let inserted = INSERT.rows(tx, rows, |q, row| {
        let row = of(row);
        let q = q.bind(row.owner_id.to_vec()).bind(row.content_id.to_vec());
        let q = q
            .bind(row.holding_id.as_bytes().to_vec())
            .bind(row.section.as_str());
        q.bind(row.kind.as_str()).bind(row.sealed.clone()).bind(row.at_ms)
    });
    inserted.await.map(drop)
}

/// Finds all rows of these owners, oldest first for each owner.
pub async fn of_owners(tx: &mut Tx, owners: &[[u8; 16]]) -> Result<Vec<Content>, StoreError> {
    let rows = OF_OWNERS
        .all(tx, owners, |q| q, |q, owner| q.bind(owner.to_vec()))
        .await?;
    rows.iter().map(read).collect()
}

/// Deletes rows of one owner.
pub async fn delete(tx: &mut Tx, owner: [u8; 16], ids: &[[u8; 16]]) -> Result<(), StoreError> {
    let deleted = DELETE_OF_OWNER.run(tx, ids, |q| q.bind(owner.to_vec()), |q, id| q.bind(id.to_vec()));
    deleted.await.map(drop)
}

fn read(row: &Row) -> Result<Content, StoreError> {
    Ok(Content {
        owner_id: id(row, TABLE, "owner_id")?,
        content_id: id(row, TABLE, "content_id")?,
        holding_id: id(row, TABLE, "holding_id")?,
        section: word(row, TABLE, "section")?,
        kind: word(row, TABLE, "kind")?,
        sealed: column(row, TABLE, "sealed")?,
        at_ms: column(row, TABLE, "at_ms")?,
    })
}

/// Where a row's sealed bytes lie.
const fn place(content_id: [u8; 16]) -> Place {
    Place {
        table: TABLE,
        row: content_id,
        column: "sealed",
    }
}

impl ContentKind {
    const ALL: [Self; 4] = [
        Self::PersonPart,
        Self::GrantCapture,
        Self::EventWords,
        Self::Message,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::PersonPart => "person_part",
            Self::GrantCapture => "grant_capture",
            Self::EventWords => "event_words",
            Self::Message => "message",
        }
    }
}

impl std::str::FromStr for ContentKind {
    type Err = kith_proto::words::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or(kith_proto::words::UnknownWord("ContentKind"))
    }
}
