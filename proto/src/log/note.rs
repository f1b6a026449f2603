//! Signed notes (C2SP signed-note) with two kinds of signature: Ed25519 over the text, and witnesses' cosignatures with a time.
//! Checkpoints, receipts and witnesses' answers are read and written with it; keys are told to others as vkeys.
//! Never act on the text of a note before [`Note::verify`]; never sign a text here that is not a checkpoint.
//!
//! ```text
//! text, one or more lines
//!
//! — key name base64(key id ‖ signature)
//! ```
//!
//! | kind | byte | signature | signed text |
//! |---|---|---|---|
//! | Ed25519 | 0x01 | 64 bytes | the note's text |
//! | cosignature | 0x04 | time in s (u64, big-endian) ‖ 64 bytes | `cosignature/v1`, `time` and the number, each a line, then the note's text |
//!
//! The key id is the first 4 bytes of SHA-256(name ‖ 0x0a ‖ byte ‖ public key). Signatures of unknown keys are kept and passed over.

use super::tree::bytes_of;
use crate::problem::Problem;
use crate::sign::{PlainText, PublicKey, Signature, SigningFailed, SigningKey, sha256};
use data_encoding::{BASE64, HEXLOWER};
use std::fmt;
use std::str::FromStr;

/// Longest note, in bytes: 16 signatures of post-quantum size, which every reader must take, and room for the text.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;
/// Most signatures under a note: the log's own and those of more witnesses than a policy may name.
pub const NOTE_SIGNATURES_MAX: usize = 64;
/// Longest key name, in bytes, as the later kind of cosignature has it (tlog-cosignature, ML-DSA-44).
pub const KEY_NAME_BYTES_MAX: usize = 255;
/// Longest signature line, in bytes: a signature of 8 KiB, above the 5 kB of post-quantum ones, in base64.
const SIGNATURE_LINE_BYTES_MAX: usize = 4 + KEY_NAME_BYTES_MAX + 1 + 11_000;

/// Why a note was not read, believed or signed, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It does not follow its format: refuse the input.
    #[error("the note cannot be read")]
    Malformed,
    /// It is over a limit: refuse the input.
    #[error("the note is too large")]
    TooLarge,
    /// No known key signed it: believe nothing in it; ask whether the key has changed.
    #[error("the note is not signed by a known key")]
    Unsigned,
    /// A signature in the name of a known key is not that key's: believe nothing in it; tell a person.
    #[error("the note carries a forged signature")]
    Forged,
    /// It is signed, but about another log: do not mix them.
    #[error("the note belongs to another log")]
    Foreign,
    /// The cryptographic library failed: try again.
    #[error("the signing library failed")]
    Library,
}

impl NoteError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Malformed => Problem::Invalid,
            Self::TooLarge => Problem::TooLarge,
            Self::Unsigned | Self::Forged | Self::Foreign => Problem::Unauthenticated,
            Self::Library => Problem::Unavailable,
        }
    }
}

impl From<SigningFailed> for NoteError {
    fn from(_: SigningFailed) -> Self {
        Self::Library
    }
}

/// The name of a key, for a log that of its origin: 1 to 255 bytes without white space, ASCII control characters and plus signs.
/// By custom a web address without its scheme, which need not exist. One that a stranger chose may hold characters that no
/// name of a network has ([`crate::text`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made of names of a network, which have none of the characters that are refused.
    pub(super) const fn of_ours(name: String) -> Self {
        Self(name)
    }
}

impl FromStr for KeyName {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let refused = |c: char| c.is_whitespace() || c < ' ' || c == '+';
        if text.len() > KEY_NAME_BYTES_MAX {
            Err(NoteError::TooLarge)
        } else if text.is_empty() || text.contains(refused) {
            Err(NoteError::Malformed)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key signs of a note; the number is its byte in signed-note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyKind {
    /// The text itself: a log's own key.
    Ed25519 = 0x01,
    /// A time and the text: a witness's key.
    Cosignature = 0x04,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        self as u8
    }
}

/// The public half of a key that signs notes, written as a vkey: `name+id in hex+base64(kind ‖ public key)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: KeyName,
    kind: KeyKind,
    public: PublicKey,
    id: [u8; 4],
}

impl VerifierKey {
    /// Names a public key and says what it signs.
    pub fn new(name: KeyName, kind: KeyKind, public: PublicKey) -> Self {
        let hash = sha256(&[name.as_str().as_bytes(), b"\n", &[kind.byte()], &public.0]);
        let [a, b, c, d, ..] = hash;
        Self {
            name,
            kind,
            public,
            id: [a, b, c, d],
        }
    }

    /// Its name.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key itself.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The key id that stands in its signatures.
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Checks one signature over a note's text; a cosignature's time, in seconds, or [`NoteError::Forged`].
    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, NoteError> {
        let (time_s, rest) = match (self.kind, signature.split_first_chunk::<8>()) {
            (KeyKind::Ed25519, _) => (None, signature),
            (KeyKind::Cosignature, Some((time, rest))) => (Some(u64::from_be_bytes(*time)), rest),
            (KeyKind::Cosignature, None) => return Err(NoteError::Forged),
        };
        if time_s.is_some_and(|time_s| i64::try_from(time_s).is_err()) {
            return Err(NoteError::Forged);
        }
        let signature = rest.try_into().map(Signature).map_err(|_| NoteError::Forged)?;
        let signed = signed_text(time_s, text);
        let text = PlainText::new(&signed).ok_or(NoteError::Malformed)?;
        self.public
            .verify_text(text, &signature)
            .map_err(|_| NoteError::Forged)?;
        Ok(time_s)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [[self.kind.byte()].as_slice(), &self.public.0].concat();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            HEXLOWER.encode(&self.id),
            BASE64.encode(&key)
        )
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    /// Reads a vkey of one of the two kinds; its id must be the one that follows from the rest.
    fn from_str(text: &str) -> Result<Self, NoteError> {
        // base64 has plus signs too: only the first two separate.
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(NoteError::Malformed);
        let (name, id, key) = (part()?, part()?, part()?);
        let id = HEXLOWER.decode(id.as_bytes()).map_err(|_| NoteError::Malformed)?;
        let key = bytes_of(key).ok_or(NoteError::Malformed)?;
        let (kind, public) = match key.split_first() {
            Some((0x01, public)) => (KeyKind::Ed25519, public),
            Some((0x04, public)) => (KeyKind::Cosignature, public),
            _ => return Err(NoteError::Malformed),
        };
        let public = public
            .try_into()
            .map(PublicKey)
            .map_err(|_| NoteError::Malformed)?;
        let read = Self::new(name.parse()?, kind, public);
        if read.id.as_slice() == id {
            Ok(read)
        } else {
            Err(NoteError::Malformed)
        }
    }
}

/// One signature line of a note, of a known kind or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoteSignature {
    name: KeyName,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

impl NoteSignature {
    /// The name of the key that it claims.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Signs a checkpoint's text as the log; the key's name is the origin.
    pub(super) fn of_log(name: &KeyName, key: &SigningKey, text: &str) -> Result<Self, NoteError> {
        let signature = sign(key, text)?;
        Ok(Self::new(name, KeyKind::Ed25519, key, signature.0.to_vec()))
    }

    /// Signs a checkpoint's text as a witness, at a time in seconds.
    pub(super) fn of_witness(
        name: &KeyName,
        key: &SigningKey,
        time_s: u64,
        text: &str,
    ) -> Result<Self, NoteError> {
        let signature = sign(key, &signed_text(Some(time_s), text))?;
        let signature = [time_s.to_be_bytes().as_slice(), &signature.0].concat();
        Ok(Self::new(name, KeyKind::Cosignature, key, signature))
    }

    fn new(name: &KeyName, kind: KeyKind, key: &SigningKey, signature: Vec<u8>) -> Self {
        let key = VerifierKey::new(name.clone(), kind, key.public());
        Self {
            name: key.name,
            key_id: key.id,
            signature,
        }
    }

    fn is_of(&self, key: &VerifierKey) -> bool {
        self.key_id == key.id && self.name == key.name
    }
}

impl fmt::Display for NoteSignature {
    /// Writes the line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_slice(), &self.signature].concat();
        write!(f, "— {} {}", self.name, BASE64.encode(&bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    /// Reads one line, without its newline.
    fn from_str(line: &str) -> Result<Self, NoteError> {
        if line.len() > SIGNATURE_LINE_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        let rest = line.strip_prefix("— ").ok_or(NoteError::Malformed)?;
        let (name, bytes) = rest.split_once(' ').ok_or(NoteError::Malformed)?;
        let bytes = bytes_of(bytes).ok_or(NoteError::Malformed)?;
        match bytes.split_first_chunk() {
            Some((key_id, signature)) if !signature.is_empty() => Ok(Self {
                name: name.parse()?,
                key_id: *key_id,
                signature: signature.to_vec(),
            }),
            _ => Err(NoteError::Malformed),
        }
    }
}

/// A known key that signed a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    /// The key.
    pub key: &'a VerifierKey,
    /// When a witness says that it cosigned, in seconds since 1970; the latest, if it did more than once. None of a log's key.
    pub time_s: Option<u64>,
}

/// A text and the signatures under it, as read, not believed before [`Note::verify`]. Written and read, it is the same to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Puts signatures under a text. [`NoteError::Malformed`] when the text does not end in a newline or has control characters,
    /// or when there is no signature; [`NoteError::TooLarge`] over [`NOTE_SIGNATURES_MAX`] or [`NOTE_BYTES_MAX`].
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        if signatures.is_empty() || !text.ends_with('\n') || text.contains(is_refused) {
            return Err(NoteError::Malformed);
        }
        let note = Self { text, signatures };
        note.within_limits().map(|()| note)
    }

    /// Reads a note: UTF-8, without control characters but the newline, the text before the last empty line.
    /// [`NoteError::Malformed`] or, over [`NOTE_SIGNATURES_MAX`] or [`NOTE_BYTES_MAX`], [`NoteError::TooLarge`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        let all = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed)?;
        let (text, lines) = all.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        if lines.split('\n').count() > NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooLarge);
        }
        let signatures = lines.split('\n').map(str::parse).collect::<Result<_, _>>()?;
        Self::new(format!("{text}\n"), signatures)
    }

    /// The text with its last newline, as claimed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order, as claimed.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Puts one more signature under the note, unless it is there already. [`NoteError::TooLarge`] when there is no room.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        self.signatures.push(signature);
        let within = self.within_limits();
        if within.is_err() {
            self.signatures.pop();
        }
        within
    }

    /// Tells which of the known keys signed: each once, in the keys' order. Signatures by others are passed over.
    /// [`NoteError::Forged`] when one in the name of a known key does not verify, [`NoteError::Unsigned`] when none is known.
    pub fn verify<'a>(&self, known: &'a [VerifierKey]) -> Result<Vec<Verified<'a>>, NoteError> {
        let mut verified = Vec::new();
        for key in known {
            let own = self.signatures.iter().filter(|signature| signature.is_of(key));
            let times: Vec<Option<u64>> = own
                .map(|own| key.verify(&self.text, &own.signature))
                .collect::<Result<_, _>>()?;
            if let Some(time_s) = times.into_iter().max() {
                verified.push(Verified { key, time_s });
            }
        }
        if verified.is_empty() {
            Err(NoteError::Unsigned)
        } else {
            Ok(verified)
        }
    }

    fn within_limits(&self) -> Result<(), NoteError> {
        let few = self.signatures.len() <= NOTE_SIGNATURES_MAX;
        if few && self.to_string().len() <= NOTE_BYTES_MAX {
            Ok(())
        } else {
            Err(NoteError::TooLarge)
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// ASCII control characters have no place in a note, but for the newline.
fn is_refused(c: char) -> bool {
    c < ' ' && c != '\n'
}

/// What a key signs of a note's text: the text, or a witness's two lines and the text. The two are never the same, since only
/// checkpoints are signed here, and the second line of a checkpoint is a number.
fn signed_text(time_s: Option<u64>, text: &str) -> String {
    match time_s {
        None => text.to_owned(),
        Some(time_s) => format!("cosignature/v1\ntime {time_s}\n{text}"),
    }
}

fn sign(key: &SigningKey, text: &str) -> Result<Signature, NoteError> {
    let text = PlainText::new(text).ok_or(NoteError::Malformed)?;
    Ok(key.sign_text(text)?)
}
