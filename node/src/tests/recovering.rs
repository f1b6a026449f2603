//! A node that is lost and comes back: every row and every key, on either sort of database; and what must not open or load.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kith_proto::recovery::{BundleError, RecoveryKeys, Share};
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::store::{StoreError, Tx, Value};
use tempfile::TempDir;

use super::provider;
use crate::content::rotate_epoch;
use crate::keys::DataFolder;
use crate::node::{Config, Node};
use crate::persons;
use crate::recovery::load::{self, Loading};
use crate::recovery::{MadeSheet, RecoveryError, Source, keep, make, make_sheet};
use crate::store::{self, restore::Restore};
use crate::tests::fixture::{NOW_MS, Place, Story, somebody};
use crate::tests::looked::fill;
use crate::trail;
use kith_proto::recovery::RestoreReason;

/// A node with people, referrals and a sheet.
struct Lost {
    story: Story,
    sheet: MadeSheet,
    bundles: TempDir,
}

impl Lost {
    async fn begin() -> Self {
        let story = Story::begin(provider().await).await;
        fill(&story).await;
        story.node.log.catch_up(&story.node.keys.signing).await.unwrap();
        let sheet = make_sheet(&source(&story)).await.unwrap();
        let bundles = TempDir::new().unwrap();
        Self {
            story,
            sheet,
            bundles,
        }
    }

    async fn bundle(&self) -> PathBuf {
        make(&source(&self.story), self.bundles.path())
            .await
            .unwrap()
            .path
    }

    fn keys(&self) -> RecoveryKeys {
        keys(&self.sheet.shares, (0, 2))
    }
}

fn source(story: &Story) -> Source<'_> {
    Source::of(&story.node, story.node.now_ms())
}

fn keys(shares: &[Share; 3], (one, other): (usize, usize)) -> RecoveryKeys {
    load::keys_of_shares(&shares[one].to_string(), &shares[other].to_string()).unwrap()
}

fn config(place: &Place) -> Config {
    Config {
        folder: place.data(),
        store_url: place.store_url.clone(),
        store_blocking: false,
    }
}

async fn load_into(place: &Place, file: &Path, keys: &RecoveryKeys) -> Result<load::Contents, RecoveryError> {
    let loading = Loading {
        config: &config(place),
        reason: RestoreReason::Lost,
        rng: &Rng::system(),
        now_ms: NOW_MS,
    };
    load::load(file, keys, &loading).await
}

/// Every row of every table, as text; of `restore` and `bundle` none, which a bundle cannot know.
async fn rows(node: &Node) -> BTreeMap<String, Vec<String>> {
    let read = |mut tx: Tx| async move {
        let mut all = BTreeMap::new();
        for table in tx.tables().await? {
            let mut names: Vec<(usize, &String)> =
                table.columns.iter().map(|(name, _)| name).enumerate().collect();
            names.sort_by_key(|(_, name)| (*name).clone());
            let mut rows: Vec<String> = tx
                .page(&table, &[], 100_000)
                .await?
                .iter()
                .map(|row| {
                    names
                        .iter()
                        .map(|(at, name)| format!("{name}={} ", text(&row[*at])))
                        .collect()
                })
                .collect();
            rows.sort();
            all.insert(table.name.clone(), rows);
        }
        Ok::<_, StoreError>(all)
    };
    let mut all = node.store.read("rows", read).await.unwrap();
    all.remove("restore");
    all
}

fn text(value: &Value) -> String {
    match value {
        Value::Integer(Some(number)) => number.to_string(),
        Value::Text(Some(text)) => text.clone(),
        Value::Bytes(Some(bytes)) => data_encoding::HEXLOWER.encode(bytes),
        _ => "null".into(),
    }
}

async fn comes_back_in(new: Place) {
    let lost = Lost::begin().await;
    let file = lost.bundle().await;
    let before = rows(&lost.story.node).await;
    let signing = lost.story.node.keys.signing.public();
    let found = load::check(&file, &lost.keys()).unwrap();
    assert_eq!((found.persons, found.head.sheet), (3, lost.sheet.id));
    assert!(found.referrals > 3 && found.events > 20, "{found:?}");
    assert_eq!(load_into(&new, &file, &lost.keys()).await.unwrap(), found);
    // The old computer is gone; the new one opens what only its keys open.
    lost.story.node.store.close().await;
    let node = Node::open(config(&new), Clock::manual(NOW_MS).0, Rng::system())
        .await
        .unwrap();
    assert_eq!(rows(&node).await, before);
    assert_eq!(node.keys.signing.public(), signing);
    let listed = persons::list(&node, &lost.story.caller, "Canary", (None, 10))
        .await
        .unwrap();
    assert_eq!(listed.0.len(), 3, "their names are read with the epoch's key");
    let whole = trail::whole(&node.store, &node.membership, &signing, NOW_MS)
        .await
        .unwrap();
    assert_eq!(whole.damages, []);
    let restore = node
        .store
        .read("restore", |mut tx: Tx| async move {
            let row = tx
                .one(kith_service::store::query(
                    "SELECT reason, backup_at_ms, done_at_ms FROM restore",
                ))
                .await?
                .unwrap();
            Ok::<_, StoreError>((
                row.nth::<String>(0)?,
                row.nth::<i64>(1)?,
                row.nth::<Option<i64>>(2)?,
            ))
        })
        .await
        .unwrap();
    assert!(
        restore.0 == "lost" && restore.1 > NOW_MS && restore.2.is_none(),
        "{restore:?}"
    );
}

#[tokio::test]
async fn it_comes_back_on_sqlite() {
    comes_back_in(Place::sqlite()).await;
}

#[tokio::test]
async fn it_comes_back_on_postgres() {
    comes_back_in(Place::postgres().await).await;
}

/// By the migrations' own texts, not by the catalogue that the bundle was made by.
#[tokio::test]
async fn every_table_of_the_migrations_is_in_the_bundle() {
    let story = Story::begin(provider().await).await;
    let made: Vec<String> = crate::node::MIGRATIONS
        .sqlite
        .iter()
        .flat_map(|migration| {
            migration
                .sql
                .as_str()
                .split("CREATE TABLE ")
                .skip(1)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .map(|rest| rest.split([' ', '(']).next().unwrap().to_owned())
        .collect();
    assert!(made.len() > 30, "{made:?}");
    let listed = rows(&story.node).await;
    for table in made.iter().filter(|table| *table != "restore") {
        assert!(listed.contains_key(table), "{table}");
    }
    assert_eq!(listed.len() + 1, made.len());
}

#[tokio::test]
async fn nothing_in_clear_and_nothing_for_a_thief() {
    let lost = Lost::begin().await;
    let file = lost.bundle().await;
    let bytes = fs::read(&file).unwrap();
    for word in [b"Canary".as_slice(), b"Riverside Practice", b"07700"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word));
    }
    // All files of the folder: none holds a share's bytes, and none opens the bundle.
    for (name, contents) in lost.story.node.folder.key_contents().unwrap() {
        let text = String::from_utf8_lossy(&contents).replace(' ', "");
        for share in &lost.sheet.shares {
            assert!(!text.contains(&share.to_string().replace(' ', "")), "{name}");
        }
    }
    let other = make_sheet(&source(&lost.story)).await.unwrap();
    assert_eq!(other.before, Some(lost.sheet.id));
    let refused = load::check(&file, &keys(&other.shares, (0, 1))).unwrap_err();
    assert!(
        matches!(refused, RecoveryError::Bundle(BundleError::OtherSheet { .. })),
        "{refused}"
    );
    assert!(
        load::check(&file, &lost.keys()).is_ok(),
        "the old sheet opens the old bundle"
    );
}

#[tokio::test]
async fn damaged_bundles_load_nothing() {
    let lost = Lost::begin().await;
    let file = lost.bundle().await;
    let good = fs::read(&file).unwrap();
    let bad = lost.bundles.path().join("bad");
    for at in (0..good.len()).step_by(good.len() / 12).chain([good.len() - 1]) {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        fs::write(&bad, &bytes).unwrap();
        assert!(load::check(&bad, &lost.keys()).is_err(), "flip at {at}");
        fs::write(&bad, &good[..at]).unwrap();
        let new = Place::sqlite();
        assert!(load_into(&new, &bad, &lost.keys()).await.is_err(), "cut at {at}");
        assert!(!new.data().path().exists(), "nothing is left of it");
    }
}

#[tokio::test]
async fn what_is_not_empty_is_left_alone() {
    let lost = Lost::begin().await;
    let file = lost.bundle().await;
    let taken = load_into(&lost.story.place, &file, &lost.keys())
        .await
        .unwrap_err();
    assert!(matches!(taken, RecoveryError::FolderTaken), "{taken}");
    // An empty folder, and the database of the living node.
    let mut place = Place::sqlite();
    let url = lost.story.place.store_url.clone();
    place.store_url = Some(url.unwrap_or_else(|| lost.story.place.data().database_url()));
    let before = rows(&lost.story.node).await;
    let taken = load_into(&place, &file, &lost.keys()).await.unwrap_err();
    assert!(matches!(taken, RecoveryError::StoreTaken), "{taken}");
    assert_eq!(rows(&lost.story.node).await, before);
    assert!(!place.data().holds_node());
    // What failed there can be done elsewhere, and once only.
    let new = Place::sqlite();
    load_into(&new, &file, &lost.keys()).await.unwrap();
    assert!(load_into(&new, &file, &lost.keys()).await.is_err());
}

#[tokio::test]
async fn keys_that_turn_are_all_in_the_bundle() {
    let lost = Lost::begin().await;
    // A rotation that a crash left between its two keys: rows of both epochs.
    rotate_epoch(&lost.story.node).await.unwrap();
    let node = &lost.story.node;
    node.keys
        .add_sealing_key(&node.folder, &node.rng, NOW_MS)
        .unwrap();
    let file = lost.bundle().await;
    let new = Place::sqlite();
    load_into(&new, &file, &lost.keys()).await.unwrap();
    let restored = crate::keys::Keys::load(&new.data()).unwrap();
    let ids = |keys: &crate::keys::Keys| keys.sealing_keys().iter().map(|held| held.id).collect::<Vec<_>>();
    assert_eq!(ids(&restored), ids(&node.keys));
    let both = crate::content::Epochs::with_earlier(
        br#"[{"number":1,"key":"aa"},{"number":2,"key":"bb"}]"#,
        br#"[{"number":2,"key":"bb"},{"number":3,"key":"cc"}]"#,
    );
    let both = String::from_utf8(both.unwrap()).unwrap();
    assert!(
        ["\"aa\"", "\"bb\"", "\"cc\""]
            .iter()
            .all(|key| both.contains(key)),
        "{both}"
    );
    assert_eq!(both.matches("bb").count(), 1, "{both}");
}

#[tokio::test]
async fn the_newest_two_stay_and_old_ones_go() {
    let lost = Lost::begin().await;
    let (node, hand) = (&lost.story.node, &lost.story.hand);
    node.folder.keep_bundles(lost.bundles.path()).unwrap();
    let here = || -> Vec<String> {
        let entries = fs::read_dir(lost.bundles.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    fs::write(
        lost.bundles.path().join("riverside-gp-5.kith-bundle"),
        "not a bundle",
    )
    .unwrap();
    fs::write(lost.bundles.path().join("photos.zip"), "of the volunteer").unwrap();
    fs::write(
        lost.bundles.path().join("riverside-gp-7.kith-bundle.part"),
        "a crash left it",
    )
    .unwrap();
    for day in 1..=4 {
        assert!(keep::when_due(node, node.now_ms()).await.unwrap(), "day {day}");
        assert!(!keep::when_due(node, node.now_ms()).await.unwrap(), "one a day");
        hand.advance(keep::EVERY_MS);
    }
    let left = here();
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(
        left.contains(&"photos.zip".to_owned()) && left.contains(&"riverside-gp-5.kith-bundle".to_owned())
    );
    // A week away: the old ones go with the first new one, and every one that opens is younger than two days.
    hand.advance(7 * keep::EVERY_MS);
    assert!(keep::when_due(node, node.now_ms()).await.unwrap());
    assert_eq!(here().len(), 3);
    let standing = keep::standing(&node.store, &node.folder).await.unwrap();
    assert_eq!(standing.newest.unwrap().made_at_ms, node.now_ms());
    assert!(
        standing.is_on_own_disk_only,
        "the test's folder is on the same disk"
    );
    // A new key and a new sheet are in a bundle at once.
    node.keys
        .add_sealing_key(&node.folder, &node.rng, node.now_ms())
        .unwrap();
    let key = node.keys.newest_sealing_key().unwrap().id;
    assert!(!keep::holds_key(node, &key).await.unwrap());
    hand.advance(1);
    assert!(keep::when_due(node, node.now_ms()).await.unwrap());
    assert!(keep::holds_key(node, &key).await.unwrap());
    make_sheet(&source(&lost.story)).await.unwrap();
    hand.advance(1);
    assert!(keep::when_due(node, node.now_ms()).await.unwrap());
}

#[tokio::test]
async fn bundles_of_the_place_that_is_not_in_use_end_with_their_two_days_too() {
    let lost = Lost::begin().await;
    let (node, hand) = (&lost.story.node, &lost.story.hand);
    let count = |place: &Path| fs::read_dir(place).unwrap().count();
    // One in the data folder, before a place was named; then one on the stick, which is away for days.
    assert!(keep::when_due(node, node.now_ms()).await.unwrap());
    let own = node.folder.path().join("bundles");
    let (stick, away) = (
        lost.bundles.path().join("stick"),
        lost.bundles.path().join("away"),
    );
    fs::create_dir(&stick).unwrap();
    node.folder.keep_bundles(&stick).unwrap();
    hand.advance(keep::EVERY_MS);
    assert!(keep::when_due(node, node.now_ms()).await.unwrap());
    assert_eq!((count(&own), count(&stick)), (1, 1));
    hand.advance(keep::EVERY_MS);
    assert!(keep::when_due(node, node.now_ms()).await.unwrap());
    assert_eq!((count(&own), count(&stick)), (0, 2), "two days old");
    fs::rename(&stick, &away).unwrap();
    hand.advance(4 * keep::EVERY_MS);
    assert!(keep::when_due(node, node.now_ms()).await.unwrap());
    fs::rename(&away, &stick).unwrap();
    hand.advance(keep::EVERY_MS);
    assert!(keep::when_due(node, node.now_ms()).await.unwrap());
    assert_eq!((count(&own), count(&stick)), (1, 1));
}

#[tokio::test]
async fn nothing_is_due_while_the_log_has_ended_or_a_restore_is_pending() {
    let lost = Lost::begin().await;
    let node = &lost.story.node;
    node.own_log_ended.send_replace(true);
    assert!(!keep::when_due(node, node.now_ms()).await.unwrap());
    node.own_log_ended.send_replace(false);
    let pending = &Restore::from_nothing([7; 16], node.now_ms());
    let begin = |mut tx: Tx| async move { store::restore::insert(&mut tx, pending).await };
    node.store
        .tx::<_, StoreError, _, _>("pending", begin)
        .await
        .unwrap();
    assert!(!keep::when_due(node, node.now_ms()).await.unwrap());
    let done = |mut tx: Tx| async move { store::restore::done(&mut tx, &[7; 16], NOW_MS).await };
    node.store.tx::<_, StoreError, _, _>("done", done).await.unwrap();
    assert!(keep::when_due(node, node.now_ms()).await.unwrap());
}

#[tokio::test]
async fn keys_under_way_are_in_no_bundle() {
    let lost = Lost::begin().await;
    let keys = lost.story.node.folder.path().join("keys");
    fs::write(keys.join("next-signing"), "5".repeat(64)).unwrap();
    let file = lost.bundle().await;
    let place = provider().await;
    load_into(&place, &file, &lost.keys()).await.unwrap();
    assert!(place.data().path().join("keys/signing").is_file());
    assert!(!place.data().path().join("keys/next-signing").exists());
}

#[tokio::test]
async fn a_crash_before_the_name_leaves_the_older_bundle() {
    let lost = Lost::begin().await;
    let file = lost.bundles.path().join("newest.kith-bundle");
    make(&source(&lost.story), &file).await.unwrap();
    let older = fs::read(&file).unwrap();
    // What is written lies beside until it is whole; a folder in its place lets no writing begin.
    let beside = lost.bundles.path().join("newest.kith-bundle.part");
    fs::create_dir(&beside).unwrap();
    assert!(make(&source(&lost.story), &file).await.is_err());
    assert_eq!(fs::read(&file).unwrap(), older);
    assert!(load::check(&file, &lost.keys()).is_ok());
    fs::remove_dir(&beside).unwrap();
    fs::write(&beside, &older[..older.len() / 2]).unwrap();
    make(&source(&lost.story), &file).await.unwrap();
    assert!(load::check(&file, &lost.keys()).is_ok() && !beside.exists());
}

#[tokio::test]
async fn without_a_sheet_nothing_is_made() {
    let story = Story::begin(provider().await).await;
    let place = TempDir::new().unwrap();
    let refused = make(&source(&story), place.path()).await.unwrap_err();
    assert!(matches!(refused, RecoveryError::NoSheet));
    assert!(!keep::when_due(&story.node, NOW_MS).await.unwrap());
    assert_eq!(story.person(somebody("Canary")).await.as_bytes().len(), 16);
    assert!(DataFolder::at(place.path()).is_empty());
}
