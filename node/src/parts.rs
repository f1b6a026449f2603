//! Parts of a record or referral as they come in: closed field names, limits, screened values.
//! Made at every edge; persons and referrals take nothing else, so that nothing unscreened is ever kept or sealed.
//! Never puts a value into a fault.

use std::collections::BTreeSet;

use kith_proto::part::{FIELD_VALUE_BYTES_MAX, PARTS_BYTES_MAX, PARTS_MAX, field_names, is_field};
use kith_proto::permits::CategorySet;
use kith_proto::problem::Problem;
use kith_proto::screen::screen;
use kith_proto::text::{is_of_a_text, without_wrapping};
use kith_proto::v1;
use kith_proto::words::Category;

/// Most faults named in one answer; one who sends more has other worries than the rest of the list.
const FAULTS_MAX: usize = 32;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The problem.
    pub problem: Problem,
    /// The field's name in the request, for example `parts[0].fields[1].value`.
    pub field: String,
    /// One sentence for whoever filled it in.
    pub sentence: String,
}

/// Parts that were checked: each category once, field names of its closed list, values within limits and screened.
#[derive(Clone, Default, PartialEq)]
pub struct Parts(Vec<v1::Part>);

impl Parts {
    /// Checks parts; every fault found, at most 32. Values lose what a telephone wraps a copied number in.
    pub fn parse(mut parts: Vec<v1::Part>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults(Vec::new());
        if parts.len() > PARTS_MAX {
            faults.add(
                Problem::TooLarge,
                "parts",
                "There is at most one part for each category.",
            );
            return Err(faults.0);
        }
        for field in parts.iter_mut().flat_map(|part| &mut part.fields) {
            let text = without_wrapping(&field.value);
            if text.len() < field.value.len() {
                field.value = text.to_owned();
            }
        }
        let bytes: usize = parts.iter().flat_map(|p| &p.fields).map(|f| f.value.len()).sum();
        if bytes > PARTS_BYTES_MAX {
            faults.add(
                Problem::TooLarge,
                "parts",
                "All parts together are too long; shorten them.",
            );
            return Err(faults.0);
        }
        let mut seen = CategorySet::EMPTY;
        for (place, part) in parts.iter().enumerate() {
            faults.part(&format!("parts[{place}]"), part, &mut seen);
        }
        if faults.0.is_empty() {
            Ok(Self(parts))
        } else {
            Err(faults.0)
        }
    }

    /// The parts as they came.
    pub fn as_slice(&self) -> &[v1::Part] {
        &self.0
    }

    /// The categories that have a part.
    pub fn categories(&self) -> CategorySet {
        self.0
            .iter()
            .filter_map(|part| Category::try_from(part.category).ok())
            .collect()
    }

    /// Each category with its part.
    pub fn iter(&self) -> impl Iterator<Item = (Category, &v1::Part)> {
        self.0
            .iter()
            .filter_map(|part| Some((Category::try_from(part.category).ok()?, part)))
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parts({})", self.categories())
    }
}

/// What is wrong with a free text, if anything: its problem and a sentence.
pub fn text_fault(text: &str, bytes_max: usize) -> Option<(Problem, &'static str)> {
    if text.len() > bytes_max {
        return Some((Problem::TooLarge, "This is too long; shorten it."));
    }
    if !text.chars().all(is_of_a_text) {
        return Some((
            Problem::Invalid,
            "There is a hidden character in this that is no text or turns the writing round. Type it instead of pasting it.",
        ));
    }
    screen(text)
        .err()
        .map(|found| (Problem::NumberRefused, found.explain()))
}

struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, problem: Problem, field: impl Into<String>, sentence: impl Into<String>) {
        if self.0.len() < FAULTS_MAX {
            self.0.push(Fault {
                problem,
                field: field.into(),
                sentence: sentence.into(),
            });
        }
    }

    fn part(&mut self, at: &str, part: &v1::Part, seen: &mut CategorySet) {
        let Ok(category) = Category::try_from(part.category) else {
            return self.add(
                Problem::Invalid,
                format!("{at}.category"),
                "This is not a category.",
            );
        };
        if seen.contains(category) {
            self.add(
                Problem::Invalid,
                format!("{at}.category"),
                "This category has a part already.",
            );
        }
        seen.insert(category);
        if part.fields.is_empty() {
            self.add(
                Problem::Invalid,
                format!("{at}.fields"),
                "A part has at least one field.",
            );
        }
        if part.fields.len() > field_names(category).len() {
            let sentence = "This part has more fields than its category.";
            return self.add(Problem::TooLarge, format!("{at}.fields"), sentence);
        }
        let mut names = BTreeSet::new();
        for (place, field) in part.fields.iter().enumerate() {
            let at = format!("{at}.fields[{place}]");
            if !is_field(category, &field.name) {
                let known = field_names(category).join(", ");
                let sentence = format!("In this category a field is one of: {known}.");
                self.add(Problem::Invalid, format!("{at}.name"), sentence);
            } else if !names.insert(field.name.as_str()) {
                self.add(
                    Problem::Invalid,
                    format!("{at}.name"),
                    "This field is there twice.",
                );
            }
            if field.value.trim().is_empty() {
                self.add(Problem::Invalid, format!("{at}.value"), "This is missing.");
            } else if let Some((problem, sentence)) = text_fault(&field.value, FIELD_VALUE_BYTES_MAX) {
                self.add(problem, format!("{at}.value"), sentence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(category: Category, fields: &[(&str, &str)]) -> v1::Part {
        let field = |(name, value): &(&str, &str)| v1::Field {
            name: (*name).into(),
            value: (*value).into(),
        };
        v1::Part {
            category: category.number(),
            fields: fields.iter().map(field).collect(),
        }
    }

    fn faults(parts: Vec<v1::Part>) -> Vec<(Problem, String)> {
        Parts::parse(parts)
            .unwrap_err()
            .into_iter()
            .map(|f| (f.problem, f.field))
            .collect()
    }

    #[test]
    fn a_copied_number_loses_what_the_telephone_wrapped_it_in() {
        let copied = part(
            Category::Contact,
            &[("safe_phone", "\u{202a}01524 555010\u{202c}")],
        );
        let parts = Parts::parse(vec![copied]).unwrap();
        assert_eq!(parts.as_slice()[0].fields[0].value, "01524 555010");
        let turned = part(Category::Contact, &[("safe_phone", "01524 \u{202e}555010")]);
        assert_eq!(
            faults(vec![turned]),
            [(Problem::Invalid, "parts[0].fields[0].value".to_owned())]
        );
    }

    #[test]
    fn a_refused_number_is_named_by_its_field_and_never_quoted() {
        let need = part(
            Category::Need,
            &[("summary", "help"), ("in_their_words", "my visa no is AB1234567")],
        );
        let refused = Parts::parse(vec![part(Category::Identity, &[("preferred_name", "ሰላም")]), need]);
        let refused = refused.unwrap_err();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].field, "parts[1].fields[1].value");
        assert_eq!(refused[0].problem, Problem::NumberRefused);
        assert!(
            !refused[0].sentence.contains("AB1234567"),
            "{}",
            refused[0].sentence
        );
    }

    #[test]
    fn every_limit_names_its_field() {
        let long = "x".repeat(FIELD_VALUE_BYTES_MAX + 1);
        let value = |v: &str| faults(vec![part(Category::Need, &[("summary", v)])]);
        assert_eq!(
            value(&long),
            [(Problem::TooLarge, "parts[0].fields[0].value".into())]
        );
        assert_eq!(
            value(" "),
            [(Problem::Invalid, "parts[0].fields[0].value".into())]
        );
        for hidden in ["a\u{0}b", "a\u{1b}[2J", "a\u{202e}b", "\u{2066}a\u{2069}b"] {
            assert_eq!(
                value(hidden),
                [(Problem::Invalid, "parts[0].fields[0].value".into())]
            );
        }
        let unknown = part(Category::Need, &[("passport", "x")]);
        assert_eq!(
            faults(vec![unknown]),
            [(Problem::Invalid, "parts[0].fields[0].name".into())]
        );
        let twice = part(Category::Need, &[("summary", "x"), ("summary", "y")]);
        assert_eq!(
            faults(vec![twice]),
            [(Problem::Invalid, "parts[0].fields[1].name".into())]
        );
        let need = part(Category::Need, &[("summary", "x")]);
        assert_eq!(
            faults(vec![need.clone(), need]),
            [(Problem::Invalid, "parts[1].category".into())]
        );
        assert_eq!(
            faults(vec![v1::Part::default()]),
            [(Problem::Invalid, "parts[0].category".into())]
        );
        assert_eq!(
            faults(vec![part(Category::Need, &[])]),
            [(Problem::Invalid, "parts[0].fields".into())]
        );
        let full = part(Category::Need, &[("summary", &"x".repeat(FIELD_VALUE_BYTES_MAX))]);
        assert_eq!(
            faults(vec![full; PARTS_MAX + 1]),
            [(Problem::TooLarge, "parts".into())]
        );
    }

    #[test]
    fn parts_in_any_script_pass_and_know_their_categories() {
        let parts = vec![
            part(
                Category::Identity,
                &[("preferred_name", "سلام"), ("birth_date", "1990")],
            ),
            part(
                Category::Contact,
                &[
                    ("safe_phone", "07700 900123"),
                    ("do_not", "\u{200f}می\u{200c}خواهم\n"),
                ],
            ),
        ];
        let parsed = Parts::parse(parts.clone()).unwrap();
        assert_eq!(parsed.as_slice(), parts);
        assert_eq!(
            parsed.categories(),
            [Category::Identity, Category::Contact].into_iter().collect()
        );
        assert!(!format!("{parsed:?}").contains("1990"));
    }
}
