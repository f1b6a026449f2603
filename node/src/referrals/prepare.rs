//! One referral made ready for the door: the rules, the body, the seal, the rows.
//! Called by `send_many`, outside any transaction.
//! Never opens a part that the slip does not allow.

use kith_proto::id::{EnvelopeId, EventId, ThreadId, WithdrawalId};
use kith_proto::lifecycle::{self, Delivery, Move, Outcome, Party, Situation, State};
use kith_proto::permits::{self, CategorySet, Header, MemberState, Members, Refusal};
use kith_proto::slip::Slip;
use kith_proto::v1;
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::store::StoreError;
use prost::Message as _;

use super::ground::Ground;
use super::{NewReferral, SendError, Sent};
use crate::audit::{self, Code, Event};
use crate::content::{HoldingKeys, Section};
use crate::grants;
use crate::node::Node;
use crate::outbox::{self, Draft, Outgoing};
use crate::requests::Asked;
use crate::store::content::ContentKind;
use crate::store::grant::{GrantRecord, GrantState};
use crate::store::person::Person;
use crate::store::referral::NewThread;
use crate::store::referral_content::ReferralContent;
use crate::store::slip::{SlipRow, SlipStanding};
use crate::threads::{DAY_MS, EventRow, Side, Thread};
use crate::tokens::Caller;

/// What became of one referral before the door.
pub(crate) enum Prepared {
    /// It is new: hand it to the door.
    New(Box<Row>),
    /// It was sent before: the first answer.
    Repeat(Sent),
}

/// Everything that the door writes of one referral.
pub struct Row {
    pub(super) asked: Asked,
    pub(super) sent: Sent,
    pub(super) thread: NewThread,
    pub(super) event: EventRow,
    pub(super) content: ReferralContent,
    pub(super) outgoing: Outgoing,
    pub(super) audit: Event,
    /// The narrowing that the slip's keys were read after; another one since refuses the row.
    pub(super) narrowed_by: Option<WithdrawalId>,
}

impl Row {
    /// Its envelope, cheaply, and its hash.
    pub(super) fn envelope(&self) -> ([u8; 32], v1::Envelope) {
        (self.outgoing.hash, self.outgoing.envelope.clone())
    }
}

/// What one referral stands on.
struct Stand<'a> {
    new: &'a NewReferral,
    person: &'a Person,
    grant: &'a GrantRecord,
    row: &'a SlipRow,
    slip: Slip,
}

pub(super) fn prepare(
    node: &Node,
    caller: &Caller,
    ground: &Ground,
    new: &NewReferral,
) -> Result<Prepared, SendError> {
    let asked = new.asked();
    if let Some(answer) = asked.answer_of(ground.answered.get(&new.request_id))? {
        return Ok(Prepared::Repeat(sent_of(answer)?));
    }
    let now_ms = node.now_ms();
    let stand = stand(node, caller, ground, new, now_ms)?;
    let own = ground.keys(&stand.person.holding_id)?;
    let keys = ground.keys(&stand.row.holding_id)?;
    not_narrowed(keys, new)?;
    let parts = parts(ground, own, new)?;
    let consent = consent(ground, own, stand.grant)?;
    let row = make(node, caller, &stand, (asked, parts, consent), now_ms, keys)?;
    Ok(Prepared::New(Box::new(row)))
}

/// Reads a stored first answer.
pub(super) fn sent_of(answer: &[u8]) -> Result<Sent, StoreError> {
    let corrupt = StoreError::Corrupt {
        table: "request",
        column: "answer",
    };
    let Ok(answer) = v1::SendReferralResponse::decode(answer) else {
        return Err(corrupt);
    };
    let thread_id = ThreadId::try_from(answer.thread_id.as_slice()).map_err(|_| corrupt)?;
    Ok(Sent {
        thread_id,
        deadline_ms: answer.deadline_ms,
    })
}

/// Finds person, grant and slip, and asks the rules.
fn stand<'a>(
    node: &Node,
    caller: &Caller,
    ground: &'a Ground,
    new: &'a NewReferral,
    now_ms: i64,
) -> Result<Stand<'a>, SendError> {
    let person = ground
        .person(&new.person_id)
        .filter(|person| caller.sees(&person.owner_token));
    let person = person.ok_or(SendError::NotFound)?;
    let grant = ground
        .grant(&new.grant_id)
        .filter(|grant| grant.person_id == person.person_id);
    let grant = grant.ok_or(SendError::NotFound)?;
    match grant.state {
        GrantState::Live => {}
        GrantState::Expired => return Err(Refusal::ConsentExpired.into()),
        GrantState::Withdrawn | GrantState::Invalidated => return Err(Refusal::ConsentWithdrawn.into()),
    }
    let row = ground
        .slip(&new.grant_id, &new.recipient)
        .ok_or(Refusal::RecipientNotAllowed)?;
    let slip = row.parsed()?;
    if node.members.state_of(node.organisation()) == MemberState::Suspended {
        return Err(SendError::Suspended);
    }
    allowed(node, new, (row, &slip), now_ms)?;
    if !slip.purposes.contains(&new.purpose) {
        return Err(SendError::PurposeNotAllowed);
    }
    if new.answer_by_ms != 0 && new.answer_by_ms <= now_ms {
        return Err(SendError::AnswerByPassed);
    }
    Ok(Stand {
        new,
        person,
        grant,
        row,
        slip,
    })
}

fn allowed(
    node: &Node,
    new: &NewReferral,
    (row, slip): (&SlipRow, &Slip),
    now_ms: i64,
) -> Result<(), Refusal> {
    let wanted = wanted(new);
    let asked = permits::Asked {
        kind: EnvelopeKind::Referral,
        declared: &wanted,
        bare: false,
        disclosure_note: false,
    };
    let header = Header {
        from: node.organisation().as_str(),
        to: new.recipient.as_str(),
    };
    let members = Members {
        from: node.members.state_of(node.organisation()),
        to: node.members.state_of(&new.recipient),
    };
    if row.state == SlipStanding::Expired {
        return Err(Refusal::ConsentExpired);
    }
    let terms = slip.terms(row.state == SlipStanding::Withdrawn);
    permits::permits(&asked, header, Some(&terms), members, now_ms)
}

/// Every category that is to be shared.
fn wanted(new: &NewReferral) -> CategorySet {
    new.categories
        .iter()
        .chain(new.parts.categories().iter())
        .collect()
}

/// A category that was taken back has no key left in the slip's holding, though the signed slip still names it.
fn not_narrowed(keys: &HoldingKeys, new: &NewReferral) -> Result<(), Refusal> {
    let gone: CategorySet = wanted(new)
        .iter()
        .filter(|c| !keys.has(Section::Category(*c)))
        .collect();
    if gone.is_empty() {
        Ok(())
    } else {
        Err(Refusal::CategoryNotAllowed(gone))
    }
}

/// The person's own parts of the wanted categories, and what was added; the added value of a field counts.
fn parts(ground: &Ground, own: &HoldingKeys, new: &NewReferral) -> Result<Vec<v1::Part>, SendError> {
    let corrupt = StoreError::Corrupt {
        table: "content",
        column: "sealed",
    };
    let mut parts: Vec<v1::Part> = Vec::new();
    for row in ground.content(new.person_id.as_bytes()) {
        let wanted = matches!(row.section, Section::Category(category) if new.categories.contains(category));
        if wanted && row.kind == ContentKind::PersonPart {
            let part = v1::Part::decode(row.open(own)?.as_slice());
            parts.push(part.map_err(|_| corrupt.clone())?);
        }
    }
    for added in new.parts.as_slice() {
        match parts.iter_mut().find(|part| part.category == added.category) {
            None => parts.push(added.clone()),
            Some(part) => {
                part.fields
                    .retain(|field| added.fields.iter().all(|a| a.name != field.name));
                part.fields.extend(added.fields.iter().cloned());
            }
        }
    }
    parts.sort_by_key(|part| part.category);
    if parts.is_empty() {
        Err(SendError::Empty)
    } else {
        Ok(parts)
    }
}

/// What the recipient is told of the consent.
fn consent(ground: &Ground, own: &HoldingKeys, grant: &GrantRecord) -> Result<v1::ConsentRecord, SendError> {
    let corrupt = StoreError::Corrupt {
        table: "content",
        column: "sealed",
    };
    let rows = ground.content(grant.grant_id.as_bytes());
    let row = rows
        .iter()
        .find(|row| row.kind == ContentKind::GrantCapture)
        .ok_or(corrupt.clone())?;
    let capture = v1::Capture::decode(row.open(own)?.as_slice()).map_err(|_| corrupt)?;
    Ok(grants::consent_record(&capture, grant.given_at_ms))
}

fn make(
    node: &Node,
    caller: &Caller,
    stand: &Stand<'_>,
    (asked, parts, consent): (Asked, Vec<v1::Part>, v1::ConsentRecord),
    now_ms: i64,
    keys: &HoldingKeys,
) -> Result<Row, SendError> {
    let new = stand.new;
    let thread_id = ThreadId::from_bytes(node.rng.bytes()?);
    let envelope_id = EnvelopeId::from_bytes(node.rng.bytes()?);
    // The sender's own copy is under the slip's keys: it goes when the slip's holding goes.
    let content = ReferralContent::seal(keys, &node.rng, thread_id, (&parts, Some(&consent)))?;
    let categories = parts
        .iter()
        .filter_map(|part| Category::try_from(part.category).ok())
        .collect();
    let salt = stand.row.person_salt.ok_or(StoreError::Corrupt {
        table: "slip",
        column: "person_salt",
    })?;
    let body = v1::Body {
        person_salt: salt.to_vec(),
        person_id: stand.person.person_id.as_bytes().to_vec(),
        body: Some(v1::body::Body::Referral(v1::Referral {
            purpose: new.purpose.number(),
            parts,
            consent: Some(consent),
            answer_by_ms: new.answer_by_ms,
            parent_slip_id: Vec::new(),
        })),
    };
    let draft = Draft {
        envelope_id,
        to: &new.recipient,
        kind: EnvelopeKind::Referral,
        thread_id,
        slip: &stand.row.signed,
        slip_id: stand.slip.id,
        categories,
        body: &body,
        at_ms: now_ms,
    };
    let outgoing = outbox::seal(node, &draft, Some(keys))?;
    let event_id = EventId::from_bytes(node.rng.bytes()?);
    let (thread, event) = rows(caller, stand, (thread_id, envelope_id, event_id), now_ms);
    let audit = audit::by(caller, Code::EnvelopeSent, now_ms).word("move", Move::Send.as_str());
    let audit = audit
        .id("thread", thread_id.as_bytes())
        .id("envelope", envelope_id.as_bytes());
    let audit = audit
        .id("slip", stand.slip.id.as_bytes())
        .org("to", &new.recipient)
        .word("kind", EnvelopeKind::Referral.as_str())
        .word("purpose", new.purpose.as_str());
    let audit = categories
        .iter()
        .fold(audit, |event, category| event.word("category", category.as_str()));
    let sent = Sent {
        thread_id,
        deadline_ms: thread.thread.deadline_ms,
    };
    Ok(Row {
        asked,
        sent,
        thread,
        event,
        content,
        outgoing,
        audit,
        narrowed_by: stand.row.withdrawal_id,
    })
}

/// The thread in its first state, and its first event, which crosses no wire: the referral itself says it.
fn rows(
    caller: &Caller,
    stand: &Stand<'_>,
    (thread_id, envelope_id, event_id): (ThreadId, EnvelopeId, EventId),
    now_ms: i64,
) -> (NewThread, EventRow) {
    let new = stand.new;
    let situation = match lifecycle::apply(Situation::new(State::Draft), Move::Send, Party::Sender, None) {
        Ok(Outcome::Changed(next)) => next,
        // cannot happen: the table lets a sender send a draft; its own test holds it to that.
        _ => Situation::new(State::Sent),
    };
    let days = i64::from(situation.state.deadline_days_default().unwrap_or(lifecycle::WEEK));
    let default_ms = now_ms.saturating_add(days * DAY_MS);
    let deadline_ms = if new.answer_by_ms == 0 {
        default_ms
    } else {
        new.answer_by_ms
    };
    let thread = Thread {
        thread_id,
        side: Side::Sent,
        peer: new.recipient.clone(),
        slip_id: stand.slip.id,
        situation,
        delivery: Delivery::Queued,
        problem: None,
        epoch: 0,
        number: 0,
        deadline_ms,
        updated_at_ms: now_ms,
    };
    let event = EventRow {
        thread_id,
        epoch: 0,
        number: 0,
        event_id,
        mv: Move::Send,
        state: situation.state,
        reason: None,
        party: Party::Sender,
        late: false,
        provisional: false,
        happened_at_ms: now_ms,
        deadline_ms,
        words_id: None,
    };
    let thread = NewThread {
        thread,
        person_id: Some(stand.person.person_id),
        owner_token: Some(caller.token_id),
        purpose: new.purpose,
        answer_by_ms: new.answer_by_ms,
        created_at_ms: now_ms,
        envelope_id,
    };
    (thread, event)
}
