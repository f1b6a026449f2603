//! The reader: one line after another, each and the whole within limits, so that no file fills the memory.
//! The command line's `audit verify` and `audit compare` call it on what they opened.
//! Never gives a line without its newline: a file that was cut off ends in an error.

use super::{EXPORT_BYTES_MAX, ExportError, LINE_BYTES_MAX};
use std::io::{BufRead, Read as _};

/// The lines of an export, as bytes without their newlines. After an error there is none.
#[derive(Debug)]
pub struct ExportReader<R> {
    from: R,
    left: u64,
    ended: bool,
}

impl<R: BufRead> ExportReader<R> {
    /// Reads from the beginning of a file.
    pub const fn new(from: R) -> Self {
        Self {
            from,
            left: EXPORT_BYTES_MAX,
            ended: false,
        }
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, ExportError> {
        let mut line = Vec::new();
        // widens: a constant of 32 bits.
        let mut within = (&mut self.from).take(LINE_BYTES_MAX as u64);
        let count = within.read_until(b'\n', &mut line);
        let count = count.map_err(|_| ExportError::Unreadable)?;
        if count == 0 {
            return Ok(None);
        }
        self.left = self.left.checked_sub(count as u64).ok_or(ExportError::TooLarge)?;
        if line.pop() == Some(b'\n') {
            return Ok(Some(line));
        }
        Err(if count == LINE_BYTES_MAX {
            ExportError::TooLarge
        } else {
            ExportError::Cut
        })
    }
}

impl<R: BufRead> Iterator for ExportReader<R> {
    type Item = Result<Vec<u8>, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read().transpose();
        self.ended = !matches!(read, Some(Ok(_)));
        read
    }
}
