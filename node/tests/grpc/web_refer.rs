//! Making a referral in the workspace: six pages from the person to the code, and every way in which nothing may be lost or sent twice.

use hyper::StatusCode;
use kith_node::tokens::Role;
use kith_service::store::{StoreError, Tx, column, query};

use crate::browser::{Browser, Shown, signed_in};
use crate::fixture::{Desk, PEER};

const NAME: &str = "Selam Canary";
const NEED: &str = "Somebody to talk to, in Tigrinya";
const SENT: &str = "SELECT COUNT(*) AS n FROM referral";
const GRANTS: &str = "SELECT COUNT(*) AS n FROM grant_record";
const DRAFTS: &str = "SELECT COUNT(*) AS n FROM draft";
const PEOPLE: &str = "SELECT COUNT(*) AS n FROM person";
const REFUSED: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'consent_refused'";

async fn count(desk: &Desk, text: &'static str) -> i64 {
    let read = |mut tx: Tx| async move {
        let row = tx.one(query(text)).await?.unwrap();
        column::<i64>(&row, "referral", "n")
    };
    desk.node
        .store
        .read::<_, StoreError, _, _>("test", read)
        .await
        .unwrap()
}

/// Somebody at the screen, making a referral.
struct Making {
    browser: Browser,
    /// The address of the draft.
    at: String,
    token: String,
    /// Every page that was shown, by its address.
    pages: Vec<String>,
}

impl Making {
    /// Records somebody new on the first page.
    async fn begin(desk: &Desk, role: Role) -> Self {
        let mut browser = signed_in(desk, &[role]).await;
        let shown = browser.get("/refer").await;
        let (token, request_id) = (shown.field("form_token"), shown.field("request_id"));
        let fields = [
            ("form_token", token.as_str()),
            ("request_id", &request_id),
            ("preferred_name", NAME),
            ("languages", "ti, en"),
            ("safe_phone", "07700 900123"),
        ];
        let mut at = String::new();
        // Sent twice, as by a finger that is not sure: it is one person and one draft.
        for _ in 0..2 {
            let shown = browser.post("/refer", &fields).await;
            at = shown
                .leads_to()
                .expect(&shown.text)
                .trim_end_matches("/need")
                .to_owned();
        }
        Self {
            browser,
            at,
            token,
            pages: vec!["/refer".to_owned()],
        }
    }

    async fn see(&mut self, page: &str) -> Shown {
        let path = format!("{}/{page}", self.at);
        let shown = self.browser.get(&path).await;
        if shown.status == StatusCode::OK {
            self.pages.push(path);
        }
        shown
    }

    /// Answers a page; gives what comes, or the name of the page that it leads to.
    async fn answer(&mut self, page: &str, fields: &[(&str, &str)]) -> Result<String, Shown> {
        let fields = [&[("form_token", self.token.as_str())], fields].concat();
        let shown = self.browser.post(&format!("{}/{page}", self.at), &fields).await;
        match shown.leads_to() {
            Some(next) => Ok(next
                .strip_prefix(&format!("{}/", self.at))
                .unwrap_or(next)
                .to_owned()),
            None => Err(shown),
        }
    }

    async fn up_to_consent(&mut self) {
        self.see("need").await;
        let need = [("need", NEED), ("purpose", "peer_support")];
        assert_eq!(self.answer("need", &need).await.ok().as_deref(), Some("service"));
        assert!(self.see("service").await.says("Speaks ti."));
        assert_eq!(
            self.answer("service", &[("recipient", PEER)])
                .await
                .ok()
                .as_deref(),
            Some("aloud")
        );
        assert!(self.see("aloud").await.says("You can stop at any time"));
        assert!(self.see("consent").await.says("The service needs this to help."));
    }
}

const AGREED: [(&str, &str); 10] = [
    ("categories", "identity"),
    ("categories", "need"),
    ("given_by", "person"),
    ("given_how", "in_person"),
    ("language", "ti"),
    ("interpreter", "professional"),
    ("understood", "They may know my name. I can stop it."),
    ("days", "90"),
    ("progress", "yes"),
    ("tag", ""),
];

#[tokio::test]
async fn a_referral_is_six_pages_and_its_code() {
    let desk = Desk::open().await;
    let mut making = Making::begin(&desk, Role::Referrer).await;
    making.up_to_consent().await;
    assert_eq!(
        making.answer("consent", &AGREED).await.ok().as_deref(),
        Some("check")
    );
    let shown = making.see("check").await;
    for part in [
        NAME,
        NEED,
        "Tigrinya Women",
        "support from peers",
        "Who they are, What is asked",
        "a professional interpreter",
    ] {
        assert!(shown.says(part), "{part}: {}", shown.text);
    }
    assert_eq!(
        (count(&desk, SENT).await, count(&desk, GRANTS).await),
        (0, 0),
        "nothing before it is sent"
    );
    for _ in 0..2 {
        assert_eq!(making.answer("send", &[]).await.ok().as_deref(), Some("sent"));
    }
    making.pages.sort();
    making.pages.dedup();
    assert_eq!(making.pages.len(), 6, "{:?}", making.pages);
    assert!(making.pages.iter().all(|page| !page.contains("Canary")));

    let shown = making.see("sent").await;
    assert!(shown.says("It is on its way") && shown.says("Stop code"));
    let again = making.see("sent").await;
    let code = |shown: &Shown| shown.text.split("<strong class=\"code\">").nth(1).unwrap()[..12].to_owned();
    assert_eq!(code(&shown), code(&again));
    let stands = making.browser.get(&format!("/referrals/{}", code(&shown))).await;
    assert!(
        stands.says(NEED) && stands.says(NAME) && !stands.says("07700"),
        "what they agreed to, and no more"
    );
    assert!(
        making
            .browser
            .get("/referrals?turn=theirs")
            .await
            .says(&code(&shown))
    );
    assert_eq!(
        making
            .browser
            .get(&format!("{}/need", making.at))
            .await
            .leads_to(),
        Some(&*format!("{}/sent", making.at))
    );
    for (text, n) in [(SENT, 1), (GRANTS, 1), (PEOPLE, 1), (DRAFTS, 1)] {
        assert_eq!(count(&desk, text).await, n, "{text}");
    }
    desk.close().await;
}

#[tokio::test]
async fn what_was_written_is_there_again_and_what_changed_is_asked_again() {
    let desk = Desk::open().await;
    let mut making = Making::begin(&desk, Role::Coordinator).await;
    assert_eq!(
        making
            .browser
            .get(&format!("{}/check", making.at))
            .await
            .leads_to(),
        Some(&*format!("{}/need", making.at))
    );
    making.up_to_consent().await;
    assert_eq!(
        making.answer("consent", &AGREED).await.ok().as_deref(),
        Some("check")
    );
    // Another day, another computer: the draft is on the first page.
    assert!(
        making
            .browser
            .get("/refer")
            .await
            .says(&format!("{}/check", making.at))
    );
    assert!(making.see("need").await.says(NEED));
    let fields = [("need", NEED), ("purpose", "care")];
    assert_eq!(
        making.answer("need", &fields).await.ok().as_deref(),
        Some("service")
    );
    assert!(
        making
            .see("service")
            .await
            .says("No service in the network offers this now.")
    );
    assert_eq!(
        making
            .browser
            .get(&format!("{}/check", making.at))
            .await
            .leads_to(),
        Some(&*format!("{}/service", making.at))
    );
    assert_eq!(count(&desk, SENT).await, 0);
    // Nobody else sees it.
    let mut other = signed_in(&desk, &[Role::Coordinator]).await;
    assert_eq!(
        other.get(&format!("{}/need", making.at)).await.status,
        StatusCode::NOT_FOUND
    );
    desk.close().await;
}

#[tokio::test]
async fn nothing_is_sent_without_a_yes() {
    let desk = Desk::open().await;
    let mut making = Making::begin(&desk, Role::Referrer).await;
    assert_eq!(making.answer("send", &[]).await.ok().as_deref(), Some("need"));
    making.up_to_consent().await;
    assert_eq!(making.answer("send", &[]).await.ok().as_deref(), Some("consent"));
    let shown = making
        .answer("consent", &[("understood", "Her passport is 123456789")])
        .await
        .err()
        .unwrap();
    assert_eq!(shown.status, StatusCode::UNPROCESSABLE_ENTITY);
    for part in [
        "Choose the parts that the service needs.",
        "Choose an answer.",
        "Her passport is 123456789",
    ] {
        assert!(shown.says(part), "{part}");
    }
    // A text that they heard in another language than it was written in, and nobody interpreted.
    let alone: Vec<_> = AGREED
        .iter()
        .map(|(name, value)| {
            if *name == "interpreter" {
                (*name, "none")
            } else {
                (*name, *value)
            }
        })
        .collect();
    assert!(
        making
            .answer("consent", &alone)
            .await
            .err()
            .unwrap()
            .says("Choose who interpreted it.")
    );
    assert_eq!((count(&desk, SENT).await, count(&desk, GRANTS).await), (0, 0));
    assert_eq!(
        making.answer("refused", &[]).await.ok().as_deref(),
        Some("/referrals")
    );
    assert_eq!((count(&desk, REFUSED).await, count(&desk, DRAFTS).await), (1, 0));
    desk.close().await;
}

#[tokio::test]
async fn somebody_who_is_recorded_is_found_and_bad_answers_lose_nothing() {
    let desk = Desk::open().await;
    let mine = desk.person(Role::Coordinator, NAME).await;
    let mut browser = signed_in(&desk, &[Role::Coordinator]).await;
    let shown = browser.get("/refer").await;
    let token = shown.field("form_token");
    let found = browser
        .post("/refer/find", &[("form_token", &token), ("search", "selam")])
        .await;
    assert!(found.says(NAME));
    let (person, request_id) = (found.field("person"), found.field("request_id"));
    assert_eq!(person, data_encoding::HEXLOWER.encode(&mine));
    let fields = [
        ("form_token", token.as_str()),
        ("request_id", &request_id),
        ("person", &person),
    ];
    let begun = browser.post("/refer", &fields).await;
    assert_eq!(begun.leads_to(), Some(&*format!("/refer/{request_id}/need")));
    // A referrer does not find them, nor begins anything about them by their id.
    let mut referrer = signed_in(&desk, &[Role::Referrer]).await;
    let token = referrer.get("/refer").await.field("form_token");
    let found = referrer
        .post("/refer/find", &[("form_token", &token), ("search", "selam")])
        .await;
    assert!(found.says("Nobody of that name") && !found.says(NAME));
    let fields = [
        ("form_token", token.as_str()),
        ("request_id", &request_id),
        ("person", &person),
    ];
    assert_eq!(
        referrer.post("/refer", &fields).await.status,
        StatusCode::NOT_FOUND
    );
    let fields = [
        ("form_token", token.as_str()),
        ("request_id", &request_id),
        ("languages", "ti"),
    ];
    let shown = referrer.post("/refer", &fields).await;
    assert!(shown.says("Any name that they like is enough") && shown.field("languages") == "ti");
    desk.close().await;
}
