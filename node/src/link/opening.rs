//! One delivered envelope: who sent it, what allows it, what it holds. Called by the receiving half before anything is
//! written. Never gives a body of an envelope that any check refused, never judges by the gateway's word alone.

use kith_proto::envelope::{self, EnvelopeError, Ground, Hashed, Head};
use kith_proto::id::OrgId;
use kith_proto::order::Position;
use kith_proto::permits::{Asked, Header, MemberState, Members, Refusal, permits};
use kith_proto::problem::Problem;
use kith_proto::slip::{SignedSlip, SlipError};
use kith_proto::words::{Category, EnvelopeKind};

use super::Ended;
use crate::node::Node;
use crate::receive::{Arrival, Opened, What};

/// Why an envelope is not opened.
enum Unopened {
    /// It is refused, and its sender told.
    Refused(Problem),
    /// The directory may be older than the sender's key: look again after a refresh.
    OldDirectory(Problem),
    /// A key of this member is not in the key log yet.
    AwaitsLog(OrgId),
    /// Something here failed: try again later.
    Later,
}

/// Whether the directory may be to blame, or was just refreshed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Directory {
    MayBeOld,
    Fresh,
}

/// What became of one envelope.
pub(super) enum Looked {
    /// It is opened, or refused.
    Arrival(Box<Arrival>),
    /// The directory must be refreshed first.
    Refresh,
    /// It is looked at again once this member's keys are in the key log.
    AwaitsLog(OrgId),
    /// Not even its id can be read, so that it cannot be answered.
    Unreadable,
}

/// Looks at an envelope that the gateway took at `taken_at_ms`; `place` is its place in a pair's order, by a line that its
/// sender is known to have signed.
pub(super) fn look(
    node: &Node,
    place: Option<(&OrgId, Position)>,
    hashed: &Hashed,
    taken_at_ms: i64,
    directory: Directory,
) -> Result<Looked, Ended> {
    let (sender, position) = place.unzip();
    let arrival = |from: &OrgId, envelope_id, what| {
        Looked::Arrival(Box::new(Arrival {
            peer: sender.unwrap_or(from).clone(),
            position,
            envelope_id,
            envelope_hash: hashed.hash(),
            what,
        }))
    };
    let problem = match open(node, sender, hashed, taken_at_ms) {
        Ok(opened) => {
            let (from, id) = (opened.head.from.clone(), opened.head.envelope_id);
            return Ok(arrival(&from, id, What::Opened(Box::new(opened))));
        }
        Err(Unopened::OldDirectory(_) | Unopened::AwaitsLog(_)) if directory == Directory::MayBeOld => {
            return Ok(Looked::Refresh);
        }
        Err(Unopened::AwaitsLog(org)) => return Ok(Looked::AwaitsLog(org)),
        Err(Unopened::OldDirectory(problem) | Unopened::Refused(problem)) => problem,
        Err(Unopened::Later) => return Err(Ended::Again),
    };
    let Ok(head) = Head::parse(&hashed.envelope().head) else {
        tracing::error!("an envelope whose head cannot be read was delivered");
        return Ok(Looked::Unreadable);
    };
    Ok(arrival(&head.from, head.envelope_id, What::Refused(problem)))
}

/// Sender, addressee, slip, consent, then the seal; the first that fails names the problem. `sender` signed the line that
/// names the envelope; outside the order the envelope's own signature says who sent it.
fn open(node: &Node, sender: Option<&OrgId>, hashed: &Hashed, taken_at_ms: i64) -> Result<Opened, Unopened> {
    let key = |at_ms: i64| move |org: &OrgId| node.members.keys_of(org, at_ms).map(|keys| keys.signing_key);
    let verified = match sender {
        Some(sender) => hashed.vouched_for(sender),
        None => hashed.verify(key(taken_at_ms)),
    };
    let verified = verified.map_err(|error| {
        let from = Head::parse(&hashed.envelope().head).ok().map(|head| head.from);
        awaits_log(node, from.as_ref(), unopened(error))
    })?;
    let head = &verified.head;
    if head.network != node.membership.network || head.to != *node.organisation() {
        return Err(Unopened::Refused(Problem::Invalid));
    }
    // As at the gate: what only ends things is never too late.
    let ends_things = matches!(
        head.kind,
        EnvelopeKind::Withdrawal | EnvelopeKind::WithdrawalProof
    );
    if head.expires_at_ms <= taken_at_ms && !ends_things {
        return Err(Unopened::Refused(Problem::DeadlineExceeded));
    }
    let Ground::Slip { signed, claimed } = &head.ground else {
        // This node does not take questions, answers and disclosures yet.
        return Err(Unopened::Refused(Problem::Invalid));
    };
    let slip = SignedSlip::verify(signed, &head.network, key(claimed.issued_at_ms));
    // Whose key has just verified the line is in the directory: a newer one would show no other key for the day of the slip.
    let known = sender == Some(&claimed.from);
    let slip = slip.map_err(|error| awaits_log(node, Some(&claimed.from), slip_unopened(error, known)))?;
    let asked = Asked {
        kind: head.kind,
        declared: &head.categories,
        bare: !head.categories.contains(Category::Progress),
        disclosure_note: false,
    };
    let header = Header {
        from: head.from.as_str(),
        to: head.to.as_str(),
    };
    // Whether the slip was taken back is asked when it is written. A suspension counts from the moment the gateway takes
    // or holds back an envelope: this copy of the directory may be older, and a refusal here would lose it for good.
    let members = Members {
        from: MemberState::Active,
        to: MemberState::Active,
    };
    permits(&asked, header, Some(&slip.terms(false)), members, node.now_ms()).map_err(refused)?;
    let held = node.keys.sealing_key(&head.sealing_key_id);
    let held = held.ok_or(Unopened::Refused(Problem::StaleKey))?;
    let body = envelope::open(&verified, &held.key).map_err(unopened)?;
    Ok(Opened {
        signed: signed.clone(),
        slip,
        body,
        head: verified.head,
    })
}

fn unopened(error: EnvelopeError) -> Unopened {
    match error {
        EnvelopeError::UnknownMember | EnvelopeError::BadSignature => Unopened::OldDirectory(error.problem()),
        EnvelopeError::Library => Unopened::Later,
        _ => Unopened::Refused(error.problem()),
    }
}

fn slip_unopened(error: SlipError, known: bool) -> Unopened {
    match error {
        SlipError::UnknownMember | SlipError::BadSignature if !known => {
            Unopened::OldDirectory(error.problem())
        }
        SlipError::Library => Unopened::Later,
        _ => Unopened::Refused(error.problem()),
    }
}

/// Whose key was to blame, where it may be one that is not in the key log yet.
fn awaits_log(node: &Node, org: Option<&OrgId>, unopened: Unopened) -> Unopened {
    match (unopened, org) {
        (Unopened::OldDirectory(_), Some(org)) if node.members.awaits_log(org) => {
            Unopened::AwaitsLog(org.clone())
        }
        (unopened, _) => unopened,
    }
}

fn refused(refusal: Refusal) -> Unopened {
    Unopened::Refused(refusal.code().parse().unwrap_or(Problem::Invalid))
}
