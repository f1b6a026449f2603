//! Conversation on a thread: words of this organisation's people for the other side.
//! Called by `SendMessage`. What arrives is written by `receive`.
//! Never sends without live consent, never seals inside a transaction.

use kith_proto::id::{EnvelopeId, MessageId, ThreadId};
use kith_proto::permits::CategorySet;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::EnvelopeKind;
use kith_service::store::Tx;
use prost::Message as _;

use crate::audit;
use crate::content::Section;
use crate::moves::look::{Seen, look};
use crate::moves::told::{self, EnvelopeHead, Told};
use crate::moves::{ATTEMPTS_MAX, MoveError, Written, check_words};
use crate::node::Node;
use crate::requests::{self, Asked};
use crate::store;
use crate::store::content::{ContentKind, NewContent};
use crate::store::counter::Counter;
use crate::store::message::NewMessage;
use crate::store::thread::Update;
use crate::threads::Thread;
use crate::tokens::Caller;

/// One message, as asked.
#[derive(Clone)]
pub struct Asking {
    /// The request, for repeats.
    pub asked: Asked,
    /// Who asks.
    pub caller: Caller,
    /// The thread.
    pub thread_id: ThreadId,
    /// What is said; not empty.
    pub words: String,
}

/// Sends a message. A repeat gets the first answer.
pub async fn send(node: &Node, new: &Asking) -> Result<v1::SendMessageResponse, MoveError> {
    check_words(&new.words)?;
    if new.words.trim().is_empty() {
        return Err(MoveError::Words);
    }
    let message_id = MessageId::from_bytes(node.rng.bytes()?);
    for _ in 0..ATTEMPTS_MAX {
        let find = node.store.read(
            "look at message",
            |mut tx| async move { find(&mut tx, new).await },
        );
        let seen = match find.await? {
            Known::Answered(answer) => return Ok(answer),
            Known::Seen(seen) => seen,
        };
        let told = prepare(node, new, &seen, message_id)?;
        let ready = &Ready {
            seen: *seen,
            told,
            message_id,
        };
        let write = node.store.tx("message", |mut tx| async move {
            write(&mut tx, node, new, ready).await
        });
        if let Written::Done(answer, changed) = write.await? {
            if let Some(number) = changed {
                node.tell_change(number);
                node.outbox_ready.notify_one();
            }
            return Ok(answer);
        }
    }
    Err(MoveError::Busy)
}

/// What the store says before anything is sealed.
enum Known {
    Answered(v1::SendMessageResponse),
    Seen(Box<Seen>),
}

async fn find(tx: &mut Tx, new: &Asking) -> Result<Known, MoveError> {
    if let Some(answer) = requests::first_answer(tx, &new.asked).await? {
        return Ok(Known::Answered(answer));
    }
    let seen = look(tx, &new.caller, &new.thread_id).await?;
    seen.map(|seen| Known::Seen(Box::new(seen)))
        .ok_or(MoveError::NotFound)
}

/// A sealed message with what it was sealed on.
struct Ready {
    seen: Seen,
    told: Told,
    message_id: MessageId,
}

fn prepare(node: &Node, new: &Asking, seen: &Seen, message_id: MessageId) -> Result<Told, MoveError> {
    let now_ms = node.now_ms();
    seen.permits(node, EnvelopeKind::Message, CategorySet::EMPTY, now_ms)?;
    let message = v1::ThreadMessage {
        message_id: message_id.as_bytes().to_vec(),
        words: new.words.clone(),
        parts: Vec::new(),
    };
    let kept = NewContent {
        owner_id: *new.thread_id.as_bytes(),
        content_id: node.rng.bytes()?,
        section: Section::Record,
        kind: ContentKind::Message,
        at_ms: now_ms,
    };
    let text = message.encode_to_vec();
    let head = EnvelopeHead {
        envelope_id: EnvelopeId::from_bytes(node.rng.bytes()?),
        kind: EnvelopeKind::Message,
        categories: CategorySet::EMPTY,
    };
    told::seal(node, seen, head, Body::Message(message), Some((kept, &text)))
}

async fn write(
    tx: &mut Tx,
    node: &Node,
    new: &Asking,
    ready: &Ready,
) -> Result<Written<v1::SendMessageResponse>, MoveError> {
    let mut counter = Counter::lock(tx).await?;
    if let Some(answer) = requests::first_answer(tx, &new.asked).await? {
        return Ok(Written::Done(answer, None));
    }
    if !ready.seen.still_stands(tx, true).await? {
        return Ok(Written::Overtaken);
    }
    let (now_ms, seen) = (node.now_ms(), &ready.seen.thread);
    let thread = Thread {
        updated_at_ms: now_ms.max(seen.updated_at_ms),
        ..seen.clone()
    };
    let changed = counter.next_change();
    if store::thread::update(
        tx,
        &[Update {
            before: seen.before(),
            thread,
            changed,
        }],
    )
    .await?
        != 1
    {
        return Ok(Written::Overtaken);
    }
    let message = NewMessage {
        thread_id: new.thread_id,
        message_id: ready.message_id,
        side: seen.side,
        at_ms: now_ms,
    };
    store::message::insert(tx, &[message]).await?;
    ready.told.write(tx, &mut counter).await?;
    let trail = [audit::brought_about(ready.told.trail(now_ms), &new.caller)];
    audit::insert(tx, &mut counter, &node.rng, &trail).await?;
    let answer = v1::SendMessageResponse {
        message_id: ready.message_id.as_bytes().to_vec(),
    };
    requests::keep(tx, &new.asked, &answer, now_ms).await?;
    counter.save(tx).await?;
    Ok(Written::Done(answer, Some(changed)))
}
