//! What moves a thread across the link: events of the writer, proposals to it, messages, withdrawals and proofs.
//! Never a move that the other side had no right to.

use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_proto::envelope::{self, envelope_hash};
use kith_proto::id::ThreadId;
use kith_proto::lifecycle::{Move, Reason, State};
use kith_proto::problem::Problem;
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, EnvelopeKind};

use crate::gateway::{Attached, T0, head};
use crate::host::Story;
use crate::peer::{HeldSlip, Peer, loose, position, random};

const STATES: &str = "SELECT state FROM referral ORDER BY arrival";

/// A node that has sent one referral, which its recipient has received.
pub(crate) struct Sent {
    pub(crate) story: Story,
    pub(crate) stream: Attached,
    pub(crate) peer: Peer,
    pub(crate) slip: v1::SignedSlip,
    pub(crate) thread_id: ThreadId,
    /// How far the gateway has taken what was sent.
    pub(crate) taken: v1::PairPosition,
}

impl Sent {
    pub(crate) async fn begin() -> Self {
        let mut story = Story::begin().await;
        let peer = story.peer("riverside-gp");
        let mut stream = story.gateway.greeted(vec![]).await;
        stream
            .send(Down::MembersChanged(v1::MembersChanged { cursor: 1 }))
            .await;
        story.known(&peer).await;
        let consent = story.host.consent(&[&peer]).await;
        let thread_id = story.host.refer(&peer, consent).await;
        let sent = stream.submission().await.envelopes;
        stream.take(&sent).await;
        let envelope::Ground::Slip { signed, .. } = head(&sent[0]).ground else {
            panic!("no slip");
        };
        let taken = position(&peer.org, 1, envelope_hash(&sent[0]));
        Self {
            story,
            stream,
            peer,
            slip: signed,
            thread_id,
            taken,
        }
    }

    /// A numbered event of the recipient.
    fn event(&self, mv: Move, number: u64, state: State, words: &str) -> v1::Envelope {
        let mut head = self
            .peer
            .head(EnvelopeKind::Event, &self.slip, *self.thread_id.as_bytes());
        if !words.is_empty() {
            head.categories = vec![Category::Progress.number()];
        }
        let event = v1::Event {
            event_id: random::<16>().to_vec(),
            epoch: 0,
            number,
            r#move: mv.number(),
            state: state.number(),
            reason: Reason::HelpGiven.number(),
            happened_at_ms: T0 + 10,
            deadline_ms: T0 + 99_000,
            words: words.to_owned(),
            returned: None,
        };
        // Its recipient cannot open the commitment of a slip that it did not capture, and need not.
        let body = v1::Body {
            body: Some(Body::Event(event)),
            ..v1::Body::default()
        };
        let to = self.story.host.sealing_key();
        envelope::seal_envelope(head, &body, &to, &self.peer.signing, &random())
            .unwrap()
            .into_envelope()
    }

    pub(crate) async fn deliver(&mut self, envelopes: &[v1::Envelope]) -> Vec<i32> {
        let item = self.peer.next(envelopes);
        self.stream.deliver(vec![item]).await;
        self.stream.receipts().await.problems
    }
}

#[tokio::test]
async fn the_senders_copy_follows_the_recipients_events() {
    let mut sent = Sent::begin().await;
    // Before the recipient's receipt has come as a notice.
    let events = [
        sent.event(Move::Acknowledge, 2, State::Acknowledged, ""),
        sent.event(Move::Accept, 3, State::Accepted, "canary-\u{202a}words\u{202c}"),
    ];
    assert_eq!(sent.deliver(&events).await, [0, 0]);
    assert_eq!(sent.story.host.words(STATES).await, ["accepted"]);
    let moves = "SELECT move FROM event ORDER BY number, move";
    assert_eq!(
        sent.story.host.words(moves).await,
        ["send", "receive", "acknowledge", "accept"]
    );
    assert_eq!(
        sent.story.host.number("SELECT deadline_ms FROM referral").await,
        T0 + 99_000
    );
    assert_eq!(
        sent.story
            .host
            .number("SELECT COUNT(*) FROM content WHERE kind = 'event_words'")
            .await,
        1
    );
    let done = sent.event(Move::Complete, 4, State::Completed, "");
    assert_eq!(sent.deliver(std::slice::from_ref(&done)).await, [0]);
    let wrong = sent.event(Move::Accept, 5, State::Accepted, "");
    assert_eq!(sent.deliver(&[wrong]).await, [Problem::WrongState.number()]);
    assert_eq!(sent.story.host.words(STATES).await, ["completed"]);
}

#[tokio::test]
async fn events_about_a_thread_of_others_or_by_others_are_refused() {
    let mut sent = Sent::begin().await;
    let unknown = sent.peer.head(EnvelopeKind::Event, &sent.slip, random());
    let bare = |number| v1::Event {
        event_id: random::<16>().to_vec(),
        number,
        r#move: Move::Accept.number(),
        state: State::Accepted.number(),
        ..v1::Event::default()
    };
    let body = |event| v1::Body {
        body: Some(Body::Event(event)),
        ..v1::Body::default()
    };
    let to = sent.story.host.sealing_key();
    let seal = |head: v1::Head, event| {
        envelope::seal_envelope(head, &body(event), &to, &sent.peer.signing, &random())
            .unwrap()
            .into_envelope()
    };
    let known = || {
        sent.peer
            .head(EnvelopeKind::Event, &sent.slip, *sent.thread_id.as_bytes())
    };
    let withdraw = v1::Event {
        r#move: Move::Withdraw.number(),
        ..bare(2)
    };
    let envelopes = [
        seal(unknown, bare(2)),
        seal(known(), bare(0)),
        seal(known(), withdraw),
    ];
    let (missing, invalid) = (Problem::NotFound.number(), Problem::Invalid.number());
    assert_eq!(sent.deliver(&envelopes).await, [missing, invalid, invalid]);
    assert_eq!(sent.story.host.words(STATES).await, ["sent"]);
}

/// A node that has received one referral.
pub(crate) struct Inbox {
    pub(crate) story: Story,
    pub(crate) stream: Attached,
    pub(crate) peer: Peer,
    pub(crate) slip: HeldSlip,
    pub(crate) thread_id: ThreadId,
}

impl Inbox {
    pub(crate) async fn begin() -> Self {
        let mut story = Story::begin().await;
        let peer = story.peer("riverside-gp");
        let slip = peer.slip();
        let mut stream = story.gateway.greeted(vec![]).await;
        let referral = peer.referral(&slip);
        let thread_id = head(&referral).thread_id;
        stream.deliver(vec![peer.next(&[referral])]).await;
        assert_eq!(stream.receipts().await.problems, [0]);
        Self {
            story,
            stream,
            peer,
            slip,
            thread_id,
        }
    }

    pub(crate) fn proposal(&self, mv: Move) -> v1::Envelope {
        let head = self
            .peer
            .head(EnvelopeKind::Event, &self.slip.signed, *self.thread_id.as_bytes());
        let event = v1::Event {
            event_id: random::<16>().to_vec(),
            r#move: mv.number(),
            reason: Reason::NoLongerNeeded.number(),
            happened_at_ms: T0,
            ..v1::Event::default()
        };
        self.peer.seal(head, Body::Event(event))
    }

    pub(crate) fn message(&self, id: [u8; 16], words: &str) -> v1::Envelope {
        let head = self.peer.head(
            EnvelopeKind::Message,
            &self.slip.signed,
            *self.thread_id.as_bytes(),
        );
        let message = v1::ThreadMessage {
            message_id: id.to_vec(),
            words: words.into(),
            parts: Vec::new(),
        };
        self.peer.seal(head, Body::Message(message))
    }

    pub(crate) fn withdrawal(&self, categories: &[Category]) -> v1::Envelope {
        let head = self.peer.head(
            EnvelopeKind::Withdrawal,
            &self.slip.signed,
            *self.thread_id.as_bytes(),
        );
        let withdrawal = v1::Withdrawal {
            withdrawal_id: vec![7; 16],
            slip_id: self.slip.id().as_bytes().to_vec(),
            scope: v1::WithdrawalScope::Consent.into(),
            withdrawn_at_ms: T0,
            categories: categories.iter().map(|c| c.number()).collect(),
            invalidated: false,
        };
        self.peer.seal(head, Body::Withdrawal(withdrawal))
    }

    /// The next envelope that the node sends, opened by the peer; receipts on the way are given back.
    pub(crate) async fn answered(&mut self) -> (v1::Body, Vec<v1::RecipientReceipts>) {
        let mut receipts = Vec::new();
        loop {
            match self.stream.next().await {
                Up::Receipts(one) => receipts.push(one),
                Up::Submission(one) => {
                    let key = self.story.host.node.keys.signing.public();
                    let verified = envelope::verify(&one.envelopes[0], |_| Some(key)).unwrap();
                    let body = envelope::open(&verified, &self.peer.sealing).unwrap();
                    self.stream.take(&one.envelopes).await;
                    return (body, receipts);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_proposal_is_applied_numbered_and_sent_back() {
    let mut inbox = Inbox::begin().await;
    let proposal = inbox.proposal(Move::Cancel);
    let item = inbox.peer.next(&[proposal]);
    inbox.stream.deliver(vec![item.clone()]).await;
    let (body, _) = inbox.answered().await;
    let Some(Body::Event(event)) = body.body else {
        panic!("no event");
    };
    assert_eq!((event.number, event.state), (2, State::Cancelled.number()));
    assert_eq!(inbox.story.host.words(STATES).await, ["cancelled"]);
    inbox.stream.deliver(vec![item]).await;
    while inbox.stream.receipts().await.problems != [0] {}
    assert_eq!(
        inbox.story.host.number("SELECT COUNT(*) FROM outbox").await,
        1,
        "one reply"
    );
    let party = "SELECT party FROM event WHERE number = 2";
    assert_eq!(inbox.story.host.words(party).await, ["sender"]);
}

#[tokio::test]
async fn a_proposal_that_the_thread_does_not_allow_is_refused_and_the_next_goes_on() {
    let mut inbox = Inbox::begin().await;
    let (wrong, right) = (inbox.proposal(Move::AnswerInfo), inbox.proposal(Move::Cancel));
    let item = inbox.peer.next(&[wrong, right]);
    inbox.stream.deliver(vec![item]).await;
    let (_, mut receipts) = inbox.answered().await;
    if receipts.is_empty() {
        receipts.push(inbox.stream.receipts().await);
    }
    assert_eq!(receipts[0].problems, [Problem::WrongState.number(), 0]);
    assert_eq!(inbox.story.host.words(STATES).await, ["cancelled"]);
}

#[tokio::test]
async fn a_message_is_kept_once_and_an_id_twice_harms_nothing() {
    let mut inbox = Inbox::begin().await;
    let messages = [
        inbox.message([1; 16], "canary-one"),
        inbox.message([1; 16], "canary-two"),
    ];
    let item = inbox.peer.next(&messages);
    inbox.stream.deliver(vec![item]).await;
    assert_eq!(inbox.stream.receipts().await.problems, [0, 0]);
    let again = inbox.peer.next(&[
        inbox.message([1; 16], "canary-three"),
        inbox.message([2; 16], "x"),
    ]);
    inbox.stream.deliver(vec![again]).await;
    assert_eq!(inbox.stream.receipts().await.problems, [0, 0]);
    assert_eq!(inbox.story.host.number("SELECT COUNT(*) FROM message").await, 2);
    assert_eq!(
        inbox.story.host.words("SELECT side FROM message").await,
        ["sent", "sent"]
    );
}

#[tokio::test]
async fn a_withdrawal_with_a_flipped_signature_ends_nothing() {
    let mut inbox = Inbox::begin().await;
    let mut forged = inbox.withdrawal(&[]);
    let mut signature = forged.signature.to_vec();
    signature[9] ^= 1;
    forged.signature = signature.into();
    inbox.stream.deliver(vec![loose(forged)]).await;
    let problems = inbox.stream.receipts().await.problems;
    assert_eq!(problems, [Problem::Invalid.number()]);
    let host = &inbox.story.host;
    assert_eq!(host.words("SELECT consent FROM referral").await, ["live"]);
}

#[tokio::test]
async fn a_withdrawal_destroys_the_keys_and_is_proved() {
    let mut inbox = Inbox::begin().await;
    let withdrawal = loose(inbox.withdrawal(&[]));
    inbox.stream.deliver(vec![withdrawal.clone(), withdrawal]).await;
    let (body, _) = inbox.answered().await;
    let Some(Body::WithdrawalProof(proof)) = body.body else {
        panic!("no proof");
    };
    assert_eq!(proof.outcome, i32::from(v1::WithdrawalOutcome::Erased));
    let host = &inbox.story.host;
    assert_eq!(host.words(STATES).await, ["withdrawn"]);
    assert_eq!(host.words("SELECT consent FROM referral").await, ["erased"]);
    assert_eq!(
        host.number("SELECT COUNT(*) FROM holding WHERE wrapped_key IS NOT NULL")
            .await,
        0
    );
    assert_eq!(host.number("SELECT COUNT(*) FROM outbox").await, 1);
    let late = inbox
        .peer
        .next(&[inbox.peer.referral(&inbox.slip), inbox.message([1; 16], "x")]);
    inbox.stream.deliver(vec![late]).await;
    let withdrawn = Problem::ConsentWithdrawn.number();
    let problems = loop {
        let receipts = inbox.stream.receipts().await;
        if receipts.problems.len() == 2 && receipts.problems[0] != 0 {
            break receipts.problems;
        }
    };
    assert_eq!(problems, [withdrawn, withdrawn]);
}

#[tokio::test]
async fn a_withdrawal_that_overtakes_its_referral_ends_it_all_the_same() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    let slip = peer.slip();
    let mut stream = story.gateway.greeted(vec![]).await;
    let thread_id = ThreadId::from_bytes(random());
    let head = peer.head(EnvelopeKind::Withdrawal, &slip.signed, *thread_id.as_bytes());
    let withdrawal = v1::Withdrawal {
        withdrawal_id: vec![7; 16],
        slip_id: slip.id().as_bytes().to_vec(),
        scope: v1::WithdrawalScope::Consent.into(),
        withdrawn_at_ms: T0,
        ..v1::Withdrawal::default()
    };
    let withdrawal = loose(peer.seal(head, Body::Withdrawal(withdrawal)));
    let referral = peer.next(&[peer.referral(&slip)]);
    stream.deliver(vec![withdrawal, referral]).await;
    let receipts = loop {
        if let Up::Receipts(receipts) = stream.next().await {
            break receipts;
        }
    };
    assert_eq!(receipts.problems, [0, Problem::ConsentWithdrawn.number()]);
    assert_eq!(story.host.number("SELECT COUNT(*) FROM referral").await, 0);
}

#[tokio::test]
async fn a_narrowing_takes_a_category_away_and_leaves_the_rest() {
    let mut inbox = Inbox::begin().await;
    let narrowing = loose(inbox.withdrawal(&[Category::Need]));
    inbox.stream.deliver(vec![narrowing]).await;
    let (body, _) = inbox.answered().await;
    assert!(matches!(body.body, Some(Body::WithdrawalProof(_))));
    let host = &inbox.story.host;
    assert_eq!(host.words(STATES).await, ["received"]);
    let opening = Opening {
        caller: host.caller(),
        visible: Visible::All,
        which: Which::Thread(inbox.thread_id),
    };
    let opened = threads_view::open(&host.node, &opening).await.unwrap();
    let referral = opened.referral.unwrap();
    assert!(referral.parts.is_empty(), "the need is gone");
    assert!(referral.consent.is_some(), "the consent record stays");
}

#[tokio::test]
async fn what_was_received_is_shown_to_who_opens_it() {
    let inbox = Inbox::begin().await;
    let host = &inbox.story.host;
    let opening = Opening {
        caller: host.caller(),
        visible: Visible::All,
        which: Which::Thread(inbox.thread_id),
    };
    let opened = threads_view::open(&host.node, &opening).await.unwrap();
    let parts = opened.referral.unwrap().parts;
    assert_eq!(parts[0].fields[0].value, "A bicycle");
    assert_eq!(opened.line.unwrap().organisation, "riverside-gp");
}

#[tokio::test]
async fn a_proof_is_kept_with_the_slip_and_a_strange_one_is_not() {
    let mut sent = Sent::begin().await;
    let slip = kith_proto::slip::Slip::decode(&sent.slip.slip).unwrap();
    let proof = |id: [u8; 16]| v1::WithdrawalProof {
        withdrawal_id: id.to_vec(),
        slip_id: slip.id.as_bytes().to_vec(),
        outcome: v1::WithdrawalOutcome::Erased.into(),
        done_at_ms: T0,
        ..v1::WithdrawalProof::default()
    };
    let to = sent.story.host.sealing_key();
    let head = sent.peer.head(
        EnvelopeKind::WithdrawalProof,
        &sent.slip,
        *sent.thread_id.as_bytes(),
    );
    let body = v1::Body {
        body: Some(Body::WithdrawalProof(proof([9; 16]))),
        ..v1::Body::default()
    };
    let envelope = envelope::seal_envelope(head, &body, &to, &sent.peer.signing, &random())
        .unwrap()
        .into_envelope();
    let hash = envelope_hash(&envelope);
    sent.stream.deliver(vec![loose(envelope)]).await;
    let receipts = sent.stream.receipts().await;
    assert_eq!(
        (receipts.problems, receipts.envelope_hashes),
        (vec![Problem::NotFound.number()], vec![hash.to_vec()])
    );
}
