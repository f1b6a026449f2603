//! The trail as people read it: lines with their proofs, counts, gaps, exports, and where the log stands.
//! Called by the gRPC edge for auditors and admins, and by the command line.
//! Never answers before the reading itself is an event of the trail, never shows content or a name of a person.
//!
//! | module | what it does |
//! |---|---|
//! | `question` | a filter, and what of an event it looks at |
//! | `walk` | events that may match, newest first, by the index and the few behind it |
//! | `proofs` | `.tlog-proof` of an event |
//! | `count` | how many, by code and purpose |
//! | `gaps` | what does not fit |
//! | `export` | a part as one file |
//! | `network` | what an export says of the network: keys, and that they are in the gateway's log |
//! | `standing` | where the log stands |
//! | `whole` | whether this node's own database still says what its log says |

mod count;
mod export;
mod gaps;
mod network;
mod question;
mod standing;
mod walk;
mod whole;

use kith_proto::id::OrgId;
use kith_proto::log::note::NoteError;
use kith_proto::problem::Problem;
use kith_proto::trail::event::Told;
use kith_proto::trail::export::ExportError;
use kith_proto::trail::sentence::{Reader, sentence};
use kith_proto::v1;
use kith_service::log::LogError;
use kith_service::log::append::Stored;
use kith_service::log::proofs::{Basis, Proofs};
use kith_service::store::{StoreError, Tx};

use crate::audit::{self, Code};
use crate::node::Node;
use crate::requests::RepeatError;
use crate::tokens::Caller;
pub use count::count;
pub use export::{Export, ExportAsked, Form};
pub use gaps::check;
use question::Question;
pub use question::{About, Filter};
pub use standing::standing;
use walk::Walk;
pub use whole::{Damage, Whole, whole};
#[cfg(test)]
pub(crate) use whole::{Signers, look};

/// Most lines of a page; the edge offers no more.
pub const LINES_MAX: u32 = 200;
/// Events that are read for one page at most, whether they match or not: some 20 ms. A filter by what stands in no key (a purpose
/// that a thread has, a time) may pass over this many without finding one, and then says where to go on.
const READ_MAX: usize = 2048;

/// Why the trail was not shown, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// No referral has this code.
    #[error("no such referral")]
    NotFound,
    /// Two referrals have this code: ask by thread id.
    #[error("the code belongs to two threads")]
    Ambiguous,
    /// Too much to look at in one call: ask about less, or a shorter time.
    #[error("this is more than one call may look at")]
    TooMuch,
    /// The log, or the store below it, failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A proof could not be put together.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The request id came before with another question: choose another id.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
    /// The file is over its limit: export less at a time. Or a line could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The directory has not told this node its own keys yet, so that nobody could verify the file: connect, and try again.
    #[error("this node's own keys are not in its copy of the directory yet")]
    OwnKeys,
}

impl From<StoreError> for TrailError {
    fn from(error: StoreError) -> Self {
        Self::Log(error.into())
    }
}

impl TrailError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::NotFound,
            Self::Ambiguous => Problem::Invalid,
            Self::TooMuch => Problem::TooLarge,
            Self::Log(error) => error.problem(),
            Self::Note(error) => error.problem(),
            Self::Repeat(error) => error.problem(),
            Self::Export(error) => error.problem(),
            Self::OwnKeys => Problem::Unavailable,
        }
    }
}

/// What a page is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who asks.
    pub caller: Caller,
    /// Which lines.
    pub filter: Filter,
    /// Lines of a page, from 1 to [`LINES_MAX`].
    pub page_size: u32,
    /// What the page before gave as `next`; none for the first page.
    pub before: Option<i64>,
}

/// One page of the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Newest first.
    pub lines: Vec<v1::TrailLine>,
    /// Where the next page goes on; none once everything was looked at.
    pub next: Option<i64>,
}

/// Lists lines, newest first, each with its proof; pages stay as they were while new events come in. That it was read is in the
/// trail before anything is returned.
///
/// A proof is under the newest checkpoint that the gateway has cosigned, and empty of an event that is newer. While none was
/// cosigned yet, it is under the newest that this node has signed alone: whoever opens it sees that no witness stands under it.
pub async fn list(node: &Node, asked: &Asked) -> Result<Page, TrailError> {
    let read = |mut tx: Tx| async move { page(&mut tx, asked).await };
    let (proven, next) = node.store.read("list trail", read).await?;
    let lines: Vec<v1::TrailLine> = proven
        .iter()
        .map(|(event, proof, is_left_behind)| {
            let mut line = line(node, event, proof.clone());
            if *is_left_behind {
                line.sentence.push_str(LEFT_BEHIND);
            }
            line
        })
        .collect();
    note_reading(node, &asked.caller, ("lines", &asked.filter), lines.len()).await?;
    Ok(Page { lines, next })
}

/// An event, its proof, and whether nobody can prove it any more.
type Proven = (Stored, String, bool);

async fn page(tx: &mut Tx, asked: &Asked) -> Result<(Vec<Proven>, Option<i64>), TrailError> {
    let size = asked.page_size.clamp(1, LINES_MAX) as usize;
    let question = Question::of(tx, &asked.filter).await?;
    let mut walk = Walk::new(tx, &question, asked.before).await?;
    let mut found: Vec<Stored> = Vec::new();
    while let Some(batch) = walk.next(tx).await? {
        found.extend(question.matching(tx, batch).await?);
        if found.len() >= size || walk.read() >= READ_MAX {
            break;
        }
    }
    let next = if found.len() > size {
        found.truncate(size);
        found.last().map(|event| event.seq)
    } else {
        walk.goes_on()
    };
    let mut proofs = Proofs::load(tx, Basis::CountedOrSigned).await?;
    let mut proven = Vec::with_capacity(found.len());
    for event in found {
        let proof = proofs.receipt(tx, event.seq).await?;
        let is_left_behind = proofs.is_left_behind(event.seq);
        let proof = proof.map(|proof| proof.to_string()).unwrap_or_default();
        proven.push((event, proof, is_left_behind));
    }
    Ok((proven, next))
}

/// One event as the API shows it, in one sentence.
fn line(node: &Node, event: &Stored, proof: String) -> v1::TrailLine {
    let told = Told::read(&event.preimage).ok();
    v1::TrailLine {
        number: event.seq.unsigned_abs(),
        at_ms: told.as_ref().map_or(0, |told| told.at_ms),
        code: event.code.as_str().to_owned(),
        sentence: told.map_or_else(unreadable, |told| told_to(node, &told)),
        proof,
        salt: event.salt.to_vec(),
        preimage: event.preimage.clone(),
    }
}

/// Behind the sentence of an event that was in the backup, of an epoch of the log that ended before anybody vouched for it.
const LEFT_BEHIND: &str = " (written shortly before a restore, and cosigned by nobody: it cannot be proven)";

fn unreadable() -> String {
    "This line cannot be read: the database was damaged or altered.".to_owned()
}

/// An event's sentence with the names of the members as this node has verified them.
fn told_to(node: &Node, told: &Told<'_>) -> String {
    let name_of = |org: &OrgId| match node.members.get(org) {
        Some(listed) => Some(listed.member.name.clone()),
        None => (org == node.organisation()).then(|| node.membership.name.clone()),
    };
    let reader = Reader {
        keeper: &node.log.keeper,
        name_of: &name_of,
    };
    sentence(told, &reader)
}

/// Commits that somebody read the trail: what of it (`lines`, `counts`, `gaps`), by which kind of filter, and how many lines.
async fn note_reading(
    node: &Node,
    caller: &Caller,
    (list, filter): (&'static str, &Filter),
    lines: usize,
) -> Result<(), TrailError> {
    let event = audit::by(caller, Code::TrailRead, node.now_ms())
        .word("list", list)
        .word("about", filter.kind())
        .number("count", i64::try_from(lines).unwrap_or(i64::MAX));
    Ok(audit::note(&node.store, &node.rng, event).await?)
}
