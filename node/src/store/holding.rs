//! Rows of `holding`: wrapped keys. Called by the use-cases that fill, open or destroy a holding.
//! Never brings a destroyed key back: every change of keys needs a living row. Never writes a key that was wrapped for an
//! epoch before the newest: its epoch key may be gone.

use kith_proto::id::{HoldingId, SlipId};
use kith_service::store::{InList, Insert, Row, StoreError, Tx, WithRows, column, query};

use super::counter::Counter;
use super::{id, id_or_null, word};

const TABLE: &str = "holding";

static INSERT: Insert = Insert::into(
    "INSERT INTO holding (holding_id, kind, slip_id, epoch, wrapped_key, category_keys)",
    6,
    "",
);
static FIND: InList = InList::new(
    "SELECT holding_id, kind, slip_id, epoch, wrapped_key, category_keys, destroyed_at_ms FROM holding \
     WHERE holding_id IN",
    0,
    "",
);
const LIVING_BEFORE: &str = "SELECT holding_id, kind, slip_id, epoch, wrapped_key, category_keys, destroyed_at_ms \
     FROM holding WHERE epoch < $1 AND wrapped_key IS NOT NULL ORDER BY epoch, holding_id LIMIT $2";
static DESTROY: InList = InList::new(
    "UPDATE holding SET wrapped_key = NULL, category_keys = NULL, destroyed_at_ms = $1 \
     WHERE wrapped_key IS NOT NULL AND holding_id IN",
    1,
    "",
);
static REPLACE: WithRows = WithRows::new(
    "WITH v(holding_id, epoch, wrapped_key, category_keys) AS (VALUES",
    4,
    "UPDATE holding SET epoch = CAST(v.epoch AS BIGINT), wrapped_key = v.wrapped_key, category_keys = v.category_keys \
     FROM v WHERE holding.holding_id = v.holding_id AND holding.wrapped_key IS NOT NULL",
);

/// What a holding is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldingKind {
    /// A person's own record at this node.
    Own,
    /// What is held under one slip.
    Slip,
}

impl HoldingKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Slip => "slip",
        }
    }
}

/// One holding as stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Holding {
    /// Its id.
    pub holding_id: HoldingId,
    /// What it is of.
    pub kind: HoldingKind,
    /// The slip, of a slip's.
    pub slip_id: Option<SlipId>,
    /// The epoch whose key wraps the holding's.
    pub epoch: i64,
    /// The wrapped key and the wrapped section keys; none once destroyed.
    pub keys: Option<(Vec<u8>, Vec<u8>)>,
    /// When it was destroyed.
    pub destroyed_at_ms: Option<i64>,
}

impl std::fmt::Debug for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Holding({}, epoch {}, living: {})",
            self.holding_id,
            self.epoch,
            self.keys.is_some()
        )
    }
}

/// The newest epoch, read under the counters' lock of this transaction.
///
/// A rotation makes the next epoch key first, and destroys the one before only after a look under the same lock found no
/// living holding of it. So a holding of an older epoch that is written under the lock before that look is wrapped again,
/// and one that comes after it is refused here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestEpoch(i64);

impl NewestEpoch {
    /// The newest epoch as the caller reads it while it holds the lock.
    pub(crate) const fn under(_lock: &Counter, number: i64) -> Self {
        Self(number)
    }

    /// Whether the key of this holding is wrapped for it; otherwise it must be wrapped again.
    pub fn wraps(self, row: &Holding) -> bool {
        row.epoch >= self.0
    }
}

impl Default for NewestEpoch {
    /// Before the lock was taken: refuses every holding.
    fn default() -> Self {
        Self(i64::MAX)
    }
}

/// Inserts new holdings; says whether it did. None is written where one was wrapped for an epoch that is over.
pub async fn insert(tx: &mut Tx, newest: NewestEpoch, rows: &[Holding]) -> Result<bool, StoreError> {
    if !rows.iter().all(|row| newest.wraps(row)) {
        return Ok(false);
    }
    let inserted = INSERT.rows(tx, rows, |q, row| {
        let (wrapped_key, category_keys) = row.keys.clone().unzip();
        let q = q.bind(row.holding_id.as_bytes().to_vec()).bind(row.kind.as_str());
        let q = q.bind(row.slip_id.map(|s| s.as_bytes().to_vec())).bind(row.epoch);
        q.bind(wrapped_key).bind(category_keys)
    });
    inserted.await.map(|_| true)
}

/// Finds holdings; in no order.
pub async fn find(tx: &mut Tx, ids: &[HoldingId]) -> Result<Vec<Holding>, StoreError> {
    let rows = FIND
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    rows.iter().map(read).collect()
}

/// Finds one holding.
pub async fn get(tx: &mut Tx, holding_id: HoldingId) -> Result<Option<Holding>, StoreError> {
    Ok(find(tx, &[holding_id]).await?.pop())
}

/// Finds living holdings whose key is wrapped by an epoch before this one.
pub async fn living_before(tx: &mut Tx, epoch: i64, limit: i64) -> Result<Vec<Holding>, StoreError> {
    let rows = tx.all(query(LIVING_BEFORE).bind(epoch).bind(limit)).await?;
    rows.iter().map(read).collect()
}

/// Destroys the keys of holdings, for ever; says how many were living.
pub async fn destroy(tx: &mut Tx, ids: &[HoldingId], at_ms: i64) -> Result<u64, StoreError> {
    DESTROY
        .run(tx, ids, |q| q.bind(at_ms), |q, id| q.bind(id.as_bytes().to_vec()))
        .await
}

/// Replaces the keys of living holdings: a new epoch, or fewer sections; says whether it did, as [`insert`].
pub async fn replace_keys(tx: &mut Tx, newest: NewestEpoch, rows: &[Holding]) -> Result<bool, StoreError> {
    if !rows.iter().all(|row| newest.wraps(row)) {
        return Ok(false);
    }
    let replaced = REPLACE.run(tx, rows, |q, row| {
        let (wrapped_key, category_keys) = row.keys.clone().unzip();
        let q = q.bind(row.holding_id.as_bytes().to_vec()).bind(row.epoch);
        q.bind(wrapped_key).bind(category_keys)
    });
    replaced.await.map(|_| true)
}

/// Reads a holding out of a row with its columns.
pub(crate) fn read(row: &Row) -> Result<Holding, StoreError> {
    let wrapped_key: Option<Vec<u8>> = column(row, TABLE, "wrapped_key")?;
    let category_keys: Option<Vec<u8>> = column(row, TABLE, "category_keys")?;
    Ok(Holding {
        holding_id: id(row, TABLE, "holding_id")?,
        kind: word(row, TABLE, "kind")?,
        slip_id: id_or_null(row, TABLE, "slip_id")?,
        epoch: column(row, TABLE, "epoch")?,
        keys: wrapped_key.zip(category_keys),
        destroyed_at_ms: column(row, TABLE, "destroyed_at_ms")?,
    })
}

impl std::str::FromStr for HoldingKind {
    type Err = kith_proto::words::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "own" => Ok(Self::Own),
            "slip" => Ok(Self::Slip),
            _ => Err(kith_proto::words::UnknownWord("HoldingKind")),
        }
    }
}
