//! Access reports as they come over the link: once however often they are delivered, and whole or not at all.

use kith_proto::envelope::seal_envelope;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::EnvelopeKind;

use crate::gateway::{DAY_MS, T0};
use crate::peer::random;
use crate::threads::Sent;

const KEPT: &str = "SELECT COUNT(*) FROM opening_reported";
const TOLD: &str = "SELECT COUNT(*) FROM audit_event WHERE code = 'access_reported'";

fn opening() -> v1::Opening {
    v1::Opening {
        role: "coordinator".into(),
        reason: "care".into(),
        hour: 14,
    }
}

/// A report of the day on which the slip was issued.
fn report() -> v1::AccessReport {
    v1::AccessReport {
        day: kith_proto::calendar::day(T0),
        openings: vec![opening(), opening()],
    }
}

impl Sent {
    /// A report of the recipient.
    fn report(&self, report: v1::AccessReport) -> v1::Envelope {
        self.report_of(&self.slip, *self.thread_id.as_bytes(), report)
    }

    fn report_of(
        &self,
        slip: &v1::SignedSlip,
        thread_id: [u8; 16],
        report: v1::AccessReport,
    ) -> v1::Envelope {
        let head = self.peer.head(EnvelopeKind::AccessReport, slip, thread_id);
        let body = v1::Body {
            body: Some(Body::AccessReport(report)),
            ..v1::Body::default()
        };
        let to = self.story.host.sealing_key();
        seal_envelope(head, &body, &to, &self.peer.signing, &random())
            .unwrap()
            .into_envelope()
    }
}

#[tokio::test]
async fn a_report_that_comes_again_has_one_effect() {
    let mut sent = Sent::begin().await;
    let envelope = sent.report(report());
    let item = sent.peer.next(std::slice::from_ref(&envelope));
    sent.stream.deliver(vec![item.clone()]).await;
    assert_eq!(sent.stream.receipts().await.problems, [0]);
    sent.stream.deliver(vec![item.clone(), item.clone()]).await;
    assert_eq!(sent.stream.receipts().await.problems, [0, 0]);
    sent.stream.break_off().await;
    sent.stream = sent.story.gateway.greeted(vec![sent.taken.clone()]).await;
    sent.stream.deliver(vec![item]).await;
    assert_eq!(sent.stream.receipts().await.problems, [0]);
    let host = &sent.story.host;
    assert_eq!((host.number(KEPT).await, host.number(TOLD).await), (2, 1));
    assert_eq!(
        sent.deliver(&[sent.report(report())]).await,
        [0],
        "more of the same day"
    );
    let host = &sent.story.host;
    assert_eq!((host.number(KEPT).await, host.number(TOLD).await), (4, 2));
}

/// What is wrong, and the report that has it.
fn malformed() -> Vec<(&'static str, v1::AccessReport)> {
    let day = |day: String| v1::AccessReport { day, ..report() };
    let with = |change: &dyn Fn(&mut v1::Opening)| {
        let mut opening = opening();
        change(&mut opening);
        v1::AccessReport {
            openings: vec![self::opening(), opening],
            ..report()
        }
    };
    let openings = |count| v1::AccessReport {
        openings: vec![opening(); count],
        ..report()
    };
    vec![
        ("no day", day(String::new())),
        ("another spelling", day("2027-1-15".into())),
        ("no such day", day("2027-02-29".into())),
        ("before the slip", day(kith_proto::calendar::day(T0 - DAY_MS))),
        ("far away", day(kith_proto::calendar::day(T0 + 2 * DAY_MS))),
        ("no opening", openings(0)),
        ("too many", openings(501)),
        ("no role", with(&|one| one.role.clear())),
        ("a role of no list", with(&|one| one.role = "receptionist".into())),
        ("a name for a role", with(&|one| one.role = "Amal Haddad".into())),
        ("no reason", with(&|one| one.reason.clear())),
        (
            "words for a reason",
            with(&|one| one.reason = "she asked me".into()),
        ),
        ("the 25th hour", with(&|one| one.hour = 24)),
        ("an hour that is no byte", with(&|one| one.hour = 256 + 7)),
    ]
}

#[tokio::test]
async fn a_malformed_report_is_refused_whole() {
    let mut sent = Sent::begin().await;
    for (what, report) in malformed() {
        let problems = sent.deliver(&[sent.report(report)]).await;
        assert_eq!(problems, [Problem::Invalid.number()], "{what}");
    }
    let host = &sent.story.host;
    assert_eq!((host.number(KEPT).await, host.number(TOLD).await), (0, 0));
    let most = v1::AccessReport {
        openings: vec![opening(); 500],
        ..report()
    };
    let tomorrow = v1::AccessReport {
        day: kith_proto::calendar::day(T0 + DAY_MS),
        ..report()
    };
    let well = [sent.report(most), sent.report(tomorrow)];
    assert_eq!(sent.deliver(&well).await, [0, 0]);
    assert_eq!(sent.story.host.number(KEPT).await, 502);
}

#[tokio::test]
async fn a_day_has_room_for_so_many_openings_and_the_next_for_its_own() {
    let mut sent = Sent::begin().await;
    let most = |day_ms| v1::AccessReport {
        day: kith_proto::calendar::day(day_ms),
        openings: vec![opening(); 500],
    };
    let full: Vec<v1::Envelope> = (0..20).map(|_| sent.report(most(T0))).collect();
    assert_eq!(sent.deliver(&full).await, [0; 20]);
    let more = [sent.report(report()), sent.report(most(T0 + DAY_MS))];
    assert_eq!(sent.deliver(&more).await, [Problem::TooLarge.number(), 0]);
    assert_eq!(sent.story.host.number(KEPT).await, 10_500);
}

#[tokio::test]
async fn a_report_on_anybody_elses_slip_or_thread_is_refused() {
    let mut sent = Sent::begin().await;
    // A slip that the reporting member captured itself, and a referral of its own under it.
    let own = sent.peer.slip();
    let referral = sent.peer.referral(&own);
    let thread = kith_proto::envelope::Head::parse(&referral.head)
        .unwrap()
        .thread_id;
    assert_eq!(sent.deliver(&[referral]).await, [0]);
    let of_own = sent.report_of(&own.signed, *thread.as_bytes(), report());
    assert_eq!(sent.deliver(&[of_own]).await, [Problem::Invalid.number()]);
    let unknown = sent.report_of(&sent.slip, random(), report());
    assert_eq!(sent.deliver(&[unknown]).await, [Problem::NotFound.number()]);
    let crossed = sent.report_of(&sent.slip, *thread.as_bytes(), report());
    assert_eq!(sent.deliver(&[crossed]).await, [Problem::NotFound.number()]);
    assert_eq!(sent.story.host.number(KEPT).await, 0);
}
