//! Rows of `grant_record`. Called by [`grants`](crate::grants), sending and withdrawals.
//! Never holds what was said: the capture is content, the stop seed sealed.

use kith_proto::id::{GrantId, PersonId};
use kith_service::store::{InList, Row, StoreError, Tx, column, query};

use super::{id, word};

const TABLE: &str = "grant_record";
const INSERT: &str = "INSERT INTO grant_record (grant_id, person_id, state, lawful_basis, given_at_ms, expires_at_ms, \
     stop_seed) VALUES ($1, $2, $3, $4, $5, $6, $7)";
static FIND: InList = InList::new(
    "SELECT grant_id, person_id, state, lawful_basis, given_at_ms, expires_at_ms, ended_at_ms, stop_seed \
     FROM grant_record WHERE grant_id IN",
    0,
    "",
);
const OF_PERSON: &str = "SELECT grant_id, person_id, state, lawful_basis, given_at_ms, expires_at_ms, ended_at_ms, \
     stop_seed FROM grant_record WHERE person_id = $1 AND (given_at_ms < $2 OR (given_at_ms = $2 AND grant_id < $3)) \
     ORDER BY given_at_ms DESC, grant_id DESC LIMIT $4";

/// Where a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// It allows what its slips say.
    Live,
    /// The person changed their mind.
    Withdrawn,
    /// It had been recorded wrongly.
    Invalidated,
    /// Its time has passed.
    Expired,
}

/// One grant.
#[derive(Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// Its id.
    pub grant_id: GrantId,
    /// Whose it is.
    pub person_id: PersonId,
    /// Where it stands.
    pub state: GrantState,
    /// The number of the lawful basis.
    pub lawful_basis: i32,
    /// When it was given.
    pub given_at_ms: i64,
    /// The first millisecond at which it no longer holds.
    pub expires_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// The seed of the stop secrets, sealed under the person's own holding.
    pub stop_seed: Vec<u8>,
}

impl std::fmt::Debug for GrantRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GrantRecord({:?})", self.state)
    }
}

/// Inserts a grant.
pub async fn insert(tx: &mut Tx, grant: &GrantRecord) -> Result<(), StoreError> {
    let insert = query(INSERT)
        .bind(grant.grant_id.as_bytes().to_vec())
        .bind(grant.person_id.as_bytes().to_vec())
        .bind(grant.state.as_str())
        .bind(i64::from(grant.lawful_basis))
        .bind(grant.given_at_ms)
        .bind(grant.expires_at_ms)
        .bind(grant.stop_seed.clone());
    tx.run(insert).await.map(drop)
}

/// Finds grants; in no order.
pub async fn find(tx: &mut Tx, ids: &[GrantId]) -> Result<Vec<GrantRecord>, StoreError> {
    let rows = FIND
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    rows.iter().map(read).collect()
}

/// A page of a person's grants before this place, newest first.
pub async fn of_person(
    tx: &mut Tx,
    person_id: &PersonId,
    before: (i64, [u8; 16]),
    limit: i64,
) -> Result<Vec<GrantRecord>, StoreError> {
    let page = query(OF_PERSON).bind(person_id.as_bytes().to_vec());
    let page = page.bind(before.0).bind(before.1.to_vec()).bind(limit);
    tx.all(page).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<GrantRecord, StoreError> {
    let basis: i64 = column(row, TABLE, "lawful_basis")?;
    let corrupt = StoreError::Corrupt {
        table: TABLE,
        column: "lawful_basis",
    };
    Ok(GrantRecord {
        grant_id: id(row, TABLE, "grant_id")?,
        person_id: id(row, TABLE, "person_id")?,
        state: word(row, TABLE, "state")?,
        lawful_basis: i32::try_from(basis).map_err(|_| corrupt)?,
        given_at_ms: column(row, TABLE, "given_at_ms")?,
        expires_at_ms: column(row, TABLE, "expires_at_ms")?,
        ended_at_ms: column(row, TABLE, "ended_at_ms")?,
        stop_seed: column(row, TABLE, "stop_seed")?,
    })
}

impl GrantState {
    /// The word in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Withdrawn => "withdrawn",
            Self::Invalidated => "invalidated",
            Self::Expired => "expired",
        }
    }
}

impl std::str::FromStr for GrantState {
    type Err = kith_proto::words::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Live, Self::Withdrawn, Self::Invalidated, Self::Expired];
        let found = all.into_iter().find(|state| state.as_str() == text);
        found.ok_or(kith_proto::words::UnknownWord("GrantState"))
    }
}
