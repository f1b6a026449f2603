//! What one asked move means for one thread: made here, proposed to the writer, or nothing new.
//! Called by `moves` before anything is sealed, and again when another move came in between.
//! Pure: never reads a clock or a store; never lets a sender's wish take effect where the recipient's word counts.

use kith_proto::id::EventId;
use kith_proto::lifecycle::{self, Authority, Move, Outcome, Reason, Refused, Situation, State, authority};
use kith_proto::v1;

use crate::threads::{Applied, Change, EventRow, Numbered, Side, Step, Thread};

/// The moves that a caller may ask of this node. The others are made by machines (send, receive, expire, drop), leave
/// no thread (discard), or wait for what this node cannot do yet: a review date (waitlist), a fresh grant (forward),
/// the six tasks of a handoff.
pub(crate) const ASKED: &[Move] = &[
    Move::Acknowledge,
    Move::RequestInfo,
    Move::AnswerInfo,
    Move::Accept,
    Move::Decline,
    Move::Start,
    Move::Complete,
    Move::NotComplete,
    Move::RequestCancel,
    Move::Cancel,
    Move::RefuseCancel,
    Move::Withdraw,
    Move::Reinstate,
    Move::EnterInError,
];

/// One move as asked of a thread at one time.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) event_id: EventId,
    pub(crate) mv: Move,
    pub(crate) reason: Option<Reason>,
    /// The content row that will hold its words.
    pub(crate) words_id: Option<[u8; 16]>,
    /// The gateway's time.
    pub(crate) now_ms: i64,
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Things are already so: tell nobody.
    Nothing,
    /// It takes effect here and the other side is told.
    Made(Box<Change>),
    /// The recipient's node is asked to make it; the thread stays as it is until then.
    Proposed(Box<EventRow>),
}

/// Finds out what a move means here. A recipient's move after expiry is kept as late, so that the sender hears of it
/// and may reinstate; a sender's is refused, as it has the referral in its own hands.
pub(crate) fn plan(thread: &Thread, asked: &Asked) -> Result<Plan, Refused> {
    if !ASKED.contains(&asked.mv) {
        return Err(Refused::WrongState);
    }
    let (now, party) = (thread.situation, thread.side.party());
    let proposed = match authority(now.state, asked.mv, party) {
        Some(authority) => authority == Authority::Proposes,
        None => false,
    };
    if proposed {
        return match lifecycle::apply(now, asked.mv, party, asked.reason)? {
            Outcome::AlreadyThere => Ok(Plan::Nothing),
            Outcome::Changed(_) => Ok(Plan::Proposed(Box::new(proposal(thread, asked)))),
            Outcome::Late | Outcome::Discarded => Err(Refused::WrongState),
        };
    }
    let step = Step {
        event_id: asked.event_id,
        mv: asked.mv,
        party,
        reason: asked.reason,
        happened_at_ms: asked.now_ms,
        deadline_ms: None,
        words_id: asked.words_id,
        numbered: if thread.side == Side::Inbox {
            Numbered::Here
        } else {
            Numbered::Not
        },
    };
    match thread.apply(&step)? {
        Applied::Nothing => Ok(Plan::Nothing),
        Applied::Changed(change) if change.event.late && thread.side == Side::Sent => {
            Err(Refused::WrongState)
        }
        Applied::Changed(mut change) => {
            // A recipient's word counts once the gateway takes it, a sender's once the recipient's node has numbered it.
            change.event.provisional = true;
            Ok(Plan::Made(change))
        }
    }
}

/// The moves open to this side now, in wire order: those it may ask for that would not be refused for want of consent.
pub(crate) fn open_moves(side: Side, now: Situation) -> Vec<Move> {
    let may = |mv: &Move| {
        let outcome = lifecycle::apply(now, *mv, side.party(), Some(Reason::Other));
        ASKED.contains(mv) && matches!(outcome, Ok(Outcome::Changed(_)))
    };
    Move::ALL.iter().copied().filter(may).collect()
}

/// Whether an event of this row was only proposed: it waits for the writer, and moved nothing here. What a sender's node
/// makes by itself (expiry, reinstating) also waits for its number, but has moved the thread.
pub(crate) const fn is_proposal(mv: Move, provisional: bool, number: u64) -> bool {
    provisional && number == 0 && !matches!(mv, Move::Expire | Move::Reinstate)
}

/// The event row of a proposal: numbered by nobody, and at the state where the thread still stands.
fn proposal(thread: &Thread, asked: &Asked) -> EventRow {
    EventRow {
        thread_id: thread.thread_id,
        epoch: 0,
        number: 0,
        event_id: asked.event_id,
        mv: asked.mv,
        state: thread.situation.state,
        reason: asked.reason,
        party: thread.side.party(),
        late: false,
        provisional: true,
        happened_at_ms: asked.now_ms,
        deadline_ms: 0,
        words_id: asked.words_id,
    }
}

/// The event as it crosses the wire: numbered and with its state by the recipient's node, bare of both by the sender's.
pub(crate) fn wire_event(side: Side, event: &EventRow, words: &str) -> v1::Event {
    let writer = side == Side::Inbox;
    v1::Event {
        event_id: event.event_id.as_bytes().to_vec(),
        epoch: if writer { event.epoch } else { 0 },
        number: if writer { event.number } else { 0 },
        r#move: event.mv.number(),
        state: if writer { event.state.number() } else { 0 },
        reason: event.reason.map_or(0, Reason::number),
        happened_at_ms: event.happened_at_ms,
        deadline_ms: if writer { event.deadline_ms } else { 0 },
        words: words.to_owned(),
        returned: None,
    }
}

/// Whether the state after a move of the recipient is one that the answer names; a proposal names where it still is.
pub(crate) fn answer_state(plan: &Plan, thread: &Thread) -> (State, bool, i64) {
    match plan {
        Plan::Nothing => (thread.situation.state, false, thread.deadline_ms),
        Plan::Made(change) => (change.thread.situation.state, false, change.thread.deadline_ms),
        Plan::Proposed(_) => (thread.situation.state, true, thread.deadline_ms),
    }
}

#[cfg(test)]
mod tests;
