//! Referrals that somebody is making, page by page: what they answered so far, so that a page back or a dead battery loses nothing.
//! Called by the web edge. What was answered is sealed under the person's own record, and is gone with it.
//! Never shows a draft to anybody but who makes it; never sends anything: sending is `grants` and `referrals`, with the ids that are kept here.

use kith_proto::id::{PersonId, RequestId};
use kith_proto::problem::Problem;
use kith_service::rng::RandomFailed;
use kith_service::store::{StoreError, Tx};
use serde::{Deserialize, Serialize};

use crate::audit::{self, Code};
use crate::content::{ContentError, Place, Section};
use crate::node::Node;
use crate::persons::{self, PersonError};
use crate::store::draft::{self as rows, DraftRow};
use crate::tokens::Caller;

/// How long a draft is kept that nobody goes on with, in ms (design, section 6).
pub const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Most drafts of one colleague that are listed.
const LISTED_MAX: i64 = 20;

/// What was answered so far. Words are as the form had them: empty for what was not asked yet.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answers {
    /// What would help, in the person's own words.
    pub need: String,
    /// What for: a purpose's word.
    pub purpose: String,
    /// The organisation.
    pub recipient: String,
    /// Who gave consent, how, and who interpreted: the words of those lists.
    pub given_by: String,
    /// In person, by telephone and so on.
    pub given_how: String,
    /// The tag of the language that they heard the text in.
    pub language: String,
    /// Who interpreted.
    pub interpreter: String,
    /// The language of the text that was on the page and read out.
    pub text_language: String,
    /// What they understood, in their own words.
    pub understood: String,
    /// The parts that may be shared: the words of categories.
    pub categories: Vec<String>,
    /// For how many days.
    pub days: u32,
    /// Until when that is, ms UTC, counted from the day on which they agreed.
    pub until_ms: i64,
    /// Whether words about how it goes may flow back.
    pub progress: bool,
    /// Whether the questions about consent were answered.
    pub is_agreed: bool,
    /// The ids of the two requests that send it, in hexadecimal: each is done once, however often it is asked for.
    pub grant_request: String,
    /// That of the referral.
    pub send_request: String,
    /// The code that it was sent under; empty before.
    pub code: String,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answers(..)")
    }
}

/// A draft.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its id.
    pub draft_id: RequestId,
    /// Whom it is about.
    pub person_id: PersonId,
    /// What was answered so far.
    pub answers: Answers,
}

/// Why a draft was not begun, opened or saved, by what can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// No such draft, or not this colleague's.
    #[error("no such draft")]
    NotFound,
    /// What persons answer.
    #[error(transparent)]
    Person(#[from] PersonError),
    /// The content's keys failed, or the record was erased.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl DraftError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::NotFound,
            Self::Person(error) => error.problem(),
            Self::Content(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }
}

const CORRUPT: StoreError = StoreError::Corrupt {
    table: "draft",
    column: "sealed",
};

const fn place(draft_id: &RequestId) -> Place {
    Place {
        table: "draft",
        row: *draft_id.as_bytes(),
        column: "sealed",
    }
}

async fn seal(node: &Node, caller: &Caller, draft: &Draft) -> Result<Vec<u8>, DraftError> {
    let person = persons::find(node, caller, &draft.person_id).await?;
    let keys = persons::holding_keys(node, person.holding_id).await?;
    // cannot fail: texts, numbers and lists of texts.
    let written = serde_json::to_vec(&draft.answers).map_err(|_| CORRUPT)?;
    Ok(keys.seal(&node.rng, Section::Record, &place(&draft.draft_id), &written)?)
}

/// Begins a draft about a person; the same request begins the same one.
pub async fn begin(
    node: &Node,
    caller: &Caller,
    draft_id: RequestId,
    person_id: PersonId,
) -> Result<(), DraftError> {
    let mut draft = Draft {
        draft_id,
        person_id,
        answers: Answers::default(),
    };
    renew_requests(node, &mut draft.answers)?;
    let row = DraftRow {
        draft_id,
        colleague_id: caller.token_id,
        person_id,
        sealed: seal(node, caller, &draft).await?,
        changed_at_ms: node.now_ms(),
    };
    let row = &row;
    let write = |mut tx: Tx| async move { rows::begin(&mut tx, row).await };
    Ok(node.store.tx::<_, StoreError, _, _>("begin draft", write).await?)
}

/// Gives the two requests that send it new ids: what is sent now is another thing than before.
fn renew_requests(node: &Node, answers: &mut Answers) -> Result<(), DraftError> {
    let new = || Ok::<_, RandomFailed>(data_encoding::HEXLOWER.encode(&node.rng.bytes::<16>()?));
    answers.grant_request = new()?;
    answers.send_request = new()?;
    Ok(())
}

/// Opens a draft of this colleague.
pub async fn open(node: &Node, caller: &Caller, draft_id: &RequestId) -> Result<Draft, DraftError> {
    let read = |mut tx| async move { rows::find(&mut tx, draft_id, &caller.token_id).await };
    let found = node.store.read::<_, StoreError, _, _>("open draft", read).await?;
    let row = found.ok_or(DraftError::NotFound)?;
    let person = persons::find(node, caller, &row.person_id).await?;
    let keys = persons::holding_keys(node, person.holding_id).await?;
    let written = keys.open(Section::Record, &place(draft_id), &row.sealed)?;
    Ok(Draft {
        draft_id: *draft_id,
        person_id: row.person_id,
        answers: serde_json::from_slice(&written).map_err(|_| CORRUPT)?,
    })
}

/// Writes down what was answered. Answers that changed make another referral, so its requests get new ids.
pub async fn save(node: &Node, caller: &Caller, before: &Draft, answers: Answers) -> Result<(), DraftError> {
    if answers == before.answers {
        return Ok(());
    }
    let mut draft = Draft {
        answers,
        ..before.clone()
    };
    renew_requests(node, &mut draft.answers)?;
    write(node, caller, &draft).await
}

/// Notes the code under which a draft was sent.
pub async fn sent(node: &Node, caller: &Caller, draft: &Draft, code: String) -> Result<(), DraftError> {
    let mut draft = draft.clone();
    draft.answers.code = code;
    write(node, caller, &draft).await
}

async fn write(node: &Node, caller: &Caller, draft: &Draft) -> Result<(), DraftError> {
    let sealed = &seal(node, caller, draft).await?;
    let now_ms = node.now_ms();
    let write = |mut tx: Tx| async move {
        let of = (&draft.draft_id, &caller.token_id);
        rows::save(&mut tx, of, sealed.clone(), now_ms).await
    };
    let is_there = node.store.tx::<_, StoreError, _, _>("save draft", write).await?;
    if is_there {
        Ok(())
    } else {
        Err(DraftError::NotFound)
    }
}

/// Ends a draft.
pub async fn end(node: &Node, caller: &Caller, draft_id: &RequestId) -> Result<(), DraftError> {
    let write = |mut tx: Tx| async move { rows::end(&mut tx, draft_id, &caller.token_id).await };
    Ok(node.store.tx::<_, StoreError, _, _>("end draft", write).await?)
}

/// Notes that the person was asked and said no, and ends the draft: nothing is sent, and that is an outcome.
pub async fn refused(node: &Node, caller: &Caller, draft: &Draft) -> Result<(), DraftError> {
    let event = audit::by(caller, Code::ConsentRefused, node.now_ms());
    let event = event.id("person", draft.person_id.as_bytes());
    let event = match draft.answers.recipient.parse() {
        Ok(org) => event.org("to", &org),
        Err(_) => event,
    };
    audit::note(&node.store, &node.rng, event).await?;
    end(node, caller, &draft.draft_id).await
}

/// The newest drafts of a colleague, each with when it was changed last.
pub async fn list(node: &Node, caller: &Caller) -> Result<Vec<(RequestId, i64)>, DraftError> {
    let read = |mut tx| async move { rows::of(&mut tx, &caller.token_id, LISTED_MAX).await };
    Ok(node
        .store
        .read::<_, StoreError, _, _>("list drafts", read)
        .await?)
}
