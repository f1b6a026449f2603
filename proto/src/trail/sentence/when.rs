//! Times as people read them: `2026-11-26 20:15 UTC`. Sentences call it, and whoever prints a line of a trail.
//! Never a local time: a trail is read in several places, and must say the same in each.

const MINUTE_MS: i64 = 60 * 1000;
const DAY_MINUTES: i64 = 24 * 60;
const DAY_MS: i64 = DAY_MINUTES * MINUTE_MS;
/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

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

/// Year, month and day of a day counted from 1970-01-01. Counts in years that begin in March, so that the leap day is the last.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day)
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
    fn every_day_follows_the_one_before() {
        let mut last = civil(-1_000_000);
        for day in -999_999..1_000_000 {
            let next = civil(day);
            let same_month = next.0 == last.0 && next.1 == last.1 && next.2 == last.2 + 1;
            let next_month = next.2 == 1 && (28..=31).contains(&last.2);
            assert!(same_month || next_month, "{last:?} {next:?}");
            last = next;
        }
    }

    #[test]
    fn no_time_is_too_far_away() {
        assert!(written(i64::MAX).ends_with(" UTC"));
        assert!(written(i64::MIN).ends_with(" UTC"));
    }
}
