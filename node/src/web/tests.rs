//! Pages and their texts held against each other: every text that a page asks for is there, in every language, and every page has its roles.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use kith_proto::lifecycle::{Delivery, Move, Reason, State};
use kith_proto::part::field_names;
use kith_proto::problem::Problem;
use kith_proto::words::{Category, Purpose};
use kith_service::web::words::{FRAME, Texts, keys};

use super::*;
use crate::moves::plan::ASKED;
use crate::threads_view::work::Turn;
use crate::tokens::Role;

/// Every page's source.
const PAGES: [&str; 14] = [
    include_str!("colleagues.rs"),
    include_str!("guard.rs"),
    include_str!("language.rs"),
    include_str!("moving.rs"),
    include_str!("passkey.rs"),
    include_str!("refer.rs"),
    include_str!("refer/agree.rs"),
    include_str!("refer/ask.rs"),
    include_str!("refer/check.rs"),
    include_str!("refer/who.rs"),
    include_str!("referral.rs"),
    include_str!("sign_in.rs"),
    include_str!("visit.rs"),
    include_str!("work.rs"),
];

fn english() -> BTreeSet<String> {
    keys(WORDS[0].1).into_iter().map(|(key, _)| key).collect()
}

/// The keys of closed lists: one for each word.
fn of_lists() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut add = |list: &str, word: &str| {
        all.insert(format!("{list}-{}", word.replace('_', "-")));
    };
    State::ALL.iter().for_each(|word| add("state", word.as_str()));
    Delivery::ALL
        .iter()
        .for_each(|word| add("delivery", word.as_str()));
    ASKED.iter().for_each(|word| add("move", word.as_str()));
    Move::ALL.iter().for_each(|word| add("moved", word.as_str()));
    Reason::ALL.iter().for_each(|word| add("reason", word.as_str()));
    Problem::ALL.iter().for_each(|word| add("problem", word.as_str()));
    Purpose::ALL.iter().for_each(|word| add("purpose", word.as_str()));
    Role::ALL.iter().for_each(|word| add("role", word.as_str()));
    for category in Category::ALL {
        add("category", category.as_str());
        field_names(*category).iter().for_each(|name| add("field", name));
    }
    for name in ["preferred_name", "languages", "safe_phone", "safe_way"] {
        add("refer-who-hint", name);
    }
    for question in [
        "given_by",
        "given_how",
        "language",
        "interpreter",
        "days",
        "progress",
    ] {
        add("refer-consent", question);
    }
    for (list, words) in [
        (
            "given-by",
            vec!["person", "parent_or_guardian", "other_authority"],
        ),
        ("given-how", vec!["in_person", "phone", "video", "paper", "self"]),
        ("interpreter", vec!["none", "professional", "peer"]),
        ("progress", vec!["yes", "no"]),
    ] {
        words.iter().for_each(|word| add(list, word));
    }
    for turn in Turn::ALL {
        add("turn", turn.as_str());
        add("work-none", turn.as_str());
    }
    all
}

/// What stands between quotes in the pages and looks like a key of theirs.
fn named(known: &BTreeSet<String>) -> BTreeSet<String> {
    let quoted = PAGES.iter().flat_map(|page| page.split('"').skip(1).step_by(2));
    quoted
        .filter(|text| known.contains(*text))
        .map(str::to_owned)
        .collect()
}

/// What the pages ask for by a key that they write out.
fn asked_for() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for page in PAGES {
        for call in ["say(\"", "say_with(\"", "count(\""] {
            let asked = page.split(call).skip(1).filter_map(|rest| rest.split('"').next());
            all.extend(asked.map(str::to_owned));
        }
    }
    all
}

#[test]
fn every_language_has_every_text_and_names_the_same() {
    let english = keys(WORDS[0].1);
    for (language, text) in WORDS {
        let other = keys(text);
        assert_eq!(other.len(), english.len(), "{}", language.tag());
        for (other, english) in other.iter().zip(&english) {
            assert_eq!(other, english, "{}", language.tag());
        }
    }
    Texts::load(&WORDS, TimeZone::UTC).unwrap();
}

#[test]
fn every_text_that_a_page_asks_for_is_there_and_no_other() {
    let (known, frame) = (english(), FRAME[0].1);
    let of_frame: BTreeSet<String> = keys(frame).into_iter().map(|(key, _)| key).collect();
    let missing: Vec<String> = asked_for()
        .into_iter()
        .filter(|key| !known.contains(key) && !of_frame.contains(key))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
    let missing: Vec<String> = of_lists().difference(&known).cloned().collect();
    assert_eq!(missing, Vec::<String>::new(), "words of closed lists");
    let used: BTreeSet<String> = of_lists().union(&named(&known)).cloned().collect();
    let unused: Vec<String> = known.difference(&used).cloned().collect();
    assert_eq!(unused, Vec::<String>::new(), "no page says it");
}

#[test]
fn every_route_has_its_roles_and_every_row_of_the_table_its_route() {
    let source: String = include_str!("server.rs").split_whitespace().collect();
    let mut routes = BTreeSet::new();
    for rest in source.split(".route(\"").skip(1) {
        let (path, handlers) = rest.split_once("\",").unwrap();
        let handlers = handlers.split(".fallback").next().unwrap();
        for method in ["get", "post"] {
            if handlers.contains(&format!("{method}(")) {
                routes.insert((method.to_uppercase(), path.to_owned()));
            }
        }
    }
    let table = roles::TABLE
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(table.collect::<BTreeSet<_>>(), routes);
}

/// The same table written a second time, by hand: r referrer, c coordinator, a auditor, m admin, * anybody.
const EXPECTED: &[(&str, &str)] = &[
    ("GET /", "rcam"),
    ("GET /sign-in", "*"),
    ("GET /sign-in/{link}", "*"),
    ("POST /sign-in/{link}", "*"),
    ("POST /language", "*"),
    ("GET /passkeys", "rcam"),
    ("POST /passkeys/make", "rcam"),
    ("POST /passkeys/made", "rcam"),
    ("POST /passkeys/enter", "*"),
    ("POST /passkeys/entered", "*"),
    ("POST /passkeys/end", "rcam"),
    ("POST /sign-out", "rcam"),
    ("GET /referrals", "rca"),
    ("GET /referrals/{code}", "rc"),
    ("POST /referrals/{code}/messages", "rc"),
    ("GET /referrals/{code}/{move}", "rc"),
    ("POST /referrals/{code}/{move}", "rc"),
    ("GET /refer", "rc"),
    ("POST /refer", "rc"),
    ("POST /refer/find", "rc"),
    ("GET /refer/{draft}/need", "rc"),
    ("POST /refer/{draft}/need", "rc"),
    ("GET /refer/{draft}/service", "rc"),
    ("POST /refer/{draft}/service", "rc"),
    ("GET /refer/{draft}/aloud", "rc"),
    ("POST /refer/{draft}/refused", "rc"),
    ("GET /refer/{draft}/consent", "rc"),
    ("POST /refer/{draft}/consent", "rc"),
    ("GET /refer/{draft}/check", "rc"),
    ("POST /refer/{draft}/send", "rc"),
    ("GET /refer/{draft}/sent", "rc"),
    ("GET /colleagues", "m"),
    ("POST /colleagues", "m"),
    ("POST /colleagues/{id}/link", "m"),
    ("POST /colleagues/{id}/end", "m"),
];

#[test]
fn every_page_and_role_is_as_decided() {
    assert_eq!(EXPECTED.len(), roles::TABLE.len());
    let letter = |role: &Role| match role {
        Role::Referrer => 'r',
        Role::Coordinator => 'c',
        Role::Auditor => 'a',
        Role::Admin => 'm',
    };
    for (route, letters) in EXPECTED {
        let (method, path) = route.split_once(' ').unwrap();
        let said: String = match roles::who(method, path).expect(route) {
            roles::Who::Anybody => "*".to_owned(),
            roles::Who::With(roles) => roles.iter().map(letter).collect(),
        };
        assert_eq!(said, *letters, "{route}");
    }
    assert_eq!(roles::who("GET", "/sign-out"), None);
    assert_eq!(roles::who("POST", ""), None);
}
