//! Virtual time: turmoil's, and how far every clock was put forward beside it. Handed to gateway and nodes as their `Clock`.
//! Never reads the computer's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kith_service::clock::Clock;

/// When every simulation begins, ms UTC.
const T0: i64 = 1_800_000_000_000;

/// The time of one simulation. Clones agree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Time {
    /// What was last read inside a host; what counts between steps and after the end.
    elapsed_ms: Arc<AtomicI64>,
    ahead_ms: Arc<AtomicI64>,
}

impl Time {
    /// Milliseconds since the simulation began.
    pub(crate) fn elapsed_ms(&self) -> i64 {
        if let Some(elapsed) = turmoil::sim_elapsed() {
            let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap();
            self.elapsed_ms.store(elapsed_ms, Ordering::Relaxed);
        }
        self.elapsed_ms.load(Ordering::Relaxed)
    }

    /// Says, between two steps, how far the simulation has come.
    pub(crate) fn set_elapsed(&self, elapsed: std::time::Duration) {
        let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap();
        self.elapsed_ms.store(elapsed_ms, Ordering::Relaxed);
    }

    /// Puts every clock forward; what sleeps goes on sleeping, as on a laptop that was shut.
    pub(crate) fn put_forward(&self, by_ms: i64) {
        self.ahead_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// The clock of every host.
    pub(crate) fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::from_fn(move || T0 + time.elapsed_ms() + time.ahead_ms.load(Ordering::Relaxed))
    }
}
