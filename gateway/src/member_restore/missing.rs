//! What a restored member lacks of each pair: the numbers behind what its backup holds that do not wait in its mailbox. Worked out
//! under the pairs' locks. Never asks for a number whose outcome nobody knows any more, nor for mail that a member without any backup has no
//! key for: then the pair begins behind it.

use std::collections::BTreeMap;

use kith_proto::id::OrgId;
use kith_proto::order::{self, Position, Stretch};
use kith_service::store::{StoreError, Tx};

use super::Asked;
use crate::store::pair::{Pair, PairRow};
use crate::store::reoffer::{self, Behind, ReofferRow};

/// What is missing at a member.
#[derive(Debug, Default)]
pub struct Missing {
    /// Pairs of which something is to be offered again.
    pub rows: Vec<(Pair, ReofferRow)>,
    /// Where their senders go back to.
    pub held: BTreeMap<OrgId, Position>,
    /// Pairs whose missing part is older than what is known: where they begin.
    pub begins: BTreeMap<OrgId, Position>,
    /// Pairs of which nothing is to be offered again.
    pub whole: Vec<Pair>,
}

/// Works out what is missing of each pair.
pub(super) async fn of(
    tx: &mut Tx,
    asked: &Asked,
    pairs: &BTreeMap<Pair, PairRow>,
) -> Result<Missing, StoreError> {
    let mut missing = Missing::default();
    for (pair, row) in pairs {
        let held = asked.received(&pair.sender);
        let behind = reoffer::behind(tx, pair, held.number()).await?;
        let last = row.position.number();
        let known = reoffer::known(tx, pair, (held.number(), last)).await?;
        let through = last_missing((held.number(), last), &behind, &known);
        let known = reoffer::known(tx, pair, (held.number(), through)).await?;
        if through <= held.number() {
            missing.whole.push(pair.clone());
        } else if asked.has_backup() && order::is_whole((held.number(), through), &known) {
            let row = ReofferRow {
                restore_id: asked.restore_id,
                after: held.number(),
                through,
            };
            missing.rows.push((pair.clone(), row));
            missing.held.insert(pair.sender.clone(), held);
        } else {
            let first = behind.iter().rev().find(|line| line.number > through);
            let begins = match first {
                Some(line) => reoffer::before(tx, line).await?,
                None => None,
            };
            let begins = begins.unwrap_or(row.position);
            missing.begins.insert(pair.sender.clone(), begins);
            missing.whole.push(pair.clone());
        }
    }
    Ok(missing)
}

/// The last number behind the one that is held, up to the pair's last, that does not wait; `behind` is what waits, the last one first.
fn last_missing((held, last): (u64, u64), behind: &[Behind], known: &[Stretch]) -> u64 {
    let mut number = last;
    for line in behind {
        if line.number != number {
            break;
        }
        number = if order::begins_run(number) {
            let earlier = known.iter().rev().find(|run| run.last < number);
            earlier.map_or(held, |run| run.last)
        } else {
            number.saturating_sub(1)
        };
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use kith_proto::order::RUN_LINES;

    fn waits(numbers: &[u64]) -> Vec<Behind> {
        let line = |number: &u64| Behind {
            number: *number,
            envelope_id: [0; 16],
            batch_id: None,
        };
        numbers.iter().map(line).collect()
    }

    fn run(first: u64, last: u64) -> Stretch {
        Stretch {
            first,
            last,
            count: last - first + 1,
        }
    }

    #[test]
    fn what_waits_without_a_gap_at_the_end_is_not_missing() {
        let last_missing = |last, behind: &[Behind]| last_missing((0, last), behind, &[]);
        assert_eq!(last_missing(0, &[]), 0, "nothing was ever sent");
        assert_eq!(last_missing(5, &[]), 5, "nothing waits");
        assert_eq!(last_missing(5, &waits(&[5, 4])), 3);
        assert_eq!(last_missing(5, &waits(&[5, 4, 2])), 3, "a hole");
        assert_eq!(last_missing(5, &waits(&[4, 3])), 5, "the last one was delivered");
        assert_eq!(last_missing(3, &waits(&[3, 2, 1])), 0);
    }

    #[test]
    fn what_waits_may_reach_back_into_an_earlier_run() {
        let first = 2 * RUN_LINES + 1;
        let known = [run(4, 8), run(first, first + 2)];
        let behind = |numbers: &[u64]| last_missing((3, first + 2), &waits(numbers), &known);
        assert_eq!(behind(&[first + 2]), first + 1);
        assert_eq!(behind(&[first + 2, first + 1, first]), 8);
        assert_eq!(behind(&[first + 2, first + 1, first, 8, 7]), 6);
        assert_eq!(behind(&[first + 2, first + 1, first, 8, 7, 6, 5, 4]), 3);
        let all = waits(&[first]);
        assert_eq!(
            last_missing((3, first), &all, &[run(first, first)]),
            3,
            "nothing of before is known"
        );
    }
}
