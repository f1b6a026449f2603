//! Notes, checkpoints and cosignatures: the examples of the specifications, another implementation, limits and changes.

use super::checkpoint::*;
use super::note::*;
use super::tree::*;
use crate::sign::SigningKey;
use proptest::prelude::*;

/// The example of signed-note.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The example of tlog-cosignature: a log's signature and a witness's, of keys that it does not name.
const COSIGNED: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
";

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

pub(super) fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

pub(super) fn verifier(text: &str, kind: KeyKind, seed: u8) -> VerifierKey {
    VerifierKey::new(name(text), kind, key(seed).public())
}

pub(super) fn checkpoint(origin: &str, size: u64) -> Checkpoint {
    let root = if size == 0 { EMPTY_ROOT } else { Hash([9; 32]) };
    Checkpoint::new(&name(origin), TreeHead { size, root }).unwrap()
}

fn log_key() -> VerifierKey {
    verifier("log.example/1", KeyKind::Ed25519, 1)
}

fn witness(seed: u8) -> VerifierKey {
    verifier(&format!("w{seed}.example"), KeyKind::Cosignature, seed)
}

/// A checkpoint that key 1 signed as its log and the others cosigned.
fn signed(by: &[u8]) -> Note {
    let checkpoint = checkpoint("log.example/1", 7);
    let mut note = checkpoint.note(vec![checkpoint.sign(&key(1)).unwrap()]).unwrap();
    for seed in by {
        let cosigned = checkpoint.cosign(witness(*seed).name(), &key(*seed), 1_700_000_000);
        note.add(cosigned.unwrap()).unwrap();
    }
    note
}

#[test]
fn the_examples_of_the_specifications() {
    let known: [VerifierKey; 1] = [VKEY.parse().unwrap()];
    assert_eq!(known[0].to_string(), VKEY);
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    let time_s = None;
    let key = &known[0];
    assert_eq!(note.verify(&known), Ok(vec![Verified { key, time_s }]));
    assert_eq!(note.to_string(), NOTE);
    assert_eq!(Checkpoint::open(&note, &known), Err(NoteError::Malformed));

    let note = Note::parse(COSIGNED.as_bytes()).unwrap();
    assert_eq!(note.to_string(), COSIGNED);
    assert_eq!(note.verify(&known), Err(NoteError::Unsigned));
    let checkpoint: Checkpoint = note.text().parse().unwrap();
    assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.head().size, 20_852_163);
    assert_eq!(checkpoint.to_string(), note.text());
}

#[test]
fn the_cosigned_bytes_are_two_lines_and_the_text() {
    let checkpoint = checkpoint("log.example/1", 7);
    let made = checkpoint
        .cosign(&name("w2.example"), &key(2), 1_679_315_147)
        .unwrap();
    let line = made.to_string();
    let bytes = line.rsplit(' ').next().unwrap();
    let bytes = data_encoding::BASE64.decode(bytes.as_bytes()).unwrap();
    assert_eq!(bytes.len(), 4 + 8 + 64);
    assert_eq!(bytes[..4], witness(2).id());
    assert_eq!(bytes[4..12], 1_679_315_147_u64.to_be_bytes());
    let message = format!("cosignature/v1\ntime 1679315147\n{checkpoint}");
    let dalek = ed25519_of_other(2, &message);
    assert_eq!(bytes[12..], dalek[..]);
    for refused in [0, 1 << 63, u64::MAX] {
        let made = checkpoint.cosign(&name("w2.example"), &key(2), refused);
        assert_eq!(made, Err(NoteError::Malformed));
    }
    let of_time = |time_s| {
        let made = NoteSignature::of_witness(&name("w2.example"), &key(2), time_s, &checkpoint.to_string());
        checkpoint
            .note(vec![made.unwrap()])
            .unwrap()
            .verify(&[witness(2)])
            .map(|by| by[0].time_s)
    };
    assert_eq!(of_time((1 << 63) - 1), Ok(Some((1 << 63) - 1)));
    assert_eq!(of_time(1 << 63), Err(NoteError::Forged));
}

/// The other implementation's key of a seed, and the vkey that it writes.
fn other_signer(seed: u8, named: &str) -> signed_note::StandardSigner {
    let id = verifier(named, KeyKind::Ed25519, seed).id();
    let private = data_encoding::BASE64.encode(&[[1].as_slice(), &[seed; 32]].concat());
    let skey = format!("PRIVATE+KEY+{named}+{:08x}+{private}", u32::from_be_bytes(id));
    signed_note::StandardSigner::new(&skey).unwrap()
}

/// What the other implementation signs with the key of this seed.
fn ed25519_of_other(seed: u8, message: &str) -> Vec<u8> {
    use signed_note::Signer;
    other_signer(seed, "any.example")
        .sign(message.as_bytes())
        .unwrap()
}

#[test]
fn another_implementation_signs_and_reads_the_same_notes() {
    let checkpoint = checkpoint("log.example/1", 7);
    let ours = checkpoint.note(vec![checkpoint.sign(&key(1)).unwrap()]).unwrap();
    let mut theirs = signed_note::Note::new(checkpoint.to_string().as_bytes(), &[]).unwrap();
    theirs.add_sigs(&[&other_signer(1, "log.example/1")]).unwrap();
    assert_eq!(theirs.to_bytes(), ours.to_string().as_bytes());
    let known = signed_note::StandardVerifier::new(&log_key().to_string()).unwrap();
    let known = signed_note::VerifierList::new(vec![Box::new(known)]);
    let read = signed_note::Note::from_bytes(signed(&[2, 3]).to_string().as_bytes()).unwrap();
    let (verified, unknown) = read.verify(&known).unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 2));
    let theirs = tlog_tiles::Checkpoint::from_bytes(checkpoint.to_string().as_bytes()).unwrap();
    assert_eq!((theirs.origin(), theirs.size()), ("log.example/1", 7));
    assert_eq!(theirs.hash().0, checkpoint.head().root.0);
}

#[test]
fn known_keys_are_told_once_and_unknown_ones_passed_over() {
    let mut note = signed(&[2, 3]);
    let again = checkpoint("log.example/1", 7).cosign(&name("w2.example"), &key(2), 1_800_000_000);
    note.add(again.unwrap()).unwrap();
    note.add(note.signatures()[0].clone()).unwrap();
    assert_eq!(note.signatures().len(), 4);
    let known = [witness(4), witness(2), log_key()];
    let times: Vec<_> = note
        .verify(&known)
        .unwrap()
        .into_iter()
        .map(|v| v.time_s)
        .collect();
    assert_eq!(times, [Some(1_800_000_000), None]);
    assert_eq!(note.verify(&[witness(4)]), Err(NoteError::Unsigned));
    assert_eq!(note.verify(&[]), Err(NoteError::Unsigned));
    // The same key under another name, of another kind, or another key under the name: unknown.
    let strangers = [
        verifier("w9.example", KeyKind::Cosignature, 2),
        verifier("w2.example", KeyKind::Ed25519, 2),
        verifier("w2.example", KeyKind::Cosignature, 3),
    ];
    assert_eq!(note.verify(&strangers), Err(NoteError::Unsigned));
}

#[test]
fn one_forged_signature_of_a_known_key_refuses_the_whole_note() {
    let good = signed(&[2]);
    let other = checkpoint("log.example/1", 8);
    for forged in [
        other.sign(&key(1)).unwrap(),
        other.cosign(&name("w2.example"), &key(2), 5).unwrap(),
    ] {
        let mut note = good.clone();
        note.add(forged).unwrap();
        assert_eq!(note.verify(&[log_key(), witness(2)]), Err(NoteError::Forged));
        assert!(note.verify(&[witness(3)]).is_err());
    }
}

#[test]
fn a_checkpoint_is_opened_by_its_own_log_only() {
    let note = signed(&[2]);
    let opened = Checkpoint::open(&note, &[log_key()]).unwrap();
    assert_eq!(opened, checkpoint("log.example/1", 7));
    assert_eq!(Checkpoint::open(&note, &[witness(2)]), Err(NoteError::Unsigned));
    let foreign = checkpoint("log.example/1", 7);
    let by_another = NoteSignature::of_log(&name("log.example/2"), &key(1), &foreign.to_string());
    let note = foreign.note(vec![by_another.unwrap()]).unwrap();
    let known = [verifier("log.example/2", KeyKind::Ed25519, 1)];
    assert_eq!(Checkpoint::open(&note, &known), Err(NoteError::Foreign));
    let fork = Checkpoint::new(
        &name("log.example/1"),
        TreeHead {
            size: 7,
            root: EMPTY_ROOT,
        },
    )
    .unwrap();
    assert!(opened.contradicts(&fork) && !opened.contradicts(&opened));
    assert!(!opened.contradicts(&checkpoint("log.example/1", 8)));
    assert!(!checkpoint("log.example/2", 7).contradicts(&fork));
}

/// A log's signature is no cosignature and the other way round, with one key for both.
#[test]
fn no_checkpoint_is_the_text_that_a_witness_signs() {
    let cosigned = format!("cosignature/v1\ntime 5\n{}", checkpoint("log.example/1", 7));
    assert_eq!(cosigned.parse::<Checkpoint>(), Err(NoteError::Malformed));
    let extended = format!("cosignature/v1\n5\n{EMPTY_ROOT}\nlog.example/1\n");
    assert!(extended.parse::<Checkpoint>().is_ok());
}

#[test]
fn what_is_no_note_is_refused() {
    let good = signed(&[2]).to_string();
    assert!(Note::parse(good.as_bytes()).is_ok());
    let changed = |from: &str, to: &str| good.replacen(from, to, 1);
    for bad in [
        String::new(),
        "\n".into(),
        "\n\n".into(),
        "text\n\n".into(),
        good.trim_end().into(),
        format!("{good}\n"),
        format!("{good}more\n"),
        changed("\n\n", "\n"),
        changed("— ", "- "),
        changed("— log", "—  log"),
        changed("— log", "— lo g"),
        changed("— log", "— lo+g"),
        changed("— log", "— lo\u{2003}g"),
        changed("log", "lo\tg"),
        changed("log", "lo\rg"),
        changed("log", "lo\0g"),
        changed("\n—", "\n\n—").replacen("\n—", "\r\n—", 1),
        changed("==\n", "\n"),
        "text\n\n— w.example AAAAAA==\n".into(),
        "text\n\n— w.example AAAAAB==\n".into(),
        "text\n\n— w.example AAA=AAAA\n".into(),
    ] {
        assert_eq!(Note::parse(bad.as_bytes()), Err(NoteError::Malformed), "{bad:?}");
    }
    assert_eq!(
        Note::parse(b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n"),
        Err(NoteError::Malformed)
    );
    // The last empty line separates; others are text.
    let spaced = Note::parse("a\n\n\nb\n\n— w.example AAAAAAA=\n".as_bytes()).unwrap();
    assert_eq!(spaced.text(), "a\n\n\nb\n");
}

#[test]
fn notes_have_limits_and_take_at_least_sixteen_large_signatures() {
    let line = |n: usize, bytes: usize| {
        let bytes = data_encoding::BASE64.encode(&vec![7; bytes]);
        format!("— w{n}.example {bytes}\n")
    };
    let many = |count, bytes| {
        let lines: String = (0..count).map(|n| line(n, bytes)).collect();
        Note::parse(format!("text\n\n{lines}").as_bytes())
    };
    let large = many(16, 5_000).unwrap();
    assert_eq!(large.signatures().len(), 16);
    assert!(many(NOTE_SIGNATURES_MAX, 68).is_ok());
    assert_eq!(many(NOTE_SIGNATURES_MAX + 1, 68), Err(NoteError::TooLarge));
    assert_eq!(many(1, 9_000), Err(NoteError::TooLarge));
    assert_eq!(many(40, 5_000), Err(NoteError::TooLarge));
    let mut full = many(NOTE_SIGNATURES_MAX, 68).unwrap();
    let one_more = signed(&[]).signatures()[0].clone();
    assert_eq!(full.add(one_more), Err(NoteError::TooLarge));
    assert_eq!(full.signatures().len(), NOTE_SIGNATURES_MAX);
    let long = "n".repeat(KEY_NAME_BYTES_MAX + 1);
    assert_eq!(long.parse::<KeyName>(), Err(NoteError::TooLarge));
    assert!(long[1..].parse::<KeyName>().is_ok());
    assert_eq!("".parse::<KeyName>(), Err(NoteError::Malformed));
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let root = EMPTY_ROOT;
    let good = format!("o\n0\n{root}\n");
    assert_eq!(good.parse::<Checkpoint>().unwrap().to_string(), good);
    for (bad, error) in [
        (String::new(), NoteError::Malformed),
        (format!("o\n0\n{root}"), NoteError::Malformed),
        ("o\n0\n".into(), NoteError::Malformed),
        (format!("\n0\n{root}\n"), NoteError::Malformed),
        (format!("o\n\n{root}\n"), NoteError::Malformed),
        (format!("o\n00\n{root}\n"), NoteError::Malformed),
        (format!("o\n01\n{root}\n"), NoteError::Malformed),
        (format!("o\n+1\n{root}\n"), NoteError::Malformed),
        (format!("o\n-1\n{root}\n"), NoteError::Malformed),
        (format!("o\n 1\n{root}\n"), NoteError::Malformed),
        (format!("o\n18446744073709551616\n{root}\n"), NoteError::Malformed),
        (format!("o\n{}\n{root}\n", LEAVES_MAX + 1), NoteError::TooLarge),
        (format!("o\n0\n{root}\n\n"), NoteError::Malformed),
        (format!("o\n0\n{root}\na\n\nb\n"), NoteError::Malformed),
        (format!("o\r\n0\n{root}\n"), NoteError::Malformed),
        (
            format!("o\n0\n{}\n", &root.to_string()[4..]),
            NoteError::Malformed,
        ),
        (format!("{}\n0\n{root}\n", "o".repeat(256)), NoteError::TooLarge),
        (format!("{good}{}", "e\n".repeat(17)), NoteError::TooLarge),
        (format!("{good}{}\n", "e".repeat(1025)), NoteError::TooLarge),
    ] {
        assert_eq!(bad.parse::<Checkpoint>(), Err(error), "{bad:?}");
    }
    let extended = format!("{good}{}{}\n", "e\n".repeat(15), "e".repeat(1024));
    let read: Checkpoint = extended.parse().unwrap();
    assert_eq!((read.extensions().len(), read.to_string()), (16, extended));
    let head = TreeHead {
        size: LEAVES_MAX + 1,
        root,
    };
    assert_eq!(Checkpoint::new(&name("o"), head), Err(NoteError::TooLarge));
}

#[test]
fn what_is_no_vkey_is_refused() {
    let cosigner = witness(2).to_string();
    assert_eq!(cosigner.parse(), Ok(witness(2)));
    for bad in [
        "",
        "a+b",
        &VKEY[1..],
        &VKEY.replace("530d903a", "530D903A"),
        &VKEY.replace("530d903a", "530d903b"),
        &VKEY.replace("+Aek", "+Auk"),
        &VKEY[..VKEY.len() - 4],
        &format!("{VKEY} "),
        &VKEY.replace("+AekyeRrm", "+AQ==6Q==yeRrm"),
    ] {
        assert_eq!(bad.parse::<VerifierKey>(), Err(NoteError::Malformed), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_flipped_bit_of_a_note_is_refused_or_changes_nothing_known(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let note = signed(&[2, 3]);
        let mut bytes = note.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let known = [log_key(), witness(2), witness(3)];
        if let Ok(read) = Note::parse(&bytes) {
            prop_assert_eq!(read.to_string().into_bytes(), bytes.clone());
            // A name or key id that changed makes a signature unknown; whatever still counts is over the same text.
            match read.verify(&known) {
                Ok(verified) => {
                    prop_assert!(verified.len() < 3);
                    prop_assert_eq!(read.text(), note.text());
                }
                Err(error) => prop_assert!(matches!(error, NoteError::Forged | NoteError::Unsigned)),
            }
        }
    }

    #[test]
    fn what_is_read_is_written_the_same(text in "[ -~\n—é]{0,60}", lines in "(— [a-z.]{1,9} [A-Za-z0-9+/]{8}\n){0,3}") {
        let bytes = format!("{text}\n{lines}");
        if let Ok(note) = Note::parse(bytes.as_bytes()) {
            prop_assert_eq!(note.to_string(), bytes);
        }
        if let Ok(checkpoint) = text.parse::<Checkpoint>() {
            prop_assert_eq!(checkpoint.to_string(), text);
        }
    }

    #[test]
    fn checkpoints_are_read_as_written(origin in "[a-z./0-9—é]{1,40}", size in 0..=LEAVES_MAX, root in any::<[u8; 32]>(), lines in prop::collection::vec("[ -~]{1,20}", 0..5)) {
        let text = format!("{origin}\n{size}\n{}\n{}", Hash(root), lines.iter().map(|l| format!("{l}\n")).collect::<String>());
        let read: Checkpoint = text.parse().unwrap();
        prop_assert_eq!(read.head(), &TreeHead { size, root: Hash(root) });
        prop_assert_eq!(read.extensions(), &lines[..]);
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn any_text_is_refused_or_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert_eq!(note.to_string().into_bytes(), bytes.clone());
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(key) = text.parse::<VerifierKey>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}
