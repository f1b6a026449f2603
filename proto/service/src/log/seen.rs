//! What this server has seen of other logs: the last head it cosigned or believed of each origin, and forks, with both notes.
//! Gateways and witnesses cosign with it (C2SP tlog-witness), nodes follow their gateway's log with it.
//! Never cosigns before the new head stands in place of the old one, in the transaction that read it.

use crate::store::{Row, Store, StoreError, Tx, bytes, column, query};
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{KeyName, Note, NoteError, NoteSignature, VerifierKey};
use kith_proto::log::tree::{Hash, TreeHead};
use kith_proto::log::witness::{AddCheckpoint, WitnessRefusal};
use kith_proto::problem::Problem;
use kith_proto::sign::{SigningKey, sha256};

const TABLE: &str = "log_seen";
/// Most forks kept of one origin: the first ones prove it.
const FORKS_MAX: i64 = 16;

/// The last head of somebody else's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Size and root.
    pub head: TreeHead,
    /// The note that said so.
    pub note: Note,
    /// When, in milliseconds UTC.
    pub seen_at_ms: i64,
}

const LAST: &str = "SELECT size, root, note, seen_at_ms FROM log_seen WHERE origin = $1";

/// Returns the last head that was put down for an origin.
pub async fn last(tx: &mut Tx, origin: &str) -> Result<Option<Seen>, StoreError> {
    let row = tx.one(query(LAST).bind(origin.to_owned())).await?;
    row.map(|row| read(&row)).transpose()
}

fn read(row: &Row) -> Result<Seen, StoreError> {
    let size: i64 = column(row, TABLE, "size")?;
    let head = TreeHead {
        size: size.cast_unsigned(),
        root: Hash(bytes(row, TABLE, "root")?),
    };
    let note = note(row, TABLE, "note")?;
    // A row that was altered must not roll the log back: the head is what the note says.
    let said: Option<Checkpoint> = note.text().parse().ok();
    if said.is_none_or(|said| *said.head() != head) {
        return Err(StoreError::Corrupt {
            table: TABLE,
            column: "size",
        });
    }
    Ok(Seen {
        head,
        note,
        seen_at_ms: column(row, TABLE, "seen_at_ms")?,
    })
}

fn note(row: &Row, table: &'static str, name: &'static str) -> Result<Note, StoreError> {
    let held: Vec<u8> = column(row, table, name)?;
    Note::parse(&held).map_err(|_| StoreError::Corrupt { table, column: name })
}

const PUT: &str = "INSERT INTO log_seen (origin, size, root, note, seen_at_ms) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note, \
    seen_at_ms = excluded.seen_at_ms WHERE log_seen.size <= excluded.size";

/// Puts down a head that was verified against the last one in this transaction; `false`, and nothing written, when the size in the
/// store is larger by now.
pub async fn put(
    tx: &mut Tx,
    checkpoint: &Checkpoint,
    note: &Note,
    seen_at_ms: i64,
) -> Result<bool, StoreError> {
    let head = checkpoint.head();
    let put = query(PUT)
        .bind(checkpoint.origin().to_owned())
        .bind(head.size.cast_signed());
    let put = put.bind(head.root.0.to_vec()).bind(note.to_string().into_bytes());
    Ok(tx.run(put.bind(seen_at_ms)).await? == 1)
}

/// Two notes of one origin that cannot both be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The log.
    pub origin: String,
    /// What was believed before.
    pub held: Note,
    /// What came after, signed by the log as well.
    pub offered: Note,
    /// When, in milliseconds UTC.
    pub seen_at_ms: i64,
}

const FORK: &str = "INSERT INTO log_fork (origin, offered_hash, held, offered, seen_at_ms) \
    SELECT $1, $2, $3, $4, $5 WHERE (SELECT COUNT(*) FROM log_fork WHERE origin = $1) < $6 \
    ON CONFLICT (origin, offered_hash) DO NOTHING";

/// Keeps a fork as evidence; `true` the first time that this note is seen.
pub async fn put_fork(tx: &mut Tx, fork: &Fork) -> Result<bool, StoreError> {
    let (held, offered) = (fork.held.to_string(), fork.offered.to_string());
    let put = query(FORK)
        .bind(fork.origin.clone())
        .bind(sha256(&[offered.as_bytes()]).to_vec())
        .bind(held.into_bytes());
    let put = put
        .bind(offered.into_bytes())
        .bind(fork.seen_at_ms)
        .bind(FORKS_MAX);
    Ok(tx.run(put).await? == 1)
}

const FORKS: &str =
    "SELECT origin, held, offered, seen_at_ms FROM log_fork ORDER BY seen_at_ms, offered_hash LIMIT 100";

/// Every fork that was seen, the first ones first, at most 100.
pub async fn forks(tx: &mut Tx) -> Result<Vec<Fork>, StoreError> {
    let rows = tx.all(query(FORKS)).await?;
    let read = |row: &Row| {
        Ok(Fork {
            origin: column(row, "log_fork", "origin")?,
            held: note(row, "log_fork", "held")?,
            offered: note(row, "log_fork", "offered")?,
            seen_at_ms: column(row, "log_fork", "seen_at_ms")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Why a checkpoint was not cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignError {
    /// As a witness refuses; a fork is kept as evidence.
    #[error(transparent)]
    Refused(#[from] WitnessRefusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing library failed.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl CosignError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused(refused) => refused.problem(),
            Self::Store(error) => error.problem(),
            Self::Note(error) => error.problem(),
        }
    }
}

/// A witness: its name, its key and where it remembers.
#[derive(Clone, Copy)]
pub struct Witness<'a> {
    /// What it is called in policies.
    pub name: &'a KeyName,
    /// What it cosigns with.
    pub key: &'a SigningKey,
    /// Where it keeps the last heads.
    pub store: &'a Store,
}

/// What checking a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The checkpoint that may be cosigned once the transaction is committed, or why not.
    pub outcome: Result<Checkpoint, WitnessRefusal>,
    /// Whether a fork was kept that had not been seen before: the moment to raise an alarm.
    pub is_new_fork: bool,
}

const FIRST: &str = "INSERT INTO log_seen (origin, size, root, note, seen_at_ms) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (origin) DO NOTHING";
const NEXT: &str = "UPDATE log_seen SET size = $2, root = $3, note = $4, seen_at_ms = $5 \
    WHERE origin = $1 AND size = $6 AND root = $7";

/// Checks a request against the last head of its log, and puts the new head down in its place, by compare-and-swap: of two requests
/// at once, whose trees nobody has compared with each other, one gets an error and comes again. `log_keys` are those of the origin
/// that the request claims. What a refused fork shows is kept. Commit before anything is signed.
pub async fn check(
    tx: &mut Tx,
    request: &AddCheckpoint,
    log_keys: &[VerifierKey],
    now_ms: i64,
) -> Result<Checked, StoreError> {
    let last = last(tx, request.claimed_origin()).await?;
    let outcome = request.check(log_keys, last.as_ref().map(|seen| &seen.head));
    let mut is_new_fork = false;
    match (&outcome, last) {
        (Ok(checkpoint), last) => {
            let (text, head) = (if last.is_some() { NEXT } else { FIRST }, checkpoint.head());
            let put = query(text)
                .bind(checkpoint.origin().to_owned())
                .bind(head.size.cast_signed());
            let put = put.bind(head.root.0.to_vec());
            let mut put = put.bind(request.note().to_string().into_bytes()).bind(now_ms);
            if let Some(last) = last {
                put = put
                    .bind(last.head.size.cast_signed())
                    .bind(last.head.root.0.to_vec());
            }
            if tx.run(put).await? != 1 {
                return Err(StoreError::Abandoned);
            }
        }
        (Err(WitnessRefusal::Inconsistent), Some(last)) => {
            let fork = Fork {
                origin: request.claimed_origin().to_owned(),
                held: last.note,
                offered: request.note().clone(),
                seen_at_ms: now_ms,
            };
            is_new_fork = put_fork(tx, &fork).await?;
        }
        (Err(_), _) => {}
    }
    Ok(Checked { outcome, is_new_fork })
}

impl Witness<'_> {
    /// Checks a request as [`check`] does, and cosigns only when that is committed.
    pub async fn cosign(
        &self,
        request: &AddCheckpoint,
        log_keys: &[VerifierKey],
        now_ms: i64,
    ) -> Result<NoteSignature, CosignError> {
        let checked = self
            .store
            .tx("cosign", |mut tx| async move {
                check(&mut tx, request, log_keys, now_ms).await
            })
            .await?;
        Ok(self.sign(&checked.outcome?, now_ms)?)
    }

    /// Cosigns a checkpoint whose [`check`] is committed.
    pub fn sign(&self, checkpoint: &Checkpoint, now_ms: i64) -> Result<NoteSignature, NoteError> {
        let time_s = now_ms.max(1000).cast_unsigned() / 1000;
        checkpoint.cosign(self.name, self.key, time_s)
    }
}
