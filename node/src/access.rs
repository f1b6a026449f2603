//! Openings for the person to see: those here of what another member's consent covers, noted as they happen and reported to that member
//! once their day is over; and those that recipients report of what was shared from here.
//! Called where a thread is opened, by the timers, by receiving, and where a grant is shown.
//! Never notes who: a role, a purpose and an hour. Never notes what no report may tell, as its slip has ended.

use kith_proto::calendar::{day, day_start_ms};
use kith_proto::sign::sha256;
use kith_proto::v1;
use kith_proto::words::Purpose;
use kith_service::store::{StoreError, Tx};

use crate::node::Node;
use crate::store;
use crate::store::opening::{SlipDay, ToReport};
use crate::store::slip::{SlipSide, SlipStanding};
use crate::store::threads_view::Line;
use crate::tokens::{Caller, Role};

/// Most openings of one report: at some 34 bytes each it has 17 KiB, far below an envelope's 1 MiB. A token opens a thread at most 96 times
/// a day that count, so that more than one report a day is rare.
pub const OPENINGS_MAX: usize = 500;
/// Most openings that a recipient may report of one day under one slip: twenty people with five threads each, all day long. What an honest
/// node has beyond is in its own trail.
pub const OPENINGS_DAY_MAX: usize = 10_000;
/// Most openings of one recipient that are shown with a grant: some 25 KiB of an answer.
pub const OPENINGS_SHOWN_MAX: i64 = 500;
/// Hours of a day.
pub const HOURS: u8 = 24;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// One opening, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The hour of its day, UTC.
    pub hour: u8,
    /// In which role.
    pub role: Role,
    /// What for.
    pub reason: Purpose,
}

/// Openings of one day under one slip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first millisecond of the day.
    pub day_ms: i64,
    /// At least one, at most [`OPENINGS_MAX`].
    pub openings: Vec<Opening>,
}

impl Report {
    /// The report as it is sent.
    pub(crate) fn wire(&self) -> v1::AccessReport {
        let opening = |one: &Opening| v1::Opening {
            role: one.role.to_string(),
            reason: one.reason.to_string(),
            hour: u32::from(one.hour),
        };
        v1::AccessReport {
            day: day(self.day_ms),
            openings: self.openings.iter().map(opening).collect(),
        }
    }

    /// What the trail holds the kept rows by.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let openings = self.openings.iter();
        hash_of(openings.map(|one| (one.hour.to_string(), one.role.as_str(), one.reason.as_str())))
    }
}

/// The hash of openings in their order: each as hour, role and reason, with a space between, on a line of its own.
pub(crate) fn hash_of<'a>(openings: impl Iterator<Item = (String, &'a str, &'a str)>) -> [u8; 32] {
    let lines = openings.map(|(hour, role, reason)| format!("{hour} {role} {reason}\n"));
    sha256(&[lines.collect::<String>().as_bytes()])
}

/// Notes that a caller opens a thread, where a report may tell of it: the member that captured the consent is the thread's other party,
/// and its slip is live. Call it once for each opening that the trail has, in the same transaction.
pub(crate) async fn note(
    tx: &mut Tx,
    node: &Node,
    (caller, line): (&Caller, &Line),
    now_ms: i64,
) -> Result<(), StoreError> {
    let Some(role) = role_of(caller) else {
        return Ok(());
    };
    let slip = store::slip::find(tx, &[line.slip_id]).await?.pop();
    let is_told = slip.is_some_and(|slip| {
        let from_peer = slip.side == SlipSide::Received && slip.peer == line.peer;
        from_peer && slip.state == SlipStanding::Live && now_ms < slip.expires_at_ms
    });
    if !is_told {
        return Ok(());
    }
    let day_ms = day_start_ms(now_ms);
    // cannot fail: a day has 24 hours.
    let hour = u8::try_from(now_ms.saturating_sub(day_ms) / HOUR_MS).unwrap_or_default();
    let of = SlipDay {
        day_ms,
        slip_id: line.slip_id,
    };
    let row = ToReport {
        opening_id: node.rng.bytes().map_err(|_| StoreError::Abandoned)?,
        thread_id: line.thread_id,
        opening: Opening {
            hour,
            role,
            reason: line.purpose,
        },
    };
    store::opening::note(tx, &of, &row).await
}

/// The role in which a caller opens a thread: of several, the one that lets them.
fn role_of(caller: &Caller) -> Option<Role> {
    if caller.sees_all() {
        return Some(Role::Coordinator);
    }
    caller.roles.iter().next()
}

/// Openings of a slip as the API shows them.
pub(crate) fn shown(openings: &[(i64, Opening)]) -> Vec<v1::ReportedOpening> {
    let shown = |(day_ms, one): &(i64, Opening)| v1::ReportedOpening {
        day: day(*day_ms),
        hour: u32::from(one.hour),
        role: one.role.to_string(),
        reason: one.reason.to_string(),
    };
    openings.iter().map(shown).collect()
}
