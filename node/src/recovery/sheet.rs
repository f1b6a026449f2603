//! The recovery sheet: made once, printed, and forgotten but for the part that seals. Called by `join` and `recovery sheet`.
//! Never writes the secret or a share to a file or into a log: they are given to the caller once.
//!
//! The folder is in no transaction of the store, so the trail comes first: no sheet is without its line.

use kith_proto::recovery::{RecoverySecret, SHARE_COUNT, Share, Sheet, SheetId};

use super::{RecoveryError, Source};
use crate::audit::{self, Code, Event};
use crate::keys::DataFolder;

/// The file of `keys/` with what this node keeps of its sheet.
const FILE: &str = "recovery";

/// A new sheet, to be printed.
#[derive(Debug)]
pub struct MadeSheet {
    /// Which.
    pub id: SheetId,
    /// Its three shares.
    pub shares: [Share; SHARE_COUNT],
    /// The sheet that this one takes the place of; older bundles open with that one's shares only.
    pub before: Option<SheetId>,
}

/// Makes a sheet, which bundles are sealed to from now on; beside a running node too.
pub async fn make_sheet(source: &Source<'_>) -> Result<MadeSheet, RecoveryError> {
    // One that cannot be read is replaced like any other.
    let before = kept_sheet(source.folder).ok().flatten();
    let secret = RecoverySecret::from_bytes(source.rng.bytes()?);
    let shares = Share::split(&secret, &source.rng.bytes()?)?;
    let sheet = secret.keys()?.to_sheet();
    let event = Event::new(Code::RecoverySheetMade, source.now_ms);
    audit::note(source.store, source.rng, event).await?;
    source.folder.write(FILE, &sheet.to_bytes())?;
    Ok(MadeSheet {
        id: sheet.id,
        shares,
        before: before.map(|sheet| sheet.id),
    })
}

/// What this folder keeps of its sheet; `None` when none was made.
pub fn kept_sheet(folder: &DataFolder) -> Result<Option<Sheet>, RecoveryError> {
    let kept = folder.read(FILE)?;
    Ok(kept.map(|bytes| Sheet::from_bytes(&bytes)).transpose()?)
}

/// When the kept sheet was made, by its file; 0 where that cannot be seen.
pub(super) fn sheet_at_ms(folder: &DataFolder) -> i64 {
    let file = folder.path().join("keys").join(FILE);
    let modified = std::fs::metadata(file).and_then(|found| found.modified()).ok();
    let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
