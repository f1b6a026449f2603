//! What a part of a referral may hold: the closed field names of each category, and the limits of a part.
//! The sender's node refuses anything else before it seals; a form is built from the same names.
//! Never add a name for immigration status, nationality or a number that an authority for it gives out.

use crate::words::Category;

/// Longest value of one field, in bytes of UTF-8 (`Field.value`).
pub const FIELD_VALUE_BYTES_MAX: usize = 8 << 10;
/// Most parts in one list: one for each category.
pub const PARTS_MAX: usize = Category::ALL.len();
/// Most bytes of values in one list of parts. A person's parts and those added to one referral make one sealed body:
/// twice this and the names still leave half of an envelope's 1 MiB free.
pub const PARTS_BYTES_MAX: usize = 256 << 10;

/// Lists the field names of a category, most used first; each at most once in a part. Every value is the person's own
/// words or what they chose to say: `birth_date` may be a year, or "not known". There is no name for a number that any
/// register gives to a person, as two organisations could find the same person by it.
pub const fn field_names(category: Category) -> &'static [&'static str] {
    match category {
        Category::Identity => &[
            "preferred_name",
            "other_names",
            "pronouns",
            "how_to_say_it",
            "birth_date",
        ],
        Category::Contact => &[
            "safe_phone",
            "safe_email",
            "safe_way",
            "safe_times",
            "ask_for",
            "do_not",
        ],
        Category::Communication => &["languages", "interpreter", "reading", "format"],
        Category::Need => &["in_their_words", "what_would_help", "urgency", "summary"],
        Category::Health => &[
            "summary",
            "conditions",
            "medicines",
            "allergies",
            "access_needs",
            "practice",
        ],
        Category::Family => &["summary", "household", "children", "carers"],
        Category::Education => &["summary", "school", "year_group", "support", "qualifications"],
        Category::Practical => &[
            "summary",
            "place",
            "travel",
            "housing",
            "money_help",
            "work",
            "child_care",
            "good_times",
        ],
        Category::Progress => &["summary", "next_step"],
    }
}

/// Whether a part of this category may hold a field of this name.
pub fn is_field(category: Category, name: &str) -> bool {
    field_names(category).contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_has_names_and_none_twice() {
        for category in Category::ALL {
            let names = field_names(*category);
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            assert!(!names.is_empty() && distinct.len() == names.len(), "{category}");
            let plain = |n: &str| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(names.iter().all(|n| plain(n) && n.len() <= 32), "{category}");
        }
    }

    #[test]
    fn no_name_could_hold_a_status() {
        let absent = [
            "status",
            "immigration",
            "visa",
            "passport",
            "nationality",
            "asylum",
            "brp",
            "country",
            "number",
        ];
        for name in Category::ALL.iter().flat_map(|c| field_names(*c)) {
            assert!(!absent.iter().any(|word| name.contains(word)), "{name}");
        }
    }

    #[test]
    fn a_name_belongs_to_its_category() {
        assert!(is_field(Category::Contact, "safe_phone"));
        assert!(!is_field(Category::Need, "safe_phone"));
        assert!(!is_field(Category::Contact, "Safe_phone"));
    }

    #[test]
    fn two_full_lists_fit_one_sealed_body() {
        let names: usize = Category::ALL
            .iter()
            .flat_map(|c| field_names(*c))
            .map(|n| n.len() + 16)
            .sum();
        let both = 2 * (PARTS_BYTES_MAX + names);
        assert!(both < crate::seal::MAX_PLAINTEXT_LEN / 4 * 3);
    }
}
