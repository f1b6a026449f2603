//! The outcome of every envelope id that was answered finally, so that a repeat is answered the same way and nothing is taken
//! twice. Written by the take door; marked when the envelope is dropped or delivered; forgotten by the sweeper.

use std::collections::BTreeMap;

use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::store::{InList, Insert, Row, StoreError, Tx, bytes, column, query};
use prost::Message as _;

use super::pair::{Pair, of_row, stored};

/// One outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenRow {
    /// The envelope's id, or a stand-in when the id was another's or unknown.
    pub envelope_id: [u8; 16],
    /// Its hash.
    pub envelope_hash: [u8; 32],
    /// Its pair.
    pub pair: Pair,
    /// Its number in the pair; `None` outside the order.
    pub number: Option<u64>,
    /// When it was taken or refused.
    pub taken_at_ms: i64,
    /// Why it was refused or, later, dropped.
    pub problem: Option<Problem>,
    /// The refusal as signed; `None` for one that was taken.
    pub refused: Option<v1::Refused>,
    /// When its recipient signed for it last.
    pub delivered_at_ms: Option<i64>,
}

static INSERT: Insert = Insert::into(
    "INSERT INTO taken (envelope_id, envelope_hash, sender, recipient, number, taken_at_ms, problem, refused)",
    8,
    "",
);

/// Records outcomes.
pub async fn insert(tx: &mut Tx, rows: &[&TakenRow]) -> Result<(), StoreError> {
    INSERT
        .rows(tx, rows, |query, row| {
            query
                .bind(row.envelope_id.to_vec())
                .bind(row.envelope_hash.to_vec())
                .bind(row.pair.sender.as_str().to_owned())
                .bind(row.pair.recipient.as_str().to_owned())
                .bind(row.number.map(stored))
                .bind(row.taken_at_ms)
                .bind(row.problem.map(Problem::as_str))
                .bind(row.refused.as_ref().map(v1::Refused::encode_to_vec))
        })
        .await
        .map(drop)
}

static BY_IDS: InList = InList::new(
    "SELECT envelope_id, envelope_hash, sender, recipient, number, taken_at_ms, problem, refused, delivered_at_ms \
     FROM taken WHERE envelope_id IN",
    0,
    "",
);

/// The outcomes of those of the ids that have one.
pub async fn by_ids(tx: &mut Tx, ids: &[[u8; 16]]) -> Result<BTreeMap<[u8; 16], TakenRow>, StoreError> {
    let rows = BY_IDS
        .all(tx, ids, |query| query, |query, id| query.bind(id.to_vec()))
        .await?;
    rows.iter()
        .map(|row| read(row).map(|taken| (taken.envelope_id, taken)))
        .collect()
}

const BY_NUMBERS: &str = "SELECT envelope_id, envelope_hash, sender, recipient, number, taken_at_ms, problem, refused, delivered_at_ms \
     FROM taken WHERE sender = $1 AND recipient = $2 AND number >= $3 AND number <= $4 ORDER BY number LIMIT $5";

/// The outcomes of a pair's numbers from first to last, at most `rows_max`.
pub async fn by_numbers(
    tx: &mut Tx,
    pair: &Pair,
    (first, last): (u64, u64),
    rows_max: usize,
) -> Result<Vec<TakenRow>, StoreError> {
    let select = query(BY_NUMBERS)
        .bind(pair.sender.as_str().to_owned())
        .bind(pair.recipient.as_str().to_owned())
        .bind(stored(first))
        .bind(stored(last))
        .bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
    let rows = tx.all(select).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<TakenRow, StoreError> {
    const TABLE: &str = "taken";
    let bad = |column| StoreError::Corrupt { table: TABLE, column };
    let number: Option<i64> = column(row, TABLE, "number")?;
    let problem: Option<String> = column(row, TABLE, "problem")?;
    let refused: Option<Vec<u8>> = column(row, TABLE, "refused")?;
    Ok(TakenRow {
        envelope_id: bytes(row, TABLE, "envelope_id")?,
        envelope_hash: bytes(row, TABLE, "envelope_hash")?,
        pair: of_row(row, TABLE)?,
        number: number.map(u64::try_from).transpose().map_err(|_| bad("number"))?,
        taken_at_ms: column(row, TABLE, "taken_at_ms")?,
        problem: problem
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| bad("problem"))?,
        refused: refused
            .map(|bytes| v1::Refused::decode(bytes.as_slice()))
            .transpose()
            .map_err(|_| bad("refused"))?,
        delivered_at_ms: column(row, TABLE, "delivered_at_ms")?,
    })
}

static DROPPED: InList = InList::new("UPDATE taken SET problem = $1 WHERE envelope_id IN", 1, "");

/// Marks envelopes that will never be delivered.
pub async fn dropped(tx: &mut Tx, ids: &[[u8; 16]], problem: Problem) -> Result<(), StoreError> {
    DROPPED
        .run(
            tx,
            ids,
            |query| query.bind(problem.as_str()),
            |query, id| query.bind(id.to_vec()),
        )
        .await
        .map(drop)
}

static DELIVERED: InList = InList::new(
    "UPDATE taken SET delivered_at_ms = $1 WHERE envelope_id IN",
    1,
    "",
);

/// Marks envelopes whose recipient holds them.
pub async fn delivered(tx: &mut Tx, ids: &[[u8; 16]], now_ms: i64) -> Result<(), StoreError> {
    DELIVERED
        .run(
            tx,
            ids,
            |query| query.bind(now_ms),
            |query, id| query.bind(id.to_vec()),
        )
        .await
        .map(drop)
}

const FORGET: &str = "DELETE FROM taken WHERE (taken_at_ms <= $1 OR delivered_at_ms <= $2) AND NOT EXISTS (SELECT 1 FROM reoffer \
     WHERE reoffer.sender = taken.sender AND reoffer.recipient = taken.recipient)";

/// Forgets outcomes from before `taken_ms`, and delivered ones from before `delivered_ms`, but of no pair that is to be offered again.
pub async fn forget(tx: &mut Tx, taken_ms: i64, delivered_ms: i64) -> Result<u64, StoreError> {
    tx.run(query(FORGET).bind(taken_ms).bind(delivered_ms)).await
}

static FORMS: InList = InList::new(
    "SELECT sender, recipient, count FROM question_day WHERE day = $1 AND sender IN",
    1,
    "",
);

/// Questions and answers taken on a day, of every pair of these senders.
pub async fn forms(tx: &mut Tx, senders: &[&OrgId], day: i64) -> Result<BTreeMap<Pair, i64>, StoreError> {
    let rows = FORMS
        .all(
            tx,
            senders,
            |query| query.bind(day),
            |query, sender| query.bind(sender.as_str().to_owned()),
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok((
                of_row(row, "question_day")?,
                column(row, "question_day", "count")?,
            ))
        })
        .collect()
}

static COUNT: Insert = Insert::into(
    "INSERT INTO question_day (sender, recipient, day, count)",
    4,
    "ON CONFLICT (sender, recipient, day) DO UPDATE SET count = question_day.count + excluded.count",
);

/// Counts questions and answers that were taken.
pub async fn count_forms(tx: &mut Tx, taken: &BTreeMap<Pair, i64>, day: i64) -> Result<(), StoreError> {
    let rows: Vec<(&Pair, i64)> = taken.iter().map(|(pair, count)| (pair, *count)).collect();
    COUNT
        .rows(tx, &rows, |query, (pair, count)| {
            query
                .bind(pair.sender.as_str().to_owned())
                .bind(pair.recipient.as_str().to_owned())
                .bind(day)
                .bind(*count)
        })
        .await
        .map(drop)
}

const FORGET_FORMS: &str = "DELETE FROM question_day WHERE day < $1";

/// Forgets the counts of days before `day`.
pub async fn forget_forms(tx: &mut Tx, day: i64) -> Result<u64, StoreError> {
    tx.run(query(FORGET_FORMS).bind(day)).await
}
