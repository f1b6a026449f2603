//! A gateway that came back from a backup: where its hello holds less of a pair than this node has receipts of, the pair goes back, and
//! what follows is sent again under the same numbers and hashes. Called when a stream opens, before anything leaves.
//! Never goes back to a position that this node did not have: that is another history, and the pair stays stopped.

use std::collections::BTreeMap;

use kith_proto::id::OrgId;
use kith_proto::order::Position;
use kith_proto::v1;
use kith_service::store::{StoreError, Tx};

use super::Ended;
use crate::node::Node;
use crate::store::reoffer::{self, Rewound};

/// A position of the gateway's hello.
pub(super) fn position(taken: &v1::PairPosition) -> Result<(OrgId, Position), Ended> {
    let bad = || Ended::Protocol("hello");
    let org = taken.organisation.parse().map_err(|_| bad())?;
    let position = Position::of_wire(taken.number, &taken.envelope_hash).ok_or_else(bad)?;
    Ok((org, position))
}

/// Takes back the pairs of which the gateway holds less than this node; gives where each stands now. In front of the run that this node began
/// when it came back, there is nothing to go back to: what the gateway does not hold of before is sent in the run.
pub(super) async fn go_back(
    node: &Node,
    (start, held): (Position, Vec<(OrgId, Position)>),
    greeting: &v1::GatewayHello,
) -> Result<Vec<(OrgId, Position)>, Ended> {
    let theirs: BTreeMap<OrgId, Position> = greeting.taken.iter().map(position).collect::<Result<_, _>>()?;
    let of = |org: &OrgId| theirs.get(org).copied().unwrap_or(Position::START);
    let behind = held.iter().any(|(org, ours)| of(org).number() < ours.number());
    if !behind {
        return Ok(held);
    }
    let (held, theirs) = (&held, &theirs);
    let back = |mut tx: Tx| async move { rewind(&mut tx, (start, held), theirs).await };
    Ok(node.store.tx::<_, StoreError, _, _>("go back", back).await?)
}

async fn rewind(
    tx: &mut Tx,
    (start, held): (Position, &[(OrgId, Position)]),
    theirs: &BTreeMap<OrgId, Position>,
) -> Result<Vec<(OrgId, Position)>, StoreError> {
    let mut now = Vec::with_capacity(held.len());
    for (org, ours) in held {
        let theirs = theirs.get(org).copied().unwrap_or(Position::START);
        let is_before_run = theirs.number() < start.number() && start.number() <= ours.number();
        if is_before_run {
            reoffer::in_run(tx, org, theirs, start).await?;
        }
        let to = if is_before_run { start } else { theirs };
        if to.number() >= ours.number() {
            now.push((org.clone(), *ours));
            continue;
        }
        match reoffer::rewind(tx, org, to).await? {
            Rewound::To { taken_at_ms } => {
                tracing::warn!(member = %org, "the gateway has lost what this node sent to a member; it is sent again");
                reoffer::loose(tx, org, taken_at_ms).await?;
                now.push((org.clone(), to));
            }
            // The comparison that follows stops it.
            Rewound::Nothing | Rewound::Unlike | Rewound::TooOld => now.push((org.clone(), *ours)),
        }
    }
    Ok(now)
}
