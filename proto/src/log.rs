//! Transparency logs: one shape for the node's log, the gateway's log and its key log, in the formats of C2SP (c2sp.org), so
//! that tools nobody here wrote can verify them. Sequencers append and sign with it, stores and edges serve tiles with it, nodes,
//! gateways, witnesses and the offline verifier check with it.
//! Never believe a size or root without a verified note, never decide here what a leaf says, never read a store or a clock.
//!
//! | word | meaning |
//! |---|---|
//! | leaf | one entry of a log, numbered from 0; the tree holds its hash, SHA-256(0x00 ‖ entry) |
//! | tree, root | the binary hash tree over all leaves (RFC 6962, 2.1); one hash that stands for them all and their order |
//! | size | how many leaves a tree has |
//! | tree head | size and root together |
//! | node | the root of a whole subtree of 2^level leaves, which never changes once it is full |
//! | frontier | the fewest nodes that cover a tree: what a log must remember in order to go on |
//! | inclusion proof | the hashes that lead from one leaf to a root: the leaf is in the tree |
//! | consistency proof | the hashes that lead from one root to a later one: nothing before was altered or left out |
//! | tile | up to 256 hashes of one level side by side: how the tree is stored and served |
//! | entry bundle | up to 256 entries side by side |
//! | note | a text and the signatures under it, each with the name of its key |
//! | checkpoint | the note a log signs: origin, size, root |
//! | origin | the name of a log; a new epoch of a log is a new origin |
//! | witness, cosignature | who checks that a log only grows; its signature, with a time, under a checkpoint |
//! | policy | which witnesses there are, and how many must have cosigned |
//! | counted, unwitnessed | whether a checkpoint has the cosignatures that the policy asks for |
//! | fork | two checkpoints of one origin that no consistency proof can join |
//!
//! | module | what it settles |
//! |---|---|
//! | [`tree`] | hashes, roots, the frontier |
//! | [`proof`] | inclusion and consistency, made from nodes and verified |
//! | [`tile`] | paths, bytes and nodes of tiles |
//! | [`note`] | signed notes and their keys |
//! | [`checkpoint`] | checkpoints and cosignatures |
//! | [`leaf_proof`] | `.tlog-proof`, the receipt of one leaf that can be verified offline |
//! | [`epoch_word`] | by whose word a log begins anew |
//! | [`origin`] | what logs and cosigners are called |
//! | [`policy`] | which checkpoint counts |
//! | [`witness`] | what a witness is asked, and when it cosigns |

pub mod checkpoint;
pub mod epoch_word;
pub mod leaf_proof;
#[cfg(test)]
mod leaf_proof_tests;
pub mod note;
#[cfg(test)]
mod note_tests;
pub mod origin;
pub mod policy;
#[cfg(test)]
mod policy_tests;
pub mod proof;
#[cfg(test)]
mod proof_tests;
pub mod tile;
#[cfg(test)]
mod tile_tests;
pub mod tree;
pub mod witness;
#[cfg(test)]
mod witness_tests;
