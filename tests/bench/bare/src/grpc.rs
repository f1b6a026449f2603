//! Messages, TLS set-up and child processes of the bare pipeline; called by `pipeline`. Must never grow a product's work.
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use tokio_stream::Stream;
use tonic::transport::*;
use tonic::Status;

pub mod relay {
    include!(concat!(env!("OUT_DIR"), "/bare.Relay.rs"));
}
pub use relay::relay_client::RelayClient;
pub use relay::relay_server::{Relay, RelayServer};

#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub body: prost::bytes::Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub enc: prost::bytes::Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub sig: prost::bytes::Bytes,
}
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ack {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

pub type AckStream = Pin<Box<dyn Stream<Item = Result<Ack, Status>> + Send>>;
pub type EnvStream = Pin<Box<dyn Stream<Item = Result<Envelope, Status>> + Send>>;

pub fn make_certs(dir: &Path) {
    use rcgen::*;
    let mut cap = CertificateParams::new(vec![]).unwrap();
    cap.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    cap.distinguished_name.push(DnType::CommonName, "limit ca");
    let cak = KeyPair::generate().unwrap();
    let ca = cap.self_signed(&cak).unwrap();
    let k = KeyPair::generate().unwrap();
    let mut p = CertificateParams::new(vec!["localhost".into()]).unwrap();
    p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let c = p.signed_by(&k, &Issuer::from_params(&cap, &cak)).unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(dir.join("leaf.pem"), c.pem()).unwrap();
    std::fs::write(dir.join("leaf.key"), k.serialize_pem()).unwrap();
}

fn id(dir: &Path) -> (Certificate, Identity) {
    let r = |n: &str| std::fs::read(dir.join(n)).unwrap();
    (Certificate::from_pem(r("ca.pem")), Identity::from_pem(r("leaf.pem"), r("leaf.key")))
}

pub async fn serve<R: Relay>(dir: &Path, port: u16, r: R) {
    let (ca, me) = id(dir);
    Server::builder()
        .tls_config(ServerTlsConfig::new().identity(me).client_ca_root(ca)).unwrap()
        .tcp_nodelay(true)
        .max_concurrent_streams(Some(4096))
        .initial_stream_window_size(Some(2 << 20))
        .initial_connection_window_size(Some(8 << 20))
        .add_service(RelayServer::new(r))
        .serve(([127, 0, 0, 1], port).into())
        .await
        .unwrap();
}

pub async fn connect(dir: &Path, port: u16) -> RelayClient<Channel> {
    let (ca, me) = id(dir);
    let e = Endpoint::from_shared(format!("https://localhost:{port}")).unwrap()
        .tls_config(ClientTlsConfig::new().ca_certificate(ca).identity(me).domain_name("localhost")).unwrap()
        .tcp_nodelay(true)
        .initial_stream_window_size(Some(2 << 20))
        .initial_connection_window_size(Some(8 << 20));
    for _ in 0..200 {
        if let Ok(c) = e.connect().await {
            return RelayClient::new(c);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no server on {port}");
}

/// A child process of this same binary playing one role; ended by its pid when dropped.
pub struct Role(pub std::process::Child);
impl Role {
    pub fn start(args: &[&str]) -> Role {
        Role(std::process::Command::new(std::env::current_exe().unwrap()).arg("role").args(args).spawn().unwrap())
    }
    pub fn cpu(&self) -> f64 {
        cpu_of(self.0.id())
    }
    pub fn rss_mib(&self) -> f64 {
        let s = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        s.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.trim().split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}
impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
pub fn cpu_of(pid: u32) -> f64 {
    let s = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let f: Vec<&str> = s.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    if f.len() < 14 {
        return 0.0;
    }
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
