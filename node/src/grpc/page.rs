//! Page tokens and watch cursors: where a list goes on, as text that callers pass back and never read.
//! Every listing handler makes and reads its tokens here.
//! It must never carry a name or anything else about a person: a token is the key of the last line shown.

use super::parse::{Fields, PAGE_TOKEN_BYTES_MAX};
use data_encoding::BASE64URL_NOPAD;
use kith_proto::problem::Problem;

/// Which list a token belongs to: one of another list is refused. The number is the token's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// `ListPersons`: after a person.
    Persons = 1,
    /// `ListGrants`: after a grant.
    Grants = 2,
    /// `ListReferrals` of what was sent: after a place in the order of sending.
    Sent = 3,
    /// `ListReferrals` of the inbox: after a place in the order of arrival.
    Inbox = 4,
    /// `WatchReferrals`: after a change.
    Changes = 5,
    /// `ListOrganisations`: after an organisation.
    Organisations = 6,
    /// `ListTrail`: before an event.
    Trail = 7,
}

/// Writes the token that goes on after this key.
pub(crate) fn token(list: List, key: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(key.len() + 1);
    bytes.push(list as u8);
    bytes.extend_from_slice(key);
    BASE64URL_NOPAD.encode(&bytes)
}

/// Reads a token back: the key, or `None` for the start of the list.
fn read(list: List, text: &str) -> Result<Option<Vec<u8>>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > PAGE_TOKEN_BYTES_MAX {
        return Err(());
    }
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| ())?;
    match bytes.split_first() {
        Some((first, key)) if *first == list as u8 => Ok(Some(key.to_vec())),
        _ => Err(()),
    }
}

impl Fields {
    /// The key that a page or watch goes on after, read by `key`; `None` inside for the start of the list.
    pub(crate) fn page_key<T>(
        &mut self,
        (field, text): (&str, &str),
        list: List,
        key: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<Option<T>> {
        let found = match read(list, text) {
            Ok(None) => return Some(None),
            Ok(Some(bytes)) => key(&bytes),
            Err(()) => None,
        };
        if found.is_none() {
            self.refuse(
                Problem::Invalid,
                field,
                "This is not from an earlier answer of the same list.",
            );
        }
        found.map(Some)
    }
}

/// Reads a key that is a number of 64 bits.
pub(crate) fn number(key: &[u8]) -> Option<i64> {
    <[u8; 8]>::try_from(key)
        .ok()
        .map(i64::from_be_bytes)
        .filter(|n| *n >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(list: List, text: &str) -> Result<Option<i64>, Problem> {
        let mut fields = Fields::new();
        let key = fields.page_key(("page_token", text), list, number);
        fields.finish(key).map_err(|failure| failure.problem)
    }

    #[test]
    fn a_token_goes_on_where_its_list_ended() {
        for at in [0, 1, i64::MAX] {
            let text = token(List::Sent, &at.to_be_bytes());
            assert_eq!(key_of(List::Sent, &text), Ok(Some(at)));
        }
        assert_eq!(key_of(List::Sent, ""), Ok(None));
    }

    #[test]
    fn a_token_of_another_list_or_making_is_refused() {
        let other = token(List::Inbox, &7_i64.to_be_bytes());
        let short = token(List::Sent, &[1, 2]);
        let negative = token(List::Sent, &(-1_i64).to_be_bytes());
        let long = "A".repeat(PAGE_TOKEN_BYTES_MAX + 1);
        for text in [other.as_str(), &short, &negative, &long, "?", "AA", "A"] {
            assert_eq!(key_of(List::Sent, text), Err(Problem::Invalid), "{text}");
        }
    }

    #[test]
    fn the_longest_key_fits_a_token() {
        let text = token(List::Organisations, &[b'a'; kith_proto::id::ORG_ID_BYTES_MAX]);
        assert!(text.len() <= PAGE_TOKEN_BYTES_MAX);
    }
}
