//! A member came back from a backup: what it lacks is sent again, and the standing of its threads is to be returned. Called inside the
//! `settle` transaction, last, so that answers of the same batch count first.
//! Never does for one restore twice what it did; never sends anything that its own consent has ended meanwhile, as its bytes are gone.

use kith_service::store::{StoreError, Tx};

use super::{Reoffer, Work};
use crate::audit::{Code, Event};
use crate::store::counter::Counter;
use crate::store::reoffer::{self, Rewound};
use crate::threads::DAY_MS;

/// How long before a backup something may have been taken that the member received after it: the mailbox window.
const WAITED_MS: i64 = 30 * DAY_MS;

/// Goes back with each member's pair.
pub(super) async fn write(
    tx: &mut Tx,
    counter: &mut Counter,
    work: &mut Work,
    all: &[&Reoffer],
) -> Result<(), StoreError> {
    for one in all {
        let times = (one.since_ms, one.asked_at_ms);
        if !reoffer::returning(tx, &one.peer, &one.restore_id, times).await? {
            continue;
        }
        let event = Event::new(Code::MemberRestored, one.asked_at_ms);
        work.trail.push(event.org("organisation", &one.peer));
        if let Some(held) = one.held {
            match reoffer::rewind(tx, &one.peer, held).await? {
                Rewound::To { .. } | Rewound::Nothing => {}
                Rewound::Unlike => {
                    tracing::error!(member = %one.peer, "a restored member holds another history of what this node sent; nothing is sent again");
                }
                Rewound::TooOld => {
                    tracing::warn!(member = %one.peer, "a restored member lacks what is not kept here any more; the rest is sent again under new numbers");
                    reoffer::anew(tx, counter, &one.peer, held).await?;
                }
            }
        }
        reoffer::loose(tx, &one.peer, one.since_ms.saturating_sub(WAITED_MS)).await?;
    }
    Ok(())
}
