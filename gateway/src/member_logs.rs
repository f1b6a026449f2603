//! Cosigning the logs of members: the gateway is the witness of every node (C2SP tlog-witness). Called by the edges of the log's
//! service and of plain HTTPS.
//! Never cosigns two trees of one log that no proof joins, nor an epoch of a member that is over; a fork is kept with both notes, goes
//! into the gateway's own log as an alarm, and is said loudly.

use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::limits::EPOCHS_PER_MEMBER_MAX;
use crate::store::{audit, log};
use kith_proto::id::OrgId;
use kith_proto::log::note::{NoteError, VerifierKey};
use kith_proto::log::origin::Keeper;
use kith_proto::log::witness::{AddCheckpoint, WitnessRefusal, write_answer};
use kith_proto::problem::Problem;
use kith_service::log::seen::{self, Checked, Witness};
use kith_service::rng::RandomFailed;
use kith_service::store::{StoreError, Tx};

/// Why a member's checkpoint was not cosigned, by what the member can do.
#[derive(Debug, thiserror::Error)]
pub enum MemberLogError {
    /// The request cannot be read: repair it.
    #[error(transparent)]
    Request(NoteError),
    /// Nobody's log, or not the caller's: ask for one's own.
    #[error("the log is not that of this member")]
    NotItsOwn,
    /// A later epoch of this member's log was cosigned before: this one is over.
    #[error("epoch {newest} of this log has begun")]
    EpochOver {
        /// The newest epoch.
        newest: u64,
    },
    /// The member has begun more epochs than the gateway puts down: ask the operator.
    #[error("the member has begun too many epochs")]
    TooManyEpochs,
    /// As a witness refuses.
    #[error(transparent)]
    Refused(#[from] WitnessRefusal),
    /// The signing library failed: try again.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The store failed: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl MemberLogError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Request(error) | Self::Note(error) => error.problem(),
            Self::NotItsOwn => Problem::NotFound,
            Self::EpochOver { .. } => Problem::WrongState,
            Self::TooManyEpochs => Problem::CapacityFull,
            Self::Refused(refused) => refused.problem(),
            Self::Store(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }

    /// A sentence that fits better than the problem's own.
    pub const fn sentence(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotItsOwn => "This is not the log of this organisation in this network.",
            Self::EpochOver { .. } => {
                "A later epoch of this log has begun, so nothing more is cosigned of this one. Was the node restored from a backup?"
            }
            Self::Refused(WitnessRefusal::Inconsistent) => {
                "This log does not go on from what the gateway has cosigned of it before. Both were kept as evidence. \
                 Tell the network's operator."
            }
            _ => return None,
        })
    }
}

/// What the gateway has to say to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its signature lines.
    Cosigned(String),
    /// It last cosigned this size: ask again with a proof from it.
    HeldSize(u64),
}

/// Checks a request for a member's log against what was cosigned of it before, and cosigns. With `caller` the log must be that
/// member's; without, the signature under the checkpoint alone says whose it is. `request` is the body of `add-checkpoint`.
pub async fn add_checkpoint(
    gateway: &Gateway,
    caller: Option<&OrgId>,
    request: &str,
) -> Result<Answer, MemberLogError> {
    let request: &AddCheckpoint = &request.parse().map_err(MemberLogError::Request)?;
    let origin = Keeper::of_origin(request.claimed_origin(), &gateway.network);
    let Some((Keeper::Node(org), epoch)) = origin else {
        return Err(MemberLogError::NotItsOwn);
    };
    if caller.is_some_and(|caller| *caller != org) {
        return Err(MemberLogError::NotItsOwn);
    }
    let (org, keys) = (&org, &log_keys(gateway, &org, epoch)?);
    let now_ms = gateway.clock.now_ms();
    let alarm = Event::new(Code::AlarmRaised, now_ms)
        .word("kind", "fork")
        .org("organisation", org);
    let alarm = &[Salted::new(&gateway.rng, alarm)?];
    let checked = gateway
        .store
        .tx("member log", |mut tx| async move {
            may_go_on(gateway, &mut tx, org, epoch).await?;
            let checked = seen::check(&mut tx, request, keys, now_ms).await?;
            if checked.is_new_fork {
                audit::insert(&mut tx, alarm).await?;
            }
            Ok::<Checked, MemberLogError>(checked)
        })
        .await?;
    if checked.outcome == Err(WitnessRefusal::Inconsistent) {
        tracing::error!(
            organisation = %org,
            "the log of a member was forked; both notes are kept, see the command log; call the organisation"
        );
    }
    match checked.outcome {
        Err(WitnessRefusal::OtherSize { size }) => Ok(Answer::HeldSize(size)),
        Err(refused) => Err(refused.into()),
        Ok(checkpoint) => {
            let witness = Witness {
                name: &Keeper::Gateway.witness(&gateway.network),
                key: &gateway.keys.signing,
                store: &gateway.store,
            };
            let line = witness.sign(&checkpoint, now_ms)?;
            Ok(Answer::Cosigned(write_answer(&[line])))
        }
    }
}

/// The keys of a member's log: every signing key that its chain has had.
fn log_keys(gateway: &Gateway, org: &OrgId, epoch: u64) -> Result<Vec<VerifierKey>, MemberLogError> {
    let known = gateway.member(org).ok_or(MemberLogError::NotItsOwn)?;
    let keeper = Keeper::Node(org.clone());
    let mut keys = Vec::with_capacity(known.member.bindings.len());
    for binding in &known.member.bindings {
        let key = keeper.log_key(&gateway.network, epoch, binding.signing_key);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// Whether this epoch of a member's log may be cosigned: the newest that was seen of it, or a later one.
///
/// This is where a restored node comes in: it begins an epoch with a higher number by itself. Whoever wants the operator's word for
/// that first, asks for it here.
async fn may_go_on(gateway: &Gateway, tx: &mut Tx, org: &OrgId, epoch: u64) -> Result<(), MemberLogError> {
    let prefix = format!("{}/log/", Keeper::Node(org.clone()).witness(&gateway.network));
    let origins = log::origins(tx, &prefix).await?;
    let epochs = origins
        .iter()
        .filter_map(|origin| Keeper::of_origin(origin, &gateway.network));
    let newest = epochs.map(|(_, epoch)| epoch).max().unwrap_or_default();
    if epoch < newest {
        return Err(MemberLogError::EpochOver { newest });
    }
    if epoch > newest && origins.len() >= EPOCHS_PER_MEMBER_MAX {
        return Err(MemberLogError::TooManyEpochs);
    }
    Ok(())
}
