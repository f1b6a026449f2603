//! Who of the organisation signs in to the workspace: added, ended, signed in by a link, signed out; and whose a session is.
//! Called by the command line and by the web edge. What a colleague does is in the trail under their id, as with a token.
//! Never logs, returns or stores the secret of a link or session after it was made.

use kith_proto::id::TokenId;
use kith_proto::problem::Problem;
use kith_service::clock::Clock;
use kith_service::rng::{RandomFailed, Rng};
use kith_service::store::{Store, StoreError, Tx};
use kith_service::web::protect::Secret;

use crate::audit::{self, Code, Event};
use crate::node::Node;
use crate::store::colleague as rows;
use crate::store::counter::Counter;
use crate::store::passkey;
use crate::tokens::{Caller, LABEL_BYTES_MAX, Roles, TokenError};

pub use crate::store::colleague::Colleague;

/// How long a link signs somebody in, in ms.
pub const LINK_MS: i64 = 30 * 60 * 1000;
/// Longest session, in ms: a working day.
pub const SESSION_MS: i64 = 12 * 60 * 60 * 1000;
/// How long a session lasts in which nothing is done, in ms: as long as a screen may be left alone.
pub const IDLE_MS: i64 = 30 * 60 * 1000;
/// How often it is written down that a session is in use, in ms.
const SEEN_EVERY_MS: i64 = 60 * 1000;

/// Why somebody was not added, ended or signed in, by what can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColleagueError {
    /// The label is empty or longer than [`LABEL_BYTES_MAX`], or there is no role: correct it.
    #[error("a colleague needs a name of at most 100 bytes and at least one role")]
    Invalid,
    /// Nobody has this id, or they have ended.
    #[error("there is no such colleague")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// That a sign-in failed could not be written down.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl ColleagueError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Invalid => Problem::Invalid,
            Self::NotFound => Problem::NotFound,
            Self::Store(error) => error.problem(),
            Self::Token(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }
}

/// What works on the store alone: the command line adds colleagues while no node runs.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The database.
    pub store: &'a Store,
    /// The time.
    pub clock: &'a Clock,
    /// Randomness.
    pub rng: &'a Rng,
}

impl<'a> Desk<'a> {
    /// That of a running node.
    pub const fn of(node: &'a Node) -> Self {
        Self {
            store: &node.store,
            clock: &node.clock,
            rng: &node.rng,
        }
    }
}

fn about(code: Code, at_ms: i64, colleague: &Colleague) -> Event {
    let event = Event::new(code, at_ms).token(&colleague.colleague_id);
    let roles = colleague.roles.iter();
    roles.fold(event, |event, role| event.word("role", role.as_str()))
}

/// Adds a colleague, who cannot sign in before a link was made for them.
pub async fn add(desk: Desk<'_>, label: String, roles: Roles) -> Result<Colleague, ColleagueError> {
    if label.trim().is_empty() || label.len() > LABEL_BYTES_MAX || roles.is_empty() {
        return Err(ColleagueError::Invalid);
    }
    let row = Colleague {
        colleague_id: TokenId::from_bytes(desk.rng.bytes()?),
        label,
        roles,
        language: String::new(),
        created_at_ms: desk.clock.now_ms(),
        ended_at_ms: None,
    };
    let (colleague, event) = (&row, &about(Code::ColleagueAdded, row.created_at_ms, &row));
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        rows::insert(&mut tx, colleague).await?;
        audit::insert(&mut tx, &mut counter, desk.rng, std::slice::from_ref(event)).await?;
        counter.save(&mut tx).await
    };
    desk.store
        .tx::<_, StoreError, _, _>("add colleague", write)
        .await?;
    Ok(row)
}

/// Lists colleagues, oldest first, at most a thousand; also those who ended.
pub async fn list(store: &Store) -> Result<Vec<Colleague>, ColleagueError> {
    let read = |mut tx| async move { rows::list(&mut tx).await };
    Ok(store.read::<_, StoreError, _, _>("list colleagues", read).await?)
}

/// Ends a colleague at once: their sessions and their link with them.
pub async fn end(desk: Desk<'_>, colleague_id: &TokenId) -> Result<(), ColleagueError> {
    let at_ms = desk.clock.now_ms();
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        let found = rows::find(&mut tx, colleague_id).await?;
        let Some(colleague) = found.filter(|colleague| colleague.ended_at_ms.is_none()) else {
            return Err(ColleagueError::NotFound);
        };
        rows::end(&mut tx, colleague_id, at_ms).await?;
        passkey::end_all(&mut tx, colleague_id).await?;
        let event = about(Code::ColleagueEnded, at_ms, &colleague);
        audit::insert(&mut tx, &mut counter, desk.rng, &[event]).await?;
        counter.save(&mut tx).await?;
        Ok(())
    };
    desk.store.tx("end colleague", write).await
}

/// Makes the link that signs a colleague in, once and within [`LINK_MS`]; an earlier one works no more. Gives its secret, which is seen only now.
pub async fn make_link(desk: Desk<'_>, colleague_id: &TokenId) -> Result<Secret, ColleagueError> {
    let at_ms = desk.clock.now_ms();
    let secret = Secret::new(desk.rng.bytes()?);
    let hash = &secret.hash();
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        let found = rows::find(&mut tx, colleague_id).await?;
        let Some(colleague) = found.filter(|colleague| colleague.ended_at_ms.is_none()) else {
            return Err(ColleagueError::NotFound);
        };
        rows::put_link(&mut tx, colleague_id, hash, at_ms.saturating_add(LINK_MS)).await?;
        let event = about(Code::SignInLinkMade, at_ms, &colleague);
        audit::insert(&mut tx, &mut counter, desk.rng, &[event]).await?;
        counter.save(&mut tx).await?;
        Ok(())
    };
    desk.store.tx("make link", write).await?;
    Ok(secret)
}

/// Whether a link signs somebody in now. Uses nothing up: programs that look at links in messages do so before people.
pub async fn is_link(node: &Node, link: &Secret) -> Result<bool, ColleagueError> {
    let (hash, now_ms) = (&link.hash(), node.clock.now_ms());
    let read = |mut tx| async move { rows::by_link(&mut tx, hash, now_ms).await };
    let found = node
        .store
        .read::<_, StoreError, _, _>("look at link", read)
        .await?;
    Ok(found.is_some())
}

/// Uses a link up and begins a session; none where the link works no more. Gives the session's secret.
pub async fn sign_in(node: &Node, link: &Secret) -> Result<Option<Secret>, ColleagueError> {
    let now_ms = node.clock.now_ms();
    let secret = Secret::new(node.rng.bytes()?);
    let (link, session) = (&link.hash(), &secret.hash());
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        let Some(colleague) = rows::by_link(&mut tx, link, now_ms).await? else {
            return Ok(false);
        };
        if !rows::use_link(&mut tx, link, now_ms).await? {
            return Ok(false);
        }
        rows::begin(&mut tx, session, &colleague.colleague_id, now_ms).await?;
        let event = about(Code::SignedIn, now_ms, &colleague).word("by", "link");
        audit::insert(&mut tx, &mut counter, &node.rng, &[event]).await?;
        counter.save(&mut tx).await?;
        Ok::<_, StoreError>(true)
    };
    let is_in = node.store.tx("sign in by link", write).await?;
    if !is_in {
        node.failed_sign_ins.note(node).await?;
    }
    Ok(is_in.then_some(secret))
}

/// Begins a session of a colleague who has proved who they are; `by` says how, for the trail. Gives its secret.
pub(crate) async fn begin(
    node: &Node,
    colleague_id: &TokenId,
    by: &'static str,
) -> Result<Secret, ColleagueError> {
    let now_ms = node.clock.now_ms();
    let secret = Secret::new(node.rng.bytes()?);
    let session = &secret.hash();
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        let found = rows::find(&mut tx, colleague_id).await?;
        let Some(colleague) = found.filter(|colleague| colleague.ended_at_ms.is_none()) else {
            return Err(ColleagueError::NotFound);
        };
        rows::begin(&mut tx, session, colleague_id, now_ms).await?;
        let event = about(Code::SignedIn, now_ms, &colleague).word("by", by);
        audit::insert(&mut tx, &mut counter, &node.rng, &[event]).await?;
        counter.save(&mut tx).await?;
        Ok(())
    };
    node.store.tx("begin session", write).await?;
    Ok(secret)
}

/// Whose a session is.
#[derive(Clone, Debug)]
pub struct Session {
    /// As everything that they ask for is done.
    pub caller: Caller,
    /// What colleagues know them by.
    pub label: String,
    /// The tag of the language that they chose last; empty until they did.
    pub language: String,
}

/// Looks up whose session this is; none where it has ended, or nothing was done in it for [`IDLE_MS`].
pub async fn session(node: &Node, secret: &Secret) -> Result<Option<Session>, ColleagueError> {
    let (hash, now_ms) = (&secret.hash(), node.clock.now_ms());
    let since_ms = (now_ms.saturating_sub(SESSION_MS), now_ms.saturating_sub(IDLE_MS));
    let read = |mut tx| async move { rows::by_session(&mut tx, hash, since_ms).await };
    let found = node.store.read::<_, StoreError, _, _>("session", read).await?;
    let Some((colleague, seen_at_ms)) = found else {
        return Ok(None);
    };
    if now_ms.saturating_sub(seen_at_ms) >= SEEN_EVERY_MS {
        let write = |mut tx: Tx| async move { rows::seen(&mut tx, hash, now_ms).await };
        node.store
            .tx::<_, StoreError, _, _>("session seen", write)
            .await?;
    }
    Ok(Some(Session {
        caller: Caller {
            token_id: colleague.colleague_id,
            roles: colleague.roles,
        },
        label: colleague.label,
        language: colleague.language,
    }))
}

/// Ends a session.
pub async fn sign_out(node: &Node, secret: &Secret) -> Result<(), ColleagueError> {
    let hash = &secret.hash();
    let write = |mut tx: Tx| async move { rows::leave(&mut tx, hash).await };
    Ok(node.store.tx::<_, StoreError, _, _>("sign out", write).await?)
}

/// Keeps the language that a colleague chose.
pub async fn speak(node: &Node, colleague_id: &TokenId, language: &str) -> Result<(), ColleagueError> {
    let write = |mut tx: Tx| async move { rows::speak(&mut tx, colleague_id, language).await };
    Ok(node.store.tx::<_, StoreError, _, _>("speak", write).await?)
}
