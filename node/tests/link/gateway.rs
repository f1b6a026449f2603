//! A gateway as small as a test needs it: ends TLS, enrols, lists members, and leaves every frame of a stream to the story.
//! Never decides anything by itself: what it takes, refuses and delivers is written in the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kith_proto::envelope::Head;
use kith_proto::id::{Address, InviteId, NetworkName};
use kith_proto::problem::Problem;
use kith_proto::receipt::{self, SignedFrame};
use kith_proto::sign::SigningKey;
use kith_proto::trust::{self, InviteTerms, InviteToken, Rekeyed};
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::enrolment_service_server::EnrolmentServiceServer;
use kith_proto::v1::log_service_server::LogServiceServer;
use kith_proto::v1::relay_service_server::RelayServiceServer;
use kith_proto::v1::restore_service_server::RestoreServiceServer;
use kith_proto::v1::{self, AttachRequest, AttachResponse};
use kith_proto::words::OrganisationKind;
use kith_service::clock::Clock;
use kith_service::status::status;
use kith_service::tls::incoming::{self, Incoming};
use kith_service::tls::issue::{IssuingKey, Validity};
use kith_service::tls::{KeyedChain, root_certificate, server_config};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::logs::Logs;
use crate::peer::random;
use crate::restoring::Script;
use crate::services::Service;

/// When every story begins.
pub(crate) const T0: i64 = 1_800_000_000_000;
/// A day.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The network of every story.
pub(crate) const NETWORK: &str = "lune-valley.example";
/// Longest wait for what must come; far above what any machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The gateway's side of everything.
pub(crate) struct Gateway {
    pub(crate) address: String,
    pub(crate) inner: Arc<Inner>,
    attached: mpsc::Receiver<Attached>,
    serving: tokio::task::JoinHandle<()>,
}

/// What its services share.
pub(crate) struct Inner {
    pub(crate) network: NetworkName,
    pub(crate) root: SigningKey,
    registrar: SigningKey,
    pub(crate) receipts: SigningKey,
    issuing: IssuingKey,
    pub(crate) clock: Clock,
    pub(crate) members: Mutex<BTreeMap<String, v1::Member>>,
    /// Enrolments and renewals that were answered.
    pub(crate) issued: Mutex<Vec<v1::EnrolRequest>>,
    pub(crate) renewed: Mutex<u32>,
    pub(crate) certificate_life_ms: Mutex<i64>,
    /// Enrol or publish, but lose the answer; list members only from the beginning.
    pub(crate) lose_answers: Mutex<u32>,
    pub(crate) tells_once: Mutex<bool>,
    /// How often members were listed.
    pub(crate) listings: Mutex<u32>,
    /// Its own log, and what it cosigned of its members'.
    pub(crate) logs: Mutex<Logs>,
    /// What it says to a restored node.
    pub(crate) restore: Mutex<Script>,
    pub(crate) attached: mpsc::Sender<Attached>,
}

/// One stream of a node.
pub(crate) struct Attached {
    pub(crate) org: String,
    pub(crate) up: Streaming<AttachRequest>,
    pub(crate) down: mpsc::Sender<Result<AttachResponse, Status>>,
    pub(crate) inner: Arc<Inner>,
    pub(crate) received: Vec<v1::PairPosition>,
}

impl Gateway {
    /// Serves on a free port of this computer.
    pub(crate) async fn start(clock: Clock) -> Self {
        let network: NetworkName = NETWORK.parse().unwrap();
        let life = Validity {
            not_before_ms: T0 - 400 * DAY_MS,
            not_after_ms: T0 + 1000 * DAY_MS,
        };
        let issuing = IssuingKey::generate(&network, life).unwrap();
        let server = issuing.issue_server(&format!("gateway.{NETWORK}"), life).unwrap();
        let chain = KeyedChain {
            chain_pem: server.chain_pem.as_bytes(),
            key_pem: server.key_pem.as_bytes(),
        };
        let root = root_certificate(issuing.certificate_pem().as_bytes()).unwrap();
        let judge = clock.clone();
        let config = server_config(chain, Some(root), move || judge.now_ms()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, attached) = mpsc::channel(16);
        let inner = Arc::new(Inner {
            network,
            root: SigningKey::from_seed([1; 32]).unwrap(),
            registrar: SigningKey::from_seed([2; 32]).unwrap(),
            receipts: SigningKey::from_seed([3; 32]).unwrap(),
            issuing,
            clock,
            members: Mutex::default(),
            issued: Mutex::default(),
            renewed: Mutex::default(),
            certificate_life_ms: Mutex::new(7 * DAY_MS),
            lose_answers: Mutex::default(),
            tells_once: Mutex::default(),
            listings: Mutex::default(),
            logs: Mutex::default(),
            restore: Mutex::default(),
            attached: sender,
        });
        let services = incoming::server()
            .add_service(EnrolmentServiceServer::new(Service(inner.clone())))
            .add_service(LogServiceServer::new(Service(inner.clone())))
            .add_service(RestoreServiceServer::new(Service(inner.clone())))
            .add_service(RelayServiceServer::new(Service(inner.clone())).max_decoding_message_size(8 << 20));
        let serving = tokio::spawn(async move {
            services
                .serve_with_incoming(Incoming::tls(incoming::tcp(listener), config))
                .await
                .unwrap();
        });
        Self {
            address,
            inner,
            attached,
            serving,
        }
    }

    /// The next stream that a node opens, before any hello of the gateway.
    pub(crate) async fn attached(&mut self) -> Attached {
        let next = tokio::time::timeout(PATIENCE, self.attached.recv());
        next.await.expect("a node attaches in time").unwrap()
    }

    /// The next stream, greeted as one that has taken `taken`.
    pub(crate) async fn greeted(&mut self, taken: Vec<v1::PairPosition>) -> Attached {
        let mut attached = self.attached().await;
        attached.greet(taken, 0).await;
        attached
    }

    /// An invite for an organisation.
    pub(crate) fn invite(&self, org: &str) -> InviteToken {
        self.inner.invite(org, &self.address)
    }

    /// The token with which a member gets new keys.
    pub(crate) fn rekey_token(&self, org: &str) -> InviteToken {
        let inner = &self.inner;
        let chain = inner.chain(org);
        let now_ms = inner.clock.now_ms();
        let member = trust::verify_chain(&chain, &inner.root.public(), &inner.network, now_ms).unwrap();
        let mut token = self.invite(org);
        let terms = InviteTerms {
            invite_id: InviteId::from_bytes(random()),
            network: inner.network.clone(),
            org: member.org.clone(),
            kind: member.kind,
            name: member.name.clone(),
            seed_public_key: SigningKey::from_seed(token.seed).unwrap().public(),
        };
        let rekeyed = Rekeyed::of(&member).unwrap();
        token.invite = trust::issue_rekey_invite(&inner.registrar, terms, &rekeyed, now_ms).unwrap();
        token
    }

    /// Stops listening.
    pub(crate) fn stop(&self) {
        self.serving.abort();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn invite(&self, org: &str, address: &str) -> InviteToken {
        let seed = random();
        let registrar = trust::issue_registrar(
            &self.root,
            &self.network,
            &self.registrar.public(),
            T0 - DAY_MS,
            T0 + 300 * DAY_MS,
        );
        let terms = InviteTerms {
            invite_id: InviteId::from_bytes(random()),
            network: self.network.clone(),
            org: org.parse().unwrap(),
            kind: OrganisationKind::PeerGroup,
            name: format!("The organisation {org}"),
            seed_public_key: SigningKey::from_seed(seed).unwrap().public(),
        };
        InviteToken {
            gateway: address.to_owned(),
            root: self.root.public(),
            seed,
            registrar: registrar.unwrap(),
            invite: trust::issue_invite(&self.registrar, terms, self.clock.now_ms()).unwrap(),
            issuer: self.issuer(),
            policy: self.policy(),
        }
    }

    fn issuer(&self) -> v1::Signed {
        let der = root_certificate(self.issuing.certificate_pem().as_bytes()).unwrap();
        let key = self.receipts.public();
        trust::issue_issuer(&self.root, &self.network, &der, &key, T0 + 1000 * DAY_MS).unwrap()
    }

    /// Lists a member with this chain from now on, each of its bindings with a leaf.
    pub(crate) fn list(&self, org: &str, chain: v1::BindingChain) {
        self.logs.lock().unwrap().list(org, &chain);
        let member = v1::Member {
            organisation: org.to_owned(),
            chain: Some(chain),
            ..v1::Member::default()
        };
        self.members.lock().unwrap().insert(org.to_owned(), member);
    }

    /// The chain of a member.
    pub(crate) fn chain(&self, org: &str) -> v1::BindingChain {
        self.members.lock().unwrap()[org].chain.clone().unwrap()
    }

    pub(crate) fn certificate(&self, org: &str, request_der: &[u8]) -> Vec<u8> {
        let now_ms = self.clock.now_ms();
        let life_ms = *self.certificate_life_ms.lock().unwrap();
        let validity = Validity {
            not_before_ms: now_ms - DAY_MS,
            not_after_ms: now_ms + life_ms,
        };
        let member = Address {
            org: org.parse().unwrap(),
            network: self.network.clone(),
        };
        self.issuing
            .issue_member(request_der, &member, validity)
            .unwrap()
            .into_bytes()
    }

    /// Fails while answers are to be lost.
    pub(crate) fn loses_an_answer(&self) -> Result<(), Status> {
        let mut lose = self.lose_answers.lock().unwrap();
        let Some(fewer) = lose.checked_sub(1) else {
            return Ok(());
        };
        *lose = fewer;
        Err(status(Problem::Unavailable))
    }

    /// Signs a frame as the gateway does.
    pub(crate) fn sign<F: SignedFrame>(&self, mut frame: F) -> F {
        receipt::sign(&self.receipts, &mut frame).unwrap();
        frame
    }
}

impl Attached {
    /// Reads the node's hello and answers it, with a clock that is `ahead_ms` ahead of the story's.
    pub(crate) async fn greet(&mut self, taken: Vec<v1::PairPosition>, ahead_ms: i64) {
        let Up::Hello(hello) = self.next().await else {
            panic!("the first frame is no hello");
        };
        assert_eq!(hello.version, 1);
        self.received = hello.received;
        let hello = v1::GatewayHello {
            gateway_time_ms: self.inner.clock.now_ms() + ahead_ms,
            taken,
            submissions_in_flight_max: 1024,
            issuer: Some(self.inner.issuer()),
        };
        self.send(Down::Hello(hello)).await;
    }

    /// The node's next frame, but for the word that all stops were told.
    pub(crate) async fn next(&mut self) -> Up {
        loop {
            match self.any().await {
                Up::StopsTold(_) => {}
                frame => return frame,
            }
        }
    }

    /// The node's next frame.
    pub(crate) async fn any(&mut self) -> Up {
        let next = tokio::time::timeout(PATIENCE, self.up.message()).await;
        let next = next.expect("a frame comes in time").expect("the stream is whole");
        next.expect("the stream is open").frame.unwrap()
    }

    /// Whether the node ends the stream before it sends anything more, but for the word that all stops were told.
    pub(crate) async fn is_left(&mut self) -> bool {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.up.message()).await;
            match next
                .expect("something comes in time")
                .map(|next| next.and_then(|next| next.frame))
            {
                Ok(Some(Up::StopsTold(_))) => {}
                next => return matches!(next, Ok(None) | Err(_)),
            }
        }
    }

    /// The next frame, which must be a submission.
    pub(crate) async fn submission(&mut self) -> v1::Submission {
        match self.next().await {
            Up::Submission(submission) => submission,
            other => panic!("no submission: {other:?}"),
        }
    }

    /// Submissions until `count` envelopes and withheld lines have come.
    pub(crate) async fn submissions(&mut self, count: usize) -> Vec<v1::Submission> {
        let mut all = Vec::new();
        let mut come = 0;
        while come < count {
            let one = self.submission().await;
            come += one
                .order
                .as_ref()
                .map_or(one.envelopes.len(), |order| order.lines.len());
            all.push(one);
        }
        assert_eq!(come, count);
        all
    }

    /// The next frame, which must be receipts for a sender.
    pub(crate) async fn receipts(&mut self) -> v1::RecipientReceipts {
        match self.next().await {
            Up::Receipts(receipts) => receipts,
            other => panic!("no receipts: {other:?}"),
        }
    }

    /// The next frame, which must say that notices are held.
    pub(crate) async fn held(&mut self) -> u64 {
        match self.next().await {
            Up::NoticesHeld(held) => held.number,
            other => panic!("no notices held: {other:?}"),
        }
    }

    /// Sends a frame that is no notice.
    pub(crate) async fn send(&mut self, frame: Down) {
        self.notice(0, frame).await;
    }

    /// Sends a frame under a notice number.
    pub(crate) async fn notice(&mut self, number: u64, frame: Down) {
        let response = AttachResponse {
            frame: Some(frame),
            notice_number: number,
        };
        self.down.send(Ok(response)).await.unwrap();
    }

    /// Signs for envelopes.
    pub(crate) async fn take(&mut self, envelopes: &[v1::Envelope]) {
        let ids = envelopes.iter().map(|e| head(e).envelope_id.as_bytes().to_vec());
        let hashes = envelopes
            .iter()
            .map(|e| kith_proto::envelope::envelope_hash(e).to_vec());
        let receipts = v1::GatewayReceipts {
            envelope_ids: ids.collect(),
            envelope_hashes: hashes.collect(),
            taken_at_ms: self.inner.clock.now_ms(),
            signature: Vec::new(),
        };
        let receipts = self.inner.sign(receipts);
        self.send(Down::Receipts(receipts)).await;
    }

    /// Refuses an envelope: for good with `retry_after_ms` 0.
    pub(crate) async fn refuse(&mut self, envelope: &v1::Envelope, problem: Problem, retry_after_ms: i64) {
        let refused = v1::Refused {
            envelope_id: head(envelope).envelope_id.as_bytes().to_vec(),
            envelope_hash: kith_proto::envelope::envelope_hash(envelope).to_vec(),
            problem: problem.number(),
            categories: Vec::new(),
            refused_at_ms: self.inner.clock.now_ms(),
            signature: Vec::new(),
            retry_after_ms,
        };
        let refused = self.inner.sign(refused);
        self.send(Down::Refused(refused)).await;
    }

    /// Delivers items as they are.
    pub(crate) async fn deliver(&mut self, items: Vec<v1::Delivered>) {
        self.send(Down::Delivery(v1::Delivery { items })).await;
    }

    /// Breaks the stream.
    pub(crate) async fn break_off(self) {
        self.down.send(Err(status(Problem::Unavailable))).await.ok();
    }
}

/// The head of an envelope that a node made.
pub(crate) fn head(envelope: &v1::Envelope) -> Head {
    Head::parse(&envelope.head).unwrap()
}
