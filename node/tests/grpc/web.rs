//! The workspace over the wire: every page with a session of every role, and what somebody would try who has none.

use hyper::StatusCode;
use kith_node::colleagues::{self, Desk as Colleagues};
use kith_node::tokens::Role;
use kith_service::store::{StoreError, Tx, column, query};

use crate::browser::{Browser, Shown, link, signed_in};
use crate::fixture::Desk;

const NAME: &str = "Selam Canary";

/// Who may ask for which page: r referrer, c coordinator, a auditor, m admin.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("GET", "/", "rcam"),
    ("GET", "/referrals", "rca"),
    ("GET", "/referrals/CODE", "rc"),
    ("POST", "/referrals/CODE/messages", "rc"),
    ("GET", "/referrals/CODE/withdraw", "rc"),
    ("POST", "/referrals/CODE/withdraw", "rc"),
    ("GET", "/colleagues", "m"),
    ("POST", "/colleagues", "m"),
    ("POST", "/colleagues/ID/link", "m"),
    ("POST", "/colleagues/ID/end", "m"),
    ("POST", "/sign-out", "rcam"),
];

async fn count(desk: &Desk, text: &'static str) -> i64 {
    let read = |mut tx: Tx| async move {
        let row = tx.one(query(text)).await?.unwrap();
        column::<i64>(&row, "audit_event", "n")
    };
    desk.node
        .store
        .read::<_, StoreError, _, _>("test", read)
        .await
        .unwrap()
}

const OPENED: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'opened'";
const SIGNED_IN: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'signed_in'";
const FAILED: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'sign_in_failed'";

/// A referral that the coordinator's token sent; its code.
async fn sent(desk: &Desk) -> String {
    let person = desk.person(Role::Coordinator, NAME).await;
    let grant = desk.grant(Role::Coordinator, &person).await;
    let asked = desk.by(Role::Coordinator, desk.referral(&person, &grant));
    desk.referrals()
        .send_referral(asked)
        .await
        .unwrap()
        .into_inner()
        .code
}

fn is_page(shown: &Shown) {
    let header = |name: &str| {
        shown
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let policy = header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(header("referrer-policy").as_deref(), Some("no-referrer"));
    assert!(!shown.text.contains("style=\"") && !shown.text.contains("onclick"));
}

#[tokio::test]
async fn a_link_signs_one_browser_in_once() {
    let desk = Desk::open().await;
    let link = link(&desk, "Selam, laptop", &[Role::Coordinator, Role::Admin]).await;
    let mut preview = Browser::new(&desk);
    for _ in 0..2 {
        let shown = preview.get(&link).await;
        assert!(shown.says("Your link is ready"), "looking at it uses nothing up");
        is_page(&shown);
    }
    let mut browser = Browser::new(&desk);
    assert_eq!(browser.get("/referrals").await.leads_to(), Some("/sign-in"));
    assert_eq!(browser.post(&link, &[]).await.leads_to(), Some("/"));
    assert_eq!(browser.get("/").await.leads_to(), Some("/referrals"));
    let shown = browser.get("/referrals").await;
    assert!(shown.says("Selam, laptop") && shown.says("Colleagues"));
    is_page(&shown);
    assert_eq!(count(&desk, SIGNED_IN).await, 1);

    // Of a link that was used nobody learns more than that it does not work.
    let mut thief = Browser::new(&desk);
    let (used, unknown) = (
        thief.post(&link, &[]).await,
        thief.post("/sign-in/AAAA", &[]).await,
    );
    assert_eq!(used.text, unknown.text.replace("/sign-in/AAAA", &link));
    assert!(thief.cookies.is_empty() && used.says("Ask your administrator"));
    assert_eq!(count(&desk, FAILED).await, 1);

    let old = browser.clone();
    let token = shown.field("form_token");
    assert_eq!(
        browser
            .post("/sign-out", &[("form_token", &token)])
            .await
            .leads_to(),
        Some("/")
    );
    assert_eq!(browser.cookies.len(), 0);
    for mut browser in [browser, old] {
        assert_eq!(
            browser.get("/referrals").await.leads_to(),
            Some("/sign-in"),
            "it is over"
        );
    }
    desk.close().await;
}

#[tokio::test]
async fn every_page_is_open_to_its_roles_and_closed_to_the_others() {
    let desk = Desk::open().await;
    let code = sent(&desk).await;
    let anybody = "00112233445566778899aabbccddeeff";
    for (method, path, letters) in EXPECTED {
        let path = path.replace("CODE", &code).replace("ID", anybody);
        let ask = async |browser: &mut Browser, token: &str| match *method {
            "GET" => browser.get(&path).await,
            _ => browser.post(&path, &[("form_token", token)]).await,
        };
        let nobody = ask(&mut Browser::new(&desk), "").await;
        assert_eq!(nobody.leads_to(), Some("/sign-in"), "{method} {path}");
        for (role, letter) in [
            (Role::Referrer, 'r'),
            (Role::Coordinator, 'c'),
            (Role::Auditor, 'a'),
            (Role::Admin, 'm'),
        ] {
            let mut browser = signed_in(&desk, &[role]).await;
            let home = if role == Role::Admin {
                "/colleagues"
            } else {
                "/referrals"
            };
            let token = browser.get(home).await.field("form_token");
            let shown = ask(&mut browser, &token).await;
            let refused = shown.says("Your role does not include this");
            assert_eq!(
                refused,
                !letters.contains(letter),
                "{method} {path} by {role}: {}",
                shown.status
            );
            if role != Role::Coordinator {
                assert!(!shown.says(NAME), "{method} {path} by {role}");
            }
        }
    }
    desk.close().await;
}

#[tokio::test]
async fn a_form_of_another_page_changes_nothing() {
    let desk = Desk::open().await;
    let code = sent(&desk).await;
    let path = format!("/referrals/{code}/withdraw");
    let mut browser = signed_in(&desk, &[Role::Coordinator]).await;
    let page = browser.get(&path).await;
    let (token, request_id) = (page.field("form_token"), page.field("request_id"));
    let other = signed_in(&desk, &[Role::Coordinator])
        .await
        .get(&path)
        .await
        .field("form_token");
    let fields = |token| {
        vec![
            ("form_token", token),
            ("request_id", request_id.as_str()),
            ("reason", "not_said"),
        ]
    };
    for (site, token) in [
        ("cross-site", token.as_str()),
        ("same-site", &token),
        ("none", &token),
        ("same-origin", &other),
        ("same-origin", ""),
    ] {
        browser.site = site;
        let shown = browser.post(&path, &fields(token)).await;
        assert_eq!(shown.status, StatusCode::FORBIDDEN, "{site}");
        is_page(&shown);
    }
    browser.site = "same-origin";
    let long = "x".repeat(65 << 10);
    let shown = browser
        .post(&path, &[("form_token", &token), ("words", &long)])
        .await;
    assert!(shown.status.is_client_error());
    let shown = browser.post(&path, &fields(&token)).await;
    let there = format!("/referrals/{code}?just=moved");
    assert_eq!(shown.leads_to(), Some(there.as_str()), "{}", shown.text);
    let again = browser.post(&path, &fields(&token)).await;
    assert!(again.status != StatusCode::INTERNAL_SERVER_ERROR);
    desk.close().await;
}

#[tokio::test]
async fn a_referral_is_opened_moved_and_written_on() {
    let desk = Desk::open().await;
    let code = sent(&desk).await;
    let mut browser = signed_in(&desk, &[Role::Coordinator]).await;
    let list = browser.get("/referrals?turn=theirs").await;
    assert!(list.says(&code) && list.says("To Tigrinya Women") && !list.says(NAME));
    assert!(list.says("Consent ends on"));
    assert!(
        browser
            .get("/referrals?turn=yours")
            .await
            .says("Nothing waits for you.")
    );

    assert_eq!(count(&desk, OPENED).await, 0);
    let shown = browser.get(&format!("/referrals/{code}")).await;
    is_page(&shown);
    for part in [
        NAME,
        "Somebody to talk to on Tuesdays.",
        "Their turn",
        "Withdraw consent",
    ] {
        assert!(shown.says(part), "{part}: {}", shown.text);
    }
    assert_eq!(count(&desk, OPENED).await, 1, "before it was shown");

    // What is wrong comes back with all that was written, as the same request.
    let path = format!("/referrals/{code}/messages");
    let (token, request_id) = (shown.field("form_token"), shown.field("request_id"));
    let bad = "Her BRP is ZX1234567, <b>call</b> her";
    let fields = [
        ("form_token", token.as_str()),
        ("request_id", &request_id),
        ("words", bad),
    ];
    let shown = browser.post(&path, &fields).await;
    assert_eq!(shown.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(shown.says("Her BRP is ZX1234567, &lt;b&gt;call&lt;/b&gt; her"));
    assert!(shown.says("This looks like an immigration or passport number"));
    assert_eq!(shown.field("request_id"), request_id);
    let shown = browser
        .post(&path, &[("form_token", &token), ("request_id", &request_id)])
        .await;
    assert!(shown.says("Write the message first."));

    let path = format!("/referrals/{code}/withdraw");
    let shown = browser.get(&path).await;
    assert!(shown.says("This cannot be undone"));
    let fields = [
        ("form_token", token.as_str()),
        ("request_id", &shown.field("request_id")),
    ];
    assert!(
        browser.post(&path, &fields).await.says("Choose why."),
        "no reason"
    );
    let fields = [fields.as_slice(), &[("reason", "person_changed_mind")]].concat();
    let there = format!("/referrals/{code}?just=moved");
    assert_eq!(
        browser.post(&path, &fields).await.leads_to(),
        Some(there.as_str())
    );
    let shown = browser.get(&there).await;
    assert!(shown.says("Done: withdrawn") && shown.says("consent has ended") && !shown.says(NAME));
    let shown = browser.get(&format!("/referrals/{code}/accept")).await;
    assert!(
        shown.says("the referral has moved on"),
        "no move that is not allowed"
    );
    assert!(browser.get("/referrals?turn=over").await.says(&code));
    desk.close().await;
}

#[tokio::test]
async fn a_referrer_sees_their_own_alone_and_nothing_tells_others_from_none() {
    let desk = Desk::open().await;
    let code = sent(&desk).await;
    let mut browser = signed_in(&desk, &[Role::Referrer]).await;
    assert!(!browser.get("/referrals?turn=theirs").await.says(&code));
    let (others, none) = (format!("/referrals/{code}"), "/referrals/0000-0000-00");
    let (one, two) = (browser.get(&others).await, browser.get(none).await);
    assert_eq!(
        (one.status, two.status),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND)
    );
    assert_eq!(one.text.replace(&others, ""), two.text.replace(none, ""));
    desk.close().await;
}

#[tokio::test]
async fn an_admin_adds_a_colleague_and_ends_them() {
    let desk = Desk::open().await;
    let mut admin = signed_in(&desk, &[Role::Admin]).await;
    let token = admin.get("/colleagues").await.field("form_token");
    let shown = admin
        .post("/colleagues", &[("form_token", &token), ("name", "")])
        .await;
    assert!(shown.says("Write a name") && shown.says("Choose at least one."));
    let fields = [
        ("form_token", token.as_str()),
        ("name", "Letesh"),
        ("role", "coordinator"),
        ("role", "auditor"),
    ];
    let shown = admin.post("/colleagues", &fields).await;
    let (_, link) = shown.text.split_once(&desk.web).unwrap();
    let link = link.split('<').next().unwrap();
    let mut letesh = Browser::new(&desk);
    assert_eq!(letesh.post(link, &[]).await.leads_to(), Some("/"));
    assert!(letesh.get("/referrals").await.says("Letesh"));
    assert_eq!(letesh.get("/colleagues").await.status, StatusCode::FORBIDDEN);

    let all = colleagues::list(&desk.node.store).await.unwrap();
    let one = all.iter().find(|one| one.label == "Letesh").unwrap();
    let id = data_encoding::HEXLOWER.encode(one.colleague_id.as_bytes());
    let ended = admin
        .post(&format!("/colleagues/{id}/end"), &[("form_token", &token)])
        .await;
    assert_eq!(ended.leads_to(), Some("/colleagues"));
    assert_eq!(
        letesh.get("/referrals").await.leads_to(),
        Some("/sign-in"),
        "at once"
    );
    let link = colleagues::make_link(Colleagues::of(&desk.node), &one.colleague_id).await;
    assert!(link.is_err(), "nor by a new link");
    desk.close().await;
}

#[tokio::test]
async fn every_page_is_in_the_language_that_was_chosen() {
    let desk = Desk::open().await;
    let mut browser = Browser::new(&desk);
    browser.language = "uk,en;q=0.5";
    assert!(
        browser
            .get("/sign-in")
            .await
            .text
            .contains("<html lang=\"uk\" dir=\"ltr\">")
    );
    let chosen = browser
        .post("/language", &[("to", "ar"), ("back", "//evil.example")])
        .await;
    assert_eq!(chosen.leads_to(), Some("/"));
    assert!(
        browser
            .get("/sign-in")
            .await
            .text
            .contains("<html lang=\"ar\" dir=\"rtl\">")
    );
    // Whoever is signed in takes their language along.
    let link = link(&desk, "Selam", &[Role::Coordinator]).await;
    browser.post(&link, &[]).await;
    browser
        .post("/language", &[("to", "ti"), ("back", "/referrals")])
        .await;
    browser.cookies.retain(|name, _| !name.ends_with("language"));
    let shown = browser.get("/referrals").await;
    assert!(shown.text.contains("<html lang=\"ti\" dir=\"ltr\">") && shown.text.contains("role=\"note\""));
    desk.close().await;
}

#[tokio::test]
async fn nothing_is_shown_while_the_database_is_an_older_copy() {
    let desk = Desk::open().await;
    let mut browser = signed_in(&desk, &[Role::Coordinator]).await;
    desk.node.own_log_ended.send_replace(true);
    let shown = browser.get("/referrals").await;
    assert_eq!(shown.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(shown.says("an older copy"));
    desk.close().await;
}
