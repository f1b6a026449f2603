//! The story the demo tells: seven referrals and three accounts of one, each step printed as a plain sentence and its outcome verified.
//! Called by `main` and by the network tests. Any step whose outcome is not as told is an error, never a warning.

mod accounts;
mod requests;
pub mod steps;

use crate::cast::{self, GP, MOSQUE, PEERS, SCHOOL, SETTLEMENT, said};
use crate::network::Network;
use anyhow::ensure;
use kith_proto::lifecycle::{Consent, Delivery, Move, Reason, State};
use kith_proto::problem::Problem;
use kith_proto::words::{Category, Purpose};
use steps::{Agreed, Ask, Sent, Teller};

/// What the peer group is asked for: no health, no family, no address.
const COMPANY: &[Category] = &[Category::Identity, Category::Communication, Category::Need];

/// Tells the whole story.
pub async fn tell(network: &mut Network) -> anyhow::Result<()> {
    let mut tell = Teller::begin(network).await?;
    let completed = accepted_and_completed(&mut tell).await?;
    declined_with_a_reason(&mut tell).await?;
    waits_for_a_machine_that_is_off(&mut tell).await?;
    refused_outside_the_consent(&mut tell).await?;
    withdrawn_in_the_mailbox(&mut tell).await?;
    the_peer_group_refers_to_the_gp(&mut tell).await?;
    the_school_refers_to_the_settlement_service(&mut tell).await?;
    accounts::three_accounts(&mut tell, &completed).await?;
    tell.say("Every step's outcome was verified.")
}

async fn accepted_and_completed(tell: &mut Teller<'_>) -> anyhow::Result<Sent> {
    tell.title("A referral that is accepted and completed")?;
    let ask = Ask {
        from: GP,
        to: PEERS,
        person: cast::SELAM,
        categories: COMPANY,
        purpose: Purpose::PeerSupport,
        need: said::TEA,
    };
    let sent = tell.refer(ask).await?;
    tell.expect(
        GP,
        &sent,
        State::Received,
        "the circle's machine has it; nobody has looked yet",
    )
    .await?;
    let content = tell.open(PEERS, &sent).await?;
    ensure!(content.contains(cast::SELAM.name), "the name did not arrive");
    ensure!(content.contains(ask.need), "the need did not arrive");
    ensure!(
        !content.contains(cast::SELAM.phone),
        "the telephone number was not agreed and must not arrive"
    );
    tell.say("The circle reads her name, her language and her wish; her telephone number was not agreed and is not there.")?;
    for (step, state) in [
        (Move::Acknowledge, State::Acknowledged),
        (Move::Accept, State::Accepted),
        (Move::Start, State::InProgress),
    ] {
        tell.moves(PEERS, &sent, step, None).await?;
        tell.expect(GP, &sent, state, "the practice sees it").await?;
    }
    tell.writes(PEERS, GP, &sent, said::CAME).await?;
    tell.writes(GP, PEERS, &sent, said::GLAD).await?;
    let done = Some(Reason::HelpGiven);
    tell.moves_saying(PEERS, &sent, (Move::Complete, done), said::SETTLED)
        .await?;
    tell.expect(GP, &sent, State::Completed, "the practice sees the outcome")
        .await?;
    let words = tell.last_event(GP, &sent).await?.words;
    ensure!(words == said::SETTLED, "the closing words did not arrive");
    Ok(sent)
}

async fn declined_with_a_reason(tell: &mut Teller<'_>) -> anyhow::Result<()> {
    tell.title("A referral that is declined, with a reason")?;
    let sent = tell
        .refer(Ask {
            from: GP,
            to: MOSQUE,
            person: cast::YUSUF,
            categories: &[Category::Identity, Category::Need],
            purpose: Purpose::PracticalHelp,
            need: said::PARCEL,
        })
        .await?;
    tell.expect(GP, &sent, State::Received, "the mosque's machine has it")
        .await?;
    tell.moves(MOSQUE, &sent, Move::Acknowledge, None).await?;
    tell.moves(MOSQUE, &sent, Move::Decline, Some(Reason::Full))
        .await?;
    tell.expect(
        GP,
        &sent,
        State::Declined,
        "the practice is told at once, and why",
    )
    .await?;
    let reason = tell.last_event(GP, &sent).await?.reason;
    ensure!(reason == Reason::Full.number(), "the reason did not arrive");
    Ok(())
}

async fn waits_for_a_machine_that_is_off(tell: &mut Teller<'_>) -> anyhow::Result<()> {
    tell.title("A referral to a laptop that is switched off")?;
    tell.network.stop_node(PEERS).await?;
    tell.say("The circle's laptop is switched off.")?;
    let sent = tell
        .refer(Ask {
            from: SETTLEMENT,
            to: PEERS,
            person: cast::LETESH,
            categories: COMPANY,
            purpose: Purpose::PeerSupport,
            need: said::CLASS,
        })
        .await?;
    tell.expect_delivery(SETTLEMENT, &sent, Delivery::Taken, "the gateway keeps it, sealed")
        .await?;
    tell.network.start_node(PEERS).await?;
    tell.say("The laptop is switched on again.")?;
    tell.expect_delivery(SETTLEMENT, &sent, Delivery::Delivered, "it arrived by itself")
        .await?;
    let content = tell.open(PEERS, &sent).await?;
    ensure!(
        content.contains(cast::LETESH.name),
        "the referral did not survive the wait"
    );
    Ok(())
}

async fn refused_outside_the_consent(tell: &mut Teller<'_>) -> anyhow::Result<()> {
    tell.title("A referral that consent does not cover")?;
    let ask = Ask {
        from: GP,
        to: PEERS,
        person: cast::AMAL,
        categories: COMPANY,
        purpose: Purpose::PeerSupport,
        need: said::AMAL,
    };
    let agreed = tell.agree(ask).await?;
    let refused = tell.refer_with_health(ask, &agreed, said::HEALTH).await?;
    ensure!(
        refused.problem == Problem::CategoryNotAllowed,
        "refused for another reason: {refused}"
    );
    tell.say(&format!(
        "The practice also tries to send health, which she did not agree to. Refused: “{}”",
        refused.sentence
    ))?;
    tell.no_inbox_line_about(PEERS, GP, 1).await?;
    refused_at_the_gate(tell, ask, &agreed).await
}

/// The same once more from a node whose own rules were taken out: the gateway holds the slip against the envelope by itself.
async fn refused_at_the_gate(tell: &mut Teller<'_>, ask: Ask, agreed: &Agreed) -> anyhow::Result<()> {
    tell.network.stop_node(GP).await?;
    tell.say("The practice's node is switched off; a tampered one takes its place, with its keys and without its rules.")?;
    let refused = tell.send_tampered(ask, agreed, said::HEALTH).await?;
    ensure!(
        refused.problem == Problem::CategoryNotAllowed && refused.categories == [Category::Health],
        "refused for another reason: {refused:?}"
    );
    tell.say(&format!(
        "Even a tampered node cannot: it seals and signs health all the same, and the gateway refuses over its own signature: “{}”",
        refused.problem.sentence()
    ))?;
    tell.no_inbox_line_about(PEERS, GP, 1).await?;
    tell.network.start_node(GP).await?;
    tell.say("The practice's own node is switched on again and sends what she did agree to.")?;
    let sent = tell.send(ask, agreed).await?;
    tell.expect(GP, &sent, State::Received, "it goes on as if nothing had been")
        .await?;
    let content = tell.open(PEERS, &sent).await?;
    ensure!(content.contains(said::AMAL), "the need did not arrive");
    ensure!(!content.contains(said::HEALTH), "health arrived after all");
    tell.inbox_holds(PEERS, GP, 2).await
}

async fn withdrawn_in_the_mailbox(tell: &mut Teller<'_>) -> anyhow::Result<()> {
    tell.title("A person who changes his mind before it arrives")?;
    tell.network.stop_node(MOSQUE).await?;
    tell.say("The mosque's computer is switched off.")?;
    let sent = tell
        .refer(Ask {
            from: SETTLEMENT,
            to: MOSQUE,
            person: cast::DAWIT,
            categories: &[Category::Identity, Category::Need],
            purpose: Purpose::PracticalHelp,
            need: said::COAT,
        })
        .await?;
    tell.expect_delivery(SETTLEMENT, &sent, Delivery::Taken, "the gateway keeps it, sealed")
        .await?;
    tell.withdraw(SETTLEMENT, &sent).await?;
    let line = tell
        .expect(SETTLEMENT, &sent, State::Withdrawn, "consent is taken back")
        .await?;
    ensure!(line.consent != Consent::Live.number(), "consent still stands");
    tell.network.start_node(MOSQUE).await?;
    tell.say("The mosque's computer is switched on again.")?;
    tell.expect_proof(SETTLEMENT, &sent).await?;
    tell.no_inbox_line_about(MOSQUE, SETTLEMENT, 0).await
}

async fn the_peer_group_refers_to_the_gp(tell: &mut Teller<'_>) -> anyhow::Result<()> {
    tell.title("The peer group refers to the GP, with the same rights and the same clock")?;
    let sent = tell
        .refer(Ask {
            from: PEERS,
            to: GP,
            person: cast::LETESH,
            categories: &[
                Category::Identity,
                Category::Contact,
                Category::Communication,
                Category::Need,
            ],
            purpose: Purpose::Care,
            need: said::DOCTOR,
        })
        .await?;
    let line = tell
        .expect(PEERS, &sent, State::Received, "the practice's machine has it")
        .await?;
    ensure!(line.deadline_ms > 0, "the practice has no deadline");
    tell.moves(GP, &sent, Move::Acknowledge, None).await?;
    tell.moves(GP, &sent, Move::Accept, None).await?;
    tell.expect(
        PEERS,
        &sent,
        State::Accepted,
        "the circle sees that the practice said yes",
    )
    .await?;
    Ok(())
}

async fn the_school_refers_to_the_settlement_service(tell: &mut Teller<'_>) -> anyhow::Result<()> {
    tell.title("A school refers to the settlement service")?;
    let sent = tell
        .refer(Ask {
            from: SCHOOL,
            to: SETTLEMENT,
            person: cast::HAMID,
            categories: &[Category::Identity, Category::Education, Category::Need],
            purpose: Purpose::Settlement,
            need: said::MEALS,
        })
        .await?;
    tell.expect(SCHOOL, &sent, State::Received, "Harbour Welcome's machine has it")
        .await?;
    tell.moves(SETTLEMENT, &sent, Move::Acknowledge, None).await?;
    tell.moves(SETTLEMENT, &sent, Move::RequestInfo, None).await?;
    tell.expect(
        SCHOOL,
        &sent,
        State::InfoRequested,
        "Harbour Welcome asks something; it is the school's turn",
    )
    .await?;
    tell.moves(SCHOOL, &sent, Move::AnswerInfo, None).await?;
    tell.expect(SETTLEMENT, &sent, State::Acknowledged, "the school answered")
        .await?;
    tell.moves(SETTLEMENT, &sent, Move::Accept, None).await?;
    let line = tell
        .expect(SCHOOL, &sent, State::Accepted, "the school sees the yes")
        .await?;
    ensure!(!line.code.is_empty(), "the referral has no code");
    Ok(())
}
