//! Taking consent back: what ends here at once, what the other side is told, what its proof shows.
//! Each story looks at the rows themselves, so that a key that was only hidden would be seen.

use kith_node::grants::Allowed;
use kith_node::requests::Asked;
use kith_node::store::slip::{SlipRow, SlipStanding, StopState};
use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_node::withdrawals::{self, NewNarrowing, NewWithdrawal, Scope, WithdrawError};
use kith_node::{messages, moves, referrals, store};
use kith_proto::id::{GrantId, OrgId, ThreadId};
use kith_proto::lifecycle::{Consent, Delivery, Move, State};
use kith_proto::permits::CategorySet;
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::words::{Category, EnvelopeKind, Purpose};
use kith_service::store::{StoreError, Tx};

use super::provider;
use crate::fixture::{Desk, Pair};

async fn open() -> Pair {
    Pair::open(provider().await, provider().await).await
}

fn withdrawal(desk: &Desk, grant_id: GrantId, scope: Scope) -> NewWithdrawal {
    let request_id = desk.request_id();
    let wire = v1::WithdrawGrantRequest {
        request_id: request_id.as_bytes().to_vec(),
        grant_id: grant_id.as_bytes().to_vec(),
        ..v1::WithdrawGrantRequest::default()
    };
    NewWithdrawal {
        asked: Asked::new("withdraw_grant", request_id, &wire),
        caller: desk.coordinator,
        grant_id,
        scope,
        invalidated: false,
    }
}

fn narrowing(desk: &Desk, grant_id: GrantId, allowed: Vec<Allowed>) -> NewNarrowing {
    let request_id = desk.request_id();
    let wire = v1::NarrowGrantRequest {
        request_id: request_id.as_bytes().to_vec(),
        grant_id: grant_id.as_bytes().to_vec(),
        ..v1::NarrowGrantRequest::default()
    };
    let asked = Asked::new("narrow_grant", request_id, &wire);
    NewNarrowing {
        asked,
        caller: desk.coordinator,
        grant_id,
        allowed,
    }
}

async fn slips(desk: &Desk, grant_id: GrantId) -> Vec<SlipRow> {
    let ids = &[grant_id];
    let read = |mut tx: Tx| async move { store::slip::of_grants(&mut tx, ids).await };
    desk.node
        .store
        .read::<_, StoreError, _, _>("slips", read)
        .await
        .unwrap()
}

async fn recipients(desk: &Desk, grant_id: GrantId) -> Vec<v1::GrantRecipient> {
    let id = &grant_id;
    let read = |mut tx: Tx| async move { withdrawals::recipients(&mut tx, id).await };
    desk.node
        .store
        .read::<_, StoreError, _, _>("recipients", read)
        .await
        .unwrap()
}

async fn shown(desk: &Desk, thread_id: ThreadId) -> v1::Thread {
    let opening = Opening {
        caller: desk.coordinator,
        visible: Visible::All,
        which: Which::Thread(thread_id),
    };
    threads_view::open(&desk.node, &opening).await.unwrap()
}

/// Holdings of slips that still have a key.
const LIVING: &str = "SELECT COUNT(*) AS n FROM holding WHERE kind = 'slip' AND wrapped_key IS NOT NULL";
const LIVE_GRANTS: &str = "SELECT COUNT(*) AS n FROM grant_record WHERE state = 'live'";

#[tokio::test]
async fn a_withdrawal_ends_everything_here_at_once_and_the_recipient_proves_its_part() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    assert!(shown(&pair.circle, thread_id).await.referral.is_some());
    let asked = withdrawal(&pair.gp, grant_id, Scope::Consent);
    let answer = withdrawals::withdraw(&pair.gp.node, &asked).await.unwrap();
    assert_eq!(answer.withdrawn_at_ms, pair.now_ms());

    let slip = &slips(&pair.gp, grant_id).await[0];
    assert_eq!(
        (slip.state, slip.stop_state),
        (SlipStanding::Withdrawn, StopState::Pending)
    );
    assert_eq!(
        (pair.gp.count(LIVING).await, pair.gp.count(LIVE_GRANTS).await),
        (0, 0)
    );
    let here = pair.gp.thread(thread_id).await;
    assert_eq!(
        (here.situation.state, here.situation.consent),
        (State::Withdrawn, Consent::Cut)
    );
    assert!(shown(&pair.gp, thread_id).await.referral.is_none());
    let told = &recipients(&pair.gp, grant_id).await[0];
    assert_eq!(
        (told.withdrawal_sent_at_ms, told.withdrawal_reached_at_ms),
        (0, 0),
        "still in the outbox"
    );

    pair.hand.advance(5_000);
    let carried = pair.to_circle().await;
    assert_eq!(
        carried.iter().map(|c| (c.kind, c.problem)).collect::<Vec<_>>(),
        [(EnvelopeKind::Withdrawal, Some(None))]
    );
    let there = pair.circle.thread(thread_id).await;
    assert_eq!(
        (there.situation.state, there.situation.consent),
        (State::Withdrawn, Consent::Erased)
    );
    assert_eq!(pair.circle.count(LIVING).await, 0);
    let told = &recipients(&pair.gp, grant_id).await[0];
    assert_eq!(
        (told.withdrawal_sent_at_ms, told.withdrawal_reached_at_ms),
        (pair.now_ms(), pair.now_ms())
    );
    assert!(told.proof.is_none(), "sent and reached, not yet proved");

    pair.to_gp().await;
    let proof = recipients(&pair.gp, grant_id).await[0].proof.clone().unwrap();
    assert_eq!(proof.outcome(), v1::WithdrawalOutcome::Erased);
    assert_eq!(pair.gp.thread(thread_id).await.situation.consent, Consent::Erased);
}

#[tokio::test]
async fn what_had_not_left_is_held_back() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.gp.referred(pair.circle_id(), true).await;
    let asked = withdrawal(&pair.gp, grant_id, Scope::AllThatFollowed);
    withdrawals::withdraw(&pair.gp.node, &asked).await.unwrap();
    const WITHHELD: &str = "SELECT COUNT(*) AS n FROM outbox WHERE state = 'withheld' AND kind = 'referral' \
         AND seq NOT IN (SELECT seq FROM outbox_envelope)";
    assert_eq!(pair.gp.count(WITHHELD).await, 1);
    let carried = pair.to_circle().await;
    let kinds: Vec<_> = carried.iter().map(|c| (c.kind, c.problem)).collect();
    assert_eq!(
        kinds,
        [
            (EnvelopeKind::Referral, None),
            (EnvelopeKind::Withdrawal, Some(None))
        ]
    );
    assert_eq!(
        pair.circle.count("SELECT COUNT(*) AS n FROM referral").await,
        0,
        "it never heard of the person"
    );
    let thread = pair.gp.thread(thread_id).await;
    assert_eq!(
        (thread.situation.state, thread.delivery),
        (State::Withdrawn, Delivery::Undelivered)
    );
}

#[tokio::test]
async fn taken_back_from_one_organisation_the_others_keep_it() {
    let pair = open().await;
    let person_id = pair.gp.person(&pair.gp.coordinator).await;
    let stranger: OrgId = "hope-street".parse().unwrap();
    let allowed = vec![
        Desk::allowed(pair.circle_id(), true),
        Desk::allowed(&stranger, true),
    ];
    let grant_id = pair.gp.grant(&pair.gp.coordinator, person_id, allowed).await;
    let kept = pair
        .gp
        .refer(&pair.gp.coordinator, person_id, grant_id, &stranger)
        .await;
    let ended = pair
        .gp
        .refer(&pair.gp.coordinator, person_id, grant_id, pair.circle_id())
        .await;
    let scope = Scope::Organisation(pair.circle_id().clone());
    withdrawals::withdraw(&pair.gp.node, &withdrawal(&pair.gp, grant_id, scope))
        .await
        .unwrap();
    assert_eq!(pair.gp.thread(ended).await.situation.state, State::Withdrawn);
    assert_eq!(pair.gp.thread(kept).await.situation.state, State::Sent);
    assert_eq!(
        (pair.gp.count(LIVING).await, pair.gp.count(LIVE_GRANTS).await),
        (1, 1),
        "the grant stands"
    );
    let never: OrgId = "nobody-here".parse().unwrap();
    let asked = withdrawal(&pair.gp, grant_id, Scope::Organisation(never));
    let refused = withdrawals::withdraw(&pair.gp.node, &asked).await.unwrap_err();
    assert!(matches!(refused, WithdrawError::Recipient), "{refused:?}");
    let rest = withdrawal(&pair.gp, grant_id, Scope::Organisation(stranger));
    withdrawals::withdraw(&pair.gp.node, &rest).await.unwrap();
    assert_eq!(pair.gp.count(LIVE_GRANTS).await, 0, "it ends with its last slip");
}

#[tokio::test]
async fn a_second_withdrawal_changes_nothing_and_says_when_the_first_was() {
    let pair = open().await;
    let (_, grant_id) = pair.received(false).await;
    let mut asked = withdrawal(&pair.gp, grant_id, Scope::Consent);
    asked.invalidated = true;
    let first = withdrawals::withdraw(&pair.gp.node, &asked).await.unwrap();
    assert_eq!(
        pair.gp
            .count("SELECT COUNT(*) AS n FROM grant_record WHERE state = 'invalidated'")
            .await,
        1
    );
    pair.hand.advance(60_000);
    let rows = pair.gp.rows().await;
    assert_eq!(
        withdrawals::withdraw(&pair.gp.node, &asked).await.unwrap(),
        first,
        "a repeat"
    );
    assert_eq!(pair.gp.rows().await, rows);
    let again = withdrawal(&pair.gp, grant_id, Scope::Consent);
    assert_eq!(
        withdrawals::withdraw(&pair.gp.node, &again).await.unwrap(),
        first,
        "another request"
    );
    assert_eq!(pair.gp.rows().await, rows + 1, "only its answer");
    let other = NewWithdrawal {
        asked: Asked {
            body_hash: [0; 32],
            ..again.asked.clone()
        },
        ..again
    };
    let refused = withdrawals::withdraw(&pair.gp.node, &other).await.unwrap_err();
    assert_eq!(refused.problem(), Problem::Conflict);
}

#[tokio::test]
async fn only_who_sees_the_person_ends_their_grant() {
    let pair = open().await;
    let (_, grant_id) = pair.received(false).await;
    let mut asked = withdrawal(&pair.gp, grant_id, Scope::Consent);
    asked.caller = pair.gp.referrer;
    assert_eq!(
        withdrawals::withdraw(&pair.gp.node, &asked)
            .await
            .unwrap_err()
            .problem(),
        Problem::NotFound
    );
    let mut less = narrowing(&pair.gp, grant_id, Vec::new());
    less.caller = pair.gp.referrer;
    assert_eq!(
        withdrawals::narrow(&pair.gp.node, &less)
            .await
            .unwrap_err()
            .problem(),
        Problem::NotFound
    );
    assert_eq!(pair.gp.count(LIVE_GRANTS).await, 1);
}

#[tokio::test]
async fn after_a_withdrawal_nothing_more_is_said_or_sent() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(true).await;
    withdrawals::withdraw(&pair.gp.node, &withdrawal(&pair.gp, grant_id, Scope::Consent))
        .await
        .unwrap();
    let request_id = pair.gp.request_id();
    let asking = messages::Asking {
        asked: Asked::new("send_message", request_id, &v1::SendMessageRequest::default()),
        caller: pair.gp.coordinator,
        thread_id,
        words: "still there?".into(),
    };
    let refused = messages::send(&pair.gp.node, &asking).await.unwrap_err();
    assert_eq!(refused.problem(), Problem::ConsentWithdrawn);
    pair.to_both().await;
    let refused = pair.circle.make(thread_id, Move::Accept).await.unwrap_err();
    assert_eq!(refused.problem(), Problem::WrongState);
}

#[tokio::test]
async fn the_sender_withdraws_by_the_thread() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    pair.circle.make(thread_id, Move::Accept).await.unwrap();
    pair.circle.make(thread_id, Move::Complete).await.unwrap();
    pair.to_both().await;
    let answer = pair.gp.make(thread_id, Move::Withdraw).await.unwrap();
    assert_eq!(
        answer.state,
        State::Completed.number(),
        "the outcome stays; consent is cut"
    );
    assert_eq!(pair.gp.thread(thread_id).await.situation.consent, Consent::Cut);
    assert_eq!(slips(&pair.gp, grant_id).await[0].stop_state, StopState::Pending);
    assert_eq!(pair.gp.count(LIVE_GRANTS).await, 0);
    pair.to_both().await;
    assert_eq!(
        pair.circle.thread(thread_id).await.situation.consent,
        Consent::Erased
    );
    assert!(recipients(&pair.gp, grant_id).await[0].proof.is_some());
}

#[tokio::test]
async fn a_recipient_that_is_asked_in_person_cuts_its_own_access_first() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    let answer = pair.circle.make(thread_id, Move::Withdraw).await.unwrap();
    assert_eq!(
        (answer.state, answer.proposed),
        (State::Withdrawn.number(), false)
    );
    assert_eq!(pair.circle.count(LIVING).await, 0);
    assert_eq!(
        pair.circle.thread(thread_id).await.situation.consent,
        Consent::Erased
    );
    const STOPS: &str = "SELECT COUNT(*) AS n FROM slip WHERE stop_state = 'pending'";
    assert_eq!(
        pair.circle.count(STOPS).await,
        0,
        "only the capturing member can stop a slip"
    );
    pair.to_both().await;
    let here = pair.gp.thread(thread_id).await;
    assert_eq!(here.situation.state, State::Withdrawn);
    let slip = &slips(&pair.gp, grant_id).await[0];
    assert_eq!(
        (slip.state, slip.stop_state),
        (SlipStanding::Withdrawn, StopState::Pending)
    );
    assert_eq!(
        (pair.gp.count(LIVING).await, pair.gp.count(LIVE_GRANTS).await),
        (0, 0)
    );
    assert!(recipients(&pair.gp, grant_id).await[0].proof.is_some());
}

fn less(recipient: &OrgId, gone: Category, progress: bool) -> Allowed {
    let all = Desk::allowed(recipient, progress);
    Allowed {
        categories: all.categories.missing_from([gone].into_iter().collect()),
        ..all
    }
}

fn categories(thread: &v1::Thread) -> CategorySet {
    let parts = thread
        .referral
        .as_ref()
        .map(|referral| referral.parts.as_slice())
        .unwrap_or_default();
    parts
        .iter()
        .filter_map(|part| Category::try_from(part.category).ok())
        .collect()
}

#[tokio::test]
async fn a_narrowed_category_is_gone_at_both_nodes_and_the_rest_stays() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(true).await;
    let asked = narrowing(
        &pair.gp,
        grant_id,
        vec![less(pair.circle_id(), Category::Health, false)],
    );
    let first = withdrawals::narrow(&pair.gp.node, &asked).await.unwrap();
    assert_eq!(
        withdrawals::narrow(&pair.gp.node, &asked).await.unwrap(),
        first,
        "a repeat"
    );
    let stays: CategorySet = [Category::Identity, Category::Need].into_iter().collect();
    assert_eq!(categories(&shown(&pair.gp, thread_id).await), stays);
    pair.to_both().await;
    assert_eq!(categories(&shown(&pair.circle, thread_id).await), stays);
    assert_eq!(
        pair.circle.thread(thread_id).await.situation.consent,
        Consent::Live
    );
    assert!(recipients(&pair.gp, grant_id).await[0].proof.is_some());
    // Progress went as well: words no longer flow back.
    let mut asked = pair.circle.asked(thread_id, Move::Accept);
    asked.words = "she came".into();
    let refused = moves::move_referral(&pair.circle.node, &asked).await.unwrap_err();
    assert!(refused.problem() != Problem::Unavailable, "{refused:?}");
    pair.circle.make(thread_id, Move::Accept).await.unwrap();
}

#[tokio::test]
async fn a_grant_is_never_widened() {
    let pair = open().await;
    let (_, grant_id) = pair.received(false).await;
    let rows = pair.gp.rows().await;
    let refused = async |allowed: Vec<Allowed>| {
        let narrowed = withdrawals::narrow(&pair.gp.node, &narrowing(&pair.gp, grant_id, allowed)).await;
        matches!(narrowed, Err(WithdrawError::More))
    };
    let stranger: OrgId = "hope-street".parse().unwrap();
    let circle = Desk::allowed(pair.circle_id(), false);
    assert!(
        refused(vec![circle.clone(), Desk::allowed(&stranger, false)]).await,
        "another recipient"
    );
    assert!(
        refused(vec![Desk::allowed(pair.circle_id(), true)]).await,
        "progress"
    );
    let mut family = circle.clone();
    family.categories.insert(Category::Family);
    assert!(refused(vec![family]).await, "another category");
    let mut care = circle.clone();
    care.purposes.push(Purpose::Care);
    assert!(refused(vec![care]).await, "another purpose");
    assert_eq!(pair.gp.rows().await, rows);
    let same = narrowing(&pair.gp, grant_id, vec![circle]);
    withdrawals::narrow(&pair.gp.node, &same).await.unwrap();
    assert_eq!(pair.gp.rows().await, rows + 1, "the same is no change");
}

#[tokio::test]
async fn a_recipient_left_out_is_withdrawn_from() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.received(false).await;
    withdrawals::narrow(&pair.gp.node, &narrowing(&pair.gp, grant_id, Vec::new()))
        .await
        .unwrap();
    pair.to_both().await;
    assert_eq!(pair.states(thread_id).await, (State::Withdrawn, State::Withdrawn));
    assert_eq!(pair.gp.count(LIVE_GRANTS).await, 0);
    let ended = withdrawals::narrow(&pair.gp.node, &narrowing(&pair.gp, grant_id, Vec::new())).await;
    assert!(matches!(ended, Err(WithdrawError::Ended)));
}

#[tokio::test]
async fn queued_envelopes_with_a_narrowed_category_are_held_back() {
    let pair = open().await;
    let (thread_id, grant_id) = pair.gp.referred(pair.circle_id(), false).await;
    let asked = narrowing(
        &pair.gp,
        grant_id,
        vec![less(pair.circle_id(), Category::Health, false)],
    );
    withdrawals::narrow(&pair.gp.node, &asked).await.unwrap();
    let thread = pair.gp.thread(thread_id).await;
    assert_eq!(
        (thread.delivery, thread.problem),
        (Delivery::Undelivered, Some(Problem::CategoryNotAllowed))
    );
    let carried = pair.to_circle().await;
    assert!(
        carried
            .iter()
            .all(|c| c.kind != EnvelopeKind::Referral || c.problem.is_none())
    );
    let new = referrals::NewReferral {
        request_id: pair.gp.request_id(),
        person_id: pair.gp.person(&pair.gp.coordinator).await,
        grant_id,
        recipient: pair.circle_id().clone(),
        purpose: Purpose::PeerSupport,
        parts: kith_node::parts::Parts::default(),
        categories: [Category::Health].into_iter().collect(),
        answer_by_ms: 0,
    };
    assert!(
        referrals::send(&pair.gp.node, &pair.gp.coordinator, new)
            .await
            .is_err()
    );
}
