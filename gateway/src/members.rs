//! The verified members in memory. The gate, the relay and the edges ask here; [`crate::changes`] and the use-cases of
//! [`crate::membership`] swap in what changed. Never holds a member whose chain did not verify from the root.

use kith_proto::id::OrgId;
use kith_proto::permits::MemberState;
use kith_proto::trust;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes part.
    Active,
    /// It may only end things.
    Suspended,
}

impl Standing {
    /// The word in the row and on the screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }

    /// Reads the word; `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Suspended]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl From<Standing> for MemberState {
    fn from(state: Standing) -> Self {
        match state {
            Standing::Active => Self::Active,
            Standing::Suspended => Self::Suspended,
        }
    }
}

/// One member: what its chain proves, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownMember {
    /// Its keys and name, verified from the root.
    pub member: trust::Member,
    /// How it stands.
    pub state: Standing,
    /// The change counter of its last change.
    pub changed: i64,
    /// How many bindings its chain had when its keys were last reported lost.
    pub lost_bindings: Option<u64>,
    /// SHA-256 of the TLS key it enrolled with; after a re-key, that of the certificate given last.
    pub tls_key_hash: [u8; 32],
}

/// All members, by id.
pub type MemberMap = BTreeMap<OrgId, Arc<KnownMember>>;

/// The members as last read, and the cursor up to which they are complete.
#[derive(Debug)]
pub struct Members {
    map: RwLock<Arc<MemberMap>>,
    cursor: watch::Sender<i64>,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            map: RwLock::default(),
            cursor: watch::Sender::new(0),
        }
    }
}

impl Members {
    /// Returns the member; `None` when it never joined.
    pub fn get(&self, org: &OrgId) -> Option<Arc<KnownMember>> {
        self.all().get(org).cloned()
    }

    /// Returns how an organisation stands, as `permits` wants it.
    pub fn state(&self, org: &OrgId) -> MemberState {
        self.get(org)
            .map_or(MemberState::NotMember, |known| known.state.into())
    }

    /// Returns all members as they stand now; the map does not change under the caller.
    pub fn all(&self) -> Arc<MemberMap> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The change counter up to which the members are complete.
    pub fn cursor(&self) -> i64 {
        *self.cursor.borrow()
    }

    /// Follows the cursor: it changes after the members did, so that whoever is woken sees the new ones.
    pub fn follow(&self) -> watch::Receiver<i64> {
        self.cursor.subscribe()
    }

    /// Puts in the members that changed up to `cursor`, and takes out those whose chain no longer verifies. An older state never
    /// replaces a newer one.
    pub(crate) fn put(&self, changed: Vec<(OrgId, Option<KnownMember>)>, cursor: i64) {
        {
            let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
            let mut next = MemberMap::clone(&map);
            for (org, read) in changed {
                match read {
                    None => {
                        next.remove(&org);
                    }
                    Some(read) if next.get(&org).is_some_and(|held| held.changed > read.changed) => {}
                    Some(read) => {
                        next.insert(org, Arc::new(read));
                    }
                }
            }
            *map = Arc::new(next);
        }
        self.cursor.send_if_modified(|held| {
            let moved = *held < cursor;
            *held = cursor.max(*held);
            moved
        });
    }
}
