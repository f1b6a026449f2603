//! The witness policy: which witnesses a network has and how many of them must have cosigned before a checkpoint counts.
//! The root's command issues it; nodes, gateways and the offline verifier open checkpoints by it.
//! Never let a log witness itself, never count one witness twice, never say "counted" of a checkpoint that nobody cosigned.

use super::checkpoint::Checkpoint;
use super::note::{KeyKind, KeyName, Note, NoteError, VerifierKey};
use crate::id::NetworkName;
use crate::sign::{Context, PublicKey, SigningKey};
use crate::text::is_of_a_name;
use crate::trust::{TrustError, issue::sign, open, public_key, same_network};
use crate::v1;
use std::fmt;

/// Most witnesses of one policy; with names of common length they fit the longest statement, and their cosignatures a note.
pub const WITNESSES_MAX: usize = 16;

/// A policy that the root has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessPolicy {
    network: NetworkName,
    threshold: usize,
    witnesses: Vec<VerifierKey>,
    disclosures_per_week: u32,
    number: u64,
    made_at_ms: i64,
}

impl WitnessPolicy {
    /// Signs a policy with the root; [`TrustError`] when it is one that [`WitnessPolicy::verify`] would refuse.
    pub fn issue(root: &SigningKey, policy: &v1::WitnessPolicy) -> Result<v1::Signed, TrustError> {
        let network = policy.network.parse().map_err(|_| TrustError::Malformed)?;
        Self::read(policy, &network)?;
        sign(root, Context::Policy, policy)
    }

    /// Verifies the root's policy for this network: up to [`WITNESSES_MAX`] witnesses with distinct names and distinct keys, and a
    /// threshold of 1 to all of them, or of 0 where there is none. Of two policies the one with the higher number counts; which is
    /// the highest seen is the caller's record.
    pub fn verify(signed: &v1::Signed, root: &PublicKey, network: &NetworkName) -> Result<Self, TrustError> {
        Self::read(&open(signed, Context::Policy, root)?, network)
    }

    /// The network.
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// How many witnesses must have cosigned.
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// The witnesses' keys, all of kind [`KeyKind::Cosignature`].
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// How many disclosures without consent the gate passes in a week.
    pub const fn disclosures_per_week(&self) -> u32 {
        self.disclosures_per_week
    }

    /// Its number, from 1.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// When the root signed it, in milliseconds UTC.
    pub const fn made_at_ms(&self) -> i64 {
        self.made_at_ms
    }

    /// Opens a log's note as [`Checkpoint::open`] does and says whether it counts. A witness with a key of the log itself is passed
    /// over. [`NoteError::Forged`] when a cosignature in the name of a witness is not its own: take that line away, or fetch again.
    pub fn open(&self, note: &Note, log_keys: &[VerifierKey]) -> Result<(Checkpoint, Standing), NoteError> {
        let checkpoint = Checkpoint::open(note, log_keys)?;
        let own = |witness: &VerifierKey| log_keys.iter().any(|log| log.public() == witness.public());
        let others: Vec<VerifierKey> = self.witnesses.iter().filter(|w| !own(w)).cloned().collect();
        let verified = match note.verify(&others) {
            Err(NoteError::Unsigned) => Vec::new(),
            verified => verified?,
        };
        let by: Vec<Cosigned> = verified
            .into_iter()
            .filter_map(|by| {
                Some(Cosigned {
                    witness: by.key.name().clone(),
                    time_s: by.time_s?,
                })
            })
            .collect();
        let standing = if self.threshold == 0 {
            Standing::NoWitness
        } else if by.len() >= self.threshold {
            Standing::Counted { by }
        } else {
            Standing::Unwitnessed {
                by,
                needed: self.threshold,
            }
        };
        Ok((checkpoint, standing))
    }

    fn read(policy: &v1::WitnessPolicy, network: &NetworkName) -> Result<Self, TrustError> {
        same_network(&policy.network, network)?;
        if policy.witnesses.len() > WITNESSES_MAX {
            return Err(TrustError::TooLarge);
        }
        let mut witnesses: Vec<VerifierKey> = Vec::with_capacity(policy.witnesses.len());
        for witness in &policy.witnesses {
            let name: KeyName = witness.name.parse().map_err(|_| TrustError::Malformed)?;
            let public = public_key(&witness.public_key)?;
            // Two names for one key would count one witness twice; tlog-cosignature forbids it too.
            let twice = witnesses
                .iter()
                .any(|w| *w.name() == name || w.public() == public);
            if twice || !name.as_str().chars().all(is_of_a_name) {
                return Err(TrustError::Malformed);
            }
            witnesses.push(VerifierKey::new(name, KeyKind::Cosignature, public));
        }
        let threshold = usize::try_from(policy.threshold).map_err(|_| TrustError::TooLarge)?;
        // None needed of several says "counted" of everything, more than there are of nothing. Without any witness the root's owner
        // says so, that nobody can say it for it.
        let sound = (1..=witnesses.len()).contains(&threshold) || (threshold == 0 && witnesses.is_empty());
        if !sound || policy.number == 0 {
            return Err(TrustError::Malformed);
        }
        Ok(Self {
            network: network.clone(),
            threshold,
            witnesses,
            disclosures_per_week: policy.disclosures_per_week,
            number: policy.number,
            made_at_ms: policy.made_at_ms,
        })
    }
}

/// A witness that cosigned, and when, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Its name in the policy.
    pub witness: KeyName,
    /// Seconds since 1970.
    pub time_s: u64,
}

/// Whether a checkpoint counts, and by whom, in the policy's order. Written as one line for `status`.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As many witnesses as the policy asks for, or more.
    Counted {
        /// Who cosigned.
        by: Vec<Cosigned>,
    },
    /// The policy names no witness: nobody but the log says so, and by the root's word that is enough.
    NoWitness,
    /// Fewer.
    Unwitnessed {
        /// Who cosigned.
        by: Vec<Cosigned>,
        /// How many must.
        needed: usize,
    },
}

impl Standing {
    /// Whether what rests on the checkpoint may be believed.
    pub const fn is_counted(&self) -> bool {
        matches!(self, Self::Counted { .. } | Self::NoWitness)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self {
            Self::Counted { by } => {
                write!(f, "counted: cosigned by ")?;
                by
            }
            Self::NoWitness => return f.write_str("unwitnessed: the network has no witness"),
            Self::Unwitnessed { by, needed } => {
                write!(f, "unwitnessed: {} of {needed} cosignatures", by.len())?;
                if by.is_empty() {
                    return Ok(());
                }
                write!(f, ", by ")?;
                by
            }
        };
        let names: Vec<&str> = by.iter().map(|one| one.witness.as_str()).collect();
        f.write_str(&names.join(", "))
    }
}
