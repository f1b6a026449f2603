//! A member that came back from a backup: says where it stands by the gateway's books, and asks everybody who sent to it to offer again
//! what the backup does not hold. Called by the edge of `RestoreService` with the caller's certificate.
//! Never tells a member of others' mail, never takes a word of the caller that contradicts what it has receipted; told twice under one
//! id it has its effect once.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::OrgId;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::NoteError;
use kith_proto::log::origin::Keeper;
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, restore_response::What};
use kith_service::log::seen::{self, Witness};
use kith_service::rng::RandomFailed;
use kith_service::status::Failure;
use kith_service::store::{StoreError, Tx};

use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::limits::{HELLO_PAIRS_MAX, RESTORE_PAGE, RESTORE_QUEUED_MAX, RESTORES_PER_DAY_MAX};
use crate::relay::bury::Told;
use crate::relay::reoffer;
use crate::store::notice::Frame;
use crate::store::pair::{self, Pair, PairRow};
use crate::store::restore::{self as store, RestoreRow};
use crate::store::{log, taken};

mod missing;

pub use missing::Missing;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Why a restore was refused, by what the member can do.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The request cannot be read: repair it.
    #[error("{0} cannot be read")]
    Malformed(&'static str),
    /// More than a request may hold: ask in several calls.
    #[error("the request holds too much")]
    TooLarge,
    /// The backup names a position that was never taken, or another envelope at it: it is no backup of this member in this network.
    #[error("the backup holds another history of mail than the gateway")]
    OtherHistory,
    /// So many restores were told today: ask the operator, or wait for tomorrow.
    #[error("too many restores in a day")]
    TooMany,
    /// The member's newest checkpoint was not cosigned: try again.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The store failed: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl RestoreError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Malformed(_) => Problem::Invalid,
            Self::TooLarge => Problem::TooLarge,
            Self::OtherHistory => Problem::Conflict,
            Self::TooMany => Problem::CapacityFull,
            Self::Note(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }

    /// A sentence that fits better than the problem's own.
    pub const fn sentence(&self) -> Option<&'static str> {
        match self {
            Self::OtherHistory => Some(
                "This backup does not fit what this organisation has received in this network. Is it a backup of this node?",
            ),
            Self::TooMany => Some(
                "This node was restored too often today. Wait until tomorrow, or ask the network's operator.",
            ),
            _ => None,
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let failure = Self::new(error.problem());
        let failure = match error.sentence() {
            Some(sentence) => failure.with_sentence(sentence),
            None => failure,
        };
        match error {
            RestoreError::Malformed(field) => failure.with_field(field, "This cannot be read."),
            _ => failure,
        }
    }
}

/// A request that was read.
struct Asked {
    restore_id: [u8; 16],
    backup_at_ms: i64,
    received: BTreeMap<OrgId, Position>,
    queued: Vec<([u8; 16], [u8; 32])>,
}

impl Asked {
    fn parse(request: &v1::RestoreRequest, now_ms: i64) -> Result<Self, RestoreError> {
        if request.received.len() > HELLO_PAIRS_MAX || request.queued.len() > RESTORE_QUEUED_MAX {
            return Err(RestoreError::TooLarge);
        }
        let restore_id = request.restore_id.as_slice().try_into();
        let mut received = BTreeMap::new();
        for position in &request.received {
            let read = read_position(position).ok_or(RestoreError::Malformed("received"))?;
            if received.insert(read.0, read.1).is_some() {
                return Err(RestoreError::Malformed("received"));
            }
        }
        let queued = request.queued.iter().map(|queued| {
            let id = queued.envelope_id.as_slice().try_into().ok()?;
            Some((id, queued.envelope_hash.as_slice().try_into().ok()?))
        });
        let queued: Option<Vec<_>> = queued.collect();
        Ok(Self {
            restore_id: restore_id.map_err(|_| RestoreError::Malformed("restore_id"))?,
            backup_at_ms: request.backup_at_ms.clamp(0, now_ms),
            received,
            queued: queued.ok_or(RestoreError::Malformed("queued"))?,
        })
    }

    /// Whether anything survived: without, keys and mail are gone alike.
    const fn has_backup(&self) -> bool {
        self.backup_at_ms > 0
    }

    fn received(&self, sender: &OrgId) -> Position {
        self.received.get(sender).copied().unwrap_or(Position::START)
    }
}

fn read_position(position: &v1::PairPosition) -> Option<(OrgId, Position)> {
    let sender = position.organisation.parse().ok()?;
    Some((
        sender,
        Position::of_wire(position.number, &position.envelope_hash)?,
    ))
}

/// Takes a restore in, and answers where the member stands, in messages of a bounded size.
pub async fn restore(
    gateway: &Gateway,
    member: &OrgId,
    request: &v1::RestoreRequest,
) -> Result<Vec<v1::RestoreResponse>, RestoreError> {
    let now_ms = gateway.clock.now_ms();
    let asked = &Asked::parse(request, now_ms)?;
    let (answer, woken) = gateway
        .store
        .tx("restore member", |mut tx| async move {
            let tx = &mut tx;
            let pairs = pair::received_by(tx, member, HELLO_PAIRS_MAX).await?;
            let pairs = pair::lock(tx, &pairs.into_keys().collect()).await?;
            check(gateway, tx, (member, asked), &pairs).await?;
            let found = missing::of(tx, asked, &pairs).await?;
            let others = others(gateway, tx, (member, asked)).await?;
            let woken = match store::find(tx, member, &asked.restore_id).await? {
                Some(_) => BTreeSet::new(),
                None => take(gateway, tx, (member, asked), (&found, &others)).await?,
            };
            let answer = answer(gateway, tx, (member, asked), (found, others)).await?;
            Ok::<_, RestoreError>((answer, woken))
        })
        .await?;
    gateway.relay.wake_all(&woken);
    Ok(answer)
}

/// Whether the gateway has taken what the backup holds, by the same hashes as far as it still knows them. One that came back from a
/// backup itself may have lost the end of a pair: there the member has lost nothing, and the sender brings the pair to where it was.
async fn check(
    gateway: &Gateway,
    tx: &mut Tx,
    (member, asked): (&OrgId, &Asked),
    pairs: &BTreeMap<Pair, PairRow>,
) -> Result<(), RestoreError> {
    for (sender, held) in asked.received.iter().filter(|(_, held)| held.number() > 0) {
        let pair = Pair {
            sender: sender.clone(),
            recipient: member.clone(),
        };
        let last = pairs.get(&pair).map_or(Position::START, |row| row.position);
        if gateway.restored.is_some() && held.number() > last.number() {
            continue;
        }
        if held.number() > last.number() || (held.number() == last.number() && *held != last) {
            return Err(RestoreError::OtherHistory);
        }
        let number = held.number();
        let known = taken::by_numbers(tx, &pair, (number, number), 1).await?;
        if known
            .first()
            .is_some_and(|row| held.hash() != Some(row.envelope_hash))
        {
            return Err(RestoreError::OtherHistory);
        }
    }
    Ok(())
}

/// The members with whom something ever went in either direction; a pair that this gateway lost with a backup of its own the member names
/// itself, as it holds what it received.
async fn others(
    gateway: &Gateway,
    tx: &mut Tx,
    (member, asked): (&OrgId, &Asked),
) -> Result<BTreeSet<OrgId>, StoreError> {
    let mut others = store::others(tx, member).await?;
    let received = asked.received.iter().filter(|(_, held)| held.number() > 0);
    others.extend(received.map(|(sender, _)| sender.clone()));
    others.retain(|org| org != member && gateway.members.get(org).is_some());
    Ok(others)
}

/// Puts a restore down that was not told before, and asks the others; returns whose streams are to be woken.
async fn take(
    gateway: &Gateway,
    tx: &mut Tx,
    (member, asked): (&OrgId, &Asked),
    (found, others): (&Missing, &BTreeSet<OrgId>),
) -> Result<BTreeSet<OrgId>, RestoreError> {
    let now_ms = gateway.clock.now_ms();
    if store::count_after(tx, member, now_ms.saturating_sub(DAY_MS)).await? >= RESTORES_PER_DAY_MAX {
        return Err(RestoreError::TooMany);
    }
    let row = RestoreRow {
        backup_at_ms: asked.backup_at_ms,
        at_ms: now_ms,
    };
    store::insert(tx, member, &asked.restore_id, row).await?;
    reoffer::ask(tx, found, (asked.backup_at_ms, now_ms)).await?;
    let mut told = Told::default();
    for other in others {
        let held = found.held.get(other).map(|held| wire(other, *held));
        let frame = v1::Reoffer {
            organisation: member.to_string(),
            restore_id: asked.restore_id.to_vec(),
            held: held.map(|held| v1::PairPosition {
                organisation: member.to_string(),
                ..held
            }),
            since_ms: asked.backup_at_ms,
        };
        told.notice(other, Frame::Reoffer(frame));
    }
    let event = Event::new(Code::MemberRestored, now_ms)
        .org("organisation", member)
        .number("backup_at_ms", asked.backup_at_ms);
    told.events.push(Salted::new(&gateway.rng, event)?);
    Ok(told.write(tx).await?)
}

fn wire(org: &OrgId, position: Position) -> v1::PairPosition {
    v1::PairPosition {
        organisation: org.to_string(),
        number: position.number(),
        envelope_hash: position.hash().map(|hash| hash.to_vec()).unwrap_or_default(),
    }
}

async fn answer(
    gateway: &Gateway,
    tx: &mut Tx,
    (member, asked): (&OrgId, &Asked),
    (found, others): (Missing, BTreeSet<OrgId>),
) -> Result<Vec<v1::RestoreResponse>, RestoreError> {
    let taken = pair::sent_by(tx, member, HELLO_PAIRS_MAX).await?;
    let standing = v1::Standing {
        gateway_time_ms: gateway.clock.now_ms(),
        cosigned: cosigned(gateway, tx, member).await?,
        taken: taken.iter().map(|(org, position)| wire(org, *position)).collect(),
        asked: others.iter().map(ToString::to_string).collect(),
        begins: found.begins.iter().map(|(org, at)| wire(org, *at)).collect(),
    };
    let mut answer = vec![said(What::Standing(standing))];
    let mut after = Vec::new();
    loop {
        let stops = store::stops(tx, member, &after).await?;
        let Some(last) = stops.last() else { break };
        after.clone_from(&last.slip_id);
        answer.push(said(What::Stopped(v1::StoppedSlips { stops })));
    }
    for page in asked.queued.chunks(RESTORE_PAGE) {
        let envelopes = answered(tx, member, page).await?;
        if !envelopes.is_empty() {
            answer.push(said(What::Answered(v1::AnsweredEnvelopes { envelopes })));
        }
    }
    Ok(answer)
}

const fn said(what: What) -> v1::RestoreResponse {
    v1::RestoreResponse { what: Some(what) }
}

/// The newest checkpoint of a member's log that was cosigned, of its newest epoch, with a cosignature as of now: what was seen is kept
/// as it was asked for, without one.
async fn cosigned(gateway: &Gateway, tx: &mut Tx, member: &OrgId) -> Result<String, RestoreError> {
    let keeper = Keeper::Node(member.clone());
    let prefix = format!("{}/log/", keeper.witness(&gateway.network));
    let origins = log::origins(tx, &prefix).await?;
    let epochs = origins
        .iter()
        .filter_map(|origin| Keeper::of_origin(origin, &gateway.network));
    let Some(newest) = epochs.map(|(_, epoch)| epoch).max() else {
        return Ok(String::new());
    };
    let origin = keeper.origin(&gateway.network, newest);
    let Some(seen) = seen::last(tx, origin.as_str()).await? else {
        return Ok(String::new());
    };
    let witness = Witness {
        name: &Keeper::Gateway.witness(&gateway.network),
        key: &gateway.keys.signing,
        store: &gateway.store,
    };
    let checkpoint: Checkpoint = seen.note.text().parse()?;
    let mut note = seen.note;
    note.add(witness.sign(&checkpoint, gateway.clock.now_ms())?)?;
    Ok(note.to_string())
}

/// What became of a member's own envelopes. A withheld line was put down under the first half of its hash; one that was sealed again
/// under another hash.
async fn answered(
    tx: &mut Tx,
    member: &OrgId,
    queued: &[([u8; 16], [u8; 32])],
) -> Result<Vec<v1::AnsweredEnvelope>, StoreError> {
    let ids: BTreeSet<[u8; 16]> = queued
        .iter()
        .flat_map(|(id, hash)| [*id, crate::relay::submit::first_half(hash)])
        .collect();
    let ids: Vec<[u8; 16]> = ids.into_iter().collect();
    let rows = taken::by_ids(tx, &ids).await?;
    let own = |id: &[u8; 16]| rows.get(id).filter(|row| row.pair.sender == *member);
    let answer = |(id, hash): &([u8; 16], [u8; 32])| {
        let withheld =
            || own(&crate::relay::submit::first_half(hash)).filter(|row| row.envelope_hash == *hash);
        let row = own(id).or_else(withheld)?;
        Some(v1::AnsweredEnvelope {
            envelope_id: id.to_vec(),
            envelope_hash: row.envelope_hash.to_vec(),
            number: row.number.unwrap_or_default(),
            taken_at_ms: row.taken_at_ms,
            problem: row.problem.map_or(0, Problem::number),
        })
    };
    Ok(queued.iter().filter_map(answer).collect())
}
