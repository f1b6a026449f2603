//! Which checkpoint of the gateway's log is on offer to witnesses, and which counts. `serve` runs `run`; the edges and the gateway's own
//! questions to witnesses bring cosignatures to [`add`].
//! Never puts a signature down that it has not verified, never counts fewer than the policy asks for, never goes back to a smaller tree.
//!
//! ```text
//! signed ── offer ──> offered ── cosignatures ──> as many as the policy asks ──> counted
//! ```
//!
//! Replicas on one database share the row of the epoch: each change holds it, reads it again, and writes.

use crate::gateway::Gateway;
use crate::limits::{OFFER_EVERY_MS, OFFER_MS_MAX};
use crate::policy::InForce;
use crate::store::log::hold;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{Note, NoteError, NoteSignature, VerifierKey};
use kith_proto::log::origin::Keeper;
use kith_proto::log::policy::Standing;
use kith_proto::problem::Problem;
use kith_service::log::LogError;
use kith_service::log::epoch::{self, Epoch};
use kith_service::shutdown::Shutdown;
use kith_service::store::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

pub mod ask;

/// Why a cosignature was not added, or no checkpoint offered, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum WitnessingError {
    /// The note cannot be read, or a cosignature in it is forged: nothing of it was taken.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Another checkpoint is on offer by now: fetch and cosign that one.
    #[error("the checkpoint is not on offer")]
    NotOnOffer,
    /// No witness of the policy in force has signed: ask the network's owner.
    #[error("no witness of the policy has cosigned")]
    NoWitness,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WitnessingError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Note(error) => error.problem(),
            Self::NotOnOffer => Problem::WrongState,
            Self::NoWitness => Problem::Unauthenticated,
            Self::Log(error) => error.problem(),
            Self::Store(error) => error.problem(),
        }
    }

    /// A sentence that fits better than the problem's own.
    pub const fn sentence(&self) -> Option<&'static str> {
        Some(match self {
            Self::Note(NoteError::Forged) => {
                "A cosignature in the name of a witness is not its own, so nothing was taken."
            }
            Self::NotOnOffer => "Another checkpoint is on offer by now. Fetch it and cosign that one.",
            Self::NoWitness => "No witness of the network's policy has signed this checkpoint.",
            _ => return None,
        })
    }
}

/// Where the log stands for whoever cosigns or believes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// The newest epoch.
    pub epoch: u64,
    /// The size on offer; 0 before the first.
    pub offered: u64,
    /// The size that counts; 0 before the first.
    pub counted: u64,
    /// How many signatures are under it.
    cosigned: usize,
}

/// Tells the streams and the gateway's own questions to witnesses.
#[derive(Debug)]
pub struct Witnessing(watch::Sender<Stand>);

impl Default for Witnessing {
    fn default() -> Self {
        Self(watch::Sender::new(Stand::default()))
    }
}

impl Witnessing {
    /// Follows what is on offer and what counts.
    pub fn follow(&self) -> watch::Receiver<Stand> {
        self.0.subscribe()
    }

    fn tell(&self, stand: Stand) {
        self.0.send_if_modified(|held| {
            let moved = *held != stand;
            *held = stand;
            moved
        });
    }
}

/// The key of the gateway's own log in an epoch.
pub fn log_key(gateway: &Gateway, epoch: u64) -> VerifierKey {
    Keeper::Gateway.log_key(&gateway.network, epoch, gateway.keys.signing.public())
}

/// Opens a note of the gateway's own log by a policy.
pub fn standing(
    gateway: &Gateway,
    in_force: &InForce,
    epoch: u64,
    note: &Note,
) -> Result<(Checkpoint, Standing), NoteError> {
    in_force.policy.open(note, &[log_key(gateway, epoch)])
}

/// What is to be written about an epoch.
#[derive(Debug, Default)]
struct Plan {
    offer: Option<Note>,
    count: Option<Note>,
}

/// Decides what is due. `stale`: the size of an offer that has stood for long enough.
fn plan(gateway: &Gateway, in_force: &InForce, epoch: &Epoch, stale: Option<u64>) -> Result<Plan, NoteError> {
    let mut plan = Plan::default();
    let is_over = match &epoch.offered {
        None => true,
        Some(note) => {
            let (checkpoint, standing) = standing(gateway, in_force, epoch.number, note)?;
            if standing.is_counted() && epoch.counted.as_ref() != Some(note) {
                plan.count = Some(note.clone());
            }
            standing.is_counted() || stale == Some(checkpoint.head().size)
        }
    };
    if let Some(signed) = epoch.signed.as_ref().filter(|_| is_over)
        && epoch.offered.as_ref().map(Note::text) != Some(signed.text())
    {
        if standing(gateway, in_force, epoch.number, signed)?.1.is_counted() {
            plan.count = Some(signed.clone());
        }
        plan.offer = Some(signed.clone());
    }
    Ok(plan)
}

/// Takes one look: offers and counts what is due, and tells. `stale` as in [`plan`].
async fn look(gateway: &Gateway, stale: Option<u64>) -> Result<Stand, WitnessingError> {
    let in_force: &InForce = &gateway.policy();
    let mut epoch = gateway.log.newest().await?;
    let due = plan(gateway, in_force, &epoch, stale)?;
    if due.offer.is_some() || due.count.is_some() {
        let number = epoch.number;
        epoch = gateway
            .store
            .tx("offer", |mut tx| async move {
                hold(&mut tx, number).await?;
                let mut epoch = held(&mut tx, number).await?;
                let due = plan(gateway, in_force, &epoch, stale)?;
                if let Some(note) = due.offer {
                    epoch::offer(&mut tx, number, &note).await?;
                    epoch.offered = Some(note);
                }
                if let Some(note) = due.count {
                    epoch::count(&mut tx, number, &note).await?;
                    epoch.counted = Some(note);
                }
                Ok::<_, WitnessingError>(epoch)
            })
            .await?;
    }
    let stand = stand(&epoch)?;
    gateway.witnessing.tell(stand);
    Ok(stand)
}

async fn held(tx: &mut kith_service::store::Tx, number: u64) -> Result<Epoch, WitnessingError> {
    let epoch = epoch::one(tx, number).await?;
    Ok(epoch.ok_or(LogError::NoEpoch)?)
}

fn stand(epoch: &Epoch) -> Result<Stand, NoteError> {
    let size = |note: &Option<Note>| match note {
        None => Ok(0),
        Some(note) => note
            .text()
            .parse::<Checkpoint>()
            .map(|checkpoint| checkpoint.head().size),
    };
    Ok(Stand {
        epoch: epoch.number,
        offered: size(&epoch.offered)?,
        counted: size(&epoch.counted)?,
        cosigned: epoch.counted.as_ref().map_or(0, |note| note.signatures().len()),
    })
}

/// Adds the cosignatures of a note that is on offer; says whether the checkpoint counts now. Of each witness the first one is kept, so
/// that nobody fills the note up; whatever else is signed there is passed over.
pub async fn add(gateway: &Gateway, note: &Note) -> Result<bool, WitnessingError> {
    let in_force: &InForce = &gateway.policy();
    let cosigned = &verified(gateway, in_force, note)?;
    let (counted, stand) = gateway
        .store
        .tx("cosignature", |mut tx| async move {
            let number = epoch::newest(&mut tx).await?.ok_or(LogError::NoEpoch)?.number;
            hold(&mut tx, number).await?;
            let mut epoch = held(&mut tx, number).await?;
            let offered = epoch.offered.as_mut().filter(|held| held.text() == note.text());
            let offered = offered.ok_or(WitnessingError::NotOnOffer)?;
            let mut is_new = false;
            for (witness, signature) in cosigned {
                if offered.verify(std::slice::from_ref(witness)).is_err() {
                    offered.add(signature.clone())?;
                    is_new = true;
                }
            }
            let counted = standing(gateway, in_force, number, offered)?.1.is_counted();
            if is_new {
                epoch::offer(&mut tx, number, offered).await?;
            }
            if counted && epoch.counted.as_ref() != epoch.offered.as_ref() {
                epoch.counted.clone_from(&epoch.offered);
                if let Some(note) = &epoch.counted {
                    epoch::count(&mut tx, number, note).await?;
                }
            }
            Ok::<_, WitnessingError>((counted, stand(&epoch)?))
        })
        .await?;
    gateway.witnessing.tell(stand);
    Ok(counted)
}

/// The cosignatures of a note that are of the policy's witnesses, each verified by itself.
fn verified(
    gateway: &Gateway,
    in_force: &InForce,
    note: &Note,
) -> Result<Vec<(VerifierKey, NoteSignature)>, WitnessingError> {
    let own = gateway.keys.signing.public();
    let mut verified = Vec::new();
    for witness in in_force.policy.witnesses().iter().filter(|w| w.public() != own) {
        for signature in note.signatures().iter().filter(|s| s.name() == witness.name()) {
            let alone = Note::new(note.text().to_owned(), vec![signature.clone()])?;
            match alone.verify(std::slice::from_ref(witness)) {
                Ok(_) => verified.push((witness.clone(), signature.clone())),
                // Another key of this name: a log, or a witness of before.
                Err(NoteError::Unsigned) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    if verified.is_empty() {
        return Err(WitnessingError::NoWitness);
    }
    Ok(verified)
}

/// Looks until the wish to stop. A failure is logged when it begins.
pub(crate) async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(Duration::from_millis(OFFER_EVERY_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let wish = shutdown.wait();
    tokio::pin!(wish);
    let (mut since, mut failed) = (None::<(u64, Instant)>, None);
    loop {
        tokio::select! {
            biased;
            () = &mut wish => return,
            _ = tick.tick() => {}
        }
        let stale = since.filter(|(_, at)| at.elapsed() >= Duration::from_millis(OFFER_MS_MAX));
        let error = match look(&gateway, stale.map(|(size, _)| size)).await {
            Ok(stand) => {
                if since.is_none_or(|(size, _)| size != stand.offered) {
                    since = Some((stand.offered, Instant::now()));
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error.as_ref().filter(|_| error != failed) {
            tracing::error!(error, "no checkpoint can be offered to witnesses");
        }
        failed = error;
    }
}
