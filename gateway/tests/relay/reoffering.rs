//! Coming back from a backup: what a restored member lost is offered again, in order, once, and only what may still pass.
//! Never mail of others, never other bytes under a number that was taken.

use kith_gateway::limits::RESTORES_PER_DAY_MAX;
use kith_gateway::window::sweep_once;
use kith_gateway::{member_restore, whole};
use kith_proto::envelope::envelope_hash;
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::v1::{
    self, attach_request::Frame as Up, attach_response::Frame, restore_response::What,
    restore_service_client::RestoreServiceClient,
};
use kith_proto::words::EnvelopeKind::{Referral, Withdrawal};
use kith_service::status::failure_of;

use crate::network::{DAY_MS, Network, START_MS, pair};
use crate::node::{Answered, Got, HeldSlip, Line, Node, alone, later, named, random, refused};

pub(crate) const TAKEN: Answered = Answered::Taken { at_ms: START_MS };

/// A GP that sent six referrals to a peer group, which received the first `received` of them.
pub(crate) struct Story {
    pub(crate) network: Network,
    pub(crate) gp: Node,
    pub(crate) peers: Node,
    pub(crate) slip: HeldSlip,
    pub(crate) line: Line,
    pub(crate) sent: Vec<v1::Envelope>,
}

impl Story {
    pub(crate) async fn begin(received: usize) -> Self {
        let (network, mut gp, peers, slip, mut line) = pair().await;
        let sent = gp.copies(&gp.envelope(&peers, Referral, &slip), 6);
        let submission = gp.submission(&peers, sent.clone());
        assert_eq!(line.submit(&submission).await, vec![TAKEN; 6]);
        let mut story = Self {
            network,
            gp,
            peers,
            slip,
            line,
            sent,
        };
        story.receive(received).await;
        story
    }

    /// The peer group receipts the first of what it sent.
    async fn receive(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let mut receiving = self.peers.attach().await;
        receiving.delivered(6).await;
        let ids: Vec<_> = self.sent.iter().take(count).map(named).collect();
        let receipt = self.peers.receipt(&self.gp.org, &ids);
        receiving.send(Up::Receipts(receipt)).await;
        // Its notice has come, so it was settled.
        assert!(matches!(
            self.line.notices(1).await[0].1,
            Frame::RecipientReceipts(_)
        ));
    }

    fn hash(&self, number: u64) -> [u8; 32] {
        envelope_hash(&self.sent[number as usize - 1])
    }

    /// What the backup holds of the GP's mail.
    pub(crate) fn holds(&self, number: u64) -> Vec<v1::PairPosition> {
        vec![v1::PairPosition {
            organisation: self.gp.org.to_string(),
            number,
            envelope_hash: self.hash(number).to_vec(),
        }]
    }

    pub(crate) async fn restore(&self, received: Vec<v1::PairPosition>) -> v1::Standing {
        standing(&asked(&self.peers, received).await.unwrap())
    }

    /// The GP's word to offer again, and where from.
    pub(crate) async fn reoffer(&mut self) -> v1::Reoffer {
        match self.line.notices(1).await.remove(0).1 {
            Frame::Reoffer(reoffer) => reoffer,
            other => panic!("no re-offer but {other:?}"),
        }
    }

    /// The GP goes back to a number and offers what follows, up to a number, again.
    pub(crate) fn again(&mut self, after: u64, until: u64) -> v1::Submission {
        let at = if after == 0 {
            Position::START
        } else {
            Position::at(after, self.hash(after))
        };
        self.gp.go_back(&self.peers, at);
        let envelopes = self.sent[after as usize..until as usize].to_vec();
        self.gp.submission(&self.peers, envelopes)
    }

    /// One more referral, at the number seven.
    fn new_mail(&mut self) -> v1::Submission {
        self.gp.go_back(&self.peers, Position::at(6, self.hash(6)));
        let envelope = self.gp.envelope(&self.peers, Referral, &self.slip);
        self.gp.submission(&self.peers, vec![envelope])
    }

    /// No row contradicts the log, no envelope was taken twice, and what waits is what is counted.
    pub(crate) async fn is_whole(&self, taken: i64) {
        let report = whole::look(&self.network.gateway).await.unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
        let events = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'envelope_taken'";
        assert_eq!(self.network.count(events).await, taken);
        let unlike = "SELECT CAST(COALESCE((SELECT SUM(bytes) FROM mailbox), 0) AS BIGINT) \
                      - CAST(COALESCE((SELECT SUM(mailbox_bytes) FROM pair), 0) AS BIGINT) AS n";
        assert_eq!(self.network.count(unlike).await, 0);
    }
}

pub(crate) async fn call(node: &Node, request: v1::RestoreRequest) -> Result<Vec<What>, Problem> {
    let mut client = RestoreServiceClient::new(node.channel());
    let answer = client.restore(request).await;
    let mut answer = answer.map_err(|status| failure_of(&status).problem)?.into_inner();
    let mut all = Vec::new();
    while let Some(message) = answer.message().await.unwrap() {
        all.push(message.what.unwrap());
    }
    Ok(all)
}

async fn asked(node: &Node, received: Vec<v1::PairPosition>) -> Result<Vec<What>, Problem> {
    call(node, request(received)).await
}

pub(crate) fn request(received: Vec<v1::PairPosition>) -> v1::RestoreRequest {
    v1::RestoreRequest {
        restore_id: random::<16>().to_vec(),
        backup_at_ms: START_MS,
        received,
        queued: Vec::new(),
    }
}

pub(crate) fn standing(answer: &[What]) -> v1::Standing {
    match &answer[0] {
        What::Standing(standing) => standing.clone(),
        other => panic!("no standing but {other:?}"),
    }
}

pub(crate) fn numbers(got: &[Got]) -> Vec<(Option<u64>, Option<Problem>)> {
    got.iter().map(|got| (got.number, got.tombstone)).collect()
}

#[tokio::test]
async fn what_a_backup_lacks_comes_again_before_what_waits_and_what_is_new() {
    let mut story = Story::begin(4).await;
    let said = story.restore(story.holds(2)).await;
    assert_eq!(
        (said.gateway_time_ms, said.asked),
        (START_MS, vec!["riverside-gp".into()])
    );
    assert_eq!(
        (said.taken, said.begins, said.cosigned),
        (vec![], vec![], String::new())
    );
    let reoffer = story.reoffer().await;
    let held = reoffer.held.unwrap();
    assert_eq!((held.number, held.envelope_hash), (2, story.hash(2).to_vec()));
    assert_eq!(held.organisation, "tigrinya-circle");
    assert_eq!((reoffer.since_ms, reoffer.restore_id.len()), (START_MS, 16));

    let mut receiving = story.peers.attach_holding(story.holds(2)).await;
    let new = story.new_mail();
    assert_eq!(
        story.line.submit(&new).await,
        [later(Problem::Unavailable)],
        "what is missing comes first"
    );
    let three = story.again(2, 3);
    assert_eq!(story.line.submit(&three).await, [TAKEN]);
    assert_eq!(numbers(&receiving.delivered(1).await), [(Some(3), None)]);
    // The stream ends half way; the next one repeats, and goes on.
    let mut line = story.gp.attach().await;
    line.notices(2).await;
    let rest = story.again(2, 6);
    assert_eq!(line.submit(&rest).await, vec![TAKEN; 4]);
    assert_eq!(
        numbers(&receiving.delivered(3).await),
        [(Some(4), None), (Some(5), None), (Some(6), None)]
    );
    assert_eq!(line.submit(&new).await, [TAKEN]);
    assert_eq!(numbers(&receiving.delivered(1).await), [(Some(7), None)]);
    story.is_whole(7).await;
    let ids: Vec<_> = story.sent[2..].iter().map(named).collect();
    let receipt = story.peers.receipt(&story.gp.org, &ids);
    receiving.send(Up::Receipts(receipt)).await;
    line.notices(1).await;
    assert_eq!(story.network.count("SELECT COUNT(*) AS n FROM mailbox").await, 1);
    assert_eq!(story.network.count("SELECT COUNT(*) AS n FROM reoffer").await, 0);
    story.is_whole(7).await;
}

#[tokio::test]
async fn everything_is_lost_or_nothing() {
    let mut story = Story::begin(6).await;
    story.restore(story.holds(6)).await;
    assert_eq!(story.reoffer().await.held, None, "but the standing of threads is");
    let new = story.new_mail();
    assert_eq!(story.line.submit(&new).await, [TAKEN], "nothing holds it up");

    story.restore(vec![]).await;
    let held = story.reoffer().await.held.unwrap();
    assert_eq!((held.number, held.envelope_hash), (0, vec![]));
    let mut receiving = story.peers.attach().await;
    let all = story.again(0, 6);
    assert_eq!(story.line.submit(&all).await, vec![TAKEN; 6]);
    let got = receiving.delivered(7).await;
    assert_eq!(
        numbers(&got),
        (1..=7).map(|number| (Some(number), None)).collect::<Vec<_>>()
    );
    story.is_whole(7).await;
    let waiting = Story::begin(0).await;
    waiting.restore(vec![]).await;
    let rows = "SELECT COUNT(*) AS n FROM reoffer";
    assert_eq!(waiting.network.count(rows).await, 0, "all of it waits still");
    waiting.peers.attach().await.delivered(6).await;
}

#[tokio::test]
async fn a_backup_with_another_history_is_refused() {
    let story = Story::begin(4).await;
    let mut wrong = story.holds(2);
    wrong[0].envelope_hash = vec![7; 32];
    let mut above = story.holds(6);
    above[0].number = 7;
    let mut last = story.holds(6);
    last[0].envelope_hash = vec![7; 32];
    for received in [wrong, above, last] {
        assert_eq!(asked(&story.peers, received).await, Err(Problem::Conflict));
    }
    let mut twice = story.holds(2);
    twice.extend(story.holds(2));
    assert_eq!(asked(&story.peers, twice).await, Err(Problem::Invalid));
    let rows = "SELECT (SELECT COUNT(*) FROM reoffer) + (SELECT COUNT(*) FROM member_restore) AS n";
    assert_eq!(story.network.count(rows).await, 0);
}

#[tokio::test]
async fn a_restore_told_twice_has_its_effect_once_and_too_many_are_refused() {
    let mut story = Story::begin(4).await;
    let request = request(story.holds(2));
    let first = call(&story.peers, request.clone()).await.unwrap();
    assert_eq!(call(&story.peers, request.clone()).await.unwrap(), first);
    let notices = "SELECT COUNT(*) AS n FROM notice WHERE organisation = 'riverside-gp'";
    // The receipts of the beginning, and one wish.
    assert_eq!(story.network.count(notices).await, 2);
    story.reoffer().await;
    let events = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'member_restored'";
    assert_eq!(story.network.count(events).await, 1);
    for _ in 1..RESTORES_PER_DAY_MAX {
        story.restore(story.holds(2)).await;
    }
    assert_eq!(
        asked(&story.peers, story.holds(2)).await,
        Err(Problem::CapacityFull)
    );
    assert_eq!(
        call(&story.peers, request).await.unwrap(),
        first,
        "a repeat is none"
    );
    story.network.hand.advance(DAY_MS);
    story.restore(story.holds(2)).await;
}

#[tokio::test]
async fn what_may_not_pass_any_more_leaves_a_tombstone() {
    let mut story = Story::begin(6).await;
    let withheld = story.gp.envelope(&story.peers, Referral, &story.slip);
    let mut seven = story.gp.submission(&story.peers, vec![withheld]);
    seven.envelopes.clear();
    let gone = refused(Problem::ConsentWithdrawn);
    assert_eq!(story.line.submit(&seven).await[0], gone);
    story.restore(story.holds(2)).await;
    story.reoffer().await;
    // The slip ends while the fourth is on its way again.
    let three = story.again(2, 3);
    assert_eq!(story.line.submit(&three).await, [TAKEN]);
    story.line.send(Up::Stop(story.gp.stop_notice(&story.slip))).await;
    story.line.notices(2).await;
    let mut rest = story.again(3, 6);
    // The fifth is withheld by its sender.
    rest.envelopes.remove(1);
    assert_eq!(
        story.line.submit(&rest).await,
        vec![TAKEN; 3],
        "the first answer stays"
    );
    story.gp.go_back(&story.peers, Position::at(6, story.hash(6)));
    let order = seven.order.as_ref().unwrap();
    assert_eq!(order.lines[0].number, 7);
    assert_eq!(story.line.submit(&seven).await, [gone]);
    let mut receiving = story.peers.attach_holding(story.holds(2)).await;
    assert!(matches!(receiving.next().await, Frame::Stopped(_)));
    let why = Some(Problem::ConsentWithdrawn);
    let got = receiving.delivered(5).await;
    assert_eq!(
        numbers(&got),
        (3..=7).map(|number| (Some(number), why)).collect::<Vec<_>>()
    );
    let bytes = "SELECT COUNT(*) AS n FROM mailbox WHERE envelope IS NOT NULL";
    assert_eq!(story.network.count(bytes).await, 0);
    story.is_whole(6).await;
}

#[tokio::test]
async fn other_bytes_under_a_number_are_not_offered() {
    let mut story = Story::begin(6).await;
    story.restore(story.holds(2)).await;
    story.reoffer().await;
    story.gp.go_back(&story.peers, Position::at(2, story.hash(2)));
    let other = story.gp.envelope(&story.peers, Referral, &story.slip);
    let forged = story.gp.submission(&story.peers, vec![other]);
    story.line.send(Up::Submission(forged)).await;
    assert_eq!(story.line.ended().await.1, Problem::Conflict);
    // A later one before its turn has its first answer, and no effect.
    let mut line = story.gp.attach().await;
    line.notices(2).await;
    let five = story.again(4, 6);
    assert_eq!(line.submit(&five).await, vec![TAKEN; 2]);
    assert_eq!(story.network.count("SELECT COUNT(*) AS n FROM mailbox").await, 0);
    story.is_whole(6).await;
}

#[tokio::test]
async fn nobody_learns_of_others_by_a_restore() {
    let mut story = Story::begin(4).await;
    let stranger = story.network.node("hope-mosque", 3).await;
    let (id, hash) = named(&story.sent[0]);
    let queued = v1::QueuedEnvelope {
        envelope_id: id.to_vec(),
        envelope_hash: hash.to_vec(),
    };
    story.line.send(Up::Stop(story.gp.stop_notice(&story.slip))).await;
    story.line.notices(3).await;
    let curious = v1::RestoreRequest {
        queued: vec![queued.clone()],
        ..request(vec![])
    };
    let got = call(&stranger, curious.clone()).await.unwrap();
    assert_eq!(got.len(), 1, "neither stops nor envelopes of others");
    let said = standing(&got);
    assert_eq!((said.asked, said.taken), (vec![], vec![]));
    // Who sent it learns what became of it; both parties learn of the stop.
    let own = call(&story.gp, curious).await.unwrap();
    assert_eq!(standing(&own).taken[0].number, 6);
    assert!(matches!(&own[1], What::Stopped(stops) if stops.stops.len() == 1));
    let What::Answered(answered) = &own[2] else {
        panic!("no answers");
    };
    assert_eq!(answered.envelopes[0].envelope_id, id);
    assert_eq!(
        (answered.envelopes[0].number, answered.envelopes[0].problem),
        (1, 0)
    );
    let party = asked(&story.peers, story.holds(4)).await.unwrap();
    assert!(
        matches!(&party[1], What::Stopped(stops) if stops.stops[0].slip_id == story.slip.slip.id.as_bytes())
    );
}

#[tokio::test]
async fn a_withdrawal_that_was_lost_comes_again_outside_the_order() {
    let mut story = Story::begin(0).await;
    let withdrawal = story.gp.envelope(&story.peers, Withdrawal, &story.slip);
    let submission = alone(withdrawal.clone());
    assert_eq!(story.line.submit(&submission).await, [TAKEN]);
    let mut receiving = story.peers.attach().await;
    receiving.delivered(7).await;
    assert_eq!(story.line.submit(&submission).await, [TAKEN]);
    let waits = "SELECT COUNT(*) AS n FROM mailbox WHERE kind = 'withdrawal'";
    assert_eq!(story.network.count(waits).await, 1, "it waits, and once");
    let receipt = story.peers.receipt(&story.gp.org, &[named(&withdrawal)]);
    receiving.send(Up::Receipts(receipt.clone())).await;
    story.line.notices(1).await;
    assert_eq!(story.line.submit(&submission).await, [TAKEN]);
    assert_eq!(story.network.count(waits).await, 0, "nobody lost it");
    story.restore(vec![]).await;
    story.reoffer().await;
    story.network.hand.advance(1);
    for _ in 0..2 {
        assert_eq!(story.line.submit(&submission).await, [TAKEN]);
        assert_eq!(story.network.count(waits).await, 1);
    }
    let mut receiving = story.peers.attach().await;
    assert_eq!(receiving.delivered(7).await[6].number, None);
    receiving.send(Up::Receipts(receipt)).await;
    story.line.notices(1).await;
    assert_eq!(story.line.submit(&submission).await, [TAKEN]);
    assert_eq!(story.network.count(waits).await, 0, "once for a restore");
    story.is_whole(7).await;
}

#[tokio::test]
async fn mail_of_a_sender_that_never_comes_is_given_up_after_a_month() {
    let story = Story::begin(4).await;
    story.network.hand.advance(29 * DAY_MS);
    // Certificates have run out by now.
    let request = request(story.holds(2));
    member_restore::restore(&story.network.gateway, &story.peers.org, &request)
        .await
        .unwrap();
    story.network.hand.advance(DAY_MS);
    sweep_once(&story.network.gateway).await.unwrap();
    assert_eq!(story.network.count("SELECT COUNT(*) AS n FROM reoffer").await, 1);
    story.network.hand.advance(29 * DAY_MS);
    sweep_once(&story.network.gateway).await.unwrap();
    assert_eq!(story.network.count("SELECT COUNT(*) AS n FROM reoffer").await, 0);
    let tombstones = "SELECT COUNT(*) AS n FROM mailbox WHERE tombstone IS NOT NULL AND number > 2 AND batch_id IS NOT NULL";
    assert_eq!(story.network.count(tombstones).await, 4);
    let order = "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM mailbox a JOIN mailbox b ON a.number < b.number \
                 AND a.position > b.position";
    assert_eq!(
        story.network.count(order).await,
        0,
        "in the order of their numbers"
    );
    story.is_whole(6).await;
}

#[tokio::test]
async fn a_sender_that_has_nothing_to_offer_holds_its_new_mail_up_for_days_only() {
    let mut story = Story::begin(4).await;
    story.restore(story.holds(2)).await;
    story.reoffer().await;
    story.network.hand.advance(3 * DAY_MS);
    sweep_once(&story.network.gateway).await.unwrap();
    let rows = "SELECT COUNT(*) AS n FROM reoffer";
    assert_eq!(story.network.count(rows).await, 1, "it may not know yet");
    let number = story.line.notice;
    story.line.send(Up::NoticesHeld(v1::NoticesHeld { number })).await;
    // Frames of a stream are worked on in their order, but for this one nothing comes back.
    let notices = "SELECT COUNT(*) AS n FROM notice WHERE organisation = 'riverside-gp'";
    while story.network.count(notices).await > 0 {
        tokio::task::yield_now().await;
    }
    sweep_once(&story.network.gateway).await.unwrap();
    assert_eq!(story.network.count(rows).await, 0);
    let new = story.new_mail();
    let at_ms = START_MS + 3 * DAY_MS;
    assert_eq!(story.line.submit(&new).await, [Answered::Taken { at_ms }]);
    let mut receiving = story.peers.attach_holding(story.holds(2)).await;
    let why = Some(Problem::DeadlineExceeded);
    let all = [(3, why), (4, why), (5, None), (6, None), (7, None)];
    let all = all.map(|(number, why)| (Some(number), why));
    assert_eq!(numbers(&receiving.delivered(5).await), all);
    story.is_whole(7).await;
}
