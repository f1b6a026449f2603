//! The gateway's log as others read it: checkpoints, entries with what opens the key log, proofs, tiles.
//! Called by the edges of the log's service and of plain HTTPS. Never shows an entry that no signed checkpoint has, never opens a leaf
//! that is no part of the key log, never proves under a checkpoint that does not count.

use crate::gateway::Gateway;
use crate::limits::{ENTRIES_PAGE_BYTES_MAX, ENTRIES_PAGE_DEFAULT, ENTRIES_PAGE_MAX, PROOFS_MAX};
use crate::store::epoch_word;
use crate::store::log::of_key_log;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::epoch_word::write_word;
use kith_proto::log::note::Note;
use kith_proto::log::proof::Plan;
use kith_proto::log::tile::Tile;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::log::epoch::{self, Epoch};
use kith_service::log::{LogError, tiles};
use kith_service::store::{StoreError, Tx};

/// Why nothing was read, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such epoch, entry or tile, or not yet: ask for what the checkpoint has.
    #[error("there is no such part of the log")]
    NoSuchPart,
    /// No checkpoint of this epoch counts yet, or not one that has the leaf: come back.
    #[error("no checkpoint that counts has this leaf yet")]
    NotCounted,
    /// More was asked for than one answer holds: ask in parts.
    #[error("too many leaves were asked for at once")]
    TooMany,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoSuchPart => Problem::NotFound,
            Self::NotCounted => Problem::WrongState,
            Self::TooMany => Problem::TooLarge,
            Self::Log(error) => error.problem(),
            Self::Store(error) => error.problem(),
        }
    }

    /// A sentence that fits better than the problem's own.
    pub const fn sentence(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoSuchPart => "The log has no such part.",
            Self::NotCounted => "No checkpoint that counts has this entry yet. Ask again in a few seconds.",
            _ => return None,
        })
    }
}

/// Where the log stands, and by which policy.
pub async fn checkpoint(gateway: &Gateway) -> Result<v1::GetCheckpointResponse, ReadError> {
    let read = gateway.store.read("checkpoints", |mut tx| async move {
        let epoch = of(&mut tx, None).await?;
        let word = epoch_word::of(&mut tx, epoch.number).await?;
        Ok::<_, ReadError>((epoch, word))
    });
    let (epoch, word) = read.await?;
    let text = |note: Option<Note>| note.map(|note| note.to_string()).unwrap_or_default();
    Ok(v1::GetCheckpointResponse {
        offered: text(epoch.offered),
        counted: text(epoch.counted),
        policy: Some(gateway.policy().signed.clone()),
        epoch: word,
    })
}

/// The newest checkpoint that counts, as a signed note; `None` before the first.
pub async fn counted(gateway: &Gateway, number: Option<u64>) -> Result<Option<Note>, ReadError> {
    let epoch = gateway.store.look("checkpoint", |mut tx| async move {
        Ok::<_, ReadError>(of(&mut tx, number).await?.counted)
    });
    epoch.await
}

/// The root's word for an epoch, the newest unless one is named, as text; `None` for the first.
pub async fn word(gateway: &Gateway, number: Option<u64>) -> Result<Option<String>, ReadError> {
    let word = gateway.store.read("epoch word", |mut tx| async move {
        let epoch = of(&mut tx, number).await?.number;
        Ok::<_, ReadError>(epoch_word::of(&mut tx, epoch).await?)
    });
    let word: Option<v1::Signed> = word.await?;
    Ok(word.map(|word| write_word(&gateway.keys.root, &word)))
}

/// One epoch, the newest unless one is named.
async fn of(tx: &mut Tx, number: Option<u64>) -> Result<Epoch, ReadError> {
    let epoch = match number {
        None => epoch::newest(tx).await?,
        Some(number) if i64::try_from(number).is_err() => None,
        Some(number) => epoch::one(tx, number).await?,
    };
    epoch.ok_or(ReadError::NoSuchPart)
}

/// The bytes of a tile of an epoch, the newest unless one is named; `None` where the signed tree has no such tile.
pub async fn tile(gateway: &Gateway, number: Option<u64>, tile: Tile) -> Result<Option<Vec<u8>>, ReadError> {
    let read = gateway.store.read("tile", |mut tx| async move {
        let epoch = of(&mut tx, number).await?;
        Ok::<_, ReadError>(tiles::tile(&mut tx, epoch.number, tile).await?)
    });
    read.await
}

/// A page of entries from an index on; those of the key log with salt and preimage.
pub async fn entries(
    gateway: &Gateway,
    request: &v1::ListEntriesRequest,
) -> Result<Vec<v1::LogEntry>, ReadError> {
    let count = match usize::try_from(request.count).unwrap_or(usize::MAX) {
        0 => ENTRIES_PAGE_DEFAULT,
        count => count.min(ENTRIES_PAGE_MAX),
    };
    let (number, first) = (request.epoch, request.first);
    let read = gateway.store.read("entries", |mut tx| async move {
        let epoch = of(&mut tx, Some(number)).await?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut at = first;
        // A bundle at a time, and no further than the tree that is signed.
        while page.len() < count && bytes < ENTRIES_PAGE_BYTES_MAX && at < epoch.frontier.size() {
            let part = opened(&mut tx, &epoch, at, count - page.len()).await?;
            if part.is_empty() {
                break;
            }
            at += part.len() as u64;
            bytes += part.iter().map(prost::Message::encoded_len).sum::<usize>();
            page.extend(part);
        }
        Ok::<_, ReadError>(page)
    });
    read.await
}

/// The entries from an index to the end of its bundle, opened where they are of the key log.
async fn opened(
    tx: &mut Tx,
    epoch: &Epoch,
    first: u64,
    count: usize,
) -> Result<Vec<v1::LogEntry>, ReadError> {
    let left = usize::try_from(epoch.frontier.size() - first).unwrap_or(usize::MAX);
    let entries = tiles::entries(tx, epoch.number, first, count.min(left)).await?;
    let mut page: Vec<v1::LogEntry> = entries
        .into_iter()
        .map(|entry| v1::LogEntry {
            entry,
            ..v1::LogEntry::default()
        })
        .collect();
    let start = epoch.first_seq.saturating_add(first.cast_signed());
    let end = start.saturating_add(i64::try_from(page.len()).unwrap_or(i64::MAX));
    for event in of_key_log(tx, start, end).await? {
        let place = usize::try_from(event.seq - start).ok();
        let entry = place.and_then(|place| page.get_mut(place));
        let entry = entry.filter(|entry| entry.entry == event.leaf().to_string());
        // What does not open its leaf was altered after it was signed.
        let entry = entry.ok_or(LogError::Broken(event.seq))?;
        entry.salt = event.salt.to_vec();
        entry.preimage = event.preimage;
    }
    Ok(page)
}

/// Proves leaves under the newest checkpoint of their epoch that counts.
pub async fn prove(
    gateway: &Gateway,
    request: &v1::ProveLeavesRequest,
) -> Result<v1::ProveLeavesResponse, ReadError> {
    if request.indexes.len() > PROOFS_MAX {
        return Err(ReadError::TooMany);
    }
    let read = gateway.store.read("prove leaves", |mut tx| async move {
        let epoch = of(&mut tx, Some(request.epoch)).await?;
        let counted = epoch.counted.ok_or(ReadError::NotCounted)?;
        let checkpoint: Checkpoint = counted.text().parse().map_err(LogError::from)?;
        let size = checkpoint.head().size;
        let mut prover = tiles::Prover::new(epoch.number, size);
        let mut leaves = Vec::with_capacity(request.indexes.len());
        for index in request.indexes.iter().copied() {
            if index >= size {
                return Err(ReadError::NotCounted);
            }
            let plan = Plan::inclusion(index, size).map_err(LogError::from)?;
            let hashes = prover.hashes(&mut tx, &plan).await?;
            leaves.push(v1::LeafInclusion {
                index,
                hashes: hashes.iter().map(|hash| hash.0.to_vec()).collect(),
            });
        }
        Ok::<_, ReadError>(v1::ProveLeavesResponse {
            counted: counted.to_string(),
            leaves,
        })
    });
    read.await
}
