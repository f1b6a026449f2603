//! Access reports: who opened, at a recipient, what was shared from here. Read before, and kept inside, the `receive` transaction.
//! Never takes one from anybody but the recipient of a slip that this node issued and that still holds, never a word of no closed list.

use kith_proto::calendar::{day_start_ms, read_day};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};

use super::Opened;
use super::apply::Work;
use super::door::Reported;
use super::letter::{Meta, must};
use crate::access::{HOURS, OPENINGS_DAY_MAX, OPENINGS_MAX, Opening, Report};
use crate::audit::{self, Code};
use crate::store;
use crate::store::opening::SlipDay;
use crate::store::slip::SlipStanding;
use crate::threads::{DAY_MS, Side};

/// The checked fields of a report.
pub(super) fn read(
    opened: &Opened,
    report: &v1::AccessReport,
    received_at_ms: i64,
) -> Result<Report, Problem> {
    let (slip, head) = (&opened.slip, &opened.head);
    must(slip.from == head.to && slip.to == head.from)?;
    let day_ms = read_day(&report.day).ok_or(Problem::Invalid)?;
    must(day_ms >= day_start_ms(slip.issued_at_ms))?;
    must(day_ms <= received_at_ms.saturating_add(DAY_MS))?;
    must((1..=OPENINGS_MAX).contains(&report.openings.len()))?;
    Ok(Report {
        day_ms,
        openings: report.openings.iter().map(opening).collect::<Result<_, _>>()?,
    })
}

fn opening(one: &v1::Opening) -> Result<Opening, Problem> {
    let hour = u8::try_from(one.hour).map_err(|_| Problem::Invalid)?;
    must(hour < HOURS)?;
    Ok(Opening {
        hour,
        role: one.role.parse().map_err(|_| Problem::Invalid)?,
        reason: one.reason.parse().map_err(|_| Problem::Invalid)?,
    })
}

impl Work<'_> {
    /// Keeps what a recipient says of openings of a thread that this node sent to it.
    pub(super) async fn access_report(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        reported: &Reported,
    ) -> Result<Result<(), Problem>, StoreError> {
        let Reported {
            thread_id,
            slip_id,
            report,
        } = reported;
        if !self.is_of(meta, thread_id, slip_id, Some(Side::Sent)) {
            return Ok(Err(Problem::NotFound));
        }
        match self.slips.get(slip_id) {
            Some((SlipStanding::Live, _)) => {}
            Some((SlipStanding::Withdrawn, _)) => return Ok(Err(Problem::ConsentWithdrawn)),
            Some((SlipStanding::Expired, _)) => return Ok(Err(Problem::ConsentExpired)),
            None => return Ok(Err(Problem::NotFound)),
        }
        let of = SlipDay {
            day_ms: report.day_ms,
            slip_id: *slip_id,
        };
        let before = store::opening::reported(tx, &of).await?;
        if before.saturating_add(report.openings.len()) > OPENINGS_DAY_MAX {
            return Ok(Err(Problem::TooLarge));
        }
        store::opening::keep(tx, slip_id, &meta.envelope_id, report).await?;
        let count = i64::try_from(report.openings.len()).unwrap_or(i64::MAX);
        // Without the thread: the openings may be of any under the slip, and each finds them by it.
        let event = audit::Event::new(Code::AccessReported, meta.received_at_ms)
            .id("envelope", meta.envelope_id.as_bytes())
            .id("slip", slip_id.as_bytes())
            .org("by", &meta.peer)
            .number("day_ms", report.day_ms)
            .number("count", count)
            .hash("openings_hash", &report.hash());
        self.trail.push(event);
        Ok(Ok(()))
    }
}
