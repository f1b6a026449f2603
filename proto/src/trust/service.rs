//! A service as its member signs it for the directory.
//! Nodes issue one when they publish, gateways verify it before they list it, every node verifies it before it is shown.
//! Never let a service speak for another organisation, never judge whether it is new: that is the caller's record.

use super::issue::{display_name, sign};
use super::{CLOCK_SKEW_MS, Member, TrustError, open};
use crate::sign::{Context, SigningKey};
use crate::text::is_of_a_name;
use crate::v1;
use crate::words::{Category, Purpose};

/// Most services of one member: a large organisation's teams and groups. The gateway refuses a further one and lists no more; a node
/// passes over what a listing has beyond it.
pub const SERVICES_PER_MEMBER_MAX: usize = 50;
/// Longest place or schedule of a service, in bytes.
pub const SERVICE_TEXT_BYTES_MAX: usize = 500;
/// Longest language tag, in bytes; BCP 47 asks for room for 35.
pub const LANGUAGE_BYTES_MAX: usize = 35;
/// Most languages of one service.
pub const LANGUAGES_MAX: usize = 50;

/// Signs a service with its member's key; [`TrustError`] when it is one that [`verify_service`] would refuse.
pub fn issue_service(key: &SigningKey, service: &v1::Service) -> Result<v1::Signed, TrustError> {
    check(service)?;
    sign(key, Context::Service, service)
}

/// Verifies a service by the key that its member had in force when it was made, and its fields.
pub fn verify_service(signed: &v1::Signed, member: &Member, now_ms: i64) -> Result<v1::Service, TrustError> {
    // Not believed yet: only says which of the member's keys to try.
    let claimed = member
        .bindings
        .iter()
        .rev()
        .find(|b| signed.signer == crate::sign::sha256(&[&b.signing_key.0]))
        .ok_or(TrustError::Forged)?;
    let service: v1::Service = open(signed, Context::Service, &claimed.signing_key)?;
    if service.network != member.network.as_str() || service.organisation != member.org.as_str() {
        return Err(TrustError::Foreign);
    }
    if service.made_at_ms > now_ms.saturating_add(CLOCK_SKEW_MS) {
        return Err(TrustError::Clock);
    }
    let in_force = member.key_at(service.made_at_ms).ok_or(TrustError::Clock)?;
    if in_force.signing_key != claimed.signing_key {
        return Err(TrustError::Forged);
    }
    check(&service)?;
    Ok(service)
}

fn check(service: &v1::Service) -> Result<(), TrustError> {
    let must = |holds: bool, error| if holds { Ok(()) } else { Err(error) };
    display_name(service.name.clone())?;
    for text in [&service.place, &service.schedule] {
        must(text.len() <= SERVICE_TEXT_BYTES_MAX, TrustError::TooLarge)?;
        must(text.chars().all(is_of_a_name), TrustError::Malformed)?;
    }
    must(service.service_id.len() == 16, TrustError::Malformed)?;
    must(service.languages.len() <= LANGUAGES_MAX, TrustError::TooLarge)?;
    let tag = |t: &String| {
        (2..=LANGUAGE_BYTES_MAX).contains(&t.len())
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    must(service.languages.iter().all(tag), TrustError::Malformed)?;
    let purposes = &service.purposes;
    let categories = &service.minimum_categories;
    must(
        purposes.iter().all(|p| Purpose::try_from(*p).is_ok()) && distinct(purposes),
        TrustError::Malformed,
    )?;
    must(
        categories.iter().all(|c| Category::try_from(*c).is_ok()) && distinct(categories),
        TrustError::Malformed,
    )?;
    must(service.made_at_ms >= 0, TrustError::Clock)
}

fn distinct(numbers: &[i32]) -> bool {
    let all: std::collections::BTreeSet<_> = numbers.iter().collect();
    all.len() == numbers.len()
}
