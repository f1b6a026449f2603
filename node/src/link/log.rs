//! Follows the gateway's log: reads every entry up to its checkpoint, believes what counts, cosigns where this node is a witness.
//! Called after the gateway's hello, when it offers a checkpoint, when keys are missing that the directory shows, and once a minute.
//! Never believes more after a lie: it is kept as evidence, and nothing is sent.
//!
//! A lie is met again at each step, because nothing that rests on it was taken over; so the stop ends by itself when the lie does.

use std::collections::BTreeMap;
use std::time::Duration;

use kith_proto::id::OrgId;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{Note, VerifierKey};
use kith_proto::log::origin::Keeper;
use kith_proto::log::tree::{Frontier, TreeHead};
use kith_proto::problem::Problem;
use kith_proto::sign::PublicKey;
use kith_proto::trust::Issuer;
use kith_proto::v1::log_service_client::LogServiceClient;
use kith_proto::v1::{self, relay_service_client::RelayServiceClient};
use kith_service::store::StoreError;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Ended, directory, epoch, proving};
use crate::alarms::{self, Kind};
use crate::keylog::{FIRST_EPOCH, Held, KeyLeaf, Mark, Shown, Walk, made_here};
use crate::node::Node;
use crate::store;

/// Entries asked for at once: the most that the gateway gives.
const PAGE: u64 = 4096;
/// Longest answer: 4,096 entries of 70 bytes, a part of them opened with some 400 bytes each; the gateway ends a page before that.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Longest wait for one answer: what the gateway gives a call.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long log and directory may differ about a suspension: both change in one transaction of the gateway, and a checkpoint with
/// the leaf follows within seconds.
const DIFFERING_MS: i64 = 60_000;

/// Follows one gateway on one stream.
pub(super) struct Follower {
    /// The epoch of the gateway's log that is followed.
    pub(super) epoch: u64,
    /// Whether it was taken up since anybody asked.
    pub(super) took_up: bool,
    /// What the gateway signs with.
    signing_key: PublicKey,
    /// What its log signs this epoch with.
    pub(super) log_keys: [VerifierKey; 1],
    pub(super) client: LogServiceClient<Channel>,
    relay: RelayServiceClient<Channel>,
    /// The head that was last cosigned.
    pub(super) cosigned: Option<TreeHead>,
    /// Members about whose suspension log and directory differ: since when, and since which size.
    differing: BTreeMap<OrgId, (i64, u64)>,
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFollowed {
    /// As a stream ends.
    #[error(transparent)]
    Ended(Ended),
    /// The gateway shows what cannot be.
    #[error("the gateway's log cannot be believed")]
    Lie(Box<Lie>),
}

/// What the gateway showed.
#[derive(Debug)]
pub(super) struct Lie {
    kind: Kind,
    evidence: Vec<u8>,
    /// What was held before, and what came.
    fork: Option<(Note, Note)>,
}

impl<E: Into<Ended>> From<E> for NotFollowed {
    fn from(error: E) -> Self {
        Self::Ended(error.into())
    }
}

impl NotFollowed {
    /// A lie that this note shows, beside the one held.
    pub(super) fn lie(kind: Kind, held: Option<&Mark>, shown: &Note) -> Self {
        Self::Lie(Box::new(Lie {
            kind,
            evidence: shown.to_string().into_bytes(),
            fork: held.map(|held| (held.note.clone(), shown.clone())),
        }))
    }
}

/// What a step found.
struct Found {
    held: Option<Held>,
    /// The largest tree that is shown.
    tip: Shown,
    /// The largest that counts.
    counted: Option<Shown>,
}

impl Follower {
    /// Follows the gateway of an issuer.
    pub(super) fn new(
        node: &Node,
        issuer: &Issuer,
        channel: Channel,
        relay: RelayServiceClient<Channel>,
    ) -> Self {
        let network = &node.membership.network;
        Self {
            epoch: FIRST_EPOCH,
            took_up: false,
            signing_key: issuer.signing_key,
            log_keys: [Keeper::Gateway.log_key(network, FIRST_EPOCH, issuer.signing_key)],
            client: LogServiceClient::new(channel).max_decoding_message_size(PAGE_BYTES_MAX),
            relay,
            cosigned: None,
            differing: BTreeMap::new(),
        }
    }

    /// Takes a step. A lie is written down, and ends the stream; what only failed is logged, and the next step tries again.
    pub(super) async fn follow(&mut self, node: &Node) -> Result<(), Ended> {
        match self.try_follow(node).await {
            Err(ended @ (Ended::Status(_) | Ended::Protocol(_))) => {
                tracing::warn!(reason = %ended, "the gateway's log was not followed; the next look tries again");
                Ok(())
            }
            followed => followed,
        }
    }

    /// As [`Follower::follow`], for the start of a stream: where a lie stands against the gateway, nothing is sent before the log was
    /// followed without one.
    pub(super) async fn follow_first(&mut self, node: &Node) -> Result<(), Ended> {
        let raised = alarms::all(&node.store).await?;
        let of_gateway = |kind: Kind| kind.stops() && !kind.ends_own_log();
        if raised.iter().any(|alarm| of_gateway(alarm.kind)) {
            return self.try_follow(node).await;
        }
        self.follow(node).await
    }

    /// Ends the stream where a later epoch was taken up in the middle of it, or none of it is believed yet: nothing is sent meanwhile.
    pub(super) async fn must_believe(&self, node: &Node) -> Result<(), Ended> {
        if self.took_up {
            return Err(Ended::Again);
        }
        if self.epoch == FIRST_EPOCH {
            return Ok(());
        }
        let read = |mut tx| async move { store::keylog::held(&mut tx).await };
        let held = node.store.read::<_, StoreError, _, _>("key log", read).await?;
        let held = held.filter(|held| held.epoch == self.epoch);
        if held.is_none_or(|held| held.believed.is_none()) {
            return Err(Ended::Status(Problem::Unavailable));
        }
        Ok(())
    }

    /// Follows this epoch from now on.
    fn turn_to(&mut self, node: &Node, epoch: u64) {
        if self.epoch != epoch {
            let network = &node.membership.network;
            self.epoch = epoch;
            self.log_keys = [Keeper::Gateway.log_key(network, epoch, self.signing_key)];
            self.cosigned = None;
            self.differing.clear();
        }
    }

    async fn try_follow(&mut self, node: &Node) -> Result<(), Ended> {
        let mut step = self.step(node).await;
        if matches!(step, Ok(true)) {
            // Cosigned, and it counts now.
            step = self.step(node).await;
        }
        match step {
            Ok(_) => Ok(()),
            Err(NotFollowed::Ended(ended)) => Err(ended),
            Err(NotFollowed::Lie(lie)) => {
                let fork = lie.fork.as_ref().map(|(held, offered)| (held, offered));
                alarms::raise(node, lie.kind, &lie.evidence, fork).await?;
                Err(match lie.kind {
                    Kind::ForeignBinding => Ended::OtherKeys,
                    _ => Ended::OtherLog,
                })
            }
        }
    }

    /// One step; `true` when more counts now than it has believed.
    async fn step(&mut self, node: &Node) -> Result<bool, NotFollowed> {
        let Some(found) = self.look(node).await? else {
            return Ok(false);
        };
        let held = self.advance(node, &found).await?;
        self.judge_standing(node, held.followed.frontier.size()).await?;
        // After the new head stands in the store.
        let counts = proving::cosign(self, node, &found.tip).await?;
        if let Some(believed) = &held.believed {
            proving::prove(self, node, believed).await?;
        }
        Ok(counts)
    }

    /// Asks where the log stands, and holds it against what is held; `None` before its first leaf.
    async fn look(&mut self, node: &Node) -> Result<Option<Found>, NotFollowed> {
        let asked = self.client.get_checkpoint(timed(v1::GetCheckpointRequest {}));
        let shown = answer(asked).await?;
        if let Some(policy) = &shown.policy {
            super::policy::follow(node, policy).await?;
        }
        let (epoch, took_up) = epoch::follow(node, shown.epoch.as_ref()).await?;
        self.took_up |= took_up;
        self.turn_to(node, epoch);
        let read = |mut tx| async move { store::keylog::held(&mut tx).await };
        let held = node.store.read::<_, StoreError, _, _>("key log", read).await?;
        let held = held.filter(|held| held.epoch == epoch);
        if shown.offered.is_empty() {
            let lie = |held: &Held| NotFollowed::lie(Kind::GatewayBehind, None, &held.followed.note);
            return held.as_ref().map_or(Ok(None), |held| Err(lie(held)));
        }
        let offered = self.read(node, &shown.offered)?;
        let counted = match shown.counted.as_str() {
            "" => None,
            text => Some(self.read(node, text)?),
        };
        if let Some(held) = &held {
            for shown in [Some(&offered), counted.as_ref()].into_iter().flatten() {
                contradicts_nothing(held, shown)?;
            }
            if offered.head().size < held.followed.frontier.size() {
                let kind = Kind::GatewayBehind;
                return Err(NotFollowed::lie(kind, Some(&held.followed), &offered.note));
            }
        }
        let larger = counted
            .clone()
            .filter(|counted| counted.head().size > offered.head().size);
        let tip = larger.unwrap_or_else(|| offered.clone());
        // By this node's own judgement, whatever the gateway calls it.
        let counted = [Some(offered), counted].into_iter().flatten();
        let counted = counted.filter(|shown| shown.standing.is_counted());
        Ok(Some(Found {
            held,
            tip,
            counted: counted.max_by_key(|shown| shown.head().size),
        }))
    }

    fn read(&self, node: &Node, text: &str) -> Result<Shown, NotFollowed> {
        let policy = node.witness_policy();
        let shown = Shown::read(text, &self.log_keys, policy.as_ref());
        shown.map_err(|_| {
            let of_other_epoch = self.of_other_epoch(node, text);
            of_other_epoch.unwrap_or_else(|| Ended::Protocol("checkpoint").into())
        })
    }

    /// A checkpoint of another epoch, signed by this gateway: an earlier one is over, a later one has no word of the root.
    fn of_other_epoch(&self, node: &Node, text: &str) -> Option<NotFollowed> {
        let network = &node.membership.network;
        let note = Note::parse(text.as_bytes()).ok()?;
        let (keeper, epoch) = Keeper::of_origin(note.text().lines().next()?, network)?;
        let key = Keeper::Gateway.log_key(network, epoch, self.signing_key);
        if keeper != Keeper::Gateway || Checkpoint::open(&note, &[key]).is_err() {
            return None;
        }
        let kind = if epoch < self.epoch {
            Kind::GatewayBehind
        } else {
            Kind::GatewayLog
        };
        Some(NotFollowed::lie(kind, None, &note))
    }

    /// Reads what lies between what is held and what is shown, each entry once unless a smaller tree counts only later.
    async fn advance(&mut self, node: &Node, found: &Found) -> Result<Held, NotFollowed> {
        let Found { held, tip, counted } = found;
        let followed = held.as_ref().map(|held| &held.followed);
        let believed = held.as_ref().and_then(|held| held.believed.as_ref());
        let frontier = |mark: Option<&Mark>| mark.map(|mark| mark.frontier.clone()).unwrap_or_default();
        let believed_size = believed.map_or(0, |mark| mark.frontier.size());
        let believe = counted.as_ref().filter(|c| c.head().size > believed_size);
        let begin: Frontier = match believe {
            Some(c) if c.head().size < frontier(followed).size() => frontier(believed),
            _ => frontier(followed),
        };
        let mut marks: Vec<TreeHead> = vec![tip.head()];
        marks.extend(believe.map(Shown::head));
        marks.extend(followed.map(Mark::head));
        marks.retain(|head| head.size >= begin.size());
        marks.sort_by_key(|head| head.size);
        let mut walk = Walk::from(begin);
        let mut reached = None;
        for head in marks {
            self.read_to(&mut walk, head.size, tip).await?;
            if walk.frontier().head() != head {
                return Err(NotFollowed::lie(Kind::GatewayLog, followed, &tip.note));
            }
            if believe.is_some_and(|believe| believe.head() == head) {
                reached = Some(walk.frontier().clone());
            }
        }
        self.own_leaves(node, walk.leaves()).await?;
        let at_ms = node.now_ms();
        let mark = |frontier, shown: &Shown| Mark {
            frontier,
            note: shown.note.clone(),
            at_ms,
        };
        let next = Held {
            epoch: self.epoch,
            followed: mark(walk.frontier().clone(), tip),
            believed: match (reached, believe) {
                (Some(frontier), Some(believe)) => Some(mark(frontier, believe)),
                _ => believed.cloned(),
            },
        };
        Self::keep(node, &next, walk.leaves(), believed_size).await?;
        Ok(next)
    }

    /// Writes a step down, then shows the node whose keys it may believe.
    async fn keep(node: &Node, next: &Held, leaves: &[KeyLeaf], from: u64) -> Result<(), Ended> {
        let write = |mut tx| async move {
            store::keylog::put_leaves(&mut tx, next.epoch, leaves).await?;
            if !store::keylog::put(&mut tx, next).await? {
                // Only a second node on this database could be further.
                return Err(StoreError::Abandoned);
            }
            store::keylog::believed(&mut tx, from).await
        };
        let believed = node.store.tx::<_, StoreError, _, _>("key log", write).await?;
        if !believed.is_empty() {
            node.members.believe(believed);
        }
        Ok(())
    }

    /// Reads on to this size.
    async fn read_to(&mut self, walk: &mut Walk, size: u64, tip: &Shown) -> Result<(), NotFollowed> {
        loop {
            let first = walk.frontier().size();
            let count = size.saturating_sub(first).min(PAGE);
            if count == 0 {
                return Ok(());
            }
            let asked = v1::ListEntriesRequest {
                epoch: self.epoch,
                first,
                count: u32::try_from(count).unwrap_or(u32::MAX),
            };
            let page = answer(self.client.list_entries(timed(asked))).await?.entries;
            if page.is_empty() {
                return Err(Ended::Protocol("a page of the log without entries").into());
            }
            for (entry, _) in page.iter().zip(0..count) {
                let opened = walk.take(entry);
                opened.map_err(|_| NotFollowed::lie(Kind::GatewayEntry, None, &tip.note))?;
            }
        }
    }

    /// A binding of this organisation that it did not make ends all sending. One that the directory does not show yet is looked up first.
    async fn own_leaves(&mut self, node: &Node, leaves: &[KeyLeaf]) -> Result<(), NotFollowed> {
        let foreign = |leaf: &&KeyLeaf| {
            let own = leaf.organisation.as_ref() == Some(node.organisation());
            let listed = node.members.get(node.organisation());
            let chain = listed.as_ref().map_or(&[][..], |listed| &listed.member.bindings);
            let made = |hash: [u8; 32]| made_here(chain, &node.keys.signing.public(), &hash);
            own && leaf.binding.is_some_and(|hash| !made(hash))
        };
        if !leaves.iter().any(|leaf| foreign(&leaf)) {
            return Ok(());
        }
        directory::refresh(node, &mut self.relay).await?;
        match leaves.iter().find(foreign) {
            None => Ok(()),
            Some(leaf) => Err(NotFollowed::Lie(Box::new(Lie {
                kind: Kind::ForeignBinding,
                evidence: leaf.preimage.clone().into_bytes(),
                fork: None,
            }))),
        }
    }

    /// Log and directory must agree about who is suspended; where they still differ after a minute and a larger tree, it is an alarm.
    async fn judge_standing(&mut self, node: &Node, size: u64) -> Result<(), Ended> {
        let (now_ms, epoch) = (node.now_ms(), self.epoch);
        let read = |mut tx| async move { store::keylog::suspended(&mut tx, epoch).await };
        let logged: BTreeMap<OrgId, bool> = node
            .store
            .read::<_, StoreError, _, _>("standing", read)
            .await?
            .into_iter()
            .collect();
        let members = node.members.all();
        let differs = |org: &OrgId| {
            let listed = members.get(org).is_some_and(|listed| listed.suspended);
            members.contains_key(org) && listed != logged.get(org).copied().unwrap_or(false)
        };
        let before = std::mem::take(&mut self.differing);
        for org in members.keys().filter(|org| differs(org)) {
            let since = before.get(org).copied().unwrap_or((now_ms, size));
            if size > since.1 && now_ms.saturating_sub(since.0) >= DIFFERING_MS {
                alarms::raise(node, Kind::Standing, org.as_str().as_bytes(), None).await?;
            }
            self.differing.insert(org.clone(), since);
        }
        Ok(())
    }
}

/// Two roots for one size are a fork by themselves.
fn contradicts_nothing(held: &Held, shown: &Shown) -> Result<(), NotFollowed> {
    let marks = [Some(&held.followed), held.believed.as_ref()];
    for mark in marks.into_iter().flatten() {
        let (ours, theirs) = (mark.head(), shown.head());
        if ours.size == theirs.size && ours.root != theirs.root {
            return Err(NotFollowed::lie(Kind::GatewayLog, Some(mark), &shown.note));
        }
    }
    Ok(())
}

/// A request with the deadline that goes with it.
pub(super) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_MAX);
    request
}

/// Waits for an answer; the deadline that goes with the request ends with the first bytes of it.
pub(super) async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Ended> {
    let answer = tokio::time::timeout(ANSWER_MAX, call).await;
    let late = |_| Ended::Status(Problem::DeadlineExceeded);
    Ok(answer.map_err(late)??.into_inner())
}
