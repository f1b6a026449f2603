//! The code people read out for a referral, `K7M2-9QXD-44`: 40 bits of the thread id and two check digits.
//! Both nodes of a thread compute it for screens, paper and telephone; a node's search parses it.
//! Never send or log it: it is known inside the two nodes only, and is no key that proves anything.
//!
//! Check: the eight symbols are a number `v` in base 32; the digits are `(v + 66) mod 97`, 00 to 96. As 97 is prime
//! and larger than any symbol, one wrong symbol changes `v` by `d * 32^k`, and swapping two neighbours by
//! `31 * d * 32^k`, neither divisible by 97; at the border to the digits a swap shifts the balance by `11 * d`.
//! So every single substitution and every swap of neighbours is found. 66 makes the all-zero code wrong.

use crate::id::ThreadId;
use std::fmt;

/// Crockford's base 32: no I, L, O or U.
pub(crate) const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Symbols that carry the 40 bits.
const SYMBOL_COUNT: usize = 8;
/// Symbols and check digits together.
const TOTAL_COUNT: usize = SYMBOL_COUNT + 2;
const CHECK_MODULUS: u64 = 97;
const CHECK_OFFSET: u64 = 66;

/// Why a typed code was not taken; carries no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HumanCodeError {
    /// Not ten symbols: ask for the whole code.
    #[error("a code has eight letters or digits and then two digits")]
    WrongLength,
    /// A symbol that no code has (`U`, a sign), or a letter among the two check digits.
    #[error("a character that is in no code")]
    UnknownSymbol,
    /// Mistyped or misheard: ask again.
    #[error("the check digits do not fit: a character is wrong or two are swapped")]
    CheckFailed,
}

/// A referral's code: the first 40 bits of its thread id. `Display` writes `XXXX-XXXX-NN`; `Debug` nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanCode([u8; 5]);

impl HumanCode {
    /// The code of a thread.
    pub const fn of(thread: &ThreadId) -> Self {
        let [a, b, c, d, e, ..] = *thread.as_bytes();
        Self([a, b, c, d, e])
    }

    /// The first five bytes of the thread ids that have this code: what a search compares.
    pub const fn thread_prefix(self) -> [u8; 5] {
        self.0
    }

    /// Reads a code as people type it: any case, spaces and hyphens anywhere or nowhere, O for 0, I or L for 1.
    ///
    /// # Errors
    /// The first of `UnknownSymbol`, `WrongLength`, `CheckFailed` that applies.
    pub fn parse(text: &str) -> Result<Self, HumanCodeError> {
        let mut values = [0_u8; TOTAL_COUNT];
        let mut count = 0;
        for c in text.chars().filter(|c| !is_separator(*c)) {
            let value = symbol_value(c).ok_or(HumanCodeError::UnknownSymbol)?;
            let place = values.get_mut(count).ok_or(HumanCodeError::WrongLength)?;
            *place = value;
            count += 1;
        }
        if count != TOTAL_COUNT {
            return Err(HumanCodeError::WrongLength);
        }
        let (symbols, digits) = values.split_at(SYMBOL_COUNT);
        if digits.iter().any(|d| *d > 9) {
            return Err(HumanCodeError::UnknownSymbol);
        }
        let number = symbols.iter().fold(0_u64, |n, s| n * 32 + u64::from(*s));
        let stated = digits.iter().fold(0_u64, |n, d| n * 10 + u64::from(*d));
        if check(number) != stated {
            return Err(HumanCodeError::CheckFailed);
        }
        let [_, _, _, a, b, c, d, e] = number.to_be_bytes();
        Ok(Self([a, b, c, d, e]))
    }

    fn number(self) -> u64 {
        self.0.iter().fold(0, |n, b| n << 8 | u64::from(*b))
    }
}

impl fmt::Display for HumanCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number();
        for place in 0..SYMBOL_COUNT {
            let shift = 5 * (SYMBOL_COUNT - 1 - place);
            let symbol = char::from(SYMBOLS[(number >> shift) as usize & 31]);
            write!(f, "{}{symbol}", if place == 4 { "-" } else { "" })?;
        }
        write!(f, "-{:02}", check(number))
    }
}

impl fmt::Debug for HumanCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HumanCode(..)")
    }
}

impl std::str::FromStr for HumanCode {
    type Err = HumanCodeError;

    /// The same as [`HumanCode::parse`].
    fn from_str(text: &str) -> Result<Self, HumanCodeError> {
        Self::parse(text)
    }
}

const fn check(number: u64) -> u64 {
    (number + CHECK_OFFSET) % CHECK_MODULUS
}

/// Spaces, hyphens and what word processors make of them.
pub(crate) fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// The value of a symbol as people type it; none when no code has it.
pub(crate) fn symbol_value(c: char) -> Option<u8> {
    let upper = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    SYMBOLS
        .iter()
        .position(|s| char::from(*s) == upper)
        .and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes spread over the whole range by a fixed stride.
    fn samples() -> impl Iterator<Item = HumanCode> {
        (0..400_u64).map(|i| {
            let bytes = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            HumanCode([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]])
        })
    }

    fn compact(code: HumanCode) -> Vec<char> {
        code.to_string().chars().filter(|c| *c != '-').collect()
    }

    fn parse(symbols: &[char]) -> Result<HumanCode, HumanCodeError> {
        HumanCode::parse(&symbols.iter().collect::<String>())
    }

    #[test]
    fn the_example_of_the_design() {
        let code = HumanCode::parse("K7M2-9QXD-44").unwrap();
        assert_eq!(code.thread_prefix(), [0x99, 0xe8, 0x24, 0xdf, 0xad]);
        let mut id = [0; 16];
        id[..5].copy_from_slice(&code.thread_prefix());
        assert_eq!(
            HumanCode::of(&ThreadId::from_bytes(id)).to_string(),
            "K7M2-9QXD-44"
        );
        assert_eq!(format!("{code:?}"), "HumanCode(..)");
    }

    #[test]
    fn parse_forgives_how_people_type() {
        let code = HumanCode::parse("K7M2-9QXD-44");
        for text in [
            "k7m29qxd44",
            " k7m2 9qxd 44 ",
            "K7M29QXD-44",
            "K7M2\u{2011}9QXD\u{2013}44",
        ] {
            assert_eq!(HumanCode::parse(text), code, "{text}");
        }
        let ones = HumanCode([0x08, 0x42, 0x10, 0x84, 0x21]);
        let zeros = HumanCode([0; 5]);
        assert!(ones.to_string().starts_with("1111-1111-"));
        assert_eq!(
            HumanCode::parse(&ones.to_string().replacen("1111", "iIlL", 1)),
            Ok(ones)
        );
        assert_eq!(HumanCode::parse(&zeros.to_string().replace('0', "o")), Ok(zeros));
    }

    #[test]
    fn errors_say_which() {
        let table = [
            ("", HumanCodeError::WrongLength),
            ("K7M2-9QXD", HumanCodeError::WrongLength),
            ("K7M2-9QXD-444", HumanCodeError::WrongLength),
            ("U7M2-9QXD-44", HumanCodeError::UnknownSymbol),
            ("K7M2-9QXD-4A", HumanCodeError::UnknownSymbol),
            ("K7M2_9QXD_44", HumanCodeError::UnknownSymbol),
            ("K7M2-9QXD-45", HumanCodeError::CheckFailed),
            ("0000-0000-00", HumanCodeError::CheckFailed),
        ];
        for (text, why) in table {
            assert_eq!(HumanCode::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn every_code_round_trips() {
        for code in samples() {
            assert_eq!(HumanCode::parse(&code.to_string()), Ok(code));
        }
    }

    #[test]
    fn every_single_substitution_is_found() {
        for code in samples() {
            let good = compact(code);
            for place in 0..TOTAL_COUNT {
                for symbol in SYMBOLS
                    .iter()
                    .map(|s| char::from(*s))
                    .filter(|s| *s != good[place])
                {
                    let mut bad = good.clone();
                    bad[place] = symbol;
                    assert!(parse(&bad).is_err(), "{code}, place {place}, {symbol}");
                }
            }
        }
    }

    #[test]
    fn every_swap_of_neighbours_is_found() {
        for code in samples() {
            let good = compact(code);
            for place in 1..TOTAL_COUNT {
                let mut bad = good.clone();
                bad.swap(place - 1, place);
                assert!(bad == good || parse(&bad).is_err(), "{code}, place {place}");
            }
        }
    }

    // Random text is hardly ever a code; the stories above hold what is.
    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_stands_for_one_code(text in "(?s).{0,24}|[0-9A-Za-z -]{10,14}") {
            if let Ok(code) = HumanCode::parse(&text) {
                proptest::prop_assert_eq!(HumanCode::parse(&code.to_string()), Ok(code));
            }
        }
    }
}
