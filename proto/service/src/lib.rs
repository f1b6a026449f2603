//! What any server of a Kith network needs: TLS with peer identity, statuses, store, clock, log, shutdown.
//! Node and gateway use it; it knows no domain words beyond ids and problem codes.
//!
//! | module | what it gives |
//! |---|---|
//! | [`clock`], [`rng`] | time and randomness, as values |
//! | [`log`] | the transparency log: append, sequence, prove, witness |
//! | [`deadline`] | a deadline for every call |
//! | [`shutdown`], [`telemetry`] | an orderly end, and the log |
//! | [`status`] | problem to status, in one place |
//! | [`store`] | the two doors to the database |
//! | [`tls`] | TLS 1.3, identities, issuing, dialling |
//! | [`web`] | languages, words, frame and forms of pages, and what protects them |

pub mod clock;
pub mod deadline;
pub mod log;
pub mod rng;
pub mod shutdown;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod web;

/// The memory of every program that serves: many small pieces that one thread takes and another gives back, for which
/// the C library's own is slow, and in a static binary slower still.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;
