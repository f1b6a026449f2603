//! The demo's clock, which a file can move: the system's time plus the milliseconds that `DIR/clock` holds.
//! Only the demo has it; the production binaries read the system's time alone.

use kith_service::clock::Clock;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The name of the file in the demo's folder; one whole number, the milliseconds to add.
pub const FILE: &str = "clock";
/// How often the file is read.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How far the clock may be moved either way: two years.
const SHIFT_MS_MAX: i64 = 2 * 366 * 24 * 60 * 60 * 1000;

/// The clock moved by this file; a missing or unreadable file moves nothing. Reads the file on a thread of its own.
pub fn movable(file: PathBuf) -> Clock {
    let shift_ms = Arc::new(AtomicI64::new(read(&file)));
    let shown = Arc::clone(&shift_ms);
    let system = Clock::system();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(LOOK_EVERY);
            shift_ms.store(read(&file), Ordering::Relaxed);
        }
    });
    Clock::from_fn(move || system.now_ms().saturating_add(shown.load(Ordering::Relaxed)))
}

fn read(file: &PathBuf) -> i64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let shift_ms: i64 = text.trim().parse().unwrap_or(0);
    shift_ms.clamp(-SHIFT_MS_MAX, SHIFT_MS_MAX)
}

#[cfg(test)]
mod tests {
    //! The file moves the clock, and only as far as it may.
    use super::*;

    #[test]
    fn a_number_moves_it_and_anything_else_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        assert_eq!(read(&file), 0);
        for (text, shift_ms) in [
            ("86400000\n", 86_400_000),
            ("-5", -5),
            ("tomorrow", 0),
            ("9999999999999999", SHIFT_MS_MAX),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read(&file), shift_ms);
        }
        std::fs::write(&file, "86400000").unwrap();
        let moved = movable(file).now_ms() - Clock::system().now_ms();
        assert!((86_399_000..=86_401_000).contains(&moved));
    }
}
