//! A browser without a screen: keeps cookies, follows nothing by itself, sends forms as they stand on the page.
//! Every story of pages begins with [`Browser::new`] or [`signed_in`].

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use kith_node::colleagues::{self, Desk as Colleagues};
use kith_node::tokens::Role;
use std::collections::BTreeMap;
use tokio::net::TcpStream;

use crate::fixture::Desk;

/// A browser at one workspace.
#[derive(Clone)]
pub(crate) struct Browser {
    address: String,
    pub(crate) cookies: BTreeMap<String, String>,
    /// What its `Sec-Fetch-Site` says of its forms.
    pub(crate) site: &'static str,
    pub(crate) language: &'static str,
}

/// What came back.
pub(crate) struct Shown {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Shown {
    /// Where it leads on.
    pub(crate) fn leads_to(&self) -> Option<&str> {
        let location = self.headers.get(LOCATION);
        location.map(|location| location.to_str().unwrap())
    }

    /// The value of the first field of this name.
    pub(crate) fn field(&self, name: &str) -> String {
        let (_, rest) = self
            .text
            .split_once(&format!("name=\"{name}\" value=\""))
            .expect(name);
        rest.split('"').next().unwrap().to_owned()
    }

    /// Without the marks that keep the directions of writing apart.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.text.replace(['\u{2068}', '\u{2069}'], "").contains(text)
    }
}

impl Browser {
    /// One that nobody has signed in with.
    pub(crate) fn new(desk: &Desk) -> Self {
        Self {
            address: desk.web.clone(),
            cookies: BTreeMap::new(),
            site: "same-origin",
            language: "en",
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Shown {
        self.send(Method::GET, path, String::new()).await
    }

    /// Sends a form of these fields.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let written = |(name, value): &(&str, &str)| format!("{name}={}", encoded(value));
        let body = fields.iter().map(written).collect::<Vec<_>>().join("&");
        self.send(Method::POST, path, body).await
    }

    async fn send(&mut self, method: Method, path: &str, body: String) -> Shown {
        let socket = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .unwrap();
        let driver = tokio::spawn(connection);
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header("sec-fetch-site", self.site)
            .header("accept-language", self.language)
            .header(COOKIE, cookies.collect::<Vec<_>>().join("; "))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::<Bytes>::new(body.into_bytes().into()))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        drop(sender);
        driver.await.unwrap().unwrap();
        for cookie in parts.headers.get_all(SET_COOKIE) {
            self.take(cookie.to_str().unwrap());
        }
        Shown {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    fn take(&mut self, cookie: &str) {
        let (pair, rest) = cookie.split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        assert!(name.starts_with("__Host-"), "{cookie}");
        for needed in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
            assert!(rest.contains(needed), "{cookie}");
        }
        if rest.contains("Max-Age=0") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// Every byte that is no letter or digit of ASCII, as a form sends it.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Adds a colleague with these roles; gives the path of their link.
pub(crate) async fn link(desk: &Desk, name: &str, roles: &[Role]) -> String {
    let at = Colleagues::of(&desk.node);
    let roles = roles.iter().copied().collect();
    let added = colleagues::add(at, name.to_owned(), roles).await.unwrap();
    let secret = colleagues::make_link(at, &added.colleague_id).await.unwrap();
    format!("/sign-in/{}", secret.written())
}

/// A browser in which somebody with these roles is signed in.
pub(crate) async fn signed_in(desk: &Desk, roles: &[Role]) -> Browser {
    let link = link(desk, "Dr Amal", roles).await;
    let mut browser = Browser::new(desk);
    let entered = browser.post(&link, &[]).await;
    assert_eq!(entered.leads_to(), Some("/"), "{}", entered.text);
    browser
}
