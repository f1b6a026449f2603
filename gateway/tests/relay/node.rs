//! A node as small as a test needs it: seals and numbers envelopes, speaks on the stream, verifies what the gateway signs.

use std::collections::BTreeMap;
use std::time::Duration;

use kith_proto::envelope::{envelope_hash, seal_envelope};
use kith_proto::id::{OrgId, PersonId};
use kith_proto::order::{self, Position};
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::seal::SealingKey;
use kith_proto::sign::{Context, PublicKey, SigningKey, sha256};
use kith_proto::slip::{SignedSlip, Slip, person_commitment, stop_hash, stop_secret};
use kith_proto::v1::{
    self, attach_request::Frame as Up, attach_response::Frame, body, delivered_envelope::What, head,
    relay_service_client::RelayServiceClient,
};
use kith_proto::words::EnvelopeKind;
use kith_service::rng::Rng;
use kith_service::status::failure_of;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::network::{DAY_MS, START_MS};

/// Longest wait for a frame that must come; far above what any machine needs.
const PATIENCE: Duration = Duration::from_secs(30);
const SALT: [u8; 32] = [4; 32];
const PERSON: [u8; 16] = [5; 16];

/// A member's node.
pub(crate) struct Node {
    pub(crate) org: OrgId,
    pub(crate) signing: SigningKey,
    pub(crate) sealing: SealingKey,
    channel: Channel,
    gateway_key: PublicKey,
    sent: BTreeMap<OrgId, Position>,
}

/// A slip as its capturing member holds it.
#[derive(Clone)]
pub(crate) struct HeldSlip {
    pub(crate) slip: Slip,
    pub(crate) signed: v1::SignedSlip,
    pub(crate) secret: [u8; 32],
}

impl Node {
    pub(crate) fn new(
        org: OrgId,
        signing: SigningKey,
        sealing: SealingKey,
        channel: Channel,
        gateway_key: PublicKey,
    ) -> Self {
        Self {
            org,
            signing,
            sealing,
            channel,
            gateway_key,
            sent: BTreeMap::new(),
        }
    }

    /// Issues a slip for another member: a month long, for need and identity.
    pub(crate) fn slip(&self, to: &Node) -> HeldSlip {
        let secret = stop_secret(&random());
        let slip = Slip::parse(&v1::Slip {
            slip_id: random::<16>().to_vec(),
            network: "lune-valley.example".into(),
            from: self.org.to_string(),
            to: to.org.to_string(),
            purposes: vec![1],
            categories: vec![1, 4],
            issued_at_ms: START_MS,
            expires_at_ms: START_MS + 60 * DAY_MS,
            progress: false,
            person_commitment: person_commitment(&SALT, &PersonId::from_bytes(PERSON)).to_vec(),
            stop_hash: stop_hash(&secret).to_vec(),
        });
        let slip = slip.unwrap();
        let signed = SignedSlip::issue(&slip, &self.signing).unwrap();
        HeldSlip { slip, signed, secret }
    }

    /// Seals an envelope of a kind under a slip.
    pub(crate) fn envelope(&self, to: &Node, kind: EnvelopeKind, slip: &HeldSlip) -> v1::Envelope {
        self.seal(to, kind, slip, |_| {})
    }

    /// As [`Node::envelope`], with something about the head turned.
    pub(crate) fn seal(
        &self,
        to: &Node,
        kind: EnvelopeKind,
        slip: &HeldSlip,
        turn: impl Fn(&mut v1::Head),
    ) -> v1::Envelope {
        let mut head = v1::Head {
            envelope_id: random::<16>().to_vec(),
            network: "lune-valley.example".into(),
            from: self.org.to_string(),
            to: to.org.to_string(),
            kind: kind.number(),
            thread_id: vec![3; 16],
            ground: Some(head::Ground::Slip(slip.signed.clone())),
            created_at_ms: START_MS,
            expires_at_ms: START_MS + 30 * DAY_MS,
            ..v1::Head::default()
        };
        turn(&mut head);
        let inner = match kind {
            EnvelopeKind::Referral => body::Body::Referral(v1::Referral::default()),
            EnvelopeKind::Event => body::Body::Event(v1::Event::default()),
            EnvelopeKind::Blob => body::Body::Blob(v1::Blob::default()),
            EnvelopeKind::Withdrawal => body::Body::Withdrawal(v1::Withdrawal::default()),
            EnvelopeKind::Message => body::Body::Message(v1::ThreadMessage::default()),
            other => panic!("no body for {other}"),
        };
        let body = v1::Body {
            person_salt: SALT.to_vec(),
            person_id: PERSON.to_vec(),
            body: Some(inner),
        };
        seal_envelope(head, &body, to.sealing.public(), &self.signing, &random())
            .unwrap()
            .into_envelope()
    }

    /// The same sealed body under a new id, signed anew: what a gateway cannot tell from a fresh one, at a hundredth of the cost.
    pub(crate) fn copies(&self, envelope: &v1::Envelope, count: usize) -> Vec<v1::Envelope> {
        let mut head = v1::Head::decode(&*envelope.head).unwrap();
        let sealed: Vec<u8> = [&*envelope.enc, &*envelope.ciphertext].concat();
        let tail = [
            (sealed.len() as u64).to_be_bytes().as_slice(),
            &sha256(&[&sealed]),
        ]
        .concat();
        let mut copy = || {
            head.envelope_id = random::<16>().to_vec();
            let head = head.encode_to_vec();
            let line = [sha256(&[&head]).as_slice(), &tail].concat();
            let signature = self.signing.sign(Context::Header, &[&head, &line]).unwrap();
            v1::Envelope {
                head: head.into(),
                signature: signature.0.to_vec().into(),
                ..envelope.clone()
            }
        };
        (0..count).map(|_| copy()).collect()
    }

    /// Numbers and signs envelopes after the last ones that this node has sent to the member.
    pub(crate) fn submission(&mut self, to: &Node, envelopes: Vec<v1::Envelope>) -> v1::Submission {
        let hashes: Vec<[u8; 32]> = envelopes.iter().map(envelope_hash).collect();
        let last = self.sent.get(&to.org).copied().unwrap_or(Position::START);
        let (batch, position) = order::sign(&self.signing, &self.org, &to.org, last, &hashes).unwrap();
        self.sent.insert(to.org.clone(), position);
        v1::Submission {
            envelopes,
            order: Some(batch),
        }
    }

    /// Forgets numbers from a position on, as a node does whose submissions were not taken.
    pub(crate) fn go_back(&mut self, to: &Node, position: Position) {
        self.sent.insert(to.org.clone(), position);
    }

    /// The way to the gateway.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Receipts envelopes as received.
    pub(crate) fn receipt(&self, from: &OrgId, envelopes: &[([u8; 16], [u8; 32])]) -> v1::RecipientReceipts {
        let mut receipts = v1::RecipientReceipts {
            from: from.to_string(),
            to: self.org.to_string(),
            envelope_ids: envelopes.iter().map(|(id, _)| id.to_vec()).collect(),
            envelope_hashes: envelopes.iter().map(|(_, hash)| hash.to_vec()).collect(),
            received_at_ms: START_MS,
            problems: vec![0; envelopes.len()],
            signature: Vec::new(),
        };
        receipt::sign(&self.signing, &mut receipts).unwrap();
        receipts
    }

    /// Says that a slip is to be stopped.
    pub(crate) fn stop_notice(&self, slip: &HeldSlip) -> v1::StopNotice {
        let mut notice = v1::StopNotice {
            slip_id: slip.slip.id.as_bytes().to_vec(),
            withdrawn_at_ms: START_MS,
            signature: Vec::new(),
        };
        receipt::sign(&self.signing, &mut notice).unwrap();
        notice
    }

    /// Attaches as a node that holds nothing.
    pub(crate) async fn attach(&self) -> Line {
        self.attach_holding(Vec::new()).await
    }

    /// Attaches, and waits for the gateway's hello.
    pub(crate) async fn attach_holding(&self, received: Vec<v1::PairPosition>) -> Line {
        let mut line = self.call().await;
        line.send(Up::Hello(v1::NodeHello {
            version: 1,
            node_time_ms: START_MS,
            received,
        }))
        .await;
        match line.next().await {
            Frame::Hello(hello) => line.hello = hello,
            other => panic!("no hello but {other:?}"),
        }
        line
    }

    /// Opens the stream and says nothing yet.
    pub(crate) async fn call(&self) -> Line {
        let (up, frames) = mpsc::channel(4096);
        let mut client = RelayServiceClient::new(self.channel.clone()).max_decoding_message_size(8 << 20);
        let down = client.attach(ReceiverStream::new(frames)).await.unwrap();
        Line {
            up,
            down: down.into_inner(),
            hello: v1::GatewayHello::default(),
            notice: 0,
            gateway_key: self.gateway_key,
        }
    }
}

/// An open stream.
pub(crate) struct Line {
    up: mpsc::Sender<v1::AttachRequest>,
    down: tonic::Streaming<v1::AttachResponse>,
    pub(crate) hello: v1::GatewayHello,
    /// The number of the last notice that came.
    pub(crate) notice: u64,
    gateway_key: PublicKey,
}

/// How a gateway answered one envelope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answered {
    Taken { at_ms: i64 },
    Refused { problem: Problem, again: bool },
}

impl Line {
    /// Sends a frame; a stream that has ended already shows so on the next read.
    pub(crate) async fn send(&self, frame: Up) {
        let request = v1::AttachRequest { frame: Some(frame) };
        self.up.send(request).await.ok();
    }

    /// The next frame, without word of changed members.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            let response = tokio::time::timeout(PATIENCE, self.down.message()).await;
            let response = response
                .expect("a frame in time")
                .expect("no status")
                .expect("a frame");
            if response.notice_number > 0 {
                self.notice = response.notice_number;
            }
            match response.frame.unwrap() {
                Frame::MembersChanged(_) | Frame::CheckpointOffered(_) => {}
                frame => return frame,
            }
        }
    }

    /// Reads until the stream ends, and says with which problem; without word of changed members and of checkpoints, which come when they come.
    pub(crate) async fn ended(&mut self) -> (Vec<Frame>, Problem) {
        let mut frames = Vec::new();
        loop {
            let response = tokio::time::timeout(PATIENCE, self.down.message()).await;
            match response.expect("an end in time") {
                Ok(Some(response)) => frames.extend(response.frame.filter(|frame| {
                    !matches!(frame, Frame::MembersChanged(_) | Frame::CheckpointOffered(_))
                })),
                Ok(None) => panic!("the stream ended without a status"),
                Err(status) => return (frames, failure_of(&status).problem),
            }
        }
    }

    /// Reads answers until `count` envelopes have one, by envelope hash; other frames are given back too.
    pub(crate) async fn answers(&mut self, count: usize) -> BTreeMap<[u8; 32], Answered> {
        let mut answers = BTreeMap::new();
        let mut got = 0;
        while got < count {
            match self.next().await {
                Frame::Receipts(receipts) => {
                    receipt::verify(&self.gateway_key, &receipts).unwrap();
                    got += receipts.envelope_hashes.len();
                    for hash in &receipts.envelope_hashes {
                        let at_ms = receipts.taken_at_ms;
                        answers.insert(hash.as_slice().try_into().unwrap(), Answered::Taken { at_ms });
                    }
                }
                Frame::Refused(refused) => {
                    receipt::verify(&self.gateway_key, &refused).unwrap();
                    got += 1;
                    let answered = Answered::Refused {
                        problem: refused.problem.try_into().unwrap(),
                        again: refused.retry_after_ms > 0,
                    };
                    answers.insert(refused.envelope_hash.as_slice().try_into().unwrap(), answered);
                }
                other => panic!("an answer was awaited, not {other:?}"),
            }
        }
        assert_eq!(got, count, "one answer each");
        answers
    }

    /// Reads deliveries until `count` envelopes or tombstones came; checks that they stand on their lines in order.
    pub(crate) async fn delivered(&mut self, count: usize) -> Vec<Got> {
        let mut got = Vec::new();
        while got.len() < count {
            match self.next().await {
                Frame::Delivery(delivery) => got.extend(
                    delivery
                        .items
                        .iter()
                        .flat_map(|item| read(item, &self.gateway_key)),
                ),
                other => panic!("mail was awaited, not {other:?}"),
            }
        }
        assert_eq!(got.len(), count, "no more than what was sent");
        got
    }
}

impl Line {
    /// Submits and reads the answers, in the order of the lines.
    pub(crate) async fn submit(&mut self, submission: &v1::Submission) -> Vec<Answered> {
        self.send(Up::Submission(submission.clone())).await;
        let hashes: Vec<[u8; 32]> = match &submission.order {
            Some(order) => {
                let hashes = order
                    .lines
                    .iter()
                    .map(|line| line.envelope_hash.as_slice().try_into());
                hashes.collect::<Result<_, _>>().unwrap()
            }
            None => submission.envelopes.iter().map(envelope_hash).collect(),
        };
        let answers = self.answers(hashes.len()).await;
        hashes.iter().map(|hash| answers[hash].clone()).collect()
    }

    /// Reads `count` notices: what they say and their numbers, passing over mail.
    pub(crate) async fn notices(&mut self, count: usize) -> Vec<(u64, Frame)> {
        let mut notices = Vec::new();
        while notices.len() < count {
            match self.next().await {
                Frame::Delivery(_) => {}
                frame => notices.push((self.notice, frame)),
            }
        }
        notices
    }
}

/// A final refusal.
pub(crate) const fn refused(problem: Problem) -> Answered {
    Answered::Refused {
        problem,
        again: false,
    }
}

/// A refusal that leaves the number free.
pub(crate) const fn later(problem: Problem) -> Answered {
    Answered::Refused { problem, again: true }
}

/// One envelope outside the order.
pub(crate) fn alone(envelope: v1::Envelope) -> v1::Submission {
    v1::Submission {
        envelopes: vec![envelope],
        order: None,
    }
}

/// What came down a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) id: [u8; 16],
    pub(crate) hash: [u8; 32],
    pub(crate) number: Option<u64>,
    /// Why there is only a tombstone.
    pub(crate) tombstone: Option<Problem>,
}

/// Reads one item: each envelope or tombstone has its own line in the order batch, if there is one.
fn read(item: &v1::Delivered, gateway_key: &PublicKey) -> Vec<Got> {
    let mut lines = item.order.iter().flat_map(|order| &order.lines);
    let mut all = Vec::new();
    for envelope in &item.envelopes {
        let (id, hash, tombstone): (Vec<u8>, Vec<u8>, _) = match envelope.what.as_ref().unwrap() {
            What::Envelope(envelope) => {
                let head = kith_proto::envelope::Head::parse(&envelope.head).unwrap();
                let hash = envelope_hash(envelope).to_vec();
                (head.envelope_id.as_bytes().to_vec(), hash, None)
            }
            What::Tombstone(dropped) => {
                receipt::verify(gateway_key, dropped).unwrap();
                let problem = Problem::try_from(dropped.problem).unwrap();
                (
                    dropped.envelope_id.clone(),
                    dropped.envelope_hash.clone(),
                    Some(problem),
                )
            }
        };
        let line = item.order.as_ref().map(|_| {
            lines
                .find(|line| line.envelope_hash == hash)
                .expect("a line, in order")
        });
        all.push(Got {
            id: id.try_into().unwrap(),
            hash: hash.try_into().unwrap(),
            number: line.map(|line| line.number),
            tombstone,
        });
    }
    all
}

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    Rng::system().bytes().unwrap()
}

/// Id and hash of an envelope.
pub(crate) fn named(envelope: &v1::Envelope) -> ([u8; 16], [u8; 32]) {
    let head = kith_proto::envelope::Head::parse(&envelope.head).unwrap();
    (*head.envelope_id.as_bytes(), envelope_hash(envelope))
}
