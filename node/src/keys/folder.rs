//! The data folder as files: private, written whole or not at all, and held by one process.
//! Called by keys, membership, epochs, join and the server.
//! Never leaves a key readable by another user of the computer.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::KeysError;

const LOCK: &str = "lock";

/// A node's data folder: `keys/` (private), `node.db`, `lock`, and what the server writes for the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolder {
    root: PathBuf,
}

/// The file of `keys/` that names the store, where it is not the one in the folder: it may hold a password.
const STORE: &str = "store";

/// The file of `keys/` that names the folder for recovery bundles.
const BUNDLES: &str = "bundles";

/// Says that this process holds the folder; let go when dropped.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// What was there before something was made that may have to go again.
#[derive(Debug)]
pub struct Before {
    /// The folders that were missing, innermost first.
    folders: Vec<PathBuf>,
    /// Whether the lock file was there.
    lock: bool,
    /// The files of `keys/`.
    keys: BTreeSet<OsString>,
}

impl Before {
    /// Looks at the files of `keys/`; under the lock, as another process may have made them meanwhile.
    pub fn note_keys(&mut self, folder: &DataFolder) {
        self.keys = folder.key_files();
    }
}

impl DataFolder {
    /// The folder at this path, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Whether a join has ended well here, so that this is the folder of a node.
    pub fn holds_node(&self) -> bool {
        self.root.join("keys").join(super::membership::NETWORK).is_file()
    }

    /// Makes the folder and `keys/`, readable by their owner only; nothing happens when they are there.
    pub fn make(&self) -> Result<(), KeysError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(self.root.join("keys")).map_err(failed("keys"))
    }

    /// Looks at what is there, before [`make`](Self::make), for [`undo`](Self::undo).
    pub fn before(&self) -> Before {
        let keys = self.root.join("keys");
        let folders = keys.ancestors().take_while(|folder| !folder.exists());
        Before {
            folders: folders.map(Path::to_owned).collect(),
            lock: self.root.join(LOCK).exists(),
            keys: BTreeSet::new(),
        }
    }

    /// Takes away what was made since: files of `keys/`, the lock file, folders that are empty then. The caller holds the lock.
    /// What cannot be removed stays.
    pub fn undo(&self, before: &Before) {
        for name in self.key_files() {
            if !before.keys.contains(&name) {
                fs::remove_file(self.root.join("keys").join(name)).ok();
            }
        }
        if !before.lock {
            fs::remove_file(self.root.join(LOCK)).ok();
        }
        // Innermost first; one that holds something is not removed.
        for folder in &before.folders {
            fs::remove_dir(folder).ok();
        }
    }

    fn key_files(&self) -> BTreeSet<OsString> {
        let entries = fs::read_dir(self.root.join("keys"))
            .into_iter()
            .flatten()
            .flatten();
        entries.map(|entry| entry.file_name()).collect()
    }

    /// Takes the folder for this process; [`KeysError::InUse`] when another has it.
    pub fn lock(&self) -> Result<FolderLock, KeysError> {
        let path = self.root.join(LOCK);
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path);
        let file = opened.map_err(failed(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(KeysError::InUse),
            Err(TryLockError::Error(source)) => Err(KeysError::Io { file: LOCK, source }),
        }
    }

    /// Remembers the store that a node was given by its name. A node that is started without it would else begin an empty one.
    pub fn keep_store(&self, url: &str) -> Result<(), KeysError> {
        self.write(STORE, url.as_bytes())
    }

    /// The store that was remembered; `None` for the one in the folder.
    pub fn kept_store(&self) -> Result<Option<String>, KeysError> {
        let kept = self.read(STORE)?;
        let text = kept.map(String::from_utf8).transpose();
        text.map_err(|_| KeysError::Malformed(STORE))
    }

    /// Remembers where bundles are kept on this computer or on what is plugged into it.
    pub fn keep_bundles(&self, folder: &Path) -> Result<(), KeysError> {
        self.write(BUNDLES, folder.as_os_str().as_encoded_bytes())
    }

    /// The folder that was remembered for bundles; `None` when none was ever named.
    pub fn kept_bundles(&self) -> Result<Option<PathBuf>, KeysError> {
        let kept = self.read(BUNDLES)?;
        Ok(kept.map(|bytes| PathBuf::from(OsString::from_vec(bytes))))
    }

    /// Whether a file of `keys/` names a place of this computer, so that it means nothing on another.
    pub fn is_of_this_computer(name: &str) -> bool {
        [STORE, BUNDLES].contains(&name)
    }

    /// Whether a file of `keys/` stands for new keys that are under way, which end or go on in this folder alone.
    pub fn is_under_way(name: &str) -> bool {
        name.starts_with("next-")
    }

    /// The URL of the database in the folder.
    pub fn database_url(&self) -> String {
        format!("sqlite://{}", self.root.join("node.db").display())
    }

    /// Reads a file of `keys/`; `None` when there is none.
    pub fn read(&self, name: &'static str) -> Result<Option<Vec<u8>>, KeysError> {
        match fs::read(self.root.join("keys").join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeysError::Io { file: name, source }),
        }
    }

    /// Takes a file of `keys/` away; nothing happens when there is none.
    pub fn remove(&self, name: &'static str) -> Result<(), KeysError> {
        match fs::remove_file(self.root.join("keys").join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(name)(error)),
            _ => Ok(()),
        }
    }

    /// Every file of `keys/` with what it holds, by name; none that is still being written.
    pub fn key_contents(&self) -> Result<Vec<(String, Vec<u8>)>, KeysError> {
        let mut contents = Vec::new();
        for name in self.key_files() {
            let path = self.root.join("keys").join(&name);
            let Some(name) = name.to_str().filter(|name| !name.ends_with(".new")) else {
                continue;
            };
            match fs::read(path) {
                Ok(bytes) => contents.push((name.to_owned(), bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(failed("keys")(source)),
            }
        }
        Ok(contents)
    }

    /// Writes back a file of `keys/` that [`key_contents`](Self::key_contents) gave; refuses a name that is no plain one.
    pub fn put_back(&self, name: &str, bytes: &[u8]) -> Result<(), KeysError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
            return Err(KeysError::Malformed("keys"));
        }
        self.replace(name, bytes).map_err(failed("keys"))
    }

    /// Whether there is nothing in the folder but, perhaps, the lock.
    pub fn is_empty(&self) -> bool {
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        let others =
            entries(&self.root).filter(|entry| entry.file_name() != LOCK && entry.file_name() != "keys");
        others.count() == 0 && self.key_files().is_empty()
    }

    /// Replaces a file of `keys/`, readable by its owner only: written beside, synced, renamed, and the folder synced, so
    /// that after any crash the old or the new one is there.
    pub fn write(&self, name: &'static str, bytes: &[u8]) -> Result<(), KeysError> {
        self.replace(name, bytes).map_err(failed(name))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = self.root.join("keys");
        let beside = folder.join(format!("{name}.new"));
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, folder.join(name))?;
        File::open(&folder)?.sync_all()
    }
}

fn failed(file: &'static str) -> impl Fn(io::Error) -> KeysError {
    move |source| KeysError::Io { file, source }
}
