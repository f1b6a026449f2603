//! A thread with all that decides what may be said about it: whose it is, its slip, the keys of what is held under it.
//! Read before anything is sealed, and compared again under the counters' lock.
//! Never gives a caller a thread that is not theirs to see.

use kith_proto::id::{OrgId, ThreadId, TokenId};
use kith_proto::permits::{Asked, CategorySet, Header, MemberState, Members, Refusal, permits};
use kith_proto::slip::Slip;
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::store::{StoreError, Tx};

use crate::content::{ContentError, HoldingKeys};
use crate::node::Node;
use crate::store;
use crate::store::holding::Holding;
use crate::store::slip::{SlipRow, SlipStanding};
use crate::threads::Thread;
use crate::tokens::Caller;

/// What was seen of a thread.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) thread: Thread,
    /// Whose it is; none in the inbox.
    pub(crate) owner: Option<TokenId>,
    pub(crate) slip: SlipRow,
    /// What the slip says.
    pub(crate) terms: Slip,
    /// What is held under it here.
    pub(crate) holding: Holding,
}

/// Looks at a thread for a caller; none when there is none that they may see.
pub(crate) async fn look(
    tx: &mut Tx,
    caller: &Caller,
    thread_id: &ThreadId,
) -> Result<Option<Seen>, StoreError> {
    let seen = look_at(tx, thread_id).await?;
    // The inbox is everybody's who sees all; what was sent is also its sender's.
    Ok(seen.filter(|seen| caller.sees_all() || seen.owner.is_some_and(|owner| caller.sees(&owner))))
}

/// Looks at a thread for the node itself.
pub(crate) async fn look_at(tx: &mut Tx, thread_id: &ThreadId) -> Result<Option<Seen>, StoreError> {
    let Some(thread) = store::thread::by_id(tx, &[*thread_id]).await?.pop() else {
        return Ok(None);
    };
    let owner = store::threads_view::by_id(tx, thread_id)
        .await?
        .and_then(|line| line.owner_token);
    let slip = store::slip::find(tx, &[thread.slip_id]).await?.pop();
    let slip = slip.ok_or(StoreError::Corrupt {
        table: "referral",
        column: "slip_id",
    })?;
    let terms = Slip::decode(&slip.signed.slip);
    let terms = terms.map_err(|_| StoreError::Corrupt {
        table: "slip",
        column: "slip",
    })?;
    let holding = store::holding::get(tx, slip.holding_id).await?;
    let holding = holding.ok_or(StoreError::Corrupt {
        table: "slip",
        column: "holding_id",
    })?;
    Ok(Some(Seen {
        thread,
        owner,
        slip,
        terms,
        holding,
    }))
}

impl Seen {
    /// Whether everything is still as it was seen; call it under the counters' lock. The slip and the keys of the holding
    /// count only where words were sealed under them.
    pub(crate) async fn still_stands(&self, tx: &mut Tx, words: bool) -> Result<bool, StoreError> {
        let thread = store::thread::by_id(tx, &[self.thread.thread_id]).await?.pop();
        if thread.as_ref() != Some(&self.thread) {
            return Ok(false);
        }
        if !words {
            return Ok(true);
        }
        let slip = store::slip::states(tx, &[self.slip.slip_id]).await?.pop();
        let holding = store::holding::get(tx, self.slip.holding_id).await?;
        let slip_stands = slip.is_some_and(|(_, (state, _))| state == self.slip.state);
        Ok(slip_stands && holding.as_ref() == Some(&self.holding))
    }

    /// The unwrapped keys of what is held under the slip; none once they are destroyed.
    pub(crate) fn keys(&self, node: &Node) -> Result<Option<HoldingKeys>, ContentError> {
        match self.holding.keys {
            Some(_) => node.content.unwrap(&self.holding).map(Some),
            None => Ok(None),
        }
    }

    /// Whether an envelope of this kind with these categories may go to the other side now; `bare` is for events alone.
    pub(crate) fn permits(
        &self,
        node: &Node,
        kind: EnvelopeKind,
        declared: CategorySet,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let asked = Asked {
            kind,
            declared: &declared,
            bare: !declared.contains(Category::Progress),
            disclosure_note: false,
        };
        let (from, to) = (node.organisation(), &self.thread.peer);
        let members = Members {
            from: own_state(node, from),
            to: node.members.state_of(to),
        };
        let terms = self.terms.terms(self.slip.state == SlipStanding::Withdrawn);
        let header = Header {
            from: from.as_str(),
            to: to.as_str(),
        };
        permits(&asked, header, Some(&terms), members, now_ms)
    }
}

/// Where this node's own organisation stands; before the directory was read for the first time it trusts its invite.
fn own_state(node: &Node, own: &OrgId) -> MemberState {
    match node.members.state_of(own) {
        MemberState::NotMember => MemberState::Active,
        state => state,
    }
}
