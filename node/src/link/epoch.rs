//! A later epoch of the gateway's log: taken up by the root's word alone. Called with every checkpoint that the gateway shows.
//! Never goes back to an earlier epoch, and never believes by one any more.
//!
//! The gateway lost what came after its backup. In the transaction that takes the epoch up, alarms about the log before it end, the
//! directory is to be read from its beginning, and the stops of the last weeks are to be told again.

use kith_proto::log::epoch_word::EpochWord;
use kith_proto::v1;
use kith_service::store::StoreError;
use prost::Message as _;

use super::Ended;
use crate::alarms::Kind;
use crate::audit::{self, Code, Event};
use crate::node::Node;
use crate::store::counter::Counter;
use crate::store::{alarm, keylog, link_state, reoffer, slip_link};

/// How far back stops are told again: a backup older than the mailbox window of 30 days brings no network back.
const STOPS_AGAIN_MS: i64 = 31 * 24 * 60 * 60 * 1000;
/// What the old epoch's fault ends with it.
const OF_THE_LOG_BEFORE: [Kind; 2] = [Kind::GatewayBehind, Kind::GatewayLog];

/// The epoch to follow, after what the gateway shows, and whether it was taken up now: a higher one of the root's is, anything else
/// changes nothing.
pub(super) async fn follow(node: &Node, shown: Option<&v1::Signed>) -> Result<(u64, bool), Ended> {
    let read = |mut tx| async move { keylog::epoch(&mut tx).await };
    let held: u64 = node.store.read::<_, StoreError, _, _>("log epoch", read).await?;
    let Some(signed) = shown else {
        return Ok((held, false));
    };
    let me = &node.membership;
    match EpochWord::verify(signed, &me.root, &me.network, node.now_ms()) {
        Ok(word) if word.epoch() > held => {
            take_up(node, signed, word.epoch()).await?;
            Ok((word.epoch(), true))
        }
        Ok(_) => Ok((held, false)),
        Err(error) => {
            tracing::error!(%error, "the gateway shows a word for an epoch of its log that is not the root's");
            Ok((held, false))
        }
    }
}

async fn take_up(node: &Node, signed: &v1::Signed, epoch: u64) -> Result<(), Ended> {
    let now_ms = node.now_ms();
    let number = i64::try_from(epoch).unwrap_or(i64::MAX);
    let write = |mut tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if keylog::put_epoch(&mut tx, epoch, signed.encode_to_vec(), now_ms).await? {
            let mut ended = 0;
            for kind in OF_THE_LOG_BEFORE {
                ended += alarm::end(&mut tx, kind).await?;
            }
            link_state::set_member_cursor(&mut tx, 0).await?;
            let since_ms = now_ms.saturating_sub(STOPS_AGAIN_MS);
            slip_link::stops_again(&mut tx, since_ms).await?;
            reoffer::all_loose(&mut tx, since_ms).await?;
            let event = Event::new(Code::EpochFollowed, now_ms)
                .number("epoch", number)
                .number("count", i64::try_from(ended).unwrap_or(i64::MAX));
            audit::insert(&mut tx, &mut counter, &node.rng, &[event]).await?;
        }
        counter.save(&mut tx).await
    };
    node.store.tx::<_, StoreError, _, _>("log epoch", write).await?;
    node.members.believe_none();
    node.members.set_short(true);
    tracing::warn!(
        epoch,
        "the gateway came back from a backup; its log is followed anew, by the word of the network's root"
    );
    Ok(())
}
