//! The root's folder: read where the network's owner signs another witness policy, and the policy put into the other folders.
//! Called by the commands `policy`, `epoch` and `restore`. Never leaves the machine with the root's key, and never signs a number twice.

use super::folder::{self, Folder};
use super::{KeyError, policy};
use kith_proto::id::NetworkName;
use kith_proto::log::epoch_word::EpochWord;
use kith_proto::log::note::VerifierKey;
use kith_proto::log::policy::WitnessPolicy;
use kith_proto::sign::{PublicKey, SigningKey};
use kith_proto::v1;
use prost::Message as _;
use std::path::Path;

const FILE: &str = "policy.signed";
/// The last word for an epoch that this root signed.
const EPOCH_FILE: &str = "epoch.signed";

/// What the root signs with, on the owner's machine.
#[derive(Debug)]
pub struct RootKeys {
    /// The network.
    pub network: NetworkName,
    /// The root's key.
    pub signing: SigningKey,
    /// The policy that it signed last.
    pub policy: WitnessPolicy,
}

/// Who is to cosign, and how many of them.
#[derive(Clone, Copy, Debug)]
pub struct PolicyTerms<'a> {
    /// The witnesses' keys.
    pub witnesses: &'a [VerifierKey],
    /// How many must have cosigned before a checkpoint counts; 0 only without witnesses.
    pub threshold: u32,
    /// Number above which the new policy's stands: that of the highest policy known.
    pub above: u64,
}

impl RootKeys {
    /// Loads the root's folder.
    pub fn load(dir: &Path) -> Result<Self, KeyError> {
        let folder = Folder::of(dir, "root", "root.key")?;
        let network: NetworkName = folder.network()?;
        let signing = SigningKey::from_seed(folder.seed("root.key")?)?;
        let root = folder.public_key("root.pub")?;
        if root != signing.public() {
            return Err(KeyError::Mismatch);
        }
        let signed = policy(&folder, &root, &network)?;
        Ok(Self {
            policy: WitnessPolicy::verify(&signed, &root, &network)?,
            network,
            signing,
        })
    }

    /// Signs the next policy; what is no part of the terms stays as it was.
    pub fn sign_policy(&self, terms: PolicyTerms<'_>, now_ms: i64) -> Result<v1::Signed, KeyError> {
        let witnesses = terms.witnesses.iter().map(|key| v1::Witness {
            name: key.name().to_string(),
            public_key: key.public().0.to_vec(),
        });
        let next = v1::WitnessPolicy {
            network: self.network.to_string(),
            threshold: terms.threshold,
            witnesses: witnesses.collect(),
            disclosures_per_week: self.policy.disclosures_per_week(),
            number: self.policy.number().max(terms.above).saturating_add(1),
            made_at_ms: now_ms,
        };
        Ok(WitnessPolicy::issue(&self.signing, &next)?)
    }

    /// Signs the word for the first epoch above this one that it has not signed yet, and keeps it in the root's folder before anybody
    /// sees it: a gateway that came back twice must not begin one epoch in two ways.
    pub fn sign_epoch(&self, dir: &Path, above: u64, now_ms: i64) -> Result<(u64, v1::Signed), KeyError> {
        let kept = dir.join(EPOCH_FILE);
        let last = match kept.exists() {
            false => 1,
            true => {
                let signed = read_epoch(&kept)?;
                EpochWord::verify(&signed, &self.signing.public(), &self.network, i64::MAX)?.epoch()
            }
        };
        let epoch = last.max(above).saturating_add(1);
        let signed = EpochWord::issue(&self.signing, &self.network, epoch, now_ms)?;
        put_epoch(&kept, &signed)?;
        Ok((epoch, signed))
    }

    /// The number of the policy in another folder of this network: `registrar` or `gateway`, known by `file`.
    pub fn number_in(&self, dir: &Path, name: &'static str, file: &'static str) -> Result<u64, KeyError> {
        let folder = Folder::of(dir, name, file)?;
        let root: PublicKey = self.signing.public();
        if folder.public_key("root.pub")? != root || folder.network()? != self.network {
            return Err(KeyError::Foreign(dir.to_owned()));
        }
        let signed = policy(&folder, &root, &self.network)?;
        Ok(WitnessPolicy::verify(&signed, &root, &self.network)?.number())
    }
}

/// Puts a policy into a folder in one step: whoever reads sees the one before or this one.
pub fn put_policy(dir: &Path, signed: &v1::Signed) -> Result<(), KeyError> {
    Ok(folder::replace(&dir.join(FILE), &signed.encode_to_vec())?)
}

/// Writes the root's word for an epoch into a file, in one step.
pub fn put_epoch(path: &Path, signed: &v1::Signed) -> Result<(), KeyError> {
    Ok(folder::replace(path, &signed.encode_to_vec())?)
}

/// Reads the root's word for an epoch from a file; it is not believed yet.
pub fn read_epoch(path: &Path) -> Result<v1::Signed, KeyError> {
    Ok(folder::signed(path)?)
}
