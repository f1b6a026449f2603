//! Consent that ran out: from its last day on nothing more is shared, and after 14 days' notice access ends here.
//! Called by each tick, for what was captured here and for what came from others alike.
//! Never moves a thread: it stays where it is and can only end, as its consent is cut.

use kith_proto::lifecycle::Consent;
use kith_proto::problem::Problem;
use kith_service::store::{StoreError, Tx};

use super::{CHUNK, NOTICE_MS, Ticked, TimerError};
use crate::audit::{self, Code, Event};
use crate::node::Node;
use crate::store;
use crate::store::counter::Counter;
use crate::store::timers::ToCut;
use crate::thread_set::ThreadSet;
use crate::threads::Side;

/// Marks grants and slips whose time is over; their open threads say so from then on.
pub(super) async fn end(node: &Node, now_ms: i64, ticked: &mut Ticked) -> Result<(), TimerError> {
    loop {
        let find = |mut tx: Tx| async move { due(&mut tx, now_ms).await };
        if node.store.read::<_, StoreError, _, _>("lapsed", find).await? == 0 {
            return Ok(());
        }
        let end = |mut tx: Tx| async move { end_chunk(&mut tx, node, now_ms).await };
        let (grants, slips, changed) = node.store.tx::<_, StoreError, _, _>("lapse", end).await?;
        ticked.grants_expired += grants;
        ticked.slips_expired += slips;
        node.tell_change(changed);
    }
}

async fn due(tx: &mut Tx, now_ms: i64) -> Result<usize, StoreError> {
    let grants = store::timers::grants_over(tx, now_ms, 1).await?;
    let slips = store::timers::slips_over(tx, now_ms, 1).await?;
    Ok(grants.len() + slips.len())
}

async fn end_chunk(tx: &mut Tx, node: &Node, now_ms: i64) -> Result<(u64, u64, i64), StoreError> {
    let mut counter = Counter::lock(tx).await?;
    let (mut grants, mut slips, mut trail) = (0, 0, Vec::new());
    for grant_id in store::timers::grants_over(tx, now_ms, CHUNK).await? {
        if store::timers::end_grant(tx, &grant_id, now_ms).await? {
            trail.push(Event::new(Code::GrantExpired, now_ms).id("grant", grant_id.as_bytes()));
            grants += 1;
        }
    }
    let mut threads = ThreadSet::default();
    for slip_id in store::timers::slips_over(tx, now_ms, CHUNK).await? {
        if !store::timers::end_slip(tx, &slip_id).await? {
            continue;
        }
        slips += 1;
        for thread_id in threads.load_of_slips(tx, &[slip_id]).await? {
            threads.set(&thread_id, |thread| {
                if thread.situation.state.is_open() {
                    thread.problem = Some(Problem::ConsentExpired);
                }
            });
        }
    }
    threads.write(tx, &mut counter).await?;
    audit::insert(tx, &mut counter, &node.rng, &trail).await?;
    let changed = counter.change();
    counter.save(tx).await?;
    Ok((grants, slips, changed))
}

/// Ends access under slips whose notice is over: keys destroyed, queued mail held back, consent cut.
pub(super) async fn cut(node: &Node, now_ms: i64, ticked: &mut Ticked) -> Result<(), TimerError> {
    let expired_by_ms = now_ms.saturating_sub(NOTICE_MS);
    loop {
        let find =
            |mut tx: Tx| async move { store::timers::slips_to_cut(&mut tx, expired_by_ms, CHUNK).await };
        let due: Vec<ToCut> = node
            .store
            .read::<_, StoreError, _, _>("notice over", find)
            .await?;
        if due.is_empty() {
            return Ok(());
        }
        let due = &due;
        let cut = |mut tx: Tx| async move { cut_chunk(&mut tx, node, due, now_ms).await };
        let (slips, changed) = node.store.tx::<_, StoreError, _, _>("cut", cut).await?;
        ticked.slips_cut += slips;
        node.tell_change(changed);
    }
}

async fn cut_chunk(tx: &mut Tx, node: &Node, due: &[ToCut], now_ms: i64) -> Result<(u64, i64), StoreError> {
    let mut counter = Counter::lock(tx).await?;
    let mut threads = ThreadSet::default();
    let (mut slips, mut trail) = (0, Vec::new());
    for one in due {
        if !store::timers::cut_slip(tx, &one.slip_id, now_ms).await? {
            continue;
        }
        slips += 1;
        if store::holding::destroy(tx, &[one.holding_id], now_ms).await? > 0 {
            let event = Event::new(Code::HoldingDestroyed, now_ms);
            trail.push(
                event
                    .id("holding", one.holding_id.as_bytes())
                    .id("slip", one.slip_id.as_bytes()),
            );
        }
        let waiting = store::withdrawals::queued(tx, &one.slip_id).await?;
        let held_back = waiting.iter().filter(|w| !w.always_passes()).map(|w| w.seq);
        let held_back: Vec<i64> = held_back.collect();
        store::withdrawals::withhold(tx, &held_back, Problem::ConsentExpired.as_str()).await?;
        store::withdrawals::forget_taken(tx, &one.slip_id).await?;
        for thread_id in threads.load_of_slips(tx, &[one.slip_id]).await? {
            threads.set(&thread_id, |thread| {
                let cut = if thread.side == Side::Inbox {
                    Consent::Erased
                } else {
                    Consent::Cut
                };
                thread.situation.consent = thread.situation.consent.max(cut);
            });
        }
    }
    threads.write(tx, &mut counter).await?;
    audit::insert(tx, &mut counter, &node.rng, &trail).await?;
    let changed = counter.change();
    counter.save(tx).await?;
    Ok((slips, changed))
}
