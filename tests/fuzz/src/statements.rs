//! Single statements of the trust chain: registrar, invite, issuer, service, word for an epoch. First byte: which one and the time; the rest is the
//! statement, signed here by the key that must sign it, so that what lies behind the signature is reached.

use crate::refused;
use crate::world::{DAY_MS, FROM, NETWORK, NOW_MS, SEALING, key, network, org};
use kith_proto::id::InviteId;
use kith_proto::log::epoch_word::{EPOCH_MAX, EpochWord, read_word, write_word};
use kith_proto::sign::{Context, SigningKey, sha256};
use kith_proto::trust::{
    self, Binding, INVITE_LIFE_MS, InviteTerms, LANGUAGES_MAX, Member, NAME_BYTES_MAX, REGISTRAR_LIFE_MS_MAX,
    Registrar, SERVICE_TEXT_BYTES_MAX, STATEMENT_BYTES_MAX, TrustError,
};
use kith_proto::v1;
use kith_proto::words::{Category, OrganisationKind, Purpose};
use prost::Message as _;

/// Signs a statement as it is.
pub(crate) fn signed(signer: &SigningKey, context: Context, statement: &[u8]) -> v1::Signed {
    v1::Signed {
        signature: signer
            .sign(context, &[statement])
            .expect("a signature")
            .0
            .to_vec(),
        signer: sha256(&[&signer.public().0]).to_vec(),
        statement: statement.to_vec(),
    }
}

/// The registrar that admits everybody here.
pub(crate) fn registrar() -> v1::Signed {
    let (from, to) = (NOW_MS - 30 * DAY_MS, NOW_MS + 300 * DAY_MS);
    trust::issue_registrar(&key(1), &network(), &key(2).public(), from, to).expect("a registrar")
}

/// The invite of the first member.
pub(crate) fn invite(now_ms: i64) -> v1::Signed {
    let terms = InviteTerms {
        invite_id: InviteId::from_bytes([9; 16]),
        network: network(),
        org: org(FROM),
        kind: OrganisationKind::Gp,
        name: "Riverside GP practice".to_owned(),
        seed_public_key: key(3).public(),
    };
    trust::issue_invite(&key(2), terms, now_ms).expect("an invite")
}

/// The root's word on the gateway.
pub(crate) fn issuer() -> v1::Signed {
    let end = NOW_MS + 300 * DAY_MS;
    trust::issue_issuer(&key(1), &network(), &[0x30; 40], &key(9).public(), end).expect("an issuer")
}

fn service() -> v1::Service {
    v1::Service {
        service_id: vec![1; 16],
        network: NETWORK.to_owned(),
        organisation: FROM.to_owned(),
        name: "Tuesday tea".to_owned(),
        purposes: vec![2],
        languages: vec!["ti".to_owned(), "en-GB".to_owned()],
        minimum_categories: vec![1, 3],
        place: "Harbour hall".to_owned(),
        schedule: "Tuesdays, 10.30".to_owned(),
        paused: false,
        places_per_week: 4,
        made_at_ms: NOW_MS - DAY_MS,
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let statements = [
        registrar().statement,
        invite(NOW_MS).statement,
        issuer().statement,
        service().encode_to_vec(),
        epoch_word().statement,
    ];
    let numbered = statements.iter().zip(0_u8..);
    numbered
        .map(|(statement, place)| [vec![place], statement.clone()].concat())
        .collect()
}

pub(crate) fn check(data: &[u8]) {
    let Some((place, statement)) = data.split_first() else {
        return;
    };
    let now_ms = NOW_MS + i64::from(place / 5) * DAY_MS / 8;
    match place % 5 {
        0 => check_registrar(statement, now_ms),
        1 => check_invite(statement, now_ms),
        2 => check_issuer(statement, now_ms),
        4 => check_epoch_word(statement, now_ms),
        _ => check_service(statement, now_ms),
    }
    if statement.len() > STATEMENT_BYTES_MAX {
        let made = signed(&key(1), Context::Registrar, statement);
        let read = trust::verify_registrar(&made, &key(1).public(), &network(), now_ms);
        assert_eq!(read.err(), Some(TrustError::TooLarge));
    }
}

fn check_registrar(statement: &[u8], now_ms: i64) {
    let made = signed(&key(1), Context::Registrar, statement);
    let read = match trust::verify_registrar(&made, &key(1).public(), &network(), now_ms) {
        Ok(read) => read,
        Err(error) => return refused(error.problem()),
    };
    assert!(read.network == network() && read.valid_at(now_ms));
    assert!((1..=REGISTRAR_LIFE_MS_MAX).contains(&(read.not_after_ms - read.not_before_ms)));
    let (from, to) = (read.not_before_ms, read.not_after_ms);
    let again =
        trust::issue_registrar(&key(1), &network(), &read.public_key, from, to).expect("issued again");
    let same = trust::verify_registrar(&again, &key(1).public(), &network(), now_ms);
    assert_eq!(same.as_ref(), Ok(&read));
    let forged = trust::verify_registrar(&made, &key(2).public(), &network(), now_ms);
    assert_eq!(forged, Err(TrustError::Forged));
}

/// What the registrar's statement says.
pub(crate) fn read_registrar() -> Registrar {
    trust::verify_registrar(&registrar(), &key(1).public(), &network(), NOW_MS).expect("the registrar")
}

fn check_invite(statement: &[u8], now_ms: i64) {
    let registrar = read_registrar();
    let made = signed(&key(2), Context::Invite, statement);
    let read = match trust::verify_invite(&made, &registrar, now_ms) {
        Ok(read) => read,
        Err(error) => return refused(error.problem()),
    };
    assert!(read.network == network() && now_ms < read.expires_at_ms);
    plain(&read.name);
    let terms = InviteTerms {
        invite_id: read.invite_id,
        network: network(),
        org: read.org.clone(),
        kind: read.kind,
        name: read.name.clone(),
        seed_public_key: read.seed_public_key,
    };
    let again =
        trust::issue_invite(&key(2), terms, read.expires_at_ms - INVITE_LIFE_MS).expect("issued again");
    assert_eq!(trust::verify_invite(&again, &registrar, now_ms), Ok(read));
    let as_issuer = trust::verify_issuer(&made, &key(2).public(), &network(), now_ms);
    assert_eq!(as_issuer, Err(TrustError::Forged), "an invite is no issuer");
}

fn check_issuer(statement: &[u8], now_ms: i64) {
    let made = signed(&key(1), Context::Issuer, statement);
    let read = match trust::verify_issuer(&made, &key(1).public(), &network(), now_ms) {
        Ok(read) => read,
        Err(error) => return refused(error.problem()),
    };
    assert!(!read.certificate_der.is_empty() && now_ms < read.not_after_ms);
    let (der, end) = (&read.certificate_der, read.not_after_ms);
    let again = trust::issue_issuer(&key(1), &network(), der, &read.signing_key, end).expect("issued again");
    assert_eq!(
        trust::verify_issuer(&again, &key(1).public(), &network(), now_ms),
        Ok(read)
    );
}

fn check_service(statement: &[u8], now_ms: i64) {
    let member = member();
    let made = signed(&key(4), Context::Service, statement);
    let read = match trust::verify_service(&made, &member, now_ms) {
        Ok(read) => read,
        Err(error) => return refused(error.problem()),
    };
    assert_eq!(
        (read.network.as_str(), read.organisation.as_str()),
        (NETWORK, FROM)
    );
    plain(&read.name);
    assert!(read.place.len().max(read.schedule.len()) <= SERVICE_TEXT_BYTES_MAX);
    assert!(read.languages.len() <= LANGUAGES_MAX && read.service_id.len() == 16);
    assert!(
        read.purposes
            .iter()
            .all(|purpose| Purpose::try_from(*purpose).is_ok())
    );
    assert!(read.minimum_categories.len() <= Category::ALL.len());
    let again = trust::issue_service(&key(4), &read).expect("issued again");
    assert_eq!(trust::verify_service(&again, &member, now_ms).as_ref(), Ok(&read));
    let stranger = signed(&key(5), Context::Service, statement);
    assert_eq!(
        trust::verify_service(&stranger, &member, now_ms),
        Err(TrustError::Forged)
    );
}

fn epoch_word() -> v1::Signed {
    EpochWord::issue(&key(1), &network(), 2, NOW_MS).expect("a word")
}

fn check_epoch_word(statement: &[u8], now_ms: i64) {
    let made = signed(&key(1), Context::LogEpoch, statement);
    let text = write_word(&key(1).public(), &made);
    let read = match EpochWord::verify(&made, &key(1).public(), &network(), now_ms) {
        Ok(read) => read,
        Err(error) => return refused(error.problem()),
    };
    assert_eq!(read_word(&text), Ok((key(1).public(), made.clone())));
    assert!((2..=EPOCH_MAX).contains(&read.epoch()) && *read.network() == network());
    let again = EpochWord::issue(&key(1), &network(), read.epoch(), read.made_at_ms()).expect("issued again");
    let same = EpochWord::verify(&again, &key(1).public(), &network(), now_ms);
    assert_eq!(same, Ok(read));
    let forged = EpochWord::verify(&made, &key(2).public(), &network(), now_ms);
    assert_eq!(forged, Err(TrustError::Forged));
}

fn plain(name: &str) {
    assert!((1..=NAME_BYTES_MAX).contains(&name.len()));
    assert!(name.trim() == name && !name.contains(char::is_control));
    let turning = "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
    assert!(!name.contains(|c| turning.contains(c)));
}

/// The first member with one binding, in force for ten days.
fn member() -> Member {
    Member {
        network: network(),
        org: org(FROM),
        kind: OrganisationKind::Gp,
        name: "Riverside GP practice".to_owned(),
        invite_id: InviteId::from_bytes([9; 16]),
        bindings: vec![Binding {
            number: 1,
            signing_key: key(4).public(),
            sealing_key: SEALING.public().clone(),
            made_at_ms: NOW_MS - 10 * DAY_MS,
            effective_at_ms: NOW_MS - 10 * DAY_MS,
            rekey: false,
            hash: [0; 32],
        }],
    }
}
