//! The trail: what happened, as codes, ids and times. Called inside every writing transaction.
//! Never given a name, a word anybody wrote, or a hash of either.

use kith_proto::id::{OrgId, TokenId};
use kith_service::rng::Rng;
use kith_service::store::{Store, StoreError, Tx};

use crate::store;
use crate::store::counter::Counter;

/// What can happen; a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The node joined its network.
    NodeJoined,
    /// A token was made.
    TokenMade,
    /// A token was revoked.
    TokenRevoked,
    /// A person was recorded.
    PersonRecorded,
    /// A person's record was changed.
    PersonChanged,
    /// A record or thread was opened.
    Opened,
    /// A list was shown: with a count.
    Listed,
    /// A named person stands for a consent text.
    StatementReviewed,
    /// A grant was given.
    GrantGiven,
    /// A grant was narrowed.
    GrantNarrowed,
    /// A grant was withdrawn.
    GrantWithdrawn,
    /// A grant ran out.
    GrantExpired,
    /// A slip was issued.
    SlipIssued,
    /// An envelope was put into the outbox.
    EnvelopeSent,
    /// The gateway signed for an envelope.
    EnvelopeTaken,
    /// The gateway refused an envelope.
    EnvelopeRefused,
    /// The gateway dropped an envelope.
    EnvelopeDropped,
    /// An envelope was received.
    EnvelopeReceived,
    /// A received envelope was refused.
    EnvelopeRejected,
    /// The recipient signed for an envelope.
    EnvelopeDelivered,
    /// A referral moved.
    ReferralMoved,
    /// A withdrawal was proved.
    WithdrawalProved,
    /// The keys of a holding were destroyed.
    HoldingDestroyed,
    /// A key was rotated.
    KeyRotated,
    /// A key was destroyed.
    KeyDestroyed,
    /// Sign-ins failed: with a count.
    SignInFailed,
}

impl Code {
    /// The word in the store and in exports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeJoined => "node_joined",
            Self::TokenMade => "token_made",
            Self::TokenRevoked => "token_revoked",
            Self::PersonRecorded => "person_recorded",
            Self::PersonChanged => "person_changed",
            Self::Opened => "opened",
            Self::Listed => "listed",
            Self::StatementReviewed => "statement_reviewed",
            Self::GrantGiven => "grant_given",
            Self::GrantNarrowed => "grant_narrowed",
            Self::GrantWithdrawn => "grant_withdrawn",
            Self::GrantExpired => "grant_expired",
            Self::SlipIssued => "slip_issued",
            Self::EnvelopeSent => "envelope_sent",
            Self::EnvelopeTaken => "envelope_taken",
            Self::EnvelopeRefused => "envelope_refused",
            Self::EnvelopeDropped => "envelope_dropped",
            Self::EnvelopeReceived => "envelope_received",
            Self::EnvelopeRejected => "envelope_rejected",
            Self::EnvelopeDelivered => "envelope_delivered",
            Self::ReferralMoved => "referral_moved",
            Self::WithdrawalProved => "withdrawal_proved",
            Self::HoldingDestroyed => "holding_destroyed",
            Self::KeyRotated => "key_rotated",
            Self::KeyDestroyed => "key_destroyed",
            Self::SignInFailed => "sign_in_failed",
        }
    }
}

/// One event of the trail. The preimage is (name, value) pairs, each part after its length (4 bytes, big-endian), in
/// the order they were added; names are words of this program, values ids, codes, numbers.
#[derive(Clone, Debug)]
pub struct Event {
    pub(crate) code: Code,
    pub(crate) at_ms: i64,
    pub(crate) preimage: Vec<u8>,
}

impl Event {
    /// Begins an event.
    pub fn new(code: Code, at_ms: i64) -> Self {
        Self {
            code,
            at_ms,
            preimage: Vec::new(),
        }
    }

    /// Adds an id.
    #[must_use]
    pub fn id(self, name: &'static str, id: &[u8; 16]) -> Self {
        self.pair(name, id)
    }

    /// Adds the hash of something that is public, such as a text of this program.
    #[must_use]
    pub fn hash(self, name: &'static str, hash: &[u8; 32]) -> Self {
        self.pair(name, hash)
    }

    /// Adds whoever called.
    #[must_use]
    pub fn by(self, token: &TokenId) -> Self {
        self.pair("token", token.as_bytes())
    }

    /// Adds an organisation.
    #[must_use]
    pub fn org(self, name: &'static str, org: &OrgId) -> Self {
        self.pair(name, org.as_str().as_bytes())
    }

    /// Adds a word of a closed list.
    #[must_use]
    pub fn word(self, name: &'static str, word: &'static str) -> Self {
        self.pair(name, word.as_bytes())
    }

    /// Adds a number: a count or a time.
    #[must_use]
    pub fn number(self, name: &'static str, number: i64) -> Self {
        self.pair(name, &number.to_be_bytes())
    }

    fn pair(mut self, name: &'static str, value: &[u8]) -> Self {
        for part in [name.as_bytes(), value] {
            // cannot be cut: names and values are ids, slugs and words of at most 40 bytes.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.preimage.extend_from_slice(&length.to_be_bytes());
            self.preimage.extend_from_slice(part);
        }
        self
    }
}

/// A list or search that this caller was shown: its name and how many lines. Note it before they are returned.
pub fn listed(token: &TokenId, list: &'static str, lines: usize, at_ms: i64) -> Event {
    let count = i64::try_from(lines).unwrap_or(i64::MAX);
    let event = Event::new(Code::Listed, at_ms).by(token);
    event.word("list", list).number("count", count)
}

/// Writes one event that belongs to no other write, in a transaction of its own.
pub async fn note(store: &Store, rng: &Rng, event: Event) -> Result<(), StoreError> {
    let event = &event;
    store
        .tx("note", |mut tx| async move {
            let mut counter = Counter::lock(&mut tx).await?;
            insert(&mut tx, &mut counter, rng, std::slice::from_ref(event)).await?;
            counter.save(&mut tx).await
        })
        .await
}

/// Writes events into the trail in their order, each with its own id and a fresh salt, in one statement. Without
/// randomness for a salt the transaction is given up: [`StoreError::Abandoned`].
pub async fn insert(
    tx: &mut Tx,
    counter: &mut Counter,
    rng: &Rng,
    events: &[Event],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        let random = rng.bytes::<32>().map_err(|_| StoreError::Abandoned)?;
        rows.push(store::audit::Row::new(counter.next_audit(), random, event));
    }
    store::audit::insert(tx, &rows).await
}
