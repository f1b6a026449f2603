//! Makes one bundle: the files of `keys/` and every row of every table, on one unchanging view of the database, with one page of rows in
//! memory. Called by the timers, the link and `recovery bundle`, beside a running node.
//! Never names a table itself; never leaves anything under a bundle's name that was not written and synced whole.
//!
//! Keys are read before the view is opened and again after. A row of the view is under a key that was in the folder when the view was
//! opened: an old one was there before, a new one is there after. So every row has its key, whichever way keys turn meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use kith_proto::envelope::sealing_key_id;
use kith_proto::id::OrgId;
use kith_proto::recovery::{BUNDLE_RANDOMNESS_LEN, BundleHead, BundleWriter, Sheet, Written};
use kith_service::store::{Table, Tx, Value};

use super::body::{Counts, Record, TableHead};
use super::{RecoveryError, Source, kept_sheet};
use crate::keys::{DataFolder, Keys, KeysError};

/// Rows of a page: at first, and while they are small.
const ROWS_MAX: usize = 512;
/// Bytes of a page that make the next one shorter.
const PAGE_BYTES: usize = 4 << 20;
/// What a bundle's file ends with, and one that is being written.
pub(super) const ENDING: &str = ".kith-bundle";
pub(super) const UNFINISHED: &str = ".kith-bundle.part";

/// A bundle that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its file.
    pub path: PathBuf,
    /// What it says of itself.
    pub head: BundleHead,
    /// How long it is, and its hash.
    pub written: Written,
    /// What the gateway compares the fetch secret with.
    pub fetch_hash: [u8; 32],
    /// The newest sealing key that is in it.
    pub sealing_key: [u8; 16],
}

/// The name of a bundle's file.
pub fn file_name(organisation: &OrgId, made_at_ms: i64) -> String {
    format!("{organisation}-{made_at_ms}{ENDING}")
}

/// Makes a bundle at this path: in it, when it is a folder. Written beside, synced, renamed: after a crash an older one of the same name
/// is still there. [`RecoveryError::NoSheet`] when there is nothing to seal to.
pub async fn make(source: &Source<'_>, target: &Path) -> Result<Made, RecoveryError> {
    let sheet = kept_sheet(source.folder)?.ok_or(RecoveryError::NoSheet)?;
    let head = BundleHead {
        sheet: sheet.id,
        network: source.me.network.clone(),
        organisation: source.me.organisation.clone(),
        made_at_ms: source.now_ms,
    };
    let path = if target.is_dir() {
        target.join(file_name(&head.organisation, head.made_at_ms))
    } else {
        target.to_owned()
    };
    let beside = beside(&path)?;
    let made = write(source, &sheet, &head, &beside).await;
    let (written, sealing_key) = match made {
        Ok(made) => made,
        Err(error) => {
            fs::remove_file(&beside).ok();
            return Err(error);
        }
    };
    fs::rename(&beside, &path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(Made {
        path,
        head,
        written,
        fetch_hash: sheet.fetch_hash,
        sealing_key,
    })
}

/// The file that is written before it gets its name.
fn beside(path: &Path) -> Result<PathBuf, RecoveryError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidFilename))?;
    let stem = name.strip_suffix(ENDING).unwrap_or(name);
    Ok(path.with_file_name(format!("{stem}{UNFINISHED}")))
}

async fn write(
    source: &Source<'_>,
    sheet: &Sheet,
    head: &BundleHead,
    beside: &Path,
) -> Result<(Written, [u8; 16]), RecoveryError> {
    let before = source.folder.key_contents()?;
    // Run again from its beginning when another transaction was in the way: each run draws its own data key.
    let dump = |tx: Tx| {
        let before = &before;
        async move {
            Dump::begin(source, sheet, head, beside)?
                .run(source, before, tx)
                .await
        }
    };
    let (file, written, sealing_key) = source.store.read("bundle", dump).await?;
    // Synced where no other task waits for it.
    let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
    synced.map_err(std::io::Error::other)??;
    Ok((written, sealing_key))
}

/// A bundle that is being written.
struct Dump {
    to: BundleWriter<BufWriter<File>>,
    counts: Counts,
}

impl Dump {
    fn begin(
        source: &Source<'_>,
        sheet: &Sheet,
        head: &BundleHead,
        beside: &Path,
    ) -> Result<Self, RecoveryError> {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(true).write(true).mode(0o600);
        let file = BufWriter::new(options.open(beside)?);
        let randomness = source.rng.bytes::<BUNDLE_RANDOMNESS_LEN>()?;
        Ok(Self {
            to: BundleWriter::begin(file, sheet, head, &randomness)?,
            counts: Counts::default(),
        })
    }

    async fn run(
        mut self,
        source: &Source<'_>,
        before: &[(String, Vec<u8>)],
        mut tx: Tx,
    ) -> Result<(File, Written, [u8; 16]), RecoveryError> {
        // The first statement opens the view.
        let schema = tx.schema_version().await?;
        // The key that is said to be in it, before the files that are: another may come between.
        let keys = Keys::load(source.folder)?;
        let newest = keys.newest_sealing_key().ok_or(KeysError::Library)?;
        let after = source.folder.key_contents()?;
        self.put(&Record::Head { schema })?;
        self.put_keys(before, false)?;
        self.put_keys(&after, true)?;
        for table in tx.tables().await? {
            self.put_table(&mut tx, &table).await?;
        }
        self.put(&Record::End(self.counts))?;
        let (mut file, written) = self.to.finish()?;
        file.flush()?;
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        Ok((file, written, sealing_key_id(newest.key.public())))
    }

    fn put_keys(&mut self, keys: &[(String, Vec<u8>)], is_after: bool) -> Result<(), RecoveryError> {
        // A backup that held keys under way would bring back those of a re-key that is over or was refused.
        for (name, bytes) in keys.iter().filter(|(name, _)| !DataFolder::is_under_way(name)) {
            self.counts.files += 1;
            let (name, bytes) = (name.clone(), bytes.clone());
            self.put(&Record::Key {
                is_after,
                name,
                bytes,
            })?;
        }
        Ok(())
    }

    async fn put_table(&mut self, tx: &mut Tx, table: &Table) -> Result<(), RecoveryError> {
        self.counts.tables += 1;
        self.put(&Record::Table(TableHead {
            name: table.name.clone(),
            columns: table.columns.iter().map(|(name, _)| name.clone()).collect(),
        }))?;
        let (mut after, mut limit): (Vec<Value>, usize) = (Vec::new(), ROWS_MAX);
        // Rows of content are found large by a short first page.
        let mut first = ROWS_MAX / 16;
        loop {
            let asked = limit.min(first);
            let rows = tx.page(table, &after, asked).await?;
            let count = rows.len();
            let mut bytes = 0;
            for row in rows {
                let key = table.key.iter().filter_map(|place| row.get(*place).cloned());
                after = key.collect();
                bytes += self.put(&Record::Row(row))?;
                self.counts.rows += 1;
            }
            if count < asked {
                return Ok(());
            }
            // As many rows as fit the page, by what these were.
            limit = (PAGE_BYTES / (bytes / count.max(1)).max(1)).clamp(4, ROWS_MAX);
            first = ROWS_MAX;
        }
    }

    fn put(&mut self, record: &Record) -> Result<usize, RecoveryError> {
        let bytes = record.to_bytes()?;
        self.to.write(&bytes)?;
        Ok(bytes.len())
    }
}
