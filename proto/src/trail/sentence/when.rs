//! Times as people read them: `2026-11-26 20:15 UTC`. Sentences call it, and whoever prints a line of a trail.
//! Never a local time: a trail is read in several places, and must say the same in each.

use crate::calendar::{DAY_MS, civil};

const MINUTE_MS: i64 = 60 * 1000;
const DAY_MINUTES: i64 = 24 * 60;

/// Writes a time in milliseconds UTC down to the minute, in the Gregorian calendar.
pub fn written(at_ms: i64) -> String {
    let minutes = at_ms.div_euclid(MINUTE_MS);
    let (days, minute) = (minutes.div_euclid(DAY_MINUTES), minutes.rem_euclid(DAY_MINUTES));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        minute / 60,
        minute % 60
    )
}

/// Writes a time in milliseconds UTC as FHIR's `instant` (RFC 3339): `2026-11-26T20:15:30.250Z`.
pub fn instant(at_ms: i64) -> String {
    let (day, of_day) = (at_ms.div_euclid(DAY_MS), at_ms.rem_euclid(DAY_MS));
    let (year, month, date) = civil(day);
    let (minute, ms) = (of_day / MINUTE_MS, of_day % MINUTE_MS);
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}.{:03}Z",
        minute / 60,
        minute % 60,
        ms / 1000,
        ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (at_ms, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
            (1_795_724_100_000, "2026-11-26 20:15 UTC"),
            (951_782_400_000, "2000-02-29 00:00 UTC"),
            (951_868_799_999, "2000-02-29 23:59 UTC"),
            (1_709_251_199_999, "2024-02-29 23:59 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00 UTC"),
            (4_107_542_399_999, "2100-02-28 23:59 UTC"),
        ] {
            assert_eq!(written(at_ms), text);
            assert_eq!(instant(at_ms).replace('T', " ")[..16], text[..16]);
        }
        assert_eq!(instant(1_795_724_130_250), "2026-11-26T20:15:30.250Z");
    }

    #[test]
    fn no_time_is_too_far_away() {
        assert!(written(i64::MAX).ends_with(" UTC"));
        assert!(written(i64::MIN).ends_with(" UTC"));
    }
}
