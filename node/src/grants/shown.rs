//! Grants as their organisation sees them: one opened, or a person's list.
//! Called by the gRPC edge.
//! Never shows what was said in a list, nor opens one without its event in the trail.

use kith_proto::id::{GrantId, HoldingId, PersonId};
use kith_proto::slip::Slip;
use kith_proto::v1;
use kith_proto::words::Category;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

use super::GrantError;
use crate::access;
use crate::audit;
use crate::content::{ContentError, Section};
use crate::node::Node;
use crate::persons;
use crate::store;
use crate::store::content::ContentKind;
use crate::store::counter::Counter;
use crate::store::grant::{GrantRecord, GrantState};
use crate::store::holding::Holding;
use crate::store::slip::{SlipRow, SlipStanding};
use crate::tokens::Caller;

/// Which page of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// After this grant: its time and id as last shown; none for the first page.
    pub after: Option<(i64, GrantId)>,
    /// At most so many.
    pub limit: u32,
}

/// Opens one grant with its capture and what its recipients have opened; its opening is in the trail before anything is returned.
pub async fn get(node: &Node, caller: &Caller, grant_id: &GrantId) -> Result<v1::Grant, GrantError> {
    let now_ms = node.now_ms();
    let open = |mut tx: Tx| async move {
        let tx = &mut tx;
        let mut counter = Counter::lock(tx).await?;
        let grant = store::grant::find(tx, &[*grant_id])
            .await?
            .pop()
            .ok_or(GrantError::NotFound)?;
        let person = persons::visible(tx, caller, &grant.person_id).await?;
        let record = grant_id.as_bytes();
        let event = persons::opening(caller, "grant", record, now_ms);
        persons::note_opening(tx, &mut counter, node, (caller, record), event).await?;
        let held = Held::read(tx, &[*grant_id]).await?;
        let openings = openings(tx, &held.slips).await?;
        let holding = store::holding::get(tx, person.holding_id).await?;
        let rows = store::content::of_owners(tx, &[*grant_id.as_bytes()]).await?;
        counter.save(tx).await?;
        Ok::<_, GrantError>((grant, (held, openings), holding, rows))
    };
    let (grant, (held, openings), holding, rows) = node.store.tx("open grant", open).await?;
    let keys = node.content.unwrap(&holding.ok_or(ContentError::Erased)?)?;
    let mut shown = held.shown(node, &grant, now_ms)?;
    // One for each slip, in their order, as there is a recipient for each.
    for (recipient, openings) in shown.recipients.iter_mut().zip(openings) {
        recipient.openings = openings;
    }
    if let Some(row) = rows.iter().find(|row| row.kind == ContentKind::GrantCapture) {
        let corrupt = |_| StoreError::Corrupt {
            table: "content",
            column: "sealed",
        };
        shown.capture = Some(v1::Capture::decode(row.open(&keys)?.as_slice()).map_err(corrupt)?);
    }
    Ok(shown)
}

/// Lists a person's grants, newest first, without their captures; says whether there are more. The list is in the trail with the
/// count of what is shown.
pub async fn list(
    node: &Node,
    caller: &Caller,
    person_id: &PersonId,
    page: Page,
) -> Result<(Vec<v1::Grant>, bool), GrantError> {
    let size = i64::from(page.limit);
    let before = page
        .after
        .map_or((i64::MAX, [0; 16]), |(at_ms, id)| (at_ms, *id.as_bytes()));
    let read = |mut tx: Tx| async move {
        let tx = &mut tx;
        persons::visible(tx, caller, person_id).await?;
        // One more than is shown says whether there is a next page.
        let mut grants = store::grant::of_person(tx, person_id, before, size + 1).await?;
        let more = grants.len() as i64 > size;
        grants.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let ids: Vec<GrantId> = grants.iter().map(|grant| grant.grant_id).collect();
        Ok::<_, GrantError>((grants, more, Held::read(tx, &ids).await?))
    };
    let (grants, more, held) = node.store.read("list grants", read).await?;
    let now_ms = node.now_ms();
    let shown = grants.iter().map(|grant| held.shown(node, grant, now_ms));
    let shown: Vec<v1::Grant> = shown.collect::<Result<_, GrantError>>()?;
    let event = audit::listed(caller, "grant", shown.len(), now_ms);
    audit::note(&node.store, &node.rng, event).await?;
    Ok((shown, more))
}

/// What the recipients of slips have reported of openings.
async fn openings(tx: &mut Tx, slips: &[SlipRow]) -> Result<Vec<Vec<v1::ReportedOpening>>, StoreError> {
    let mut all = Vec::with_capacity(slips.len());
    for slip in slips {
        let newest = store::opening::newest(tx, &slip.slip_id, access::OPENINGS_SHOWN_MAX).await?;
        all.push(access::shown(&newest));
    }
    Ok(all)
}

/// The slips of some grants, and what is held under each.
struct Held {
    slips: Vec<SlipRow>,
    holdings: Vec<Holding>,
}

impl Held {
    async fn read(tx: &mut Tx, grants: &[GrantId]) -> Result<Self, StoreError> {
        let slips = store::slip::of_grants(tx, grants).await?;
        let ids: Vec<HoldingId> = slips.iter().map(|slip| slip.holding_id).collect();
        let holdings = store::holding::find(tx, &ids).await?;
        Ok(Self { slips, holdings })
    }

    /// A grant with what became of each slip. While it is live, `allowed` is what may still be shared: a slip that ended
    /// and categories that were narrowed away are left out. Once it has ended, it is what was agreed.
    fn shown(&self, node: &Node, grant: &GrantRecord, now_ms: i64) -> Result<v1::Grant, GrantError> {
        let is_live = grant.state == GrantState::Live && now_ms < grant.expires_at_ms;
        let (mut allowed, mut recipients) = (Vec::new(), Vec::new());
        for row in self
            .slips
            .iter()
            .filter(|row| row.grant_id == Some(grant.grant_id))
        {
            let agreed = allowed_of(&row.parsed()?);
            match is_live {
                true => allowed.extend(self.left_of(node, row, agreed)?),
                false => allowed.push(agreed),
            }
            recipients.push(recipient(row)?);
        }
        let state = if is_live {
            v1::ConsentState::Live
        } else {
            v1::ConsentState::Cut
        };
        Ok(v1::Grant {
            grant_id: grant.grant_id.as_bytes().to_vec(),
            person_id: grant.person_id.as_bytes().to_vec(),
            capture: None,
            allowed,
            lawful_basis: grant.lawful_basis,
            given_at_ms: grant.given_at_ms,
            expires_at_ms: grant.expires_at_ms,
            state: state.into(),
            recipients,
        })
    }

    /// What is left of what one slip agreed: the categories that its holding still has a key for; none once it ended.
    fn left_of(
        &self,
        node: &Node,
        row: &SlipRow,
        agreed: v1::Allowed,
    ) -> Result<Option<v1::Allowed>, GrantError> {
        let holding = self
            .holdings
            .iter()
            .find(|holding| holding.holding_id == row.holding_id && holding.keys.is_some());
        let (SlipStanding::Live, Some(holding)) = (row.state, holding) else {
            return Ok(None);
        };
        let keys = node.content.unwrap(holding)?;
        let has = |category: Category| keys.has(Section::Category(category));
        let kept = |number: &i32| Category::try_from(*number).is_ok_and(has);
        Ok(Some(v1::Allowed {
            categories: agreed.categories.into_iter().filter(kept).collect(),
            progress: agreed.progress && has(Category::Progress),
            ..agreed
        }))
    }
}

fn allowed_of(slip: &Slip) -> v1::Allowed {
    v1::Allowed {
        recipient: slip.to.to_string(),
        categories: slip.categories.iter().map(Category::number).collect(),
        purposes: slip.purposes.iter().map(|p| p.number()).collect(),
        progress: slip.progress,
    }
}

fn recipient(row: &SlipRow) -> Result<v1::GrantRecipient, StoreError> {
    let corrupt = |_| StoreError::Corrupt {
        table: "slip",
        column: "proof",
    };
    let proof = row
        .proof
        .as_deref()
        .map(v1::WithdrawalProof::decode)
        .transpose()
        .map_err(corrupt)?;
    Ok(v1::GrantRecipient {
        recipient: row.peer.to_string(),
        slip_id: row.slip_id.as_bytes().to_vec(),
        withdrawal_sent_at_ms: row.withdrawal_sent_at_ms.unwrap_or_default(),
        withdrawal_reached_at_ms: row.withdrawal_reached_at_ms.unwrap_or_default(),
        proof,
        openings: Vec::new(),
    })
}
