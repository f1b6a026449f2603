//! Which policies are believed, and which checkpoints count under one.

use super::checkpoint::Checkpoint;
use super::note::*;
use super::note_tests::{checkpoint, key, verifier};
use super::policy::*;
use crate::id::NetworkName;
use crate::sign::{Context, SigningKey};
use crate::trust::TrustError;
use crate::v1;
use prost::Message;

const ROOT: u8 = 90;
/// The log's key; witness n has key n.
const LOG: u8 = 1;

fn network() -> NetworkName {
    "lune-valley.example".parse().unwrap()
}

fn witness_name(seed: u8) -> String {
    format!("w{seed}.example")
}

fn statement(threshold: u32, seeds: &[u8]) -> v1::WitnessPolicy {
    v1::WitnessPolicy {
        network: network().to_string(),
        threshold,
        witnesses: seeds
            .iter()
            .map(|seed| v1::Witness {
                name: witness_name(*seed),
                public_key: key(*seed).public().0.to_vec(),
            })
            .collect(),
        disclosures_per_week: 3,
        number: 7,
        made_at_ms: 9,
    }
}

fn policy(threshold: u32, seeds: &[u8]) -> WitnessPolicy {
    let signed = WitnessPolicy::issue(&key(ROOT), &statement(threshold, seeds)).unwrap();
    WitnessPolicy::verify(&signed, &key(ROOT).public(), &network()).unwrap()
}

fn log_keys() -> [VerifierKey; 1] {
    [verifier("log.example/1", KeyKind::Ed25519, LOG)]
}

fn cosigned(checkpoint: &Checkpoint, seeds: &[u8]) -> Note {
    let mut note = checkpoint
        .note(vec![checkpoint.sign(&key(LOG)).unwrap()])
        .unwrap();
    for seed in seeds {
        let name = witness_name(*seed).parse().unwrap();
        note.add(
            checkpoint
                .cosign(&name, &key(*seed), 50 + u64::from(*seed))
                .unwrap(),
        )
        .unwrap();
    }
    note
}

/// Signs a statement as it is, also one that may not be issued.
fn forced(root: &SigningKey, policy: &v1::WitnessPolicy) -> v1::Signed {
    crate::trust::issue::sign(root, Context::Policy, policy).unwrap()
}

#[test]
fn a_policy_is_read_as_it_was_signed() {
    let policy = policy(2, &[2, 3, 4]);
    assert_eq!((policy.threshold(), policy.disclosures_per_week()), (2, 3));
    assert_eq!((policy.number(), policy.made_at_ms()), (7, 9));
    assert_eq!(policy.network(), &network());
    let names: Vec<&str> = policy.witnesses().iter().map(|w| w.name().as_str()).collect();
    assert_eq!(names, ["w2.example", "w3.example", "w4.example"]);
}

#[test]
fn a_policy_that_counts_everything_or_nothing_is_refused() {
    let many: Vec<u8> = (2..2 + 17).collect();
    let mut twice_a_key = statement(1, &[2, 3]);
    twice_a_key.witnesses[1].public_key = key(2).public().0.to_vec();
    let mut twice_a_name = statement(1, &[2, 3]);
    twice_a_name.witnesses[1].name = witness_name(2);
    let mut turned = statement(1, &[2]);
    turned.witnesses[0].name = "w2\u{202e}.example".into();
    let mut short = statement(1, &[2]);
    short.witnesses[0].public_key.pop();
    let mut unnumbered = statement(1, &[2]);
    unnumbered.number = 0;
    let mut foreign = statement(1, &[2]);
    foreign.network = "other.example".into();
    for (bad, error) in [
        (unnumbered, TrustError::Malformed),
        (statement(0, &[2]), TrustError::Malformed),
        (statement(1, &[]), TrustError::Malformed),
        (statement(3, &[2, 3]), TrustError::Malformed),
        (statement(u32::MAX, &[2]), TrustError::Malformed),
        (statement(1, &many), TrustError::TooLarge),
        (twice_a_key, TrustError::Malformed),
        (twice_a_name, TrustError::Malformed),
        (turned, TrustError::Malformed),
        (short, TrustError::Malformed),
        (foreign, TrustError::Foreign),
    ] {
        let read = WitnessPolicy::verify(&forced(&key(ROOT), &bad), &key(ROOT).public(), &network());
        assert_eq!(read, Err(error), "{bad:?}");
        if error != TrustError::Foreign {
            assert_eq!(WitnessPolicy::issue(&key(ROOT), &bad), Err(error));
        }
    }
    assert_eq!(policy(16, &many[..16]).witnesses().len(), WITNESSES_MAX);
}

#[test]
fn only_the_root_signs_policies_and_only_as_policies() {
    let statement = statement(1, &[2]);
    let root = key(ROOT);
    let by_another = forced(&key(91), &statement);
    let read = WitnessPolicy::verify(&by_another, &root.public(), &network());
    assert_eq!(read, Err(TrustError::Forged));
    let as_another = crate::trust::issue::sign(&root, Context::Registrar, &statement).unwrap();
    let read = WitnessPolicy::verify(&as_another, &root.public(), &network());
    assert_eq!(read, Err(TrustError::Forged));
    let good = forced(&root, &statement);
    for bit in 0..good.statement.len() * 8 {
        let mut bad = good.clone();
        bad.statement[bit / 8] ^= 1 << (bit % 8);
        let read = WitnessPolicy::verify(&bad, &root.public(), &network());
        assert_eq!(read, Err(TrustError::Forged));
    }
    assert!(v1::WitnessPolicy::decode(good.statement.as_slice()).is_ok());
}

/// Every set of cosignatures under every threshold.
#[test]
fn a_checkpoint_counts_with_as_many_distinct_witnesses_as_the_policy_asks_for() {
    let all = [2, 3, 4, 5];
    let checkpoint = checkpoint("log.example/1", 9);
    for threshold in 1..=3_u32 {
        // Witness 5 is in no policy.
        let policy = policy(threshold, &[2, 3, 4]);
        for set in 0..16_u32 {
            let seeds: Vec<u8> = all
                .iter()
                .zip(0..)
                .filter(|(_, n)| set >> n & 1 == 1)
                .map(|(s, _)| *s)
                .collect();
            let known: Vec<u8> = seeds.iter().filter(|seed| **seed != 5).copied().collect();
            let (opened, standing) = policy.open(&cosigned(&checkpoint, &seeds), &log_keys()).unwrap();
            assert_eq!(opened, checkpoint);
            assert_eq!(
                standing.is_counted(),
                known.len() >= threshold as usize,
                "{threshold} {seeds:?}"
            );
            let (Standing::Counted { by } | Standing::Unwitnessed { by, .. }) = standing else {
                panic!("this policy has witnesses")
            };
            let found: Vec<(String, u64)> = by
                .into_iter()
                .map(|c| (c.witness.to_string(), c.time_s))
                .collect();
            let expected: Vec<_> = known
                .iter()
                .map(|s| (witness_name(*s), 50 + u64::from(*s)))
                .collect();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn without_a_witness_the_roots_word_is_enough_and_is_said() {
    let note = cosigned(&checkpoint("log.example/1", 9), &[2]);
    let (_, standing) = policy(0, &[]).open(&note, &log_keys()).unwrap();
    assert!(standing.is_counted());
    assert_eq!(standing.to_string(), "unwitnessed: the network has no witness");
}

#[test]
fn one_witness_counts_once_and_a_log_never_witnesses_itself() {
    let checkpoint = checkpoint("log.example/1", 9);
    let mut note = cosigned(&checkpoint, &[2]);
    let name = witness_name(2).parse().unwrap();
    note.add(checkpoint.cosign(&name, &key(2), 99).unwrap()).unwrap();
    let (_, standing) = policy(2, &[2, 3]).open(&note, &log_keys()).unwrap();
    assert_eq!(
        standing.to_string(),
        "unwitnessed: 1 of 2 cosignatures, by w2.example"
    );
    let itself = cosigned(&checkpoint, &[LOG]);
    let (_, standing) = policy(1, &[LOG, 2]).open(&itself, &log_keys()).unwrap();
    assert_eq!(standing.to_string(), "unwitnessed: 0 of 1 cosignatures");
    let (_, standing) = policy(1, &[LOG, 2]).open(&note, &log_keys()).unwrap();
    assert_eq!(standing.to_string(), "counted: cosigned by w2.example");
}

#[test]
fn what_the_log_did_not_sign_or_a_witness_did_not_cosign_is_refused() {
    let (this, other) = (checkpoint("log.example/1", 9), checkpoint("log.example/1", 10));
    let name = witness_name(2).parse().unwrap();
    let moved = other.cosign(&name, &key(2), 52).unwrap();
    let mut note = cosigned(&this, &[3]);
    note.add(moved.clone()).unwrap();
    assert_eq!(
        policy(1, &[2, 3]).open(&note, &log_keys()),
        Err(NoteError::Forged)
    );
    assert!(policy(1, &[3]).open(&note, &log_keys()).unwrap().1.is_counted());
    let without_log = this.note(vec![this.cosign(&name, &key(2), 52).unwrap()]).unwrap();
    assert_eq!(
        policy(1, &[2]).open(&without_log, &log_keys()),
        Err(NoteError::Unsigned)
    );
}
