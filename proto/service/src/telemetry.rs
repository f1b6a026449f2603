//! Starts the log: one subscriber, to stderr, as text or as JSON lines. Called once, first thing in each `main`.
//! It must never write to a file or a network, and never be started by a library or a test of another crate.

use kith_proto::problem::Problem;
use std::str::FromStr;
use tracing_subscriber::{EnvFilter, fmt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of plain text each.
    #[default]
    Text,
    /// One JSON object each.
    Json,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    /// Reads `text` or `json`.
    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(TelemetryError::Format),
        }
    }
}

/// Why the log did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// Neither `text` nor `json`: correct the setting.
    #[error("the log format is neither text nor json")]
    Format,
    /// Not a filter like `info,kith_node=debug`: correct the setting.
    #[error("the log filter cannot be read")]
    Filter,
    /// The log was started before: a mistake of the program.
    #[error("the log is already started")]
    Started,
}

impl TelemetryError {
    /// The problem that a caller is told: a setting to correct.
    pub const fn problem(&self) -> Problem {
        Problem::Invalid
    }
}

/// Starts the log for the whole process; `filter` as in `info,kith_node=debug`.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(|_| TelemetryError::Filter)?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|_| TelemetryError::Started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_the_log_starts_once() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert_eq!("text".parse(), Ok(LogFormat::Text));
        assert_eq!("JSON".parse::<LogFormat>(), Err(TelemetryError::Format));
        assert_eq!(init(LogFormat::Text, "kith=loudly"), Err(TelemetryError::Filter));
        assert_eq!(init(LogFormat::Json, "info"), Ok(()));
        assert_eq!(init(LogFormat::Text, "info"), Err(TelemetryError::Started));
        assert_eq!(TelemetryError::Started.problem(), Problem::Invalid);
    }
}
