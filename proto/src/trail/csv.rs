//! Events as a table for spreadsheets (RFC 4180): one line each, the lines that most events have as columns, every other one together.
//! A node's exports call it. Never a line break within a value, never a value that is not in the event.

use super::event::Told;
use super::sentence::instant;

/// Lines of events that have a column of their own, in this order.
const COLUMNS: [&str; 16] = [
    "thread",
    "envelope",
    "slip",
    "grant",
    "person",
    "token",
    "role",
    "from",
    "to",
    "with",
    "organisation",
    "purpose",
    "category",
    "kind",
    "state",
    "problem",
];

/// The first line: the names of the columns.
pub fn header() -> String {
    let mut names = vec!["number", "at_ms", "at", "code"];
    names.extend(COLUMNS);
    names.push("other");
    record(names.into_iter().map(str::to_owned))
}

/// The line of an event with its number in the trail. Several values of one name have a space between, as have the other lines, each
/// written `name=value`.
pub fn line(number: u64, told: &Told<'_>) -> String {
    let mut values = vec![
        number.to_string(),
        told.at_ms.to_string(),
        instant(told.at_ms),
        told.code.to_string(),
    ];
    values.extend(
        COLUMNS
            .iter()
            .map(|name| told.all(name).collect::<Vec<_>>().join(" ")),
    );
    let other = told.lines().filter(|(name, _)| !COLUMNS.contains(name));
    let other: Vec<String> = other.map(|(name, value)| format!("{name}={value}")).collect();
    values.push(other.join(" "));
    record(values.into_iter())
}

fn record(values: impl Iterator<Item = String>) -> String {
    let quoted = |value: String| {
        if value.contains([',', '"', '\r', '\n']) {
            format!("\"{}\"", value.replace('"', "\"\""))
        } else {
            value
        }
    };
    values.map(quoted).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::{Code, Event};

    #[test]
    fn an_event_is_one_line_under_the_names_of_its_columns() {
        let event = Event::new(Code::EnvelopeSent, 1_795_724_130_250)
            .id("thread", &[0xab; 16])
            .org("to", &"harbour-welcome".parse().unwrap())
            .word("category", "need")
            .word("category", "contact")
            .number("until_ms", 7);
        let told = Told::read(event.preimage()).unwrap();
        assert_eq!(
            line(9, &told),
            "9,1795724130250,2026-11-26T20:15:30.250Z,envelope_sent,abababababababababababababababab,,,,,,,,\
             harbour-welcome,,,,need contact,,,,until_ms=7\r\n"
        );
        assert_eq!(header().matches(',').count(), line(9, &told).matches(',').count());
    }

    #[test]
    fn what_would_break_a_line_is_quoted() {
        let told = Told::read("code=opened\nat_ms=1\nkind=a,\"b\"").unwrap();
        assert!(line(1, &told).contains(",\"a,\"\"b\"\"\","));
    }
}
