//! What was seen, line by line, each with its virtual time: operations, changes of threads, and all that gateway and nodes log.
//! Two runs of one seed must give the same bytes, so nothing may be written here that does not come from the seed.

use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::time::Time;

/// What is logged of what: the crates of the network, and the name of the host that is at work.
const LOGGED: &str = "kith_node=debug,kith_gateway=debug,kith_service=debug,turmoil=info";

/// The trace of one simulation. Clones write to one text.
#[derive(Clone, Default)]
pub(crate) struct Trace {
    text: Arc<Mutex<String>>,
    time: Time,
}

impl Trace {
    /// An empty trace.
    pub(crate) fn new(time: Time) -> Self {
        Self {
            text: Arc::default(),
            time,
        }
    }

    /// Writes a line.
    pub(crate) fn line(&self, line: impl fmt::Display) {
        let at_ms = self.time.elapsed_ms();
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(text, "{} {line}", At(at_ms)).unwrap();
    }

    /// All lines so far.
    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends this thread's log here until the guard is dropped.
    pub(crate) fn log(&self) -> tracing::subscriber::DefaultGuard {
        let trace = self.clone();
        let lines = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new(LOGGED).unwrap())
            .with_ansi(false)
            .with_timer(self.clone())
            .with_writer(move || trace.clone())
            .finish();
        tracing::subscriber::set_default(lines)
    }
}

impl FormatTime for Trace {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        write!(to, "{}", At(self.time.elapsed_ms()))
    }
}

impl io::Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Minutes, seconds and milliseconds.
struct At(i64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ms) = self;
        write!(f, "{:02}:{:02}.{:03}", ms / 60_000, ms / 1_000 % 60, ms % 1_000)
    }
}
