//! Brings the verified copy of the directory up to date. Called after the gateway's hello, which brings its time, when it says
//! that members changed, and after a key was published.
//! Never takes over a chain that does not verify, never keeps a cursor past a member that only the time speaks against.

use std::time::Duration;

use kith_proto::problem::Problem;
use kith_proto::trust::{Binding, TrustError};
use kith_proto::v1::{self, relay_service_client::RelayServiceClient};
use kith_service::store::StoreError;
use tonic::Request;
use tonic::transport::Channel;

use super::attach::CLOCK_OFF_MS;
use super::{Ended, returning};
use crate::alarms::{self, Kind};
use crate::keylog::FIRST_EPOCH;
use crate::members::{Listed, MEMBERS_MAX, MemberError};
use crate::node::Node;
use crate::store;
use crate::store::restore::Restore;

/// Members asked for at once; a chain with its bindings has some 5 KiB.
const PAGE: u32 = 100;
/// Longest wait for one page, of 2 MiB at most: what the gateway gives a call.
const PAGE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Reads what changed since the last time, or everything where the copy is short, and holds the listing of this organisation against its own keys.
pub(super) async fn refresh(node: &Node, client: &mut RelayServiceClient<Channel>) -> Result<(), Ended> {
    let read = |mut tx| async move { store::link_state::member_cursor(&mut tx).await };
    let mut after: u64 = if node.members.is_short() {
        0
    } else {
        node.store
            .read::<_, StoreError, _, _>("member cursor", read)
            .await?
    };
    let from_the_beginning = after == 0;
    let mut too_early = false;
    let read = |mut tx| async move { store::keylog::epoch(&mut tx).await };
    let epoch: u64 = node.store.read::<_, StoreError, _, _>("log epoch", read).await?;
    let is_restored = epoch > FIRST_EPOCH;
    // A gateway that was restored counts from an earlier place; each page moves on, so this ends.
    for _ in 0..=MEMBERS_MAX {
        let asked = v1::ListMembersRequest {
            after,
            page_size: PAGE,
        };
        let page = page(client, asked).await?;
        let own = node.organisation().as_str();
        if let Some(listed) = page.members.iter().find(|member| member.organisation == own)
            && is_restored
            && from_the_beginning
        {
            // Before the listing is kept in place of what it lacks.
            returning::give_back(node, client, listed).await?;
        }
        too_early |= keep(node, &page, (is_restored, too_early)).await?;
        after = page.cursor;
        if !page.more {
            break;
        }
    }
    node.members.set_short(too_early);
    own_keys(node).await
}

/// Asks for one page. The deadline that goes with the request ends with the first bytes of the answer, so that the whole page has one
/// here as well.
async fn page(
    client: &mut RelayServiceClient<Channel>,
    asked: v1::ListMembersRequest,
) -> Result<v1::ListMembersResponse, Ended> {
    let mut request = Request::new(asked);
    request.set_timeout(PAGE_WAIT_MAX);
    let answer = tokio::time::timeout(PAGE_WAIT_MAX, client.list_members(request)).await;
    let late = |_| Ended::Status(Problem::DeadlineExceeded);
    Ok(answer.map_err(late)??.into_inner())
}

/// Verifies a page, stores what was believed together with the cursor, then shows it to the node. Says whether a member's
/// keys are too new for the time; neither after it nor after an earlier one (`too_early`) does the cursor move on. A gateway that came
/// back from a backup may list the beginning of a chain until its member has given back the rest; the copy keeps the whole one.
async fn keep(
    node: &Node,
    page: &v1::ListMembersResponse,
    (is_restored, too_early): (bool, bool),
) -> Result<bool, Ended> {
    let now_ms = node.now_ms();
    let mut too_early = too_early;
    let mut listed: Vec<Listed> = Vec::with_capacity(page.members.len());
    let mut believed: Vec<v1::Member> = Vec::with_capacity(page.members.len());
    for wire in &page.members {
        match node.members.check(wire, now_ms) {
            Ok(member) => {
                believed.retain(|other| other.organisation != wire.organisation);
                believed.push(wire.clone());
                listed.push(member);
            }
            Err(MemberError::Behind) if is_restored => {
                tracing::info!("a member has not given back yet what the gateway had lost of its keys");
            }
            Err(error) => {
                too_early |= error == MemberError::Chain(TrustError::Clock);
                tracing::error!(%error, "the gateway lists a member that cannot be believed");
            }
        }
    }
    let (believed, cursor) = (&believed, page.cursor);
    let write = |mut tx| async move {
        store::member::put(&mut tx, believed, now_ms).await?;
        if too_early {
            return Ok(());
        }
        store::link_state::set_member_cursor(&mut tx, cursor).await
    };
    node.store.tx::<_, StoreError, _, _>("members", write).await?;
    node.members.put(listed);
    Ok(too_early)
}

/// A binding for this organisation that it did not make ends all sending; without any, the next stream reads all again.
async fn own_keys(node: &Node) -> Result<(), Ended> {
    let listed = node.members.get(node.organisation());
    let newest = listed
        .as_ref()
        .and_then(|listed| Some((listed, listed.newest_keys()?)));
    let Some((listed, newest)) = newest else {
        node.members.set_short(true);
        return Err(Ended::Unlisted);
    };
    // The newest key of this node may not have been published yet.
    let is_held = node.keys.sealing_key(&newest.sealing_key_id()).is_some();
    if newest.signing_key == node.keys.signing.public() && is_held {
        // After a loss the new keys count for nobody for a day, and what this node signs is refused.
        return match newest.effective_at_ms > node.now_ms() {
            true => Err(Ended::KeysWait),
            false => Ok(()),
        };
    }
    if newest.signing_key == node.keys.signing.public() && was_lost(node, listed).await? {
        return Ok(());
    }
    alarms::raise(node, Kind::ForeignBinding, &newest.hash, None).await?;
    Err(Ended::OtherKeys)
}

/// Whether the newest binding, which this node signed, was made between the backup that it came back from and the restore: its key is
/// lost, and another is published. Once that one stands in the chain, whatever comes after it is somebody else's.
async fn was_lost(node: &Node, listed: &Listed) -> Result<bool, StoreError> {
    let read = |mut tx| async move { store::restore::newest(&mut tx).await };
    let newest = node.store.read::<_, StoreError, _, _>("restore", read).await?;
    let held = |binding: &Binding| node.keys.sealing_key(&binding.sealing_key_id()).is_some();
    Ok(newest.is_some_and(|restore| is_of_the_loss(&listed.member.bindings, &restore, held)))
}

/// By clocks that may both be off by [`CLOCK_OFF_MS`].
fn is_of_the_loss(chain: &[Binding], restore: &Restore, held: impl Fn(&Binding) -> bool) -> bool {
    let since_ms = restore.backup_at_ms.saturating_sub(CLOCK_OFF_MS);
    let until_ms = restore.begun_at_ms.saturating_add(CLOCK_OFF_MS);
    let lost = |binding: &Binding| (since_ms..=until_ms).contains(&binding.made_at_ms) && !held(binding);
    let published_since = chain.iter().skip_while(|binding| !lost(binding)).any(&held);
    chain.last().is_some_and(lost) && !published_since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_never_answers_holds_no_refresh_for_ever() {
        // Takes the connection and stays silent.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let channel = Channel::from_shared(address).unwrap().connect_lazy();
        let mut client = RelayServiceClient::new(channel);
        let asked = page(&mut client, v1::ListMembersRequest::default());
        let ended = tokio::time::timeout(PAGE_WAIT_MAX * 2, asked).await;
        let ended = ended.expect("an end in time").unwrap_err();
        assert_eq!(ended.problem(), Problem::DeadlineExceeded, "{ended}");
    }
}
