//! The open streams: at most one a member, the newest; woken when something waits for their member.
//! Those that have not said hello yet are counted too. Filled by [`mod@super::attach`]; woken by whoever commits something for a member. Keeps nothing that must survive the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kith_proto::id::OrgId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::RelayError;
use crate::limits::{STREAMS_MAX, STREAMS_PER_MEMBER_MAX};

/// All open streams.
#[derive(Debug, Default)]
pub struct Streams {
    open: Mutex<BTreeMap<OrgId, Arc<Open>>>,
    opened: AtomicU64,
    /// How many streams of each member are at work, the replaced ones and those without a hello included.
    count: Mutex<BTreeMap<OrgId, usize>>,
}

/// One open stream.
#[derive(Debug)]
pub struct Open {
    id: u64,
    wake: Notify,
    replaced: CancellationToken,
    /// Ids delivered and not yet receipted; `true` for those that count against the limit, which tombstones do not.
    in_flight: Mutex<BTreeMap<[u8; 16], bool>>,
}

/// A stream's place among those of all members; given up when dropped.
#[derive(Debug)]
pub struct Place<'a> {
    streams: &'a Streams,
    member: OrgId,
    /// The stream.
    pub open: Arc<Open>,
}

impl Streams {
    /// Counts a member's stream in; it is none of the open ones before [`Place::take_over`].
    pub fn enter(&self, member: &OrgId) -> Result<Place<'_>, RelayError> {
        {
            let mut count = self.count();
            // At most as many entries as members.
            let of_member = count.get(member).copied().unwrap_or_default();
            if of_member >= STREAMS_PER_MEMBER_MAX || count.values().sum::<usize>() >= STREAMS_MAX {
                return Err(RelayError::Busy);
            }
            count.insert(member.clone(), of_member + 1);
        }
        let open = Arc::new(Open {
            id: self.opened.fetch_add(1, Ordering::Relaxed),
            wake: Notify::new(),
            replaced: CancellationToken::new(),
            in_flight: Mutex::default(),
        });
        Ok(Place {
            streams: self,
            member: member.clone(),
            open,
        })
    }

    /// Tells the streams of these members that something waits.
    pub fn wake_all<'m>(&self, members: impl IntoIterator<Item = &'m OrgId>) {
        let open = self.lock();
        for member in members {
            if let Some(stream) = open.get(member) {
                stream.wake.notify_one();
            }
        }
    }

    /// Tells every open stream, in the order of members, that there is something for all of them.
    pub fn wake_open(&self) {
        for stream in self.lock().values() {
            stream.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OrgId, Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> MutexGuard<'_, BTreeMap<OrgId, usize>> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Makes the stream its member's open one and ends the one before.
    pub fn take_over(&self) {
        let before = self.streams.lock().insert(self.member.clone(), self.open.clone());
        if let Some(before) = before {
            before.replaced.cancel();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if open.get(&self.member).is_some_and(|held| held.id == self.open.id) {
            open.remove(&self.member);
        }
        let mut count = self.streams.count();
        match count.get_mut(&self.member) {
            Some(of_member) if *of_member > 1 => *of_member -= 1,
            _ => drop(count.remove(&self.member)),
        }
    }
}

impl Open {
    /// Waits until something waits for the member.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until a newer stream of the member has taken over.
    pub async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// How many envelopes are out without a receipt.
    pub fn in_flight(&self) -> usize {
        self.sent().values().filter(|counts| **counts).count()
    }

    /// Whether the envelope or tombstone is out already.
    pub fn is_out(&self, id: &[u8; 16]) -> bool {
        self.sent().contains_key(id)
    }

    /// Notes what goes out; `counts` is false for a tombstone.
    pub fn out(&self, sent: impl IntoIterator<Item = ([u8; 16], bool)>) {
        self.sent().extend(sent);
    }

    /// Notes what was receipted, and wakes the stream for more.
    pub fn receipted<'i>(&self, ids: impl IntoIterator<Item = &'i [u8; 16]>) {
        let mut sent = self.sent();
        for id in ids {
            sent.remove(id);
        }
        self.wake.notify_one();
    }

    fn sent(&self) -> MutexGuard<'_, BTreeMap<[u8; 16], bool>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
