//! What a member may leave at the gateway for nothing: rows that nobody is served by, such as those of refused lines or of stops of
//! slips that nobody has seen. Each member has so many in an hour; what would leave more waits for the next hour.
//! Spent by the relay, by stops and by renewals. Kept in memory: a gateway that starts anew, or runs beside another, counts anew.
//! Never refuses anything for good. Once an hour is spent, all that is no withdrawal, proof or stop of that member waits for the next.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kith_proto::id::OrgId;

use crate::limits::{IDLE_ROWS_PER_HOUR_MAX, IDLE_ROWS_RESERVE};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Anything that may wait an hour.
    Ordinary,
    /// Withdrawals, their proofs and stops, which have a reserve of their own.
    Ending,
}

/// The hour in which a member spends, and how much it has spent in it.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    hour: i64,
    rows: usize,
}

/// The budgets of all members; holds none but verified ones, so it is bounded by their number.
#[derive(Debug, Default)]
pub struct Budgets {
    spent: Mutex<BTreeMap<OrgId, Spent>>,
}

impl Budgets {
    /// How long the member has to wait, in ms; `None` while it has something left.
    pub fn wait_ms(&self, member: &OrgId, purpose: Purpose, now_ms: i64) -> Option<i64> {
        let max = match purpose {
            Purpose::Ordinary => IDLE_ROWS_PER_HOUR_MAX,
            Purpose::Ending => IDLE_ROWS_PER_HOUR_MAX + IDLE_ROWS_RESERVE,
        };
        let hour = now_ms.div_euclid(HOUR_MS);
        let spent = self.lock().get(member).copied().unwrap_or_default();
        (spent.hour == hour && spent.rows >= max).then(|| HOUR_MS - now_ms.rem_euclid(HOUR_MS))
    }

    /// Counts rows that the member has left.
    pub fn spend(&self, member: &OrgId, rows: usize, now_ms: i64) {
        if rows == 0 {
            return;
        }
        let hour = now_ms.div_euclid(HOUR_MS);
        let mut all = self.lock();
        let spent = all.entry(member.clone()).or_default();
        if spent.hour != hour {
            *spent = Spent { hour, rows: 0 };
        }
        let before = spent.rows;
        spent.rows = before.saturating_add(rows);
        if before < IDLE_ROWS_PER_HOUR_MAX && spent.rows >= IDLE_ROWS_PER_HOUR_MAX {
            tracing::warn!(%member, "a member has nothing left of this hour for what serves nobody");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OrgId, Spent>> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_its_own_hour_and_what_ends_things_a_reserve() {
        let (budgets, one) = (Budgets::default(), "riverside-gp".parse().unwrap());
        let other = "hope-mosque".parse().unwrap();
        let wait = |member, purpose, now_ms| budgets.wait_ms(member, purpose, now_ms);
        budgets.spend(&one, IDLE_ROWS_PER_HOUR_MAX - 1, 0);
        assert_eq!(wait(&one, Purpose::Ordinary, 1), None);
        budgets.spend(&one, 1, 1000);
        assert_eq!(wait(&one, Purpose::Ordinary, 1000), Some(HOUR_MS - 1000));
        assert_eq!(wait(&one, Purpose::Ending, 1000), None);
        assert_eq!(wait(&other, Purpose::Ordinary, 1000), None);
        budgets.spend(&one, IDLE_ROWS_RESERVE, 1000);
        assert_eq!(wait(&one, Purpose::Ending, HOUR_MS - 1), Some(1));
        assert_eq!(wait(&one, Purpose::Ordinary, HOUR_MS), None, "a new hour");
    }
}
