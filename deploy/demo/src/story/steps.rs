//! The steps of the story as verbs: refer, move, open, withdraw, expect. Used by `story` alone.
//! Each makes real calls on a real node and returns an error when the outcome is not the one told.

use crate::cast::{Org, Person};
use crate::client::{Client, Refused};
use crate::network::Network;
use anyhow::{Context as _, bail, ensure};
use kith_proto::lifecycle::{Delivery, Move, Reason, State};
use kith_proto::v1::{self, send_referrals_response::Outcome};
use kith_proto::words::{Category, Purpose};
use std::io::Write as _;

/// What one referral asks, of whom, about whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) from: Org,
    pub(super) to: Org,
    pub(super) person: Person,
    /// What the person agrees to.
    pub(super) categories: &'static [Category],
    pub(super) purpose: Purpose,
    pub(super) need: &'static str,
}

/// A referral that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    thread_id: Vec<u8>,
    grant_id: Vec<u8>,
    code: String,
}

/// Tells the story on a network.
pub(super) struct Teller<'a> {
    pub(super) network: &'a mut Network,
    titles: u32,
}

impl<'a> Teller<'a> {
    pub(super) fn new(network: &'a mut Network) -> Self {
        Self { network, titles: 0 }
    }

    /// Prints one sentence.
    pub(super) fn say(&self, sentence: &str) -> anyhow::Result<()> {
        writeln!(std::io::stdout().lock(), "   {sentence}")?;
        Ok(())
    }

    /// Prints a numbered title.
    pub(super) fn title(&mut self, title: &str) -> anyhow::Result<()> {
        self.titles += 1;
        writeln!(std::io::stdout().lock(), "\n{}. {title}", self.titles)?;
        Ok(())
    }

    /// Records the person and their consent, and sends the referral.
    pub(super) async fn refer(&mut self, ask: Ask) -> anyhow::Result<Sent> {
        let mut client = self.network.client(ask.from).await?;
        let (person_id, grant_id) = record(&mut client, ask).await?;
        self.say(&format!(
            "{} records a person and what they agree to share with {}: {}.",
            ask.from.name,
            ask.to.name,
            listed(ask.categories)
        ))?;
        let need = part(Category::Need, &[("in_their_words", ask.need)]);
        let sent = match send(&mut client, ask, (&person_id, &grant_id), vec![need]).await? {
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
            grant_id,
        })
    }

    /// Tries to send health beside what the person agreed to, and returns the refusal.
    pub(super) async fn refer_with_health(&mut self, ask: Ask, health: &str) -> anyhow::Result<Refused> {
        let mut client = self.network.client(ask.from).await?;
        let (person_id, grant_id) = record(&mut client, ask).await?;
        let parts = vec![
            part(Category::Need, &[("in_their_words", ask.need)]),
            part(Category::Health, &[("summary", health)]),
        ];
        match send(&mut client, ask, (&person_id, &grant_id), parts).await? {
            Ok(_) => bail!("health was sent without consent"),
            Err(refused) => Ok(refused),
        }
    }

    /// Makes a lifecycle move at an organisation.
    pub(super) async fn moves(
        &mut self,
        org: Org,
        sent: &Sent,
        step: Move,
        reason: Option<Reason>,
    ) -> anyhow::Result<()> {
        let mut client = self.network.client(org).await?;
        let request = v1::MoveReferralRequest {
            request_id: client.request_id()?,
            thread_id: sent.thread_id.clone(),
            r#move: step.number(),
            reason: reason.map(Reason::number).unwrap_or_default(),
            words: String::new(),
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

    /// Waits until an organisation's copy is in this state.
    pub(super) async fn expect(
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
    pub(super) async fn expect_delivery(
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
    pub(super) async fn open(&mut self, org: Org, sent: &Sent) -> anyhow::Result<String> {
        let thread = self.thread(org, sent).await?;
        let referral = thread.referral.context("the referral has no content")?;
        let fields = referral.parts.into_iter().flat_map(|part| part.fields);
        Ok(fields.map(|field| field.value + "\n").collect())
    }

    /// The reason of the last event of a thread.
    pub(super) async fn last_reason(&mut self, org: Org, sent: &Sent) -> anyhow::Result<Option<Reason>> {
        let thread = self.thread(org, sent).await?;
        let last = thread.events.last().context("the thread has no events")?;
        Ok(Reason::try_from(last.reason).ok())
    }

    async fn thread(&mut self, org: Org, sent: &Sent) -> anyhow::Result<v1::Thread> {
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
    pub(super) async fn withdraw(&mut self, org: Org, sent: &Sent) -> anyhow::Result<()> {
        let mut client = self.network.client(org).await?;
        let request = v1::WithdrawGrantRequest {
            request_id: client.request_id()?,
            grant_id: sent.grant_id.clone(),
            scope: v1::WithdrawalScope::Consent.into(),
            recipient: String::new(),
            invalidated: false,
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
    pub(super) async fn expect_proof(&mut self, org: Org, sent: &Sent) -> anyhow::Result<()> {
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

    /// Checks that an organisation's inbox holds exactly so many readable threads from a sender.
    pub(super) async fn no_inbox_line_about(
        &mut self,
        org: Org,
        from: Org,
        readable: usize,
    ) -> anyhow::Result<()> {
        let mut client = self.network.client(org).await?;
        let request = v1::ListReferralsRequest {
            side: v1::Side::Inbox.into(),
            ..v1::ListReferralsRequest::default()
        };
        let listed = client
            .referrals
            .list_referrals(request)
            .await
            .map_err(Refused::from)?
            .into_inner();
        let live = v1::ConsentState::Live;
        let lines = listed.referrals.iter();
        let found = lines
            .filter(|line| line.organisation == from.id && line.consent() == live)
            .count();
        ensure!(
            found == readable,
            "{} holds {found} threads from {}",
            org.name,
            from.name
        );
        self.say(&format!("{}'s inbox shows nothing of it.", org.name))
    }
}

/// Records person and consent; returns their ids.
async fn record(client: &mut Client, ask: Ask) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let person = ask.person;
    let request = v1::CreatePersonRequest {
        request_id: client.request_id()?,
        parts: known_of(person),
    };
    let created = client.persons.create_person(request).await;
    let person_id = created.map_err(Refused::from)?.into_inner().person_id;
    let statement = v1::GetStatementRequest {
        statement_id: String::new(),
        language: "en".to_owned(),
    };
    let statement = client
        .consent
        .get_statement(statement)
        .await
        .map_err(Refused::from)?
        .into_inner();
    let statement = statement.statement.context("no statement")?;
    let request = v1::RecordGrantRequest {
        request_id: client.request_id()?,
        person_id: person_id.clone(),
        capture: Some(v1::Capture {
            given_by: v1::GivenBy::Person.into(),
            given_how: v1::GivenHow::InPerson.into(),
            language: person.language.to_owned(),
            interpreter: v1::Interpreter::Professional.into(),
            read_aloud: true,
            understood: "They may know my name and what I asked for; I can stop it.".to_owned(),
            statement_id: statement.statement_id,
            statement_language: statement.language,
            text_hash: statement.text_hash,
        }),
        allowed: vec![v1::Allowed {
            recipient: ask.to.id.to_owned(),
            categories: ask.categories.iter().map(|category| category.number()).collect(),
            purposes: vec![ask.purpose.number()],
            progress: true,
        }],
        lawful_basis: v1::LawfulBasis::Consent.into(),
        expires_at_ms: 0,
    };
    let granted = client
        .consent
        .record_grant(request)
        .await
        .map_err(Refused::from)?
        .into_inner();
    Ok((person_id, granted.grant_id))
}

/// Sends one referral over the bulk stream and returns its answer.
async fn send(
    client: &mut Client,
    ask: Ask,
    (person_id, grant_id): (&[u8], &[u8]),
    parts: Vec<v1::Part>,
) -> anyhow::Result<Result<v1::SendReferralResponse, Refused>> {
    let own = [Category::Identity, Category::Contact, Category::Communication];
    let along = own.iter().filter(|category| ask.categories.contains(category));
    let referral = v1::SendReferralRequest {
        request_id: client.request_id()?,
        person_id: person_id.to_vec(),
        grant_id: grant_id.to_vec(),
        recipient: ask.to.id.to_owned(),
        purpose: ask.purpose.number(),
        parts,
        categories: along.map(|category| category.number()).collect(),
        answer_by_ms: 0,
    };
    let requests = tokio_stream::iter([v1::SendReferralsRequest {
        referral: Some(referral),
    }]);
    let mut answers = client
        .referrals
        .send_referrals(requests)
        .await
        .map_err(Refused::from)?
        .into_inner();
    let answer = answers
        .message()
        .await
        .map_err(Refused::from)?
        .context("no answer")?;
    match answer.outcome.context("an empty answer")? {
        Outcome::Sent(sent) => Ok(Ok(sent)),
        Outcome::Refused(refused) => Ok(Err(Refused {
            problem: refused.problem.try_into()?,
            sentence: refused.sentence,
            fields: refused
                .fields
                .into_iter()
                .map(|f| (f.field, f.sentence))
                .collect(),
        })),
    }
}

fn part(category: Category, fields: &[(&str, &str)]) -> v1::Part {
    let fields = fields.iter().map(|(name, value)| v1::Field {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    });
    v1::Part {
        category: category.number(),
        fields: fields.collect(),
    }
}

fn listed(categories: &[Category]) -> String {
    let words: Vec<&str> = categories.iter().map(|category| category.as_str()).collect();
    words.join(", ")
}

fn plain(word: &str) -> String {
    word.replace('_', " ")
}

/// What an organisation knows of a person, without what is empty.
fn known_of(person: Person) -> Vec<v1::Part> {
    let parts = [
        (Category::Identity, "preferred_name", person.name),
        (Category::Identity, "birth_date", person.born),
        (Category::Communication, "languages", person.language),
        (Category::Contact, "safe_phone", person.phone),
    ];
    let mut known: Vec<v1::Part> = Vec::new();
    for (category, name, value) in parts.into_iter().filter(|(_, _, value)| !value.is_empty()) {
        let mut new = part(category, &[(name, value)]);
        match known.iter_mut().find(|part| part.category == new.category) {
            Some(part) => part.fields.append(&mut new.fields),
            None => known.push(new),
        }
    }
    known
}
