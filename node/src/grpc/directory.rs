//! The handlers of `DirectoryService`: the verified members, and this organisation's own service.
//! Called by tonic behind the guard.
//! It must never list a member or a service whose signature was not verified.

use super::page::{List, token};
use super::parse::Fields;
use super::{Edge, refused, reply, split};
use crate::directory::{self, NewService};
use crate::members::Listed;
use crate::requests::Asked;
use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::trust::{LANGUAGES_MAX, NAME_BYTES_MAX, SERVICE_TEXT_BYTES_MAX};
use kith_proto::v1;
use kith_proto::v1::directory_service_server::DirectoryService;
use kith_service::status::Failure;
use std::ops::Bound;
use tonic::{Request, Response, Status};

/// Most places a week that anyone can mean.
const PLACES_PER_WEEK_MAX: u32 = 10_000;

#[tonic::async_trait]
impl DirectoryService for Edge {
    async fn list_organisations(
        &self,
        request: Request<v1::ListOrganisationsRequest>,
    ) -> Result<Response<v1::ListOrganisationsResponse>, Status> {
        let (_, asked) = split(request)?;
        reply("ListOrganisations", list(self, &asked))
    }

    async fn set_service(
        &self,
        request: Request<v1::SetServiceRequest>,
    ) -> Result<Response<v1::SetServiceResponse>, Status> {
        let (_, asked) = split(request)?;
        reply("SetService", set_service(self, asked).await)
    }
}

fn list(edge: &Edge, asked: &v1::ListOrganisationsRequest) -> Result<v1::ListOrganisationsResponse, Failure> {
    let mut fields = Fields::new();
    let size = fields.page_size(asked.page_size);
    let org = |key: &[u8]| std::str::from_utf8(key).ok()?.parse::<OrgId>().ok();
    let after = fields.page_key(("page_token", &asked.page_token), List::Organisations, org);
    let (size, after) = fields.finish(size.zip(after))?;
    let all = edge.node.members.all();
    let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = all.range::<OrgId, _>((from, Bound::Unbounded));
    let shown: Vec<_> = rest.by_ref().take(size as usize).collect();
    let last = shown.last().filter(|_| rest.next().is_some());
    Ok(v1::ListOrganisationsResponse {
        next_page_token: last.map_or(String::new(), |(org, _)| {
            token(List::Organisations, org.as_str().as_bytes())
        }),
        organisations: shown
            .iter()
            .map(|(org, listed)| organisation(org, listed))
            .collect(),
    })
}

fn organisation(org: &OrgId, listed: &Listed) -> v1::Organisation {
    v1::Organisation {
        organisation: org.to_string(),
        name: listed.member.name.clone(),
        kind: listed.member.kind.number(),
        suspended: listed.suspended,
        services: listed.services.clone(),
    }
}

async fn set_service(edge: &Edge, asked: v1::SetServiceRequest) -> Result<v1::SetServiceResponse, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", &asked.request_id);
    let body = request_id.map(|id| Asked::new("set_service", id, &asked));
    let new = match (asked.service, body) {
        (Some(service), body) => new_service(&mut fields, service, body),
        (None, _) => {
            fields.refuse(Problem::Invalid, "service", "Say what your organisation offers.");
            None
        }
    };
    let new = fields.finish(new)?;
    let set = directory::set_service(&edge.node, &edge.dial, &new).await;
    set.map_err(|error| refused(error.problem().into(), &error))
}

/// Whose it is, in which network and when are the node's to say; what the caller wrote there is not read.
fn new_service(fields: &mut Fields, service: v1::Service, asked: Option<Asked>) -> Option<NewService> {
    let service_id = match service.service_id.as_slice() {
        [] => Some(None),
        id => fields.id::<[u8; 16]>("service.service_id", id).map(Some),
    };
    let name = fields.text_needed("service.name", service.name, NAME_BYTES_MAX);
    let purposes = fields.purposes("service.purposes", &service.purposes);
    let minimum = fields.categories("service.minimum_categories", &service.minimum_categories, 0);
    let place = fields.text("service.place", service.place, SERVICE_TEXT_BYTES_MAX);
    let schedule = fields.text("service.schedule", service.schedule, SERVICE_TEXT_BYTES_MAX);
    if service.places_per_week > PLACES_PER_WEEK_MAX {
        fields.refuse(
            Problem::Invalid,
            "service.places_per_week",
            "This is more places than any service has.",
        );
    }
    if service.languages.len() > LANGUAGES_MAX {
        fields.refuse(
            Problem::TooLarge,
            "service.languages",
            "These are too many languages.",
        );
        return None;
    }
    let tag = |language| fields.language("service.languages", language);
    let languages: Option<Vec<String>> = service.languages.into_iter().map(tag).collect();
    Some(NewService {
        asked: asked?,
        service_id: service_id?,
        name: name?,
        purposes: purposes?,
        languages: languages?,
        minimum: minimum?,
        place: place?,
        schedule: schedule?,
        paused: service.paused,
        places_per_week: service.places_per_week,
    })
}
