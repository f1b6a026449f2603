//! Takes deliveries in: holds each pair's lines against the last one held, opens envelopes, hands them to `receive`, and
//! answers each sender after the commit. Called as one half of a stream.
//! Never passes over a number: a pair with a gap waits, as does one whose keys are not in the key log yet; one with two histories stops.
//! Never lets what one member sent end the
//! stream, which all members share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kith_proto::envelope::Hashed;
use kith_proto::id::OrgId;
use kith_proto::order::{self, Position};
use kith_proto::problem::Problem;
use kith_proto::receipt::{self, RECEIPT_ENVELOPES_MAX};
use kith_proto::v1::attach_request::Frame;
use kith_proto::v1::delivered_envelope::What as Wire;
use kith_proto::v1::relay_service_client::RelayServiceClient;
use kith_proto::v1::{self, Delivered};
use kith_service::store::StoreError;
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::attach::Session;
use super::opening::{Directory, Looked, look};
use super::{Ended, reader, state};
use crate::keys::KeysError;
use crate::receive::{self, Arrival, RECEIVE_ROWS_MAX, Receipt, What};
use crate::store;

/// How long a pair with a gap waits for what is missing before a new stream is asked for it.
const GAP_WAIT: Duration = Duration::from_secs(30);

/// The receiving half of one stream.
pub(super) struct Inbound<'a> {
    session: &'a Session<'a>,
    client: RelayServiceClient<Channel>,
    /// After the last line that was taken in, per sender.
    positions: BTreeMap<OrgId, Position>,
    /// Pairs in which something is missing.
    waiting: BTreeSet<OrgId>,
    /// Members with mail whose keys are not in the key log yet: a new stream brings it again once they are.
    unlogged: BTreeSet<OrgId>,
    /// Pairs with two histories, with lines that their sender did not sign, or with something that cannot be kept.
    stopped: BTreeSet<OrgId>,
}

/// What was delivered: an envelope, hashed once for all that follows, or the tombstone of one.
enum Came {
    Envelope(Box<Hashed>),
    Tombstone(v1::Dropped),
}

impl Came {
    fn of(what: Wire) -> Self {
        match what {
            Wire::Envelope(envelope) => Self::Envelope(Box::new(Hashed::new(envelope))),
            Wire::Tombstone(tombstone) => Self::Tombstone(tombstone),
        }
    }
}

/// Where a delivered line stands to what is held.
enum Line {
    /// The next one, or one that came before.
    Take(Position),
    /// Something is missing in front of it.
    Gap,
    /// Another history.
    Fork,
    /// Its order has no such line.
    Missing,
}

/// Whether what came can be taken in.
enum Arrives {
    Now(Box<Arrival>),
    /// Once this member's keys are in the key log.
    Later(OrgId),
    /// Nothing can be answered for it.
    Never,
}

impl<'a> Inbound<'a> {
    /// Starts from what the store holds.
    pub(super) async fn start(
        session: &'a Session<'a>,
        client: RelayServiceClient<Channel>,
    ) -> Result<Self, Ended> {
        let read = |mut tx| async move { store::pair::received(&mut tx).await };
        let held = session
            .node
            .store
            .read::<_, StoreError, _, _>("pairs received", read)
            .await?;
        Ok(Self {
            session,
            client,
            positions: held.into_iter().collect(),
            waiting: BTreeSet::new(),
            unlogged: BTreeSet::new(),
            stopped: BTreeSet::new(),
        })
    }

    /// Receives until the stream ends.
    pub(super) async fn run(mut self, mut deliveries: mpsc::Receiver<v1::Delivery>) -> Result<(), Ended> {
        loop {
            let members = &self.session.node.members;
            let next = tokio::select! {
                // In this order, not tokio's random one: a simulation must be able to repeat it.
                biased;
                () = members.believed(), if !self.unlogged.is_empty() => {
                    if self.unlogged.iter().any(|org| !members.awaits_log(org)) {
                        return Err(Ended::Again);
                    }
                    continue;
                }
                next = self.next(&mut deliveries) => next?,
            };
            let Some(first) = next else {
                return Ok(());
            };
            let mut count = envelopes(&first);
            let mut together = vec![first];
            while count < RECEIVE_ROWS_MAX
                && let Ok(more) = deliveries.try_recv()
            {
                count += envelopes(&more);
                together.push(more);
            }
            self.take(together).await?;
        }
    }

    /// The next delivery. Where something is missing it comes soon, or is asked for on a new stream.
    async fn next(
        &self,
        deliveries: &mut mpsc::Receiver<v1::Delivery>,
    ) -> Result<Option<v1::Delivery>, Ended> {
        if self.waiting.is_empty() {
            return Ok(deliveries.recv().await);
        }
        let waited = tokio::time::timeout(GAP_WAIT, deliveries.recv()).await;
        waited.map_err(|_| Ended::Again)
    }

    /// Takes deliveries in and answers them.
    async fn take(&mut self, deliveries: Vec<v1::Delivery>) -> Result<(), Ended> {
        let mut arrivals = Vec::new();
        for item in deliveries.into_iter().flat_map(|delivery| delivery.items) {
            self.item(item, &mut arrivals).await?;
        }
        if arrivals.is_empty() {
            return Ok(());
        }
        let received = receive::receive(self.session.node, arrivals).await?;
        for org in &received.stuck {
            self.stop(org, "what it sent could not be kept").await;
        }
        self.answer(&received.receipts).await
    }

    async fn item(&mut self, item: Delivered, arrivals: &mut Vec<Arrival>) -> Result<(), Ended> {
        let pair = match &item.order {
            None => None,
            Some(batch) => match self.pair(batch, item.taken_at_ms).await? {
                Some(org) => Some((org, batch)),
                None => return Ok(()),
            },
        };
        for one in item.envelopes {
            let came = one.what.map(Came::of);
            let place = match &pair {
                None => None,
                Some((org, batch)) => match self.line(org, batch, came.as_ref()).await {
                    Some(position) => Some((org, position)),
                    None => return Ok(()),
                },
            };
            let arrives = match &came {
                Some(came) => self.arrival(place, came, item.taken_at_ms).await?,
                None => Arrives::Never,
            };
            match (arrives, place) {
                (Arrives::Now(arrival), place) => {
                    if let Some((org, position)) = place {
                        self.move_on(org, position);
                    }
                    arrivals.push(*arrival);
                }
                // It comes again, and what follows it in its order.
                (Arrives::Later(of), place) => {
                    self.awaits_log(&of);
                    if let Some((org, _)) = place {
                        self.awaits_log(org);
                        return Ok(());
                    }
                }
                // Nothing can be answered for it, so the pair waits here for a person.
                (Arrives::Never, Some((org, _))) => {
                    self.stop(org, "an envelope or tombstone that cannot be believed")
                        .await;
                    return Ok(());
                }
                (Arrives::Never, None) => {}
            }
        }
        Ok(())
    }

    /// The place of what came in the order of its pair; none when the pair waits, or is stopped.
    async fn line(&mut self, org: &OrgId, batch: &v1::OrderBatch, came: Option<&Came>) -> Option<Position> {
        if self.stopped.contains(org) || self.unlogged.contains(org) {
            return None;
        }
        let Some(came) = came else {
            self.stop(org, "a delivery of nothing").await;
            return None;
        };
        match self.place(org, batch, came) {
            Line::Take(position) => Some(position),
            Line::Gap => {
                let (held, came) = (self.positions.get(org), batch.lines.first());
                let (held, came) = (held.map(|held| held.number()), came.map(|came| came.number));
                tracing::warn!(member = %org, held, came, "a line is missing; what follows it waits");
                self.waiting.insert(org.clone());
                None
            }
            Line::Fork => {
                self.stop(org, "two histories").await;
                None
            }
            Line::Missing => {
                self.stop(org, "a delivery without its line").await;
                None
            }
        }
    }

    /// The sender of an order batch, whose key signed it for this node; none when the pair is stopped for want of that.
    async fn pair(&mut self, batch: &v1::OrderBatch, taken_at_ms: i64) -> Result<Option<OrgId>, Ended> {
        let Ok(org) = batch.from.parse::<OrgId>() else {
            tracing::error!("the gateway delivered lines of nobody; they are passed over");
            return Ok(None);
        };
        for directory in [Directory::MayBeOld, Directory::Fresh] {
            let node = self.session.node;
            let keys = node.members.keys_of(&org, taken_at_ms);
            let signed = keys.map(|keys| order::verify(&keys.signing_key, &org, node.organisation(), batch));
            if matches!(signed, Some(Ok(()))) {
                return Ok(Some(org));
            }
            if directory == Directory::MayBeOld {
                self.session.refresh(&mut self.client).await?;
            }
        }
        if self.session.node.members.awaits_log(&org) {
            self.awaits_log(&org);
            return Ok(None);
        }
        self.stop(&org, "lines that their sender did not sign").await;
        Ok(None)
    }

    /// Finds the line of what came, a tombstone's by its number, and holds it against the last one held.
    fn place(&self, org: &OrgId, batch: &v1::OrderBatch, came: &Came) -> Line {
        let found = match came {
            Came::Envelope(hashed) => {
                let hash = hashed.hash();
                let line = batch.lines.iter().find(|line| line.envelope_hash == hash);
                line.map(|line| (line, hash))
            }
            Came::Tombstone(tombstone) => {
                let line = batch.lines.iter().find(|line| line.number == tombstone.number);
                let line = line.filter(|line| line.envelope_hash == tombstone.envelope_hash);
                line.and_then(|line| Some((line, line.envelope_hash.as_slice().try_into().ok()?)))
            }
        };
        let Some((line, hash)) = found else {
            return Line::Missing;
        };
        let last = self.positions.get(org).copied().unwrap_or(Position::START);
        let here = Position::at(line.number, hash);
        let held_hash = last.hash();
        if line.number > last.number() && order::begins_run(line.number) && line.previous_hash.is_empty() {
            Line::Take(here)
        } else if line.number > last.number().saturating_add(1) {
            Line::Gap
        } else if line.number <= last.number() {
            // A repeat; of the last line the hash is known.
            if line.number == last.number() && held_hash != Some(hash) {
                Line::Fork
            } else {
                Line::Take(here)
            }
        } else if line.previous_hash != held_hash.as_ref().map_or(&[][..], |hash| hash) {
            Line::Fork
        } else {
            Line::Take(here)
        }
    }

    fn move_on(&mut self, org: &OrgId, position: Position) {
        let entry = self.positions.entry(org.clone()).or_insert(Position::START);
        if entry.number() < position.number() {
            *entry = position;
            self.waiting.remove(org);
        }
    }

    /// Opens an envelope, or reads a tombstone.
    async fn arrival(
        &mut self,
        place: Option<(&OrgId, Position)>,
        came: &Came,
        taken_at_ms: i64,
    ) -> Result<Arrives, Ended> {
        let node = self.session.node;
        let hashed = match came {
            Came::Tombstone(tombstone) => {
                let arrival = place.and_then(|place| self.tombstone(place, tombstone));
                return Ok(arrival.map_or(Arrives::Never, |arrival| Arrives::Now(Box::new(arrival))));
            }
            Came::Envelope(hashed) => hashed,
        };
        for directory in [Directory::MayBeOld, Directory::Fresh] {
            match look(node, place, hashed, taken_at_ms, directory)? {
                Looked::Arrival(arrival) => return Ok(Arrives::Now(arrival)),
                Looked::Unreadable => return Ok(Arrives::Never),
                Looked::AwaitsLog(org) => return Ok(Arrives::Later(org)),
                Looked::Refresh => self.session.refresh(&mut self.client).await?,
            }
        }
        Err(Ended::Again)
    }

    /// A tombstone in the order of a pair moves its position; none for one that the gateway did not sign. Outside the order
    /// it says nothing that must be kept.
    fn tombstone(&self, (org, position): (&OrgId, Position), tombstone: &v1::Dropped) -> Option<Arrival> {
        let key = &self.session.issuer.signing_key;
        receipt::verify(key, tombstone).ok()?;
        let (envelope_id, envelope_hash) =
            reader::envelope(&tombstone.envelope_id, &tombstone.envelope_hash).ok()?;
        Some(Arrival {
            peer: org.clone(),
            position: Some(position),
            envelope_id,
            envelope_hash,
            what: What::Tombstone(reader::problem(tombstone.problem)?),
        })
    }

    /// Passes over what needs a member's newest keys on this stream, until they are in the key log.
    fn awaits_log(&mut self, org: &OrgId) {
        if self.unlogged.insert(org.clone()) {
            tracing::info!(member = %org, "mail waits until the member's keys are in the network's log");
            self.session.checkpoint_offered.notify_one();
        }
    }

    /// Stops a pair on this stream: nothing more of it is taken in, and the others go on. A person must look.
    async fn stop(&mut self, org: &OrgId, why: &'static str) {
        if self.stopped.insert(org.clone()) {
            self.waiting.remove(org);
            tracing::error!(pair = %org, why, "the pair is stopped");
            state::put(self.session.node, state::UP, Some(Problem::Conflict)).await;
        }
    }

    /// One signature for each sender and time, over all that was taken in.
    async fn answer(&self, receipts: &[Receipt]) -> Result<(), Ended> {
        let mut frames: BTreeMap<(&OrgId, i64), Vec<&Receipt>> = BTreeMap::new();
        for receipt in receipts {
            frames
                .entry((&receipt.peer, receipt.at_ms))
                .or_default()
                .push(receipt);
        }
        for ((peer, at_ms), all) in frames {
            for some in all.chunks(RECEIPT_ENVELOPES_MAX) {
                let mut frame = v1::RecipientReceipts {
                    from: peer.to_string(),
                    to: self.session.node.organisation().to_string(),
                    envelope_ids: some.iter().map(|r| r.envelope_id.as_bytes().to_vec()).collect(),
                    envelope_hashes: some.iter().map(|r| r.envelope_hash.to_vec()).collect(),
                    received_at_ms: at_ms,
                    problems: some
                        .iter()
                        .map(|r| r.problem.map_or(0, Problem::number))
                        .collect(),
                    signature: Vec::new(),
                };
                let signed = receipt::sign(&self.session.node.keys.signing, &mut frame);
                signed.map_err(|_| KeysError::Library)?;
                self.session.send(Frame::Receipts(frame)).await?;
            }
        }
        Ok(())
    }
}

fn envelopes(delivery: &v1::Delivery) -> usize {
    delivery.items.iter().map(|item| item.envelopes.len()).sum()
}
