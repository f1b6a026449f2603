//! Files of one key folder: written once with rights for their owner alone, read with a size limit.
//! Called by [`super`] only. Never overwrites a file of keys and never prints what a file holds.

use data_encoding::HEXLOWER;
use kith_proto::id::NetworkName;
use kith_proto::sign::PublicKey;
use kith_proto::v1;
use prost::Message as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Longest file: a signed statement of 4 KiB and room for a certificate.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// Rights of a folder: its owner alone.
const FOLDER_MODE: u32 = 0o700;
/// Rights of a file: its owner alone.
const FILE_MODE: u32 = 0o600;

/// Why a file was not read or written; names the file, never its contents.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The folder holds something already: choose an empty one.
    #[error("the folder {0} is not empty; nothing was written")]
    NotEmpty(PathBuf),
    /// This is not the folder that was meant: name that one.
    #[error("{place} is not the folder `{name}` that `init` made: there is no file {file} in it{hint}")]
    Other {
        /// The folder that was named.
        place: PathBuf,
        /// Which of the three folders was meant.
        name: &'static str,
        /// The file that it would have.
        file: &'static str,
        /// Where it is, when it is just inside; else empty.
        hint: String,
    },
    /// The file is missing or may not be used: correct the path or its rights.
    #[error("the file {0} cannot be used")]
    Io(PathBuf, #[source] io::Error),
    /// The file does not hold what its name says: restore it.
    #[error("the file {0} does not hold what it should")]
    Contents(PathBuf),
}

/// An empty folder that keys are written to.
pub(super) struct NewFolder(PathBuf);

impl NewFolder {
    /// Makes the folder, or takes it when it is there and empty.
    pub(super) fn at(path: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::Io(path.to_owned(), error);
        if path.exists() {
            if path.read_dir().map_err(failed)?.next().is_some() {
                return Err(FileError::NotEmpty(path.to_owned()));
            }
        } else {
            let mut builder = DirBuilder::new();
            builder.mode(FOLDER_MODE).recursive(true);
            builder.create(path).map_err(failed)?;
        }
        Ok(Self(path.to_owned()))
    }

    pub(super) fn inner(&self, name: &str) -> Result<Self, FileError> {
        Self::at(&self.0.join(name))
    }

    pub(super) fn text(&self, name: &str, text: &str) -> Result<(), FileError> {
        self.write(name, format!("{}\n", text.trim_end()).as_bytes())
    }

    pub(super) fn seed(&self, name: &str, seed: &[u8; 32]) -> Result<(), FileError> {
        self.text(name, &HEXLOWER.encode(seed))
    }

    pub(super) fn public_key(&self, name: &str, key: &PublicKey) -> Result<(), FileError> {
        self.text(name, &HEXLOWER.encode(&key.0))
    }

    pub(super) fn signed(&self, name: &str, signed: &v1::Signed) -> Result<(), FileError> {
        self.write(name, &signed.encode_to_vec())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let path = self.0.join(name);
        create(&path, bytes).map_err(|error| FileError::Io(path, error))
    }
}

/// Makes a file for its owner alone, and waits until it is on disk; an error when it is there.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Puts a file that is no key in the place of the one before.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let beside = path.with_extension("new");
    let replaced = || -> io::Result<()> {
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => create(&beside, bytes)?,
        }
        std::fs::rename(&beside, path)
    };
    replaced().map_err(|error| FileError::Io(path.to_owned(), error))
}

/// Reads a text; `None` where there is no such file.
pub(super) fn text_if_any(path: &Path) -> Result<Option<String>, FileError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::Io(path.to_owned(), error)),
    }
}

/// Reads a signed statement from a file that lies in no folder of keys.
pub(super) fn signed(path: &Path) -> Result<v1::Signed, FileError> {
    let contents = || FileError::Contents(path.to_owned());
    let (place, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
    let folder = Folder(place.ok_or_else(contents)?.to_owned());
    folder.signed(name.ok_or_else(contents)?)
}

/// A folder that keys are read from.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder that `init` called `name`, which holds `file`.
    pub(super) fn of(path: &Path, name: &'static str, file: &'static str) -> Result<Self, FileError> {
        if path.join(file).exists() {
            return Ok(Self(path.to_owned()));
        }
        let inner = path.join(name);
        let hint = match inner.join(file).exists() {
            true => format!("; it is in {}, so give that", inner.display()),
            false => String::new(),
        };
        Err(FileError::Other {
            place: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            name,
            file,
            hint,
        })
    }

    pub(super) fn text(&self, name: &str) -> Result<String, FileError> {
        let text = String::from_utf8(self.bytes(name)?).map_err(|_| self.contents(name))?;
        Ok(text.trim().to_owned())
    }

    pub(super) fn network(&self) -> Result<NetworkName, FileError> {
        self.text("network")?
            .parse()
            .map_err(|_| self.contents("network"))
    }

    pub(super) fn seed(&self, name: &str) -> Result<[u8; 32], FileError> {
        let bytes = HEXLOWER.decode(self.text(name)?.as_bytes());
        bytes
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| self.contents(name))
    }

    pub(super) fn public_key(&self, name: &str) -> Result<PublicKey, FileError> {
        self.seed(name).map(PublicKey)
    }

    pub(super) fn signed(&self, name: &str) -> Result<v1::Signed, FileError> {
        v1::Signed::decode(self.bytes(name)?.as_slice()).map_err(|_| self.contents(name))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, FileError> {
        let path = self.0.join(name);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        match read {
            Err(error) => Err(FileError::Io(path, error)),
            Ok(length) if length as u64 > FILE_BYTES_MAX => Err(FileError::Contents(path)),
            Ok(_) => Ok(bytes),
        }
    }

    fn contents(&self, name: &str) -> FileError {
        FileError::Contents(self.0.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_that_is_no_key_is_replaced_for_its_owner_alone_and_an_unreadable_one_is_said() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("store");
        assert_eq!(text_if_any(&path).unwrap(), None);
        for url in ["postgres://a", "postgres://b"] {
            // What an interrupted writing left behind is in nobody's way.
            std::fs::write(path.with_extension("new"), "half").unwrap();
            replace(&path, url.as_bytes()).unwrap();
            assert_eq!(text_if_any(&path).unwrap().as_deref(), Some(url));
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, FILE_MODE);
        }
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(text_if_any(&path), Err(FileError::Io(..))));
    }
}
