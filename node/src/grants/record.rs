//! What a recipient is told of the consent: which text, in which language, on which day, interpreted by whom.
//! Called when a referral is prepared.
//! Never carries what the person said.

use kith_proto::v1;

use super::statement::primary;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The record of a capture, for the sealed body.
pub fn consent_record(capture: &v1::Capture, given_at_ms: i64) -> v1::ConsentRecord {
    let by = match capture.interpreter() {
        v1::Interpreter::Professional => Some("professional"),
        v1::Interpreter::Peer => Some("peer"),
        v1::Interpreter::None | v1::Interpreter::Unspecified => None,
    };
    let heard = primary(&capture.language);
    v1::ConsentRecord {
        statement_id: capture.statement_id.clone(),
        language: capture.statement_language.clone(),
        text_hash: capture.text_hash.clone(),
        agreed_on: iso_day(given_at_ms),
        interpreted_into: by.map(|by| format!("{heard} by {by}")).unwrap_or_default(),
    }
}

/// The day (UTC) of a time, as ISO 8601 writes it; by Howard Hinnant's `civil_from_days`.
fn iso_day(at_ms: i64) -> String {
    let days = at_ms.div_euclid(DAY_MS) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_iso_writes_them() {
        for (at_ms, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400_000, "2000-02-29"),
            (1_793_491_200_000, "2026-11-01"),
            (4_107_542_399_999, "2100-02-28"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(iso_day(at_ms), day, "{at_ms}");
        }
    }

    #[test]
    fn the_record_says_who_interpreted_and_nothing_that_was_said() {
        let capture = v1::Capture {
            language: "ti".into(),
            interpreter: v1::Interpreter::Peer.into(),
            understood: "they know my name".into(),
            statement_language: "en".into(),
            ..v1::Capture::default()
        };
        let record = consent_record(&capture, 0);
        assert_eq!(record.interpreted_into, "ti by peer");
        assert!(!format!("{record:?}").contains("they know"));
        let plain = v1::Capture {
            interpreter: v1::Interpreter::None.into(),
            ..capture
        };
        assert_eq!(consent_record(&plain, 0).interpreted_into, "");
    }
}
