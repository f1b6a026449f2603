//! `kith-node refer`: sends one referral of a recorded person under a recorded grant.
//! Called by the command line's dispatch; talks to the node's `ReferralService`.
//! It must never widen what is shared: what the grant leaves out is refused by the node, and that is shown.

use super::consent::grants_of;
use super::person::Told;
use super::say::{day, end_of_day_ms, hex, id};
use super::talk::{Client, answer_to, ask};
use anyhow::bail;
use kith_proto::lifecycle::Consent;
use kith_proto::v1;
use kith_proto::words::Category;
use serde_json::json;

/// What to ask, of whom, for whom.
#[derive(clap::Args, Debug)]
pub(crate) struct Refer {
    /// The person: id or name.
    #[arg(long)]
    person: String,
    /// The organisation to ask, such as `tigrinya-circle`.
    #[arg(long)]
    to: String,
    /// What for: care, peer_support, settlement, education, practical_help.
    #[arg(long = "for", value_name = "PURPOSE")]
    purpose: String,
    /// What is added for this referral: `--need` above all.
    #[command(flatten)]
    told: Told,
    /// Which parts of the person's record go along: identity, contact, communication, need, health, …
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    share: Vec<String>,
    /// The grant; left out, the newest that holds for this organisation.
    #[arg(long)]
    grant: Option<String>,
    /// The last day for an answer, as 2026-11-23; a week when left out.
    #[arg(long, value_name = "DAY")]
    answer_by: Option<String>,
}

/// Sends it.
pub(crate) async fn run(client: &Client, refer: Refer) -> anyhow::Result<()> {
    let person_id = client.person(&refer.person).await?;
    let grant_id = match refer.grant {
        Some(grant) => id(&grant)?,
        None => grant_for(client, &person_id, &refer.to).await?,
    };
    let categories = refer
        .share
        .iter()
        .map(|text| super::category(text.trim()).map(Category::number));
    let parts = refer.told.parts()?;
    let told = parts.clone();
    let asked = v1::SendReferralRequest {
        request_id: client.request_id()?,
        person_id,
        grant_id,
        recipient: refer.to.clone(),
        purpose: super::purpose(&refer.purpose)?.number(),
        parts,
        categories: categories.collect::<anyhow::Result<_>>()?,
        answer_by_ms: refer
            .answer_by
            .as_deref()
            .map(end_of_day_ms)
            .transpose()?
            .unwrap_or(0),
    };
    let sent = answer_to(client.referrals().send_referral(ask(asked)).await, &[], &told)?;
    let sentence = format!(
        "On its way to {} as {}. They have until {} to answer.",
        refer.to,
        sent.code,
        day(sent.deadline_ms)
    );
    let value = json!({ "thread": hex(&sent.thread_id), "code": sent.code, "deadline_ms": sent.deadline_ms });
    client.out.say(&sentence, &value)
}

/// The newest grant of a person that holds for an organisation.
async fn grant_for(client: &Client, person_id: &[u8], to: &str) -> anyhow::Result<Vec<u8>> {
    let grants = grants_of(client, person_id.to_vec()).await?;
    let holds = |g: &&v1::Grant| {
        g.state == Consent::Live.number() && g.allowed.iter().any(|allowed| allowed.recipient == to)
    };
    match grants.iter().filter(holds).max_by_key(|g| g.given_at_ms) {
        Some(grant) => Ok(grant.grant_id.clone()),
        None => bail!(
            "This person has not agreed that anything is shared with {to}. Ask them first, then use `kith-node consent record`."
        ),
    }
}
