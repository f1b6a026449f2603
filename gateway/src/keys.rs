//! The three folders that `init` makes, kept apart: the root's, the registrar's, the gateway's.
//! The commands and [`crate::gateway::Gateway::open`] call it. The gateway's folder never holds the root's or the registrar's key.
//!
//! | folder | secret files | public files |
//! |---|---|---|
//! | `root` | `root.key` | `root.pub`, `network`, `policy.signed` |
//! | `registrar` | `registrar.key` | `registrar.signed`, `issuer.signed`, `policy.signed`, `root.pub`, `network`, `public-address` |
//! | `gateway` | `issuing.key`, `signing.key` | `issuing.pem`, `issuer.signed`, `registrar.signed`, `policy.signed`, `root.pub`, `network`, `public-address` |
//!
//! A stand-alone witness has a folder of its own: `witness.key` and `name`.
//!
//! `.key` and `.pub` of Ed25519 are the seed and the public key in hexadecimal; `.signed` is a serialised `Signed`.

use crate::limits::{ADDRESS_BYTES_MAX, ISSUER_LIFE_MS, REGISTRAR_LIFE_MS};
use kith_proto::id::NetworkName;
use kith_proto::log::policy::WitnessPolicy;
use kith_proto::problem::Problem;
use kith_proto::sign::{PublicKey, SigningKey};
use kith_proto::trust::{self, CLOCK_SKEW_MS, TrustError};
use kith_proto::v1;
use kith_service::clock::Clock;
use kith_service::rng::{RandomFailed, Rng};
use kith_service::tls::issue::{IssueError, IssuingKey, Validity};
use std::path::{Path, PathBuf};

mod folder;
mod root;
mod witness;

pub use folder::FileError;
use folder::{Folder, NewFolder};
pub use root::{PolicyTerms, RootKeys, put_epoch, put_policy, read_epoch};
pub use witness::WitnessKeys;

/// The file that names the store, where it is not the one in the folder: it may hold a password.
const STORE: &str = "store";

/// Why keys were not made or loaded, by what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file is missing, cannot be read or written, or the folder is not empty: correct the path.
    #[error(transparent)]
    File(#[from] FileError),
    /// A statement does not verify from the root, or has run out: ask the network's owner for a new one.
    #[error("a statement in the folder is not the root's, or has run out")]
    Statement(#[from] TrustError),
    /// The issuing certificate is missing, broken or about to run out: ask the network's owner for a new one.
    #[error("the issuing certificate cannot be used")]
    Issuing(#[from] IssueError),
    /// The keys in the folder are not those that the root signed: restore the folder from its backup.
    #[error("the keys in the folder are not those that the root signed")]
    Mismatch,
    /// The gateway's address is not `host:port`: correct it.
    #[error("the gateway's address must be host:port")]
    Address,
    /// The name is none that a witness can have: choose another.
    #[error("a witness is named like a web address, such as witness.example, without spaces or plus signs")]
    Name,
    /// A folder belongs to another network or root: name the folder of this one.
    #[error("the folder {0} is of another network, so nothing was written")]
    Foreign(PathBuf),
    /// No randomness, or the library failed: try again.
    #[error("the system gave no random bytes")]
    Random(#[from] RandomFailed),
    /// The signing library failed: try again.
    #[error("the signing library failed")]
    Signing(#[from] kith_proto::sign::SigningFailed),
}

impl KeyError {
    /// The problem code that an edge answers.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::File(_)
            | Self::Mismatch
            | Self::Address
            | Self::Name
            | Self::Foreign(_)
            | Self::Issuing(_) => Problem::Invalid,
            Self::Statement(error) => error.problem(),
            Self::Random(_) | Self::Signing(_) => Problem::Unavailable,
        }
    }
}

/// What a new network is to be.
#[derive(Clone, Debug)]
pub struct NetworkTerms {
    /// Its name.
    pub network: NetworkName,
    /// Where nodes reach its gateway, `host:port`; goes into every invite.
    pub public_address: String,
}

/// Returns the port of a `host:port`; `None` when it is not one that a token can carry.
pub fn port(address: &str) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let plain = !host.is_empty()
        && address.len() <= ADDRESS_BYTES_MAX
        && address.bytes().all(|b| b.is_ascii_graphic());
    port.parse().ok().filter(|_| plain)
}

/// The public keys of a new network.
#[derive(Clone, Debug)]
pub struct NewNetwork {
    /// The root's.
    pub root: PublicKey,
    /// The registrar's.
    pub registrar: PublicKey,
    /// The gateway's signing key.
    pub gateway: PublicKey,
}

/// Makes a network's keys and writes them to `out/root`, `out/registrar` and `out/gateway`; `out` must be empty or missing.
pub fn create(terms: &NetworkTerms, out: &Path, clock: &Clock, rng: &Rng) -> Result<NewNetwork, KeyError> {
    if port(&terms.public_address).is_none() {
        return Err(KeyError::Address);
    }
    let now_ms = clock.now_ms();
    let validity = Validity {
        not_before_ms: now_ms.saturating_sub(CLOCK_SKEW_MS),
        not_after_ms: now_ms.saturating_add(ISSUER_LIFE_MS),
    };
    let [root_seed, registrar_seed, signing_seed] = [rng.bytes()?, rng.bytes()?, rng.bytes()?];
    let root = SigningKey::from_seed(root_seed)?;
    let registrar = SigningKey::from_seed(registrar_seed)?.public();
    let gateway = SigningKey::from_seed(signing_seed)?.public();
    let issuing = IssuingKey::generate(&terms.network, validity)?;
    let until_ms = now_ms.saturating_add(REGISTRAR_LIFE_MS);
    let registrar_signed = trust::issue_registrar(&root, &terms.network, &registrar, now_ms, until_ms)?;
    let issuer_signed = trust::issue_issuer(
        &root,
        &terms.network,
        issuing.certificate(),
        &gateway,
        issuing.not_after_ms(),
    )?;
    // Nobody is named yet who could cosign: the owner signs another policy once somebody is.
    let policy = v1::WitnessPolicy {
        network: terms.network.to_string(),
        number: 1,
        made_at_ms: now_ms,
        ..v1::WitnessPolicy::default()
    };
    let policy_signed = WitnessPolicy::issue(&root, &policy)?;

    let out = NewFolder::at(out)?;
    let folder = out.inner("root")?;
    folder.seed("root.key", &root_seed)?;
    folder.public_key("root.pub", &root.public())?;
    folder.text("network", terms.network.as_str())?;
    folder.signed("policy.signed", &policy_signed)?;
    for (name, seed) in [("registrar", "registrar.key"), ("gateway", "signing.key")] {
        let folder = out.inner(name)?;
        folder.seed(
            seed,
            if name == "registrar" {
                &registrar_seed
            } else {
                &signing_seed
            },
        )?;
        folder.signed("registrar.signed", &registrar_signed)?;
        folder.signed("issuer.signed", &issuer_signed)?;
        folder.signed("policy.signed", &policy_signed)?;
        folder.public_key("root.pub", &root.public())?;
        folder.text("network", terms.network.as_str())?;
        folder.text("public-address", &terms.public_address)?;
        if name == "gateway" {
            folder.text("issuing.pem", issuing.certificate_pem())?;
            folder.text("issuing.key", &issuing.key_pem())?;
        }
    }
    Ok(NewNetwork {
        root: root.public(),
        registrar,
        gateway,
    })
}

/// What the gateway speaks with, verified against the root.
#[derive(Debug)]
pub struct GatewayKeys {
    /// The network.
    pub network: NetworkName,
    /// The network's root.
    pub root: PublicKey,
    /// The TLS issuing certificate and key.
    pub issuing: IssuingKey,
    /// Signs receipts, refusals and tombstones.
    pub signing: SigningKey,
    /// The root's statement over both, as nodes get it.
    pub issuer: v1::Signed,
    /// The root's statement over the registrar in use.
    pub registrar: v1::Signed,
    /// The root's witness policy, as it was in the folder at the start; [`crate::policy`] says which is in force.
    pub policy: v1::Signed,
    folder: PathBuf,
}

impl GatewayKeys {
    /// Whether this is the gateway's folder, before anything is written into it.
    pub fn look(dir: &Path) -> Result<(), KeyError> {
        Folder::of(dir, "gateway", "signing.key")?;
        Ok(())
    }

    /// Remembers the store that `serve` was given by its name: a command without it would look into an empty one.
    pub fn keep_store(dir: &Path, url: &str) -> Result<(), KeyError> {
        Ok(folder::replace(&dir.join(STORE), url.as_bytes())?)
    }

    /// The store that was remembered; `None` for the one in the folder.
    pub fn kept_store(dir: &Path) -> Result<Option<String>, KeyError> {
        Ok(folder::text_if_any(&dir.join(STORE))?)
    }

    /// Loads the gateway's folder and checks that the root signed what is in it and that it has not run out.
    pub fn load(dir: &Path, now_ms: i64) -> Result<Self, KeyError> {
        let folder = Folder::of(dir, "gateway", "signing.key")?;
        let network: NetworkName = folder.network()?;
        let root = folder.public_key("root.pub")?;
        let issuer = folder.signed("issuer.signed")?;
        let said = trust::verify_issuer(&issuer, &root, &network, now_ms)?;
        let issuing = IssuingKey::load(&dir.join("issuing.pem"), &dir.join("issuing.key"))?;
        let signing = SigningKey::from_seed(folder.seed("signing.key")?)?;
        let same = said.certificate_der == issuing.certificate().as_ref()
            && said.signing_key == signing.public()
            && *issuing.network() == network;
        if !same {
            return Err(KeyError::Mismatch);
        }
        Ok(Self {
            registrar: folder.signed("registrar.signed")?,
            policy: policy(&folder, &root, &network)?,
            network,
            root,
            issuing,
            signing,
            issuer,
            folder: dir.to_owned(),
        })
    }

    /// Reads the witness policy that is in the folder now; it was replaced when the root's owner signed another.
    pub fn read_policy(&self) -> Result<v1::Signed, KeyError> {
        let folder = Folder::of(&self.folder, "gateway", "signing.key")?;
        policy(&folder, &self.root, &self.network)
    }
}

/// What the registrar invites with.
#[derive(Debug)]
pub struct RegistrarKeys {
    /// The network.
    pub network: NetworkName,
    /// The network's root.
    pub root: PublicKey,
    /// Signs invites.
    pub signing: SigningKey,
    /// The root's statement over it.
    pub registrar: v1::Signed,
    /// The root's statement over the gateway's keys.
    pub issuer: v1::Signed,
    /// The root's witness policy.
    pub policy: v1::Signed,
    /// Where nodes reach the gateway.
    pub public_address: String,
}

impl RegistrarKeys {
    /// Loads the registrar's folder and checks that the root signed it and that it has not run out.
    pub fn load(dir: &Path, now_ms: i64) -> Result<Self, KeyError> {
        let folder = Folder::of(dir, "registrar", "registrar.key")?;
        let network: NetworkName = folder.network()?;
        let root = folder.public_key("root.pub")?;
        let registrar = folder.signed("registrar.signed")?;
        let said = trust::verify_registrar(&registrar, &root, &network, now_ms)?;
        let issuer = folder.signed("issuer.signed")?;
        trust::verify_issuer(&issuer, &root, &network, now_ms)?;
        let signing = SigningKey::from_seed(folder.seed("registrar.key")?)?;
        if said.public_key != signing.public() {
            return Err(KeyError::Mismatch);
        }
        Ok(Self {
            public_address: folder.text("public-address")?,
            policy: policy(&folder, &root, &network)?,
            network,
            root,
            signing,
            registrar,
            issuer,
        })
    }
}

/// Reads a folder's witness policy, which the root must have signed for this network.
fn policy(folder: &Folder, root: &PublicKey, network: &NetworkName) -> Result<v1::Signed, KeyError> {
    let policy = folder.signed("policy.signed")?;
    WitnessPolicy::verify(&policy, root, network)?;
    Ok(policy)
}
