//! Which reasons fit which move. Read only by [`Move::reasons`](super::Move::reasons).
//! It must never leave a move that needs a reason without `other`: nobody may be made to say something untrue.

use super::Move;
use super::Reason::{self, *};

/// Each move that needs a reason, with those that it may have, most used first.
const TABLE: &[(Move, &[Reason])] = &[
    (
        Move::Decline,
        &[
            Full,
            NotOurService,
            OutOfArea,
            NotEligible,
            WrongLanguage,
            BetterElsewhere,
            CannotReach,
            MovedAway,
            PersonChangedMind,
            NoLongerNeeded,
            Duplicate,
            WrongPerson,
            WrongRecipient,
            NotSafe,
            Other,
        ],
    ),
    (
        Move::Forward,
        &[
            BetterElsewhere,
            Full,
            NotOurService,
            OutOfArea,
            NotEligible,
            WrongLanguage,
            WrongRecipient,
            NotSafe,
            Other,
        ],
    ),
    (Move::Complete, &[HelpGiven, PartlyGiven, Other]),
    (
        Move::NotComplete,
        &[
            CannotReach,
            PersonChangedMind,
            NotSaid,
            NoLongerNeeded,
            MovedAway,
            PartlyGiven,
            Full,
            NotOurService,
            NotEligible,
            WrongLanguage,
            BetterElsewhere,
            NotSafe,
            Other,
        ],
    ),
    (
        Move::Cancel,
        &[
            NoLongerNeeded,
            PersonChangedMind,
            NotSaid,
            CannotReach,
            MovedAway,
            BetterElsewhere,
            Duplicate,
            WrongPerson,
            WrongRecipient,
            NotSafe,
            Other,
        ],
    ),
    (Move::RefuseCancel, &[AlreadyUnderway, HelpGiven, NotSafe, Other]),
    (
        Move::Withdraw,
        &[
            PersonChangedMind,
            NotSaid,
            NoLongerNeeded,
            MovedAway,
            NotSafe,
            Other,
        ],
    ),
    (Move::Expire, &[NoAnswer, Other]),
    (
        Move::EnterInError,
        &[WrongPerson, WrongRecipient, Duplicate, Other],
    ),
    (Move::Drop, &[NotDeliverable, Other]),
];

/// The reasons that a move may have; none where it needs none.
pub(super) fn of(mv: Move) -> &'static [Reason] {
    let row = TABLE.iter().find(|(of, _)| *of == mv);
    row.map_or(&[], |(_, reasons)| reasons)
}
