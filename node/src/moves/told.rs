//! An event on its way to the other side: its envelope, its words as kept here, its lines in the trail.
//! Called by moves and by the timers, before their transactions; what it prepared is written inside.
//! Never sends words that consent does not carry: without them an event is bare and always flows.

use kith_proto::id::EnvelopeId;
use kith_proto::permits::CategorySet;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::store::{StoreError, Tx};

use super::MoveError;
use super::look::Seen;
use super::plan::{is_proposal, wire_event};
use crate::audit::{Code, Event};
use crate::content::{ContentError, Section};
use crate::node::Node;
use crate::outbox::{self, Draft, Outgoing};
use crate::store;
use crate::store::content::{Content, ContentKind, NewContent};
use crate::store::counter::Counter;
use crate::threads::EventRow;

/// An envelope with the words that are kept of it.
pub(crate) struct Told {
    pub(crate) outgoing: Outgoing,
    pub(crate) words: Option<Content>,
}

/// What goes into the clear head of an envelope besides its thread's members and slip.
pub(crate) struct EnvelopeHead {
    pub(crate) envelope_id: EnvelopeId,
    pub(crate) kind: EnvelopeKind,
    pub(crate) categories: CategorySet,
}

/// Prepares an event for the other side.
pub(crate) fn event(node: &Node, seen: &Seen, event: &EventRow, words: &str) -> Result<Told, MoveError> {
    let declared: CategorySet = (!words.is_empty())
        .then_some(Category::Progress)
        .into_iter()
        .collect();
    seen.permits(node, EnvelopeKind::Event, declared, event.happened_at_ms)?;
    let body = Body::Event(wire_event(seen.thread.side, event, words));
    let kept = NewContent {
        owner_id: *event.thread_id.as_bytes(),
        content_id: *event.event_id.as_bytes(),
        section: Section::Category(Category::Progress),
        kind: ContentKind::EventWords,
        at_ms: event.happened_at_ms,
    };
    let kept = (!words.is_empty()).then_some((kept, words.as_bytes()));
    // The event's own id, so that the gateway's word about the envelope is one about this event.
    let head = EnvelopeHead {
        envelope_id: EnvelopeId::from_bytes(*event.event_id.as_bytes()),
        kind: EnvelopeKind::Event,
        categories: declared,
    };
    seal(node, seen, head, body, kept)
}

/// Seals a body for the other side of a thread, and the text that is kept of it.
pub(crate) fn seal(
    node: &Node,
    seen: &Seen,
    head: EnvelopeHead,
    body: Body,
    kept: Option<(NewContent, &[u8])>,
) -> Result<Told, MoveError> {
    let keys = seen.keys(node)?;
    let words = match (kept, &keys) {
        (None, _) => None,
        (Some((new, text)), Some(keys)) => Some(new.seal(keys, &node.rng, text)?),
        (Some(_), None) => return Err(ContentError::Erased.into()),
    };
    let draft = Draft {
        envelope_id: head.envelope_id,
        to: &seen.thread.peer,
        kind: head.kind,
        thread_id: seen.thread.thread_id,
        slip: &seen.slip.signed,
        slip_id: seen.slip.slip_id,
        categories: head.categories,
        body: &v1::Body {
            body: Some(body),
            ..v1::Body::default()
        },
        at_ms: node.now_ms(),
    };
    let outgoing = outbox::seal(node, &draft, keys.as_ref())?;
    Ok(Told { outgoing, words })
}

impl Told {
    /// Writes the words and queues the envelope.
    pub(crate) async fn write(&self, tx: &mut Tx, counter: &mut Counter) -> Result<(), StoreError> {
        if let Some(words) = &self.words {
            store::content::insert(tx, std::slice::from_ref(words)).await?;
        }
        outbox::queue(tx, counter, &[&self.outgoing]).await.map(drop)
    }

    /// The trail's line of the envelope.
    pub(crate) fn trail(&self, at_ms: i64) -> Event {
        sent(&self.outgoing, at_ms)
    }
}

/// The trail's line of an envelope that was queued.
pub(crate) fn sent(outgoing: &Outgoing, at_ms: i64) -> Event {
    Event::new(Code::EnvelopeSent, at_ms)
        .id("envelope", outgoing.envelope_id.as_bytes())
        .id("thread", outgoing.thread_id.as_bytes())
        .id("slip", outgoing.slip_id.as_bytes())
        .org("to", &outgoing.to)
        .word("kind", outgoing.kind.as_str())
}

/// The trail's line of a move or proposal.
pub(crate) fn moved(event: &EventRow) -> Event {
    let line = crate::thread_set::moved(event);
    let proposed = is_proposal(event.mv, event.provisional, event.number);
    if proposed {
        line.word("as", "proposed")
    } else {
        line
    }
}
