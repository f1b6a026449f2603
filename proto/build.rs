//! Compiles `kith/v1/*.proto` without protoc, and writes the descriptor set that reflection and tests read.
use prost::Message as _;
use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<PathBuf> = fs::read_dir("kith/v1")?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "proto"));
    files.sort();
    println!("cargo:rerun-if-changed=kith/v1");
    let set = protox::compile(&files, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("kith.v1.binpb"), set.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".kith.v1.Envelope")
        .compile_fds(set)?;
    Ok(())
}
