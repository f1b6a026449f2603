//! Texts: each language has every key and names the same things; numbers, plurals and days are written as the language does.

use super::*;

fn texts() -> Texts {
    Texts::load(&[], TimeZone::UTC).unwrap()
}

/// Without the marks that Fluent sets around what it puts in, which keep the directions of writing apart.
fn plain(text: &str) -> String {
    text.replace(['\u{2068}', '\u{2069}'], "")
}

#[test]
fn every_language_has_every_key_of_the_frame_and_names_the_same() {
    let english = keys(FRAME[0].1);
    assert!(english.len() > 10);
    for (language, text) in FRAME {
        assert_eq!(keys(text), english, "{}", language.tag());
    }
}

#[test]
fn days_and_times_are_written_as_the_language_does() {
    let texts = texts();
    let at_ms = 1_795_799_045_000;
    let day = |language| texts.of(language).day(at_ms);
    assert_eq!(day(Language::En), "27 November 2026");
    assert!(day(Language::Uk).contains("листопада"), "{}", day(Language::Uk));
    assert!(day(Language::Ar).contains("نوفمبر"), "{}", day(Language::Ar));
    assert!(day(Language::FaAf).contains("نومبر"), "{}", day(Language::FaAf));
    assert!(day(Language::Ti).contains("2026"), "{}", day(Language::Ti));
    assert!(
        texts.of(Language::En).time(at_ms).contains("17:04"),
        "{}",
        texts.of(Language::En).time(at_ms)
    );
    assert_eq!(texts.of(Language::En).day(i64::MAX), "", "no day of any calendar");
    let summer = Texts::load(&[], TimeZone::get("Europe/London").unwrap()).unwrap();
    let said = summer.of(Language::En).time(1_782_856_800_000);
    assert_eq!(said, "30 June 2026 at 23:00");
}

#[test]
fn a_number_takes_the_form_that_the_language_has_for_it() {
    let file = "things = { $form ->\n    [one] { $count } thing\n    [few] { $count } few\n    [many] { $count } many\n   *[other] { $count } things\n }\n";
    let files: Vec<Source> = Language::ALL.map(|language| (language, file)).to_vec();
    let texts = Texts::load(&files, TimeZone::UTC).unwrap();
    let said = |language, count| plain(&texts.of(language).count("things", count));
    assert_eq!(said(Language::En, 1), "1 thing");
    assert_eq!(said(Language::En, 1_234), "1,234 things");
    assert_eq!(said(Language::Uk, 2), "2 few");
    assert_eq!(said(Language::Uk, 5), "5 many");
    assert!(said(Language::Ar, 11).ends_with("many"));
    assert!(said(Language::FaAf, 12).starts_with("۱۲"));
}

#[test]
fn what_a_language_lacks_is_said_in_english_and_a_file_that_is_none_is_refused() {
    let texts = Texts::load(
        &[(Language::En, "only-english = Only { $thing }\n")],
        TimeZone::UTC,
    )
    .unwrap();
    let said = texts
        .of(Language::Ti)
        .say_with("only-english", &[("thing", "<b>")]);
    assert_eq!(plain(&said), "Only <b>");
    assert_eq!(texts.of(Language::Ti).say("no-such-key"), "");
    for bad in ["two words = x\n", "twice = a\ntwice = b\n"] {
        assert!(
            Texts::load(&[(Language::En, bad)], TimeZone::UTC).is_err(),
            "{bad}"
        );
    }
}
