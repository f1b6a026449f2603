//! The batch door `receive`: the rows it takes and the transaction that writes them.
//! Called by `receive` with prepared rows, in the order of each pair. Never seals, never opens.

use std::sync::Arc;

use kith_proto::id::{MessageId, SlipId, ThreadId, WithdrawalId};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::rng::Rng;
use kith_service::store::{Batch, Store, StoreError, Tx};

use super::apply::Work;
use super::letter::{Event, Meta, Returned};
use super::{Receipt, ReceiveError};
use crate::access::Report;
use crate::content::Content as Keys;
use crate::node::Node;
use crate::outbox::Outgoing;
use crate::store::content::Content;
use crate::store::counter::Counter;
use crate::store::holding::Holding;
use crate::store::referral::NewThread;
use crate::store::referral_content::ReferralContent;
use crate::store::slip::SlipRow;
use crate::threads::{Before, Step};

/// Most rows of one transaction: one full window of deliveries, some 30 ms of the one writer.
pub const RECEIVE_ROWS_MAX: usize = 256;

/// One prepared arrival.
#[derive(Debug)]
pub struct Row {
    pub(super) meta: Meta,
    pub(super) effect: Effect,
}

/// A slip that is new here, with its holding.
pub(super) type NewSlip = Option<(Holding, SlipRow)>;

/// What an arrival does.
#[derive(Debug)]
pub(super) enum Effect {
    /// It came before.
    Known,
    /// Nothing is kept of it, and why.
    Nothing { problem: Problem, tombstone: bool },
    /// A new thread in the inbox.
    Referral(Box<NewReferral>),
    /// The recipient's node moved a thread that this node sent.
    Event {
        thread_id: ThreadId,
        slip_id: SlipId,
        event: Box<Event>,
        content: Option<Content>,
    },
    /// A proposal, applied while the thread stood as `before` says, with the numbered event that goes back.
    Proposal {
        thread_id: ThreadId,
        before: Before,
        step: Box<Step>,
        content: Option<Content>,
        reply: Box<Outgoing>,
    },
    /// The other party returned a thread after this node came back from a backup.
    Returned(Box<Returning>),
    /// A message on a thread.
    Message {
        thread_id: ThreadId,
        slip_id: SlipId,
        message_id: MessageId,
        content: Option<Content>,
    },
    /// Consent was taken back or narrowed.
    Withdrawal(Box<Withdrawn>),
    /// Who opened, at a recipient, what was shared from here.
    AccessReport(Reported),
    /// What a recipient did about a withdrawal.
    Proof(Box<Proved>),
}

/// Openings that the recipient of a thread reports.
#[derive(Debug)]
pub(super) struct Reported {
    pub(super) thread_id: ThreadId,
    pub(super) slip_id: SlipId,
    pub(super) report: Report,
}

/// A thread that is returned, and the slip where it is not held here.
#[derive(Debug)]
pub(super) struct Returning {
    pub(super) thread_id: ThreadId,
    pub(super) slip_id: SlipId,
    pub(super) returned: Returned,
    pub(super) new_slip: NewSlip,
    /// The holding without what was taken back, where it has keys for any of that.
    pub(super) narrowed: Option<Holding>,
}

impl Effect {
    /// The message that it is.
    pub(super) fn message(&self) -> Option<(ThreadId, MessageId)> {
        match self {
            Self::Message {
                thread_id,
                message_id,
                ..
            } => Some((*thread_id, *message_id)),
            _ => None,
        }
    }

    /// The slip and the thread that the transaction must know.
    pub(super) fn speaks_of(&self) -> (Option<SlipId>, Option<ThreadId>) {
        match self {
            Self::Known | Self::Nothing { .. } => (None, None),
            Self::Referral(referral) => (
                Some(referral.new.thread.slip_id),
                Some(referral.new.thread.thread_id),
            ),
            Self::Event {
                thread_id, slip_id, ..
            }
            | Self::Message {
                thread_id, slip_id, ..
            } => (Some(*slip_id), Some(*thread_id)),
            Self::AccessReport(reported) => (Some(reported.slip_id), Some(reported.thread_id)),
            Self::Returned(returning) => (Some(returning.slip_id), Some(returning.thread_id)),
            Self::Proposal { thread_id, .. } => (None, Some(*thread_id)),
            Self::Withdrawal(withdrawn) => (Some(withdrawn.slip_id), None),
            Self::Proof(proved) => (Some(proved.slip_id), None),
        }
    }
}

/// A proof, and what is held of the slip that it is about.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) withdrawal_id: WithdrawalId,
    pub(super) slip_id: SlipId,
    pub(super) proof: v1::WithdrawalProof,
    /// The holding without the categories that the proof names; none of a proof of a whole withdrawal.
    pub(super) narrowed: Option<Holding>,
    /// The slip, where it is one of this node's own that is not held here.
    pub(super) new_slip: NewSlip,
}

/// A withdrawal with the proof that goes back.
#[derive(Debug)]
pub(super) struct Withdrawn {
    pub(super) withdrawal_id: WithdrawalId,
    pub(super) slip_id: SlipId,
    pub(super) withdrawn_at_ms: i64,
    /// Whether everything ends, or only what `narrowed` leaves out.
    pub(super) whole: bool,
    pub(super) narrowed: Option<Holding>,
    pub(super) new_slip: NewSlip,
    pub(super) proof: Outgoing,
}

/// A referral with its sealed content.
#[derive(Debug)]
pub(super) struct NewReferral {
    pub(super) new: NewThread,
    pub(super) new_slip: NewSlip,
    pub(super) content: ReferralContent,
}

/// What was written for one row.
#[derive(Clone, Debug)]
pub struct Written {
    pub(super) receipt: Receipt,
    /// The number of the last change, for watchers.
    pub(super) changed: i64,
    /// Whether something was queued for the gateway.
    pub(super) queued: bool,
}

impl Written {
    /// Tells watchers and the link what the commit brought, and gives the receipt.
    pub(super) fn told(self, node: &Node) -> Receipt {
        node.tell_change(self.changed);
        if self.queued {
            node.outbox_ready.notify_one();
        }
        self.receipt
    }
}

/// The batch door.
pub type ReceiveDoor = Batch<Row, Written, ReceiveError>;

/// Opens the batch door `receive`; `thread_epoch` as in [`Node::thread_epoch`].
pub fn door(store: &Store, rng: &Rng, keys: &Arc<Keys>, thread_epoch: u64) -> ReceiveDoor {
    let (rng, keys) = (rng.clone(), keys.clone());
    store.batch("receive", RECEIVE_ROWS_MAX, move |mut tx, rows| {
        let (rng, keys) = (rng.clone(), keys.clone());
        async move {
            let (answers, changed, queued) = write(&mut tx, (&rng, &keys, thread_epoch), &rows).await?;
            let written = |receipt| Written {
                receipt,
                changed,
                queued,
            };
            Ok(answers.into_iter().map(|answer| answer.map(written)).collect())
        }
    })
}

type Answers = (Vec<Result<Receipt, ReceiveError>>, i64, bool);

/// One transaction. From the first row that must be prepared again on, none is written: the order of a pair is kept.
async fn write(
    tx: &mut Tx,
    (rng, keys, thread_epoch): (&Rng, &Keys, u64),
    rows: &[Row],
) -> Result<Answers, StoreError> {
    let mut counter = Counter::lock(tx).await?;
    // cannot fail: a node that opened has an epoch.
    let newest = keys.newest_under(&counter).map_err(|_| StoreError::Abandoned)?;
    let mut work = Work::load(tx, (newest, thread_epoch), rows).await?;
    let mut answers = Vec::with_capacity(rows.len());
    for row in rows {
        match work.apply(tx, row).await {
            Ok(receipt) => answers.push(Ok(receipt)),
            Err(ReceiveError::Store(error)) => return Err(error),
            Err(error) => {
                answers.push(Err(error));
                break;
            }
        }
    }
    let rest = rows.len() - answers.len();
    answers.extend((0..rest).map(|_| Err(ReceiveError::Changed)));
    let queued = work.write(tx, &mut counter, rng).await?;
    let changed = counter.change();
    counter.save(tx).await?;
    Ok((answers, changed, queued))
}
