//! Rows of `person`, `opening`, and the pages of parts that names are read from. Called by [`persons`](crate::persons).
//! Never holds a name: parts are content.

use kith_proto::id::{HoldingId, PersonId, TokenId};
use kith_service::store::{InList, Row, StoreError, Tx, column, query};

use super::id;

const TABLE: &str = "person";
const INSERT: &str = "INSERT INTO person (person_id, holding_id, owner_token, version, created_at_ms, updated_at_ms) \
     VALUES ($1, $2, $3, 1, $4, $4)";
const RAISE: &str =
    "UPDATE person SET version = version + 1, updated_at_ms = $3 WHERE person_id = $1 AND version = $2";
static FIND: InList = InList::new(
    "SELECT person_id, holding_id, owner_token, version, created_at_ms, updated_at_ms FROM person WHERE person_id IN",
    0,
    "",
);
const PAGE: &str = "SELECT person_id, holding_id, owner_token, version, created_at_ms, updated_at_ms FROM person \
     WHERE person_id > $1 ORDER BY person_id LIMIT $2";
const LAST_OPENED: &str = "SELECT at_ms FROM opening WHERE token_id = $1 AND record_id = $2";
const OPENED: &str = "INSERT INTO opening (token_id, record_id, at_ms) VALUES ($1, $2, $3) \
     ON CONFLICT (token_id, record_id) DO UPDATE SET at_ms = excluded.at_ms";
const FORGET_OPENINGS: &str = "DELETE FROM opening WHERE at_ms < $1";

/// A person as stored: whose, and where their content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The person's id at this node.
    pub person_id: PersonId,
    /// The holding of their own record.
    pub holding_id: HoldingId,
    /// Who recorded them.
    pub owner_token: TokenId,
    /// For compare-and-swap; from 1.
    pub version: i64,
    /// When they were recorded.
    pub created_at_ms: i64,
    /// When the record last changed.
    pub updated_at_ms: i64,
}

/// Inserts a person, version 1.
pub async fn insert(tx: &mut Tx, person: &Person) -> Result<(), StoreError> {
    let insert = query(INSERT)
        .bind(person.person_id.as_bytes().to_vec())
        .bind(person.holding_id.as_bytes().to_vec())
        .bind(person.owner_token.as_bytes().to_vec())
        .bind(person.created_at_ms);
    tx.run(insert).await.map(drop)
}

/// Raises the version if it is still this one; whether it was.
pub async fn raise(tx: &mut Tx, person_id: &PersonId, version: i64, at_ms: i64) -> Result<bool, StoreError> {
    let raise = query(RAISE)
        .bind(person_id.as_bytes().to_vec())
        .bind(version)
        .bind(at_ms);
    Ok(tx.run(raise).await? == 1)
}

/// Finds persons; in no order.
pub async fn find(tx: &mut Tx, ids: &[PersonId]) -> Result<Vec<Person>, StoreError> {
    let rows = FIND
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    rows.iter().map(read).collect()
}

/// Finds a person.
pub async fn get(tx: &mut Tx, person_id: &PersonId) -> Result<Option<Person>, StoreError> {
    Ok(find(tx, &[*person_id]).await?.pop())
}

/// A page of all persons, by id.
pub async fn page(tx: &mut Tx, after: &[u8], limit: i64) -> Result<Vec<Person>, StoreError> {
    tx.all(query(PAGE).bind(after.to_vec()).bind(limit))
        .await?
        .iter()
        .map(read)
        .collect()
}

/// When this token last opened this record.
pub async fn last_opened(tx: &mut Tx, token: &TokenId, record: &[u8; 16]) -> Result<Option<i64>, StoreError> {
    let last = query(LAST_OPENED)
        .bind(token.as_bytes().to_vec())
        .bind(record.to_vec());
    tx.one(last)
        .await?
        .map(|row| column(&row, "opening", "at_ms"))
        .transpose()
}

/// Notes an opening.
pub async fn opened(tx: &mut Tx, token: &TokenId, record: &[u8; 16], at_ms: i64) -> Result<(), StoreError> {
    let opened = query(OPENED)
        .bind(token.as_bytes().to_vec())
        .bind(record.to_vec())
        .bind(at_ms);
    tx.run(opened).await.map(drop)
}

/// Forgets openings before a time; the trail keeps them.
pub async fn forget_openings(tx: &mut Tx, before_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(FORGET_OPENINGS).bind(before_ms)).await
}

fn read(row: &Row) -> Result<Person, StoreError> {
    Ok(Person {
        person_id: id(row, TABLE, "person_id")?,
        holding_id: id(row, TABLE, "holding_id")?,
        owner_token: id(row, TABLE, "owner_token")?,
        version: column(row, TABLE, "version")?,
        created_at_ms: column(row, TABLE, "created_at_ms")?,
        updated_at_ms: column(row, TABLE, "updated_at_ms")?,
    })
}
