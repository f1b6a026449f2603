//! A whole network with one command.
