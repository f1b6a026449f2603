//! The folder of a stand-alone witness: one key and its name. Called by [`crate::witness`] and its command.
//! Never holds anything of a network; another operator's machine has no need of it.

use super::KeyError;
use super::folder::{Folder, NewFolder};
use kith_proto::log::note::{KeyKind, KeyName, VerifierKey};
use kith_proto::sign::SigningKey;
use kith_proto::text::is_of_a_name;
use kith_service::rng::Rng;
use std::path::Path;

const KEY: &str = "witness.key";

/// What a witness cosigns with.
#[derive(Debug)]
pub struct WitnessKeys {
    /// What it is called in policies.
    pub name: KeyName,
    /// Its key.
    pub signing: SigningKey,
}

impl WitnessKeys {
    /// Makes a key in an empty folder.
    pub fn create(dir: &Path, name: &str, rng: &Rng) -> Result<Self, KeyError> {
        let name = read(name)?;
        let seed = rng.bytes()?;
        let folder = NewFolder::at(dir)?;
        folder.seed(KEY, &seed)?;
        folder.text("name", name.as_str())?;
        Ok(Self {
            name,
            signing: SigningKey::from_seed(seed)?,
        })
    }

    /// Loads the folder.
    pub fn load(dir: &Path) -> Result<Self, KeyError> {
        let folder = Folder::of(dir, "witness", KEY)?;
        Ok(Self {
            name: read(&folder.text("name")?)?,
            signing: SigningKey::from_seed(folder.seed(KEY)?)?,
        })
    }

    /// The key by which policies and verifiers know it.
    pub fn public(&self) -> VerifierKey {
        VerifierKey::new(self.name.clone(), KeyKind::Cosignature, self.signing.public())
    }
}

/// Reads a name that a policy can hold.
fn read(name: &str) -> Result<KeyName, KeyError> {
    let plain = name.chars().all(is_of_a_name);
    name.parse().ok().filter(|_| plain).ok_or(KeyError::Name)
}
