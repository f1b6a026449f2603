//! What a log says of what was done: its events by their codes, its trees, and what it has seen of others' logs.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::tree::{Hash, TreeHead, head_of};
use kith_service::log::{append, epoch};
use kith_service::store::{Row, Store, StoreError, Tx};

use super::{bytes, int, rows, text};

/// How many audit events there are of each code, of one envelope one, those that name a problem with ` refused` behind it, whether their
/// numbers go up from 1 without a gap, and whether each is the leaf of its number in the tree that the log signed for its epoch.
#[derive(Clone, Debug)]
pub(crate) struct Trail {
    pub(crate) codes: BTreeMap<String, i64>,
    /// Events that told of an envelope what one before had told.
    pub(crate) again: i64,
    pub(crate) whole: bool,
    pub(crate) proven: bool,
    /// The leaves of each epoch.
    pub(crate) epochs: BTreeMap<u64, Vec<Hash>>,
    /// The last head of each log of somebody else's that was cosigned or believed.
    pub(crate) seen: BTreeMap<String, TreeHead>,
}

/// Reads it; `notes` finds the last checkpoints of others, as `note`.
pub(super) async fn trail(store: &Store, notes: &'static str) -> Trail {
    let notes = rows(store, notes);
    let events = rows(store, "SELECT seq, code, preimage FROM audit_event ORDER BY seq").await;
    let mut codes = BTreeMap::new();
    let mut told = BTreeSet::new();
    let mut again = 0;
    for row in &events {
        let preimage = String::from_utf8_lossy(&bytes(row, "preimage")).into_owned();
        let refused = preimage.contains("problem");
        let code = text(row, "code") + if refused { " refused" } else { "" };
        let envelope = preimage.lines().find(|line| line.starts_with("envelope="));
        if envelope.is_none_or(|envelope| told.insert((text(row, "code"), envelope.to_owned()))) {
            *codes.entry(code).or_default() += 1;
        } else {
            again += 1;
        }
    }
    let whole = events
        .iter()
        .zip(1..)
        .all(|(row, number)| int(row, "seq") == number);
    let (epochs, proven) = epochs(store).await;
    Trail {
        codes,
        again,
        whole,
        proven,
        epochs,
        seen: notes.await.iter().map(seen).collect(),
    }
}

/// Whose log a note is of, and its head.
fn seen(row: &Row) -> (String, TreeHead) {
    let note = Note::parse(&bytes(row, "note")).unwrap();
    let checkpoint: Checkpoint = note.text().parse().unwrap();
    (checkpoint.origin().to_owned(), *checkpoint.head())
}

/// The leaves of each epoch, and whether the tree that was signed last in each has all of them, and nothing else.
async fn epochs(store: &Store) -> (BTreeMap<u64, Vec<Hash>>, bool) {
    let read = |mut tx: Tx| async move {
        let events = append::after(&mut tx, 0, i64::MAX).await?;
        Ok((events, epoch::all(&mut tx).await?))
    };
    let (events, all) = store.read::<_, StoreError, _, _>("leaves", read).await.unwrap();
    let mut leaves = BTreeMap::new();
    let mut proven = !all.is_empty();
    for (place, epoch) in all.iter().enumerate() {
        let end = all.get(place + 1).map_or(i64::MAX, |next| next.first_seq);
        let of_epoch = events
            .iter()
            .filter(|event| (epoch.first_seq..end).contains(&event.seq));
        let of_epoch: Vec<Hash> = of_epoch.map(|event| event.leaf().hash()).collect();
        let signed = epoch
            .signed
            .as_ref()
            .map(|note| note.text().parse::<Checkpoint>().unwrap());
        let tree = head_of(of_epoch.iter().copied()).unwrap();
        proven &= signed.is_some_and(|checkpoint| *checkpoint.head() == tree);
        leaves.insert(epoch.number, of_epoch);
    }
    (leaves, proven)
}
