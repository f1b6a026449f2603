//! `kith-fuzz list`, `unpack NAME FOLDER`, `pack NAME FOLDER [BYTES]`: carries kept inputs between `corpus/` and libFuzzer.
//! Only `tests/fuzz/run` and whoever keeps a found input call it.

use kith_fuzz::{TARGETS, corpus, target};
use std::io::{self, Write as _};
use std::path::Path;

const USAGE: &str = "kith-fuzz list | unpack NAME FOLDER | pack NAME FOLDER [BYTES]";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = io::stdout().lock();
    let named = |name: &str| target(name).ok_or_else(|| io::Error::other(format!("no target {name}")));
    match words.as_slice() {
        ["list"] => TARGETS
            .iter()
            .try_for_each(|target| writeln!(out, "{}", target.name)),
        ["unpack", name, folder] => {
            let count = corpus::unpack(named(name)?, Path::new(folder))?;
            writeln!(out, "{count} inputs")
        }
        ["pack", name, folder, rest @ ..] => {
            let bytes_max = rest
                .first()
                .map_or(Ok(4096), |text| text.parse())
                .map_err(io::Error::other)?;
            let count = corpus::pack(named(name)?.name, Path::new(folder), bytes_max)?;
            writeln!(out, "{count} inputs")
        }
        _ => Err(io::Error::other(USAGE)),
    }
}
