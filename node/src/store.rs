//! Every statement of the node, by table. Called by the use-cases, inside `Store::tx`, `Store::read` or a batch door.
//! Never holds a rule, a key or a clock; never returns a row that breaks an invariant ([`StoreError::Corrupt`] instead).
//!
//! A writing transaction that numbers anything, or must see what others committed, begins with
//! [`counter::Counter::lock`]: it is the one write lock of a node on PostgreSQL, as `BEGIN IMMEDIATE` is on SQLite.

pub mod alarm;
pub mod bundle;
pub mod colleague;
pub mod content;
pub mod counter;
pub mod draft;
pub mod event;
pub mod grant;
pub mod holding;
pub mod identity;
pub mod keylog;
pub mod link_state;
pub mod member;
pub mod message;
pub mod opening;
pub mod outbox;
pub mod outgoing;
pub mod pair;
pub mod passkey;
pub mod person;
pub mod received;
pub mod referral;
pub mod referral_content;
pub mod reoffer;
pub mod request;
pub mod restore;
pub mod returning;
pub mod review;
pub mod slip;
pub mod slip_link;
pub mod status;
pub mod thread;
pub mod threads_view;
pub mod timers;
pub mod token;
pub(crate) mod trail;
pub(crate) mod trail_gaps;
pub(crate) mod trail_whole;
pub mod withdrawals;

use std::str::FromStr;

use kith_service::store::{Row, StoreError, bytes, column};

/// Reads a column of 16 bytes as an id.
pub(crate) fn id<T: From16>(row: &Row, table: &'static str, name: &'static str) -> Result<T, StoreError> {
    bytes::<16>(row, table, name).map(T::from_16)
}

/// Reads a column of 16 bytes or null as an id.
pub(crate) fn id_or_null<T: From16>(
    row: &Row,
    table: &'static str,
    name: &'static str,
) -> Result<Option<T>, StoreError> {
    let found: Option<Vec<u8>> = column(row, table, name)?;
    let corrupt = StoreError::Corrupt { table, column: name };
    found
        .map(|b| b.try_into().map(T::from_16).map_err(|_| corrupt))
        .transpose()
}

/// Reads a column that holds a word of a closed list, or an organisation's id.
pub(crate) fn word<T: FromStr>(row: &Row, table: &'static str, name: &'static str) -> Result<T, StoreError> {
    let text: &str = column(row, table, name)?;
    text.parse()
        .map_err(|_| StoreError::Corrupt { table, column: name })
}

/// Reads a column that holds a word or null.
pub fn word_or_null<T: FromStr>(
    row: &Row,
    table: &'static str,
    name: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = column(row, table, name)?;
    let corrupt = StoreError::Corrupt { table, column: name };
    text.map(|t| t.parse().map_err(|_| corrupt)).transpose()
}

/// Ids that are made of 16 bytes.
pub(crate) trait From16 {
    /// Makes the id.
    fn from_16(bytes: [u8; 16]) -> Self;
}

macro_rules! from_16 {
    ($($name:ident),+) => { $(
        impl From16 for kith_proto::id::$name {
            fn from_16(bytes: [u8; 16]) -> Self {
                Self::from_bytes(bytes)
            }
        }
    )+ };
}
from_16!(
    EnvelopeId,
    ThreadId,
    SlipId,
    GrantId,
    PersonId,
    EventId,
    RequestId,
    MessageId,
    WithdrawalId,
    TokenId,
    HoldingId
);

impl From16 for [u8; 16] {
    fn from_16(bytes: [u8; 16]) -> Self {
        bytes
    }
}

/// A count as the databases hold it; they have no unsigned numbers.
pub(crate) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
