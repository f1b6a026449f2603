//! Keys: by what an event is found again. The index of a trail holds (key, number of the event); a query makes the same key.
//! Never a key of something that is in no preimage; two things may share one, so a reader looks at the lines found.

use super::event::Told;
use crate::sign::sha256;

/// What an event may be about, the narrowest first: a thread; an envelope and the slip that it went under; a grant; a person. It is
/// found by the narrowest that it names: whoever asks for a grant asks for its slips and their threads as well.
pub const SUBJECTS: [&[&str]; 4] = [&["thread"], &["envelope", "slip"], &["grant"], &["person"]];

/// What an event is found by: names of [`SUBJECTS`] with their values.
pub fn subjects<'a>(told: &Told<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let narrowest = SUBJECTS
        .into_iter()
        .find(|names| names.iter().any(|name| told.get(name).is_some()));
    told.lines()
        .filter(move |(name, _)| narrowest.is_some_and(|names| names.contains(name)))
}

/// The names under which a line holds an organisation; all are found as `organisation`.
pub const ORGANISATIONS: [&str; 6] = ["organisation", "from", "to", "by", "for", "with"];

/// The words that a trail can be filtered by.
pub const FILTERS: [&str; 3] = ["purpose", "category", "role"];

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The key of the day, in UTC, that a time in milliseconds lies in: by it a span of days is found.
pub fn day(at_ms: i64) -> i64 {
    key("day", &at_ms.div_euclid(DAY_MS).to_string())
}

/// The key of a name and a value: the first 8 bytes of SHA-256(name ‖ `=` ‖ value), as a number that fits a column.
pub fn key(name: &str, value: &str) -> i64 {
    let hash = sha256(&[name.as_bytes(), b"=", value.as_bytes()]);
    let [a, b, c, d, e, f, g, h, ..] = hash;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The keys of an event: its code, its day, its subject, every organisation and every word that it can be filtered by; each once.
pub fn keys(told: &Told<'_>) -> Vec<i64> {
    let mut keys = vec![key("code", told.code.as_str()), day(told.at_ms)];
    keys.extend(subjects(told).map(|(name, value)| key(name, value)));
    for (name, value) in told.lines() {
        if ORGANISATIONS.contains(&name) {
            keys.push(key("organisation", value));
        } else if FILTERS.contains(&name) {
            keys.push(key(name, value));
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}
