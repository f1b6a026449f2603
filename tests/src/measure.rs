//! CPU time and peak memory of a process, as Linux tells them, and what many times come to. Used by the benchmarks.

use anyhow::Context as _;
use std::time::Duration;

/// Ticks of `/proc/PID/stat` per second; the kernel's fixed user-space value.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time that a process has used so far, in microseconds (resolution 10 ms).
pub fn cpu_us(pid: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after_name) = stat.rsplit_once(')').context("an unknown format of stat")?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || -> anyhow::Result<u64> { Ok(fields.next().context("a short line")?.parse()?) };
    Ok((ticks()? + ticks()?) * (1_000_000 / TICKS_PER_SECOND))
}

/// The most memory that a process has held, in MiB.
pub fn rss_peak_mib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no peak")?
        .parse()?;
    Ok(kib / 1024)
}

/// The percentile of sorted times, in milliseconds.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len().saturating_sub(1)) * percent / 100;
    round(sorted.get(at).copied().unwrap_or_default().as_secs_f64() * 1000.0)
}

/// To two digits.
pub fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let pid = std::process::id();
        assert!(rss_peak_mib(pid).unwrap() > 0);
        let before = cpu_us(pid).unwrap();
        let mut sum = 0_u64;
        while cpu_us(pid).unwrap() == before {
            sum = (0..1_000_000_u64).fold(sum, u64::wrapping_add);
        }
        assert!(cpu_us(pid).unwrap() > before);
    }
}
