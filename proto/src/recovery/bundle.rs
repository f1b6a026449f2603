//! A recovery bundle's bytes: written in one pass, checked in one, opened in a second, with one chunk of 64 KiB in memory.
//! Called by the node's bundle maker and by a restore; what the body holds is the node's affair.
//! Never gives a plaintext out before the whole bundle was found authentic ([`check_bundle`]), and refuses again at the end if it was
//! changed meanwhile.
//!
//! ```text
//!  0     8  "kithbun1"
//!  8     5  id of the sheet
//! 13     8  made at, ms UTC, big-endian
//! 21     1  length of the network's name, then the name
//!        1  length of the organisation's name, then the name        up to here: the clear head
//!     1120  enc      } the data key, sealed to the sheet's public key with the head as associated data;
//!       48  sealed   } info "kith/v1/recovery-bundle"
//!  n·65552  chunks: 64 KiB and a tag each, the last one shorter or equal (16 to 65552)
//!       32  HMAC-SHA256 by the sheet's auth key over everything before
//! ```
//! A chunk is ChaCha20-Poly1305 under the data key; nonce = 7 zeros ‖ number of the chunk, 4 bytes big-endian ‖ 1 for the last, else 0
//! (STREAM); associated data = the head. The data key is used for one bundle, so no nonce comes twice. A chunk that is missing,
//! repeated, moved or the last of a cut bundle does not open; the MAC finds it before.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, digest, hmac};
use zeroize::Zeroizing;

use super::sheet::{RecoveryKeys, Sheet, SheetId};
use crate::id::{NetworkName, OrgId};
use crate::problem::Problem;
use crate::seal::{self, ENC_LEN, RANDOMNESS_LEN, TAG_LEN};

/// Most bytes of a bundle: what a member may leave at the gateway.
pub const BUNDLE_BYTES_MAX: u64 = 256 << 20;
/// Fewest bytes of a bundle: two names, a sealed data key, one chunk and the mark of its node.
pub const BUNDLE_BYTES_MIN: u64 = (HEAD_FIXED + 2 * 2 + ENC_LEN + SEALED_KEY_LEN + TAG_LEN + MAC_LEN) as u64; // widens: a constant.
/// Bytes of randomness that one bundle takes: what a sealing takes, and the data key.
pub const BUNDLE_RANDOMNESS_LEN: usize = RANDOMNESS_LEN + 32;

const MAGIC: &[u8; 8] = b"kithbun1";
/// What every version begins with.
const MAGIC_STEM_LEN: usize = 7;
const INFO: &[u8] = b"kith/v1/recovery-bundle";
/// Plaintext of a chunk; each costs a tag, so that the tags are a four-thousandth of the whole.
const CHUNK: usize = 64 << 10;
const SEALED_CHUNK: usize = CHUNK + TAG_LEN;
const SEALED_KEY_LEN: usize = 32 + TAG_LEN;
const MAC_LEN: usize = 32;
/// Everything before the two names.
const HEAD_FIXED: usize = 8 + 5 + 8;

/// Why a bundle was not made or opened, by what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file cannot be read or written: look at the disk.
    #[error("the bundle cannot be read or written: look at the disk")]
    Io(#[from] io::Error),
    /// It does not begin as a bundle does: another file was named.
    #[error("this is not a recovery bundle: name the file that `kith-node recovery bundle` wrote")]
    NotABundle,
    /// A later program made it: use that one.
    #[error("this bundle was made by a later version of this program: use that one")]
    Newer,
    /// It belongs to another sheet than the shares.
    #[error(
        "this bundle is of the recovery sheet {bundle}, and the shares are of the sheet {shares}: take the shares of {bundle}, or another bundle"
    )]
    OtherSheet {
        /// Whose bundle it is.
        bundle: SheetId,
        /// Whose shares were given.
        shares: SheetId,
    },
    /// It is cut off, was altered, or was not made by this node.
    #[error(
        "this bundle is cut off or altered, or its node did not make it, so nothing of it is used: take another copy, or an older one"
    )]
    Altered,
    /// More than [`BUNDLE_BYTES_MAX`].
    #[error(
        "this bundle would be larger than 256 MiB: keep less, or copy the folder and database by other means"
    )]
    TooLarge,
    /// The cryptographic library failed: try again.
    #[error("the cryptographic library failed: try again")]
    Library,
}

impl BundleError {
    /// The problem code.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Io(_) | Self::Library => Problem::Unavailable,
            Self::NotABundle | Self::Newer | Self::Altered => Problem::Invalid,
            Self::OtherSheet { .. } => Problem::Conflict,
            Self::TooLarge => Problem::TooLarge,
        }
    }
}

/// What a bundle says of itself in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleHead {
    /// Whose shares open it.
    pub sheet: SheetId,
    /// The network of its node.
    pub network: NetworkName,
    /// The organisation of its node.
    pub organisation: OrgId,
    /// When it was made, by its node, ms UTC.
    pub made_at_ms: i64,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many bytes, MAC included.
    pub bytes: u64,
    /// SHA-256 of them all: what the gateway is told.
    pub hash: [u8; 32],
}

impl BundleHead {
    fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.sheet.0);
        bytes.extend_from_slice(&self.made_at_ms.to_be_bytes());
        for name in [self.network.as_str(), self.organisation.as_str()] {
            bytes.push(u8::try_from(name.len()).map_err(|_| BundleError::NotABundle)?);
            bytes.extend_from_slice(name.as_bytes());
        }
        Ok(bytes)
    }

    /// Reads the head from the front of a bundle and gives its bytes too.
    fn read(from: &mut impl Read) -> Result<(Self, Vec<u8>), BundleError> {
        let mut bytes = vec![0; HEAD_FIXED];
        read_exactly(from, &mut bytes, || BundleError::NotABundle)?;
        if bytes.get(..MAGIC.len()) != Some(MAGIC) {
            let is_later = bytes.get(..MAGIC_STEM_LEN) == MAGIC.get(..MAGIC_STEM_LEN);
            return Err(if is_later {
                BundleError::Newer
            } else {
                BundleError::NotABundle
            });
        }
        let (network, organisation) = (name(from, &mut bytes)?, name(from, &mut bytes)?);
        let rest = bytes.get(MAGIC.len()..).ok_or(BundleError::NotABundle)?;
        let (sheet, rest) = rest.split_first_chunk::<5>().ok_or(BundleError::NotABundle)?;
        let (made, _) = rest.split_first_chunk::<8>().ok_or(BundleError::NotABundle)?;
        let head = Self {
            sheet: SheetId(*sheet),
            network: network.parse().map_err(|_| BundleError::NotABundle)?,
            organisation: organisation.parse().map_err(|_| BundleError::NotABundle)?,
            made_at_ms: i64::from_be_bytes(*made),
        };
        Ok((head, bytes))
    }
}

/// Writes a bundle: plaintext goes in by [`write`](Self::write) in pieces of any size, [`finish`](Self::finish) ends it.
pub struct BundleWriter<W> {
    to: Marked<W>,
    key: DataKey,
    waiting: Zeroizing<Vec<u8>>,
}

impl<W: Write> BundleWriter<W> {
    /// Writes the head and the sealed data key. The randomness must be fresh, uniform and secret.
    pub fn begin(
        to: W,
        sheet: &Sheet,
        head: &BundleHead,
        randomness: &[u8; BUNDLE_RANDOMNESS_LEN],
    ) -> Result<Self, BundleError> {
        let head = BundleHead {
            sheet: sheet.id,
            ..head.clone()
        };
        let head = head.to_bytes()?;
        let (for_seal, data_key) = randomness
            .split_first_chunk::<RANDOMNESS_LEN>()
            .ok_or(BundleError::Library)?;
        let sealed = seal::seal(&sheet.sealing, INFO, &head, data_key, for_seal);
        let sealed = sealed.map_err(|_| BundleError::Library)?;
        let mut to = Marked {
            to,
            mac: sheet.auth.begin(),
            hash: digest::Context::new(&digest::SHA256),
            bytes: 0,
        };
        to.write(&head)?;
        to.write(&sealed.enc)?;
        to.write(&sealed.ciphertext)?;
        Ok(Self {
            to,
            key: DataKey::new(data_key, head)?,
            waiting: Zeroizing::new(Vec::with_capacity(SEALED_CHUNK)),
        })
    }

    /// Adds plaintext.
    pub fn write(&mut self, mut plain: &[u8]) -> Result<(), BundleError> {
        while !plain.is_empty() {
            // A full chunk waits until more comes, for it may be the last.
            if self.waiting.len() == CHUNK {
                self.put(false)?;
            }
            let take = plain.len().min(CHUNK - self.waiting.len());
            let (now, later) = plain.split_at(take);
            self.waiting.extend_from_slice(now);
            plain = later;
        }
        Ok(())
    }

    /// Ends the bundle and gives back where it was written to, which the caller makes durable.
    pub fn finish(mut self) -> Result<(W, Written), BundleError> {
        self.put(true)?;
        let mac = self.to.mac.clone().sign();
        self.to.write(mac.as_ref())?;
        let mut hash = [0; 32];
        hash.copy_from_slice(self.to.hash.finish().as_ref());
        let bytes = self.to.bytes;
        self.to.to.flush()?;
        Ok((self.to.to, Written { bytes, hash }))
    }

    fn put(&mut self, is_last: bool) -> Result<(), BundleError> {
        self.key.seal(&mut self.waiting, is_last)?;
        self.to.write(&self.waiting)?;
        self.waiting.clear();
        let more = (TAG_LEN + MAC_LEN) as u64; // widens: a constant.
        if self.to.bytes + more > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge);
        }
        Ok(())
    }
}

/// What a bundle says of itself, unproven: for telling files apart.
pub fn bundle_head(from: &mut impl Read) -> Result<BundleHead, BundleError> {
    BundleHead::read(from).map(|(head, _)| head)
}

/// Says whose bundle this is, and that it is whole and was made by the node of this sheet; reads it to its end. `bytes` is its size.
pub fn check_bundle(
    from: &mut impl Read,
    bytes: u64,
    keys: &RecoveryKeys,
) -> Result<BundleHead, BundleError> {
    let mut opened = Sought::begin(from, bytes, keys)?;
    let mut piece = vec![0; SEALED_CHUNK];
    loop {
        let taken = opened.left.min(SEALED_CHUNK as u64); // widens: a constant.
        // narrows: at most a chunk.
        let piece = piece.get_mut(..taken as usize).ok_or(BundleError::Library)?;
        if piece.is_empty() {
            break;
        }
        opened.take(piece)?;
    }
    opened.end()
}

/// Opens a bundle chunk by chunk. Believe nothing of it before `next` has given `None`: only then it is known to be whole.
pub struct BundleReader<R> {
    from: Sought<R>,
    key: DataKey,
    chunk: Zeroizing<Vec<u8>>,
    is_over: bool,
}

impl<R: Read> BundleReader<R> {
    /// Reads the head and opens the data key. `bytes` is the size of the bundle.
    pub fn begin(from: R, bytes: u64, keys: &RecoveryKeys) -> Result<Self, BundleError> {
        let mut from = Sought::begin(from, bytes, keys)?;
        let mut sealed = vec![0; ENC_LEN + SEALED_KEY_LEN];
        from.take(&mut sealed)?;
        let (enc, ciphertext) = sealed.split_at(ENC_LEN);
        let opened = seal::open(&keys.sealing, INFO, &from.head_bytes, enc, ciphertext);
        let data_key = Zeroizing::new(opened.map_err(|_| BundleError::Altered)?);
        let key = DataKey::new(&data_key, from.head_bytes.clone())?;
        Ok(Self {
            from,
            key,
            chunk: Zeroizing::new(Vec::with_capacity(SEALED_CHUNK)),
            is_over: false,
        })
    }

    /// What it says of itself.
    pub const fn head(&self) -> &BundleHead {
        &self.from.head
    }

    /// The next piece of the plaintext; `None` at the end of a bundle that is whole.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, BundleError> {
        if self.is_over {
            return Ok(None);
        }
        let left = self.from.left;
        let (length, is_last) = if left > SEALED_CHUNK as u64 {
            (SEALED_CHUNK, false)
        } else {
            // narrows: at most a chunk.
            (left as usize, true)
        };
        self.chunk.resize(length, 0);
        self.from.take(&mut self.chunk)?;
        self.key.open(&mut self.chunk, is_last)?;
        if is_last {
            self.is_over = true;
            self.from.check_end()?;
        }
        Ok(Some(&self.chunk))
    }
}

/// A writer that counts, hashes and marks what goes through.
struct Marked<W> {
    to: W,
    mac: hmac::Context,
    hash: digest::Context,
    bytes: u64,
}

impl<W: Write> Marked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mac.update(bytes);
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64; // widens.
        self.to.write_all(bytes)
    }
}

/// A bundle that is being read, up to its MAC.
struct Sought<R> {
    from: R,
    head: BundleHead,
    head_bytes: Vec<u8>,
    mac: hmac::Context,
    /// Bytes before the MAC.
    left: u64,
}

impl<R: Read> Sought<R> {
    fn begin(mut from: R, bytes: u64, keys: &RecoveryKeys) -> Result<Self, BundleError> {
        if bytes > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge);
        }
        let (head, head_bytes) = BundleHead::read(&mut from)?;
        if head.sheet != keys.sheet {
            return Err(BundleError::OtherSheet {
                bundle: head.sheet,
                shares: keys.sheet,
            });
        }
        let around = (head_bytes.len() + MAC_LEN) as u64; // widens.
        let left = bytes.checked_sub(around).ok_or(BundleError::Altered)?;
        let mut mac = keys.auth.begin();
        mac.update(&head_bytes);
        Ok(Self {
            from,
            head,
            head_bytes,
            mac,
            left,
        })
    }

    fn take(&mut self, into: &mut [u8]) -> Result<(), BundleError> {
        let length = into.len() as u64; // widens.
        self.left = self.left.checked_sub(length).ok_or(BundleError::Altered)?;
        read_exactly(&mut self.from, into, || BundleError::Altered)?;
        self.mac.update(into);
        Ok(())
    }

    fn end(mut self) -> Result<BundleHead, BundleError> {
        self.check_end()?;
        Ok(self.head)
    }

    /// Holds the MAC against all that was read; nothing may follow it.
    fn check_end(&mut self) -> Result<(), BundleError> {
        let mut stated = [0; MAC_LEN];
        read_exactly(&mut self.from, &mut stated, || BundleError::Altered)?;
        let made = self.mac.clone().sign();
        let is_whole = constant_time::verify_slices_are_equal(&stated, made.as_ref()).is_ok();
        if !is_whole || self.from.read(&mut [0])? != 0 {
            return Err(BundleError::Altered);
        }
        Ok(())
    }
}

/// The key of the chunks, the head that is bound to each, and the number of the next.
struct DataKey {
    key: LessSafeKey,
    head: Vec<u8>,
    next: u32,
}

impl DataKey {
    fn new(key: &[u8], head: Vec<u8>) -> Result<Self, BundleError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| BundleError::Altered)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            head,
            next: 0,
        })
    }

    fn nonce(&mut self, is_last: bool) -> Result<Nonce, BundleError> {
        let [a, b, c, d] = self.next.to_be_bytes();
        self.next = self.next.checked_add(1).ok_or(BundleError::TooLarge)?;
        let nonce = [0, 0, 0, 0, 0, 0, 0, a, b, c, d, u8::from(is_last)];
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    fn seal(&mut self, chunk: &mut Vec<u8>, is_last: bool) -> Result<(), BundleError> {
        let nonce = self.nonce(is_last)?;
        let sealed = self
            .key
            .seal_in_place_append_tag(nonce, Aad::from(&self.head), chunk);
        sealed.map_err(|_| BundleError::Library)
    }

    /// Opens in place and leaves the plaintext.
    fn open(&mut self, chunk: &mut Vec<u8>, is_last: bool) -> Result<(), BundleError> {
        let nonce = self.nonce(is_last)?;
        let opened = self.key.open_in_place(nonce, Aad::from(&self.head), chunk);
        let length = opened.map_err(|_| BundleError::Altered)?.len();
        chunk.truncate(length);
        Ok(())
    }
}

/// Reads a length and a name, and keeps both.
fn name(from: &mut impl Read, bytes: &mut Vec<u8>) -> Result<String, BundleError> {
    let mut length = [0];
    read_exactly(from, &mut length, || BundleError::NotABundle)?;
    let mut name = vec![0; usize::from(length[0])];
    read_exactly(from, &mut name, || BundleError::NotABundle)?;
    bytes.push(length[0]);
    bytes.extend_from_slice(&name);
    String::from_utf8(name).map_err(|_| BundleError::NotABundle)
}

fn read_exactly(
    from: &mut impl Read,
    into: &mut [u8],
    cut_off: impl FnOnce() -> BundleError,
) -> Result<(), BundleError> {
    from.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_off(),
        _ => BundleError::Io(error),
    })
}
