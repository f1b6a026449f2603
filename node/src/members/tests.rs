//! The copy of the directory against gateways that lie. Never a key here that was not made for the test.

use super::*;
use kith_proto::id::InviteId;
use kith_proto::seal::SealingKey;
use kith_proto::sign::SigningKey;
use kith_proto::trust::{InviteTerms, NewKeys};
use kith_proto::words::OrganisationKind;

const NOW_MS: i64 = 1_800_000_000_000;
const NETWORK: &str = "lune-valley.example";

struct Chain {
    registrar: v1::Signed,
    invite: v1::Signed,
    bindings: Vec<v1::Signed>,
}

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

fn new_keys(seed: u8) -> NewKeys {
    NewKeys {
        signing_key: signing(seed).public(),
        sealing_key: SealingKey::from_seed([seed; 32]).unwrap().public().clone(),
    }
}

fn joined(org: &str, seed: u8) -> Chain {
    let network: NetworkName = NETWORK.parse().unwrap();
    let (root, registrar) = (signing(1), signing(2));
    let signed = trust::issue_registrar(
        &root,
        &network,
        &registrar.public(),
        NOW_MS - 1,
        NOW_MS + 9_000_000,
    )
    .unwrap();
    let terms = InviteTerms {
        invite_id: InviteId::from_bytes([seed; 16]),
        network: network.clone(),
        org: org.parse().unwrap(),
        kind: OrganisationKind::Gp,
        name: "A practice".into(),
        seed_public_key: signing(9).public(),
    };
    let invite = trust::issue_invite(&registrar, terms, NOW_MS).unwrap();
    let read = trust::verify_registrar(&signed, &root.public(), &network, NOW_MS).unwrap();
    let terms = trust::verify_invite(&invite, &read, NOW_MS).unwrap();
    let first = trust::first_binding(&signing(9), &terms, &new_keys(seed), NOW_MS).unwrap();
    Chain {
        registrar: signed,
        invite,
        bindings: vec![first],
    }
}

fn listing(org: &str, chain: &Chain) -> v1::Member {
    v1::Member {
        organisation: org.to_owned(),
        chain: Some(v1::BindingChain {
            registrar: Some(chain.registrar.clone()),
            invite: Some(chain.invite.clone()),
            bindings: chain.bindings.clone(),
            later_registrars: Vec::new(),
            later_invites: Vec::new(),
        }),
        ..v1::Member::default()
    }
}

fn members() -> Members {
    Members::new(NETWORK.parse().unwrap(), signing(1).public())
}

#[test]
fn keys_are_those_in_force_at_the_time_asked() {
    let copy = members();
    let mut chain = joined("riverside-gp", 3);
    let org: OrgId = "riverside-gp".parse().unwrap();
    copy.put(vec![
        copy.check(&listing("riverside-gp", &chain), NOW_MS).unwrap(),
    ]);
    assert_eq!(copy.keys_of(&org, NOW_MS), None, "not in the key log yet");
    assert!(copy.awaits_log(&org) && copy.any_awaits_log());
    let logged = |number: usize| {
        let member = copy.get(&org).unwrap().member.clone();
        copy.believe(vec![(org.clone(), member.bindings[number].hash)]);
    };
    logged(0);
    assert!(!copy.awaits_log(&org));
    assert_eq!(copy.keys_of(&org, NOW_MS - 1), None);
    assert_eq!(
        copy.keys_of(&org, NOW_MS).unwrap().signing_key,
        signing(3).public()
    );
    let member = copy.get(&org).unwrap().member.clone();
    let later = NOW_MS + 5_000;
    chain
        .bindings
        .push(trust::next_binding(&signing(3), &member, &new_keys(4), later).unwrap());
    copy.put(vec![copy.check(&listing("riverside-gp", &chain), later).unwrap()]);
    assert_eq!(
        copy.keys_of(&org, later - 1).unwrap().signing_key,
        signing(3).public()
    );
    assert_eq!(
        copy.keys_of(&org, later).unwrap().signing_key,
        signing(3).public(),
        "the newest one that is logged"
    );
    logged(1);
    assert_eq!(
        copy.keys_of(&org, later).unwrap().signing_key,
        signing(4).public()
    );
    assert!(!copy.awaits_log(&"nobody-here".parse().unwrap()));
    assert_eq!(copy.keys_of(&"nobody-here".parse().unwrap(), later), None);
}

#[test]
fn a_gateway_cannot_replace_cut_or_rename_a_chain() {
    let copy = members();
    let mut chain = joined("riverside-gp", 3);
    let first = copy.check(&listing("riverside-gp", &chain), NOW_MS).unwrap();
    let member = first.member.clone();
    chain
        .bindings
        .push(trust::next_binding(&signing(3), &member, &new_keys(4), NOW_MS).unwrap());
    copy.put(vec![
        copy.check(&listing("riverside-gp", &chain), NOW_MS).unwrap(),
    ]);
    let error = |listing: v1::Member| copy.check(&listing, NOW_MS).unwrap_err();
    assert_eq!(
        error(listing("riverside-gp", &joined("riverside-gp", 7))),
        MemberError::Replaced
    );
    chain.bindings.pop();
    assert_eq!(
        error(listing("riverside-gp", &chain)),
        MemberError::Behind,
        "an old key brought back"
    );
    assert_eq!(error(listing("hope-street", &chain)), MemberError::Name);
    let mut forged = listing("riverside-gp", &chain);
    if let Some(chain) = &mut forged.chain {
        chain.bindings[0].signature[5] ^= 1;
    }
    assert_eq!(error(forged), MemberError::Chain(TrustError::Forged));
    assert_eq!(error(v1::Member::default()).problem(), Problem::Invalid);
}

#[test]
fn suspension_is_the_gateways_to_say() {
    let copy = members();
    let org: OrgId = "riverside-gp".parse().unwrap();
    assert_eq!(copy.state_of(&org), MemberState::NotMember);
    let mut wire = listing("riverside-gp", &joined("riverside-gp", 3));
    for (suspended, state) in [(true, MemberState::Suspended), (false, MemberState::Active)] {
        wire.suspended = suspended;
        copy.put(vec![copy.check(&wire, NOW_MS).unwrap()]);
        assert_eq!(copy.state_of(&org), state);
    }
    assert_eq!(copy.all().len(), 1);
    assert!(format!("{copy:?}").contains("1 of lune-valley"));
}
