//! Whether a stored log is whole: every event, leaf, tile, frontier and checkpoint worked out again from the events and compared with what
//! is stored. Called by `audit verify` of nodes and gateways on their own databases, within one transaction that only reads.
//! Never believes a row because another row agrees with it: both can be altered. What the log's key and the cosigners signed is
//! what all the rest must lead to; a database that was rolled back as a whole is seen by the cosigners alone.

use super::epoch::{self, Epoch};
use super::tiles::{self, Place};
use super::{LogError, index};
use crate::store::{StoreError, Tx, column, query};
use kith_proto::id::NetworkName;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{Note, VerifierKey};
use kith_proto::log::origin::Keeper;
use kith_proto::log::tree::{Frontier, Hash, TreeHead};
use kith_proto::sign::PublicKey;
use kith_proto::trail::event::Told;
use kith_proto::trail::leaf::Salt;
use kith_proto::trail::{Code, Leaf};
use std::collections::{BTreeMap, BTreeSet};

mod fault;
mod made;

pub use fault::Fault;
use made::Made;

/// Events read in one step; as many as a step of the sequencer.
const STEP: i64 = 4096;
/// Most faults told: whoever reads them has seen enough, and a number that was altered names no gap without end.
const FAULTS_MAX: usize = 1000;

/// Whose log it is.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// Who keeps it.
    pub keeper: &'a Keeper,
    /// The network.
    pub network: &'a NetworkName,
    /// What signs its checkpoints; those of an older epoch may be of an older key.
    pub key: PublicKey,
}

/// What was looked at, and what does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// How many events were read.
    pub events: u64,
    /// What does not fit, in order; empty when the log is whole. At most a thousand.
    pub faults: Vec<Fault>,
}

/// Looks at the whole log. `given` is the last number that the server's counter gave to an event, `None` where its row is gone; `told` is
/// handed each event that can be read, in order, so that a server holds its other tables against them.
pub async fn look(
    tx: &mut Tx,
    whose: Whose<'_>,
    given: Option<i64>,
    mut told: impl FnMut(i64, &Told<'_>),
) -> Result<Whole, LogError> {
    let mut whole = Whole::default();
    let epochs: Vec<Epoch> = epoch::all(tx).await?;
    // A server that came back passes over epochs that others have seen and its backup does not hold: numbers rise, not by one.
    let rising = epochs
        .is_sorted_by(|before, after| before.number < after.number && before.last_seq() < after.first_seq);
    let first = epochs
        .first()
        .is_some_and(|epoch| epoch.first_seq == 1 && epoch.number == 1);
    if !first || !rising {
        whole.name(Fault::Epochs);
    }
    let mut trees: Vec<Made> = epochs.into_iter().map(Made::of).collect();
    let mut last = 0;
    loop {
        let events = rows(tx, last, STEP).await?;
        if events.is_empty() {
            break;
        }
        for row in &events {
            for missing in (last + 1..row.seq).take(FAULTS_MAX) {
                whole.name(Fault::Missing(missing));
                put(tx, &mut trees, (missing, None), &mut whole).await?;
            }
            last = row.seq;
            whole.events += 1;
            let leaf = read(row, &mut whole, &mut told);
            put(tx, &mut trees, (row.seq, leaf), &mut whole).await?;
        }
    }
    let given = given.unwrap_or_default();
    for missing in (last + 1..=given).take(FAULTS_MAX) {
        whole.name(Fault::Missing(missing));
    }
    for extra in (given + 1..=last).take(FAULTS_MAX) {
        whole.name(Fault::Unnumbered(extra));
    }
    if index::end(tx).await? > last {
        whole.name(Fault::Index);
    }
    finish(tx, whose, trees, &mut whole).await?;
    whole.faults.sort_unstable();
    whole.faults.dedup();
    Ok(whole)
}

impl Whole {
    fn name(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

/// Puts an event's leaf into the tree of its epoch; without a leaf, what the tree has at its place.
async fn put(
    tx: &mut Tx,
    trees: &mut [Made],
    (seq, leaf): (i64, Option<Leaf>),
    whole: &mut Whole,
) -> Result<(), LogError> {
    let tree = trees.iter_mut().rev().find(|tree| tree.epoch.first_seq <= seq);
    match tree {
        Some(tree) => tree.take(tx, seq, leaf, whole).await,
        None => Ok(()),
    }
}

/// The leaf of an event; none where it cannot be read.
fn read(row: &Row, whole: &mut Whole, told: &mut impl FnMut(i64, &Told<'_>)) -> Option<Leaf> {
    let salt: Option<Salt> = row.salt.as_slice().try_into().ok();
    let text = std::str::from_utf8(&row.preimage).ok();
    let read = text.and_then(|text| Told::read(text).ok());
    let (Some(salt), Some(text), Some(read)) = (salt, text, read) else {
        whole.name(Fault::Unreadable(row.seq));
        return None;
    };
    if read.code.as_str() != row.code || read.at_ms != row.at_ms {
        whole.name(Fault::Unreadable(row.seq));
    }
    told(row.seq, &read);
    Some(Leaf::new(read.code, &salt, text))
}

/// Compares what was made of each epoch with what stands of it.
async fn finish(tx: &mut Tx, whose: Whose<'_>, trees: Vec<Made>, whole: &mut Whole) -> Result<(), LogError> {
    let newest = trees.last().map(|tree| tree.epoch.number);
    let mut known: BTreeSet<(u64, Place)> = BTreeSet::new();
    for mut tree in trees {
        let number = tree.epoch.number;
        tree.close_all(tx, whole).await?;
        if tree.frontier != tree.epoch.frontier {
            whole.name(Fault::Tree(number));
        }
        let key = whose.keeper.log_key(whose.network, number, whose.key);
        checkpoints(&tree, (newest == Some(number)).then_some(&key), whole);
        known.extend(tree.tiles.into_iter().map(|place| (number, place)));
    }
    for (epoch, place) in tiles::places(tx).await? {
        if !known.contains(&(epoch, place.clone())) {
            whole.name(Fault::Tile(epoch, place));
        }
    }
    Ok(())
}

/// Whether an epoch's checkpoints are of its tree and, where the key is known, of its log.
fn checkpoints(tree: &Made, key: Option<&VerifierKey>, whole: &mut Whole) {
    let size = tree.epoch.frontier.size();
    for (which, note) in notes(&tree.epoch) {
        let fits = match note.map(|note| (note, head_of(note))) {
            None => which != "newest" || size == 0,
            Some((_, None)) => false,
            Some((note, Some(head))) => {
                let is_signed =
                    key.is_none_or(|key| Checkpoint::open(note, std::slice::from_ref(key)).is_ok());
                let of_size = which != "newest" || head.size == size;
                is_signed && of_size && tree.heads.get(&head.size) == Some(&head)
            }
        };
        if !fits {
            whole.name(Fault::Checkpoint(tree.epoch.number, which));
        }
    }
}

fn notes(epoch: &Epoch) -> [(&'static str, Option<&Note>); 3] {
    [
        ("newest", epoch.signed.as_ref()),
        ("offered", epoch.offered.as_ref()),
        ("counted", epoch.counted.as_ref()),
    ]
}

fn head_of(note: &Note) -> Option<TreeHead> {
    let checkpoint: Checkpoint = note.text().parse().ok()?;
    Some(*checkpoint.head())
}

/// A row of the trail as it stands.
struct Row {
    seq: i64,
    at_ms: i64,
    code: String,
    salt: Vec<u8>,
    preimage: Vec<u8>,
}

const ROWS: &str =
    "SELECT seq, at_ms, code, salt, preimage FROM audit_event WHERE seq > $1 ORDER BY seq LIMIT $2";

async fn rows(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<Row>, StoreError> {
    const TABLE: &str = "audit_event";
    let read = |row: &crate::store::Row| {
        Ok(Row {
            seq: column(row, TABLE, "seq")?,
            at_ms: column(row, TABLE, "at_ms")?,
            code: column(row, TABLE, "code")?,
            salt: column(row, TABLE, "salt")?,
            preimage: column(row, TABLE, "preimage")?,
        })
    };
    let rows = tx.all(query(ROWS).bind(after).bind(limit)).await?;
    rows.iter().map(read).collect()
}
