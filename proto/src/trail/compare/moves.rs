//! Moves: whether both nodes have a referral where the other has it. Only [`super::compare`] calls it.
//! Never ask for a move that is one node's own: a draft that was sent, an envelope that the gateway dropped.

use super::{Account, Case, Finding, short};
use crate::lifecycle::Move;
use crate::trail::Code;
use crate::trail::event::Told;
use std::collections::BTreeSet;

/// Compares every move of the thread; says how many.
pub(super) fn compare(case: &Case<'_>, findings: &mut Vec<Finding>) -> usize {
    let nodes: Vec<&Account<'_>> = case.nodes().collect();
    let made = |told: &&Told<'_>| told.get("as") != Some("proposed");
    let moves = |account: &Account<'_>, id: &str| -> Vec<(String, String)> {
        let lines = account.lines(Code::ReferralMoved, "event", id).filter(made);
        let of_thread = lines.filter(|told| told.get("thread") == Some(case.thread));
        let word = |told: &Told<'_>, name| told.get(name).unwrap_or_default().to_owned();
        of_thread
            .map(|told| (word(told, "move"), word(told, "state")))
            .collect()
    };
    let ids: BTreeSet<&str> = case.named("event");
    let [one, other] = nodes.as_slice() else {
        return 0;
    };
    for id in &ids {
        let (left, right) = (moves(one, id), moves(other, id));
        match (left.last(), right.last()) {
            (Some(left), Some(right)) if left != right => {
                let what = format!(
                    "event {} is the move {} there and {} here",
                    short(id),
                    shown(left),
                    shown(right)
                );
                findings.push(case.contradicts(other, one, &what));
            }
            (Some(step), None) if is_shared(&step.0) => {
                findings.push(case.lacks(other, one, &told_as(id, step)));
            }
            (None, Some(step)) if is_shared(&step.0) => {
                findings.push(case.lacks(one, other, &told_as(id, step)));
            }
            _ => (),
        }
    }
    ids.len()
}

/// Whether the other node is told of it.
fn is_shared(step: &str) -> bool {
    !matches!(step.parse(), Ok(Move::Send | Move::Discard | Move::Drop))
}

fn told_as(id: &str, step: &(String, String)) -> String {
    format!("event {} made the move {}", short(id), shown(step))
}

/// Move and state in words of the closed lists.
fn shown((step, state): &(String, String)) -> String {
    let plain = |word: &str| {
        let known = word.parse::<Move>().is_ok() || word.parse::<crate::lifecycle::State>().is_ok();
        if known {
            word.replace('_', " ")
        } else {
            "unknown".to_owned()
        }
    };
    format!("\"{}\" to \"{}\"", plain(step), plain(state))
}
