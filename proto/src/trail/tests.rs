//! Codes, preimages, leaves and keys, held against values worked out apart.

use super::event::Told;
use super::{Code, Event, Leaf, key};
use crate::id::{OrgId, ThreadId};
use crate::sign::sha256;

fn sent() -> Event {
    let org: OrgId = "riverside-gp".parse().unwrap();
    Event::new(Code::EnvelopeSent, 1_700_000_000_123)
        .id("thread", &[0xab; 16])
        .id("slip", &[0x01; 16])
        .org("to", &org)
        .word("purpose", "care")
        .word("category", "need")
        .word("category", "contact")
}

#[test]
fn every_word_is_read_as_its_code_and_fits_an_entry() {
    for code in Code::ALL {
        assert_eq!(code.as_str().parse(), Ok(*code));
        let plain = code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain && code.as_str().len() <= 40, "{code}");
    }
    assert!("opened_twice".parse::<Code>().is_err());
}

#[test]
fn a_preimage_is_lines_and_reads_back() {
    let event = sent();
    assert_eq!(
        event.preimage(),
        "code=envelope_sent\nat_ms=1700000000123\nthread=abababababababababababababababab\n\
         slip=01010101010101010101010101010101\nto=riverside-gp\npurpose=care\ncategory=need\ncategory=contact"
    );
    let told = Told::read(event.preimage()).unwrap();
    assert_eq!((told.code, told.at_ms), (event.code(), event.at_ms()));
    assert_eq!(told.id("thread"), Some([0xab; 16]));
    assert_eq!(told.all("category").collect::<Vec<_>>(), ["need", "contact"]);
    assert_eq!(told.get("role"), None);
    assert_eq!(told.id("to"), None);
}

#[test]
fn what_no_event_writes_is_not_read() {
    for wrong in [
        "",
        "code=opened",
        "at_ms=1\ncode=opened",
        "code=unknown\nat_ms=1",
        "code=opened\nat_ms=01",
        "code=opened\nat_ms=+1",
        "code=opened\nat_ms=1\n",
        "code=opened\nat_ms=1\nname",
        "code=opened\nat_ms=1\n=value",
        "code=opened\nat_ms=1\nname=two words",
        "code=opened\nat_ms=1\nNAME=x",
        "code=opened\nat_ms=1\nname=\u{e9}",
    ] {
        assert!(Told::read(wrong).is_err(), "{wrong:?}");
    }
    let long = format!("code=opened\nat_ms=1\nname={}", "x".repeat(40_000));
    assert!(Told::read(&long).is_err());
}

#[test]
fn an_entry_hides_all_but_the_code_and_opens_with_salt_and_preimage() {
    let event = sent();
    let leaf = Leaf::new(event.code(), &[7; 16], event.preimage());
    let by_hand = sha256(&[b"kith/v1/leaf", &[7; 16], event.preimage().as_bytes()]);
    assert_eq!(leaf.commitment, by_hand);
    let entry = leaf.to_string();
    assert!(entry.starts_with("envelope_sent ") && entry.len() == "envelope_sent ".len() + 44);
    assert_eq!(entry.parse(), Ok(leaf));
    let (opened, told) = Leaf::opened(&[7; 16], event.preimage()).unwrap();
    assert_eq!((opened.hash(), told.code), (leaf.hash(), Code::EnvelopeSent));
    assert_ne!(Leaf::opened(&[8; 16], event.preimage()).unwrap().0, leaf);
    for wrong in [
        "envelope_sent",
        "envelope_sent  AA==",
        "other AA==",
        "opened AA==",
    ] {
        assert!(wrong.parse::<Leaf>().is_err(), "{wrong}");
    }
}

#[test]
fn an_event_is_found_by_its_narrowest_subject_its_code_organisations_and_words() {
    let event = sent();
    let told = Told::read(event.preimage()).unwrap();
    let thread = ThreadId::from_bytes([0xab; 16]);
    let hex = data_encoding::HEXLOWER.encode(thread.as_bytes());
    let mut expected = vec![
        key::key("code", "envelope_sent"),
        key::day(1_700_000_000_123),
        key::key("thread", &hex),
        key::key("organisation", "riverside-gp"),
        key::key("purpose", "care"),
        key::key("category", "need"),
        key::key("category", "contact"),
    ];
    expected.sort_unstable();
    assert_eq!(key::keys(&told), expected);
}
