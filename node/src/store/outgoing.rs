//! The outbox as the link sees it: what waits to leave, what became of it. Rows are put in by `outbox`.
//! Called by the link's reading half outside any batch, and inside the transactions of settling and cutting.
//! Never gives an envelope of a row that was withheld, never changes a row that is settled.

use kith_proto::id::{EnvelopeId, HoldingId, OrgId, SlipId, ThreadId};
use kith_proto::problem::Problem;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{InList, Row, StoreError, Tx, WithRows, bytes, column, query};

use super::{id, id_or_null, word};
use crate::settle::{Answered, OutboxRow};

const TABLE: &str = "outbox";
const ENVELOPE: &str = "outbox_envelope";

/// One list of columns for every statement that reads rows to send.
macro_rules! outgoing {
    ($rest:literal) => {
        concat!(
            "SELECT outbox.seq AS seq, peer, kind, thread_id, slip_id, envelope_id, envelope_hash, ordered, state, number, taken_at_ms, ",
            "CAST(COALESCE(LENGTH(envelope), 0) AS BIGINT) AS envelope_bytes ",
            "FROM outbox LEFT JOIN outbox_envelope ON outbox_envelope.seq = outbox.seq WHERE ",
            $rest
        )
    };
}

const PENDING: &str = outgoing!(
    "outbox.seq > $1 AND (state = 'queued' OR (ordered = 1 AND (number IS NULL OR number < 0))) ORDER BY outbox.seq LIMIT $2"
);
const PENDING_OF: &str = outgoing!(
    "peer = $1 AND outbox.seq > $2 AND outbox.seq <= $3 AND ordered = 1 AND (number IS NULL OR number < 0) \
     ORDER BY outbox.seq LIMIT $4"
);

/// What waits after a place in the outbox, in outbox order.
pub async fn pending(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<OutboxRow>, StoreError> {
    let rows = tx.all(query(PENDING).bind(after).bind(limit)).await?;
    rows.iter().map(outgoing).collect()
}

/// What waits for one member between two places in the outbox, in outbox order.
pub async fn pending_of(
    tx: &mut Tx,
    peer: &OrgId,
    between: (i64, i64),
    limit: i64,
) -> Result<Vec<OutboxRow>, StoreError> {
    let asked = query(PENDING_OF)
        .bind(peer.to_string())
        .bind(between.0)
        .bind(between.1)
        .bind(limit);
    tx.all(asked).await?.iter().map(outgoing).collect()
}

static BY_SEQ: InList = InList::new(
    "SELECT outbox.seq AS seq, peer, kind, thread_id, slip_id, envelope_id, envelope_hash, ordered, state, \
     number, taken_at_ms, CAST(COALESCE(LENGTH(envelope), 0) AS BIGINT) AS envelope_bytes \
     FROM outbox LEFT JOIN outbox_envelope ON outbox_envelope.seq = outbox.seq WHERE state = 'queued' AND outbox.seq IN",
    0,
    "",
);

/// The rows at these places that still wait, in no order.
pub async fn by_seq(tx: &mut Tx, seqs: &[i64]) -> Result<Vec<OutboxRow>, StoreError> {
    let rows = BY_SEQ.all(tx, seqs, |q| q, |q, seq| q.bind(*seq)).await?;
    rows.iter().map(outgoing).collect()
}

static ENVELOPES: InList = InList::new("SELECT seq, envelope FROM outbox_envelope WHERE seq IN", 0, "");

/// The serialised envelopes of these rows, in no order; withheld ones are gone.
pub async fn envelopes(tx: &mut Tx, seqs: &[i64]) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    let rows = ENVELOPES.all(tx, seqs, |q| q, |q, seq| q.bind(*seq)).await?;
    let read = |row: &Row| Ok((column(row, ENVELOPE, "seq")?, column(row, ENVELOPE, "envelope")?));
    rows.iter().map(read).collect()
}

static SETTLE: WithRows = WithRows::new(
    "WITH v(place, new_state, new_number, new_problem, at_ms) AS (VALUES",
    5,
    "UPDATE outbox SET state = CASE WHEN outbox.ordered = 0 AND outbox.number < 0 THEN 'delivered' \
     WHEN outbox.state = 'queued' OR (outbox.state = 'taken' AND v.new_state = 'refused') \
     THEN v.new_state ELSE outbox.state END, number = v.new_number, \
     problem = CASE WHEN outbox.state = 'delivered' OR (outbox.ordered = 0 AND outbox.number < 0) \
     THEN outbox.problem ELSE COALESCE(outbox.problem, v.new_problem) END, \
     taken_at_ms = COALESCE(outbox.taken_at_ms, v.at_ms) FROM v WHERE outbox.seq = v.place AND \
     (outbox.state = 'queued' OR (outbox.ordered = 1 AND (outbox.number IS NULL OR outbox.number < 0))) \
     RETURNING seq, state",
);

/// Writes what the gateway answered; gives the places of the rows that this settled, in no order, and whether each is refused now. A
/// row that ended before its answer came (withheld on the way, or its recipient was faster) keeps its end and gets its number; so
/// does one that is sent again, but a gateway that was restored may refuse what it had taken.
pub async fn settle(tx: &mut Tx, answered: &[Answered]) -> Result<Vec<(i64, bool)>, StoreError> {
    let rows = SETTLE
        .all(tx, answered, |q, one| {
            let state = if one.problem.is_none() { "taken" } else { "refused" };
            q.bind(one.row.seq)
                .bind(state)
                .bind(one.number.map(|n| i64::try_from(n).unwrap_or(i64::MAX)))
                .bind(one.problem.map(Problem::as_str))
                .bind(one.at_ms)
        })
        .await?;
    let (mut settled, mut ended, mut delivered) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let (seq, state): (i64, &str) = (column(row, TABLE, "seq")?, column(row, TABLE, "state")?);
        settled.push((seq, state == "refused"));
        match state {
            "taken" => {}
            "delivered" => delivered.push(seq),
            _ => ended.push(seq),
        }
    }
    forget(tx, &ended).await?;
    drop_bodies(tx, &delivered).await?;
    Ok(settled)
}

/// A row as a receipt or a drop of its envelope finds it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its place.
    pub seq: i64,
    /// Who it is for.
    pub peer: OrgId,
    /// What it carries.
    pub kind: EnvelopeKind,
    /// Its thread.
    pub thread_id: ThreadId,
    /// The slip that it goes under.
    pub slip_id: Option<SlipId>,
    /// Its envelope.
    pub envelope_id: EnvelopeId,
    /// The envelope's hash.
    pub envelope_hash: [u8; 32],
    /// Whether the gateway has answered it, so that nothing needs its bytes any more.
    pub answered: bool,
}

static SENT: InList = InList::new(
    "SELECT seq, peer, kind, thread_id, slip_id, envelope_id, envelope_hash, taken_at_ms FROM outbox \
     WHERE state IN ('queued', 'taken', 'withheld') AND envelope_id IN",
    0,
    "",
);

/// The rows of these envelopes whose end is still open, in no order.
pub async fn sent(tx: &mut Tx, ids: &[EnvelopeId]) -> Result<Vec<Sent>, StoreError> {
    let rows = SENT
        .all(tx, ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    let read = |row: &Row| {
        Ok(Sent {
            seq: column(row, TABLE, "seq")?,
            peer: word(row, TABLE, "peer")?,
            kind: word(row, TABLE, "kind")?,
            thread_id: id(row, TABLE, "thread_id")?,
            slip_id: id_or_null(row, TABLE, "slip_id")?,
            envelope_id: id(row, TABLE, "envelope_id")?,
            envelope_hash: bytes(row, TABLE, "envelope_hash")?,
            answered: column::<Option<i64>>(row, TABLE, "taken_at_ms")?.is_some(),
        })
    };
    rows.iter().map(read).collect()
}

/// The end of one envelope: delivered, or refused with the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The row's place.
    pub seq: i64,
    /// Why it was refused, by the recipient or by the gateway after taking it.
    pub problem: Option<Problem>,
    /// Whether the gateway has answered it: of a delivered one the envelope alone is kept, of a refused one nothing.
    pub forget: bool,
}

static END: WithRows = WithRows::new(
    "WITH v(place, new_state, new_problem) AS (VALUES",
    3,
    "UPDATE outbox SET state = v.new_state, problem = v.new_problem FROM v WHERE outbox.seq = v.place",
);
static DROP_BODIES: InList = InList::new(
    "UPDATE outbox_envelope SET body = NULL WHERE body IS NOT NULL AND seq IN",
    0,
    "",
);
static FORGET: InList = InList::new("DELETE FROM outbox_envelope WHERE seq IN", 0, "");

/// Writes the ends of envelopes. A delivered one is kept for a month, for a recipient or a gateway that must be restored; the body,
/// from which it would be sealed again, goes.
pub async fn end(tx: &mut Tx, ended: &[Ended]) -> Result<(), StoreError> {
    let write = END.run(tx, ended, |q, one| {
        let state = if one.problem.is_none() {
            "delivered"
        } else {
            "refused"
        };
        q.bind(one.seq).bind(state).bind(one.problem.map(Problem::as_str))
    });
    write.await?;
    let answered = ended.iter().filter(|one| one.forget);
    let (delivered, refused): (Vec<&Ended>, Vec<&Ended>) = answered.partition(|one| one.problem.is_none());
    drop_bodies(tx, &delivered.iter().map(|one| one.seq).collect::<Vec<_>>()).await?;
    forget(tx, &refused.iter().map(|one| one.seq).collect::<Vec<_>>()).await
}

async fn drop_bodies(tx: &mut Tx, seqs: &[i64]) -> Result<(), StoreError> {
    DROP_BODIES
        .run(tx, seqs, |q| q, |q, seq| q.bind(*seq))
        .await
        .map(drop)
}

/// Erases the bytes of rows; their lines stay.
pub async fn forget(tx: &mut Tx, seqs: &[i64]) -> Result<(), StoreError> {
    FORGET.run(tx, seqs, |q| q, |q, seq| q.bind(*seq)).await.map(drop)
}

/// What sealing again needs of a row that waits.
pub struct Kept {
    /// The serialised envelope.
    pub envelope: Vec<u8>,
    /// Its body, sealed at rest.
    pub body: Option<Vec<u8>>,
    /// The holding whose key seals that.
    pub holding_id: Option<HoldingId>,
}

const KEPT: &str = "SELECT holding_id, envelope, body FROM outbox JOIN outbox_envelope ON outbox_envelope.seq = outbox.seq \
     WHERE outbox.seq = $1 AND (state = 'queued' OR (state = 'taken' AND (number IS NULL OR number < 0)))";

/// A row that waits, with what it can be sealed from again; none when it waits no more.
pub async fn kept(tx: &mut Tx, seq: i64) -> Result<Option<Kept>, StoreError> {
    let Some(row) = tx.one(query(KEPT).bind(seq)).await? else {
        return Ok(None);
    };
    Ok(Some(Kept {
        envelope: column(&row, ENVELOPE, "envelope")?,
        body: column(&row, ENVELOPE, "body")?,
        holding_id: id_or_null(&row, TABLE, "holding_id")?,
    }))
}

const RESEAL: &str = "UPDATE outbox SET envelope_hash = $1 WHERE seq = $2 AND envelope_hash = $3 AND (state = 'queued' OR (state = 'taken' AND (number IS NULL OR number < 0)))";
const RESEAL_ENVELOPE: &str = "UPDATE outbox_envelope SET envelope = $1 WHERE seq = $2";

/// Replaces the envelope of a row that waits by the same one sealed to another key; answers whether the row still waited.
pub async fn reseal(
    tx: &mut Tx,
    row: &OutboxRow,
    hash: &[u8; 32],
    envelope: Vec<u8>,
) -> Result<bool, StoreError> {
    let write = query(RESEAL)
        .bind(hash.to_vec())
        .bind(row.seq)
        .bind(row.envelope_hash.to_vec());
    if tx.run(write).await? == 0 {
        return Ok(false);
    }
    tx.run(query(RESEAL_ENVELOPE).bind(envelope).bind(row.seq))
        .await?;
    Ok(true)
}

const WAS_RESEALED: &str = "UPDATE outbox SET envelope_hash = $1 WHERE seq = $2";

/// Takes the hash over under which an envelope left after the backup. Its bytes went with what was lost; those that are held never left,
/// and are forgotten.
pub async fn was_resealed(tx: &mut Tx, row: &OutboxRow) -> Result<(), StoreError> {
    let write = query(WAS_RESEALED).bind(row.envelope_hash.to_vec());
    tx.run(write.bind(row.seq)).await?;
    forget(tx, &[row.seq]).await
}

fn outgoing(row: &Row) -> Result<OutboxRow, StoreError> {
    let ordered: i64 = column(row, TABLE, "ordered")?;
    let state: &str = column(row, TABLE, "state")?;
    let bytes_count: i64 = column(row, ENVELOPE, "envelope_bytes")?;
    let (number, taken_at_ms): (Option<i64>, Option<i64>) =
        (column(row, TABLE, "number")?, column(row, TABLE, "taken_at_ms")?);
    Ok(OutboxRow {
        seq: column(row, TABLE, "seq")?,
        peer: word(row, TABLE, "peer")?,
        kind: word(row, TABLE, "kind")?,
        thread_id: id(row, TABLE, "thread_id")?,
        slip_id: id_or_null(row, TABLE, "slip_id")?,
        envelope_id: id(row, TABLE, "envelope_id")?,
        envelope_hash: bytes(row, TABLE, "envelope_hash")?,
        ordered: ordered == 1,
        withheld: state == "withheld" || bytes_count == 0,
        envelope_bytes: usize::try_from(bytes_count).unwrap_or(usize::MAX),
        again: taken_at_ms.is_some(),
        number: number
            .filter(|number| ordered == 1 && *number < 0)
            .map(i64::unsigned_abs),
    })
}
