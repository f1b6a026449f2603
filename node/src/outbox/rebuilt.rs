//! The body of a referral that waits in the outbox, from the rows that hold what it says: keeping it a second time would
//! double what every referral writes. Called when its recipient's sealing key has changed before it left.
//! Never gives a body that lacks a part: one whose category was taken back meanwhile is not sealed again.

use kith_proto::envelope::EnvelopeError;
use kith_proto::id::ThreadId;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};

use super::OutboxError;
use crate::content::{ContentError, HoldingKeys};
use crate::store;
use crate::store::referral::Asked;
use crate::store::referral_content::ReferralContent;

/// What stands in the rows of a sent referral.
#[derive(Debug)]
pub struct Standing {
    asked: Asked,
    content: ReferralContent,
}

/// Reads what a referral says, still sealed; none when that is gone.
pub async fn standing(tx: &mut Tx, thread_id: ThreadId) -> Result<Option<Standing>, StoreError> {
    let Some(asked) = store::referral::asked(tx, thread_id).await? else {
        return Ok(None);
    };
    let content = store::referral_content::find(tx, &thread_id).await?;
    Ok(content.map(|content| Standing { asked, content }))
}

impl Standing {
    /// The body, as it was sealed first; [`ContentError::Erased`] when a key is gone.
    pub fn body(&self, keys: &HoldingKeys) -> Result<v1::Body, OutboxError> {
        let malformed = OutboxError::Envelope(EnvelopeError::Malformed("body"));
        let said = self.content.open(keys)?;
        if said.erased {
            return Err(ContentError::Erased.into());
        }
        if said.parts.is_empty() || said.consent.is_none() {
            return Err(malformed);
        }
        Ok(v1::Body {
            person_salt: self.asked.person_salt.to_vec(),
            person_id: self.asked.person_id.as_bytes().to_vec(),
            body: Some(v1::body::Body::Referral(v1::Referral {
                purpose: self.asked.purpose.number(),
                parts: said.parts,
                consent: said.consent,
                answer_by_ms: self.asked.answer_by_ms,
                parent_slip_id: Vec::new(),
            })),
        })
    }
}
