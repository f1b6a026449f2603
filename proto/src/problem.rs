//! The closed list of problem codes: every refusal anywhere in a network is one of these.
//! Use-cases return them; the edges turn each into a gRPC code, an HTTP status and one sentence.
//! Never add a parameter or a value to a sentence: it is shown, logged and sent, and must name nobody.

use crate::words::words;

words! {
    /// Why something was refused.
    Problem {
        /// A field is missing or cannot be read.
        Invalid = 1 "invalid",
        /// No consent covers this.
        ConsentMissing = 2 "consent_missing",
        /// The consent has run out.
        ConsentExpired = 3 "consent_expired",
        /// The person took consent back.
        ConsentWithdrawn = 4 "consent_withdrawn",
        /// The consent does not name this organisation.
        RecipientNotAllowed = 5 "recipient_not_allowed",
        /// The consent leaves out this part.
        CategoryNotAllowed = 6 "category_not_allowed",
        /// No such member in this network.
        NotAMember = 7 "not_a_member",
        /// The member is suspended.
        MemberSuspended = 8 "member_suspended",
        /// The thread's state does not allow this move.
        WrongState = 9 "wrong_state",
        /// The user's role does not allow this call.
        RoleNotAllowed = 10 "role_not_allowed",
        /// Unknown, or not the caller's; the two are never told apart.
        NotFound = 11 "not_found",
        /// The week's capacity pledge is used up.
        CapacityFull = 12 "capacity_full",
        /// Sealed to a key no longer in use; re-sealing under the same id cures it.
        StaleKey = 13 "stale_key",
        /// Over a size limit.
        TooLarge = 14 "too_large",
        /// Busy or out of reach; the only one that may be retried unchanged.
        Unavailable = 15 "unavailable",
        /// No valid sign-in or certificate.
        Unauthenticated = 16 "unauthenticated",
        /// The same id came before with another body.
        Conflict = 17 "conflict",
        /// Free text looks like an immigration number.
        NumberRefused = 18 "number_refused",
        /// The computer's clock is more than an hour off.
        ClockOff = 19 "clock_off",
        /// No answer before the call's deadline.
        DeadlineExceeded = 20 "deadline_exceeded",
    }
}

/// The gRPC status codes in use, with the numbers of `google.rpc.Code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrpcCode {
    /// Bad input; the caller must change it.
    InvalidArgument = 3,
    /// The deadline passed; the outcome is unknown.
    DeadlineExceeded = 4,
    /// Unknown, or not the caller's.
    NotFound = 5,
    /// The id is taken by another body.
    AlreadyExists = 6,
    /// No consent, or no right to.
    PermissionDenied = 7,
    /// Wrong state; something else must happen first.
    FailedPrecondition = 9,
    /// Busy; the only code that may be retried.
    Unavailable = 14,
    /// Not signed in.
    Unauthenticated = 16,
}

impl GrpcCode {
    /// The number on the wire.
    pub const fn number(self) -> i32 {
        self as i32
    }
}

impl Problem {
    /// The one gRPC status code of this problem.
    pub const fn grpc(self) -> GrpcCode {
        match self {
            Self::Invalid | Self::TooLarge | Self::NumberRefused => GrpcCode::InvalidArgument,
            Self::ConsentMissing
            | Self::ConsentExpired
            | Self::ConsentWithdrawn
            | Self::RecipientNotAllowed
            | Self::CategoryNotAllowed
            | Self::RoleNotAllowed => GrpcCode::PermissionDenied,
            Self::NotAMember | Self::NotFound => GrpcCode::NotFound,
            Self::MemberSuspended
            | Self::WrongState
            | Self::CapacityFull
            | Self::StaleKey
            | Self::ClockOff => GrpcCode::FailedPrecondition,
            Self::Unavailable => GrpcCode::Unavailable,
            Self::Unauthenticated => GrpcCode::Unauthenticated,
            Self::Conflict => GrpcCode::AlreadyExists,
            Self::DeadlineExceeded => GrpcCode::DeadlineExceeded,
        }
    }

    /// The one HTTP status of this problem.
    pub const fn http(self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::NumberRefused => 422,
            _ => match self.grpc() {
                GrpcCode::InvalidArgument => 400,
                GrpcCode::Unauthenticated => 401,
                GrpcCode::PermissionDenied => 403,
                GrpcCode::NotFound => 404,
                GrpcCode::AlreadyExists | GrpcCode::FailedPrecondition => 409,
                GrpcCode::Unavailable => 503,
                GrpcCode::DeadlineExceeded => 504,
            },
        }
    }

    /// Whether the same request may be sent again unchanged, after a wait, with no human looking.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::Unavailable)
    }

    /// What happened and what to do, for a caseworker: plain English, at most 200 characters, no personal data.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Invalid => {
                "Something on the form is missing or cannot be read. Correct the marked fields and send again."
            }
            Self::ConsentMissing => {
                "There is no consent for this yet, so nothing was sent. Ask the person and record what they agree to."
            }
            Self::ConsentExpired => {
                "The consent has run out, so nothing was sent. Ask the person whether they agree again."
            }
            Self::ConsentWithdrawn => {
                "The person took their consent back, so nothing was sent. Share nothing more unless they agree afresh."
            }
            Self::RecipientNotAllowed => {
                "The person has not agreed to share with this organisation. Nothing was sent; ask them first, or choose another."
            }
            Self::CategoryNotAllowed => {
                "The person has not agreed to share one of these parts. Nothing was sent; take that part out, or ask them."
            }
            Self::NotAMember => {
                "This organisation is not in your network. Check the address, or choose one from the directory."
            }
            Self::MemberSuspended => {
                "This organisation is suspended from the network for now. Choose another, or ask the network's operator."
            }
            Self::WrongState => {
                "This step is not open to you where the referral now stands, so nothing was changed. Open it again to see what can be done."
            }
            Self::RoleNotAllowed => {
                "Your role does not allow this. Ask your coordinator or admin to do it, or to change your role."
            }
            Self::NotFound => {
                "We could not find this here. Check the code or link, or look in your list of referrals."
            }
            Self::CapacityFull => {
                "This service has no more places this week, so nothing was sent. Choose another service, or try next week."
            }
            Self::StaleKey => {
                "The receiving organisation has renewed its keys. Your node locks the message again by itself; you need do nothing."
            }
            Self::TooLarge => {
                "This is too long or too big to send, so nothing was sent. Shorten the text or attach a smaller file."
            }
            Self::Unavailable => {
                "The other side is busy or cannot be reached just now. Your node will keep trying; you need do nothing."
            }
            Self::Unauthenticated => {
                "You are not signed in, or your sign-in has ended. Sign in and try again."
            }
            Self::Conflict => {
                "This was already sent once with different words, so the new version was not taken. Start a new one to send it."
            }
            Self::NumberRefused => {
                "The text looks like it has an immigration number in it, which Kith never carries. Remove the number and send again."
            }
            Self::ClockOff => {
                "The clock of this computer is more than an hour wrong, so nothing is sent. Set the right time; sending then goes on."
            }
            Self::DeadlineExceeded => {
                "No answer came in time, so it may or may not have arrived. Look at the referral before you send anything again."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_twenty_codes_that_round_trip() {
        assert!(Problem::ALL.len() <= 20);
        for (i, p) in Problem::ALL.iter().enumerate() {
            assert_eq!(p.as_str().parse(), Ok(*p));
            assert_eq!(Problem::try_from(p.number()), Ok(*p));
            assert_eq!(p.number() as usize, i + 1);
        }
        assert!(Problem::try_from(0).is_err());
    }

    #[test]
    fn sentences_are_short_whole_and_distinct() {
        let mut seen = std::collections::BTreeSet::new();
        for p in Problem::ALL {
            let s = p.sentence();
            assert!(s.ends_with('.') && s.chars().count() <= 200, "{p}");
            assert!(s.starts_with(|c: char| c.is_uppercase()), "{p}");
            assert!(seen.insert(s), "{p}");
            for jargon in ["gRPC", "token", "invalid", "error", "_"] {
                assert!(!s.contains(jargon), "{p}: {jargon}");
            }
        }
    }

    #[test]
    fn only_unavailable_is_retryable() {
        for p in Problem::ALL {
            assert_eq!(p.retryable(), *p == Problem::Unavailable, "{p}");
            assert_eq!(p.retryable(), p.grpc() == GrpcCode::Unavailable, "{p}");
            assert_eq!(p.retryable(), p.http() == 503, "{p}");
        }
    }

    #[test]
    fn fixed_meanings() {
        let table = [
            (Problem::Invalid, 3, 400),
            (Problem::NotFound, 5, 404),
            (Problem::WrongState, 9, 409),
            (Problem::ConsentMissing, 7, 403),
            (Problem::ConsentExpired, 7, 403),
            (Problem::ConsentWithdrawn, 7, 403),
            (Problem::Unavailable, 14, 503),
            (Problem::Unauthenticated, 16, 401),
            (Problem::TooLarge, 3, 413),
            (Problem::NumberRefused, 3, 422),
            (Problem::Conflict, 6, 409),
            (Problem::DeadlineExceeded, 4, 504),
        ];
        for (p, grpc, http) in table {
            assert_eq!((p.grpc().number(), p.http()), (grpc, http), "{p}");
        }
    }
}
