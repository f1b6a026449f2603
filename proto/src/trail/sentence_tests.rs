//! A sentence for every code, with all its lines and with none.

mod sign_ins;

use super::Code;
use super::event::{Event, Told};
use super::sentence::{Reader, sentence};
use crate::id::{OrgId, TokenId};
use crate::log::origin::Keeper;
use crate::problem::Problem;

/// 2026-11-26 20:15 UTC.
const AT_MS: i64 = 1_795_724_100_000;

fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}

fn node() -> Keeper {
    Keeper::Node(org("riverside-gp"))
}

fn name_of(org: &OrgId) -> Option<String> {
    let names = [
        ("riverside-gp", "Riverside GP"),
        ("harbour-welcome", "Harbour Welcome"),
    ];
    let found = names.iter().find(|(slug, _)| *slug == org.as_str());
    found.map(|(_, name)| (*name).to_owned())
}

fn tell(preimage: &str, keeper: &Keeper) -> String {
    let told = Told::read(preimage).unwrap();
    sentence(
        &told,
        &Reader {
            keeper,
            name_of: &name_of,
        },
    )
}

fn event(code: Code) -> Event {
    Event::new(code, AT_MS)
}

fn by_token(code: Code) -> Event {
    event(code)
        .token(&TokenId::from_bytes([0x1a; 16]))
        .word("role", "coordinator")
}

fn envelope(code: Code) -> Event {
    event(code)
        .id("thread", &[0xab; 16])
        .id("envelope", &[0xcd; 16])
        .word("kind", "referral")
}

fn at_the_gateway(code: Code) -> Event {
    event(code)
        .org("from", &org("riverside-gp"))
        .org("to", &org("harbour-welcome"))
        .id("envelope", &[0xcd; 16])
        .hash("envelope_hash", &[0xef; 32])
        .number("number", 7)
}

fn of_people() -> Vec<(Event, &'static str)> {
    let person = [0x0b; 16];
    vec![
        (
            event(Code::NodeJoined).org("organisation", &org("riverside-gp")),
            "The node of Riverside GP joined the network",
        ),
        (
            by_token(Code::PersonRecorded).id("person", &person),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) recorded a person (record 0b0b0b0b)",
        ),
        (
            by_token(Code::PersonChanged).id("person", &person),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) changed the record of a person (record 0b0b0b0b)",
        ),
        (
            by_token(Code::Opened).id("thread", &[0xab; 16]),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) opened a referral, referral NENT-QAXB-21",
        ),
        (
            by_token(Code::Opened).id("grant", &[0x0c; 16]),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) opened a consent, allowed by consent 0c0c0c0c",
        ),
        (
            by_token(Code::Opened).id("person", &person),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) opened the record of a person (record 0b0b0b0b)",
        ),
        (
            by_token(Code::Listed).word("list", "person").number("count", 12),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) was shown a list of kind \"person\" with 12 lines",
        ),
        (
            by_token(Code::TrailRead).number("count", 2),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) read 2 lines of the trail",
        ),
        (
            by_token(Code::TrailExported).number("count", 1),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) exported 1 line of the trail",
        ),
        (
            event(Code::StatementReviewed).hash("text", &[0x0d; 32]),
            "A named person at Riverside GP stood for the words of consent (text 0d0d0d0d)",
        ),
    ]
}

fn of_consent() -> Vec<(Event, &'static str)> {
    let peer = org("harbour-welcome");
    let person = [0x0b; 16];
    vec![
        (
            by_token(Code::GrantGiven)
                .id("grant", &[0x0c; 16])
                .id("person", &person)
                .word("purpose", "care")
                .word("purpose", "peer_support"),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) recorded a consent of the person of record 0b0b0b0b, for care and peer support, consent 0c0c0c0c",
        ),
        (
            by_token(Code::GrantNarrowed)
                .id("grant", &[0x0c; 16])
                .org("for", &peer),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) recorded that a consent now allows less towards Harbour Welcome, consent 0c0c0c0c",
        ),
        (
            by_token(Code::GrantWithdrawn)
                .id("grant", &[0x0c; 16])
                .word("as", "withdrawn")
                .word("asked_with", "stop_code")
                .id("slip", &[0x0e; 16])
                .org("with", &peer),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) recorded that a consent was withdrawn with the person's stop code towards Harbour Welcome, consent 0c0c0c0c by slip 0e0e0e0e",
        ),
        (
            by_token(Code::GrantWithdrawn)
                .id("grant", &[0x0c; 16])
                .word("as", "invalidated"),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) recorded that a consent was found not to be valid, consent 0c0c0c0c",
        ),
        (
            event(Code::GrantExpired).id("grant", &[0x0c; 16]),
            "A consent ran out at Riverside GP, consent 0c0c0c0c",
        ),
        (
            event(Code::SlipIssued)
                .id("slip", &[0x0e; 16])
                .id("grant", &[0x0c; 16])
                .org("to", &peer),
            "The node of Riverside GP issued a consent slip for Harbour Welcome, under consent 0c0c0c0c by slip 0e0e0e0e",
        ),
    ]
}

fn of_second_numbers() -> Vec<(Event, &'static str)> {
    let again = |delivery| {
        let event = envelope(Code::EnvelopeTakenAgain).org("to", &org("harbour-welcome"));
        event.word("delivery", delivery)
    };
    vec![
        (
            again("again"),
            "The gateway took a referral from Riverside GP for Harbour Welcome once more, to deliver it again, referral NENT-QAXB-21",
        ),
        (
            again("not_again"),
            "The gateway was sent a referral from Riverside GP for Harbour Welcome once more and did not pass it on again, as it is there or on its way, referral NENT-QAXB-21",
        ),
        (
            again("not_again").word("problem", Problem::ConsentWithdrawn.as_str()),
            "The gateway was sent a referral from Riverside GP for Harbour Welcome once more and did not pass it on again, referral NENT-QAXB-21, because the person had taken their consent back",
        ),
    ]
}

fn of_envelopes() -> Vec<(Event, &'static str)> {
    let peer = org("harbour-welcome");
    vec![
        (
            by_token(Code::EnvelopeSent)
                .id("thread", &[0xab; 16])
                .word("move", "send")
                .id("slip", &[0x0e; 16])
                .org("to", &peer)
                .word("category", "need"),
            "Somebody at Riverside GP (sign-in 1a1a1a1a, as coordinator) sent a referral to Harbour Welcome, referral NENT-QAXB-21, with the parts need, allowed by consent slip 0e0e0e0e",
        ),
        (
            envelope(Code::EnvelopeTaken).org("to", &peer),
            "The gateway took a referral from Riverside GP for Harbour Welcome, referral NENT-QAXB-21",
        ),
        (
            envelope(Code::EnvelopeRefused)
                .org("to", &peer)
                .word("problem", Problem::ConsentExpired.as_str()),
            "A referral from Riverside GP for Harbour Welcome was refused, referral NENT-QAXB-21, because the consent had run out",
        ),
        (
            envelope(Code::EnvelopeDropped).word("problem", Problem::DeadlineExceeded.as_str()),
            "A referral from Riverside GP was dropped and will not be delivered, referral NENT-QAXB-21, because it did not arrive in time",
        ),
        (
            event(Code::EnvelopeReceived)
                .id("envelope", &[0xcd; 16])
                .word("kind", "event")
                .org("from", &peer),
            "The node of Riverside GP received an event from Harbour Welcome, envelope cdcdcdcd",
        ),
        (
            event(Code::EnvelopeRejected)
                .id("envelope", &[0xcd; 16])
                .org("from", &peer)
                .word("problem", "not_a_word"),
            "The node of Riverside GP refused an envelope on arrival from Harbour Welcome, envelope cdcdcdcd, for a reason that this program does not know",
        ),
        (
            envelope(Code::EnvelopeDelivered).org("to", &peer),
            "A referral from Riverside GP for Harbour Welcome was delivered, referral NENT-QAXB-21",
        ),
        (
            event(Code::ReferralMoved)
                .id("thread", &[0xab; 16])
                .word("move", "accept")
                .word("state", "accepted")
                .word("party", "recipient"),
            "In the account of Riverside GP the move \"accept\" was made by the recipient on a referral; it stands at \"accepted\", referral NENT-QAXB-21",
        ),
        (
            event(Code::ReferralMoved)
                .word("move", "request_cancel")
                .word("party", "sender")
                .word("as", "proposed"),
            "In the account of Riverside GP the move \"request cancel\" was proposed by the sender on a referral",
        ),
    ]
}

fn of_the_machine() -> Vec<(Event, &'static str)> {
    let peer = org("harbour-welcome");
    vec![
        (
            event(Code::WithdrawalProved)
                .id("slip", &[0x0e; 16])
                .org("by", &peer),
            "Harbour Welcome proved to Riverside GP what it did about a withdrawal, consent slip 0e0e0e0e",
        ),
        (
            event(Code::AccessReported)
                .id("slip", &[0x0e; 16])
                .org("by", &peer)
                .number("day_ms", AT_MS - 24 * 60 * 60 * 1000)
                .number("count", 3),
            "Harbour Welcome told Riverside GP of 3 openings on 2026-11-25 of what it received, consent slip 0e0e0e0e",
        ),
        (
            event(Code::HoldingDestroyed).id("slip", &[0x0e; 16]),
            "The node of Riverside GP destroyed the keys of what it held, consent slip 0e0e0e0e",
        ),
        (
            event(Code::KeyRotated).word("key", "sealing"),
            "The node of Riverside GP replaced its sealing key",
        ),
        (
            event(Code::KeyDestroyed).word("key", "sealing"),
            "The node of Riverside GP destroyed an old sealing key",
        ),
        (
            event(Code::AlarmRaised)
                .word("kind", "fork")
                .org("organisation", &peer),
            "The node of Riverside GP raised an alarm of kind \"fork\" about Harbour Welcome: a person must look at it",
        ),
        (
            event(Code::EpochOpened).number("epoch", 2),
            "The node of Riverside GP began its log as epoch 2",
        ),
        (
            event(Code::EpochFollowed).number("epoch", 2),
            "The node of Riverside GP follows the gateway's log in epoch 2 by the word of the network's root; alarms about the log before \
             it have ended",
        ),
        (
            event(Code::ReferralMoved)
                .id("thread", &[0xab; 16])
                .word("move", "accept")
                .word("state", "accepted")
                .word("party", "recipient")
                .word("as", "returned"),
            "In the account of Riverside GP the move \"accept\" came back, as made by the recipient on a referral; it stood at \"accepted\", \
             referral NENT-QAXB-21",
        ),
        (
            event(Code::RecoverySheetMade),
            "A recovery sheet was made at Riverside GP",
        ),
        (
            event(Code::BundleMade).word("kept", "gateway"),
            "The node of Riverside GP made a recovery bundle and gave it to the gateway to keep",
        ),
        (
            event(Code::ThreadReturned)
                .id("thread", &[0xab; 16])
                .org("organisation", &peer),
            "Harbour Welcome returned to Riverside GP how a referral stands, referral NENT-QAXB-21",
        ),
    ]
}

fn of_the_gateway() -> Vec<(Event, &'static str)> {
    let member = org("harbour-welcome");
    let of = |code| event(code).org("organisation", &member);
    vec![
        (
            event(Code::SlipStopped)
                .id("slip", &[0x0e; 16])
                .org("by", &member),
            "The gateway stopped a consent slip, asked by Harbour Welcome, consent slip 0e0e0e0e",
        ),
        (
            event(Code::SlipStopped)
                .id("slip", &[0x0e; 16])
                .word("shown", "stop_secret"),
            "The gateway stopped a consent slip, asked with the person's stop code, consent slip 0e0e0e0e",
        ),
        (
            at_the_gateway(Code::EnvelopeTaken).word("kind", "referral"),
            "The gateway took a referral from Riverside GP for Harbour Welcome, envelope cdcdcdcd",
        ),
        (
            at_the_gateway(Code::EnvelopeDelivered).word("problem", "stale_key"),
            "An envelope from Riverside GP for Harbour Welcome was delivered and refused there, envelope cdcdcdcd, because it was locked for a key no longer in use",
        ),
        (
            at_the_gateway(Code::EnvelopeTaken).id("thread", &[0xab; 16]),
            "The gateway took an envelope from Riverside GP for Harbour Welcome, envelope cdcdcdcd",
        ),
        (
            event(Code::NetworkCreated),
            "The gateway of the network was set up",
        ),
        (
            of(Code::MemberJoined),
            "Harbour Welcome joined the network with its first keys",
        ),
        (
            of(Code::MemberSuspended),
            "Harbour Welcome was suspended by the network's operator",
        ),
        (
            of(Code::MemberResumed),
            "The suspension of Harbour Welcome was ended by the network's operator",
        ),
        (
            of(Code::BindingPublished)
                .number("number", 2)
                .word("signed_by", "registrar"),
            "Harbour Welcome published new keys under number 2, signed by the registrar",
        ),
        (
            of(Code::CertificateIssued),
            "Harbour Welcome was given a certificate for its connections",
        ),
        (
            of(Code::InviteRefused),
            "An enrolment of Harbour Welcome was refused, as its invite was used up",
        ),
        (
            event(Code::PolicyPublished).number("number", 4),
            "The network's witness policy number 4 was published",
        ),
        (event(Code::EpochOpened), "The gateway began its log"),
    ]
}

fn of_coming_back() -> Vec<(Event, &'static str)> {
    let member = org("harbour-welcome");
    let of = |code| event(code).org("organisation", &member);
    vec![
        (
            event(Code::EpochOpened)
                .number("epoch", 2)
                .number("found_epoch", 1)
                .number("found_size", 40)
                .word("reason", "lost"),
            "The gateway began its log as epoch 2, after it was found at size 40 of epoch 1 (\"lost\")",
        ),
        (
            of(Code::MemberJoined).number("carried_from", 1),
            "Harbour Welcome joined the network with its first keys, as epoch 1 of the log had it",
        ),
        (
            of(Code::BundleKept),
            "The gateway keeps a recovery bundle of Harbour Welcome",
        ),
        (
            of(Code::BundleFetched),
            "The recovery bundle of Harbour Welcome was fetched with its secret",
        ),
        (
            of(Code::MemberRestored),
            "Harbour Welcome came back from a backup, and others were asked to offer again",
        ),
        (
            of(Code::MemberLost),
            "The keys of Harbour Welcome were reported lost to the network's operator",
        ),
    ]
}

#[test]
fn every_code_is_told_in_a_plain_sentence() {
    let mut told = Vec::new();
    for (keeper, table) in [
        (node(), sign_ins::of_sign_ins()),
        (node(), of_people()),
        (node(), of_consent()),
        (node(), of_envelopes()),
        (node(), of_second_numbers()),
        (node(), of_the_machine()),
        (Keeper::Gateway, of_the_gateway()),
        (Keeper::Gateway, of_coming_back()),
    ] {
        for (event, expected) in table {
            let expected = format!("{expected}, 2026-11-26 20:15 UTC.");
            assert_eq!(tell(event.preimage(), &keeper), expected);
            told.push(event.code());
        }
    }
    for code in Code::ALL {
        assert!(told.contains(code), "{code} is in no table");
    }
}

#[test]
fn an_event_without_lines_is_told_too() {
    for code in Code::ALL {
        for keeper in [node(), Keeper::Gateway] {
            let text = tell(event(*code).preimage(), &keeper);
            assert!(text.ends_with(", 2026-11-26 20:15 UTC."), "{text}");
            assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
            assert!(!text.contains("  ") && !text.contains(" ,"), "{text}");
        }
    }
}

#[test]
fn a_value_of_no_closed_list_is_not_shown() {
    for code in Code::ALL {
        let names = [
            "thread", "envelope", "slip", "grant", "person", "token", "text", "to", "from", "by", "with",
            "for",
        ];
        let words = [
            "organisation",
            "role",
            "purpose",
            "category",
            "kind",
            "problem",
            "move",
            "state",
            "party",
            "list",
            "key",
        ];
        let lines = names
            .iter()
            .chain(&words)
            .map(|name| format!("\n{name}=<Amal.Haddad>"));
        let preimage = format!(
            "code={code}\nat_ms={AT_MS}{}\ncount=many",
            lines.collect::<String>()
        );
        for keeper in [node(), Keeper::Gateway] {
            let text = tell(&preimage, &keeper);
            assert!(!text.contains("Amal") && !text.contains("many"), "{text}");
        }
    }
}
