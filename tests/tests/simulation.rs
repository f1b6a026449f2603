//! Simulation: one gateway and three nodes, real but for the network between them and the time, which are turmoil's.
//! A list of operations is run, everything is healed, and then what must always hold is checked.
//!
//! | module | what it does |
//! |---|---|
//! | `op` | what may happen, and lists of it drawn from a seed |
//! | `world` | the simulated network: opens, crashes, cuts off, heals |
//! | `host` | what runs on each of its hosts |
//! | `backups` | copies of their folders, and what comes back from them |
//! | `desk` | what people do at a node |
//! | `time`, `trace` | virtual time; what was seen, line by line |
//! | `ledger` | what people were told, and whose disk was lost since |
//! | `run` | runs a list to its end and gathers the facts |
//! | `facts` | what the stores, folders and logs hold afterwards |
//! | `check` | what must hold of them |
//! | `lists` | lists written by hand, and those that once failed |
//! | `seeds` | lists drawn from seeds; the same seed twice gives the same trace |
//!
//! `KITH_SIM_SEED=n` runs one seed and prints its trace, `KITH_SIM_SEEDS=n` runs that many instead of the usual few.
//!
//! Not simulated: a crash inside a transaction (each runs to its end before anything else moves; `network/kill.rs` has that),
//! lost single segments (a partition loses them all), PostgreSQL. Not of the seed, and kept out of the trace: TLS keys.

#[cfg(test)]
#[path = "simulation/backups.rs"]
mod backups;
#[cfg(test)]
#[path = "simulation/check.rs"]
mod check;
#[cfg(test)]
#[path = "simulation/desk.rs"]
mod desk;
#[cfg(test)]
#[path = "simulation/facts.rs"]
mod facts;
#[cfg(test)]
#[path = "simulation/host.rs"]
mod host;
#[cfg(test)]
#[path = "simulation/ledger.rs"]
mod ledger;
#[cfg(test)]
#[path = "simulation/lists.rs"]
mod lists;
#[cfg(test)]
#[path = "simulation/op.rs"]
mod op;
#[cfg(test)]
#[path = "simulation/run.rs"]
mod run;
#[cfg(test)]
#[path = "simulation/seeds.rs"]
mod seeds;
#[cfg(test)]
#[path = "simulation/time.rs"]
mod time;
#[cfg(test)]
#[path = "simulation/trace.rs"]
mod trace;
#[cfg(test)]
#[path = "simulation/world.rs"]
mod world;
