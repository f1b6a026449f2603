//! A signed service: its own member's, of the key in force when it was made, with fields within their limits.
use super::*;
use crate::sign::SigningKey;

const T0: i64 = 1_800_000_000_000;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed([n; 32]).unwrap()
}

fn binding(number: u64, key_number: u8, effective_at_ms: i64) -> Binding {
    Binding {
        number,
        signing_key: key(key_number).public(),
        sealing_key: SealingPublicKey::from_bytes(&[key_number; 1216]).unwrap(),
        made_at_ms: effective_at_ms,
        effective_at_ms,
        rekey: false,
        hash: [0; 32],
    }
}

/// Key 4 from T0, key 5 from T0 + 100.
fn member(org: &str) -> Member {
    Member {
        network: "camden.example".parse().unwrap(),
        org: org.parse().unwrap(),
        kind: OrganisationKind::PeerGroup,
        name: "Women's Circle".to_owned(),
        invite_id: InviteId::from_bytes([1; 16]),
        bindings: vec![binding(1, 4, T0), binding(2, 5, T0 + 100)],
    }
}

fn service() -> v1::Service {
    v1::Service {
        service_id: vec![7; 16],
        network: "camden.example".to_owned(),
        organisation: "womens-circle".to_owned(),
        name: "Tea on Tuesdays".to_owned(),
        purposes: vec![2],
        languages: vec!["ti".to_owned(), "en".to_owned()],
        minimum_categories: vec![1, 2],
        place: "Library, room 2".to_owned(),
        schedule: "Tuesdays 14:00".to_owned(),
        paused: false,
        places_per_week: 6,
        made_at_ms: T0 + 10,
    }
}

#[test]
fn the_members_own_service_of_the_key_in_force_is_believed() {
    let signed = issue_service(&key(4), &service()).unwrap();
    assert_eq!(
        verify_service(&signed, &member("womens-circle"), T0 + 500),
        Ok(service())
    );
}

#[test]
fn another_members_an_old_keys_or_an_altered_service_is_not() {
    let signed = issue_service(&key(4), &service()).unwrap();
    let refused =
        |signed: &v1::Signed, org: &str| verify_service(signed, &member(org), T0 + 500).unwrap_err();
    assert_eq!(refused(&signed, "other-circle"), TrustError::Foreign);
    let mut late = service();
    late.made_at_ms = T0 + 200;
    assert_eq!(
        refused(&issue_service(&key(4), &late).unwrap(), "womens-circle"),
        TrustError::Forged
    );
    assert_eq!(
        refused(&issue_service(&key(6), &service()).unwrap(), "womens-circle"),
        TrustError::Forged
    );
    let mut altered = signed.clone();
    altered.statement[30] ^= 1;
    assert_eq!(refused(&altered, "womens-circle"), TrustError::Forged);
    late.made_at_ms = T0 + 500 + CLOCK_SKEW_MS + 1;
    assert_eq!(
        refused(&issue_service(&key(5), &late).unwrap(), "womens-circle"),
        TrustError::Clock
    );
}

#[test]
fn fields_beyond_their_limits_are_not_signed() {
    type Change = fn(&mut v1::Service);
    let table: [(Change, TrustError); 12] = [
        (|s| s.service_id.push(1), TrustError::Malformed),
        (|s| s.name.clear(), TrustError::Malformed),
        (|s| s.name.push_str("\u{202e}pg"), TrustError::Malformed),
        (|s| s.name.insert(0, '\u{2067}'), TrustError::Malformed),
        (|s| s.place = "x".repeat(501), TrustError::TooLarge),
        (|s| s.place.push('\u{202c}'), TrustError::Malformed),
        (|s| s.schedule.push('\n'), TrustError::Malformed),
        (|s| s.languages = vec!["en".to_owned(); 51], TrustError::TooLarge),
        (|s| s.languages.push("e n".to_owned()), TrustError::Malformed),
        (|s| s.purposes = vec![2, 2], TrustError::Malformed),
        (|s| s.minimum_categories.push(99), TrustError::Malformed),
        (|s| s.made_at_ms = -1, TrustError::Clock),
    ];
    for (change, error) in table {
        let mut changed = service();
        change(&mut changed);
        assert_eq!(issue_service(&key(4), &changed).unwrap_err(), error);
    }
}
