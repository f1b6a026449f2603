//! The trail: what becomes a leaf of a log, and what a leaf says once it is opened. The same for nodes and gateways, so that one
//! verifier, one comparison and one sentence serve all.
//! Use-cases make an [`event::Event`] and write it in the transaction of what it records; sequencers make [`leaf::Leaf`]s.
//! Never put a name, a word that somebody wrote, or a hash of either into an event: opened, it is read by auditors and peers.
//!
//! | word | meaning |
//! |---|---|
//! | event | something that happened: a code, a time, and lines of ids, codes, numbers and times |
//! | preimage | the event as text: what is hashed, and what an opened leaf shows |
//! | salt | 16 random bytes that keep a preimage from being guessed |
//! | commitment | SHA-256 of salt and preimage |
//! | entry | what stands in the log: the code and the commitment |
//! | export | a part of one trail as a file that can be verified without its log |
//! | account | what one verified export says of a referral |
//! | subject | what an event is about, and is found by: its thread, or else envelope and slip, or grant, or person |
//!
//! | module | what it settles |
//! |---|---|
//! | [`code`] | the closed list of what can happen |
//! | [`event`] | preimages, written and read |
//! | [`leaf`] | commitments and entries |
//! | [`export`] | the self-contained file that a part of a trail is given out as |
//! | [`verify`] | whether such a file holds, offline, by the network's root key alone |
//! | [`compare`] | whether the accounts of sender, recipient and gateway agree |
//! | [`fhir`], [`csv`] | events for other programs, without proofs |
//! | [`key`] | by what an event is found again |
//! | [`sentence`] | an event in plain English |

pub mod code;
pub mod compare;
#[cfg(test)]
mod compare_tests;
pub mod csv;
pub mod event;
pub mod export;
#[cfg(test)]
mod export_tests;
pub mod fhir;
pub mod key;
pub mod leaf;
pub mod sentence;
#[cfg(test)]
mod sentence_tests;
#[cfg(test)]
mod tests;
pub mod verify;
#[cfg(test)]
mod verify_tests;
#[cfg(test)]
mod world;

pub use code::Code;
pub use event::Event;
pub use leaf::Leaf;
