//! The sentences of who may sign in and who did, and of what a person said no to.

use super::{Code, Event, by_token, event, org};

pub(super) fn of_sign_ins() -> Vec<(Event, &'static str)> {
    vec![
        (
            by_token(Code::ConsentRefused)
                .id("person", &[0x0b; 16])
                .org("to", &org("harbour-welcome")),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) recorded that consent of the person of record 0b0b0b0b was asked for and not given about Harbour Welcome",
        ),
        (
            by_token(Code::TokenMade),
            "A new sign-in (sign-in 1a1a1a1a) was made at Riverside GP for the role coordinator",
        ),
        (
            by_token(Code::TokenRevoked),
            "A sign-in (sign-in 1a1a1a1a) was revoked at Riverside GP",
        ),
        (
            by_token(Code::ColleagueAdded),
            "A colleague (sign-in 1a1a1a1a) was added at Riverside GP for the role coordinator",
        ),
        (
            by_token(Code::ColleagueEnded),
            "A colleague (sign-in 1a1a1a1a) of Riverside GP can no longer sign in",
        ),
        (
            by_token(Code::SignInLinkMade),
            "A link was made with which a colleague (sign-in 1a1a1a1a) of Riverside GP signs in once",
        ),
        (
            by_token(Code::PasskeyMade),
            "A colleague (sign-in 1a1a1a1a) of Riverside GP made a passkey",
        ),
        (
            by_token(Code::PasskeyEnded),
            "A colleague (sign-in 1a1a1a1a) of Riverside GP took a passkey away",
        ),
        (
            by_token(Code::SignedIn).word("by", "link"),
            "A colleague (sign-in 1a1a1a1a) of Riverside GP signed in by link",
        ),
        (
            event(Code::SignInFailed).number("count", 3),
            "3 sign-ins failed at Riverside GP",
        ),
        (
            event(Code::SignInFailed).number("count", 1),
            "1 sign-in failed at Riverside GP",
        ),
    ]
}
