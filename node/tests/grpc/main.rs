//! The two edges over a real loopback server: every call with a token of every role, bad input, both streams, the command line that talks to
//! it; and every page with a session of every role.
//! The node has a real store and real keys; its one peer exists as a verified chain, its gateway not at all.
//! Never waits by sleeping, never looks inside the node: a test sees what a client sees.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod inputs;
#[cfg(test)]
mod server;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod typed;
#[cfg(test)]
mod web;
#[cfg(test)]
mod web_refer;
