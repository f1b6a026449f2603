//! A table of what is refused and what passes, in several scripts; nothing panics.

use super::*;
use proptest::prelude::*;

const REFUSED: [(FoundKind, &str); 6] = [
    (
        FoundKind::HomeOffice,
        "A1234567 | his ref is a1234567/2 today | A-12-34-567 | A 1234567 | A.123.4567 | A 1 2 3 4 5 6 7 | \
         A١٢٣٤٥٦٧ | A۱۲۳۴۵۶۷ | Ａ１２３４５６７ | HO ref 12345678 | Home Office number: 1234567/1 | A\u{200b}1234567 | T 123 4567",
    ),
    (
        FoundKind::Application,
        "1234-5678-9012-3456 | 1234 5678 9012 3456 | UAN: 1234567890123456 | GWF012345678 | gwf 012 345 678 | \
         GWF-012345678 | ١٢٣٤-٥٦٧٨-٩٠١٢-٣٤٥٦ | IHS123456789 | 1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6 | 0770 0900 1234 5678",
    ),
    (
        FoundKind::ResidencePermit,
        "RA1234567 | zu1234567 | ZUX123456 | card RA 123 4567 | ru-123-4567 | BRP number 12X45678 | his BRP is RAA123456",
    ),
    (
        FoundKind::Visa,
        "visa 012345678 | visa number: 12345678 | vignette no 123 456 789 | 87654321 is her visa | віза 12345678 | \
         Visa 001234567890 | visa 123456789012 | 12345678901234 is her visa number | visa 1234 567 89012 | \
         تأشيرة رقم ١٢٣٤٥٦٧٨",
    ),
    (
        FoundKind::Passport,
        "passport 123456789 | passport no. 123 456 789 | Passport: FU123456 | passport123456789 | eritrean passport k0123456x | \
         passport C01X00T47 | 123456789 (passport) | паспорт FB123456 | جواز سفر رقم ۱۲۳۴۵۶۷۸۹ | passport P-1234-5678-9",
    ),
    (
        FoundKind::ShareCode,
        "share code W7X 9YZ 2AB | share code: w7x9yz2ab | W7X-9YZ-2AB is my share code | Share code is WLE JFZ 6FT | sharecode W 7 X 9 Y Z 2 A B",
    ),
];

const PASSED: &str = "NHS 943 476 5919 | 9434765919 | visa help, NHS 943 476 5919 | 943-476-5919 | 07700 900123 | 07700900123 | \
    +44 20 7946 0958 | +44 (0)20 7946 0958 | 0044 20 7946 0958 | (020) 7946 0958 | passport office 0300 222 0000 | \
    visa office 0012025550123 | visa query, call 447700900123 | visa 00447700900123 | passport help 002917123456 | \
    passport query: +44 20 7946 0958 | Room B12 07700 900123 | E16 07700 900123 | 07700 900123 07700 900456 | K7M2-9QXD-44 | \
    visa worry, see K7M2-9QXD-44 | k7m29qxd44 | passport talk K7M2 9QXD 44 | SW1A 1AA | LA1 4YW | lives at E16 2AB, visa | 12/03/2027 | \
    passport expires 12/03/2027 | visa ends 2027-03-12 | born 14.05.1990 | on a 1/12/2024 | Class B 1/12/2024 | 10:30 to 12:30 | \
    Class B 9.30-11.30 | B1 10-12 1-3 | Class A 10.30 | £1,523.00 | visa fee £1523.00 | costs £12345.67 for a visa | 221b Baker Street | \
    Flat 4, 1200 High Road | bus B1, 20, 40 and 60 | bus X1 then 555 | QQ123456C | visa and NI QQ 12 34 56 C | QQ 12 34 56 A | \
    share code for the 2nd | she has a visa and a passport | visa in 2023 2024 2025 | visa 2024/2025 | no 1234567 | ESOL Entry 3, room 204 | \
    Monday 9-11, Tuesday 13.00 | لديها موعد ١٢/٠٣/٢٠٢٧ | تلفن ۰۷۷۰۰ ۹۰۰۱۲۳ | covid19 jab and visa | 3 children aged 4, 7 and 11";

#[test]
fn immigration_numbers_are_refused() {
    for (kind, text) in REFUSED
        .iter()
        .flat_map(|(kind, all)| all.split(" | ").map(move |t| (*kind, t)))
    {
        assert_eq!(screen(text).map_err(|f| f.kind), Err(kind), "{text}");
        let around = format!("سلام, she said: {text}. Please call her.");
        assert_eq!(screen(&around).map_err(|f| f.kind), Err(kind), "{around}");
    }
}

#[test]
fn everyday_numbers_pass() {
    for text in PASSED.split(" | ") {
        assert_eq!(screen(text), Ok(()), "{text}");
        let around = format!("Hello, she said: {text}. Please call her.");
        assert_eq!(screen(&around), Ok(()), "{around}");
    }
}

#[test]
fn digits_of_any_script_are_digits() {
    for zero in "٠۰߀०০੦૦௦๐໐༠၀᱀០᠐０𐴰𞥐𝟎𝟘🯰".chars().map(u32::from) {
        let digit = |d: u32| char::from_u32(zero + d).unwrap();
        let written = |text: &str| {
            text.chars()
                .map(|c| c.to_digit(10).map_or(c, digit))
                .collect::<String>()
        };
        for (kind, text) in [
            (FoundKind::HomeOffice, "A1234567"),
            (FoundKind::ResidencePermit, "RA 123 4567"),
            (FoundKind::Application, "1234-5678-9012-3456"),
            (FoundKind::Passport, "passport 123 456 789"),
        ] {
            let text = written(text);
            assert_eq!(screen(&text).map_err(|f| f.kind), Err(kind), "{text}");
        }
        assert_eq!(screen(&written("12/03/2027, 07700 900123")), Ok(()));
    }
}

#[test]
fn a_finding_says_where_and_nothing_else() {
    let text = "رقم A1234567/2 ok";
    let found = screen(text).unwrap_err();
    assert_eq!(&text[found.start..found.end], "A1234567/2");
    assert!(!format!("{found:?} {found} {}", found.explain()).contains("A1234567"));
}

proptest! {
    #[test]
    fn any_text_is_screened_without_panic(text in "(?s).{0,80}|[AZ٣3 ./+(£０visa-]{0,60}") {
        if let Err(found) = screen(&text) {
            prop_assert!(found.start < found.end);
            prop_assert!(text.get(found.start..found.end).is_some());
        }
    }
}
