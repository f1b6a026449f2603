//! Deadlines over a real tonic server and channel, with sockets in memory and time held still.

use super::*;
use crate::status::{failure_of, problem_of};
use crate::tls::dial::plain_channel;
use crate::tls::fixture::{Desk, NOW_MS, memory};
use crate::tls::incoming::Incoming;
use kith_proto::v1::StopSlipRequest;
use kith_proto::v1::stop_service_client::StopServiceClient;
use tokio::time::Instant;
use tonic::{Request, Status};

const STOP: &str = "/kith.v1.StopService/StopSlip";

/// Calls a desk that takes `takes`, with the caller's deadline if any; how it ended and after how long.
async fn ask(
    takes: Duration,
    callers: Option<Duration>,
    deadlines: Deadlines,
) -> (Result<i64, Status>, Duration) {
    let (dial, sockets) = memory();
    Desk::taking(takes).serve(Incoming::plain(sockets), deadlines);
    let mut client = StopServiceClient::new(plain_channel(&dial, "desk").await.unwrap());
    let mut request = Request::new(StopSlipRequest::default());
    if let Some(callers) = callers {
        request.set_timeout(callers);
    }
    let start = Instant::now();
    let answer = client.stop_slip(request).await;
    (answer.map(|a| a.into_inner().stopped_at_ms), start.elapsed())
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_is_untouched() {
    let (answer, after) = ask(seconds(29), None, Deadlines::new(&[])).await;
    assert_eq!(answer.unwrap(), NOW_MS);
    assert!(after >= seconds(29));
    let (answer, _) = ask(seconds(2), Some(seconds(3)), Deadlines::new(&[])).await;
    assert_eq!(answer.unwrap(), NOW_MS);
}

#[tokio::test(start_paused = true)]
async fn the_servers_deadline_is_answered_as_such() {
    let (answer, after) = ask(seconds(600), None, Deadlines::new(&[])).await;
    assert_eq!(problem_of(&answer.unwrap_err()), Some(Problem::DeadlineExceeded));
    assert!(after >= UNARY_MAX && after < UNARY_MAX + seconds(1), "{after:?}");
    let (answer, after) = ask(seconds(600), Some(seconds(300)), Deadlines::new(&[])).await;
    assert_eq!(problem_of(&answer.unwrap_err()), Some(Problem::DeadlineExceeded));
    assert!(after < UNARY_MAX + seconds(1), "{after:?}");
}

/// tonic starts timers of its own for the caller's deadline, on both sides, and both say `CANCELLED`; ours is first.
#[tokio::test(start_paused = true)]
async fn the_callers_shorter_deadline_is_answered_by_us_and_not_by_tonic() {
    for _ in 0..20 {
        let deadlines = Deadlines::new(&[]).with_unary_max(seconds(20));
        let (answer, after) = ask(seconds(600), Some(seconds(2)), deadlines).await;
        assert_eq!(problem_of(&answer.unwrap_err()), Some(Problem::DeadlineExceeded));
        assert!(after <= seconds(2), "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_named_stream_may_take_as_long_as_it_likes() {
    let (answer, after) = ask(seconds(3600), None, Deadlines::new(&[STOP])).await;
    assert_eq!(answer.unwrap(), NOW_MS);
    assert!(after >= seconds(3600));
}

#[tokio::test(start_paused = true)]
async fn where_tonic_answers_the_caller_still_reads_the_same_problem() {
    let (answer, _) = ask(seconds(600), Some(seconds(2)), Deadlines::new(&[STOP])).await;
    let failure = failure_of(&answer.unwrap_err());
    assert_eq!(failure.problem, Problem::DeadlineExceeded);
}

#[test]
fn the_timeout_header_is_read_as_grpc_writes_it() {
    let table = [
        ("1H", Some(3_600_000)),
        ("3M", Some(180_000)),
        ("42S", Some(42_000)),
        ("13m", Some(13)),
        ("2000u", Some(2)),
        ("82000000n", Some(82)),
        ("99999999S", Some(99_999_999_000)),
        ("0S", Some(0)),
        ("100000000S", None),
        ("S", None),
        ("1", None),
        ("+1S", None),
        ("-1S", None),
        ("1s", None),
        ("1 S", None),
        ("1é", None),
        ("", None),
    ];
    for (text, ms) in table {
        assert_eq!(grpc_timeout(text), ms.map(Duration::from_millis), "{text}");
    }
}
