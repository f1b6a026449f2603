//! What runs on each host of the simulated network: the gateway's `serve`, the nodes' `join` and `serve`, on turmoil's sockets.
//! `world` starts them, and hands work to the open gateway or node through its [`Office`].
//! Everything of a host lives inside its future, so that a crash takes all of it.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use kith_gateway::keys::{GatewayKeys, RootKeys};
use kith_gateway::{Gateway, GatewayConfig};
use kith_node::grants::{self, DEMO_REVIEWER, NewReview};
use kith_node::join::{self, Joining};
use kith_node::node::Node;
use kith_node::restore;
use kith_node::serve::{Serve, serve};
use kith_node::threads_view::{self, Visible};
use kith_proto::lifecycle::State;
use kith_proto::recovery::RestoreReason;
use kith_proto::v1;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::shutdown::Shutdown;
use kith_service::store::Store;
use kith_service::tls::incoming::{Accepted, Incoming};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use turmoil::net::{TcpListener, TcpStream};

use crate::op::Org;
use crate::trace::Trace;

/// Where nodes reach the gateway.
pub(crate) const GATEWAY: &str = "gateway:7400";
/// Where a node would be called by its organisation's systems.
const NODE_LISTENS: &str = "0.0.0.0:7401";
/// How long a node waits before it tries to join again, or its operator to restore it.
const AGAIN: Duration = Duration::from_secs(1);

/// Work for whatever is open on a host.
pub(crate) type Work<S> = Box<dyn FnOnce(Arc<S>) -> LocalBoxFuture<'static, ()>>;

/// The way into a host: work that is handed in is done on it, one piece after another.
pub(crate) struct Office<S> {
    door: Rc<RefCell<Option<mpsc::UnboundedSender<Work<S>>>>>,
}

impl<S> Clone for Office<S> {
    fn clone(&self) -> Self {
        Self {
            door: self.door.clone(),
        }
    }
}

impl<S: 'static> Office<S> {
    /// An office that is still closed.
    pub(crate) fn new() -> Self {
        Self { door: Rc::default() }
    }

    /// Hands work in; false when nobody is there.
    pub(crate) fn hand_in(&self, work: Work<S>) -> bool {
        let door = self.door.borrow();
        door.as_ref().is_some_and(|door| door.send(work).is_ok())
    }

    /// Whether somebody is there.
    pub(crate) fn is_open(&self) -> bool {
        self.door.borrow().is_some()
    }

    /// Closes it, at a crash.
    pub(crate) fn close(&self) {
        self.door.replace(None);
    }

    /// Opens it on the host whose software calls this.
    fn open(&self, at: Arc<S>) {
        let (door, mut works) = mpsc::unbounded_channel::<Work<S>>();
        self.door.replace(Some(door));
        tokio::task::spawn_local(async move {
            while let Some(work) = works.recv().await {
                work(at.clone()).await;
            }
        });
    }
}

/// What the gateway is started with, each time.
#[derive(Clone)]
pub(crate) struct GatewayPlace {
    pub(crate) config: Rc<RefCell<GatewayConfig>>,
    /// The folder with the root's key, which is elsewhere and no part of a backup.
    pub(crate) root: PathBuf,
    /// Whether its folder is a backup that must begin the next epoch first.
    pub(crate) restoring: Rc<Cell<bool>>,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) office: Office<Gateway>,
}

/// Opens the gateway's folder and serves.
pub(crate) async fn gateway(place: GatewayPlace) -> turmoil::Result {
    if place.restoring.get() {
        let opened = open_gateway(&place).await?;
        let (root, above) = (RootKeys::load(&place.root)?, opened.log.newest().await?.number);
        let (_, word) = root.sign_epoch(&place.root, above, place.clock.now_ms())?;
        kith_gateway::restore::restore(&opened, &word, RestoreReason::Lost).await?;
        place.restoring.set(false);
        opened.store.close().await;
    }
    let opened = open_gateway(&place).await?;
    place.office.open(opened.clone());
    let port = GATEWAY.split_once(':').unwrap().1;
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).await?;
    kith_gateway::serve(opened, accepting(listener), Shutdown::new()).await?;
    Ok(())
}

async fn open_gateway(place: &GatewayPlace) -> Result<Arc<Gateway>, Box<dyn std::error::Error>> {
    let config = place.config.borrow().clone();
    let keys = GatewayKeys::load(&config.data_dir, place.clock.now_ms())?;
    // Opening must not wait for the database's own threads while virtual time runs on.
    let opening = kith_gateway::store::open(&config.store_url, &keys.network);
    let store = Store::open_blocking(opening).await?;
    Ok(Gateway::with_store(keys, store, place.clock.clone(), place.rng.clone()).await?)
}

/// What a node is started with, each time.
#[derive(Clone)]
pub(crate) struct NodePlace {
    pub(crate) org: Org,
    /// Good for a day; a node joins once and keeps its folder.
    pub(crate) token: String,
    pub(crate) joined: Rc<Cell<bool>>,
    /// Whether its folder is a backup that must ask the network first.
    pub(crate) restoring: Rc<Cell<bool>>,
    pub(crate) joining: Rc<RefCell<Joining>>,
    pub(crate) office: Office<Node>,
    pub(crate) trace: Trace,
    /// How far the changes of threads stand in the trace.
    pub(crate) traced: Rc<Cell<i64>>,
}

/// Joins unless it has, opens the node's folder and serves.
pub(crate) async fn node(place: NodePlace) -> turmoil::Result {
    let joining = &place.joining.borrow().clone();
    while !place.joined.get() {
        match join::join(&place.token, joining).await {
            Ok(_) => place.joined.set(true),
            Err(error) => {
                place
                    .trace
                    .line(format_args!("{} not joined: {error}", place.org.name()));
                #[expect(clippy::disallowed_methods, reason = "virtual time")]
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    come_back(&place, joining).await?;
    let opened = Node::open(joining.config.clone(), joining.clock.clone(), joining.rng.clone()).await?;
    let node = Arc::new(opened);
    review_statement(&node).await?;
    place.office.open(node.clone());
    let listener = TcpListener::bind(NODE_LISTENS).await?;
    let parts = Serve {
        incoming: Incoming::plain(accepting(listener)),
        web: None,
        dial: joining.dial.clone(),
        shutdown: Shutdown::new(),
    };
    tokio::task::spawn_local(follow(node.clone(), place.clone()));
    serve(node, parts).await?;
    Ok(())
}

/// Does what `kith-node restore` does, as often as it must be said, before a node serves from a backup.
async fn come_back(place: &NodePlace, joining: &Joining) -> turmoil::Result {
    while place.restoring.get() {
        let node = Node::open(joining.config.clone(), joining.clock.clone(), joining.rng.clone()).await?;
        restore::begin(&node, RestoreReason::Lost).await?;
        let finished = restore::finish(&node, &joining.dial).await;
        place.restoring.set(finished.is_err());
        node.store.close().await;
        let name = place.org.name();
        match finished {
            Ok(restored) => place.trace.line(format_args!("{name} is restored: {restored:?}")),
            Err(error) => {
                let problem = error.problem();
                place
                    .trace
                    .line(format_args!("{name} is not restored: {problem}"));
                #[expect(clippy::disallowed_methods, reason = "virtual time")]
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    Ok(())
}

/// Somebody of the organisation stands for the consent text.
async fn review_statement(node: &Node) -> turmoil::Result {
    let text = grants::statement_text("", "en").ok_or("no consent text")?;
    let review = NewReview::of(&text, DEMO_REVIEWER);
    let time = (&node.clock, &node.rng);
    grants::review(&node.store, time, &node.membership.network, review).await?;
    Ok(())
}

fn accepting(listener: TcpListener) -> impl Stream<Item = io::Result<Accepted<TcpStream>>> + Send + 'static {
    futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await;
        Some((accepted.map(|(socket, from)| (socket, Some(from))), listener))
    })
}

/// Writes every change of a thread into the trace, as a watcher sees it.
async fn follow(node: Arc<Node>, place: NodePlace) {
    let mut changes = node.changes.subscribe();
    loop {
        let lines = threads_view::changes(&node, Visible::All, place.traced.get())
            .await
            .unwrap();
        for (number, line) in &lines {
            place
                .trace
                .line(format_args!("{} {}", place.org.name(), shown(line)));
            place.traced.set(*number);
        }
        if lines.is_empty() && changes.changed().await.is_err() {
            return;
        }
    }
}

fn shown(line: &v1::ReferralLine) -> String {
    let side = v1::Side::try_from(line.side).unwrap().as_str_name();
    let state = State::try_from(line.state).unwrap();
    format!(
        "{} {side} {} {state} delivery {} consent {} problem {}",
        line.code, line.organisation, line.delivery, line.consent, line.problem
    )
}
