//! Proves `permits` against an expectation table written from the design, and its two promises by property.
//! The table repeats no code of the module: each letter below was read from the design's words.

use proptest::prelude::*;

use super::*;
use Category::{Contact, Health, Identity, Need, Progress};
use Direction::{Back, Forward};
use EnvelopeKind as Kind;
use MemberState::{Active, NotMember, Suspended};

const NOW: i64 = 1_000_000;
const STATES: [SlipState; 4] = [
    SlipState::Unknown,
    SlipState::Live,
    SlipState::Expired,
    SlipState::Withdrawn,
];
const MEMBERS: [MemberState; 3] = [Active, Suspended, NotMember];
const BOTH: Members = Members {
    from: Active,
    to: Active,
};

/// One row: kind, bare (`None`: either), direction, then one letter for each slip state in the order
/// unknown, live, expired, withdrawn: with both active, with one or two suspended, with one no member.
type Row = (
    Kind,
    Option<bool>,
    Direction,
    &'static str,
    &'static str,
    &'static str,
);

/// `+` passes, `m` consent missing, `e` expired, `w` withdrawn, `r` recipient, `s` suspended, `n` no member.
const EXPECTED: [Row; 22] = [
    (Kind::Question, None, Forward, "++++", "ssss", "nnnn"),
    (Kind::Question, None, Back, "++++", "ssss", "nnnn"),
    (Kind::Answer, None, Forward, "++++", "ssss", "nnnn"),
    (Kind::Answer, None, Back, "++++", "ssss", "nnnn"),
    (Kind::Referral, None, Forward, "m+ew", "ssss", "nnnn"),
    (Kind::Referral, None, Back, "mrew", "ssss", "nnnn"),
    (Kind::Event, Some(true), Forward, "m+++", "m+++", "nnnn"),
    (Kind::Event, Some(true), Back, "m+++", "m+++", "nnnn"),
    (Kind::Event, Some(false), Forward, "m+ew", "ssss", "nnnn"),
    (Kind::Event, Some(false), Back, "m+ew", "ssss", "nnnn"),
    (Kind::Message, None, Forward, "m+ew", "ssss", "nnnn"),
    (Kind::Message, None, Back, "m+ew", "ssss", "nnnn"),
    (Kind::Blob, None, Forward, "m+ew", "ssss", "nnnn"),
    (Kind::Blob, None, Back, "m+ew", "ssss", "nnnn"),
    (Kind::Withdrawal, None, Forward, "m+++", "m+++", "nnnn"),
    (Kind::Withdrawal, None, Back, "m+++", "m+++", "nnnn"),
    (Kind::WithdrawalProof, None, Forward, "m+++", "m+++", "nnnn"),
    (Kind::WithdrawalProof, None, Back, "m+++", "m+++", "nnnn"),
    (Kind::AccessReport, None, Forward, "m+ew", "ssss", "nnnn"),
    (Kind::AccessReport, None, Back, "m+ew", "ssss", "nnnn"),
    (Kind::Disclosure, None, Forward, "++++", "ssss", "nnnn"),
    (Kind::Disclosure, None, Back, "++++", "ssss", "nnnn"),
];

fn set(categories: &[Category]) -> CategorySet {
    categories.iter().copied().collect()
}

fn everything() -> CategorySet {
    set(Category::ALL)
}

fn terms() -> SlipTerms<'static> {
    SlipTerms {
        from: "amber",
        to: "birch",
        purposes: &[Purpose::Care],
        categories: set(&[Identity, Need, Contact]),
        expires_at_ms: NOW + 1,
        progress: true,
        withdrawn: false,
    }
}

fn slip_in(state: SlipState) -> Option<SlipTerms<'static>> {
    match state {
        SlipState::Unknown => None,
        SlipState::Live => Some(terms()),
        SlipState::Expired => Some(SlipTerms {
            expires_at_ms: NOW - 1,
            ..terms()
        }),
        SlipState::Withdrawn => Some(SlipTerms {
            withdrawn: true,
            ..terms()
        }),
    }
}

fn header(direction: Direction) -> Header<'static> {
    match direction {
        Forward => Header {
            from: "amber",
            to: "birch",
        },
        Back => Header {
            from: "birch",
            to: "amber",
        },
    }
}

fn declared_by(kind: Kind, bare: bool) -> CategorySet {
    match (kind, bare) {
        (Kind::Referral | Kind::Message | Kind::Blob, _) => set(&[Identity, Need]),
        (Kind::Event, false) => set(&[Progress]),
        _ => CategorySet::EMPTY,
    }
}

fn ask(kind: Kind, bare: bool, declared: &CategorySet) -> Asked<'_> {
    Asked {
        kind,
        declared,
        bare,
        disclosure_note: true,
    }
}

fn letter(answer: Result<(), Refusal>) -> char {
    match answer {
        Ok(()) => '+',
        Err(Refusal::ConsentMissing) => 'm',
        Err(Refusal::ConsentExpired) => 'e',
        Err(Refusal::ConsentWithdrawn) => 'w',
        Err(Refusal::RecipientNotAllowed) => 'r',
        Err(Refusal::CategoryNotAllowed(_)) => 'c',
        Err(Refusal::NotAMember) => 'n',
        Err(Refusal::MemberSuspended) => 's',
        Err(Refusal::DisclosureNoteMissing) => 'd',
        Err(Refusal::Invalid) => 'i',
    }
}

fn expected(kind: Kind, bare: bool, direction: Direction, members: Members) -> &'static str {
    let rows: Vec<&Row> = EXPECTED
        .iter()
        .filter(|r| r.0 == kind && r.1.is_none_or(|b| b == bare) && r.2 == direction)
        .collect();
    assert_eq!(rows.len(), 1, "{kind} bare {bare} {direction:?}: one row");
    match (members.from, members.to) {
        (Active, Active) => rows[0].3,
        (Suspended, Active) | (Active, Suspended) | (Suspended, Suspended) => rows[0].4,
        (NotMember, _) | (_, NotMember) => rows[0].5,
    }
}

fn all_members() -> impl Iterator<Item = Members> {
    MEMBERS
        .into_iter()
        .flat_map(|from| MEMBERS.into_iter().map(move |to| Members { from, to }))
}

fn all_sets() -> impl Iterator<Item = CategorySet> {
    (0..1u16 << Category::ALL.len()).map(|bits| {
        Category::ALL
            .iter()
            .enumerate()
            .filter(|(n, _)| bits >> n & 1 == 1)
            .map(|(_, c)| *c)
            .collect()
    })
}

/// One live call, both active, forward.
fn forward(kind: Kind, bare: bool, declared: &[Category], slip: SlipTerms<'_>) -> Result<(), Refusal> {
    permits(
        &ask(kind, bare, &set(declared)),
        header(Forward),
        Some(&slip),
        BOTH,
        NOW,
    )
}

#[test]
fn every_cell_is_as_expected() {
    let mut cells = 0;
    for &kind in Kind::ALL {
        for (bare, direction) in [(true, Forward), (true, Back), (false, Forward), (false, Back)] {
            for members in all_members() {
                for (state, want) in STATES
                    .into_iter()
                    .zip(expected(kind, bare, direction, members).chars())
                {
                    let declared = declared_by(kind, bare);
                    let slip = slip_in(state);
                    let asked = ask(kind, bare, &declared);
                    let got = permits(&asked, header(direction), slip.as_ref(), members, NOW);
                    assert_eq!(
                        letter(got),
                        want,
                        "{kind} bare {bare} {direction:?} {state:?} {members:?}"
                    );
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 10 * 2 * 2 * 9 * 4);
}

#[test]
fn every_refusal_has_its_code() {
    let codes = [
        (Refusal::ConsentMissing, "consent_missing"),
        (Refusal::ConsentExpired, "consent_expired"),
        (Refusal::ConsentWithdrawn, "consent_withdrawn"),
        (Refusal::RecipientNotAllowed, "recipient_not_allowed"),
        (
            Refusal::CategoryNotAllowed(set(&[Health])),
            "category_not_allowed",
        ),
        (Refusal::NotAMember, "not_a_member"),
        (Refusal::MemberSuspended, "member_suspended"),
        (Refusal::DisclosureNoteMissing, "disclosure_note_missing"),
        (Refusal::Invalid, "invalid"),
    ];
    codes
        .iter()
        .for_each(|(refusal, code)| assert_eq!(refusal.code(), *code));
    assert_eq!(
        Refusal::CategoryNotAllowed(set(&[Health, Need])).to_string(),
        "not allowed: need, health"
    );
}

#[test]
fn content_declares_only_what_the_slip_allows() {
    for kind in [Kind::Referral, Kind::Message, Kind::Blob] {
        for declared in all_sets() {
            let over: CategorySet = declared
                .iter()
                .filter(|c| ![Identity, Contact, Need, Progress].contains(c))
                .collect();
            let want = if over.is_empty() {
                Ok(())
            } else {
                Err(Refusal::CategoryNotAllowed(over))
            };
            let asked = ask(kind, false, &declared);
            assert_eq!(
                permits(&asked, header(Forward), Some(&terms()), BOTH, NOW),
                want,
                "{kind} {declared}"
            );
        }
    }
}

#[test]
fn kinds_without_content_declare_nothing() {
    for kind in [
        Kind::Question,
        Kind::Answer,
        Kind::Withdrawal,
        Kind::WithdrawalProof,
        Kind::AccessReport,
    ] {
        let slip = SlipTerms {
            categories: everything(),
            ..terms()
        };
        assert_eq!(
            forward(kind, true, &[Need], slip),
            Err(Refusal::CategoryNotAllowed(set(&[Need])))
        );
    }
    assert_eq!(forward(Kind::Disclosure, false, Category::ALL, terms()), Ok(()));
}

#[test]
fn progress_flows_only_if_the_slip_says_so() {
    let shut = SlipTerms {
        categories: everything(),
        progress: false,
        ..terms()
    };
    let open = SlipTerms {
        categories: CategorySet::EMPTY,
        progress: true,
        ..terms()
    };
    let refused = Err(Refusal::CategoryNotAllowed(set(&[Progress])));
    for kind in [Kind::Event, Kind::Message, Kind::Blob, Kind::Referral] {
        assert_eq!(forward(kind, false, &[Progress], shut), refused, "{kind}");
        assert_eq!(forward(kind, false, &[Progress], open), Ok(()), "{kind}");
    }
    assert_eq!(forward(Kind::Event, true, &[], shut), Ok(()));
}

#[test]
fn an_event_has_words_exactly_if_it_declares_progress() {
    assert_eq!(
        forward(Kind::Event, true, &[Progress], terms()),
        Err(Refusal::Invalid)
    );
    assert_eq!(forward(Kind::Event, false, &[], terms()), Err(Refusal::Invalid));
    assert_eq!(
        forward(Kind::Event, false, &[Need], terms()),
        Err(Refusal::Invalid)
    );
    let need = Err(Refusal::CategoryNotAllowed(set(&[Need])));
    assert_eq!(forward(Kind::Event, false, &[Progress, Need], terms()), need);
    assert_eq!(forward(Kind::Event, true, &[Need], terms()), need);
}

#[test]
fn header_and_slip_name_the_same_two() {
    for &kind in Kind::ALL {
        let declared = declared_by(kind, true);
        let asked = ask(kind, true, &declared);
        let free = matches!(kind, Kind::Question | Kind::Answer | Kind::Disclosure);
        for (from, to) in [
            ("amber", "cedar"),
            ("cedar", "birch"),
            ("birch", "cedar"),
            ("elder", "cedar"),
        ] {
            let want = if free {
                Ok(())
            } else {
                Err(Refusal::RecipientNotAllowed)
            };
            let head = Header { from, to };
            assert_eq!(
                permits(&asked, head, Some(&terms()), BOTH, NOW),
                want,
                "{kind} {from} {to}"
            );
        }
        for (from, to) in [("amber", "amber"), ("", "birch"), ("amber", "")] {
            let got = permits(&asked, Header { from, to }, Some(&terms()), BOTH, NOW);
            assert_eq!(got, Err(Refusal::Invalid), "{kind} {from} {to}");
        }
    }
}

#[test]
fn a_slip_ends_at_its_very_millisecond() {
    for (expires_at_ms, want) in [
        (NOW + 1, Ok(())),
        (NOW, Err(Refusal::ConsentExpired)),
        (NOW - 1, Err(Refusal::ConsentExpired)),
    ] {
        assert_eq!(
            forward(
                Kind::Message,
                false,
                &[Need],
                SlipTerms {
                    expires_at_ms,
                    ..terms()
                }
            ),
            want
        );
    }
    let both = SlipTerms {
        expires_at_ms: NOW,
        withdrawn: true,
        ..terms()
    };
    assert_eq!(SlipState::of(Some(&both), NOW), SlipState::Withdrawn);
}

#[test]
fn no_purpose_is_no_consent_and_no_note_no_disclosure() {
    let aimless = SlipTerms {
        purposes: &[],
        ..terms()
    };
    assert_eq!(
        forward(Kind::Referral, false, &[Need], aimless),
        Err(Refusal::ConsentMissing)
    );
    assert_eq!(forward(Kind::Withdrawal, false, &[], aimless), Ok(()));
    let asked = Asked {
        disclosure_note: false,
        ..ask(Kind::Disclosure, false, &CategorySet::EMPTY)
    };
    let got = permits(&asked, header(Forward), Some(&terms()), BOTH, NOW);
    assert_eq!(got, Err(Refusal::DisclosureNoteMissing));
}

#[test]
fn nothing_with_content_passes_a_withdrawn_slip() {
    let cut = SlipTerms {
        categories: everything(),
        withdrawn: true,
        ..terms()
    };
    for &kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Disclosure) {
        for declared in all_sets() {
            for (bare, direction) in [(true, Forward), (true, Back), (false, Forward), (false, Back)] {
                let content = !declared.is_empty()
                    || matches!(
                        kind,
                        Kind::Referral | Kind::Message | Kind::Blob | Kind::AccessReport
                    )
                    || (kind == Kind::Event && !bare);
                for members in all_members() {
                    let asked = ask(kind, bare, &declared);
                    let got = permits(&asked, header(direction), Some(&cut), members, NOW);
                    assert!(
                        !content || got.is_err(),
                        "{kind} {declared} bare {bare} {direction:?} {members:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_set_of_categories_is_a_set() {
    for one in all_sets() {
        assert_eq!(one.iter().collect::<CategorySet>(), one);
        assert_eq!(
            one.iter().count() + everything().missing_from(one).iter().count(),
            Category::ALL.len()
        );
        assert!(one.is_subset(everything()) && CategorySet::EMPTY.is_subset(one));
        Category::ALL
            .iter()
            .for_each(|&c| assert_eq!(one.contains(c), set(&[c]).is_subset(one)));
    }
}

prop_compose! {
    fn some_set()(all in prop::collection::vec(prop::sample::select(Category::ALL), 0..6)) -> CategorySet {
        all.into_iter().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// Less consent and more: whatever passed under less also passes under more.
    #[test]
    fn adding_consent_never_refuses(
        kind in prop::sample::select(Kind::ALL), bare: bool, disclosure_note: bool, declared in some_set(),
        known: bool, less in some_set(), extra in some_set(), progress: (bool, bool), withdrawn: (bool, bool),
        expires in (NOW - 2..NOW + 3, 0i64..4), purposes in (0usize..3, 0usize..3),
        parties in prop::sample::select(vec![("amber", "birch"), ("birch", "amber"), ("amber", "cedar")]),
        from in prop::sample::select(&MEMBERS), to in prop::sample::select(&MEMBERS),
    ) {
        let small = SlipTerms {
            from: "amber", to: "birch", purposes: &Purpose::ALL[..purposes.0], categories: less,
            expires_at_ms: expires.0, progress: progress.0, withdrawn: withdrawn.0,
        };
        let large = SlipTerms {
            purposes: &Purpose::ALL[..purposes.0 + purposes.1],
            categories: less.iter().chain(extra.iter()).collect(),
            expires_at_ms: expires.0 + expires.1,
            progress: progress.0 || progress.1,
            withdrawn: withdrawn.0 && withdrawn.1,
            ..small
        };
        let asked = Asked { kind, declared: &declared, bare, disclosure_note };
        let head = Header { from: parties.0, to: parties.1 };
        let before = permits(&asked, head, known.then_some(&small), Members { from, to }, NOW);
        let after = permits(&asked, head, Some(&large), Members { from, to }, NOW);
        prop_assert!(before.is_err() || after.is_ok(), "{before:?} became {after:?}");
    }
}
