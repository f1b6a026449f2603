//! What the gateway says to a restored node, frame by frame, held against what was asked. Called by the link's half of a restore.
//! Never takes a checkpoint that is not this node's own and cosigned by the gateway, nor an answer about what was not asked; what
//! cannot be believed in one place is believed in none.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::{EnvelopeId, OrgId, SlipId};
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{Note, VerifierKey};
use kith_proto::log::origin::Keeper;
use kith_proto::log::tree::TreeHead;
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::sign::PublicKey;
use kith_proto::v1::{self, restore_response::What};

use crate::link::Ended;
use crate::members::MEMBERS_MAX;
use crate::node::Node;
use crate::settle::{OutboxRow, Stopped};

/// Most stopped slips of one member that are taken over: ten years of a large one, 16 MiB.
const STOPS_MAX: usize = 500_000;
/// Most stops or answers in one frame.
const FRAME_MAX: usize = 1024;

/// A checkpoint of this node's log that the gateway cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cosigned {
    pub(crate) epoch: u64,
    pub(crate) head: TreeHead,
}

/// What the gateway answered about one envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnsweredOne {
    pub(crate) envelope_id: EnvelopeId,
    /// What it took; another than the backup's where the envelope was sealed again after it.
    pub(crate) envelope_hash: [u8; 32],
    /// 0 outside the order.
    pub(crate) number: u64,
    pub(crate) taken_at_ms: i64,
    pub(crate) problem: Option<Problem>,
}

/// Everything that the gateway said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub(crate) gateway_time_ms: i64,
    pub(crate) cosigned: Option<Cosigned>,
    pub(crate) taken: Vec<(OrgId, Position)>,
    /// Pairs towards this node that go on behind these places: what was lost before, nobody keeps.
    pub(crate) begins: Vec<(OrgId, Position)>,
    pub(crate) asked: Vec<OrgId>,
    pub(crate) stops: Vec<Stopped>,
    pub(crate) answered: Vec<AnsweredOne>,
}

/// Reads frames in their order.
pub(crate) struct Reader<'a> {
    node: &'a Node,
    gateway: VerifierKey,
    queued: BTreeMap<EnvelopeId, &'a OutboxRow>,
    books: Option<Books>,
    said: BTreeSet<EnvelopeId>,
}

impl<'a> Reader<'a> {
    /// Reads the answer of the gateway with this key to a question about these envelopes.
    pub(crate) fn new(node: &'a Node, gateway: PublicKey, queued: &'a [OutboxRow]) -> Self {
        Self {
            node,
            gateway: Keeper::Gateway.witness_key(&node.membership.network, gateway),
            queued: queued.iter().map(|row| (row.envelope_id, row)).collect(),
            books: None,
            said: BTreeSet::new(),
        }
    }

    /// Reads the next frame.
    pub(crate) fn take(&mut self, frame: v1::RestoreResponse) -> Result<(), Ended> {
        let what = frame
            .what
            .ok_or(Ended::Protocol("an empty word about a restore"))?;
        match (what, &mut self.books) {
            (What::Standing(standing), None) => {
                self.books = Some(self.standing(&standing)?);
                Ok(())
            }
            (What::Stopped(stopped), Some(books)) => stops(books, &stopped),
            (What::Answered(answered), Some(books)) => {
                if answered.envelopes.is_empty() || answered.envelopes.len() > FRAME_MAX {
                    return Err(Ended::Protocol("a list of answers"));
                }
                for one in &answered.envelopes {
                    let one =
                        answer(&self.queued, one).ok_or(Ended::Protocol("an answer about an envelope"))?;
                    if !self.said.insert(one.envelope_id) {
                        return Err(Ended::Protocol("two answers about an envelope"));
                    }
                    books.answered.push(one);
                }
                Ok(())
            }
            (What::Standing(_), Some(_)) | (What::Stopped(_) | What::Answered(_), None) => {
                Err(Ended::Protocol("words about a restore in another order"))
            }
        }
    }

    /// What was said, once the last frame has come.
    pub(crate) fn end(self) -> Result<Books, Ended> {
        self.books.ok_or(Ended::Protocol("no standing of this member"))
    }

    fn standing(&self, standing: &v1::Standing) -> Result<Books, Ended> {
        let taken = self.places(&standing.taken)?;
        let asked: Result<BTreeSet<OrgId>, _> = standing.asked.iter().map(|org| org.parse()).collect();
        let asked = asked.map_err(|_| Ended::Protocol("who was asked"))?;
        // A member that left is listed no more, and its pair is still there.
        if asked.len() > 2 * MEMBERS_MAX || standing.gateway_time_ms <= 0 {
            return Err(Ended::Protocol("the standing of this member"));
        }
        Ok(Books {
            gateway_time_ms: standing.gateway_time_ms,
            cosigned: self.cosigned(&standing.cosigned)?,
            taken: taken.into_iter().collect(),
            begins: self.places(&standing.begins)?.into_iter().collect(),
            asked: asked.into_iter().collect(),
            ..Books::default()
        })
    }

    /// One place in the order of each pair.
    fn places(&self, said: &[v1::PairPosition]) -> Result<BTreeMap<OrgId, Position>, Ended> {
        let mut places = BTreeMap::new();
        for place in said {
            let read = position(place).filter(|(org, _)| org != self.node.organisation());
            let (org, position) = read.ok_or(Ended::Protocol("a place in an order"))?;
            if places.insert(org, position).is_some() {
                return Err(Ended::Protocol("two places in one order"));
            }
        }
        if places.len() > 2 * MEMBERS_MAX {
            return Err(Ended::Protocol("places in orders"));
        }
        Ok(places)
    }

    /// The checkpoint, which this node signed as its own, with this key or one before, and the gateway cosigned.
    fn cosigned(&self, note: &str) -> Result<Option<Cosigned>, Ended> {
        if note.is_empty() {
            return Ok(None);
        }
        let bad = || Ended::Protocol("a cosigned checkpoint of this node");
        let note = Note::parse(note.as_bytes()).map_err(|_| bad())?;
        let network = &self.node.membership.network;
        let keeper = Keeper::Node(self.node.organisation().clone());
        let origin = note.text().lines().next().unwrap_or_default();
        let of_own = Keeper::of_origin(origin, network).filter(|(whose, _)| *whose == keeper);
        let (_, epoch) = of_own.ok_or_else(bad)?;
        let mut keys = vec![self.node.keys.signing.public()];
        if let Some(listed) = self.node.members.get(self.node.organisation()) {
            keys.extend(listed.member.bindings.iter().map(|binding| binding.signing_key));
        }
        let signed = keys.into_iter().find_map(|key| {
            let key = keeper.log_key(network, epoch, key);
            Checkpoint::open(&note, std::slice::from_ref(&key)).ok()
        });
        let checkpoint = signed.ok_or_else(bad)?;
        note.verify(std::slice::from_ref(&self.gateway))
            .map_err(|_| bad())?;
        Ok(Some(Cosigned {
            epoch,
            head: *checkpoint.head(),
        }))
    }
}

fn stops(books: &mut Books, stopped: &v1::StoppedSlips) -> Result<(), Ended> {
    let bad = Ended::Protocol("a list of stops");
    let all = books.stops.len().saturating_add(stopped.stops.len());
    if stopped.stops.is_empty() || stopped.stops.len() > FRAME_MAX || all > STOPS_MAX {
        return Err(bad);
    }
    for stop in &stopped.stops {
        let Ok(slip_id) = SlipId::try_from(stop.slip_id.as_slice()) else {
            return Err(bad);
        };
        books.stops.push(Stopped {
            slip_id,
            at_ms: stop.stopped_at_ms,
        });
    }
    Ok(())
}

/// An answer about an envelope that was asked about, in the order exactly where the envelope is. After the backup it may have been sealed
/// again under its id, to a newer key of its recipient: then another hash was taken.
fn answer(queued: &BTreeMap<EnvelopeId, &OutboxRow>, one: &v1::AnsweredEnvelope) -> Option<AnsweredOne> {
    let envelope_id = EnvelopeId::try_from(one.envelope_id.as_slice()).ok()?;
    let row = queued.get(&envelope_id)?;
    let problem = match one.problem {
        0 => None,
        number => Some(Problem::try_from(number).ok()?),
    };
    let envelope_hash: [u8; 32] = one.envelope_hash.as_slice().try_into().ok()?;
    let fits = (one.number > 0) == row.ordered && one.taken_at_ms > 0;
    fits.then_some(AnsweredOne {
        envelope_id,
        envelope_hash,
        number: one.number,
        taken_at_ms: one.taken_at_ms,
        problem,
    })
}

fn position(place: &v1::PairPosition) -> Option<(OrgId, Position)> {
    let org = place.organisation.parse().ok()?;
    let position = Position::of_wire(place.number, &place.envelope_hash)?;
    (place.number > 0).then_some((org, position))
}
