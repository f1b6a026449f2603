//! What somebody with the database in hand would try with the log's own tables, one row at a time: `whole` names each.
//! (A database that is set back as a whole is consistent in itself; those who cosigned it see that.)

use super::contract::{append, log, run, signing_key};
use super::*;
use crate::store::StoreError;
use whole::{Fault, Whole};

async fn whole_of(log: &Log, key: kith_proto::sign::PublicKey) -> Result<Whole, LogError> {
    let whose = whole::Whose {
        keeper: &log.keeper,
        network: &log.network,
        key,
    };
    // As many as were ever given out.
    let look = |mut tx| async move { whole::look(&mut tx, whose, Some(705), |_, _| ()).await };
    log.store.read("whole", look).await
}

async fn look(log: &Log) -> Whole {
    whole_of(log, signing_key().public()).await.unwrap()
}

/// A log of 700 events in two steps, an older checkpoint counted, and five events that are not in it yet.
async fn grown() -> (Log, Option<tempfile::TempDir>) {
    let (log, folder) = log().await;
    append(&log, 1..=300).await;
    log.catch_up(&signing_key()).await.unwrap();
    let older = log.newest().await.unwrap().signed.unwrap();
    append(&log, 301..=700).await;
    log.catch_up(&signing_key()).await.unwrap();
    append(&log, 701..=705).await;
    let older = &older;
    let counted = |mut tx| async move {
        epoch::offer(&mut tx, 1, older).await?;
        epoch::count(&mut tx, 1, older).await
    };
    log.store
        .tx::<_, StoreError, _, _>("count", counted)
        .await
        .unwrap();
    (log, folder)
}

/// A change of one row, and what must be named.
const TAMPERED: [(&str, &str); 25] = [
    ("UPDATE audit_event SET code = 'none' WHERE seq = 7", "event 7 "),
    (
        "INSERT INTO log_epoch (epoch, first_seq, size, frontier, signed) SELECT 2, 701, 5, (SELECT bytes FROM log_tile WHERE kind = '1'), signed FROM log_epoch",
        "epoch 2",
    ),
    ("UPDATE log_index_end SET seq = 1000000", "the index"),
    (
        "UPDATE audit_event SET preimage = (SELECT preimage FROM audit_event WHERE seq = 5) WHERE seq = 7",
        "event 7 ",
    ),
    (
        "UPDATE audit_event SET salt = (SELECT salt FROM audit_event WHERE seq = 5) WHERE seq = 7",
        "event 7 ",
    ),
    ("UPDATE audit_event SET code = 'opened' WHERE seq = 7", "event 7 "),
    (
        "UPDATE audit_event SET at_ms = at_ms + 1 WHERE seq = 7",
        "event 7 ",
    ),
    (
        "UPDATE audit_event SET at_ms = at_ms + 1 WHERE seq = 703",
        "event 703 ",
    ),
    ("DELETE FROM audit_event WHERE seq = 300", "event 300 is missing"),
    ("DELETE FROM audit_event WHERE seq = 700", "event 700 is missing"),
    ("DELETE FROM audit_event WHERE seq = 702", "event 702 is missing"),
    ("DELETE FROM audit_event WHERE seq > 650", "event 651 is missing"),
    (
        "UPDATE audit_event SET seq = 0 WHERE seq = 8",
        "event 8 is missing",
    ),
    (
        "INSERT INTO audit_event SELECT 709, at_ms, code, salt, preimage FROM audit_event WHERE seq = 5",
        "event 706 is missing",
    ),
    ("UPDATE log_epoch SET size = 699", "epoch 1"),
    ("DELETE FROM log_epoch", "epoch 1"),
    ("UPDATE log_epoch SET first_seq = 2", "epoch 1"),
    (
        "UPDATE log_epoch SET frontier = (SELECT bytes FROM log_tile WHERE kind = '1')",
        "epoch 1",
    ),
    (
        "UPDATE log_epoch SET signed = counted",
        "the newest checkpoint of epoch 1",
    ),
    (
        "UPDATE log_epoch SET signed = NULL",
        "the newest checkpoint of epoch 1",
    ),
    (
        "UPDATE log_tile SET bytes = (SELECT bytes FROM log_tile WHERE kind = '0' AND number = 1) WHERE kind = '0' AND number = 0",
        "tile 0/0",
    ),
    (
        "UPDATE log_tile SET number = 5 WHERE kind = 'entries' AND number = 1",
        "tile entries/5",
    ),
    (
        "DELETE FROM log_tile WHERE kind = 'entries' AND number = 2",
        "tile entries/2",
    ),
    ("DELETE FROM log_tile WHERE kind = '1'", "tile 1/0"),
    (
        "INSERT INTO log_tile SELECT epoch, '2', 0, bytes FROM log_tile WHERE kind = '1'",
        "tile 2/0",
    ),
];

#[tokio::test]
async fn a_log_that_nobody_touched_is_whole() {
    let (log, _folder) = grown().await;
    assert_eq!(
        look(&log).await,
        Whole {
            events: 705,
            faults: Vec::new()
        }
    );
    let other = kith_proto::sign::SigningKey::from_seed([1; 32]).unwrap().public();
    let by_another = whole_of(&log, other).await.unwrap();
    assert_eq!(
        by_another.faults,
        [
            Fault::Checkpoint(1, "counted"),
            Fault::Checkpoint(1, "newest"),
            Fault::Checkpoint(1, "offered")
        ]
    );
}

#[tokio::test]
async fn every_altered_missing_added_or_moved_row_is_named() {
    let (log, _folder) = grown().await;
    for (statement, named) in TAMPERED {
        let found = tampered(&log, statement).await;
        assert!(
            found.iter().any(|fault| fault.contains(named)),
            "{statement}: {found:?}"
        );
    }
    assert!(look(&log).await.faults.is_empty());
}

/// How a table is kept aside and put back; statements are constants, as everywhere.
struct Table {
    keep: &'static str,
    put_back: [&'static str; 3],
}

macro_rules! table {
    ($name:literal) => {
        Table {
            keep: concat!("CREATE TABLE kept_", $name, " AS SELECT * FROM ", $name),
            put_back: [
                concat!("DELETE FROM ", $name),
                concat!("INSERT INTO ", $name, " SELECT * FROM kept_", $name),
                concat!("DROP TABLE kept_", $name),
            ],
        }
    };
}

const TABLES: [Table; 4] = [
    table!("audit_event"),
    table!("log_epoch"),
    table!("log_tile"),
    table!("log_index_end"),
];

/// Does it, looks, and puts everything back.
async fn tampered(log: &Log, statement: &'static str) -> Vec<String> {
    for table in &TABLES {
        run(log, table.keep).await;
    }
    run(log, statement).await;
    // A log that cannot even be looked at says so.
    let found = match whole_of(log, signing_key().public()).await {
        Ok(whole) => whole.faults.iter().map(ToString::to_string).collect(),
        Err(error) => vec![format!("epoch 1: {error}")],
    };
    for put_back in TABLES.iter().flat_map(|table| table.put_back) {
        run(log, put_back).await;
    }
    found
}
