//! A tampered node: an organisation's own folder, keys and history, with the question of consent taken out.
//! Called by `story`, while the honest node of that folder is off, to show that the gateway does not rely on honest nodes.
//! It keeps the history as the honest node would, so that the honest node goes on from there.

use anyhow::{Context as _, bail, ensure};
use kith_node::keys::DataFolder;
use kith_node::link::{TLS_CERTIFICATE, TLS_KEY};
use kith_node::node::{Config, Node};
use kith_node::outbox::{self, Draft, Outgoing};
use kith_node::store::{pair, slip};
use kith_proto::id::{EnvelopeId, GrantId, OrgId, ThreadId};
use kith_proto::order::{self, Position};
use kith_proto::problem::Problem;
use kith_proto::trust::{self, Issuer};
use kith_proto::v1::attach_request::Frame as Up;
use kith_proto::v1::attach_response::Frame as Down;
use kith_proto::v1::relay_service_client::RelayServiceClient;
use kith_proto::v1::{self, AttachRequest, AttachResponse, body};
use kith_proto::words::{Category, EnvelopeKind, Purpose};
use kith_proto::{envelope, receipt};
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::store::StoreError;
use kith_service::tls::dial::{self, Dial};
use kith_service::tls::{KeyedChain, client_config};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// How long the gateway may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// The version of the link.
const VERSION: u32 = 1;

/// A referral that nobody agreed to.
#[derive(Clone, Debug)]
pub struct Overreach<'a> {
    /// The recipient.
    pub to: &'a str,
    /// The person.
    pub person_id: &'a [u8],
    /// What the person agreed to; its slip goes along.
    pub grant_id: &'a [u8],
    /// What is asked for.
    pub purpose: Purpose,
    /// What is shared; every category of it is declared.
    pub parts: Vec<v1::Part>,
}

/// What the gateway said, by its own signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub problem: Problem,
    /// The categories at fault.
    pub categories: Vec<Category>,
}

/// Sends a referral past the node's own rules, and returns the gateway's refusal; an error when it was taken.
pub async fn send(data_dir: &Path, clock: Clock, overreach: &Overreach<'_>) -> anyhow::Result<Refusal> {
    let config = Config {
        folder: DataFolder::at(data_dir),
        store_url: None,
        store_blocking: false,
    };
    let node = Node::open(config, clock, Rng::system()).await?;
    let refused = tokio::time::timeout(ANSWER_LIMIT, Tampered::new(&node, overreach)?.send()).await;
    node.store.close().await;
    refused.context("the gateway did not answer")?
}

struct Tampered<'a> {
    node: &'a Node,
    overreach: &'a Overreach<'a>,
    to: OrgId,
    issuer: Issuer,
}

impl<'a> Tampered<'a> {
    fn new(node: &'a Node, overreach: &'a Overreach<'a>) -> anyhow::Result<Self> {
        let me = &node.membership;
        let issuer = trust::verify_issuer(&node.issuer(), &me.root, &me.network, node.now_ms())?;
        Ok(Self {
            node,
            overreach,
            to: overreach.to.parse()?,
            issuer,
        })
    }

    async fn send(&self) -> anyhow::Result<Refusal> {
        let last = self.last().await?;
        let outgoing = self.seal().await?;
        let (order, position) = order::sign(
            &self.node.keys.signing,
            self.node.organisation(),
            &self.to,
            last,
            &[outgoing.hash],
        )?;
        let submission = v1::Submission {
            envelopes: vec![outgoing.envelope.clone()],
            order: Some(order),
        };
        let (up, mut down) = self.attach(last).await?;
        let frame = Some(Up::Submission(submission));
        up.send(AttachRequest { frame }).await?;
        let refusal = self.refusal(&mut down, &outgoing).await?;
        self.keep(position).await?;
        Ok(refusal)
    }

    /// Seals what was never agreed to, under the slip of what was; every signature is good.
    async fn seal(&self) -> anyhow::Result<Outgoing> {
        let (node, overreach) = (self.node, self.overreach);
        let grant_id = GrantId::try_from(overreach.grant_id)?;
        let read = |mut tx| async move { slip::of_grants(&mut tx, &[grant_id]).await };
        let slips = node.store.read::<_, StoreError, _, _>("slips", read).await?;
        let slip = slips.into_iter().find(|slip| slip.peer == self.to);
        let slip = slip.context("the person agreed to nothing for this recipient")?;
        let parts = overreach.parts.clone();
        let categories = parts.iter().filter_map(|part| part.category.try_into().ok());
        let draft = Draft {
            envelope_id: EnvelopeId::from_bytes(node.rng.bytes()?),
            to: &self.to,
            kind: EnvelopeKind::Referral,
            thread_id: ThreadId::from_bytes(node.rng.bytes()?),
            slip: &slip.signed,
            slip_id: slip.slip_id,
            categories: categories.collect(),
            body: &v1::Body {
                person_salt: slip.person_salt.context("the slip is not this node's")?.to_vec(),
                person_id: overreach.person_id.to_vec(),
                body: Some(body::Body::Referral(v1::Referral {
                    purpose: overreach.purpose.number(),
                    parts,
                    ..v1::Referral::default()
                })),
            },
            at_ms: node.now_ms(),
        };
        Ok(outbox::seal(node, &draft, None)?)
    }

    /// Where the pair stands, by the node's own history.
    async fn last(&self) -> anyhow::Result<Position> {
        let read = |mut tx| async move { pair::sent(&mut tx).await };
        let sent = self
            .node
            .store
            .read::<_, StoreError, _, _>("pairs sent", read)
            .await?;
        let last = sent.into_iter().find(|(peer, _)| *peer == self.to);
        Ok(last.map_or(Position::START, |(_, position)| position))
    }

    /// Keeps the number that the refusal used up.
    async fn keep(&self, position: Position) -> anyhow::Result<()> {
        let moved = [(self.to.clone(), position)];
        let moved = &moved;
        let write = |mut tx| async move { pair::put_sent(&mut tx, moved).await };
        Ok(self
            .node
            .store
            .tx::<_, StoreError, _, _>("pair sent", write)
            .await?)
    }

    async fn dial(&self) -> anyhow::Result<Channel> {
        let node = self.node;
        let read = |file| node.folder.read(file)?.context("the folder holds no certificate");
        let (chain_pem, key_pem) = (read(TLS_CERTIFICATE)?, read(TLS_KEY)?);
        let identity = KeyedChain {
            chain_pem: &chain_pem,
            key_pem: &key_pem,
        };
        let clock = node.clock.clone();
        let root = self.issuer.certificate_der.clone().into();
        let config = client_config(root, Some(identity), move || clock.now_ms())?;
        let name = format!("gateway.{}", node.membership.network);
        Ok(dial::channel(&Dial::tcp(), &node.membership.gateway, &name, config).await?)
    }

    /// Opens the stream as this member. The gateway must hold the same history of the pair.
    async fn attach(
        &self,
        last: Position,
    ) -> anyhow::Result<(mpsc::Sender<AttachRequest>, Streaming<AttachResponse>)> {
        let (up, frames) = mpsc::channel(2);
        let hello = v1::NodeHello {
            version: VERSION,
            node_time_ms: self.node.clock.now_ms(),
            received: Vec::new(),
        };
        let frame = Some(Up::Hello(hello));
        up.send(AttachRequest { frame }).await?;
        let limit = envelope::ENVELOPE_BYTES_MAX * 8;
        let mut client = RelayServiceClient::new(self.dial().await?).max_decoding_message_size(limit);
        let mut down = client.attach(ReceiverStream::new(frames)).await?.into_inner();
        let Some(Down::Hello(hello)) = down.message().await?.and_then(|response| response.frame) else {
            bail!("the gateway did not greet");
        };
        let mut taken = hello
            .taken
            .iter()
            .filter(|taken| taken.organisation == self.to.as_str());
        let number = taken.next().map_or(0, |taken| taken.number);
        ensure!(number == last.number(), "the gateway holds another history");
        Ok((up, down))
    }

    /// Waits for the answer to this one envelope and verifies that the gateway signed it. Whatever else comes is left for the
    /// honest node, which is told again.
    async fn refusal(
        &self,
        down: &mut Streaming<AttachResponse>,
        outgoing: &Outgoing,
    ) -> anyhow::Result<Refusal> {
        while let Some(response) = down.message().await? {
            match response.frame {
                Some(Down::Refused(refused)) => {
                    receipt::verify(&self.issuer.signing_key, &refused)?;
                    ensure!(refused.envelope_hash == outgoing.hash, "another was refused");
                    ensure!(refused.retry_after_ms == 0, "the refusal is not final");
                    let categories = refused.categories.iter().map(|one| Ok((*one).try_into()?));
                    return Ok(Refusal {
                        problem: refused.problem.try_into()?,
                        categories: categories.collect::<anyhow::Result<_>>()?,
                    });
                }
                Some(Down::Receipts(_)) => bail!("the gateway took what nobody agreed to"),
                _ => {}
            }
        }
        bail!("the gateway ended the stream")
    }
}
