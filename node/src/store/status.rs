//! The figures of `status`, over several tables. Called by [`status`](crate::status) alone.
//! Never reads a sealed column or names anybody: counts, states and times.

use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_service::store::{Row, StoreError, Tx, column, query};

use super::{word, word_or_null};

const LINK: &str =
    "SELECT state, since_ms, gateway_offset_ms, last_hello_ms, problem FROM link_state WHERE id = 1";
const OUTBOX: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS number FROM outbox WHERE state = 'queued'";
const MEMBERS: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS number FROM member";
const NEW: &str =
    "SELECT CAST(COUNT(*) AS BIGINT) AS number FROM referral WHERE side = 'inbox' AND state = 'received'";
const UNDELIVERED: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS number FROM referral WHERE side = 'sent' AND delivery = 'undelivered'";

/// Where the link stands, as the link itself last wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its word: `up`, `down` or why it waits.
    pub state: String,
    /// Since when, ms UTC.
    pub since_ms: i64,
    /// How far the gateway's clock is ahead of this computer's.
    pub gateway_offset_ms: i64,
    /// When the gateway last answered; 0 for never.
    pub last_hello_ms: i64,
    /// What is wrong.
    pub problem: Option<Problem>,
}

/// How much of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Envelopes that wait to leave.
    pub queued: i64,
    /// Members of the network.
    pub members: i64,
    /// Referrals in the inbox that nobody has acknowledged.
    pub unacknowledged: i64,
    /// Referrals sent that did not arrive and will not.
    pub undelivered: i64,
}

/// Reads the link's row.
pub async fn link(tx: &mut Tx) -> Result<Option<Link>, StoreError> {
    const TABLE: &str = "link_state";
    let found = tx.one(query(LINK)).await?;
    let read = found.map(|row| {
        Ok(Link {
            state: column(&row, TABLE, "state")?,
            since_ms: column(&row, TABLE, "since_ms")?,
            gateway_offset_ms: column(&row, TABLE, "gateway_offset_ms")?,
            last_hello_ms: column(&row, TABLE, "last_hello_ms")?,
            problem: word_or_null(&row, TABLE, "problem")?,
        })
    });
    read.transpose()
}

/// Counts.
pub async fn counts(tx: &mut Tx) -> Result<Counts, StoreError> {
    Ok(Counts {
        queued: number(tx, OUTBOX).await?,
        members: number(tx, MEMBERS).await?,
        unacknowledged: number(tx, NEW).await?,
        undelivered: number(tx, UNDELIVERED).await?,
    })
}

const AWAITING: &str = "SELECT peer, CAST(COUNT(*) AS BIGINT) AS number FROM referral \
     WHERE awaits_word = 1 AND consent = 'live' GROUP BY peer ORDER BY peer";

/// Referrals that stay closed after a restore until the member that captured their consent has said that it still stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaiting {
    /// The member.
    pub organisation: OrgId,
    /// How many.
    pub threads: i64,
}

/// Whose word is awaited.
pub async fn awaiting(tx: &mut Tx) -> Result<Vec<Awaiting>, StoreError> {
    let read = |row: &Row| {
        Ok(Awaiting {
            organisation: word(row, "referral", "peer")?,
            threads: column(row, "referral", "number")?,
        })
    };
    tx.all(query(AWAITING)).await?.iter().map(read).collect()
}

const OPEN_WITH: &str = "SELECT DISTINCT peer FROM referral WHERE state NOT IN ('draft', 'completed', 'not_completed', 'declined', \
     'forwarded', 'cancelled', 'withdrawn', 'expired', 'entered_in_error') ORDER BY peer";

/// The members with whom a referral is open.
pub async fn open_with(tx: &mut Tx) -> Result<Vec<OrgId>, StoreError> {
    let rows = tx.all(query(OPEN_WITH)).await?;
    rows.iter().map(|row| word(row, "referral", "peer")).collect()
}

async fn number(tx: &mut Tx, text: &'static str) -> Result<i64, StoreError> {
    match tx.one(query(text)).await? {
        Some(row) => column(&row, "counts", "number"),
        None => Ok(0),
    }
}
