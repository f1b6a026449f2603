//! How a node is, read from its store: for the command line, beside a running node or without one.
//! Called by `kith-node status`; takes no lock and changes nothing but the schema of an older database.
//! Never shows more than counts, states and times.

use kith_service::store::{Store, StoreError};

use crate::store as rows;
pub use crate::store::status::{Counts, Link};

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where the link to the gateway stands; `None` before the first start.
    pub link: Option<Link>,
    /// What waits.
    pub counts: Counts,
}

/// Reads it in one view of the data.
pub async fn read(store: &Store) -> Result<Status, StoreError> {
    store
        .read("status", |mut tx| async move {
            Ok(Status {
                link: rows::status::link(&mut tx).await?,
                counts: rows::status::counts(&mut tx).await?,
            })
        })
        .await
}
