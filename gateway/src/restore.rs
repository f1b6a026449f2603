//! A gateway that comes back from a backup of its database: the next epoch of its log, by the root's word.
//! The command `restore` calls it on a gateway that does not serve. Never without the word, never an epoch that the log has had, never
//! an epoch that needs the one before to be read: it begins with the whole key log.
//!
//! ```text
//! old epoch, caught up │ epoch_opened, each member's bindings and standing, the witness policy │ what comes after
//!                      └────────────────────── one transaction ──────────────────────────────┘
//! ```

use crate::audit::{Code, Event, Salted};
use crate::gateway::Gateway;
use crate::members::{KnownMember, Standing};
use crate::store::counter::{self, Counter};
use crate::store::{audit, epoch_word, member, whole as rows};
use kith_proto::id::OrgId;
use kith_proto::log::epoch_word::EpochWord;
use kith_proto::log::tree::TreeHead;
use kith_proto::problem::Problem;
use kith_proto::recovery::RestoreReason;
use kith_proto::trust::{TrustError, binding_hash};
use kith_proto::v1;
use kith_service::log::epoch::{self, Epoch};
use kith_service::log::{LogError, append};
use kith_service::rng::RandomFailed;
use kith_service::store::{StoreError, Tx};
use member::MemberRow;

/// Why a gateway was not restored, by what the operator can do. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The word is not the root's for this network: have it signed where the root's key is.
    #[error(
        "this is not the root's word for an epoch of this network: {0}; have it signed with the command epoch"
    )]
    Word(#[from] TrustError),
    /// The log is at this epoch or beyond: have the next one signed.
    #[error(
        "the word is for epoch {word}, but this log is at epoch {held} already; have the next epoch signed"
    )]
    Over {
        /// The epoch of the word.
        word: u64,
        /// The newest epoch of the log.
        held: u64,
    },
    /// A member's row cannot be believed: look with `audit verify`, and take an older backup.
    #[error(
        "the row of the member {0} is not what its chain proves; look with audit verify, and take an older backup"
    )]
    Member(OrgId),
    /// Something wrote into the store meanwhile: a gateway serves on it, which must be stopped first.
    #[error("something else writes into this store; stop every gateway on it first")]
    Serving,
    /// The log cannot be read or carried on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness: try again.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl RestoreError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Word(error) => error.problem(),
            Self::Over { .. } | Self::Serving => Problem::WrongState,
            Self::Member(_) => Problem::Unavailable,
            Self::Log(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Random(_) => Problem::Unavailable,
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The epoch that the log is in.
    pub epoch: u64,
    /// The epoch that was found.
    pub found_epoch: u64,
    /// Its tree.
    pub found: TreeHead,
    /// The newest event of the backup, ms UTC.
    pub backup_at_ms: i64,
    /// How many members came with it.
    pub members: usize,
}

/// Begins the epoch of the root's word. `None` where the log has begun it by this very word before, so that it may be asked again.
pub async fn restore(
    gateway: &Gateway,
    word: &v1::Signed,
    reason: RestoreReason,
) -> Result<Option<Restored>, RestoreError> {
    let now_ms = gateway.clock.now_ms();
    let (root, key) = (&gateway.keys.root, &gateway.keys.signing);
    let epoch = EpochWord::verify(word, root, &gateway.network, now_ms)?.epoch();
    if is_done(gateway, epoch, word).await? {
        gateway.log.catch_up(key).await?;
        return Ok(None);
    }
    // What the backup has of the old epoch belongs to it.
    gateway.log.catch_up(key).await?;
    let found = gateway.log.newest().await?;
    let read = |mut tx: Tx| async move { rows::members(&mut tx).await };
    let members: Vec<MemberRow> = gateway.store.read::<_, StoreError, _, _>("members", read).await?;
    let last = found.last_seq();
    let newest = |mut tx: Tx| async move { append::after(&mut tx, last - 1, 1).await };
    let newest: Vec<append::Stored> = gateway
        .store
        .read::<_, StoreError, _, _>("newest", newest)
        .await?;
    let restored = Restored {
        epoch,
        found_epoch: found.number,
        found: found.frontier.head(),
        backup_at_ms: newest.first().and_then(at_ms).unwrap_or_default(),
        members: members.len(),
    };
    let events = &key_log(gateway, &members, restored, (reason, now_ms))?;
    let found = &found;
    gateway
        .store
        .tx("restore", |mut tx| async move {
            begin(&mut tx, found, (epoch, word, now_ms), events).await
        })
        .await?;
    gateway.log.catch_up(key).await?;
    Ok(Some(restored))
}

/// Whether the log is in this epoch by this word. [`RestoreError::Over`] when it is there, or beyond, by another.
async fn is_done(gateway: &Gateway, epoch: u64, word: &v1::Signed) -> Result<bool, RestoreError> {
    let held = gateway.log.newest().await?.number;
    let read = |mut tx: Tx| async move { epoch_word::of(&mut tx, epoch).await };
    let taken_up: Option<v1::Signed> = gateway
        .store
        .read::<_, StoreError, _, _>("epoch word", read)
        .await?;
    if held == epoch && taken_up.as_ref() == Some(word) {
        return Ok(true);
    }
    if held >= epoch {
        return Err(RestoreError::Over { word: epoch, held });
    }
    Ok(false)
}

fn at_ms(event: &append::Stored) -> Option<i64> {
    let told = kith_proto::trail::event::Told::read(&event.preimage).ok()?;
    Some(told.at_ms)
}

/// The writes: the epoch, its first leaves, the word. The counter's row, held to the commit, says whether anything was written since.
async fn begin(
    tx: &mut Tx,
    found: &Epoch,
    (epoch, word, now_ms): (u64, &v1::Signed, i64),
    events: &[Salted],
) -> Result<(), RestoreError> {
    let first = found.last_seq() + 1;
    let is_quiet = counter::read(tx, Counter::Audit).await? == found.last_seq();
    let newest = epoch::newest(tx).await?;
    if !is_quiet || newest.as_ref() != Some(found) {
        return Err(RestoreError::Serving);
    }
    epoch::begin(tx, epoch, first).await?;
    epoch_word::put(tx, epoch, word, now_ms).await?;
    audit::insert(tx, events).await?;
    // Two at once: the counter went on under the other's hands, and this transaction is undone.
    let given = counter::read(tx, Counter::Audit).await?;
    let expected = found.last_seq() + i64::try_from(events.len()).unwrap_or(i64::MAX);
    if given == expected {
        Ok(())
    } else {
        Err(RestoreError::Serving)
    }
}

/// Leaf 0, and all that members believe each other's keys by.
fn key_log(
    gateway: &Gateway,
    members: &[MemberRow],
    restored: Restored,
    (reason, now_ms): (RestoreReason, i64),
) -> Result<Vec<Salted>, RestoreError> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut events = vec![
        Event::new(Code::EpochOpened, now_ms)
            .number("epoch", number(restored.epoch))
            .number("found_epoch", number(restored.found_epoch))
            .number("found_size", number(restored.found.size))
            .hash("found_root", &restored.found.root.0)
            .word("reason", reason.as_str()),
    ];
    let carried = |code| Event::new(code, now_ms).number("carried_from", number(restored.found_epoch));
    for row in members {
        let known = gateway
            .member(&row.org)
            .filter(|known| known.changed == row.changed);
        let known = known.ok_or_else(|| RestoreError::Member(row.org.clone()))?;
        events.extend(of_member(row, &known, carried));
    }
    let in_force = gateway.policy();
    events.push(
        carried(Code::PolicyPublished)
            .number("number", number(in_force.policy.number()))
            .number(
                "count",
                i64::try_from(in_force.policy.threshold()).unwrap_or(i64::MAX),
            )
            .hash("policy", &binding_hash(&in_force.signed)),
    );
    let salted = events.into_iter().map(|event| Salted::new(&gateway.rng, event));
    Ok(salted.collect::<Result<_, _>>()?)
}

/// A member's bindings in their order, and that it is suspended, in the words of the events that first said so.
fn of_member(row: &MemberRow, known: &KnownMember, carried: impl Fn(Code) -> Event) -> Vec<Event> {
    let mut events = Vec::new();
    for binding in &known.member.bindings {
        let number = i64::try_from(binding.number).unwrap_or(i64::MAX);
        events.push(if binding.number == 1 {
            carried(Code::MemberJoined)
                .org("organisation", &row.org)
                .id("invite", row.invite_id.as_bytes())
                .hash("tls_key_hash", &row.tls_key_hash)
                .word("kind", row.kind.as_str())
                .number("number", number)
                .hash("binding", &binding.hash)
        } else {
            carried(Code::BindingPublished)
                .org("organisation", &row.org)
                .number("number", number)
                .hash("binding", &binding.hash)
                .word("signed_by", if binding.rekey { "registrar" } else { "member" })
        });
    }
    if row.state == Standing::Suspended {
        events.push(carried(Code::MemberSuspended).org("organisation", &row.org));
    }
    events
}
