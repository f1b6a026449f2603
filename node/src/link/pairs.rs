//! What is on its way to the gateway, pair by pair: which rows may leave now, what an answer settles, what waits.
//! Called by `outbound` with rows, answers and the time; it signs nothing and reads nothing itself.
//! Never lets a row of a pair overtake another, never settles an answer before all earlier ones of its pair.
//!
//! ```text
//! read ──> leaves (in flight) ──> answered ──> settled, once every lower number of the pair is
//!             ^                      │ not final
//!             └── pause over, nothing of the pair in flight: read again from the last settled row
//! ```

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::{EnvelopeId, OrgId};
use kith_proto::order::{self, Position};
use kith_proto::problem::Problem;

use crate::settle::{Answered, OutboxRow};

#[cfg(test)]
mod tests;

/// The longest pause that a gateway can ask for: it tries again for ever, but not every second.
pub(super) const PAUSE_MS_MAX: i64 = 120_000;

/// A queued row as it is to leave: its line's place, and whether an envelope goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    /// The row.
    pub(super) row: OutboxRow,
    /// Its place in the order of the pair; none for kinds outside the order.
    pub(super) number: Option<u64>,
}

/// What became of one envelope, as the gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Taken at this time.
    Taken(i64),
    /// Refused for good.
    Refused { problem: Problem, at_ms: i64 },
    /// Not taken now.
    NotNow { problem: Problem, retry_after_ms: i64 },
}

/// Rows whose answer can be written down, and rows to be sealed again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// In the order of each pair.
    pub(super) answered: Vec<Answered>,
    /// Sealed to a key that the recipient no longer uses.
    pub(super) stale: Vec<OutboxRow>,
}

struct Flight {
    row: OutboxRow,
    word: Option<Word>,
}

struct Pair {
    /// After the last settled row.
    settled: Position,
    /// The place of the last settled row in the outbox.
    settled_seq: i64,
    /// After the last row in flight.
    submitted: Position,
    /// In flight by number.
    flights: BTreeMap<u64, Flight>,
    /// Set by an answer that was not final: nothing leaves before this time, nor while anything is in flight.
    paused_until_ms: Option<i64>,
    /// Rows up to the common cursor may have been passed over; read them again for this pair alone.
    behind: bool,
    /// Two histories: nothing leaves until a person has looked.
    stopped: bool,
}

impl Pair {
    fn at(settled: Position) -> Self {
        Self {
            settled,
            settled_seq: 0,
            submitted: settled,
            flights: BTreeMap::new(),
            paused_until_ms: None,
            behind: false,
            stopped: false,
        }
    }

    fn leaves(&self) -> bool {
        !self.stopped && self.paused_until_ms.is_none() && !self.behind
    }
}

/// A row outside the pair order.
struct Loose {
    row: OutboxRow,
    /// When to try it again; none while it is in flight.
    again_at_ms: Option<i64>,
}

/// All pairs of one stream.
pub(super) struct Pairs {
    /// Where a pair begins of which nothing was sent.
    start: Position,
    pairs: BTreeMap<OrgId, Pair>,
    /// Where each envelope in flight stands, by its hash: the gateway, which sees no envelope on a withheld line, answers
    /// that by its hash alone.
    numbered: BTreeMap<[u8; 32], (OrgId, u64)>,
    loose: BTreeMap<EnvelopeId, Loose>,
    in_flight_max: usize,
    /// A line was read that has to go again below where its pair stands: the pair went back meanwhile.
    went_back: bool,
}

impl Pairs {
    /// Starts from the last settled position of each pair; a pair where the gateway holds another history is stopped.
    pub(super) fn new(start: Position, held: Vec<(OrgId, Position)>, in_flight_max: usize) -> Self {
        let pairs = held.into_iter().map(|(org, position)| (org, Pair::at(position)));
        Self {
            start,
            pairs: pairs.collect(),
            numbered: BTreeMap::new(),
            loose: BTreeMap::new(),
            in_flight_max,
            went_back: false,
        }
    }

    /// Holds the gateway's last position of a pair against ours; answers whether the pair can go on. A gateway further
    /// on has taken what we have no receipt of yet; one that is behind, or elsewhere, has another history, unless a later run begins here.
    pub(super) fn compare(&mut self, org: OrgId, theirs: Position) -> bool {
        let pair = self.pairs.entry(org).or_insert_with(|| Pair::at(self.start));
        let fork = (theirs.number() < pair.settled.number() && !pair.settled.is_before_run())
            || (theirs.number() == pair.settled.number() && theirs.hash() != pair.settled.hash());
        pair.stopped = fork;
        !fork
    }

    /// Stops every pair that the gateway's hello left out although we hold receipts of it; answers how many.
    pub(super) fn stop_unlisted(&mut self, listed: &BTreeSet<OrgId>) -> usize {
        let mut stopped = 0;
        for (org, pair) in &mut self.pairs {
            if pair.settled.hash().is_some() && !listed.contains(org) {
                pair.stopped = true;
                stopped += 1;
            }
        }
        stopped
    }

    /// How many more envelopes may leave.
    pub(super) fn room(&self) -> usize {
        self.in_flight_max
            .saturating_sub(self.numbered.len() + self.loose_in_flight())
    }

    fn loose_in_flight(&self) -> usize {
        self.loose.values().filter(|l| l.again_at_ms.is_none()).count()
    }

    /// Takes a row in that was read in outbox order; gives it back with its number when it may leave now. A row of a
    /// pair that waits is passed over and read again later.
    pub(super) fn take(&mut self, row: OutboxRow) -> Option<Leaving> {
        if !row.ordered {
            if self.loose.contains_key(&row.envelope_id) {
                return None;
            }
            let loose = Loose {
                row: row.clone(),
                again_at_ms: None,
            };
            self.loose.insert(row.envelope_id, loose);
            return Some(Leaving { row, number: None });
        }
        let pair = self
            .pairs
            .entry(row.peer.clone())
            .or_insert_with(|| Pair::at(self.start));
        if !pair.leaves() {
            pair.behind = true;
            return None;
        }
        let number = Self::number(self.start, &mut self.went_back, pair, &row)?;
        Some(Self::leave(&mut self.numbered, pair, (row, number)))
    }

    /// The number with which a row leaves. None where its pair stops: a line that was answered before has to get the number that it had, but the pair
    /// went back while this stream was open, and a new stream begins where it stands now; or lines are gone that would have to go first.
    fn number(start: Position, went_back: &mut bool, pair: &mut Pair, row: &OutboxRow) -> Option<u64> {
        if pair.stopped {
            return None;
        }
        let last = pair.submitted.number();
        match row.number {
            // A pair that went back behind the run which began since goes on in the run.
            None => Some(last.max(start.number()).saturating_add(1)),
            Some(number) if order::follows(number, last) => Some(number),
            Some(number) => {
                pair.stopped = true;
                if number <= last {
                    *went_back = true;
                } else {
                    tracing::error!("lines are gone that would have to be sent again; one pair is stopped");
                }
                None
            }
        }
    }

    /// Whether a pair went back while this stream was open.
    pub(super) const fn went_back(&self) -> bool {
        self.went_back
    }

    fn leave(
        numbered: &mut BTreeMap<[u8; 32], (OrgId, u64)>,
        pair: &mut Pair,
        (row, number): (OutboxRow, u64),
    ) -> Leaving {
        pair.submitted = Position::at(number, row.envelope_hash);
        numbered.insert(row.envelope_hash, (row.peer.clone(), number));
        pair.flights.insert(
            number,
            Flight {
                row: row.clone(),
                word: None,
            },
        );
        Leaving {
            row,
            number: Some(number),
        }
    }

    /// The position that the next line of a pair follows, given the first number of a group.
    pub(super) fn before(&self, org: &OrgId, first: u64) -> Position {
        let Some(pair) = self.pairs.get(org) else {
            return self.start;
        };
        let number = first.saturating_sub(1);
        if let Some(before_run) = Position::of_wire(number, &[]) {
            return before_run;
        }
        match pair.flights.get(&number) {
            Some(flight) => Position::at(number, flight.row.envelope_hash),
            None => pair.settled,
        }
    }

    /// Takes the gateway's word on one envelope; what is not in flight (answered before) is passed over. An answer that
    /// names another hash than the one that left is not ours either.
    pub(super) fn answer(&mut self, id: &EnvelopeId, hash: &[u8; 32], word: Word, now_ms: i64) -> Settled {
        if let Some(loose) = self.loose.get_mut(id) {
            if loose.row.envelope_hash != *hash {
                return Settled::default();
            }
            return self.answer_loose(id, word, now_ms);
        }
        let Some((org, number)) = self.numbered.get(hash).cloned() else {
            return Settled::default();
        };
        let Some(pair) = self.pairs.get_mut(&org) else {
            return Settled::default();
        };
        let Some(flight) = pair.flights.get_mut(&number) else {
            return Settled::default();
        };
        if let Word::NotNow { retry_after_ms, .. } = word {
            let until_ms = now_ms.saturating_add(retry_after_ms.clamp(1, PAUSE_MS_MAX));
            pair.paused_until_ms = Some(pair.paused_until_ms.map_or(until_ms, |old| old.max(until_ms)));
            pair.behind = true;
        }
        flight.word = Some(word);
        Self::drain(&mut self.numbered, pair)
    }

    fn answer_loose(&mut self, id: &EnvelopeId, word: Word, now_ms: i64) -> Settled {
        let mut settled = Settled::default();
        if let Word::NotNow {
            problem,
            retry_after_ms,
        } = word
        {
            if let Some(loose) = self.loose.get_mut(id) {
                let wait_ms = retry_after_ms.clamp(1, PAUSE_MS_MAX);
                loose.again_at_ms = Some(now_ms.saturating_add(wait_ms));
                if problem == Problem::StaleKey {
                    settled.stale.push(loose.row.clone());
                }
            }
        } else if let Some(loose) = self.loose.remove(id) {
            settled.answered.extend(answered(loose.row, None, word));
        }
        settled
    }

    /// Lets a row that nothing of is in flight wait until a time, and its pair with it.
    pub(super) fn hold(&mut self, row: &OutboxRow, until_ms: i64) {
        if let Some(loose) = self.loose.get_mut(&row.envelope_id) {
            loose.again_at_ms = loose.again_at_ms.max(Some(until_ms));
        } else if let Some(pair) = self.pairs.get_mut(&row.peer) {
            pair.paused_until_ms = pair.paused_until_ms.max(Some(until_ms));
            pair.behind = true;
        }
    }

    /// Settles from the lowest number in flight on; behind the first answer that is not final nothing was taken.
    fn drain(numbered: &mut BTreeMap<[u8; 32], (OrgId, u64)>, pair: &mut Pair) -> Settled {
        let mut settled = Settled::default();
        while let Some(entry) = pair.flights.first_entry() {
            if entry.get().word.is_none() {
                return settled;
            }
            let (number, flight) = entry.remove_entry();
            numbered.remove(&flight.row.envelope_hash);
            let (row, seq) = (flight.row, pair.settled_seq);
            match flight.word {
                Some(Word::NotNow { problem, .. }) => {
                    if problem == Problem::StaleKey {
                        settled.stale.push(row);
                    }
                }
                Some(word) if order::follows(number, pair.settled.number()) => {
                    pair.settled = Position::at(number, row.envelope_hash);
                    pair.settled_seq = seq.max(row.seq);
                    settled.answered.extend(answered(row, Some(number), word));
                }
                // Taken after one that was not: a gateway that contradicts itself. Left in flight's place unsettled,
                // it is submitted again and answered again.
                Some(_) | None => pair.behind = true,
            }
        }
        pair.submitted = pair.settled;
        settled
    }

    /// The pairs whose passed-over rows can be read now, each with the place in the outbox to read from.
    pub(super) fn due(&mut self, now_ms: i64) -> Vec<(OrgId, i64)> {
        let mut due = Vec::new();
        for (org, pair) in &mut self.pairs {
            if pair.paused_until_ms.is_some_and(|until| until <= now_ms) && pair.flights.is_empty() {
                pair.paused_until_ms = None;
            }
            if pair.behind && !pair.stopped && pair.paused_until_ms.is_none() && pair.flights.is_empty() {
                due.push((org.clone(), pair.settled_seq));
            }
        }
        due
    }

    /// Takes rows in that were read for one pair alone, in outbox order; `all` says that nothing up to the common
    /// cursor is left, so that the pair goes on with the others.
    pub(super) fn take_up(&mut self, org: &OrgId, rows: Vec<OutboxRow>, all: bool) -> Vec<Leaving> {
        let Some(pair) = self.pairs.get_mut(org) else {
            return Vec::new();
        };
        pair.behind = !all;
        let (start, numbered, went_back) = (self.start, &mut self.numbered, &mut self.went_back);
        let mut leaving = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(number) = Self::number(start, went_back, pair, &row) {
                leaving.push(Self::leave(numbered, pair, (row, number)));
            }
        }
        leaving
    }

    /// The rows outside the order that are to be tried again now: at most so many and so many bytes of envelopes (one is given
    /// whatever its size), and no more than there is room for.
    pub(super) fn due_loose(&mut self, now_ms: i64, rows_max: usize, bytes_max: usize) -> Vec<i64> {
        let due = |l: &Loose| l.again_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let mut bytes = 0_usize;
        let ids: Vec<EnvelopeId> = self
            .loose
            .iter()
            .filter(|(_, l)| due(l))
            .take(self.room().min(rows_max))
            .take_while(|(_, l)| {
                let first = bytes == 0;
                bytes = bytes.saturating_add(l.row.envelope_bytes);
                first || bytes <= bytes_max
            })
            .map(|(id, _)| *id)
            .collect();
        ids.iter()
            .filter_map(|id| self.loose.remove(id))
            .map(|l| l.row.seq)
            .collect()
    }

    /// When something that waits may be tried next; none when nothing waits.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        let pauses = self
            .pairs
            .values()
            .filter(|p| !p.stopped)
            .filter_map(|p| p.paused_until_ms);
        pauses
            .chain(self.loose.values().filter_map(|l| l.again_at_ms))
            .min()
    }
}

fn answered(row: OutboxRow, number: Option<u64>, word: Word) -> Option<Answered> {
    let (problem, at_ms) = match word {
        Word::Taken(at_ms) => (None, at_ms),
        Word::Refused { problem, at_ms } => (Some(problem), at_ms),
        Word::NotNow { .. } => return None,
    };
    Some(Answered {
        row,
        resealed: false,
        number,
        problem,
        at_ms,
    })
}
