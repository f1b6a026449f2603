//! The walk over the events that a question may mean, newest first: through the index by the fewest keys that lead to them, and event
//! by event where the index has not come yet or no key leads anywhere.
//! Called by whatever reads the trail. Never passes over an event that is meant, never gives one twice.
//!
//! ```text
//! before ──> not in the index yet: read one after another ──> end of the index ──> one list of numbers for each key, merged
//! ```

use kith_service::log::append::Stored;
use kith_service::log::index;
use kith_service::store::{StoreError, Tx};
use std::collections::VecDeque;

use super::TrailError;
use super::question::Question;
use crate::store::trail;

/// Events of one step.
const STEP: usize = 256;
/// Numbers that are looked at for an answer without keys before it says where to go on: read from the table in the order of the
/// disk, where a row that is too old or too new costs a microsecond.
const PASSED_MAX: i64 = 65_536;
/// So far are the events of a key counted in order to find the fewest.
const COUNTED_MAX: i64 = 4_096;
/// Numbers fetched at once, over all keys.
const FETCHED: usize = 512;

/// A walk under way.
pub(super) struct Walk {
    span_ms: (i64, i64),
    /// The events with lower numbers are still to come.
    before: i64,
    /// The last event that the keys lead to; those after it are read one after another.
    indexed: i64,
    keys: Vec<Key>,
    read: usize,
    passed: i64,
    passed_max: i64,
}

/// One list of numbers, newest first.
struct Key {
    key: i64,
    ahead: VecDeque<i64>,
    /// Where the next are fetched from; 0 once there are none.
    before: i64,
}

impl Walk {
    /// Begins before the event with this number, or at the newest.
    pub(super) async fn new(
        tx: &mut Tx,
        question: &Question,
        before: Option<i64>,
    ) -> Result<Self, TrailError> {
        let last = trail::last(tx).await?.saturating_add(1);
        let before = before.unwrap_or(last).min(last);
        let end = index::end(tx).await?;
        let way = fewest(tx, question.ways(), before.min(end.saturating_add(1))).await?;
        let first = before.min(end.saturating_add(1));
        let keys = way.iter().flatten().map(|key| Key {
            key: *key,
            ahead: VecDeque::new(),
            before: first,
        });
        Ok(Self {
            span_ms: question.span_ms(),
            before,
            indexed: if way.is_some() { end } else { 0 },
            keys: keys.collect(),
            read: 0,
            passed: 0,
            passed_max: PASSED_MAX,
        })
    }

    /// The same walk, which its caller bounds alone.
    pub(super) fn unbounded(self) -> Self {
        Self {
            passed_max: i64::MAX,
            ..self
        }
    }

    /// How many events were read so far, or as good as read.
    pub(super) const fn read(&self) -> usize {
        self.read
    }

    /// Where a later walk goes on; none when this one has seen everything.
    pub(super) fn goes_on(&self) -> Option<i64> {
        (self.before > 1).then_some(self.before)
    }

    /// The next events, newest first, perhaps none of them meant; `None` at the end, or when it must be gone on with another time.
    pub(super) async fn next(&mut self, tx: &mut Tx) -> Result<Option<Vec<Stored>>, TrailError> {
        if self.before <= 1 || self.passed >= self.passed_max {
            return Ok(None);
        }
        let events = if self.before > self.indexed.saturating_add(1) {
            self.one_after_another(tx).await?
        } else {
            self.by_keys(tx).await?
        };
        self.read += events.len();
        Ok(Some(events))
    }

    async fn one_after_another(&mut self, tx: &mut Tx) -> Result<Vec<Stored>, TrailError> {
        let lowest = self.indexed.max(self.before.saturating_sub(PASSED_MAX));
        let limit = i64::try_from(STEP).unwrap_or(i64::MAX);
        let events = trail::span(tx, (lowest, self.before), self.span_ms, limit).await?;
        let next = match events.last() {
            Some(last) if events.len() == STEP => last.seq,
            _ => lowest.saturating_add(1),
        };
        self.passed += self.before - next;
        self.before = next;
        Ok(events)
    }

    async fn by_keys(&mut self, tx: &mut Tx) -> Result<Vec<Stored>, TrailError> {
        let mut numbers: Vec<i64> = Vec::with_capacity(STEP);
        while numbers.len() < STEP {
            match self.newest(tx).await? {
                Some(seq) => numbers.push(seq),
                None => {
                    self.before = 0;
                    break;
                }
            }
        }
        if let Some(last) = numbers.last().filter(|_| self.before > 0) {
            self.before = *last;
        }
        Ok(trail::numbered(tx, &numbers).await?)
    }

    /// Takes the newest number off every list that begins with it.
    async fn newest(&mut self, tx: &mut Tx) -> Result<Option<i64>, StoreError> {
        let limit = (FETCHED / self.keys.len().max(1)).clamp(8, STEP);
        let mut newest = None;
        for key in &mut self.keys {
            if key.ahead.is_empty() && key.before > 0 {
                key.fetch(tx, limit).await?;
            }
            newest = newest.max(key.ahead.front().copied());
        }
        for key in &mut self.keys {
            if key.ahead.front().copied() == newest {
                key.ahead.pop_front();
            }
        }
        Ok(newest)
    }
}

impl Key {
    async fn fetch(&mut self, tx: &mut Tx, limit: usize) -> Result<(), StoreError> {
        let many = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = index::found(tx, self.key, (0, self.before), many).await?;
        let is_last = found.len() < limit;
        self.before = found.last().copied().filter(|_| !is_last).unwrap_or(0);
        self.ahead = found.into();
        Ok(())
    }
}

/// The set of keys that leads to the fewest events; none when there is no key.
async fn fewest(tx: &mut Tx, ways: Vec<Vec<i64>>, before: i64) -> Result<Option<Vec<i64>>, StoreError> {
    if ways.len() < 2 {
        return Ok(ways.into_iter().next());
    }
    let mut best: Option<(i64, Vec<i64>)> = None;
    for way in ways {
        let limit = best.as_ref().map_or(COUNTED_MAX, |(count, _)| *count);
        let mut count = 0;
        for key in &way {
            if count < limit {
                count += index::count(tx, *key, (0, before), limit - count).await?;
            }
        }
        if best.as_ref().is_none_or(|(fewest, _)| count < *fewest) {
            best = Some((count, way));
        }
    }
    Ok(best.map(|(_, way)| way))
}
