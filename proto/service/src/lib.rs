//! What any server of a Kith network needs: TLS with peer identity, statuses, store, clock, log, shutdown.
//! Called by the node and the gateway; it holds no word of the domain and never calls either of them.

pub mod clock;
pub mod rng;
pub mod store;
