//! The gate: which envelope is taken, which is refused for good, and which may be tried again later.
//! [`read`] checks what one envelope proves by itself, before any transaction; [`judge`] holds it against the looked-up facts.
//! Never read a clock or a row, never open a body, never refuse a withdrawal or its proof for good because of consent, suspension
//! or time.
//!
//! The first failing check names the refusal: sizes, head, network, sender, header signature, slip signature ([`read`]); then slip
//! record, note, `permits`, times, sealing key, forms of the day, mailbox ([`judge`]). What is final comes before what is not.
//! Where an order line names the envelope, its signature stands for the header's, and for the slip's when the sender captured the
//! consent: the sender has signed every byte of both (see `ARCHITECTURE.md`). The recipient checks every slip's own signature.

use kith_proto::envelope::{EnvelopeError, Ground, Hashed, Head, PREVIOUS_KEY_TAKEN_MS, Verified};
use kith_proto::id::{NetworkName, OrgId};
use kith_proto::permits::{self, Asked, CategorySet, Header, MemberState, Members};
use kith_proto::problem::Problem;
use kith_proto::sign::PublicKey;
use kith_proto::slip::{SignedSlip, SlipError};
use kith_proto::trust;
use kith_proto::words::{Category, EnvelopeKind};

use crate::limits::{
    CLOCK_AHEAD_MS_MAX, FORMS_PER_DAY_MAX, MAILBOX_BYTES_MAX, MAILBOX_FULL_RETRY_MS, MAILBOX_RESERVE_BYTES,
    PAIR_BYTES_MAX, STALE_KEY_RETRY_MS,
};

#[cfg(test)]
mod tests;

/// Why an envelope is not taken, and whether for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the envelope was refused: {problem}")]
pub struct Refusal {
    /// Which of the closed list of problems.
    pub problem: Problem,
    /// The categories at fault, for [`Problem::CategoryNotAllowed`].
    pub categories: CategorySet,
    /// 0: final, the envelope's number is used up. Above: its number stays free, and it may come again after so many ms.
    pub retry_after_ms: i64,
}

impl Refusal {
    /// A refusal for good.
    pub const fn last(problem: Problem) -> Self {
        Self {
            problem,
            categories: CategorySet::EMPTY,
            retry_after_ms: 0,
        }
    }

    /// A refusal that time or another sealing cures.
    pub const fn later(problem: Problem, retry_after_ms: i64) -> Self {
        Self {
            problem,
            categories: CategorySet::EMPTY,
            retry_after_ms,
        }
    }

    /// Whether the envelope may never come again.
    pub const fn is_final(&self) -> bool {
        self.retry_after_ms == 0
    }

    /// The problem code that every API answers with.
    pub const fn problem(&self) -> Problem {
        self.problem
    }
}

/// Whether an event is a lifecycle code without words, as far as a head shows it.
fn is_bare(head: &Head) -> bool {
    head.kind == EnvelopeKind::Event && !head.categories.contains(Category::Progress)
}

/// Whether an envelope passes also after its slip has ended and between suspended members.
pub fn is_exempt(head: &Head) -> bool {
    ends_things(head) || is_bare(head)
}

/// Withdrawals and their proofs: never refused for quotas or times.
pub fn ends_things(head: &Head) -> bool {
    matches!(
        head.kind,
        EnvelopeKind::Withdrawal | EnvelopeKind::WithdrawalProof
    )
}

/// Who the stream's certificate speaks for.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// This network.
    pub network: &'a NetworkName,
    /// The sending member, as its chain shows it.
    pub member: &'a trust::Member,
}

/// By which signature an envelope is its sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedBy {
    /// The one in the envelope.
    Header,
    /// The one over the order lines, of which one names the envelope's hash; whoever calls has verified it.
    OrderLine,
}

/// Checks what an envelope proves by itself: sizes, head, that the certificate's member sent it, and who vouches for its slip.
/// `key_then` gives the signing key that a member had at a time; slips are signed by their capturing member.
pub fn read(
    envelope: &Hashed,
    signed_by: SignedBy,
    peer: Peer<'_>,
    now_ms: i64,
    key_then: impl Fn(&OrgId, i64) -> Option<PublicKey>,
) -> Result<Verified, Refusal> {
    let invalid = Refusal::last(Problem::Invalid);
    let own_key = |from: &OrgId| {
        let key = peer.member.key_at(now_ms).map(|binding| binding.signing_key);
        key.filter(|_| *from == peer.member.org)
    };
    let verified = match signed_by {
        SignedBy::Header => envelope.verify(own_key),
        SignedBy::OrderLine => envelope.vouched_for(&peer.member.org),
    };
    let verified = verified.map_err(unreadable)?;
    if verified.head.network != *peer.network {
        return Err(invalid);
    }
    if let Ground::Slip { signed, claimed } = &verified.head.ground {
        if claimed.issued_at_ms > now_ms.saturating_add(CLOCK_AHEAD_MS_MAX) {
            return Err(invalid);
        }
        let own = claimed.from == peer.member.org;
        if !(own && signed_by == SignedBy::OrderLine) {
            let key = |from: &OrgId| key_then(from, claimed.issued_at_ms);
            SignedSlip::verify(signed, peer.network, key).map_err(unproven)?;
        }
    }
    Ok(verified)
}

/// A sender other than the certificate's member is a false address, not an unknown member.
fn unreadable(error: EnvelopeError) -> Refusal {
    match error {
        EnvelopeError::UnknownMember => Refusal::last(Problem::Invalid),
        EnvelopeError::Library => Refusal::later(Problem::Unavailable, MAILBOX_FULL_RETRY_MS),
        error => Refusal::last(error.problem()),
    }
}

/// A member without a key at the slip's issue cannot have signed it.
fn unproven(error: SlipError) -> Refusal {
    match error {
        SlipError::Library => Refusal::later(Problem::Unavailable, MAILBOX_FULL_RETRY_MS),
        SlipError::UnknownMember => Refusal::last(Problem::Invalid),
        error => Refusal::last(error.problem()),
    }
}

/// What the gateway's rows say about the slip of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlipRecord {
    /// Nothing against it (or the head names none).
    Standing,
    /// Stopped by one of its parties or by the stop secret.
    Stopped,
    /// This id belongs to a slip of other parties or with another stop secret.
    Another,
}

/// What was looked up for one envelope.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Now, in ms UTC.
    pub now_ms: i64,
    /// How the sender stands.
    pub from: MemberState,
    /// How the recipient stands.
    pub to: MemberState,
    /// The recipient's keys; absent only for [`MemberState::NotMember`].
    pub recipient: Option<&'a trust::Member>,
    /// What is known of the slip.
    pub slip: SlipRecord,
    /// Questions and answers already taken from this sender for this recipient today.
    pub forms_today: i64,
    /// Bytes waiting for the recipient, from all senders.
    pub mailbox_bytes: i64,
    /// Bytes waiting for the recipient from this sender.
    pub pair_bytes: i64,
    /// Bytes of this envelope.
    pub envelope_bytes: i64,
}

/// Says whether an envelope that [`read`] passed is taken now.
pub fn judge(head: &Head, facts: &Facts<'_>) -> Result<(), Refusal> {
    if facts.slip == SlipRecord::Another {
        return Err(Refusal::last(Problem::Invalid));
    }
    if matches!(head.ground, Ground::Note(_)) {
        // No policy is signed yet, so the weekly count is 0.
        return Err(Refusal::last(Problem::RecipientNotAllowed));
    }
    check_permits(head, facts)?;
    if !ends_things(head) {
        check_times(head, facts.now_ms)?;
    }
    check_sealing_key(head, facts)?;
    check_quotas(head, facts)
}

fn check_permits(head: &Head, facts: &Facts<'_>) -> Result<(), Refusal> {
    let terms = match &head.ground {
        Ground::Slip { claimed, .. } => Some(claimed.terms(facts.slip == SlipRecord::Stopped)),
        Ground::Membership | Ground::Note(_) => None,
    };
    let asked = Asked {
        kind: head.kind,
        declared: &head.categories,
        bare: is_bare(head),
        disclosure_note: false,
    };
    let header = Header {
        from: head.from.as_str(),
        to: head.to.as_str(),
    };
    let members = Members {
        from: facts.from,
        to: facts.to,
    };
    permits::permits(&asked, header, terms.as_ref(), members, facts.now_ms).map_err(|refusal| match refusal {
        permits::Refusal::ConsentMissing => Refusal::last(Problem::ConsentMissing),
        permits::Refusal::ConsentExpired => Refusal::last(Problem::ConsentExpired),
        permits::Refusal::ConsentWithdrawn => Refusal::last(Problem::ConsentWithdrawn),
        permits::Refusal::RecipientNotAllowed | permits::Refusal::DisclosureNoteMissing => {
            Refusal::last(Problem::RecipientNotAllowed)
        }
        permits::Refusal::CategoryNotAllowed(categories) => Refusal {
            categories,
            ..Refusal::last(Problem::CategoryNotAllowed)
        },
        permits::Refusal::NotAMember => Refusal::last(Problem::NotAMember),
        permits::Refusal::MemberSuspended => Refusal::last(Problem::MemberSuspended),
        permits::Refusal::Invalid => Refusal::last(Problem::Invalid),
    })
}

fn check_times(head: &Head, now_ms: i64) -> Result<(), Refusal> {
    if head.expires_at_ms <= now_ms {
        return Err(Refusal::last(Problem::DeadlineExceeded));
    }
    if head.created_at_ms > now_ms.saturating_add(CLOCK_AHEAD_MS_MAX) {
        return Err(Refusal::last(Problem::ClockOff));
    }
    Ok(())
}

/// The recipient's key in force, or for a day the one before: unless a re-key took its place, as then others may have it.
fn check_sealing_key(head: &Head, facts: &Facts<'_>) -> Result<(), Refusal> {
    let stale = Refusal::later(Problem::StaleKey, STALE_KEY_RETRY_MS);
    let member = facts.recipient.ok_or(Refusal::last(Problem::NotAMember))?;
    let mut keys = member
        .bindings
        .iter()
        .rev()
        .skip_while(|binding| binding.effective_at_ms > facts.now_ms);
    let current = keys.next().ok_or(stale)?;
    if current.sealing_key_id() == head.sealing_key_id {
        return Ok(());
    }
    let kept_until_ms = current.effective_at_ms.saturating_add(PREVIOUS_KEY_TAKEN_MS);
    match keys.next() {
        Some(previous)
            if !current.rekey
                && facts.now_ms < kept_until_ms
                && previous.sealing_key_id() == head.sealing_key_id =>
        {
            Ok(())
        }
        _ => Err(stale),
    }
}

fn check_quotas(head: &Head, facts: &Facts<'_>) -> Result<(), Refusal> {
    let form = matches!(head.kind, EnvelopeKind::Question | EnvelopeKind::Answer);
    if form && facts.forms_today >= FORMS_PER_DAY_MAX {
        return Err(Refusal::last(Problem::CapacityFull));
    }
    let full = Refusal::later(Problem::Unavailable, MAILBOX_FULL_RETRY_MS);
    let reserve = if ends_things(head) {
        MAILBOX_RESERVE_BYTES
    } else {
        0
    };
    let fits = |held: i64, max: i64| held.saturating_add(facts.envelope_bytes) <= max.saturating_add(reserve);
    if fits(facts.mailbox_bytes, MAILBOX_BYTES_MAX) && fits(facts.pair_bytes, PAIR_BYTES_MAX) {
        Ok(())
    } else {
        Err(full)
    }
}
