//! How many events there are, by code and purpose. Called by the gRPC edge.
//! Never tells of fewer than five, and no number from which, with any other that it tells, fewer than five could be worked out.
//!
//! A group of one to four is told as `fewer_than_five`, with 0. Larger ones are told in steps of five, rounded down: the difference of
//! any two numbers told, of whatever filters and times, is then a multiple of five as well, and says of no group of under five
//! how large it is. No total is told, as one would give away the only small group. Whoever may count may also list the lines
//! one by one; what is kept here is what goes on into a report.

use kith_proto::v1;
use kith_proto::words::Purpose;
use kith_service::store::Tx;
use std::collections::BTreeMap;

use super::question::Question;
use super::walk::Walk;
use super::{Filter, TrailError, note_reading};
use crate::audit::Code;
use crate::node::Node;
use crate::tokens::Caller;

/// Groups under this are not told apart.
const TOLD_FROM: u64 = 5;
/// Events that one count may read: a quarter of a busy organisation's year, some 2 s. More is counted in parts, by time.
const READ_MAX: usize = 150_000;

/// Counts events by code and purpose; one with two purposes is in both groups, one without any in that of no purpose. That they
/// were counted is in the trail before anything is returned. [`TrailError::TooMuch`] over 150,000 events.
pub async fn count(node: &Node, caller: &Caller, filter: &Filter) -> Result<Vec<v1::TrailCount>, TrailError> {
    let read = |mut tx: Tx| async move { counted(&mut tx, filter).await };
    let groups = node.store.read("count trail", read).await?;
    let counts: Vec<v1::TrailCount> = groups
        .into_iter()
        .map(|((code, purpose), count)| told(code, purpose, count))
        .collect();
    note_reading(node, caller, ("counts", filter), counts.len()).await?;
    Ok(counts)
}

type Groups = BTreeMap<(Code, Option<Purpose>), u64>;

async fn counted(tx: &mut Tx, filter: &Filter) -> Result<Groups, TrailError> {
    let question = Question::of(tx, filter).await?;
    let mut walk = Walk::new(tx, &question, None).await?.unbounded();
    let mut groups = Groups::new();
    while let Some(batch) = walk.next(tx).await? {
        if walk.read() > READ_MAX {
            return Err(TrailError::TooMuch);
        }
        for (event, purposes) in question.with_purposes(tx, batch).await? {
            let wanted = purposes
                .iter()
                .filter(|purpose| filter.purpose.is_none_or(|wanted| **purpose == wanted));
            let mut none = true;
            for purpose in wanted {
                none = false;
                *groups.entry((event.code, Some(*purpose))).or_default() += 1;
            }
            if none {
                *groups.entry((event.code, None)).or_default() += 1;
            }
        }
    }
    Ok(groups)
}

fn told(code: Code, purpose: Option<Purpose>, count: u64) -> v1::TrailCount {
    v1::TrailCount {
        code: code.as_str().to_owned(),
        purpose: purpose.map_or(0, Purpose::number),
        count: count - count % TOLD_FROM,
        fewer_than_five: count < TOLD_FROM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_and_no_difference_of_two_tells_of_fewer_than_five() {
        let tell = |count| told(Code::Opened, None, count);
        for count in 1..5 {
            assert_eq!((tell(count).count, tell(count).fewer_than_five), (0, true));
        }
        assert_eq!((tell(5).count, tell(5).fewer_than_five), (5, false));
        for one in 5..40_u64 {
            for other in 5..40_u64 {
                assert_eq!(tell(one).count.abs_diff(tell(other).count) % 5, 0);
            }
        }
    }
}
