//! The fixed people of the targets: one network, two members, their keys and a slip. Nothing here is secret or random.
//! Every target begins from these; a seed that is not one of them is unknown to everybody.
//! Never take a key from the input: whoever fuzzes must not be able to sign for another.

use kith_proto::envelope::{SUITE, VERSION};
use kith_proto::id::{NetworkName, OrgId, PersonId};
use kith_proto::seal::SealingKey;
use kith_proto::sign::SigningKey;
use kith_proto::slip::{SignedSlip, Slip, person_commitment, stop_hash, stop_secret};
use kith_proto::v1;
use kith_proto::words::{Category, EnvelopeKind};
use std::sync::LazyLock;

/// The network of all targets.
pub const NETWORK: &str = "lune-valley.example";
/// The member who speaks.
pub const FROM: &str = "riverside-gp";
/// The member who is spoken to.
pub const TO: &str = "harbour-welcome";
/// Now, in milliseconds.
pub const NOW_MS: i64 = 1_800_000_000_000;
/// One day in milliseconds.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The salt and the person of the slip.
pub const PERSON: ([u8; 32], [u8; 16]) = ([4; 32], [5; 16]);

/// The sealing key of the member who is spoken to.
pub static SEALING: LazyLock<SealingKey> =
    LazyLock::new(|| SealingKey::from_seed([7; 32]).expect("a sealing key"));

/// The key of a number: 1 root, 2 registrar, 3 invite's seed, 4 and up the members'.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32]).expect("a signing key")
}

/// The network's name.
pub fn network() -> NetworkName {
    NETWORK.parse().expect("a network name")
}

/// An organisation's id.
pub fn org(name: &str) -> OrgId {
    name.parse().expect("an organisation id")
}

/// A slip of the first member for the second, as wire message.
pub fn wire_slip() -> v1::Slip {
    v1::Slip {
        slip_id: vec![1; 16],
        network: NETWORK.to_owned(),
        from: FROM.to_owned(),
        to: TO.to_owned(),
        purposes: vec![1, 2],
        categories: vec![1, 4, 9],
        issued_at_ms: NOW_MS - DAY_MS,
        expires_at_ms: NOW_MS + 30 * DAY_MS,
        progress: true,
        person_commitment: person_commitment(&PERSON.0, &PersonId::from_bytes(PERSON.1)).to_vec(),
        stop_hash: stop_hash(&stop_secret(&[6; 16])).to_vec(),
    }
}

/// The slip, signed by the first member.
pub fn signed_slip() -> v1::SignedSlip {
    let slip = Slip::parse(&wire_slip()).expect("a slip");
    SignedSlip::issue(&slip, &key(4)).expect("a signed slip")
}

/// A head of this kind with the ground that it needs.
pub fn head(kind: EnvelopeKind) -> v1::Head {
    let ground = match kind {
        EnvelopeKind::Question | EnvelopeKind::Answer => None,
        EnvelopeKind::Disclosure => Some(v1::head::Ground::DisclosureNote(v1::SignedDisclosureNote {
            note: vec![1, 2, 3],
            signature: vec![0; 64],
        })),
        _ => Some(v1::head::Ground::Slip(signed_slip())),
    };
    let categories = match kind {
        EnvelopeKind::Referral | EnvelopeKind::Message => vec![1, 4],
        EnvelopeKind::Event => vec![Category::Progress.number()],
        _ => Vec::new(),
    };
    v1::Head {
        version: VERSION,
        suite: SUITE,
        envelope_id: vec![2; 16],
        network: NETWORK.to_owned(),
        from: FROM.to_owned(),
        to: TO.to_owned(),
        kind: kind.number(),
        thread_id: vec![3; 16],
        ground,
        categories,
        created_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + DAY_MS,
        sealing_key_id: kith_proto::envelope::sealing_key_id(SEALING.public()).to_vec(),
    }
}
