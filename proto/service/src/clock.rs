//! The only place that reads time: everything else is handed a `Clock` and asks it.
//! Called by every room that dates or expires something; a test or a simulation passes its own.
//! Never keeps state of its own: two clones of a clock always agree.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::UNIX_EPOCH;

/// A source of the present time in milliseconds since 1970-01-01 UTC. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

/// The hand that moves a clock made by [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl Clock {
    /// The computer's own clock. A computer set before 1970 reads as negative milliseconds.
    pub fn system() -> Self {
        Self::from_fn(|| {
            #[expect(clippy::disallowed_methods, reason = "this is the one clock that reads time")]
            let now = std::time::SystemTime::now();
            match now.duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
                Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
            }
        })
    }

    /// A clock that asks `f`, for example for the virtual time of a simulation.
    pub fn from_fn(f: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// A clock that stands at `start_ms` until its hand is moved.
    pub fn manual(start_ms: i64) -> (Self, ManualClock) {
        let hand = ManualClock(Arc::new(AtomicI64::new(start_ms)));
        let shared = hand.clone();
        (Self::from_fn(move || shared.0.load(Ordering::SeqCst)), hand)
    }

    /// The present time in milliseconds since 1970-01-01 UTC.
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now_ms()).finish()
    }
}

impl ManualClock {
    /// Sets the clock to `ms`, forwards or backwards.
    pub fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    /// Moves the clock by `by_ms`; a negative number moves it back.
    pub fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_until_moved_and_its_clones_agree() {
        let (clock, hand) = Clock::manual(1_000);
        let copy = clock.clone();
        assert_eq!((clock.now_ms(), clock.now_ms()), (1_000, 1_000));
        hand.advance(500);
        assert_eq!((clock.now_ms(), copy.now_ms()), (1_500, 1_500));
        hand.set(20);
        hand.advance(-30);
        assert_eq!(copy.now_ms(), -10);
    }

    #[test]
    fn the_system_clock_is_in_this_century_and_does_not_stand() {
        let clock = Clock::system();
        let first = clock.now_ms();
        assert!((1_700_000_000_000..4_000_000_000_000).contains(&first), "{first}");
        while clock.now_ms() == first {
            std::hint::spin_loop();
        }
    }
}
