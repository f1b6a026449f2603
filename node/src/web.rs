//! The workspace: pages for the organisation's own people, on the same use-cases as the gRPC edge. Rendered here, whole without JavaScript.
//! `serve` runs it; each file has the pages of one noun. Read the form, one use-case, a page or a redirect: nothing else.
//! It must never hold a rule or a statement, never show anything about a person without the trail having it, and never put a name into an address.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`] | listening, limits, routes |
//! | `guard` | who is there, in which language, and may they |
//! | `roles` | the role × page table |
//! | `answers` | what a form brought, from a page of this server |
//! | `visit` | one request: its person, its words, its pages and its troubles |
//! | `sign_in`, `language` | before anybody is known |
//! | `passkey` | signing in with a device, and whose devices may |
//! | `work` | lists by whose turn it is |
//! | `referral`, `moving` | one referral, and what can be done with it |
//! | `refer` | making a referral, page by page |
//! | `colleagues` | who signs in here |

mod answers;
mod colleagues;
mod guard;
mod language;
mod moving;
mod passkey;
mod refer;
mod referral;
mod roles;
pub mod server;
mod sign_in;
mod visit;
mod work;

use std::sync::Arc;

use kith_service::web::language::Language;
use kith_service::web::words::{Source, Texts, WordsError};

use crate::node::Node;
use crate::passkeys::Passkeys;

/// The texts of these pages.
pub const WORDS: [Source; 5] = [
    (Language::En, include_str!("../words/en.ftl")),
    (Language::Ar, include_str!("../words/ar.ftl")),
    (Language::FaAf, include_str!("../words/fa-AF.ftl")),
    (Language::Uk, include_str!("../words/uk.ftl")),
    (Language::Ti, include_str!("../words/ti.ftl")),
];

/// Where a workspace is.
#[derive(Clone, Debug)]
pub struct At {
    /// The zone that people are told times in.
    pub zone: jiff::tz::TimeZone,
    /// The address that browsers know it by; passkeys belong to it.
    pub origin: Option<url::Url>,
}

/// What every page has.
struct Workspace {
    node: Arc<Node>,
    texts: Texts,
    /// None where the workspace's address cannot have any.
    passkeys: Option<Passkeys>,
    /// The names of the two cookies: of the session, and of the language. Nodes on one computer share a browser's cookies.
    session_cookie: String,
    language_cookie: String,
}

impl Workspace {
    fn new(node: Arc<Node>, at: &At) -> Result<Self, WordsError> {
        let organisation = node.organisation();
        let passkeys = at.origin.as_ref().map(Passkeys::at);
        if let Some(Err(error)) = &passkeys {
            tracing::warn!(%error, "there are no passkeys in this workspace");
        }
        Ok(Self {
            passkeys: passkeys.and_then(Result::ok),
            session_cookie: format!("__Host-kith-{organisation}"),
            language_cookie: format!("__Host-kith-{organisation}-language"),
            texts: Texts::load(&WORDS, at.zone.clone())?,
            node,
        })
    }
}

#[cfg(test)]
mod tests;
