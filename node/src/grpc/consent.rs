//! The handlers of `ConsentService`: the statement, grants, narrowing and withdrawal.
//! Called by tonic behind the guard.
//! It must never complete a capture for the caller: what the conversation did not say is a fault of the request.

use super::page::{List, token};
use super::parse::{Fields, LANGUAGE_BYTES_MAX, SHORT_TEXT_BYTES_MAX};
use super::{Edge, refused, reply, split};
use crate::grants::{self, Allowed, NewGrant, Page, RECIPIENTS_MAX, UNDERSTOOD_BYTES_MAX};
use crate::requests::Asked;
use crate::tokens::Caller;
use crate::withdrawals::{self, NewNarrowing, NewWithdrawal, Scope};
use kith_proto::id::{GrantId, OrgId, PersonId};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::consent_service_server::ConsentService;
use kith_service::status::Failure;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl ConsentService for Edge {
    async fn get_statement(
        &self,
        request: Request<v1::GetStatementRequest>,
    ) -> Result<Response<v1::GetStatementResponse>, Status> {
        let (_, asked) = split(request)?;
        reply("GetStatement", statement(self, &asked).await)
    }

    async fn record_grant(
        &self,
        request: Request<v1::RecordGrantRequest>,
    ) -> Result<Response<v1::RecordGrantResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("RecordGrant", record(self, &caller, asked).await)
    }

    async fn get_grant(
        &self,
        request: Request<v1::GetGrantRequest>,
    ) -> Result<Response<v1::GetGrantResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("GetGrant", get(self, &caller, &asked).await)
    }

    async fn list_grants(
        &self,
        request: Request<v1::ListGrantsRequest>,
    ) -> Result<Response<v1::ListGrantsResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("ListGrants", list(self, &caller, &asked).await)
    }

    async fn narrow_grant(
        &self,
        request: Request<v1::NarrowGrantRequest>,
    ) -> Result<Response<v1::NarrowGrantResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("NarrowGrant", narrow(self, &caller, asked).await)
    }

    async fn withdraw_grant(
        &self,
        request: Request<v1::WithdrawGrantRequest>,
    ) -> Result<Response<v1::WithdrawGrantResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("WithdrawGrant", withdraw(self, &caller, asked).await)
    }
}

async fn statement(
    edge: &Edge,
    asked: &v1::GetStatementRequest,
) -> Result<v1::GetStatementResponse, Failure> {
    let short =
        asked.statement_id.len() <= SHORT_TEXT_BYTES_MAX && asked.language.len() <= LANGUAGE_BYTES_MAX;
    if !short {
        return Err(Problem::NotFound.into());
    }
    let node = &edge.node;
    let (id, language) = (&asked.statement_id, &asked.language);
    let found = grants::reviewed_statement(&node.store, &node.membership.network, id, language).await;
    let found = found.map_err(|error| refused(error.problem().into(), &error))?;
    let statement = found.ok_or(Problem::NotFound)?;
    Ok(v1::GetStatementResponse {
        statement: Some(statement),
    })
}

async fn record(
    edge: &Edge,
    caller: &Caller,
    asked: v1::RecordGrantRequest,
) -> Result<v1::RecordGrantResponse, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", &asked.request_id);
    let person_id = fields.id("person_id", &asked.person_id);
    let capture = capture(&mut fields, asked.capture);
    let allowed = allowed(&mut fields, &asked.allowed);
    let lawful_basis = wire_word(&mut fields, "lawful_basis", asked.lawful_basis);
    let expires_at_ms = fields.time_ms("expires_at_ms", asked.expires_at_ms);
    let new = || {
        Some(NewGrant {
            request_id: request_id?,
            person_id: person_id?,
            capture: capture?,
            allowed: allowed?,
            lawful_basis: lawful_basis?,
            expires_at_ms: expires_at_ms?,
        })
    };
    let new = fields.finish(new())?;
    grants::record(&edge.node, caller, &new)
        .await
        .map_err(|error| refused(error.failure(), &error))
}

/// A word of a list that is the wire's own; 0 is missing.
fn wire_word<T: TryFrom<i32>>(fields: &mut Fields, field: &str, number: i32) -> Option<T> {
    if number == 0 {
        fields.refuse(Problem::Invalid, field, "This is missing.");
        return None;
    }
    fields.word(field, number)
}

fn capture(fields: &mut Fields, capture: Option<v1::Capture>) -> Option<v1::Capture> {
    let Some(asked) = capture else {
        fields.refuse(Problem::Invalid, "capture", "Record how the person agreed.");
        return None;
    };
    let given_by = wire_word::<v1::GivenBy>(fields, "capture.given_by", asked.given_by);
    let given_how = wire_word::<v1::GivenHow>(fields, "capture.given_how", asked.given_how);
    let language = fields.language("capture.language", asked.language);
    let interpreter = wire_word::<v1::Interpreter>(fields, "capture.interpreter", asked.interpreter);
    let understood = fields.text_needed("capture.understood", asked.understood, UNDERSTOOD_BYTES_MAX);
    let statement_id = fields.text_needed("capture.statement_id", asked.statement_id, SHORT_TEXT_BYTES_MAX);
    let statement_language = fields.language("capture.statement_language", asked.statement_language);
    if asked.text_hash.len() != 32 {
        fields.refuse(
            Problem::Invalid,
            "capture.text_hash",
            "This is the hash of the statement that was read.",
        );
    }
    Some(v1::Capture {
        given_by: given_by?.into(),
        given_how: given_how?.into(),
        language: language?,
        interpreter: interpreter?.into(),
        read_aloud: asked.read_aloud,
        understood: understood?,
        statement_id: statement_id?,
        statement_language: statement_language?,
        text_hash: asked.text_hash,
    })
}

/// What is allowed, each organisation once. Least: one organisation, one part, one purpose.
fn allowed(fields: &mut Fields, asked: &[v1::Allowed]) -> Option<Vec<Allowed>> {
    if asked.is_empty() || asked.len() > RECIPIENTS_MAX {
        fields.refuse(
            Problem::Invalid,
            "allowed",
            "Name at least one organisation, and at most 20.",
        );
        return None;
    }
    let mut read: Vec<Option<Allowed>> = Vec::with_capacity(asked.len());
    for (place, one) in asked.iter().enumerate() {
        let name = |of: &str| format!("allowed[{place}].{of}");
        let recipient = fields.org(&name("recipient"), &one.recipient);
        let categories = fields.categories(&name("categories"), &one.categories, 1);
        let purposes = fields.purposes(&name("purposes"), &one.purposes);
        let named = |org: &OrgId| read.iter().flatten().any(|earlier| earlier.recipient == *org);
        if recipient.as_ref().is_some_and(named) {
            fields.refuse(
                Problem::Invalid,
                name("recipient"),
                "This organisation is named twice.",
            );
        }
        let allowed = || {
            Some(Allowed {
                recipient: recipient?,
                categories: categories?,
                purposes: purposes?,
                progress: one.progress,
            })
        };
        read.push(allowed());
    }
    read.into_iter().collect()
}

async fn get(
    edge: &Edge,
    caller: &Caller,
    asked: &v1::GetGrantRequest,
) -> Result<v1::GetGrantResponse, Failure> {
    let mut fields = Fields::new();
    let grant_id = fields.id::<GrantId>("grant_id", &asked.grant_id);
    let grant_id = fields.finish(grant_id)?;
    let grant = grants::get(&edge.node, caller, &grant_id).await;
    let grant = grant.map_err(|error| refused(error.failure(), &error))?;
    Ok(v1::GetGrantResponse { grant: Some(grant) })
}

async fn list(
    edge: &Edge,
    caller: &Caller,
    asked: &v1::ListGrantsRequest,
) -> Result<v1::ListGrantsResponse, Failure> {
    let mut fields = Fields::new();
    let person_id = fields.id::<PersonId>("person_id", &asked.person_id);
    let size = fields.page_size(asked.page_size);
    let after = fields.page_key(("page_token", &asked.page_token), List::Grants, place);
    let wanted = || Some((person_id?, size?, after?));
    let (person_id, size, after) = fields.finish(wanted())?;
    let page = Page { after, limit: size };
    let found = grants::list(&edge.node, caller, &person_id, page).await;
    let (grants, more) = found.map_err(|error| refused(error.failure(), &error))?;
    let last = grants.last().filter(|_| more);
    Ok(v1::ListGrantsResponse {
        next_page_token: last.map_or(String::new(), page_token),
        grants,
    })
}

/// A place in a person's grants: when it was given, and which.
fn page_token(grant: &v1::Grant) -> String {
    let mut key = grant.given_at_ms.to_be_bytes().to_vec();
    key.extend_from_slice(&grant.grant_id);
    token(List::Grants, &key)
}

fn place(key: &[u8]) -> Option<(i64, GrantId)> {
    let (at_ms, id) = key.split_first_chunk::<8>()?;
    Some((i64::from_be_bytes(*at_ms), GrantId::try_from(id).ok()?))
}

async fn narrow(
    edge: &Edge,
    caller: &Caller,
    asked: v1::NarrowGrantRequest,
) -> Result<v1::NarrowGrantResponse, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", &asked.request_id);
    let body = request_id.map(|id| Asked::new("narrow_grant", id, &asked));
    let grant_id = fields.id("grant_id", &asked.grant_id);
    let allowed = allowed(&mut fields, &asked.allowed);
    let new = || {
        Some(NewNarrowing {
            asked: body?,
            caller: *caller,
            grant_id: grant_id?,
            allowed: allowed?,
        })
    };
    let new = fields.finish(new())?;
    withdrawals::narrow(&edge.node, &new)
        .await
        .map_err(|error| refused(error.problem().into(), &error))
}

async fn withdraw(
    edge: &Edge,
    caller: &Caller,
    asked: v1::WithdrawGrantRequest,
) -> Result<v1::WithdrawGrantResponse, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", &asked.request_id);
    let body = request_id.map(|id| Asked::new("withdraw_grant", id, &asked));
    let by_code = !asked.stop_seed.is_empty();
    let grant_id = match (by_code, request_id) {
        (true, Some(_)) => by_stop_code(edge, &mut fields, &asked).await?,
        // Without a request id it is refused below, and nothing is looked for.
        (true, None) => None,
        (false, _) => fields.id("grant_id", &asked.grant_id),
    };
    let scope = scope(&mut fields, &asked);
    let new = || {
        Some(NewWithdrawal {
            asked: body?,
            caller: *caller,
            grant_id: grant_id?,
            scope: scope?,
            invalidated: asked.invalidated,
        })
    };
    let new = fields.finish(new())?;
    let done = match by_code {
        true => withdrawals::stop(&edge.node, &new).await,
        false => withdrawals::withdraw(&edge.node, &new).await,
    };
    done.map_err(|error| refused(error.problem().into(), &error))
}

/// The grant of a stop code, which stands alone in its request.
async fn by_stop_code(
    edge: &Edge,
    fields: &mut Fields,
    asked: &v1::WithdrawGrantRequest,
) -> Result<Option<GrantId>, Failure> {
    let alone =
        asked.grant_id.is_empty() && asked.scope() == v1::WithdrawalScope::Consent && !asked.invalidated;
    if !alone {
        let sentence = "A stop code ends the whole consent that it belongs to, and is sent without a grant.";
        fields.refuse(Problem::Invalid, "stop_seed", sentence);
        return Ok(None);
    }
    let Some(seed) = fields.id::<[u8; 16]>("stop_seed", &asked.stop_seed) else {
        return Ok(None);
    };
    let found = grants::by_stop_seed(&edge.node, &seed).await;
    let found = found.map_err(|error| refused(error.problem().into(), &error))?;
    let nothing = "No consent that was recorded here has this stop code. Compare it letter by letter. It works where the consent was \
                   recorded; what came from there ends with `withdraw`.";
    found
        .map(Some)
        .ok_or_else(|| Failure::new(Problem::NotFound).with_sentence(nothing))
}

/// How far; the recipient is named exactly when it is about one organisation.
fn scope(fields: &mut Fields, asked: &v1::WithdrawGrantRequest) -> Option<Scope> {
    use v1::WithdrawalScope as Wire;
    let scope = wire_word::<Wire>(fields, "scope", asked.scope)?;
    if scope == Wire::Organisation {
        return fields.org("recipient", &asked.recipient).map(Scope::Organisation);
    }
    if !asked.recipient.is_empty() {
        fields.refuse(
            Problem::Invalid,
            "recipient",
            "Leave this empty, or withdraw from this organisation only.",
        );
        return None;
    }
    Some(if scope == Wire::Consent {
        Scope::Consent
    } else {
        Scope::AllThatFollowed
    })
}
