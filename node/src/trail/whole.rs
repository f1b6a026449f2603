//! Whether this node's own database still says what its log says: every event against the tree and its checkpoints, and every grant,
//! slip, referral and move against the events. Called by `audit verify`, while the node is stopped or beside it.
//! Never mends anything, never stops at the first row: each that does not fit is named.
//!
//! A row that was flipped, deleted, inserted, swapped with another or cut off at the end does not fit. What cannot be seen from within
//! is a database that was put back as a whole, log and all, to an earlier time: that is for the witnesses to see. Events of the last
//! half second, which are in no tree yet, are held against each other alone.

mod rows;
mod told;

use kith_proto::log::origin::Keeper;
use kith_proto::sign::PublicKey;
use kith_service::log::whole;
use kith_service::store::{Store, Tx};

use super::TrailError;
use crate::keys::Membership;
use crate::members::Members;
use crate::store::trail_whole;
pub(crate) use rows::Signers;
use told::Account;

/// One row that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its table.
    pub table: &'static str,
    /// Its key, ids in hexadecimal.
    pub row: String,
    /// What is wrong with it.
    pub sentence: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// How many events there are.
    pub events: u64,
    /// The rows that do not fit; none in a whole database.
    pub damages: Vec<Damage>,
}

/// Findings as they are made.
#[derive(Default)]
struct Findings(Vec<Damage>);

impl Findings {
    fn name(&mut self, table: &'static str, row: impl ToString, sentence: impl Into<String>) {
        self.0.push(Damage {
            table,
            row: row.to_string(),
            sentence: sentence.into(),
        });
    }
}

/// Looks at every row, on one unchanging view of the data. `key` is this node's signing key. Keys of other members are taken from the
/// directory's copy; what a member signed whose keys are not there is held against its columns alone.
pub async fn whole(
    store: &Store,
    me: &Membership,
    key: &PublicKey,
    now_ms: i64,
) -> Result<Whole, TrailError> {
    let members = Members::load(me, store, now_ms).await?;
    let signers = &Signers {
        me,
        key,
        members: &members,
    };
    let read = |mut tx: Tx| async move { look(&mut tx, signers).await };
    store.read("verify whole", read).await
}

/// As [`whole`], within a transaction.
pub(crate) async fn look(tx: &mut Tx, signers: &Signers<'_>) -> Result<Whole, TrailError> {
    let mut findings = Findings::default();
    let mut account = Account::default();
    let whose = whole::Whose {
        keeper: &Keeper::Node(signers.me.organisation.clone()),
        network: &signers.me.network,
        key: *signers.key,
    };
    let given = trail_whole::counted(tx).await?;
    let log = whole::look(tx, whose, given, |seq, told| account.take(seq, told)).await?;
    for fault in log.faults {
        findings.name(fault.table(), fault.row(), fault.to_string());
    }
    rows::check(tx, &account, signers, &mut findings).await?;
    Ok(Whole {
        events: log.events,
        damages: findings.0,
    })
}
