//! Decimal digits of every script, as the screen compares them. Only `screen` calls it.
//! Never add what only looks like a digit: numerals without a place value (Ethiopic, Chinese, circled) make no number of a register.

/// The zero of each run of ten: all of general category Nd, Unicode 17.0 (`DerivedGeneralCategory.txt`, section Nd), ascending.
/// Unicode keeps every such run contiguous and in order, so the zeros say all.
const ZEROS: [u32; 77] = [
    // ASCII; Arabic-Indic and its extended form; N'Ko; Devanagari, Bengali, Gurmukhi, Gujarati, Oriya, Tamil, Telugu, Kannada,
    // Malayalam; Sinhala; Thai; Lao; Tibetan; Myanmar, Shan; Khmer; Mongolian.
    0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66,
    0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810,
    // Limbu; New Tai Lue; Tai Tham (two); Balinese; Sundanese; Lepcha; Ol Chiki; Vai; Saurashtra; Kayah Li; Javanese; Myanmar's Tai
    // Laing; Cham; Meetei Mayek; full-width.
    0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0,
    0xaa50, 0xabf0, 0xff10,
    // Osmanya; Hanifi Rohingya; Garay; Brahmi and the scripts after it up to Tolong Siki.
    0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650,
    0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50, 0x11d50, 0x11da0, 0x11de0,
    0x11f50, 0x16130, 0x16a60, 0x16ac0, 0x16b50, 0x16d70,
    // Outlined; mathematical (five); Nyiakeng Puachue Hmong; Wancho; Nag Mundari; Ol Onal; Adlam; seven-segment.
    0x1ccf0, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f1, 0x1e950,
    0x1fbf0,
];

/// The ASCII digit of the same value, for a decimal digit of any script.
pub(super) fn digit(c: char) -> Option<char> {
    if c < '\u{660}' {
        return c.is_ascii_digit().then_some(c);
    }
    let at = ZEROS.partition_point(|zero| *zero <= u32::from(c));
    let zero = ZEROS.get(at.checked_sub(1)?)?;
    char::from_digit(u32::from(c).checked_sub(*zero)?, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zeros_rise_and_ten_digits_follow_each() {
        assert!(ZEROS.windows(2).all(|pair| pair[0] + 10 <= pair[1]));
        for (zero, value) in ZEROS
            .iter()
            .flat_map(|zero| (0..10).map(move |value| (*zero, value)))
        {
            let c = char::from_u32(zero + value).unwrap();
            assert!(c.is_numeric(), "{:x}", zero + value);
            assert_eq!(digit(c), char::from_digit(value, 10), "{c}");
        }
    }

    /// A run of ten numerals that Unicode counts as digits but that is not here is a hole.
    #[test]
    fn what_else_is_numeric_has_no_decimal_value() {
        let others = (0..=u32::from(char::MAX)).filter_map(char::from_u32);
        let others: Vec<char> = others.filter(|c| c.is_numeric() && digit(*c).is_none()).collect();
        // U+2070 to 2079: superscripts; 2080: subscripts; 1369: Ethiopic; 3007: the Chinese circle. None is Nd.
        for known in ['²', '½', '⁰', '₀', '፩', '〇', '①'] {
            assert!(others.contains(&known), "{known}");
        }
        // A zero that is missing from the table makes ten more of them.
        assert_eq!(others.len(), 1154);
        assert_eq!(
            char::UNICODE_VERSION,
            (17, 0, 0),
            "a newer Unicode: look whether its Nd has grown, then raise this"
        );
    }
}
