//! What keeps other sites and other people away from a page: headers, cookies, and whether a form was sent from a page of one's own.
//! Called by the edge around every page. Sources: OWASP cheat sheets on CSRF and on headers; RFC 6265bis for `__Host-`; Fetch Metadata.
//! Never keeps a secret of a session: what is looked up is its hash.

use axum::http::HeaderMap;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Uri;
use data_encoding::BASE64URL_NOPAD;
use kith_proto::sign::sha256;

/// Everything of a page comes from its own server, as a file; nothing may frame it, and its forms go nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'";
/// Longest value of a cookie that is looked at, in bytes.
const COOKIE_BYTES_MAX: usize = 256;
const FORM_LABEL: &[u8] = b"kith/web/form\0";
const SESSION_LABEL: &[u8] = b"kith/web/session\0";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The headers of every page. Nothing of a page is kept by a browser or on the way, so that a shared computer shows nothing after a sign-out.
pub fn headers() -> HeaderMap {
    let of = |name: HeaderName, value: &'static str| (name, HeaderValue::from_static(value));
    HeaderMap::from_iter([
        of(CONTENT_SECURITY_POLICY, POLICY),
        of(CACHE_CONTROL, "no-store"),
        of(REFERRER_POLICY, "no-referrer"),
        of(X_CONTENT_TYPE_OPTIONS, "nosniff"),
        of(HeaderName::from_static("x-frame-options"), "DENY"),
        of(
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        of(
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        of(
            HeaderName::from_static("permissions-policy"),
            "camera=(), microphone=(), geolocation=(), browsing-topics=()",
        ),
    ])
}

/// Whether a request that changes something comes from a page of this server: as the browser says itself, or by `Origin` where it is too old
/// to say so. One that says neither is refused.
pub fn is_own(headers: &HeaderMap) -> bool {
    let of = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = of(FETCH_SITE) {
        return site == "same-origin";
    }
    let host = |origin: &str| {
        let uri: Uri = origin.parse().ok()?;
        uri.authority().map(ToString::to_string)
    };
    match (of(ORIGIN), of(HOST)) {
        (Some(origin), Some(own)) => host(origin).is_some_and(|host| host == own),
        _ => false,
    }
}

/// The value of a cookie; none where there is none, or more than one, or one that is too long.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';'));
    let mut found = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(of, _)| *of == name)
        .map(|(_, value)| value);
    let first = found.next().filter(|value| value.len() <= COOKIE_BYTES_MAX);
    if found.next().is_some() { None } else { first }
}

/// A cookie for this server alone, which no script reads, for so many seconds; 0 takes it away. Several nodes on one computer share a
/// browser's cookies, so `name` has the organisation in it; it begins with `__Host-`. The value is made of letters, digits, `-` and `_`.
pub fn set_cookie(name: &str, value: &str, seconds: i64) -> Option<HeaderValue> {
    let written = format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::from_str(&written).ok()
}

/// The secret of a session: 256 random bits, as the cookie has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Of random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads what a cookie or a link says.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// As the cookie or link says it.
    pub fn written(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// What is kept and looked up of it.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[SESSION_LABEL, &self.0])
    }

    /// What every form of the session carries: another site's page cannot know it.
    pub fn form_token(&self) -> String {
        BASE64URL_NOPAD.encode(&sha256(&[FORM_LABEL, &self.0]))
    }

    /// Whether a form carries the token of this session, without telling by its time how much of it is right.
    pub fn is_of_form(&self, token: &str) -> bool {
        let (own, other) = (
            sha256(&[FORM_LABEL, &self.0]),
            BASE64URL_NOPAD.decode(token.as_bytes()),
        );
        other.is_ok_and(|other| aws_lc_rs::constant_time::verify_slices_are_equal(&own, &other).is_ok())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let of = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(of).collect()
    }

    #[test]
    fn only_a_page_of_this_server_changes_anything() {
        let host = ("host", "node.example:8443");
        for (headers, own) in [
            (vec![("sec-fetch-site", "same-origin")], true),
            (
                vec![
                    ("sec-fetch-site", "same-site"),
                    host,
                    ("origin", "https://node.example:8443"),
                ],
                false,
            ),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "none")], false),
            (vec![host, ("origin", "https://node.example:8443")], true),
            (vec![host, ("origin", "https://node.example")], false),
            (
                vec![host, ("origin", "https://node.example.evil.example:8443")],
                false,
            ),
            (vec![host, ("origin", "null")], false),
            (vec![host], false),
            (vec![], false),
        ] {
            assert_eq!(is_own(&asked(&headers)), own, "{headers:?}");
        }
    }

    #[test]
    fn a_cookie_is_read_where_it_stands_once() {
        let of = |value: &'static str| asked(&[("cookie", value)]);
        assert_eq!(
            cookie(&of("a=1; __Host-kith-gp=xyz;b=2"), "__Host-kith-gp"),
            Some("xyz")
        );
        assert_eq!(cookie(&of("x__Host-kith-gp=xyz"), "__Host-kith-gp"), None);
        assert_eq!(
            cookie(&of("s=1; s=2"), "s"),
            None,
            "which one counts is not known"
        );
        assert_eq!(cookie(&of(""), "s"), None);
        let set = set_cookie("__Host-kith-gp", "xyz", 60).unwrap();
        assert_eq!(
            set,
            "__Host-kith-gp=xyz; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(set_cookie("s", "a\nb", 60), None);
    }

    #[test]
    fn a_session_knows_its_own_forms_and_keeps_its_secret() {
        let (one, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        assert_eq!(Secret::read(&one.written()), Some(one.clone()));
        assert_eq!(Secret::read("short"), None);
        assert!(one.is_of_form(&one.form_token()));
        for token in [other.form_token(), one.written(), String::new()] {
            assert!(!one.is_of_form(&token));
        }
        assert_ne!(one.hash(), other.hash());
        assert_eq!(format!("{one:?}"), "Secret(..)");
    }
}
