//! The handlers of `PersonService`: records of people at this node.
//! Called by tonic behind the guard.
//! It must never answer with content that the trail does not yet say was opened: the use-case writes that first.

use super::page::{List, token};
use super::parse::{Fields, NAME_BYTES_MAX, OPENING_REASON_BYTES_MAX};
use super::{Edge, refused, reply, split};
use crate::parts::Parts;
use crate::persons::{self, After, ChangedPerson, NewPerson};
use crate::tokens::Caller;
use kith_proto::id::PersonId;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::person_service_server::PersonService;
use kith_service::status::Failure;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl PersonService for Edge {
    async fn create_person(
        &self,
        request: Request<v1::CreatePersonRequest>,
    ) -> Result<Response<v1::CreatePersonResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("CreatePerson", create(self, &caller, asked).await)
    }

    async fn update_person(
        &self,
        request: Request<v1::UpdatePersonRequest>,
    ) -> Result<Response<v1::UpdatePersonResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("UpdatePerson", update(self, &caller, asked).await)
    }

    async fn get_person(
        &self,
        request: Request<v1::GetPersonRequest>,
    ) -> Result<Response<v1::GetPersonResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("GetPerson", open(self, &caller, asked).await)
    }

    async fn list_persons(
        &self,
        request: Request<v1::ListPersonsRequest>,
    ) -> Result<Response<v1::ListPersonsResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("ListPersons", list(self, &caller, asked).await)
    }
}

/// A record holds at least one part; which name is enough is for the person to say.
fn some_parts(fields: &mut Fields, parts: Vec<v1::Part>) -> Option<Parts> {
    if parts.is_empty() {
        fields.refuse(
            Problem::Invalid,
            "parts",
            "A record has something in it; a name to be called by is enough.",
        );
    }
    fields.parts(parts)
}

async fn create(
    edge: &Edge,
    caller: &Caller,
    asked: v1::CreatePersonRequest,
) -> Result<v1::CreatePersonResponse, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", &asked.request_id);
    let parts = some_parts(&mut fields, asked.parts);
    let new = || {
        Some(NewPerson {
            request_id: request_id?,
            parts: parts?,
        })
    };
    let new = fields.finish(new())?;
    persons::create(&edge.node, caller, &new)
        .await
        .map_err(|error| refused(error.failure(), &error))
}

async fn update(
    edge: &Edge,
    caller: &Caller,
    asked: v1::UpdatePersonRequest,
) -> Result<v1::UpdatePersonResponse, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", &asked.request_id);
    let person_id = fields.id("person_id", &asked.person_id);
    let version = i64::try_from(asked.version).ok().filter(|version| *version > 0);
    if version.is_none() {
        fields.refuse(
            Problem::Invalid,
            "version",
            "This is the version that the record had when you opened it.",
        );
    }
    let parts = some_parts(&mut fields, asked.parts);
    let change = || {
        Some(ChangedPerson {
            request_id: request_id?,
            person_id: person_id?,
            version: version?,
            parts: parts?,
        })
    };
    let change = fields.finish(change())?;
    persons::update(&edge.node, caller, &change)
        .await
        .map_err(|error| refused(error.failure(), &error))
}

async fn open(
    edge: &Edge,
    caller: &Caller,
    asked: v1::GetPersonRequest,
) -> Result<v1::GetPersonResponse, Failure> {
    let mut fields = Fields::new();
    let person_id = fields.id::<PersonId>("person_id", &asked.person_id);
    fields.text("opening_reason", asked.opening_reason, OPENING_REASON_BYTES_MAX);
    let person_id = fields.finish(person_id)?;
    let person = persons::get(&edge.node, caller, &person_id)
        .await
        .map_err(|error| refused(error.failure(), &error))?;
    Ok(v1::GetPersonResponse { person: Some(person) })
}

async fn list(
    edge: &Edge,
    caller: &Caller,
    asked: v1::ListPersonsRequest,
) -> Result<v1::ListPersonsResponse, Failure> {
    let names = &edge.node.names;
    let mut fields = Fields::new();
    let name = fields.text("name", asked.name, NAME_BYTES_MAX);
    let size = fields.page_size(asked.page_size);
    // A name would tell who is listed, so that the token is an id; one who is gone since ends the list's pages.
    let place = |key: &[u8]| After::person(names, PersonId::try_from(key).ok()?);
    let after = fields.page_key(("page_token", &asked.page_token), List::Persons, place);
    let wanted = || Some((name?, size? as usize, after?));
    let (name, size, after) = fields.finish(wanted())?;
    let found = persons::list(&edge.node, caller, &name, (after.as_ref(), size)).await;
    let (lines, more) = found.map_err(|error| refused(error.failure(), &error))?;
    let last = lines.last().filter(|_| more);
    Ok(v1::ListPersonsResponse {
        next_page_token: last.map_or(String::new(), |line| {
            token(List::Persons, line.person_id.as_bytes())
        }),
        persons: lines
            .into_iter()
            .map(|line| v1::PersonLine {
                person_id: line.person_id.as_bytes().to_vec(),
                preferred_name: line.preferred_name,
            })
            .collect(),
    })
}
