//! The batch door of sending: many prepared referrals become one transaction of a dozen statements.
//! Made once when the node opens; `send_many` hands rows in.
//! Never trusts what was read before: repeats and slips are looked at again under the counters' lock.

use std::collections::BTreeMap;

use kith_proto::id::{RequestId, SlipId};
use kith_proto::permits::Refusal;
use kith_proto::v1;
use kith_service::rng::Rng;
use kith_service::store::{Batch, BatchAnswers, Store, StoreError, Tx};

use super::prepare::{Row, sent_of};
use super::{SendError, Sent};
use crate::audit::{self, Event};
use crate::outbox::{self, Outgoing};
use crate::store;
use crate::store::counter::Counter;
use crate::store::referral::Numbered;
use crate::store::referral_content::ReferralContent;
use crate::store::request::Answered;
use crate::store::slip::{SlipStanding, Standing};

/// Referrals of one transaction: four chunks. At 8 KiB of envelope each that is 2 MiB of log for one sync.
const ROWS_MAX: usize = 256;

/// The door's handle.
pub type SendDoor = Batch<Row, Done, SendError>;

/// A referral that was written, or had been.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub(super) sent: Sent,
    /// Its place in the order of changes; 0 for a repeat.
    pub(super) changed: i64,
    /// Its envelope's place in the outbox; 0 for a repeat.
    pub(super) outbox: i64,
}

/// Opens the door; its writer lives as long as the handle.
pub fn door(store: &Store, rng: &Rng) -> SendDoor {
    let rng = rng.clone();
    store.batch("send", ROWS_MAX, move |mut tx, rows| {
        let rng = rng.clone();
        async move { write(&mut tx, &rows, &rng).await }
    })
}

async fn write(tx: &mut Tx, rows: &[Row], rng: &Rng) -> BatchAnswers<Done, SendError> {
    let mut counter = Counter::lock(tx).await?;
    let requests: Vec<RequestId> = rows.iter().map(|row| row.asked.request_id).collect();
    let slips: Vec<SlipId> = rows.iter().map(|row| row.outgoing.slip_id).collect();
    let answered = store::request::find(tx, &requests).await?;
    let standing: BTreeMap<SlipId, Standing> = store::slip::states(tx, &slips).await?.into_iter().collect();
    let mut fresh: Vec<(&Row, Numbered<'_>)> = Vec::with_capacity(rows.len());
    let mut first: BTreeMap<RequestId, Answered> = answered;
    let mut answers = Vec::with_capacity(rows.len());
    for row in rows {
        let answer = decide(row, &first, &standing);
        answers.push(match answer {
            Ok(Some(sent)) => Ok(Done {
                sent,
                changed: 0,
                outbox: 0,
            }),
            Ok(None) => {
                let changed = counter.next_change();
                fresh.push((
                    row,
                    Numbered {
                        new: &row.thread,
                        changed,
                        arrival: counter.next_sent(),
                    },
                ));
                first.insert(row.asked.request_id, row.asked.answered(&answer_of(&row.sent)));
                Ok(Done {
                    sent: row.sent,
                    changed,
                    outbox: 0,
                })
            }
            Err(error) => Err(error),
        });
    }
    let places = insert(tx, &mut counter, &fresh, rng).await?;
    let new = answers.iter_mut().flatten().filter(|done| done.changed > 0);
    for (done, place) in new.zip(places) {
        done.outbox = place;
    }
    counter.save(tx).await?;
    Ok(answers)
}

/// Whether a row is a repeat (its first answer), new (`None`), or refused after all.
fn decide(
    row: &Row,
    answered: &BTreeMap<RequestId, Answered>,
    standing: &BTreeMap<SlipId, Standing>,
) -> Result<Option<Sent>, SendError> {
    if let Some(answer) = row.asked.answer_of(answered.get(&row.asked.request_id))? {
        return Ok(Some(sent_of(answer)?));
    }
    match standing.get(&row.outgoing.slip_id) {
        Some((SlipStanding::Live, narrowed_by)) if *narrowed_by == row.narrowed_by => Ok(None),
        Some((SlipStanding::Live, _)) => Err(SendError::Narrowed),
        Some((SlipStanding::Expired, _)) => Err(Refusal::ConsentExpired.into()),
        Some((SlipStanding::Withdrawn, _)) => Err(Refusal::ConsentWithdrawn.into()),
        None => Err(Refusal::ConsentMissing.into()),
    }
}

/// Writes new referrals; gives the places of their envelopes in the outbox, in the same order.
async fn insert(
    tx: &mut Tx,
    counter: &mut Counter,
    fresh: &[(&Row, Numbered<'_>)],
    rng: &Rng,
) -> Result<Vec<i64>, StoreError> {
    let Some((row, _)) = fresh.first() else {
        return Ok(Vec::new());
    };
    let at_ms = row.thread.created_at_ms;
    let threads: Vec<Numbered<'_>> = fresh.iter().map(|(_, numbered)| *numbered).collect();
    store::referral::insert(tx, &threads).await?;
    store::event::insert(tx, fresh, |(row, _)| &row.event).await?;
    let content: Vec<&ReferralContent> = fresh.iter().map(|(row, _)| &row.content).collect();
    store::referral_content::insert(tx, &content).await?;
    let outgoing: Vec<&Outgoing> = fresh.iter().map(|(row, _)| &row.outgoing).collect();
    let places = outbox::queue(tx, counter, &outgoing).await?;
    let answers: Vec<Answered> = fresh
        .iter()
        .map(|(row, _)| row.asked.answered(&answer_of(&row.sent)))
        .collect();
    store::request::insert(tx, &answers, at_ms).await?;
    let events: Vec<Event> = fresh.iter().map(|(row, _)| row.audit.clone()).collect();
    audit::insert(tx, counter, rng, &events).await?;
    Ok(places)
}

/// The stored answer. It holds no code: that is computed from the thread's id.
fn answer_of(sent: &Sent) -> v1::SendReferralResponse {
    v1::SendReferralResponse {
        thread_id: sent.thread_id.as_bytes().to_vec(),
        code: String::new(),
        deadline_ms: sent.deadline_ms,
    }
}
