//! Names of people, in memory only: built at start from sealed parts, kept up to date after each commit.
//! Called by [`persons`](super) alone. A name is found by its beginning, or that of any of its words, in any script.
//! Never written to disk, never logged; `Debug` shows a count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{PoisonError, RwLock};

use kith_proto::id::{HoldingId, PersonId, TokenId};
use kith_proto::v1;
use kith_proto::words::Category;
use kith_service::store::{Store, Tx};
use prost::Message as _;

use crate::content::{Content, ContentError, HoldingKeys, Section};
use crate::node::OpenError;
use crate::parts::Parts;
use crate::store;
use crate::store::content::ContentKind;

/// Persons read at once while the index is built.
const PAGE: i64 = 256;

/// What one person is called.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Called {
    preferred: String,
    others: String,
}

/// One line of a list.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The person.
    pub person_id: PersonId,
    /// The name they prefer.
    pub preferred_name: String,
}

/// A place in a list: it goes on after this person under this name, even if both have gone meanwhile.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct After {
    folded: String,
    person_id: PersonId,
}

/// The index.
#[derive(Default)]
pub struct Names(RwLock<Index>);

#[derive(Default)]
struct Index {
    people: BTreeMap<PersonId, Entry>,
    /// Folded beginnings: each whole name and each word of it.
    keys: BTreeSet<(String, PersonId)>,
}

struct Entry {
    owner: TokenId,
    preferred: String,
    keys: BTreeSet<String>,
}

impl Line {
    /// The place after this line.
    pub fn place(&self) -> After {
        After {
            folded: fold(&self.preferred_name),
            person_id: self.person_id,
        }
    }
}

impl After {
    /// The place after a person whose line was the last one shown, for a page token that names no one; `None` when they
    /// are no longer listed.
    pub fn person(names: &Names, person_id: PersonId) -> Option<Self> {
        let index = names.0.read().unwrap_or_else(PoisonError::into_inner);
        index.people.get(&person_id).map(|entry| Self {
            folded: fold(&entry.preferred),
            person_id,
        })
    }
}

impl Names {
    /// Adds a person, or replaces what they are called.
    pub(crate) fn put(&self, person_id: PersonId, owner: TokenId, called: Called) {
        let mut index = self.0.write().unwrap_or_else(PoisonError::into_inner);
        index.remove(&person_id);
        let keys = keys(&called);
        index.keys.extend(keys.iter().map(|key| (key.clone(), person_id)));
        index.people.insert(
            person_id,
            Entry {
                owner,
                preferred: called.preferred,
                keys,
            },
        );
    }

    /// Forgets a person.
    pub fn remove(&self, person_id: &PersonId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(person_id);
    }

    /// People of this owner (or of all) with a name that begins so, by preferred name, after a place, at most so many.
    pub(crate) fn find(
        &self,
        name: &str,
        owner: Option<TokenId>,
        (after, limit): (Option<&After>, usize),
    ) -> Vec<Line> {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = index.matching(&fold(name));
        let entries = found
            .into_iter()
            .filter_map(|id| index.people.get(&id).map(|entry| (id, entry)));
        let mine = entries.filter(|(_, entry)| owner.is_none_or(|owner| entry.owner == owner));
        let mut lines: Vec<(After, &str)> = mine
            .map(|(person_id, entry)| {
                (
                    After {
                        folded: fold(&entry.preferred),
                        person_id,
                    },
                    entry.preferred.as_str(),
                )
            })
            .filter(|(place, _)| after.is_none_or(|after| place > after))
            .collect();
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        lines.truncate(limit);
        let line = |(place, name): (After, &str)| Line {
            person_id: place.person_id,
            preferred_name: name.to_owned(),
        };
        lines.into_iter().map(line).collect()
    }
}

impl Index {
    fn matching(&self, folded: &str) -> BTreeSet<PersonId> {
        if folded.is_empty() {
            return self.people.keys().copied().collect();
        }
        let from = (folded.to_owned(), PersonId::from_bytes([0; 16]));
        let found = self
            .keys
            .range(from..)
            .take_while(|(key, _)| key.starts_with(folded));
        found.map(|(_, person_id)| *person_id).collect()
    }

    fn remove(&mut self, person_id: &PersonId) {
        for key in self
            .people
            .remove(person_id)
            .map(|entry| entry.keys)
            .unwrap_or_default()
        {
            self.keys.remove(&(key, *person_id));
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Names({})", index.people.len())
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?})", self.person_id)
    }
}

/// What the parts say that somebody is called; `None` without a preferred name.
pub(crate) fn of(parts: &Parts) -> Option<Called> {
    let (_, identity) = parts
        .iter()
        .find(|(category, _)| *category == Category::Identity)?;
    of_identity(identity)
}

fn of_identity(identity: &v1::Part) -> Option<Called> {
    let value = |name: &str| {
        identity
            .fields
            .iter()
            .find(|f| f.name == name)
            .map(|f| f.value.trim().to_owned())
    };
    let preferred = value("preferred_name")?;
    Some(Called {
        preferred,
        others: value("other_names").unwrap_or_default(),
    })
}

/// Each name, and each word of it.
fn keys(called: &Called) -> BTreeSet<String> {
    let separate = |c: char| matches!(c, ',' | ';' | '\n' | '،' | '፣' | '、');
    let names = std::iter::once(called.preferred.as_str()).chain(called.others.split(separate));
    let mut keys = BTreeSet::new();
    for name in names.map(fold) {
        keys.extend(
            name.split([' ', '-'])
                .filter(|word| !word.is_empty())
                .map(str::to_owned),
        );
        keys.insert(name);
    }
    keys.remove("");
    keys
}

/// One form for comparison: lower case, runs of white space as one space.
fn fold(name: &str) -> String {
    name.to_lowercase()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Builds the index from the sealed identity parts of everybody whose holding lives.
pub async fn load_names(store: &Store, content: &Content) -> Result<Names, OpenError> {
    let names = Names::default();
    let mut after: Vec<u8> = Vec::new();
    loop {
        let from = &after;
        let page = |mut tx: Tx| async move {
            let people = store::person::page(&mut tx, from, PAGE).await?;
            let owners: Vec<[u8; 16]> = people.iter().map(|p| *p.person_id.as_bytes()).collect();
            let holdings: Vec<HoldingId> = people.iter().map(|p| p.holding_id).collect();
            let rows = store::content::of_owners(&mut tx, &owners).await?;
            Ok::<_, OpenError>((people, rows, store::holding::find(&mut tx, &holdings).await?))
        };
        let (people, rows, holdings) = store.read("load names", page).await?;
        let Some(last) = people.last() else {
            return Ok(names);
        };
        let mut keys: BTreeMap<HoldingId, HoldingKeys> = BTreeMap::new();
        for holding in &holdings {
            match content.unwrap(holding) {
                Ok(unwrapped) => drop(keys.insert(holding.holding_id, unwrapped)),
                Err(ContentError::Erased) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for row in rows {
            let owner = people.iter().find(|p| *p.person_id.as_bytes() == row.owner_id);
            let identity =
                row.kind == ContentKind::PersonPart && row.section == Section::Category(Category::Identity);
            if let (true, Some(person), Some(keys)) = (identity, owner, keys.get(&row.holding_id)) {
                let part = v1::Part::decode(row.open(keys)?.as_slice()).unwrap_or_default();
                if let Some(called) = of_identity(&part) {
                    names.put(person.person_id, person.owner_token, called);
                }
            }
        }
        after = last.person_id.as_bytes().to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[(u8, u8, &str, &str)]) -> Names {
        let names = Names::default();
        for (person, owner, preferred, others) in list {
            let called = Called {
                preferred: (*preferred).into(),
                others: (*others).into(),
            };
            names.put(
                PersonId::from_bytes([*person; 16]),
                TokenId::from_bytes([*owner; 16]),
                called,
            );
        }
        names
    }

    fn found(names: &Names, name: &str, owner: Option<u8>) -> Vec<u8> {
        let owner = owner.map(|o| TokenId::from_bytes([o; 16]));
        let lines = names.find(name, owner, (None, 100));
        lines.iter().map(|line| line.person_id.as_bytes()[0]).collect()
    }

    #[test]
    fn people_are_found_by_the_start_of_any_name_in_any_script() {
        let names = names(&[
            (1, 1, "Selam Tesfaye", "ሰላም ተስፋዬ, Lily"),
            (2, 1, "Олена Коваль", ""),
            (3, 2, "محمد علي", "Mohammed"),
            (4, 2, "Anne-Marie", ""),
        ]);
        for (name, who) in [
            ("sel", vec![1]),
            ("TESF", vec![1]),
            ("selam  tes", vec![1]),
            ("ሰላ", vec![1]),
            ("ተስፋ", vec![1]),
            ("lil", vec![1]),
            ("олен", vec![2]),
            ("علي", vec![3]),
            ("moh", vec![3]),
            ("marie", vec![4]),
            ("lam", vec![]),
            ("zz", vec![]),
        ] {
            assert_eq!(found(&names, name, None), who, "{name}");
        }
        assert_eq!(found(&names, "", None).len(), 4);
        assert_eq!(found(&names, "", Some(2)), [4, 3]);
        assert_eq!(found(&names, "sel", Some(2)), Vec::<u8>::new());
    }

    #[test]
    fn a_new_name_takes_the_place_of_the_old_and_pages_go_on() {
        let names = names(&[(1, 1, "b", ""), (2, 1, "a", ""), (3, 1, "c", "")]);
        let first = names.find("", None, (None, 2));
        assert_eq!(
            first
                .iter()
                .map(|l| l.person_id.as_bytes()[0])
                .collect::<Vec<_>>(),
            [2, 1]
        );
        let rest = names.find("", None, (Some(&first[1].place()), 2));
        assert_eq!(
            rest.iter().map(|l| l.person_id.as_bytes()[0]).collect::<Vec<_>>(),
            [3]
        );
        let called = Called {
            preferred: "z".into(),
            others: String::new(),
        };
        names.put(
            PersonId::from_bytes([2; 16]),
            TokenId::from_bytes([1; 16]),
            called,
        );
        assert_eq!(
            (found(&names, "a", None), found(&names, "z", None)),
            (vec![], vec![2])
        );
        names.remove(&PersonId::from_bytes([2; 16]));
        assert_eq!(found(&names, "z", None), Vec::<u8>::new());
    }
}
