//! Narrowing a grant: fewer recipients, or fewer categories for one of them; never more.
//! Called by `NarrowGrant`. A recipient that is left out is withdrawn from; one that keeps less is told which categories
//! went, and their keys are destroyed at both ends.
//! Never re-issues a slip: what was narrowed away is what the slip's holding has no key for, here and there.

use kith_proto::id::GrantId;
use kith_proto::lifecycle::{Delivery, Party};
use kith_proto::permits::CategorySet;
use kith_proto::problem::Problem;
use kith_proto::slip::Slip;
use kith_proto::v1;
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::store::{StoreError, Tx};

use super::ending::{self, Ending, Meaning};
use super::{Found, WithdrawError, find, tell};
use crate::audit::{self, Code};
use crate::content::{ContentError, Section};
use crate::grants::Allowed;
use crate::moves::{ATTEMPTS_MAX, Written};
use crate::node::Node;
use crate::requests::{self, Asked};
use crate::store;
use crate::store::counter::Counter;
use crate::store::grant::GrantState;
use crate::store::holding::Holding;
use crate::store::slip::{SlipRow, SlipStanding};
use crate::store::withdrawals::Waiting;
use crate::thread_set::ThreadSet;
use crate::tokens::Caller;

/// One narrowing, as asked: all that stays allowed.
#[derive(Clone)]
pub struct NewNarrowing {
    /// The request, for repeats.
    pub asked: Asked,
    /// Who asks, on the person's word.
    pub caller: Caller,
    /// The grant.
    pub grant_id: GrantId,
    /// What stays; a recipient that is not here is withdrawn from.
    pub allowed: Vec<Allowed>,
}

/// What a narrowing does to the slips of a grant.
struct Narrowed {
    /// Slips that end.
    ended: Vec<Ending>,
    /// Slips that keep less, each with the categories that go.
    lessened: Vec<(Ending, CategorySet)>,
}

/// Narrows a grant. A repeat gets the first answer; what is allowed no less already stays as it is.
pub async fn narrow(node: &Node, new: &NewNarrowing) -> Result<v1::NarrowGrantResponse, WithdrawError> {
    for _ in 0..ATTEMPTS_MAX {
        let look = |mut tx: Tx| async move {
            let answer = requests::first_answer(&mut tx, &new.asked).await?;
            let found = find(&mut tx, Some(&new.caller), &new.grant_id).await?;
            let ids: Vec<_> = found.slips.iter().map(|slip| slip.holding_id).collect();
            let holdings = store::holding::find(&mut tx, &ids).await?;
            Ok::<_, WithdrawError>((answer, found, holdings))
        };
        let (answer, found, holdings) = node.store.read("look at narrowing", look).await?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
        let now_ms = node.now_ms();
        let narrowed = &plan(node, new, &found, &holdings, now_ms)?;
        let write = |mut tx: Tx| async move { write(&mut tx, node, new, narrowed, now_ms).await };
        if let Written::Done(answer, changed) = node.store.tx("narrow", write).await? {
            tell(node, changed);
            return Ok(answer);
        }
    }
    Err(WithdrawError::Busy)
}

fn plan(
    node: &Node,
    new: &NewNarrowing,
    found: &Found,
    holdings: &[Holding],
    at_ms: i64,
) -> Result<Narrowed, WithdrawError> {
    if found.grant.state != GrantState::Live {
        return Err(WithdrawError::Ended);
    }
    let live: Vec<&SlipRow> = found
        .slips
        .iter()
        .filter(|s| s.state == SlipStanding::Live)
        .collect();
    let known = |allowed: &Allowed| live.iter().any(|slip| slip.peer == allowed.recipient);
    if !new.allowed.iter().all(known) {
        return Err(WithdrawError::More);
    }
    let mut narrowed = Narrowed {
        ended: Vec::new(),
        lessened: Vec::new(),
    };
    for slip in live {
        let allowed = new.allowed.iter().find(|allowed| allowed.recipient == slip.peer);
        let holding = holdings
            .iter()
            .find(|holding| holding.holding_id == slip.holding_id);
        let holding = holding.ok_or(StoreError::Corrupt {
            table: "slip",
            column: "holding_id",
        })?;
        let has = has(node, slip, holding)?;
        let keeps = match allowed {
            Some(allowed) => keeps(slip, allowed, has)?,
            None => CategorySet::EMPTY,
        };
        let gone = has.missing_from(keeps);
        let meaning = |categories: Vec<Category>| Meaning {
            scope: v1::WithdrawalScope::Organisation,
            invalidated: false,
            categories,
            at_ms,
        };
        if keeps.is_empty() {
            let all = meaning(Vec::new());
            narrowed
                .ended
                .push(Ending::prepare(node, slip.clone(), &all, Some(&found.own))?);
        } else if !gone.is_empty() {
            let some = meaning(gone.iter().collect());
            let ending = Ending::prepare(node, slip.clone(), &some, Some(&found.own))?;
            narrowed.lessened.push((ending, gone));
        }
    }
    Ok(narrowed)
}

/// What a slip allows still: its terms, less what was narrowed away before.
fn has(node: &Node, slip: &SlipRow, holding: &Holding) -> Result<CategorySet, WithdrawError> {
    let terms = terms(slip)?;
    let keys = node.content.unwrap(holding)?;
    let allowed = terms.terms(false).allowed();
    Ok(allowed
        .iter()
        .filter(|category| keys.has(Section::Category(*category)))
        .collect())
}

/// What is to stay, held against what there is; [`WithdrawError::More`] when it is more, or for other purposes.
fn keeps(slip: &SlipRow, allowed: &Allowed, has: CategorySet) -> Result<CategorySet, WithdrawError> {
    let others = allowed
        .categories
        .iter()
        .filter(|category| *category != Category::Progress);
    let keeps: CategorySet = others
        .chain(allowed.progress.then_some(Category::Progress))
        .collect();
    let mut purposes = allowed.purposes.clone();
    purposes.sort_unstable();
    if keeps.is_subset(has) && purposes == terms(slip)?.purposes {
        Ok(keeps)
    } else {
        Err(WithdrawError::More)
    }
}

fn terms(slip: &SlipRow) -> Result<Slip, StoreError> {
    Slip::decode(&slip.signed.slip).map_err(|_| StoreError::Corrupt {
        table: "slip",
        column: "slip",
    })
}

async fn write(
    tx: &mut Tx,
    node: &Node,
    new: &NewNarrowing,
    narrowed: &Narrowed,
    at_ms: i64,
) -> Result<Written<v1::NarrowGrantResponse>, WithdrawError> {
    let mut counter = Counter::lock(tx).await?;
    if let Some(answer) = requests::first_answer(tx, &new.asked).await? {
        return Ok(Written::Done(answer, None));
    }
    let all: Vec<&Ending> = narrowed
        .ended
        .iter()
        .chain(narrowed.lessened.iter().map(|(e, _)| e))
        .collect();
    if !ending::still_stand(tx, &all).await? {
        return Ok(Written::Overtaken);
    }
    let plan = ending::Plan {
        asked: &new.asked,
        caller: &new.caller,
        endings: Vec::new(),
        party: Party::Person,
        grant: Some((new.grant_id, false)),
        by_stop_code: false,
        at_ms,
    };
    let mut threads = ThreadSet::default();
    let mut trail = Vec::new();
    for one in &narrowed.ended {
        trail.extend(ending::end(tx, &mut threads, one, &plan).await?);
    }
    for (one, gone) in &narrowed.lessened {
        lessen((tx, &counter), node, &mut threads, (one, *gone)).await?;
    }
    if !all.is_empty() {
        let event = audit::by(&new.caller, Code::GrantNarrowed, at_ms);
        let event = event.id("grant", new.grant_id.as_bytes());
        trail.push(
            all.iter()
                .fold(event, |event, one| event.org("for", &one.slip.peer)),
        );
    }
    let answer = v1::NarrowGrantResponse {
        narrowed_at_ms: at_ms,
    };
    requests::keep(tx, &new.asked, &answer, at_ms).await?;
    trail.extend(threads.take_trail());
    threads.write(tx, &mut counter).await?;
    trail.extend(ending::queue(tx, &mut counter, &all, at_ms).await?);
    audit::insert(tx, &mut counter, &node.rng, &trail).await?;
    let changed = counter.change();
    counter.save(tx).await?;
    Ok(Written::Done(answer, Some(changed)))
}

/// Takes categories away from one slip: their keys, and what waits with them in the outbox. The holding gets new keys
/// inside the transaction, as under the counters' lock no rotation can end the epoch that they are wrapped for.
async fn lessen(
    (tx, lock): (&mut Tx, &Counter),
    node: &Node,
    threads: &mut ThreadSet,
    (one, gone): (&Ending, CategorySet),
) -> Result<(), WithdrawError> {
    let holding = store::holding::get(tx, one.slip.holding_id).await?;
    let holding = holding.ok_or(StoreError::Corrupt {
        table: "slip",
        column: "holding_id",
    })?;
    let stays = |section: &Section| !matches!(section, Section::Category(c) if gone.contains(*c));
    let keep: Vec<Section> = Section::all().filter(stays).collect();
    let less = node.content.narrowed(&holding, &keep)?;
    if !store::holding::replace_keys(tx, node.content.newest_under(lock)?, &[less]).await? {
        return Err(ContentError::Overtaken.into());
    }
    store::withdrawals::narrow(tx, &one.slip.slip_id, &one.withdrawal_id).await?;
    let waiting = store::withdrawals::queued(tx, &one.slip.slip_id).await?;
    let holds = |w: &&Waiting| {
        w.head
            .as_ref()
            .is_some_and(|h| h.categories.missing_from(gone) != h.categories)
    };
    let held_back: Vec<&Waiting> = waiting.iter().filter(holds).collect();
    let seqs: Vec<i64> = held_back.iter().map(|waiting| waiting.seq).collect();
    let problem = Problem::CategoryNotAllowed;
    store::withdrawals::withhold(tx, &seqs, problem.as_str()).await?;
    // What had its answer is kept for those who must be restored, but not with what was taken away.
    let kept = store::withdrawals::answered(tx, &one.slip.slip_id).await?;
    let kept: Vec<i64> = kept.iter().filter(holds).map(|kept| kept.seq).collect();
    store::outgoing::forget(tx, &kept).await?;
    let referrals = held_back
        .iter()
        .filter(|waiting| waiting.kind == EnvelopeKind::Referral);
    let ids: Vec<_> = referrals
        .filter_map(|w| w.head.as_ref().map(|head| head.thread_id))
        .collect();
    threads.load(tx, &ids).await?;
    for id in &ids {
        threads.set(id, |thread| {
            thread.delivery = Delivery::Undelivered;
            thread.problem = Some(problem);
        });
    }
    Ok(())
}
