//! How a node is, read from its store: for the command line, beside a running node or without one.
//! Called by `kith-node status` and `doctor`; takes no lock and changes nothing but the schema of an older database.
//! Never shows more than counts, states, times, checkpoints and alarms.

use kith_proto::id::OrgId;
use kith_proto::log::note::Note;
use kith_proto::trail::sentence::written;
use kith_service::log::epoch::{self, Epoch};
use kith_service::store::{Store, StoreError};

use crate::alarms::Alarm;
use crate::keylog::Held;
use crate::keys::Membership;
use crate::members::Members;
use crate::store as rows;
pub use crate::store::status::{Awaiting, Counts, Link};

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where the link to the gateway stands; `None` before the first start.
    pub link: Option<Link>,
    /// What waits.
    pub counts: Counts,
    /// How far the gateway's log was followed and is believed; `None` before the first checkpoint.
    pub key_log: Option<Held>,
    /// Where this node's own log stands; `None` before its first start.
    pub own_log: Option<Epoch>,
    /// Whether this is a backup that came back and has not heard yet what it cannot know: nothing is served.
    pub is_restoring: bool,
    /// Whose word is awaited since this node came back from a backup, before anything that they shared is opened.
    pub awaiting: Vec<Awaiting>,
    /// What a person must look at.
    pub alarms: Vec<Alarm>,
}

impl Status {
    /// Whether the gateway has cosigned all of this node's log.
    pub fn is_own_log_cosigned(&self) -> bool {
        self.own_log.as_ref().is_none_or(|epoch| {
            let signed = epoch.signed.as_ref().map(Note::text);
            signed.is_none() || signed == epoch.counted.as_ref().map(Note::text)
        })
    }
}

/// How long new keys of a member are shown: until everybody has had the time to call.
const NEW_KEYS_SHOWN_MS: i64 = 30 * crate::threads::DAY_MS;

/// A member with whom a referral is open, and that has new keys since it lost its old ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKeys {
    /// Its id.
    pub organisation: OrgId,
    /// Its display name.
    pub name: String,
    /// From when on they count.
    pub effective_at_ms: i64,
}

/// Whose new keys this organisation should compare by telephone.
pub async fn new_keys(store: &Store, me: &Membership, now_ms: i64) -> Result<Vec<NewKeys>, StoreError> {
    let members = Members::load(me, store, now_ms).await?;
    let rekeyed = members.rekeyed_since(now_ms.saturating_sub(NEW_KEYS_SHOWN_MS));
    if rekeyed.is_empty() {
        return Ok(Vec::new());
    }
    let read = |mut tx| async move { rows::status::open_with(&mut tx).await };
    let open = store.read::<_, StoreError, _, _>("open referrals", read).await?;
    let shown = rekeyed
        .into_iter()
        .filter(|(listed, _)| open.contains(&listed.member.org));
    let shown = shown.map(|(listed, effective_at_ms)| NewKeys {
        organisation: listed.member.org.clone(),
        name: listed.member.name.clone(),
        effective_at_ms,
    });
    Ok(shown.collect())
}

impl NewKeys {
    /// What people are told.
    pub fn sentence(&self) -> String {
        let Self {
            organisation,
            name,
            effective_at_ms,
        } = self;
        format!(
            "{name} has new keys, by the registrar's word, which count from {}. Call them on a number that you know and compare the four words of \
             `kith-node organisations show {organisation}`.",
            written(*effective_at_ms)
        )
    }
}

/// Reads it in one view of the data.
pub async fn read(store: &Store) -> Result<Status, StoreError> {
    store
        .read("status", |mut tx| async move {
            Ok(Status {
                link: rows::status::link(&mut tx).await?,
                counts: rows::status::counts(&mut tx).await?,
                key_log: rows::keylog::held(&mut tx).await?,
                own_log: epoch::newest(&mut tx).await?,
                is_restoring: rows::restore::pending(&mut tx).await?.is_some(),
                awaiting: rows::status::awaiting(&mut tx).await?,
                alarms: rows::alarm::all(&mut tx).await?,
            })
        })
        .await
}
