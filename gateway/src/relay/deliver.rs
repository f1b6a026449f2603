//! What goes down a stream: notices in number order, mail in the order of commits, and word of changed members and
//! checkpoints.
//! Runs beside the stream's reader until the stream ends. Reads mail in chunks, checks consent and members again on the way out,
//! and never has more than the limit of envelopes out without a receipt. Deletes nothing: only receipts empty a mailbox.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kith_proto::id::OrgId;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, attach_response::Frame, delivered_envelope::What};
use kith_service::store::{StoreError, Tx};
use kith_service::tls::identity::Identity;
use tokio::sync::watch;

use super::bury::{BuryError, Told, bury};
use super::streams::Open;
use super::{Out, RelayError};
use crate::gateway::Gateway;
use crate::limits::{
    DELIVERY_BYTES_MAX, DELIVERY_IN_FLIGHT_MAX, DELIVERY_POLL_MS, DELIVERY_ROWS_MAX, NOTICES_MAX,
};
use crate::members::{MemberMap, Standing};
use crate::membership;
use crate::store::mailbox::{self, Waiting};
use crate::store::{notice, restore};
use crate::witnessing::Stand;

/// The courier of one stream.
pub struct Courier<'a> {
    gateway: &'a Gateway,
    peer: &'a Identity,
    open: &'a Open,
    out: &'a Out,
    members: watch::Receiver<i64>,
    checkpoints: watch::Receiver<Stand>,
    /// The last position looked at.
    cursor: i64,
    /// The last notice sent.
    noticed: u64,
    /// Senders whose mail waits for the end of a suspension, and where the first of it stands.
    held_back: BTreeSet<OrgId>,
    held_back_at: Option<i64>,
    /// Members that have told their stops to a gateway that came back, as last looked at.
    told: BTreeSet<OrgId>,
}

impl<'a> Courier<'a> {
    /// A courier for a stream that has just said hello.
    pub fn new(gateway: &'a Gateway, peer: &'a Identity, open: &'a Open, out: &'a Out) -> Self {
        Self {
            gateway,
            peer,
            open,
            out,
            members: gateway.members.follow(),
            checkpoints: gateway.witnessing.follow(),
            cursor: 0,
            noticed: 0,
            held_back: BTreeSet::new(),
            held_back_at: None,
            told: BTreeSet::new(),
        }
    }

    /// Delivers until the stream must end; returns why.
    pub async fn run(mut self) -> RelayError {
        loop {
            let step = self.step().await;
            match step {
                Ok(true) => {}
                Ok(false) => self.wait().await,
                Err(error) => return error,
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the worker that delivers")]
    async fn wait(&mut self) {
        // In this order, not tokio's random one: a simulation must be able to repeat it.
        tokio::select! {
            biased;
            () = self.open.woken() => {}
            () = tokio::time::sleep(Duration::from_millis(DELIVERY_POLL_MS)) => {}
        }
    }

    /// Does one thing; says whether there may be more to do.
    async fn step(&mut self) -> Result<bool, RelayError> {
        if self.peer.not_after_ms <= self.gateway.clock.now_ms() {
            return Err(RelayError::CertificateEnded);
        }
        if self.members.has_changed().unwrap_or(false) {
            return self.members_changed().await.map(|()| true);
        }
        self.look_who_told().await?;
        if self.checkpoints.has_changed().unwrap_or(false) {
            return self.checkpoint_offered().await.map(|()| true);
        }
        Ok(self.notices().await? || self.mail().await?)
    }

    /// Tells the node that there is something to cosign, or that something counts.
    async fn checkpoint_offered(&mut self) -> Result<(), RelayError> {
        let stand = *self.checkpoints.borrow_and_update();
        let offered = v1::CheckpointOffered {
            epoch: stand.epoch,
            size: stand.offered,
        };
        self.out.frame(Frame::CheckpointOffered(offered)).await
    }

    /// Reads who has told their stops, while something waits that may wait for it; looks again at what was held back where it is more.
    async fn look_who_told(&mut self) -> Result<(), RelayError> {
        let Some((epoch, _)) = self.gateway.restored.filter(|_| self.held_back_at.is_some()) else {
            return Ok(());
        };
        let read = |mut tx: Tx| async move { restore::all_told(&mut tx, epoch).await };
        let told = self
            .gateway
            .store
            .look::<_, StoreError, _, _>("stops told", read)
            .await?;
        if told.len() > self.told.len() {
            self.told = told;
            self.look_again();
        }
        Ok(())
    }

    /// Looks again at what was held back.
    fn look_again(&mut self) {
        if let Some(first) = self.held_back_at.take() {
            self.cursor = self.cursor.min(first.saturating_sub(1));
            self.held_back.clear();
        }
    }

    /// Tells the node, and looks again at what waited for the end of a suspension.
    async fn members_changed(&mut self) -> Result<(), RelayError> {
        let cursor = self.members.borrow_and_update().unsigned_abs();
        let known = self
            .gateway
            .members
            .get(&self.peer.org)
            .ok_or(RelayError::NoMember)?;
        if !membership::certificate_counts(&known, self.peer) {
            return Err(RelayError::CertificateEnded);
        }
        self.look_again();
        let changed = v1::MembersChanged { cursor };
        self.out.frame(Frame::MembersChanged(changed)).await
    }

    async fn notices(&mut self) -> Result<bool, RelayError> {
        let (member, noticed) = (&self.peer.org, self.noticed);
        let notices = self
            .gateway
            .store
            .look("notices", |mut tx| async move {
                notice::after(&mut tx, member, noticed, NOTICES_MAX).await
            })
            .await?;
        let found = !notices.is_empty();
        for notice in notices {
            self.noticed = notice.notice_number;
            self.out.response(notice).await?;
        }
        Ok(found)
    }

    async fn mail(&mut self) -> Result<bool, RelayError> {
        let room = DELIVERY_IN_FLIGHT_MAX.saturating_sub(self.open.in_flight());
        let rows_max = room.min(DELIVERY_ROWS_MAX);
        if rows_max == 0 {
            return Ok(false);
        }
        let (member, cursor) = (&self.peer.org, self.cursor);
        let rows = self
            .gateway
            .store
            .look("deliver", |mut tx| async move {
                mailbox::chunk(&mut tx, member, cursor, (rows_max, DELIVERY_BYTES_MAX)).await
            })
            .await?;
        let Some(last) = rows.last().map(|row| row.position) else {
            return Ok(false);
        };
        let now_ms = self.gateway.clock.now_ms();
        if rows.iter().any(|row| ended(row, now_ms).is_some()) {
            bury_ended(self.gateway, &rows, now_ms).await?;
            // Read again: the tombstones stand where the envelopes stood.
            return Ok(true);
        }
        let rows = self.passing(rows);
        self.send(rows).await?;
        self.cursor = last;
        Ok(true)
    }

    /// Leaves out what is out already, what stands behind a re-offer, and what waits for the end of a suspension or for its sender's word: then also what
    /// stands behind it in its pair.
    fn passing(&mut self, rows: Vec<Waiting>) -> Vec<Waiting> {
        let members = self.gateway.members.all();
        let own = is_suspended(&members, &self.peer.org);
        let mut passing = Vec::with_capacity(rows.len());
        for row in rows {
            if self.open.is_out(&row.envelope_id) {
                continue;
            }
            if row.behind {
                // It gets a later place once what is missing in front of it was offered again.
                continue;
            }
            let tombstone = matches!(row.what, What::Tombstone(_));
            let suspended = !row.exempt && (own || is_suspended(&members, &row.sender));
            // A bare code may say that consent stands, so it waits as well; what ends things stands outside the order.
            let forgotten = (row.ordered || !row.exempt) && self.is_forgotten(&row);
            let barred = !tombstone && (suspended || forgotten);
            if barred || (row.ordered && self.held_back.contains(&row.sender)) {
                self.held_back_at.get_or_insert(row.position);
                if row.ordered {
                    self.held_back.insert(row.sender);
                }
            } else {
                passing.push(row);
            }
        }
        passing
    }

    /// Whether this gateway may have forgotten that a person took consent back: it came back from a backup with this mail, and its sender has not told
    /// the stops since.
    fn is_forgotten(&self, row: &Waiting) -> bool {
        let restored = self.gateway.restored;
        let before = restored.is_some_and(|(_, at_ms)| row.taken_at_ms < at_ms);
        before && !self.told.contains(&row.sender)
    }

    async fn send(&self, rows: Vec<Waiting>) -> Result<(), RelayError> {
        if rows.is_empty() {
            return Ok(());
        }
        let ids: &BTreeSet<[u8; 16]> = &rows.iter().filter_map(|row| row.batch_id).collect();
        let batches = self
            .gateway
            .store
            .look("order batches", |mut tx| async move {
                mailbox::batches(&mut tx, ids).await
            })
            .await?;
        let sent = rows
            .iter()
            .map(|row| (row.envelope_id, matches!(row.what, What::Envelope(_))));
        self.open.out(sent);
        let mut items: Vec<v1::Delivered> = Vec::new();
        let mut item_of = None;
        for row in rows {
            let this = row.batch_id;
            if this.is_none() || item_of != this {
                let order = this.map(|id| batches.get(&id).cloned().ok_or(MISSING_BATCH));
                items.push(v1::Delivered {
                    order: order.transpose()?,
                    taken_at_ms: row.taken_at_ms,
                    envelopes: Vec::new(),
                });
            }
            item_of = this;
            if let Some(item) = items.last_mut() {
                item.envelopes
                    .push(v1::DeliveredEnvelope { what: Some(row.what) });
            }
        }
        self.out.frame(Frame::Delivery(v1::Delivery { items })).await
    }
}

const MISSING_BATCH: StoreError = StoreError::Corrupt {
    table: "mailbox",
    column: "batch_id",
};

fn is_suspended(members: &Arc<MemberMap>, member: &OrgId) -> bool {
    members
        .get(member)
        .is_none_or(|known| known.state == Standing::Suspended)
}

/// Why an envelope is not delivered any more.
fn ended(row: &Waiting, now_ms: i64) -> Option<Problem> {
    if row.exempt || matches!(row.what, What::Tombstone(_)) {
        None
    } else if row.stopped {
        Some(Problem::ConsentWithdrawn)
    } else if row.expires_at_ms <= now_ms {
        Some(Problem::DeadlineExceeded)
    } else {
        None
    }
}

async fn bury_ended(gateway: &Gateway, rows: &[Waiting], now_ms: i64) -> Result<(), BuryError> {
    let woken = gateway
        .store
        .tx("bury", |mut tx| async move {
            let mut told = Told::default();
            for problem in [Problem::ConsentWithdrawn, Problem::DeadlineExceeded] {
                let ids: Vec<[u8; 16]> = rows
                    .iter()
                    .filter(|row| ended(row, now_ms) == Some(problem))
                    .map(|row| row.envelope_id)
                    .collect();
                // What was settled or buried since is not found, or found buried.
                let held = mailbox::held(&mut tx, &ids).await?;
                let held: Vec<_> = held.into_values().collect();
                bury(gateway, &mut tx, &held, problem, &mut told).await?;
            }
            Ok::<_, BuryError>(told.write(&mut tx).await?)
        })
        .await?;
    gateway.relay.wake_all(&woken);
    Ok(())
}
