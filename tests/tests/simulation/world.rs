//! The simulated network: a gateway and three nodes that have joined, every link a name, every crash a call.
//! `run` moves it step by step. All randomness is the seed's, except for TLS keys, which nothing that is traced depends on.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use kith_gateway::keys::{self, NetworkTerms, RegistrarKeys};
use kith_gateway::{GatewayConfig, invite};
use kith_node::join::Joining;
use kith_node::keys::DataFolder;
use kith_node::node::{Config, Node};
use kith_service::rng::Rng;
use kith_service::tls::dial::Dial;
use tempfile::TempDir;
use turmoil::Sim;
use turmoil::net::TcpStream;

use crate::backups::Backup;
use crate::facts::{self, Waiting};
use crate::host::{self, GATEWAY, GatewayPlace, NodePlace, Office};
use crate::op::{Host, Org};
use crate::time::Time;
use crate::trace::Trace;

/// The network's name.
pub(crate) const NETWORK: &str = "lune-valley.example";

/// The step of virtual time: fine beside a journey over the network, and a minute still costs only 6,000 of them.
const TICK: Duration = Duration::from_millis(10);
/// The shortest and the longest journey of a segment.
const JOURNEY: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(80)];
/// Longer than any list takes.
const SIMULATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Segments that a socket holds: more than a link ever has under way.
const SEGMENTS_MAX: usize = 4096;
/// The longest that a node may work on what its people ask, which nothing outside it can hold up.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest that joining may take.
const JOIN_MAX: Duration = Duration::from_secs(60);

/// A running simulation.
pub(crate) struct World {
    sim: Sim<'static>,
    pub(crate) gateway: GatewayPlace,
    pub(crate) nodes: BTreeMap<Org, NodePlace>,
    running: BTreeSet<Host>,
    pub(crate) time: Time,
    pub(crate) trace: Trace,
    /// The newest backup of each host.
    pub(crate) backups: BTreeMap<Host, Backup>,
    /// Folders copied so far.
    pub(crate) copies: usize,
    /// Envelopes that the gateway had taken when it was lost.
    pub(crate) taken_before: BTreeSet<Vec<u8>>,
    pub(crate) folder: TempDir,
    _log: tracing::subscriber::DefaultGuard,
}

/// What is left when everything has ended.
pub(crate) struct Ended {
    /// Every file with its path, as they were at the end.
    pub(crate) written: Vec<(String, Vec<u8>)>,
    pub(crate) joinings: BTreeMap<Org, Joining>,
    pub(crate) gateway_config: GatewayConfig,
    pub(crate) taken_before: BTreeSet<Vec<u8>>,
    pub(crate) trace: Trace,
    _folder: TempDir,
}

impl World {
    /// A network whose members have all joined and know each other.
    pub(crate) fn begin(seed: u64) -> Self {
        let time = Time::default();
        let trace = Trace::new(time.clone());
        let log = trace.log();
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(UNIX_EPOCH)
            .tick_duration(TICK)
            .min_message_latency(JOURNEY[0])
            .max_message_latency(JOURNEY[1])
            .simulation_duration(SIMULATION_MAX)
            .tcp_capacity(SEGMENTS_MAX)
            .build();
        let folder = folder();
        let network = folder.path().join("network");
        let terms = NetworkTerms {
            network: NETWORK.parse().unwrap(),
            public_address: GATEWAY.to_owned(),
        };
        keys::create(&terms, &network, &time.clock(), &Rng::seeded(seed)).unwrap();
        let gateway = GatewayPlace {
            config: Rc::new(RefCell::new(GatewayConfig::in_folder(&network.join("gateway")))),
            root: network.join("root"),
            restoring: Rc::default(),
            clock: time.clock(),
            // One stream over all restarts: a gateway that starts again must not draw the same ids again.
            rng: Rng::seeded(seed ^ 0xA000),
            office: Office::new(),
        };
        let mut world = Self {
            sim,
            gateway,
            nodes: BTreeMap::new(),
            running: Host::ALL.into_iter().collect(),
            time,
            trace,
            backups: BTreeMap::new(),
            copies: 0,
            taken_before: BTreeSet::new(),
            folder,
            _log: log,
        };
        world.build_gateway();
        for org in Org::ALL {
            world.build_node(org, seed);
        }
        world.until_joined();
        world
    }

    fn build_gateway(&mut self) {
        let place = self.gateway.clone();
        self.sim
            .host(Host::Gateway.name(), move || host::gateway(place.clone()));
    }

    fn build_node(&mut self, org: Org, seed: u64) {
        let rng = Rng::seeded(seed ^ (0xB000 + org as u64));
        let registrar = self.folder.path().join("network/registrar");
        let registrar = RegistrarKeys::load(&registrar, self.time.clock().now_ms()).unwrap();
        let invited = invite::Invited {
            org: org.id(),
            kind: org.kind(),
            name: org.name().to_owned(),
        };
        let joining = Joining {
            config: Config {
                folder: DataFolder::at(self.folder.path().join(org.name())),
                store_url: None,
                store_blocking: true,
            },
            dial: Dial::from_fn(TcpStream::connect::<String>),
            clock: self.time.clock(),
            rng: rng.clone(),
        };
        let place = NodePlace {
            org,
            token: invite::token(&registrar, invited, &self.time.clock(), &rng).unwrap(),
            joined: Rc::default(),
            restoring: Rc::default(),
            joining: Rc::new(RefCell::new(joining)),
            office: Office::new(),
            trace: self.trace.clone(),
            traced: Rc::new(Cell::new(0)),
        };
        self.nodes.insert(org, place.clone());
        self.sim.host(org.name(), move || host::node(place.clone()));
    }

    fn until_joined(&mut self) {
        let mut waited = Duration::ZERO;
        while !self.joined() {
            self.pass(Duration::from_secs(1));
            waited += Duration::from_secs(1);
            assert!(waited < JOIN_MAX, "not joined in time\n{}", self.trace.text());
        }
        self.trace.line("all have joined");
    }

    fn joined(&mut self) -> bool {
        Org::ALL.into_iter().all(|org| {
            self.at(org, |node| async move { facts::is_ready(&node).await })
                .unwrap_or(false)
        })
    }

    /// One step of time.
    fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            panic!("a host ended: {error}\n{}", self.trace.text());
        }
        self.time.set_elapsed(self.sim.elapsed());
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.sim.elapsed() + time;
        while self.sim.elapsed() < until {
            self.step();
        }
    }

    /// Has work done at a node and waits for what it gives; none when the node is off.
    pub(crate) fn at<T, F>(&mut self, org: Org, work: impl FnOnce(Arc<Node>) -> F + 'static) -> Option<T>
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let office = self.nodes[&org].office.clone();
        self.done(&office, work)
    }

    fn done<S, T, F>(&mut self, office: &Office<S>, work: impl FnOnce(Arc<S>) -> F + 'static) -> Option<T>
    where
        S: 'static,
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let answer = Rc::new(RefCell::new(None));
        let given = answer.clone();
        let handed_in = office.hand_in(Box::new(|at| {
            Box::pin(async move {
                let outcome = work(at).await;
                given.replace(Some(outcome));
            })
        }));
        if !handed_in {
            return None;
        }
        let until = self.sim.elapsed() + ANSWER_MAX;
        while self.sim.elapsed() < until {
            self.step();
            let answered = answer.take();
            if answered.is_some() {
                return answered;
            }
        }
        panic!("a host gave no answer\n{}", self.trace.text());
    }

    /// What still waits anywhere.
    pub(crate) fn waiting(&mut self) -> Waiting {
        let gateway = self.gateway.office.clone();
        let at_gateway = self.done(&gateway, |gateway| async move {
            facts::waiting_at_gateway(&gateway.store).await
        });
        let mut all = at_gateway.unwrap_or(Waiting::UNKNOWN);
        for org in Org::ALL {
            let at_node = self.at(
                org,
                |node| async move { facts::waiting_at_node(&node.store).await },
            );
            all = all.and(at_node.unwrap_or(Waiting::UNKNOWN));
        }
        all
    }

    /// Cuts a node off from the gateway.
    pub(crate) fn partition(&self, org: Org) {
        self.sim.partition(org.name(), Host::Gateway.name());
    }

    /// Holds up what passes between a node and the gateway.
    pub(crate) fn hold(&self, org: Org) {
        self.sim.hold(org.name(), Host::Gateway.name());
    }

    /// Makes the way free again, for what was held up as well.
    pub(crate) fn repair(&self, org: Org) {
        self.sim.release(org.name(), Host::Gateway.name());
    }

    /// Ends a process without a word; nothing happens when it has ended.
    pub(crate) fn crash(&mut self, host: Host) {
        if self.running.remove(&host) {
            match host {
                Host::Gateway => self.gateway.office.close(),
                Host::Node(org) => self.nodes[&org].office.close(),
            }
            // Its sockets are closed in an order that is not the seed's, so they must all take equally long.
            let others = Host::ALL.into_iter().filter(|other| *other != host);
            for other in others.clone() {
                self.sim.set_link_latency(host.name(), other.name(), JOURNEY[0]);
            }
            self.sim.crash(host.name());
            for other in others {
                self.sim
                    .set_link_max_message_latency(host.name(), other.name(), JOURNEY[1]);
            }
        }
    }

    /// Starts a process, or starts it again.
    pub(crate) fn start(&mut self, host: Host) {
        self.crash(host);
        self.sim.bounce(host.name());
        self.running.insert(host);
    }

    /// Frees every way and starts every process that has ended.
    pub(crate) fn heal(&mut self) {
        for org in Org::ALL {
            self.repair(org);
        }
        for host in Host::ALL {
            if !self.running.contains(&host) {
                self.start(host);
            }
        }
    }

    /// Ends every process.
    pub(crate) fn end(mut self) -> Ended {
        // While they run: a database that is closed tidies its files away.
        let mut written = Vec::new();
        facts::read_files(self.folder.path(), &mut written);
        for host in Host::ALL {
            self.crash(host);
        }
        Ended {
            written,
            joinings: self
                .nodes
                .iter()
                .map(|(org, place)| (*org, place.joining.borrow().clone()))
                .collect(),
            gateway_config: self.gateway.config.borrow().clone(),
            taken_before: self.taken_before,
            trace: self.trace,
            _folder: self.folder,
        }
    }
}

/// A folder in memory where there is one: how fast disks are is no part of what is simulated.
fn folder() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    match in_memory.is_dir() {
        true => TempDir::new_in(in_memory).unwrap(),
        false => TempDir::new().unwrap(),
    }
}
