//! Lists of referrals by whose turn it is, the most urgent first. What is listed are codes, organisations and states, never a name.
//! Called by the routes `/` and `/referrals`.

use axum::extract::Query;
use axum::response::{IntoResponse as _, Redirect};
use kith_proto::lifecycle::{Consent, State};
use kith_proto::v1;
use kith_service::web::words::Words;
use maud::{Markup, html};

use super::visit::{Answer, Visit, lists, opens};
use crate::threads::DAY_MS;
use crate::threads_view::work::{self, Place, Turn, WorkAsked, WorkLine};
use crate::tokens::Role;

/// Lines of a page: what a screen shows without much scrolling, and a phone loads at once.
const LINES: u32 = 30;
/// From how many days before its end the consent's end is counted in days.
const COUNTED_DAYS: i64 = 14;

/// Where somebody begins.
pub(super) async fn start(visit: Visit) -> Answer {
    let caller = visit.caller()?;
    let only_settings = caller.roles.iter().all(|role| role == Role::Admin);
    let home = if only_settings {
        "/colleagues"
    } else {
        "/referrals"
    };
    Ok(Redirect::to(home).into_response())
}

/// Which list, and from where on.
#[derive(serde::Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    turn: String,
    #[serde(default)]
    after: String,
}

/// The list.
pub(super) async fn list(visit: Visit, Query(asked): Query<Asked>) -> Answer {
    let caller = visit.caller()?;
    let turn = asked.turn.parse().unwrap_or(Turn::Yours);
    let wanted = WorkAsked {
        caller,
        turn,
        after: asked.after.parse::<Place>().ok(),
        page_size: LINES,
    };
    let page = work::list(visit.node(), lists(&caller), &wanted).await;
    let page = page.map_err(|error| visit.refused(error.problem(), &error))?;
    let words = visit.words();
    let title = words.say("work-title");
    let may_open = caller.roles.contains(Role::Coordinator) || caller.roles.contains(Role::Referrer);
    let now_ms = visit.node().now_ms();
    let content = html! {
        h1 { (title) }
        nav aria-label=(words.say("work-turns")) {
            ul.tabs {
                @for one in Turn::ALL {
                    li {
                        a href={ "/referrals?turn=" (one.as_str()) } aria-current=[(one == turn).then_some("page")] {
                            (words.word("turn", one.as_str()))
                        }
                    }
                }
            }
        }
        @if page.lines.is_empty() {
            p { (words.word("work-none", turn.as_str())) }
        } @else {
            ul.list {
                @for one in &page.lines {
                    // A coordinator opens all of them, a referrer their own; an auditor's list is wider than what they open.
                    (line(&visit, one, may_open && opens(&caller) == lists(&caller), now_ms))
                }
            }
        }
        ul.deeds {
            @if let Some(place) = &page.next {
                li { a href={ "/referrals?turn=" (turn.as_str()) "&after=" (place) } { (words.say("next-page")) } }
            }
            @if wanted.after.is_some() {
                li { a href={ "/referrals?turn=" (turn.as_str()) } { (words.say("work-newest")) } }
            }
        }
    };
    visit.page(&title, content)
}

fn line(visit: &Visit, one: &WorkLine, may_open: bool, now_ms: i64) -> Markup {
    let (words, line) = (visit.words(), &one.line);
    let organisation = visit.called(&line.organisation);
    let direction = if line.side == v1::Side::Inbox as i32 {
        "work-from"
    } else {
        "work-to"
    };
    html! {
        li {
            p {
                @if may_open {
                    a.code href={ "/referrals/" (line.code) } { (line.code) }
                } @else {
                    span.code { (line.code) }
                }
                " " (words.say_with(direction, &[("organisation", &organisation)]))
            }
            p { (state(words, line.state)) (due(words, line, now_ms)) }
            @if let Some(ends) = ends(words, one, now_ms) { p.quiet { (ends) } }
        }
    }
}

/// A state in words.
pub(super) fn state(words: Words<'_>, state: i32) -> String {
    State::try_from(state).map_or_else(|_| String::new(), |state| words.word("state", state.as_str()))
}

/// By when something is to be done, or since when it is overdue.
pub(super) fn due(words: Words<'_>, line: &v1::ReferralLine, now_ms: i64) -> Markup {
    let said = |key, at_ms| words.say_with(key, &[("day", &words.day(at_ms))]);
    html! {
        @if line.deadline_ms <= 0 {
            span.quiet { " · " (said("work-ended", line.updated_at_ms)) }
        } @else if line.deadline_ms < now_ms {
            " · " span.late { (said("work-late", line.deadline_ms)) }
        } @else {
            " · " (said("work-by", line.deadline_ms))
        }
    }
}

/// When consent ends, while it stands; counted in days when it is near.
fn ends(words: Words<'_>, one: &WorkLine, now_ms: i64) -> Option<String> {
    let stands = Consent::try_from(one.line.consent) == Ok(Consent::Live) && one.line.deadline_ms > 0;
    let left_ms = one.consent_until_ms.saturating_sub(now_ms);
    if !stands || left_ms <= 0 {
        return None;
    }
    let days = left_ms / DAY_MS;
    if days <= COUNTED_DAYS {
        return Some(words.count("work-consent-days", days.unsigned_abs()));
    }
    Some(words.say_with("work-consent", &[("day", &words.day(one.consent_until_ms))]))
}
