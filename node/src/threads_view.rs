//! Reading threads: lists, the watch, and the opening of one with its content.
//! Called by the gRPC edge and the command line's calls behind it; what a role may call at all is decided there.
//! Never returns content or a list before the trail says who saw it; never tells a thread of somebody else's from none at all.

mod opened;
pub mod work;

use kith_proto::human_code::HumanCode;
use kith_proto::id::{ThreadId, TokenId};
use kith_proto::lifecycle::{Reason, State};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::rng::RandomFailed;
use kith_service::store::{StoreError, Tx};

use crate::audit;
use crate::content::ContentError;
use crate::node::Node;
use crate::store;
use crate::store::threads_view::{Line, Wanted};
use crate::threads::Side;
use crate::tokens::Caller;

pub use opened::{Opening, open};

/// Most lines of a page; the edge offers fewer.
pub const LINES_MAX: u32 = 200;
/// Changes that one step of a watch gives at most.
pub const CHANGES_MAX: i64 = 256;

/// Whose threads a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visible {
    /// Every thread of the organisation: coordinators, and auditors without content.
    All,
    /// Those that this token sent: referrers.
    Own(TokenId),
}

impl Visible {
    fn owner(self) -> Option<TokenId> {
        match self {
            Self::All => None,
            Self::Own(token) => Some(token),
        }
    }

    /// Whether a thread of this owner is seen.
    pub fn sees(self, owner: Option<TokenId>) -> bool {
        match self {
            Self::All => true,
            Self::Own(token) => owner == Some(token),
        }
    }
}

/// Why a list or thread was not shown, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// No such thread, or not the caller's.
    #[error("no such thread for this caller")]
    NotFound,
    /// Two threads have this code: ask by thread id.
    #[error("the code belongs to two threads")]
    Ambiguous,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content cannot be opened with the keys of this folder.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// No randomness for the trail: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl ViewError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::NotFound,
            Self::Ambiguous => Problem::Invalid,
            Self::Store(error) => error.problem(),
            Self::Content(error) => error.problem(),
            Self::Random(error) => error.problem(),
        }
    }
}

/// What a list is asked for.
#[derive(Clone, Debug)]
pub struct ListAsked {
    /// Who asks.
    pub caller: Caller,
    /// Sent by this node, or its inbox.
    pub side: Side,
    /// Only these states; empty for every one.
    pub states: Vec<State>,
    /// Lines of a page, from 1 to [`LINES_MAX`].
    pub page_size: u32,
    /// What the page before gave as `next`; none for the first page.
    pub before: Option<i64>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Newest first.
    pub lines: Vec<v1::ReferralLine>,
    /// Where the next page goes on: the arrival of the last line; none on the last page.
    pub next: Option<i64>,
}

/// Lists threads, newest first; pages stay as they were while new threads come in. The list is in the trail with its count.
pub async fn list(node: &Node, visible: Visible, asked: &ListAsked) -> Result<Page, ViewError> {
    let size = i64::from(asked.page_size.clamp(1, LINES_MAX));
    let read = |mut tx: Tx| async move {
        let wanted = Wanted {
            side: asked.side,
            states: &asked.states,
            owner: visible.owner(),
            before: asked.before.unwrap_or(i64::MAX),
            limit: size + 1,
        };
        store::threads_view::page(&mut tx, &wanted).await
    };
    let mut lines = node
        .store
        .read::<_, StoreError, _, _>("list threads", read)
        .await?;
    // One more than asked says whether there is a next page.
    let more = lines.len() as i64 > size;
    lines.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    let event = audit::listed(&asked.caller, "referral", lines.len(), node.now_ms());
    audit::note(&node.store, &node.rng, event).await?;
    Ok(Page {
        next: lines.last().filter(|_| more).map(|line| line.arrival),
        lines: lines.iter().map(wire_line).collect(),
    })
}

/// Notes in the trail that a watch begins, which shows the same lines as a list, for as long as it lasts: without a count.
pub async fn note_watch(node: &Node, caller: &Caller) -> Result<(), ViewError> {
    let event = audit::listed(caller, "watch", 0, node.now_ms());
    Ok(audit::note(&node.store, &node.rng, event).await?)
}

/// The next changes after a place in the order of changes, at most [`CHANGES_MAX`], each with its own place: what a watch
/// sends before it waits for [`Node::changes`](crate::node::Node::changes) to pass the last place it has.
pub async fn changes(
    node: &Node,
    visible: Visible,
    after: i64,
) -> Result<Vec<(i64, v1::ReferralLine)>, ViewError> {
    let read = |mut tx: Tx| async move {
        store::threads_view::changed_after(&mut tx, after, visible.owner(), CHANGES_MAX).await
    };
    let lines = node
        .store
        .look::<_, StoreError, _, _>("watch threads", read)
        .await?;
    Ok(lines.iter().map(|line| (line.changed, wire_line(line))).collect())
}

/// Which thread is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its id.
    Thread(ThreadId),
    /// By the code that people read out.
    Code(HumanCode),
}

/// Finds one thread that the caller sees, without content: for a call that was given a code.
pub async fn find(node: &Node, visible: Visible, which: Which) -> Result<v1::ReferralLine, ViewError> {
    let read = |mut tx: Tx| async move { found(&mut tx, visible, which).await };
    let line = node.store.read("find thread", read).await?;
    Ok(wire_line(&line))
}

async fn found(tx: &mut Tx, visible: Visible, which: Which) -> Result<Line, ViewError> {
    let lines = match which {
        Which::Thread(id) => store::threads_view::by_id(tx, &id).await?.into_iter().collect(),
        Which::Code(code) => store::threads_view::by_code(tx, code.thread_prefix()).await?,
    };
    let mut seen = lines.into_iter().filter(|line| visible.sees(line.owner_token));
    match (seen.next(), seen.next()) {
        (Some(line), None) => Ok(line),
        (Some(_), Some(_)) => Err(ViewError::Ambiguous),
        (None, _) => Err(ViewError::NotFound),
    }
}

/// A line as the API shows it.
fn wire_line(line: &Line) -> v1::ReferralLine {
    v1::ReferralLine {
        thread_id: line.thread_id.as_bytes().to_vec(),
        code: HumanCode::of(&line.thread_id).to_string(),
        side: match line.side {
            Side::Sent => v1::Side::Sent.into(),
            Side::Inbox => v1::Side::Inbox.into(),
        },
        organisation: line.peer.to_string(),
        purpose: line.purpose.number(),
        state: line.situation.state.number(),
        delivery: line.delivery.number(),
        consent: line.situation.consent.number(),
        created_at_ms: line.created_at_ms,
        updated_at_ms: line.updated_at_ms,
        deadline_ms: line.deadline_ms,
        number: line.arrival.unsigned_abs(),
        problem: line.problem.map_or(0, Problem::number),
        awaits_word: line.is_waiting(),
    }
}

/// An event as the API shows it; a proposal that was not applied has neither number nor state.
pub(crate) fn wire_event(event: &store::threads_view::ShownEvent, words: String) -> v1::Event {
    v1::Event {
        event_id: event.event_id.as_bytes().to_vec(),
        epoch: event.epoch.unsigned_abs(),
        number: event.number.unsigned_abs(),
        r#move: event.mv.number(),
        state: event.state.map_or(0, State::number),
        reason: event.reason.map_or(0, Reason::number),
        happened_at_ms: event.happened_at_ms,
        deadline_ms: event.deadline_ms,
        words,
        returned: None,
    }
}
