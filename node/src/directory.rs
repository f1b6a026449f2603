//! Publishing this organisation's own service in the directory: signed here, sent to the gateway, listed by it for all.
//! Called by `SetService`. The verified copy of everybody's services is in [`members`](crate::members).
//! Never publishes for another organisation, never says "published" before the gateway has.

use kith_proto::permits::CategorySet;
use kith_proto::problem::Problem;
use kith_proto::trust::{TrustError, issue_service};
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::rng::RandomFailed;
use kith_service::store::StoreError;
use kith_service::tls::dial::Dial;

use crate::link;
use crate::node::Node;
use crate::requests::{self, Asked, RepeatError};
use crate::store::counter::Counter;

/// What is offered, as the edge parsed it.
#[derive(Clone, Debug)]
pub struct NewService {
    /// The request, for repeats.
    pub asked: Asked,
    /// Which service; none for the one that is listed already, or a new one.
    pub service_id: Option<[u8; 16]>,
    /// Its name for people.
    pub name: String,
    /// What for.
    pub purposes: Vec<Purpose>,
    /// BCP 47 tags.
    pub languages: Vec<String>,
    /// The least that a referral must hold.
    pub minimum: CategorySet,
    /// Where.
    pub place: String,
    /// When.
    pub schedule: String,
    /// Takes nobody new for now.
    pub paused: bool,
    /// Places a week; 0 when not said.
    pub places_per_week: u32,
}

/// Why a service was not published, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It breaks a rule of the directory: correct it.
    #[error(transparent)]
    Service(#[from] TrustError),
    /// The gateway did not take it; when it is out of reach, try again.
    #[error("the gateway did not take the service: {0}")]
    Gateway(Problem),
    /// The request id came before with another request.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl ServiceError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            // The words of a service that cannot be signed are the caller's.
            Self::Service(TrustError::TooLarge) => Problem::TooLarge,
            Self::Service(_) => Problem::Invalid,
            Self::Gateway(problem) => *problem,
            Self::Repeat(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }
}

/// Signs and publishes the service. To publish it twice is to publish it once: the gateway replaces what it had.
pub async fn set_service(
    node: &Node,
    dial: &Dial,
    new: &NewService,
) -> Result<v1::SetServiceResponse, ServiceError> {
    let find = |mut tx| async move { requests::first_answer(&mut tx, &new.asked).await };
    if let Some(first) = node.store.read("find service", find).await? {
        return Ok(first);
    }
    let service_id = match new.service_id.or_else(|| listed(node)) {
        Some(id) => id,
        None => node.rng.bytes()?,
    };
    let now_ms = node.now_ms();
    let signed = issue_service(&node.keys.signing, &wire(node, new, service_id, now_ms))?;
    link::publish_service(node, dial, signed)
        .await
        .map_err(ServiceError::Gateway)?;
    let answer = &v1::SetServiceResponse {
        service_id: service_id.to_vec(),
    };
    let keep = |mut tx| async move {
        // Under the lock, so that two at once with one id agree.
        let counter = Counter::lock(&mut tx).await?;
        if let Some(first) = requests::first_answer(&mut tx, &new.asked).await? {
            return Ok(first);
        }
        requests::keep(&mut tx, &new.asked, answer, now_ms).await?;
        counter.save(&mut tx).await?;
        Ok::<_, ServiceError>(answer.clone())
    };
    node.store.tx("keep service", keep).await
}

/// The service that the directory lists for this organisation.
fn listed(node: &Node) -> Option<[u8; 16]> {
    let me = node.members.get(node.organisation())?;
    me.services.first()?.service_id.as_slice().try_into().ok()
}

fn wire(node: &Node, new: &NewService, service_id: [u8; 16], now_ms: i64) -> v1::Service {
    v1::Service {
        service_id: service_id.to_vec(),
        network: node.membership.network.to_string(),
        organisation: node.organisation().to_string(),
        name: new.name.clone(),
        purposes: new.purposes.iter().map(|p| p.number()).collect(),
        languages: new.languages.clone(),
        minimum_categories: new.minimum.iter().map(Category::number).collect(),
        place: new.place.clone(),
        schedule: new.schedule.clone(),
        paused: new.paused,
        places_per_week: new.places_per_week,
        made_at_ms: now_ms,
    }
}
