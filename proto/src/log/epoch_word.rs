//! The root's word for a later epoch of the gateway's log: the gateway came back from a backup, and its log begins anew.
//! The root's command issues it; gateways, nodes and witnesses take a later epoch up by it alone.
//! Never let a gateway begin an epoch by itself, never take a word for the first epoch, nor one of another network.
//!
//! As text, for plain HTTPS (`GET /log/EPOCH/word`, and `POST /add-epoch` of a witness), three lines:
//!
//! ```text
//! kith/v1/log_epoch
//! base64 of the root's public key
//! base64 of the signed statement
//! ```

use crate::id::NetworkName;
use crate::problem::Problem;
use crate::sign::{Context, PublicKey, SigningKey};
use crate::trust::{CLOCK_SKEW_MS, STATEMENT_BYTES_MAX, TrustError, issue::sign, open, same_network};
use crate::v1;
use data_encoding::BASE64;
use prost::Message as _;

/// Highest epoch: more restores than a network can have, and as many as a log's list of epochs shows.
pub const EPOCH_MAX: u64 = 1000;
/// Longest word as text: a statement, its signature and its signer in base64, and the two lines before.
pub const WORD_BYTES_MAX: usize = (STATEMENT_BYTES_MAX + 256) / 3 * 4 + 256;
const FIRST_LINE: &str = "kith/v1/log_epoch";

/// A word that the root has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochWord {
    network: NetworkName,
    epoch: u64,
    made_at_ms: i64,
}

impl EpochWord {
    /// Signs the word for an epoch with the root; [`TrustError::Malformed`] for the first epoch, or one above [`EPOCH_MAX`].
    pub fn issue(
        root: &SigningKey,
        network: &NetworkName,
        epoch: u64,
        now_ms: i64,
    ) -> Result<v1::Signed, TrustError> {
        let word = v1::LogEpoch {
            network: network.to_string(),
            epoch,
            made_at_ms: now_ms,
        };
        Self::read(&word, network)?;
        sign(root, Context::LogEpoch, &word)
    }

    /// Verifies the root's word for this network. [`TrustError::Clock`] when it was made more than an hour after `now_ms`. Which epoch is
    /// the highest seen is the caller's record.
    pub fn verify(
        signed: &v1::Signed,
        root: &PublicKey,
        network: &NetworkName,
        now_ms: i64,
    ) -> Result<Self, TrustError> {
        let word = Self::read(&open(signed, Context::LogEpoch, root)?, network)?;
        if word.made_at_ms > now_ms.saturating_add(CLOCK_SKEW_MS) {
            return Err(TrustError::Clock);
        }
        Ok(word)
    }

    /// The network.
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The epoch, from 2.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the root signed it, in milliseconds UTC.
    pub const fn made_at_ms(&self) -> i64 {
        self.made_at_ms
    }

    fn read(word: &v1::LogEpoch, network: &NetworkName) -> Result<Self, TrustError> {
        same_network(&word.network, network)?;
        if !(2..=EPOCH_MAX).contains(&word.epoch) || word.made_at_ms < 0 {
            return Err(TrustError::Malformed);
        }
        Ok(Self {
            network: network.clone(),
            epoch: word.epoch,
            made_at_ms: word.made_at_ms,
        })
    }
}

/// The text is no word, or too long: nothing of it was believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the root's word for an epoch")]
pub struct WordError;

impl WordError {
    /// The problem code.
    pub const fn problem(self) -> Problem {
        Problem::Invalid
    }
}

/// Writes a signed word as text, beside the key of the root that signed it.
pub fn write_word(root: &PublicKey, signed: &v1::Signed) -> String {
    let signed = BASE64.encode(&signed.encode_to_vec());
    format!("{FIRST_LINE}\n{}\n{signed}\n", BASE64.encode(&root.0))
}

/// Reads a word from text; the key is as claimed, so hold it against the root that is known before anything is verified with it.
pub fn read_word(text: &str) -> Result<(PublicKey, v1::Signed), WordError> {
    if text.len() > WORD_BYTES_MAX {
        return Err(WordError);
    }
    let mut lines = text.strip_suffix('\n').ok_or(WordError)?.split('\n');
    let (first, root, signed, rest) = (lines.next(), lines.next(), lines.next(), lines.next());
    if first != Some(FIRST_LINE) || rest.is_some() {
        return Err(WordError);
    }
    let bytes = |line: Option<&str>| {
        BASE64
            .decode(line.unwrap_or_default().as_bytes())
            .map_err(|_| WordError)
    };
    let root: [u8; 32] = bytes(root)?.try_into().map_err(|_| WordError)?;
    let signed = v1::Signed::decode(bytes(signed)?.as_slice()).map_err(|_| WordError)?;
    Ok((PublicKey(root), signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::issue_registrar;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed([seed; 32]).unwrap()
    }

    fn network() -> NetworkName {
        "lune-valley.example".parse().unwrap()
    }

    #[test]
    fn a_word_of_the_root_is_read_back_and_no_other() {
        let signed = EpochWord::issue(&key(1), &network(), 2, NOW_MS).unwrap();
        let verify = |root: u8, network: &NetworkName, now_ms| {
            EpochWord::verify(&signed, &key(root).public(), network, now_ms)
        };
        let word = verify(1, &network(), NOW_MS).unwrap();
        assert_eq!(
            (word.epoch(), word.made_at_ms(), word.network()),
            (2, NOW_MS, &network())
        );
        assert_eq!(verify(2, &network(), NOW_MS), Err(TrustError::Forged));
        let other: NetworkName = "other.example".parse().unwrap();
        assert_eq!(verify(1, &other, NOW_MS), Err(TrustError::Foreign));
        assert!(verify(1, &network(), NOW_MS - CLOCK_SKEW_MS).is_ok());
        assert_eq!(
            verify(1, &network(), NOW_MS - CLOCK_SKEW_MS - 1),
            Err(TrustError::Clock)
        );
        let mut altered = signed.clone();
        altered.statement.push(0);
        let altered = EpochWord::verify(&altered, &key(1).public(), &network(), NOW_MS);
        assert_eq!(altered, Err(TrustError::Forged));
        // Another statement of the same root is no word.
        let registrar = issue_registrar(&key(1), &network(), &key(3).public(), 0, 1000).unwrap();
        let taken = EpochWord::verify(&registrar, &key(1).public(), &network(), NOW_MS);
        assert_eq!(taken, Err(TrustError::Forged));
    }

    #[test]
    fn an_epoch_has_limits_and_the_first_has_no_word() {
        for (epoch, made_at_ms, is_sound) in [
            (0, 1, false),
            (1, 1, false),
            (2, 0, true),
            (2, -1, false),
            (EPOCH_MAX, 1, true),
            (EPOCH_MAX + 1, 1, false),
            (u64::MAX, 1, false),
        ] {
            let issued = EpochWord::issue(&key(1), &network(), epoch, made_at_ms);
            assert_eq!(issued.is_ok(), is_sound, "{epoch} at {made_at_ms}");
            // Nor does a root that signs it all the same make it one.
            let statement = v1::LogEpoch {
                network: network().to_string(),
                epoch,
                made_at_ms,
            };
            let signed = sign(&key(1), Context::LogEpoch, &statement).unwrap();
            let read = EpochWord::verify(&signed, &key(1).public(), &network(), NOW_MS);
            assert_eq!(read.is_ok(), is_sound, "{epoch} at {made_at_ms}");
        }
    }

    #[test]
    fn as_text_it_is_the_same_to_the_byte() {
        let signed = EpochWord::issue(&key(1), &network(), 2, NOW_MS).unwrap();
        let text = write_word(&key(1).public(), &signed);
        assert!(text.len() <= WORD_BYTES_MAX);
        assert_eq!(read_word(&text), Ok((key(1).public(), signed)));
        let cut = text.trim_end_matches('\n');
        for other in [
            "",
            "\n",
            cut,
            &format!("{text}\n"),
            &text.replace("log_epoch", "policy"),
        ] {
            assert_eq!(read_word(other), Err(WordError), "{other}");
        }
        assert_eq!(read_word(&"a".repeat(WORD_BYTES_MAX + 1)), Err(WordError));
    }
}
