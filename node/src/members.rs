//! The other members of the network, as this node has verified them from the root it pinned.
//! The link refreshes the copy, everything that needs a member's key asks [`Members::keys_of`], the directory lists it.
//! Never believe a gateway's word for a key, never give one that does not stand in the network's key log, never let a chain that was once verified be replaced by another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kith_proto::id::{NetworkName, OrgId};
use kith_proto::permits::MemberState;
use kith_proto::problem::Problem;
use kith_proto::sign::PublicKey;
use kith_proto::trust::{self, Binding, SERVICES_PER_MEMBER_MAX, TrustError};
use kith_proto::v1;
use kith_service::store::{Store, StoreError};
use tokio::sync::Notify;

use crate::keys::Membership;
use crate::store;

#[cfg(test)]
mod tests;

/// Most members of one network, as at the gateway; a listing beyond it is not taken.
pub const MEMBERS_MAX: usize = 500;

/// One member with its verified chain.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What the chain shows.
    pub member: trust::Member,
    /// Whether the gateway says that it is suspended.
    pub suspended: bool,
    /// Its services, each signed by it.
    pub services: Vec<v1::Service>,
    /// The bindings once more, to be handed out without copying.
    keys: Vec<Arc<Binding>>,
}

/// Why a listed member was not taken over; the copy keeps what it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Its chain does not verify from the root.
    #[error("a member's chain was not believed: {0}")]
    Chain(#[from] TrustError),
    /// The listing names another organisation than its chain.
    #[error("a listing names another organisation than its chain")]
    Name,
    /// The chain does not go on from the one that was verified before.
    #[error("a member's chain was replaced by another")]
    Replaced,
    /// The chain is only the beginning of the one that was verified before: the gateway lost the rest, and its member gives it back.
    #[error("a member's chain is shorter than it was")]
    Behind,
    /// More members than a network may have.
    #[error("the network has too many members")]
    TooMany,
}

impl MemberError {
    /// The problem that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Chain(error) => error.problem(),
            Self::Name | Self::Replaced | Self::Behind => Problem::Unauthenticated,
            Self::TooMany => Problem::TooLarge,
        }
    }
}

/// The verified copy. Shared by everything in the node; reads take a lock for the time of a look-up.
pub struct Members {
    network: NetworkName,
    root: PublicKey,
    listed: RwLock<Arc<BTreeMap<OrgId, Arc<Listed>>>>,
    /// The bindings of each member that stand in the key log, under a checkpoint that counts.
    logged: RwLock<BTreeMap<OrgId, BTreeSet<[u8; 32]>>>,
    /// Tells that there are more of them.
    more_logged: Notify,
    /// Whether a member is missing that was listed: see [`Members::is_short`].
    short: AtomicBool,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Members({} of {})", self.all().len(), self.network)
    }
}

impl Members {
    /// An empty copy for one network under one root.
    pub fn new(network: NetworkName, root: PublicKey) -> Self {
        Self {
            network,
            root,
            listed: RwLock::default(),
            logged: RwLock::default(),
            more_logged: Notify::new(),
            short: AtomicBool::new(false),
        }
    }

    /// Makes the copy again from the listing that the store holds, every chain verified anew by the local clock. A row that
    /// does not verify is left out, as all do whose keys are newer than a clock that is behind; the copy is short then.
    pub async fn load(membership: &Membership, store: &Store, now_ms: i64) -> Result<Self, StoreError> {
        let members = Self::new(membership.network.clone(), membership.root);
        let read = |mut tx| async move { store::member::all(&mut tx).await };
        let listed: Vec<v1::Member> = store.read::<_, StoreError, _, _>("members", read).await?;
        let verified = listed
            .iter()
            .filter_map(|wire| match members.check(wire, now_ms) {
                Ok(listed) => Some(listed),
                Err(error) => {
                    tracing::warn!(%error, "a stored member was left out");
                    members.set_short(true);
                    None
                }
            });
        members.put(verified.collect());
        let read = |mut tx| async move { store::keylog::believed(&mut tx, 0).await };
        members.believe(store.read::<_, StoreError, _, _>("key log", read).await?);
        Ok(members)
    }

    /// Whether members are missing that the gateway lists, so that the directory must be read from its beginning: the gateway
    /// does not tell again of what it told.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Notes that a member is missing, or that the directory was read from its beginning.
    pub fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }

    /// The keys that a member had in force at `at_ms`, of those bindings that are verified from the root and stand in the key log;
    /// none for a stranger, before its first binding counted, and before one is logged ([`Members::awaits_log`]).
    /// The only way to another member's keys, so that whatever must be checked before one is used is checked here.
    pub fn keys_of(&self, org: &OrgId, at_ms: i64) -> Option<Arc<Binding>> {
        let listed = self.get(org)?;
        let logged = self.logged.read().unwrap_or_else(PoisonError::into_inner);
        let logged = logged.get(org)?;
        let in_force = |keys: &&Arc<Binding>| keys.effective_at_ms <= at_ms && logged.contains(&keys.hash);
        listed.keys.iter().rev().find(in_force).cloned()
    }

    /// The newest keys of a member that stand in the key log, in force or not yet: what two organisations compare by telephone.
    pub fn newest_keys_of(&self, org: &OrgId) -> Option<Arc<Binding>> {
        let listed = self.get(org)?;
        let logged = self.logged.read().unwrap_or_else(PoisonError::into_inner);
        let logged = logged.get(org)?;
        listed
            .keys
            .iter()
            .rev()
            .find(|keys| logged.contains(&keys.hash))
            .cloned()
    }

    /// The members that lost their keys and have had new ones by the registrar's word since a time, and from when on those count.
    pub fn rekeyed_since(&self, since_ms: i64) -> Vec<(Arc<Listed>, i64)> {
        let newest = |listed: Arc<Listed>| {
            let rekeyed = listed.keys.iter().rev().find(|keys| keys.rekey)?;
            let effective_at_ms = rekeyed.effective_at_ms;
            (effective_at_ms >= since_ms).then_some((listed, effective_at_ms))
        };
        self.all().values().cloned().filter_map(newest).collect()
    }

    /// Whether a member has a verified binding that is not in the key log yet: what it signed may be believed a little later.
    pub fn awaits_log(&self, org: &OrgId) -> bool {
        let Some(listed) = self.get(org) else {
            return false;
        };
        let logged = self.logged.read().unwrap_or_else(PoisonError::into_inner);
        let logged = logged.get(org);
        let missing = |keys: &Arc<Binding>| !logged.is_some_and(|logged| logged.contains(&keys.hash));
        listed.keys.iter().any(missing)
    }

    /// Whether any member has such a binding.
    pub fn any_awaits_log(&self) -> bool {
        self.all().keys().any(|org| self.awaits_log(org))
    }

    /// Waits until more bindings are believed. For one that waits; a word that came before it began is not lost.
    pub async fn believed(&self) {
        self.more_logged.notified().await;
    }

    /// Takes over bindings that stand in the key log, each by its member and hash. Only for what the key log's follower believes.
    pub fn believe(&self, bindings: Vec<(OrgId, [u8; 32])>) {
        let mut logged = self.logged.write().unwrap_or_else(PoisonError::into_inner);
        for (org, hash) in bindings {
            logged.entry(org).or_default().insert(hash);
        }
        self.more_logged.notify_one();
    }

    /// Believes no binding any more: the key log begins anew, and what it says from there on is given to [`Members::believe`].
    pub fn believe_none(&self) {
        self.logged
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Where a member stands.
    pub fn state_of(&self, org: &OrgId) -> MemberState {
        match self.get(org) {
            None => MemberState::NotMember,
            Some(listed) if listed.suspended => MemberState::Suspended,
            Some(_) => MemberState::Active,
        }
    }

    /// One member.
    pub fn get(&self, org: &OrgId) -> Option<Arc<Listed>> {
        self.all().get(org).cloned()
    }

    /// Every member, by id; a copy that does not change.
    pub fn all(&self) -> Arc<BTreeMap<OrgId, Arc<Listed>>> {
        self.listed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verifies one listed member against the copy; [`Members::put`] takes it over once it is stored.
    pub fn check(&self, wire: &v1::Member, now_ms: i64) -> Result<Listed, MemberError> {
        let chain = wire.chain.as_ref().ok_or(TrustError::Malformed)?;
        let member = trust::verify_chain(chain, &self.root, &self.network, now_ms)?;
        if member.org.as_str() != wire.organisation {
            return Err(MemberError::Name);
        }
        let all = self.all();
        match all.get(&member.org) {
            Some(held) if goes_on(&member, &held.member) && held.keys.len() > member.bindings.len() => {
                return Err(MemberError::Behind);
            }
            Some(held) if !goes_on(&held.member, &member) => return Err(MemberError::Replaced),
            None if all.len() >= MEMBERS_MAX => return Err(MemberError::TooMany),
            _ => {}
        }
        let services = wire.services.iter().take(SERVICES_PER_MEMBER_MAX);
        let services = services
            .filter_map(|signed| trust::verify_service(signed, &member, now_ms).ok())
            .collect();
        Ok(Listed {
            keys: member.bindings.iter().cloned().map(Arc::new).collect(),
            suspended: wire.suspended,
            services,
            member,
        })
    }

    /// Takes over members that [`Members::check`] gave, all at once.
    pub fn put(&self, members: Vec<Listed>) {
        let mut listed = self.listed.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::clone(&listed);
        next.extend(members.into_iter().map(|m| (m.member.org.clone(), Arc::new(m))));
        *listed = Arc::new(next);
    }
}

impl Listed {
    /// The newest binding, in force or not yet: what a node holds against its own keys.
    pub fn newest_keys(&self) -> Option<&Binding> {
        self.keys.last().map(AsRef::as_ref)
    }
}

/// Whether a chain starts with all bindings of the one held.
fn goes_on(held: &trust::Member, offered: &trust::Member) -> bool {
    let hashes = |member: &trust::Member| member.bindings.iter().map(|b| b.hash).collect::<Vec<_>>();
    hashes(offered).starts_with(&hashes(held))
}
