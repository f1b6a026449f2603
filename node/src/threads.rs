//! One thread as this node holds it, and what one move makes of it: the new row, its event row, its trail line.
//! Called by `receive` and `settle` for what comes over the link, by moves, withdrawals and timers for what starts here.
//! Pure: never read a clock or a store, never let a sender number an event, never move a thread past its own table.

use kith_proto::id::{EventId, OrgId, SlipId, ThreadId};
use kith_proto::lifecycle::{
    self, Consent, Delivery, Move, Outcome, Party, Reason, Refused, Situation, State, authority,
};
use kith_proto::problem::Problem;
use kith_proto::sign::sha256;

#[cfg(test)]
mod tests;

/// One day, in milliseconds.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// In front of the thread id from which both nodes derive the id of the event `receive`, which crosses no wire.
const RECEIVE_LABEL: &[u8] = b"kith/node/receive\0";

/// Which side of a thread this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// This node sent the referral.
    Sent,
    /// This node got it, and is the thread's single writer.
    Inbox,
}

impl Side {
    /// The word as SQL writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Inbox => "inbox",
        }
    }

    /// The party that this side is.
    pub const fn party(self) -> Party {
        match self {
            Self::Sent => Party::Sender,
            Self::Inbox => Party::Recipient,
        }
    }
}

/// A text that names no side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a side of a thread")]
pub struct UnknownSide;

impl std::str::FromStr for Side {
    type Err = UnknownSide;

    fn from_str(text: &str) -> Result<Self, UnknownSide> {
        match text {
            "sent" => Ok(Self::Sent),
            "inbox" => Ok(Self::Inbox),
            _ => Err(UnknownSide),
        }
    }
}

/// The moving part of a row of `referral`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The thread.
    pub thread_id: ThreadId,
    /// Which side this node is.
    pub side: Side,
    /// The other organisation.
    pub peer: OrgId,
    /// The slip that the thread lives under.
    pub slip_id: SlipId,
    /// State, ways back and consent.
    pub situation: Situation,
    /// How far the referral itself got.
    pub delivery: Delivery,
    /// Why delivery, or the last envelope of the thread, failed.
    pub problem: Option<Problem>,
    /// Epoch of the last event that the writer numbered.
    pub epoch: u64,
    /// Number of the last event that the writer numbered; 0 before `receive`.
    pub number: u64,
    /// When the open state falls due, ms UTC; 0 in a terminal state.
    pub deadline_ms: i64,
    /// When the row last changed, ms UTC.
    pub updated_at_ms: i64,
}

/// What a stored row must still hold for a change to be written: the compare of compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// The state.
    pub state: State,
    /// The consent axis.
    pub consent: Consent,
    /// The last number.
    pub number: u64,
}

/// A row of `event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The thread.
    pub thread_id: ThreadId,
    /// The writer's epoch; 0 for what only this node knows.
    pub epoch: u64,
    /// The writer's number; 0 for what the writer has not numbered.
    pub number: u64,
    /// The event, the same at both nodes.
    pub event_id: EventId,
    /// The verb.
    pub mv: Move,
    /// The state after it.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// Whose move it was.
    pub party: Party,
    /// Whether it came after expiry and moved nothing.
    pub late: bool,
    /// Whether the writer has yet to apply it, or the gateway to take it.
    pub provisional: bool,
    /// When it happened, ms UTC.
    pub happened_at_ms: i64,
    /// The deadline after it; 0 in a terminal state.
    pub deadline_ms: i64,
    /// The content row that holds its words.
    pub words_id: Option<[u8; 16]>,
}

/// Who gives the event its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbered {
    /// This node, being the recipient.
    Here,
    /// The recipient's node, as its event says.
    ByWriter {
        /// Its epoch.
        epoch: u64,
        /// Its number, from 1.
        number: u64,
        /// The state that the writer reached with it.
        state: State,
    },
    /// Nobody: known at this node only (send, expire, withdraw and drop at the sender).
    Not,
}

/// One move, asked of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The event.
    pub event_id: EventId,
    /// The verb.
    pub mv: Move,
    /// Whose move it is.
    pub party: Party,
    /// Why; every move into a terminal state needs one.
    pub reason: Option<Reason>,
    /// When it happened, ms UTC by the gateway's time.
    pub happened_at_ms: i64,
    /// The deadline that somebody chose; the state's default when none.
    pub deadline_ms: Option<i64>,
    /// The content row that holds its words.
    pub words_id: Option<[u8; 16]>,
    /// Who numbers it.
    pub numbered: Numbered,
}

/// What a step made of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Write the row where `before` still holds, and the event.
    Changed(Box<Change>),
    /// A repeat: write nothing, tell nobody.
    Nothing,
}

/// A changed thread and its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What must still be stored.
    pub before: Before,
    /// The row to write.
    pub thread: Thread,
    /// The event to write; one of the same id that is provisional is replaced.
    pub event: EventRow,
}

impl Thread {
    /// What compare-and-swap compares.
    pub const fn before(&self) -> Before {
        Before {
            state: self.situation.state,
            consent: self.situation.consent,
            number: self.number,
        }
    }

    /// Applies one step; the caller has checked roles and slips. An event that the writer numbered at or below the
    /// last number is a repeat, and one further on than the next is believed: the writer's word is the order.
    pub fn apply(&self, step: &Step) -> Result<Applied, Refused> {
        if let Numbered::ByWriter { epoch, number, .. } = step.numbered
            && (epoch, number) <= (self.epoch, self.number)
        {
            return Ok(Applied::Nothing);
        }
        match lifecycle::apply(self.situation, step.mv, step.party, step.reason) {
            Ok(Outcome::Changed(next)) => Ok(self.changed(self.as_written(step, next), step, false)),
            Ok(Outcome::Late) => Ok(self.changed(self.situation, step, true)),
            Ok(Outcome::AlreadyThere) => match step.numbered {
                Numbered::ByWriter { .. } => {
                    Ok(self.changed(self.as_written(step, self.situation), step, false))
                }
                Numbered::Here | Numbered::Not => Ok(Applied::Nothing),
            },
            Ok(Outcome::Discarded) => Err(Refused::WrongState),
            Err(refused) => match self.jumped(step) {
                Some(next) => Ok(self.changed(next, step, false)),
                None => Err(refused),
            },
        }
    }

    /// The situation with the state that the writer names, where consent stands: the two copies can part when moves
    /// cross, and the recipient's copy counts.
    fn as_written(&self, step: &Step, next: Situation) -> Situation {
        match step.numbered {
            Numbered::ByWriter { state, .. } if next.consent == Consent::Live && next.state != state => {
                Situation { state, ..next }
            }
            _ => next,
        }
    }

    /// Where a refused event of the writer leads all the same: numbers before it were lost on the way (refused by the
    /// gate or dropped), so the table cannot follow it from here. Never back out of an outcome, never without consent.
    fn jumped(&self, step: &Step) -> Option<Situation> {
        let Numbered::ByWriter { epoch, number, state } = step.numbered else {
            return None;
        };
        let lost = epoch != self.epoch || Some(number) != self.number.checked_add(1);
        let fits = step.mv.target().is_none_or(|target| target == state);
        let stands = self.situation.consent == Consent::Live && self.situation.state.is_open();
        (lost && fits && stands).then(|| Situation::new(state))
    }

    fn changed(&self, next: Situation, step: &Step, late: bool) -> Applied {
        let (epoch, number) = match step.numbered {
            Numbered::Here => (self.epoch, self.number.saturating_add(1)),
            Numbered::ByWriter { epoch, number, .. } => (epoch, number),
            Numbered::Not => (0, 0),
        };
        let deadline_ms = if late {
            self.deadline_ms
        } else {
            deadline_ms(next.state, step)
        };
        let mut thread = self.clone();
        thread.situation = next;
        thread.deadline_ms = deadline_ms;
        thread.updated_at_ms = step.happened_at_ms.max(self.updated_at_ms);
        if number != 0 {
            (thread.epoch, thread.number) = (epoch, number);
        }
        let event = EventRow {
            thread_id: self.thread_id,
            epoch,
            number,
            event_id: step.event_id,
            mv: step.mv,
            state: next.state,
            reason: step.reason,
            party: step.party,
            late,
            provisional: false,
            happened_at_ms: step.happened_at_ms,
            deadline_ms,
            words_id: step.words_id,
        };
        Applied::Changed(Box::new(Change {
            before: self.before(),
            thread,
            event,
        }))
    }
}

/// The deadline after a step: the chosen one, else the state's default from the step's time; 0 in a terminal state.
fn deadline_ms(state: State, step: &Step) -> i64 {
    let Some(days) = state.deadline_days_default() else {
        return 0;
    };
    let chosen = step.deadline_ms.filter(|at_ms| *at_ms > step.happened_at_ms);
    chosen.unwrap_or_else(|| step.happened_at_ms.saturating_add(i64::from(days) * DAY_MS))
}

/// The id of the event `receive` of a thread: derived, so that both nodes write the same one without a message.
pub fn receive_event_id(thread_id: &ThreadId) -> EventId {
    let hash = sha256(&[RECEIVE_LABEL, thread_id.as_bytes()]);
    let mut id = [0; 16];
    // cannot leave a byte unset: the hash is longer than the id.
    for (to, from) in id.iter_mut().zip(hash) {
        *to = from;
    }
    EventId::from_bytes(id)
}

/// The step `receive`, event number 1: the recipient's machine took the referral at `received_at_ms`.
pub fn receive_step(thread_id: &ThreadId, side: Side, received_at_ms: i64) -> Step {
    Step {
        event_id: receive_event_id(thread_id),
        mv: Move::Receive,
        party: Party::Recipient,
        reason: None,
        happened_at_ms: received_at_ms,
        deadline_ms: None,
        words_id: None,
        numbered: match side {
            Side::Inbox => Numbered::Here,
            Side::Sent => Numbered::ByWriter {
                epoch: 0,
                number: 1,
                state: State::Received,
            },
        },
    }
}

/// Whose move a numbered event of the recipient's node is: its own, or the sender's or its timer's that it applied.
pub fn party_of_numbered(state: State, mv: Move) -> Party {
    match mv {
        // The sender's node has made these already when the number comes: its own state no longer shows whose they were.
        Move::Expire => return Party::Timer,
        Move::Reinstate => return Party::Sender,
        _ => {}
    }
    let proposed = authority(state, mv, Party::Sender).is_some();
    if authority(state, mv, Party::Recipient).is_none() && proposed {
        Party::Sender
    } else {
        Party::Recipient
    }
}

/// Whose move an unnumbered event of the sender's node is: the sender's, or its timer's.
pub const fn party_of_proposal(mv: Move) -> Party {
    match mv {
        Move::Expire => Party::Timer,
        _ => Party::Sender,
    }
}

/// Whether a move may come as an EVENT: not what other kinds or the machines' receipts say.
pub const fn is_event(mv: Move) -> bool {
    !matches!(mv, Move::Send | Move::Discard | Move::Withdraw | Move::Drop)
}

/// The problem of a refused move.
pub const fn problem_of(refused: Refused) -> Problem {
    match refused {
        Refused::WrongState | Refused::WrongParty => Problem::WrongState,
        Refused::ReasonMissing => Problem::Invalid,
        Refused::ConsentCut => Problem::ConsentWithdrawn,
    }
}
