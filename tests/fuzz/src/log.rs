//! Transparency logs: what is read is written the same, a text counts only as its log signed it, no proof holds for another leaf.

use crate::refused;
use crate::world::key;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::note::{
    KeyKind, KeyName, NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, Note, NoteError, VerifierKey,
};
use kith_proto::log::proof::{PROOF_HASHES_MAX, Plan, verify_consistency, verify_inclusion};
use kith_proto::log::tile::{Tile, TileKind, Tiles, bundle, entries};
use kith_proto::log::tree::{EMPTY_ROOT, Frontier, Hash, LEAVES_MAX, TreeHead};
use kith_proto::log::witness::{AddCheckpoint, read_answer, write_answer};
use std::fmt::Display;
use std::str::FromStr;

const SIZE: u64 = 11;

fn origin() -> KeyName {
    "lune-valley.example/gateway/1".parse().expect("a name")
}

/// Leaves, and every whole node over them, found by walking through them.
fn leaves() -> Vec<Hash> {
    (0..SIZE).map(|n| Hash::of_leaf(&n.to_be_bytes())).collect()
}

fn proof(plan: &Plan) -> Vec<Hash> {
    let mut frontier = Frontier::default();
    let mut nodes = Vec::new();
    for leaf in leaves() {
        let whole = |node, hash| nodes.push((node, hash));
        frontier.append(leaf, whole).expect("room");
    }
    let read = |wanted| {
        nodes
            .iter()
            .find(|(node, _)| *node == wanted)
            .map(|(_, hash)| *hash)
    };
    plan.hashes(|node| read(node).ok_or(())).expect("its nodes")
}

fn checkpoint() -> Checkpoint {
    let root = proof(&Plan::root(SIZE).expect("a size"))[0];
    Checkpoint::new(&origin(), TreeHead { size: SIZE, root }).expect("a checkpoint")
}

fn note() -> Note {
    let checkpoint = checkpoint();
    let witness: KeyName = "w.example".parse().expect("a name");
    let signed = [checkpoint.sign(&key(4)), checkpoint.cosign(&witness, &key(5), 9)];
    let signed = signed.map(|signature| signature.expect("a signature"));
    checkpoint.note(signed.to_vec()).expect("a note")
}

fn log_keys() -> [VerifierKey; 1] {
    [VerifierKey::new(origin(), KeyKind::Ed25519, key(4).public())]
}

fn leaf_proof(extra: &[u8]) -> LeafProof {
    let hashes = proof(&Plan::inclusion(6, SIZE).expect("a leaf"));
    LeafProof::new(6, hashes, note(), extra.to_vec()).expect("a receipt")
}

fn add_checkpoint() -> AddCheckpoint {
    AddCheckpoint::new(6, proof(&Plan::consistency(6, SIZE).expect("a size")), note()).expect("a request")
}

pub(crate) fn note_seeds() -> Vec<Vec<u8>> {
    let note = note();
    let vkey = log_keys()[0].to_string();
    let extended = format!("{}an extension\n", note.text());
    [
        note.to_string(),
        note.text().to_owned(),
        extended,
        vkey,
        write_answer(note.signatures()),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// What is read is written the same; a refusal is one of bad input.
fn same<T: FromStr<Err = NoteError> + Display>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(read) => {
            assert_eq!(read.to_string(), text);
            Some(read)
        }
        Err(error) => {
            refused(error.problem());
            None
        }
    }
}

/// A note, a checkpoint's text, a vkey or a witness's answer.
pub(crate) fn notes(data: &[u8]) {
    match Note::parse(data) {
        Ok(note) => {
            assert_eq!(note.to_string().as_bytes(), data);
            assert!(data.len() <= NOTE_BYTES_MAX && note.signatures().len() <= NOTE_SIGNATURES_MAX);
            match Checkpoint::open(&note, &log_keys()) {
                Ok(opened) => assert_eq!(opened, checkpoint(), "the one that was signed"),
                Err(error) => refused(error.problem()),
            }
        }
        Err(error) => refused(error.problem()),
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    same::<VerifierKey>(text);
    if let Ok(lines) = read_answer(text) {
        assert_eq!(write_answer(&lines), text);
    }
    let Some(checkpoint) = same::<Checkpoint>(text) else {
        return;
    };
    assert!(checkpoint.head().size <= LEAVES_MAX);
    let Ok(signature) = checkpoint.sign(&key(4)) else {
        // An origin with a space or a plus sign can be read, and is no name of a key.
        return assert!(checkpoint.origin().parse::<KeyName>().is_err());
    };
    let note = checkpoint.note(vec![signature]).expect("a note");
    let note = Note::parse(note.to_string().as_bytes()).expect("its own bytes");
    let name: KeyName = checkpoint.origin().parse().expect("a name");
    let by = |number| {
        [VerifierKey::new(
            name.clone(),
            KeyKind::Ed25519,
            key(number).public(),
        )]
    };
    assert_eq!(Checkpoint::open(&note, &by(4)), Ok(checkpoint));
    assert_eq!(Checkpoint::open(&note, &by(5)), Err(NoteError::Unsigned));
}

pub(crate) fn proof_seeds() -> Vec<Vec<u8>> {
    [
        leaf_proof(b"").to_string(),
        leaf_proof(b"preimage and salt").to_string(),
        add_checkpoint().to_string(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// A `.tlog-proof` or a request to a witness; its hashes also as a proof between any sizes that its bytes make.
pub(crate) fn proofs(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(read) = same::<LeafProof>(&text) {
        let made = leaf_proof(b"");
        for (leaf, index) in leaves().iter().zip(0..) {
            match read.open(leaf, &log_keys()) {
                Ok(_) => assert_eq!((index, read.index(), read.hashes()), (6, 6, made.hashes())),
                Err(error) => refused(error.problem()),
            }
        }
        assert!(read.hashes().len() <= PROOF_HASHES_MAX);
    }
    if let Some(read) = same::<AddCheckpoint>(&text) {
        let old = TreeHead {
            size: 6,
            root: proof(&Plan::root(6).expect("a size"))[0],
        };
        match read.check(&log_keys(), Some(&old)) {
            Ok(opened) => assert_eq!((opened, read.to_string()), (checkpoint(), with_note_of(&read))),
            Err(refusal) => assert!([400, 403, 409, 422].contains(&refusal.http_status())),
        }
        assert!(read.check(&log_keys(), None).is_err());
    }
    let (numbers, rest) = data.as_chunks::<8>();
    let hashes: Vec<Hash> = rest
        .iter()
        .chain(data)
        .copied()
        .map(|b| Hash([b; 32]))
        .take(70)
        .collect();
    for pair in numbers.windows(2) {
        let [old, size] = [pair[0], pair[1]].map(u64::from_be_bytes);
        let head = |size| TreeHead {
            size,
            root: EMPTY_ROOT,
        };
        assert!(verify_inclusion(&head(size), old, &EMPTY_ROOT, &hashes[hashes.len() / 2..]).is_err());
        let consistent = verify_consistency(&head(old), &head(size), &hashes);
        assert!(consistent.is_err(), "hashes that nothing asks for");
        for plan in [Plan::inclusion(old, size), Plan::consistency(old, size)]
            .into_iter()
            .flatten()
        {
            assert!(plan.nodes().all(|node| Tile::holding(node, size).is_some()));
            let read = plan.hashes(|_| Ok::<_, ()>(EMPTY_ROOT)).expect("no error");
            assert!(read.len() <= PROOF_HASHES_MAX);
        }
    }
}

/// The request that was made, under the note that came: unknown signatures may differ.
fn with_note_of(read: &AddCheckpoint) -> String {
    let made = add_checkpoint().to_string();
    let lines = made.split("\n\n").next().expect("lines");
    format!("{lines}\n\n{}", read.note())
}

pub(crate) fn tile_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "tile/0/000",
        "tile/entries/x001/x234/067.p/1",
        "tile/7/000.p/64",
        "tile/1/x018/014.p/255",
    ];
    let bundles = [
        bundle([b"one".as_slice(), b"", b"three"]),
        bundle([[7; 300].as_slice()]),
    ];
    let bundles = bundles.map(|bundle| bundle.expect("a bundle"));
    texts
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .chain(bundles)
        .collect()
}

/// A path, a bundle, or the bytes of a tile.
pub(crate) fn tiles(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(tile) = text.parse::<Tile>()
    {
        assert_eq!(tile.to_string(), text);
        assert_eq!(Tile::new(tile.kind(), tile.index(), tile.width()), Ok(tile));
        assert_eq!(tile.nodes().count(), usize::from(tile.width()));
        let hashes = |node| Tile::holding(node, LEAVES_MAX).expect("a node of the largest log");
        if tile.kind() != TileKind::Entries {
            let places = |held: Tile| (held.kind(), held.index()) == (tile.kind(), tile.index());
            assert!(tile.nodes().map(hashes).all(places));
        }
    }
    for width in [1, 2, 3, 256] {
        let of = Tile::new(TileKind::Entries, 0, width).expect("a tile");
        if let Ok(read) = entries(of, data) {
            assert_eq!(bundle(read).as_deref(), Ok(data));
        }
        let of = Tile::new(TileKind::Hashes(0), 0, width).expect("a tile");
        let mut tiles = Tiles::of(width.into());
        let taken = tiles.put(of, data).is_ok();
        assert_eq!(taken, data.len() == usize::from(width) * 32);
        let plan = Plan::root(width.into()).expect("a size");
        assert_eq!(plan.hashes(|node| tiles.read(node)).is_ok(), taken);
    }
}
