//! libFuzzer's entry: runs the target that `KITH_FUZZ` names. Built and started by `tests/fuzz/run` only.
#![no_main]

use kith_fuzz::{Target, target};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("KITH_FUZZ").unwrap_or_default();
    target(&name).expect("KITH_FUZZ names a target")
});

fuzz_target!(|data: &[u8]| (TARGET.check)(data));
