//! Every limit of a request, from both sides, and that no answer repeats what was written.

use super::*;
use kith_proto::id::{PersonId, ThreadId};
use kith_proto::lifecycle::Reason;

fn part(category: i32, fields: &[(&str, &str)]) -> v1::Part {
    let field = |(name, value): &(&str, &str)| v1::Field {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    v1::Part {
        category,
        fields: fields.iter().map(field).collect(),
    }
}

#[test]
fn a_home_office_number_is_refused_first_and_never_repeated() {
    let parts = vec![
        part(
            4,
            &[
                ("summary", "Her Home Office reference is A1234567/2"),
                ("urgency", ""),
            ],
        ),
        part(77, &[]),
    ];
    let mut fields = Fields::new();
    let read = fields.parts(parts);
    let failure = fields.finish(read).unwrap_err();
    assert_eq!(failure.problem, Problem::NumberRefused);
    let named: Vec<&str> = failure.fields.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        named,
        [
            "parts[0].fields[0].value",
            "parts[0].fields[1].value",
            "parts[1].category"
        ]
    );
    assert!(!format!("{failure:?}").contains("A1234567"));
}

#[test]
fn ids_have_16_bytes() {
    for bytes in [vec![], vec![1; 15], vec![1; 17]] {
        let mut fields = Fields::new();
        assert!(fields.id::<PersonId>("person_id", &bytes).is_none());
        assert_eq!(fields.finish(Some(())).unwrap_err().fields[0].0, "person_id");
    }
    let mut fields = Fields::new();
    let id = fields.id::<ThreadId>("thread_id", &[7; 16]);
    assert_eq!(fields.finish(id).unwrap(), ThreadId::from_bytes([7; 16]));
}

#[test]
fn words_are_of_their_list_and_come_once() {
    let mut fields = Fields::new();
    assert_eq!(fields.word::<Purpose>("purpose", 2), Some(Purpose::PeerSupport));
    assert_eq!(fields.word_if_any::<Reason>("reason", 0), Some(None));
    assert_eq!(
        fields.purposes("purposes", &[2, 1]),
        Some(vec![Purpose::PeerSupport, Purpose::Care])
    );
    assert!(
        fields
            .categories("categories", &[], 0)
            .is_some_and(CategorySet::is_empty)
    );
    assert!(fields.finish(Some(())).is_ok());
    let faults: [fn(&mut Fields) -> bool; 5] = [
        |f| f.word::<Purpose>("x", 0).is_none(),
        |f| f.word::<Purpose>("x", 6).is_none(),
        |f| f.purposes("x", &[]).is_none(),
        |f| f.purposes("x", &[1, 1]).is_none(),
        |f| f.categories("x", &[1, -1], 0).is_none(),
    ];
    for fault in faults {
        let mut fields = Fields::new();
        assert!(fault(&mut fields));
        assert_eq!(fields.finish(Some(())).unwrap_err().problem, Problem::Invalid);
    }
}

#[test]
fn texts_tags_times_and_pages_have_limits() {
    let mut fields = Fields::new();
    assert_eq!(fields.page_size(0), Some(PAGE_SIZE_DEFAULT));
    assert_eq!(fields.page_size(PAGE_SIZE_MAX), Some(PAGE_SIZE_MAX));
    for tag in ["en", "ti", "zh-Hant", "en-GB-oxendict"] {
        assert!(fields.language("language", tag.to_owned()).is_some(), "{tag}");
    }
    assert_eq!(fields.text("words", "a\nb".into(), 3), Some("a\nb".into()));
    assert!(fields.org("recipient", "riverside-gp").is_some());
    assert!(fields.finish(Some(())).is_ok());

    let mut fields = Fields::new();
    assert!(fields.page_size(PAGE_SIZE_MAX + 1).is_none());
    for tag in ["", "e", "e1", "en_GB", "en--GB", "abcdefghi", &"en-".repeat(20)] {
        assert!(fields.language("language", tag.to_owned()).is_none(), "{tag}");
    }
    assert!(fields.text("words", "abcd".into(), 3).is_none());
    assert!(fields.text_needed("words", "  ".into(), 3).is_none());
    assert!(fields.org("recipient", "Riverside").is_none());
    assert!(fields.time_ms("at", -1).is_none());
    assert_eq!(fields.finish(Some(())).unwrap_err().problem, Problem::TooLarge);
}

#[test]
fn an_answer_names_a_bounded_number_of_faults() {
    let mut fields = Fields::new();
    for _ in 0..1000 {
        fields.refuse(Problem::Invalid, "x", "y");
    }
    assert_eq!(fields.finish(Some(())).unwrap_err().fields.len(), FAULTS_MAX);
}

#[test]
fn nothing_read_and_nothing_wrong_is_still_no_value() {
    assert_eq!(
        Fields::new().finish::<()>(None).unwrap_err().problem,
        Problem::Invalid
    );
}
