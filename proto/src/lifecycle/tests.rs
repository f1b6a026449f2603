//! Tests of the lifecycle against a table written by hand from the design, never generated from the code.
//! Run by `cargo test`. Never change a row here to make a test pass without changing the design first.

use super::*;
use std::collections::HashMap;

/// State, party, what it makes, what it proposes (`move>state`), what repeats. An absent pair may do nothing.
type Expected = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const EXPECTED: &[Expected] = &[
    ("draft", "person", "discard>", "", ""),
    ("draft", "sender", "send>sent discard>", "", ""),
    ("draft", "timer", "discard>", "", ""),
    ("sent", "person", "withdraw>withdrawn", "", ""),
    ("sent", "sender", "withdraw>withdrawn", "enter_in_error>entered_in_error", "send reinstate"),
    ("sent", "recipient", "receive>received withdraw>withdrawn enter_in_error>entered_in_error", "", ""),
    ("sent", "timer", "expire>expired", "", ""),
    ("sent", "gateway", "drop>cancelled", "", ""),
    ("received", "person", "withdraw>withdrawn", "", ""),
    ("received", "sender", "withdraw>withdrawn", "cancel>cancelled enter_in_error>entered_in_error", "reinstate"),
    ("received", "recipient", "acknowledge>acknowledged request_info>info_requested waitlist>waitlisted accept>accepted \
        decline>declined forward>forwarded withdraw>withdrawn enter_in_error>entered_in_error", "", "receive"),
    ("received", "timer", "expire>expired", "", ""),
    ("acknowledged", "person", "withdraw>withdrawn", "", ""),
    ("acknowledged", "sender", "withdraw>withdrawn", "cancel>cancelled enter_in_error>entered_in_error", "answer_info reinstate"),
    ("acknowledged", "recipient", "request_info>info_requested waitlist>waitlisted accept>accepted decline>declined \
        forward>forwarded withdraw>withdrawn enter_in_error>entered_in_error", "", "acknowledge"),
    ("acknowledged", "timer", "expire>expired", "", ""),
    ("info_requested", "person", "withdraw>withdrawn", "", ""),
    ("info_requested", "sender", "withdraw>withdrawn", "answer_info>acknowledged cancel>cancelled \
        enter_in_error>entered_in_error", "reinstate"),
    ("info_requested", "recipient", "decline>declined withdraw>withdrawn enter_in_error>entered_in_error", "", "request_info"),
    ("info_requested", "timer", "expire>expired", "", ""),
    ("waitlisted", "person", "withdraw>withdrawn", "", ""),
    ("waitlisted", "sender", "withdraw>withdrawn", "cancel>cancelled enter_in_error>entered_in_error", "reinstate"),
    ("waitlisted", "recipient", "accept>accepted decline>declined forward>forwarded withdraw>withdrawn \
        enter_in_error>entered_in_error", "", "waitlist"),
    ("waitlisted", "timer", "expire>expired", "", ""),
    ("accepted", "person", "withdraw>withdrawn", "", ""),
    ("accepted", "sender", "withdraw>withdrawn", "plan_handoff>handoff_planned request_cancel>cancel_requested \
        enter_in_error>entered_in_error", "replan_handoff reinstate"),
    ("accepted", "recipient", "plan_handoff>handoff_planned start>in_progress waitlist>waitlisted complete>completed \
        not_complete>not_completed decline>declined forward>forwarded withdraw>withdrawn enter_in_error>entered_in_error",
        "", "accept replan_handoff refuse_cancel"),
    ("accepted", "timer", "expire>expired", "", ""),
    ("handoff_planned", "person", "withdraw>withdrawn", "", ""),
    ("handoff_planned", "sender", "withdraw>withdrawn", "replan_handoff>accepted request_cancel>cancel_requested \
        enter_in_error>entered_in_error", "plan_handoff reinstate"),
    ("handoff_planned", "recipient", "meet>in_progress miss>no_show replan_handoff>accepted not_complete>not_completed \
        withdraw>withdrawn enter_in_error>entered_in_error", "", "plan_handoff refuse_cancel"),
    ("handoff_planned", "timer", "expire>expired", "", ""),
    ("no_show", "person", "withdraw>withdrawn", "", ""),
    ("no_show", "sender", "withdraw>withdrawn", "plan_handoff>handoff_planned request_cancel>cancel_requested \
        enter_in_error>entered_in_error", "reinstate"),
    ("no_show", "recipient", "plan_handoff>handoff_planned meet>in_progress not_complete>not_completed withdraw>withdrawn \
        enter_in_error>entered_in_error", "", "miss refuse_cancel"),
    ("no_show", "timer", "expire>expired", "", ""),
    ("in_progress", "person", "withdraw>withdrawn", "", ""),
    ("in_progress", "sender", "withdraw>withdrawn", "plan_handoff>handoff_planned request_cancel>cancel_requested \
        enter_in_error>entered_in_error", "reinstate"),
    ("in_progress", "recipient", "complete>completed not_complete>not_completed forward>forwarded \
        plan_handoff>handoff_planned withdraw>withdrawn enter_in_error>entered_in_error", "", "meet start refuse_cancel"),
    ("in_progress", "timer", "expire>expired", "", ""),
    ("cancel_requested", "person", "withdraw>withdrawn", "", ""),
    ("cancel_requested", "sender", "withdraw>withdrawn", "enter_in_error>entered_in_error", "request_cancel reinstate"),
    ("cancel_requested", "recipient", "cancel>cancelled complete>completed not_complete>not_completed \
        refuse_cancel>no_show withdraw>withdrawn enter_in_error>entered_in_error", "", ""),
    ("cancel_requested", "timer", "expire>expired", "", ""),
    ("completed", "person", "withdraw>completed", "", ""),
    ("completed", "sender", "withdraw>completed", "", ""),
    ("completed", "recipient", "withdraw>completed", "", "complete"),
    ("not_completed", "person", "withdraw>not_completed", "", ""),
    ("not_completed", "sender", "withdraw>not_completed", "", ""),
    ("not_completed", "recipient", "withdraw>not_completed", "", "not_complete"),
    ("declined", "person", "withdraw>declined", "", ""),
    ("declined", "sender", "withdraw>declined", "", ""),
    ("declined", "recipient", "withdraw>declined", "", "decline"),
    ("forwarded", "person", "withdraw>forwarded", "", ""),
    ("forwarded", "sender", "withdraw>forwarded", "", ""),
    ("forwarded", "recipient", "withdraw>forwarded", "", "forward"),
    ("cancelled", "person", "withdraw>cancelled", "", ""),
    ("cancelled", "sender", "withdraw>cancelled", "", "cancel"),
    ("cancelled", "recipient", "withdraw>cancelled", "", "cancel"),
    ("cancelled", "gateway", "", "", "drop"),
    ("withdrawn", "person", "withdraw>withdrawn", "", ""),
    ("withdrawn", "sender", "withdraw>withdrawn", "", ""),
    ("withdrawn", "recipient", "withdraw>withdrawn", "", ""),
    ("expired", "person", "withdraw>expired", "", ""),
    ("expired", "sender", "withdraw>expired reinstate>waitlisted", "", ""),
    ("expired", "recipient", "withdraw>expired", "", ""),
    ("expired", "timer", "", "", "expire"),
    ("entered_in_error", "person", "withdraw>entered_in_error", "", ""),
    ("entered_in_error", "sender", "withdraw>entered_in_error", "", "enter_in_error"),
    ("entered_in_error", "recipient", "withdraw>entered_in_error", "", "enter_in_error"),
];

/// Each party's whole vocabulary: any other word from it is refused as not its own.
const MAY_EVER: &[(&str, &str)] = &[
    ("person", "discard withdraw"),
    (
        "sender",
        "send discard answer_info plan_handoff replan_handoff request_cancel cancel withdraw reinstate enter_in_error",
    ),
    (
        "recipient",
        "receive acknowledge request_info waitlist accept decline forward plan_handoff replan_handoff meet miss start \
         complete not_complete cancel refuse_cancel withdraw enter_in_error",
    ),
    ("timer", "discard expire"),
    ("gateway", "drop"),
];

/// What is kept as late when it comes after expiry.
const LATE: &str = "receive acknowledge request_info answer_info waitlist accept decline forward plan_handoff \
    replan_handoff meet miss start complete not_complete request_cancel cancel refuse_cancel enter_in_error drop";

/// What needs a reason code.
const REASONED: &str =
    "decline forward complete not_complete cancel refuse_cancel withdraw expire enter_in_error drop";

fn has(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|w| w == word)
}

fn lookup(list: &str, mv: Move) -> Option<&str> {
    list.split_whitespace()
        .filter_map(|w| w.split_once('>'))
        .find(|(m, _)| *m == mv.as_str())
        .map(|(_, s)| s)
}

/// A situation with the past that the rows assume: cancel asked after a missed meeting, expired while waiting.
fn situation(state: State) -> Situation {
    let mut now = Situation::new(state);
    match state {
        State::CancelRequested => now.came_from = Some(State::NoShow),
        State::Expired => now.expired_from = Some(State::Waitlisted),
        _ => {}
    }
    now
}

fn changed(now: Situation, mv: Move, party: Party) -> Situation {
    match apply(now, mv, party, Some(Reason::Other)) {
        Ok(Outcome::Changed(next)) => next,
        other => panic!("{now:?} {mv} {party}: {other:?}"),
    }
}

#[test]
fn every_state_move_and_party_is_as_the_design_says() {
    let rows: HashMap<_, _> = EXPECTED
        .iter()
        .map(|&(state, party, makes, asks, same)| ((state, party), (makes, asks, same)))
        .collect();
    assert_eq!(rows.len(), EXPECTED.len(), "a pair is written twice");
    let words: HashMap<_, _> = MAY_EVER.iter().copied().collect();
    let mut seen = 0;
    for &state in State::ALL {
        let row = |party: &Party| {
            *rows
                .get(&(state.as_str(), party.as_str()))
                .unwrap_or(&("", "", ""))
        };
        for party in Party::ALL {
            let (makes, asks, same) = row(party);
            let mut listed = 0;
            for &mv in Move::ALL {
                let label = format!("{state} {mv} {party}");
                let to = lookup(makes, mv).or(lookup(asks, mv));
                let other = |p: &Party| lookup(row(p).0, mv).or(lookup(row(p).1, mv)).is_some();
                let got = apply(situation(state), mv, *party, Some(Reason::Other));
                let told = match got {
                    Ok(Outcome::Changed(next)) => next.state.as_str(),
                    Ok(Outcome::Discarded) => "",
                    Ok(Outcome::AlreadyThere) => "(same)",
                    Ok(Outcome::Late) => "(late)",
                    Err(Refused::WrongState) => "(state)",
                    Err(Refused::WrongParty) => "(party)",
                    Err(Refused::ReasonMissing | Refused::ConsentCut) => "(other)",
                };
                let want = match to {
                    Some(to) => to,
                    None if has(same, mv.as_str()) => "(same)",
                    None if !has(words[party.as_str()], mv.as_str()) => "(party)",
                    None if state == State::Expired && has(LATE, mv.as_str()) => "(late)",
                    None if Party::ALL.iter().any(other) => "(party)",
                    None => "(state)",
                };
                assert_eq!(told, want, "{label}");
                let rank = match (lookup(makes, mv), lookup(asks, mv)) {
                    (Some(_), _) => Some(Authority::Makes),
                    (None, Some(_)) => Some(Authority::Proposes),
                    (None, None) => None,
                };
                assert_eq!(authority(state, mv, *party), rank, "{label}");
                listed += usize::from(rank.is_some()) + usize::from(has(same, mv.as_str()));
                seen += 1;
            }
            let written = [makes, asks, same]
                .iter()
                .map(|l| l.split_whitespace().count())
                .sum::<usize>();
            assert_eq!(listed, written, "{state} {party}: a row has an unknown word");
            assert_eq!(
                moves_for(state, *party).len(),
                written - same.split_whitespace().count()
            );
        }
    }
    assert_eq!(seen, 19 * 25 * 5);
}

#[test]
fn no_open_state_lacks_an_owner_a_clock_or_a_way_out() {
    let open = State::ALL.iter().filter(|s| s.is_open()).count();
    assert_eq!(open, 11);
    for &state in State::ALL {
        assert_ne!(state.is_open(), state.is_terminal());
        assert_eq!(state.is_open(), state.number() <= 11, "{state}");
        assert_eq!(state.clock_owner().is_some(), state.is_open(), "{state}");
        assert_eq!(
            state
                .deadline_days_default()
                .is_some_and(|d| (1..90).contains(&d)),
            state.is_open(),
            "{state}"
        );
        if state.is_open() {
            let owners: &[Party] = match state.clock_owner() {
                Some(Owner::Sender) => &[Party::Sender],
                Some(Owner::Recipient) => &[Party::Recipient],
                _ => &[Party::Sender, Party::Recipient],
            };
            for &owner in owners {
                let plain = |m: Move| !matches!(m, Move::Withdraw | Move::EnterInError);
                assert!(
                    moves_for(state, owner).iter().any(|&(m, _)| plain(m)),
                    "{state}: {owner} can do nothing"
                );
            }
            assert!(
                !moves_for(state, Party::Timer).is_empty(),
                "{state}: no clock ends it"
            );
        }
    }
}

#[test]
fn owners_and_fhir_codes_are_as_the_design_says() {
    let want = "draft sender draft|sent recipient requested|received recipient received|acknowledged recipient received|\
        info_requested sender received|waitlisted recipient on-hold|accepted recipient accepted|\
        handoff_planned both in-progress|no_show recipient in-progress|in_progress recipient in-progress|\
        cancel_requested recipient in-progress|completed - completed|not_completed - failed|declined - rejected|\
        forwarded - rejected|cancelled - cancelled|withdrawn - cancelled|expired - failed|\
        entered_in_error - entered-in-error";
    let got: Vec<_> = State::ALL
        .iter()
        .map(|s| {
            format!(
                "{s} {} {}",
                s.clock_owner().map_or("-", Owner::as_str),
                s.fhir_task_status()
            )
        })
        .collect();
    assert_eq!(got.join("|"), want);
}

#[test]
fn a_terminal_state_needs_a_reason() {
    for &mv in Move::ALL {
        assert_eq!(mv.needs_reason(), has(REASONED, mv.as_str()), "{mv}");
        for &state in State::ALL {
            for (next, _) in Party::ALL
                .iter()
                .flat_map(|&p| moves_for(state, p))
                .filter(|(m, _)| *m == mv)
            {
                let party = *Party::ALL
                    .iter()
                    .find(|&&p| authority(state, next, p).is_some())
                    .unwrap();
                let got = apply(situation(state), mv, party, None);
                assert_eq!(
                    got == Err(Refused::ReasonMissing),
                    has(REASONED, mv.as_str()),
                    "{state} {mv}"
                );
            }
        }
    }
}

/// Which reasons fit, by reason: the other way round than the code has it.
const FITS: &[(&str, &str)] = &[
    ("help_given", "complete refuse_cancel"),
    ("partly_given", "complete not_complete"),
    ("full", "decline forward not_complete"),
    ("not_our_service", "decline forward not_complete"),
    ("out_of_area", "decline forward"),
    ("not_eligible", "decline forward not_complete"),
    ("wrong_language", "decline forward not_complete"),
    ("better_elsewhere", "decline forward not_complete cancel"),
    ("cannot_reach", "decline not_complete cancel"),
    ("moved_away", "decline not_complete cancel withdraw"),
    ("person_changed_mind", "decline not_complete cancel withdraw"),
    ("not_said", "not_complete cancel withdraw"),
    ("no_longer_needed", "decline not_complete cancel withdraw"),
    ("duplicate", "decline cancel enter_in_error"),
    ("wrong_person", "decline cancel enter_in_error"),
    ("wrong_recipient", "decline forward cancel enter_in_error"),
    ("no_answer", "expire"),
    ("not_deliverable", "drop"),
    ("already_underway", "refuse_cancel"),
    (
        "not_safe",
        "decline forward not_complete cancel refuse_cancel withdraw",
    ),
    ("other", REASONED),
];

#[test]
fn every_move_and_reason_is_as_decided() {
    let rows: HashMap<_, _> = FITS.iter().copied().collect();
    assert_eq!(rows.len(), Reason::ALL.len());
    for &mv in Move::ALL {
        let fitting = mv.reasons();
        assert_eq!(!fitting.is_empty(), mv.needs_reason(), "{mv}");
        for &reason in Reason::ALL {
            let times = fitting.iter().filter(|&&fits| fits == reason).count();
            let expected = usize::from(has(rows[reason.as_str()], mv.as_str()));
            assert_eq!(times, expected, "{mv} {reason}");
        }
    }
}

#[test]
fn a_repeat_is_a_no_op() {
    for &state in State::ALL {
        for &party in Party::ALL {
            for (mv, _) in moves_for(state, party) {
                if let Ok(Outcome::Changed(next)) = apply(situation(state), mv, party, Some(Reason::Other)) {
                    assert_eq!(
                        apply(next, mv, party, None),
                        Ok(Outcome::AlreadyThere),
                        "{state} {mv} {party}"
                    );
                }
            }
        }
    }
}

#[test]
fn one_move_has_one_target() {
    for a in TABLE {
        for b in TABLE.iter().filter(|b| b.mv == a.mv) {
            assert!(matches!((&a.to, &b.to), (To::State(x), To::State(y)) if x == y) || std::ptr::eq(a, b));
        }
    }
}

#[test]
fn a_withdrawal_after_a_terminal_state_keeps_the_outcome() {
    for &state in State::ALL.iter().filter(|s| s.is_terminal()) {
        let next = changed(situation(state), Move::Withdraw, Party::Person);
        assert_eq!(
            next,
            Situation {
                consent: Consent::Cut,
                ..situation(state)
            }
        );
        let erased = Situation {
            consent: Consent::Erased,
            ..situation(state)
        };
        assert_eq!(
            apply(erased, Move::Withdraw, Party::Person, None),
            Ok(Outcome::AlreadyThere)
        );
    }
    assert_eq!(
        changed(situation(State::Sent), Move::Withdraw, Party::Person).consent,
        Consent::Cut
    );
}

#[test]
fn a_refused_cancel_returns_to_where_it_came_from() {
    for state in [
        State::Accepted,
        State::HandoffPlanned,
        State::NoShow,
        State::InProgress,
    ] {
        let asked = changed(Situation::new(state), Move::RequestCancel, Party::Sender);
        assert_eq!(asked.came_from, Some(state));
        assert_eq!(
            changed(asked, Move::RefuseCancel, Party::Recipient),
            Situation::new(state)
        );
        let expired = changed(asked, Move::Expire, Party::Timer);
        let again = changed(expired, Move::Reinstate, Party::Sender);
        assert_eq!(again, asked, "the way back survives expiry");
    }
    for past in [None, Some(State::Completed), Some(State::CancelRequested)] {
        let broken = Situation {
            came_from: past,
            ..Situation::new(State::CancelRequested)
        };
        let got = apply(
            broken,
            Move::RefuseCancel,
            Party::Recipient,
            Some(Reason::AlreadyUnderway),
        );
        assert_eq!(got, Err(Refused::WrongState));
    }
}

#[test]
fn without_consent_nothing_carries_on_but_everything_can_end() {
    for &state in State::ALL {
        let cut = Situation {
            consent: Consent::Cut,
            ..situation(state)
        };
        for (party, mv) in Party::ALL
            .iter()
            .flat_map(|&p| moves_for(state, p).into_iter().map(move |m| (p, m.0)))
        {
            match apply(cut, mv, party, Some(Reason::Other)) {
                Ok(Outcome::Changed(next)) => {
                    assert!(
                        next.state.is_terminal() && next.consent == Consent::Cut,
                        "{state} {mv}"
                    );
                    assert_ne!(next.state, State::Forwarded);
                }
                Ok(Outcome::Discarded | Outcome::AlreadyThere) | Err(Refused::ConsentCut) => {}
                other => panic!("{state} {mv}: {other:?}"),
            }
        }
    }
}
