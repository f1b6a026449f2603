//! Which characters no text of a network has: those that cannot be seen and change what a reader sees around them.
//! Names of members and services are parsed with it, and every free text at each edge, by its sender and by its recipient.
//! Never refuse a letter or a mark of a living script: joiners and the plain direction marks stand in honest names.

/// Whether a character may stand in a name, which has one line. Refused are control characters (C0, C1 and delete: a
/// terminal obeys them) and what turns the direction of a whole run of text (U+202A–U+202E, U+2066–U+2069: one
/// organisation could show another's name with them), and what breaks a line (U+2028, U+2029). The marks U+200E, U+200F and U+061C and the joiners U+200C and
/// U+200D act on their neighbours alone and may stay.
pub fn is_of_a_name(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character may stand in a text of several lines: as in a name, and line ends and tabs too.
pub fn is_of_a_text(c: char) -> bool {
    is_of_a_name(c) || matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}')
}

/// The text without a pair of turning characters around the whole of it: telephones and chat programs put a copied number or name
/// between such a pair, where it turns nothing.
pub fn without_wrapping(text: &str) -> &str {
    let begun = text.strip_prefix(|c| matches!(c, '\u{202a}' | '\u{202b}' | '\u{2066}'..='\u{2068}'));
    let whole = begun.and_then(|rest| rest.strip_suffix(['\u{202c}', '\u{2069}']));
    whole.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_and_turns_text_is_refused() {
        let refused = (0..0x20)
            .chain(0x7f..0xa0)
            .chain(0x2028..0x202f)
            .chain(0x2066..0x206a);
        for c in refused.filter_map(char::from_u32) {
            assert!(!is_of_a_name(c), "{}", c.escape_unicode());
            let line = "\n\r\t\u{2028}\u{2029}".contains(c);
            assert_eq!(is_of_a_text(c), line, "{}", c.escape_unicode());
        }
        for c in "\u{200e}\u{200f}\u{61c}\u{200c}\u{200d}\u{a0}\u{2065}\u{206a}".chars() {
            assert!(is_of_a_name(c) && is_of_a_text(c), "{}", c.escape_unicode());
        }
        for name in [
            "ሰላም ተስፋይ",
            "أمل الحسن",
            "می\u{200c}خواهم",
            "Оксана",
            "O'Brien-Ní Dhomhnaill",
            "क्\u{200d}ष",
        ] {
            assert!(name.chars().all(is_of_a_name), "{name}");
        }
    }

    #[test]
    fn what_was_copied_loses_its_wrapping_and_nothing_else() {
        for (text, expected) in [
            ("\u{202a}01524 555 010\u{202c}", "01524 555 010"),
            ("\u{2068}Selam\u{2069}", "Selam"),
            ("\u{202e}Selam\u{202c}", "\u{202e}Selam\u{202c}"),
            ("\u{202a}Selam", "\u{202a}Selam"),
            ("Selam", "Selam"),
            ("", ""),
        ] {
            assert_eq!(without_wrapping(text), expected);
        }
    }

    proptest::proptest! {
        /// Held against the ranges as the standard names them: the general categories Cc, Zl and Zp and the class of explicit directions.
        #[test]
        fn every_character_is_judged_by_its_class(c in proptest::char::any()) {
            let number = u32::from(c);
            let control = number < 0x20 || (0x7f..0xa0).contains(&number);
            let turning = (0x2028..=0x202e).contains(&number) || (0x2066..=0x2069).contains(&number);
            proptest::prop_assert_eq!(is_of_a_name(c), !control && !turning);
        }
    }
}
