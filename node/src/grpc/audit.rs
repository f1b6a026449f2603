//! The handlers of `AuditService`: trails, counts, gaps, exports, and where the log stands.
//! Called by tonic behind the guard. It must never answer with more than lines of the trail and their proofs: no content, no person's
//! name.

use super::page::{List, number, token};
use super::parse::{Fields, SHORT_TEXT_BYTES_MAX};
use super::{Edge, refused, reply, split};
use crate::requests::Asked;
use crate::tokens::Caller;
use crate::trail::{self, About, Export, ExportAsked, Filter, Form, TrailError};
use kith_proto::human_code::HumanCode;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::audit_service_server::AuditService;
use kith_proto::v1::trail_filter::About as WireAbout;
use kith_proto::words::{Category, Purpose};
use kith_service::status::{Failure, status};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Parts of an export on their way to one caller: 1 MiB.
const UNREAD_MAX: usize = 4;
/// When to come again when every place for a stream is taken, in ms.
const RETRY_AFTER_MS: i64 = 5_000;

type Parts = mpsc::Sender<Result<v1::ExportTrailResponse, Status>>;

#[tonic::async_trait]
impl AuditService for Edge {
    type ExportTrailStream = ReceiverStream<Result<v1::ExportTrailResponse, Status>>;

    async fn list_trail(
        &self,
        request: Request<v1::ListTrailRequest>,
    ) -> Result<Response<v1::ListTrailResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("ListTrail", list(self, &caller, &asked).await)
    }

    async fn count_trail(
        &self,
        request: Request<v1::CountTrailRequest>,
    ) -> Result<Response<v1::CountTrailResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("CountTrail", count(self, &caller, &asked).await)
    }

    async fn check_gaps(
        &self,
        request: Request<v1::CheckGapsRequest>,
    ) -> Result<Response<v1::CheckGapsResponse>, Status> {
        let (caller, _) = split(request)?;
        let gaps = trail::check(&self.node, &caller).await;
        let answer = gaps.map(|gaps| v1::CheckGapsResponse { gaps });
        reply("CheckGaps", answer.map_err(|error| failed(&error)))
    }

    async fn export_trail(
        &self,
        request: Request<v1::ExportTrailRequest>,
    ) -> Result<Response<Self::ExportTrailStream>, Status> {
        let (caller, asked) = split(request)?;
        reply("ExportTrail", export(self, &caller, &asked).await)
    }

    async fn get_log_status(
        &self,
        request: Request<v1::GetLogStatusRequest>,
    ) -> Result<Response<v1::GetLogStatusResponse>, Status> {
        split(request)?;
        let standing = trail::standing(&self.node).await;
        reply("GetLogStatus", standing.map_err(|error| failed(&error)))
    }
}

async fn list(
    edge: &Edge,
    caller: &Caller,
    asked: &v1::ListTrailRequest,
) -> Result<v1::ListTrailResponse, Failure> {
    let mut fields = Fields::new();
    let filter = filter(&mut fields, asked.filter.as_ref());
    let page_size = fields.page_size(asked.page_size);
    let before = fields.page_key(("page_token", &asked.page_token), List::Trail, number);
    let new = || {
        Some(trail::Asked {
            caller: *caller,
            filter: filter?,
            page_size: page_size?,
            before: before?,
        })
    };
    let new = fields.finish(new())?;
    let page = trail::list(&edge.node, &new).await;
    let page = page.map_err(|error| failed(&error))?;
    Ok(v1::ListTrailResponse {
        lines: page.lines,
        next_page_token: page
            .next
            .map_or(String::new(), |next| token(List::Trail, &next.to_be_bytes())),
    })
}

async fn count(
    edge: &Edge,
    caller: &Caller,
    asked: &v1::CountTrailRequest,
) -> Result<v1::CountTrailResponse, Failure> {
    let mut fields = Fields::new();
    let filter = filter(&mut fields, asked.filter.as_ref());
    let filter = fields.finish(filter)?;
    let counts = trail::count(&edge.node, caller, &filter).await;
    let counts = counts.map_err(|error| failed(&error))?;
    Ok(v1::CountTrailResponse { counts })
}

async fn export(
    edge: &Edge,
    caller: &Caller,
    asked: &v1::ExportTrailRequest,
) -> Result<ReceiverStream<Result<v1::ExportTrailResponse, Status>>, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", &asked.request_id);
    let body = request_id.map(|id| Asked::new("export_trail", id, asked));
    let filter = filter(&mut fields, asked.filter.as_ref());
    let form = match v1::ExportForm::try_from(asked.form) {
        Ok(v1::ExportForm::Trail) => Some(Form::Trail),
        Ok(v1::ExportForm::Fhir) => Some(Form::Fhir),
        Ok(v1::ExportForm::Csv) => Some(Form::Csv),
        Ok(v1::ExportForm::Unspecified) | Err(_) => {
            fields.refuse(Problem::Invalid, "form", "Say how the file is to be written.");
            None
        }
    };
    let new = || {
        Some(ExportAsked {
            asked: body?,
            caller: *caller,
            filter: filter?,
            form: form?,
        })
    };
    let new = fields.finish(new())?;
    let place = edge.watches.clone().try_acquire_owned();
    let place = place.map_err(|_| Failure::new(Problem::Unavailable).with_retry_after(RETRY_AFTER_MS))?;
    let export = Export::begin(&edge.node, &new).await;
    let export = export.map_err(|error| failed(&error))?;
    let (parts, read) = mpsc::channel(UNREAD_MAX);
    let (edge, stop) = (edge.clone(), edge.shutdown.wait());
    edge.shutdown.clone().spawn(async move {
        tokio::select! {
            () = send(&edge, export, &parts) => {}
            () = parts.closed() => {}
            () = stop => {
                let ended = Failure::new(Problem::Unavailable).with_retry_after(RETRY_AFTER_MS);
                parts.send(Err(status(ended))).await.ok();
            }
        }
        drop(place);
    });
    Ok(ReceiverStream::new(read))
}

/// Sends the file as fast as it is taken; a part that cannot be made ends it with the failure.
async fn send(edge: &Edge, mut export: Export, parts: &Parts) {
    loop {
        let answer = match export.next(&edge.node).await {
            Ok(None) => return,
            Ok(Some(part)) => Ok(v1::ExportTrailResponse { part }),
            Err(error) => Err(status(failed(&error))),
        };
        let is_last = answer.is_err();
        if parts.send(answer).await.is_err() || is_last {
            return;
        }
    }
}

fn failed(error: &TrailError) -> Failure {
    let failure = Failure::new(error.problem());
    let failure = match error {
        TrailError::Ambiguous => failure.with_field(
            "filter.referral",
            "Two referrals have this code. Ask by the referral's id.",
        ),
        TrailError::TooMuch => failure.with_field(
            "filter",
            "This is more than one answer may hold. Ask for a shorter time.",
        ),
        _ => failure,
    };
    refused(failure, error)
}

/// Reads a filter; none is everything.
fn filter(fields: &mut Fields, asked: Option<&v1::TrailFilter>) -> Option<Filter> {
    let Some(asked) = asked else {
        return Some(Filter::default());
    };
    let about = match &asked.about {
        None => Some(None),
        Some(about) => about_what(fields, about).map(Some),
    };
    let organisation = match asked.organisation.as_str() {
        "" => Some(None),
        org => fields.org("filter.organisation", org).map(Some),
    };
    let purpose = fields.word_if_any::<Purpose>("filter.purpose", asked.purpose);
    let category = fields.word_if_any::<Category>("filter.category", asked.category);
    let role = typed(fields, "filter.role", &asked.role);
    let code = typed(fields, "filter.code", &asked.code);
    let from_ms = fields.time_ms("filter.from_ms", asked.from_ms);
    let until_ms = fields.time_ms("filter.until_ms", asked.until_ms);
    Some(Filter {
        about: about?,
        organisation: organisation?,
        purpose: purpose?,
        category: category?,
        role: role?,
        code: code?,
        from_ms: from_ms?,
        until_ms: until_ms?,
    })
}

fn about_what(fields: &mut Fields, about: &WireAbout) -> Option<About> {
    match about {
        WireAbout::Referral(code) => {
            match HumanCode::parse(code.get(..SHORT_TEXT_BYTES_MAX).unwrap_or(code)) {
                Ok(code) => Some(About::Code(code)),
                Err(_) => {
                    let sentence = "This is not a referral's code, such as K7M2-9QXD-44.";
                    fields.refuse(Problem::Invalid, "filter.referral", sentence);
                    None
                }
            }
        }
        WireAbout::ThreadId(id) => fields.id("filter.thread_id", id).map(About::Thread),
        WireAbout::GrantId(id) => fields.id("filter.grant_id", id).map(About::Grant),
        WireAbout::PersonId(id) => fields.id("filter.person_id", id).map(About::Person),
    }
}

/// A word that is typed as text; empty for none.
fn typed<T: std::str::FromStr>(fields: &mut Fields, field: &str, word: &str) -> Option<Option<T>> {
    match word {
        "" => Some(None),
        word => match word.parse() {
            Ok(read) => Some(Some(read)),
            Err(_) => {
                let sentence = "This is not one of the words that may stand here.";
                fields.refuse(Problem::Invalid, field, sentence);
                None
            }
        },
    }
}
