//! How fast a long trail is read, through the calls that an auditor makes, with the network up.
//! `cargo run --release -p kith-tests --bin trails [-- --events 1000000]`. The trail is one of real referrals between two nodes.

use anyhow::Context as _;
use clap::Parser;
use kith_demo::cast::{GP, PEERS};
use kith_demo::client::Client;
use kith_demo::network::Network;
use kith_proto::v1::trail_filter::About;
use kith_proto::v1::{self, TrailFilter};
use kith_proto::words::{Category, Purpose};
use kith_tests::load::{self, Ready};
use kith_tests::measure::{percentile, round};
use kith_tests::sending;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// A long trail, and the time of each question to it.
#[derive(Parser)]
struct Trails {
    /// Events in the trail of the asked node.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Threads that are opened: an event each, which the gap check looks at.
    #[arg(long, default_value_t = 16_384)]
    openings: usize,
    /// How often each question is asked.
    #[arg(long, default_value_t = 50)]
    times: usize,
}

/// Referrals sent in one go.
const AT_ONCE: usize = 10_000;
const IN_FLIGHT: usize = 256;
/// Lines of a page: what the command line asks for when it is not told.
const PAGE: u32 = 50;
/// Whole checks are asked for so often.
const CHECKS: usize = 5;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = kith_demo::play_role(&args).await {
        return code;
    }
    match run(Trails::parse_from(args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "trails: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(trails: Trails) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let network = Network::start(std::env::current_exe()?, folder.path(), &[GP, PEERS]).await?;
    let (a, b) = (network.client(GP).await?, network.client(PEERS).await?);
    let mut auditor = network.client_as(GP, "auditor").await?;
    let mut known = Known::default();
    while size(&mut auditor).await? < trails.events {
        let ready = load::prepare(&a, PEERS.id, AT_ONCE).await?;
        sending::send_all(&a, &b, &ready, IN_FLIGHT).await?;
        known.ready.extend(ready.into_iter().step_by(AT_ONCE / 10));
        writeln!(std::io::stderr(), "{} events", size(&mut auditor).await?)?;
    }
    known.threads = open(&a, trails.openings).await?;
    writeln!(
        std::io::stdout(),
        "A trail of {} events:",
        size(&mut auditor).await?
    )?;
    for (name, filter) in known.questions()? {
        let pages = pages(&mut auditor, &filter, trails.times).await?;
        say(name, pages)?;
    }
    checks(&mut auditor).await?;
    let data = network
        .node(GP)
        .context("no such node")?
        .data_dir
        .display()
        .to_string();
    let began = Instant::now();
    network.command("node", &["audit", "verify", "--data", &data])?;
    say("the whole database against its log", vec![began.elapsed()])?;
    network.stop().await
}

async fn size(auditor: &mut Client) -> anyhow::Result<u64> {
    let status = auditor.audit.get_log_status(v1::GetLogStatusRequest {}).await?;
    Ok(status.into_inner().size)
}

/// Opens so many threads, and gives them.
async fn open(client: &Client, count: usize) -> anyhow::Result<Vec<v1::ReferralLine>> {
    let mut client = client.clone();
    let mut opened = Vec::with_capacity(count);
    let mut page_token = String::new();
    while opened.len() < count {
        let request = v1::ListReferralsRequest {
            side: v1::Side::Sent.into(),
            page_size: 200,
            page_token,
            ..Default::default()
        };
        let page = client.referrals.list_referrals(request).await?.into_inner();
        for line in page.referrals.into_iter().take(count - opened.len()) {
            let request = v1::GetReferralRequest {
                thread_id: line.thread_id.clone(),
                ..Default::default()
            };
            client.referrals.get_referral(request).await?;
            opened.push(line);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(opened)
}

/// Whom and what questions are about.
#[derive(Default)]
struct Known {
    ready: Vec<Ready>,
    threads: Vec<v1::ReferralLine>,
}

impl Known {
    fn questions(&self) -> anyhow::Result<Vec<(&'static str, TrailFilter)>> {
        let person = self.ready.first().context("nobody was referred")?;
        let thread = self.threads.last().context("nothing was opened")?;
        let about = |about| TrailFilter {
            about: Some(about),
            ..TrailFilter::default()
        };
        let code = |code: &str| TrailFilter {
            code: code.to_owned(),
            ..TrailFilter::default()
        };
        let purpose = |purpose: Purpose| TrailFilter {
            purpose: purpose.number(),
            ..TrailFilter::default()
        };
        let filters = [
            ("everything", TrailFilter::default()),
            (
                "a referral, by its code",
                about(About::Referral(thread.code.clone())),
            ),
            ("a grant", about(About::GrantId(person.grant_id.clone()))),
            ("a person", about(About::PersonId(person.person_id.clone()))),
            (
                "an organisation",
                TrailFilter {
                    organisation: PEERS.id.to_owned(),
                    ..TrailFilter::default()
                },
            ),
            ("a purpose that all have", purpose(Purpose::PeerSupport)),
            ("a purpose that none has", purpose(Purpose::Settlement)),
            (
                "a part",
                TrailFilter {
                    category: Category::Need.number(),
                    ..TrailFilter::default()
                },
            ),
            (
                "a role",
                TrailFilter {
                    role: "coordinator".to_owned(),
                    ..TrailFilter::default()
                },
            ),
            ("openings", code("opened")),
            ("a code that is rare", code("token_made")),
            (
                "the first minute",
                TrailFilter {
                    until_ms: thread.created_at_ms,
                    ..TrailFilter::default()
                },
            ),
        ];
        Ok(filters.into_iter().collect())
    }
}

/// Reads one page after another, from the newest, until so many were read; begins again at the end.
async fn pages(auditor: &mut Client, filter: &TrailFilter, times: usize) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(times);
    let mut page_token = String::new();
    for _ in 0..times {
        let request = v1::ListTrailRequest {
            filter: Some(filter.clone()),
            page_size: PAGE,
            page_token,
        };
        let began = Instant::now();
        let page = auditor.audit.list_trail(request).await?.into_inner();
        took.push(began.elapsed());
        page_token = page.next_page_token;
    }
    Ok(took)
}

async fn checks(auditor: &mut Client) -> anyhow::Result<()> {
    let (mut gaps, mut counts) = (Vec::new(), Vec::new());
    for _ in 0..CHECKS {
        let began = Instant::now();
        let found = auditor
            .audit
            .check_gaps(v1::CheckGapsRequest {})
            .await?
            .into_inner();
        gaps.push(began.elapsed());
        for gap in found.gaps {
            anyhow::ensure!(gap.count == 0, "a gap of a whole trail: {}", gap.sentence);
        }
        let began = Instant::now();
        let opened = TrailFilter {
            code: "opened".to_owned(),
            ..TrailFilter::default()
        };
        let filter = Some(opened);
        auditor
            .audit
            .count_trail(v1::CountTrailRequest { filter })
            .await?;
        counts.push(began.elapsed());
    }
    say("the gap check", gaps)?;
    say("a count of openings", counts)
}

fn say(name: &str, mut took: Vec<Duration>) -> anyhow::Result<()> {
    took.sort_unstable();
    let most = round(took.last().copied().unwrap_or_default().as_secs_f64() * 1000.0);
    writeln!(
        std::io::stdout(),
        "{name}: p50 {} ms, p99 {} ms, most {most} ms ({} times)",
        percentile(&took, 50),
        percentile(&took, 99),
        took.len()
    )?;
    Ok(())
}
