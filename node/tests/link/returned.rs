//! Threads that come back after a restore: from the other party, for this node's own restore alone, and led by the lifecycle's table.
//! Never a second effect, never an open state without a clock.

use kith_node::moves::{self, NewMove};
use kith_node::requests::Asked;
use kith_node::store::restore::{self as rows, Restore};
use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_node::{timers, trail};
use kith_proto::envelope;
use kith_proto::id::{RequestId, ThreadId};
use kith_proto::lifecycle::{Move, Reason as Because, State};
use kith_proto::problem::Problem;
use kith_proto::recovery::RestoreReason;
use kith_proto::slip::{SignedSlip, Slip, stop_hash, stop_secret};
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, query};

use crate::gateway::{Attached, DAY_MS, T0};
use crate::host::Story;
use crate::peer::{Peer, random};

const STATES: &str = "SELECT state FROM referral ORDER BY arrival";
const PLACES: &str =
    "SELECT CAST(epoch AS TEXT) || '/' || CAST(number AS TEXT) FROM referral ORDER BY arrival";
const PROBLEMS: &str = "SELECT problem FROM referral ORDER BY arrival";
const EVENTS: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM event";
const RETURNED: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM audit_event WHERE code = 'thread_returned'";
const CLOCKLESS: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM referral WHERE deadline_ms = 0 AND state NOT IN \
    ('completed', 'not_completed', 'declined', 'forwarded', 'cancelled', 'withdrawn', 'expired', 'entered_in_error')";

/// A node that came back under this id, with another member and a stream.
struct Back {
    story: Story,
    stream: Attached,
    peer: Peer,
    restore_id: [u8; 16],
}

impl Back {
    async fn begin() -> Self {
        let mut story = Story::begin().await;
        let peer = story.peer("riverside-gp");
        let stream = story.gateway.greeted(vec![]).await;
        story.known(&peer).await;
        let restore_id = random();
        let back = Self {
            story,
            stream,
            peer,
            restore_id,
        };
        back.came_back(restore_id, T0).await;
        back
    }

    async fn came_back(&self, restore_id: [u8; 16], begun_at_ms: i64) {
        let times = (begun_at_ms, begun_at_ms);
        let row = &Restore::begun(restore_id, RestoreReason::Lost, times);
        let write = |mut tx| async move {
            rows::insert(&mut tx, row).await?;
            rows::threads_begin(&mut tx, 7).await?;
            rows::done(&mut tx, &row.restore_id, begun_at_ms).await
        };
        let node = &self.story.host.node;
        node.store.tx::<_, StoreError, _, _>("test", write).await.unwrap();
    }

    /// A thread as the peer holds it, under a slip, alone in its event.
    fn returned(
        &self,
        signed: &v1::SignedSlip,
        thread_id: ThreadId,
        turn: impl FnOnce(&mut v1::Returned),
    ) -> v1::Envelope {
        let slip = Slip::decode(&signed.slip).unwrap();
        let mut returned = v1::Returned {
            restore_id: self.restore_id.to_vec(),
            purpose: 1,
            yours: slip.from.as_str() == "hope-street",
            created_at_ms: T0,
            answer_by_ms: 0,
            ..v1::Returned::default()
        };
        turn(&mut returned);
        let event = v1::Event {
            event_id: random::<16>().to_vec(),
            returned: Some(returned),
            ..v1::Event::default()
        };
        let body = v1::Body {
            body: Some(Body::Event(event)),
            ..v1::Body::default()
        };
        let head = self.peer.head(EnvelopeKind::Event, signed, *thread_id.as_bytes());
        let to = self.story.host.sealing_key();
        envelope::seal_envelope(head, &body, &to, &self.peer.signing, &random())
            .unwrap()
            .into_envelope()
    }

    async fn deliver(&mut self, envelope: v1::Envelope) -> i32 {
        let item = self.peer.next(&[envelope]);
        self.stream.deliver(vec![item]).await;
        self.stream.receipts().await.problems[0]
    }

    /// Every open thread has a clock, and the database says what its log says.
    async fn stands(&self) {
        let host = &self.story.host;
        assert_eq!(host.number(CLOCKLESS).await, 0, "an open state without a clock");
        host.node.log.catch_up(&host.node.keys.signing).await.unwrap();
        let key = host.node.keys.signing.public();
        let whole = trail::whole(&host.node.store, &host.node.membership, &key, T0).await;
        assert_eq!(whole.unwrap().damages, []);
    }

    /// A referral from the peer, received.
    async fn inbox(&mut self) -> (v1::SignedSlip, ThreadId) {
        let slip = self.peer.slip();
        let referral = self.peer.referral(&slip);
        let thread_id = crate::gateway::head(&referral).thread_id;
        assert_eq!(self.deliver(referral).await, 0);
        self.came_back(random(), T0).await;
        (slip.signed, thread_id)
    }

    /// A slip of this node's own that its backup does not hold.
    fn own_slip(&self) -> v1::SignedSlip {
        let wire = v1::Slip {
            slip_id: random::<16>().to_vec(),
            network: crate::gateway::NETWORK.into(),
            from: "hope-street".into(),
            to: self.peer.org.to_string(),
            purposes: vec![1],
            categories: vec![1, 4],
            issued_at_ms: T0,
            expires_at_ms: T0 + 60 * DAY_MS,
            progress: true,
            person_commitment: vec![6; 32],
            stop_hash: stop_hash(&stop_secret(&random())).to_vec(),
        };
        SignedSlip::issue(&Slip::parse(&wire).unwrap(), &self.story.host.node.keys.signing).unwrap()
    }
}

fn event(mv: Move, number: u64, state: State) -> v1::Event {
    v1::Event {
        event_id: random::<16>().to_vec(),
        number,
        r#move: mv.number(),
        state: state.number(),
        reason: Because::HelpGiven.number(),
        happened_at_ms: T0 + i64::try_from(number).unwrap(),
        ..v1::Event::default()
    }
}

fn accepted() -> Vec<v1::Event> {
    vec![
        event(Move::Acknowledge, 2, State::Acknowledged),
        event(Move::Accept, 3, State::Accepted),
    ]
}

#[tokio::test]
async fn what_the_recipient_said_since_the_backup_comes_back_to_the_sender_once() {
    let mut back = Back::begin().await;
    let consent = back.story.host.consent(&[&back.peer]).await;
    let thread_id = back.story.host.refer(&back.peer, consent).await;
    let sent = back.stream.submission().await.envelopes;
    back.stream.take(&sent).await;
    let envelope::Ground::Slip { signed, .. } = crate::gateway::head(&sent[0]).ground else {
        panic!("no slip");
    };
    let events = accepted();
    for _ in 0..2 {
        let given = back.returned(&signed, thread_id, |returned| returned.events.clone_from(&events));
        assert_eq!(back.deliver(given).await, 0);
        assert_eq!(back.story.host.words(STATES).await, ["accepted"]);
        assert_eq!(back.story.host.number(EVENTS).await, 4, "each once");
        back.stands().await;
    }
    assert_eq!(back.story.host.number(RETURNED).await, 2);
}

#[tokio::test]
async fn numbers_that_the_writer_lost_come_back_from_the_sender_and_none_is_given_again() {
    let mut back = Back::begin().await;
    let (slip, thread_id) = back.inbox().await;
    assert_eq!(back.story.host.words(PLACES).await, ["7/1"]);
    let events = accepted();
    for _ in 0..2 {
        let given = back.returned(&slip, thread_id, |returned| returned.events.clone_from(&events));
        assert_eq!(back.deliver(given).await, 0);
        assert_eq!(back.story.host.words(STATES).await, ["accepted"]);
        assert_eq!(
            back.story.host.words(PLACES).await,
            ["7/3"],
            "the next one is 7/4"
        );
        assert_eq!(back.story.host.number(EVENTS).await, 3);
        back.stands().await;
    }
    // What this node numbered since counts more than what comes back after it.
    let moved = back.asks(thread_id, Move::Start).await;
    assert_eq!(moved.state, State::InProgress.number());
    assert_eq!(back.story.host.words(PLACES).await, ["7/4"]);
    let mut late = event(Move::Decline, 4, State::Declined);
    late.reason = Because::Other.number();
    let sent = back.stream.submission().await.envelopes;
    back.stream.take(&sent).await;
    let given = back.returned(&slip, thread_id, |returned| returned.events = vec![late]);
    assert_eq!(back.deliver(given).await, 0);
    assert_eq!(back.story.host.words(STATES).await, ["in_progress"]);
    assert_eq!(back.story.host.words(PLACES).await, ["7/4"]);
    back.stands().await;
}

#[tokio::test]
async fn a_sender_cannot_lead_a_thread_of_the_inbox_where_the_table_does_not() {
    let mut back = Back::begin().await;
    let (slip, thread_id) = back.inbox().await;
    let gap = vec![event(Move::Accept, 5, State::Accepted)];
    let other = vec![event(Move::Accept, 2, State::Completed)];
    let out_of_table = vec![event(Move::Complete, 2, State::Completed)];
    let twice = vec![
        event(Move::Acknowledge, 2, State::Acknowledged),
        event(Move::Accept, 2, State::Accepted),
    ];
    for events in [gap, other, out_of_table, twice] {
        let given = back.returned(&slip, thread_id, |returned| returned.events = events);
        assert_eq!(back.deliver(given).await, 0, "kept, and a person must look");
        assert_eq!(back.story.host.words(STATES).await, ["received"]);
        assert_eq!(back.story.host.words(PROBLEMS).await, ["conflict"]);
        assert_eq!(back.story.host.number(EVENTS).await, 1);
        back.stands().await;
    }
}

#[tokio::test]
async fn a_sender_cannot_say_what_the_writer_numbered_since_its_restore() {
    let mut back = Back::begin().await;
    let (slip, thread_id) = back.inbox().await;
    for epoch in [7, 8, 1 << 32] {
        let mut events = accepted();
        events.iter_mut().for_each(|event| event.epoch = epoch);
        let given = back.returned(&slip, thread_id, |returned| returned.events = events);
        assert_eq!(back.deliver(given).await, 0, "ours is kept");
        assert_eq!(back.story.host.words(STATES).await, ["received"]);
        assert_eq!(back.story.host.words(PLACES).await, ["7/1"]);
        assert_eq!(back.story.host.number(EVENTS).await, 1);
        back.stands().await;
    }
}

#[tokio::test]
async fn a_recipient_cannot_make_up_what_this_node_had_sent() {
    let mut back = Back::begin().await;
    let slip = back.own_slip();
    let given = back.returned(&slip, ThreadId::from_bytes(random()), |returned| {
        returned.created_at_ms = T0 - DAY_MS;
        returned.events = accepted();
    });
    assert_eq!(
        back.deliver(given).await,
        Problem::NotFound.number(),
        "the backup would hold it"
    );
    let mut answers = Vec::new();
    for _ in 0..9 {
        let given = back.returned(&slip, ThreadId::from_bytes(random()), |returned| {
            returned.events = accepted();
        });
        answers.push(back.deliver(given).await);
    }
    assert_eq!(answers[..8], [0; 8]);
    assert_eq!(answers[8], Problem::NotFound.number());
    back.stands().await;
}

#[tokio::test]
async fn nobody_returns_a_thread_that_no_restore_of_this_node_asked_for() {
    let mut back = Back::begin().await;
    let (slip, thread_id) = back.inbox().await;
    let old = random();
    back.came_back(old, T0 - 31 * DAY_MS).await;
    let mut crooked: Vec<v1::Envelope> = Vec::new();
    for turn in [
        &|returned: &mut v1::Returned| returned.restore_id = vec![1; 15],
        &|returned: &mut v1::Returned| returned.yours = true,
        &|returned: &mut v1::Returned| returned.purpose = 99,
        &|returned: &mut v1::Returned| returned.events = vec![event(Move::Accept, 2, State::Accepted); 201],
        &|returned: &mut v1::Returned| returned.events[0].state = State::Draft.number(),
        &|returned: &mut v1::Returned| returned.events[0].number = u64::MAX,
    ] as [&dyn Fn(&mut v1::Returned); 6]
    {
        crooked.push(back.returned(&slip, thread_id, |returned| {
            returned.events = accepted();
            turn(returned);
        }));
    }
    for (case, envelope) in crooked.into_iter().enumerate() {
        assert_eq!(
            back.deliver(envelope).await,
            Problem::Invalid.number(),
            "case {case}"
        );
    }
    // An attempt that was lost with its database, and one of long ago: receipted, so that nobody looks for a fault, and without effect.
    for restore_id in [random(), old] {
        let given = back.returned(&slip, thread_id, |returned| {
            returned.restore_id = restore_id.to_vec();
            returned.events = accepted();
        });
        assert_eq!(back.deliver(given).await, 0);
    }
    // Their own referral comes by itself, never by a word about it.
    let unknown = back.returned(&slip, ThreadId::from_bytes(random()), |returned| {
        returned.events = accepted();
    });
    assert_eq!(back.deliver(unknown).await, Problem::NotFound.number());
    assert_eq!(back.story.host.words(STATES).await, ["received"]);
    assert_eq!(back.story.host.number(RETURNED).await, 0);
    back.stands().await;
}

#[tokio::test]
async fn a_referral_that_was_sent_after_the_backup_is_listed_again_and_can_be_withdrawn() {
    let mut back = Back::begin().await;
    let (slip, thread_id) = (back.own_slip(), ThreadId::from_bytes(random()));
    let mut events = accepted();
    events.insert(0, event(Move::Receive, 1, State::Received));
    for _ in 0..2 {
        let given = back.returned(&slip, thread_id, |returned| returned.events.clone_from(&events));
        assert_eq!(back.deliver(given).await, 0);
        assert_eq!(back.story.host.words(STATES).await, ["accepted"]);
        back.stands().await;
    }
    let opening = Opening {
        caller: back.story.host.caller(),
        visible: Visible::All,
        which: Which::Thread(thread_id),
    };
    let shown = threads_view::open(&back.story.host.node, &opening).await.unwrap();
    let referral = shown.referral.unwrap();
    assert!(
        referral.parts.is_empty() && referral.consent.is_none(),
        "what it said was lost here"
    );
    assert_eq!(shown.events.len(), 3);
    let moved = back.asks(thread_id, Move::Withdraw).await;
    assert_eq!(moved.state, State::Withdrawn.number());
    let pending = "SELECT stop_state FROM slip";
    assert_ne!(
        back.story.host.words(pending).await,
        ["none"],
        "the gateway is told"
    );
    let sent = "SELECT kind FROM outbox";
    assert_eq!(back.story.host.words(sent).await, ["withdrawal"]);
    back.stands().await;
}

#[tokio::test]
async fn a_thread_whose_slip_was_stopped_meanwhile_comes_back_withdrawn() {
    let mut back = Back::begin().await;
    let (slip, thread_id) = (back.own_slip(), ThreadId::from_bytes(random()));
    let slip_id = &Slip::decode(&slip.slip).unwrap().id;
    let keep = |mut tx| async move { rows::keep_stop(&mut tx, slip_id, T0 + 5).await };
    let node = back.story.host.node.clone();
    node.store.tx::<_, StoreError, _, _>("test", keep).await.unwrap();
    let given = back.returned(&slip, thread_id, |returned| returned.events = accepted());
    assert_eq!(back.deliver(given).await, 0);
    assert_eq!(back.story.host.words(STATES).await, ["withdrawn"]);
    assert_eq!(
        back.story.host.words("SELECT state FROM slip").await,
        ["withdrawn"]
    );
    let keys = "SELECT CAST(COUNT(*) AS BIGINT) FROM holding WHERE kind = 'slip' AND wrapped_key IS NOT NULL";
    assert_eq!(back.story.host.number(keys).await, 0);
    back.stands().await;
}

#[tokio::test]
async fn a_member_that_came_back_is_given_every_thread_once() {
    let mut back = Back::begin().await;
    let (_, thread_id) = back.inbox().await;
    let other: [u8; 16] = random();
    for _ in 0..2 {
        let write = |mut tx: kith_service::store::Tx| async move {
            let row = "INSERT INTO returning_to (peer, restore_id, since_ms, asked_at_ms) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (peer, restore_id) DO UPDATE SET done_at_ms = NULL, after_thread = excluded.after_thread";
            let row = query(row).bind("riverside-gp".to_owned()).bind(other.to_vec());
            tx.run(row.bind(T0 - DAY_MS).bind(T0)).await
        };
        let node = back.story.host.node.clone();
        node.store.tx::<_, StoreError, _, _>("test", write).await.unwrap();
        timers::tick(&node, T0 + 10).await.unwrap();
        let rows = "SELECT CAST(COUNT(*) AS BIGINT) FROM returning_to WHERE done_at_ms IS NULL";
        assert_eq!(back.story.host.number(rows).await, 0);
    }
    let outbox = "SELECT kind FROM outbox";
    assert_eq!(back.story.host.words(outbox).await, ["event"], "once");
    let sent = back.stream.submission().await.envelopes.remove(0);
    let key = back.story.host.node.keys.signing.public();
    let verified = envelope::verify(&sent, |_| Some(key)).unwrap();
    let body = envelope::open(&verified, &back.peer.sealing).unwrap();
    let Some(Body::Event(v1::Event {
        returned: Some(returned),
        ..
    })) = body.body
    else {
        panic!("no thread is returned");
    };
    assert_eq!(returned.restore_id, other);
    assert!(returned.yours, "the peer had sent it");
    let told: Vec<(u64, i32)> = returned
        .events
        .iter()
        .map(|one| (one.number, one.state))
        .collect();
    assert_eq!(told, [(1, State::Received.number())]);
    assert_eq!(crate::gateway::head(&sent).thread_id, thread_id);
    back.stands().await;
}

#[tokio::test]
async fn a_refused_return_is_no_problem_of_the_thread_and_the_newest_restore_counts() {
    let mut back = Back::begin().await;
    back.inbox().await;
    let first = back.reoffer(T0 - 2 * DAY_MS);
    let second = back.reoffer(T0 - DAY_MS);
    for (place, told) in [(1, &first), (2, &second)] {
        back.stream.notice(place, Down::Reoffer(told.clone())).await;
        while back.stream.up.message().await.is_ok_and(|frame| frame.is_some()) {}
        back.stream = back.story.gateway.greeted(vec![]).await;
    }
    let open = "SELECT CAST(since_ms AS TEXT) FROM returning_to WHERE done_at_ms IS NULL";
    let reaches = (T0 - 2 * DAY_MS).to_string();
    assert_eq!(
        back.story.host.words(open).await,
        [reaches],
        "one, for all that was lost"
    );
    timers::tick(&back.story.host.node, T0 + 10).await.unwrap();
    let sent = back.stream.submission().await.envelopes;
    back.stream.take(&sent).await;
    let refused = back
        .peer
        .receipts(&sent, Some(Problem::Invalid), &back.peer.signing);
    back.stream.notice(3, Down::RecipientReceipts(refused)).await;
    back.story.told_held(&mut back.stream, 3).await;
    assert_eq!(
        back.story.host.words("SELECT state FROM outbox").await,
        ["refused"]
    );
    let problems = "SELECT CAST(COUNT(*) AS BIGINT) FROM referral WHERE problem IS NOT NULL";
    assert_eq!(back.story.host.number(problems).await, 0);
    back.stands().await;
}

impl Back {
    fn reoffer(&self, since_ms: i64) -> v1::Reoffer {
        v1::Reoffer {
            organisation: self.peer.org.to_string(),
            restore_id: random::<16>().to_vec(),
            held: None,
            since_ms,
        }
    }

    async fn asks(&self, thread_id: ThreadId, mv: Move) -> v1::MoveReferralResponse {
        let request_id = RequestId::from_bytes(random());
        let new = NewMove {
            asked: Asked::new("move_referral", request_id, &v1::MoveReferralRequest::default()),
            caller: self.story.host.caller(),
            thread_id,
            mv,
            reason: (mv == Move::Withdraw).then_some(Because::NotSaid),
            words: String::new(),
        };
        moves::move_referral(&self.story.host.node, &new).await.unwrap()
    }
}
