//! Proofs of withdrawals: what a recipient did. Called inside the `receive` transaction.
//! Never takes one that this node did not ask for, unless it may have forgotten that with a backup; never lets one give anything back.

use kith_proto::id::SlipId;
use kith_proto::lifecycle::Consent;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_service::store::Tx;
use prost::Message as _;

use super::ReceiveError;
use super::apply::Work;
use super::letter::Meta;
use crate::audit::{self, Code};
use crate::restore::RETURNED_MS_MAX;
use crate::store;
use crate::store::holding::Holding;
use crate::store::slip_link;

impl Work<'_> {
    /// What a recipient did about a withdrawal.
    pub(super) async fn proof(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        (slip_id, withdrawal_id): (&SlipId, &[u8; 16]),
        (proof, narrowed): (&v1::WithdrawalProof, Option<&Holding>),
    ) -> Result<Result<(), Problem>, ReceiveError> {
        let kept =
            slip_link::put_proof(tx, slip_id, &meta.peer, withdrawal_id, proof.encode_to_vec()).await?;
        if !kept
            && !self
                .forgotten(tx, meta, (slip_id, withdrawal_id), (proof, narrowed))
                .await?
        {
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

    /// A proof of what this node had asked for after its backup, and knows no more: what was narrowed away is taken away again. Says
    /// whether it can be that.
    async fn forgotten(
        &mut self,
        tx: &mut Tx,
        meta: &Meta,
        (slip_id, withdrawal_id): (&SlipId, &[u8; 16]),
        (proof, narrowed): (&v1::WithdrawalProof, Option<&Holding>),
    ) -> Result<bool, ReceiveError> {
        let since_ms = meta.received_at_ms.saturating_sub(RETURNED_MS_MAX);
        if !store::restore::covers(tx, proof.done_at_ms, since_ms).await? {
            return Ok(false);
        }
        let ours = slip_link::Forgotten {
            slip_id,
            peer: &meta.peer,
            withdrawal_id,
            at_ms: proof.done_at_ms,
            narrowed: narrowed.is_some(),
            proof: proof.encode_to_vec(),
        };
        if !slip_link::remember(tx, ours).await? {
            return Ok(false);
        }
        if let Some(narrowed) = narrowed
            && !store::holding::replace_keys(tx, self.newest, std::slice::from_ref(narrowed)).await?
        {
            return Err(ReceiveError::Changed);
        }
        Ok(true)
    }
}
