//! Pages of a large trail: full where the trail has enough, empty where nothing fits, and how long each takes. With figures for a trail as
//! large as the network may have: `KITH_TRAIL_EVENTS=1000000 cargo test --release -p kith-node --lib -- --nocapture large`.

use kith_proto::trail::Event;
use kith_proto::words::Purpose;
use kith_service::log::{append, index};
use kith_service::store::{StoreError, Tx};
use std::time::Duration;

use super::fixture::{CIRCLE, NOW_MS, Place, Story, caller, org};
use crate::audit::Code;
use crate::threads::DAY_MS;
use crate::tokens::Role;
use crate::trail::{self, About, Asked, Filter};

/// Events, unless `KITH_TRAIL_EVENTS` says how many: some more than the index may be behind, and than a walk reads at once.
const EVENTS: i64 = 20_000;
const STEP: i64 = 10_000;
/// Between two events; two years of a million.
const APART_MS: i64 = 63_000;

/// How many events there are to be.
fn events() -> i64 {
    let said = std::env::var("KITH_TRAIL_EVENTS").ok();
    said.map_or(EVENTS, |count| count.parse().unwrap())
}

/// Ten events a thread, as a referral leaves them, over two years.
fn event(number: i64) -> Event {
    let mut thread = [7; 16];
    thread[..8].copy_from_slice(&(number / 10).to_be_bytes());
    let codes = [
        Code::EnvelopeSent,
        Code::EnvelopeTaken,
        Code::EnvelopeDelivered,
        Code::ReferralMoved,
        Code::Opened,
    ];
    let code = codes[usize::try_from(number % 5).unwrap()];
    let event = Event::new(code, NOW_MS + number * APART_MS).id("thread", &thread);
    match code {
        Code::EnvelopeSent => event
            .id("envelope", &thread)
            .org("to", &org(CIRCLE))
            .word("purpose", Purpose::PeerSupport.as_str())
            .word("category", "need"),
        Code::Opened => event
            .id("token", &[1; 16])
            .word("role", "coordinator")
            .word("consent", "live"),
        _ => event.id("envelope", &thread).hash("envelope_hash", &[3; 32]),
    }
}

async fn fill(story: &Story) {
    let log = &story.node.log;
    let mut first = story.number("SELECT audit AS n FROM counter").await + 1;
    while first <= events() {
        let events: Vec<Event> = (first..first + STEP).map(event).collect();
        let rows: Vec<_> = events
            .iter()
            .zip(first..)
            .map(|(event, at)| {
                let mut salt = [0; 16];
                salt[..8].copy_from_slice(&at.to_be_bytes());
                (event, salt)
            })
            .collect();
        let rows = &rows;
        let write = |mut tx: Tx| async move { append::insert(&mut tx, first, rows).await };
        log.store.tx::<_, StoreError, _, _>("fill", write).await.unwrap();
        first += STEP;
    }
    story
        .change("UPDATE counter SET audit = (SELECT MAX(seq) FROM audit_event)")
        .await;
    log.catch_up(&story.node.keys.signing).await.unwrap();
    index::follow(log, true).await.unwrap();
}

#[expect(clippy::print_stderr, reason = "figures are for whoever measures")]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_large_trail() {
    let story = Story::begin(Place::sqlite()).await;
    fill(&story).await;
    let clock = kith_service::clock::Clock::system();
    let mut thread = [7; 16];
    thread[..8].copy_from_slice(&(events() / 20).to_be_bytes());
    // In the middle of the trail.
    let noon_ms = NOW_MS + events() / 2 * APART_MS;
    let with = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    let filters = [
        ("everything", 50, Filter::default()),
        (
            "a referral",
            10,
            with(&|f| f.about = Some(About::Thread(kith_proto::id::ThreadId::from_bytes(thread)))),
        ),
        (
            "an organisation and a code",
            50,
            with(&|f| (f.organisation, f.code) = (Some(org(CIRCLE)), Some(Code::EnvelopeSent))),
        ),
        ("a role", 50, with(&|f| f.role = Some(Role::Coordinator))),
        (
            "a day long ago",
            50,
            with(&|f| (f.from_ms, f.until_ms) = (noon_ms, noon_ms + DAY_MS)),
        ),
        (
            "a purpose that nothing has",
            0,
            with(&|f| f.purpose = Some(Purpose::Education)),
        ),
        (
            "a code that nothing has",
            0,
            with(&|f| f.code = Some(Code::SlipStopped)),
        ),
    ];
    for (name, expected, filter) in filters {
        let mut best = Duration::MAX;
        let mut lines = 0;
        for _ in 0..10 {
            let asked = Asked {
                caller: caller(4, &[Role::Auditor]),
                filter: filter.clone(),
                page_size: 50,
                before: None,
            };
            let from_ms = clock.now_ms();
            let page = trail::list(&story.node, &asked).await.unwrap();
            best = best.min(Duration::from_millis((clock.now_ms() - from_ms).unsigned_abs()));
            lines = page.lines.len();
        }
        assert_eq!(lines, expected, "{name}");
        eprintln!("{name}: {lines} lines in {best:?}");
    }
    let from_ms = clock.now_ms();
    let gaps = trail::check(&story.node, &caller(4, &[Role::Auditor])).await;
    assert_eq!(gaps.unwrap().len(), 3);
    eprintln!("gaps: {} ms", clock.now_ms() - from_ms);
    let month = with(&|f| (f.from_ms, f.until_ms) = (noon_ms, noon_ms + 30 * DAY_MS));
    let from_ms = clock.now_ms();
    let counts = trail::count(&story.node, &caller(4, &[Role::Auditor]), &month).await;
    assert!(!counts.unwrap().is_empty());
    eprintln!("a month counted: {} ms", clock.now_ms() - from_ms);
}
