//! Names: how the logs of a network and the keys under their notes are called.
//! Sequencers sign under them, witnesses and verifiers look keys up by them.
//! Never two logs of one name: an organisation's stands before the network's, the gateway's is the network's own.

use super::note::{KeyKind, KeyName, VerifierKey};
use crate::id::{NetworkName, OrgId};
use crate::sign::PublicKey;

/// Whose log or cosignature it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeper {
    /// The network's gateway.
    Gateway,
    /// A member's node.
    Node(OrgId),
}

impl Keeper {
    /// The name under which it cosigns: `NETWORK`, or `ORG.NETWORK`.
    pub fn witness(&self, network: &NetworkName) -> KeyName {
        let name = match self {
            Self::Gateway => network.to_string(),
            Self::Node(org) => format!("{org}.{network}"),
        };
        KeyName::of_ours(name)
    }

    /// The origin of its log in this epoch: the name before and `/log/EPOCH`.
    pub fn origin(&self, network: &NetworkName, epoch: u64) -> KeyName {
        KeyName::of_ours(format!("{}/log/{epoch}", self.witness(network)))
    }

    /// Reads an origin of this network: whose log, in which epoch, from 1; `None` for any other.
    pub fn of_origin(origin: &str, network: &NetworkName) -> Option<(Self, u64)> {
        let (name, epoch) = origin.split_once("/log/")?;
        let number: u64 = epoch.parse().ok().filter(|number| *number > 0)?;
        let keeper = if name == network.as_str() {
            Self::Gateway
        } else {
            let org = name.strip_suffix(network.as_str())?.strip_suffix('.')?;
            Self::Node(org.parse().ok()?)
        };
        (keeper.origin(network, number).as_str() == origin).then_some((keeper, number))
    }

    /// The key that signs the checkpoints of its log.
    pub fn log_key(&self, network: &NetworkName, epoch: u64, public: PublicKey) -> VerifierKey {
        VerifierKey::new(self.origin(network, epoch), KeyKind::Ed25519, public)
    }

    /// The key that cosigns the checkpoints of others.
    pub fn witness_key(&self, network: &NetworkName, public: PublicKey) -> VerifierKey {
        VerifierKey::new(self.witness(network), KeyKind::Cosignature, public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_log_of_a_network_has_its_own_name_and_is_read_back() {
        let network: NetworkName = "lune-valley.example".parse().unwrap();
        let gp = Keeper::Node("riverside-gp".parse().unwrap());
        assert_eq!(
            Keeper::Gateway.origin(&network, 1).as_str(),
            "lune-valley.example/log/1"
        );
        assert_eq!(
            gp.origin(&network, 12).as_str(),
            "riverside-gp.lune-valley.example/log/12"
        );
        for keeper in [Keeper::Gateway, gp] {
            let origin = keeper.origin(&network, 7);
            assert_eq!(Keeper::of_origin(origin.as_str(), &network), Some((keeper, 7)));
        }
        for other in [
            "lune-valley.example/log/0",
            "lune-valley.example/log/01",
            "lune-valley.example/log/",
            "lune-valley.example",
            "a.b.lune-valley.example/log/1",
            ".lune-valley.example/log/1",
            "other.example/log/1",
            "xlune-valley.example/log/1",
        ] {
            assert_eq!(Keeper::of_origin(other, &network), None, "{other}");
        }
    }

    #[test]
    fn the_longest_names_make_a_key_name() {
        let network: NetworkName = format!("{}.example", "n".repeat(55)).parse().unwrap();
        let org: OrgId = "o".repeat(40).parse().unwrap();
        let name = Keeper::Node(org).origin(&network, u64::MAX);
        assert_eq!(name.as_str().parse(), Ok(name));
    }
}
