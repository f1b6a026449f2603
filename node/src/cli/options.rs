//! What the fields of a request are called at the command line: the option in which their value was typed.
//! Called where a refused call is shown. Never names what the program filled in by itself: its sentence then stands alone. A field that is in
//! no list keeps its own name.

use super::person::option_of;
use super::say::Refusal;
use kith_proto::v1;
use kith_proto::words::Category;

/// Names of fields with the options of one command, where it has another than most.
pub(crate) type Own = &'static [(&'static str, &'static str)];

/// What most commands call a field. Empty: what the program filled in by itself.
const SHARED: Own = &[
    ("request_id", "--request-id"),
    ("parts", ""),
    ("version", ""),
    ("page_size", ""),
    ("recipient", "--to"),
    ("categories", "--share"),
    ("purposes", "--for"),
    ("purpose", "--for"),
    ("grant_id", "--grant"),
    ("answer_by_ms", "--answer-by"),
    ("allowed", "--to"),
    ("lawful_basis", "--basis"),
    ("expires_at_ms", "--until"),
    ("capture.given_by", "--given-by"),
    ("capture.given_how", "--how"),
    ("capture.language", "--language"),
    ("capture.statement_language", "--language"),
    ("capture.interpreter", "--interpreter"),
    ("capture.understood", "--understood"),
    ("capture.statement_id", ""),
    ("capture.text_hash", ""),
    ("stop_seed", ""),
    ("thread_id", "code"),
    ("reason", "--reason"),
    ("words", "--words"),
    ("opening_reason", "--opening-reason"),
    ("name", "--name"),
    ("cursor", "--cursor"),
    ("states", "--state"),
    ("service.name", "--name"),
    ("service.purposes", "--for"),
    ("service.languages", "--languages"),
    ("service.minimum_categories", "--needs"),
    ("service.place", "--place"),
    ("service.schedule", "--schedule"),
    ("service.places_per_week", "--places-per-week"),
];

impl Refusal {
    /// Calls each field by its option: one of the command's own names, one of its parts, or one that commands share. A
    /// field that has no option keeps its name.
    pub(crate) fn typed(mut self, own: Own, parts: &[v1::Part]) -> Self {
        for (field, _) in &mut self.0.fields {
            *field = option(field, own, parts);
        }
        self
    }
}

fn option(field: &str, own: Own, parts: &[v1::Part]) -> String {
    if let Some(named) = of_part(field, parts) {
        return named;
    }
    // Which of several organisations it is about: they are named in one option.
    let field = match index(field, "allowed") {
        Some((_, "")) => "allowed",
        Some((_, rest)) => rest,
        None => field.strip_prefix("allowed.").unwrap_or(field),
    };
    let known = own.iter().chain(SHARED).find(|(name, _)| *name == field);
    known.map_or(field, |(_, option)| option).to_owned()
}

/// The option of `parts[0].fields[1].value` and what else names one part.
fn of_part(field: &str, parts: &[v1::Part]) -> Option<String> {
    let (place, rest) = index(field, "parts")?;
    let part = parts.get(place)?;
    let category = super::word::<Category>(part.category);
    let name = index(rest, "fields").and_then(|(place, _)| part.fields.get(place));
    Some(match name {
        Some(field) => option_of(part.category, &field.name),
        None => format!("--part {category}"),
    })
}

/// Reads `name[7].rest` as 7 and `rest`.
fn index<'a>(field: &'a str, name: &str) -> Option<(usize, &'a str)> {
    let (place, rest) = field.strip_prefix(name)?.strip_prefix('[')?.split_once(']')?;
    Some((place.parse().ok()?, rest.strip_prefix('.').unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_called_by_what_was_typed() {
        let field = |name: &str| v1::Field {
            name: name.into(),
            value: "x".into(),
        };
        let parts = [
            v1::Part {
                category: Category::Identity.number(),
                fields: vec![field("preferred_name")],
            },
            v1::Part {
                category: Category::Need.number(),
                fields: vec![field("urgency"), field("in_their_words")],
            },
        ];
        for (name, typed) in [
            ("parts[0].fields[0].value", "--name"),
            ("parts[1].fields[0].name", "--part need.urgency"),
            ("parts[1].fields[1].value", "--need"),
            ("parts[1].category", "--part need"),
            ("parts[9].category", "parts[9].category"),
            ("allowed", "--to"),
            ("allowed[3].recipient", "--from"),
            ("allowed[0].categories", "--share"),
            ("allowed.purposes", "--for"),
            ("capture.text_hash", ""),
            ("recipient", "--from"),
            ("service.minimum_categories", "--needs"),
            ("code", "code"),
        ] {
            assert_eq!(option(name, &[("recipient", "--from")], &parts), typed, "{name}");
        }
    }
}
