//! The data folder: who this node is, its signing key, its sealing keys, and the lock that keeps a second process out.
//! Made by `join`, loaded by [`Node::open`](crate::node::Node::open). The epoch keys of content are in the same folder,
//! read by [`content`](crate::content).
//! Never prints a seed, never writes one into the database, never leaves a half-written file.

mod folder;
mod membership;

use std::sync::{Arc, PoisonError, RwLock};

use data_encoding::HEXLOWER;
use kith_proto::envelope::sealing_key_id;
use kith_proto::problem::Problem;
use kith_proto::seal::SealingKey;
use kith_proto::sign::SigningKey;
use kith_service::rng::{RandomFailed, Rng};
use serde::{Deserialize, Serialize};

use crate::content::{EPOCH, Epochs};

pub use folder::{Before, DataFolder, FolderLock};
pub use membership::Membership;

const SIGNING: &str = "signing";
const SEALING: &str = "sealing";
/// The signing key of a re-key that is under way.
pub(crate) const NEXT_SIGNING: &str = "next-signing";

/// Why the data folder cannot be used, by what its operator can do.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The folder or a file of it cannot be read or written: look at the disk and the rights.
    #[error("{file} in the data folder cannot be read or written")]
    Io {
        /// The file's name.
        file: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is missing: join a network first, or restore the folder.
    #[error("{0} is missing from the data folder: join a network first")]
    Missing(&'static str),
    /// A file was altered: restore it.
    #[error("{0} in the data folder cannot be understood")]
    Malformed(&'static str),
    /// Another process uses the folder.
    #[error("another process uses this data folder, so nothing was changed; stop that one first")]
    InUse,
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// The cryptographic library failed: try again.
    #[error("the cryptographic library failed")]
    Library,
}

impl KeysError {
    /// The problem code.
    pub const fn problem(&self) -> Problem {
        Problem::Unavailable
    }
}

/// A sealing key that is still held.
#[derive(Debug)]
pub struct HeldSealingKey {
    /// The key.
    pub key: SealingKey,
    /// Its id, as heads carry it.
    pub id: [u8; 16],
    /// When it was made.
    pub made_at_ms: i64,
}

/// The keys that others know this organisation by.
pub struct Keys {
    /// Signs bindings, envelopes, slips, order lines and receipts.
    pub signing: SigningKey,
    /// Oldest first; never empty.
    sealing: RwLock<Vec<Arc<HeldSealingKey>>>,
}

/// A sealing key as the file keeps it.
#[derive(Serialize, Deserialize)]
struct SealingLine {
    seed: String,
    made_at_ms: i64,
}

impl Keys {
    /// Makes what is missing of signing key, sealing key and epoch key, and loads all; a join that was interrupted so
    /// goes on with the keys it made.
    pub fn make(folder: &DataFolder, rng: &Rng, now_ms: i64) -> Result<Self, KeysError> {
        folder.make()?;
        if folder.read(SIGNING)?.is_none() {
            folder.write(SIGNING, HEXLOWER.encode(&rng.bytes::<32>()?).as_bytes())?;
        }
        if folder.read(SEALING)?.is_none() {
            let seed = HEXLOWER.encode(&rng.bytes::<32>()?);
            write_sealing(
                folder,
                &[SealingLine {
                    seed,
                    made_at_ms: now_ms,
                }],
            )?;
        }
        Epochs::make(folder, rng)?;
        Self::load(folder)
    }

    /// The signing key that an interrupted re-key made, or a new one: in a file of its own until the gateway has taken it.
    pub(crate) fn next_signing(folder: &DataFolder, rng: &Rng) -> Result<SigningKey, KeysError> {
        if folder.read(NEXT_SIGNING)?.is_none() {
            folder.write(NEXT_SIGNING, HEXLOWER.encode(&rng.bytes::<32>()?).as_bytes())?;
        }
        Self::held_next_signing(folder)?.ok_or(KeysError::Missing(NEXT_SIGNING))
    }

    /// The signing key of a re-key that is under way.
    pub(crate) fn held_next_signing(folder: &DataFolder) -> Result<Option<SigningKey>, KeysError> {
        let Some(text) = folder.read(NEXT_SIGNING)? else {
            return Ok(None);
        };
        let key = SigningKey::from_seed(seed(&text, NEXT_SIGNING)?);
        key.map(Some).map_err(|_| KeysError::Library)
    }

    /// Makes the next signing key the one of this folder.
    pub(crate) fn take_next_signing(folder: &DataFolder) -> Result<(), KeysError> {
        let text = folder
            .read(NEXT_SIGNING)?
            .ok_or(KeysError::Missing(NEXT_SIGNING))?;
        folder.write(SIGNING, &text)
    }

    /// Loads the keys of a folder that has joined.
    pub fn load(folder: &DataFolder) -> Result<Self, KeysError> {
        let signing = folder.read(SIGNING)?.ok_or(KeysError::Missing(SIGNING))?;
        let sealing = folder.read(SEALING)?.ok_or(KeysError::Missing(SEALING))?;
        Self::parse(&signing, &sealing)
    }

    /// Reads what the two files hold.
    pub fn parse(signing: &[u8], sealing: &[u8]) -> Result<Self, KeysError> {
        let signing = SigningKey::from_seed(seed(signing, SIGNING)?).map_err(|_| KeysError::Library)?;
        let lines = lines(sealing)?;
        let mut sealing = Vec::new();
        for line in lines {
            sealing.push(Arc::new(held(
                seed(line.seed.as_bytes(), SEALING)?,
                line.made_at_ms,
            )?));
        }
        if sealing.is_empty() {
            return Err(KeysError::Malformed(SEALING));
        }
        Ok(Self {
            signing,
            sealing: RwLock::new(sealing),
        })
    }

    /// The sealing key with this id, if it is still held.
    pub fn sealing_key(&self, id: &[u8; 16]) -> Option<Arc<HeldSealingKey>> {
        let held = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
        held.iter().find(|k| k.id == *id).cloned()
    }

    /// Every sealing key that is still held, oldest first.
    pub fn sealing_keys(&self) -> Vec<Arc<HeldSealingKey>> {
        self.sealing
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes the next sealing key: in the file first, so that nothing can be sealed to a key that a crash would lose.
    pub fn add_sealing_key(
        &self,
        folder: &DataFolder,
        rng: &Rng,
        now_ms: i64,
    ) -> Result<Arc<HeldSealingKey>, KeysError> {
        let seed = rng.bytes::<32>()?;
        let mut lines = read_sealing(folder)?;
        lines.push(SealingLine {
            seed: HEXLOWER.encode(&seed),
            made_at_ms: now_ms,
        });
        write_sealing(folder, &lines)?;
        let added = Arc::new(held(seed, now_ms)?);
        self.sealing
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(added.clone());
        Ok(added)
    }

    /// Destroys the sealing keys with these ids, in the file first; the newest is always kept.
    pub fn destroy_sealing_keys(&self, folder: &DataFolder, ids: &[[u8; 16]]) -> Result<(), KeysError> {
        let mut sealing = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
        let newest = sealing.last().map(|held| held.id);
        let stays = |held: &HeldSealingKey| !ids.contains(&held.id) || Some(held.id) == newest;
        // The file has the same keys in the same order.
        let lines = read_sealing(folder)?.into_iter().zip(sealing.iter());
        let kept: Vec<SealingLine> = lines
            .filter(|(_, held)| stays(held))
            .map(|(line, _)| line)
            .collect();
        write_sealing(folder, &kept)?;
        sealing.retain(|held| stays(held));
        Ok(())
    }

    /// For a backup, which reads the folder twice: what a file with turning keys holds with the keys of the earlier reading as well;
    /// `None` for a file that has no such keys, of which the later reading counts.
    pub fn with_earlier(name: &str, earlier: &[u8], later: &[u8]) -> Result<Option<Vec<u8>>, KeysError> {
        if name == EPOCH {
            return Epochs::with_earlier(earlier, later).map(Some);
        }
        if name != SEALING {
            return Ok(None);
        }
        let mut both = lines(earlier)?;
        for line in lines(later)? {
            if both.iter().all(|held| held.seed != line.seed) {
                both.push(line);
            }
        }
        let text = serde_json::to_vec(&both).map_err(|_| KeysError::Malformed(SEALING))?;
        Ok(Some(text))
    }

    /// The newest sealing key: the one that the current binding publishes, or the next one will.
    pub fn newest_sealing_key(&self) -> Option<Arc<HeldSealingKey>> {
        self.sealing
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .cloned()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys(of {:?})", self.signing.public())
    }
}

fn held(seed: [u8; 32], made_at_ms: i64) -> Result<HeldSealingKey, KeysError> {
    let key = SealingKey::from_seed(seed).map_err(|_| KeysError::Library)?;
    Ok(HeldSealingKey {
        id: sealing_key_id(key.public()),
        key,
        made_at_ms,
    })
}

fn read_sealing(folder: &DataFolder) -> Result<Vec<SealingLine>, KeysError> {
    lines(&folder.read(SEALING)?.ok_or(KeysError::Missing(SEALING))?)
}

fn lines(text: &[u8]) -> Result<Vec<SealingLine>, KeysError> {
    serde_json::from_slice(text).map_err(|_| KeysError::Malformed(SEALING))
}

fn write_sealing(folder: &DataFolder, lines: &[SealingLine]) -> Result<(), KeysError> {
    let text = serde_json::to_vec(lines).map_err(|_| KeysError::Malformed(SEALING))?;
    folder.write(SEALING, &text)
}

/// Reads 64 hexadecimal digits.
pub(crate) fn seed(text: &[u8], file: &'static str) -> Result<[u8; 32], KeysError> {
    let bytes = HEXLOWER
        .decode(text.trim_ascii())
        .map_err(|_| KeysError::Malformed(file))?;
    bytes.try_into().map_err(|_| KeysError::Malformed(file))
}
