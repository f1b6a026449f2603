//! What two organisations of a Kith network must agree on, byte for byte.
//!
//! Pure: no runtime, no SQL, no clock, no ambient randomness. Time and random bytes are arguments, so that every
//! rule here gives the same answer at the sender, at the gateway and at the recipient.
//!
//! | module | what it settles |
//! |---|---|
//! | [`words`] | closed lists: kinds, categories, purposes |
//! | [`id`] | names of networks and organisations, 128-bit ids |
//! | [`lifecycle`] | which move a party may make from which state |
//! | [`permits`] | which envelope consent allows |
//! | [`screen`] | which free text is refused |
//! | [`text`] | which characters no text has |
//! | [`calendar`] | days, in UTC |
//! | [`part`] | what fields a part may have |
//! | [`problem`] | the closed list of problem codes |
//! | [`four_words`] | four words by which two organisations compare their keys by telephone |
//! | [`human_code`] | the code a person can read out |
//! | [`sign`], [`seal`] | Ed25519 by context, HPKE and padding |
//! | [`slip`] | the extract of a grant for one recipient, and its signature |
//! | [`envelope`] | head, seal and signature of one envelope |
//! | [`trust`] | the chain from the root to a member's keys, and the invite token |
//! | [`order`] | contiguous, hash-linked order lines of a pair |
//! | [`log`] | transparency logs: tree, proofs, tiles, notes, checkpoints, witnesses |
//! | [`trail`] | audit events, and the leaves they become |
//! | [`receipt`] | signed bytes of receipts, tombstones, stop notices, renewals |
//! | [`recovery`] | the recovery sheet's shares and keys, and the bundle that they open |
//! | [`v1`] | the generated messages |

pub mod calendar;
pub mod envelope;
pub mod four_words;
#[cfg(test)]
mod golden;
pub mod human_code;
pub mod id;
pub mod lifecycle;
pub mod log;
pub mod order;
pub mod part;
pub mod permits;
pub mod problem;
pub mod receipt;
pub mod recovery;
pub mod screen;
pub mod seal;
pub mod sign;
pub mod slip;
pub mod text;
pub mod trail;
pub mod trust;
#[cfg(test)]
mod wire;
pub mod words;

/// The generated messages and services of package `kith.v1`.
#[expect(missing_docs, reason = "the documentation is in the .proto files")]
#[expect(clippy::allow_attributes, clippy::too_many_lines, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("kith.v1");

    /// The serialised `FileDescriptorSet` of the package, for reflection and for the additions-only test.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kith.v1.binpb"));
}
