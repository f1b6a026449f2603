//! The body of a referral that waits in the outbox, from the rows that hold what it says: keeping it a second time would
//! double what every referral writes. Called when its recipient's sealing key has changed before it left.
//! Never gives a body that lacks a part: one whose category was taken back meanwhile is not sealed again.

use kith_proto::envelope::EnvelopeError;
use kith_proto::id::ThreadId;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

use super::OutboxError;
use crate::content::HoldingKeys;
use crate::store;
use crate::store::content::{Content, ContentKind};
use crate::store::referral::Asked;

/// What stands in the rows of a sent referral.
#[derive(Debug)]
pub struct Standing {
    asked: Asked,
    content: Vec<Content>,
}

/// Reads what a referral says, still sealed; none when its thread is gone.
pub async fn standing(tx: &mut Tx, thread_id: ThreadId) -> Result<Option<Standing>, StoreError> {
    let Some(asked) = store::referral::asked(tx, thread_id).await? else {
        return Ok(None);
    };
    let content = store::content::of_owners(tx, &[*thread_id.as_bytes()]).await?;
    Ok(Some(Standing { asked, content }))
}

impl Standing {
    /// The body, as it was sealed first; [`ContentError::Erased`](crate::content::ContentError::Erased) when a key is gone.
    pub fn body(&self, keys: &HoldingKeys) -> Result<v1::Body, OutboxError> {
        let malformed = OutboxError::Envelope(EnvelopeError::Malformed("body"));
        let (mut parts, mut consent) = (Vec::new(), None);
        for row in &self.content {
            let read = |text: Vec<u8>| v1::Part::decode(text.as_slice()).map_err(|_| malformed.clone());
            match row.kind {
                ContentKind::ReferralPart => parts.push(read(row.open(keys)?)?),
                ContentKind::ConsentRecord => {
                    let record = v1::ConsentRecord::decode(row.open(keys)?.as_slice());
                    consent = Some(record.map_err(|_| malformed.clone())?);
                }
                _ => {}
            }
        }
        if parts.is_empty() || consent.is_none() {
            return Err(malformed);
        }
        parts.sort_by_key(|part| part.category);
        Ok(v1::Body {
            person_salt: self.asked.person_salt.to_vec(),
            person_id: self.asked.person_id.as_bytes().to_vec(),
            body: Some(v1::body::Body::Referral(v1::Referral {
                purpose: self.asked.purpose.number(),
                parts,
                consent,
                answer_by_ms: self.asked.answer_by_ms,
                parent_slip_id: Vec::new(),
            })),
        })
    }
}
