//! The demo's story holds, and afterwards nothing of any person stands in anything that the gateway read, wrote or kept, nor in
//! the log of any process.

use kith_demo::cast::{self, ORGS, Person, said};
use kith_demo::network::Network;
use kith_demo::story;
use kith_tests::http2;
use kith_tests::recording::{FOLDER, READ, WRITTEN};
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
    let program = PathBuf::from(env!("CARGO_BIN_EXE_recording_role"));
    let mut network = Network::start(program, folder.path(), &ORGS).await.unwrap();
    story::tell(&mut network).await.unwrap();
    let gateway_folder = network.gateway_folder();
    network.stop().await.unwrap();

    let canaries = canaries();
    search_files(&gateway_folder, &canaries);
    search_logs(folder.path(), &canaries);
    search_streams(&gateway_folder.with_file_name(FOLDER), &canaries);
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

/// Databases, keys and whatever else the gateway keeps.
fn search_files(folder: &Path, canaries: &[String]) {
    let files = files(folder);
    let databases = files.iter().filter(|path| ends_with(path, "db"));
    let held = databases.flat_map(|path| std::fs::read(path).unwrap());
    let held: Vec<u8> = held.collect();
    for org in ORGS {
        assert!(
            contains(&held, org.id),
            "no database was searched, or {} has sent nothing",
            org.id
        );
    }
    for path in files {
        assert_none(&std::fs::read(&path).unwrap(), canaries, &path);
    }
}

/// The logs of the gateway and of every node.
fn search_logs(folder: &Path, canaries: &[String]) {
    let logs: Vec<PathBuf> = entries(folder)
        .into_iter()
        .filter(|path| ends_with(path, "log"))
        .collect();
    assert_eq!(logs.len(), ORGS.len() + 1, "{logs:?}");
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
