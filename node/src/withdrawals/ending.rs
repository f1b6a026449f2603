//! The end of slips that this node decides: prepared with its sealed WITHDRAWALs, then written in one transaction.
//! Called by `withdrawals` alone; [`cut`](crate::cut) does what the end of a slip means here.
//! Never ends a slip that changed since it was prepared.

use kith_proto::id::{EnvelopeId, GrantId, ThreadId, WithdrawalId};
use kith_proto::lifecycle::Party;
use kith_proto::permits::CategorySet;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::store::{StoreError, Tx};
use prost::Message;

use super::WithdrawError;
use crate::audit::{self, Code, Event};
use crate::content::HoldingKeys;
use crate::cut::{Cut, cut};
use crate::moves::Written;
use crate::moves::told::sent;
use crate::node::Node;
use crate::outbox::{self, Draft, Outgoing};
use crate::requests::{self, Asked};
use crate::store;
use crate::store::counter::Counter;
use crate::store::holding::Holding;
use crate::store::slip::{SlipRow, SlipSide};
use crate::thread_set::ThreadSet;
use crate::tokens::Caller;

/// What a recipient is told.
pub(crate) struct Meaning {
    pub(crate) scope: v1::WithdrawalScope,
    pub(crate) invalidated: bool,
    /// Only these; empty for all.
    pub(crate) categories: Vec<Category>,
    /// When consent was taken back.
    pub(crate) at_ms: i64,
}

/// One slip that ends or is narrowed, with what its other member is told.
pub(super) struct Ending {
    pub(super) slip: SlipRow,
    pub(super) withdrawal_id: WithdrawalId,
    pub(super) outgoing: Vec<Outgoing>,
}

impl Ending {
    /// Seals what the slip's other member is told. `own` is the person's own holding, where they are known here.
    pub(super) fn prepare(
        node: &Node,
        slip: SlipRow,
        meaning: &Meaning,
        own: Option<&Holding>,
    ) -> Result<Self, WithdrawError> {
        let withdrawal_id = WithdrawalId::from_bytes(node.rng.bytes()?);
        let keys = own
            .filter(|own| own.keys.is_some())
            .map(|own| node.content.unwrap(own))
            .transpose()?;
        let withdrawal = body(&slip, &withdrawal_id, meaning);
        let mut outgoing = vec![seal(node, &slip, meaning.at_ms, withdrawal, keys.as_ref())?];
        // Asked in person, a recipient proves at once what it is about to do.
        if slip.side == SlipSide::Received {
            let proof = v1::WithdrawalProof {
                withdrawal_id: withdrawal_id.as_bytes().to_vec(),
                slip_id: slip.slip_id.as_bytes().to_vec(),
                outcome: v1::WithdrawalOutcome::Erased.into(),
                done_at_ms: meaning.at_ms,
                ..v1::WithdrawalProof::default()
            };
            outgoing.push(seal(
                node,
                &slip,
                meaning.at_ms,
                Body::WithdrawalProof(proof),
                keys.as_ref(),
            )?);
        }
        Ok(Self {
            slip,
            withdrawal_id,
            outgoing,
        })
    }
}

fn body(slip: &SlipRow, withdrawal_id: &WithdrawalId, meaning: &Meaning) -> Body {
    Body::Withdrawal(v1::Withdrawal {
        withdrawal_id: withdrawal_id.as_bytes().to_vec(),
        slip_id: slip.slip_id.as_bytes().to_vec(),
        scope: meaning.scope.into(),
        withdrawn_at_ms: meaning.at_ms,
        categories: meaning
            .categories
            .iter()
            .map(|category| category.number())
            .collect(),
        invalidated: meaning.invalidated,
    })
}

/// Seals the withdrawal that a slip's row names once more, at `now_ms`; its body can be rebuilt from the row again.
pub(crate) fn sealed_again(
    node: &Node,
    slip: &SlipRow,
    meaning: &Meaning,
    now_ms: i64,
) -> Result<Outgoing, WithdrawError> {
    let corrupt = StoreError::Corrupt {
        table: "slip",
        column: "withdrawal_id",
    };
    let withdrawal_id = slip.withdrawal_id.ok_or(corrupt)?;
    seal(node, slip, now_ms, body(slip, &withdrawal_id, meaning), None)
}

fn seal(
    node: &Node,
    slip: &SlipRow,
    at_ms: i64,
    body: Body,
    keys: Option<&HoldingKeys>,
) -> Result<Outgoing, WithdrawError> {
    let kind = match body {
        Body::WithdrawalProof(_) => EnvelopeKind::WithdrawalProof,
        _ => EnvelopeKind::Withdrawal,
    };
    let draft = Draft {
        envelope_id: EnvelopeId::from_bytes(node.rng.bytes()?),
        to: &slip.peer,
        kind,
        // It is about every thread of the slip, so it names none.
        thread_id: ThreadId::from_bytes(node.rng.bytes()?),
        slip: &slip.signed,
        slip_id: slip.slip_id,
        categories: CategorySet::EMPTY,
        body: &v1::Body {
            body: Some(body),
            ..v1::Body::default()
        },
        at_ms,
    };
    Ok(outbox::seal(node, &draft, keys)?)
}

/// Everything that one withdrawal ends.
pub(super) struct Plan<'a> {
    pub(super) asked: &'a Asked,
    pub(super) caller: &'a Caller,
    pub(super) endings: Vec<Ending>,
    /// On whose word.
    pub(super) party: Party,
    /// The grant, and whether it had been recorded wrongly; it ends with its last slip.
    pub(super) grant: Option<(GrantId, bool)>,
    /// Whether it was asked for with the grant's stop code, by somebody who may not know the person.
    pub(super) by_stop_code: bool,
    pub(super) at_ms: i64,
}

/// Writes a withdrawal; `answer` reads what became of the threads.
pub(super) async fn write<A: Message + Default>(
    tx: &mut Tx,
    node: &Node,
    plan: &Plan<'_>,
    answer: impl Fn(&ThreadSet) -> A,
) -> Result<Written<A>, WithdrawError> {
    let mut counter = Counter::lock(tx).await?;
    if let Some(answer) = requests::first_answer(tx, plan.asked).await? {
        return Ok(Written::Done(answer, None));
    }
    let endings: Vec<&Ending> = plan.endings.iter().collect();
    if !still_stand(tx, &endings).await? {
        return Ok(Written::Overtaken);
    }
    let mut threads = ThreadSet::default();
    let mut trail = Vec::new();
    for ending in &plan.endings {
        trail.extend(end(tx, &mut threads, ending, plan).await?);
    }
    if let Some((grant_id, true)) = plan.grant {
        store::withdrawals::invalidate(tx, &grant_id, plan.at_ms).await?;
    }
    trail.extend(withdrawn(plan));
    let answer = answer(&threads);
    requests::keep(tx, plan.asked, &answer, plan.at_ms).await?;
    trail.extend(threads.take_trail());
    threads.write(tx, &mut counter).await?;
    trail.extend(queue(tx, &mut counter, &endings, plan.at_ms).await?);
    audit::insert(tx, &mut counter, &node.rng, &trail).await?;
    let changed = counter.change();
    counter.save(tx).await?;
    Ok(Written::Done(answer, Some(changed)))
}

/// Whether the slips still stand as they were read, under the counters' lock.
pub(super) async fn still_stand(tx: &mut Tx, endings: &[&Ending]) -> Result<bool, StoreError> {
    let ids: Vec<_> = endings.iter().map(|ending| ending.slip.slip_id).collect();
    let now = store::slip::states(tx, &ids).await?;
    Ok(endings.iter().all(|ending| {
        let slip = &ending.slip;
        now.contains(&(slip.slip_id, (slip.state, slip.withdrawal_id)))
    }))
}

/// Ends one slip here: keys, mail, threads, and its grant where that was the last.
pub(super) async fn end(
    tx: &mut Tx,
    threads: &mut ThreadSet,
    ending: &Ending,
    plan: &Plan<'_>,
) -> Result<Vec<Event>, StoreError> {
    let ended = Cut {
        slip_id: ending.slip.slip_id,
        holding_id: ending.slip.holding_id,
        party: plan.party,
        withdrawal_id: ending.withdrawal_id.as_bytes(),
        at_ms: plan.at_ms,
    };
    cut(tx, threads, &ended).await
}

/// The trail's line of what was withdrawn; none where nothing was.
fn withdrawn(plan: &Plan<'_>) -> Option<Event> {
    let mut event = audit::by(plan.caller, Code::GrantWithdrawn, plan.at_ms);
    if let Some((grant_id, invalidated)) = plan.grant {
        let word = if invalidated { "invalidated" } else { "withdrawn" };
        event = event.id("grant", grant_id.as_bytes()).word("as", word);
    }
    if plan.by_stop_code {
        event = event.word("asked_with", "stop_code");
    }
    let named = |event: Event, one: &Ending| {
        event
            .id("slip", one.slip.slip_id.as_bytes())
            .org("with", &one.slip.peer)
    };
    (!plan.endings.is_empty()).then(|| plan.endings.iter().fold(event, named))
}

/// Queues what the other members are told; gives the trail's lines.
pub(super) async fn queue(
    tx: &mut Tx,
    counter: &mut Counter,
    endings: &[&Ending],
    at_ms: i64,
) -> Result<Vec<Event>, StoreError> {
    let all: Vec<&Outgoing> = endings.iter().flat_map(|ending| &ending.outgoing).collect();
    outbox::queue(tx, counter, &all).await?;
    Ok(all.iter().map(|outgoing| sent(outgoing, at_ms)).collect())
}
