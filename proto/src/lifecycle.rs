//! The life of one referral: states, moves, who may make which, and what follows (design, section 6).
//! The node applies moves with it, the workspace and the person's page ask it what is possible now.
//! It must never read a clock, do I/O or look at personal data: the same input always gives the same answer.

use crate::words::words;

mod reasons;
mod table;
mod terms;
#[cfg(test)]
mod tests;

use table::{TABLE, To};
pub use terms::{Authority, Consent, Delivery, Owner, Party, Reason};

/// One week: long enough for a volunteer group that opens one day in seven.
pub const WEEK: u32 = 7;
/// Two weeks: an answer that needs somebody else to be asked first.
pub const FORTNIGHT: u32 = 14;
/// Four weeks: the later of the two dates at which the handoff asks whether contact was made (design, section 8).
pub const FOUR_WEEKS: u32 = 28;
/// The age at which an unsent draft is discarded (design, section 6).
pub const DRAFT_DAYS: u32 = 30;

words! {
    /// Where a referral stands; the first axis.
    State {
        /// Being written; nothing has left the sender.
        Draft = 1 "draft",
        /// Handed to the gateway.
        Sent = 2 "sent",
        /// The recipient's machine took it.
        Received = 3 "received",
        /// A human at the recipient saw it.
        Acknowledged = 4 "acknowledged",
        /// The recipient asked the sender something.
        InfoRequested = 5 "info_requested",
        /// Waiting for a place, with a review date.
        Waitlisted = 6 "waitlisted",
        /// The recipient said yes.
        Accepted = 7 "accepted",
        /// A meeting is arranged.
        HandoffPlanned = 8 "handoff_planned",
        /// The meeting did not take place.
        NoShow = 9 "no_show",
        /// The recipient is helping.
        InProgress = 10 "in_progress",
        /// The sender asked to stop after acceptance.
        CancelRequested = 11 "cancel_requested",
        /// The help was given.
        Completed = 12 "completed",
        /// The help ended without its aim.
        NotCompleted = 13 "not_completed",
        /// The recipient said no.
        Declined = 14 "declined",
        /// Passed on with the person's fresh consent.
        Forwarded = 15 "forwarded",
        /// Called off.
        Cancelled = 16 "cancelled",
        /// The person took consent back.
        Withdrawn = 17 "withdrawn",
        /// Nobody answered in time.
        Expired = 18 "expired",
        /// Should never have existed.
        EnteredInError = 19 "entered_in_error",
    }
}

words! {
    /// The verbs that change where a referral stands.
    Move {
        /// Hands the draft to the gateway.
        Send = 1 "send",
        /// Throws the draft away; leaves no thread.
        Discard = 2 "discard",
        /// The recipient's node took it.
        Receive = 3 "receive",
        /// A human at the recipient has seen it.
        Acknowledge = 4 "acknowledge",
        /// Asks the sender something.
        RequestInfo = 5 "request_info",
        /// Answers what was asked.
        AnswerInfo = 6 "answer_info",
        /// Puts the person on a waiting list.
        Waitlist = 7 "waitlist",
        /// Says yes.
        Accept = 8 "accept",
        /// Says no, also late.
        Decline = 9 "decline",
        /// Passes it on with fresh consent.
        Forward = 10 "forward",
        /// Arranges a meeting.
        PlanHandoff = 11 "plan_handoff",
        /// Calls the arranged meeting off, to arrange another.
        ReplanHandoff = 12 "replan_handoff",
        /// The meeting took place; made once both sides have confirmed it.
        Meet = 13 "meet",
        /// The meeting did not take place.
        Miss = 14 "miss",
        /// Starts helping without a meeting.
        Start = 15 "start",
        /// The help was given.
        Complete = 16 "complete",
        /// The help ended without its aim.
        NotComplete = 17 "not_complete",
        /// Asks to stop after acceptance.
        RequestCancel = 18 "request_cancel",
        /// Calls it off, or agrees to a cancel request.
        Cancel = 19 "cancel",
        /// Says no to a cancel request.
        RefuseCancel = 20 "refuse_cancel",
        /// Takes consent back.
        Withdraw = 21 "withdraw",
        /// Nobody answered in time.
        Expire = 22 "expire",
        /// Takes up an expired referral where it stood.
        Reinstate = 23 "reinstate",
        /// Marks it as never meant to exist.
        EnterInError = 24 "enter_in_error",
        /// The gateway's signed word that it dropped the envelope.
        Drop = 25 "drop",
    }
}

/// All that the next move depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Situation {
    /// Where the referral stands.
    pub state: State,
    /// Where it stood before a cancel request; kept while that request is open or has expired.
    pub came_from: Option<State>,
    /// Where it stood before it expired; kept while it is expired.
    pub expired_from: Option<State>,
    /// Whether the person's consent stands.
    pub consent: Consent,
}

/// What a move led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new situation.
    Changed(Situation),
    /// A repeat: nothing changes and nobody is told again.
    AlreadyThere,
    /// Arrived after expiry: kept as late, moves nothing unless the sender reinstates.
    Late,
    /// The draft is gone and leaves no thread.
    Discarded,
}

/// Why a move was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody may make this move from here.
    #[error("this move is not possible in this state")]
    WrongState,
    /// Another party may make this move, this one may not.
    #[error("this move belongs to somebody else")]
    WrongParty,
    /// The move needs a reason code.
    #[error("this move needs a reason")]
    ReasonMissing,
    /// Consent no longer stands, and the move would carry the referral on.
    #[error("consent was taken back or has run out")]
    ConsentCut,
}

impl State {
    /// Whether something is still to happen.
    pub const fn is_open(self) -> bool {
        self.clock_owner().is_some()
    }

    /// Whether the referral has its outcome.
    pub const fn is_terminal(self) -> bool {
        !self.is_open()
    }

    /// Whose turn it is; none once the referral has its outcome.
    pub const fn clock_owner(self) -> Option<Owner> {
        match self {
            Self::Draft | Self::InfoRequested => Some(Owner::Sender),
            Self::HandoffPlanned => Some(Owner::Both),
            Self::Sent | Self::Received | Self::Acknowledged | Self::Waitlisted | Self::Accepted => {
                Some(Owner::Recipient)
            }
            Self::NoShow | Self::InProgress | Self::CancelRequested => Some(Owner::Recipient),
            Self::Completed | Self::NotCompleted | Self::Declined | Self::Forwarded => None,
            Self::Cancelled | Self::Withdrawn | Self::Expired | Self::EnteredInError => None,
        }
    }

    /// Days until the next deadline where nobody chose a date; all lie well within the 90 days of a usual consent.
    pub const fn deadline_days_default(self) -> Option<u32> {
        match self {
            Self::Draft => Some(DRAFT_DAYS),
            Self::Sent | Self::Received | Self::NoShow | Self::CancelRequested => Some(WEEK),
            Self::Acknowledged | Self::InfoRequested | Self::Accepted | Self::HandoffPlanned => {
                Some(FORTNIGHT)
            }
            Self::Waitlisted | Self::InProgress => Some(FOUR_WEEKS),
            Self::Completed | Self::NotCompleted | Self::Declined | Self::Forwarded => None,
            Self::Cancelled | Self::Withdrawn | Self::Expired | Self::EnteredInError => None,
        }
    }

    /// The code of FHIR `Task.status` that exports write.
    pub const fn fhir_task_status(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Sent => "requested",
            Self::Received | Self::Acknowledged | Self::InfoRequested => "received",
            Self::Waitlisted => "on-hold",
            Self::Accepted => "accepted",
            Self::HandoffPlanned | Self::NoShow | Self::InProgress | Self::CancelRequested => "in-progress",
            Self::Completed => "completed",
            Self::NotCompleted | Self::Expired => "failed",
            Self::Declined | Self::Forwarded => "rejected",
            Self::Cancelled | Self::Withdrawn => "cancelled",
            Self::EnteredInError => "entered-in-error",
        }
    }
}

impl Move {
    /// Whether it needs a reason code: every move into a terminal state, and the refusal of a cancel request.
    pub fn needs_reason(self) -> bool {
        self == Self::RefuseCancel || matches!(self.target(), Some(state) if state.is_terminal())
    }

    /// The reasons that fit it, most used first; none where it needs none. For whoever asks for a move: what another
    /// organisation gives as its reason is taken as it comes.
    pub fn reasons(self) -> &'static [Reason] {
        reasons::of(self)
    }

    /// The state it leads to; none where that depends on where the referral came from, or on no thread being left.
    pub fn target(self) -> Option<State> {
        TABLE
            .iter()
            .find(|row| row.mv == self)
            .and_then(|row| match row.to {
                To::State(state) => Some(state),
                To::Origin | To::BeforeExpiry | To::Nowhere => None,
            })
    }
}

impl Situation {
    /// A referral in this state, with live consent and no past.
    pub const fn new(state: State) -> Self {
        Self {
            state,
            came_from: None,
            expired_from: None,
            consent: Consent::Live,
        }
    }

    /// The situation after reaching `state`, remembering only what a way back will need.
    fn reaching(self, state: State) -> Self {
        let came_from = match state {
            State::CancelRequested if self.state != State::Expired => Some(self.state),
            State::CancelRequested | State::Expired => self.came_from,
            _ => None,
        };
        let expired_from = if state == State::Expired {
            Some(self.state)
        } else {
            None
        };
        let consent = if state == State::Withdrawn {
            self.consent.max(Consent::Cut)
        } else {
            self.consent
        };
        Self {
            state,
            came_from,
            expired_from,
            consent,
        }
    }
}

/// Says whether this party makes or only proposes this move from this state, or may do neither.
pub fn authority(state: State, mv: Move, party: Party) -> Option<Authority> {
    let rows = || {
        TABLE
            .iter()
            .filter(|row| row.mv == mv && row.from.contains(&state))
    };
    if rows().any(|row| row.makes.contains(&party)) {
        Some(Authority::Makes)
    } else if rows().any(|row| row.proposes.contains(&party)) {
        Some(Authority::Proposes)
    } else {
        None
    }
}

/// Lists every move that this party may make or propose from this state.
pub fn moves_for(state: State, party: Party) -> Vec<(Move, Authority)> {
    Move::ALL
        .iter()
        .filter_map(|&mv| authority(state, mv, party).map(|a| (mv, a)))
        .collect()
}

/// Applies a move. A proposal is applied the same way, by the recipient's node alone: ask `authority` first.
/// A repeat with the same envelope id is caught before this; here a repeat is a move to where things already are.
pub fn apply(now: Situation, mv: Move, party: Party, reason: Option<Reason>) -> Result<Outcome, Refused> {
    if !State::ALL
        .iter()
        .any(|&state| authority(state, mv, party).is_some())
    {
        return Err(Refused::WrongParty);
    }
    if is_repeat(now, mv) {
        return Ok(Outcome::AlreadyThere);
    }
    let late = now.state == State::Expired && could_be_late(mv);
    if !late && authority(now.state, mv, party).is_none() {
        let others = Party::ALL
            .iter()
            .any(|&other| authority(now.state, mv, other).is_some());
        return Err(if others {
            Refused::WrongParty
        } else {
            Refused::WrongState
        });
    }
    if mv.needs_reason() && reason.is_none() {
        return Err(Refused::ReasonMissing);
    }
    if late {
        return Ok(Outcome::Late);
    }
    if mv == Move::Withdraw && now.state.is_terminal() {
        return Ok(Outcome::Changed(Situation {
            consent: now.consent.max(Consent::Cut),
            ..now
        }));
    }
    match destination(now, mv)? {
        None => Ok(Outcome::Discarded),
        Some(next) if now.consent != Consent::Live && (next.is_open() || next == State::Forwarded) => {
            Err(Refused::ConsentCut)
        }
        Some(next) => Ok(Outcome::Changed(now.reaching(next))),
    }
}

/// Where the move leads from here; none where it leaves no thread.
fn destination(now: Situation, mv: Move) -> Result<Option<State>, Refused> {
    let row = TABLE
        .iter()
        .find(|row| row.mv == mv && row.from.contains(&now.state));
    let back = |past: Option<State>, door: Move| {
        let known = past.filter(|&state| {
            TABLE
                .iter()
                .any(|row| row.mv == door && row.from.contains(&state))
        });
        known.map(Some).ok_or(Refused::WrongState)
    };
    match row.ok_or(Refused::WrongState)?.to {
        To::State(state) => Ok(Some(state)),
        To::Origin => back(now.came_from, Move::RequestCancel),
        To::BeforeExpiry => back(now.expired_from, Move::Expire),
        To::Nowhere => Ok(None),
    }
}

/// Whether what the move asks for is already so.
fn is_repeat(now: Situation, mv: Move) -> bool {
    let may = |door: Move| {
        TABLE
            .iter()
            .any(|row| row.mv == door && row.from.contains(&now.state))
    };
    match mv {
        Move::Withdraw => now.state.is_terminal() && now.consent != Consent::Live,
        Move::RefuseCancel => may(Move::RequestCancel),
        Move::Reinstate => may(Move::Expire),
        _ => mv.target() == Some(now.state),
    }
}

/// Whether the move, arriving after expiry, is kept as late: everything on the thread between the two sides.
fn could_be_late(mv: Move) -> bool {
    !matches!(
        mv,
        Move::Send | Move::Discard | Move::Withdraw | Move::Expire | Move::Reinstate
    )
}
