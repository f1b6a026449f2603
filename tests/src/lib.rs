//! Tests of a whole network over real sockets and real disks, and the benchmark. Nothing here is part of the product.
//!
//! | where | what |
//! |---|---|
//! | `tests/*.rs` | stories over real processes: the demo's story, `kill -9`, the search for planted names |
//! | `src/bin/bench.rs` | throughput of two nodes and a gateway |
//! | `src/bin/role.rs` | the program that plays gateway and node in them |
//! | `src/bin/recording_role.rs`, [`recording`] | the same, with a gateway that writes down what it reads and writes inside TLS |
//! | [`http2`] | what such a recording carried |
//! | [`measure`] | CPU time and memory of a process |
//! | [`load`], [`sending`] | persons, grants and referrals in number, and how they arrive |
//! | `src/bin/trails.rs` | how fast a long trail is read |

pub mod http2;
pub mod load;
pub mod measure;
pub mod recording;
pub mod sending;
