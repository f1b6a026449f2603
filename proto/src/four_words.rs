//! Four words that two organisations read to each other by telephone: the same ones say that each sees the keys that the other uses.
//! Called by the node's command line. Never a secret, and never a proof to anybody but the two who speak.
//!
//! ```text
//! hash   SHA-256("kith/v1/four-words" ‖ smaller key ‖ larger key)      (signing keys, 32 bytes each, in the order of their bytes)
//! words  the first 44 bits of it, 11 for each
//! ```
//!
//! Somebody who wanted to stand between the two would have to find keys with the same words: 2^44 attempts, for a registrar's
//! signature that everybody sees in the key log a day before it counts.
//!
//! The list is that of BIP-39 (English; MIT licence): 2,048 common words that differ in their first four letters.

use crate::sign::{PublicKey, sha256};

/// How many words the list has: 11 bits each.
const WORDS: usize = 2048;

const CONTEXT: &[u8] = b"kith/v1/four-words";
static LIST: &str = include_str!("four_words.txt");

/// The words for two signing keys, whoever of the two asks.
pub fn four_words(one: &PublicKey, other: &PublicKey) -> [&'static str; 4] {
    let (smaller, larger) = if one.0 <= other.0 {
        (one, other)
    } else {
        (other, one)
    };
    let hash = sha256(&[CONTEXT, &smaller.0, &larger.0]);
    let bits = hash
        .iter()
        .take(6)
        .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    [37, 26, 15, 4].map(|shift| word(bits >> shift))
}

/// The word of the last 11 bits.
fn word(bits: u64) -> &'static str {
    let place = usize::try_from(bits % WORDS as u64).unwrap_or_default();
    LIST.lines().nth(place).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_list_has_its_words_once_each_and_in_small_letters() {
        let words: BTreeSet<&str> = LIST.lines().collect();
        assert_eq!((words.len(), LIST.lines().count()), (WORDS, WORDS));
        let plain = |word: &&str| word.len() >= 3 && word.bytes().all(|b| b.is_ascii_lowercase());
        assert!(words.iter().all(plain));
        let beginnings: BTreeSet<&str> = words.iter().map(|word| &word[..word.len().min(4)]).collect();
        assert_eq!(beginnings.len(), WORDS, "four letters tell them apart");
    }

    #[test]
    fn both_sides_say_the_same_words_and_never_change_them() {
        let (one, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let words = four_words(&one, &other);
        assert_eq!(words, four_words(&other, &one));
        assert_eq!(words, ["later", "true", "nice", "lesson"]);
    }

    #[test]
    fn any_change_of_a_key_changes_the_words() {
        let (one, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let words = four_words(&one, &other);
        for byte in 0..32 {
            for bit in 0..8 {
                let mut turned = one;
                turned.0[byte] ^= 1 << bit;
                assert_ne!(four_words(&turned, &other), words);
                assert_ne!(four_words(&other, &turned), words);
            }
        }
    }
}
