//! The demo network: makes the trust root, names a witness, enrols five organisations, starts and stops their processes.
//! Does everything as its user would: through `kith-gateway` and `kith-node` commands.

mod comeback;
mod workspace;

use crate::cast::{NETWORK, ORGS, Org};
use crate::client::Client;
use crate::process::{Server, Stage};
use anyhow::Context as _;
use kith_gateway::keys::GatewayKeys;
use kith_proto::log::origin::Keeper;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The role the story acts in: a volunteer or a GP is usually a coordinator.
const ACTING: &str = "coordinator";
/// What the witness of a third operator is called.
const WITNESS: &str = "witness.example";
/// How long it may take until the keys of all stand in the network's log and everybody has read it.
const KNOWN_LIMIT: Duration = Duration::from_secs(60);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The witness, which nobody looks for where it was, listens on a loopback port of the system's choice.
const ANY_PORT: &str = "127.0.0.1:0";
/// Where the others listen.
const PORTS: std::ops::Range<u16> = 10_240..32_768;
const PORTS_TRIED_MAX: usize = 1000;

/// One organisation's node.
#[derive(Debug)]
pub struct Node {
    /// Who runs it.
    pub org: Org,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// Its tokens by role.
    pub tokens: BTreeMap<String, String>,
    /// Where its gRPC port was last; kept while it is off.
    pub address: String,
    server: Option<Server>,
}

/// The whole network.
#[derive(Debug)]
pub struct Network {
    stage: Stage,
    folder: PathBuf,
    gateway: Option<Server>,
    gateway_address: String,
    witness: Option<Server>,
    nodes: BTreeMap<&'static str, Node>,
}

#[derive(Serialize)]
struct Listed<'a> {
    gateway: ListedGateway<'a>,
    nodes: Vec<ListedNode<'a>>,
}

#[derive(Serialize)]
struct ListedGateway<'a> {
    address: &'a str,
    data_dir: PathBuf,
}

#[derive(Serialize)]
struct ListedNode<'a> {
    org: &'a str,
    name: &'a str,
    kind: &'a str,
    grpc: &'a str,
    web: String,
    data_dir: &'a Path,
    tokens: &'a BTreeMap<String, String>,
}

impl Network {
    /// Makes or takes up the network in this folder, starts its gateway and a node for each of `orgs`, and writes
    /// `demo.json`. `program` is a program that hands its arguments to [`play_role`](crate::play_role).
    pub async fn start(program: PathBuf, folder: &Path, orgs: &[Org]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let stage = Stage::new(program, folder.join(crate::clock::FILE));
        let fresh = !folder.join("trust").exists();
        let gateway_address = if fresh {
            free_address()?
        } else {
            std::fs::read_to_string(folder.join("gateway.address"))?
                .trim()
                .to_owned()
        };
        let mut network = Self {
            stage,
            folder: folder.to_owned(),
            gateway: None,
            gateway_address,
            witness: None,
            nodes: BTreeMap::new(),
        };
        if fresh {
            network.found()?;
            network.name_witness()?;
        }
        network.start_witness().await?;
        network.start_gateway().await?;
        for org in orgs {
            network.enrol(*org).await?;
        }
        network.all_known(orgs).await?;
        network.write_list()?;
        Ok(network)
    }

    /// Waits until every organisation has found the keys of every other in the network's log: before that none can write to another.
    async fn all_known(&self, orgs: &[Org]) -> anyhow::Result<()> {
        let known = tokio::time::timeout(KNOWN_LIMIT, async {
            for (of, other) in orgs
                .iter()
                .flat_map(|of| orgs.iter().map(move |other| (of, other)))
            {
                let node = self.nodes.get(of.id).context("no such organisation")?;
                let data = node.data_dir.to_string_lossy();
                let asked = ["organisations", "show", other.id, "--data", &data];
                while of.id != other.id && self.stage.run("node", &asked).is_err() {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "another process can only be asked again"
                    )]
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
            anyhow::Ok(())
        });
        known
            .await
            .context("the organisations did not find each other's keys in time")?
    }

    /// Makes root, registrar and gateway keys.
    fn found(&self) -> anyhow::Result<()> {
        std::fs::write(self.folder.join("gateway.address"), &self.gateway_address)?;
        let trust = self.folder.join("trust");
        let out = trust.to_string_lossy();
        let args = [
            "init",
            "--network",
            NETWORK,
            "--address",
            &self.gateway_address,
            "--out",
            &out,
        ];
        self.stage.run("gateway", &args)?;
        Ok(())
    }

    /// A third operator makes a witness; the network's owner signs that without its cosignature no checkpoint counts.
    fn name_witness(&self) -> anyhow::Result<()> {
        let (trust, data) = (self.folder.join("trust"), self.witness_folder());
        let data = data.to_string_lossy();
        let made = ["witness", "init", "--name", WITNESS, "--data", &data];
        let printed = self.stage.run("gateway", &made)?;
        let key = printed.lines().last().context("no key was printed")?.trim();
        let folder = |name: &str| trust.join(name).to_string_lossy().into_owned();
        let (root, registrar, gateway) = (folder("root"), folder("registrar"), folder("gateway"));
        let signed = [
            "policy",
            "--root",
            &root,
            "--registrar",
            &registrar,
            "--data",
            &gateway,
            "--witness",
            key,
        ];
        self.stage.run("gateway", &signed)?;
        Ok(())
    }

    /// Lets another organisation join, and waits until all know its keys.
    pub async fn join(&mut self, org: Org) -> anyhow::Result<()> {
        self.enrol(org).await?;
        let orgs: Vec<Org> = self.nodes.values().map(|node| node.org).collect();
        self.all_known(&orgs).await
    }

    /// Starts the witness, which knows the gateway's log by its key, as `kith-gateway log` prints it, and its network by the root.
    async fn start_witness(&mut self) -> anyhow::Result<()> {
        let keys = GatewayKeys::load(&self.gateway_folder(), self.clock().now_ms())?;
        let key = Keeper::Gateway.log_key(&keys.network, 1, keys.signing.public());
        let key = key.to_string();
        let (data, root) = (self.witness_folder(), keys.root.fingerprint());
        let args = [
            "witness",
            "serve",
            "--data",
            &data.to_string_lossy(),
            "--log-key",
            &key,
            "--root",
            &root,
            "--listen",
            ANY_PORT,
        ];
        let log = self.folder.join("witness.log");
        let server = self
            .stage
            .serve("gateway", &args, &data.join("address"), &log)
            .await?;
        self.witness = Some(server);
        Ok(())
    }

    /// The folder that holds the witness's database and key.
    pub fn witness_folder(&self) -> PathBuf {
        self.folder.join("witness")
    }

    /// Starts the gateway on its own address.
    pub async fn start_gateway(&mut self) -> anyhow::Result<()> {
        let data = self.folder.join("trust/gateway");
        let witness = self.witness.as_ref().context("the witness is not running")?;
        let witness = format!("http://{}/", witness.address);
        let args = [
            "serve",
            "--data",
            &data.to_string_lossy(),
            "--listen",
            &self.gateway_address,
            "--witness",
            &witness,
        ];
        let log = self.folder.join("gateway.log");
        let server = self
            .stage
            .serve("gateway", &args, &data.join("address"), &log)
            .await?;
        self.gateway = Some(server);
        Ok(())
    }

    async fn enrol(&mut self, org: Org) -> anyhow::Result<()> {
        let data_dir = self.folder.join("nodes").join(org.id);
        let data = data_dir.to_string_lossy().into_owned();
        let fresh = !data_dir.exists();
        let tokens;
        if fresh {
            let registrar = self.folder.join("trust/registrar");
            let registrar = registrar.to_string_lossy();
            let invite = [
                "invite",
                org.id,
                "--kind",
                org.kind,
                "--name",
                org.name,
                "--registrar",
                &registrar,
            ];
            let printed = self.stage.run("gateway", &invite)?;
            let token = printed.lines().last().context("no invite was printed")?.trim();
            std::fs::create_dir_all(data_dir.parent().unwrap_or(&self.folder))?;
            let joined = self
                .stage
                .run("node", &["join", token, "--data", &data, "--json"])?;
            // Its recovery sheet, which a demo keeps where a network never would.
            std::fs::write(data_dir.join("demo-recovery.json"), joined)?;
            tokens = self.prepare(&data)?;
            std::fs::write(data_dir.join("demo-tokens.json"), serde_json::to_vec(&tokens)?)?;
        } else {
            tokens = serde_json::from_slice(&std::fs::read(data_dir.join("demo-tokens.json"))?)?;
        }
        let node = Node {
            org,
            data_dir,
            tokens,
            address: free_address()?,
            server: None,
        };
        self.nodes.insert(org.id, node);
        self.start_node(org).await?;
        if fresh {
            self.publish_service(org).await?;
        }
        Ok(())
    }

    async fn publish_service(&self, org: Org) -> anyhow::Result<()> {
        let mut client = self.client_as(org, "admin").await?;
        let purpose: Purpose = org.purpose.parse()?;
        let service = v1::Service {
            name: org.service.to_owned(),
            organisation: org.id.to_owned(),
            purposes: vec![purpose.number()],
            languages: org.languages.iter().map(ToString::to_string).collect(),
            minimum_categories: vec![Category::Identity.number(), Category::Need.number()],
            ..v1::Service::default()
        };
        let request = v1::SetServiceRequest {
            request_id: client.request_id()?,
            service: Some(service),
        };
        client.directory.set_service(request).await?;
        Ok(())
    }

    /// Starts an organisation's node, where it was before if it ran before.
    pub async fn start_node(&mut self, org: Org) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(org.id).context("no such organisation")?;
        let data = node.data_dir.to_string_lossy().into_owned();
        let args = ["serve", "--data", &data, "--grpc", &node.address];
        let log = self.folder.join(format!("{}.log", org.id));
        let server = self
            .stage
            .serve("node", &args, &node.data_dir.join("grpc"), &log)
            .await?;
        node.address.clone_from(&server.address);
        node.server = Some(server);
        Ok(())
    }

    /// Switches an organisation's node off.
    pub async fn stop_node(&mut self, org: Org) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(org.id).context("no such organisation")?;
        match node.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    /// Ends a node's process as a power cut would, in the middle of whatever it does.
    pub fn kill_node(&mut self, org: Org) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(org.id).context("no such organisation")?;
        node.server.take().map_or(Ok(()), |mut server| server.kill())
    }

    /// Ends the gateway's process as a power cut would.
    pub fn kill_gateway(&mut self) -> anyhow::Result<()> {
        self.gateway.take().map_or(Ok(()), |mut server| server.kill())
    }

    /// Runs one command of the gateway or of a node to its end.
    pub fn command(&self, role: &str, args: &[&str]) -> anyhow::Result<String> {
        self.stage.run(role, args)
    }

    /// Ends and starts the gateway's process as a power cut would.
    pub async fn crash_gateway(&mut self) -> anyhow::Result<()> {
        self.kill_gateway()?;
        self.start_gateway().await
    }

    /// Ends and starts a node's process as a power cut would.
    pub async fn crash_node(&mut self, org: Org) -> anyhow::Result<()> {
        self.kill_node(org)?;
        self.start_node(org).await
    }

    /// Connects to an organisation's node as its coordinator.
    pub async fn client(&self, org: Org) -> anyhow::Result<Client> {
        self.client_as(org, ACTING).await
    }

    /// Connects to an organisation's node in a role.
    pub async fn client_as(&self, org: Org, role: &str) -> anyhow::Result<Client> {
        let node = self.nodes.get(org.id).context("no such organisation")?;
        let token = node.tokens.get(role).context("no token for this role")?;
        Client::connect(&node.address, token).await
    }

    /// The node of an organisation.
    pub fn node(&self, org: Org) -> Option<&Node> {
        self.nodes.get(org.id)
    }

    /// The clock that every process of the network follows.
    pub fn clock(&self) -> Clock {
        crate::clock::movable(self.folder.join(crate::clock::FILE))
    }

    /// The gateway's address, `host:port`.
    pub fn gateway_address(&self) -> &str {
        &self.gateway_address
    }

    /// The folder that holds the gateway's database and keys.
    pub fn gateway_folder(&self) -> PathBuf {
        self.folder.join("trust/gateway")
    }

    /// The fingerprint of the network's root key.
    pub fn root_fingerprint(&self) -> anyhow::Result<String> {
        let keys = GatewayKeys::load(&self.gateway_folder(), self.clock().now_ms())?;
        Ok(keys.root.fingerprint())
    }

    /// Process ids of the gateway and of each running node, by organisation.
    pub fn pids(&self) -> (Option<u32>, BTreeMap<&'static str, u32>) {
        let nodes = self.nodes.iter();
        let running = nodes.filter_map(|(id, node)| node.server.as_ref().map(|server| (*id, server.pid())));
        (self.gateway.as_ref().map(Server::pid), running.collect())
    }

    /// Writes `demo.json` beside the network's folders.
    fn write_list(&self) -> anyhow::Result<()> {
        let listed = Listed {
            gateway: ListedGateway {
                address: &self.gateway_address,
                data_dir: self.gateway_folder(),
            },
            nodes: ORGS
                .iter()
                .filter_map(|org| self.nodes.get(org.id))
                .map(|node| {
                    Ok(ListedNode {
                        org: node.org.id,
                        name: node.org.name,
                        kind: node.org.kind,
                        grpc: &node.address,
                        web: self.workspace(node.org)?,
                        data_dir: &node.data_dir,
                        tokens: &node.tokens,
                    })
                })
                .collect::<anyhow::Result<_>>()?,
        };
        // It holds tokens: for this user alone.
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(self.folder.join("demo.json"))?;
        Ok(file.write_all(&serde_json::to_vec_pretty(&listed)?)?)
    }

    /// Stops every process.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for org in ORGS
            .iter()
            .filter(|org| self.nodes.contains_key(org.id))
            .copied()
            .collect::<Vec<_>>()
        {
            self.stop_node(org).await?;
        }
        for server in [self.gateway.take(), self.witness.take()].into_iter().flatten() {
            server.stop().await?;
        }
        Ok(())
    }
}

/// A loopback address that is free now, for a server that is started and stopped: below the ports that the system gives to connections
/// and to listeners that leave the choice to it, so that none of those takes the place meanwhile.
fn free_address() -> anyhow::Result<String> {
    for _ in 0..PORTS_TRIED_MAX {
        let drawn = u16::from_be_bytes(Rng::system().bytes()?);
        let port = PORTS.start + drawn % (PORTS.end - PORTS.start);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener.local_addr()?.to_string());
        }
    }
    anyhow::bail!("no port between {} and {} is free", PORTS.start, PORTS.end)
}
