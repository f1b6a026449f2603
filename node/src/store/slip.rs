//! Rows of `slip`: what was captured here and what was received. Called by grants, sending, receiving, withdrawals.
//! Never changes the signed bytes, never makes an ended slip live again.

use kith_proto::id::{GrantId, HoldingId, OrgId, SlipId, WithdrawalId};
use kith_proto::slip::Slip;
use kith_proto::v1;
use kith_service::store::{InList, Insert, Row, StoreError, Tx, column, query};

use super::{id, id_or_null, word};

const TABLE: &str = "slip";

static INSERT: Insert = Insert::into(
    "INSERT INTO slip (slip_id, grant_id, side, peer, slip, signature, holding_id, person_salt, issued_at_ms, \
     expires_at_ms, state, stop_state)",
    12,
    "",
);
static OF_GRANTS: InList = InList::new(
    "SELECT slip_id, grant_id, side, peer, slip, signature, holding_id, person_salt, issued_at_ms, expires_at_ms, state, \
     ended_at_ms, stop_state, withdrawal_id, withdrawal_sent_at_ms, withdrawal_reached_at_ms, proof FROM slip \
     WHERE grant_id IN",
    0,
    "ORDER BY issued_at_ms, slip_id",
);
static FIND: InList = InList::new(
    "SELECT slip_id, grant_id, side, peer, slip, signature, holding_id, person_salt, issued_at_ms, expires_at_ms, state, \
     ended_at_ms, stop_state, withdrawal_id, withdrawal_sent_at_ms, withdrawal_reached_at_ms, proof FROM slip \
     WHERE slip_id IN",
    0,
    "",
);
const CAPTURED: &str = "SELECT slip_id, grant_id, side, peer, slip, signature, holding_id, person_salt, issued_at_ms, expires_at_ms, state, \
     ended_at_ms, stop_state, withdrawal_id, withdrawal_sent_at_ms, withdrawal_reached_at_ms, proof FROM slip \
     WHERE side = 'captured' AND slip_id > $1 ORDER BY slip_id LIMIT $2";
static STATES: InList = InList::new(
    "SELECT slip_id, state, withdrawal_id FROM slip WHERE slip_id IN",
    0,
    "",
);

/// Which side of the slip this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlipSide {
    /// The consent was captured here.
    Captured,
    /// It came with a referral.
    Received,
}

/// Where a slip stands; one that is past its expiry may still say live until the timer has come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlipStanding {
    /// It allows what its terms say, until its expiry.
    Live,
    /// It was taken back.
    Withdrawn,
    /// Its time has passed.
    Expired,
}

/// Whether the gateway has yet to be told to stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopState {
    /// Nothing to stop.
    None,
    /// The gateway must be told.
    Pending,
    /// The gateway said that it is stopped.
    Done,
}

/// One slip with its signed bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct SlipRow {
    /// Its id.
    pub slip_id: SlipId,
    /// The grant, where it was captured here.
    pub grant_id: Option<GrantId>,
    /// Which side this node is.
    pub side: SlipSide,
    /// The other organisation.
    pub peer: OrgId,
    /// The signed bytes.
    pub signed: v1::SignedSlip,
    /// What is held under it here.
    pub holding_id: HoldingId,
    /// The salt of its person commitment, where it was captured here.
    pub person_salt: Option<[u8; 32]>,
    /// When it was issued.
    pub issued_at_ms: i64,
    /// The first millisecond at which it no longer holds.
    pub expires_at_ms: i64,
    /// Where it stands.
    pub state: SlipStanding,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// Whether the gateway knows.
    pub stop_state: StopState,
    /// The withdrawal that ended it.
    pub withdrawal_id: Option<WithdrawalId>,
    /// When the withdrawal went out.
    pub withdrawal_sent_at_ms: Option<i64>,
    /// When the recipient's node had it.
    pub withdrawal_reached_at_ms: Option<i64>,
    /// The serialised proof of what the recipient did.
    pub proof: Option<Vec<u8>>,
}

impl SlipRow {
    /// A live slip as it is first stored.
    pub fn new(slip: &Slip, signed: v1::SignedSlip, side: SlipSide, holding_id: HoldingId) -> Self {
        Self {
            slip_id: slip.id,
            grant_id: None,
            side,
            peer: match side {
                SlipSide::Captured => slip.to.clone(),
                SlipSide::Received => slip.from.clone(),
            },
            signed,
            holding_id,
            person_salt: None,
            issued_at_ms: slip.issued_at_ms,
            expires_at_ms: slip.expires_at_ms,
            state: SlipStanding::Live,
            ended_at_ms: None,
            stop_state: StopState::None,
            withdrawal_id: None,
            withdrawal_sent_at_ms: None,
            withdrawal_reached_at_ms: None,
            proof: None,
        }
    }

    /// The slip as parsed; its bytes were checked when it was stored.
    pub fn parsed(&self) -> Result<Slip, StoreError> {
        Slip::decode(&self.signed.slip).map_err(|_| StoreError::Corrupt {
            table: TABLE,
            column: "slip",
        })
    }
}

/// Inserts new slips.
pub async fn insert(tx: &mut Tx, rows: &[SlipRow]) -> Result<(), StoreError> {
    let inserted = INSERT.rows(tx, rows, |q, row| {
        q.bind(row.slip_id.as_bytes().to_vec())
            .bind(row.grant_id.map(|g| g.as_bytes().to_vec()))
            .bind(row.side.as_str())
            .bind(row.peer.to_string())
            .bind(row.signed.slip.clone())
            .bind(row.signed.signature.clone())
            .bind(row.holding_id.as_bytes().to_vec())
            .bind(row.person_salt.map(|s| s.to_vec()))
            .bind(row.issued_at_ms)
            .bind(row.expires_at_ms)
            .bind(row.state.as_str())
            .bind(row.stop_state.as_str())
    });
    inserted.await.map(drop)
}

/// Finds slips; in no order.
pub async fn find(tx: &mut Tx, ids: &[SlipId]) -> Result<Vec<SlipRow>, StoreError> {
    let rows = FIND
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    rows.iter().map(read).collect()
}

/// Finds the slips of grants, oldest first.
pub async fn of_grants(tx: &mut Tx, ids: &[GrantId]) -> Result<Vec<SlipRow>, StoreError> {
    let rows = OF_GRANTS
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    rows.iter().map(read).collect()
}

/// Slips that were captured here, by id, after this one (empty for the first), at most so many.
pub async fn captured(tx: &mut Tx, after: &[u8], limit: i64) -> Result<Vec<SlipRow>, StoreError> {
    let rows = tx.all(query(CAPTURED).bind(after.to_vec()).bind(limit)).await?;
    rows.iter().map(read).collect()
}

/// Where a slip stands, and the withdrawal that last took something of it away.
pub type Standing = (SlipStanding, Option<WithdrawalId>);

/// Where slips stand; in no order. Read under the counters' lock it stays true until the commit.
pub async fn states(tx: &mut Tx, ids: &[SlipId]) -> Result<Vec<(SlipId, Standing)>, StoreError> {
    let rows = STATES
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    rows.iter()
        .map(|row| {
            let standing = (
                word(row, TABLE, "state")?,
                id_or_null(row, TABLE, "withdrawal_id")?,
            );
            Ok((id(row, TABLE, "slip_id")?, standing))
        })
        .collect()
}

fn read(row: &Row) -> Result<SlipRow, StoreError> {
    let salt: Option<Vec<u8>> = column(row, TABLE, "person_salt")?;
    let corrupt = StoreError::Corrupt {
        table: TABLE,
        column: "person_salt",
    };
    Ok(SlipRow {
        slip_id: id(row, TABLE, "slip_id")?,
        grant_id: id_or_null(row, TABLE, "grant_id")?,
        side: word(row, TABLE, "side")?,
        peer: word(row, TABLE, "peer")?,
        signed: v1::SignedSlip {
            slip: column(row, TABLE, "slip")?,
            signature: column(row, TABLE, "signature")?,
        },
        holding_id: id(row, TABLE, "holding_id")?,
        person_salt: salt.map(|s| s.try_into().map_err(|_| corrupt)).transpose()?,
        issued_at_ms: column(row, TABLE, "issued_at_ms")?,
        expires_at_ms: column(row, TABLE, "expires_at_ms")?,
        state: word(row, TABLE, "state")?,
        ended_at_ms: column(row, TABLE, "ended_at_ms")?,
        stop_state: word(row, TABLE, "stop_state")?,
        withdrawal_id: id_or_null(row, TABLE, "withdrawal_id")?,
        withdrawal_sent_at_ms: column(row, TABLE, "withdrawal_sent_at_ms")?,
        withdrawal_reached_at_ms: column(row, TABLE, "withdrawal_reached_at_ms")?,
        proof: column(row, TABLE, "proof")?,
    })
}

/// Writes the words of a closed list of this table.
macro_rules! stored {
    ($name:ident { $($variant:ident = $text:literal,)+ }) => {
        impl $name {
            /// The word in the store.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = kith_proto::words::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(kith_proto::words::UnknownWord(stringify!($name))),
                }
            }
        }
    };
}
stored! { SlipSide { Captured = "captured", Received = "received", } }
stored! { SlipStanding { Live = "live", Withdrawn = "withdrawn", Expired = "expired", } }
stored! { StopState { None = "none", Pending = "pending", Done = "done", } }
