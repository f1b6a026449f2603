//! What a recorded connection carried: the bodies of its HTTP/2 streams, put together from their DATA frames (RFC 9113,
//! sections 4.1 and 6.1). A word that two frames share is found in them. Used by the stories that search recordings.
//! It reads no headers: their strings are Huffman-coded.

use anyhow::{Context as _, ensure};
use std::collections::BTreeMap;

/// How a client begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, type, flags, stream.
const FRAME_HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const PADDED: u8 = 8;
/// The highest frame type that anybody sends: CONTINUATION. Anything above says that the reading has gone astray.
const TYPE_MAX: u8 = 9;

/// The bodies of one direction, by stream. A frame that was cut off by the connection's end is left out.
pub fn bodies(recorded: &[u8]) -> anyhow::Result<BTreeMap<u32, Vec<u8>>> {
    let mut rest = recorded.strip_prefix(PREFACE).unwrap_or(recorded);
    let mut bodies: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while let Some((head, after)) = rest.split_first_chunk::<FRAME_HEAD_BYTES>() {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
        ensure!(kind <= TYPE_MAX, "no frame is of type {kind}");
        let length = usize::try_from(u32::from_be_bytes([0, l0, l1, l2]))?;
        let Some((payload, next)) = after.split_at_checked(length) else {
            break;
        };
        if kind == DATA {
            let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
            let body = if flags & PADDED == 0 {
                payload
            } else {
                unpadded(payload)?
            };
            bodies.entry(stream).or_default().extend_from_slice(body);
        }
        rest = next;
    }
    Ok(bodies)
}

fn unpadded(payload: &[u8]) -> anyhow::Result<&[u8]> {
    let (padding, rest) = payload
        .split_first()
        .context("a padded frame without its length")?;
    let length = rest.len().checked_sub(usize::from(*padding));
    let body = length.and_then(|length| rest.get(..length));
    body.context("more padding than frame")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn a_word_that_two_frames_share_is_put_together() {
        let recorded = [
            PREFACE.to_vec(),
            frame(4, 0, 0, &[0; 6]),
            frame(DATA, 0, 1, b"Tues"),
            frame(DATA, 0, 3, b"other"),
            frame(DATA, PADDED, 1, b"\x02days\0\0"),
            frame(DATA, 0, 1, b"cut off")[..12].to_vec(),
        ];
        let bodies = bodies(&recorded.concat()).unwrap();
        assert_eq!(bodies[&1], b"Tuesdays");
        assert_eq!(bodies[&3], b"other");
    }

    #[test]
    fn what_is_no_connection_is_not_read_as_one() {
        assert!(bodies(b"a letter that nobody framed").is_err());
        assert!(bodies(&frame(DATA, PADDED, 1, b"\x09x")).is_err());
    }
}
