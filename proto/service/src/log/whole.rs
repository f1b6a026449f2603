//! Whether a stored log is whole: every event, leaf, tile, frontier and checkpoint worked out again from the events and compared with what
//! is stored. Called by `audit verify` of a server on its own database; only reads.
//! Never believes a row because another row agrees with it: both can be altered. What the log's key and the cosigners signed is
//! what all the rest must lead to; a database that was rolled back as a whole is seen by the cosigners alone.

use super::append::Stored;
use super::epoch::Epoch;
use super::tiles::{Grown, Place};
use super::{Log, LogError, append, epoch, index, tiles};
use crate::store::{StoreError, Tx, column, query};
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{Note, VerifierKey};
use kith_proto::log::tree::{EMPTY_ROOT, Frontier, TreeHead};
use kith_proto::sign::PublicKey;
use kith_proto::trail::Code;
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
    /// The index says that it has events which do not exist.
    Index,
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
            Self::Index => {
                f.write_str("the index of the trail is ahead of the trail, so that new events are not found")
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
    /// Looks at the whole log, within one transaction that reads: one unchanging view, also beside a server at work. `keys` are all
    /// that ever signed its checkpoints. Events that are not in the tree yet must follow it without a gap.
    /// [`LogError::NoEpoch`] where even its beginning is gone.
    pub async fn whole(&self, tx: &mut Tx, keys: &[PublicKey]) -> Result<Whole, LogError> {
        let epochs: Vec<Epoch> = epoch::all(tx).await?;
        if epochs.is_empty() {
            return Err(LogError::NoEpoch);
        }
        let mut whole = Whole::default();
        let firsts: Vec<i64> = epochs.iter().map(|epoch| epoch.first_seq).collect();
        let mut next_seq = 1;
        for (number, epoch) in epochs.iter().enumerate() {
            // Between two epochs lie the events that the first one never signed.
            between(tx, &mut whole, next_seq, epoch.first_seq).await?;
            let end = firsts.get(number + 1).copied().unwrap_or(i64::MAX);
            next_seq = self.epoch(tx, &mut whole, epoch, (keys, end)).await?;
        }
        let last = between(tx, &mut whole, next_seq, i64::MAX).await?;
        if index::end(tx).await? >= last {
            whole.faults.push(Fault::Index);
        }
        whole.faults.sort_unstable();
        whole.faults.dedup();
        whole.faults.truncate(FAULTS_MAX);
        Ok(whole)
    }

    /// Reads one epoch's events, makes its tree again and compares; the number after its last leaf.
    async fn epoch(
        &self,
        tx: &mut Tx,
        whole: &mut Whole,
        epoch: &Epoch,
        (keys, end): (&[PublicKey], i64),
    ) -> Result<i64, LogError> {
        let mut made = Made {
            tree: Frontier::default(),
            grown: Grown::of(0),
            heads: BTreeMap::new(),
            claimed: claimed(epoch),
        };
        let mut next = epoch.first_seq;
        let last = epoch.last_seq().min(end.saturating_sub(1));
        while next <= last {
            let page = rows(tx, next, STEP.min(last - next + 1)).await?;
            let mut page = page.into_iter().filter(|row| row.seq <= last).peekable();
            if page.peek().is_none() {
                whole.faults.push(Fault::Missing(next));
                break;
            }
            for row in page {
                // In the place of one that is missing stands what the tree has, so that those after it are judged by themselves.
                while next < row.seq {
                    whole.faults.push(Fault::Missing(next));
                    made.take_stored(tx, epoch, next).await?;
                    next += 1;
                }
                match whole.take(&row) {
                    Some(event) => {
                        begins_well(whole, epoch, event);
                        made.take(event)?;
                    }
                    None => made.take_stored(tx, epoch, row.seq).await?,
                }
                next = row.seq + 1;
            }
        }
        if made.tree != epoch.frontier {
            whole.faults.push(Fault::Tree(epoch.number));
        }
        compare_tiles(tx, whole, epoch, &made.grown).await?;
        self.checkpoints(whole, epoch, keys, &made.heads);
        Ok(last + 1)
    }

    fn checkpoints(
        &self,
        whole: &mut Whole,
        epoch: &Epoch,
        keys: &[PublicKey],
        heads: &BTreeMap<u64, TreeHead>,
    ) {
        let size = epoch.frontier.size();
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
    }
}

/// What an epoch's events make.
struct Made {
    tree: Frontier,
    grown: Grown,
    /// The heads at the sizes that a checkpoint claims.
    heads: BTreeMap<u64, TreeHead>,
    claimed: BTreeSet<u64>,
}

impl Made {
    fn take(&mut self, event: &Stored) -> Result<(), LogError> {
        self.grown.push(&event.leaf(), &mut self.tree)?;
        self.note_head();
        Ok(())
    }

    /// Takes the hash that the tree's lowest tile has at an event's place, where there is one.
    async fn take_stored(&mut self, tx: &mut Tx, epoch: &Epoch, seq: i64) -> Result<(), LogError> {
        let index = seq.saturating_sub(epoch.first_seq).cast_unsigned();
        let held = tiles::leaf_hash(tx, epoch.number, index).await?;
        self.grown.push_hash(held.unwrap_or(EMPTY_ROOT), &mut self.tree)?;
        self.note_head();
        Ok(())
    }

    fn note_head(&mut self) {
        if self.claimed.contains(&self.tree.size()) {
            self.heads.insert(self.tree.size(), self.tree.head());
        }
    }
}

/// A later epoch begins with the event that says why.
fn begins_well(whole: &mut Whole, epoch: &Epoch, event: &Stored) {
    if epoch.number > 1 && event.seq == epoch.first_seq && event.code != Code::EpochOpened {
        whole.faults.push(Fault::Tree(epoch.number));
    }
}

/// Reads events that are in no tree; the number after the last.
async fn between(tx: &mut Tx, whole: &mut Whole, from: i64, until: i64) -> Result<i64, LogError> {
    let mut next = from;
    while next < until {
        let page = rows(tx, next, STEP.min(until - next)).await?;
        let mut page = page.into_iter().filter(|row| row.seq < until).peekable();
        if page.peek().is_none() {
            if until != i64::MAX {
                whole.faults.push(Fault::Missing(next));
            }
            break;
        }
        for row in page {
            if next < row.seq {
                whole.faults.push(Fault::Missing(next));
            }
            whole.take(&row);
            next = row.seq + 1;
        }
    }
    Ok(next)
}

/// Compares every stored tile with what the events make.
async fn compare_tiles(tx: &mut Tx, whole: &mut Whole, epoch: &Epoch, grown: &Grown) -> Result<(), LogError> {
    let mut made: BTreeMap<Place, &[u8]> = grown.tiles().collect();
    let mut after = None;
    loop {
        let page = tiles::stored_after(tx, epoch.number, after.as_ref()).await?;
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
    /// Takes a row; its event, where it can be read.
    fn take<'a>(&mut self, row: &'a Row) -> Option<&'a Stored> {
        self.events += 1;
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
