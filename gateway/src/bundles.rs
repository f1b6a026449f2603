//! Members' recovery bundles: the newest kept, and given to whoever holds the fetch secret. Called by the edge of `BundleService`.
//! The gateway cannot open them, and so cannot tell junk from the only copy: one of another secret takes nobody's place for a day or two.
//! Never lets a kept one go before the new one is whole and as long and of the hash that was said; never tells a caller whether it was the
//! organisation or the secret that was wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::recovery::{BUNDLE_BYTES_MAX, BUNDLE_BYTES_MIN, fetch_hash};
use kith_proto::v1;
use kith_service::rng::RandomFailed;
use kith_service::status::Failure;
use kith_service::store::{StoreError, Tx};

use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::limits::{
    BUNDLE_CHUNK_BYTES_MAX, BUNDLE_FETCHES_MAX, BUNDLE_KEPT_MS, BUNDLE_REPLACED_MS, BUNDLE_UNFINISHED_MS_MAX,
    BUNDLES_IN_FLIGHT_MAX, BUNDLES_KEPT_MAX, BUNDLES_PER_HOUR_MAX, BUSY_RETRY_AFTER_MS,
};
use crate::store::audit;
use crate::store::bundle::{self, BundleRow};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// Why a bundle was not kept or given.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Its head, or a chunk, is not what the protocol says.
    #[error("the bundle is not as it was said to be: {0}")]
    Invalid(&'static str),
    /// More than a member may leave.
    #[error("the bundle is longer than 256 MiB")]
    TooLarge,
    /// Another bundle of this member is coming or leaving, or too many at once: again in a moment.
    #[error("another bundle is coming or leaving")]
    Busy,
    /// As many as an hour may have, or as many of other secrets as may be kept: again after so many ms.
    #[error("too many bundles of this member")]
    TooMany(i64),
    /// No bundle is kept that this secret fetches.
    #[error("no bundle is fetched by this secret")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl BundleError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Invalid(_) => Problem::Invalid,
            Self::TooLarge => Problem::TooLarge,
            Self::NotFound => Problem::NotFound,
            Self::Busy | Self::TooMany(_) | Self::Random(_) => Problem::Unavailable,
            Self::Store(error) => error.problem(),
        }
    }

    /// What the caller is answered.
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.problem());
        match self {
            Self::Busy => failure.with_retry_after(BUSY_RETRY_AFTER_MS),
            Self::TooMany(wait_ms) => failure.with_retry_after(*wait_ms),
            Self::TooLarge => failure.with_sentence("A recovery bundle may have 256 MiB at most."),
            Self::NotFound => failure.with_sentence(
                "The gateway keeps no recovery bundle that these shares fetch. See that the organisation is right and the shares \
                 are of the newest sheet.",
            ),
            Self::Invalid(_) => failure.with_sentence("The bundle did not arrive as it was announced. The node gives it again."),
            Self::Store(_) | Self::Random(_) => failure,
        }
    }
}

/// Which way a bundle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Coming,
    Leaving,
}

/// The bundles under way, and how many there were in this hour. Kept in memory: a gateway that starts anew counts anew.
#[derive(Debug, Default)]
pub struct Bundles {
    coming: Mutex<Traffic>,
    leaving: Mutex<Traffic>,
}

/// One way: the members whose bundle is at work, and the hour and how many of each. Holds members alone, so it is bounded by their number.
#[derive(Debug, Default)]
struct Traffic {
    at_work: BTreeSet<OrgId>,
    in_hour: BTreeMap<OrgId, (i64, u32)>,
}

/// A place for one bundle; let go when dropped.
pub(crate) struct Place {
    gateway: Arc<Gateway>,
    way: Way,
    member: OrgId,
}

impl Bundles {
    fn lock(&self, way: Way) -> MutexGuard<'_, Traffic> {
        let traffic = match way {
            Way::Coming => &self.coming,
            Way::Leaving => &self.leaving,
        };
        traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn enter(gateway: &Arc<Gateway>, way: Way, member: &OrgId) -> Result<Self, BundleError> {
        let now_ms = gateway.clock.now_ms();
        let hour = now_ms.div_euclid(HOUR_MS);
        let mut traffic = gateway.bundles.lock(way);
        let max = match way {
            Way::Coming => BUNDLES_IN_FLIGHT_MAX,
            Way::Leaving => BUNDLE_FETCHES_MAX,
        };
        if traffic.at_work.len() >= max || traffic.at_work.contains(member) {
            return Err(BundleError::Busy);
        }
        let count = traffic.in_hour.entry(member.clone()).or_default();
        if count.0 != hour {
            *count = (hour, 0);
        }
        if count.1 >= BUNDLES_PER_HOUR_MAX {
            return Err(BundleError::TooMany(HOUR_MS - now_ms.rem_euclid(HOUR_MS)));
        }
        count.1 += 1;
        traffic.at_work.insert(member.clone());
        Ok(Self {
            gateway: gateway.clone(),
            way,
            member: member.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gateway.bundles.lock(self.way).at_work.remove(&self.member);
    }
}

/// A bundle that is coming.
pub(crate) struct Keeping<'a> {
    gateway: &'a Gateway,
    place: Place,
    row: BundleRow,
    hash: digest::Context,
    bytes: i64,
    chunks: i64,
    /// Whether it is kept already: then its chunks are counted and not written.
    is_kept: bool,
    /// Whether it is the newest already: then nothing is written at all.
    is_newest: bool,
}

impl<'a> Keeping<'a> {
    /// Begins, by the head; what an upload before left unfinished goes.
    pub(crate) async fn begin(
        gateway: &'a Arc<Gateway>,
        member: &OrgId,
        head: &v1::BundleHead,
    ) -> Result<Self, BundleError> {
        if head.bytes > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge);
        }
        if head.bytes < BUNDLE_BYTES_MIN {
            return Err(BundleError::Invalid("shorter than any bundle"));
        }
        let bytes_32 = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok();
        let row = BundleRow {
            made_at_ms: head.made_at_ms,
            bytes: i64::try_from(head.bytes).map_err(|_| BundleError::TooLarge)?,
            hash: bytes_32(&head.hash).ok_or(BundleError::Invalid("hash"))?,
            fetch_hash: bytes_32(&head.fetch_hash).ok_or(BundleError::Invalid("fetch hash"))?,
            is_newest: true,
        };
        let place = Place::enter(gateway, Way::Coming, member)?;
        let begin = |mut tx: Tx| async move {
            bundle::drop_others(&mut tx, member).await?;
            bundle::all(&mut tx, member.as_str()).await
        };
        let kept: Vec<BundleRow> = gateway
            .store
            .tx::<_, StoreError, _, _>("begin bundle", begin)
            .await?;
        let same = kept.iter().find(|kept| kept.hash == row.hash);
        if same.is_some_and(|same| same.fetch_hash != row.fetch_hash) {
            return Err(BundleError::Invalid("fetch hash"));
        }
        let others = kept.iter().filter(|kept| kept.fetch_hash != row.fetch_hash);
        if others.count() >= BUNDLES_KEPT_MAX {
            return Err(BundleError::TooMany(HOUR_MS));
        }
        Ok(Self {
            gateway,
            place,
            is_kept: same.is_some(),
            is_newest: same.is_some_and(|same| same.is_newest),
            row,
            hash: digest::Context::new(&digest::SHA256),
            bytes: 0,
            chunks: 0,
        })
    }

    /// Takes the next chunk.
    pub(crate) async fn chunk(&mut self, chunk: &[u8]) -> Result<(), BundleError> {
        if chunk.is_empty() || chunk.len() > BUNDLE_CHUNK_BYTES_MAX {
            return Err(BundleError::Invalid("chunk"));
        }
        let longer = i64::try_from(chunk.len())
            .ok()
            .and_then(|more| self.bytes.checked_add(more));
        self.bytes = longer
            .filter(|bytes| *bytes <= self.row.bytes)
            .ok_or(BundleError::Invalid("longer than its head says"))?;
        // Each chunk is a row and a turn of the one writer: short ones would cost as much as long ones.
        if chunk.len() < BUNDLE_CHUNK_BYTES_MAX && self.bytes < self.row.bytes {
            return Err(BundleError::Invalid("a short chunk before the last"));
        }
        self.hash.update(chunk);
        if !self.is_kept {
            let (key, number) = ((&self.place.member, &self.row.hash), self.chunks);
            let now_ms = self.gateway.clock.now_ms();
            let put =
                |mut tx: Tx| async move { bundle::put_chunk(&mut tx, key, number, chunk, now_ms).await };
            self.gateway.store.tx("bundle chunk", put).await?;
        }
        self.chunks += 1;
        Ok(())
    }

    /// Makes it the kept one when it is whole; returns when, ms UTC.
    pub(crate) async fn end(self) -> Result<i64, BundleError> {
        let hash = self.hash.finish();
        if self.bytes != self.row.bytes || hash.as_ref() != self.row.hash {
            let member = &self.place.member;
            let drop = |mut tx: Tx| async move { bundle::drop_others(&mut tx, member).await };
            self.gateway
                .store
                .tx::<_, StoreError, _, _>("drop bundle", drop)
                .await?;
            return Err(BundleError::Invalid("not what its head says"));
        }
        let now_ms = self.gateway.clock.now_ms();
        if self.is_newest {
            return Ok(now_ms);
        }
        let event = Event::new(Code::BundleKept, now_ms).org("organisation", &self.place.member);
        let events = &[Salted::new(&self.gateway.rng, event)?];
        let (member, row) = (&self.place.member, &self.row);
        let end = |mut tx: Tx| async move {
            bundle::put(&mut tx, member, row, now_ms).await?;
            bundle::drop_others(&mut tx, member).await?;
            audit::insert(&mut tx, events).await
        };
        self.gateway
            .store
            .tx::<_, StoreError, _, _>("keep bundle", end)
            .await?;
        Ok(now_ms)
    }
}

/// A kept bundle that is being given, with its place until the last byte has left.
pub(crate) struct Giving {
    place: Place,
    row: BundleRow,
    next: i64,
    left: i64,
}

/// Finds the newest bundle that a secret fetches, and writes down that it is fetched before any of it leaves.
pub(crate) async fn fetch(
    gateway: &Arc<Gateway>,
    organisation: &str,
    secret: &[u8],
) -> Result<Giving, BundleError> {
    let secret = <[u8; 32]>::try_from(secret).map_err(|_| BundleError::NotFound)?;
    let find = |mut tx: Tx| async move { bundle::all(&mut tx, organisation).await };
    let found: Vec<BundleRow> = gateway
        .store
        .read::<_, StoreError, _, _>("find bundle", find)
        .await?;
    let asked = fetch_hash(&secret);
    // As many comparisons whatever is there, so that the answers take as long.
    let mut right = None;
    for number in (0..=BUNDLES_KEPT_MAX).rev() {
        let row = found.get(number);
        let stated = row.map_or([0; 32], |row| row.fetch_hash);
        let is_right = verify_slices_are_equal(&asked, &stated).is_ok();
        right = row.filter(|_| is_right).or(right);
    }
    let row = right.cloned().ok_or(BundleError::NotFound)?;
    let member: OrgId = organisation.parse().map_err(|_| BundleError::NotFound)?;
    let place = Place::enter(gateway, Way::Leaving, &member)?;
    let event = Event::new(Code::BundleFetched, gateway.clock.now_ms()).org("organisation", &member);
    let events = &[Salted::new(&gateway.rng, event)?];
    let note = |mut tx: Tx| async move { audit::insert(&mut tx, events).await };
    gateway
        .store
        .tx::<_, StoreError, _, _>("bundle fetched", note)
        .await?;
    Ok(Giving {
        place,
        next: 0,
        left: row.bytes,
        row,
    })
}

impl Giving {
    /// What is said of it first.
    pub(crate) fn head(&self) -> v1::BundleHead {
        v1::BundleHead {
            made_at_ms: self.row.made_at_ms,
            bytes: self.row.bytes.cast_unsigned(),
            hash: self.row.hash.to_vec(),
            fetch_hash: self.row.fetch_hash.to_vec(),
        }
    }

    /// The next chunk; `None` after the last. [`BundleError::Busy`] when a newer bundle took its place meanwhile: fetch that one.
    pub(crate) async fn next(&mut self, gateway: &Gateway) -> Result<Option<Vec<u8>>, BundleError> {
        if self.left <= 0 {
            return Ok(None);
        }
        let (key, number) = ((self.place.member.as_str(), &self.row.hash), self.next);
        let read = |mut tx: Tx| async move { bundle::chunk(&mut tx, key, number).await };
        let chunk = gateway
            .store
            .look::<_, StoreError, _, _>("bundle chunk", read)
            .await?;
        let chunk = chunk.ok_or(BundleError::Busy)?;
        self.next += 1;
        self.left -= i64::try_from(chunk.len()).unwrap_or(i64::MAX);
        Ok(Some(chunk))
    }
}

/// Deletes what uploads left unfinished more than a day ago, and bundles whose place others took long enough ago; says how many rows.
pub(crate) async fn forget(tx: &mut Tx, now_ms: i64) -> Result<u64, StoreError> {
    let (replaced_ms, kept_ms) = (
        now_ms.saturating_sub(BUNDLE_REPLACED_MS),
        now_ms.saturating_sub(BUNDLE_KEPT_MS),
    );
    let replaced = bundle::forget_replaced(tx, replaced_ms, kept_ms).await?;
    Ok(replaced + bundle::forget(tx, now_ms.saturating_sub(BUNDLE_UNFINISHED_MS_MAX)).await?)
}
