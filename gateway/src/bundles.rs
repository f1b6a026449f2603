//! Members' recovery bundles: kept, one each, and given to whoever holds the fetch secret. Called by the edge of `BundleService`.
//! The gateway cannot open them. Never lets the kept one go before the new one is whole and as long and of the hash that was said; never
//! tells a caller whether it was the organisation or the secret that was wrong.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::recovery::{BUNDLE_BYTES_MAX, fetch_hash};
use kith_proto::v1;
use kith_service::rng::RandomFailed;
use kith_service::status::Failure;
use kith_service::store::{StoreError, Tx};

use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::limits::{
    BUNDLE_CHUNK_BYTES_MAX, BUNDLE_UNFINISHED_MS_MAX, BUNDLES_IN_FLIGHT_MAX, BUSY_RETRY_AFTER_MS,
};
use crate::store::audit;
use crate::store::bundle::{self, BundleRow};

/// Why a bundle was not kept or given.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Its head, or a chunk, is not what the protocol says.
    #[error("the bundle is not as it was said to be: {0}")]
    Invalid(&'static str),
    /// More than a member may leave.
    #[error("the bundle is longer than 256 MiB")]
    TooLarge,
    /// Another bundle of this member is coming, or too many at once: again in a moment.
    #[error("another bundle is coming")]
    Busy,
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
            Self::Busy | Self::Random(_) => Problem::Unavailable,
            Self::Store(error) => error.problem(),
        }
    }

    /// What the caller is answered.
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.problem());
        match self {
            Self::Busy => failure.with_retry_after(BUSY_RETRY_AFTER_MS),
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

/// The members whose bundles are coming, one of each.
#[derive(Debug, Default)]
pub struct Bundles(Mutex<BTreeSet<OrgId>>);

/// A place for one upload; let go when dropped.
struct Place<'a> {
    bundles: &'a Bundles,
    member: OrgId,
}

impl Bundles {
    fn enter(&self, member: &OrgId) -> Result<Place<'_>, BundleError> {
        let mut coming = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if coming.len() >= BUNDLES_IN_FLIGHT_MAX || !coming.insert(member.clone()) {
            return Err(BundleError::Busy);
        }
        Ok(Place {
            bundles: self,
            member: member.clone(),
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut coming = self.bundles.0.lock().unwrap_or_else(PoisonError::into_inner);
        coming.remove(&self.member);
    }
}

/// A bundle that is coming.
pub(crate) struct Keeping<'a> {
    gateway: &'a Gateway,
    place: Place<'a>,
    row: BundleRow,
    hash: digest::Context,
    bytes: i64,
    chunks: i64,
    /// Whether it is the kept one already: then its chunks are counted and not written.
    is_kept: bool,
}

impl<'a> Keeping<'a> {
    /// Begins, by the head; what an upload before left unfinished goes.
    pub(crate) async fn begin(
        gateway: &'a Gateway,
        member: &OrgId,
        head: &v1::BundleHead,
    ) -> Result<Self, BundleError> {
        if head.bytes > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge);
        }
        let bytes_32 = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok();
        let row = BundleRow {
            made_at_ms: head.made_at_ms,
            bytes: i64::try_from(head.bytes).map_err(|_| BundleError::TooLarge)?,
            hash: bytes_32(&head.hash).ok_or(BundleError::Invalid("hash"))?,
            fetch_hash: bytes_32(&head.fetch_hash).ok_or(BundleError::Invalid("fetch hash"))?,
        };
        let place = gateway.bundles.enter(member)?;
        let begin = |mut tx: Tx| async move {
            bundle::drop_others(&mut tx, member).await?;
            bundle::get(&mut tx, member.as_str()).await
        };
        let kept = gateway
            .store
            .tx::<_, StoreError, _, _>("begin bundle", begin)
            .await?;
        Ok(Self {
            gateway,
            place,
            is_kept: kept.is_some_and(|kept| kept.hash == row.hash),
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

/// A kept bundle that is being given.
pub(crate) struct Giving {
    organisation: String,
    row: BundleRow,
    next: i64,
    left: i64,
}

/// Finds the bundle that a secret fetches, and writes down that it is fetched before any of it leaves.
pub(crate) async fn fetch(
    gateway: &Gateway,
    organisation: &str,
    secret: &[u8],
) -> Result<Giving, BundleError> {
    let secret = <[u8; 32]>::try_from(secret).map_err(|_| BundleError::NotFound)?;
    let find = |mut tx: Tx| async move { bundle::get(&mut tx, organisation).await };
    let found = gateway
        .store
        .read::<_, StoreError, _, _>("find bundle", find)
        .await?;
    // Compared also where there is none, so that the two take as long.
    let stated = found.as_ref().map_or([0; 32], |row| row.fetch_hash);
    let is_right = verify_slices_are_equal(&fetch_hash(&secret), &stated).is_ok();
    let row = found.filter(|_| is_right).ok_or(BundleError::NotFound)?;
    let member: OrgId = organisation.parse().map_err(|_| BundleError::NotFound)?;
    let event = Event::new(Code::BundleFetched, gateway.clock.now_ms()).org("organisation", &member);
    let events = &[Salted::new(&gateway.rng, event)?];
    let note = |mut tx: Tx| async move { audit::insert(&mut tx, events).await };
    gateway
        .store
        .tx::<_, StoreError, _, _>("bundle fetched", note)
        .await?;
    Ok(Giving {
        organisation: organisation.to_owned(),
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
        let (key, number) = ((self.organisation.as_str(), &self.row.hash), self.next);
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

/// Deletes what uploads left unfinished more than a day ago; says how many chunks.
pub(crate) async fn forget(tx: &mut Tx, now_ms: i64) -> Result<u64, StoreError> {
    bundle::forget(tx, now_ms.saturating_sub(BUNDLE_UNFINISHED_MS_MAX)).await
}
