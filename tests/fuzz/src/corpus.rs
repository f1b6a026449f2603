//! Kept inputs: `corpus/NAME.txt`, one input a line in hexadecimal, so that a change of them can be read.
//! The replay reads them; `kith-fuzz unpack` and `pack` carry them to and from the folders that libFuzzer works on.
//! Never drop a line of an input that once found a fault.

use data_encoding::HEXLOWER;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(format!("{name}.txt"))
}

/// The kept inputs of a target; none when it has no file.
///
/// # Errors
/// A file that cannot be read, or a line that is not hexadecimal.
pub fn read(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let path = path(name);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path)?;
    let decode = |line: &str| HEXLOWER.decode(line.as_bytes()).map_err(io::Error::other);
    text.lines().map(decode).collect()
}

/// Writes seeds and kept inputs of a target as one file each.
///
/// # Errors
/// A folder that cannot be written.
pub fn unpack(target: crate::Target, folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let inputs: BTreeSet<Vec<u8>> = (target.seeds)().into_iter().chain(read(target.name)?).collect();
    for (place, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("kept-{place:04}")), input)?;
    }
    Ok(inputs.len())
}

/// Takes every file of a folder into the kept inputs of a target that is not longer than `bytes_max`.
///
/// # Errors
/// A folder that cannot be read, or a corpus that cannot be written.
pub fn pack(name: &str, folder: &Path, bytes_max: usize) -> io::Result<usize> {
    let mut inputs: BTreeSet<Vec<u8>> = read(name)?.into_iter().collect();
    for entry in fs::read_dir(folder)? {
        let input = fs::read(entry?.path())?;
        if input.len() <= bytes_max {
            inputs.insert(input);
        }
    }
    let lines: Vec<String> = inputs.iter().map(|input| HEXLOWER.encode(input) + "\n").collect();
    fs::create_dir_all(path(name).parent().unwrap_or(Path::new(".")))?;
    fs::write(path(name), lines.concat())?;
    Ok(inputs.len())
}
