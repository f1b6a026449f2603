//! What is certified, what is ignored, and what is refused.

use super::*;
use crate::tls::fixture::{NOW_MS, enrolled, issuing_key, member, uri, week};
use rcgen::PKCS_ECDSA_P384_SHA384;

fn request(key: &KeyPair, change: impl Fn(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    change(&mut params);
    params.serialize_request(key).unwrap().der().to_vec()
}

fn leaf(pem: &str) -> CertificateDer<'static> {
    crate::tls::root_certificate(pem.as_bytes()).unwrap()
}

#[test]
fn of_a_request_only_the_key_counts() {
    let issuer = issuing_key();
    let key = generate_key().unwrap();
    let greedy = request(&key, |p| {
        p.distinguished_name.push(DnType::CommonName, "operator");
        p.subject_alt_names = vec![uri("spiffe://lune-valley.example/org/north-advice")];
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        p.extended_key_usages = vec![Usage::ServerAuth, Usage::Any];
    });
    let der = leaf(
        &issuer
            .issue_member(&greedy, &member("riverside-gp"), week())
            .unwrap(),
    );
    assert_eq!(Identity::from_der(&der).unwrap().org, member("riverside-gp").org);

    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(parsed.public_key().raw, key.subject_public_key_info());
    assert_eq!(parsed.subject().iter().count(), 0);
    assert!(!parsed.is_ca());
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any && usage.other.is_empty());
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    assert_eq!(
        parsed.validity().not_before.timestamp() * 1000,
        week().not_before_ms
    );
    parsed
        .verify_signature(Some(issuing_public(&issuer).public_key()))
        .unwrap();
}

fn issuing_public(issuer: &IssuingKey) -> X509Certificate<'_> {
    X509Certificate::from_der(issuer.certificate()).unwrap().1
}

#[test]
fn both_kinds_of_key_are_taken_and_serial_numbers_differ() {
    let issuer = issuing_key();
    let mut serials = std::collections::BTreeSet::new();
    for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
        let key = KeyPair::generate_for(kind).unwrap();
        let proof = certificate_request(&key.serialize_pem()).unwrap();
        assert!(proof.len() < REQUEST_BYTES_MAX / 4);
        for _ in 0..2 {
            let der = leaf(
                &issuer
                    .issue_member(&proof, &member("riverside-gp"), week())
                    .unwrap(),
            );
            let (_, parsed) = X509Certificate::from_der(&der).unwrap();
            assert!(serials.insert(parsed.raw_serial().to_vec()));
            assert!(parsed.raw_serial()[0] < 0x80);
        }
    }
    assert_eq!(serials.len(), 4);
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let issuer = issuing_key();
    let refuse = |der: &[u8]| {
        issuer
            .issue_member(der, &member("riverside-gp"), week())
            .unwrap_err()
    };
    let good = certificate_request(&generate_key_pem().unwrap()).unwrap();
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut longer = good.clone();
    longer.push(0);
    let key = generate_key().unwrap();
    let name = "a".repeat(REQUEST_BYTES_MAX);
    let huge = request(&key, |p| {
        p.distinguished_name.push(DnType::CommonName, name.as_str())
    });
    for bad in [forged, longer, huge, good[..good.len() / 2].to_vec(), Vec::new()] {
        assert!(matches!(refuse(&bad), IssueError::Request));
    }
    let other = request(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(), |_| {});
    assert!(matches!(refuse(&other), IssueError::KeyKind));
    assert_eq!(refuse(&other).problem(), Problem::Invalid);
}

#[test]
fn another_network_or_an_impossible_time_is_refused() {
    let issuer = issuing_key();
    let proof = certificate_request(&generate_key_pem().unwrap()).unwrap();
    let stranger = "riverside-gp@other.example".parse().unwrap();
    assert!(matches!(
        issuer.issue_member(&proof, &stranger, week()),
        Err(IssueError::Name)
    ));
    assert!(matches!(
        issuer.issue_server("not a name", week()),
        Err(IssueError::Name)
    ));
    assert_eq!(issuer.not_after_ms(), week().not_after_ms);
    let times = [
        (NOW_MS, NOW_MS),
        (NOW_MS, NOW_MS - 1000),
        (NOW_MS, week().not_after_ms + 1),
        (i64::MIN, NOW_MS),
    ];
    for (not_before_ms, not_after_ms) in times {
        let validity = Validity {
            not_before_ms,
            not_after_ms,
        };
        let refused = issuer.issue_member(&proof, &member("riverside-gp"), validity);
        assert!(matches!(refused, Err(IssueError::Validity)), "{validity:?}");
    }
}

#[test]
fn the_issuing_key_survives_its_files() {
    let issuer = issuing_key();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
    assert!(matches!(
        IssuingKey::load(&certificate, &key),
        Err(IssueError::File(_))
    ));
    std::fs::write(&certificate, issuer.certificate_pem()).unwrap();
    std::fs::write(&key, issuer.key_pem()).unwrap();
    let again = IssuingKey::load(&certificate, &key).unwrap();
    assert_eq!(again.network(), issuer.network());
    assert_eq!(again.certificate(), issuer.certificate());
    assert_eq!(again.not_after_ms(), issuer.not_after_ms());
    let der = enrolled(&again, "riverside-gp", week()).leaf();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    parsed
        .verify_signature(Some(issuing_public(&issuer).public_key()))
        .unwrap();
    assert_eq!(format!("{again:?}"), "IssuingKey(lune-valley.example, ..)");
}

#[test]
fn files_that_are_no_issuing_pair_are_refused() {
    let (issuer, other) = (issuing_key(), issuing_key());
    let end = enrolled(&issuer, "riverside-gp", week());
    let server = issuer
        .issue_server("gateway.lune-valley.example", week())
        .unwrap();
    assert_eq!(format!("{server:?}"), "ServerCertificate(..)");
    let (certificate, key) = (issuer.certificate_pem(), issuer.key_pem());
    let table = [
        (certificate, other.key_pem()),
        (end.chain_pem.as_str(), end.key_pem),
        (server.chain_pem.as_str(), server.key_pem),
        (certificate, String::new()),
        ("", key),
    ];
    for (certificate, key) in table {
        assert!(matches!(
            IssuingKey::from_pem(certificate, &key),
            Err(IssueError::IssuingKey)
        ));
    }
}
