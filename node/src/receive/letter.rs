//! What an opened body says, field by field: the receiving node's own parse, as nothing that a sender wrote is trusted.
//! Called first for every arrival. Never keeps a body that breaks a limit, never corrects one.

use kith_proto::id::{EventId, MessageId, SlipId, ThreadId, WithdrawalId};
use kith_proto::lifecycle::{Move, Reason, State};
use kith_proto::part::{FIELD_VALUE_BYTES_MAX, PARTS_BYTES_MAX, is_field};
use kith_proto::problem::Problem;
use kith_proto::text::{is_of_a_name, is_of_a_text};
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, Purpose};

use super::{Arrival, Opened, Receipt, What, report};
use crate::access::Report;
use crate::audit::{self, Code};
use crate::returning::EVENTS_MAX;
use crate::threads::is_event;

/// Longest text of a consent record's fields, in bytes: a language tag, a day, `ti by professional`.
const RECORD_TEXT_BYTES_MAX: usize = 100;

/// Highest number and epoch of an event that is returned: far above any real thread's.
const NUMBER_MAX: u64 = 1 << 32;

/// One arrival as it was read.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) arrival: Meta,
    pub(super) says: Says,
}

/// Where an arrival came from, without its body.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) peer: kith_proto::id::OrgId,
    pub(super) position: Option<kith_proto::order::Position>,
    pub(super) envelope_id: kith_proto::id::EnvelopeId,
    pub(super) envelope_hash: [u8; 32],
    pub(super) received_at_ms: i64,
}

/// What a letter says.
#[derive(Clone, Debug)]
pub(super) enum Says {
    /// Nothing that is kept, and why: refused, or a tombstone.
    Nothing { problem: Problem, tombstone: bool },
    /// Something about a thread, under a slip.
    About(Box<About>),
}

/// What is said about a thread.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) opened: Opened,
    pub(super) content: Content,
}

/// The checked content of a body.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A referral.
    Referral {
        purpose: Purpose,
        referral: v1::Referral,
    },
    /// An event: numbered by the recipient's node, or a proposal of the sender's.
    Event(Event),
    /// How the thread stands at its other party, after this node came back from a backup.
    Returned(Returned),
    /// A message with its section.
    Message {
        id: MessageId,
        message: v1::ThreadMessage,
        section: Option<Category>,
    },
    /// Consent was taken back.
    Withdrawal {
        id: WithdrawalId,
        categories: Vec<Category>,
        withdrawn_at_ms: i64,
    },
    /// What a recipient did about that.
    Proof {
        id: WithdrawalId,
        proof: v1::WithdrawalProof,
    },
    /// Who opened, at a recipient, what was shared from here.
    AccessReport(Report),
}

/// The checked fields of an event.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) event_id: EventId,
    pub(super) mv: Move,
    pub(super) reason: Option<Reason>,
    pub(super) happened_at_ms: i64,
    pub(super) words: String,
    /// Epoch, number, state and deadline, where the recipient's node has numbered it.
    pub(super) numbered: Option<(u64, u64, State, i64)>,
}

/// The checked fields of a thread that is returned.
#[derive(Clone, Debug)]
pub(super) struct Returned {
    pub(super) restore_id: [u8; 16],
    pub(super) purpose: Purpose,
    /// Whether this node had sent the referral.
    pub(super) yours: bool,
    pub(super) created_at_ms: i64,
    pub(super) answer_by_ms: i64,
    pub(super) came_from: Option<State>,
    pub(super) events: Vec<Event>,
    /// Whether consent has ended at the other party.
    pub(super) cut: bool,
    /// Categories that were taken back there.
    pub(super) narrowed: Vec<Category>,
}

impl Letter {
    /// Reads an arrival; what cannot be read becomes a refusal.
    pub(super) fn read(arrival: Arrival, received_at_ms: i64) -> Self {
        let meta = Meta {
            peer: arrival.peer,
            position: arrival.position,
            envelope_id: arrival.envelope_id,
            envelope_hash: arrival.envelope_hash,
            received_at_ms,
        };
        let says = match arrival.what {
            What::Refused(problem) => Says::Nothing {
                problem,
                tombstone: false,
            },
            What::Tombstone(problem) => Says::Nothing {
                problem,
                tombstone: true,
            },
            What::Opened(opened) => match content(&opened, received_at_ms) {
                Ok(content) => Says::About(Box::new(About {
                    opened: *opened,
                    content,
                })),
                Err(problem) => Says::Nothing {
                    problem,
                    tombstone: false,
                },
            },
        };
        Self { arrival: meta, says }
    }

    /// Whether its reply depends on where the thread stands, so that it is prepared and written alone.
    pub(super) fn goes_alone(&self) -> bool {
        matches!(self.about().map(|about| &about.content), Some(Content::Event(event)) if event.numbered.is_none())
    }

    /// What it says about a thread.
    pub(super) fn about(&self) -> Option<&About> {
        match &self.says {
            Says::About(about) => Some(about),
            Says::Nothing { .. } => None,
        }
    }

    /// The slip that it goes under.
    pub(super) fn slip_id(&self) -> Option<SlipId> {
        self.about().map(|about| about.opened.slip.id)
    }
}

impl Meta {
    /// The trail's line of this arrival, and what it is about as far as it was read.
    pub(super) fn event(
        &self,
        code: Code,
        (slip, thread): (Option<SlipId>, Option<ThreadId>),
    ) -> audit::Event {
        let event = audit::Event::new(code, self.received_at_ms)
            .id("envelope", self.envelope_id.as_bytes())
            .hash("envelope_hash", &self.envelope_hash)
            .org("from", &self.peer);
        let event = match thread {
            Some(thread) => event.id("thread", thread.as_bytes()),
            None => event,
        };
        match slip {
            Some(slip) => event.id("slip", slip.as_bytes()),
            None => event,
        }
    }

    /// The receipt of this arrival.
    pub(super) fn receipt(&self, problem: Option<Problem>, at_ms: i64) -> Receipt {
        Receipt {
            peer: self.peer.clone(),
            envelope_id: self.envelope_id,
            envelope_hash: self.envelope_hash,
            problem,
            at_ms,
        }
    }
}

fn content(opened: &Opened, received_at_ms: i64) -> Result<Content, Problem> {
    let invalid = Problem::Invalid;
    // cannot be missing: an envelope is opened only with a body of its head's kind.
    match opened.body.body.as_ref().ok_or(invalid)? {
        Body::Referral(referral) => self::referral(opened, referral),
        Body::Event(event) => match &event.returned {
            Some(what) => returned(opened, event, what).map(Content::Returned),
            None => self::event(opened, event).map(Content::Event),
        },
        Body::Message(message) => self::message(message),
        Body::Withdrawal(withdrawal) => self::withdrawal(opened, withdrawal),
        Body::WithdrawalProof(proof) => {
            let id = WithdrawalId::try_from(proof.withdrawal_id.as_slice()).map_err(|_| invalid)?;
            must(proof.slip_id == opened.slip.id.as_bytes() && proof.outcome != 0)?;
            must(proof.kept_because.len() <= RECORD_TEXT_BYTES_MAX && proof.done_at_ms >= 0)?;
            must(proof.categories.len() <= Category::ALL.len())?;
            let proof = v1::WithdrawalProof {
                kept_because: seen(&proof.kept_because)?,
                ..proof.clone()
            };
            Ok(Content::Proof { id, proof })
        }
        Body::AccessReport(report) => report::read(opened, report, received_at_ms).map(Content::AccessReport),
        // This node does not take these kinds yet.
        Body::Question(_) | Body::Answer(_) | Body::Blob(_) | Body::Disclosure(_) => Err(invalid),
    }
}

fn referral(opened: &Opened, referral: &v1::Referral) -> Result<Content, Problem> {
    let purpose = Purpose::try_from(referral.purpose).map_err(|_| Problem::Invalid)?;
    if !opened.slip.purposes.contains(&purpose) {
        return Err(Problem::ConsentMissing);
    }
    parts(&referral.parts)?;
    must(referral.answer_by_ms >= 0 && matches!(referral.parent_slip_id.len(), 0 | 16))?;
    let record = referral.consent.as_ref().ok_or(Problem::ConsentMissing)?;
    let texts = [
        &record.statement_id,
        &record.language,
        &record.agreed_on,
        &record.interpreted_into,
    ];
    let short = |text: &&String| text.len() <= RECORD_TEXT_BYTES_MAX && text.chars().all(is_of_a_name);
    must(texts.iter().all(short) && record.text_hash.len() == 32)?;
    Ok(Content::Referral {
        purpose,
        referral: referral.clone(),
    })
}

/// The recipient's node numbers; the capturing member's node may only propose.
fn event(opened: &Opened, event: &v1::Event) -> Result<Event, Problem> {
    let invalid = Problem::Invalid;
    let mv = Move::try_from(event.r#move).map_err(|_| invalid)?;
    let reason = match event.reason {
        0 => None,
        number => Some(Reason::try_from(number).map_err(|_| invalid)?),
    };
    must(is_event(mv))?;
    let words = seen(&event.words)?;
    must(event.happened_at_ms >= 0 && event.deadline_ms >= 0)?;
    let from_capturing = opened.head.from == opened.slip.from;
    must(from_capturing == (event.number == 0))?;
    let numbered = if from_capturing {
        None
    } else {
        let state = State::try_from(event.state).map_err(|_| invalid)?;
        Some((event.epoch, event.number, state, event.deadline_ms))
    };
    Ok(Event {
        event_id: EventId::try_from(event.event_id.as_slice()).map_err(|_| invalid)?,
        mv,
        reason,
        happened_at_ms: event.happened_at_ms,
        words,
        numbered,
    })
}

/// A thread as its other party holds it: alone in its event, each event with a state. Whose referral it was stands in the slip.
fn returned(opened: &Opened, around: &v1::Event, what: &v1::Returned) -> Result<Returned, Problem> {
    let invalid = Problem::Invalid;
    let alone = v1::Event {
        event_id: around.event_id.clone(),
        returned: around.returned.clone(),
        ..v1::Event::default()
    };
    must(*around == alone && what.events.len() <= EVENTS_MAX)?;
    must(what.narrowed.len() <= Category::ALL.len())?;
    let yours = opened.slip.from == opened.head.to;
    must(what.yours == yours && what.created_at_ms >= 0 && what.answer_by_ms >= 0)?;
    let came_from = match what.came_from {
        0 => None,
        number => Some(State::try_from(number).map_err(|_| invalid)?),
    };
    Ok(Returned {
        restore_id: what.restore_id.as_slice().try_into().map_err(|_| invalid)?,
        purpose: Purpose::try_from(what.purpose).map_err(|_| invalid)?,
        yours,
        created_at_ms: what.created_at_ms,
        answer_by_ms: what.answer_by_ms,
        came_from,
        events: what.events.iter().map(returned_event).collect::<Result<_, _>>()?,
        cut: what.cut,
        narrowed: categories(&what.narrowed)?,
    })
}

fn returned_event(event: &v1::Event) -> Result<Event, Problem> {
    let invalid = Problem::Invalid;
    let state = State::try_from(event.state).map_err(|_| invalid)?;
    must(event.words.is_empty() && event.returned.is_none() && state != State::Draft)?;
    must(event.happened_at_ms >= 0 && event.deadline_ms >= 0)?;
    // A writer numbers for a lifetime; what lies beyond would leave no number for the next event.
    must(event.number <= NUMBER_MAX && event.epoch <= NUMBER_MAX)?;
    Ok(Event {
        event_id: EventId::try_from(event.event_id.as_slice()).map_err(|_| invalid)?,
        mv: Move::try_from(event.r#move).map_err(|_| invalid)?,
        reason: match event.reason {
            0 => None,
            number => Some(Reason::try_from(number).map_err(|_| invalid)?),
        },
        happened_at_ms: event.happened_at_ms,
        words: String::new(),
        numbered: Some((event.epoch, event.number, state, event.deadline_ms)),
    })
}

/// A message is kept as one, so that it can hold parts of one category only.
fn message(message: &v1::ThreadMessage) -> Result<Content, Problem> {
    let id = MessageId::try_from(message.message_id.as_slice()).map_err(|_| Problem::Invalid)?;
    fits(&message.words)?;
    must(message.parts.len() <= 1)?;
    must(!message.words.is_empty() || !message.parts.is_empty())?;
    parts(&message.parts)?;
    let section = message
        .parts
        .first()
        .and_then(|part| Category::try_from(part.category).ok());
    Ok(Content::Message {
        id,
        message: message.clone(),
        section,
    })
}

fn withdrawal(opened: &Opened, withdrawal: &v1::Withdrawal) -> Result<Content, Problem> {
    let id = WithdrawalId::try_from(withdrawal.withdrawal_id.as_slice()).map_err(|_| Problem::Invalid)?;
    must(withdrawal.slip_id == opened.slip.id.as_bytes() && withdrawal.withdrawn_at_ms >= 0)?;
    Ok(Content::Withdrawal {
        id,
        categories: categories(&withdrawal.categories)?,
        withdrawn_at_ms: withdrawal.withdrawn_at_ms,
    })
}

fn categories(numbers: &[i32]) -> Result<Vec<Category>, Problem> {
    let categories = numbers.iter().map(|number| Category::try_from(*number));
    categories.collect::<Result<_, _>>().map_err(|_| Problem::Invalid)
}

/// Each category once (the envelope saw to that), each field of the category's closed list and once, within limits.
fn parts(parts: &[v1::Part]) -> Result<(), Problem> {
    let mut bytes = 0;
    for part in parts {
        let category = Category::try_from(part.category).map_err(|_| Problem::Invalid)?;
        let mut names: Vec<&str> = Vec::new();
        for field in &part.fields {
            must(is_field(category, &field.name) && !names.contains(&field.name.as_str()))?;
            fits(&field.value)?;
            names.push(&field.name);
            bytes += field.value.len();
        }
    }
    // The sender may add parts to those of the person's record, each list within its limit.
    if bytes > 2 * PARTS_BYTES_MAX {
        Err(Problem::TooLarge)
    } else {
        Ok(())
    }
}

/// Free text within what its own node held it to: so long at most, and nothing hidden in it that would deceive a reader here.
fn fits(text: &str) -> Result<(), Problem> {
    if text.len() > FIELD_VALUE_BYTES_MAX {
        return Err(Problem::TooLarge);
    }
    must(text.chars().all(is_of_a_text))
}

/// The words of a move, without characters that no text has: a move is not lost for what its words were pasted from.
fn seen(words: &str) -> Result<String, Problem> {
    if words.len() > FIELD_VALUE_BYTES_MAX {
        return Err(Problem::TooLarge);
    }
    Ok(words.chars().filter(|c| is_of_a_text(*c)).collect())
}

pub(super) fn must(holds: bool) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem::Invalid) }
}
