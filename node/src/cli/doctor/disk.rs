//! Whether a folder's disk is encrypted, as far as Linux shows it: a device-mapper volume whose id begins with `CRYPT`, at any depth.
//! Called by `doctor`. Never more than a hint: a disk that encrypts itself shows nothing here.

use std::path::{Path, PathBuf};

/// How deep volumes lie on each other: a file system on LVM on LUKS on RAID is four.
const DEPTH_MAX: usize = 8;

/// What is known of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Encrypted,
    Plain,
    Unknown,
}

/// Looks at the disk under a folder.
pub(super) fn under(folder: &Path) -> Disk {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let Some(device) = folder
        .canonicalize()
        .ok()
        .and_then(|folder| device_of(&mounts, &folder))
    else {
        return Disk::Unknown;
    };
    match device.canonicalize() {
        Ok(device) if device.starts_with("/dev") => of_device(Path::new("/sys/class/block"), &device),
        _ => Disk::Unknown,
    }
}

/// The device that is mounted closest above a folder; of two at one place the later covers the earlier.
fn device_of(mounts: &str, folder: &Path) -> Option<PathBuf> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').map(unescaped);
        Some((PathBuf::from(words.next()?), PathBuf::from(words.next()?)))
    });
    mounted
        .filter(|(_, at)| folder.starts_with(at))
        .max_by_key(|(_, at)| at.components().count())
        .map(|(device, _)| device)
}

/// A word of the table, in which spaces, tabs, newlines and backslashes are written in octal.
fn unescaped(word: &str) -> String {
    let signs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    signs
        .iter()
        .fold(word.to_owned(), |word, (from, to)| word.replace(from, to))
}

/// Asks a device and whatever it lies on.
fn of_device(blocks: &Path, device: &Path) -> Disk {
    let Some(name) = device.file_name() else {
        return Disk::Unknown;
    };
    let mut looked_at = vec![blocks.join(name)];
    for _ in 0..DEPTH_MAX {
        if looked_at.iter().any(|block| !block.exists()) || looked_at.is_empty() {
            return Disk::Unknown;
        }
        let is_crypt = |block: &PathBuf| {
            let uuid = std::fs::read_to_string(block.join("dm/uuid")).unwrap_or_default();
            uuid.starts_with("CRYPT")
        };
        if looked_at.iter().all(is_crypt) {
            return Disk::Encrypted;
        }
        let below = looked_at.iter().filter(|block| !is_crypt(block)).map(|block| {
            let entries = std::fs::read_dir(block.join("slaves")).ok();
            let entries = entries.into_iter().flatten().flatten();
            entries.map(|entry| blocks.join(entry.file_name())).collect()
        });
        let below: Vec<Vec<PathBuf>> = below.collect();
        if below.iter().any(Vec::is_empty) {
            return Disk::Plain;
        }
        looked_at = below.into_iter().flatten().collect();
    }
    Disk::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_mount_counts() {
        let mounts = "/dev/sda1 / ext4 rw 0 0\n/dev/mapper/home /home ext4 rw 0 0\n/dev/sdb1 /media/the\\040stick vfat rw 0 0\n";
        let device = |folder: &str| device_of(mounts, Path::new(folder)).unwrap();
        assert_eq!(device("/var/lib/kith"), Path::new("/dev/sda1"));
        assert_eq!(device("/home/amina/kith"), Path::new("/dev/mapper/home"));
        assert_eq!(device("/homeland"), Path::new("/dev/sda1"));
        assert_eq!(device("/media/the stick/kith"), Path::new("/dev/sdb1"));
        assert_eq!(device_of("", Path::new("/home")), None);
    }

    #[test]
    fn a_volume_on_an_encrypted_one_is_encrypted() {
        let root = tempfile::tempdir().unwrap();
        let blocks = root.path();
        let volume = |name: &str, uuid: &str, on: &[&str]| {
            std::fs::create_dir_all(blocks.join(name).join("dm")).unwrap();
            std::fs::write(blocks.join(name).join("dm/uuid"), uuid).unwrap();
            for below in on {
                std::fs::create_dir_all(blocks.join(name).join("slaves").join(below)).unwrap();
            }
        };
        std::fs::create_dir_all(blocks.join("sda1")).unwrap();
        volume("dm-0", "CRYPT-LUKS2-x", &["sda1"]);
        volume("dm-1", "LVM-x", &["dm-0"]);
        volume("dm-2", "LVM-y", &["dm-0", "sda1"]);
        let of = |name: &str| of_device(blocks, &Path::new("/dev").join(name));
        assert_eq!(of("dm-0"), Disk::Encrypted);
        assert_eq!(of("dm-1"), Disk::Encrypted);
        assert_eq!(of("dm-2"), Disk::Plain, "a part of it lies bare");
        assert_eq!(of("sda1"), Disk::Plain);
        assert_eq!(of("nowhere"), Disk::Unknown);
    }
}
