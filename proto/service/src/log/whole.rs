//! Whether a stored log is whole: every event, leaf, tile, frontier and checkpoint worked out again from the events and compared with what
//! is stored. Called by `audit verify` of a server on its own database; only reads.
//! Never believes a row because another row agrees with it: both can be altered. What the log's key and the cosigners signed is
//! what all the rest must lead to; a database that was rolled back as a whole is seen by the cosigners alone.

use super::append::Stored;
use super::epoch::Epoch;
use super::tiles::{Grown, Place};
use super::{Log, LogError, append, epoch, tiles};
use crate::store::{StoreError, Tx, column, query};
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{Note, VerifierKey};
use kith_proto::log::tree::{Frontier, TreeHead};
use kith_proto::sign::PublicKey;
use kith_proto::trail::event::Told;
use std::collections::{BTreeMap, BTreeSet};

/// Events read in one step; as many as a step of the sequencer.
const STEP: i64 = 4096;
/// Most faults told: whoever reads them has seen enough.
const FAULTS_MAX: usize = 1000;

/// Something that does not fit, in words for whoever looks after the server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An event is missing, or stands at another number.
    Missing(i64),
    /// An event cannot be read, or its code or time is not what it says.
    Unreadable(i64),
    /// An event is not the one whose leaf the log has.
    Altered(i64),
    /// An epoch's tree is not the one that its key signed.
    Tree(u64),
    /// A checkpoint of an epoch is not signed by the log, or not of its tree.
    Checkpoint(u64, &'static str),
    /// A tile or bundle is missing, altered or too many.
    Tile(u64, Place),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(seq) => write!(f, "event {seq} is missing, or stands at another number"),
            Self::Unreadable(seq) => write!(
                f,
                "event {seq} cannot be read, or says another code or time than its row"
            ),
            Self::Altered(seq) => write!(f, "event {seq} is not the one that the log has"),
            Self::Tree(epoch) => write!(
                f,
                "the tree of epoch {epoch} is not the one that was stored with it"
            ),
            Self::Checkpoint(epoch, which) => {
                write!(
                    f,
                    "the {which} checkpoint of epoch {epoch} is not signed by this log, or not of its tree"
                )
            }
            Self::Tile(epoch, place) => write!(f, "{place} of epoch {epoch} is missing, altered or too many"),
        }
    }
}

/// What was looked at, and what does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// How many events were read.
    pub events: u64,
    /// What does not fit, in order; empty when the log is whole. At most a thousand.
    pub faults: Vec<Fault>,
}

impl Log {
    /// Looks at the whole log; [`LogError::NoEpoch`] where even its beginning is gone. `keys` are all that ever signed its checkpoints. Events that are not in the tree yet must follow it
    /// without a gap.
    pub async fn whole(&self, keys: &[PublicKey]) -> Result<Whole, LogError> {
        let read = |mut tx: Tx| async move { epoch::all(&mut tx).await };
        let epochs: Vec<Epoch> = self.store.read::<_, StoreError, _, _>("epochs", read).await?;
        if epochs.is_empty() {
            return Err(LogError::NoEpoch);
        }
        let mut whole = Whole::default();
        let firsts: Vec<i64> = epochs.iter().map(|epoch| epoch.first_seq).collect();
        let mut next_seq = 1;
        for (number, epoch) in epochs.iter().enumerate() {
            // Between two epochs lie the events that the first one never signed.
            self.between(&mut whole, next_seq, epoch.first_seq).await?;
            let end = firsts.get(number + 1).copied().unwrap_or(i64::MAX);
            next_seq = self.epoch(&mut whole, epoch, keys, end).await?;
        }
        self.between(&mut whole, next_seq, i64::MAX).await?;
        whole.faults.sort_unstable();
        whole.faults.truncate(FAULTS_MAX);
        Ok(whole)
    }

    /// Reads events that are in no tree.
    async fn between(&self, whole: &mut Whole, from: i64, until: i64) -> Result<(), LogError> {
        let mut next = from;
        while next < until {
            let page = self.page(next, STEP.min(until - next)).await?;
            let page: Vec<Row> = page.into_iter().filter(|row| row.seq < until).collect();
            let Some(last) = page.last().map(|row| row.seq) else {
                if until != i64::MAX {
                    whole.faults.push(Fault::Missing(next));
                }
                break;
            };
            for row in &page {
                whole.take(row, &mut next);
            }
            next = last + 1;
        }
        Ok(())
    }

    /// Reads one epoch's events, makes its tree again and compares; the number after its last leaf.
    async fn epoch(
        &self,
        whole: &mut Whole,
        epoch: &Epoch,
        keys: &[PublicKey],
        end: i64,
    ) -> Result<i64, LogError> {
        let size = epoch.frontier.size();
        let mut tree = Frontier::default();
        let mut grown = Grown::of(0);
        let claimed = claimed(epoch);
        let mut heads: BTreeMap<u64, TreeHead> = BTreeMap::new();
        let mut next = epoch.first_seq;
        let last = epoch.last_seq().min(end.saturating_sub(1));
        while next <= last {
            let page = self.page(next, STEP.min(last - next + 1)).await?;
            let page: Vec<Row> = page.into_iter().filter(|row| row.seq <= last).collect();
            if page.is_empty() {
                whole.faults.push(Fault::Missing(next));
                break;
            }
            for row in &page {
                let leaf = whole.take(row, &mut next);
                if let Some(event) = leaf {
                    grown.push(&event.leaf(), &mut tree)?;
                }
                if claimed.contains(&tree.size()) {
                    heads.insert(tree.size(), tree.head());
                }
            }
        }
        if tree != epoch.frontier {
            whole.faults.push(Fault::Tree(epoch.number));
        }
        self.tiles(whole, epoch, &grown).await?;
        let log_keys: Vec<VerifierKey> = keys
            .iter()
            .map(|key| self.keeper.log_key(&self.network, epoch.number, *key))
            .collect();
        for (which, note) in notes(epoch) {
            let checkpoint = note.map(|note| Checkpoint::open(note, &log_keys));
            let fits = match checkpoint {
                None => which != "newest" || size == 0,
                Some(Err(_)) => false,
                Some(Ok(opened)) => {
                    let of_size = which != "newest" || opened.head().size == size;
                    of_size && heads.get(&opened.head().size) == Some(opened.head())
                }
            };
            if !fits {
                whole.faults.push(Fault::Checkpoint(epoch.number, which));
            }
        }
        Ok(last + 1)
    }

    /// Compares every stored tile with what the events make.
    async fn tiles(&self, whole: &mut Whole, epoch: &Epoch, grown: &Grown) -> Result<(), LogError> {
        let mut made: BTreeMap<Place, &[u8]> = grown.tiles().collect();
        let mut after = None;
        loop {
            let from = after.clone();
            let read = |mut tx: Tx| {
                let from = from.clone();
                async move { tiles::stored_after(&mut tx, epoch.number, from.as_ref()).await }
            };
            let page: Vec<(Place, Vec<u8>)> = self.store.read::<_, StoreError, _, _>("tiles", read).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (place, bytes) in page {
                let expected = made.remove(&place);
                if expected == Some(bytes.as_slice()) {
                    continue;
                }
                if let (Some(expected), true) = (expected, place.is_leaves()) {
                    altered(whole, epoch, &place, (expected, &bytes));
                }
                whole.faults.push(Fault::Tile(epoch.number, place));
            }
        }
        let missing = made.into_keys().map(|place| Fault::Tile(epoch.number, place));
        whole.faults.extend(missing);
        Ok(())
    }

    async fn page(&self, from: i64, limit: i64) -> Result<Vec<Row>, LogError> {
        let read = |mut tx: Tx| async move { rows(&mut tx, from, limit).await };
        Ok(self.store.read::<_, StoreError, _, _>("events", read).await?)
    }
}

/// Names the events whose leaves differ from the ones in the tree's lowest tiles.
fn altered(whole: &mut Whole, epoch: &Epoch, place: &Place, (made, stored): (&[u8], &[u8])) {
    let pairs = made.as_chunks::<32>().0.iter().zip(stored.as_chunks::<32>().0);
    for (at, _) in pairs.enumerate().filter(|(_, (made, stored))| made != stored) {
        let index = place
            .first_leaf()
            .saturating_add(i64::try_from(at).unwrap_or(i64::MAX));
        whole
            .faults
            .push(Fault::Altered(epoch.first_seq.saturating_add(index)));
        if whole.faults.len() > FAULTS_MAX {
            return;
        }
    }
}

/// The sizes at which an epoch's checkpoints stand.
fn claimed(epoch: &Epoch) -> BTreeSet<u64> {
    let sizes = notes(epoch).into_iter().filter_map(|(_, note)| {
        let checkpoint: Checkpoint = note?.text().parse().ok()?;
        Some(checkpoint.head().size)
    });
    sizes.collect()
}

fn notes(epoch: &Epoch) -> [(&'static str, Option<&Note>); 3] {
    [
        ("newest", epoch.signed.as_ref()),
        ("offered", epoch.offered.as_ref()),
        ("counted", epoch.counted.as_ref()),
    ]
}

/// A row of the trail; no event where it cannot be read.
struct Row {
    seq: i64,
    event: Option<Stored>,
}

impl Whole {
    /// Takes a row that should have the next number; its event, where it can be read.
    fn take<'a>(&mut self, row: &'a Row, next: &mut i64) -> Option<&'a Stored> {
        self.events += 1;
        if row.seq != *next {
            self.faults.push(Fault::Missing(*next));
        }
        *next = row.seq + 1;
        if row.event.is_none() {
            self.faults.push(Fault::Unreadable(row.seq));
        }
        row.event.as_ref()
    }
}

const ROWS: &str =
    "SELECT seq, at_ms, code, salt, preimage FROM audit_event WHERE seq >= $1 ORDER BY seq LIMIT $2";

async fn rows(tx: &mut Tx, from: i64, limit: i64) -> Result<Vec<Row>, StoreError> {
    let rows = tx.all(query(ROWS).bind(from).bind(limit)).await?;
    let read = |row: &crate::store::Row| {
        let at_ms: i64 = column(row, "audit_event", "at_ms")?;
        let event = append::read(row).ok().filter(|event| {
            let told = Told::read(&event.preimage);
            told.is_ok_and(|told| told.code == event.code && told.at_ms == at_ms)
        });
        Ok(Row {
            seq: column(row, "audit_event", "seq")?,
            event,
        })
    };
    rows.iter().map(read).collect()
}
