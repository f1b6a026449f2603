//! Bundles by themselves: one a day and one for each new key or sheet; the newest two in the folder, none older than two days, as old
//! bundles hold old epoch keys and erasure must reach them. Called by the timers, and by the link before a new key is published.
//! Never deletes a file that is not a bundle of this node, nor the newest one of the place in use; never makes one of a database whose
//! log has ended, which must not take the place of one from before.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kith_proto::recovery::{Sheet, SheetId, bundle_head};
use kith_service::store::{Store, StoreError, Tx};

use tokio::sync::MutexGuard;

use super::make::{ENDING, Made, UNFINISHED};
use super::sheet::sheet_at_ms;
use super::{RecoveryError, Source, kept_sheet, make};
use crate::audit::{self, Code, Event};
use crate::keys::DataFolder;
use crate::node::Node;
use crate::store;
use crate::store::bundle::BundleRow;
use crate::store::counter::Counter;

/// How often a bundle is made when nothing else asks for one: daily, as the epoch keys in it live a day.
pub const EVERY_MS: i64 = 24 * 60 * 60 * 1000;
/// How long a bundle stays, and after how long without one a person is alarmed.
pub const KEPT_MS: i64 = 2 * EVERY_MS;
/// How many bundles stay in the folder: a second one, in case the newest is damaged with its disk.
pub const KEPT_COUNT: usize = 2;
/// How long a new sealing key waits for a bundle that holds it: 3 days of a gateway that cannot be reached.
pub const HOLD_OFF_MS: i64 = 3 * EVERY_MS;
/// How long after a try that failed the next one comes: a whole database is read each time.
const AGAIN_MS: i64 = 10 * 60 * 1000;
/// The folder inside the data folder where bundles lie when no other was named; the gateway's copy is the one that survives.
const OWN: &str = "bundles";

/// Where things stand, for `status`, `doctor` and `recovery status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether there is a sheet that can be read, and which.
    pub sheet: Option<SheetId>,
    /// When it was made, by the computer's own clock.
    pub sheet_at_ms: i64,
    /// The newest bundle that opens with it.
    pub newest: Option<BundleRow>,
    /// Whether the newest lies on the disk that the data folder is on, and nowhere else.
    pub is_on_own_disk_only: bool,
}

/// Reads where things stand.
pub async fn standing(store: &Store, folder: &DataFolder) -> Result<Standing, StoreError> {
    let sheet = kept_sheet(folder).ok().flatten();
    let newest = newest(store)
        .await?
        .filter(|row| sheet.as_ref().is_some_and(|sheet| sheet.id.0 == row.sheet));
    let is_on_own_disk_only = newest
        .as_ref()
        .is_some_and(|row| row.gateway_at_ms.is_none() && is_on_own_disk(folder, Path::new(&row.path)));
    Ok(Standing {
        sheet: sheet.map(|sheet| sheet.id),
        sheet_at_ms: sheet_at_ms(folder),
        newest,
        is_on_own_disk_only,
    })
}

/// Where bundles go: the folder that was named for them while it is there, else one in the data folder.
pub fn place(folder: &DataFolder) -> Result<PathBuf, RecoveryError> {
    if let Some(named) = folder.kept_bundles()?.filter(|named| named.is_dir()) {
        return Ok(named);
    }
    let own = folder.path().join(OWN);
    fs::create_dir_all(&own)?;
    Ok(own)
}

/// Makes a bundle when one is due, and says whether it did: not while one is being made or given, and after one that failed not before
/// ten minutes.
pub async fn when_due(node: &Node, now_ms: i64) -> Result<bool, RecoveryError> {
    match node.bundling.try_lock() {
        Ok(tried) => under_lock(node, tried, now_ms).await,
        Err(_) => Ok(false),
    }
}

/// As [`when_due`], but waits for one that is being made or given: it may lack the key that the caller has just made.
pub async fn before_publishing(node: &Node, now_ms: i64) -> Result<bool, RecoveryError> {
    under_lock(node, node.bundling.lock().await, now_ms).await
}

async fn under_lock(
    node: &Node,
    mut tried: MutexGuard<'_, Option<i64>>,
    now_ms: i64,
) -> Result<bool, RecoveryError> {
    let Some(sheet) = kept_sheet(&node.folder)? else {
        return Ok(false);
    };
    if is_ended(node).await? {
        return Ok(false);
    }
    let row = newest(&node.store).await?;
    if !is_due(node, &sheet, row.as_ref(), now_ms) {
        return Ok(false);
    }
    if tried.is_some_and(|tried_ms| now_ms.saturating_sub(tried_ms).saturating_abs() < AGAIN_MS) {
        return Ok(false);
    }
    *tried = Some(now_ms);
    let source = Source::of(node, now_ms);
    let place = place(&node.folder)?;
    let made = make(&source, &place).await;
    // Also when none was made: what is too old must go. The newest stays until there is another.
    let tidied = tidy(&source, &place);
    note(&source, &made?).await?;
    tidied?;
    *tried = None;
    node.bundle_made.notify_one();
    Ok(true)
}

/// Whether this database is older than what the network knows of it, and has not come back yet.
async fn is_ended(node: &Node) -> Result<bool, StoreError> {
    if *node.own_log_ended.borrow() {
        return Ok(true);
    }
    let read = |mut tx: Tx| async move { store::restore::pending(&mut tx).await };
    let pending = node
        .store
        .read::<_, StoreError, _, _>("restore pending", read)
        .await?;
    Ok(pending.is_some())
}

/// Whether a bundle lies somewhere that holds this sealing key: at the gateway, or in the folder that was named for bundles.
pub async fn holds_key(node: &Node, key: &[u8; 16]) -> Result<bool, RecoveryError> {
    let named = node.folder.kept_bundles()?;
    let row = newest(&node.store).await?.filter(|row| row.sealing_key == *key);
    Ok(row.is_some_and(|row| {
        let is_in_named = named.is_some_and(|named| Path::new(&row.path).starts_with(named));
        row.gateway_at_ms.is_some() || is_in_named && Path::new(&row.path).is_file()
    }))
}

/// Writes down a bundle that was made, with its line of the trail.
pub async fn note(source: &Source<'_>, made: &Made) -> Result<(), RecoveryError> {
    let row = &BundleRow {
        made_at_ms: made.head.made_at_ms,
        bytes: i64::try_from(made.written.bytes).unwrap_or(i64::MAX),
        hash: made.written.hash,
        sheet: made.head.sheet.0,
        sealing_key: made.sealing_key,
        path: std::path::absolute(&made.path)?.to_string_lossy().into_owned(),
        folder_at_ms: Some(source.now_ms),
        gateway_at_ms: None,
    };
    let events = &[Event::new(Code::BundleMade, source.now_ms).word("kept", "folder")];
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        store::bundle::put(&mut tx, row).await?;
        audit::insert(&mut tx, &mut counter, source.rng, events).await?;
        counter.save(&mut tx).await
    };
    Ok(source
        .store
        .tx::<_, StoreError, _, _>("bundle made", write)
        .await?)
}

/// Writes down that the gateway keeps the bundle with this hash, with its line of the trail.
pub async fn given(node: &Node, hash: &[u8; 32], at_ms: i64) -> Result<(), StoreError> {
    let events = &[Event::new(Code::BundleMade, node.now_ms()).word("kept", "gateway")];
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if store::bundle::given(&mut tx, hash, at_ms).await? {
            audit::insert(&mut tx, &mut counter, &node.rng, events).await?;
        }
        counter.save(&mut tx).await
    };
    node.store.tx("bundle given", write).await
}

/// The newest bundle, of whatever sheet.
pub async fn newest(store: &Store) -> Result<Option<BundleRow>, StoreError> {
    store
        .read(
            "bundle",
            |mut tx| async move { store::bundle::get(&mut tx).await },
        )
        .await
}

/// Due: none yet, of another sheet, a day old or from the future, without the newest key, or gone from where it lay and not at the gateway.
fn is_due(node: &Node, sheet: &Sheet, row: Option<&BundleRow>, now_ms: i64) -> bool {
    let Some(row) = row else { return true };
    let key = node.keys.newest_sealing_key().map(|held| held.id);
    let is_gone = row.gateway_at_ms.is_none() && !Path::new(&row.path).is_file();
    row.sheet != sheet.id.0
        || now_ms.saturating_sub(row.made_at_ms).saturating_abs() >= EVERY_MS
        || key.is_some_and(|key| key != row.sealing_key)
        || is_gone
}

/// Deletes this node's bundles beyond the newest two and those that are too old, but never the newest of the place in use; and what a
/// crash left unfinished. Other files, and bundles of others, are left alone. The other of the two places is looked at as well: a stick
/// that was away for a day, or the data folder since then.
pub fn tidy(source: &Source<'_>, in_use: &Path) -> Result<u64, RecoveryError> {
    let mut deleted = tidy_place(source, in_use, true)?;
    let own = source.folder.path().join(OWN);
    let is_in_use = |place: &Path| match (place.canonicalize(), in_use.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    for other in [Some(own), source.folder.kept_bundles()?].into_iter().flatten() {
        if other.is_dir() && !is_in_use(&other) {
            deleted += tidy_place(source, &other, false)?;
        }
    }
    Ok(deleted)
}

fn tidy_place(source: &Source<'_>, place: &Path, is_in_use: bool) -> Result<u64, RecoveryError> {
    let mut deleted = 0;
    for (place, (made_at_ms, path)) in ours(source, place)?.iter().rev().enumerate() {
        let is_old = source.now_ms.saturating_sub(*made_at_ms) >= KEPT_MS;
        let is_kept = is_in_use && place == 0;
        if place >= KEPT_COUNT || is_old && !is_kept {
            fs::remove_file(path)?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// This node's bundles in a folder, the oldest first; what a crash left unfinished there goes.
fn ours(source: &Source<'_>, place: &Path) -> Result<Vec<(i64, PathBuf)>, RecoveryError> {
    let mut bundles = Vec::new();
    let begins = format!("{}-", source.me.organisation);
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let Some(rest) = name.strip_prefix(&begins) else {
            continue;
        };
        let number = |ending: &str| {
            rest.strip_suffix(ending)
                .and_then(|number| number.parse::<i64>().ok())
        };
        if let Some(begun_ms) = number(UNFINISHED) {
            // One that is younger may be a command's that is at work beside.
            if source.now_ms.saturating_sub(begun_ms) > EVERY_MS {
                fs::remove_file(&path)?;
            }
        } else if number(ENDING).is_some() {
            let head = File::open(&path).map_err(RecoveryError::from);
            let head = head.and_then(|mut file| Ok(bundle_head(&mut file)?));
            let ours = head.ok().filter(|head| {
                head.organisation == source.me.organisation && head.network == source.me.network
            });
            bundles.extend(ours.map(|head| (head.made_at_ms, path.clone())));
        }
    }
    bundles.sort_unstable();
    Ok(bundles)
}

/// Whether a path is on the disk that the data folder is on; one that cannot be looked at is taken for being there.
fn is_on_own_disk(folder: &DataFolder, path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let (own, other) = (device(folder.path()), device(path));
    other.is_none() || own == other
}
