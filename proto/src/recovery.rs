//! Coming back after a loss: a secret on paper, and the bundle that only it opens. Called by the node; the gateway compares a hash.
//!
//! | module | what it settles |
//! |---|---|
//! | `sheet` | the secret, and what is derived from it |
//! | `share` | the secret as three shares, of which two are needed, as people type them |
//! | `reason` | why a server was restored |
//! | `bundle` | the bytes of a bundle, written and read in chunks |
//!
//! A node keeps a [`Sheet`] only: it can make bundles and open none, not even its own. So whoever takes the computer cannot open
//! older bundles with what is on it, and whoever has only seen a bundle cannot make one that is believed.
//! Never draws randomness, never prints a secret, never gives out a byte of a bundle whose authenticity is in doubt as if it were whole.

mod bundle;
#[cfg(test)]
mod bundle_tests;
mod reason;
mod share;
#[cfg(test)]
mod share_tests;
mod sheet;

pub use bundle::{
    BUNDLE_BYTES_MAX, BUNDLE_BYTES_MIN, BUNDLE_RANDOMNESS_LEN, BundleError, BundleHead, BundleReader,
    BundleWriter, Written, bundle_head, check_bundle,
};
pub use reason::RestoreReason;
pub use share::{SHARE_COUNT, SHARE_GROUPS, Share, ShareError};
pub use sheet::{AuthKey, RecoveryKeys, RecoverySecret, Sheet, SheetError, SheetId, fetch_hash};
