//! The calls about the trail over the wire: what each answers, that reading is in the trail, exports that repeat; and the commands.

use crate::fixture::{Desk, PEER};
use kith_node::keylog::{self, KeyLeaf};
use kith_node::store;
use kith_node::tokens::Role;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::origin::Keeper;
use kith_proto::log::tree::head_of;
use kith_proto::problem::Problem;
use kith_proto::trail::export::{ExportReader, Line};
use kith_proto::trail::{Code, Event, Leaf};
use kith_proto::trust::binding_hash;
use kith_proto::v1;
use kith_proto::v1::audit_service_client::AuditServiceClient;
use kith_proto::words::Purpose;
use kith_service::status::problem_of;
use kith_service::store::{StoreError, Tx};
use tonic::transport::Channel;

fn audit(desk: &Desk) -> AuditServiceClient<Channel> {
    AuditServiceClient::new(desk.channel.clone())
}

/// A person who was referred, and their referral's code.
async fn referred(desk: &Desk) -> String {
    let person_id = desk.person(Role::Referrer, "Selam Canary").await;
    let grant_id = desk.grant(Role::Referrer, &person_id).await;
    let asked = desk.referral(&person_id, &grant_id);
    let sent = desk
        .referrals()
        .send_referral(desk.by(Role::Referrer, asked))
        .await;
    desk.node.log.catch_up(&desk.node.keys.signing).await.unwrap();
    sent.unwrap().into_inner().code
}

/// The leaf of this node's first binding in a log of the gateway that has no other, and its proof.
fn logged(desk: &Desk) -> (KeyLeaf, LeafProof) {
    let chain = desk.mine.chain.as_ref().unwrap();
    let (org, binding) = (desk.node.organisation(), binding_hash(&chain.bindings[0]));
    let event = Event::new(Code::MemberJoined, 1)
        .org("organisation", org)
        .number("number", 1)
        .hash("binding", &binding);
    let leaf = Leaf::new(event.code(), &[1; 16], event.preimage());
    let origin = Keeper::Gateway.origin(&desk.node.membership.network, keylog::FIRST_EPOCH);
    let checkpoint = Checkpoint::new(&origin, head_of([leaf.hash()]).unwrap()).unwrap();
    let signed = checkpoint.sign(&desk.node.keys.signing).unwrap();
    let key_leaf = KeyLeaf {
        number: 0,
        code: event.code(),
        organisation: Some(org.clone()),
        binding: Some(binding),
        salt: [1; 16],
        preimage: event.preimage().to_owned(),
    };
    let note = checkpoint.note(vec![signed]).unwrap();
    (key_leaf, LeafProof::new(0, Vec::new(), note, Vec::new()).unwrap())
}

async fn list(desk: &Desk, filter: v1::TrailFilter) -> Vec<v1::TrailLine> {
    let (mut lines, mut page_token) = (Vec::new(), String::new());
    loop {
        let asked = v1::ListTrailRequest {
            filter: Some(filter.clone()),
            page_size: 2,
            page_token,
        };
        let page = audit(desk)
            .list_trail(desk.by(Role::Auditor, asked))
            .await
            .unwrap()
            .into_inner();
        lines.extend(page.lines);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return lines;
        }
    }
}

async fn export(desk: &Desk, form: v1::ExportForm, request_id: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let asked = v1::ExportTrailRequest {
        request_id,
        filter: None,
        form: form.into(),
    };
    let answered = audit(desk).export_trail(desk.by(Role::Admin, asked)).await;
    let mut parts = answered
        .map_err(|status| problem_of(&status).unwrap())?
        .into_inner();
    let mut file = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        file.extend(part.part);
    }
    Ok(file)
}

#[tokio::test]
async fn a_referral_is_followed_by_its_code_and_reading_it_is_in_the_trail() {
    let desk = Desk::open().await;
    let code = referred(&desk).await;
    let about = Some(v1::trail_filter::About::Referral(code.to_lowercase()));
    let lines = list(
        &desk,
        v1::TrailFilter {
            about,
            ..Default::default()
        },
    )
    .await;
    let codes: Vec<&str> = lines.iter().map(|line| line.code.as_str()).collect();
    assert_eq!(codes, ["envelope_sent", "slip_issued", "grant_given"]);
    assert!(
        lines[0].sentence.contains("Tigrinya Women's Circle"),
        "{}",
        lines[0].sentence
    );
    assert!(
        lines
            .iter()
            .all(|line| line.proof.starts_with("c2sp.org/tlog-proof@v1"))
    );
    assert!(!format!("{lines:?}").contains("Selam"));
    let read = list(
        &desk,
        v1::TrailFilter {
            code: "trail_read".into(),
            ..Default::default()
        },
    )
    .await;
    assert!(read.len() >= 2 && read.iter().all(|line| line.preimage.contains("role=auditor")));
    assert!(read.last().unwrap().preimage.contains("about=referral"));
    desk.close().await;
}

#[tokio::test]
async fn what_cannot_be_a_filter_is_named_by_its_field() {
    let desk = Desk::open().await;
    let with = |filter| v1::CountTrailRequest { filter: Some(filter) };
    for (filter, problem) in [
        (
            v1::TrailFilter {
                code: "no_such".into(),
                ..Default::default()
            },
            Problem::Invalid,
        ),
        (
            v1::TrailFilter {
                role: "king".into(),
                ..Default::default()
            },
            Problem::Invalid,
        ),
        (
            v1::TrailFilter {
                from_ms: -1,
                ..Default::default()
            },
            Problem::Invalid,
        ),
        (
            v1::TrailFilter {
                purpose: 99,
                ..Default::default()
            },
            Problem::Invalid,
        ),
        (
            v1::TrailFilter {
                about: Some(v1::trail_filter::About::GrantId(vec![1])),
                ..Default::default()
            },
            Problem::Invalid,
        ),
        (
            v1::TrailFilter {
                about: Some(v1::trail_filter::About::Referral("0000-0000-66".into())),
                ..Default::default()
            },
            Problem::NotFound,
        ),
    ] {
        let refused = audit(&desk)
            .count_trail(desk.by(Role::Admin, with(filter.clone())))
            .await
            .unwrap_err();
        assert_eq!(problem_of(&refused), Some(problem), "{filter:?}");
    }
    desk.close().await;
}

#[tokio::test]
async fn counts_gaps_and_status_answer() {
    let desk = Desk::open().await;
    referred(&desk).await;
    let asked = v1::CountTrailRequest { filter: None };
    let counts = audit(&desk)
        .count_trail(desk.by(Role::Auditor, asked))
        .await
        .unwrap()
        .into_inner()
        .counts;
    let sent = counts.iter().find(|one| one.code == "envelope_sent").unwrap();
    assert_eq!(
        (sent.purpose, sent.count, sent.fewer_than_five),
        (Purpose::PeerSupport.number(), 0, true)
    );
    let gaps = audit(&desk)
        .check_gaps(desk.by(Role::Admin, v1::CheckGapsRequest {}))
        .await
        .unwrap();
    assert_eq!(
        gaps.into_inner()
            .gaps
            .iter()
            .map(|gap| gap.count)
            .collect::<Vec<_>>(),
        [0, 0, 0]
    );
    let status = audit(&desk)
        .get_log_status(desk.by(Role::Auditor, v1::GetLogStatusRequest {}))
        .await;
    let status = status.unwrap().into_inner();
    assert_eq!(status.origin, "riverside-gp.lune-valley.example/log/1");
    assert!(status.size >= 8 && status.cosigned_size == 0 && status.alarms.is_empty());
    desk.close().await;
}

#[tokio::test]
async fn an_export_is_written_down_once_however_often_it_is_asked_for() {
    let desk = Desk::open().await;
    referred(&desk).await;
    let id = desk.request_id();
    let early = export(&desk, v1::ExportForm::Trail, id.clone()).await;
    assert_eq!(
        early,
        Err(Problem::Unavailable),
        "the directory has not told this node its own keys"
    );
    let mine = desk.mine.clone();
    let (leaf, proof) = logged(&desk);
    let put = |mut tx: Tx| {
        let (mine, leaf, proof) = (mine.clone(), leaf.clone(), proof.clone());
        async move {
            store::member::put(&mut tx, &[mine], 1).await?;
            store::keylog::put_leaves(&mut tx, keylog::FIRST_EPOCH, &[leaf]).await?;
            store::keylog::put_proof(&mut tx, keylog::FIRST_EPOCH, &proof).await
        }
    };
    desk.node
        .store
        .tx::<_, StoreError, _, _>("put", put)
        .await
        .unwrap();
    let first = export(&desk, v1::ExportForm::Trail, id.clone()).await.unwrap();
    let lines: Vec<Line> = ExportReader::new(first.as_slice())
        .map(|line| Line::read(&line.unwrap()).unwrap())
        .collect();
    let events = lines.iter().filter(|line| matches!(line, Line::Event(_))).count();
    assert!(matches!(lines[0], Line::Header(_)) && matches!(lines[2], Line::Member(_)));
    assert!(matches!(lines.last(), Some(Line::End(_))) && events >= 8);
    let again = export(&desk, v1::ExportForm::Trail, id.clone()).await.unwrap();
    assert_eq!(again.len(), first.len());
    assert_eq!(
        export(&desk, v1::ExportForm::Csv, id).await,
        Err(Problem::Conflict)
    );
    let exported = list(
        &desk,
        v1::TrailFilter {
            code: "trail_exported".into(),
            ..Default::default()
        },
    )
    .await;
    assert_eq!(exported.len(), 1);
    assert!(exported[0].preimage.contains(&format!("count={events}")));
    let csv = String::from_utf8(
        export(&desk, v1::ExportForm::Csv, desk.request_id())
            .await
            .unwrap(),
    )
    .unwrap();
    assert!(csv.starts_with("number,at_ms,at,code,thread") && csv.contains(PEER));
    let fhir = String::from_utf8(
        export(&desk, v1::ExportForm::Fhir, desk.request_id())
            .await
            .unwrap(),
    )
    .unwrap();
    assert!(
        fhir.lines()
            .all(|line| line.contains("\"resourceType\":\"AuditEvent\""))
    );
    assert!(!csv.contains("Selam") && !fhir.contains("Selam"));
    desk.close().await;
}

/// What `kith-node audit …` answers as this role, and how it ends.
async fn typed(desk: &Desk, role: Role, line: &str) -> (i32, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_kith-node"));
    command
        .args(["--node", &desk.address, "audit"])
        .args(line.split(' '));
    command
        .env("KITH_TOKEN", desk.token(role))
        .env("KITH_DATA", desk.folder());
    let ended = command.output().await.unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn the_commands_list_count_check_export_and_verify() {
    let desk = Desk::open().await;
    let code = referred(&desk).await;
    let (ended, said) = typed(&desk, Role::Auditor, &format!("list --referral {code}")).await;
    assert!(
        ended == 0 && said.lines().count() == 3 && said.contains("sent a referral"),
        "{said}"
    );
    let (ended, said) = typed(&desk, Role::Auditor, "count --code envelope_sent --json").await;
    assert!(ended == 0 && said.contains("\"fewer_than_five\":true"), "{said}");
    let (ended, said) = typed(&desk, Role::Admin, "gaps").await;
    assert!(
        ended == 0 && said.contains("withdrawal without proof: none"),
        "{said}"
    );
    let (ended, said) = typed(&desk, Role::Admin, "status").await;
    assert!(
        ended == 0 && said.contains("has cosigned none of them yet"),
        "{said}"
    );
    let (ended, said) = typed(&desk, Role::Referrer, "list").await;
    assert_eq!(ended, 1, "{said}");
    let (ended, said) = typed(&desk, Role::Auditor, "list --code no_such").await;
    assert!(ended == 1 && said.contains("--code"), "{said}");
    let file = desk.folder().join("trail.csv");
    let line = format!("export {} --form csv", file.display());
    assert_eq!(typed(&desk, Role::Admin, &line).await.0, 0);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("number,"));
    let (ended, said) = typed(&desk, Role::Admin, &line).await;
    assert!(ended == 1 && said.contains("there already"), "{said}");
    let root = "00".repeat(32);
    let (ended, said) = typed(
        &desk,
        Role::Admin,
        &format!("verify {} --root {root}", file.display()),
    )
    .await;
    assert!(ended == 1 && said.contains("Line 1 is not proven"), "{said}");
    assert_eq!(
        typed(&desk, Role::Admin, &format!("verify {}", file.display()))
            .await
            .0,
        2,
        "a file needs the root"
    );
    desk.node.log.catch_up(&desk.node.keys.signing).await.unwrap();
    let (ended, said) = typed(&desk, Role::Admin, "verify").await;
    assert!(ended == 0 && said.contains("fit the log"), "{said}");
    desk.close().await;
}
