//! The steps of the story as verbs: refer, move, open, withdraw, expect. Used by `story` and by the network tests.
//! Each makes real calls on a real node and returns an error when the outcome is not the one told.

use super::requests::{listed, part, plain, record, send, with_health};
use crate::cast::{GP, MOSQUE, Org, PEERS, Person, SETTLEMENT};
use crate::client::Refused;
use crate::network::Network;
use crate::tampered::{self, Overreach};
use anyhow::{Context as _, bail, ensure};
use kith_proto::lifecycle::{Delivery, Move, Reason, State};
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use std::collections::BTreeMap;
use std::io::Write as _;

/// What one referral asks, of whom, about whom.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Who refers.
    pub from: Org,
    /// Whom is asked.
    pub to: Org,
    /// About whom.
    pub person: Person,
    /// What the person agrees to.
    pub categories: &'static [Category],
    /// What for.
    pub purpose: Purpose,
    /// What is needed, in the person's words.
    pub need: &'static str,
}

/// A person and what they agreed to, as recorded.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The person.
    pub person_id: Vec<u8>,
    /// What they agreed to.
    pub grant_id: Vec<u8>,
}

/// A referral that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its thread.
    pub thread_id: Vec<u8>,
    grant_id: Vec<u8>,
    /// Its code.
    pub code: String,
}

/// Tells the story on a network.
pub struct Teller<'a> {
    /// The network.
    pub network: &'a mut Network,
    titles: u32,
    /// Readable threads in the inbox of an organisation from another, when the story began: a kept network has some.
    before: BTreeMap<(&'static str, &'static str), usize>,
}

impl<'a> Teller<'a> {
    /// Tells steps of a story of one's own.
    pub fn of(network: &'a mut Network) -> Self {
        Self {
            network,
            titles: 0,
            before: BTreeMap::new(),
        }
    }

    /// Begins the story, for which some organisations must be there.
    pub(super) async fn begin(network: &'a mut Network) -> anyhow::Result<Self> {
        let mut before = BTreeMap::new();
        for (org, from) in [(PEERS, GP), (MOSQUE, SETTLEMENT)] {
            let readable = readable_threads(network, org, from).await?;
            before.insert((org.id, from.id), readable);
        }
        Ok(Self {
            network,
            titles: 0,
            before,
        })
    }

    /// Prints one sentence.
    pub fn say(&self, sentence: &str) -> anyhow::Result<()> {
        writeln!(std::io::stdout().lock(), "   {sentence}")?;
        Ok(())
    }

    /// Prints a numbered title.
    pub fn title(&mut self, title: &str) -> anyhow::Result<()> {
        self.titles += 1;
        writeln!(std::io::stdout().lock(), "\n{}. {title}", self.titles)?;
        Ok(())
    }

    /// Records the person and their consent, and sends the referral.
    pub async fn refer(&mut self, ask: Ask) -> anyhow::Result<Sent> {
        let agreed = self.agree(ask).await?;
        self.send(ask, &agreed).await
    }

    /// Records the person and their consent.
    pub async fn agree(&mut self, ask: Ask) -> anyhow::Result<Agreed> {
        let mut client = self.network.client(ask.from).await?;
        let agreed = record(&mut client, ask).await?;
        self.say(&format!(
            "{} records a person and what they agree to share with {}: {}.",
            ask.from.name,
            ask.to.name,
            listed(ask.categories)
        ))?;
        Ok(agreed)
    }

    /// Sends the referral that was agreed to.
    pub async fn send(&mut self, ask: Ask, agreed: &Agreed) -> anyhow::Result<Sent> {
        let mut client = self.network.client(ask.from).await?;
        let need = part(Category::Need, &[("in_their_words", ask.need)]);
        let sent = match send(&mut client, ask, agreed, vec![need]).await? {
            Ok(sent) => sent,
            Err(refused) => bail!("the referral was refused: {refused}"),
        };
        self.say(&format!(
            "{} sends the referral {} to {}.",
            ask.from.name, sent.code, ask.to.name
        ))?;
        Ok(Sent {
            thread_id: sent.thread_id,
            code: sent.code,
            grant_id: agreed.grant_id.clone(),
        })
    }

    /// Tries to send health beside what the person agreed to, and returns the refusal.
    pub async fn refer_with_health(
        &mut self,
        ask: Ask,
        agreed: &Agreed,
        health: &str,
    ) -> anyhow::Result<Refused> {
        let mut client = self.network.client(ask.from).await?;
        match send(&mut client, ask, agreed, with_health(ask, health)).await? {
            Ok(_) => bail!("health was sent without consent"),
            Err(refused) => Ok(refused),
        }
    }

    /// Does the same from a tampered node in the sender's place, and returns what the gateway signed.
    pub async fn send_tampered(
        &mut self,
        ask: Ask,
        agreed: &Agreed,
        health: &str,
    ) -> anyhow::Result<tampered::Refusal> {
        let node = self.network.node(ask.from).context("no such organisation")?;
        let overreach = Overreach {
            to: ask.to.id,
            person_id: &agreed.person_id,
            grant_id: &agreed.grant_id,
            purpose: ask.purpose,
            parts: with_health(ask, health),
        };
        tampered::send(&node.data_dir, self.network.clock(), &overreach).await
    }

    /// Makes a lifecycle move at an organisation.
    pub async fn moves(
        &mut self,
        org: Org,
        sent: &Sent,
        step: Move,
        reason: Option<Reason>,
    ) -> anyhow::Result<()> {
        self.moves_saying(org, sent, (step, reason), "").await
    }

    /// Makes a lifecycle move with words.
    pub async fn moves_saying(
        &mut self,
        org: Org,
        sent: &Sent,
        (step, reason): (Move, Option<Reason>),
        words: &str,
    ) -> anyhow::Result<()> {
        let mut client = self.network.client(org).await?;
        let request = v1::MoveReferralRequest {
            request_id: client.request_id()?,
            thread_id: sent.thread_id.clone(),
            r#move: step.number(),
            reason: reason.map(Reason::number).unwrap_or_default(),
            words: words.to_owned(),
        };
        let moved = client
            .referrals
            .move_referral(request)
            .await
            .map_err(Refused::from)?
            .into_inner();
        let why = reason
            .map(|reason| format!(" ({})", plain(reason.as_str())))
            .unwrap_or_default();
        let waits = if moved.proposed {
            ", and the other side's machine is to apply it"
        } else {
            ""
        };
        self.say(&format!("{}: {}{why}{waits}.", org.name, plain(step.as_str())))
    }

    /// Writes words on a referral and waits until the other side reads them.
    pub async fn writes(&mut self, org: Org, reader: Org, sent: &Sent, words: &str) -> anyhow::Result<()> {
        let mut client = self.network.client(org).await?;
        let request = v1::SendMessageRequest {
            request_id: client.request_id()?,
            thread_id: sent.thread_id.clone(),
            words: words.to_owned(),
        };
        client
            .referrals
            .send_message(request)
            .await
            .map_err(Refused::from)?;
        let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
        for _ in 0..200 {
            look.tick().await;
            let thread = self.thread(reader, sent).await?;
            if thread.messages.iter().any(|message| message.words == words) {
                return self.say(&format!("{} writes to {}, who reads it.", org.name, reader.name));
            }
        }
        bail!("the words of {} did not arrive", org.name)
    }

    /// Waits until an organisation's copy is in this state.
    pub async fn expect(
        &mut self,
        org: Org,
        sent: &Sent,
        state: State,
        comment: &str,
    ) -> anyhow::Result<v1::ReferralLine> {
        let mut client = self.network.client(org).await?;
        let what = format!("{} sees {} as {}", org.name, sent.code, state.as_str());
        let line = client
            .until(&sent.thread_id, &what, |line| line.state == state.number())
            .await?;
        ensure!(line.code == sent.code, "the code is not the same on both sides");
        self.say(&format!("{}: {}; {comment}.", sent.code, plain(state.as_str())))?;
        Ok(line)
    }

    /// Waits until an organisation sees its referral carried this far.
    pub async fn expect_delivery(
        &mut self,
        org: Org,
        sent: &Sent,
        delivery: Delivery,
        comment: &str,
    ) -> anyhow::Result<()> {
        let mut client = self.network.client(org).await?;
        let what = format!("{} sees {} as {}", org.name, sent.code, delivery.as_str());
        client
            .until(&sent.thread_id, &what, |line| line.delivery == delivery.number())
            .await?;
        self.say(&format!(
            "{}: {}; {comment}.",
            sent.code,
            plain(delivery.as_str())
        ))
    }

    /// Opens a referral at an organisation and returns all its words, one field a line.
    pub async fn open(&mut self, org: Org, sent: &Sent) -> anyhow::Result<String> {
        let thread = self.thread(org, sent).await?;
        let referral = thread.referral.context("the referral has no content")?;
        let fields = referral.parts.into_iter().flat_map(|part| part.fields);
        Ok(fields.map(|field| field.value + "\n").collect())
    }

    /// The last event of a thread.
    pub async fn last_event(&mut self, org: Org, sent: &Sent) -> anyhow::Result<v1::Event> {
        let thread = self.thread(org, sent).await?;
        thread
            .events
            .into_iter()
            .last()
            .context("the thread has no events")
    }

    /// Opens a thread at an organisation.
    pub async fn thread(&mut self, org: Org, sent: &Sent) -> anyhow::Result<v1::Thread> {
        let mut client = self.network.client(org).await?;
        let request = v1::GetReferralRequest {
            thread_id: Vec::new(),
            code: sent.code.clone(),
            opening_reason: "the demo's story".to_owned(),
        };
        let got = client
            .referrals
            .get_referral(request)
            .await
            .map_err(Refused::from)?
            .into_inner();
        got.thread.context("the answer has no thread")
    }

    /// Takes the consent behind a referral back.
    pub async fn withdraw(&mut self, org: Org, sent: &Sent) -> anyhow::Result<()> {
        let mut client = self.network.client(org).await?;
        let request = v1::WithdrawGrantRequest {
            request_id: client.request_id()?,
            grant_id: sent.grant_id.clone(),
            scope: v1::WithdrawalScope::Consent.into(),
            recipient: String::new(),
            invalidated: false,
            stop_seed: Vec::new(),
        };
        client
            .consent
            .withdraw_grant(request)
            .await
            .map_err(Refused::from)?;
        self.say(&format!(
            "The person takes their consent back; {} records it.",
            org.name
        ))
    }

    /// Waits until the recipient's proof of erasure has come back.
    pub async fn expect_proof(&mut self, org: Org, sent: &Sent) -> anyhow::Result<()> {
        let mut client = self.network.client(org).await?;
        let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
        for _ in 0..200 {
            look.tick().await;
            let request = v1::GetGrantRequest {
                grant_id: sent.grant_id.clone(),
            };
            let got = client
                .consent
                .get_grant(request)
                .await
                .map_err(Refused::from)?
                .into_inner();
            let recipients = got.grant.map(|grant| grant.recipients).unwrap_or_default();
            let erased = v1::WithdrawalOutcome::Erased;
            let proved = |r: &v1::GrantRecipient| r.proof.as_ref().is_some_and(|p| p.outcome() == erased);
            if !recipients.is_empty() && recipients.iter().all(proved) {
                return self.say("The recipient's signed proof is back: it holds nothing of this person.");
            }
        }
        bail!("no proof of erasure came back")
    }

    /// Checks and says that an organisation's inbox still holds exactly so many readable threads from a sender.
    pub async fn no_inbox_line_about(&mut self, org: Org, from: Org, readable: usize) -> anyhow::Result<()> {
        self.inbox_holds(org, from, readable).await?;
        self.say(&format!("{}'s inbox shows nothing of it.", org.name))
    }

    /// Checks that an organisation's inbox holds exactly so many more readable threads from a sender than before the story.
    pub async fn inbox_holds(&mut self, org: Org, from: Org, readable: usize) -> anyhow::Result<()> {
        let before = self.before.get(&(org.id, from.id)).copied().unwrap_or_default();
        let found = readable_threads(self.network, org, from).await?;
        ensure!(
            found == before + readable,
            "{} holds {found} threads from {}, and held {before}",
            org.name,
            from.name
        );
        Ok(())
    }
}

/// How many threads of a sender an organisation can read in its inbox.
async fn readable_threads(network: &Network, org: Org, from: Org) -> anyhow::Result<usize> {
    let mut client = network.client(org).await?;
    let mut request = v1::ListReferralsRequest {
        side: v1::Side::Inbox.into(),
        ..v1::ListReferralsRequest::default()
    };
    let mut readable = 0;
    loop {
        let asked = client.referrals.list_referrals(request.clone()).await;
        let listed = asked.map_err(Refused::from)?.into_inner();
        let of_sender = |line: &&v1::ReferralLine| {
            line.organisation == from.id && line.consent() == v1::ConsentState::Live
        };
        readable += listed.referrals.iter().filter(of_sender).count();
        if listed.next_page_token.is_empty() {
            return Ok(readable);
        }
        request.page_token = listed.next_page_token;
    }
}
