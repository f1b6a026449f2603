//! Hands what was said to the `settle` door, many at once, and tells the gateway which notices are held. Called as one
//! half of a stream. Never says that a notice is held before its commit, never settles an answer of this stream after positions went back.

use kith_proto::v1;
use kith_proto::v1::attach_request::Frame;
use kith_service::store::StoreError;
use tokio::sync::mpsc;

use super::Ended;
use super::attach::Session;
use crate::settle::{Reoffer, SETTLE_ROWS_MAX, Settlement};
use crate::store;

/// One thing that was said, and the number of its notice; 0 for what is no notice.
pub(super) struct Said {
    /// None for a notice that is passed over.
    pub(super) settlement: Option<Settlement>,
    pub(super) notice: u64,
}

/// Settles until the stream ends.
pub(super) async fn run(session: &Session<'_>, mut said: mpsc::Receiver<Said>) -> Result<(), Ended> {
    let mut batch = Vec::with_capacity(SETTLE_ROWS_MAX);
    loop {
        batch.clear();
        if said.recv_many(&mut batch, SETTLE_ROWS_MAX).await == 0 {
            return Ok(());
        }
        // Positions go back with it: answers that came after it are for numbers that count no more, and come again on the next stream.
        let back = first_new(session, &batch).await?;
        if let Some(back) = back {
            batch.truncate(back + 1);
        }
        let wishes = batch.iter().filter_map(|one| match &one.settlement {
            Some(Settlement::Reoffer(wish)) => Some(wish.clone()),
            _ => None,
        });
        let wishes: Vec<Reoffer> = wishes.collect();
        let held = batch.iter().map(|one| one.notice).max().unwrap_or_default();
        let rows: Vec<Settlement> = batch.drain(..).filter_map(|one| one.settlement).collect();
        let mut changed = 0;
        for settled in session.node.settle_door.submit_all(rows).await {
            changed = changed.max(settled?);
        }
        session.node.tell_change(changed);
        for wish in &wishes {
            say_if_nothing(session, wish).await?;
        }
        if held > 0 {
            session
                .send(Frame::NoticesHeld(v1::NoticesHeld { number: held }))
                .await?;
        }
        if back.is_some() {
            return Err(Ended::Again);
        }
    }
}

/// Tells the gateway where nothing of a wish can be offered, as it is not kept here. Before it is told that the wish is held, so that it is told again
/// where the stream ends between the two.
async fn say_if_nothing(session: &Session<'_>, wish: &Reoffer) -> Result<(), Ended> {
    let Some(held) = wish.held else {
        return Ok(());
    };
    let read = |mut tx| async move { store::reoffer::offers(&mut tx, &wish.peer, held).await };
    let store = &session.node.store;
    if store.read::<_, StoreError, _, _>("offers", read).await? {
        return Ok(());
    }
    let nothing = v1::NothingToOffer {
        organisation: wish.peer.to_string(),
        restore_id: wish.restore_id.to_vec(),
    };
    session.send(Frame::NothingToOffer(nothing)).await
}

/// Where the first wish to offer again stands that this node has not followed before. One that it has followed, whose notice comes
/// again as the word that it is held was lost with its stream, moves nothing and ends nothing.
async fn first_new(session: &Session<'_>, batch: &[Said]) -> Result<Option<usize>, Ended> {
    for (place, one) in batch.iter().enumerate() {
        if let Some(Settlement::Reoffer(reoffer)) = &one.settlement {
            let read = |mut tx| async move {
                store::reoffer::is_followed(&mut tx, &reoffer.peer, &reoffer.restore_id).await
            };
            let look = session.node.store.look::<_, StoreError, _, _>("re-offer", read);
            if !look.await? {
                return Ok(Some(place));
            }
        }
    }
    Ok(None)
}
