//! How long the link waits before it dials again: doubling from half a second to two minutes, with jitter.
//! Called by the link's loop after every ended stream. Never waits for ever: a node recovers by itself once what
//! was wrong is put right.

use std::time::Duration;

/// The first wait, and the least: a gateway that restarts is back within it.
pub(super) const WAIT_MS_MIN: u64 = 500;
/// The longest wait: what a person at a laptop will sit through.
pub(super) const WAIT_MS_MAX: u64 = 120_000;
/// A stream that lived so long was a good one: the next wait is the first again.
pub(super) const GOOD_STREAM_MS: i64 = 30_000;

/// The waits of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    next_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next_ms: WAIT_MS_MIN }
    }
}

impl Backoff {
    /// The wait after a stream that lived `lived_ms`: between a half and the whole of the present step, by `jitter`
    /// (random bytes), so that five hundred nodes do not come back at once.
    pub(super) fn after(&mut self, lived_ms: i64, jitter: [u8; 4]) -> Duration {
        if lived_ms >= GOOD_STREAM_MS {
            *self = Self::default();
        }
        let step = self.next_ms;
        self.next_ms = (step * 2).min(WAIT_MS_MAX);
        let half = step / 2;
        let share = u64::from(u32::from_be_bytes(jitter)) % (half + 1);
        Duration::from_millis(half + share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_two_minutes_and_never_end() {
        let mut backoff = Backoff::default();
        let longest: Vec<u128> = (0..12).map(|_| backoff.after(0, [0xff; 4]).as_millis()).collect();
        assert!(longest.is_sorted(), "{longest:?}");
        assert!(longest[0] >= 250 && longest[0] <= 500);
        assert!(longest[11] >= 60_000 && longest[11] <= 120_000);
        let shortest = backoff.after(0, [0; 4]).as_millis();
        assert_eq!(shortest, 60_000, "never less than half");
        assert!(
            backoff.after(GOOD_STREAM_MS, [0; 4]).as_millis() <= 500,
            "a good stream starts afresh"
        );
    }
}
