//! Golden vectors: the bytes that two organisations must agree on, kept in `golden/vectors.txt`. A change to any line is a change
//! of the wire format. Fixed seeds stand in for keys and randomness; nothing here may read a clock or make a key.

use crate::envelope::{SUITE, VERSION, envelope_hash, seal_envelope};
use crate::human_code::HumanCode;
use crate::id::{OrgId, PersonId, ThreadId};
use crate::log::checkpoint::Checkpoint;
use crate::log::epoch_word::{EpochWord, write_word};
use crate::log::leaf_proof::LeafProof;
use crate::log::origin::Keeper;
use crate::log::tree::head_of;
use crate::order::{self, Position};
use crate::receipt;
use crate::seal::SealingKey;
use crate::sign::{SigningKey, sha256};
use crate::slip::{SignedSlip, Slip, person_commitment, stop_hash, stop_secret};
use crate::trail::{Code, Event, Leaf};
use crate::v1;
use data_encoding::HEXLOWER;
use prost::Message;

const KEPT: &str = include_str!("golden/vectors.txt");

fn signed_slip(signer: &SigningKey) -> v1::SignedSlip {
    let slip = v1::Slip {
        slip_id: vec![1; 16],
        network: "lune-valley.example".into(),
        from: "riverside-gp".into(),
        to: "harbour-welcome".into(),
        purposes: vec![1],
        categories: vec![1, 4],
        issued_at_ms: 1_000,
        expires_at_ms: 900_000,
        progress: true,
        person_commitment: person_commitment(&[4; 32], &PersonId::from_bytes([5; 16])).to_vec(),
        stop_hash: stop_hash(&stop_secret(&[6; 16])).to_vec(),
    };
    SignedSlip::issue(&Slip::parse(&slip).unwrap(), signer).unwrap()
}

fn envelope(signer: &SigningKey, slip: v1::SignedSlip) -> v1::Envelope {
    let head = v1::Head {
        version: VERSION,
        suite: SUITE,
        envelope_id: vec![2; 16],
        network: "lune-valley.example".into(),
        from: "riverside-gp".into(),
        to: "harbour-welcome".into(),
        kind: 3,
        thread_id: vec![3; 16],
        ground: Some(v1::head::Ground::Slip(slip)),
        categories: vec![1, 4],
        created_at_ms: 2_000,
        expires_at_ms: 3_000,
        sealing_key_id: Vec::new(),
    };
    let part = |category: i32, name: &str, value: &str| v1::Part {
        category,
        fields: vec![v1::Field {
            name: name.into(),
            value: value.into(),
        }],
    };
    let body = v1::Body {
        person_salt: vec![4; 32],
        person_id: vec![5; 16],
        body: Some(v1::body::Body::Referral(v1::Referral {
            purpose: 1,
            parts: vec![part(1, "preferred_name", "ሰላም"), part(4, "own_words", "Company.")],
            answer_by_ms: 4_000,
            ..v1::Referral::default()
        })),
    };
    let to = SealingKey::from_seed([7; 32]).unwrap();
    seal_envelope(head, &body, to.public(), signer, &[8; 64])
        .unwrap()
        .into_envelope()
}

/// A log of one event, cosigned by a witness, and the receipt of its leaf.
fn log(signer: &SigningKey) -> (Leaf, LeafProof) {
    let network = "lune-valley.example".parse().unwrap();
    let gp: OrgId = "riverside-gp".parse().unwrap();
    let event = Event::new(Code::EnvelopeTaken, 1_700_000_000_123)
        .id("envelope", &[2; 16])
        .org("from", &gp)
        .word("kind", "referral")
        .number("number", 7);
    let leaf = Leaf::new(event.code(), &[6; 16], event.preimage());
    let head = head_of([leaf.hash()]).unwrap();
    let checkpoint = Checkpoint::new(&Keeper::Gateway.origin(&network, 1), head).unwrap();
    let witness = SigningKey::from_seed([10; 32]).unwrap();
    let name = Keeper::Node(gp).witness(&network);
    let lines = vec![
        checkpoint.sign(signer).unwrap(),
        checkpoint.cosign(&name, &witness, 1_700_000_001).unwrap(),
    ];
    let note = checkpoint.note(lines).unwrap();
    (leaf, LeafProof::new(0, Vec::new(), note, Vec::new()).unwrap())
}

/// Every vector as `name hex`, one a line.
fn made() -> String {
    let signer = SigningKey::from_seed([9; 32]).unwrap();
    let slip = signed_slip(&signer);
    let sealed = envelope(&signer, slip.clone());
    let hash = envelope_hash(&sealed);
    let (from, to) = (
        "riverside-gp".parse().unwrap(),
        "harbour-welcome".parse().unwrap(),
    );
    let (batch, _) = order::sign(&signer, &from, &to, Position::START, &[hash]).unwrap();
    let mut receipts = v1::GatewayReceipts {
        envelope_ids: vec![vec![2; 16]],
        envelope_hashes: vec![hash.to_vec()],
        taken_at_ms: 2_500,
        signature: Vec::new(),
    };
    receipt::sign(&signer, &mut receipts).unwrap();
    let (leaf, leaf_proof) = log(&signer);
    let network = "lune-valley.example".parse().unwrap();
    let word = EpochWord::issue(&signer, &network, 2, 1_700_000_000_123).unwrap();
    let code = HumanCode::of(&ThreadId::from_bytes([3; 16])).to_string();
    let lines = [
        ("slip", slip.slip),
        ("slip-signature", slip.signature),
        ("stop-secret", stop_secret(&[6; 16]).to_vec()),
        ("head", sealed.head.to_vec()),
        ("enc-sha256", sha256(&[&sealed.enc]).to_vec()),
        ("ciphertext-sha256", sha256(&[&sealed.ciphertext]).to_vec()),
        ("envelope-signature", sealed.signature.to_vec()),
        ("envelope-hash", hash.to_vec()),
        ("order-batch", batch.encode_to_vec()),
        ("gateway-receipts", receipts.encode_to_vec()),
        ("human-code", code.into_bytes()),
        ("leaf-entry", leaf.to_string().into_bytes()),
        ("tlog-proof", leaf_proof.to_string().into_bytes()),
        ("epoch-word", write_word(&signer.public(), &word).into_bytes()),
    ];
    let lines = lines.map(|(name, bytes)| format!("{name} {}\n", HEXLOWER.encode(&bytes)));
    lines.concat()
}

#[test]
fn the_bytes_are_those_that_were_agreed() {
    let made = made();
    for (kept, made) in KEPT.lines().zip(made.lines()) {
        assert_eq!(kept, made);
    }
    assert_eq!(KEPT, made);
}
