//! Worklists: threads by whose turn it is, the most urgent first. Called by the web edge.
//! Never returns a list before the trail says who saw it.

use std::fmt;
use std::str::FromStr;

use kith_proto::id::ThreadId;
use kith_proto::lifecycle::{Owner, State};
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};

use super::{LINES_MAX, ViewError, Visible, wire_line};
use crate::audit;
use crate::node::Node;
use crate::store;
use crate::threads::Side;
use crate::tokens::Caller;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This organisation's.
    Yours,
    /// The other one's.
    Theirs,
    /// Nobody's: it has its outcome.
    Over,
}

impl Turn {
    /// Each of them, in the order in which people look.
    pub const ALL: [Self; 3] = [Self::Yours, Self::Theirs, Self::Over];

    /// The word in addresses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yours => "yours",
            Self::Theirs => "theirs",
            Self::Over => "over",
        }
    }

    /// Whether a thread in this state, held as sender or recipient, belongs to it; where both have to act, to both.
    pub fn is_of(self, side: Side, state: State) -> bool {
        let own = match side {
            Side::Sent => Owner::Sender,
            Side::Inbox => Owner::Recipient,
        };
        match (state.clock_owner(), self) {
            (None, turn) => turn == Self::Over,
            (Some(_), Self::Over) => false,
            (Some(Owner::Both), _) => true,
            (Some(owner), turn) => (owner == own) == (turn == Self::Yours),
        }
    }
}

impl FromStr for Turn {
    type Err = kith_proto::words::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|turn| turn.as_str() == text);
        found.ok_or(kith_proto::words::UnknownWord("Turn"))
    }
}

/// A place in a worklist: the last line of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its deadline; of a thread that is over, its place in the order of changes.
    pub at: i64,
    /// Its thread.
    pub thread_id: ThreadId,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thread = data_encoding::HEXLOWER.encode(self.thread_id.as_bytes());
        write!(f, "{}.{thread}", self.at)
    }
}

impl FromStr for Place {
    type Err = kith_proto::words::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (at, thread) = text.split_once('.')?;
            let thread: [u8; 16] = data_encoding::HEXLOWER
                .decode(thread.as_bytes())
                .ok()?
                .try_into()
                .ok()?;
            Some(Self {
                at: at.parse().ok()?,
                thread_id: ThreadId::from_bytes(thread),
            })
        };
        read().ok_or(kith_proto::words::UnknownWord("Place"))
    }
}

/// What a worklist is asked for.
#[derive(Clone, Debug)]
pub struct WorkAsked {
    /// Who asks.
    pub caller: Caller,
    /// Which list.
    pub turn: Turn,
    /// After which line; none for the first page.
    pub after: Option<Place>,
    /// Lines of a page, from 1 to [`LINES_MAX`].
    pub page_size: u32,
}

/// A line of a worklist.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkLine {
    /// The thread.
    pub line: v1::ReferralLine,
    /// When the slip ends that it goes under; 0 where that is not known.
    pub consent_until_ms: i64,
}

/// One page of a worklist.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkPage {
    /// Open ones by their deadline, the most overdue first; those that are over by their last change, the newest first.
    pub lines: Vec<WorkLine>,
    /// Where the next page goes on; none on the last one.
    pub next: Option<Place>,
}

/// Lists threads by whose turn it is. The list is in the trail with its count.
pub async fn list(node: &Node, visible: Visible, asked: &WorkAsked) -> Result<WorkPage, ViewError> {
    let size = asked.page_size.clamp(1, LINES_MAX);
    let read = |mut tx: Tx| async move {
        let wanted = store::threads_view::WorkWanted {
            turn: asked.turn,
            owner: visible.owner(),
            after: asked.after,
            limit: i64::from(size) + 1,
        };
        store::threads_view::work(&mut tx, &wanted).await
    };
    let mut found = node.store.read::<_, StoreError, _, _>("list work", read).await?;
    // One more than asked says whether there is a next page.
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = found.len() > size;
    found.truncate(size);
    let event = audit::listed(&asked.caller, "referral", found.len(), node.now_ms());
    audit::note(&node.store, &node.rng, event).await?;
    let next = found.last().filter(|_| more).map(|(line, _)| Place {
        at: if asked.turn == Turn::Over {
            line.changed
        } else {
            line.deadline_ms
        },
        thread_id: line.thread_id,
    });
    let lines = found.iter().map(|(line, consent_until_ms)| WorkLine {
        line: wire_line(line),
        consent_until_ms: *consent_until_ms,
    });
    Ok(WorkPage {
        lines: lines.collect(),
        next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_is_on_a_list_and_only_what_both_must_do_on_two() {
        for state in State::ALL {
            for side in [Side::Sent, Side::Inbox] {
                let on = Turn::ALL.iter().filter(|turn| turn.is_of(side, *state)).count();
                let both = state.clock_owner() == Some(Owner::Both);
                assert_eq!(on, if both { 2 } else { 1 }, "{state}");
            }
        }
        assert!(Turn::Yours.is_of(Side::Inbox, State::Received));
        assert!(Turn::Yours.is_of(Side::Sent, State::InfoRequested));
        assert!(Turn::Theirs.is_of(Side::Sent, State::Accepted));
        assert!(Turn::Over.is_of(Side::Sent, State::Declined));
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = Place {
            at: -7,
            thread_id: ThreadId::from_bytes([0xab; 16]),
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        for bad in ["", "1", "1.", "x.abababababababababababababababab", "1.AB"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
        assert!("mine".parse::<Turn>().is_err());
    }
}
