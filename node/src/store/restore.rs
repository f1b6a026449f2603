//! Rows of `restore`: that this database is a backup that came back, and how far its coming back got; slips that the network has
//! stopped meanwhile. Called by `restore`, by receiving, and when a node opens.
//! Never marks a restore as done twice, never forgets one.

use kith_proto::id::SlipId;
use kith_proto::order::Position;
use kith_proto::recovery::RestoreReason;
use kith_proto::sign::sha256;
use kith_service::store::{Row, StoreError, Tx, bytes, column, query};

use super::{keylog, stored, word};

const TABLE: &str = "restore";

/// One coming back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Drawn once; the network knows the restore by it.
    pub restore_id: [u8; 16],
    /// Why a person restored this node.
    pub reason: RestoreReason,
    /// The gateway's time up to which the backup reaches.
    pub backup_at_ms: i64,
    /// When it began.
    pub begun_at_ms: i64,
    /// The epoch of the log that was begun for it.
    pub epoch: Option<u64>,
    /// When the network had said what the backup cannot know.
    pub done_at_ms: Option<i64>,
    /// The epoch of the gateway's log that this node followed then.
    pub gateway_epoch: Option<u64>,
}

impl Restore {
    /// A restore without any backup: of a member that has lost everything.
    pub const fn from_nothing(restore_id: [u8; 16], now_ms: i64) -> Self {
        Self::begun(restore_id, RestoreReason::Lost, (0, now_ms))
    }

    /// The same coming back, for a gateway that has forgotten it and follows this epoch of its log: under another id, since everybody
    /// has done already what the first asked for. Told twice, it is the same one.
    pub fn again(&self, gateway_epoch: u64) -> Self {
        let hash = sha256(&[
            b"kith/v1/restore-again",
            &self.restore_id,
            &gateway_epoch.to_be_bytes(),
        ]);
        let (restore_id, _) = hash.split_first_chunk().unwrap_or((&self.restore_id, &[]));
        Self {
            restore_id: *restore_id,
            ..self.clone()
        }
    }

    /// One that begins now, of a backup that reaches so far.
    pub const fn begun(
        restore_id: [u8; 16],
        reason: RestoreReason,
        (backup_at_ms, begun_at_ms): (i64, i64),
    ) -> Self {
        Self {
            restore_id,
            reason,
            backup_at_ms,
            begun_at_ms,
            epoch: None,
            done_at_ms: None,
            gateway_epoch: None,
        }
    }
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT restore_id, reason, backup_at_ms, begun_at_ms, epoch, done_at_ms, gateway_epoch \
             FROM restore ",
            $rest
        )
    };
}

const PENDING: &str = columns!("WHERE done_at_ms IS NULL ORDER BY begun_at_ms DESC, restore_id LIMIT 1");
// One that was told again began when the first did.
const NEWEST: &str =
    columns!("ORDER BY begun_at_ms DESC, COALESCE(gateway_epoch, 0) DESC, restore_id LIMIT 1");

/// The restore that is not done; none in a node that serves.
pub async fn pending(tx: &mut Tx) -> Result<Option<Restore>, StoreError> {
    tx.one(query(PENDING)).await?.map(|row| read(&row)).transpose()
}

/// The newest restore, done or not.
pub async fn newest(tx: &mut Tx) -> Result<Option<Restore>, StoreError> {
    tx.one(query(NEWEST)).await?.map(|row| read(&row)).transpose()
}

/// The newest restore, begun after a time or in a node that has begun a run, if the gateway came back from a backup itself since this was done and may have forgotten it: as
/// it is to be told again, with the epoch of the gateway's log. None in a node that has nothing to tell.
pub async fn forgotten(tx: &mut Tx, since_ms: i64) -> Result<Option<(Restore, u64)>, StoreError> {
    let in_run = run(tx).await? > 0;
    let counts = |told: &Restore| in_run || told.begun_at_ms >= since_ms;
    let Some(told) = newest(tx).await?.filter(counts) else {
        return Ok(None);
    };
    let epoch = keylog::epoch(tx).await?;
    let is_forgotten = told.gateway_epoch.is_some_and(|then| then < epoch);
    Ok(is_forgotten.then(|| (told.again(epoch), epoch)))
}

const BEGIN_RUN: &str = "UPDATE restore SET run = $1 WHERE run IS NULL OR run < $1";
const TO_RUN: &str = "UPDATE pair_sent SET number = $1, envelope_hash = $2 WHERE number < $1";

/// Begins a run of the numbers of every pair; a second time nothing.
pub async fn begin_run(tx: &mut Tx, run: u64, start: Position) -> Result<(), StoreError> {
    tx.run(query(BEGIN_RUN).bind(stored(run))).await?;
    let pairs = query(TO_RUN).bind(stored(start.number())).bind(vec![0; 32]);
    tx.run(pairs).await.map(drop)
}

const RUN: &str = "SELECT CAST(COALESCE(MAX(run), 0) AS BIGINT) AS run FROM restore";

/// The run in which the numbers of pairs go on; 0 in a node that never began one.
pub async fn run(tx: &mut Tx) -> Result<u64, StoreError> {
    let row = tx.one(query(RUN)).await?;
    let run: i64 = row.map_or(Ok(0), |row| column(&row, TABLE, "run"))?;
    Ok(run.unsigned_abs())
}

const ACCEPTS: &str =
    "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM restore WHERE restore_id = $1 AND begun_at_ms >= $2";

/// Whether this node came back under this id since a time.
pub async fn accepts(tx: &mut Tx, restore_id: &[u8; 16], since_ms: i64) -> Result<bool, StoreError> {
    let asked = query(ACCEPTS).bind(restore_id.to_vec()).bind(since_ms);
    let row = tx.one(asked).await?;
    let count: i64 = row.map_or(Ok(0), |row| column(&row, TABLE, "n"))?;
    Ok(count > 0)
}

const IS_NEWEST: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM restore WHERE restore_id = $1 \
     AND epoch = (SELECT MAX(epoch) FROM restore)";

/// Whether this is this node's last coming back, however long ago, by whichever of its ids: one that was told again has the epoch of the first.
pub async fn is_newest(tx: &mut Tx, restore_id: &[u8; 16]) -> Result<bool, StoreError> {
    let row = tx.one(query(IS_NEWEST).bind(restore_id.to_vec())).await?;
    let count: i64 = row.map_or(Ok(0), |row| column(&row, TABLE, "n"))?;
    Ok(count > 0)
}

const COVERS: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM restore WHERE begun_at_ms >= $1 AND backup_at_ms <= $2 AND begun_at_ms >= $2";

/// Whether something that happened at `at_ms` may be what this node forgot with a backup that came back since a time.
pub async fn covers(tx: &mut Tx, at_ms: i64, since_ms: i64) -> Result<bool, StoreError> {
    let row = tx.one(query(COVERS).bind(since_ms).bind(at_ms)).await?;
    let count: i64 = row.map_or(Ok(0), |row| column(&row, TABLE, "n"))?;
    Ok(count > 0)
}

const EARLIEST: &str =
    "SELECT CAST(MIN(backup_at_ms) AS BIGINT) AS backup_at_ms FROM restore WHERE begun_at_ms >= $1";

/// How far the earliest backup reaches of those that this node came back from since a time; the end of time for none.
pub async fn earliest_backup(tx: &mut Tx, since_ms: i64) -> Result<i64, StoreError> {
    let row = tx.one(query(EARLIEST).bind(since_ms)).await?;
    let found: Option<i64> = row.map_or(Ok(None), |row| column(&row, TABLE, "backup_at_ms"))?;
    Ok(found.unwrap_or(i64::MAX))
}

const LISTED: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM referral WHERE slip_id = $1 AND side = 'sent' AND person_id IS NULL";

/// How many threads of a slip were listed again, without their person.
pub async fn count_listed(tx: &mut Tx, slip_id: &SlipId) -> Result<usize, StoreError> {
    let row = tx.one(query(LISTED).bind(slip_id.as_bytes().to_vec())).await?;
    let count: i64 = row.map_or(Ok(0), |row| column(&row, "referral", "n"))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

const INSERT: &str =
    "INSERT INTO restore (restore_id, reason, backup_at_ms, begun_at_ms, epoch) VALUES ($1, $2, $3, $4, $5)";

/// Notes that this database is a backup that came back.
pub async fn insert(tx: &mut Tx, new: &Restore) -> Result<(), StoreError> {
    let insert = query(INSERT)
        .bind(new.restore_id.to_vec())
        .bind(new.reason.as_str())
        .bind(new.backup_at_ms)
        .bind(new.begun_at_ms)
        .bind(new.epoch.map(stored));
    tx.run(insert).await.map(drop)
}

const NEWEST_EVENT: &str = "SELECT CAST(COALESCE(MAX(at_ms), 0) AS BIGINT) AS at_ms FROM audit_event";

/// The newest event of this database: as far as a bundle reaches that was loaded into it. 0 without any.
pub async fn newest_event_ms(tx: &mut Tx) -> Result<i64, StoreError> {
    let row = tx.one(query(NEWEST_EVENT)).await?;
    row.map_or(Ok(0), |row| column(&row, "audit_event", "at_ms"))
}

const BEGAN: &str = "UPDATE restore SET epoch = $1 WHERE restore_id = $2 AND epoch IS NULL";

/// Notes the epoch that was begun for a restore.
pub async fn began(tx: &mut Tx, restore_id: &[u8; 16], epoch: u64) -> Result<(), StoreError> {
    let began = query(BEGAN).bind(stored(epoch)).bind(restore_id.to_vec());
    tx.run(began).await.map(drop)
}

const DONE: &str =
    "UPDATE restore SET done_at_ms = $1, gateway_epoch = $2 WHERE restore_id = $3 AND done_at_ms IS NULL";

/// Notes that a restore is done.
pub async fn done(tx: &mut Tx, restore_id: &[u8; 16], now_ms: i64) -> Result<(), StoreError> {
    let epoch = keylog::epoch(tx).await?;
    let done = query(DONE).bind(now_ms).bind(stored(epoch));
    tx.run(done.bind(restore_id.to_vec())).await.map(drop)
}

const EVENT_AT: &str = "SELECT at_ms FROM audit_event WHERE seq = $1";

/// When an event of the trail was; none where there is no such event.
pub async fn event_at(tx: &mut Tx, seq: i64) -> Result<Option<i64>, StoreError> {
    let row = tx.one(query(EVENT_AT).bind(seq)).await?;
    row.map(|row| column(&row, "audit_event", "at_ms")).transpose()
}

const THREADS: &str = "UPDATE referral SET epoch = $1 WHERE side = 'inbox' AND epoch < $1";

/// Numbers that this node gives from now on to events of its inbox are of this epoch, so that none is one that was lost.
pub async fn threads_begin(tx: &mut Tx, epoch: u64) -> Result<(), StoreError> {
    tx.run(query(THREADS).bind(stored(epoch))).await.map(drop)
}

const AWAIT_WORD: &str = "UPDATE referral SET awaits_word = 1 WHERE consent = 'live' AND slip_id IN \
     (SELECT slip_id FROM slip WHERE side = 'received')";

/// Nothing is opened that was shared under a slip of another member before that has returned the thread: consent may have ended since the
/// backup.
pub async fn await_word(tx: &mut Tx) -> Result<u64, StoreError> {
    tx.run(query(AWAIT_WORD)).await
}

const STOPPED: &str =
    "INSERT INTO stopped_slip (slip_id, stopped_at_ms) VALUES ($1, $2) ON CONFLICT (slip_id) DO NOTHING";

/// Keeps that a slip which is not held here was stopped.
pub async fn keep_stop(tx: &mut Tx, slip_id: &SlipId, at_ms: i64) -> Result<(), StoreError> {
    let keep = query(STOPPED).bind(slip_id.as_bytes().to_vec()).bind(at_ms);
    tx.run(keep).await.map(drop)
}

const STOPPED_AT: &str = "SELECT stopped_at_ms FROM stopped_slip WHERE slip_id = $1";

/// When a slip that came back later was stopped; none for one that was not.
pub async fn stopped_at(tx: &mut Tx, slip_id: &SlipId) -> Result<Option<i64>, StoreError> {
    let row = tx
        .one(query(STOPPED_AT).bind(slip_id.as_bytes().to_vec()))
        .await?;
    row.map(|row| column(&row, "stopped_slip", "stopped_at_ms"))
        .transpose()
}

fn read(row: &Row) -> Result<Restore, StoreError> {
    let epoch: Option<i64> = column(row, TABLE, "epoch")?;
    let gateway_epoch: Option<i64> = column(row, TABLE, "gateway_epoch")?;
    Ok(Restore {
        restore_id: bytes(row, TABLE, "restore_id")?,
        reason: word(row, TABLE, "reason")?,
        backup_at_ms: column(row, TABLE, "backup_at_ms")?,
        begun_at_ms: column(row, TABLE, "begun_at_ms")?,
        epoch: epoch.map(i64::unsigned_abs),
        done_at_ms: column(row, TABLE, "done_at_ms")?,
        gateway_epoch: gateway_epoch.map(i64::unsigned_abs),
    })
}
