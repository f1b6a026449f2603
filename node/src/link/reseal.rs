//! Seals waiting rows again whose recipient has another key by now, under the same envelope id. Called by the sending half
//! when the gateway says `stale_key`. Never changes anything but the seal: the head's times and slip stay, so does the body.

use kith_proto::id::HoldingId;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

use super::Ended;
use super::attach::Session;
use crate::node::Node;
use crate::outbox::{self, OutboxError};
use crate::settle::OutboxRow;
use crate::store;
use crate::store::holding::Holding;

/// Why one row stays as it is; the gateway is asked again after its pause.
#[derive(Debug, thiserror::Error)]
enum ResealError {
    /// It is gone: withheld meanwhile.
    #[error("the envelope is gone")]
    Gone,
    /// Its body was not kept, or its keys were destroyed.
    #[error("the body cannot be had any more")]
    Body,
    /// It was not sealed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Seals rows again to the keys that the directory shows now.
pub(super) async fn reseal(session: &Session<'_>, rows: &[OutboxRow]) -> Result<(), Ended> {
    for row in rows {
        match one(session.node, row).await {
            Ok(()) => {}
            Err(ResealError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "an envelope could not be sealed to its recipient's new key")
            }
        }
    }
    // The directory may be older than the key that the gateway knows.
    session.members_changed.notify_one();
    Ok(())
}

async fn one(node: &Node, row: &OutboxRow) -> Result<(), ResealError> {
    let read = |mut tx| async move { kept(&mut tx, row.seq).await };
    let (envelope, body, holding) = node.store.read::<_, StoreError, _, _>("stale", read).await?;
    let envelope = v1::Envelope::decode(envelope.ok_or(ResealError::Gone)?.as_slice());
    let envelope = envelope.map_err(|_| ResealError::Gone)?;
    let (sealed, holding) = body.zip(holding).ok_or(ResealError::Body)?;
    let keys = node.content.unwrap(&holding).map_err(|_| ResealError::Body)?;
    let body = outbox::open_body(&keys, row.envelope_id, &sealed)?;
    let again = outbox::reseal(node, &envelope, &body, node.now_ms())?;
    let again = &again;
    let write = |mut tx| async move {
        store::outgoing::reseal(&mut tx, row, &again.hash, again.envelope.clone()).await
    };
    node.store.tx::<_, StoreError, _, _>("reseal", write).await?;
    Ok(())
}

type Kept = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Holding>);

async fn kept(tx: &mut Tx, seq: i64) -> Result<Kept, StoreError> {
    let Some(found) = store::outgoing::kept(tx, seq).await? else {
        return Ok((None, None, None));
    };
    let holding: Option<HoldingId> = found.holding_id;
    let holding = match holding {
        Some(id) => store::holding::get(tx, id).await?,
        None => None,
    };
    Ok((Some(found.envelope), found.body, holding))
}
