//! The demo's story holds, and afterwards nothing of any person stands in anything that the gateway read, wrote or kept, nor in
//! the log of any process.

use kith_demo::cast::{self, ORGS, Person, said};
use kith_demo::network::Network;
use kith_demo::story;
use kith_service::rng::Rng;
use kith_tests::http2;
use kith_tests::recording::{FOLDER, READ, STORE, WRITTEN};
use sqlx::Connection as _;
use std::path::{Path, PathBuf};

const PEOPLE: [Person; 7] = [
    cast::SELAM,
    cast::YUSUF,
    cast::OKSANA,
    cast::HAMID,
    cast::AMAL,
    cast::LETESH,
    cast::DAWIT,
];
/// Pieces of what the people of the story say, as they would be found in a text that was cut.
const PIECES: [&str; 9] = [
    "I can stop it",
    "Tuesdays",
    "until the lamps",
    "told the nurse",
    "pours the coffee",
    "winter coat",
    "food parcel",
    "Diabetes",
    "school meals",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_story_holds_and_the_gateway_learns_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let gateway_folder = tell_and_search(folder.path()).await;
    let databases = files(&gateway_folder).into_iter();
    let databases = databases.filter(|path| ends_with(path, "db"));
    let held: Vec<u8> = databases.flat_map(|path| std::fs::read(path).unwrap()).collect();
    for org in ORGS {
        assert!(contains(&held, org.id), "no database was searched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_holds_and_the_gateway_learns_nobody_on_postgresql_either() {
    let folder = tempfile::tempdir().unwrap();
    let store_url = new_database().await;
    std::fs::write(folder.path().join(STORE), &store_url).unwrap();
    tell_and_search(folder.path()).await;
    let dump = dump(&store_url).await;
    let digits = dump.to_lowercase();
    let hex = |text: &str| data_encoding::HEXLOWER.encode(text.as_bytes());
    for canary in canaries() {
        assert!(!dump.contains(&canary), "{canary} stands in a table");
        assert!(
            !digits.contains(&hex(&canary)),
            "{canary} stands in bytes of a table"
        );
    }
    for org in ORGS {
        let found = dump.contains(org.id) && digits.contains(&hex(org.id));
        assert!(found, "no table was searched");
    }
}

/// Tells the story in a folder and searches all that its processes left there and all that the gateway read and wrote.
async fn tell_and_search(folder: &Path) -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_recording_role"));
    let mut network = Network::start(program, folder, &ORGS).await.unwrap();
    story::tell(&mut network).await.unwrap();
    let (gateway_folder, witness_folder) = (network.gateway_folder(), network.witness_folder());
    network.stop().await.unwrap();

    let canaries = canaries();
    for path in files(&gateway_folder) {
        assert_none(&std::fs::read(&path).unwrap(), &canaries, &path);
    }
    // A witness learns not even who the members are.
    let members = ORGS.iter().map(|org| org.id.to_owned());
    let unknown: Vec<String> = canaries.iter().cloned().chain(members).collect();
    for path in files(&witness_folder) {
        assert_none(&std::fs::read(&path).unwrap(), &unknown, &path);
    }
    search_logs(folder, &canaries);
    search_streams(&gateway_folder.with_file_name(FOLDER), &canaries);
    gateway_folder
}

/// A new database on the server that `KITH_TEST_POSTGRES` names.
pub(crate) async fn new_database() -> String {
    let server = std::env::var("KITH_TEST_POSTGRES")
        .expect("KITH_TEST_POSTGRES must name a PostgreSQL server: a skipped database is untested");
    let name = u64::from_be_bytes(Rng::system().bytes().unwrap());
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE kith_story_{name:016x}"));
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
    let (host, _) = server.rsplit_once('/').unwrap();
    format!("{host}/kith_story_{name:016x}")
}

/// Every column of every row of every table, bytes in hexadecimal digits.
pub(crate) async fn dump(store_url: &str) -> String {
    let mut connection = sqlx::PgConnection::connect(store_url).await.unwrap();
    sqlx::raw_sql("SET xmlbinary TO hex")
        .execute(&mut connection)
        .await
        .unwrap();
    let all = sqlx::query_scalar("SELECT CAST(schema_to_xml('public', TRUE, TRUE, '') AS TEXT)");
    all.fetch_one(&mut connection).await.unwrap()
}

/// Every name, whole and in its words; every telephone number, as written and in one; everything that anybody says.
fn canaries() -> Vec<String> {
    for piece in PIECES {
        let said = said::ALL.iter().any(|text| text.contains(piece));
        assert!(said, "nobody says {piece}");
    }
    let names = PEOPLE
        .iter()
        .flat_map(|person| person.name.split_whitespace().chain([person.name]));
    let phones = PEOPLE
        .iter()
        .flat_map(|person| [person.phone.to_owned(), person.phone.replace(' ', "")]);
    let texts = names.chain(said::ALL).chain(PIECES).map(str::to_owned);
    let canaries: Vec<String> = texts.chain(phones).filter(|text| !text.is_empty()).collect();
    assert!(canaries.len() > 30, "{canaries:?}");
    canaries
}

/// The logs of the gateway, of its witness and of every node.
fn search_logs(folder: &Path, canaries: &[String]) {
    let logs: Vec<PathBuf> = entries(folder)
        .into_iter()
        .filter(|path| ends_with(path, "log"))
        .collect();
    assert_eq!(logs.len(), ORGS.len() + 2, "{logs:?}");
    for path in logs {
        let log = std::fs::read(&path).unwrap();
        assert!(!log.is_empty(), "{} has nothing to search", path.display());
        assert_none(&log, canaries, &path);
    }
}

/// What the gateway read and wrote inside TLS: as it came, and with the frames of each stream put together. That every member's
/// id is found in both directions shows that these are the streams.
fn search_streams(folder: &Path, canaries: &[String]) {
    let (mut read, mut written) = (Vec::new(), Vec::new());
    for path in entries(folder) {
        let recorded = std::fs::read(&path).unwrap();
        assert_none(&recorded, canaries, &path);
        let all = if ends_with(&path, READ) {
            &mut read
        } else {
            assert!(ends_with(&path, WRITTEN));
            &mut written
        };
        for body in http2::bodies(&recorded).unwrap().into_values() {
            assert_none(&body, canaries, &path);
            all.extend(body);
        }
    }
    for org in ORGS {
        assert!(contains(&read, org.id), "nothing of {} was read in clear", org.id);
        assert!(
            contains(&written, org.id),
            "nothing of {} was written in clear",
            org.id
        );
    }
}

fn assert_none(bytes: &[u8], canaries: &[String], path: &Path) {
    for canary in canaries {
        assert!(!contains(bytes, canary), "{canary} stands in {}", path.display());
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

fn ends_with(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let nested = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries(folder).into_iter().flat_map(nested).collect()
}
