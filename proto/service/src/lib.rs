//! What any server of a Kith network needs: TLS with peer identity, statuses, store, clock, log, shutdown.
