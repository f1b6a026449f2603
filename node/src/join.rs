//! From an invite to a data folder: keys made here, a first binding signed with the invite's seed, a certificate.
//! Called by `kith-node join` and by the demo. May be repeated after any interruption: what was made is used again, so that
//! the gateway sees the same binding and answers again. What a failed join made is taken away again, unless the gateway may have
//! admitted it.
//! Never sends a private key or the seed anywhere, never leaves a folder that looks joined and is not.

use kith_proto::envelope::ENVELOPE_BYTES_MAX;
use kith_proto::id::OrgId;
use kith_proto::log::policy::WitnessPolicy;
use kith_proto::problem::Problem;
use kith_proto::sign::{SigningFailed, SigningKey, sha256};
use kith_proto::trust::{self, Invite, InviteToken, Issuer, NewKeys, TokenError, TrustError};
use kith_proto::v1::{self, enrolment_service_client::EnrolmentServiceClient};
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::status::{Failure, failure_of};
use kith_service::store::StoreError;
use kith_service::tls::dial::{Dial, DialError};
use kith_service::tls::issue::{certificate_request, generate_key_pem};
use prost::Message as _;

use crate::audit::{self, Code, Event};
use crate::keys::{DataFolder, Keys, KeysError, Membership};
use crate::link::{self, Ended, TLS_CERTIFICATE, TLS_KEY};
use crate::node::{Config, Node, OpenError};
use crate::store::{self, counter::Counter, restore::Restore};

/// The file of `keys/` with the first binding, kept until the join is done.
const FIRST_BINDING: &str = "binding";

/// Why a node did not join, by what the person who runs it can do.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The text is no invite: copy it again.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The invite, its registrar, the gateway's issuer or the witness policy cannot be believed: ask for a new invite.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The folder belongs to a member already: choose another.
    #[error("this data folder has already joined a network, so nothing was changed; name another folder")]
    Joined,
    /// The token is another member's, or one to join with: ask for the right one.
    #[error(
        "this token is not one with which this organisation gets new keys; ask the network's owner for that"
    )]
    OtherMember,
    /// The folder was begun with another invite: choose another, or go on with that one.
    #[error("this data folder was begun with another invite; go on with that one, or name another folder")]
    OtherInvite,
    /// The folder cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The gateway could not be reached, or is not the one of the invite.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The gateway said no.
    #[error("the gateway refused the invite")]
    Refused(Box<Failure>),
    /// The gateway's answer cannot be believed.
    #[error("the gateway's answer cannot be believed")]
    Answer,
    /// The node did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl JoinError {
    /// Whether the gateway surely admitted nobody with the keys that were made here, so that they are of no more use. After a
    /// lost answer, or one that is no word of a gateway's, it may have: then only the same binding is answered again.
    fn is_settled(&self) -> bool {
        match self {
            Self::Token(_) | Self::Trust(_) | Self::OtherInvite | Self::Keys(_) | Self::Dial(_) => true,
            Self::Refused(failure) => {
                !matches!(failure.problem, Problem::Unavailable | Problem::DeadlineExceeded)
            }
            Self::Joined | Self::OtherMember | Self::Answer | Self::Open(_) | Self::Store(_) => false,
        }
    }

    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Token(error) => error.problem(),
            Self::Trust(error) => error.problem(),
            Self::Joined | Self::OtherInvite | Self::OtherMember => Problem::Conflict,
            Self::Keys(error) => error.problem(),
            Self::Dial(error) => error.problem(),
            Self::Refused(failure) => failure.problem,
            Self::Answer => Problem::Unauthenticated,
            Self::Open(error) => error.problem(),
            Self::Store(error) => error.problem(),
        }
    }
}

impl From<SigningFailed> for JoinError {
    fn from(_: SigningFailed) -> Self {
        Self::Keys(KeysError::Library)
    }
}

/// What joining needs beside the invite.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The folder and store to be filled.
    pub config: Config,
    /// How to reach the gateway.
    pub dial: Dial,
    /// The time.
    pub clock: Clock,
    /// Randomness for the keys.
    pub rng: Rng,
}

/// Joins the network of an invite and gives what the node is now.
pub async fn join(token: &str, joining: &Joining) -> Result<Membership, JoinError> {
    let token = InviteToken::decode(token)?;
    let now_ms = joining.clock.now_ms();
    let (_, invite) = token.verify(now_ms)?;
    let issuer = trust::verify_issuer(&token.issuer, &token.root, &invite.network, now_ms)?;
    // The gateway is asked for newer ones; it cannot give an older one out as the first.
    WitnessPolicy::verify(&token.policy, &token.root, &invite.network)?;
    let folder = &joining.config.folder;
    let mut before = folder.before();
    folder.make()?;
    let lock = folder.lock()?;
    if folder.holds_node() {
        return Err(JoinError::Joined);
    }
    before.note_keys(folder);
    let asked = Asked {
        token: &token,
        invite: &invite,
        issuer: &issuer,
    };
    let answer = match enrol(joining, &asked).await {
        Ok(answer) => answer,
        Err(error) => {
            if error.is_settled() {
                folder.undo(&before);
            }
            return Err(error);
        }
    };
    let membership = Membership {
        network: invite.network,
        organisation: invite.org,
        kind: invite.kind,
        name: invite.name,
        gateway: token.gateway,
        root: token.root,
        issuer: token.issuer,
        policy: token.policy,
    };
    let is_rekey = invite.rekeyed.is_some();
    link::checked(&answer.certificate_chain_pem, &membership).map_err(|_| JoinError::Answer)?;
    folder.write(TLS_CERTIFICATE, &answer.certificate_chain_pem)?;
    // Before the folder counts as a node's: it is never served with another store than it was joined with.
    if let Some(url) = &joining.config.store_url {
        folder.keep_store(url)?;
    }
    membership.save(folder)?;
    drop(lock);
    note(joining, &membership.organisation, is_rekey).await?;
    Ok(membership)
}

/// What a node joins with, believed.
pub(crate) struct Asked<'a> {
    pub(crate) token: &'a InviteToken,
    pub(crate) invite: &'a Invite,
    pub(crate) issuer: &'a Issuer,
}

/// Makes the keys, or takes those of an interrupted join, and asks the gateway.
async fn enrol(joining: &Joining, asked: &Asked<'_>) -> Result<v1::EnrolResponse, JoinError> {
    let Asked { token, .. } = asked;
    let (folder, now_ms) = (&joining.config.folder, joining.clock.now_ms());
    let keys = Keys::make(folder, &joining.rng, now_ms)?;
    let key_pem = tls_key(folder, TLS_KEY)?;
    let sealing = keys.newest_sealing_key().ok_or(KeysError::Library)?;
    let new = NewKeys {
        signing_key: keys.signing.public(),
        sealing_key: sealing.key.public().clone(),
    };
    let request = v1::EnrolRequest {
        registrar: Some(token.registrar.clone()),
        invite: Some(token.invite.clone()),
        binding: Some(first_binding((folder, FIRST_BINDING), asked, &new, now_ms)?),
        certificate_request_der: certificate_request(&key_pem).map_err(|_| KeysError::Malformed(TLS_KEY))?,
        logged: None,
    };
    ask(joining, asked, request).await
}

/// Asks the gateway to take a first binding: of a new member, or of a member with new keys.
pub(crate) async fn ask(
    joining: &Joining,
    asked: &Asked<'_>,
    request: v1::EnrolRequest,
) -> Result<v1::EnrolResponse, JoinError> {
    let Asked {
        token,
        invite,
        issuer,
    } = asked;
    let gateway = link::Gateway {
        address: &token.gateway,
        network: &invite.network,
        issuer,
        clock: &joining.clock,
    };
    let channel = link::anonymous(&gateway, &joining.dial).await.map_err(dialled)?;
    let mut client = EnrolmentServiceClient::new(channel).max_decoding_message_size(ENVELOPE_BYTES_MAX);
    if invite.rekeyed.is_none() {
        let answer = client.enrol(link::timed(request)).await;
        return Ok(answer.map_err(|status| refused(&status))?.into_inner());
    }
    let request = v1::RekeyRequest {
        enrolment: Some(request),
    };
    let answer = client.rekey(link::timed(request)).await;
    let answer = answer.map_err(|status| refused(&status))?.into_inner();
    answer.enrolment.ok_or(JoinError::Answer)
}

/// Why the gateway refused. A status without details is nobody's word but the connection's: it may have broken after the gateway
/// had admitted this node.
fn refused(status: &tonic::Status) -> JoinError {
    let failure = failure_of(status);
    let lost = status.details().is_empty() && failure.problem != Problem::DeadlineExceeded;
    JoinError::Refused(Box::new(if lost {
        Failure::new(Problem::Unavailable)
    } else {
        failure
    }))
}

/// The TLS key of this folder, made now unless a join was interrupted after it.
pub(crate) fn tls_key(folder: &DataFolder, file: &'static str) -> Result<String, KeysError> {
    if let Some(pem) = folder.read(file)? {
        return String::from_utf8(pem).map_err(|_| KeysError::Malformed(file));
    }
    let pem = generate_key_pem().map_err(|_| KeysError::Library)?;
    folder.write(file, pem.as_bytes())?;
    Ok(pem)
}

/// The first binding, signed now unless a join was interrupted after it: the gateway answers the same one again.
pub(crate) fn first_binding(
    (folder, file): (&DataFolder, &'static str),
    asked: &Asked<'_>,
    new: &NewKeys,
    now_ms: i64,
) -> Result<v1::Signed, JoinError> {
    let seed = SigningKey::from_seed(asked.token.seed)?;
    if let Some(bytes) = folder.read(file)? {
        let signed = v1::Signed::decode(bytes.as_slice()).map_err(|_| KeysError::Malformed(file))?;
        let by_this_invite = signed.signer == sha256(&[&seed.public().0]);
        return by_this_invite.then_some(signed).ok_or(JoinError::OtherInvite);
    }
    let signed = match asked.invite.rekeyed {
        Some(_) => trust::rekey_binding(&seed, asked.invite, new, now_ms)?,
        None => trust::first_binding(&seed, asked.invite, new, now_ms)?,
    };
    folder.write(file, &signed.encode_to_vec())?;
    Ok(signed)
}

fn dialled(ended: Ended) -> JoinError {
    match ended {
        Ended::Dial(error) => JoinError::Dial(error),
        Ended::Keys(error) => JoinError::Keys(error),
        _ => JoinError::Answer,
    }
}

/// Opens the new node once and writes the first line of its trail. One that takes the place of a lost one has everything to ask the
/// network for.
async fn note(joining: &Joining, organisation: &OrgId, is_rekey: bool) -> Result<(), JoinError> {
    let (clock, rng) = (joining.clock.clone(), joining.rng.clone());
    let node = Node::open(joining.config.clone(), clock, rng).await?;
    let event = Event::new(Code::NodeJoined, node.now_ms()).org("organisation", organisation);
    let from_nothing = &Restore::from_nothing(node.rng.bytes().map_err(KeysError::Random)?, node.now_ms());
    let (events, node) = (&[event], &node);
    let write = |mut tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        audit::insert(&mut tx, &mut counter, &node.rng, events).await?;
        if is_rekey {
            store::restore::insert(&mut tx, from_nothing).await?;
        }
        counter.save(&mut tx).await
    };
    node.store.tx::<_, StoreError, _, _>("joined", write).await?;
    node.store.close().await;
    Ok(())
}
