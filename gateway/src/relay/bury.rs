//! Burying: an envelope that will never be delivered becomes a signed tombstone at its number, a notice to its sender, and an audit
//! event, in one transaction. Called by stops, by deliveries that find mail expired or stopped, and by the sweeper.
//! Never buries a tombstone again, never leaves a gap in a pair's order.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::store::mailbox::{self, Held};
use crate::store::notice::{self, Frame};
use crate::store::pair::{self, Pair};
use crate::store::{audit, taken};

/// Why nothing was buried.
#[derive(Debug, thiserror::Error)]
pub enum BuryError {
    /// The rows could not be written: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gateway could not sign or draw randomness: try again.
    #[error("the cryptographic library failed")]
    Library,
}

impl BuryError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => error.problem(),
            Self::Library => Problem::Unavailable,
        }
    }
}

/// What a transaction tells its members besides what it did to the rows; written last, in the order of locks.
#[derive(Debug, Default)]
pub struct Told {
    /// Notices by member.
    pub notices: BTreeMap<OrgId, Vec<Frame>>,
    /// Audit events.
    pub events: Vec<Salted>,
    /// Members with something new to fetch.
    pub woken: BTreeSet<OrgId>,
}

impl Told {
    /// Adds a notice.
    pub fn notice(&mut self, member: &OrgId, frame: Frame) {
        self.notices.entry(member.clone()).or_default().push(frame);
        self.woken.insert(member.clone());
    }

    /// Writes notices and events; returns whose streams are to be woken after the commit.
    pub async fn write(self, tx: &mut Tx) -> Result<BTreeSet<OrgId>, StoreError> {
        notice::insert(tx, self.notices).await?;
        audit::insert(tx, &self.events).await?;
        Ok(self.woken)
    }
}

/// Buries envelopes that were read in this transaction. The caller writes what is told.
pub async fn bury(
    gateway: &Gateway,
    tx: &mut Tx,
    rows: &[Held],
    problem: Problem,
    told: &mut Told,
) -> Result<(), BuryError> {
    let now_ms = gateway.clock.now_ms();
    let mut freed: BTreeMap<Pair, i64> = BTreeMap::new();
    let (mut tombstones, mut removed, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| !row.buried) {
        let dropped = sign(gateway, row, problem, now_ms)?;
        match row.number {
            Some(_) => tombstones.push((row.envelope_id, dropped.encode_to_vec())),
            // Outside the order nobody misses a number.
            None => removed.push(row.envelope_id),
        }
        *freed.entry(row.pair.clone()).or_default() += row.bytes;
        ids.push(row.envelope_id);
        told.events.push(event(gateway, row, problem, now_ms)?);
        told.notice(&row.pair.sender, Frame::Dropped(dropped));
        told.woken.insert(row.pair.recipient.clone());
    }
    pair::release(tx, &freed).await?;
    mailbox::bury(tx, &tombstones).await?;
    mailbox::remove(tx, &removed).await?;
    taken::dropped(tx, &ids, problem).await?;
    Ok(())
}

fn sign(gateway: &Gateway, row: &Held, problem: Problem, now_ms: i64) -> Result<v1::Dropped, BuryError> {
    let mut dropped = v1::Dropped {
        envelope_id: row.envelope_id.to_vec(),
        envelope_hash: row.envelope_hash.to_vec(),
        number: row.number.unwrap_or_default(),
        problem: problem.number(),
        dropped_at_ms: now_ms,
        signature: Vec::new(),
    };
    receipt::sign(&gateway.keys.signing, &mut dropped).map_err(|_| BuryError::Library)?;
    Ok(dropped)
}

fn event(gateway: &Gateway, row: &Held, problem: Problem, now_ms: i64) -> Result<Salted, BuryError> {
    let event = Event::new(Code::EnvelopeDropped, now_ms)
        .org("from", &row.pair.sender)
        .org("to", &row.pair.recipient)
        .id("envelope", &row.envelope_id)
        .hash("envelope_hash", &row.envelope_hash)
        .word("problem", problem.as_str());
    Salted::new(&gateway.rng, event).map_err(|_| BuryError::Library)
}
