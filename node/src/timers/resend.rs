//! Withdrawals that were lost on the way (the window passed before the recipient came back) are sent again, until the
//! recipient has them or the slip has been over for as long as a mailbox keeps mail.
//! Called by the hourly tick. Never sends one that is still on its way.

use kith_proto::slip::Slip;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};

use super::{CHUNK, OUTBOX_KEPT_MS, TimerError};
use crate::audit;
use crate::content::Section;
use crate::node::Node;
use crate::store;
use crate::store::counter::Counter;
use crate::store::holding::Holding;
use crate::store::slip::{SlipRow, SlipStanding};
use crate::withdrawals::{Meaning, WithdrawError, sealed_again};

/// Sends lost withdrawals again, and says how many.
pub(super) async fn withdrawals(node: &Node, now_ms: i64) -> Result<u64, TimerError> {
    let over_ms = now_ms.saturating_sub(OUTBOX_KEPT_MS);
    let find = |mut tx: Tx| async move {
        let ids = store::timers::unreached(&mut tx, over_ms, CHUNK).await?;
        let slips = store::slip::find(&mut tx, &ids).await?;
        let holdings: Vec<_> = slips.iter().map(|slip| slip.holding_id).collect();
        Ok((slips, store::holding::find(&mut tx, &holdings).await?))
    };
    let (slips, holdings) = node
        .store
        .read::<_, StoreError, _, _>("lost withdrawals", find)
        .await?;
    let mut resent = 0;
    for slip in &slips {
        let holding = holdings
            .iter()
            .find(|holding| holding.holding_id == slip.holding_id);
        resent += u64::from(resend(node, slip, holding, now_ms).await?);
    }
    if resent > 0 {
        node.outbox_ready.notify_one();
    }
    Ok(resent)
}

/// Seals what the slip's row still says of its withdrawal, and queues it; says whether it did.
async fn resend(
    node: &Node,
    slip: &SlipRow,
    holding: Option<&Holding>,
    now_ms: i64,
) -> Result<bool, TimerError> {
    let mut meaning = Meaning {
        scope: v1::WithdrawalScope::Organisation,
        invalidated: false,
        categories: Vec::new(),
        at_ms: slip.ended_at_ms.unwrap_or(now_ms),
    };
    if slip.state != SlipStanding::Withdrawn {
        // It was narrowed: what its holding has no key for is what went.
        let Some(holding) = holding.filter(|holding| holding.keys.is_some()) else {
            return Ok(false);
        };
        let keys = node.content.unwrap(holding).map_err(WithdrawError::from)?;
        let terms = Slip::decode(&slip.signed.slip);
        let terms = terms.map_err(|_| StoreError::Corrupt {
            table: "slip",
            column: "slip",
        })?;
        let allowed = terms.terms(false).allowed();
        meaning.categories = allowed
            .iter()
            .filter(|c| !keys.has(Section::Category(*c)))
            .collect();
        meaning.at_ms = now_ms;
        if meaning.categories.is_empty() {
            return Ok(false);
        }
    }
    let outgoing = match sealed_again(node, slip, &meaning, now_ms) {
        Ok(outgoing) => outgoing,
        // It is no member at this time: tried again while it may come back.
        Err(WithdrawError::Outbox(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let outgoing = &outgoing;
    let queue = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        crate::outbox::queue(&mut tx, &mut counter, &[outgoing]).await?;
        let trail = [crate::moves::told::sent(outgoing, now_ms)];
        audit::insert(&mut tx, &mut counter, &node.rng, &trail).await?;
        counter.save(&mut tx).await
    };
    node.store
        .tx::<_, StoreError, _, _>("send withdrawal again", queue)
        .await?;
    Ok(true)
}
