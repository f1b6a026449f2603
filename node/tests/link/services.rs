//! The calls of the small gateway: enrolment, renewal, the directory, a stream for each story to speak on.
//! Never decides anything but what a chain or certificate says.

use std::pin::Pin;
use std::sync::Arc;

use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::trust::{self, TrustError};
use kith_proto::v1::enrolment_service_server::EnrolmentService;
use kith_proto::v1::relay_service_server::RelayService;
use kith_proto::v1::{self, AttachRequest, AttachResponse};
use kith_service::status::status;
use kith_service::tls::incoming::Peer;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::gateway::{Attached, Inner};

/// The services of the gateway.
pub(crate) struct Service(pub(crate) Arc<Inner>);

impl Service {
    /// The member whose certificate the connection showed.
    fn caller<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let peer = request.extensions().get::<Peer>();
        let identity = peer.and_then(|peer| peer.identity.as_ref());
        let org = identity.map(|identity| identity.org.to_string());
        org.ok_or_else(|| status(Problem::Unauthenticated))
    }
}

#[tonic::async_trait]
impl EnrolmentService for Service {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        let chain = v1::BindingChain {
            registrar: request.registrar.clone(),
            invite: request.invite.clone(),
            bindings: request.binding.clone().into_iter().collect(),
            later_registrars: Vec::new(),
            later_invites: Vec::new(),
        };
        let now_ms = self.0.clock.now_ms();
        let member = trust::verify_chain(&chain, &self.0.root.public(), &self.0.network, now_ms);
        let member = member.map_err(|error| status(error.problem()))?;
        let org = member.org.to_string();
        let certificate = self.0.certificate(&org, &request.certificate_request_der);
        self.0.list(&org, chain);
        self.0.issued.lock().unwrap().push(request);
        self.0.loses_an_answer()?;
        Ok(Response::new(v1::EnrolResponse {
            certificate_chain_pem: certificate,
            gateway_time_ms: now_ms,
        }))
    }

    async fn rekey(&self, request: Request<v1::RekeyRequest>) -> Result<Response<v1::RekeyResponse>, Status> {
        let request = request.into_inner().enrolment.unwrap();
        let binding = request.binding.clone().unwrap();
        let said = v1::Binding::decode(binding.statement.as_slice()).unwrap();
        let mut chain = self.0.chain(&said.organisation);
        if !chain.bindings.contains(&binding) {
            chain.later_invites.extend(request.invite.clone());
            chain.bindings.push(binding);
        }
        let now_ms = self.0.clock.now_ms();
        let member = trust::verify_chain(&chain, &self.0.root.public(), &self.0.network, now_ms);
        let member = member.map_err(|error| match error {
            // The chain has gone on, as the gateway says it.
            TrustError::Forged | TrustError::Broken => status(Problem::Conflict),
            error => status(error.problem()),
        })?;
        let org = member.org.to_string();
        let certificate = self.0.certificate(&org, &request.certificate_request_der);
        self.0.list(&org, chain);
        self.0.issued.lock().unwrap().push(request);
        self.0.loses_an_answer()?;
        let enrolment = v1::EnrolResponse {
            certificate_chain_pem: certificate,
            gateway_time_ms: now_ms,
        };
        Ok(Response::new(v1::RekeyResponse {
            enrolment: Some(enrolment),
        }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let request = request.into_inner();
        let chain = self.0.chain(&request.organisation);
        let now_ms = self.0.clock.now_ms();
        let member = trust::verify_chain(&chain, &self.0.root.public(), &self.0.network, now_ms).unwrap();
        let key = member.key_at(now_ms).unwrap().signing_key;
        receipt::verify(&key, &request).map_err(|error| status(error.problem()))?;
        // At `u32::MAX` it renews nobody.
        let mut renewed = self.0.renewed.lock().unwrap();
        *renewed = renewed.checked_add(1).ok_or(status(Problem::Unauthenticated))?;
        let (org, asked) = (&request.organisation, &request.certificate_request_der);
        Ok(Response::new(v1::RenewResponse {
            certificate_chain_pem: self.0.certificate(org, asked),
            gateway_time_ms: now_ms,
        }))
    }
}

#[tonic::async_trait]
impl RelayService for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let org = self.caller(&request)?;
        if !self.0.members.lock().unwrap().contains_key(&org) {
            return Err(status(Problem::NotAMember));
        }
        let (down, frames) = mpsc::channel(64);
        let attached = Attached {
            org,
            up: request.into_inner(),
            down,
            inner: self.0.clone(),
            received: Vec::new(),
        };
        self.0
            .attached
            .send(attached)
            .await
            .map_err(|_| status(Problem::Unavailable))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        *self.0.listings.lock().unwrap() += 1;
        let told = *self.0.tells_once.lock().unwrap() && request.into_inner().after > 0;
        let members = self.0.members.lock().unwrap();
        let members = members.values().filter(|_| !told).cloned().collect();
        Ok(Response::new(v1::ListMembersResponse {
            members,
            cursor: 1,
            more: false,
        }))
    }

    async fn publish_binding(
        &self,
        request: Request<v1::PublishBindingRequest>,
    ) -> Result<Response<v1::PublishBindingResponse>, Status> {
        let org = self.caller(&request)?;
        let mut chain = self.0.chain(&org);
        let asked = request.into_inner();
        chain.bindings.extend(asked.binding);
        chain.later_invites.extend(asked.invite);
        let registrar = asked
            .registrar
            .filter(|one| chain.registrar.as_ref() != Some(one));
        chain.later_registrars.extend(registrar);
        let now_ms = self.0.clock.now_ms();
        let member = trust::verify_chain(&chain, &self.0.root.public(), &self.0.network, now_ms);
        let member = member.map_err(|error| status(error.problem()))?;
        self.0.list(&org, chain);
        self.0.loses_an_answer()?;
        Ok(Response::new(v1::PublishBindingResponse {
            number: member.bindings.last().unwrap().number,
        }))
    }

    async fn publish_service(
        &self,
        _: Request<v1::PublishServiceRequest>,
    ) -> Result<Response<v1::PublishServiceResponse>, Status> {
        Err(status(Problem::Invalid))
    }
}
