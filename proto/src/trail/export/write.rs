//! The writer: one line at a time, each given out as text, so that an export of any length streams.
//! Use-cases of nodes and gateways call it; what it gives out is the file, in this order.
//! Never holds a line back, never checks what a line claims: that is for whoever verifies.

use super::{EXPORT_BYTES_MAX, End, ExportError, Header, Line};
use crate::sign::{Context, SigningKey};
use aws_lc_rs::digest;

/// An export under way.
pub struct ExportWriter {
    hash: digest::Context,
    lines: u64,
    bytes: u64,
}

impl std::fmt::Debug for ExportWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExportWriter({} lines)", self.lines)
    }
}

impl ExportWriter {
    /// Begins an export; gives the writer and the first line.
    pub fn new(header: Header) -> Result<(Self, String), ExportError> {
        let mut writer = Self {
            hash: digest::Context::new(&digest::SHA256),
            lines: 0,
            bytes: 0,
        };
        let line = writer.line(&Line::Header(header))?;
        Ok((writer, line))
    }

    /// Writes the next line, with its newline. [`ExportError::TooLarge`] when the file would be over its limit: end it before, and
    /// begin another; nothing is counted then.
    pub fn line(&mut self, line: &Line) -> Result<String, ExportError> {
        let mut text = line.written()?;
        text.push('\n');
        // widens: a line's length.
        let bytes = self.bytes + text.len() as u64;
        // Room for the last line is kept.
        if bytes > EXPORT_BYTES_MAX - END_BYTES {
            return Err(ExportError::TooLarge);
        }
        self.bytes = bytes;
        self.hash.update(text.as_bytes());
        self.lines += 1;
        Ok(text)
    }

    /// Writes the last line, signed with the exporter's key: a node's signing key in force, or the gateway's.
    pub fn end(self, key: &SigningKey) -> Result<String, ExportError> {
        let hash = self.hash.finish();
        let signature = key.sign(Context::Export, &[hash.as_ref()]);
        let end = End {
            lines: self.lines,
            signature: signature.map_err(|_| ExportError::Library)?,
        };
        let mut text = Line::End(end).written()?;
        text.push('\n');
        Ok(text)
    }
}

/// Bytes of the last line at most: a number of 20 digits and 88 characters of base64, with the names between.
const END_BYTES: u64 = 160;
