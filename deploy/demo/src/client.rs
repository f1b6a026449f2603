//! A node's gRPC calls as the story makes them, with one token. Called by `story` and by the tests.
//! Turns a refusal into its problem code and sentence; never prints content.

use anyhow::Context as _;
use kith_proto::problem::Problem;
use kith_proto::v1::audit_service_client::AuditServiceClient;
use kith_proto::v1::{self, consent_service_client::ConsentServiceClient};
use kith_proto::v1::{
    directory_service_client::DirectoryServiceClient, person_service_client::PersonServiceClient,
    referral_service_client::ReferralServiceClient,
};
use kith_service::rng::Rng;
use kith_service::status::failure_of;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// Adds the token to each call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Authorised = tonic::service::interceptor::InterceptedService<Channel, Bearer>;

/// Why a call was refused, as its caller is told.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {sentence} {fields:?}", code = .problem.as_str())]
pub struct Refused {
    /// The code.
    pub problem: Problem,
    /// The sentence.
    pub sentence: String,
    /// Each field with what is wrong with it.
    pub fields: Vec<(String, String)>,
}

impl From<tonic::Status> for Refused {
    fn from(status: tonic::Status) -> Self {
        let failure = failure_of(&status);
        Self {
            problem: failure.problem,
            sentence: failure.sentence().to_owned(),
            fields: failure.fields,
        }
    }
}

/// One user's calls to one node.
#[derive(Clone)]
pub struct Client {
    /// People.
    pub persons: PersonServiceClient<Authorised>,
    /// Consent.
    pub consent: ConsentServiceClient<Authorised>,
    /// Referrals.
    pub referrals: ReferralServiceClient<Authorised>,
    /// Organisations.
    pub directory: DirectoryServiceClient<Authorised>,
    /// The trail.
    pub audit: AuditServiceClient<Authorised>,
    rng: Rng,
}

impl Client {
    /// Connects to a node on loopback.
    pub async fn connect(address: &str, token: &str) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .timeout(CALL_LIMIT)
            .connect()
            .await
            .context("the node does not answer")?;
        let bearer = Bearer(format!("Bearer {token}").parse().context("not a token")?);
        Ok(Self {
            persons: PersonServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            consent: ConsentServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            referrals: ReferralServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            directory: DirectoryServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            audit: AuditServiceClient::with_interceptor(channel, bearer),
            rng: Rng::system(),
        })
    }

    /// A fresh request id.
    pub fn request_id(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.rng.bytes::<16>()?.to_vec())
    }

    /// Follows this node's changes until a thread's line is as wanted, and returns that line.
    pub async fn until(
        &mut self,
        thread_id: &[u8],
        what: &str,
        wanted: impl Fn(&v1::ReferralLine) -> bool,
    ) -> anyhow::Result<v1::ReferralLine> {
        let from_start = v1::WatchReferralsRequest::default();
        let mut changes = self.referrals.watch_referrals(from_start).await?.into_inner();
        let found = tokio::time::timeout(CALL_LIMIT, async {
            while let Some(change) = changes.message().await? {
                match change.referral {
                    Some(line) if line.thread_id == thread_id && wanted(&line) => return Ok(line),
                    _ => {}
                }
            }
            anyhow::bail!("the node ended the watch")
        });
        found
            .await
            .with_context(|| format!("waited in vain until {what}"))?
    }
}
