//! `kith-node organisations` and `service`: who is in the network and what they offer, and our own offer.
//! Called by the command line's dispatch; talks to the node's `DirectoryService`, or reads the data folder where keys are compared.
//! It must never show a member that the node has not verified.

use super::say::hex;
use super::talk::{Client, Talk, answer, ask, store_of};
use crate::keys::Membership;
use crate::members::Members;
use crate::node::{self, Config};
use anyhow::bail;
use kith_proto::four_words::four_words;
use kith_proto::id::OrgId;
use kith_proto::v1;
use kith_proto::words::{Category, OrganisationKind, Purpose};
use kith_service::clock::Clock;
use serde_json::{Value, json};

/// All of them, or one.
#[derive(clap::Args, Debug)]
pub(crate) struct Organisations {
    #[command(subcommand)]
    pub(crate) one: Option<One>,
}

/// What is asked about one.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum One {
    /// Show one, with four words that you and they compare by telephone.
    Show {
        /// Its id, such as harbour-welcome.
        organisation: String,
        /// The database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
}

/// Shows one, and the words by which its keys and ours are compared; also while the node does not run.
pub(crate) async fn show(talk: &Talk, one: One, clock: Clock) -> anyhow::Result<()> {
    let One::Show { organisation, store } = one;
    let organisation: OrgId = organisation
        .parse()
        .map_err(|_| anyhow::anyhow!("That is no id of an organisation. See `kith-node organisations`."))?;
    let folder = talk.folder()?;
    let me = Membership::load(&folder)?;
    let config = Config {
        store_url: store_of(&folder, store)?,
        folder,
        store_blocking: false,
    };
    let now_ms = clock.now_ms();
    let store = node::open_store(&config, &me, now_ms).await?;
    let members = Members::load(&me, &store, now_ms).await;
    store.close().await;
    let members = members?;
    let Some(listed) = members.get(&organisation) else {
        bail!("No organisation of this id is in the network. See `kith-node organisations`.");
    };
    let keys = |org| members.newest_keys_of(org);
    let (Some(ours), Some(theirs)) = (keys(&me.organisation), keys(&organisation)) else {
        bail!("The keys are not in the network's log yet; try again in a minute.");
    };
    let words = four_words(&ours.signing_key, &theirs.signing_key);
    let name = &listed.member.name;
    talk.out().say(
        &format!(
            "{organisation}  {name}\n    {}\nCall them on a number that you know, not on one that came with a message. Both see the same four \
             words on their own screens; if yours differ, send nothing and tell the network's owner.",
            words.join(" ")
        ),
        &json!({ "organisation": organisation.as_str(), "name": name, "words": words }),
    )
}

/// What this organisation offers. One service, replaced as a whole.
#[derive(clap::Args, Debug)]
pub(crate) struct Offer {
    /// Its name for people.
    #[arg(long)]
    name: String,
    /// What for: care, peer_support, settlement, education, practical_help.
    #[arg(long = "for", required = true, value_delimiter = ',', value_name = "PURPOSES")]
    purposes: Vec<String>,
    /// Languages spoken, such as en,ti.
    #[arg(long, value_delimiter = ',')]
    languages: Vec<String>,
    /// The least a referral must hold, such as identity,need.
    #[arg(long, value_delimiter = ',')]
    needs: Vec<String>,
    /// Where.
    #[arg(long, default_value = "")]
    place: String,
    /// When.
    #[arg(long, default_value = "")]
    schedule: String,
    /// Take no new people for now.
    #[arg(long)]
    paused: bool,
    /// Places a week; 0 when not said.
    #[arg(long, default_value_t = 0)]
    places_per_week: u32,
}

/// Lists the members.
pub(crate) async fn list(client: &Client) -> anyhow::Result<()> {
    let mut page_token = String::new();
    loop {
        let asked = v1::ListOrganisationsRequest {
            page_size: 0,
            page_token,
        };
        let page = answer(client.directory().list_organisations(ask(asked)).await)?;
        for organisation in &page.organisations {
            client
                .out
                .say(&sentence(organisation), &organisation_json(organisation))?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

/// Publishes what this organisation offers.
pub(crate) async fn offer(client: &Client, offer: Offer) -> anyhow::Result<()> {
    let purposes = offer
        .purposes
        .iter()
        .map(|text| super::purpose(text.trim()).map(Purpose::number));
    let needs = offer
        .needs
        .iter()
        .map(|text| super::category(text.trim()).map(Category::number));
    let service = v1::Service {
        name: offer.name,
        purposes: purposes.collect::<anyhow::Result<_>>()?,
        languages: offer.languages,
        minimum_categories: needs.collect::<anyhow::Result<_>>()?,
        place: offer.place,
        schedule: offer.schedule,
        paused: offer.paused,
        places_per_week: offer.places_per_week,
        ..Default::default()
    };
    let asked = v1::SetServiceRequest {
        request_id: client.request_id()?,
        service: Some(service),
    };
    let set = answer(client.directory().set_service(ask(asked)).await)?;
    client
        .out
        .say("Published.", &json!({ "service": hex(&set.service_id) }))
}

fn sentence(organisation: &v1::Organisation) -> String {
    let kind = super::word::<OrganisationKind>(organisation.kind).replace('_', " ");
    let mut text = format!("{}  {} ({kind})", organisation.organisation, organisation.name);
    if organisation.suspended {
        text.push_str("; suspended: only ends what is open");
    }
    for service in &organisation.services {
        let full = if service.paused {
            ", takes nobody new for now"
        } else {
            ""
        };
        text.push_str(&format!("\n    {}{full}", service.name));
    }
    text
}

fn organisation_json(organisation: &v1::Organisation) -> Value {
    let services = organisation.services.iter().map(|s| {
        json!({
            "service": hex(&s.service_id),
            "name": s.name,
            "purposes": s.purposes.iter().map(|p| super::word::<Purpose>(*p)).collect::<Vec<_>>(),
            "languages": s.languages,
            "minimum_categories": s.minimum_categories.iter().map(|c| super::word::<Category>(*c)).collect::<Vec<_>>(),
            "place": s.place,
            "schedule": s.schedule,
            "paused": s.paused,
            "places_per_week": s.places_per_week,
        })
    });
    json!({
        "organisation": organisation.organisation,
        "name": organisation.name,
        "kind": super::word::<OrganisationKind>(organisation.kind),
        "suspended": organisation.suspended,
        "services": services.collect::<Vec<_>>(),
    })
}
