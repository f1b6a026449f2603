//! The witness policy in force: which cosignatures make a checkpoint of this gateway's log count.
//! [`crate::gateway::Gateway`] holds it, `serve` runs `poll`: the owner's command puts a new one into the folder.
//! Never goes back to a lower number, not after a restart and not on another replica: the store remembers the highest.

use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::keys::{GatewayKeys, KeyError};
use crate::limits::POLICY_POLL_MS;
use crate::store::{audit, policy};
use kith_proto::log::policy::WitnessPolicy;
use kith_proto::problem::Problem;
use kith_proto::trust::{TrustError, binding_hash};
use kith_proto::v1;
use kith_service::rng::RandomFailed;
use kith_service::shutdown::Shutdown;
use kith_service::store::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Why a policy was not taken up, by what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read, or is not the root's: put the right one there. The one before stays in force.
    #[error(transparent)]
    File(#[from] KeyError),
    /// The policy in the store is not the root's: restore the database.
    #[error("the policy in the store is not the root's")]
    Stored(#[from] TrustError),
    /// The folder has a policy of a lower number than the one in force, or another one of its number: an old copy.
    #[error("the folder has policy {folder}, but {in_force} was taken up before; it stays in force")]
    RolledBack {
        /// The number in the folder.
        folder: u64,
        /// The number in force.
        in_force: u64,
    },
    /// The store failed: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl PolicyError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::File(error) => error.problem(),
            Self::Stored(error) => error.problem(),
            Self::RolledBack { .. } => Problem::Conflict,
            Self::Store(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }
}

/// A policy, read and as signed.
#[derive(Debug)]
pub struct InForce {
    /// What it says.
    pub policy: WitnessPolicy,
    /// The root's statement, for members.
    pub signed: v1::Signed,
}

/// The policy in force, for everybody in this process.
#[derive(Debug)]
pub struct Policies(watch::Sender<Arc<InForce>>);

impl Policies {
    /// Begins with the policy of the folder; [`refresh`] says whether the store knows a higher one.
    pub fn new(keys: &GatewayKeys) -> Result<Self, TrustError> {
        let signed = keys.policy.clone();
        let policy = WitnessPolicy::verify(&signed, &keys.root, &keys.network)?;
        Ok(Self(watch::Sender::new(Arc::new(InForce { policy, signed }))))
    }

    /// The policy in force.
    pub fn get(&self) -> Arc<InForce> {
        self.0.borrow().clone()
    }

    fn put(&self, next: InForce) {
        self.0.send_if_modified(|held| {
            let moved = held.signed != next.signed;
            if moved {
                *held = Arc::new(next);
            }
            moved
        });
    }
}

/// Takes up `offered` when its number is higher than all before, with an audit event, and puts into force what the store then has.
async fn take_up(gateway: &Gateway, offered: &v1::Signed) -> Result<(), PolicyError> {
    let keys = &gateway.keys;
    let verify = |signed: &v1::Signed| WitnessPolicy::verify(signed, &keys.root, &keys.network);
    let read = verify(offered)?;
    let now_ms = gateway.clock.now_ms();
    let event = Event::new(Code::PolicyPublished, now_ms)
        .number("number", read.number().cast_signed())
        .number("count", i64::try_from(read.threshold()).unwrap_or(i64::MAX))
        .hash("policy", &binding_hash(offered));
    let events = &[Salted::new(&gateway.rng, event)?];
    let number = read.number();
    let highest = gateway
        .store
        .tx("policy", |mut tx| async move {
            if policy::put(&mut tx, number, offered, now_ms).await? {
                audit::insert(&mut tx, events).await?;
            }
            policy::newest(&mut tx).await
        })
        .await?;
    let signed = highest.unwrap_or_else(|| offered.clone());
    let in_force = verify(&signed)?;
    let rolled_back = signed != *offered;
    let number = in_force.number();
    gateway.policies.put(InForce {
        policy: in_force,
        signed,
    });
    if rolled_back {
        return Err(PolicyError::RolledBack {
            folder: read.number(),
            in_force: number,
        });
    }
    Ok(())
}

/// Takes up what the folder had at the start, when the gateway opens. An old copy there is said and not used.
pub(crate) async fn open(gateway: &Gateway) -> Result<(), PolicyError> {
    match take_up(gateway, &gateway.keys.policy).await {
        Err(error @ PolicyError::RolledBack { .. }) => {
            tracing::warn!(%error, "an old witness policy is in the folder");
            Ok(())
        }
        other => other,
    }
}

/// Brings the policy in force up to the folder and the store. [`PolicyError::RolledBack`] when the folder has an old copy.
pub async fn refresh(gateway: &Gateway) -> Result<(), PolicyError> {
    let stored = gateway
        .store
        .look("policy", |mut tx| async move { policy::newest(&mut tx).await });
    let stored: Option<v1::Signed> = stored.await.map_err(|error: StoreError| error)?;
    if let Some(signed) = stored.filter(|signed| *signed != gateway.policies.get().signed) {
        let policy = WitnessPolicy::verify(&signed, &gateway.keys.root, &gateway.keys.network)?;
        gateway.policies.put(InForce { policy, signed });
    }
    let offered = gateway.keys.read_policy()?;
    if offered == gateway.policies.get().signed {
        return Ok(());
    }
    take_up(gateway, &offered).await?;
    let number = gateway.policies.get().policy.number();
    tracing::info!(number, "a new witness policy is in force");
    Ok(())
}

/// Looks at the folder and the store until the wish to stop. A failure is logged when it begins.
pub(crate) async fn poll(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(Duration::from_millis(POLICY_POLL_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let wish = shutdown.wait();
    tokio::pin!(wish);
    let mut failed = None;
    loop {
        tokio::select! {
            biased;
            () = &mut wish => return,
            _ = tick.tick() => {}
        }
        let now = refresh(&gateway).await.err().map(|error| error.to_string());
        if let Some(error) = now.as_ref().filter(|_| now != failed) {
            tracing::warn!(error, "the witness policy could not be brought up to date");
        }
        failed = now;
    }
}
