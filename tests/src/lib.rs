//! Network tests over real sockets, simulation, benchmark.
