//! Entries that were altered, left unopened or put in between. Never a gateway: pages are made here.

use super::*;
use kith_proto::id::NetworkName;
use kith_proto::log::tree::{Hash, head_of};
use kith_proto::seal::SealingKey;
use kith_proto::sign::SigningKey;
use kith_proto::trail::Event;
use kith_proto::trust::Binding;
use kith_proto::v1;

fn entry(event: &Event) -> v1::LogEntry {
    let salt = [4; 16];
    v1::LogEntry {
        entry: Leaf::new(event.code(), &salt, event.preimage()).to_string(),
        salt: salt.to_vec(),
        preimage: event.preimage().to_owned(),
    }
}

fn joined(org: &str) -> v1::LogEntry {
    let event = Event::new(Code::MemberJoined, 1).org("organisation", &org.parse().unwrap());
    entry(&event.hash("binding", &[9; 32]))
}

#[test]
fn a_walk_leads_to_the_root_and_opens_the_key_log_alone() {
    let other = v1::LogEntry {
        entry: entry(&Event::new(Code::EnvelopeTaken, 1)).entry,
        ..v1::LogEntry::default()
    };
    let unknown = v1::LogEntry {
        entry: "of_a_newer_version x".into(),
        ..v1::LogEntry::default()
    };
    let entries = [other, joined("riverside-gp"), unknown, joined("hope-street")];
    let mut walk = Walk::from(Frontier::default());
    for entry in &entries {
        walk.take(entry).unwrap();
    }
    let hashes = entries.iter().map(|e| Hash::of_leaf(e.entry.as_bytes()));
    assert_eq!(walk.frontier().head(), head_of(hashes).unwrap());
    let found: Vec<_> = walk
        .leaves()
        .iter()
        .map(|leaf| {
            (
                leaf.number,
                leaf.organisation.as_ref().unwrap().as_str(),
                leaf.binding,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (1, "riverside-gp", Some([9; 32])),
            (3, "hope-street", Some([9; 32]))
        ]
    );
}

#[test]
fn an_entry_of_the_key_log_that_does_not_open_is_not_passed_over() {
    let whole = joined("riverside-gp");
    let turns: [fn(&mut v1::LogEntry); 5] = [
        |e| e.salt.clear(),
        |e| e.preimage.clear(),
        |e| e.preimage.push('x'),
        |e| e.salt[0] ^= 1,
        |e| e.entry.push(' '),
    ];
    for turn in turns {
        let mut entry = whole.clone();
        turn(&mut entry);
        let mut walk = Walk::from(Frontier::default());
        assert_eq!(walk.take(&entry), Err(Altered(0)), "{entry:?}");
        assert_eq!((walk.frontier().size(), walk.leaves().len()), (0, 0));
    }
    assert_eq!(
        Altered(0).problem(),
        kith_proto::problem::Problem::Unauthenticated
    );
}

fn binding(number: u8, key: u8, rekey: bool) -> Binding {
    Binding {
        number: number.into(),
        signing_key: SigningKey::from_seed([key; 32]).unwrap().public(),
        sealing_key: SealingKey::from_seed([number; 32]).unwrap().public().clone(),
        made_at_ms: 0,
        effective_at_ms: 0,
        rekey,
        hash: [number; 32],
    }
}

#[test]
fn own_bindings_are_those_of_the_own_key_from_the_first_on() {
    let own = SigningKey::from_seed([1; 32]).unwrap().public();
    let made = |chain: &[Binding], hash: u8| made_here(chain, &own, &[hash; 32]);
    let rotated = [binding(1, 1, false), binding(2, 1, false)];
    assert!(made(&rotated, 1) && made(&rotated, 2));
    assert!(!made(&rotated, 3), "not listed");
    let put_between = [binding(1, 1, false), binding(2, 7, true), binding(3, 1, true)];
    assert!(made(&put_between, 1));
    assert!(!made(&put_between, 2) && !made(&put_between, 3));
    let taken_over = [binding(1, 7, false), binding(2, 1, true), binding(3, 1, false)];
    assert!(made(&taken_over, 1) && made(&taken_over, 2) && made(&taken_over, 3));
    assert!(!made(&[binding(1, 7, false)], 1), "nothing of this node");
}

#[test]
fn without_a_policy_nothing_counts() {
    let network: NetworkName = "lune-valley.example".parse().unwrap();
    let key = SigningKey::from_seed([3; 32]).unwrap();
    let origin = Keeper::Gateway.origin(&network, FIRST_EPOCH);
    let checkpoint = Checkpoint::new(&origin, Frontier::default().head()).unwrap();
    let note = checkpoint.note(vec![checkpoint.sign(&key).unwrap()]).unwrap();
    let keys = [Keeper::Gateway.log_key(&network, FIRST_EPOCH, key.public())];
    let shown = Shown::read(&note.to_string(), &keys, None).unwrap();
    assert!(!shown.standing.is_counted());
    let other = [Keeper::Gateway.log_key(&network, FIRST_EPOCH + 1, key.public())];
    assert!(
        Shown::read(&note.to_string(), &other, None).is_err(),
        "another epoch"
    );
}
