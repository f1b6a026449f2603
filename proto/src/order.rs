//! Order lines: the numbers and hash links that keep the envelopes of a pair in one order.
//! The sending node signs a batch, the gateway and the recipient verify it and [`check`] it against what they hold.
//! Never move a position on a batch that fails, never take a line that does not follow on the last one.
//!
//! Signed bytes (context `kith/v1/order`): from ‖ to ‖ count ‖ for each line number (u64) ‖ previous hash ‖ envelope
//! hash; text and bytes after their length, lengths and count as u32, integers big-endian.

use std::collections::BTreeSet;

use crate::id::OrgId;
use crate::problem::Problem;
use crate::receipt::Layout;
use crate::sign::{Context, PublicKey, Signature, SigningFailed, SigningKey};
use crate::v1;
use crate::words::EnvelopeKind;

#[cfg(test)]
mod tests;

/// Whether envelopes of a kind have a place in the order of their pair: all but a withdrawal and its proof, which nothing holds up,
/// and an attachment's chunk, which holds nothing up.
pub const fn is_ordered(kind: EnvelopeKind) -> bool {
    !matches!(
        kind,
        EnvelopeKind::Withdrawal | EnvelopeKind::WithdrawalProof | EnvelopeKind::Blob
    )
}

/// Numbers of a run: `run * RUN_LINES + n`, n from 1. A sender that lost lines which the gateway has forgotten too begins a later run, so that no
/// number that its recipient may hold is given twice. Run 0 is that of a sender that never did.
pub const RUN_LINES: u64 = 1 << 40;

/// Whether a line with this number is the first of a later run: it follows on any position before it, and names no previous hash.
pub const fn begins_run(number: u64) -> bool {
    number > RUN_LINES && number % RUN_LINES == 1
}

/// Whether a line with this number may come next behind the one with the number `last`: it is the next of its run, or the first of a later one.
pub const fn follows(number: u64, last: u64) -> bool {
    number > last && (number - last == 1 || begins_run(number))
}

/// Lines of one run of a pair that somebody has, as a count of numbers shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The lowest number.
    pub first: u64,
    /// The highest number.
    pub last: u64,
    /// How many there are.
    pub count: u64,
}

/// Whether these stretches, the earliest run first, are every line behind the number `after` up to `through`: no run has a hole. How many lines a run had
/// before the next began, nobody knows but its sender: what is there of it, is all. In front of a run (`through` a multiple of [`RUN_LINES`]) nothing
/// of it is needed.
pub fn is_whole((after, through): (u64, u64), stretches: &[Stretch]) -> bool {
    let mut last = after;
    for stretch in stretches {
        let counted = stretch
            .last
            .checked_sub(stretch.first)
            .and_then(|more| more.checked_add(1));
        if !follows(stretch.first, last) || counted != Some(stretch.count) {
            return false;
        }
        last = stretch.last;
    }
    last == through || (through > last && through % RUN_LINES == 0)
}

/// Most lines in one batch.
pub const ORDER_LINES_MAX: usize = 256;

/// The last line held of a pair: [`Position::START`] before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    number: u64,
    hash: Option<[u8; 32]>,
}

impl Position {
    /// Before the first envelope of a pair.
    pub const START: Self = Self {
        number: 0,
        hash: None,
    };

    /// The position of an envelope that is held; in front of a run (0, or a multiple of [`RUN_LINES`]) there is none, whatever the hash.
    pub const fn at(number: u64, envelope_hash: [u8; 32]) -> Self {
        let hash = match number % RUN_LINES {
            0 => None,
            _ => Some(envelope_hash),
        };
        Self { number, hash }
    }

    /// In front of the first line of a run; [`Position::START`] for run 0. A run that no number can name is [`OrderError::TooLarge`].
    pub const fn run(run: u64) -> Result<Self, OrderError> {
        // Numbers are kept as signed 64-bit integers.
        if run >= (i64::MAX as u64) / RUN_LINES {
            return Err(OrderError::TooLarge);
        }
        Ok(Self {
            number: run * RUN_LINES,
            hash: None,
        })
    }

    /// A position as the wire has it: 0 is the start, in front of a run there is no hash; none for what is no position.
    pub fn of_wire(number: u64, envelope_hash: &[u8]) -> Option<Self> {
        i64::try_from(number).ok()?;
        match (number % RUN_LINES, envelope_hash.is_empty()) {
            (0, true) => Some(Self { number, hash: None }),
            (0, false) if number > 0 => None,
            (0, false) => Some(Self::START),
            _ => envelope_hash.try_into().ok().map(|hash| Self::at(number, hash)),
        }
    }

    /// Whether it stands in front of a later run.
    pub const fn is_before_run(self) -> bool {
        self.number > 0 && self.hash.is_none()
    }

    /// The number of the last line; 0 at the start.
    pub const fn number(self) -> u64 {
        self.number
    }

    /// The hash of the last envelope; none at the start.
    pub const fn hash(self) -> Option<[u8; 32]> {
        self.hash
    }
}

/// Why a batch was not signed or taken, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A field has the wrong length or value, an envelope has two lines, or there is no line: end the stream.
    #[error("the order batch cannot be read")]
    Malformed,
    /// More lines than a batch may have: split it.
    #[error("the order batch has too many lines")]
    TooLarge,
    /// Not this key's signature: take nothing.
    #[error("the order batch is not signed by the sender")]
    Forged,
    /// Lines are missing in front: ask for them from this number on.
    #[error("order lines are missing from number {expected} on")]
    Gap {
        /// The number that must come next.
        expected: u64,
    },
    /// A number that is held already: answer with the receipt again, take nothing twice.
    #[error("order line {number} came before")]
    Repeat {
        /// The number that came again.
        number: u64,
    },
    /// Two histories under one number: stop the pair; tell a person.
    #[error("order line {number} belongs to another history")]
    Fork {
        /// The number where they part.
        number: u64,
    },
    /// The cryptographic library failed: try again.
    #[error("the signing library failed")]
    Library,
}

impl OrderError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Malformed => Problem::Invalid,
            Self::TooLarge => Problem::TooLarge,
            Self::Forged => Problem::Unauthenticated,
            Self::Gap { .. } => Problem::WrongState,
            Self::Repeat { .. } | Self::Fork { .. } => Problem::Conflict,
            Self::Library => Problem::Unavailable,
        }
    }
}

impl From<SigningFailed> for OrderError {
    fn from(_: SigningFailed) -> Self {
        Self::Library
    }
}

/// Numbers, links and signs the next envelopes of a pair; returns the batch and the position after it.
pub fn sign(
    key: &SigningKey,
    from: &OrgId,
    to: &OrgId,
    last: Position,
    envelope_hashes: &[[u8; 32]],
) -> Result<(v1::OrderBatch, Position), OrderError> {
    let mut position = last;
    let mut lines = Vec::with_capacity(envelope_hashes.len().min(ORDER_LINES_MAX));
    for hash in envelope_hashes.iter().take(ORDER_LINES_MAX + 1) {
        let number = position.number.checked_add(1).ok_or(OrderError::TooLarge)?;
        lines.push(v1::OrderLine {
            number,
            previous_hash: position.hash.map(|h| h.to_vec()).unwrap_or_default(),
            envelope_hash: hash.to_vec(),
        });
        position = Position::at(number, *hash);
    }
    let mut batch = v1::OrderBatch {
        from: from.as_str().to_owned(),
        to: to.as_str().to_owned(),
        lines,
        signature: Vec::new(),
    };
    batch.signature = key.sign(Context::Order, &[&layout(&batch)?])?.0.to_vec();
    Ok((batch, position))
}

/// Verifies that the sender's key signed the batch, for this pair; its order is left to [`check`].
pub fn verify(key: &PublicKey, from: &OrgId, to: &OrgId, batch: &v1::OrderBatch) -> Result<(), OrderError> {
    let bytes = layout(batch)?;
    let signature: [u8; 64] = batch
        .signature
        .as_slice()
        .try_into()
        .map_err(|_| OrderError::Malformed)?;
    if batch.from != from.as_str() || batch.to != to.as_str() {
        return Err(OrderError::Forged);
    }
    key.verify(Context::Order, &[&bytes], &Signature(signature))
        .map_err(|_| OrderError::Forged)
}

/// Holds a batch against the last line held; returns the position after it, or the first line that does not follow.
pub fn check(last: Position, batch: &v1::OrderBatch) -> Result<Position, OrderError> {
    limits(batch)?;
    batch.lines.iter().try_fold(last, step)
}

/// Holds a batch against the last line held when its first lines may have come before: returns how many lines are not new,
/// and the position after the rest. A line that repeats the last number held must be the same one.
pub fn resume(last: Position, batch: &v1::OrderBatch) -> Result<(usize, Position), OrderError> {
    limits(batch)?;
    let held = batch.lines.iter().take_while(|line| line.number <= last.number);
    let (mut skipped, mut previous) = (0, None);
    for line in held {
        let hash: [u8; 32] = line
            .envelope_hash
            .as_slice()
            .try_into()
            .map_err(|_| OrderError::Malformed)?;
        let number = line.number;
        if number == 0 || previous.is_some_and(|p: Position| p.number.checked_add(1) != Some(number)) {
            return Err(OrderError::Malformed);
        }
        if number == last.number && last.hash != Some(hash) {
            return Err(OrderError::Fork { number });
        }
        previous = Some(Position::at(number, hash));
        skipped += 1;
    }
    let position = batch.lines.iter().skip(skipped).try_fold(last, step)?;
    Ok((skipped, position))
}

fn step(last: Position, line: &v1::OrderLine) -> Result<Position, OrderError> {
    let hash: [u8; 32] = line
        .envelope_hash
        .as_slice()
        .try_into()
        .map_err(|_| OrderError::Malformed)?;
    let number = line.number;
    let Some(expected) = last.number.checked_add(1) else {
        return Err(OrderError::Repeat { number });
    };
    if number == 0 {
        return Err(OrderError::Malformed);
    }
    if begins_run(number) && number > last.number {
        return Ok(Position::at(number, hash));
    }
    if number > expected {
        return Err(OrderError::Gap { expected });
    }
    if number == last.number && last.hash != Some(hash) {
        return Err(OrderError::Fork { number });
    }
    if number < expected {
        return Err(OrderError::Repeat { number });
    }
    if line.previous_hash != last.hash.as_ref().map_or(&[][..], |h| h) {
        return Err(OrderError::Fork { number });
    }
    Ok(Position::at(number, hash))
}

/// As many lines as a batch may have, each of another envelope: a hash that stood twice would name two numbers. The first line of a run names no
/// line before it, and is of a run that there can be.
fn limits(batch: &v1::OrderBatch) -> Result<(), OrderError> {
    if batch.lines.len() > ORDER_LINES_MAX {
        return Err(OrderError::TooLarge);
    }
    let begins_badly = |line: &v1::OrderLine| {
        begins_run(line.number) && (!line.previous_hash.is_empty() || i64::try_from(line.number).is_err())
    };
    if batch.lines.iter().any(begins_badly) {
        return Err(OrderError::Malformed);
    }
    let hashes: BTreeSet<&[u8]> = batch.lines.iter().map(|line| &*line.envelope_hash).collect();
    if batch.lines.is_empty() || hashes.len() != batch.lines.len() {
        Err(OrderError::Malformed)
    } else {
        Ok(())
    }
}

/// Checks the fields and returns the bytes to sign.
fn layout(batch: &v1::OrderBatch) -> Result<Vec<u8>, OrderError> {
    limits(batch)?;
    let members = [&batch.from, &batch.to];
    if members.iter().any(|m| m.parse::<OrgId>().is_err()) || batch.from == batch.to {
        return Err(OrderError::Malformed);
    }
    let layout = Layout::default()
        .bytes(batch.from.as_bytes())
        .bytes(batch.to.as_bytes());
    let mut layout = layout.count(batch.lines.len());
    for line in &batch.lines {
        if line.envelope_hash.len() != 32 || !matches!(line.previous_hash.len(), 0 | 32) {
            return Err(OrderError::Malformed);
        }
        layout = layout
            .u64(line.number)
            .bytes(&line.previous_hash)
            .bytes(&line.envelope_hash);
    }
    Ok(layout.done())
}
