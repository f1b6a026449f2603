//! What is inside a bundle: the files of `keys/` and every row, as a sequence of records. Written by `make`, read by `load`.
//! Never believes a length before it has looked at its limit, never lets a record of a kind that it does not know pass in silence.
//!
//! ```text
//! record   tag 1 | length 4, big-endian | payload
//! H        form 1 (1) | number of the schema's newest migration, 8
//! K        length of the name 1 | name | a file of keys/, before the view of the database was opened
//! T        JSON: name and columns of the table whose rows follow
//! R        per column: 0 | 1 integer 8 | 2 length 4, text | 3 length 4, bytes
//! A        as K, after the view was opened: a key that turned meanwhile is in one of the two
//! E        rows 8 | tables 4 | files 4        the last one; without it the body is not whole
//! ```

use std::io::Read;

use kith_proto::recovery::{BundleError, BundleReader};
use kith_service::store::Value;
use serde::{Deserialize, Serialize};

use super::RecoveryError;

/// The only form so far.
const FORM: u8 = 1;
/// The longest record: the largest row is an envelope of 1 MiB or a tile of as much, with room for evidence of alarms.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// One record.
pub(super) enum Record {
    /// The beginning.
    Head { schema: i64 },
    /// A file of `keys/`.
    Key {
        is_after: bool,
        name: String,
        bytes: Vec<u8>,
    },
    /// Whose rows follow.
    Table(TableHead),
    /// A row of the last table.
    Row(Vec<Value>),
    /// The end.
    End(Counts),
}

/// A table as the bundle names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableHead {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

/// What the end says there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) tables: u32,
    pub(super) files: u32,
}

impl Record {
    /// Its bytes.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, RecoveryError> {
        let mut payload = Vec::new();
        let tag = match self {
            Self::Head { schema } => {
                payload.push(FORM);
                payload.extend_from_slice(&schema.to_be_bytes());
                b'H'
            }
            Self::Key {
                is_after,
                name,
                bytes,
            } => {
                payload.push(u8::try_from(name.len()).map_err(|_| RecoveryError::Malformed)?);
                payload.extend_from_slice(name.as_bytes());
                payload.extend_from_slice(bytes);
                if *is_after { b'A' } else { b'K' }
            }
            Self::Table(head) => {
                payload = serde_json::to_vec(head).map_err(|_| RecoveryError::Malformed)?;
                b'T'
            }
            Self::Row(values) => {
                for value in values {
                    push_value(&mut payload, value)?;
                }
                b'R'
            }
            Self::End(counts) => {
                payload.extend_from_slice(&counts.rows.to_be_bytes());
                payload.extend_from_slice(&counts.tables.to_be_bytes());
                payload.extend_from_slice(&counts.files.to_be_bytes());
                b'E'
            }
        };
        if payload.len() > RECORD_BYTES_MAX {
            return Err(RecoveryError::Malformed);
        }
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&length(payload.len())?);
        bytes.extend_from_slice(&payload);
        Ok(bytes)
    }

    fn parse(tag: u8, payload: &[u8]) -> Option<Self> {
        Some(match tag {
            b'H' => {
                let (form, schema) = payload.split_first()?;
                if *form != FORM {
                    return None;
                }
                Self::Head {
                    schema: i64::from_be_bytes(schema.try_into().ok()?),
                }
            }
            b'K' | b'A' => {
                let (length, rest) = payload.split_first()?;
                let (name, bytes) = rest.split_at_checked(usize::from(*length))?;
                Self::Key {
                    is_after: tag == b'A',
                    name: String::from_utf8(name.to_vec()).ok()?,
                    bytes: bytes.to_vec(),
                }
            }
            b'T' => Self::Table(serde_json::from_slice(payload).ok()?),
            b'R' => Self::Row(values(payload)?),
            b'E' => {
                let (rows, rest) = payload.split_first_chunk::<8>()?;
                let (tables, rest) = rest.split_first_chunk::<4>()?;
                Self::End(Counts {
                    rows: u64::from_be_bytes(*rows),
                    tables: u32::from_be_bytes(*tables),
                    files: u32::from_be_bytes(rest.try_into().ok()?),
                })
            }
            _ => return None,
        })
    }
}

/// The records of a bundle, in their order.
pub(super) struct Records<R> {
    from: BundleReader<R>,
    /// Plaintext that was opened and not read yet, from `at` on.
    held: Vec<u8>,
    at: usize,
}

impl<R: Read> Records<R> {
    pub(super) fn of(from: BundleReader<R>) -> Self {
        Self {
            from,
            held: Vec::new(),
            at: 0,
        }
    }

    /// The next record; `None` once the bundle has ended whole.
    pub(super) fn next(&mut self) -> Result<Option<Record>, RecoveryError> {
        let Some(head) = self.take(5)? else {
            return Ok(None);
        };
        let (tag, length) = head.split_first().ok_or(RecoveryError::Malformed)?;
        let length = <[u8; 4]>::try_from(length).map_err(|_| RecoveryError::Malformed)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| RecoveryError::Malformed)?;
        if length > RECORD_BYTES_MAX {
            return Err(RecoveryError::Malformed);
        }
        let payload = self.take(length)?.ok_or(RecoveryError::Malformed)?;
        Record::parse(*tag, &payload)
            .map(Some)
            .ok_or(RecoveryError::Malformed)
    }

    /// So many bytes; `None` when the bundle has ended before the first.
    fn take(&mut self, length: usize) -> Result<Option<Vec<u8>>, RecoveryError> {
        while self.held.len() - self.at < length {
            match self.from.next_chunk().map_err(RecoveryError::from)? {
                Some(chunk) => {
                    self.held.drain(..self.at);
                    self.at = 0;
                    self.held.extend_from_slice(chunk);
                }
                None if self.held.len() == self.at && length > 0 => return Ok(None),
                None => return Err(BundleError::Altered.into()),
            }
        }
        let taken = self.held.get(self.at..self.at + length);
        let taken = taken.ok_or(RecoveryError::Malformed)?.to_vec();
        self.at += length;
        Ok(Some(taken))
    }
}

fn push_value(payload: &mut Vec<u8>, value: &Value) -> Result<(), RecoveryError> {
    match value {
        Value::Integer(Some(number)) => {
            payload.push(1);
            payload.extend_from_slice(&number.to_be_bytes());
        }
        Value::Text(Some(text)) => push_bytes(payload, 2, text.as_bytes())?,
        Value::Word(Some(text)) => push_bytes(payload, 2, text.as_bytes())?,
        Value::Bytes(Some(bytes)) => push_bytes(payload, 3, bytes)?,
        Value::Integer(None) | Value::Text(None) | Value::Word(None) | Value::Bytes(None) => payload.push(0),
    }
    Ok(())
}

fn push_bytes(payload: &mut Vec<u8>, tag: u8, bytes: &[u8]) -> Result<(), RecoveryError> {
    payload.push(tag);
    payload.extend_from_slice(&length(bytes.len())?);
    payload.extend_from_slice(bytes);
    Ok(())
}

fn length(length: usize) -> Result<[u8; 4], RecoveryError> {
    let length = u32::try_from(length).map_err(|_| RecoveryError::Malformed)?;
    Ok(length.to_be_bytes())
}

/// The values of a row; one that is null has no type yet.
fn values(mut payload: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while let Some((tag, rest)) = payload.split_first() {
        payload = rest;
        values.push(match tag {
            0 => Value::Bytes(None),
            1 => {
                let (number, rest) = payload.split_first_chunk::<8>()?;
                payload = rest;
                Value::Integer(Some(i64::from_be_bytes(*number)))
            }
            2 | 3 => {
                let (length, rest) = payload.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                let (bytes, rest) = rest.split_at_checked(length)?;
                payload = rest;
                if *tag == 2 {
                    Value::Text(Some(String::from_utf8(bytes.to_vec()).ok()?))
                } else {
                    Value::Bytes(Some(bytes.to_vec()))
                }
            }
            _ => return None,
        });
    }
    Some(values)
}
