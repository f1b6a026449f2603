//! What a transaction must not do: open keys, seal content, seal replies. Called before every `receive` transaction.
//! Never lets two letters of one call make two holdings for one slip.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::id::{EnvelopeId, SlipId};
use kith_proto::lifecycle::{Delivery, Situation, State};
use kith_proto::permits::CategorySet;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::store::StoreError;
use prost::Message as _;

use super::ReceiveError;
use super::door::{Effect, NewReferral, NewSlip, Proved, Reported, Returning, Row, Withdrawn};
use super::letter::{About, Content, Event, Letter, Meta, Returned, Says};
use crate::content::{HoldingKeys, Section};
use crate::node::Node;
use crate::outbox::{self, Draft, Outgoing};
use crate::store;
use crate::store::content::{Content as Sealed, ContentKind, NewContent};
use crate::store::holding::{Holding, HoldingKind};
use crate::store::referral::NewThread;
use crate::store::referral_content::ReferralContent;
use crate::store::slip::{SlipRow, SlipSide};
use crate::store::slip_link;
use crate::threads::{Side, Thread};

/// What is held, or will be, under the slips of one call.
pub(super) struct Slips {
    known: BTreeMap<SlipId, Known>,
}

/// One slip with what opens its holding.
struct Known {
    /// The signed bytes, which name the person by a commitment.
    slip: Vec<u8>,
    /// As it will be once the letters so far are written, be it stored already or brought by one of them.
    holding: Holding,
    /// None once destroyed.
    keys: Option<HoldingKeys>,
}

/// Prepares letters in their order, one row each.
pub(super) async fn prepare(node: &Node, letters: &[Letter]) -> Result<Vec<Row>, ReceiveError> {
    let (mut slips, known) = load(node, letters).await?;
    let mut rows = Vec::with_capacity(letters.len());
    for letter in letters {
        let effect = match &letter.says {
            // Its effect is there; the transaction finds what was answered.
            _ if known.contains(&letter.arrival.envelope_id) => Effect::Known,
            Says::Nothing { problem, tombstone } => Effect::Nothing {
                problem: *problem,
                tombstone: *tombstone,
            },
            Says::About(about) => effect(node, &mut slips, &letter.arrival, about)?,
        };
        rows.push(Row {
            meta: letter.arrival.clone(),
            effect,
        });
    }
    Ok(rows)
}

/// Loads what is held under the letters' slips, and which envelopes came before.
pub(super) async fn load(
    node: &Node,
    letters: &[Letter],
) -> Result<(Slips, BTreeSet<EnvelopeId>), ReceiveError> {
    let slips: BTreeSet<SlipId> = letters.iter().filter_map(Letter::slip_id).collect();
    let slips: Vec<SlipId> = slips.into_iter().collect();
    let envelopes: Vec<EnvelopeId> = letters.iter().map(|letter| letter.arrival.envelope_id).collect();
    let (slips, envelopes) = (&slips, &envelopes);
    let read = |mut tx| async move {
        let held = slip_link::held(&mut tx, slips).await?;
        let known = store::received::known(&mut tx, envelopes).await?;
        Ok::<_, StoreError>((held, known))
    };
    let (held, known) = node.store.read("prepare receive", read).await?;
    let mut all = BTreeMap::new();
    for one in held {
        let living = one.holding.keys.is_some();
        let keys = if living {
            Some(node.content.unwrap(&one.holding)?)
        } else {
            None
        };
        all.insert(
            one.slip_id,
            Known {
                slip: one.slip,
                holding: one.holding,
                keys,
            },
        );
    }
    Ok((
        Slips { known: all },
        known.into_iter().map(|k| k.envelope_id).collect(),
    ))
}

fn effect(node: &Node, slips: &mut Slips, meta: &Meta, about: &About) -> Result<Effect, ReceiveError> {
    let slip_id = about.opened.slip.id;
    if slips.is_another(about) {
        return Ok(refused(Problem::ConsentMissing));
    }
    match &about.content {
        Content::Referral { .. } => new_referral(node, slips, meta, about),
        Content::Event(event) => Ok(match event.numbered {
            Some(_) => numbered_event(node, slips, meta, about, event)?,
            // Proposals go another way and never come here.
            None => refused(Problem::Invalid),
        }),
        Content::Returned(returned) => slips.returned(node, about, returned),
        Content::Message { id, message, section } => {
            let section = section.map_or(Section::Record, Section::Category);
            let new = NewContent {
                owner_id: *about.opened.head.thread_id.as_bytes(),
                // Of this node's own making: the message's id was chosen by its sender, and may be that of something else here.
                content_id: node.rng.bytes()?,
                section,
                kind: ContentKind::Message,
                at_ms: meta.received_at_ms,
            };
            let content = slips.seal(node, &slip_id, new, &message.encode_to_vec())?;
            let thread_id = about.opened.head.thread_id;
            Ok(Effect::Message {
                thread_id,
                slip_id,
                message_id: *id,
                content,
            })
        }
        Content::Withdrawal {
            id,
            categories,
            withdrawn_at_ms,
        } => {
            // One that overtakes its referral ends the slip all the same, so that the referral is refused when it comes. This node's own
            // slip is not held here where it came back from a backup of before it.
            let side = if about.opened.slip.from == *node.organisation() {
                SlipSide::Captured
            } else {
                SlipSide::Received
            };
            let new_slip = slips.bring(node, about, side)?;
            let narrowed = slips.narrowed(node, &slip_id, categories)?;
            let proof = proof(node, meta, about, (*id.as_bytes(), categories))?;
            Ok(Effect::Withdrawal(Box::new(Withdrawn {
                withdrawal_id: *id,
                slip_id,
                withdrawn_at_ms: *withdrawn_at_ms,
                whole: categories.is_empty(),
                narrowed,
                new_slip,
                proof,
            })))
        }
        Content::AccessReport(report) => Ok(Effect::AccessReport(Reported {
            thread_id: about.opened.head.thread_id,
            slip_id,
            report: report.clone(),
        })),
        Content::Proof { id, proof } => Ok(Effect::Proof(Box::new(Proved {
            withdrawal_id: *id,
            slip_id,
            proof: proof.clone(),
            narrowed: slips.without(node, &slip_id, proof)?,
            new_slip: slips.ended(node, about, proof)?,
        }))),
    }
}

const fn refused(problem: Problem) -> Effect {
    Effect::Nothing {
        problem,
        tombstone: false,
    }
}

fn new_referral(node: &Node, slips: &mut Slips, meta: &Meta, about: &About) -> Result<Effect, ReceiveError> {
    let Content::Referral { purpose, referral } = &about.content else {
        return Err(ReceiveError::Changed);
    };
    let (opened, at_ms) = (&about.opened, meta.received_at_ms);
    let new_slip = slips.bring(node, about, SlipSide::Received)?;
    let thread = Thread {
        thread_id: opened.head.thread_id,
        side: Side::Inbox,
        peer: meta.peer.clone(),
        slip_id: opened.slip.id,
        situation: Situation::new(State::Sent),
        delivery: Delivery::Delivered,
        problem: None,
        epoch: 0,
        number: 0,
        deadline_ms: 0,
        updated_at_ms: at_ms,
    };
    let new = NewThread {
        thread,
        person_id: None,
        owner_token: None,
        purpose: *purpose,
        answer_by_ms: referral.answer_by_ms,
        created_at_ms: opened.head.created_at_ms,
        envelope_id: opened.head.envelope_id,
    };
    let Some(keys) = slips.keys(&opened.slip.id) else {
        return Ok(refused(Problem::ConsentWithdrawn));
    };
    // What was narrowed away meanwhile has no key here, and is not kept.
    let held = |part: &&v1::Part| {
        let category = Category::try_from(part.category);
        category.is_ok_and(|category| keys.has(Section::Category(category)))
    };
    let parts: Vec<v1::Part> = referral.parts.iter().filter(held).cloned().collect();
    let (thread_id, consent) = (new.thread.thread_id, referral.consent.as_ref());
    let content = ReferralContent::seal(keys, &node.rng, thread_id, (&parts, consent))?;
    Ok(Effect::Referral(Box::new(NewReferral {
        new,
        new_slip,
        content,
    })))
}

fn numbered_event(
    node: &Node,
    slips: &mut Slips,
    meta: &Meta,
    about: &About,
    event: &Event,
) -> Result<Effect, ReceiveError> {
    let (thread_id, slip_id) = (about.opened.head.thread_id, about.opened.slip.id);
    let content = slips.words(node, &slip_id, thread_id.as_bytes(), event, meta.received_at_ms)?;
    Ok(Effect::Event {
        thread_id,
        slip_id,
        event: Box::new(event.clone()),
        content,
    })
}

/// The proof that goes back: content under the slip is erased here, or what was narrowed away is.
fn proof(
    node: &Node,
    meta: &Meta,
    about: &About,
    (withdrawal_id, categories): ([u8; 16], &[Category]),
) -> Result<Outgoing, ReceiveError> {
    let opened = &about.opened;
    let proof = v1::WithdrawalProof {
        withdrawal_id: withdrawal_id.to_vec(),
        slip_id: opened.slip.id.as_bytes().to_vec(),
        outcome: v1::WithdrawalOutcome::Erased.into(),
        kept_because: String::new(),
        done_at_ms: meta.received_at_ms,
        onward_recipients: 0,
        onward_proved: 0,
        categories: categories.iter().map(|category| category.number()).collect(),
    };
    let body = v1::Body {
        body: Some(Body::WithdrawalProof(proof)),
        ..v1::Body::default()
    };
    reply(node, meta, about, (EnvelopeKind::WithdrawalProof, &body), None)
}

/// Seals a reply to the sender, on the same thread and under the same slip. With `keys` its body is kept for sealing again.
pub(super) fn reply(
    node: &Node,
    meta: &Meta,
    about: &About,
    (kind, body): (EnvelopeKind, &v1::Body),
    keys: Option<&HoldingKeys>,
) -> Result<Outgoing, ReceiveError> {
    let draft = Draft {
        envelope_id: EnvelopeId::from_bytes(node.rng.bytes()?),
        to: &meta.peer,
        kind,
        thread_id: about.opened.head.thread_id,
        slip: &about.opened.signed,
        slip_id: about.opened.slip.id,
        categories: CategorySet::EMPTY,
        body,
        at_ms: node.now_ms(),
    };
    Ok(outbox::seal(node, &draft, keys)?)
}

impl Slips {
    /// Whether another slip is known under this id: other terms, or another person.
    pub(super) fn is_another(&self, about: &About) -> bool {
        let known = self.known.get(&about.opened.slip.id);
        known.is_some_and(|known| known.slip != about.opened.signed.slip)
    }

    /// The keys of what is held under a slip; none once they are destroyed.
    pub(super) fn keys(&self, slip_id: &SlipId) -> Option<&HoldingKeys> {
        self.known.get(slip_id)?.keys.as_ref()
    }

    /// Seals a content row under the slip's holding; none where no key is held for it, so that the transaction refuses.
    fn seal(
        &self,
        node: &Node,
        slip_id: &SlipId,
        new: NewContent,
        text: &[u8],
    ) -> Result<Option<Sealed>, ReceiveError> {
        match self.keys(slip_id) {
            Some(keys) if keys.has(new.section) => Ok(Some(new.seal(keys, &node.rng, text)?)),
            _ => Ok(None),
        }
    }

    /// Seals the words of an event, where there are any.
    pub(super) fn words(
        &self,
        node: &Node,
        slip_id: &SlipId,
        thread_id: &[u8; 16],
        event: &Event,
        at_ms: i64,
    ) -> Result<Option<Sealed>, ReceiveError> {
        if event.words.is_empty() {
            return Ok(None);
        }
        let new = NewContent {
            owner_id: *thread_id,
            content_id: node.rng.bytes()?,
            section: Section::Category(Category::Progress),
            kind: ContentKind::EventWords,
            at_ms,
        };
        self.seal(node, slip_id, new, event.words.as_bytes())
    }

    /// Makes a holding for a slip that is new here, with a key for each section that its slip allows; gives the rows to
    /// insert when this letter is the one that brings it.
    fn bring(
        &mut self,
        node: &Node,
        about: &About,
        side: SlipSide,
    ) -> Result<Option<(Holding, SlipRow)>, ReceiveError> {
        let (slip, signed) = (&about.opened.slip, &about.opened.signed);
        if self.known.contains_key(&slip.id) {
            return Ok(None);
        }
        let allowed = slip.terms(false).allowed();
        let sections: Vec<Section> = allowed
            .iter()
            .map(Section::Category)
            .chain([Section::Record])
            .collect();
        let (holding, keys) = node
            .content
            .new_holding(HoldingKind::Slip, Some(slip.id), sections)?;
        let row = SlipRow::new(slip, signed.clone(), side, holding.holding_id);
        let known = Known {
            slip: signed.slip.clone(),
            holding: holding.clone(),
            keys: Some(keys),
        };
        self.known.insert(slip.id, known);
        Ok(Some((holding, row)))
    }

    /// A thread that is returned. A slip that this node signed, and does not hold, came after its backup: it is held again, without
    /// the grant that it was of.
    fn returned(&mut self, node: &Node, about: &About, returned: &Returned) -> Result<Effect, ReceiveError> {
        let slip = &about.opened.slip;
        // Verified by the key that this organisation had when it was issued, which may be from before a re-key.
        let is_own = returned.yours && slip.from == *node.organisation();
        let new_slip = if is_own {
            self.bring(node, about, SlipSide::Captured)?
        } else {
            None
        };
        // Who captured the consent may narrow it, however that is told.
        let narrowed = if slip.from == about.opened.head.from {
            self.narrowed(node, &slip.id, &returned.narrowed)?
        } else {
            None
        };
        Ok(Effect::Returned(Box::new(Returning {
            thread_id: about.opened.head.thread_id,
            slip_id: slip.id,
            returned: returned.clone(),
            new_slip,
            narrowed,
        })))
    }

    /// The slip of a proof that everything under it has ended, where this node signed it and does not hold it. Only looked at, as below.
    fn ended(
        &mut self,
        node: &Node,
        about: &About,
        proof: &v1::WithdrawalProof,
    ) -> Result<NewSlip, ReceiveError> {
        if proof.categories.is_empty() && about.opened.slip.from == *node.organisation() {
            self.bring(node, about, SlipSide::Captured)
        } else {
            Ok(None)
        }
    }

    /// The holding without what a proof says was taken back. Only looked at: the transaction knows whether this node forgot it.
    fn without(
        &self,
        node: &Node,
        slip_id: &SlipId,
        proof: &v1::WithdrawalProof,
    ) -> Result<Option<Holding>, ReceiveError> {
        let known = self.known.get(slip_id).filter(|known| known.keys.is_some());
        let (Some(known), false) = (known, proof.categories.is_empty()) else {
            return Ok(None);
        };
        let kept = |section: &Section| match section {
            Section::Category(category) => !proof.categories.contains(&category.number()),
            Section::Record => true,
        };
        let keep: Vec<Section> = Section::all().filter(kept).collect();
        Ok(Some(node.content.narrowed(&known.holding, &keep)?))
    }

    /// The holding without the keys of these categories, which letters after this one do without as well; none when the
    /// slip is not known, its keys are destroyed, or none of them is of these.
    fn narrowed(
        &mut self,
        node: &Node,
        slip_id: &SlipId,
        categories: &[Category],
    ) -> Result<Option<Holding>, ReceiveError> {
        let known = self.known.get_mut(slip_id);
        let has_any = |keys: &HoldingKeys| categories.iter().any(|c| keys.has(Section::Category(*c)));
        let Some(known) = known.filter(|known| known.keys.as_ref().is_some_and(has_any)) else {
            return Ok(None);
        };
        let kept = |section: &Section| !categories.iter().any(|c| *section == Section::Category(*c));
        let keep: Vec<Section> = Section::all().filter(kept).collect();
        let narrowed = node.content.narrowed(&known.holding, &keep)?;
        known.keys = Some(node.content.unwrap(&narrowed)?);
        known.holding = narrowed.clone();
        Ok(Some(narrowed))
    }
}
