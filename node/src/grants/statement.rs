//! The consent texts that this program carries, by version and language.
//! Called by grants, and by the edge that shows a text.
//! Never a machine's translation: a language without a text is read out from the English one by an interpreter.

use kith_proto::sign::sha256;
use kith_proto::v1;

/// The newest statement.
pub const STATEMENT: &str = "consent-v1";
struct Text {
    statement_id: &'static str,
    language: &'static str,
    text: &'static str,
}

const TEXTS: &[Text] = &[Text {
    statement_id: STATEMENT,
    language: "en",
    text: include_str!("../../statements/consent-v1.en.txt"),
}];

/// The text of a statement in a language, or in English where there is none in that language, without its review; `None`
/// for an unknown statement. An empty id means the newest, an empty language English.
pub fn text(statement_id: &str, language: &str) -> Option<v1::Statement> {
    let wanted = if statement_id.is_empty() {
        STATEMENT
    } else {
        statement_id
    };
    let of_language = |language: &str| {
        TEXTS
            .iter()
            .find(|t| t.statement_id == wanted && t.language == language)
    };
    let found = of_language(&primary(language).to_lowercase()).or_else(|| of_language("en"))?;
    Some(v1::Statement {
        statement_id: found.statement_id.to_owned(),
        language: found.language.to_owned(),
        text: found.text.to_owned(),
        text_hash: sha256(&[found.text.as_bytes()]).to_vec(),
        ..v1::Statement::default()
    })
}

/// Whether a capture names a text that this program carries, in the language and with the hash that it has.
pub(super) fn is_known(capture: &v1::Capture) -> bool {
    let exact = TEXTS
        .iter()
        .find(|t| t.statement_id == capture.statement_id && t.language == capture.statement_language);
    exact.is_some_and(|t| sha256(&[t.text.as_bytes()]).as_slice() == capture.text_hash)
}

/// Whether a text of one language is a text for whoever asked for the other: script and region make no difference.
pub fn is_in_language(text_language: &str, asked: &str) -> bool {
    primary(text_language).eq_ignore_ascii_case(primary(asked))
}

/// The language of a tag, without script and region.
pub(super) fn primary(tag: &str) -> &str {
    tag.split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    /// A text that people agreed to must never change under its id: whoever changes it makes a new version.
    #[test]
    fn the_text_is_the_one_that_people_agreed_to() {
        let english = text("", "").unwrap();
        assert_eq!(
            HEXLOWER.encode(&english.text_hash),
            "21d4f8905255b6d420e56a8d6c252b8fad6deacb971f5e40ecc5fb7ac0cfb709"
        );
        assert_eq!(text(STATEMENT, "ti").unwrap(), english);
        assert_eq!(text(STATEMENT, "en-GB").unwrap(), english);
        assert!(is_in_language("en", "EN-gb") && !is_in_language("en", "ti") && !is_in_language("en", "enq"));
        assert_eq!(text("consent-v0", "en"), None);
    }

    #[test]
    fn the_text_says_what_must_be_said() {
        let said_here = text("", "").unwrap().text;
        for said in [
            "immigration",
            "stop at any time",
            "say no",
            "Until when",
            "With whom",
            "What:",
            "Why:",
        ] {
            assert!(said_here.contains(said), "{said}");
        }
    }
}
