//! Envelopes that were just committed, in memory, so that the link need not read back what was written a moment ago.
//! Filled after the commit, emptied by the link. Never the only place of an envelope: what is not here is read from the store.
//! Never gives another envelope than the row names: one that was sealed again meanwhile is in the store alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kith_proto::v1::Envelope;
use prost::Message as _;

/// Most bytes held: half a second of a busy node. When there is no room the oldest go, which the store still has.
const FRESH_BYTES_MAX: usize = 4 << 20;

/// The envelopes by their place in the outbox.
#[derive(Default)]
pub struct Fresh(Mutex<Held>);

#[derive(Default)]
struct Held {
    envelopes: BTreeMap<i64, ([u8; 32], Envelope)>,
    bytes: usize,
}

impl Fresh {
    /// Keeps an envelope whose row is committed, with its hash.
    pub fn put(&self, seq: i64, hash: [u8; 32], envelope: Envelope) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += envelope.encoded_len();
        if let Some((_, before)) = held.envelopes.insert(seq, (hash, envelope)) {
            held.bytes -= before.encoded_len();
        }
        while held.bytes > FRESH_BYTES_MAX
            && let Some((_, (_, oldest))) = held.envelopes.pop_first()
        {
            held.bytes -= oldest.encoded_len();
        }
    }

    /// Gives the envelope of a row away; none when it is not here, or has another hash than the row.
    pub fn take(&self, seq: i64, hash: &[u8; 32]) -> Option<Envelope> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, envelope) = held.envelopes.remove(&seq)?;
        held.bytes -= envelope.encoded_len();
        (kept == *hash).then_some(envelope)
    }

    /// Forgets all: on a new stream older rows come first, and what was withheld meanwhile is never asked for.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Held::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(bytes: usize) -> Envelope {
        Envelope {
            ciphertext: vec![7; bytes].into(),
            ..Envelope::default()
        }
    }

    #[test]
    fn each_is_given_away_once_and_the_oldest_go_first() {
        let fresh = Fresh::default();
        let hash = [1; 32];
        for seq in 1..=5 {
            fresh.put(seq, hash, envelope(1 << 20));
        }
        assert_eq!(fresh.take(1, &hash), None);
        assert_eq!(
            fresh.take(2, &hash),
            None,
            "four of a little over 1 MiB do not fit"
        );
        assert_eq!(fresh.take(3, &hash), Some(envelope(1 << 20)));
        assert_eq!(fresh.take(3, &hash), None);
        fresh.put(9, hash, envelope(2));
        fresh.put(9, hash, envelope(1));
        assert_eq!(fresh.take(9, &hash), Some(envelope(1)));
        fresh.clear();
        assert_eq!(fresh.take(5, &hash), None);
        assert_eq!(fresh.0.lock().unwrap().bytes, 0);
    }

    #[test]
    fn one_that_was_sealed_again_is_not_given() {
        let fresh = Fresh::default();
        fresh.put(1, [1; 32], envelope(1));
        assert_eq!(fresh.take(1, &[2; 32]), None);
        assert_eq!(fresh.0.lock().unwrap().bytes, 0);
    }
}
