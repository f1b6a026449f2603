//! Which role may ask for which page: one table, as the gRPC edge has one for its calls.
//! The guard looks up each request here before any page is made; a test holds the table against every route that exists.
//! It must never be consulted by name of a person or content: a role opens a page, the use-case decides about the row.

use crate::tokens::Role;
use Role::{Admin, Auditor, Coordinator, Referrer};

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody, signed in or not.
    Anybody,
    /// Whoever is signed in and has one of these roles.
    With(&'static [Role]),
}

const ALL: Who = Who::With(&[Referrer, Coordinator, Auditor, Admin]);
const CARE: Who = Who::With(&[Referrer, Coordinator]);
const LISTS: Who = Who::With(&[Referrer, Coordinator, Auditor]);
const SETTINGS: Who = Who::With(&[Admin]);

/// Each route by method and path, and who may ask for it.
pub(super) const TABLE: &[(&str, &str, Who)] = &[
    ("GET", "/", ALL),
    ("GET", "/sign-in", Who::Anybody),
    ("GET", "/sign-in/{link}", Who::Anybody),
    ("POST", "/sign-in/{link}", Who::Anybody),
    ("POST", "/language", Who::Anybody),
    ("GET", "/passkeys", ALL),
    ("POST", "/passkeys/make", ALL),
    ("POST", "/passkeys/made", ALL),
    ("POST", "/passkeys/enter", Who::Anybody),
    ("POST", "/passkeys/entered", Who::Anybody),
    ("POST", "/passkeys/end", ALL),
    ("POST", "/sign-out", ALL),
    ("GET", "/referrals", LISTS),
    ("GET", "/referrals/{code}", CARE),
    ("POST", "/referrals/{code}/messages", CARE),
    ("GET", "/referrals/{code}/{move}", CARE),
    ("POST", "/referrals/{code}/{move}", CARE),
    ("GET", "/refer", CARE),
    ("POST", "/refer", CARE),
    ("POST", "/refer/find", CARE),
    ("GET", "/refer/{draft}/need", CARE),
    ("POST", "/refer/{draft}/need", CARE),
    ("GET", "/refer/{draft}/service", CARE),
    ("POST", "/refer/{draft}/service", CARE),
    ("GET", "/refer/{draft}/aloud", CARE),
    ("POST", "/refer/{draft}/refused", CARE),
    ("GET", "/refer/{draft}/consent", CARE),
    ("POST", "/refer/{draft}/consent", CARE),
    ("GET", "/refer/{draft}/check", CARE),
    ("POST", "/refer/{draft}/send", CARE),
    ("GET", "/refer/{draft}/sent", CARE),
    ("GET", "/colleagues", SETTINGS),
    ("POST", "/colleagues", SETTINGS),
    ("POST", "/colleagues/{id}/link", SETTINGS),
    ("POST", "/colleagues/{id}/end", SETTINGS),
];

/// Who may ask for this route; none where there is none.
pub(super) fn who(method: &str, path: &str) -> Option<Who> {
    let found = TABLE.iter().find(|(of, at, _)| *of == method && *at == path);
    found.map(|(_, _, who)| *who)
}
