//! The settle door: recipients' receipts empty the mailboxes and become notices for the senders; nodes' words about notices they
//! hold let these be forgotten. One transaction for all streams, with a fixed number of multi-row statements.
//! Never believes a receipt whose hashes are not those that were delivered to its signer, never changes a signed receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;

use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::rng::RandomFailed;
use kith_service::store::{Batch, BatchAnswers, Store, StoreError, Tx};

use super::bury::Told;
use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::limits::SETTLE_ROWS_MAX;
use crate::store::mailbox::{self, Held};
use crate::store::notice::{self, Frame};
use crate::store::pair::{self, Pair};
use crate::store::taken::{self, TakenRow};

/// What a node settles.
#[derive(Clone, Debug)]
pub enum Settling {
    /// Receipts whose signature was checked.
    Receipts {
        /// Of whose envelopes, and who signed.
        pair: Pair,
        /// As signed.
        frame: v1::RecipientReceipts,
        /// Id and hash of each envelope, and what its recipient had against it.
        envelopes: Vec<Received>,
    },
    /// The node holds all notices up to the number.
    Notices {
        /// The node's member.
        member: OrgId,
        /// The number.
        number: u64,
    },
}

/// One envelope of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its id.
    pub envelope_id: [u8; 16],
    /// Its hash.
    pub envelope_hash: [u8; 32],
    /// Why its recipient refused it; `None` when it was received.
    pub problem: Option<Problem>,
}

/// Why nothing was settled; the stream ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// An envelope of the receipt was never delivered to its signer, or is another: the node is broken.
    #[error("a receipt names an envelope that was not delivered")]
    Foreign,
    /// The gateway drew no randomness: try again.
    #[error("the cryptographic library failed")]
    Library,
    /// Nothing was kept, or it is unknown whether it was: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gateway is stopping: try again.
    #[error("the gateway is stopping")]
    Stopping,
}

impl SettleError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Foreign => Problem::Invalid,
            Self::Library | Self::Stopping => Problem::Unavailable,
            Self::Store(error) => error.problem(),
        }
    }
}

/// The door's handle.
pub type SettleDoor = Batch<Settling, (), SettleError>;

/// Opens the door; its writer ends with the gateway.
pub fn open(store: &Store, gateway: Weak<Gateway>) -> SettleDoor {
    store.batch("settle", SETTLE_ROWS_MAX, move |mut tx, rows| {
        let gateway = gateway.upgrade();
        async move {
            match gateway {
                Some(gateway) => settle(&gateway, &mut tx, &rows).await,
                None => Ok(rows.iter().map(|_| Err(SettleError::Stopping)).collect()),
            }
        }
    })
}

/// What a batch takes out of the mailboxes.
#[derive(Default)]
struct Settled {
    removed: Vec<[u8; 16]>,
    delivered: Vec<[u8; 16]>,
    freed: BTreeMap<Pair, i64>,
    told: Told,
}

async fn settle(gateway: &Gateway, tx: &mut Tx, rows: &[Settling]) -> BatchAnswers<(), SettleError> {
    let now_ms = gateway.clock.now_ms();
    let ids = ids(rows);
    let mut waiting = mailbox::held(tx, &ids).await?;
    let missing: Vec<[u8; 16]> = ids.into_iter().filter(|id| !waiting.contains_key(id)).collect();
    let mut gone = taken::by_ids(tx, &missing).await?;
    let mut settled = Settled::default();
    let mut answers = Vec::with_capacity(rows.len());
    for row in rows {
        let answer = match row {
            Settling::Notices { .. } => Ok(()),
            Settling::Receipts {
                pair,
                frame,
                envelopes,
            } => {
                if envelopes
                    .iter()
                    .all(|envelope| is_of(pair, envelope, &waiting, &gone))
                {
                    let fresh = remove(&mut waiting, &mut gone, pair, envelopes);
                    settled.receive(gateway, pair, frame, &fresh, now_ms)
                } else {
                    Err(SettleError::Foreign)
                }
            }
        };
        answers.push(answer);
    }
    write(tx, settled, now_ms).await?;
    for (member, number) in held(rows) {
        notice::held(tx, member, number).await?;
    }
    Ok(answers)
}

fn ids(rows: &[Settling]) -> Vec<[u8; 16]> {
    let mut ids = BTreeSet::new();
    for row in rows {
        if let Settling::Receipts { envelopes, .. } = row {
            ids.extend(envelopes.iter().map(|envelope| envelope.envelope_id));
        }
    }
    ids.into_iter().collect()
}

/// The highest number that each member holds.
fn held(rows: &[Settling]) -> BTreeMap<&OrgId, u64> {
    let mut held: BTreeMap<&OrgId, u64> = BTreeMap::new();
    for row in rows {
        if let Settling::Notices { member, number } = row {
            let highest = held.entry(member).or_default();
            *highest = (*highest).max(*number);
        }
    }
    held
}

/// Whether the envelope waits for the signer, or went to it before.
fn is_of(
    pair: &Pair,
    envelope: &Received,
    waiting: &BTreeMap<[u8; 16], Held>,
    gone: &BTreeMap<[u8; 16], TakenRow>,
) -> bool {
    let id = &envelope.envelope_id;
    match (waiting.get(id), gone.get(id)) {
        (Some(held), _) => held.pair == *pair && held.envelope_hash == envelope.envelope_hash,
        (None, Some(taken)) => taken.pair == *pair && taken.envelope_hash == envelope.envelope_hash,
        (None, None) => false,
    }
}

/// Takes the receipt's envelopes out of what waits; a second receipt in the same batch finds them gone.
fn remove(
    waiting: &mut BTreeMap<[u8; 16], Held>,
    gone: &mut BTreeMap<[u8; 16], TakenRow>,
    pair: &Pair,
    envelopes: &[Received],
) -> Vec<(Held, Option<Problem>)> {
    let mut fresh = Vec::new();
    for envelope in envelopes {
        let Some(held) = waiting.remove(&envelope.envelope_id) else {
            continue;
        };
        gone.insert(
            held.envelope_id,
            TakenRow {
                envelope_id: held.envelope_id,
                envelope_hash: held.envelope_hash,
                pair: pair.clone(),
                number: held.number,
                taken_at_ms: 0,
                problem: None,
                refused: None,
                delivered_at_ms: None,
            },
        );
        fresh.push((held, envelope.problem));
    }
    fresh
}

impl Settled {
    fn receive(
        &mut self,
        gateway: &Gateway,
        pair: &Pair,
        frame: &v1::RecipientReceipts,
        fresh: &[(Held, Option<Problem>)],
        now_ms: i64,
    ) -> Result<(), SettleError> {
        for (held, problem) in fresh {
            self.removed.push(held.envelope_id);
            if held.buried {
                continue;
            }
            self.delivered.push(held.envelope_id);
            *self.freed.entry(pair.clone()).or_default() += held.bytes;
            let event = event(gateway, held, *problem, now_ms).map_err(|_| SettleError::Library)?;
            self.told.events.push(event);
        }
        if fresh.iter().any(|(held, _)| !held.buried) {
            let frame = Frame::RecipientReceipts(frame.clone());
            self.told.notice(&pair.sender, frame);
        }
        Ok(())
    }
}

fn event(
    gateway: &Gateway,
    held: &Held,
    problem: Option<Problem>,
    now_ms: i64,
) -> Result<Salted, RandomFailed> {
    let event = Event::new(Code::EnvelopeDelivered, now_ms)
        .org("from", &held.pair.sender)
        .org("to", &held.pair.recipient)
        .id("envelope", &held.envelope_id)
        .hash("envelope_hash", &held.envelope_hash);
    let event = match problem {
        Some(problem) => event.word("problem", problem.as_str()),
        None => event,
    };
    Salted::new(&gateway.rng, event)
}

async fn write(tx: &mut Tx, settled: Settled, now_ms: i64) -> Result<(), StoreError> {
    pair::release(tx, &settled.freed).await?;
    mailbox::remove(tx, &settled.removed).await?;
    taken::delivered(tx, &settled.delivered, now_ms).await?;
    settled.told.write(tx).await.map(drop)
}
