//! What only the gateway asks of the log's tables: holding an epoch, opening the key log, the logs of one member.
//! Called by [`crate::witnessing`], [`crate::log`] and [`crate::member_logs`]. Never opens a leaf that is no part of the key log.

use kith_proto::trail::Code;
use kith_service::log::append::Stored;
use kith_service::store::{Row, StoreError, Tx, bytes, column, query};

const HOLD: &str = "UPDATE log_epoch SET epoch = epoch WHERE epoch = $1";

/// Holds an epoch's row to the commit, so that what is read of it after this is what a write replaces.
pub async fn hold(tx: &mut Tx, epoch: u64) -> Result<(), StoreError> {
    tx.run(query(HOLD).bind(epoch.cast_signed())).await.map(drop)
}

const EVENT: &str = "audit_event";
const OF_KEY_LOG: &str = "SELECT seq, code, salt, preimage FROM audit_event WHERE seq >= $1 AND seq < $2 \
    AND code IN ('member_joined', 'member_suspended', 'member_resumed', 'binding_published', 'certificate_issued', \
    'policy_published', 'epoch_opened') ORDER BY seq LIMIT 4096";

/// The events of the key log with a number from `first` to before `end`, in order, at most 4096.
pub async fn of_key_log(tx: &mut Tx, first: i64, end: i64) -> Result<Vec<Stored>, StoreError> {
    let rows = tx.all(query(OF_KEY_LOG).bind(first).bind(end)).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Stored, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: EVENT, column };
    let code: String = column(row, EVENT, "code")?;
    let code: Code = code.parse().map_err(|_| corrupt("code"))?;
    let preimage: Vec<u8> = column(row, EVENT, "preimage")?;
    if !code.is_of_key_log() {
        return Err(corrupt("code"));
    }
    Ok(Stored {
        seq: column(row, EVENT, "seq")?,
        code,
        salt: bytes(row, EVENT, "salt")?,
        preimage: String::from_utf8(preimage).map_err(|_| corrupt("preimage"))?,
    })
}

const EVENT_AT: &str = "SELECT at_ms FROM audit_event WHERE seq = $1";

/// When an event was; none where there is no such event.
pub async fn event_at(tx: &mut Tx, seq: i64) -> Result<Option<i64>, StoreError> {
    let row = tx.one(query(EVENT_AT).bind(seq)).await?;
    row.map(|row| column(&row, EVENT, "at_ms")).transpose()
}

const ORIGINS: &str = "SELECT origin FROM log_seen WHERE origin LIKE $1 ORDER BY origin LIMIT 1000";

/// The origins with this beginning of which a head was put down. `prefix` is of names of a network, which hold no wildcard.
pub async fn origins(tx: &mut Tx, prefix: &str) -> Result<Vec<String>, StoreError> {
    let rows = tx.all(query(ORIGINS).bind(format!("{prefix}%"))).await?;
    rows.iter().map(|row| column(row, "log_seen", "origin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_names_every_code_of_the_key_log_and_no_other() {
        for code in Code::ALL {
            let named = OF_KEY_LOG.contains(&format!("'{code}'"));
            assert_eq!(named, code.is_of_key_log(), "{code}");
        }
    }
}
