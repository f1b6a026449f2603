//! The screen: what changes nothing for a reader changes nothing for it: digits of another script, invisible characters,
//! and lines around the text that have neither a digit nor a word that it knows.

use kith_proto::screen::{Found, screen};
use std::fmt::Write as _;

/// Zeros of scripts that the members of a network may write in, and some that nobody does.
const ZEROS: [char; 12] = ['٠', '۰', '߀', '०', '০', '๐', '༠', '၀', '០', '０', '𝟎', '𞥐'];

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "A1234567",
        "his ref is a1234567/2 today",
        "A ١ ٢ ٣ ٤ ٥ ٦ ٧",
        "Home Office number: 1234567/1",
        "1234-5678-9012-3456",
        "GWF 012 345 678",
        "RA 123 4567",
        "ZUX123456",
        "visa no 123 456 789",
        "віза 12345678",
        "87654321 is her visa",
        "passport no. 123 456 789",
        "passport C01X00T47",
        "share code W7X 9YZ 2AB",
        "share code: w7x9yz2ab",
        "NHS 943 476 5919",
        "+44 (0)20 7946 0958",
        "K7M2-9QXD-44",
        "£1,523.00",
        "10.30 to 12.30",
        "passport expires 12/03/2027",
        "QQ 12 34 56 C",
        "تأشيرة رقم ١٢٣٤٥٦٧٨",
        "visa \u{200b}1234\u{ad}5678",
        "Flat 4, 1200 High Road",
        "she has a visa and a passport",
        "ZERO ０770 0900 1234 5678",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let found = screen(&text);
    if let Err(Found { start, end, .. }) = found {
        let place = text.get(start..end).expect("a range of the text");
        assert!(!place.is_empty() && place.chars().any(char::is_numeric));
    }
    let kind = |text: &str| screen(text).err().map(|found| found.kind);
    let kind_here = found.err().map(|found| found.kind);
    if !text.chars().any(char::is_numeric) {
        assert_eq!(found, Ok(()), "no digit, no number");
    }
    let zero = ZEROS[data.len() % ZEROS.len()];
    let written = |c: char| match c.to_digit(10) {
        Some(digit) => char::from_u32(u32::from(zero) + digit).expect("a digit"),
        None => c,
    };
    let other: String = text.chars().map(written).collect();
    assert_eq!(kind(&other), kind_here, "{text:?} in another script, {other:?}");
    let mut hidden = String::new();
    for c in text.chars() {
        write!(hidden, "{c}\u{200b}").expect("a string takes everything");
    }
    assert_eq!(kind(&hidden), kind_here, "{text:?} with invisible characters");
    let around = format!("we met her.\n\n{text}\n\nwe like tea and will call again soon.");
    assert_eq!(kind(&around), kind_here, "{text:?} among other lines");
}
