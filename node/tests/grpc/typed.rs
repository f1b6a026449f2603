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

/// A person who agreed that identity and need go to the peer; their stop code.
async fn agreed(desk: &Desk) -> String {
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
    assert!(
        given
            .out
            .contains("read in `en` and interpreted into `ti` by a peer: there is no reviewed text in `ti`"),
        "{}",
        given.out
    );
    assert!(given.out.contains("it is shown only once"), "{}", given.out);
    let code = given
        .out
        .lines()
        .find_map(|line| line.strip_prefix("Stop code: "));
    code.expect("it gives a stop code").to_owned()
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
            .contains("--share: The person did not agree to share: health."),
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
    assert!(visa.err.contains("\n  --part need.summary: "), "{}", visa.err);
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
async fn what_is_wrong_is_called_by_its_option_and_only_fitting_reasons_are_listed() {
    let desk = Desk::open().await;
    let why = typed(&desk, Role::Referrer, "decline K7M2-9QXD-44").await;
    assert!(
        why.err
            .starts_with("Say with --reason why you decline. Choose one of: full,")
            && !why.err.contains("help_given"),
        "{}",
        why.err
    );
    let unfit = typed(&desk, Role::Referrer, "decline K7M2-9QXD-44 --reason help_given").await;
    assert!(
        unfit.err.starts_with("`help_given` is not a reason to decline."),
        "{}",
        unfit.err
    );
    let hidden = ["person", "add", "--name", "\u{202e}malaS"];
    let hidden = typed_with(&desk, Role::Referrer, &hidden, "").await;
    assert!(
        hidden.err.contains("\n  --name: There is a hidden character"),
        "{}",
        hidden.err
    );
    let nameless = typed(&desk, Role::Referrer, "person add --need tea").await;
    assert!(nameless.err.contains("with --name"), "{}", nameless.err);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_brings_the_stop_code_stops_the_consent() {
    let desk = Desk::open().await;
    let code = agreed(&desk).await;
    let list = "consent list --person ሰላም";
    let live = typed(&desk, Role::Referrer, list).await;
    assert!(live.out.contains("; until 20"), "{} {}", live.out, live.err);

    let other = "0011-2233-4455-6677-8899-aabb-ccdd-eeff";
    let none = typed(&desk, Role::Coordinator, &format!("consent stop {other}")).await;
    assert_eq!(none.code, 1);
    assert!(
        none.err
            .starts_with("No consent that was recorded here has this stop code."),
        "{}",
        none.err
    );
    let unread = typed(&desk, Role::Coordinator, "consent stop 0011").await;
    assert!(
        unread.err.starts_with("This is not a stop code:"),
        "{}",
        unread.err
    );

    // At any desk, by another than who recorded it, and as people write it.
    let typed_code = code.to_uppercase();
    let stop = format!("consent stop {typed_code} --request-id 000102030405060708090a0b0c0d0e0f");
    let stopped = typed(&desk, Role::Coordinator, &stop).await;
    assert!(
        stopped.out.starts_with("Withdrawn."),
        "{} {}",
        stopped.out,
        stopped.err
    );
    let again = typed(&desk, Role::Coordinator, &stop).await;
    assert_eq!((again.code, again.out), (0, stopped.out));
    let ended = typed(&desk, Role::Referrer, list).await;
    assert!(ended.out.contains("no longer"), "{} {}", ended.out, ended.err);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_language_without_a_text_is_said_to_have_none() {
    let desk = Desk::open().await;
    let data = desk.folder().to_str().unwrap();
    for show in [
        "consent statement --language ti",
        &format!("statement show --language ti --data {data}"),
    ] {
        let shown = typed(&desk, Role::Coordinator, show).await;
        assert!(
            shown
                .out
                .starts_with("There is no reviewed text in `ti`. This is the one in `en`"),
            "{}",
            shown.out
        );
        let json = typed(&desk, Role::Coordinator, &format!("{show} --json"))
            .await
            .json();
        assert_eq!(
            (json[0]["language"].as_str(), json[0]["asked_language"].as_str()),
            (Some("en"), Some("ti"))
        );
    }
    let english = typed(&desk, Role::Coordinator, "consent statement --language en-GB").await;
    assert!(
        english.out.starts_with("Sharing what you told us"),
        "{}",
        english.out
    );

    typed(&desk, Role::Referrer, "person add --name Selam").await;
    let record = format!(
        "consent record --person Selam --to {PEER} --share need --for care --understood yes --language ti"
    );
    let alone = typed(&desk, Role::Referrer, &record).await;
    assert!(
        alone
            .err
            .starts_with("There is no reviewed text in `ti`, only the one in `en`."),
        "{}",
        alone.err
    );
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_folder_is_named_before_anything_else_is_asked_for() {
    let desk = Desk::open().await;
    let folder = desk.folder();
    let above = tempfile::tempdir().unwrap();
    let inside = above.path().join("riverside");
    std::os::unix::fs::symlink(folder, &inside).unwrap();
    let run = async |folder: &str, line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kith-node"));
        command
            .args(line.split(' '))
            .env("KITH_DATA", folder)
            .env_remove("KITH_TOKEN");
        let ended = command.output().await.unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    for line in ["inbox", "status", "token list", "statement show", "serve"] {
        let (code, said) = run("/nowhere", line).await;
        assert_eq!(code, Some(1));
        assert!(
            said.starts_with(
                "There is no node in /nowhere (KITH_DATA): the file keys/network, which `join` writes,"
            ),
            "{line}: {said}"
        );
        let (_, said) = run(above.path().to_str().unwrap(), line).await;
        assert!(
            said.contains(&format!("There is one in {}", inside.display())),
            "{line}: {said}"
        );
    }
    let (_, said) = run(folder.to_str().unwrap(), "inbox").await;
    assert!(said.contains("is not running: start it with"), "{said}");
    std::fs::write(folder.join("grpc"), &desk.address).unwrap();
    let (_, said) = run(folder.to_str().unwrap(), "inbox").await;
    assert!(said.starts_with("A token is needed"), "{said}");
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
