//! The gate's table: one row per refusal reason, and what passes although almost everything has ended.

use super::*;
use kith_proto::envelope::seal_envelope;
use kith_proto::id::{InviteId, PersonId};
use kith_proto::seal::SealingKey;
use kith_proto::sign::{Context, SigningKey};
use kith_proto::slip::{Slip, person_commitment};
use kith_proto::trust::{Binding, Member};
use kith_proto::v1::{self, body, head};
use kith_proto::words::OrganisationKind;

const NOW_MS: i64 = 1_800_000_000_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const SALT: [u8; 32] = [4; 32];
const PERSON: [u8; 16] = [5; 16];

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

fn sealer(seed: u8) -> SealingKey {
    SealingKey::from_seed([seed; 32]).unwrap()
}

/// A member whose keys changed: key 1 from the start, key 2 an hour ago, key 3 from tomorrow on.
fn member(org: &str, seed: u8) -> Member {
    let binding = |number: u8, effective_at_ms| Binding {
        number: u64::from(number),
        signing_key: signer(seed).public(),
        sealing_key: sealer(seed * 10 + number).public().clone(),
        made_at_ms: effective_at_ms,
        effective_at_ms,
        rekey: false,
        hash: [number; 32],
    };
    Member {
        network: "lune-valley.example".parse().unwrap(),
        org: org.parse().unwrap(),
        kind: OrganisationKind::Gp,
        name: "A member".into(),
        invite_id: InviteId::from_bytes([1; 16]),
        bindings: vec![
            binding(1, NOW_MS - 100 * DAY_MS),
            binding(2, NOW_MS - DAY_MS / 24),
            binding(3, NOW_MS + DAY_MS),
        ],
    }
}

/// Everything that a case may turn.
struct Case {
    kind: EnvelopeKind,
    slip: v1::Slip,
    slip_signer: u8,
    head: v1::Head,
    signer: u8,
    signed_by: SignedBy,
    sealer: u8,
    facts: Facts<'static>,
    network: &'static str,
    spoil: fn(&mut v1::Envelope),
}

impl Case {
    fn new(kind: EnvelopeKind) -> Self {
        let slip = v1::Slip {
            slip_id: vec![1; 16],
            network: "lune-valley.example".into(),
            from: "riverside-gp".into(),
            to: "harbour-aid".into(),
            purposes: vec![1],
            categories: vec![1, 4],
            issued_at_ms: NOW_MS - 1000,
            expires_at_ms: NOW_MS + DAY_MS,
            progress: false,
            person_commitment: person_commitment(&SALT, &PersonId::from_bytes(PERSON)).to_vec(),
            stop_hash: vec![6; 32],
        };
        let head = v1::Head {
            envelope_id: vec![2; 16],
            network: "lune-valley.example".into(),
            from: "riverside-gp".into(),
            to: "harbour-aid".into(),
            kind: kind.number(),
            thread_id: vec![3; 16],
            created_at_ms: NOW_MS - 1000,
            expires_at_ms: NOW_MS + DAY_MS,
            ..v1::Head::default()
        };
        let facts = Facts {
            now_ms: NOW_MS,
            from: MemberState::Active,
            to: MemberState::Active,
            recipient: None,
            slip: SlipRecord::Standing,
            forms_today: 0,
            mailbox_bytes: 0,
            pair_bytes: 0,
            envelope_bytes: 5000,
        };
        Self {
            kind,
            slip,
            slip_signer: 1,
            head,
            signer: 1,
            signed_by: SignedBy::Header,
            sealer: 22,
            facts,
            network: "lune-valley.example",
            spoil: |_| {},
        }
    }

    fn envelope(&self) -> v1::Envelope {
        let slip = Slip::parse(&self.slip).unwrap();
        let signed = SignedSlip::issue(&slip, &signer(self.slip_signer)).unwrap();
        let ground = match self.kind {
            EnvelopeKind::Question | EnvelopeKind::Answer => None,
            EnvelopeKind::Disclosure => {
                Some(head::Ground::DisclosureNote(v1::SignedDisclosureNote::default()))
            }
            _ => Some(head::Ground::Slip(signed)),
        };
        let head = v1::Head {
            ground,
            ..self.head.clone()
        };
        let inner = match self.kind {
            EnvelopeKind::Question => body::Body::Question(v1::Question::default()),
            EnvelopeKind::Event => body::Body::Event(v1::Event::default()),
            EnvelopeKind::Withdrawal => body::Body::Withdrawal(v1::Withdrawal::default()),
            EnvelopeKind::Disclosure => body::Body::Disclosure(v1::Disclosure::default()),
            _ => body::Body::Referral(v1::Referral::default()),
        };
        let named = self.kind == EnvelopeKind::Referral;
        let body = v1::Body {
            person_salt: if named { SALT.to_vec() } else { vec![] },
            person_id: if named { PERSON.to_vec() } else { vec![] },
            body: Some(inner),
        };
        let key = sealer(self.sealer);
        let mut envelope = seal_envelope(head, &body, key.public(), &signer(self.signer), &[9; 64])
            .unwrap()
            .into_envelope();
        (self.spoil)(&mut envelope);
        envelope
    }

    /// Runs both halves of the gate, as the relay does.
    fn run(&self) -> Result<(), Refusal> {
        let (from, to) = (member("riverside-gp", 1), member("harbour-aid", 2));
        let network: NetworkName = self.network.parse().unwrap();
        let peer = Peer {
            network: &network,
            member: &from,
        };
        let key_then = |org: &OrgId, at_ms: i64| {
            let known = [&from, &to].into_iter().find(|member| member.org == *org)?;
            known.key_at(at_ms).map(|binding| binding.signing_key)
        };
        let verified = read(
            &Hashed::new(self.envelope()),
            self.signed_by,
            peer,
            NOW_MS,
            key_then,
        )?;
        let recipient = (self.facts.to != MemberState::NotMember).then_some(&to);
        judge(
            &verified.head,
            &Facts {
                recipient,
                ..self.facts
            },
        )
    }
}

type Turn = fn(&mut Case);

/// Signs the head again after it was spoiled, so that only the head itself is wrong.
fn resign(envelope: &mut v1::Envelope, turn: fn(&mut v1::Head)) {
    use prost::Message as _;
    let mut head = v1::Head::decode(&*envelope.head).unwrap();
    turn(&mut head);
    envelope.head = head.encode_to_vec().into();
    let sealed: Vec<u8> = [&*envelope.enc, &*envelope.ciphertext].concat();
    let mut line = kith_proto::sign::sha256(&[&envelope.head]).to_vec();
    line.extend((sealed.len() as u64).to_be_bytes());
    line.extend(kith_proto::sign::sha256(&[&sealed]));
    let signature = signer(1).sign(Context::Header, &[&envelope.head, &line]).unwrap();
    envelope.signature = signature.0.to_vec().into();
}

/// What a case is called, its kind, what is turned, and how the gate then answers.
type Row = (&'static str, EnvelopeKind, Turn, Problem, i64);

const FINAL: i64 = 0;

#[rustfmt::skip]
const REASONS: &[Row] = {
    use EnvelopeKind::{Disclosure, Event, Question, Referral};
    use Problem as P;
    &[
        ("oversized head", Referral, |c| c.spoil = |e| resign(e, |h| h.network = "x".repeat(9000)), P::TooLarge, FINAL),
        ("oversized", Referral, |c| c.spoil = |e| e.ciphertext = vec![0; 1 << 20].into(), P::TooLarge, FINAL),
        ("truncated head", Referral, |c| c.spoil = |e| e.head.truncate(20), P::Invalid, FINAL),
        ("another version", Referral, |c| c.spoil = |e| resign(e, |h| h.version = 2), P::Invalid, FINAL),
        ("another network's gateway", Referral, |c| c.network = "ribble.example", P::Invalid, FINAL),
        ("another sender than the certificate's", Referral, |c| c.head.from = "hope-mosque".into(), P::Invalid, FINAL),
        ("forged header", Referral, |c| c.signer = 7, P::Invalid, FINAL),
        ("altered ciphertext", Referral, |c| c.spoil = |e| e.ciphertext = vec![0; 600].into(), P::Invalid, FINAL),
        ("no ground", Referral, |c| c.spoil = |e| resign(e, |h| h.ground = None), P::Invalid, FINAL),
        ("forged slip", Referral, |c| c.slip_signer = 2, P::Invalid, FINAL),
        ("slip of a stranger", Referral, |c| c.slip.from = "hope-mosque".into(), P::Invalid, FINAL),
        ("slip issued too far ahead", Referral, |c| c.slip.issued_at_ms = NOW_MS + DAY_MS / 2, P::Invalid, FINAL),
        ("slip of other parties", Referral, |c| c.slip.to = "hope-mosque".into(), P::RecipientNotAllowed, FINAL),
        ("slip id of another slip", Referral, |c| c.facts.slip = SlipRecord::Another, P::Invalid, FINAL),
        ("disclosure without policy", Disclosure, |_| {}, P::RecipientNotAllowed, FINAL),
        ("recipient is no member", Referral, |c| c.facts.to = MemberState::NotMember, P::NotAMember, FINAL),
        ("suspended recipient", Referral, |c| c.facts.to = MemberState::Suspended, P::MemberSuspended, FINAL),
        ("suspended sender", Question, |c| c.facts.from = MemberState::Suspended, P::MemberSuspended, FINAL),
        ("stopped slip", Referral, |c| c.facts.slip = SlipRecord::Stopped, P::ConsentWithdrawn, FINAL),
        ("expired slip", Referral, |c| c.slip.expires_at_ms = NOW_MS, P::ConsentExpired, FINAL),
        ("slip without a purpose", Referral, |c| c.slip.purposes.clear(), P::ConsentMissing, FINAL),
        ("category outside the slip", Referral, |c| c.head.categories = vec![1, 5], P::CategoryNotAllowed, FINAL),
        ("expired envelope", Event, |c| c.head.expires_at_ms = NOW_MS, P::DeadlineExceeded, FINAL),
        ("made too far ahead", Event, |c| c.head.created_at_ms = NOW_MS + DAY_MS / 2, P::ClockOff, FINAL),
        ("sealed to a key not yet in force", Referral, |c| c.sealer = 23, P::StaleKey, STALE_KEY_RETRY_MS),
        ("sealed to an unknown key", Referral, |c| c.sealer = 99, P::StaleKey, STALE_KEY_RETRY_MS),
        ("questions of the day used up", Question, |c| c.facts.forms_today = 20, P::CapacityFull, FINAL),
        ("full mailbox", Referral, |c| c.facts.mailbox_bytes = MAILBOX_BYTES_MAX - 4999, P::Unavailable, MAILBOX_FULL_RETRY_MS),
        ("full pair", Referral, |c| c.facts.pair_bytes = PAIR_BYTES_MAX - 4999, P::Unavailable, MAILBOX_FULL_RETRY_MS),
    ]
};

#[test]
fn each_reason_refuses_alone() {
    for (name, kind, turn, problem, retry_after_ms) in REASONS {
        let mut case = Case::new(*kind);
        assert_eq!(
            case.run().is_ok(),
            *kind != EnvelopeKind::Disclosure,
            "{name}: before"
        );
        turn(&mut case);
        let refusal = case.run().unwrap_err();
        assert_eq!(
            (refusal.problem, refusal.retry_after_ms),
            (*problem, *retry_after_ms),
            "{name}"
        );
    }
}

#[test]
fn an_order_line_stands_for_what_its_sender_says_and_for_nothing_else() {
    let ordered = |turn: Turn| {
        let mut case = Case::new(EnvelopeKind::Event);
        case.signed_by = SignedBy::OrderLine;
        turn(&mut case);
        case.run()
    };
    let invalid = Err(Refusal::last(Problem::Invalid));
    assert_eq!(ordered(|c| c.signer = 7), Ok(()), "the line names every byte");
    assert_eq!(ordered(|c| c.slip_signer = 7), Ok(()), "its own consent");
    assert_eq!(ordered(|c| c.head.from = "hope-mosque".into()), invalid);
    assert_eq!(ordered(|c| c.slip.from = "hope-mosque".into()), invalid);
    let theirs: fn(&mut Case) = |c| {
        c.slip.from = "harbour-aid".into();
        c.slip.to = "riverside-gp".into();
    };
    assert_eq!(
        ordered(theirs),
        invalid,
        "the recipient captured it, and has not signed"
    );
    let signed: Turn = |c| {
        c.slip.from = "harbour-aid".into();
        c.slip.to = "riverside-gp".into();
        c.slip_signer = 2;
    };
    assert_eq!(ordered(signed), Ok(()));
}

#[test]
fn a_refusal_names_the_categories_at_fault() {
    let mut case = Case::new(EnvelopeKind::Referral);
    case.head.categories = vec![1, 5, 6];
    let expected = [Category::Health, Category::Family].into_iter().collect();
    assert_eq!(case.run().unwrap_err().categories, expected);
}

#[test]
fn a_withdrawal_passes_whatever_has_ended() {
    let mut case = Case::new(EnvelopeKind::Withdrawal);
    case.facts.from = MemberState::Suspended;
    case.facts.to = MemberState::Suspended;
    case.facts.slip = SlipRecord::Stopped;
    case.slip.issued_at_ms = NOW_MS - 2 * DAY_MS;
    case.slip.expires_at_ms = NOW_MS - DAY_MS;
    case.head.created_at_ms = NOW_MS - 2 * DAY_MS;
    case.head.expires_at_ms = NOW_MS - DAY_MS;
    case.facts.mailbox_bytes = MAILBOX_BYTES_MAX;
    case.facts.pair_bytes = PAIR_BYTES_MAX;
    assert_eq!(case.run(), Ok(()));
    case.facts.mailbox_bytes = MAILBOX_BYTES_MAX + MAILBOX_RESERVE_BYTES;
    let full = Refusal::later(Problem::Unavailable, MAILBOX_FULL_RETRY_MS);
    assert_eq!(case.run(), Err(full), "only a full reserve makes it wait");
}

#[test]
fn a_bare_event_passes_suspension_and_stop_but_is_not_withdrawn_from_quotas() {
    let mut case = Case::new(EnvelopeKind::Event);
    case.facts.to = MemberState::Suspended;
    case.facts.slip = SlipRecord::Stopped;
    assert_eq!(case.run(), Ok(()));
    case.facts.mailbox_bytes = MAILBOX_BYTES_MAX;
    assert!(case.run().is_err());
}

#[test]
fn the_previous_sealing_key_is_taken_for_a_day_after_the_change() {
    let mut case = Case::new(EnvelopeKind::Referral);
    case.sealer = 21;
    assert_eq!(case.run(), Ok(()));
    let verified = {
        let from = member("riverside-gp", 1);
        let network: NetworkName = case.network.parse().unwrap();
        let peer = Peer {
            network: &network,
            member: &from,
        };
        let key_then = |_: &OrgId, at_ms| from.key_at(at_ms).map(|b| b.signing_key);
        read(
            &Hashed::new(case.envelope()),
            SignedBy::Header,
            peer,
            NOW_MS,
            key_then,
        )
        .unwrap()
    };
    let mut to = member("harbour-aid", 2);
    to.bindings[1].effective_at_ms = NOW_MS - PREVIOUS_KEY_TAKEN_MS;
    let facts = Facts {
        recipient: Some(&to),
        ..case.facts
    };
    let stale = Refusal::later(Problem::StaleKey, STALE_KEY_RETRY_MS);
    assert_eq!(judge(&verified.head, &facts), Err(stale));
    // After a loss somebody else may have it, so that it is taken no moment longer.
    let mut rekeyed = member("harbour-aid", 2);
    rekeyed.bindings[1].rekey = true;
    let facts = Facts {
        recipient: Some(&rekeyed),
        ..case.facts
    };
    assert_eq!(judge(&verified.head, &facts), Err(stale));
}

#[test]
fn what_ends_things_and_bare_events_are_exempt() {
    let parsed = |case: &Case| Head::parse(&case.envelope().head).unwrap();
    assert!(is_exempt(&parsed(&Case::new(EnvelopeKind::Event))));
    assert!(is_exempt(&parsed(&Case::new(EnvelopeKind::Withdrawal))));
    assert!(!is_exempt(&parsed(&Case::new(EnvelopeKind::Referral))));
    assert!(!is_exempt(&parsed(&Case::new(EnvelopeKind::Question))));
}
