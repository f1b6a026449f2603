//! Days of the Gregorian calendar, in UTC: `2026-11-26`. Trails, access reports and the command line write and read them.
//! Never a local time: a day is read in several places, and must be the same in each.

/// One day, in milliseconds.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Year, month and day of a day counted from 1970-01-01. Counts in years that begin in March, so that the leap day is the last
/// (Hinnant, "chrono-compatible low-level date algorithms").
pub const fn civil(days: i64) -> (i64, i64, i64) {
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

/// The other way, for years from 1970 to 9999; `None` for a day that the calendar does not have.
pub fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = era * ERA_DAYS + of_era - EPOCH_DAYS;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Writes the day of a time in milliseconds UTC.
pub fn day(at_ms: i64) -> String {
    let (year, month, day) = civil(at_ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}-{day:02}")
}

/// The first millisecond of the day that a time lies in.
pub const fn day_start_ms(at_ms: i64) -> i64 {
    at_ms.saturating_sub(at_ms.rem_euclid(DAY_MS))
}

/// Reads a day in its one spelling, as its first millisecond.
pub fn read_day(text: &str) -> Option<i64> {
    let mut numbers = text.split('-').map(|part| part.parse::<i64>().ok());
    let found = days(numbers.next()??, numbers.next()??, numbers.next()??)?;
    let start_ms = found * DAY_MS;
    (day(start_ms) == text).then_some(start_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn days_go_both_ways_and_none_is_made_up() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2026-11-23", 20_780),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(read_day(text), Some(days * DAY_MS), "{text}");
            for at_ms in [days * DAY_MS, days * DAY_MS + DAY_MS - 1] {
                assert_eq!((day(at_ms).as_str(), day_start_ms(at_ms)), (text, days * DAY_MS));
            }
        }
        for bad in [
            "",
            "2026",
            "2026-11",
            "2026-11-23-",
            "2026-11-23-01",
            "2026-11-23 ",
            "2026-11-3",
            "2026-11-031",
            "+026-11-23",
            "2026-+1-23",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-11-00",
            "2026-11-31",
            "1969-12-31",
            "10000-01-01",
            "26-11-23",
            "x-y-z",
            "９９９９-12-31",
        ] {
            assert_eq!(read_day(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_time_is_too_far_away() {
        for at_ms in [i64::MIN, i64::MAX] {
            assert!(!day(at_ms).is_empty() && day_start_ms(at_ms) <= at_ms);
        }
    }
}
