//! A filter, and what of an event it looks at: which keys lead to the events it may mean, and which of those it means.
//! Called by whatever reads the trail.
//! Never decides by a key alone: two things may share one, so every event that was found is read and looked at.
//!
//! | asked about | found by |
//! |---|---|
//! | a referral | its thread, its slip, and the grant that the slip is of |
//! | a grant | itself, its slips, and their threads |
//! | a person | their record, and their grants with all of the above |
//!
//! An organisation, category, role or code is looked for in the event itself. A purpose too, but where an event is about a thread
//! and names none, the thread's own counts: a referral's moves and receipts were for what the referral was for.

use kith_proto::human_code::HumanCode;
use kith_proto::id::{GrantId, OrgId, PersonId, SlipId, ThreadId};
use kith_proto::trail::event::Told;
use kith_proto::trail::key::{self, ORGANISATIONS};
use kith_proto::words::{Category, Purpose};
use kith_service::log::LogError;
use kith_service::log::append::Stored;
use kith_service::store::Tx;
use std::collections::{BTreeMap, BTreeSet};

use super::TrailError;
use crate::audit::Code;
use crate::store::{threads_view, trail};
use crate::tokens::Role;

/// Most things that one question may be about: a person with 500 referrals. Each costs a look into the index.
const SUBJECTS_MAX: usize = 512;
/// Longest span that is found by its days; a longer one is read through.
const DAYS_MAX: i64 = 62;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What a trail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A referral, by the code that people read out.
    Code(HumanCode),
    /// A referral, by its thread.
    Thread(ThreadId),
    /// A grant with everything that rests on it.
    Grant(GrantId),
    /// A person's record with everything that rests on it.
    Person(PersonId),
}

/// Which lines: what is set must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What they are about.
    pub about: Option<About>,
    /// The other organisation.
    pub organisation: Option<OrgId>,
    /// For what.
    pub purpose: Option<Purpose>,
    /// Which part was shared or allowed.
    pub category: Option<Category>,
    /// In which role somebody acted.
    pub role: Option<Role>,
    /// What happened.
    pub code: Option<Code>,
    /// From this time on, in milliseconds UTC; 0 for the beginning.
    pub from_ms: i64,
    /// Before this time; 0 for no end.
    pub until_ms: i64,
}

impl Filter {
    /// The narrowest thing it asks for, in one word: what the trail says of a reading.
    pub fn kind(&self) -> &'static str {
        match self {
            Self {
                about: Some(About::Code(_) | About::Thread(_)),
                ..
            } => "referral",
            Self {
                about: Some(About::Grant(_)),
                ..
            } => "grant",
            Self {
                about: Some(About::Person(_)),
                ..
            } => "person",
            Self {
                organisation: Some(_),
                ..
            } => "organisation",
            Self {
                category: Some(_), ..
            } => "category",
            Self { role: Some(_), .. } => "role",
            Self { code: Some(_), .. } => "code",
            Self { purpose: Some(_), .. } => "purpose",
            Self {
                from_ms: 0,
                until_ms: 0,
                ..
            } => "everything",
            _ => "time",
        }
    }

    /// From when until when, the end exclusive.
    pub(super) const fn span_ms(&self) -> (i64, i64) {
        let until_ms = if self.until_ms == 0 {
            i64::MAX
        } else {
            self.until_ms
        };
        (self.from_ms, until_ms)
    }
}

/// A filter with everything that it is about.
pub(super) struct Question {
    filter: Filter,
    /// Lines, one of which an event must have: name and value. None when it is about nothing in particular.
    subjects: Option<BTreeSet<(&'static str, [u8; 16])>>,
}

impl Question {
    /// Looks up what the filter is about. [`TrailError::NotFound`] and [`TrailError::Ambiguous`] of a code, [`TrailError::TooMuch`]
    /// of a person or grant with too many referrals.
    pub(super) async fn of(tx: &mut Tx, filter: &Filter) -> Result<Self, TrailError> {
        let mut filter = filter.clone();
        if let Some(About::Code(code)) = filter.about {
            filter.about = Some(About::Thread(by_code(tx, code).await?));
        }
        let subjects = match filter.about {
            None => None,
            Some(about) => Some(subjects(tx, about).await?),
        };
        Ok(Self { filter, subjects })
    }

    /// The question as an export writes it: filter to value, ids in hexadecimal, a referral by its thread.
    pub(super) fn written(&self) -> BTreeMap<String, String> {
        let filter = &self.filter;
        let about = match filter.about {
            Some(About::Thread(thread)) => Some(("thread", hex(thread.as_bytes()))),
            Some(About::Grant(grant)) => Some(("grant", hex(grant.as_bytes()))),
            Some(About::Person(person)) => Some(("person", hex(person.as_bytes()))),
            Some(About::Code(_)) | None => None,
        };
        let time = |name, at_ms: i64| (at_ms != 0).then(|| (name, at_ms.to_string()));
        let word = |name, word: Option<&'static str>| word.map(|word| (name, word.to_owned()));
        let org = filter.organisation.as_ref();
        let asked = [
            about,
            org.map(|org| ("organisation", org.to_string())),
            word("purpose", filter.purpose.map(Purpose::as_str)),
            word("category", filter.category.map(Category::as_str)),
            word("role", filter.role.map(Role::as_str)),
            word("code", filter.code.map(Code::as_str)),
            time("from_ms", filter.from_ms),
            time("until_ms", filter.until_ms),
        ];
        let asked = asked.into_iter().flatten();
        asked.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// From when until when, the end exclusive.
    pub(super) const fn span_ms(&self) -> (i64, i64) {
        self.filter.span_ms()
    }

    /// Sets of keys, each of which finds every event that is meant. The first is the narrowest where it is about something.
    pub(super) fn ways(&self) -> Vec<Vec<i64>> {
        if let Some(subjects) = &self.subjects {
            let keys = subjects.iter().map(|(name, id)| key::key(name, &hex(id)));
            return vec![keys.collect()];
        }
        let filter = &self.filter;
        let mut ways = Vec::new();
        if let Some(org) = &filter.organisation {
            ways.push(vec![key::key("organisation", org.as_str())]);
        }
        if let Some(category) = filter.category {
            ways.push(vec![key::key("category", category.as_str())]);
        }
        if let Some(role) = filter.role {
            ways.push(vec![key::key("role", role.as_str())]);
        }
        if let Some(code) = filter.code {
            ways.push(vec![key::key("code", code.as_str())]);
        }
        let (from_ms, until_ms) = filter.span_ms();
        let days = until_ms.saturating_sub(from_ms).div_euclid(DAY_MS);
        if (0..DAYS_MAX).contains(&days) {
            // One more, as a span of a day lies in two.
            let starts = (0..=days + 1).map(|day| from_ms.saturating_add(day * DAY_MS));
            ways.push(
                starts
                    .filter(|start| start.div_euclid(DAY_MS) <= until_ms.div_euclid(DAY_MS))
                    .map(key::day)
                    .collect(),
            );
        }
        ways
    }

    /// Those of these events that are meant, in their order.
    pub(super) async fn matching(&self, tx: &mut Tx, events: Vec<Stored>) -> Result<Vec<Stored>, TrailError> {
        let with = self.with_purposes(tx, events).await?;
        Ok(with.into_iter().map(|(event, _)| event).collect())
    }

    /// Those of these events that are meant, in their order, with what they were for.
    pub(super) async fn with_purposes(
        &self,
        tx: &mut Tx,
        events: Vec<Stored>,
    ) -> Result<Vec<(Stored, Vec<Purpose>)>, TrailError> {
        let mut meant = Vec::with_capacity(events.len());
        for event in events {
            let told = Told::read(&event.preimage).map_err(|_| LogError::Broken(event.seq))?;
            if self.means(&told) {
                let thread = told.id("thread");
                let own: Vec<Purpose> = told.all("purpose").filter_map(|p| p.parse().ok()).collect();
                meant.push((event, own, thread));
            }
        }
        let mut threads: Vec<[u8; 16]> = meant
            .iter()
            .filter(|(_, own, _)| own.is_empty())
            .filter_map(|(_, _, thread)| *thread)
            .collect();
        threads.sort_unstable();
        threads.dedup();
        let of_threads: BTreeMap<[u8; 16], Purpose> =
            trail::purposes(tx, &threads).await?.into_iter().collect();
        let with = meant.into_iter().map(|(event, mut own, thread)| {
            if own.is_empty() {
                own.extend(thread.and_then(|thread| of_threads.get(&thread)));
            }
            (event, own)
        });
        let wanted = self.filter.purpose;
        Ok(with
            .filter(|(_, purposes)| wanted.is_none_or(|wanted| purposes.contains(&wanted)))
            .collect())
    }

    /// Everything but the purpose.
    fn means(&self, told: &Told<'_>) -> bool {
        let filter = &self.filter;
        let (from_ms, until_ms) = filter.span_ms();
        let says = |name: &str, word: &str| told.all(name).any(|value| value == word);
        let about = self
            .subjects
            .as_ref()
            .is_none_or(|subjects| is_about(told, subjects));
        let org = |org: &OrgId| ORGANISATIONS.iter().any(|name| says(name, org.as_str()));
        about
            && (from_ms..until_ms).contains(&told.at_ms)
            && filter.organisation.as_ref().is_none_or(org)
            && filter
                .category
                .is_none_or(|category| says("category", category.as_str()))
            && filter.role.is_none_or(|role| says("role", role.as_str()))
            && filter.code.is_none_or(|code| told.code == code)
    }
}

/// Whether something that an event is found by is among these.
fn is_about(told: &Told<'_>, subjects: &BTreeSet<(&'static str, [u8; 16])>) -> bool {
    key::subjects(told).any(|(name, value)| {
        let bytes = data_encoding::HEXLOWER.decode(value.as_bytes()).ok();
        let id: Option<[u8; 16]> = bytes.and_then(|bytes| bytes.try_into().ok());
        id.is_some_and(|id| subjects.iter().any(|(of, subject)| *of == name && *subject == id))
    })
}

async fn subjects(tx: &mut Tx, about: About) -> Result<BTreeSet<(&'static str, [u8; 16])>, TrailError> {
    let mut found = BTreeSet::new();
    if let About::Thread(thread) = about {
        found.insert(("thread", *thread.as_bytes()));
        if let Some(slip) = trail::slip_of(tx, &thread).await? {
            found.insert(("slip", *slip.as_bytes()));
            let grant = trail::grant_of(tx, &slip).await?;
            found.extend(grant.map(|grant| ("grant", *grant.as_bytes())));
        }
        return Ok(found);
    }
    let grants: Vec<GrantId> = match about {
        About::Person(person) => {
            found.insert(("person", *person.as_bytes()));
            let limit = i64::try_from(SUBJECTS_MAX).unwrap_or(i64::MAX);
            trail::grants_of(tx, &person, limit).await?
        }
        About::Grant(grant) => vec![grant],
        _ => Vec::new(),
    };
    let slips: Vec<SlipId> = trail::slips_of(tx, &grants).await?;
    let threads = trail::threads_of(tx, &slips).await?;
    found.extend(grants.iter().map(|grant| ("grant", *grant.as_bytes())));
    found.extend(slips.iter().map(|slip| ("slip", *slip.as_bytes())));
    found.extend(threads.iter().map(|thread| ("thread", *thread.as_bytes())));
    if found.len() > SUBJECTS_MAX {
        return Err(TrailError::TooMuch);
    }
    Ok(found)
}

async fn by_code(tx: &mut Tx, code: HumanCode) -> Result<ThreadId, TrailError> {
    let lines = threads_view::by_code(tx, code.thread_prefix()).await?;
    match lines.as_slice() {
        [] => Err(TrailError::NotFound),
        [line] => Ok(line.thread_id),
        _ => Err(TrailError::Ambiguous),
    }
}

fn hex(id: &[u8; 16]) -> String {
    data_encoding::HEXLOWER.encode(id)
}
