//! What somebody with the gateway's database in hand would try with its rows, one at a time: `whole::look` names each.

use kith_gateway::members::Standing;
use kith_gateway::whole;
use kith_proto::problem::Problem;
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::words::EnvelopeKind::{Referral, Withdrawal};

use crate::network::{Network, START_MS, pair};
use crate::node::{Answered, alone, named};

const TAKEN: Answered = Answered::Taken { at_ms: START_MS };

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

/// The tables whose rows decide something.
const TABLES: [Table; 5] = [
    table!("member"),
    table!("stop"),
    table!("slip"),
    table!("taken"),
    table!("pair"),
];

/// A change of one row, and what must be named.
const TAMPERED: [(&str, &str); 19] = [
    (
        "UPDATE member SET state = 'active' WHERE organisation = 'hope-mosque'",
        "the member hope-mosque is not",
    ),
    (
        "UPDATE member SET state = 'suspended' WHERE organisation = 'riverside-gp'",
        "the member riverside-gp is not",
    ),
    (
        "UPDATE member SET chain = (SELECT chain FROM member WHERE organisation = 'hope-mosque') WHERE organisation = 'riverside-gp'",
        "the member riverside-gp is not",
    ),
    (
        "DELETE FROM member WHERE organisation = 'hope-mosque'",
        "the member hope-mosque is missing",
    ),
    ("DELETE FROM stop", "the stop of slip"),
    ("UPDATE stop SET said_by = 'tigrinya-circle'", "a stop of slip"),
    ("UPDATE stop SET said_by = ''", "a stop of slip"),
    (
        "INSERT INTO stop SELECT slip_id, 'tigrinya-circle', stopped_at_ms FROM stop",
        "a stop of slip",
    ),
    ("UPDATE slip SET recipient = 'hope-mosque'", "is not between"),
    ("UPDATE slip SET expires_at_ms = 5", "does not end"),
    ("DELETE FROM slip", "is missing"),
    (
        "UPDATE taken SET problem = 'invalid' WHERE problem IS NULL AND delivered_at_ms IS NOT NULL",
        "what became of",
    ),
    (
        "UPDATE taken SET problem = NULL WHERE problem IS NOT NULL",
        "what became of",
    ),
    (
        "UPDATE taken SET delivered_at_ms = NULL WHERE delivered_at_ms IS NOT NULL",
        "what became of",
    ),
    (
        "UPDATE taken SET recipient = 'hope-mosque' WHERE problem IS NOT NULL",
        "what became of",
    ),
    (
        "UPDATE taken SET envelope_hash = (SELECT envelope_hash FROM pair) WHERE delivered_at_ms IS NOT NULL",
        "what became of",
    ),
    (
        "DELETE FROM taken WHERE delivered_at_ms IS NOT NULL",
        "is missing",
    ),
    (
        "UPDATE pair SET number = number - 1",
        "the order from riverside-gp",
    ),
    (
        "DELETE FROM pair",
        "the order from riverside-gp to tigrinya-circle is missing",
    ),
];

async fn faults(network: &Network) -> Vec<String> {
    whole::look(&network.gateway).await.unwrap().faults
}

#[tokio::test]
async fn a_gateway_at_work_is_whole_and_every_altered_row_of_it_is_named() {
    let (network, mut gp, peers, slip, mut line) = pair().await;
    let mosque = network.node("hope-mosque", 3).await;
    network.set_standing(&mosque.org, Standing::Suspended).await;
    let first = gp.envelope(&peers, Referral, &slip);
    let received = named(&first);
    let first = gp.submission(&peers, vec![first, gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(line.submit(&first).await, [TAKEN; 2]);
    let mut receiving = peers.attach().await;
    receiving.delivered(2).await;
    receiving
        .send(Up::Receipts(peers.receipt(&gp.org, &[received])))
        .await;
    line.notices(1).await;
    assert_eq!(
        line.submit(&alone(gp.envelope(&peers, Withdrawal, &slip))).await,
        [TAKEN]
    );
    line.send(Up::Stop(gp.stop_notice(&slip))).await;
    line.notices(2).await;
    let late = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    let answers = line.submit(&late).await;
    assert!(
        matches!(
            answers[..],
            [Answered::Refused {
                problem: Problem::ConsentWithdrawn,
                ..
            }]
        ),
        "{answers:?}"
    );
    assert_eq!(faults(&network).await, Vec::<String>::new());
    for (statement, named) in TAMPERED {
        for table in &TABLES {
            network.run(table.keep).await;
        }
        network.run(statement).await;
        let found = faults(&network).await;
        assert!(
            found.iter().any(|fault| fault.contains(named)),
            "{statement}: {found:?}"
        );
        for back in TABLES.iter().flat_map(|table| table.put_back) {
            network.run(back).await;
        }
    }
    assert_eq!(faults(&network).await, Vec::<String>::new());
}
