//! Seals waiting rows again whose recipient has another key by now, under the same envelope id. Called by the sending half
//! when the gateway says `stale_key`. Never changes anything but the seal: the head's times and slip stay, so does the body.
//!
//! A row that cannot be sealed yet waits for [`PAUSE_MS`]. One that never can be is withheld, so that its pair goes on.

use kith_proto::envelope::{EnvelopeError, Head, sealing_key_id};
use kith_proto::v1;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

use super::Ended;
use super::attach::Session;
use crate::content::ContentError;
use crate::node::Node;
use crate::outbox::{self, OutboxError};
use crate::settle::{GivenUp, OutboxRow, Settlement};
use crate::store;
use crate::store::holding::Holding;

/// How long a row waits that could not be sealed again, and its pair with it: until then the directory, which is asked
/// at once, has come.
pub(super) const PAUSE_MS: i64 = 5_000;

/// Why one row stays as it is.
#[derive(Debug, thiserror::Error)]
enum ResealError {
    /// It is gone: withheld meanwhile.
    #[error("the envelope is gone")]
    Gone,
    /// Its body was not kept, or its keys were destroyed.
    #[error("the body cannot be had any more")]
    Body,
    /// The directory still shows the key that it is sealed to.
    #[error("no other key of the recipient is known")]
    SameKey,
    /// The keys of its holding could not be opened.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// It was not sealed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ResealError {
    /// Whether no later attempt can succeed.
    const fn is_final(&self) -> bool {
        match self {
            Self::Body
            | Self::Content(ContentError::Erased)
            | Self::Outbox(OutboxError::Content(ContentError::Erased)) => true,
            Self::Outbox(OutboxError::Envelope(error)) => !matches!(error, EnvelopeError::Library),
            Self::Gone | Self::SameKey | Self::Content(_) | Self::Outbox(_) | Self::Store(_) => false,
        }
    }
}

/// Seals rows again to the keys that the directory shows now; gives those that must wait.
pub(super) async fn reseal(session: &Session<'_>, rows: Vec<OutboxRow>) -> Result<Vec<OutboxRow>, Ended> {
    let mut waiting = Vec::new();
    for row in rows {
        match one(session.node, &row).await {
            // Its recipient has had it: the line goes again without it.
            Err(ResealError::Gone) if row.again => forget(session.node, &row).await?,
            Ok(()) | Err(ResealError::Gone) => {}
            Err(ResealError::Store(error)) if error.is_of_the_whole_store() => return Err(error.into()),
            Err(error) => {
                let lost = error.is_final();
                tracing::warn!(%error, lost, "an envelope could not be sealed to its recipient's new key");
                if lost {
                    give_up(session.node, row).await?;
                } else {
                    waiting.push(row);
                }
            }
        }
    }
    // The directory may be older than the key that the gateway knows.
    session.members_changed.notify_one();
    session.checkpoint_offered.notify_one();
    Ok(waiting)
}

/// Erases the bytes of a row that was delivered.
async fn forget(node: &Node, row: &OutboxRow) -> Result<(), StoreError> {
    let seqs = &[row.seq];
    let forget = |mut tx: Tx| async move { store::outgoing::forget(&mut tx, seqs).await };
    node.store.tx("forget envelope", forget).await
}

/// Withholds a row for good and says so on its thread.
async fn give_up(node: &Node, row: OutboxRow) -> Result<(), Ended> {
    let at_ms = node.now_ms();
    let given_up = Settlement::GivenUp(GivenUp { row, at_ms });
    node.tell_change(node.settle_door.submit(given_up).await?);
    Ok(())
}

async fn one(node: &Node, row: &OutboxRow) -> Result<(), ResealError> {
    let read = |mut tx| async move { kept(&mut tx, row).await };
    let found = node.store.read::<_, StoreError, _, _>("stale", read).await?;
    let (envelope, body, holding) = found.ok_or(ResealError::Gone)?;
    let envelope = v1::Envelope::decode(envelope.as_slice()).map_err(|_| ResealError::Body)?;
    let now_ms = node.now_ms();
    let head = Head::parse(&envelope.head).map_err(OutboxError::from)?;
    let to = node.members.keys_of(&head.to, now_ms);
    let to = to.ok_or(OutboxError::NotAMember)?;
    if sealing_key_id(&to.sealing_key) == head.sealing_key_id {
        return Err(ResealError::SameKey);
    }
    let keys = holding.map(|holding| node.content.unwrap(&holding)).transpose()?;
    let body = match (body, &keys) {
        (Body::Kept(sealed), keys) => outbox::open_body(node, keys.as_ref(), row.envelope_id, &sealed)?,
        (Body::Standing(standing), Some(keys)) => standing.body(keys)?,
        (Body::Standing(_), None) | (Body::Gone, _) => return Err(ResealError::Body),
    };
    let again = &outbox::reseal(node, &envelope, &body, now_ms)?;
    let write = |mut tx| async move {
        store::outgoing::reseal(&mut tx, row, &again.hash, again.envelope.clone()).await
    };
    node.store.tx::<_, StoreError, _, _>("reseal", write).await?;
    Ok(())
}

/// Where the body is.
enum Body {
    /// Sealed, beside the envelope.
    Kept(Vec<u8>),
    /// In the referral's own rows.
    Standing(outbox::Standing),
    /// Nowhere any more.
    Gone,
}

type Kept = (Vec<u8>, Body, Option<Holding>);

async fn kept(tx: &mut Tx, row: &OutboxRow) -> Result<Option<Kept>, StoreError> {
    let Some(found) = store::outgoing::kept(tx, row.seq).await? else {
        return Ok(None);
    };
    let holding = match found.holding_id {
        Some(id) => store::holding::get(tx, id).await?,
        None => None,
    };
    let body = match found.body {
        // The keys went with the holding.
        Some(_) if found.holding_id.is_some() && holding.is_none() => Body::Gone,
        Some(sealed) => Body::Kept(sealed),
        None if row.kind == EnvelopeKind::Referral => {
            let standing = outbox::standing(tx, row.thread_id).await?;
            standing.map_or(Body::Gone, Body::Standing)
        }
        None => Body::Gone,
    };
    Ok(Some((found.envelope, body, holding)))
}
