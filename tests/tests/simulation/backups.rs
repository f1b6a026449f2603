//! Backups of nodes and of the gateway, and how each comes back from its newest one. Called by `run`.
//! A backup is a copy of the whole folder between two steps, when no transaction is open, as a file system's snapshot takes it. What comes
//! back is put into a folder of its own, since the connections of the process that ended are closed by threads that nobody waits for.
//! A node then asks the network before it serves, the gateway begins its next epoch by the root's word: `host` calls their own code.

use std::fs;
use std::path::{Path, PathBuf};

use kith_gateway::GatewayConfig;
use kith_node::keys::DataFolder;

use crate::facts;
use crate::op::{Host, Org};
use crate::world::World;

/// What is older than the 30 days for which mail is kept brings nothing back whole; the days between are for what happens meanwhile.
const TOO_OLD_MS: i64 = 25 * 24 * 60 * 60 * 1000;
/// The file of a node's folder that holds its sealing keys.
const SEALING: &str = "keys/sealing";

/// A copy of a folder.
pub(crate) struct Backup {
    folder: PathBuf,
    made_at_ms: i64,
    /// How far the changes of threads stood in the trace.
    traced: i64,
}

impl World {
    /// Copies a running host's folder; says whether there was one to copy.
    pub(crate) fn back_up(&mut self, host: Host) -> bool {
        let traced = match host {
            Host::Gateway if self.gateway.office.is_open() => 0,
            Host::Node(org) if self.nodes[&org].office.is_open() => self.nodes[&org].traced.get(),
            _ => return false,
        };
        let folder = self.next_folder(host);
        copy(&self.folder_of(host), &folder);
        let made_at_ms = self.time.clock().now_ms();
        let backup = Backup {
            folder,
            made_at_ms,
            traced,
        };
        self.backups.insert(host, backup);
        true
    }

    /// Ends a host and starts it on its newest backup, or says why not.
    pub(crate) fn restore(&mut self, host: Host) -> Result<(), &'static str> {
        let now_ms = self.time.clock().now_ms();
        let Some(backup) = self.backups.get(&host) else {
            return Err("there is no backup");
        };
        if now_ms - backup.made_at_ms > TOO_OLD_MS {
            return Err("the backup is too old");
        }
        // A node publishes a new sealing key only when a backup has it.
        if let Host::Node(org) = host
            && sealing(&backup.folder) != sealing(self.nodes[&org].joining.borrow().config.folder.path())
        {
            return Err("the sealing keys have turned since the backup");
        }
        let (kept, traced) = (backup.folder.clone(), backup.traced);
        self.crash(host);
        let folder = self.next_folder(host);
        copy(&kept, &folder);
        match host {
            Host::Gateway => {
                let lost = facts::taken_at(&self.gateway.config.borrow());
                self.taken_before.extend(lost);
                self.gateway.config.replace(GatewayConfig::in_folder(&folder));
                self.gateway.restoring.set(true);
            }
            Host::Node(org) => {
                let place = &self.nodes[&org];
                place.joining.borrow_mut().config.folder = DataFolder::at(folder);
                place.traced.set(traced);
                place.restoring.set(true);
            }
        }
        self.start(host);
        Ok(())
    }

    fn folder_of(&self, host: Host) -> PathBuf {
        match host {
            Host::Gateway => self.gateway.config.borrow().data_dir.clone(),
            Host::Node(org) => self.node_folder(org),
        }
    }

    fn node_folder(&self, org: Org) -> PathBuf {
        self.nodes[&org].joining.borrow().config.folder.path().to_owned()
    }

    /// A folder that was never used.
    fn next_folder(&mut self, host: Host) -> PathBuf {
        self.copies += 1;
        let number = format!("copy-{}", self.copies);
        self.folder.path().join(number).join(host.name())
    }
}

fn sealing(folder: &Path) -> Vec<u8> {
    fs::read(folder.join(SEALING)).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else if path.extension().is_none_or(|ending| ending != "db-shm") {
            fs::copy(&path, &to).unwrap();
        }
    }
}
