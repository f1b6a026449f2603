//! A trail for tests: what filled it, and which of its events a filter means by a plain look at every one.
//! Used by the stories of trails. Never asks the code under test: the expected answer is worked out from the preimages alone.

use kith_proto::human_code::HumanCode;
use kith_proto::id::{GrantId, PersonId, ThreadId};
use kith_proto::trail::event::Told;
use kith_proto::words::{Category, Purpose};
use kith_service::store::{StoreError, Tx};
use std::collections::{BTreeMap, BTreeSet};

use super::fixture::{CIRCLE, NOW_MS, SCHOOL, Story, allowed, caller, org, somebody};
use crate::audit::Code;
use crate::threads::DAY_MS;
use crate::threads_view::{self, Opening, Visible, Which};
use crate::tokens::Role;
use crate::trail::{About, Filter};
use crate::{grants, persons, referrals};

/// What was made, for filters.
pub(crate) struct Made {
    pub(crate) persons: Vec<PersonId>,
    pub(crate) grants: Vec<GrantId>,
    pub(crate) threads: Vec<ThreadId>,
}

/// Three people, two grants each, referrals under most, openings and lists, over some days.
pub(crate) async fn fill(story: &Story) -> Made {
    let mut made = Made {
        persons: Vec::new(),
        grants: Vec::new(),
        threads: Vec::new(),
    };
    for round in 0..3 {
        let person = story.person(somebody("Selam Canary")).await;
        made.persons.push(person);
        for count in 0..2 {
            let recipients = vec![allowed(CIRCLE), allowed(SCHOOL)];
            let grant = story.new_grant(person, recipients);
            let grant = grants::record(&story.node, &story.caller, &grant).await.unwrap();
            let grant = GrantId::try_from(grant.grant_id.as_slice()).unwrap();
            made.grants.push(grant);
            for _ in 0..=(round + count) % 3 {
                let sent = story.referral(person, grant);
                let sent = referrals::send(&story.node, &story.caller, sent).await.unwrap();
                made.threads.push(sent.thread_id);
            }
            story.hand.advance(DAY_MS / 2 + 1);
        }
        let coordinator = caller(9, &[Role::Coordinator]);
        persons::get(&story.node, &coordinator, &person).await.unwrap();
        let opening = Opening {
            caller: coordinator,
            visible: Visible::All,
            which: Which::Thread(made.threads[0]),
        };
        threads_view::open(&story.node, &opening).await.unwrap();
        persons::list(&story.node, &story.caller, "", (None, 10))
            .await
            .unwrap();
    }
    made
}

/// Every event, newest first, as number and preimage.
pub(crate) async fn all(story: &Story) -> Vec<(i64, String)> {
    let read = |mut tx: Tx| async move {
        crate::store::trail::span(&mut tx, (0, i64::MAX), (0, i64::MAX), 100_000).await
    };
    let events = story
        .node
        .store
        .read::<_, StoreError, _, _>("all", read)
        .await
        .unwrap();
    events
        .into_iter()
        .map(|event| (event.seq, event.preimage))
        .collect()
}

pub(crate) fn hex(id: &[u8; 16]) -> String {
    data_encoding::HEXLOWER.encode(id)
}

/// What belongs to a subject, worked out from the events alone.
fn belongs(events: &[(i64, String)], about: About) -> BTreeSet<(String, String)> {
    let told: Vec<Told<'_>> = events.iter().map(|(_, text)| Told::read(text).unwrap()).collect();
    let mut ids: BTreeSet<(String, String)> = BTreeSet::new();
    let mut add = |name: &str, id: &str| ids.insert((name.to_owned(), id.to_owned()));
    let of = |name: &'static str, value: String, wanted: &'static str| -> Vec<String> {
        let with = told.iter().filter(|one| one.get(name) == Some(value.as_str()));
        with.filter_map(|one| one.get(wanted))
            .map(str::to_owned)
            .collect()
    };
    let thread = match about {
        About::Code(code) => told
            .iter()
            .filter_map(|one| one.id("thread"))
            .find(|id| HumanCode::of(&ThreadId::from_bytes(*id)) == code),
        About::Thread(thread) => Some(*thread.as_bytes()),
        About::Grant(_) | About::Person(_) => None,
    };
    if let Some(thread) = thread {
        add("thread", &hex(&thread));
        for slip in of("thread", hex(&thread), "slip") {
            add("slip", &slip);
            of("slip", slip, "grant").iter().for_each(|grant| {
                add("grant", grant);
            });
        }
        return ids;
    }
    let grants = match about {
        About::Grant(grant) => vec![hex(grant.as_bytes())],
        About::Person(person) => {
            add("person", &hex(person.as_bytes()));
            of("person", hex(person.as_bytes()), "grant")
        }
        About::Code(_) | About::Thread(_) => Vec::new(),
    };
    for grant in grants {
        add("grant", &grant);
        for slip in of("grant", grant, "slip") {
            add("slip", &slip);
            of("slip", slip, "thread").iter().for_each(|thread| {
                add("thread", thread);
            });
        }
    }
    ids
}

/// The numbers that a filter means, by looking at every event.
pub(crate) fn meant(
    events: &[(i64, String)],
    filter: &Filter,
    purposes: &BTreeMap<String, Purpose>,
) -> Vec<i64> {
    let ids = filter.about.map(|about| belongs(events, about));
    let is_meant = |told: &Told<'_>| {
        let says = |name: &str, value: &str| told.all(name).any(|one| one == value);
        let kinds: [&[&str]; 4] = [&["thread"], &["envelope", "slip"], &["grant"], &["person"]];
        let narrowest = kinds
            .into_iter()
            .find(|kind| kind.iter().any(|name| told.get(name).is_some()));
        let is_among = |ids: &BTreeSet<(String, String)>, name: &str| {
            told.all(name)
                .any(|id| ids.contains(&(name.to_owned(), id.to_owned())))
        };
        let about = ids
            .as_ref()
            .is_none_or(|ids| narrowest.is_some_and(|names| names.iter().any(|name| is_among(ids, name))));
        let organisation = filter.organisation.as_ref().is_none_or(|org| {
            ["organisation", "from", "to", "by", "for", "with"]
                .iter()
                .any(|name| says(name, org.as_str()))
        });
        let purpose = filter.purpose.is_none_or(|purpose| match told.get("purpose") {
            Some(_) => says("purpose", purpose.as_str()),
            None => told.get("thread").and_then(|thread| purposes.get(thread)) == Some(&purpose),
        });
        let until_ms = if filter.until_ms == 0 {
            i64::MAX
        } else {
            filter.until_ms
        };
        about
            && organisation
            && purpose
            && filter.category.is_none_or(|word| says("category", word.as_str()))
            && filter.role.is_none_or(|word| says("role", word.as_str()))
            && filter.code.is_none_or(|code| told.code == code)
            && told.at_ms >= filter.from_ms
            && told.at_ms < until_ms
    };
    let meant = events
        .iter()
        .filter(|(_, text)| is_meant(&Told::read(text).unwrap()));
    meant.map(|(seq, _)| *seq).collect()
}

/// Every sort of filter, alone and together.
pub(crate) fn filters(made: &Made) -> Vec<Filter> {
    let with = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    let abouts = [
        About::Thread(made.threads[0]),
        About::Code(HumanCode::of(&made.threads[1])),
        About::Grant(made.grants[2]),
        About::Person(made.persons[1]),
        About::Thread(ThreadId::from_bytes([0xee; 16])),
    ];
    let words = [
        with(&|filter| filter.organisation = Some(org(CIRCLE))),
        with(&|filter| filter.organisation = Some(org("nobody-here"))),
        with(&|filter| filter.purpose = Some(Purpose::PeerSupport)),
        with(&|filter| filter.purpose = Some(Purpose::Care)),
        with(&|filter| filter.category = Some(Category::Need)),
        with(&|filter| filter.role = Some(Role::Coordinator)),
        with(&|filter| filter.code = Some(Code::SlipIssued)),
        with(&|filter| (filter.from_ms, filter.until_ms) = (NOW_MS + DAY_MS, NOW_MS + 2 * DAY_MS)),
        with(&|filter| filter.from_ms = NOW_MS + DAY_MS),
        with(&|filter| filter.until_ms = NOW_MS + 1),
    ];
    let mut filters = vec![Filter::default()];
    filters.extend(abouts.map(|about| with(&|filter| filter.about = Some(about))));
    for one in &words {
        let mut more: Vec<Filter> = vec![one.clone(); abouts.len() + 2];
        for (filter, about) in more.iter_mut().zip(abouts) {
            filter.about = Some(about);
        }
        more[abouts.len()].role = Some(Role::Referrer);
        more[abouts.len()].code = Some(Code::EnvelopeSent);
        more[abouts.len() + 1].code = Some(Code::Opened);
        filters.extend(more);
    }
    filters.extend(words);
    filters
}
