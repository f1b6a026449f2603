//! What the stores, folders and logs hold: read from the running hosts to know when they are at rest, and from what they left
//! behind for `check`. Plain values, so that a test of a check can falsify one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kith_gateway::{GatewayConfig, store as gateway_store};
use kith_node::node::Node;
use kith_node::threads_view;
use kith_proto::id::ThreadId;
use kith_proto::v1;
use kith_service::store::{Row, Store, StoreError, Tx, column, query};

use tokio::runtime::Runtime;

use crate::desk::opening;
use crate::ledger::{Referral, Told};
use crate::op::Org;
use crate::world::{Ended, NETWORK};

#[path = "facts/trail.rs"]
mod trail;

pub(crate) use trail::Trail;
use trail::trail;

/// What still waits to be sent, taken, delivered, answered or proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    outbox: i64,
    stops: i64,
    proofs: i64,
    mailboxes: i64,
    notices: i64,
}

impl Waiting {
    /// Of a host that is not there.
    pub(crate) const UNKNOWN: Self = Self {
        outbox: 1,
        ..Self::NOTHING
    };
    const NOTHING: Self = Self {
        outbox: 0,
        stops: 0,
        proofs: 0,
        mailboxes: 0,
        notices: 0,
    };

    pub(crate) fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            outbox: self.outbox + other.outbox,
            stops: self.stops + other.stops,
            proofs: self.proofs + other.proofs,
            mailboxes: self.mailboxes + other.mailboxes,
            notices: self.notices + other.notices,
        }
    }
}

/// All that is known after the end.
#[derive(Clone)]
pub(crate) struct Facts {
    /// What people were told.
    pub(crate) ledger: Vec<Referral>,
    /// Whether nothing waited any more, or else what did.
    pub(crate) rested: Result<(), String>,
    pub(crate) panics: usize,
    pub(crate) nodes: BTreeMap<Org, NodeFacts>,
    pub(crate) gateway: GatewayFacts,
    /// Every file that was written, and the log, each with its name.
    pub(crate) written: Vec<(String, Vec<u8>)>,
    pub(crate) log: String,
}

/// What one node holds.
#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    /// Sent and inbox, each in its own order.
    pub(crate) threads: Vec<ThreadFacts>,
    pub(crate) outbox: Vec<OutboxFacts>,
    pub(crate) slips: Vec<SlipFacts>,
    /// Last position towards, and from, each member: number and hash.
    pub(crate) sent: Positions,
    pub(crate) received: Positions,
    pub(crate) trail: Trail,
    /// Kinds of alarms that stand.
    pub(crate) alarms: Vec<String>,
    /// Whether it ever came back from a backup.
    pub(crate) came_back: bool,
}

/// The last position of each pair.
pub(crate) type Positions = BTreeMap<String, (i64, Vec<u8>)>;

/// One copy of a thread, opened by a coordinator.
#[derive(Clone, Debug)]
pub(crate) struct ThreadFacts {
    pub(crate) thread_id: ThreadId,
    pub(crate) side: String,
    pub(crate) peer: String,
    pub(crate) slip_id: Vec<u8>,
    pub(crate) state: String,
    pub(crate) consent: String,
    pub(crate) delivery: String,
    /// Categories of the referral that can be read; none where it cannot be read at all.
    pub(crate) categories: Option<Vec<i32>>,
    /// Whether nothing can be read before the sender has said, since a restore here, that consent stands.
    pub(crate) awaits_word: bool,
    /// Ids of messages that can be read.
    pub(crate) messages: Vec<Vec<u8>>,
    /// Every event: epoch and number, move, id.
    pub(crate) events: Vec<((u64, u64), i32, Vec<u8>)>,
}

/// A row of an outbox.
#[derive(Clone, Debug)]
pub(crate) struct OutboxFacts {
    pub(crate) envelope_id: Vec<u8>,
    pub(crate) slip_id: Option<Vec<u8>>,
    pub(crate) kind: String,
    pub(crate) peer: String,
    pub(crate) state: String,
}

/// A slip at one of its two nodes.
#[derive(Clone, Debug)]
pub(crate) struct SlipFacts {
    pub(crate) slip_id: Vec<u8>,
    pub(crate) side: String,
    pub(crate) state: String,
    /// Whether a withdrawal that left here has come to the other side, and its proof back.
    pub(crate) proved: bool,
    /// Whether the keys of what is held under it are gone.
    pub(crate) erased: bool,
}

/// What the gateway holds.
#[derive(Clone, Debug)]
pub(crate) struct GatewayFacts {
    pub(crate) taken: Vec<TakenFacts>,
    /// What it had taken whenever it was lost.
    pub(crate) taken_before: BTreeSet<Vec<u8>>,
    /// When each stopped slip was stopped.
    pub(crate) stops: BTreeMap<Vec<u8>, i64>,
    /// Last position of each pair: sender, recipient.
    pub(crate) pairs: BTreeMap<(String, String), (i64, Vec<u8>)>,
    pub(crate) trail: Trail,
}

/// The tombstone of an envelope.
#[derive(Clone, Debug)]
pub(crate) struct TakenFacts {
    pub(crate) envelope_id: Vec<u8>,
    pub(crate) taken_at_ms: i64,
    pub(crate) problem: Option<String>,
    pub(crate) delivered: bool,
}

/// Whether a node's link is up and it believes every member's keys.
pub(crate) async fn is_ready(node: &Node) -> bool {
    let up = number(
        &node.store,
        "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM link_state WHERE state = 'up'",
    );
    up.await == 1
        && Org::ALL
            .iter()
            .all(|org| node.members.keys_of(&org.id(), node.now_ms()).is_some())
}

/// What waits at a node.
pub(crate) async fn waiting_at_node(store: &Store) -> Waiting {
    Waiting {
        outbox: number(
            store,
            // The receipts of what a node had queued at its backup may have gone with its disk: `check` asks the gateway about those.
            "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM outbox WHERE state = 'queued' \
             OR (state = 'taken' AND NOT EXISTS (SELECT 1 FROM restore))",
        )
        .await,
        stops: number(
            store,
            "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM slip WHERE stop_state = 'pending'",
        )
        .await,
        proofs: number(
            store,
            "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM slip WHERE side = 'captured' \
             AND withdrawal_id IS NOT NULL AND proof IS NULL",
        )
        .await,
        ..Waiting::NOTHING
    }
}

/// What waits at the gateway.
pub(crate) async fn waiting_at_gateway(store: &Store) -> Waiting {
    Waiting {
        mailboxes: number(store, "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM mailbox").await,
        notices: number(store, "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM notice").await,
        ..Waiting::NOTHING
    }
}

/// The newest envelope that a node has queued under the slip of a thread.
pub(crate) async fn newest_outgoing(store: &Store, thread_id: ThreadId) -> Option<Vec<u8>> {
    let select = "SELECT envelope_id FROM outbox WHERE slip_id = (SELECT slip_id FROM referral WHERE thread_id = $1) \
                  ORDER BY seq DESC LIMIT 1";
    let thread_id = &thread_id;
    let read = |mut tx: Tx| async move { tx.one(query(select).bind(thread_id.as_bytes().to_vec())).await };
    let row = store.read::<_, StoreError, _, _>("facts", read).await.unwrap();
    row.map(|row| bytes(&row, "envelope_id"))
}

/// The envelopes that a gateway which has ended had taken, and did not refuse.
pub(crate) fn taken_at(config: &GatewayConfig) -> BTreeSet<Vec<u8>> {
    let network = NETWORK.parse().unwrap();
    let read = async {
        let store = gateway_store::open(&config.store_url, &network).await.unwrap();
        let taken = rows(&store, "SELECT envelope_id FROM taken WHERE problem IS NULL").await;
        store.close().await;
        taken.iter().map(|row| bytes(row, "envelope_id")).collect()
    };
    runtime().block_on(read)
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap()
}

impl Facts {
    /// Whether the envelope of a word ever came to the gateway, which took it.
    pub(crate) fn has_left(&self, told: &Told) -> bool {
        let Some(envelope_id) = &told.envelope_id else {
            return false;
        };
        let is_it = |taken: &TakenFacts| taken.problem.is_none() && taken.envelope_id == *envelope_id;
        self.gateway.taken_before.contains(envelope_id) || self.gateway.taken.iter().any(is_it)
    }
}

/// Reads everything that was left behind.
pub(crate) fn gather(ended: &Ended, ledger: Vec<Referral>) -> Facts {
    let mut written = ended.written.clone();
    let log = ended.trace.text();
    written.push(("the log".to_owned(), log.clone().into_bytes()));
    let (nodes, mut gateway) = runtime().block_on(async {
        let mut nodes = BTreeMap::new();
        for (org, joining) in &ended.joinings {
            let config = joining.config.clone();
            let opened = Node::open(config, joining.clock.clone(), joining.rng.clone()).await;
            nodes.insert(*org, node(&opened.unwrap()).await);
        }
        let network = NETWORK.parse().unwrap();
        let store = gateway_store::open(&ended.gateway_config.store_url, &network).await;
        (nodes, gateway(&store.unwrap()).await)
    });
    gateway.taken_before.clone_from(&ended.taken_before);
    Facts {
        ledger,
        rested: Ok(()),
        panics: 0,
        nodes,
        gateway,
        written,
        log,
    }
}

/// Reads every file of a folder.
pub(crate) fn read_files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read_files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

async fn node(node: &Node) -> NodeFacts {
    let store = &node.store;
    // Opening a thread writes into the trail, which is therefore read first.
    let trail = trail(store, "SELECT followed AS note FROM keylog").await;
    let mut threads = Vec::new();
    let lines = rows(
        store,
        "SELECT thread_id, side, peer, slip_id, state, consent, delivery FROM referral ORDER BY side, arrival",
    );
    for row in lines.await {
        threads.push(thread(node, &row).await);
    }
    let outbox = rows(
        store,
        "SELECT envelope_id, slip_id, kind, peer, state FROM outbox ORDER BY seq",
    );
    let slips = rows(
        store,
        "SELECT slip.slip_id, slip.side, slip.state, \
         CASE WHEN proof IS NOT NULL AND (withdrawal_sent_at_ms IS NULL OR withdrawal_reached_at_ms IS NOT NULL) \
         THEN 1 ELSE 0 END AS proved, \
         CASE WHEN holding.destroyed_at_ms IS NOT NULL THEN 1 ELSE 0 END AS erased \
         FROM slip LEFT JOIN holding ON holding.holding_id = slip.holding_id ORDER BY slip.slip_id",
    );
    let alarms = rows(store, "SELECT kind FROM alarm ORDER BY kind");
    NodeFacts {
        threads,
        outbox: outbox.await.iter().map(outbox_row).collect(),
        slips: slips.await.iter().map(slip_row).collect(),
        sent: positions(store, "SELECT peer, number, envelope_hash FROM pair_sent").await,
        received: positions(store, "SELECT peer, number, envelope_hash FROM pair_received").await,
        trail,
        alarms: alarms.await.iter().map(|row| text(row, "kind")).collect(),
        came_back: number(store, "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM restore").await > 0,
    }
}

async fn thread(node: &Node, row: &Row) -> ThreadFacts {
    let id = bytes(row, "thread_id");
    let thread_id = ThreadId::try_from(id.as_slice()).unwrap();
    let opened: v1::Thread = threads_view::open(node, &opening(thread_id)).await.unwrap();
    let categories = |referral: v1::Referral| referral.parts.iter().map(|part| part.category).collect();
    ThreadFacts {
        thread_id,
        side: text(row, "side"),
        peer: text(row, "peer"),
        slip_id: bytes(row, "slip_id"),
        state: text(row, "state"),
        consent: text(row, "consent"),
        delivery: text(row, "delivery"),
        categories: opened.referral.map(categories),
        awaits_word: opened.line.is_some_and(|line| line.awaits_word),
        messages: opened.messages.into_iter().map(|m| m.message_id).collect(),
        events: opened
            .events
            .into_iter()
            .map(|event| ((event.epoch, event.number), event.r#move, event.event_id))
            .collect(),
    }
}

fn outbox_row(row: &Row) -> OutboxFacts {
    OutboxFacts {
        envelope_id: bytes(row, "envelope_id"),
        slip_id: column(row, "facts", "slip_id").unwrap(),
        kind: text(row, "kind"),
        peer: text(row, "peer"),
        state: text(row, "state"),
    }
}

fn slip_row(row: &Row) -> SlipFacts {
    SlipFacts {
        slip_id: bytes(row, "slip_id"),
        side: text(row, "side"),
        state: text(row, "state"),
        proved: int(row, "proved") == 1,
        erased: int(row, "erased") == 1,
    }
}

async fn gateway(store: &Store) -> GatewayFacts {
    let taken = rows(
        store,
        "SELECT envelope_id, taken_at_ms, problem, delivered_at_ms FROM taken ORDER BY envelope_id",
    );
    let stops = rows(store, "SELECT slip_id, stopped_at_ms FROM stop");
    let pairs = rows(store, "SELECT sender, recipient, number, envelope_hash FROM pair");
    let taken_row = |row: &Row| TakenFacts {
        envelope_id: bytes(row, "envelope_id"),
        taken_at_ms: int(row, "taken_at_ms"),
        problem: column(row, "facts", "problem").unwrap(),
        delivered: column::<Option<i64>>(row, "facts", "delivered_at_ms")
            .unwrap()
            .is_some(),
    };
    let pair = |row: &Row| {
        let names = (text(row, "sender"), text(row, "recipient"));
        (names, (int(row, "number"), bytes(row, "envelope_hash")))
    };
    GatewayFacts {
        taken: taken.await.iter().map(taken_row).collect(),
        taken_before: BTreeSet::new(),
        stops: stops
            .await
            .iter()
            .map(|row| (bytes(row, "slip_id"), int(row, "stopped_at_ms")))
            .collect(),
        pairs: pairs.await.iter().map(pair).collect(),
        trail: trail(store, "SELECT note FROM log_seen").await,
    }
}

async fn positions(store: &Store, statement: &'static str) -> Positions {
    let found = rows(store, statement).await;
    let position = |row: &Row| {
        (
            text(row, "peer"),
            (int(row, "number"), bytes(row, "envelope_hash")),
        )
    };
    found.iter().map(position).collect()
}

async fn rows(store: &Store, statement: &'static str) -> Vec<Row> {
    let read = |mut tx: Tx| async move { tx.all(query(statement)).await };
    store.read::<_, StoreError, _, _>("facts", read).await.unwrap()
}

async fn number(store: &Store, statement: &'static str) -> i64 {
    int(&rows(store, statement).await[0], "n")
}

fn text(row: &Row, name: &'static str) -> String {
    column(row, "facts", name).unwrap()
}

fn int(row: &Row, name: &'static str) -> i64 {
    column(row, "facts", name).unwrap()
}

fn bytes(row: &Row, name: &'static str) -> Vec<u8> {
    column(row, "facts", name).unwrap()
}
