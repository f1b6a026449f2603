//! Passkeys: colleagues sign in with what their devices keep, for groups that have no provider of their own. Called by the web edge.
//! Never keeps a secret: a device signs a challenge that is used once, within [`BEGUN_MS`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kith_proto::id::TokenId;
use kith_proto::problem::Problem;
use kith_service::rng::RandomFailed;
use kith_service::store::{StoreError, Tx};
use kith_service::web::protect::Secret;
use url::Url;
use uuid::Uuid;
use webauthn_rs::prelude::{
    CreationChallengeResponse, DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, RequestChallengeResponse, Webauthn, WebauthnBuilder, WebauthnError,
};
use webauthn_rs_proto::ResidentKeyRequirement;

use crate::audit::{self, Code};
use crate::colleagues::{self, ColleagueError};
use crate::node::Node;
use crate::store::colleague;
use crate::store::counter::Counter;
use crate::store::passkey::{self as rows, PasskeyRow};
use crate::tokens::{Caller, TokenError};

pub use crate::store::passkey::PasskeyRow as Stored;

/// How long a challenge waits for its answer, in ms: somebody looks for their telephone meanwhile.
pub const BEGUN_MS: i64 = 5 * 60 * 1000;
/// Most challenges that wait at once; the oldest goes for a new one.
const BEGUN_MAX: usize = 512;
/// Most passkeys of one colleague: each of their devices, and a few that they lost.
pub const PASSKEYS_MAX: i64 = 20;

/// What waits for an answer.
enum Begun {
    /// Somebody makes a passkey.
    Making(TokenId, Box<PasskeyRegistration>),
    /// Somebody signs in.
    Entering(Box<DiscoverableAuthentication>),
}

/// The passkeys of one workspace: they belong to the address that browsers know it by.
pub struct Passkeys {
    webauthn: Webauthn,
    begun: Mutex<BTreeMap<[u8; 16], (i64, Begun)>>,
}

/// Why a passkey was not made or did not sign anybody in, by what can be done.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// The address of the workspace cannot have passkeys: a number instead of a name, or no HTTPS.
    #[error("passkeys need an address with a name")]
    Address,
    /// The challenge is over, or was answered before: begin again.
    #[error("the challenge is over")]
    Over,
    /// The answer is none, or not of a passkey that is known here: try again, or use a link.
    #[error("the device's answer was not accepted")]
    Refused,
    /// The colleague has [`PASSKEYS_MAX`] of them: take one away.
    #[error("there are too many passkeys")]
    Full,
    /// What colleagues answer.
    #[error(transparent)]
    Colleague(#[from] ColleagueError),
    /// That a sign-in failed could not be written down.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl PasskeyError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Address | Self::Refused => Problem::Invalid,
            Self::Over => Problem::DeadlineExceeded,
            Self::Full => Problem::CapacityFull,
            Self::Colleague(error) => error.problem(),
            Self::Token(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }
}

impl From<WebauthnError> for PasskeyError {
    fn from(_: WebauthnError) -> Self {
        Self::Refused
    }
}

const CORRUPT: StoreError = StoreError::Corrupt {
    table: "passkey",
    column: "passkey",
};

fn read(row: &PasskeyRow) -> Result<Passkey, StoreError> {
    serde_json::from_slice(&row.passkey).map_err(|_| CORRUPT)
}

fn written(passkey: &Passkey) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(passkey).map_err(|_| CORRUPT)
}

impl Passkeys {
    /// Passkeys of the workspace at this address, as browsers write it, such as `https://work.example.org`.
    pub fn at(origin: &Url) -> Result<Self, PasskeyError> {
        let host = origin.domain().ok_or(PasskeyError::Address)?;
        let built = WebauthnBuilder::new(host, origin).and_then(|builder| builder.rp_name("Kith").build());
        Ok(Self {
            webauthn: built.map_err(|_| PasskeyError::Address)?,
            begun: Mutex::default(),
        })
    }

    fn keep(&self, node: &Node, begun: Begun) -> Result<[u8; 16], PasskeyError> {
        let (id, now_ms) = (node.rng.bytes()?, node.clock.now_ms());
        let mut all = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (at_ms, _)| now_ms.saturating_sub(*at_ms) < BEGUN_MS);
        if all.len() >= BEGUN_MAX {
            let oldest = all.iter().min_by_key(|(_, (at_ms, _))| *at_ms).map(|(id, _)| *id);
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        all.insert(id, (now_ms, begun));
        Ok(id)
    }

    /// Takes what was begun, which is used up with it.
    fn take(&self, node: &Node, id: &[u8; 16]) -> Result<Begun, PasskeyError> {
        let mut all = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let (at_ms, begun) = all.remove(id).ok_or(PasskeyError::Over)?;
        let is_young = node.clock.now_ms().saturating_sub(at_ms) < BEGUN_MS;
        if is_young {
            Ok(begun)
        } else {
            Err(PasskeyError::Over)
        }
    }

    /// Begins to make a passkey for a colleague, who is signed in; gives what their browser is asked.
    pub async fn make(
        &self,
        node: &Node,
        caller: &Caller,
        label: &str,
    ) -> Result<([u8; 16], CreationChallengeResponse), PasskeyError> {
        let stored = of(node, &caller.token_id).await?;
        if i64::try_from(stored.len()).unwrap_or(i64::MAX) >= PASSKEYS_MAX {
            return Err(PasskeyError::Full);
        }
        let known: Result<Vec<Passkey>, StoreError> = stored.iter().map(read).collect();
        let known = known?.iter().map(|passkey| passkey.cred_id().clone()).collect();
        let person = Uuid::from_bytes(*caller.token_id.as_bytes());
        let (mut asked, begun) =
            self.webauthn
                .start_passkey_registration(person, label, label, Some(known))?;
        // Nobody types who they are when they sign in: the device has to know.
        if let Some(selection) = &mut asked.public_key.authenticator_selection {
            selection.resident_key = Some(ResidentKeyRequirement::Required);
            selection.require_resident_key = true;
        }
        let id = self.keep(node, Begun::Making(caller.token_id, Box::new(begun)))?;
        Ok((id, asked))
    }

    /// Keeps the passkey that a colleague's device made.
    pub async fn made(
        &self,
        node: &Node,
        caller: &Caller,
        (id, answer): (&[u8; 16], &RegisterPublicKeyCredential),
    ) -> Result<(), PasskeyError> {
        let Begun::Making(colleague_id, begun) = self.take(node, id)? else {
            return Err(PasskeyError::Over);
        };
        if colleague_id != caller.token_id {
            return Err(PasskeyError::Over);
        }
        let passkey = self.webauthn.finish_passkey_registration(answer, &begun)?;
        let row = PasskeyRow {
            credential_id: passkey.cred_id().to_vec(),
            colleague_id,
            passkey: written(&passkey)?,
            made_at_ms: node.clock.now_ms(),
            used_at_ms: None,
        };
        let (row, event) = (&row, &audit::by(caller, Code::PasskeyMade, row.made_at_ms));
        let write = |mut tx: Tx| async move {
            let mut counter = Counter::lock(&mut tx).await?;
            if !rows::insert(&mut tx, row).await? {
                return Ok(false);
            }
            audit::insert(&mut tx, &mut counter, &node.rng, std::slice::from_ref(event)).await?;
            counter.save(&mut tx).await?;
            Ok::<_, StoreError>(true)
        };
        let is_new = node.store.tx("make passkey", write).await?;
        if is_new {
            Ok(())
        } else {
            Err(PasskeyError::Refused)
        }
    }

    /// Begins a sign-in; gives what the browser is asked.
    pub fn enter(&self, node: &Node) -> Result<([u8; 16], RequestChallengeResponse), PasskeyError> {
        let (mut asked, begun) = self.webauthn.start_discoverable_authentication()?;
        // Somebody pressed a button for it.
        asked.mediation = None;
        let id = self.keep(node, Begun::Entering(Box::new(begun)))?;
        Ok((id, asked))
    }

    /// Signs in whoever's device answered; gives the session's secret. One that is refused is counted as a failed sign-in.
    pub async fn entered(
        &self,
        node: &Node,
        (id, answer): (&[u8; 16], &PublicKeyCredential),
    ) -> Result<Secret, PasskeyError> {
        let entered = self.verified(node, (id, answer)).await;
        if matches!(entered, Err(PasskeyError::Refused)) {
            node.failed_sign_ins.note(node).await?;
        }
        let (before, after) = entered?;
        let now_ms = node.clock.now_ms();
        let (before, after) = (&before, &after);
        let used = |mut tx: Tx| async move {
            let person = colleague::find(&mut tx, &before.colleague_id).await?;
            if person.is_none_or(|person| person.ended_at_ms.is_some()) {
                return Ok(false);
            }
            rows::used(&mut tx, before, after.clone(), now_ms).await
        };
        if !node.store.tx::<_, StoreError, _, _>("use passkey", used).await? {
            return Err(PasskeyError::Refused);
        }
        Ok(colleagues::begin(node, &before.colleague_id, "passkey").await?)
    }

    /// The passkey that an answer is of, as it was and as it is after this sign-in.
    async fn verified(
        &self,
        node: &Node,
        (id, answer): (&[u8; 16], &PublicKeyCredential),
    ) -> Result<(PasskeyRow, Vec<u8>), PasskeyError> {
        let Begun::Entering(begun) = self.take(node, id)? else {
            return Err(PasskeyError::Over);
        };
        let (person, credential_id) = self.webauthn.identify_discoverable_authentication(answer)?;
        let colleague_id = TokenId::from_bytes(*person.as_bytes());
        let find = |mut tx| async move { rows::find(&mut tx, credential_id, &colleague_id).await };
        let found = node
            .store
            .read::<_, StoreError, _, _>("find passkey", find)
            .await?;
        let row = found.ok_or(PasskeyError::Refused)?;
        let mut passkey = read(&row)?;
        let result = self
            .webauthn
            .finish_discoverable_authentication_v2(answer, *begun, &passkey)?;
        passkey.update_credential(&result);
        let after = written(&passkey)?;
        Ok((row, after))
    }
}

/// The passkeys of a colleague, oldest first.
pub async fn of(node: &Node, colleague_id: &TokenId) -> Result<Vec<PasskeyRow>, PasskeyError> {
    let find = |mut tx| async move { rows::of(&mut tx, colleague_id, PASSKEYS_MAX).await };
    Ok(node
        .store
        .read::<_, StoreError, _, _>("list passkeys", find)
        .await?)
}

/// Takes a passkey of a colleague away.
pub async fn end(node: &Node, caller: &Caller, credential_id: &[u8]) -> Result<(), PasskeyError> {
    let event = &audit::by(caller, Code::PasskeyEnded, node.clock.now_ms());
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if rows::end(&mut tx, credential_id, &caller.token_id).await? {
            audit::insert(&mut tx, &mut counter, &node.rng, std::slice::from_ref(event)).await?;
        }
        counter.save(&mut tx).await
    };
    Ok(node.store.tx::<_, StoreError, _, _>("end passkey", write).await?)
}
