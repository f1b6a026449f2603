//! Checks a bundle, or loads it into an empty folder and an empty database of either sort. Called by `kith-node restore FILE`.
//! Never writes a row or a key before the whole bundle was found authentic and readable; never into a place where anything is.
//!
//! The database is filled in one transaction and the folder after it, its file `network` last: until then nothing takes it for a node's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use kith_proto::recovery::{BundleHead, BundleReader, RecoveryKeys, Share, check_bundle};
use kith_service::rng::Rng;
use kith_service::store::{Kind, Migrations, Owner, Store, StoreError, Table, Tx, Value};
use sqlx::migrate::Migrator;

use super::RecoveryError;
use super::body::{Counts, Record, Records, TableHead};
use crate::content::Epochs;
use crate::keys::{DataFolder, Keys, KeysError, Membership};
use crate::node::{Config, MIGRATIONS, PRODUCT};
use crate::store;
use crate::store::restore::Restore;
use kith_proto::recovery::RestoreReason;

/// Rows that are inserted together.
const ROWS: usize = 128;
/// Bytes after which they are inserted before there are so many.
const ROWS_BYTES: usize = 4 << 20;

/// What a bundle holds, in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What it says of itself.
    pub head: BundleHead,
    /// Referrals, sent and received.
    pub referrals: u64,
    /// Events of the trail.
    pub events: u64,
    /// People on record.
    pub persons: u64,
    /// Rows of every table together.
    pub rows: u64,
}

/// Where a bundle is loaded to.
pub struct Loading<'a> {
    /// The new folder and database.
    pub config: &'a Config,
    /// Why.
    pub reason: RestoreReason,
    /// Randomness for the restore's id.
    pub rng: &'a Rng,
    /// The time.
    pub now_ms: i64,
}

/// The keys of two shares as they were typed.
pub fn keys_of_shares(one: &str, other: &str) -> Result<RecoveryKeys, RecoveryError> {
    let secret = Share::combine(&Share::parse(one)?, &Share::parse(other)?)?;
    Ok(secret.keys()?)
}

/// Proves a bundle without writing anything: that it is whole, was made by the node of this sheet, reads to its end, has the events that
/// its counter says without a gap, and keys that load.
pub fn check(file: &Path, keys: &RecoveryKeys) -> Result<Contents, RecoveryError> {
    Ok(inspect(file, keys)?.contents)
}

/// Loads a bundle and says what it held. The folder counts as a node's from then on; its row `restore` says that it must first ask the
/// network what the bundle cannot know.
pub async fn load(
    file: &Path,
    keys: &RecoveryKeys,
    loading: &Loading<'_>,
) -> Result<Contents, RecoveryError> {
    let folder = &loading.config.folder;
    let inspected = inspect(file, keys)?;
    if !folder.is_empty() {
        return Err(RecoveryError::FolderTaken);
    }
    let before = folder.before();
    folder.make()?;
    let lock = folder.lock()?;
    let database = folder.path().join("node.db");
    let loaded = fill(file, keys, loading, &inspected).await;
    let ended = match loaded {
        Ok(()) => put_keys(loading.config, inspected.keys),
        Err(error) => Err(error),
    };
    if ended.is_err() {
        // The folder was empty: what is in it now was made here.
        for ending in ["", "-wal", "-shm"] {
            let mut name = database.clone().into_os_string();
            name.push(ending);
            fs::remove_file(name).ok();
        }
        folder.undo(&before);
    }
    drop(lock);
    ended.map(|()| inspected.contents)
}

/// A bundle that was read to its end.
struct Inspected {
    contents: Contents,
    schema: i64,
    keys: BTreeMap<String, Vec<u8>>,
}

/// Reads a bundle twice: for the mark over the whole, and record by record.
fn inspect(file: &Path, keys: &RecoveryKeys) -> Result<Inspected, RecoveryError> {
    let opened = File::open(file)?;
    let bytes = opened.metadata()?.len();
    let head = check_bundle(&mut BufReader::new(opened), bytes, keys)?;
    let mut records = records(file, keys)?;
    let Some(Record::Head { schema }) = records.next()? else {
        return Err(RecoveryError::Malformed);
    };
    let mut seen = Seen::default();
    let stated = loop {
        match records.next()?.ok_or(RecoveryError::Malformed)? {
            Record::Head { .. } => return Err(RecoveryError::Malformed),
            Record::Key {
                is_after,
                name,
                bytes,
            } => seen.key(is_after, name, bytes)?,
            Record::Table(table) => seen.table(table),
            Record::Row(row) => seen.row(&row)?,
            Record::End(stated) => break stated,
        }
    };
    // Nothing after the end; only now the bundle is known to be whole.
    if records.next()?.is_some() || stated != seen.counts {
        return Err(RecoveryError::Malformed);
    }
    let contents = Contents {
        referrals: seen.of("referral"),
        events: seen.of("audit_event"),
        persons: seen.of("person"),
        rows: seen.counts.rows,
        head,
    };
    seen.check_events()?;
    check_keys(&contents.head, &seen.keys)?;
    Ok(Inspected {
        contents,
        schema,
        keys: seen.keys,
    })
}

fn records(file: &Path, keys: &RecoveryKeys) -> Result<Records<BufReader<File>>, RecoveryError> {
    let opened = File::open(file)?;
    let bytes = opened.metadata()?.len();
    Ok(Records::of(BundleReader::begin(
        BufReader::new(opened),
        bytes,
        keys,
    )?))
}

/// What has been read of a bundle.
#[derive(Default)]
struct Seen {
    counts: Counts,
    table: Option<TableHead>,
    rows: BTreeMap<String, u64>,
    keys: BTreeMap<String, Vec<u8>>,
    /// First and last number of the events.
    events: Option<(i64, i64)>,
}

impl Seen {
    fn of(&self, table: &str) -> u64 {
        self.rows.get(table).copied().unwrap_or(0)
    }

    /// Keeps a file: the later one, and of the files with turning keys the keys of both.
    fn key(&mut self, is_after: bool, name: String, bytes: Vec<u8>) -> Result<(), RecoveryError> {
        self.counts.files += 1;
        let bytes = match self.keys.get(&name) {
            Some(before) if is_after => Keys::with_earlier(&name, before, &bytes)?.unwrap_or(bytes),
            _ => bytes,
        };
        self.keys.insert(name, bytes);
        Ok(())
    }

    fn table(&mut self, table: TableHead) {
        self.counts.tables += 1;
        self.rows.insert(table.name.clone(), 0);
        self.table = Some(table);
    }

    fn row(&mut self, row: &[Value]) -> Result<(), RecoveryError> {
        let table = self.table.as_ref().ok_or(RecoveryError::Malformed)?;
        if row.len() != table.columns.len() {
            return Err(RecoveryError::Malformed);
        }
        self.counts.rows += 1;
        if let Some(count) = self.rows.get_mut(&table.name) {
            *count += 1;
        }
        if table.name == "audit_event" {
            let place = table.columns.iter().position(|column| column == "seq");
            let Some(Value::Integer(Some(seq))) = place.and_then(|place| row.get(place)) else {
                return Err(RecoveryError::Malformed);
            };
            let (first, _) = self.events.unwrap_or((*seq, *seq));
            self.events = Some((first, *seq));
        }
        Ok(())
    }

    /// The events are numbered without a gap.
    fn check_events(&self) -> Result<(), RecoveryError> {
        let count = i64::try_from(self.of("audit_event")).map_err(|_| RecoveryError::Malformed)?;
        match self.events {
            Some((first, last)) if last - first + 1 != count => Err(RecoveryError::Malformed),
            _ => Ok(()),
        }
    }
}

/// Loads the keys and the membership as a node would, from memory.
fn check_keys(head: &BundleHead, keys: &BTreeMap<String, Vec<u8>>) -> Result<(), RecoveryError> {
    let file = |name: &'static str| keys.get(name).ok_or(KeysError::Missing(name));
    Keys::parse(file("signing")?, file("sealing")?)?;
    Epochs::parse(file("epoch")?)?;
    let me = Membership::parse(file("network")?)?;
    if me.network != head.network || me.organisation != head.organisation {
        return Err(RecoveryError::Malformed);
    }
    Ok(())
}

/// Fills the database, in one transaction on the schema that the bundle was made on.
async fn fill(
    file: &Path,
    keys: &RecoveryKeys,
    loading: &Loading<'_>,
    inspected: &Inspected,
) -> Result<(), RecoveryError> {
    let url = loading.config.store_url.clone();
    let url = url.unwrap_or_else(|| loading.config.folder.database_url());
    // Nobody's name: a database that anybody has claimed is refused before its schema is touched.
    let nobody = store::identity::owner("");
    let opened = open_at(&url, nobody, inspected.schema).await?;
    let restore_id: [u8; 16] = loading.rng.bytes()?;
    let fill = |tx: Tx| async move { fill_tables(tx, file, keys, loading, restore_id).await };
    let filled = opened.tx("load bundle", fill).await;
    opened.close().await;
    filled
}

async fn open_at(url: &str, nobody: Owner<'_>, schema: i64) -> Result<Store, RecoveryError> {
    let newest = |migrator: &Migrator| migrator.iter().map(|migration| migration.version).max();
    if newest(MIGRATIONS.sqlite) < Some(schema) {
        return Err(RecoveryError::Newer);
    }
    // One restore in the life of a process: what it leaves is nothing.
    let up_to = |migrator: &'static Migrator| -> &'static Migrator {
        let migrations = migrator.iter().filter(|migration| migration.version <= schema);
        Box::leak(Box::new(Migrator::with_migrations(migrations.cloned().collect())))
    };
    let migrations = Migrations {
        sqlite: up_to(MIGRATIONS.sqlite),
        postgres: up_to(MIGRATIONS.postgres),
    };
    match Store::open_of(url, PRODUCT, nobody, migrations).await {
        Ok(store) => Ok(store),
        Err(StoreError::Foreign | StoreError::Newer) => Err(RecoveryError::StoreTaken),
        Err(error) => Err(error.into()),
    }
}

async fn fill_tables(
    mut tx: Tx,
    file: &Path,
    keys: &RecoveryKeys,
    loading: &Loading<'_>,
    restore_id: [u8; 16],
) -> Result<(), RecoveryError> {
    if store::identity::claimed(&mut tx).await?.is_some() {
        return Err(RecoveryError::StoreTaken);
    }
    let tables = tx.tables().await?;
    for table in &tables {
        tx.clear(table).await?;
    }
    let mut records = records(file, keys)?;
    let mut waiting = Waiting::default();
    let mut filled = 0;
    while let Some(record) = records.next()? {
        match record {
            Record::Table(head) => {
                waiting.put(&mut tx).await?;
                waiting.table = Some(matching(&tables, &head)?);
                filled += 1;
            }
            Record::Row(row) => waiting.row(&mut tx, row).await?,
            Record::Head { .. } | Record::Key { .. } | Record::End(_) => {}
        }
    }
    waiting.put(&mut tx).await?;
    // A table of this schema that the bundle does not have was forgotten when it was made.
    if filled != tables.len() {
        return Err(RecoveryError::Malformed);
    }
    let me = store::identity::claimed(&mut tx).await?;
    if me.is_none() {
        return Err(RecoveryError::Malformed);
    }
    let backup_at_ms = store::restore::newest_event_ms(&mut tx).await?;
    let begun = Restore::begun(restore_id, loading.reason, (backup_at_ms, loading.now_ms));
    Ok(store::restore::insert(&mut tx, &begun).await?)
}

/// The table of this database with the name and columns that a bundle says, its columns in the bundle's order.
fn matching(tables: &[Table], head: &TableHead) -> Result<Table, RecoveryError> {
    let table = tables.iter().find(|table| table.name == head.name);
    let table = table.ok_or(RecoveryError::Malformed)?;
    let find = |name: &String| table.columns.iter().find(|(column, _)| column == name).cloned();
    let columns: Option<Vec<(String, Kind)>> = head.columns.iter().map(find).collect();
    let columns = columns.filter(|columns| columns.len() == table.columns.len());
    Ok(Table {
        name: table.name.clone(),
        columns: columns.ok_or(RecoveryError::Malformed)?,
        key: Vec::new(),
    })
}

/// Rows of one table that are inserted together.
#[derive(Default)]
struct Waiting {
    table: Option<Table>,
    rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl Waiting {
    async fn row(&mut self, tx: &mut Tx, row: Vec<Value>) -> Result<(), RecoveryError> {
        let table = self.table.as_ref().ok_or(RecoveryError::Malformed)?;
        let mut typed = Vec::with_capacity(row.len());
        for (value, (_, kind)) in row.into_iter().zip(&table.columns) {
            self.bytes += size(&value);
            typed.push(of_kind(value, *kind)?);
        }
        self.rows.push(typed);
        if self.rows.len() >= ROWS || self.bytes >= ROWS_BYTES {
            self.put(tx).await?;
        }
        Ok(())
    }

    async fn put(&mut self, tx: &mut Tx) -> Result<(), RecoveryError> {
        if let Some(table) = &self.table {
            tx.put(table, &self.rows).await?;
        }
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(Some(text)) => text.len(),
        Value::Bytes(Some(bytes)) => bytes.len(),
        _ => 8,
    }
}

/// The value as its column's type has it; one that is null gets that type.
fn of_kind(value: Value, kind: Kind) -> Result<Value, RecoveryError> {
    match (value, kind) {
        (Value::Bytes(None), Kind::Integer) => Ok(Value::Integer(None)),
        (Value::Bytes(None), Kind::Text) => Ok(Value::Text(None)),
        (value @ Value::Integer(_), Kind::Integer)
        | (value @ Value::Text(_), Kind::Text)
        | (value @ Value::Bytes(_), Kind::Bytes) => Ok(value),
        _ => Err(RecoveryError::Malformed),
    }
}

/// Writes the files of `keys/`, the one that makes the folder a node's last. Where the old computer kept its database and its bundles
/// is left out: the new one may have no such place.
fn put_keys(config: &Config, keys: BTreeMap<String, Vec<u8>>) -> Result<(), RecoveryError> {
    let folder: &DataFolder = &config.folder;
    let (last, first): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(name, _)| name == "network");
    for (name, bytes) in first {
        if !DataFolder::is_of_this_computer(&name) {
            folder.put_back(&name, &bytes)?;
        }
    }
    if let Some(url) = &config.store_url {
        folder.keep_store(url)?;
    }
    for (name, bytes) in last {
        folder.put_back(&name, &bytes)?;
    }
    Ok(())
}
