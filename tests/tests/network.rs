//! Stories of a whole network: real processes, real sockets, real disks. Each starts its own network on free ports.

#[cfg(test)]
#[path = "network/both.rs"]
mod both;
#[cfg(test)]
#[path = "network/comeback.rs"]
mod comeback;
#[cfg(test)]
#[path = "network/kill.rs"]
mod kill;
#[cfg(test)]
#[path = "network/recovery.rs"]
mod recovery;
#[cfg(test)]
#[path = "network/refusals.rs"]
mod refusals;
#[cfg(test)]
#[path = "network/restore.rs"]
mod restore;
#[cfg(test)]
#[path = "network/rolled_back.rs"]
mod rolled_back;
#[cfg(test)]
#[path = "network/scene.rs"]
mod scene;
#[cfg(test)]
#[path = "network/stolen.rs"]
mod stolen;
#[cfg(test)]
#[path = "network/story.rs"]
mod story;
