//! Who this node is: network, root, organisation, gateway. Written at the end of `join`, loaded at every start.
//! Never changed by anything that came over the wire without the root's signature.

use data_encoding::HEXLOWER;
use kith_proto::id::{Address, NetworkName, OrgId};
use kith_proto::log::policy::WitnessPolicy;
use kith_proto::sign::PublicKey;
use kith_proto::v1;
use kith_proto::words::OrganisationKind;
use serde::{Deserialize, Serialize};

use super::folder::DataFolder;
use super::{KeysError, seed};

/// The file of `keys/` that says it, there once a join has ended well.
pub(super) const NETWORK: &str = "network";

/// A node's place in its network, as its invite gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    /// The network.
    pub network: NetworkName,
    /// The organisation.
    pub organisation: OrgId,
    /// What sort of body it is.
    pub kind: OrganisationKind,
    /// Its name for people.
    pub name: String,
    /// The gateway's address, `host:port`.
    pub gateway: String,
    /// The pinned root key.
    pub root: PublicKey,
    /// The root's statement of what the gateway may speak with, as last seen.
    pub issuer: v1::Signed,
    /// The root's witness policy with the highest number seen; empty in a folder that was joined before there was one.
    pub policy: v1::Signed,
}

/// The file's form: text, bytes in hexadecimal.
#[derive(Serialize, Deserialize)]
struct File {
    network: String,
    organisation: String,
    kind: String,
    name: String,
    gateway: String,
    root: String,
    issuer_statement: String,
    issuer_signature: String,
    issuer_signer: String,
    #[serde(default)]
    policy_statement: String,
    #[serde(default)]
    policy_signature: String,
    #[serde(default)]
    policy_signer: String,
}

impl Membership {
    /// Loads the membership; [`KeysError::Missing`] before a join has ended well.
    pub fn load(folder: &DataFolder) -> Result<Self, KeysError> {
        Self::parse(&folder.read(NETWORK)?.ok_or(KeysError::Missing(NETWORK))?)
    }

    /// Reads what the file holds.
    pub fn parse(text: &[u8]) -> Result<Self, KeysError> {
        let bad = || KeysError::Malformed(NETWORK);
        let file: File = serde_json::from_slice(text).map_err(|_| bad())?;
        let bytes = |hex: &str| HEXLOWER.decode(hex.as_bytes()).map_err(|_| bad());
        Ok(Self {
            network: file.network.parse().map_err(|_| bad())?,
            organisation: file.organisation.parse().map_err(|_| bad())?,
            kind: file.kind.parse().map_err(|_| bad())?,
            name: file.name,
            gateway: file.gateway,
            root: PublicKey(seed(file.root.as_bytes(), NETWORK)?),
            issuer: v1::Signed {
                statement: bytes(&file.issuer_statement)?,
                signature: bytes(&file.issuer_signature)?,
                signer: bytes(&file.issuer_signer)?,
            },
            policy: v1::Signed {
                statement: bytes(&file.policy_statement)?,
                signature: bytes(&file.policy_signature)?,
                signer: bytes(&file.policy_signer)?,
            },
        })
    }

    /// The witness policy, verified from the root; `None` where none was kept, or what was kept is not the root's.
    pub fn witness_policy(&self) -> Option<WitnessPolicy> {
        WitnessPolicy::verify(&self.policy, &self.root, &self.network).ok()
    }

    /// The member's address in its network.
    pub fn address(&self) -> Address {
        Address {
            org: self.organisation.clone(),
            network: self.network.clone(),
        }
    }

    /// Writes the membership, whole or not at all.
    pub fn save(&self, folder: &DataFolder) -> Result<(), KeysError> {
        let file = File {
            network: self.network.to_string(),
            organisation: self.organisation.to_string(),
            kind: self.kind.to_string(),
            name: self.name.clone(),
            gateway: self.gateway.clone(),
            root: HEXLOWER.encode(&self.root.0),
            issuer_statement: HEXLOWER.encode(&self.issuer.statement),
            issuer_signature: HEXLOWER.encode(&self.issuer.signature),
            issuer_signer: HEXLOWER.encode(&self.issuer.signer),
            policy_statement: HEXLOWER.encode(&self.policy.statement),
            policy_signature: HEXLOWER.encode(&self.policy.signature),
            policy_signer: HEXLOWER.encode(&self.policy.signer),
        };
        let text = serde_json::to_vec_pretty(&file).map_err(|_| KeysError::Malformed(NETWORK))?;
        folder.write(NETWORK, &text)
    }
}
