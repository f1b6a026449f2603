//! What any server of a Kith network needs: TLS with peer identity, statuses, store, clock, log, shutdown.

pub mod deadline;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod tls;
