//! Alarms: what must not be, was seen, and needs a person. Raised by the link; shown by `status` and `doctor`.
//! Never raised twice for the same evidence, never without a line of the trail, never with a sentence in the store.

use kith_proto::log::note::Note;
use kith_proto::problem::Problem;
use kith_service::log::seen::{self, Fork};
use kith_service::store::StoreError;

use crate::audit::{self, Code, Event};
use crate::node::Node;
use crate::store;
use crate::store::counter::Counter;

pub use crate::store::alarm::Alarm;

/// Writes the list once: word, whether it ends all sending, sentence.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $stops:literal, $sentence:literal;)+) => {
        /// What was seen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $variant,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the store and in the trail.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Whether nothing is sent until what it is about is put right.
            pub const fn stops(self) -> bool {
                match self { $(Self::$variant => $stops,)+ }
            }

            /// What people are told.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }

        impl std::str::FromStr for Kind {
            type Err = UnknownKind;
            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownKind),
                }
            }
        }
    };
}

kinds! {
    /// The gateway's log does not go on from what was seen, or its entries do not lead to its checkpoint.
    GatewayLog = "gateway_log", true,
        "The gateway's log is not the one that this node has followed. Nothing is sent. Ask the network's owner.";
    /// An entry of the key log was not opened, or opened to something else.
    GatewayEntry = "gateway_entry", true,
        "The gateway hides or alters entries of its key log. Nothing is sent. Ask the network's owner.";
    /// The gateway shows a smaller log than before.
    GatewayBehind = "gateway_behind", true,
        "The gateway's log is shorter than this node has seen it. Nothing is sent until it is whole again. Ask the network's owner.";
    /// The gateway shows a witness policy that is older than the one held, another of the same number, or not the root's.
    Policy = "policy", false,
        "The gateway shows a witness policy that is not the newest of the network's root. The newest one is kept.";
    /// The key log or the directory names keys of this organisation that it did not make.
    ForeignBinding = "foreign_binding", true,
        "The network shows keys for this organisation that it did not make. Nothing is sent. Ask the network's owner.";
    /// Log and directory differ about who is suspended.
    Standing = "standing", false,
        "The gateway's directory and its log differ about who is suspended. Ask the network's owner.";
    /// The gateway has cosigned a larger log of this node than its database has.
    OwnLogBehind = "own_log_behind", true,
        "This node's database is older than what the gateway has cosigned of its log. Nothing is served or sent. Stop it and start it from \
         its newest data folder; if there is none, run `kith-node restore`.";
    /// This node's log does not go on from what the gateway has cosigned of it.
    OwnLogForked = "own_log_forked", true,
        "This node's log does not go on from what the gateway has cosigned of it. Nothing is served or sent. Stop it and start it from its \
         newest data folder; if there is none, run `kith-node restore`.";
}

impl Kind {
    /// Whether this node may sign no further checkpoint of its own log: only a restored node's new epoch goes on from there.
    pub const fn ends_own_log(self) -> bool {
        matches!(self, Self::OwnLogBehind | Self::OwnLogForked)
    }
}

/// A word that is no kind of alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of alarm has this name")]
pub struct UnknownKind;

impl UnknownKind {
    /// The problem code.
    pub const fn problem(self) -> Problem {
        Problem::Invalid
    }
}

/// Keeps an alarm with its evidence and, the first time, writes its line into the trail. A fork that it rests on is kept with it.
pub(crate) async fn raise(
    node: &Node,
    kind: Kind,
    evidence: &[u8],
    fork: Option<(&Note, &Note)>,
) -> Result<(), StoreError> {
    tracing::error!(kind = kind.as_str(), "{}", kind.sentence());
    let now_ms = node.now_ms();
    let fork = fork.map(|(held, offered)| Fork {
        origin: offered.text().lines().next().unwrap_or_default().to_owned(),
        held: held.clone(),
        offered: offered.clone(),
        seen_at_ms: now_ms,
    });
    let fork = fork.as_ref();
    let write = |mut tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if let Some(fork) = fork {
            seen::put_fork(&mut tx, fork).await?;
        }
        if store::alarm::put(&mut tx, kind, evidence, now_ms).await? {
            let event = Event::new(Code::AlarmRaised, now_ms).word("kind", kind.as_str());
            audit::insert(&mut tx, &mut counter, &node.rng, &[event]).await?;
        }
        counter.save(&mut tx).await
    };
    node.store.tx::<_, StoreError, _, _>("alarm", write).await?;
    if kind.ends_own_log() {
        node.own_log_ended.send_replace(true);
    }
    Ok(())
}

/// Every kind that was raised, with its first time.
pub async fn all(store: &kith_service::store::Store) -> Result<Vec<Alarm>, StoreError> {
    let read = |mut tx| async move { store::alarm::all(&mut tx).await };
    store.read("alarms", read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_word() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert!(kind.sentence().ends_with('.'));
            assert!(kind.stops() || !kind.ends_own_log());
        }
        assert_eq!("".parse::<Kind>(), Err(UnknownKind));
    }
}
