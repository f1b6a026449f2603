//! How many consented referrals a second go from one node's API to the other node's inbox, with everything on.
//! `cargo run --release -p kith-tests --bin bench [-- --count 2000 --json]`. Persons and grants are made beforehand.

use anyhow::{Context as _, bail};
use clap::Parser;
use kith_demo::cast::{GP, PEERS};
use kith_demo::client::Client;
use kith_demo::network::Network;
use kith_service::log::OFF_FILE;
use kith_service::log::sequencer::LOOK_EVERY;
use kith_tests::measure::{self, percentile, round};
use kith_tests::{load, sending};
use serde::Serialize;
use std::io::Write as _;
use std::process::ExitCode;

/// Throughput of two nodes and a gateway.
#[derive(Parser)]
struct Bench {
    /// Referrals at 16 and 256 in flight; a fifth of it at 1.
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// Only with so many in flight: 1, 16 or 256.
    #[arg(long)]
    in_flight: Option<usize>,
    /// Switch the log off before the measured rows; only in a build with the feature `without-log`.
    #[arg(long)]
    without_log: bool,
    /// Print the figures as one line of JSON and nothing else.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures {
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    store: &'static str,
    in_flight: usize,
    referrals_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us_per_referral: Each,
    rss_mib: Each,
}

#[derive(Clone, Copy, Serialize)]
struct Each {
    a: u64,
    gateway: u64,
    b: u64,
}

impl Each {
    fn of(network: &Network, figure: impl Fn(u32) -> anyhow::Result<u64>) -> anyhow::Result<Self> {
        let (gateway, nodes) = network.pids();
        let node = |id: &str| figure(*nodes.get(id).context("a node is not running")?);
        Ok(Self {
            a: node(GP.id)?,
            gateway: figure(gateway.context("the gateway is not running")?)?,
            b: node(PEERS.id)?,
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = kith_demo::play_role(&args).await {
        return code;
    }
    match run(Bench::parse_from(args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "bench: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(bench: Bench) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    // The servers look for its file there.
    std::env::set_current_dir(folder.path())?;
    let network = Network::start(std::env::current_exe()?, folder.path(), &[GP, PEERS]).await?;
    let (a, b) = (network.client(GP).await?, network.client(PEERS).await?);
    let mut rows = Vec::new();
    warm_up(&a, &b).await?;
    if bench.without_log {
        switch_log_off().await?;
    }
    for (in_flight, count) in [(1, bench.count / 5), (16, bench.count), (256, bench.count)] {
        if bench.in_flight.is_some_and(|only| only != in_flight) {
            continue;
        }
        let ready = load::prepare(&a, PEERS.id, count.max(1)).await?;
        let before = Each::of(&network, measure::cpu_us)?;
        let (wall, mut took) = sending::send_all(&a, &b, &ready, in_flight).await?;
        let after = Each::of(&network, measure::cpu_us)?;
        took.sort_unstable();
        let sent = ready.len() as u64;
        let cpu = |of: fn(Each) -> u64| (of(after) - of(before)) / sent;
        let row = Row {
            store: "sqlite",
            in_flight,
            referrals_per_s: round(ready.len() as f64 / wall.as_secs_f64()),
            p50_ms: percentile(&took, 50),
            p99_ms: percentile(&took, 99),
            cpu_us_per_referral: Each {
                a: cpu(|each| each.a),
                gateway: cpu(|each| each.gateway),
                b: cpu(|each| each.b),
            },
            rss_mib: Each::of(&network, measure::rss_peak_mib)?,
        };
        if !bench.json {
            say(&row)?;
        }
        rows.push(row);
    }
    if bench.json {
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&Figures { rows })?)?;
    }
    network.stop().await
}

/// Says it to the servers and waits until each has seen it.
async fn switch_log_off() -> anyhow::Result<()> {
    if !cfg!(feature = "without-log") {
        bail!("this build cannot switch the log off: build it with --features without-log");
    }
    std::fs::write(OFF_FILE, b"")?;
    #[expect(clippy::disallowed_methods, reason = "another process can only be waited for")]
    tokio::time::sleep(LOOK_EVERY * 4).await;
    Ok(())
}

async fn warm_up(a: &Client, b: &Client) -> anyhow::Result<()> {
    let ready = load::prepare(a, PEERS.id, 200).await?;
    sending::send_all(a, b, &ready, 16).await?;
    Ok(())
}

fn say(row: &Row) -> anyhow::Result<()> {
    let (cpu, rss) = (row.cpu_us_per_referral, row.rss_mib);
    writeln!(
        std::io::stdout(),
        "{:>3} in flight: {:>7.0} referrals/s, p50 {:.1} ms, p99 {:.1} ms; CPU per referral A {} gateway {} B {} µs; \
         peak memory A {} gateway {} B {} MiB",
        row.in_flight,
        row.referrals_per_s,
        row.p50_ms,
        row.p99_ms,
        cpu.a,
        cpu.gateway,
        cpu.b,
        rss.a,
        rss.gateway,
        rss.b
    )?;
    Ok(())
}
