//! A proposal of the sender's node: applied by this node, which numbers it and says so in an event that goes back.
//! Called for one letter at a time, as the reply names the state that the thread stood in.
//! Never applies one to a thread that moved since the reply was sealed.

use kith_proto::lifecycle::Refused;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::EnvelopeKind;
use kith_service::store::StoreError;

use super::door::{Effect, Row};
use super::letter::{About, Content, Event, Letter, Meta};
use super::prepare::{self, Slips};
use super::{ATTEMPTS, Receipt, ReceiveError};
use crate::node::Node;
use crate::store;
use crate::threads::{self, Applied, Change, Numbered, Side, Step, Thread};

/// Receives one proposal; the thread is read again while something overtakes it.
pub(super) async fn receive(node: &Node, letter: Letter) -> Result<Receipt, ReceiveError> {
    for _ in 0..ATTEMPTS {
        let effect = effect(node, &letter).await?;
        let row = Row {
            meta: letter.arrival.clone(),
            effect,
        };
        match node.receive_door.submit(row).await {
            Ok(written) => return Ok(written.told(node)),
            Err(ReceiveError::Changed) => {}
            Err(error) => return Err(error),
        }
    }
    Err(ReceiveError::Changed)
}

async fn effect(node: &Node, letter: &Letter) -> Result<Effect, ReceiveError> {
    let refused = |problem| {
        Ok(Effect::Nothing {
            problem,
            tombstone: false,
        })
    };
    let (slips, known) = prepare::load(node, std::slice::from_ref(letter)).await?;
    if known.contains(&letter.arrival.envelope_id) {
        return Ok(Effect::Known);
    }
    let Some((about, event)) = proposal(letter) else {
        return refused(Problem::Invalid);
    };
    if slips.is_another(about) {
        return refused(Problem::ConsentMissing);
    }
    let thread_id = about.opened.head.thread_id;
    let ids = &[thread_id];
    let read = |mut tx| async move { store::thread::by_id(&mut tx, ids).await };
    let threads: Vec<Thread> = node
        .store
        .read::<_, StoreError, _, _>("read thread", read)
        .await?;
    let of_this = |thread: &&Thread| {
        thread.side == Side::Inbox
            && thread.peer == letter.arrival.peer
            && thread.slip_id == about.opened.slip.id
    };
    let Some(thread) = threads.iter().find(of_this) else {
        return refused(Problem::NotFound);
    };
    match applied(node, &slips, &letter.arrival, (about, event), thread)? {
        Ok(effect) => Ok(effect),
        Err(problem) => refused(problem),
    }
}

fn proposal(letter: &Letter) -> Option<(&About, &Event)> {
    match letter.about().map(|about| (about, &about.content)) {
        Some((about, Content::Event(event))) => Some((about, event)),
        _ => None,
    }
}

/// Applies the proposal to the thread as it was read, and seals what goes back.
fn applied(
    node: &Node,
    slips: &Slips,
    meta: &Meta,
    (about, event): (&About, &Event),
    thread: &Thread,
) -> Result<Result<Effect, Problem>, ReceiveError> {
    let (slip_id, thread_id) = (about.opened.slip.id, thread.thread_id);
    let content = slips.words(node, &slip_id, thread_id.as_bytes(), event, meta.received_at_ms)?;
    let step = Step {
        event_id: event.event_id,
        mv: event.mv,
        party: threads::party_of_proposal(event.mv),
        reason: event.reason,
        happened_at_ms: meta.received_at_ms,
        deadline_ms: None,
        words_id: content.as_ref().map(|row| row.content_id),
        numbered: Numbered::Here,
    };
    let change: Result<Applied, Refused> = thread.apply(&step);
    let change = match change {
        Err(refused) => return Ok(Err(threads::problem_of(refused))),
        // Things are already so: the event that made them so is on its way, or there.
        Ok(Applied::Nothing) => return Ok(Err(Problem::WrongState)),
        Ok(Applied::Changed(change)) => change,
    };
    let body = v1::Body {
        body: Some(Body::Event(numbered(&change))),
        ..v1::Body::default()
    };
    let reply = prepare::reply(
        node,
        meta,
        about,
        (EnvelopeKind::Event, &body),
        slips.keys(&slip_id),
    )?;
    let effect = Effect::Proposal {
        thread_id,
        before: change.before,
        step: Box::new(step),
        content,
        reply: Box::new(reply),
    };
    Ok(Ok(effect))
}

/// The event as this node numbered it, without words: its sender has them.
fn numbered(change: &Change) -> v1::Event {
    let event = &change.event;
    v1::Event {
        event_id: event.event_id.as_bytes().to_vec(),
        epoch: event.epoch,
        number: event.number,
        r#move: event.mv.number(),
        state: event.state.number(),
        reason: event.reason.map_or(0, |reason| reason.number()),
        happened_at_ms: event.happened_at_ms,
        deadline_ms: event.deadline_ms,
        words: String::new(),
        returned: None,
    }
}
