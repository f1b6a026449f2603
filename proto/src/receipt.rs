//! The signed bytes of the link's frames: receipts, refusals, tombstones, stop notices, renewal requests.
//! Gateway and nodes call [`sign`] before they send one and [`verify`] before they act on one.
//! Never sign a frame that [`verify`] would refuse, never leave a field that matters outside the signed bytes.
//!
//! Layouts: integers are big-endian in full width (problem numbers as i64); bytes and text stand after their length (u32); a
//! list stands after its count (u32). The three frames of context `kith/v1/receipt` start with a byte of their own.
//!
//! | frame | context | layout |
//! |---|---|---|
//! | `GatewayReceipts` | receipt | 1 ‖ taken at ‖ ids ‖ hashes |
//! | `RecipientReceipts` | receipt | 2 ‖ from ‖ to ‖ received at ‖ ids ‖ hashes ‖ problems |
//! | `Refused` | receipt | 3 ‖ id ‖ hash ‖ problem ‖ categories ‖ refused at |
//! | `Dropped` | dropped | id ‖ hash ‖ number ‖ problem ‖ dropped at |
//! | `StopNotice` | withdrawal | slip id ‖ withdrawn at |
//! | `RenewRequest` | renewal | organisation ‖ made at ‖ SHA-256 of the certificate request |
//!
//! `Refused.retry_after_ms` is a hint and not signed.

use crate::id::OrgId;
use crate::problem::Problem;
use crate::sign::{Context, PublicKey, Signature, SigningFailed, SigningKey, sha256};
use crate::v1;
use crate::words::Category;

#[cfg(test)]
mod tests;

/// Most envelopes that one receipt covers.
pub const RECEIPT_ENVELOPES_MAX: usize = 1024;
/// Longest certificate request, in bytes.
pub const CERTIFICATE_REQUEST_BYTES_MAX: usize = 8192;

/// Why a frame was not signed or believed, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// A field has the wrong length, count or value: end the stream, the peer is broken.
    #[error("the frame cannot be read")]
    Malformed,
    /// Over a limit: make it smaller.
    #[error("the frame covers too much")]
    TooLarge,
    /// Not this key's signature: act on nothing; tell a person.
    #[error("the frame is not signed by the key that must sign it")]
    Forged,
    /// The cryptographic library failed: try again.
    #[error("the signing library failed")]
    Library,
}

impl ReceiptError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Malformed => Problem::Invalid,
            Self::TooLarge => Problem::TooLarge,
            Self::Forged => Problem::Unauthenticated,
            Self::Library => Problem::Unavailable,
        }
    }
}

impl From<SigningFailed> for ReceiptError {
    fn from(_: SigningFailed) -> Self {
        Self::Library
    }
}

mod sealed {
    /// Keeps the list of signed frames closed.
    pub trait Sealed {}
}

/// A frame of the link that carries its own signature; the list is closed.
pub trait SignedFrame: sealed::Sealed {
    /// The context it is signed in.
    const CONTEXT: Context;
    /// Checks the fields and returns the bytes to sign.
    fn layout(&self) -> Result<Vec<u8>, ReceiptError>;
    /// The signature field.
    fn signature(&self) -> &[u8];
    /// Sets the signature field.
    fn set_signature(&mut self, signature: Vec<u8>);
}

/// Signs a frame in place.
pub fn sign<F: SignedFrame>(key: &SigningKey, frame: &mut F) -> Result<(), ReceiptError> {
    let signature = key.sign(F::CONTEXT, &[&frame.layout()?])?;
    frame.set_signature(signature.0.to_vec());
    Ok(())
}

/// Verifies that the key signed the frame and that its fields can be read.
pub fn verify<F: SignedFrame>(key: &PublicKey, frame: &F) -> Result<(), ReceiptError> {
    let layout = frame.layout()?;
    let signature: [u8; 64] = frame
        .signature()
        .try_into()
        .map_err(|_| ReceiptError::Malformed)?;
    key.verify(F::CONTEXT, &[&layout], &Signature(signature))
        .map_err(|_| ReceiptError::Forged)
}

/// Writes signed bytes: full-width big-endian integers, lengths and counts in front of what varies.
#[derive(Debug, Default)]
pub(crate) struct Layout(Vec<u8>);

impl Layout {
    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn i64(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A count or length; every caller has limited it far below `u32::MAX`.
    pub(crate) fn count(self, value: usize) -> Self {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX))
    }

    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        let mut this = self.count(value.len());
        this.0.extend_from_slice(value);
        this
    }

    pub(crate) fn list(self, values: &[Vec<u8>]) -> Self {
        values
            .iter()
            .fold(self.count(values.len()), |layout, v| layout.bytes(v))
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

fn must(holds: bool) -> Result<(), ReceiptError> {
    if holds {
        Ok(())
    } else {
        Err(ReceiptError::Malformed)
    }
}

fn envelope(id: &[u8], hash: &[u8]) -> Result<(), ReceiptError> {
    must(id.len() == 16 && hash.len() == 32)
}

fn envelopes(ids: &[Vec<u8>], hashes: &[Vec<u8>]) -> Result<(), ReceiptError> {
    if ids.len().max(hashes.len()) > RECEIPT_ENVELOPES_MAX {
        return Err(ReceiptError::TooLarge);
    }
    must(!ids.is_empty() && ids.len() == hashes.len())?;
    ids.iter()
        .zip(hashes)
        .try_for_each(|(id, hash)| envelope(id, hash))
}

fn member(text: &str) -> Result<(), ReceiptError> {
    must(text.parse::<OrgId>().is_ok())
}

/// Checks a problem number that must name a problem.
fn problem(number: impl Into<i64>) -> Result<(), ReceiptError> {
    must(i32::try_from(number.into()).is_ok_and(|n| Problem::try_from(n).is_ok()))
}

/// Writes what every [`SignedFrame`] shares.
macro_rules! frame {
    ($frame:ident, $context:ident, |$this:ident| $layout:block) => {
        impl sealed::Sealed for v1::$frame {}

        impl SignedFrame for v1::$frame {
            const CONTEXT: Context = Context::$context;

            fn layout(&self) -> Result<Vec<u8>, ReceiptError> {
                let $this = self;
                $layout
            }

            fn signature(&self) -> &[u8] {
                &self.signature
            }

            fn set_signature(&mut self, signature: Vec<u8>) {
                self.signature = signature;
            }
        }
    };
}

frame!(GatewayReceipts, Receipt, |r| {
    envelopes(&r.envelope_ids, &r.envelope_hashes)?;
    let layout = Layout::default().byte(1).i64(r.taken_at_ms);
    Ok(layout.list(&r.envelope_ids).list(&r.envelope_hashes).done())
});

frame!(RecipientReceipts, Receipt, |r| {
    member(&r.from)?;
    member(&r.to)?;
    envelopes(&r.envelope_ids, &r.envelope_hashes)?;
    must(r.problems.len() == r.envelope_ids.len())?;
    // 0 says received.
    r.problems
        .iter()
        .filter(|p| **p != 0)
        .try_for_each(|p| problem(*p))?;
    let layout = Layout::default()
        .byte(2)
        .bytes(r.from.as_bytes())
        .bytes(r.to.as_bytes());
    let layout = layout
        .i64(r.received_at_ms)
        .list(&r.envelope_ids)
        .list(&r.envelope_hashes);
    let layout = layout.count(r.problems.len());
    Ok(r.problems
        .iter()
        .fold(layout, |layout, p| layout.i64(i64::from(*p)))
        .done())
});

frame!(Refused, Receipt, |r| {
    envelope(&r.envelope_id, &r.envelope_hash)?;
    problem(r.problem)?;
    must(r.categories.len() <= Category::ALL.len())?;
    let layout = Layout::default()
        .byte(3)
        .bytes(&r.envelope_id)
        .bytes(&r.envelope_hash);
    let mut layout = layout.i64(i64::from(r.problem)).count(r.categories.len());
    for category in &r.categories {
        must(Category::try_from(*category).is_ok())?;
        layout = layout.u32(category.unsigned_abs());
    }
    Ok(layout.i64(r.refused_at_ms).done())
});

frame!(Dropped, Dropped, |r| {
    envelope(&r.envelope_id, &r.envelope_hash)?;
    problem(r.problem)?;
    let layout = Layout::default().bytes(&r.envelope_id).bytes(&r.envelope_hash);
    Ok(layout
        .u64(r.number)
        .i64(i64::from(r.problem))
        .i64(r.dropped_at_ms)
        .done())
});

frame!(StopNotice, Withdrawal, |r| {
    must(r.slip_id.len() == 16)?;
    Ok(Layout::default().bytes(&r.slip_id).i64(r.withdrawn_at_ms).done())
});

frame!(RenewRequest, Renewal, |r| {
    member(&r.organisation)?;
    if r.certificate_request_der.len() > CERTIFICATE_REQUEST_BYTES_MAX {
        return Err(ReceiptError::TooLarge);
    }
    must(!r.certificate_request_der.is_empty())?;
    let layout = Layout::default()
        .bytes(r.organisation.as_bytes())
        .i64(r.made_at_ms);
    Ok(layout.bytes(&sha256(&[&r.certificate_request_der])).done())
});
