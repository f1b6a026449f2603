//! Records of people: made, changed, opened, listed. Called by the gRPC edge.
//! Never shows a record that is not the caller's to see (the answer is the same as for one that does not exist), never
//! returns content before its opening is in the trail.

mod names;
mod opening;

use kith_proto::id::{HoldingId, PersonId, RequestId};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::rng::RandomFailed;
use kith_service::status::Failure;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

use crate::audit::{self, Code};
use crate::content::{ContentError, HoldingKeys, PREPARED_MAX, Section};
use crate::node::Node;
use crate::parts::Parts;
use crate::requests::{self, Asked, RepeatError};
use crate::store;
use crate::store::content::{Content as Row, ContentKind, NewContent};
use crate::store::counter::Counter;
use crate::store::holding::HoldingKind;
use crate::store::person::Person;
use crate::tokens::Caller;

pub use names::{After, Line, Names, load_names};
pub use opening::{OPENING_REPEAT_MS, note_opening, opening};

/// A person to record.
#[derive(Clone, Debug)]
pub struct NewPerson {
    /// The caller's id of this write.
    pub request_id: RequestId,
    /// What they said; a preferred name is needed and enough.
    pub parts: Parts,
}

/// A change of a record: `parts` is the whole record from now on.
#[derive(Clone, Debug)]
pub struct ChangedPerson {
    /// The caller's id of this write.
    pub request_id: RequestId,
    /// Whose.
    pub person_id: PersonId,
    /// The version that the caller saw.
    pub version: i64,
    /// The whole record.
    pub parts: Parts,
}

/// Why a record was not made, changed or shown, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonError {
    /// No such person, or not this caller's.
    #[error("no such person")]
    NotFound,
    /// The identity part holds no preferred name: ask for one, any will do.
    #[error("a preferred name is missing")]
    NameMissing,
    /// Somebody changed the record since: read it again.
    #[error("the record was changed meanwhile")]
    Changed,
    /// The request id came before with another request.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content's keys failed, or the record was erased.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl PersonError {
    pub(crate) const fn is_overtaken(&self) -> bool {
        matches!(self, Self::Content(ContentError::Overtaken))
    }

    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::NotFound,
            Self::NameMissing => Problem::Invalid,
            Self::Changed => Problem::Conflict,
            Self::Repeat(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Content(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }

    /// What the edge answers.
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.problem());
        match self {
            Self::NameMissing => failure.with_field("parts", "A preferred name is needed; any name will do."),
            Self::Changed => {
                failure.with_field("version", "Somebody changed this record; look at it again first.")
            }
            _ => failure,
        }
    }
}

/// Records a person, owned by the caller.
pub async fn create(
    node: &Node,
    caller: &Caller,
    new: &NewPerson,
) -> Result<v1::CreatePersonResponse, PersonError> {
    let mut again = 1..PREPARED_MAX;
    loop {
        match create_once(node, caller, new).await {
            Err(error) if error.is_overtaken() && again.next().is_some() => {}
            done => return done,
        }
    }
}

async fn create_once(
    node: &Node,
    caller: &Caller,
    new: &NewPerson,
) -> Result<v1::CreatePersonResponse, PersonError> {
    let names = names::of(&new.parts).ok_or(PersonError::NameMissing)?;
    let request = v1::CreatePersonRequest {
        request_id: Vec::new(),
        parts: new.parts.as_slice().to_vec(),
    };
    let asked = Asked::new("create_person", new.request_id, &request);
    let (holding, keys) = node.content.new_holding(HoldingKind::Own, None, Section::all())?;
    let now_ms = node.now_ms();
    let person = Person {
        person_id: PersonId::from_bytes(node.rng.bytes()?),
        holding_id: holding.holding_id,
        owner_token: caller.token_id,
        version: 1,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    };
    let rows = sealed(node, &keys, &person.person_id, &new.parts, now_ms)?;
    let event = audit::by(caller, Code::PersonRecorded, now_ms);
    let event = event.id("person", person.person_id.as_bytes());
    let answer = v1::CreatePersonResponse {
        person_id: person.person_id.as_bytes().to_vec(),
        version: 1,
    };
    let (asked, holding, person, rows) = (&asked, &holding, &person, &rows);
    let (event, answer) = (&event, &answer);
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if let Some(first) = requests::first_answer(&mut tx, asked).await? {
            return Ok((false, first));
        }
        let newest = node.content.newest_under(&counter)?;
        if !store::holding::insert(&mut tx, newest, std::slice::from_ref(holding)).await? {
            return Err(ContentError::Overtaken.into());
        }
        store::person::insert(&mut tx, person).await?;
        store::content::insert(&mut tx, rows).await?;
        requests::keep(&mut tx, asked, answer, now_ms).await?;
        audit::insert(&mut tx, &mut counter, &node.rng, std::slice::from_ref(event)).await?;
        counter.save(&mut tx).await?;
        Ok((true, answer.clone()))
    };
    let (is_new, answer) = node
        .store
        .tx::<_, PersonError, _, _>("create person", write)
        .await?;
    if is_new {
        node.names.put(person.person_id, caller.token_id, names);
    }
    Ok(answer)
}

/// Replaces a record, if it still has the version that the caller saw.
pub async fn update(
    node: &Node,
    caller: &Caller,
    change: &ChangedPerson,
) -> Result<v1::UpdatePersonResponse, PersonError> {
    let names = names::of(&change.parts).ok_or(PersonError::NameMissing)?;
    let request = v1::UpdatePersonRequest {
        request_id: Vec::new(),
        person_id: change.person_id.as_bytes().to_vec(),
        version: change.version.unsigned_abs(),
        parts: change.parts.as_slice().to_vec(),
    };
    let asked = Asked::new("update_person", change.request_id, &request);
    let person = find(node, caller, &change.person_id).await?;
    let keys = holding_keys(node, person.holding_id).await?;
    let now_ms = node.now_ms();
    let rows = sealed(node, &keys, &person.person_id, &change.parts, now_ms)?;
    let event = audit::by(caller, Code::PersonChanged, now_ms);
    let event = event.id("person", person.person_id.as_bytes());
    let answer = v1::UpdatePersonResponse {
        version: change.version.saturating_add(1).unsigned_abs(),
    };
    let (asked, rows, event, answer) = (&asked, &rows, &event, &answer);
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if let Some(first) = requests::first_answer(&mut tx, asked).await? {
            return Ok((false, first));
        }
        if !store::person::raise(&mut tx, &change.person_id, change.version, now_ms).await? {
            return Err(PersonError::Changed);
        }
        let owner = *change.person_id.as_bytes();
        let old = store::content::of_owners(&mut tx, &[owner]).await?;
        let old: Vec<[u8; 16]> = old.iter().map(|row| row.content_id).collect();
        store::content::delete(&mut tx, owner, &old).await?;
        store::content::insert(&mut tx, rows).await?;
        requests::keep(&mut tx, asked, answer, now_ms).await?;
        audit::insert(&mut tx, &mut counter, &node.rng, std::slice::from_ref(event)).await?;
        counter.save(&mut tx).await?;
        Ok((true, *answer))
    };
    let (is_new, answer) = node
        .store
        .tx::<_, PersonError, _, _>("update person", write)
        .await?;
    if is_new {
        node.names.put(person.person_id, person.owner_token, names);
    }
    Ok(answer)
}

/// Opens a record: its opening is in the trail before anything is returned.
pub async fn get(node: &Node, caller: &Caller, person_id: &PersonId) -> Result<v1::Person, PersonError> {
    let now_ms = node.now_ms();
    let open = |mut tx: Tx| async move {
        let tx = &mut tx;
        let mut counter = Counter::lock(tx).await?;
        let person = visible(tx, caller, person_id).await?;
        let event = opening(caller, "person", person_id.as_bytes(), now_ms);
        note_opening(tx, &mut counter, node, (caller, person_id.as_bytes()), event).await?;
        let holding = store::holding::get(tx, person.holding_id).await?;
        let rows = store::content::of_owners(tx, &[*person_id.as_bytes()]).await?;
        counter.save(tx).await?;
        Ok::<_, PersonError>((person, holding, rows))
    };
    let (person, holding, rows) = node.store.tx("open person", open).await?;
    let keys = node.content.unwrap(&holding.ok_or(ContentError::Erased)?)?;
    let mut parts = Vec::with_capacity(rows.len());
    for row in rows.iter().filter(|row| row.kind == ContentKind::PersonPart) {
        parts.push(opened(row, &keys)?);
    }
    parts.sort_by_key(|part| part.category);
    Ok(v1::Person {
        person_id: person.person_id.as_bytes().to_vec(),
        parts,
        created_at_ms: person.created_at_ms,
        updated_at_ms: person.updated_at_ms,
        version: person.version.unsigned_abs(),
    })
}

/// Lists names that begin with `name`, by name, after a place, at most so many; says whether there are more. The list is in the trail
/// with the count of what is shown.
pub async fn list(
    node: &Node,
    caller: &Caller,
    name: &str,
    page: (Option<&After>, usize),
) -> Result<(Vec<Line>, bool), PersonError> {
    let owner = if caller.sees_all() {
        None
    } else {
        Some(caller.token_id)
    };
    let (after, size) = page;
    // One more than is shown says whether the list goes on.
    let mut lines = node.names.find(name, owner, (after, size.saturating_add(1)));
    let more = lines.len() > size;
    lines.truncate(size);
    let event = audit::listed(caller, "person", lines.len(), node.now_ms());
    audit::note(&node.store, &node.rng, event).await?;
    Ok((lines, more))
}

/// The person, if this caller may see them.
pub(crate) async fn visible(
    tx: &mut Tx,
    caller: &Caller,
    person_id: &PersonId,
) -> Result<Person, PersonError> {
    let found = store::person::get(tx, person_id).await?;
    found
        .filter(|person| caller.sees(&person.owner_token))
        .ok_or(PersonError::NotFound)
}

/// The same, in a transaction of its own.
pub(crate) async fn find(node: &Node, caller: &Caller, person_id: &PersonId) -> Result<Person, PersonError> {
    node.store
        .read("find person", |mut tx| async move {
            visible(&mut tx, caller, person_id).await
        })
        .await
}

/// The keys of a holding, read now.
pub(crate) async fn holding_keys(node: &Node, holding_id: HoldingId) -> Result<HoldingKeys, PersonError> {
    let read = |mut tx: Tx| async move { store::holding::get(&mut tx, holding_id).await };
    let holding = node
        .store
        .read("holding", read)
        .await?
        .ok_or(ContentError::Erased)?;
    Ok(node.content.unwrap(&holding)?)
}

/// Opens one stored part.
pub(crate) fn opened(row: &Row, keys: &HoldingKeys) -> Result<v1::Part, PersonError> {
    let corrupt = StoreError::Corrupt {
        table: "content",
        column: "sealed",
    };
    v1::Part::decode(row.open(keys)?.as_slice()).map_err(|_| corrupt.into())
}

/// The rows of a record's parts.
fn sealed(
    node: &Node,
    keys: &HoldingKeys,
    person_id: &PersonId,
    parts: &Parts,
    at_ms: i64,
) -> Result<Vec<Row>, PersonError> {
    let mut rows = Vec::new();
    for (category, part) in parts.iter() {
        let new = NewContent {
            owner_id: *person_id.as_bytes(),
            content_id: node.rng.bytes()?,
            section: Section::Category(category),
            kind: ContentKind::PersonPart,
            at_ms,
        };
        rows.push(new.seal(keys, &node.rng, &part.encode_to_vec())?);
    }
    Ok(rows)
}
