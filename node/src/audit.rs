//! The trail: what happened, as codes, ids and times (`kith_proto::trail`). Called inside every writing transaction.
//! Never given a name, a word anybody wrote, or a hash of either.

pub use kith_proto::trail::{Code, Event};

use kith_service::log::append;
use kith_service::rng::Rng;
use kith_service::store::{Store, StoreError, Tx};

use crate::store::counter::Counter;
use crate::tokens::Caller;

/// Begins an event that somebody of the organisation brings about, with the token and its roles.
pub fn by(caller: &Caller, code: Code, at_ms: i64) -> Event {
    brought_about(Event::new(code, at_ms), caller)
}

/// Adds who of the organisation brought an event about.
pub fn brought_about(event: Event, caller: &Caller) -> Event {
    let roles = caller.roles.iter();
    roles.fold(event.token(&caller.token_id), |event, role| {
        event.word("role", role.as_str())
    })
}

/// A list or search that this caller was shown: its name and how many lines. Note it before they are returned.
pub fn listed(caller: &Caller, list: &'static str, lines: usize, at_ms: i64) -> Event {
    let count = i64::try_from(lines).unwrap_or(i64::MAX);
    by(caller, Code::Listed, at_ms)
        .word("list", list)
        .number("count", count)
}

/// Writes one event that belongs to no other write, in a transaction of its own.
pub async fn note(store: &Store, rng: &Rng, event: Event) -> Result<(), StoreError> {
    let event = &event;
    store
        .tx("note", |mut tx| async move {
            let mut counter = Counter::lock(&mut tx).await?;
            insert(&mut tx, &mut counter, rng, std::slice::from_ref(event)).await?;
            counter.save(&mut tx).await
        })
        .await
}

/// Writes events into the trail in their order, each with a fresh salt, in one statement. Without randomness for a salt the
/// transaction is given up: [`StoreError::Abandoned`].
pub async fn insert(
    tx: &mut Tx,
    counter: &mut Counter,
    rng: &Rng,
    events: &[Event],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        rows.push((event, rng.bytes().map_err(|_| StoreError::Abandoned)?));
    }
    append::insert(tx, counter.take_audit(events.len()), &rows).await
}
