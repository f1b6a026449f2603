//! All that a chunk of referrals stands on, read at once: earlier answers, grants, slips, people, keys, sealed parts.
//! Called once for each chunk by `send_many`.
//! Never believed at the commit: what may change is looked at again there.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::{GrantId, HoldingId, OrgId, PersonId, RequestId};
use kith_service::store::{StoreError, Tx};

use super::NewReferral;
use crate::content::{ContentError, HoldingKeys};
use crate::node::Node;
use crate::store;
use crate::store::content::Content;
use crate::store::grant::GrantRecord;
use crate::store::holding::Holding;
use crate::store::person::Person;
use crate::store::request::Answered;
use crate::store::slip::SlipRow;

/// What was read, by id.
pub(super) struct Ground {
    pub(super) answered: BTreeMap<RequestId, Answered>,
    grants: BTreeMap<GrantId, GrantRecord>,
    slips: BTreeMap<(GrantId, OrgId), SlipRow>,
    people: BTreeMap<PersonId, Person>,
    keys: BTreeMap<HoldingId, Result<HoldingKeys, ContentError>>,
    content: BTreeMap<[u8; 16], Vec<Content>>,
}

/// The rows of one read.
struct Rows {
    answered: BTreeMap<RequestId, Answered>,
    grants: Vec<GrantRecord>,
    slips: Vec<SlipRow>,
    people: Vec<Person>,
    holdings: Vec<Holding>,
    content: Vec<Content>,
}

impl Ground {
    /// Reads it in one transaction, and unwraps each holding's keys once.
    pub(super) async fn read(node: &Node, wanted: &[NewReferral]) -> Result<Self, StoreError> {
        let rows = node
            .store
            .read("send", |mut tx| async move { rows(&mut tx, wanted).await })
            .await?;
        let mut content: BTreeMap<[u8; 16], Vec<Content>> = BTreeMap::new();
        for row in rows.content {
            content.entry(row.owner_id).or_default().push(row);
        }
        let slip = |slip: SlipRow| Some(((slip.grant_id?, slip.peer.clone()), slip));
        let unwrap = |holding: Holding| (holding.holding_id, node.content.unwrap(&holding));
        Ok(Self {
            answered: rows.answered,
            grants: rows
                .grants
                .into_iter()
                .map(|grant| (grant.grant_id, grant))
                .collect(),
            slips: rows.slips.into_iter().filter_map(slip).collect(),
            people: rows
                .people
                .into_iter()
                .map(|person| (person.person_id, person))
                .collect(),
            keys: rows.holdings.into_iter().map(unwrap).collect(),
            content,
        })
    }

    pub(super) fn grant(&self, id: &GrantId) -> Option<&GrantRecord> {
        self.grants.get(id)
    }

    pub(super) fn person(&self, id: &PersonId) -> Option<&Person> {
        self.people.get(id)
    }

    /// The newest slip of a grant for a recipient.
    pub(super) fn slip(&self, grant: &GrantId, recipient: &OrgId) -> Option<&SlipRow> {
        self.slips.get(&(*grant, recipient.clone()))
    }

    pub(super) fn keys(&self, holding: &HoldingId) -> Result<&HoldingKeys, ContentError> {
        match self.keys.get(holding) {
            Some(Ok(keys)) => Ok(keys),
            Some(Err(error)) => Err(*error),
            None => Err(ContentError::Erased),
        }
    }

    pub(super) fn content(&self, owner: &[u8; 16]) -> &[Content] {
        self.content.get(owner).map_or(&[], Vec::as_slice)
    }
}

async fn rows(tx: &mut Tx, wanted: &[NewReferral]) -> Result<Rows, StoreError> {
    let requests: Vec<RequestId> = distinct(wanted.iter().map(|new| new.request_id));
    let grants: Vec<GrantId> = distinct(wanted.iter().map(|new| new.grant_id));
    let people: Vec<PersonId> = distinct(wanted.iter().map(|new| new.person_id));
    let answered = store::request::find(tx, &requests).await?;
    let found = store::grant::find(tx, &grants).await?;
    let slips = store::slip::of_grants(tx, &grants).await?;
    let known = store::person::find(tx, &people).await?;
    let named = |slip: &&SlipRow| {
        wanted
            .iter()
            .any(|new| slip.grant_id == Some(new.grant_id) && slip.peer == new.recipient)
    };
    let of_slips = slips.iter().filter(named).map(|slip| slip.holding_id);
    let holdings = distinct(of_slips.chain(known.iter().map(|person| person.holding_id)));
    let holdings = store::holding::find(tx, &holdings).await?;
    let owners = people
        .iter()
        .map(|id| *id.as_bytes())
        .chain(grants.iter().map(|id| *id.as_bytes()));
    let content = store::content::of_owners(tx, &distinct(owners)).await?;
    Ok(Rows {
        answered,
        grants: found,
        slips,
        people: known,
        holdings,
        content,
    })
}

fn distinct<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    ids.collect::<BTreeSet<T>>().into_iter().collect()
}
