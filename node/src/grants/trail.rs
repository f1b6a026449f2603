//! What the trail says of a grant that is given: the grant, and each slip with what it allows.
//! Called once for each grant, before the transaction that writes it.
//! Never what the person said, nor who they are: their id on this node stands for them.

use kith_proto::sign::sha256;
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use prost::Message as _;

use crate::audit::{self, Code, Event};
use crate::store::grant::GrantRecord;
use crate::store::slip::SlipRow;
use crate::tokens::Caller;

/// The events of a grant and its slips.
pub(super) fn events(caller: &Caller, (grant, slips): (&GrantRecord, &[SlipRow]), now_ms: i64) -> Vec<Event> {
    let given = audit::by(caller, Code::GrantGiven, now_ms)
        .id("grant", grant.grant_id.as_bytes())
        .id("person", grant.person_id.as_bytes())
        .number("until_ms", grant.expires_at_ms);
    let issued = slips.iter().map(|slip| issued(slip, grant, now_ms));
    std::iter::once(given).chain(issued).collect()
}

fn issued(slip: &SlipRow, grant: &GrantRecord, now_ms: i64) -> Event {
    let event = Event::new(Code::SlipIssued, now_ms)
        .id("slip", slip.slip_id.as_bytes())
        .id("grant", grant.grant_id.as_bytes())
        .org("to", &slip.peer)
        .hash("slip_hash", &sha256(&[&slip.signed.slip]))
        .number("until_ms", slip.expires_at_ms);
    // cannot fail: this node has just made the slip.
    let allowed = v1::Slip::decode(slip.signed.slip.as_slice()).unwrap_or_default();
    let purposes = allowed.purposes.iter().filter_map(|n| Purpose::try_from(*n).ok());
    let event = purposes.fold(event, |event, purpose| event.word("purpose", purpose.as_str()));
    let categories = allowed
        .categories
        .iter()
        .filter_map(|n| Category::try_from(*n).ok());
    categories.fold(event, |event, category| event.word("category", category.as_str()))
}
