//! The lifecycle table itself: from where, by whom, to where. Read only by the functions of `lifecycle`.
//! It must never grow a second row for the same move with another target, as `Move::target` reads the first.

use super::Move::{self, *};
use super::Party::{self, Gateway, Person, Recipient, Sender, Timer};
use super::State::{self, *};

/// Where a row leads.
pub(super) enum To {
    /// To this state.
    State(State),
    /// Back to where the cancel request came from.
    Origin,
    /// Back to where it stood before it expired.
    BeforeExpiry,
    /// To no thread at all.
    Nowhere,
}

/// One row: these parties make, those propose, this move, from any of these states.
pub(super) struct Row {
    /// The states it starts from.
    pub from: &'static [State],
    /// The move.
    pub mv: Move,
    /// Whose word takes effect.
    pub makes: &'static [Party],
    /// Whose word the recipient's node orders and applies.
    pub proposes: &'static [Party],
    /// Where it leads.
    pub to: To,
}

/// Writes one row on one line.
const fn row(
    from: &'static [State],
    mv: Move,
    makes: &'static [Party],
    proposes: &'static [Party],
    to: To,
) -> Row {
    Row {
        from,
        mv,
        makes,
        proposes,
        to,
    }
}

/// Taken by the recipient and not yet answered.
const FRESH: &[State] = &[Received, Acknowledged];
/// Every open state but draft.
const OPEN: &[State] = &[
    Sent,
    Received,
    Acknowledged,
    InfoRequested,
    Waitlisted,
    Accepted,
    HandoffPlanned,
    NoShow,
    InProgress,
    CancelRequested,
];
/// Every state but draft: from a terminal one a withdrawal touches the consent axis alone.
const SHARED: &[State] = &[
    Sent,
    Received,
    Acknowledged,
    InfoRequested,
    Waitlisted,
    Accepted,
    HandoffPlanned,
    NoShow,
    InProgress,
    CancelRequested,
    Completed,
    NotCompleted,
    Declined,
    Forwarded,
    Cancelled,
    Withdrawn,
    Expired,
    EnteredInError,
];
/// Accepted and under way in any form.
const TAKEN_ON: &[State] = &[Accepted, HandoffPlanned, NoShow, InProgress];
/// The recipient's word.
const R: &[Party] = &[Recipient];
/// The sender's word.
const S: &[Party] = &[Sender];
/// Nobody's word.
const NONE: &[Party] = &[];

/// The table of the design, section 6, by move.
pub(super) const TABLE: &[Row] = &[
    row(&[Draft], Send, S, NONE, To::State(Sent)),
    row(&[Draft], Discard, &[Sender, Person, Timer], NONE, To::Nowhere),
    row(&[Sent], Receive, R, NONE, To::State(Received)),
    row(&[Sent], Drop, &[Gateway], NONE, To::State(Cancelled)),
    row(&[Received], Acknowledge, R, NONE, To::State(Acknowledged)),
    row(FRESH, RequestInfo, R, NONE, To::State(InfoRequested)),
    row(&[InfoRequested], AnswerInfo, NONE, S, To::State(Acknowledged)),
    row(
        &[Received, Acknowledged, Accepted],
        Waitlist,
        R,
        NONE,
        To::State(Waitlisted),
    ),
    row(
        &[Received, Acknowledged, Waitlisted],
        Accept,
        R,
        NONE,
        To::State(Accepted),
    ),
    row(
        &[Received, Acknowledged, InfoRequested, Waitlisted, Accepted],
        Decline,
        R,
        NONE,
        To::State(Declined),
    ),
    row(
        &[Received, Acknowledged, Waitlisted, Accepted, InProgress],
        Forward,
        R,
        NONE,
        To::State(Forwarded),
    ),
    row(
        &[Accepted, NoShow, InProgress],
        PlanHandoff,
        R,
        S,
        To::State(HandoffPlanned),
    ),
    row(&[HandoffPlanned], ReplanHandoff, R, S, To::State(Accepted)),
    row(&[HandoffPlanned, NoShow], Meet, R, NONE, To::State(InProgress)),
    row(&[HandoffPlanned], Miss, R, NONE, To::State(NoShow)),
    row(&[Accepted], Start, R, NONE, To::State(InProgress)),
    row(
        &[Accepted, InProgress, CancelRequested],
        Complete,
        R,
        NONE,
        To::State(Completed),
    ),
    row(
        &[Accepted, HandoffPlanned, NoShow, InProgress, CancelRequested],
        NotComplete,
        R,
        NONE,
        To::State(NotCompleted),
    ),
    row(TAKEN_ON, RequestCancel, NONE, S, To::State(CancelRequested)),
    row(
        &[Received, Acknowledged, InfoRequested, Waitlisted],
        Cancel,
        NONE,
        S,
        To::State(Cancelled),
    ),
    row(&[CancelRequested], Cancel, R, NONE, To::State(Cancelled)),
    row(&[CancelRequested], RefuseCancel, R, NONE, To::Origin),
    row(
        SHARED,
        Withdraw,
        &[Person, Sender, Recipient],
        NONE,
        To::State(Withdrawn),
    ),
    row(OPEN, Expire, &[Timer], NONE, To::State(Expired)),
    row(&[Expired], Reinstate, S, NONE, To::BeforeExpiry),
    row(OPEN, EnterInError, R, S, To::State(EnteredInError)),
];
