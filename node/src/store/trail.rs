//! Events of the trail as `trail` reads them, and the tables by which a referral, a grant or a person is found in it.
//! Called by the use-cases of `trail` alone. Never reads a sealed column, never changes a row.

use kith_proto::id::{GrantId, PersonId, SlipId, ThreadId};
use kith_proto::words::Purpose;
use kith_service::log::append::{self, Stored};
use kith_service::store::{InList, Row, StoreError, Tx, column, query};

use super::{From16, id, word};

const LAST: &str = "SELECT seq FROM audit_event ORDER BY seq DESC LIMIT 1";

/// The number of the last event; 0 of an empty trail.
pub(crate) async fn last(tx: &mut Tx) -> Result<i64, StoreError> {
    let row = tx.one(query(LAST)).await?;
    row.map_or(Ok(0), |row| column(&row, "audit_event", "seq"))
}

const AT: &str = "SELECT at_ms FROM audit_event WHERE seq = $1";

/// About where the events from a time on begin: the first of them, by halving. What came late stands after it all the same.
pub(crate) async fn before(tx: &mut Tx, at_ms: i64) -> Result<i64, StoreError> {
    let (mut low, mut high) = (1, last(tx).await?.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        let row = tx.one(query(AT).bind(middle)).await?;
        let at: Option<i64> = row.map(|row| column(&row, "audit_event", "at_ms")).transpose()?;
        if at.is_some_and(|at| at < at_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

const SPAN: &str = "SELECT seq, code, salt, preimage FROM audit_event WHERE seq < $1 AND seq > $2 AND at_ms >= $3 AND at_ms < $4 \
     ORDER BY seq DESC LIMIT $5";

/// The newest events between two numbers (exclusive) and two times (the first inclusive), newest first, at most `limit`.
pub(crate) async fn span(
    tx: &mut Tx,
    (after, before): (i64, i64),
    (from_ms, until_ms): (i64, i64),
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    let span = query(SPAN).bind(before).bind(after);
    let rows = tx.all(span.bind(from_ms).bind(until_ms).bind(limit)).await?;
    rows.iter().map(append::read).collect()
}

/// The events with these numbers, newest first.
pub(crate) async fn numbered(tx: &mut Tx, numbers: &[i64]) -> Result<Vec<Stored>, StoreError> {
    let mut events = append::those(tx, numbers).await?;
    events.reverse();
    Ok(events)
}

static PURPOSES: InList = InList::new(
    "SELECT thread_id, purpose FROM referral WHERE thread_id IN",
    0,
    "",
);

/// The purposes of these threads, in no order; none of a thread that is not held here.
pub(crate) async fn purposes(
    tx: &mut Tx,
    threads: &[[u8; 16]],
) -> Result<Vec<([u8; 16], Purpose)>, StoreError> {
    let rows = PURPOSES
        .all(tx, threads, |q| q, |q, id| q.bind(id.to_vec()))
        .await?;
    let read = |row: &Row| {
        Ok((
            id(row, "referral", "thread_id")?,
            word(row, "referral", "purpose")?,
        ))
    };
    rows.iter().map(read).collect()
}

const SLIP_OF: &str = "SELECT slip_id AS id FROM referral WHERE thread_id = $1";
const GRANT_OF: &str = "SELECT grant_id AS id FROM slip WHERE slip_id = $1 AND grant_id IS NOT NULL";

/// The slip that a thread rests on.
pub(crate) async fn slip_of(tx: &mut Tx, thread: &ThreadId) -> Result<Option<SlipId>, StoreError> {
    let row = tx.one(query(SLIP_OF).bind(thread.as_bytes().to_vec())).await?;
    row.map(|row| id(&row, "referral", "id")).transpose()
}

/// The grant that a slip is of, where it was captured here.
pub(crate) async fn grant_of(tx: &mut Tx, slip: &SlipId) -> Result<Option<GrantId>, StoreError> {
    let row = tx.one(query(GRANT_OF).bind(slip.as_bytes().to_vec())).await?;
    row.map(|row| id(&row, "slip", "id")).transpose()
}

const GRANTS_OF: &str = "SELECT grant_id AS id FROM grant_record WHERE person_id = $1 ORDER BY given_at_ms DESC, grant_id LIMIT $2";

/// The grants of a person, the newest first, at most `limit`.
pub(crate) async fn grants_of(
    tx: &mut Tx,
    person: &PersonId,
    limit: i64,
) -> Result<Vec<GrantId>, StoreError> {
    let asked = query(GRANTS_OF).bind(person.as_bytes().to_vec()).bind(limit);
    ids(&tx.all(asked).await?)
}

static SLIPS_OF: InList = InList::new(
    "SELECT slip_id AS id FROM slip WHERE grant_id IN",
    0,
    "LIMIT 4096",
);
static THREADS_OF: InList = InList::new(
    "SELECT thread_id AS id FROM referral WHERE slip_id IN",
    0,
    "LIMIT 4096",
);
static MAIL_OF: InList = InList::new(
    "SELECT DISTINCT thread_id AS id FROM outbox WHERE slip_id IN",
    0,
    "LIMIT 4096",
);

/// The slips of grants, in no order.
pub(crate) async fn slips_of(tx: &mut Tx, grants: &[GrantId]) -> Result<Vec<SlipId>, StoreError> {
    let rows = SLIPS_OF.all(tx, grants, |q| q, |q, id| q.bind(id.as_bytes().to_vec()));
    ids(&rows.await?)
}

/// The threads that rest on slips, and those that the outbox still has under them: a withdrawal goes out under a number of its own.
/// In no order, some twice.
pub(crate) async fn threads_of(tx: &mut Tx, slips: &[SlipId]) -> Result<Vec<ThreadId>, StoreError> {
    let mut threads = Vec::new();
    for list in [&THREADS_OF, &MAIL_OF] {
        let rows = list.all(tx, slips, |q| q, |q, id| q.bind(id.as_bytes().to_vec()));
        threads.extend(ids::<ThreadId>(&rows.await?)?);
    }
    Ok(threads)
}

fn ids<T: From16>(rows: &[Row]) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| id(row, "referral", "id")).collect()
}
