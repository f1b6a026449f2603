//! The secret in three shares, any two of which give it back (Shamir, over GF(256), a line through the secret), printed in twenty groups
//! of four letters. Called when a sheet is made and when shares are typed.
//! Never says what a share holds, and never takes a wrong letter for a right one in silence.
//!
//! ```text
//! share i of a byte s:  s + i·r, with one random byte r      i = 1, 2, 3
//! 300 bits:  number of the share 2 | form 2, zero | id of the sheet 40 | share 256   in 60 letters of 5 bits (Crockford)
//! group g (0 to 19):  three letters d0 d1 d2 and the check letter  g + 2·d0 + 4·d1 + 8·d2  over GF(32)
//! ```
//! Each letter of a group, the check letter too, has a factor of its own, none of them zero; so in each group every single wrong letter
//! and every swap of two letters is found, and groups that change places are found by g. Two shares are held against the id besides.

use std::fmt;
use zeroize::Zeroizing;

use super::sheet::{RecoverySecret, SheetError, SheetId};
use crate::human_code::{SYMBOLS, is_separator, symbol_value};
use crate::problem::Problem;

/// How many shares a sheet has.
pub const SHARE_COUNT: usize = 3;
/// How many groups of four letters a share has.
pub const SHARE_GROUPS: usize = 20;
const GROUP_LETTERS: usize = 4;
const LETTERS: usize = SHARE_GROUPS * GROUP_LETTERS;
/// Letters that carry bits.
const CARRIERS: usize = SHARE_GROUPS * (GROUP_LETTERS - 1);
/// The longest text that is looked at: a share with a space after every letter, and a margin.
const TEXT_BYTES_MAX: usize = 512;

/// Why shares were not taken; carries no part of them. Groups are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Letters are missing or too many.
    #[error(
        "a share has 20 groups of four letters, and this one has {0} letters: compare it with the paper, group by group"
    )]
    Length(usize),
    /// A group is not as it was printed.
    #[error("group {0} of this share is mistyped: compare it with the paper")]
    Group(usize),
    /// All groups are well, but this program does not know such a share.
    #[error("this share was printed by a later version of this program: use that one")]
    Newer,
    /// One share was given twice.
    #[error("this is the same share twice: two different ones of the three are needed")]
    Same,
    /// The two shares were cut from two sheets.
    #[error("these shares are of two different sheets ({0} and {1}): both must be of one")]
    OtherSheet(SheetId, SheetId),
    /// Each reads well, but together they do not give the secret of their sheet.
    #[error("these two shares do not fit together: compare both with the paper, letter by letter")]
    DoNotFit,
    /// The cryptographic library failed: try again.
    #[error(transparent)]
    Sheet(#[from] SheetError),
}

impl ShareError {
    /// The problem code.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Sheet(error) => error.problem(),
            _ => Problem::Invalid,
        }
    }
}

/// One of the three. `Display` is what is printed: twenty groups. `Debug` says its number and sheet only.
#[derive(Clone, PartialEq, Eq)]
pub struct Share {
    number: u8,
    sheet: SheetId,
    bytes: Zeroizing<[u8; 32]>,
}

impl Share {
    /// Splits a secret; the randomness must be fresh, uniform and secret.
    pub fn split(secret: &RecoverySecret, randomness: &[u8; 32]) -> Result<[Self; SHARE_COUNT], SheetError> {
        let sheet = secret.sheet()?;
        Ok([1, 2, 3].map(|number| {
            let mut bytes = Zeroizing::new(*secret.bytes());
            for (byte, random) in bytes.iter_mut().zip(randomness) {
                *byte ^= multiply(number, *random);
            }
            Self { number, sheet, bytes }
        }))
    }

    /// Gives the secret back from two different shares of one sheet.
    pub fn combine(one: &Self, other: &Self) -> Result<RecoverySecret, ShareError> {
        if one.sheet != other.sheet {
            return Err(ShareError::OtherSheet(one.sheet, other.sheet));
        }
        if one.number == other.number {
            return Err(ShareError::Same);
        }
        // The line's value at 0: s = (j·a + i·b) / (i + j).
        let over = inverse(one.number ^ other.number);
        let (of_one, of_other) = (multiply(other.number, over), multiply(one.number, over));
        let mut bytes = [0; 32];
        for (byte, (a, b)) in bytes.iter_mut().zip(one.bytes.iter().zip(other.bytes.iter())) {
            *byte = multiply(of_one, *a) ^ multiply(of_other, *b);
        }
        let secret = RecoverySecret::from_bytes(bytes);
        if secret.sheet()? == one.sheet {
            Ok(secret)
        } else {
            Err(ShareError::DoNotFit)
        }
    }

    /// Its number, 1 to 3.
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// The sheet that it was cut from.
    pub const fn sheet(&self) -> SheetId {
        self.sheet
    }

    /// Reads a share as people type it: any case, spaces and hyphens anywhere or nowhere, O for 0, I or L for 1.
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let typed = text.get(..TEXT_BYTES_MAX).unwrap_or(text);
        let mut letters = Zeroizing::new(Vec::with_capacity(LETTERS));
        for c in typed.chars().filter(|c| !is_separator(*c)) {
            let group = letters.len() / GROUP_LETTERS + 1;
            letters.push(symbol_value(c).ok_or(ShareError::Group(group.min(SHARE_GROUPS)))?);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(ShareError::Length(letters.len()));
        }
        let (groups, rest) = letters.as_chunks::<GROUP_LETTERS>();
        // With a letter too few or too many the first group that does not fit is where to look.
        let wrong = groups
            .iter()
            .take(SHARE_GROUPS)
            .zip(0_u8..)
            .position(|(group, place)| !fits(group, place));
        if let Some(wrong) = wrong {
            return Err(ShareError::Group(wrong + 1));
        }
        if groups.len() != SHARE_GROUPS || !rest.is_empty() {
            return Err(ShareError::Length(letters.len()));
        }
        let carriers = groups.iter().flat_map(|[a, b, c, _]| [*a, *b, *c]);
        Self::unpack(carriers)
    }

    fn unpack(carriers: impl Iterator<Item = u8>) -> Result<Self, ShareError> {
        let mut bytes = Zeroizing::new([0_u8; 37]);
        let (mut held, mut bits, mut first) = (0_u32, 0, None);
        let mut places = bytes.iter_mut();
        for carrier in carriers {
            held = held << 5 | u32::from(carrier);
            bits += 5;
            if first.is_none() {
                bits -= 4;
                first = Some(held >> bits & 15);
            } else if bits >= 8 {
                bits -= 8;
                if let Some(place) = places.next() {
                    *place = (held >> bits & 0xff) as u8;
                }
            }
        }
        let (number, form) = match first {
            Some(first) => (first >> 2, first & 3),
            None => (0, 0),
        };
        let (sheet, share) = bytes.split_first_chunk::<5>().ok_or(ShareError::Newer)?;
        match (u8::try_from(number), form, <[u8; 32]>::try_from(share)) {
            (Ok(number @ 1..=3), 0, Ok(share)) => Ok(Self {
                number,
                sheet: SheetId(*sheet),
                bytes: Zeroizing::new(share),
            }),
            _ => Err(ShareError::Newer),
        }
    }

    /// The 60 letters that carry bits.
    fn pack(&self) -> Zeroizing<Vec<u8>> {
        let mut carriers = Zeroizing::new(Vec::with_capacity(CARRIERS));
        let (mut held, mut bits) = (u32::from(self.number) << 2, 4);
        for byte in self.sheet.0.iter().chain(self.bytes.iter()) {
            held = held << 8 | u32::from(*byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                carriers.push((held >> bits & 31) as u8);
            }
        }
        carriers
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carriers = self.pack();
        for (place, group) in (0_u8..).zip(carriers.as_chunks::<3>().0) {
            if place > 0 {
                f.write_str(" ")?;
            }
            for letter in group.iter().copied().chain([check(group, place)]) {
                write!(f, "{}", char::from(SYMBOLS[usize::from(letter & 31)]))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} of {})", self.number, self.sheet)
    }
}

fn fits(group: &[u8; GROUP_LETTERS], place: u8) -> bool {
    let [a, b, c, stated] = *group;
    check(&[a, b, c], place) == stated
}

/// The check letter of a group.
fn check(group: &[u8; 3], place: u8) -> u8 {
    let [a, b, c] = *group;
    let a = double(a);
    let b = double(double(b));
    let c = double(double(double(c)));
    place ^ a ^ b ^ c
}

/// Twice an element of GF(32), by x^5 + x^2 + 1.
const fn double(value: u8) -> u8 {
    (value << 1 ^ if value & 16 == 0 { 0 } else { 0b10_0101 }) & 31
}

/// The product in GF(256), by x^8 + x^4 + x^3 + x + 1, in the same steps whatever the factors are.
fn multiply(a: u8, b: u8) -> u8 {
    let (mut product, mut a) = (0, a);
    for bit in 0..8 {
        product ^= a & 0_u8.wrapping_sub(b >> bit & 1);
        a = a << 1 ^ 0x1b & 0_u8.wrapping_sub(a >> 7);
    }
    product
}

/// One over an element that is not 0: its 254th power.
fn inverse(value: u8) -> u8 {
    (0..253).fold(value, |power, _| multiply(power, value))
}

#[cfg(test)]
impl Share {
    pub(super) fn bytes_for_tests(&self) -> [u8; 32] {
        *self.bytes
    }

    pub(super) fn spoil_for_tests(&mut self) {
        self.bytes[31] ^= 1;
    }
}

#[cfg(test)]
pub(super) fn product_for_tests(value: u8) -> u8 {
    multiply(value, inverse(value))
}
