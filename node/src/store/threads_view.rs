//! Reads threads for their lists, their watch and their opening. Called by `threads_view` alone.
//! Never changes a row, never reads a sealed column together with a line: content is read only by who opens it.

use std::collections::BTreeMap;

use kith_proto::id::{EventId, MessageId, OrgId, SlipId, ThreadId, TokenId};
use kith_proto::lifecycle::{Consent, Delivery, Move, Reason, Situation, State};
use kith_proto::problem::Problem;
use kith_proto::words::Purpose;
use kith_service::store::{InList, Row, StoreError, Tx, column, query};

use super::{id, id_or_null, word, word_or_null};
use crate::moves::plan::is_proposal;
use crate::threads::Side;
use crate::threads_view::work::{Place, Turn};

const TABLE: &str = "referral";
const EVENT: &str = "event";
const MESSAGE: &str = "message";

/// Most events of a thread that are shown; the newest ones. A thread with more has been moved to and fro for years.
pub(crate) const EVENTS_SHOWN_MAX: i64 = 1_000;
/// Most messages of a thread that are shown; the newest ones.
pub(crate) const MESSAGES_SHOWN_MAX: i64 = 1_000;

/// What a list shows of a thread, and what decides who sees it.
pub(crate) struct Line {
    pub(crate) thread_id: ThreadId,
    pub(crate) slip_id: SlipId,
    pub(crate) side: Side,
    pub(crate) peer: OrgId,
    pub(crate) owner_token: Option<TokenId>,
    pub(crate) purpose: Purpose,
    pub(crate) situation: Situation,
    /// Whether nothing of what was shared is shown before the member that captured the consent has said that it still stands.
    pub(crate) awaits_word: bool,
    pub(crate) delivery: Delivery,
    pub(crate) problem: Option<Problem>,
    pub(crate) answer_by_ms: i64,
    pub(crate) deadline_ms: i64,
    pub(crate) created_at_ms: i64,
    pub(crate) updated_at_ms: i64,
    pub(crate) changed: i64,
    pub(crate) arrival: i64,
}

/// One event as it is shown; its words are content.
pub(crate) struct ShownEvent {
    pub(crate) event_id: EventId,
    pub(crate) epoch: i64,
    pub(crate) number: i64,
    pub(crate) mv: Move,
    /// None in a proposal.
    pub(crate) state: Option<State>,
    pub(crate) reason: Option<Reason>,
    pub(crate) happened_at_ms: i64,
    pub(crate) deadline_ms: i64,
    pub(crate) words_id: Option<[u8; 16]>,
}

/// Which lines of a list are wanted.
pub(crate) struct Wanted<'a> {
    pub(crate) side: Side,
    /// Only these states; empty for every one.
    pub(crate) states: &'a [State],
    /// Only this owner's.
    pub(crate) owner: Option<TokenId>,
    /// Only what arrived before this place.
    pub(crate) before: i64,
    /// At most so many.
    pub(crate) limit: i64,
}

/// One list of columns for every statement that reads lines.
macro_rules! lines {
    ($rest:literal) => {
        concat!(
            "SELECT thread_id, slip_id, side, peer, owner_token, purpose, state, came_from, expired_from, consent, ",
            "awaits_word, delivery, problem, answer_by_ms, deadline_ms, created_at_ms, updated_at_ms, changed, arrival ",
            "FROM referral ",
            $rest
        )
    };
}

const PAGE: &str = lines!(
    "WHERE side = $1 AND arrival < $2 AND ($3 = '' OR $3 LIKE '%,' || state || ',%') \
     ORDER BY arrival DESC LIMIT $4"
);
const PAGE_OWN: &str = lines!(
    "WHERE side = $1 AND arrival < $2 AND ($3 = '' OR $3 LIKE '%,' || state || ',%') AND owner_token = $5 \
     ORDER BY arrival DESC LIMIT $4"
);

/// The newest lines before a place, newest first.
pub(crate) async fn page(tx: &mut Tx, wanted: &Wanted<'_>) -> Result<Vec<Line>, StoreError> {
    // `,sent,received,`: one text for any number of states; no word holds a comma.
    let states = match wanted.states {
        [] => String::new(),
        states => states
            .iter()
            .fold(",".to_owned(), |list, state| list + state.as_str() + ","),
    };
    let text = if wanted.owner.is_some() { PAGE_OWN } else { PAGE };
    let mut asked = query(text)
        .bind(wanted.side.as_str())
        .bind(wanted.before)
        .bind(states)
        .bind(wanted.limit);
    if let Some(owner) = wanted.owner {
        asked = asked.bind(owner.as_bytes().to_vec());
    }
    tx.all(asked).await?.iter().map(line).collect()
}

/// Which lines of a worklist are wanted.
pub(crate) struct WorkWanted {
    pub(crate) turn: Turn,
    /// Only this owner's.
    pub(crate) owner: Option<TokenId>,
    /// Only what stands after this place.
    pub(crate) after: Option<Place>,
    /// At most so many.
    pub(crate) limit: i64,
}

// `,sent:received,inbox:accepted,`: one text for any number of sides and states; no word holds a comma.
const WORK: &str = lines!(
    "WHERE $1 LIKE '%,' || side || ':' || state || ',%' AND deadline_ms > 0 \
     AND (deadline_ms > $2 OR (deadline_ms = $2 AND thread_id > $3)) AND ($5 = 0 OR owner_token = $6) \
     ORDER BY deadline_ms, thread_id LIMIT $4"
);
const WORK_OVER: &str = lines!(
    "WHERE $1 LIKE '%,' || side || ':' || state || ',%' AND (changed < $2 OR (changed = $2 AND thread_id > $3)) \
     AND ($5 = 0 OR owner_token = $6) ORDER BY changed DESC, thread_id LIMIT $4"
);
static ENDS: InList = InList::new("SELECT slip_id, expires_at_ms FROM slip WHERE slip_id IN", 0, "");

/// The lines of a worklist after a place, each with the end of its slip.
pub(crate) async fn work(tx: &mut Tx, wanted: &WorkWanted) -> Result<Vec<(Line, i64)>, StoreError> {
    let mut of = ",".to_owned();
    for state in State::ALL {
        for side in [Side::Sent, Side::Inbox]
            .iter()
            .filter(|side| wanted.turn.is_of(**side, *state))
        {
            of = of + side.as_str() + ":" + state.as_str() + ",";
        }
    }
    let (text, first) = match wanted.turn {
        Turn::Over => (WORK_OVER, i64::MAX),
        Turn::Yours | Turn::Theirs => (WORK, 0),
    };
    let after = wanted
        .after
        .map(|place| (place.at, place.thread_id.as_bytes().to_vec()));
    let (at, thread_id) = after.unwrap_or((first, Vec::new()));
    let asked = query(text)
        .bind(of)
        .bind(at)
        .bind(thread_id)
        .bind(wanted.limit)
        .bind(i64::from(wanted.owner.is_some()))
        .bind(
            wanted
                .owner
                .map(|owner| owner.as_bytes().to_vec())
                .unwrap_or_default(),
        );
    let lines: Vec<Line> = tx.all(asked).await?.iter().map(line).collect::<Result<_, _>>()?;
    let mut ids: Vec<SlipId> = lines.iter().map(|line| line.slip_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows = ENDS
        .all(tx, &ids, |q| q, |q, id| q.bind(id.as_bytes().to_vec()))
        .await?;
    let mut ends = BTreeMap::new();
    for row in &rows {
        let at_ms: i64 = column(row, "slip", "expires_at_ms")?;
        ends.insert(id::<SlipId>(row, "slip", "slip_id")?, at_ms);
    }
    let with_end = |line: Line| {
        let end = ends.get(&line.slip_id).copied().unwrap_or_default();
        (line, end)
    };
    Ok(lines.into_iter().map(with_end).collect())
}

const CHANGED: &str = lines!("WHERE changed > $1 ORDER BY changed LIMIT $2");
const CHANGED_OWN: &str = lines!("WHERE changed > $1 AND owner_token = $3 ORDER BY changed LIMIT $2");

/// The lines that changed after a place in the order of changes, in that order.
pub(crate) async fn changed_after(
    tx: &mut Tx,
    after: i64,
    owner: Option<TokenId>,
    limit: i64,
) -> Result<Vec<Line>, StoreError> {
    let text = if owner.is_some() { CHANGED_OWN } else { CHANGED };
    let mut asked = query(text).bind(after).bind(limit);
    if let Some(owner) = owner {
        asked = asked.bind(owner.as_bytes().to_vec());
    }
    tx.all(asked).await?.iter().map(line).collect()
}

const BY_ID: &str = lines!("WHERE thread_id = $1");

/// One thread's line; none when there is no such thread.
pub(crate) async fn by_id(tx: &mut Tx, thread_id: &ThreadId) -> Result<Option<Line>, StoreError> {
    let row = tx.one(query(BY_ID).bind(thread_id.as_bytes().to_vec())).await?;
    row.as_ref().map(line).transpose()
}

const BY_CODE: &str = lines!("WHERE thread_id BETWEEN $1 AND $2 ORDER BY arrival DESC LIMIT 2");

/// The threads with this code: mostly one; two when 40 bits were not enough.
pub(crate) async fn by_code(tx: &mut Tx, prefix: [u8; 5]) -> Result<Vec<Line>, StoreError> {
    let bound = |rest: u8| [prefix.as_slice(), &[rest; 11]].concat();
    let asked = query(BY_CODE).bind(bound(0)).bind(bound(u8::MAX));
    tx.all(asked).await?.iter().map(line).collect()
}

impl Line {
    /// Whether content may be read that was shared.
    pub(crate) fn is_readable(&self) -> bool {
        self.situation.consent == Consent::Live && !self.awaits_word
    }

    /// Whether it could be read but for a word that is awaited; once consent has ended no word opens anything.
    pub(crate) fn is_waiting(&self) -> bool {
        self.situation.consent == Consent::Live && self.awaits_word
    }
}

const EVENTS: &str = "SELECT event_id, epoch, number, move, state, reason, provisional, happened_at_ms, deadline_ms, \
     words_id \
     FROM event WHERE thread_id = $1 ORDER BY happened_at_ms DESC, \
     CASE WHEN provisional = 1 AND number = 0 THEN 1 ELSE 0 END DESC, epoch DESC, number DESC, event_id DESC LIMIT $2";

/// The newest events of a thread, oldest of them first.
pub(crate) async fn events(tx: &mut Tx, thread_id: &ThreadId) -> Result<Vec<ShownEvent>, StoreError> {
    let asked = query(EVENTS)
        .bind(thread_id.as_bytes().to_vec())
        .bind(EVENTS_SHOWN_MAX);
    tx.all(asked).await?.iter().rev().map(event).collect()
}

const MESSAGES: &str =
    "SELECT message_id FROM message WHERE thread_id = $1 ORDER BY at_ms DESC, message_id DESC LIMIT $2";

/// The ids of the newest messages of a thread, oldest of them first.
pub(crate) async fn messages(tx: &mut Tx, thread_id: &ThreadId) -> Result<Vec<MessageId>, StoreError> {
    let asked = query(MESSAGES)
        .bind(thread_id.as_bytes().to_vec())
        .bind(MESSAGES_SHOWN_MAX);
    tx.all(asked)
        .await?
        .iter()
        .rev()
        .map(|row| id(row, MESSAGE, "message_id"))
        .collect()
}

fn line(row: &Row) -> Result<Line, StoreError> {
    let number = |name| column::<i64>(row, TABLE, name);
    Ok(Line {
        thread_id: id(row, TABLE, "thread_id")?,
        slip_id: id(row, TABLE, "slip_id")?,
        side: word(row, TABLE, "side")?,
        peer: word(row, TABLE, "peer")?,
        owner_token: id_or_null(row, TABLE, "owner_token")?,
        purpose: word(row, TABLE, "purpose")?,
        situation: Situation {
            state: word(row, TABLE, "state")?,
            came_from: word_or_null(row, TABLE, "came_from")?,
            expired_from: word_or_null(row, TABLE, "expired_from")?,
            consent: word::<Consent>(row, TABLE, "consent")?,
        },
        awaits_word: number("awaits_word")? != 0,
        delivery: word(row, TABLE, "delivery")?,
        problem: word_or_null(row, TABLE, "problem")?,
        answer_by_ms: number("answer_by_ms")?,
        deadline_ms: number("deadline_ms")?,
        created_at_ms: number("created_at_ms")?,
        updated_at_ms: number("updated_at_ms")?,
        changed: number("changed")?,
        arrival: number("arrival")?,
    })
}

fn event(row: &Row) -> Result<ShownEvent, StoreError> {
    let number = |name| column::<i64>(row, EVENT, name);
    let mv = word(row, EVENT, "move")?;
    let proposal = is_proposal(mv, number("provisional")? != 0, number("number")?.unsigned_abs());
    Ok(ShownEvent {
        event_id: id(row, EVENT, "event_id")?,
        epoch: number("epoch")?,
        number: number("number")?,
        mv,
        state: word_or_null(row, EVENT, "state")?.filter(|_| !proposal),
        reason: word_or_null(row, EVENT, "reason")?,
        happened_at_ms: number("happened_at_ms")?,
        deadline_ms: number("deadline_ms")?,
        words_id: id_or_null(row, EVENT, "words_id")?,
    })
}
