//! Where the link stands, for `status`, and how far the directory was read.
//! Written by the link, read by the command line and the edge.
//! Never more than a word, times and a problem code.

use kith_proto::problem::Problem;
use kith_service::store::{StoreError, Tx, column, query};

use super::word_or_null;

const TABLE: &str = "link_state";

/// The one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// `up`, `down`, `refused`, `clock_off`, `keys_wait`, `stopped`.
    pub state: String,
    /// Since when.
    pub since_ms: i64,
    /// How far the gateway's clock is ahead of the local one.
    pub gateway_offset_ms: i64,
    /// When the gateway last greeted, in this run or one before; 0 before the first time. Written as 0 it is kept.
    pub last_hello_ms: i64,
    /// Why it is not up, or what else a person must look at.
    pub problem: Option<Problem>,
}

const GET: &str =
    "SELECT state, since_ms, gateway_offset_ms, last_hello_ms, problem FROM link_state WHERE id = 1";
const PUT: &str = "UPDATE link_state SET since_ms = CASE WHEN state = $1 THEN since_ms ELSE $2 END, state = $1, \
     gateway_offset_ms = $3, last_hello_ms = CASE WHEN $4 > 0 THEN $4 ELSE last_hello_ms END, problem = $5 WHERE id = 1";
const CURSOR: &str = "SELECT member_cursor FROM link_state WHERE id = 1";
const SET_CURSOR: &str = "UPDATE link_state SET member_cursor = $1 WHERE id = 1";

/// Where the link stands.
pub async fn get(tx: &mut Tx) -> Result<LinkState, StoreError> {
    let missing = StoreError::Corrupt {
        table: TABLE,
        column: "id",
    };
    let row = tx.one(query(GET)).await?.ok_or(missing)?;
    Ok(LinkState {
        state: column(&row, TABLE, "state")?,
        since_ms: column(&row, TABLE, "since_ms")?,
        gateway_offset_ms: column(&row, TABLE, "gateway_offset_ms")?,
        last_hello_ms: column(&row, TABLE, "last_hello_ms")?,
        problem: word_or_null(&row, TABLE, "problem")?,
    })
}

/// Writes where the link stands; `since_ms` is kept while the state is the same.
pub async fn put(tx: &mut Tx, now: &LinkState) -> Result<(), StoreError> {
    let put = query(PUT)
        .bind(now.state.clone())
        .bind(now.since_ms)
        .bind(now.gateway_offset_ms)
        .bind(now.last_hello_ms)
        .bind(now.problem.map(Problem::as_str));
    tx.run(put).await.map(drop)
}

/// How far the directory was read.
pub async fn member_cursor(tx: &mut Tx) -> Result<u64, StoreError> {
    let missing = StoreError::Corrupt {
        table: TABLE,
        column: "id",
    };
    let row = tx.one(query(CURSOR)).await?.ok_or(missing)?;
    let cursor: i64 = column(&row, TABLE, "member_cursor")?;
    u64::try_from(cursor).map_err(|_| StoreError::Corrupt {
        table: TABLE,
        column: "member_cursor",
    })
}

/// Writes how far the directory was read, together with what was read.
pub async fn set_member_cursor(tx: &mut Tx, cursor: u64) -> Result<(), StoreError> {
    tx.run(query(SET_CURSOR).bind(i64::try_from(cursor).unwrap_or(i64::MAX)))
        .await
        .map(drop)
}
