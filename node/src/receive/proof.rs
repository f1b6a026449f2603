//! Proofs of withdrawals: what a recipient did. Called inside the `receive` transaction.
//! Never takes one that this node did not ask for, unless it may have forgotten that with a backup; never lets one give anything back.

use kith_proto::lifecycle::{Consent, Party};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::store::Tx;
use prost::Message as _;

use super::ReceiveError;
use super::apply::Work;
use super::door::Proved;
use super::letter::Meta;
use crate::audit::{self, Code};
use crate::cut::{self, Cut};
use crate::restore::RETURNED_MS_MAX;
use crate::store;
use crate::store::slip::SlipStanding;
use crate::store::slip_link;

impl<'a> Work<'a> {
    /// What a recipient did about a withdrawal.
    pub(super) async fn proof(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        said: &'a Proved,
    ) -> Result<Result<(), Problem>, ReceiveError> {
        let (slip_id, proof) = (&said.slip_id, &said.proof);
        let encoded = (proof.encode_to_vec(), meta.received_at_ms);
        let kept =
            slip_link::put_proof(tx, slip_id, &meta.peer, said.withdrawal_id.as_bytes(), encoded).await?;
        if !kept && !self.forgotten(tx, meta, said).await? {
            return Ok(Err(Problem::NotFound));
        }
        if proof.outcome == i32::from(v1::WithdrawalOutcome::Erased) {
            for thread_id in self.threads.load_of_slips(tx, &[*slip_id]).await? {
                self.threads.set(&thread_id, |thread| {
                    if thread.situation.consent == Consent::Cut {
                        thread.situation.consent = Consent::Erased;
                    }
                });
            }
        }
        let event = audit::Event::new(Code::WithdrawalProved, meta.received_at_ms);
        self.trail
            .push(event.id("slip", slip_id.as_bytes()).org("by", &meta.peer));
        Ok(Ok(()))
    }

    /// A proof of what this node had asked for after its backup, and knows no more: what was narrowed away is taken away again, and a
    /// slip that went with everything else is held again as one that has ended. Says whether it can be that.
    async fn forgotten(&mut self, tx: &mut Tx, meta: &Meta, said: &'a Proved) -> Result<bool, ReceiveError> {
        let since_ms = meta.received_at_ms.saturating_sub(RETURNED_MS_MAX);
        let done_at_ms = said.proof.done_at_ms.min(meta.received_at_ms);
        let can_be = if self.slips.contains_key(&said.slip_id) {
            store::restore::covers(tx, said.proof.done_at_ms, since_ms).await?
        } else {
            // It may have been done while this node was coming back.
            said.new_slip.is_some() && store::restore::earliest_backup(tx, since_ms).await? <= done_at_ms
        };
        if !can_be {
            return Ok(false);
        }
        if !self.slips.contains_key(&said.slip_id) {
            self.hold_ended(tx, said, done_at_ms).await?;
        }
        let ours = slip_link::Forgotten {
            slip_id: &said.slip_id,
            peer: &meta.peer,
            withdrawal_id: said.withdrawal_id.as_bytes(),
            at_ms: said.proof.done_at_ms,
            narrowed: said.narrowed.is_some(),
            proof: said.proof.encode_to_vec(),
        };
        if !slip_link::remember(tx, ours).await? {
            return Ok(false);
        }
        if let Some(narrowed) = &said.narrowed
            && !store::holding::replace_keys(tx, self.newest, std::slice::from_ref(narrowed)).await?
        {
            return Err(ReceiveError::Changed);
        }
        Ok(true)
    }

    /// The proof came before the other party returned the thread, which is then listed under a slip that has ended.
    async fn hold_ended(&mut self, tx: &mut Tx, said: &'a Proved, at_ms: i64) -> Result<(), ReceiveError> {
        self.bring(&said.new_slip)?;
        self.write_new(tx).await?;
        let Some((standing, holding_id)) = self.slips.get_mut(&said.slip_id) else {
            return Err(ReceiveError::Changed);
        };
        *standing = SlipStanding::Withdrawn;
        let cut = Cut {
            slip_id: said.slip_id,
            holding_id: *holding_id,
            party: Party::Person,
            withdrawal_id: said.withdrawal_id.as_bytes(),
            at_ms,
        };
        self.trail.extend(cut::cut(tx, &mut self.threads, &cut).await?);
        Ok(())
    }
}
