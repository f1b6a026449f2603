//! The closed words around a referral's state: parties, reasons, the other two axes, whose turn, whose word.
//! `lifecycle` gives them out as its own. They must never gain a reason that tells of status, belief or illness.

use crate::words::words;

words! {
    /// Who moves.
    Party {
        /// The person the referral is about.
        Person = 1 "person",
        /// The organisation that sent it.
        Sender = 2 "sender",
        /// The organisation that got it, or its node.
        Recipient = 3 "recipient",
        /// A deadline that passed, as the sender's node judges it by the gateway's time.
        Timer = 4 "timer",
        /// The gateway.
        Gateway = 5 "gateway",
    }
}

words! {
    /// Why a referral ended, or a cancel request was refused.
    Reason {
        /// The help was given as asked.
        HelpGiven = 1 "help_given",
        /// Part of the help was given.
        PartlyGiven = 2 "partly_given",
        /// No room.
        Full = 3 "full",
        /// Not something this service does.
        NotOurService = 4 "not_our_service",
        /// Outside the area served.
        OutOfArea = 5 "out_of_area",
        /// Does not meet this service's conditions.
        NotEligible = 6 "not_eligible",
        /// No shared language and no interpreter.
        WrongLanguage = 7 "wrong_language",
        /// Another service fits better.
        BetterElsewhere = 8 "better_elsewhere",
        /// The person could not be reached.
        CannotReach = 9 "cannot_reach",
        /// The person moved away.
        MovedAway = 10 "moved_away",
        /// The person changed their mind.
        PersonChangedMind = 11 "person_changed_mind",
        /// The person gave no reason, and need not.
        NotSaid = 12 "not_said",
        /// The need has gone, or was met in another way.
        NoLongerNeeded = 13 "no_longer_needed",
        /// The same referral exists already.
        Duplicate = 14 "duplicate",
        /// About another person than meant.
        WrongPerson = 15 "wrong_person",
        /// Sent to another organisation than meant.
        WrongRecipient = 16 "wrong_recipient",
        /// No answer in time.
        NoAnswer = 17 "no_answer",
        /// The gateway could not or may not deliver it.
        NotDeliverable = 18 "not_deliverable",
        /// The help has begun and stopping now would harm.
        AlreadyUnderway = 19 "already_underway",
        /// It would not be safe.
        NotSafe = 20 "not_safe",
        /// Anything else.
        Other = 21 "other",
    }
}

words! {
    /// How far an envelope got; the second axis.
    Delivery {
        /// In the sender's outbox.
        Queued = 1 "queued",
        /// The gateway signed for it.
        Taken = 2 "taken",
        /// The recipient's node has it.
        Delivered = 3 "delivered",
        /// It will not arrive.
        Undelivered = 4 "undelivered",
    }
}

words! {
    /// Whether the person's consent stands; the third axis. It only ever goes down this list.
    Consent {
        /// Stands.
        Live = 1 "live",
        /// Taken back or run out; access is cut.
        Cut = 2 "cut",
        /// The data are gone.
        Erased = 3 "erased",
    }
}

words! {
    /// Whose turn it is while a referral is open.
    Owner {
        /// The sender.
        Sender = 1 "sender",
        /// The recipient.
        Recipient = 2 "recipient",
        /// Recipient and sender together.
        Both = 3 "both",
    }
}

words! {
    /// How far a party's word reaches.
    Authority {
        /// The move takes effect.
        Makes = 1 "makes",
        /// The move waits until the recipient's node orders and applies it.
        Proposes = 2 "proposes",
    }
}
