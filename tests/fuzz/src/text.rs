//! Names, ids, closed words and the human code: one spelling each, and nothing accepted that a second rule would refuse.
//! The rules are written here once more, in another way than in `kith-proto`.

use kith_proto::human_code::HumanCode;
use kith_proto::id;
use kith_proto::id::{
    Address, EnvelopeId, EventId, GrantId, HoldingId, InviteId, MessageId, NetworkName, OrgId, PersonId,
    RequestId, SlipId, ThreadId, TokenId, WithdrawalId,
};
use kith_proto::lifecycle::{Consent, Delivery, Move, Reason, State};
use kith_proto::part::{field_names, is_field};
use kith_proto::problem::Problem;
use kith_proto::words::{Category, EnvelopeKind, OrganisationKind, Purpose};

pub(crate) fn name_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "riverside-gp",
        "riverside-gp@lune-valley.example",
        "lune-valley.example",
        "a.b",
        "abc",
        "00112233445566778899aabbccddeeff",
        "a23456789-123456789-123456789-123456789x",
        "123456789012345678901234567890.12345678901234567890123456789012",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

pub(crate) fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let inner = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let is_org = |t: &str| {
        (id::ORG_ID_BYTES_MIN..=id::ORG_ID_BYTES_MAX).contains(&t.len())
            && t.bytes().all(slug)
            && t.as_bytes()[0].is_ascii_lowercase()
            && t.split('-').all(|word| !word.is_empty())
    };
    let is_network = |t: &str| {
        t.len() <= id::NETWORK_NAME_BYTES_MAX
            && t.split('.').count() > 1
            && t.split('.').all(|label| inner(label) && label.bytes().all(slug))
    };
    let org = text.parse::<OrgId>().ok();
    assert_eq!(
        org.as_ref().map(OrgId::as_str),
        Some(&*text).filter(|t| is_org(t))
    );
    let network = text.parse::<NetworkName>().ok();
    assert_eq!(
        network.as_ref().map(NetworkName::as_str),
        Some(&*text).filter(|t| is_network(t))
    );
    let address = text.parse::<Address>().ok();
    let parts: Vec<&str> = text.split('@').collect();
    let is_address = matches!(parts.as_slice(), [org, network] if is_org(org) && is_network(network));
    assert_eq!(
        address.map(|a| a.to_string()),
        Some(text.to_string()).filter(|_| is_address)
    );
    ids(data, &text);
}

fn ids(data: &[u8], text: &str) {
    macro_rules! each {
        ($($name:ident)+) => {$({
            let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            let parsed = text.parse::<$name>().ok();
            assert_eq!(parsed.map(|id| id.to_string()), Some(text.to_owned()).filter(|_| hex));
            let taken = $name::try_from(data).ok();
            assert_eq!(taken.map(|id| id.as_bytes().to_vec()), Some(data.to_vec()).filter(|d| d.len() == 16));
            if let Some(id) = taken {
                assert_eq!(id.to_string().parse(), Ok(id));
            }
        })+};
    }
    each!(EnvelopeId ThreadId SlipId GrantId PersonId EventId InviteId RequestId MessageId WithdrawalId TokenId HoldingId);
}

pub(crate) fn word_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "gp",
        "referral",
        "progress",
        "peer_support",
        "new",
        "accept",
        "full",
        "stale_key",
        "preferred_name",
        "in_their_words",
        "safe_phone",
        "visa",
    ];
    let numbers = (0..24_i32)
        .chain([-1, i32::MAX, i32::MIN])
        .map(|n| n.to_le_bytes().to_vec());
    texts
        .iter()
        .map(|t| t.as_bytes().to_vec())
        .chain(numbers)
        .collect()
}

pub(crate) fn words(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let number = data.first_chunk::<4>().map(|bytes| i32::from_le_bytes(*bytes));
    macro_rules! each {
        ($($name:ident)+) => {$({
            let known = $name::ALL.iter().find(|word| word.as_str() == text).copied();
            assert_eq!(text.parse::<$name>().ok(), known);
            if let Some(number) = number {
                let known = $name::ALL.iter().find(|word| word.number() == number).copied();
                assert_eq!($name::try_from(number).ok(), known);
                assert!(number != 0 || known.is_none());
            }
        })+};
    }
    each!(OrganisationKind EnvelopeKind Category Purpose State Move Reason Delivery Consent Problem);
    for category in Category::ALL {
        assert_eq!(
            is_field(*category, &text),
            field_names(*category).iter().any(|name| *name == text)
        );
    }
    for problem in Problem::ALL.iter().filter(|problem| problem.retryable()) {
        assert_eq!(*problem, Problem::Unavailable);
    }
}

pub(crate) fn code_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "K7M2-9QXD-44",
        "k7m2 9qxd 44",
        "iIlL-1111-00",
        " K7M29QXD\u{2013}44\u{a0}",
    ];
    let made = (0..8_u8).map(|n| HumanCode::of(&ThreadId::from_bytes([n.wrapping_mul(37); 16])).to_string());
    texts
        .iter()
        .map(|t| (*t).to_owned())
        .chain(made)
        .map(String::into_bytes)
        .collect()
}

/// Also that of every accepted code no single symbol may be another one.
pub(crate) fn human_code(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(bytes) = data.first_chunk::<16>() {
        let made = HumanCode::of(&ThreadId::from_bytes(*bytes));
        assert_eq!(made.to_string().parse(), Ok(made));
        assert_eq!(made.thread_prefix().as_slice(), &bytes[..5]);
    }
    let Ok(code) = HumanCode::parse(&text) else {
        return;
    };
    let shown = code.to_string();
    assert_eq!(HumanCode::parse(&shown), Ok(code));
    assert_eq!(shown.len(), 12);
    let meant: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    assert_eq!(meant, shown.replace('-', ""), "{text}");
    assert!(
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || c.is_whitespace() || !c.is_alphanumeric())
    );
    for (place, right) in shown.char_indices().filter(|(_, c)| *c != '-') {
        let wrong = if right == '7' { "8" } else { "7" };
        let mut other = shown.clone();
        other.replace_range(place..=place, wrong);
        assert!(HumanCode::parse(&other).is_err(), "{shown} and {other}");
    }
}
