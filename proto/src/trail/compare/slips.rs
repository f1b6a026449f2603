//! Slips: whether a withdrawal reached everybody whom it must reach, and its proof came back. Only [`super::compare`] calls it.
//! Never take one side's word for the other's: a slip is stopped where its own account says so.

use super::{Account, Case, Finding, short};
use crate::trail::Code;
use crate::trail::event::Told;
use crate::words::EnvelopeKind;

/// Compares the stops and withdrawal proofs of every slip of the thread.
pub(super) fn compare(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for id in case.named("slip") {
        stops(case, id, findings);
        proofs(case, id, findings);
    }
}

/// Withdrawn at a node, stopped at the gateway.
fn stops(case: &Case<'_>, id: &str, findings: &mut Vec<Finding>) {
    let Some(gateway) = case.gateway() else {
        return;
    };
    let stop = gateway.lines(Code::SlipStopped, "slip", id).next();
    let withdrawn = case.nodes().find(|node| has(node, Code::GrantWithdrawn, id));
    match (stop, withdrawn) {
        (None, Some(node)) => {
            findings.push(case.lacks(gateway, node, &format!("consent slip {} was stopped", short(id))));
        }
        (Some(stop), None) => {
            // Whoever asked for the stop is the one whose account must have the withdrawal; the person's code is nobody's account.
            let by = stop.get("by").and_then(|org| case.of_org(org));
            if let Some(node) = by {
                let what = format!("the consent of slip {} was withdrawn", short(id));
                findings.push(case.lacks(node, gateway, &what));
            }
        }
        _ => (),
    }
}

/// A proof that one node sent, and the other received.
fn proofs(case: &Case<'_>, id: &str, findings: &mut Vec<Finding>) {
    for node in case.nodes() {
        for line in node.lines(Code::WithdrawalProved, "slip", id) {
            let other = line.get("by").and_then(|org| case.of_org(org));
            if let Some(other) = other.filter(|other| sent_proofs(other, id).next().is_none()) {
                let what = format!("it sent a proof of the withdrawal of slip {}", short(id));
                findings.push(case.lacks(other, node, &what));
            }
        }
        for line in sent_proofs(node, id) {
            let arrived = line
                .get("envelope")
                .is_some_and(|envelope| arrived(case, envelope));
            let other = line.get("to").and_then(|org| case.of_org(org));
            if let Some(other) = other.filter(|other| arrived && !has(other, Code::WithdrawalProved, id)) {
                let what = format!("the withdrawal of slip {} was proved", short(id));
                findings.push(case.lacks(other, node, &what));
            }
        }
    }
}

fn sent_proofs<'b, 'a>(node: &'b Account<'a>, id: &'b str) -> impl Iterator<Item = &'b Told<'a>> {
    let sent = node.lines(Code::EnvelopeSent, "slip", id);
    sent.filter(|told| told.get("kind") == Some(EnvelopeKind::WithdrawalProof.as_str()))
}

/// Whether anybody says that an envelope was delivered and not refused; one under way proves nothing yet.
fn arrived(case: &Case<'_>, envelope: &str) -> bool {
    let codes = [Code::EnvelopeDelivered, Code::EnvelopeReceived];
    let mut lines = case.accounts.iter().flat_map(|account| {
        codes
            .into_iter()
            .flat_map(|code| account.lines(code, "envelope", envelope))
    });
    lines.any(|told| told.get("problem").is_none())
}

fn has(account: &Account<'_>, code: Code, slip: &str) -> bool {
    account.lines(code, "slip", slip).next().is_some()
}
