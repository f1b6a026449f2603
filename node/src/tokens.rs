//! Tokens of the organisation's own people and systems: made, listed, revoked, looked up. Only hashes are kept.
//! Called by the command line and by the gRPC guard.
//! Never logs, returns or stores a token after it was made.

mod failed;
mod roles;

use data_encoding::BASE64URL_NOPAD;
use kith_proto::id::TokenId;
use kith_proto::problem::Problem;
use kith_proto::sign::sha256;
use kith_service::clock::Clock;
use kith_service::rng::{RandomFailed, Rng};
use kith_service::store::{Store, StoreError, Tx};

use crate::audit::{self, Code, Event};
use crate::node::Node;
use crate::store::counter::Counter;
use crate::store::token;

pub use crate::store::token::Token;
pub use failed::FailedSignIns;
pub use roles::{Role, Roles};

/// What a token begins with, so that one that leaked is recognised.
const PREFIX: &str = "kith_";
/// Longest label, in bytes: a name or a system's.
pub const LABEL_BYTES_MAX: usize = 100;

/// Who calls, as the guard found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token they called with.
    pub token_id: TokenId,
    /// What they may do.
    pub roles: Roles,
}

impl Caller {
    /// Whether they see every person and thread of the organisation; a referrer alone sees what is theirs.
    pub const fn sees_all(&self) -> bool {
        self.roles.contains(Role::Coordinator)
    }

    /// Whether they may see a record that this token owns.
    pub fn sees(&self, owner: &TokenId) -> bool {
        self.sees_all() || self.token_id == *owner
    }
}

/// A new token; the only time that its secret is seen.
pub struct Made {
    /// Its id, for lists and the trail.
    pub token_id: TokenId,
    /// What its bearer shows.
    pub secret: String,
}

/// Why a token was not made, found or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The label is empty or longer than [`LABEL_BYTES_MAX`], or there is no role: correct it.
    #[error("a token needs a label of at most 100 bytes and at least one role")]
    Invalid,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl TokenError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Invalid => Problem::Invalid,
            Self::Store(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }
}

/// Makes a token of 256 random bits. Takes the store alone, as the command line makes one while no node runs.
pub async fn make(
    store: &Store,
    (clock, rng): (&Clock, &Rng),
    roles: Roles,
    label: String,
) -> Result<Made, TokenError> {
    if label.trim().is_empty() || label.len() > LABEL_BYTES_MAX || roles.is_empty() {
        return Err(TokenError::Invalid);
    }
    let secret = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&rng.bytes::<32>()?));
    let hash = hash(&secret);
    let made = Token {
        token_id: TokenId::from_bytes(rng.bytes()?),
        roles,
        label,
        created_at_ms: clock.now_ms(),
        revoked_at_ms: None,
    };
    let event = Event::new(Code::TokenMade, made.created_at_ms).token(&made.token_id);
    let (row, event) = (&made, &event);
    let insert = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        token::insert(&mut tx, row, &hash).await?;
        audit::insert(&mut tx, &mut counter, rng, std::slice::from_ref(event)).await?;
        counter.save(&mut tx).await
    };
    store.tx::<_, StoreError, _, _>("make token", insert).await?;
    Ok(Made {
        token_id: made.token_id,
        secret,
    })
}

/// Lists tokens, oldest first, at most a thousand.
pub async fn list(store: &Store) -> Result<Vec<Token>, TokenError> {
    Ok(store
        .read("list tokens", |mut tx| async move { token::list(&mut tx).await })
        .await?)
}

/// Revokes a token; `false` when there is none or it was revoked before.
pub async fn revoke(
    store: &Store,
    (clock, rng): (&Clock, &Rng),
    token_id: &TokenId,
) -> Result<bool, TokenError> {
    let at_ms = clock.now_ms();
    let event = Event::new(Code::TokenRevoked, at_ms).token(token_id);
    let event = &event;
    let revoke = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if !token::revoke(&mut tx, token_id, at_ms).await? {
            return Ok(false);
        }
        audit::insert(&mut tx, &mut counter, rng, std::slice::from_ref(event)).await?;
        counter.save(&mut tx).await?;
        Ok(true)
    };
    Ok(store.tx::<_, StoreError, _, _>("revoke token", revoke).await?)
}

/// What is kept and looked up of a token.
pub fn hash(secret: &str) -> [u8; 32] {
    sha256(&[secret.as_bytes()])
}

/// Who the bearer of the token with this hash is; `None` when there is none or it was revoked.
pub async fn find(node: &Node, hash: &[u8; 32]) -> Result<Option<Caller>, TokenError> {
    let found = node
        .store
        .read(
            "sign in",
            |mut tx| async move { token::by_hash(&mut tx, hash).await },
        )
        .await?;
    let live = found.filter(|token| token.revoked_at_ms.is_none());
    Ok(live.map(|token| Caller {
        token_id: token.token_id,
        roles: token.roles,
    }))
}

/// Writes into the trail how many sign-ins failed since it was last written.
pub async fn note_failed(node: &Node, count: i64) -> Result<(), TokenError> {
    let event = Event::new(Code::SignInFailed, node.now_ms()).number("count", count);
    Ok(audit::note(&node.store, &node.rng, event).await?)
}
