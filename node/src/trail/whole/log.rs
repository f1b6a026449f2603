//! Events against the tree: every leaf made again, every tile and frontier, and the checkpoints that were signed and counted.
//! Called by `whole` alone. Never trusts a stored hash before it was made from the events.

use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::origin::Keeper;
use kith_proto::log::tile::{TILE_HEIGHT, TILE_WIDTH};
use kith_proto::log::tree::{Frontier, Hash, TreeHead};
use kith_proto::sign::PublicKey;
use kith_proto::trail::Leaf;
use kith_proto::trail::event::Told;
use kith_proto::trail::leaf::Salt;
use kith_service::log::LogError;
use kith_service::log::epoch::{self, Epoch};
use kith_service::store::Tx;
use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use super::told::Account;
use crate::keys::Membership;
use crate::store::trail_whole::{self, RawEvent};
use crate::trail::TrailError;

const TABLE: &str = "audit_event";
/// Events of one read.
const STEP: i64 = 4096;

/// Checks everything and gathers what the events say of the tables; gives how many there are.
pub(super) async fn check(
    tx: &mut Tx,
    by: (&Membership, &PublicKey),
    account: &mut Account,
    findings: &mut Findings,
) -> Result<u64, TrailError> {
    let mut epochs = epoch::all(tx).await?;
    epochs.reverse();
    let firsts: Vec<i64> = epochs.iter().map(|epoch| epoch.first_seq).collect();
    if firsts.first() != Some(&1) || !epochs.iter().zip(1..).all(|(epoch, n)| epoch.number == n) {
        findings.name("log_epoch", epochs.len(), "an epoch of the log is missing");
    }
    let mut trees: Vec<Tree> = epochs.into_iter().map(Tree::of).collect();
    let (mut last, mut count) = (0_i64, 0_u64);
    loop {
        let events = trail_whole::events(tx, last, STEP).await?;
        let Some(newest) = events.last().map(|event| event.seq) else {
            break;
        };
        for event in &events {
            for missing in last + 1..event.seq {
                findings.name(TABLE, missing, "this event is missing");
                let tree = trees
                    .iter_mut()
                    .rev()
                    .find(|tree| tree.epoch.first_seq <= missing);
                if let Some(tree) = tree {
                    tree.take(tx, missing, None, findings).await?;
                }
            }
            last = event.seq;
            count += 1;
            let leaf = read(event, account, findings);
            let tree = trees
                .iter_mut()
                .rev()
                .find(|tree| tree.epoch.first_seq <= event.seq);
            match tree {
                Some(tree) => tree.take(tx, event.seq, leaf, findings).await?,
                None => findings.name(TABLE, event.seq, "this event is in no epoch of the log"),
            }
        }
        last = newest;
    }
    let counted = trail_whole::counted(tx).await?;
    for missing in last + 1..=counted.unwrap_or(last) {
        findings.name(TABLE, missing, "this event is missing");
    }
    for extra in counted.unwrap_or(0) + 1..=last {
        findings.name(TABLE, extra, "no number was given to this event");
    }
    finish(tx, by, trees, findings).await?;
    Ok(count)
}

/// The leaf of an event whose columns fit its preimage.
fn read(event: &RawEvent, account: &mut Account, findings: &mut Findings) -> Option<Leaf> {
    let salt: Option<Salt> = event.salt.as_slice().try_into().ok();
    let text = std::str::from_utf8(&event.preimage).ok();
    let told = text.and_then(|text| Told::read(text).ok());
    let (Some(salt), Some(text), Some(told)) = (salt, text, told) else {
        findings.name(TABLE, event.seq, "this event cannot be read");
        return None;
    };
    if told.code.as_str() != event.code || told.at_ms != event.at_ms {
        findings.name(TABLE, event.seq, "its code or time is not that of its preimage");
    }
    account.take(event.seq, &told);
    Some(Leaf::new(told.code, &salt, text))
}

/// The tree of one epoch, made again.
struct Tree {
    epoch: Epoch,
    frontier: Frontier,
    /// Tiles that are not whole yet, by kind and number.
    open: BTreeMap<(String, u64), Vec<u8>>,
    /// The tiles that there must be.
    tiles: BTreeSet<(String, u64)>,
    /// The bundle of stored entries that is being compared.
    stored: (u64, Vec<String>),
    /// The roots at the sizes of checkpoints.
    heads: BTreeMap<u64, TreeHead>,
}

impl Tree {
    fn of(epoch: Epoch) -> Self {
        Self {
            epoch,
            frontier: Frontier::default(),
            open: BTreeMap::new(),
            tiles: BTreeSet::new(),
            stored: (u64::MAX, Vec::new()),
            heads: BTreeMap::new(),
        }
    }

    /// Takes the leaf of an event; where there is none, the entry that stands in the log, so that the others are still judged.
    async fn take(
        &mut self,
        tx: &mut Tx,
        seq: i64,
        leaf: Option<Leaf>,
        findings: &mut Findings,
    ) -> Result<(), TrailError> {
        let index = seq.abs_diff(self.epoch.first_seq);
        if index >= self.epoch.frontier.size() || index != self.frontier.size() {
            return Ok(());
        }
        let stored = self.stored(tx, index).await?;
        let entry = match (leaf.map(|leaf| leaf.to_string()), stored) {
            (Some(entry), Some(stored)) if entry != stored => {
                findings.name(TABLE, seq, "this event is not the one that stands in the log");
                stored
            }
            (Some(entry), _) | (None, Some(entry)) => entry,
            (None, None) => String::new(),
        };
        self.push(tx, &entry, findings).await?;
        if let Some(note) = [&self.epoch.counted, &self.epoch.signed]
            .into_iter()
            .flatten()
            .find(|note| size_of(note) == Some(self.frontier.size()))
        {
            self.heads
                .insert(size_of(note).unwrap_or_default(), self.frontier.head());
        }
        Ok(())
    }

    /// The entry that stands in the log at this index.
    async fn stored(&mut self, tx: &mut Tx, index: u64) -> Result<Option<String>, TrailError> {
        let number = index / u64::from(TILE_WIDTH);
        if self.stored.0 != number {
            let bytes = trail_whole::tile(tx, self.epoch.number, ("entries", number)).await?;
            self.stored = (number, entries(&bytes.unwrap_or_default()));
        }
        let at = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
        Ok(self.stored.1.get(at).cloned())
    }

    async fn push(&mut self, tx: &mut Tx, entry: &str, findings: &mut Findings) -> Result<(), TrailError> {
        let width = u64::from(TILE_WIDTH);
        let index = self.frontier.size();
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        let mut parts = vec![(
            "entries".to_owned(),
            index,
            [&length.to_be_bytes(), entry.as_bytes()].concat(),
        )];
        let appended = self
            .frontier
            .append(Hash::of_leaf(entry.as_bytes()), |node, hash| {
                if node.level % TILE_HEIGHT == 0 {
                    let kind = (node.level / TILE_HEIGHT).to_string();
                    parts.push((kind, node.index, hash.0.to_vec()));
                }
            });
        appended.map_err(LogError::from)?;
        for (kind, at, bytes) in parts {
            let key = (kind, at / width);
            self.open
                .entry(key.clone())
                .or_default()
                .extend_from_slice(&bytes);
            if at % width == width - 1 {
                self.close(tx, key, findings).await?;
            }
        }
        Ok(())
    }

    /// Holds a tile against its row.
    async fn close(
        &mut self,
        tx: &mut Tx,
        key: (String, u64),
        findings: &mut Findings,
    ) -> Result<(), TrailError> {
        let made = self.open.remove(&key).unwrap_or_default();
        let stored = trail_whole::tile(tx, self.epoch.number, (&key.0, key.1)).await?;
        let row = format!("{}/{}/{}", self.epoch.number, key.0, key.1);
        match stored {
            None => findings.name("log_tile", row, "this tile is missing"),
            Some(stored) if stored != made => {
                findings.name("log_tile", row, "this tile is not the one that the events make");
            }
            Some(_) => {}
        }
        self.tiles.insert(key);
        Ok(())
    }
}

async fn finish(
    tx: &mut Tx,
    (me, key): (&Membership, &PublicKey),
    trees: Vec<Tree>,
    findings: &mut Findings,
) -> Result<(), TrailError> {
    let mut known: BTreeSet<(u64, String, u64)> = BTreeSet::new();
    let newest = trees.last().map(|tree| tree.epoch.number);
    for mut tree in trees {
        let number = tree.epoch.number;
        for missing in tree.frontier.size()..tree.epoch.frontier.size() {
            let seq = tree.epoch.first_seq.saturating_add_unsigned(missing);
            findings.name(TABLE, seq, "this event is missing, and it stands in the log");
        }
        let open: Vec<(String, u64)> = tree.open.keys().cloned().collect();
        for tile in open {
            tree.close(tx, tile, findings).await?;
        }
        if tree.frontier != tree.epoch.frontier {
            findings.name(
                "log_epoch",
                number,
                "its size or frontier is not what the events make",
            );
        }
        let origin = Keeper::Node(me.organisation.clone()).log_key(&me.network, number, *key);
        for (name, note) in [("signed", &tree.epoch.signed), ("counted", &tree.epoch.counted)] {
            let Some(note) = note else { continue };
            let head = size_of(note).and_then(|size| tree.heads.get(&size));
            let says: Option<Checkpoint> = note.text().parse().ok();
            if head.is_none() || says.as_ref().map(Checkpoint::head) != head {
                let sentence = format!("its {name} checkpoint is not of the tree that the events make");
                findings.name("log_epoch", number, sentence);
            }
            // An older epoch may be of an older key.
            if newest == Some(number) && Checkpoint::open(note, std::slice::from_ref(&origin)).is_err() {
                findings.name(
                    "log_epoch",
                    number,
                    format!("its {name} checkpoint is not signed by this node"),
                );
            }
        }
        known.extend(tree.tiles.into_iter().map(|(kind, at)| (number, kind, at)));
    }
    for tile in trail_whole::tiles(tx).await? {
        if !known.contains(&tile) {
            let row = format!("{}/{}/{}", tile.0, tile.1, tile.2);
            findings.name("log_tile", row, "the events make no such tile");
        }
    }
    Ok(())
}

fn size_of(note: &Note) -> Option<u64> {
    let checkpoint: Checkpoint = note.text().parse().ok()?;
    Some(checkpoint.head().size)
}

/// The entries of a bundle, as far as it can be read.
fn entries(bundle: &[u8]) -> Vec<String> {
    let (mut rest, mut entries) = (bundle, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((entry, after)) = after.split_at_checked(length) else {
            break;
        };
        entries.push(String::from_utf8_lossy(entry).into_owned());
        rest = after;
    }
    entries
}
