//! Envelopes on their way out: sealed first, then queued inside the transaction that they belong to.
//! Called by sending, moves, messages, withdrawals and proofs; the link takes them from the store.
//! Never seals inside a transaction, never sends.

mod fresh;
mod own;
mod rebuilt;

use kith_proto::envelope::{self, ENVELOPE_LIFE_MS_MAX, EnvelopeError};
use kith_proto::id::{EnvelopeId, HoldingId, OrgId, SlipId, ThreadId};
use kith_proto::permits::CategorySet;
use kith_proto::problem::Problem;
use kith_proto::trust::Binding;
use kith_proto::v1;
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::rng::RandomFailed;
use kith_service::status::Failure;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;
use std::sync::Arc;

use crate::content::{ContentError, HoldingKeys, Place, Section};
use crate::node::Node;
use crate::store;
use crate::store::counter::Counter;

pub use fresh::Fresh;
pub use rebuilt::{Standing, standing};

/// When to ask again for a member whose keys are not logged: the log is followed once a minute without any call for it.
const LOG_WAIT_MS: i64 = 60_000;

/// What an envelope is to be made of.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// Its id; the same one when it is sealed again.
    pub envelope_id: EnvelopeId,
    /// The recipient.
    pub to: &'a OrgId,
    /// What the body is.
    pub kind: EnvelopeKind,
    /// Its thread.
    pub thread_id: ThreadId,
    /// What allows it.
    pub slip: &'a v1::SignedSlip,
    /// The slip's id.
    pub slip_id: SlipId,
    /// Every category that the body holds.
    pub categories: CategorySet,
    /// The body.
    pub body: &'a v1::Body,
    /// When it is made, by the gateway's time.
    pub at_ms: i64,
}

/// A sealed envelope that waits to be queued.
#[derive(Clone)]
pub struct Outgoing {
    /// Its id.
    pub envelope_id: EnvelopeId,
    /// SHA-256 of the whole, as order lines name it.
    pub hash: [u8; 32],
    /// The recipient.
    pub to: OrgId,
    /// What it carries.
    pub kind: EnvelopeKind,
    /// Its thread.
    pub thread_id: ThreadId,
    /// What allows it.
    pub slip_id: SlipId,
    /// The holding whose `record` key seals `body`; none where this node's own key does.
    pub holding_id: Option<HoldingId>,
    /// The envelope.
    pub envelope: v1::Envelope,
    /// The serialised body, sealed at rest, for sealing again; `None` for a body that its rows can rebuild.
    pub body: Option<Vec<u8>>,
    /// When it is dropped if not delivered.
    pub expires_at_ms: i64,
    /// When it was made.
    pub at_ms: i64,
}

/// Why an envelope was not sealed, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The recipient has no key in force: it is no member, or not yet.
    #[error("the recipient has no key in force")]
    NotAMember,
    /// No key of the recipient that counts stands in the key log yet: try again in a minute.
    #[error("the recipient's keys are not in the network's log yet")]
    NotLogged(OrgId),
    /// The body breaks a rule or a limit: see [`EnvelopeError`].
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The body could not be kept for sealing again.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl OutboxError {
    /// The problem code.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::NotAMember => Problem::NotAMember,
            Self::Envelope(error) => error.problem(),
            Self::Content(error) => error.problem(),
            Self::Random(_) | Self::NotLogged(_) => Problem::Unavailable,
        }
    }

    /// What the edge answers.
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.problem());
        match self {
            Self::NotLogged(org) => failure
                .with_sentence(format!(
                    "The keys of {org} are not in the network's log yet; try again in a minute."
                ))
                .with_retry_after(LOG_WAIT_MS),
            _ => failure,
        }
    }
}

impl Draft<'_> {
    /// Whether it only ends or moves things, without words: it passes under any slip, also after its holding is gone.
    fn always_flows(&self) -> bool {
        match self.kind {
            EnvelopeKind::Withdrawal | EnvelopeKind::WithdrawalProof => true,
            EnvelopeKind::Event => self.categories.is_empty(),
            _ => false,
        }
    }
}

impl Outgoing {
    /// Whether it has a place in the order of its pair; a withdrawal, its proof and an attachment stand outside.
    pub const fn is_ordered(&self) -> bool {
        kith_proto::order::is_ordered(self.kind)
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Outgoing({:?}, {} to {})",
            self.envelope_id, self.kind, self.to
        )
    }
}

/// The keys that the recipient has in force, and why there are none.
fn recipient_keys(node: &Node, to: &OrgId, at_ms: i64) -> Result<Arc<Binding>, OutboxError> {
    let missing = || {
        if node.members.awaits_log(to) {
            OutboxError::NotLogged(to.clone())
        } else {
            OutboxError::NotAMember
        }
    };
    node.members.keys_of(to, at_ms).ok_or_else(missing)
}

/// Seals an envelope to the key that its recipient has in force. With `keys` of the slip's holding the body is kept for
/// sealing again when the recipient's key has changed meanwhile; a referral's is not, as its content stands beside it (see
/// [`Standing`]). What always flows must outlive every holding, so that its body,
/// which is ids and codes only, is kept under this node's own sealing key.
pub fn seal(node: &Node, draft: &Draft<'_>, keys: Option<&HoldingKeys>) -> Result<Outgoing, OutboxError> {
    let to = recipient_keys(node, draft.to, draft.at_ms)?;
    let expires_at_ms = draft.at_ms.saturating_add(ENVELOPE_LIFE_MS_MAX);
    let head = v1::Head {
        envelope_id: draft.envelope_id.as_bytes().to_vec(),
        network: node.membership.network.to_string(),
        from: node.organisation().to_string(),
        to: draft.to.to_string(),
        kind: draft.kind.number(),
        thread_id: draft.thread_id.as_bytes().to_vec(),
        ground: Some(v1::head::Ground::Slip(draft.slip.clone())),
        categories: draft.categories.iter().map(Category::number).collect(),
        created_at_ms: draft.at_ms,
        expires_at_ms,
        // version, suite and sealing key id are written by `seal_envelope`.
        ..v1::Head::default()
    };
    let random = node.rng.bytes()?;
    let sealed = envelope::seal_envelope(head, draft.body, &to.sealing_key, &node.keys.signing, &random)?;
    let keep = |keys: &HoldingKeys| {
        let place = body_place(draft.envelope_id);
        keys.seal(&node.rng, Section::Record, &place, &draft.body.encode_to_vec())
    };
    let (keys, body) = if draft.always_flows() {
        let text = draft.body.encode_to_vec();
        (None, Some(own::seal(node, draft.envelope_id, &text)?))
    } else if draft.kind == EnvelopeKind::Referral {
        (keys, None)
    } else {
        (keys, keys.map(keep).transpose()?)
    };
    Ok(Outgoing {
        envelope_id: draft.envelope_id,
        hash: sealed.hash(),
        to: draft.to.clone(),
        kind: draft.kind,
        thread_id: draft.thread_id,
        slip_id: draft.slip_id,
        holding_id: keys.map(HoldingKeys::holding_id),
        envelope: sealed.into_envelope(),
        body,
        expires_at_ms,
        at_ms: draft.at_ms,
    })
}

/// What sealing again gave: the new serialised envelope and its hash, under the same envelope id.
#[derive(Clone)]
pub struct Resealed {
    /// The serialised envelope.
    pub envelope: Vec<u8>,
    /// Its hash.
    pub hash: [u8; 32],
}

/// Seals a queued envelope again, to the key that its recipient has in force now: its own head, and the body that was
/// kept (see [`seal`]) or that the caller has rebuilt.
pub fn reseal(
    node: &Node,
    envelope: &v1::Envelope,
    body: &v1::Body,
    now_ms: i64,
) -> Result<Resealed, OutboxError> {
    let head = envelope::Head::parse(&envelope.head)?;
    let to = recipient_keys(node, &head.to, now_ms)?;
    let random = node.rng.bytes()?;
    let signer = &node.keys.signing;
    let sealed = envelope::seal_envelope(head.to_wire(), body, &to.sealing_key, signer, &random)?;
    Ok(Resealed {
        hash: sealed.hash(),
        envelope: sealed.envelope().encode_to_vec(),
    })
}

/// Opens the body that [`seal`] kept, under a holding's keys or, without, under this node's own.
pub fn open_body(
    node: &Node,
    keys: Option<&HoldingKeys>,
    envelope_id: EnvelopeId,
    sealed: &[u8],
) -> Result<v1::Body, OutboxError> {
    let bytes = match keys {
        Some(keys) => keys.open(Section::Record, &body_place(envelope_id), sealed)?,
        None => own::open(node, envelope_id, sealed)?,
    };
    v1::Body::decode(bytes.as_slice()).map_err(|_| EnvelopeError::Malformed("body").into())
}

/// Queues sealed envelopes in their order and gives their places; wake [`Node::outbox_ready`] after the commit.
pub async fn queue(
    tx: &mut Tx,
    counter: &mut Counter,
    outgoing: &[&Outgoing],
) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<(i64, &Outgoing)> = outgoing.iter().map(|out| (counter.next_outbox(), *out)).collect();
    store::outbox::insert(tx, &rows).await?;
    Ok(rows.into_iter().map(|(seq, _)| seq).collect())
}

/// A body lies in its envelope's row.
const fn body_place(envelope_id: EnvelopeId) -> Place {
    Place {
        table: "outbox_envelope",
        row: *envelope_id.as_bytes(),
        column: "body",
    }
}
