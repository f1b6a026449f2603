//! A database that says what its log says; and every sort of hand in every table, each named.

use kith_service::store::{StoreError, Tx, column, query};

use kith_proto::v1;

use super::provider;
use crate::requests::Asked;
use crate::tests::fixture::Story;
use crate::tests::looked::fill;
use crate::trail::{self, Damage, Signers, TrailError};
use crate::withdrawals;

/// A table with one of its rows picked, its keys, and statements that read and write one column of the row as bytes.
type Flip = (&'static str, &'static str, &'static str);

/// Statements that alter one row, and the table that must be named.
const HANDS: &[(&str, &str)] = &[
    (
        "audit_event",
        "UPDATE audit_event SET at_ms = at_ms + 1 WHERE seq = 5",
    ),
    (
        "audit_event",
        "UPDATE audit_event SET code = 'key_rotated' WHERE seq = 5",
    ),
    (
        "audit_event",
        "UPDATE audit_event SET code = 'no_such_code' WHERE seq = 5",
    ),
    (
        "audit_event",
        "UPDATE audit_event SET preimage = (SELECT preimage FROM audit_event WHERE seq = 6) WHERE seq = 5",
    ),
    ("audit_event", "DELETE FROM audit_event WHERE seq = 5"),
    (
        "audit_event",
        "DELETE FROM audit_event WHERE seq = (SELECT MAX(seq) FROM audit_event)",
    ),
    (
        "audit_event",
        "UPDATE audit_event SET seq = seq + 1000 WHERE seq = 5",
    ),
    (
        "audit_event",
        "INSERT INTO audit_event (seq, at_ms, code, salt, preimage) SELECT seq + 1000, at_ms, code, salt, preimage FROM audit_event WHERE seq = 5",
    ),
    ("log_tile", "DELETE FROM log_tile WHERE kind = '0'"),
    (
        "log_tile",
        "INSERT INTO log_tile (epoch, kind, number, bytes) SELECT epoch, kind, number + 1, bytes FROM log_tile WHERE kind = '0'",
    ),
    ("log_epoch", "DELETE FROM log_epoch"),
    ("log_epoch", "UPDATE log_epoch SET first_seq = 2"),
    (
        "grant_record",
        "UPDATE grant_record SET state = 'expired' WHERE grant_id = (SELECT grant_id FROM grant_record WHERE state = 'live' ORDER BY grant_id LIMIT 1)",
    ),
    (
        "grant_record",
        "UPDATE grant_record SET state = 'live', ended_at_ms = NULL WHERE state = 'withdrawn'",
    ),
    (
        "grant_record",
        "UPDATE grant_record SET expires_at_ms = expires_at_ms + 1 WHERE state = 'withdrawn'",
    ),
    (
        "grant_record",
        "UPDATE grant_record SET given_at_ms = given_at_ms + 1 WHERE state = 'withdrawn'",
    ),
    (
        "grant_record",
        "DELETE FROM grant_record WHERE state = 'withdrawn'",
    ),
    (
        "grant_record",
        "UPDATE grant_record SET person_id = (SELECT grant_id FROM slip ORDER BY slip_id LIMIT 1) WHERE state = 'withdrawn'",
    ),
    (
        "slip",
        "UPDATE slip SET state = 'live', ended_at_ms = NULL WHERE slip_id = (SELECT slip_id FROM slip WHERE state = 'withdrawn' ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "UPDATE slip SET state = 'withdrawn', ended_at_ms = 7 WHERE slip_id = (SELECT slip_id FROM slip WHERE state = 'live' ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "UPDATE slip SET state = 'expired' WHERE slip_id = (SELECT slip_id FROM slip WHERE state = 'live' ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "UPDATE slip SET ended_at_ms = ended_at_ms + 1 WHERE slip_id = (SELECT slip_id FROM slip WHERE state = 'withdrawn' ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "UPDATE slip SET expires_at_ms = expires_at_ms + 1 WHERE slip_id = (SELECT slip_id FROM slip ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "UPDATE slip SET peer = 'somebody-else' WHERE slip_id = (SELECT slip_id FROM slip ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "UPDATE slip SET grant_id = NULL WHERE slip_id = (SELECT slip_id FROM slip ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "UPDATE slip SET side = 'received' WHERE slip_id = (SELECT slip_id FROM slip ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "UPDATE slip SET proof = slip WHERE slip_id = (SELECT slip_id FROM slip WHERE state = 'withdrawn' ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "DELETE FROM slip WHERE slip_id = (SELECT slip_id FROM slip ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "UPDATE slip SET slip_id = holding_id WHERE slip_id = (SELECT slip_id FROM slip ORDER BY slip_id LIMIT 1)",
    ),
    (
        "referral",
        "UPDATE referral SET state = 'completed' WHERE arrival = 2",
    ),
    (
        "referral",
        "UPDATE referral SET number = number + 1 WHERE arrival = 2",
    ),
    (
        "referral",
        "UPDATE referral SET purpose = 'care' WHERE arrival = 2",
    ),
    (
        "referral",
        "UPDATE referral SET peer = 'somebody-else' WHERE arrival = 2",
    ),
    (
        "referral",
        "UPDATE referral SET created_at_ms = created_at_ms - 1 WHERE arrival = 2",
    ),
    ("referral", "UPDATE referral SET side = 'inbox' WHERE arrival = 2"),
    ("referral", "DELETE FROM referral WHERE arrival = 2"),
    (
        "referral",
        "UPDATE referral SET thread_id = envelope_id WHERE arrival = 2",
    ),
    (
        "event",
        "UPDATE event SET state = 'completed' WHERE event_id = (SELECT event_id FROM event WHERE move = 'withdraw' ORDER BY event_id LIMIT 1)",
    ),
    (
        "event",
        "UPDATE event SET party = 'recipient' WHERE event_id = (SELECT event_id FROM event WHERE move = 'withdraw' ORDER BY event_id LIMIT 1)",
    ),
    (
        "event",
        "UPDATE event SET number = 3 WHERE event_id = (SELECT event_id FROM event WHERE move = 'withdraw' ORDER BY event_id LIMIT 1)",
    ),
    (
        "event",
        "UPDATE event SET move = 'complete' WHERE event_id = (SELECT event_id FROM event WHERE move = 'withdraw' ORDER BY event_id LIMIT 1)",
    ),
    (
        "event",
        "UPDATE event SET happened_at_ms = 1 WHERE event_id = (SELECT event_id FROM event WHERE move = 'send' ORDER BY event_id LIMIT 1)",
    ),
    (
        "event",
        "DELETE FROM event WHERE event_id = (SELECT event_id FROM event WHERE move = 'withdraw' ORDER BY event_id LIMIT 1)",
    ),
    (
        "event",
        "DELETE FROM event WHERE event_id = (SELECT event_id FROM event WHERE move = 'send' ORDER BY event_id LIMIT 1)",
    ),
    (
        "event",
        "UPDATE event SET event_id = thread_id WHERE event_id = (SELECT event_id FROM event WHERE move = 'withdraw' ORDER BY event_id LIMIT 1)",
    ),
];

/// One bit of these is turned over.
const FLIPS: &[Flip] = &[
    (
        "audit_event",
        "SELECT salt AS b FROM audit_event WHERE seq = 5",
        "UPDATE audit_event SET salt = $1 WHERE seq = 5",
    ),
    (
        "audit_event",
        "SELECT preimage AS b FROM audit_event WHERE seq = 5",
        "UPDATE audit_event SET preimage = $1 WHERE seq = 5",
    ),
    (
        "log_tile",
        "SELECT bytes AS b FROM log_tile WHERE kind = '0'",
        "UPDATE log_tile SET bytes = $1 WHERE kind = '0'",
    ),
    (
        "log_tile",
        "SELECT bytes AS b FROM log_tile WHERE kind = 'entries'",
        "UPDATE log_tile SET bytes = $1 WHERE kind = 'entries'",
    ),
    (
        "log_epoch",
        "SELECT frontier AS b FROM log_epoch",
        "UPDATE log_epoch SET frontier = $1",
    ),
    (
        "slip",
        "SELECT slip AS b FROM slip WHERE state = 'withdrawn' ORDER BY slip_id LIMIT 1",
        "UPDATE slip SET slip = $1 WHERE slip_id = (SELECT slip_id FROM slip WHERE state = 'withdrawn' ORDER BY slip_id LIMIT 1)",
    ),
    (
        "slip",
        "SELECT signature AS b FROM slip WHERE state = 'withdrawn' ORDER BY slip_id LIMIT 1",
        "UPDATE slip SET signature = $1 WHERE slip_id = (SELECT slip_id FROM slip WHERE state = 'withdrawn' ORDER BY slip_id LIMIT 1)",
    ),
    (
        "referral",
        "SELECT envelope_id AS b FROM referral WHERE arrival = 2",
        "UPDATE referral SET envelope_id = $1 WHERE arrival = 2",
    ),
    (
        "referral",
        "SELECT slip_id AS b FROM referral WHERE arrival = 2",
        "UPDATE referral SET slip_id = $1 WHERE arrival = 2",
    ),
    (
        "grant_record",
        "SELECT person_id AS b FROM grant_record WHERE state = 'withdrawn'",
        "UPDATE grant_record SET person_id = $1 WHERE state = 'withdrawn'",
    ),
];

/// How an alteration leaves its transaction: looked at, and undone.
enum Undone {
    Seen(Vec<Damage>),
    Failed(TrailError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<TrailError> for Undone {
    fn from(error: TrailError) -> Self {
        Self::Failed(error)
    }
}

/// What is found once statements have run; they are undone after.
async fn after(story: &Story, hand: &[&'static str], flip: Option<&Flip>) -> Vec<Damage> {
    let signers = &Signers {
        me: &story.node.membership,
        key: &story.node.keys.signing.public(),
        members: &story.node.members,
    };
    let alter = |mut tx: Tx| async move {
        for statement in hand {
            assert_eq!(tx.run(query(statement)).await?, 1, "{statement}");
        }
        if let Some((_, read, write)) = flip {
            let row = tx.one(query(read)).await?.unwrap();
            let mut bytes: Vec<u8> = column(&row, "test", "b")?;
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            assert_eq!(tx.run(query(write).bind(bytes)).await?, 1, "{write}");
        }
        let found = trail::look(&mut tx, signers).await?;
        Err::<(), _>(Undone::Seen(found.damages))
    };
    match story.node.store.tx("alter", alter).await.unwrap_err() {
        Undone::Seen(damages) => damages,
        Undone::Failed(error) => panic!("{hand:?}: {error}"),
    }
}

#[tokio::test]
async fn every_hand_in_every_table_is_named() {
    let story = Story::begin(provider().await).await;
    let made = fill(&story).await;
    withdraw(&story, made.grants[1]).await;
    story.node.log.catch_up(&story.node.keys.signing).await.unwrap();
    assert_eq!(after(&story, &[], None).await, [], "nobody has touched it");
    for (table, statement) in HANDS {
        let damages = after(&story, &[statement], None).await;
        assert!(
            damages.iter().any(|damage| damage.table == *table),
            "{statement}: {damages:?}"
        );
    }
    for flip in FLIPS {
        let damages = after(&story, &[], Some(flip)).await;
        assert!(
            damages.iter().any(|damage| damage.table == flip.0),
            "{flip:?}: {damages:?}"
        );
    }
    let swapped = [
        "UPDATE audit_event SET seq = -1 WHERE seq = 5",
        "UPDATE audit_event SET seq = 5 WHERE seq = 6",
        "UPDATE audit_event SET seq = 6 WHERE seq = -1",
    ];
    let damages = after(&story, &swapped, None).await;
    let rows: Vec<&str> = damages.iter().map(|damage| damage.row.as_str()).collect();
    assert_eq!(rows, ["5", "6"], "{damages:?}");
    assert_eq!(after(&story, &[], None).await, [], "everything was undone");
}

/// Takes a grant back from both of its recipients.
async fn withdraw(story: &Story, grant_id: kith_proto::id::GrantId) {
    let new = withdrawals::NewWithdrawal {
        asked: Asked::new(
            "withdraw_grant",
            story.request(),
            &v1::WithdrawGrantRequest::default(),
        ),
        caller: story.caller,
        grant_id,
        scope: withdrawals::Scope::Consent,
        invalidated: false,
    };
    withdrawals::withdraw(&story.node, &new).await.unwrap();
}
