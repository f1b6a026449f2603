//! The demo's story holds, and afterwards the gateway's folder and log hold nothing of any person.

use kith_demo::cast::{self, ORGS, Person};
use kith_demo::network::Network;
use kith_demo::story;
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
/// Words that the story's needs and consents are made of.
const WORDS: [&str; 6] = [
    "Tuesdays",
    "winter coat",
    "food parcel",
    "school meals",
    "Diabetes",
    "I can stop it",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_story_holds_and_the_gateway_learns_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_role"));
    let mut network = Network::start(program, folder.path(), &ORGS).await.unwrap();
    story::tell(&mut network).await.unwrap();
    let gateway_folder = network.gateway_folder();
    network.stop().await.unwrap();

    let mut written = files(&gateway_folder);
    let logs = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    written.extend(logs.filter(|path| path.extension().is_some_and(|e| e == "log")));
    assert!(
        written
            .iter()
            .any(|path| path.extension().is_some_and(|e| e == "db")),
        "no database was searched"
    );
    assert!(
        written.iter().any(|path| path.ends_with("gateway.log")),
        "no log was searched"
    );
    let numbers = PEOPLE
        .iter()
        .flat_map(|person| [person.name, person.phone])
        .filter(|text| !text.is_empty());
    let canaries: Vec<&str> = numbers.chain(WORDS).collect();
    for path in written {
        let bytes = std::fs::read(&path).unwrap();
        for canary in &canaries {
            let found = bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
            assert!(!found, "{canary} stands in {}", path.display());
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}
