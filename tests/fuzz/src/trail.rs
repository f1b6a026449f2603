//! Trails: every event has a sentence of one line; a file is read in one spelling, and what verifies is what its exporter's log holds.

use crate::refused;
use crate::statements::{invite, issuer, read_registrar, registrar};
use crate::world::{DAY_MS, FROM, NOW_MS, SEALING, key, network, org};
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::note::Note;
use kith_proto::log::origin::Keeper;
use kith_proto::log::policy::WitnessPolicy;
use kith_proto::log::tree::{Hash, head_of};
use kith_proto::sign::SigningKey;
use kith_proto::trail::event::Told;
use kith_proto::trail::export::{
    BindingLeaf, EventLeaf, ExportReader, ExportWriter, FORMAT, Header, Line, LogCheckpoint, MemberChain,
    Opened, Trust,
};
use kith_proto::trail::sentence::{Reader, sentence};
use kith_proto::trail::verify::{Unproven, Verified, Verifier};
use kith_proto::trail::{Code, Event, Leaf};
use kith_proto::trust::{NewKeys, RootKey, binding_hash, first_binding, verify_invite};
use kith_proto::v1;
use std::collections::BTreeMap;

const SALT: [u8; 16] = [8; 16];
const JOINED_MS: i64 = NOW_MS - 10 * DAY_MS;
/// Root 1, registrar 2, seed 3; the member's key 4, the gateway's 9.
const MEMBER: u8 = 4;
const GATEWAY: u8 = 9;

fn member() -> Keeper {
    Keeper::Node(org(FROM))
}

/// The chain of the member, with one binding.
fn chain() -> v1::BindingChain {
    let invite = invite(JOINED_MS);
    let open = verify_invite(&invite, &read_registrar(), JOINED_MS).expect("the invite");
    let keys = NewKeys {
        signing_key: key(MEMBER).public(),
        sealing_key: SEALING.public().clone(),
    };
    let first = first_binding(&key(3), &open, &keys, JOINED_MS).expect("a binding");
    v1::BindingChain {
        registrar: Some(registrar()),
        invite: Some(invite),
        bindings: vec![first],
        later_registrars: vec![],
        later_invites: vec![],
    }
}

/// The two events of a log: the gateway's second names the member's binding.
fn events(keeper: &Keeper) -> [Event; 2] {
    match keeper {
        Keeper::Gateway => {
            let joined = Event::new(Code::MemberJoined, JOINED_MS).org("organisation", &org(FROM));
            let binding = binding_hash(&chain().bindings[0]);
            [
                Event::new(Code::EpochOpened, JOINED_MS),
                joined.hash("binding", &binding),
            ]
        }
        Keeper::Node(_) => {
            let sent = Event::new(Code::EnvelopeSent, NOW_MS).id("thread", &[3; 16]);
            let sent = sent.id("envelope", &[2; 16]).org("to", &org(crate::world::TO));
            let moved = Event::new(Code::ReferralMoved, NOW_MS).id("thread", &[3; 16]);
            [
                sent.word("kind", "referral").word("purpose", "care"),
                moved.word("move", "accept"),
            ]
        }
    }
}

fn leaf(event: &Event) -> Leaf {
    Leaf::new(event.code(), &SALT, event.preimage())
}

fn note(keeper: &Keeper) -> Note {
    let head = head_of(events(keeper).iter().map(|event| leaf(event).hash())).expect("a head");
    let checkpoint = Checkpoint::new(&keeper.origin(&network(), 1), head).expect("a checkpoint");
    let by = if *keeper == Keeper::Gateway {
        GATEWAY
    } else {
        MEMBER
    };
    let witness = Keeper::Gateway.witness(&network());
    let signed = [
        checkpoint.sign(&key(by)),
        checkpoint.cosign(&witness, &key(GATEWAY), 9),
    ];
    let signed = signed.map(|signature| signature.expect("a signature"));
    checkpoint.note(signed.to_vec()).expect("a note")
}

/// The inclusion proof in a tree of two: the other leaf.
fn hashes(keeper: &Keeper, index: usize) -> Vec<Hash> {
    vec![leaf(&events(keeper)[1 - index]).hash()]
}

fn lines(keeper: &Keeper) -> (Header, Vec<Line>) {
    let header = Header {
        format: FORMAT.to_owned(),
        network: network(),
        exporter: keeper.clone(),
        exported_at_ms: NOW_MS,
        question: BTreeMap::from([("thread".to_owned(), "03".repeat(16))]),
        root_public_key: key(1).public(),
    };
    let policy = v1::WitnessPolicy {
        network: network().to_string(),
        number: 1,
        ..v1::WitnessPolicy::default()
    };
    let mut lines = vec![Line::Trust(Trust {
        issuer: issuer(),
        policy: WitnessPolicy::issue(&key(1), &policy).expect("a policy"),
    })];
    if *keeper != Keeper::Gateway {
        let of_gateway = hashes(&Keeper::Gateway, 1);
        let proof = LeafProof::new(1, of_gateway, note(&Keeper::Gateway), Vec::new());
        lines.push(Line::Member(MemberChain { chain: chain() }));
        lines.push(Line::Binding(BindingLeaf {
            organisation: org(FROM),
            number: 1,
            salt: SALT,
            preimage: events(&Keeper::Gateway)[1].preimage().to_owned(),
            proof: proof.expect("a proof"),
        }));
    }
    lines.push(Line::Checkpoint(LogCheckpoint {
        epoch: 1,
        note: note(keeper),
        consistency: Vec::new(),
    }));
    for (event, index) in events(keeper).iter().zip(0_usize..) {
        lines.push(Line::Event(EventLeaf {
            epoch: 1,
            index: index as u64,
            entry: leaf(event),
            hashes: hashes(keeper, index),
            opened: (index == 0).then(|| Opened {
                salt: SALT,
                preimage: event.preimage().to_owned(),
            }),
        }));
    }
    (header, lines)
}

fn signing(keeper: &Keeper) -> SigningKey {
    key(if *keeper == Keeper::Gateway {
        GATEWAY
    } else {
        MEMBER
    })
}

fn file(header: Header, lines: &[Line]) -> Option<String> {
    let by = signing(&header.exporter);
    let (mut writer, mut file) = ExportWriter::new(header).ok()?;
    for line in lines {
        file.push_str(&writer.line(line).ok()?);
    }
    file.push_str(&writer.end(&by).ok()?);
    Some(file)
}

pub(crate) fn export_seeds() -> Vec<Vec<u8>> {
    let made = [member(), Keeper::Gateway].map(|keeper| {
        let (header, lines) = lines(&keeper);
        file(header, &lines).expect("a file").into_bytes()
    });
    made.to_vec()
}

fn verified(file: &[u8]) -> Result<Verified, Unproven> {
    let mut verifier = Verifier::new(RootKey::Key(key(1).public()));
    for line in ExportReader::new(file) {
        let line = line.map_err(Unproven::Line)?;
        if let Err(why) = verifier.line(&line) {
            assert_eq!(
                verifier.finish().expect_err("a line does not hold"),
                Unproven::Stopped
            );
            return Err(why);
        }
    }
    verifier.finish()
}

/// A whole file: as it came, then signed anew by its exporter, who may leave lines out and repeat none, and invent nothing.
pub(crate) fn exports(data: &[u8]) {
    match verified(data) {
        Ok(_) => assert!(
            export_seeds().iter().any(|seed| seed == data),
            "a file that nobody signed"
        ),
        Err(why) => refused(why.problem()),
    }
    let mut read = Vec::new();
    for line in ExportReader::new(data) {
        match line.and_then(|line| Line::read(&line).map(|read| (line, read))) {
            Ok((line, one)) => {
                assert_eq!(one.written().expect("what was read").as_bytes(), line);
                read.push(one);
            }
            Err(error) => refused(error.problem()),
        }
    }
    let Some((Line::Header(header), rest)) = read.split_first() else {
        return;
    };
    let rest: Vec<Line> = rest
        .iter()
        .filter(|line| !matches!(line, Line::End(_)))
        .cloned()
        .collect();
    let Some(file) = file(header.clone(), &rest) else {
        return;
    };
    match verified(file.as_bytes()) {
        Ok(whole) => holds(&whole),
        Err(why) => refused(why.problem()),
    }
}

/// Every event that is proven is one of its exporter's log.
fn holds(whole: &Verified) {
    let made = events(whole.keeper());
    for event in whole.events() {
        let of_log = usize::try_from(event.index)
            .ok()
            .and_then(|index| made.get(index));
        let of_log = of_log.expect("an event of the log");
        assert_eq!((event.epoch, event.leaf), (1, leaf(of_log)));
        if let Some(told) = event.told() {
            assert_eq!(Told::read(of_log.preimage()).as_ref(), Ok(&told));
        }
    }
    assert!(whole.is_unwitnessed(), "which must be said");
}

pub(crate) fn event_seeds() -> Vec<Vec<u8>> {
    let of = |keeper| events(&keeper).map(|event| event.preimage().as_bytes().to_vec());
    let bare = Code::ALL
        .iter()
        .map(|code| Event::new(*code, NOW_MS).preimage().as_bytes().to_vec());
    let entry = leaf(&events(&member())[0]).to_string().into_bytes();
    of(member())
        .into_iter()
        .chain(of(Keeper::Gateway))
        .chain(bare)
        .chain([entry])
        .collect()
}

/// An event's preimage, or an entry.
pub(crate) fn events_and_entries(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(leaf) = text.parse::<Leaf>() {
        assert_eq!(leaf.to_string(), text);
    }
    let Ok(told) = Told::read(text) else {
        return;
    };
    for keeper in [member(), Keeper::Gateway] {
        let reader = Reader {
            keeper: &keeper,
            name_of: &|_| None,
        };
        let sentence = sentence(&told, &reader);
        let plain = sentence.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        assert!(plain && sentence.ends_with(" UTC."), "{sentence}");
    }
    let (leaf, again) = Leaf::opened(&SALT, text).expect("an event");
    assert_eq!((leaf.code, &again), (told.code, &told));
}
