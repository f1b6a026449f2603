//! The threads that one transaction works on: loaded once, stepped in memory, written in a few statements.
//! Called by receiving and settling, after the counters were locked.
//! Never writes a thread that nothing changed, never writes one twice.

use std::collections::BTreeMap;

use kith_proto::id::{EventId, SlipId, ThreadId};
use kith_proto::lifecycle::Refused;
use kith_service::store::{StoreError, Tx};

use crate::audit::{Code, Event};
use crate::store;
use crate::store::counter::Counter;
use crate::store::returning::Place;
use crate::threads::{Applied, Before, EventRow, Step, Thread};

/// Threads by id, each as it was stored and as it is now.
#[derive(Debug, Default)]
pub(crate) struct ThreadSet {
    threads: BTreeMap<ThreadId, Entry>,
    events: BTreeMap<(ThreadId, EventId), EventRow>,
    /// What the trail is to say of the steps, in their order.
    trail: Vec<Event>,
}

#[derive(Debug)]
struct Entry {
    /// As stored; none of a thread that this transaction inserts.
    before: Option<Before>,
    thread: Thread,
    changed: bool,
}

impl ThreadSet {
    /// Loads threads by id; unknown ones are left out, those that are here already stay as they are.
    pub(crate) async fn load(&mut self, tx: &mut Tx, ids: &[ThreadId]) -> Result<(), StoreError> {
        let missing: Vec<ThreadId> = ids
            .iter()
            .filter(|id| !self.threads.contains_key(id))
            .copied()
            .collect();
        self.take_in(store::thread::by_id(tx, &missing).await?);
        Ok(())
    }

    /// Loads every thread under these slips and gives their ids.
    pub(crate) async fn load_of_slips(
        &mut self,
        tx: &mut Tx,
        slips: &[SlipId],
    ) -> Result<Vec<ThreadId>, StoreError> {
        self.take_in(store::thread::by_slip(tx, slips).await?);
        let under = |entry: &&Entry| slips.contains(&entry.thread.slip_id);
        Ok(self
            .threads
            .values()
            .filter(under)
            .map(|entry| entry.thread.thread_id)
            .collect())
    }

    fn take_in(&mut self, threads: Vec<Thread>) {
        for thread in threads {
            let before = Some(thread.before());
            let entry = Entry {
                before,
                thread,
                changed: false,
            };
            self.threads.entry(entry.thread.thread_id).or_insert(entry);
        }
    }

    /// Adds a thread that this transaction inserts as it is given here, after steps of its own.
    pub(crate) fn add_new(&mut self, thread: Thread) {
        let entry = Entry {
            before: None,
            thread,
            changed: false,
        };
        self.threads.insert(entry.thread.thread_id, entry);
    }

    /// A thread as it is now.
    pub(crate) fn get(&self, id: &ThreadId) -> Option<&Thread> {
        self.threads.get(id).map(|entry| &entry.thread)
    }

    /// Applies a step; says whether it changed anything. An unknown thread stays unknown.
    pub(crate) fn step(&mut self, id: &ThreadId, step: &Step) -> Result<bool, Refused> {
        let Some(entry) = self.threads.get_mut(id) else {
            return Ok(false);
        };
        match entry.thread.apply(step)? {
            Applied::Nothing => Ok(false),
            Applied::Changed(change) => {
                entry.thread = change.thread;
                entry.changed = true;
                self.trail.push(moved(&change.event));
                self.events.insert((*id, change.event.event_id), change.event);
                Ok(true)
            }
        }
    }

    /// Adds an event that the other side had, at its place in the writer's order. `moves` where the thread followed it.
    pub(crate) fn give_back(&mut self, event: EventRow, moves: bool) {
        let line = moved(&event);
        self.trail
            .push(if moves { line } else { line.word("as", "returned") });
        self.events.insert((event.thread_id, event.event_id), event);
    }

    /// Where the events of a thread stand that are not in the store yet.
    pub(crate) fn places(&self, id: &ThreadId) -> impl Iterator<Item = Place> {
        let of_it = self.events.values().filter(|event| event.thread_id == *id);
        of_it.map(|event| Place {
            event_id: *event.event_id.as_bytes(),
            epoch: event.epoch,
            number: event.number,
            provisional: event.provisional,
        })
    }

    /// Changes what no step does: delivery, problem, the end of consent.
    pub(crate) fn set(&mut self, id: &ThreadId, change: impl FnOnce(&mut Thread)) {
        if let Some(entry) = self.threads.get_mut(id) {
            let before = entry.thread.clone();
            change(&mut entry.thread);
            entry.changed |= entry.thread != before;
        }
    }

    /// The trail's events of the steps so far; they are handed out once.
    pub(crate) fn take_trail(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.trail)
    }

    /// Writes changed threads and the events. Threads that are new to the store are the caller's to insert before.
    pub(crate) async fn write(self, tx: &mut Tx, counter: &mut Counter) -> Result<(), StoreError> {
        let mut updates = Vec::new();
        for entry in self.threads.into_values().filter(|entry| entry.changed) {
            if let Some(before) = entry.before {
                let changed = counter.next_change();
                updates.push(store::thread::Update {
                    before,
                    thread: entry.thread,
                    changed,
                });
            }
        }
        let written = store::thread::update(tx, &updates).await?;
        if written != updates.len() as u64 {
            // cannot happen under the counters' lock, which every writer of threads takes first.
            return Err(StoreError::Corrupt {
                table: "referral",
                column: "number",
            });
        }
        let events: Vec<EventRow> = self.events.into_values().collect();
        store::thread::put_events(tx, &events).await
    }
}

/// What the trail says of an applied move.
pub(crate) fn moved(event: &EventRow) -> Event {
    Event::new(Code::ReferralMoved, event.happened_at_ms)
        .id("thread", event.thread_id.as_bytes())
        .id("event", event.event_id.as_bytes())
        .word("move", event.mv.as_str())
        .word("state", event.state.as_str())
        .word("party", event.party.as_str())
        .number("number", i64::try_from(event.number).unwrap_or(i64::MAX))
}
