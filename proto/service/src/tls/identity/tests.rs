//! Which certificates name a member.

use super::*;
use crate::tls::fixture::{enrolled, issuing_key, odd, uri, week};
use proptest::prelude::*;
use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose, SanType};

const GOOD: &str = "spiffe://lune-valley.example/org/riverside-gp";

#[test]
fn a_members_certificate_names_it() {
    let issuer = issuing_key();
    let identity = Identity::from_der(&enrolled(&issuer, "riverside-gp", week()).leaf()).unwrap();
    assert_eq!(Identity::uri(&identity.network, &identity.org), GOOD);
    assert_eq!(identity.not_after_ms, week().not_after_ms);
    assert_eq!(
        Identity::from_der(&odd(&issuer, &[uri(GOOD)], |_| {}).leaf())
            .unwrap()
            .org,
        identity.org
    );
}

#[test]
fn anything_but_one_uri_is_refused() {
    let issuer = issuing_key();
    let dns = SanType::DnsName("lune-valley.example".try_into().unwrap());
    let mail = SanType::Rfc822Name("gp@lune-valley.example".try_into().unwrap());
    let address = SanType::IpAddress([127, 0, 0, 1].into());
    let table: [&[SanType]; 7] = [
        &[],
        &[uri(GOOD), uri(GOOD)],
        &[uri(GOOD), dns.clone()],
        &[dns.clone(), uri(GOOD)],
        &[dns],
        &[mail],
        &[address, uri(GOOD)],
    ];
    for names in table {
        let refused = Identity::from_der(&odd(&issuer, names, |_| {}).leaf());
        assert_eq!(refused, Err(IdentityError::Names), "{names:?}");
    }
}

#[test]
fn other_spellings_are_refused() {
    let issuer = issuing_key();
    for text in [
        "https://lune-valley.example/org/riverside-gp",
        "SPIFFE://lune-valley.example/org/riverside-gp",
        "spiffe://Lune-Valley.example/org/riverside-gp",
        "spiffe://lune-valley.example/org/riverside-gp/",
        "spiffe://lune-valley.example/org/riverside-gp/x",
        "spiffe://lune-valley.example/org/riverside-gp?x",
        "spiffe://lune-valley.example/org/",
        "spiffe://lune-valley.example/org",
        "spiffe://lune-valley.example",
        "spiffe://lune-valley.example/person/riverside-gp",
        "spiffe://lune-valley.example:443/org/riverside-gp",
        "spiffe://user@lune-valley.example/org/riverside-gp",
        "spiffe:///org/riverside-gp",
        "spiffe://localhost/org/riverside-gp",
        "spiffe://lune-valley.example//org/riverside-gp",
        " spiffe://lune-valley.example/org/riverside-gp",
        "",
    ] {
        let refused = Identity::from_der(&odd(&issuer, &[uri(text)], |_| {}).leaf());
        assert_eq!(refused, Err(IdentityError::Shape), "{text}");
    }
}

#[test]
fn issuers_and_rubbish_are_refused() {
    let issuer = issuing_key();
    let ca = odd(&issuer, &[uri(GOOD)], |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    });
    let signs = odd(&issuer, &[uri(GOOD)], |p| {
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign]
    });
    for keyed in [ca, signs] {
        assert_eq!(Identity::from_der(&keyed.leaf()), Err(IdentityError::Issuer));
    }
    assert_eq!(
        Identity::from_der(issuer.certificate()),
        Err(IdentityError::Issuer)
    );

    let mut longer = enrolled(&issuer, "riverside-gp", week()).leaf().to_vec();
    longer.push(0);
    for bytes in [longer, Vec::new(), b"certificate".to_vec()] {
        assert_eq!(Identity::from_der(&bytes.into()), Err(IdentityError::Unreadable));
    }
    assert_eq!(IdentityError::Shape.problem(), Problem::Unauthenticated);
}

proptest! {
    #[test]
    fn what_is_read_is_written_the_same(text in "spiffe://[a-z0-9.-]{1,12}/org/[a-z0-9/-]{1,8}") {
        if let Some((network, org)) = parse(&text) {
            prop_assert_eq!(Identity::uri(&network, &org), text);
        }
    }
}
