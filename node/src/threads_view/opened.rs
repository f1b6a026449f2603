//! Opening one thread: its trail line is committed first, then its content is unsealed and shown.
//! Called by `GetReferral`. Never shows content once consent is cut, nor after a restore before the member that captured the consent has
//! returned the thread; never opens without the line in the trail.

use kith_proto::id::HoldingId;
use kith_proto::lifecycle::Move;
use kith_proto::sign::sha256;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

use super::{ViewError, Visible, Which, found, wire_event, wire_line};
use crate::access;
use crate::content::ContentError;
use crate::moves::plan::open_moves;
use crate::node::Node;
use crate::persons::{note_opening, opening as opening_event};
use crate::store;
use crate::store::content::{Content, ContentKind};
use crate::store::counter::Counter;
use crate::store::holding::Holding;
use crate::store::referral_content::{ReferralContent, Said};
use crate::store::threads_view::{Line, ShownEvent};
use crate::tokens::Caller;

/// In front of what an opening that shows nothing is noted by.
const CLOSED_LABEL: &[u8] = b"kith/node/opened-closed\0";

/// Who opens which thread.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The caller.
    pub caller: Caller,
    /// What it may open.
    pub visible: Visible,
    /// The thread.
    pub which: Which,
}

/// What one transaction found, still sealed.
struct Found {
    line: Line,
    events: Vec<ShownEvent>,
    messages: Vec<[u8; 16]>,
    said: Option<ReferralContent>,
    content: Vec<Content>,
    holdings: Vec<Holding>,
}

/// Opens a thread for a caller who may see its content. The trail's `opened` (none when the same token opened the same
/// thread less than 15 minutes ago) is committed before anything is unsealed.
pub async fn open(node: &Node, opening: &Opening) -> Result<v1::Thread, ViewError> {
    let now_ms = node.now_ms();
    let open = |mut tx: Tx| async move { open_rows(&mut tx, node, opening, now_ms).await };
    let found = node.store.tx("open thread", open).await?;
    shown(node, &found)
}

async fn open_rows(tx: &mut Tx, node: &Node, opening: &Opening, now_ms: i64) -> Result<Found, ViewError> {
    let mut counter = Counter::lock(tx).await?;
    let line = found(tx, opening.visible, opening.which).await?;
    let record = *line.thread_id.as_bytes();
    let event = opening_event(&opening.caller, "thread", &record, now_ms)
        .id("slip", line.slip_id.as_bytes())
        .org("with", &line.peer)
        .word("purpose", line.purpose.as_str());
    if line.is_waiting() {
        // It shows nothing: nobody is told of it, and the first one that does is none that was noted a moment ago.
        let event = event.word("consent", "awaited");
        note_opening(tx, &mut counter, node, (&opening.caller, &closed(&record)), event).await?;
    } else {
        let event = event.word("consent", line.situation.consent.as_str());
        if note_opening(tx, &mut counter, node, (&opening.caller, &record), event).await? {
            access::note(tx, node, (&opening.caller, &line), now_ms).await?;
        }
    }
    counter.save(tx).await?;
    let events = store::threads_view::events(tx, &line.thread_id).await?;
    let messages = store::threads_view::messages(tx, &line.thread_id).await?;
    let messages = messages.iter().map(|id| *id.as_bytes()).collect();
    // Once consent is cut, or while it may be, nothing of what was shared is read, whatever may still be there.
    let (said, content) = if line.is_readable() {
        (
            store::referral_content::find(tx, &line.thread_id).await?,
            store::content::of_owners(tx, &[record]).await?,
        )
    } else {
        (None, Vec::new())
    };
    let of_content = content.iter().map(|row| row.holding_id);
    let mut ids: Vec<HoldingId> = of_content
        .chain(said.iter().map(|said| said.holding_id))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let holdings = store::holding::find(tx, &ids).await?;
    Ok(Found {
        line,
        events,
        messages,
        said,
        content,
        holdings,
    })
}

/// What an opening of a closed thread is noted by.
fn closed(record: &[u8; 16]) -> [u8; 16] {
    let hash = sha256(&[CLOSED_LABEL, record]);
    // cannot be shorter: a hash has 32 bytes.
    hash.first_chunk().copied().unwrap_or(*record)
}

fn shown(node: &Node, found: &Found) -> Result<v1::Thread, ViewError> {
    let mut texts = Texts {
        said: Said::default(),
        words: Vec::new(),
        messages: Vec::new(),
    };
    for holding in found.holdings.iter().filter(|holding| holding.keys.is_some()) {
        let keys = node.content.unwrap(holding)?;
        if let Some(said) = found
            .said
            .iter()
            .find(|said| said.holding_id == holding.holding_id)
        {
            texts.said = said.open(&keys)?;
        }
        for row in found
            .content
            .iter()
            .filter(|row| row.holding_id == holding.holding_id)
        {
            match row.open(&keys) {
                Ok(text) => texts.add(row, &text)?,
                // Narrowed away: the rest is shown.
                Err(ContentError::Erased) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let event = |event: &ShownEvent| {
        let words = texts.words.iter().find(|(of, _)| Some(*of) == event.words_id);
        wire_event(event, words.map(|(_, words)| words.clone()).unwrap_or_default())
    };
    let message = |id: &[u8; 16]| texts.messages.iter().find(|one| one.message_id == *id).cloned();
    let line = &found.line;
    Ok(v1::Thread {
        line: Some(wire_line(line)),
        events: found.events.iter().map(event).collect(),
        messages: found.messages.iter().filter_map(message).collect(),
        moves: open_moves(line.side, line.situation)
            .into_iter()
            .map(Move::number)
            .collect(),
        referral: line.is_readable().then(|| texts.referral(line)),
    })
}

/// What could be opened.
struct Texts {
    said: Said,
    /// Words of events, by the id of their row.
    words: Vec<([u8; 16], String)>,
    /// Messages, which name themselves.
    messages: Vec<v1::ThreadMessage>,
}

impl Texts {
    fn add(&mut self, row: &Content, text: &[u8]) -> Result<(), ViewError> {
        let corrupt = || {
            ViewError::Store(StoreError::Corrupt {
                table: "content",
                column: "sealed",
            })
        };
        match row.kind {
            ContentKind::EventWords => {
                let words = String::from_utf8(text.to_vec()).map_err(|_| corrupt())?;
                self.words.push((row.content_id, words));
            }
            ContentKind::Message => {
                self.messages
                    .push(v1::ThreadMessage::decode(text).map_err(|_| corrupt())?);
            }
            ContentKind::PersonPart | ContentKind::GrantCapture => {}
        }
        Ok(())
    }

    /// The referral as it was sent, its parts in wire order.
    fn referral(&self, line: &Line) -> v1::Referral {
        v1::Referral {
            purpose: line.purpose.number(),
            parts: self.said.parts.clone(),
            consent: self.said.consent.clone(),
            answer_by_ms: line.answer_by_ms,
            parent_slip_id: Vec::new(),
        }
    }
}
