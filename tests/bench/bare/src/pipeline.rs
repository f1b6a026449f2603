//! The pipeline: client -> node A -> gateway -> (gateway pushes down B's outbound stream) node B -> acks back.
//! Each role is its own OS process with its own SQLite file (WAL, synchronous=FULL) and group-committing writer.
//! The call into A returns only when B has committed, so a client-side latency is a full end-to-end acknowledgement.
use crate::db::{Op, Writer};
use crate::grpc::*;
use crate::stats::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

struct Keys {
    sign: aws_lc_rs::signature::Ed25519KeyPair,
    vk: Vec<u8>,
    hpk: HpkePublicKey,
    hsk: HpkePrivateKey,
}
// The product's suite: HPKE base mode, ML-KEM-768 + X25519 (0x647a), HKDF-SHA256, ChaCha20-Poly1305; the fastest
// library found (libcrux) so that this stays a lower bound.
use hpke_rs::{Hpke, HpkePrivateKey, HpkePublicKey, Mode as HpkeMode, hpke_types::*};
type Suite = Hpke<hpke_rs::libcrux::HpkeLibcrux<hpke_rs::libcrux::HpkeLibcruxPrng>>;
fn suite() -> Suite {
    Hpke::new(HpkeMode::Base, KemAlgorithm::XWingDraft06, KdfAlgorithm::HkdfSha256, AeadAlgorithm::ChaCha20Poly1305)
}
thread_local! { static SUITE: std::cell::RefCell<Suite> = std::cell::RefCell::new(suite()); }
fn seal(k: &Keys, body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    SUITE.with_borrow_mut(|h| h.seal(&k.hpk, b"ref", b"aad", body, None, None, None).unwrap())
}
fn open(k: &Keys, enc: &[u8], ct: &[u8]) -> Vec<u8> {
    SUITE.with_borrow_mut(|h| h.open(enc, &k.hsk, b"ref", b"aad", ct, None, None, None).unwrap())
}
pub fn make_keys(dir: &Path) {
    let (sk, pk) = suite().generate_key_pair().unwrap().into_keys();
    std::fs::write(dir.join("hpke.pk"), pk.as_slice()).unwrap();
    std::fs::write(dir.join("hpke.sk"), sk.as_slice()).unwrap();
}
fn keys(dir: &Path) -> Keys {
    use aws_lc_rs::signature::KeyPair;
    let sign = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[7u8; 32]).unwrap();
    let vk = sign.public_key().as_ref().to_vec();
    Keys {
        sign,
        vk,
        hpk: HpkePublicKey::new(std::fs::read(dir.join("hpke.pk")).unwrap()),
        hsk: HpkePrivateKey::new(std::fs::read(dir.join("hpke.sk")).unwrap()),
    }
}
fn verify(k: &Keys, e: &Envelope) -> Result<(), Status> {
    aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &k.vk)
        .verify(&e.body, &e.sig)
        .map_err(|_| Status::unauthenticated("signature"))
}

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>;

/// One long-lived bidi stream to the next hop; `call` resolves when that message's ack comes back.
#[derive(Clone)]
pub struct Pipe {
    tx: mpsc::Sender<Envelope>,
    pending: Pending,
}
impl Pipe {
    pub async fn open(mut c: RelayClient<Channel>) -> Pipe {
        let (tx, rx) = mpsc::channel(1024);
        let mut acks = c.echo(ReceiverStream::new(rx)).await.unwrap().into_inner();
        let pending: Pending = Default::default();
        let p2 = pending.clone();
        tokio::spawn(async move {
            while let Some(Ok(a)) = acks.next().await {
                if let Some(t) = p2.lock().unwrap().remove(&a.id) {
                    let _ = t.send(());
                }
            }
        });
        Pipe { tx, pending }
    }
    pub async fn call(&self, e: Envelope) -> Result<(), Status> {
        let (tx, rx) = oneshot::channel();
        self.pending.lock().unwrap().insert(e.id, tx);
        self.tx.send(e).await.map_err(|_| Status::unavailable("next hop"))?;
        rx.await.map_err(|_| Status::unavailable("next hop"))
    }
}

/// Serves a bidi stream by running `f` for every message concurrently and acknowledging each when it is done.
fn serve_stream<F, Fut>(mut inbox: Streaming<Envelope>, f: F) -> AckStream
where
    F: Fn(Envelope) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Ack, Status>> + Send + 'static,
{
    let (tx, rx) = mpsc::channel(1024);
    tokio::spawn(async move {
        while let Some(Ok(e)) = inbox.next().await {
            let (tx, fut) = (tx.clone(), f(e));
            tokio::spawn(async move {
                let _ = tx.send(fut.await).await;
            });
        }
    });
    Box::pin(ReceiverStream::new(rx))
}

#[derive(Clone)]
pub struct NodeA {
    db: Writer,
    pipe: Pipe,
    keys: Arc<Keys>,
}
impl NodeA {
    pub async fn new(dir: &Path, gw: u16) -> NodeA {
        let pipe = Pipe::open(connect(dir, gw).await).await;
        NodeA { db: Writer::start(&dir.join("a.db"), 512), pipe, keys: Arc::new(keys(dir)) }
    }
    async fn handle(self, mut e: Envelope) -> Result<Ack, Status> {
        let (enc, ct) = seal(&self.keys, &e.body);
        e.sig = self.keys.sign.sign(&ct).as_ref().to_vec().into();
        e.enc = enc.into();
        e.body = ct.into();
        let id = e.id;
        self.db.put(Op::Insert(id as i64, e.body.clone())).await;
        self.pipe.call(e).await?;
        self.db.put(Op::Mark(id as i64)).await;
        Ok(Ack { id })
    }
}
#[tonic::async_trait]
impl Relay for NodeA {
    type EchoStream = AckStream;
    type AttachStream = EnvStream;
    async fn echo(&self, r: Request<Streaming<Envelope>>) -> Result<Response<AckStream>, Status> {
        let me = self.clone();
        Ok(Response::new(serve_stream(r.into_inner(), move |e| me.clone().handle(e))))
    }
    async fn attach(&self, _: Request<Streaming<Ack>>) -> Result<Response<EnvStream>, Status> {
        Err(Status::unimplemented("attach"))
    }
}

#[derive(Clone)]
pub struct Gateway {
    db: Writer,
    keys: Arc<Keys>,
    down: Arc<Mutex<Option<mpsc::Sender<Result<Envelope, Status>>>>>,
    pending: Pending,
}
impl Gateway {
    pub fn new(dir: &Path) -> Gateway {
        Gateway { db: Writer::start(&dir.join("gw.db"), 512), keys: Arc::new(keys(dir)), down: Default::default(), pending: Default::default() }
    }
}
impl Gateway {
    async fn handle(self, e: Envelope) -> Result<Ack, Status> {
        verify(&self.keys, &e)?;
        let id = e.id;
        self.db.put(Op::Insert(id as i64, e.body.clone())).await;
        let (tx, rx) = oneshot::channel();
        self.pending.lock().unwrap().insert(id, tx);
        let down = self.down.lock().unwrap().clone().ok_or_else(|| Status::unavailable("B offline"))?;
        down.send(Ok(e)).await.map_err(|_| Status::unavailable("B gone"))?;
        rx.await.map_err(|_| Status::unavailable("B gone"))?;
        self.db.put(Op::Mark(id as i64)).await;
        Ok(Ack { id })
    }
}
#[tonic::async_trait]
impl Relay for Gateway {
    type EchoStream = AckStream;
    type AttachStream = EnvStream;
    async fn echo(&self, r: Request<Streaming<Envelope>>) -> Result<Response<AckStream>, Status> {
        let me = self.clone();
        Ok(Response::new(serve_stream(r.into_inner(), move |e| me.clone().handle(e))))
    }
    async fn attach(&self, r: Request<Streaming<Ack>>) -> Result<Response<EnvStream>, Status> {
        let (tx, rx) = mpsc::channel(1024);
        *self.down.lock().unwrap() = Some(tx);
        let (mut acks, pending) = (r.into_inner(), self.pending.clone());
        tokio::spawn(async move {
            while let Some(Ok(a)) = acks.next().await {
                if let Some(tx) = pending.lock().unwrap().remove(&a.id) {
                    let _ = tx.send(());
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }
}

pub async fn node_b(dir: &Path, gw: u16) {
    let db = Writer::start(&dir.join("b.db"), 512);
    let keys = Arc::new(keys(dir));
    let mut c = connect(dir, gw).await;
    let (tx, rx) = mpsc::channel(1024);
    let mut inbox = c.attach(ReceiverStream::new(rx)).await.unwrap().into_inner();
    std::fs::write(dir.join("b.ready"), b"1").unwrap();
    while let Some(Ok(e)) = inbox.next().await {
        let (db, keys, tx) = (db.clone(), keys.clone(), tx.clone());
        tokio::spawn(async move {
            verify(&keys, &e).unwrap();
            assert_eq!(open(&keys, &e.enc, &e.body).len(), 4096);
            db.put(Op::Insert(e.id as i64, e.body)).await;
            let _ = tx.send(Ack { id: e.id }).await;
        });
    }
}

/// Starts the three processes and measures `n` repetitions at 1, 16 and 256 in flight.
pub async fn bench(rep: &mut Report, dir: &Path, n: usize) {
    make_keys(dir);
    let body = prost::bytes::Bytes::from(crate::payload(4096));
    let ds = dir.to_str().unwrap();
    let (pas, pgs) = (free_port(), free_port());
    let g = Role::start(&["gateway", ds, &pgs]);
    let b = Role::start(&["nodeb", ds, &pgs]);
    while !dir.join("b.ready").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let a = Role::start(&["nodea", ds, &pas, &pgs]);
    let pipe = Pipe::open(connect(dir, pas.parse().unwrap()).await).await;
    let mut next = 1u64;
    drive(&pipe, next, 500, 16, body.clone()).await;
    next += 500;
    for (flight, total) in [(1usize, 400u64), (16, 2000), (256, 4000)] {
        let mut reps = crate::quiet::Runs::new(n);
        while reps.more() {
            let c0 = [a.cpu(), g.cpu(), b.cpu()];
            let mut r = drive(&pipe, next, total, flight, body.clone()).await;
            next += total;
            let c1 = [a.cpu(), g.cpu(), b.cpu()];
            let d: Vec<f64> = (0..3).map(|i| (c1[i] - c0[i]) * 1e6 / total as f64).collect();
            r.note = format!("CPU us/referral A {:.0} gateway {:.0} B {:.0}", d[0], d[1], d[2]);
            reps.push(r);
        }
        let label = format!("5 commits + HPKE + Ed25519 + audit chain, streams not unary; {flight} in flight");
        rep.add(&label, "referrals/s", reps.done());
    }
    rep.fact("peak RSS", format!("A {:.0} MiB, gateway {:.0} MiB, B {:.0} MiB", a.rss_mib(), g.rss_mib(), b.rss_mib()));
}

fn free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// Sends `total` bodies over one stream with at most `flight` unanswered; times each to its end-to-end answer.
async fn drive(pipe: &Pipe, first: u64, total: u64, flight: usize, body: prost::bytes::Bytes) -> Rep {
    let sem = Arc::new(tokio::sync::Semaphore::new(flight));
    let t0 = std::time::Instant::now();
    let mut js = tokio::task::JoinSet::new();
    let mut lat = vec![];
    for i in 0..total {
        let permit = sem.clone().acquire_owned().await.unwrap();
        let (p, e) = (pipe.clone(), Envelope { id: first + i, body: body.clone(), ..Default::default() });
        js.spawn(async move {
            let t = std::time::Instant::now();
            p.call(e).await.unwrap();
            drop(permit);
            t.elapsed().as_nanos() as f64 / 1000.0
        });
    }
    while let Some(r) = js.join_next().await {
        lat.push(r.unwrap());
    }
    Rep { units: total, wall: t0.elapsed(), lat_us: lat, note: String::new() }
}
