//! Stories typed at a terminal: a person, a consent, a referral; refusals in plain sentences; the same for machines.

use crate::fixture::{Desk, ME, PEER};
use kith_node::tokens::Role;
use serde_json::Value;
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What one command gave.
struct Typed {
    code: i32,
    out: String,
    err: String,
}

impl Typed {
    /// The JSON objects of the answer, one for each line.
    fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Types a command as this role; words are split at single spaces.
async fn typed(desk: &Desk, role: Role, line: &str) -> Typed {
    let words: Vec<&str> = line.split(' ').collect();
    typed_with(desk, role, &words, "").await
}

async fn typed_with(desk: &Desk, role: Role, words: &[&str], input: &str) -> Typed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kith-node"));
    command
        .args(["--node", &desk.address])
        .args(words)
        .env("KITH_TOKEN", desk.token(role))
        .env_remove("KITH_DATA");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Fails where the program does not read what it was not asked to read.
    stdin.write_all(input.as_bytes()).await.ok();
    drop(stdin);
    let ended = child.wait_with_output().await.unwrap();
    Typed {
        code: ended.status.code().unwrap(),
        out: String::from_utf8(ended.stdout).unwrap(),
        err: String::from_utf8(ended.stderr).unwrap(),
    }
}

/// A person who agreed that identity and need go to the peer.
async fn agreed(desk: &Desk) {
    let add = ["person", "add", "--name", "ሰላም", "--phone", "07700 900123"];
    let added = typed_with(desk, Role::Referrer, &add, "").await;
    assert!(
        added.out.starts_with("Recorded, on this node only"),
        "{} {}",
        added.out,
        added.err
    );
    let record =
        "consent record --person ሰላም --share identity,need --for peer_support --progress --language ti";
    let mut words: Vec<&str> = record.split(' ').collect();
    words.extend([
        "--to",
        PEER,
        "--interpreter",
        "peer",
        "--read-aloud",
        "--understood",
        "-",
    ]);
    let given = typed_with(
        desk,
        Role::Referrer,
        &words,
        "They will call me.\nI can stop it.\n",
    )
    .await;
    assert_eq!(given.code, 0, "{}", given.err);
    assert!(given.out.contains("It holds until 20"), "{}", given.out);
    assert!(given.out.contains("shown this once"), "{}", given.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referral_is_typed_from_beginning_to_end() {
    let desk = Desk::open().await;
    agreed(&desk).await;
    let refer = [
        "refer",
        "--person",
        "ሰላም",
        "--to",
        PEER,
        "--for",
        "peer support",
        "--share",
        "identity",
        "--need",
        "-",
    ];
    let sent = typed_with(&desk, Role::Referrer, &refer, "Somebody to talk to.\n").await;
    assert!(
        sent.out.starts_with(&format!("On its way to {PEER} as ")),
        "{} {}",
        sent.out,
        sent.err
    );
    let listed = typed(&desk, Role::Referrer, "sent --json").await.json();
    let code = listed[0]["code"].as_str().unwrap();
    assert_eq!(
        (listed[0]["state"].as_str(), listed[0]["side"].as_str()),
        (Some("sent"), Some("sent"))
    );
    assert!(sent.out.contains(code));
    let plain = typed(&desk, Role::Referrer, "sent").await;
    assert!(
        plain
            .out
            .contains("sent, not yet arrived; waiting to leave this node; by 20"),
        "{}",
        plain.out
    );
    let shown = typed(&desk, Role::Referrer, &format!("show {}", code.to_lowercase())).await;
    assert!(
        shown.out.contains("preferred name: ሰላም") && !shown.out.contains("07700"),
        "{}",
        shown.out
    );
    assert!(
        shown.out.contains("in their words: Somebody to talk to."),
        "{}",
        shown.out
    );
    let watched = typed(&desk, Role::Coordinator, "watch --lines 1 --json")
        .await
        .json();
    assert_eq!(watched[0]["code"].as_str(), Some(code));
    let nothing = typed(&desk, Role::Coordinator, "inbox").await;
    assert_eq!((nothing.code, nothing.out.trim()), (0, "There is nothing here."));
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_to_do_and_machines_get_its_code() {
    let desk = Desk::open().await;
    agreed(&desk).await;
    let refer = format!("refer --person ሰላም --to {PEER} --for peer_support --part");
    let health: Vec<&str> = refer.split(' ').chain(["health.summary=Asthma"]).collect();
    let plain = typed_with(&desk, Role::Referrer, &health, "").await;
    assert_eq!((plain.code, plain.out.as_str()), (1, ""));
    assert!(
        plain
            .err
            .contains("The person has not agreed to share one of these parts."),
        "{}",
        plain.err
    );
    assert!(
        plain
            .err
            .contains("categories: The person did not agree to share: health."),
        "{}",
        plain.err
    );
    let machine: Vec<&str> = health.iter().copied().chain(["--json"]).collect();
    let refused = typed_with(&desk, Role::Referrer, &machine, "").await.json();
    assert_eq!(refused[0]["problem"], "category_not_allowed");

    let visa: Vec<&str> = refer
        .split(' ')
        .chain(["need.summary=her visa number is AB1234567"])
        .collect();
    let visa = typed_with(&desk, Role::Referrer, &visa, "").await;
    assert!(
        visa.err.contains("immigration number") && !visa.err.contains("AB1234567"),
        "{}",
        visa.err
    );
    let nobody = typed(&desk, Role::Referrer, "person show Olena").await;
    assert!(
        nobody.err.starts_with("Nobody of that name is recorded here."),
        "{}",
        nobody.err
    );
    let word = typed(
        &desk,
        Role::Referrer,
        &format!("refer --person ሰላም --to {PEER} --for visa"),
    )
    .await;
    assert!(
        word.err
            .starts_with("`visa` is not a purpose. Choose one of: care,"),
        "{}",
        word.err
    );
    let role = typed(&desk, Role::Auditor, "person list").await;
    assert!(role.err.starts_with("Your role"), "{}", role.err);
    let code = typed(&desk, Role::Referrer, "accept K7M2-9QXD-45").await;
    assert!(code.err.contains("code: This is not a code."), "{}", code.err);
    assert_eq!(typed(&desk, Role::Referrer, "accept").await.code, 2);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_the_same_request_id_records_nobody_twice() {
    let desk = Desk::open().await;
    let line = "person add --name Selam --json --request-id 000102030405060708090a0b0c0d0e0f";
    let first = typed(&desk, Role::Referrer, line).await;
    let again = typed(&desk, Role::Referrer, line).await;
    assert_eq!((first.code, &first.out), (0, &again.out));
    assert_eq!(
        typed(&desk, Role::Referrer, "person list --json")
            .await
            .json()
            .len(),
        1
    );
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_are_listed_and_the_folders_own_commands_work_beside_the_running_node() {
    let desk = Desk::open().await;
    let listed = typed(&desk, Role::Admin, "organisations --json").await.json();
    let names: Vec<&str> = listed
        .iter()
        .filter_map(|line| line["organisation"].as_str())
        .collect();
    assert_eq!(names, [ME, PEER]);

    let data = desk.folder().to_str().unwrap().to_owned();
    let new = format!("token new --role coordinator,admin --label Abeba --data {data} --json");
    let made = typed(&desk, Role::Admin, &new).await.json();
    let (id, secret) = (
        made[0]["token_id"].as_str().unwrap(),
        made[0]["token"].as_str().unwrap(),
    );
    let sign_in = format!("inbox --token {secret}");
    assert_eq!(typed(&desk, Role::Auditor, &sign_in).await.code, 0);
    let revoked = typed(&desk, Role::Admin, &format!("token revoke {id} --data {data}")).await;
    assert_eq!((revoked.code, revoked.out.trim()), (0, "Revoked."));
    let list = typed(&desk, Role::Admin, &format!("token list --data {data}"))
        .await
        .out;
    assert!(
        list.contains("Abeba: coordinator admin; made on 20") && !list.contains(secret),
        "{list}"
    );

    let status = typed(&desk, Role::Admin, &format!("status --data {data}")).await;
    assert!(
        status.out.contains("Running, but not connected to the gateway."),
        "{} {}",
        status.out,
        status.err
    );
    let second = typed(&desk, Role::Admin, &format!("serve --data {data}")).await;
    assert_eq!(
        (second.code, second.err.trim()),
        (
            1,
            "Another process uses this data folder, so nothing was changed; stop that one first."
        )
    );
    let open = typed(
        &desk,
        Role::Admin,
        &format!("serve --data {data} --grpc 0.0.0.0:0"),
    )
    .await;
    assert!(open.err.contains("needs a TLS certificate"), "{}", open.err);
    desk.close().await;
}
