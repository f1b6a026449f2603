//! The trust chain with each of its links forged, swapped, expired, reordered or of another network.
use super::issue::sign;
use super::*;
use crate::log::policy::WitnessPolicy;
use crate::sign::SigningKey;
use proptest::prelude::*;

const T0: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed([n; 32]).unwrap()
}

fn network() -> NetworkName {
    "camden.example".parse().unwrap()
}

fn root() -> PublicKey {
    key(1).public()
}

fn keys(n: u8) -> NewKeys {
    NewKeys {
        signing_key: key(n).public(),
        sealing_key: SealingPublicKey::from_bytes(&[n; 1216]).unwrap(),
    }
}

fn terms(org: &str) -> InviteTerms {
    InviteTerms {
        invite_id: InviteId::from_bytes([9; 16]),
        network: network(),
        org: org.parse().unwrap(),
        kind: OrganisationKind::Gp,
        name: "The Practice".to_owned(),
        seed_public_key: key(3).public(),
    }
}

fn registrar(n: u8, from: i64) -> v1::Signed {
    issue_registrar(&key(1), &network(), &key(n).public(), from, from + YEAR).unwrap()
}

/// Root 1, registrar 2, seed 3, first keys 4, next keys 5.
fn chain() -> v1::BindingChain {
    let registrar = registrar(2, T0);
    let seen = verify_registrar(&registrar, &root(), &network(), T0).unwrap();
    let invite = issue_invite(&key(2), terms("the-practice"), T0).unwrap();
    let open = verify_invite(&invite, &seen, T0 + HOUR).unwrap();
    let first = first_binding(&key(3), &open, &keys(4), T0 + HOUR).unwrap();
    let mut chain = v1::BindingChain {
        registrar: Some(registrar),
        invite: Some(invite),
        bindings: vec![first],
        later_registrars: vec![],
        later_invites: vec![],
    };
    let next = next_binding(&key(4), &member(&chain), &keys(5), T0 + 2 * HOUR).unwrap();
    chain.bindings.push(next);
    chain
}

fn verify(chain: &v1::BindingChain) -> Result<Member, TrustError> {
    verify_chain(chain, &root(), &network(), T0 + 3 * YEAR)
}

fn member(chain: &v1::BindingChain) -> Member {
    verify(chain).unwrap()
}

/// Alters binding `at` and signs it again with this key.
fn forge(at: usize, by: u8, change: impl Fn(&mut v1::Binding)) -> Result<Member, TrustError> {
    let mut chain = chain();
    let mut binding = v1::Binding::decode(chain.bindings[at].statement.as_slice()).unwrap();
    change(&mut binding);
    chain.bindings[at] = sign(&key(by), Context::Binding, &binding).unwrap();
    verify(&chain)
}

#[test]
fn the_whole_chain_holds_and_gives_the_key_of_each_time() {
    let found = member(&chain());
    assert_eq!(
        (found.org.as_str(), found.kind),
        ("the-practice", OrganisationKind::Gp)
    );
    assert_eq!(found.name, "The Practice");
    assert_eq!(found.key_at(T0), None);
    assert_eq!(found.key_at(T0 + HOUR).unwrap().number, 1);
    assert_eq!(found.key_at(T0 + 2 * HOUR).unwrap().signing_key, key(5).public());
    let id = sha256(&[&[5; 1216]]);
    assert_eq!(found.sealing_key_id(T0 + 2 * HOUR).unwrap(), id[..16]);
    assert!(found.bindings.iter().all(|b| !b.rekey));
}

#[test]
fn a_name_that_would_show_as_another_is_neither_signed_nor_believed() {
    let seen = verify_registrar(&registrar(2, T0), &root(), &network(), T0).unwrap();
    for bad in [
        "",
        " Practice",
        "Practice\n",
        "a\u{1b}[2Jb",
        "a\u{9b}b",
        "\u{202e}PG edisreviR",
        "a\u{2068}b\u{2069}",
    ] {
        let named = InviteTerms {
            name: bad.to_owned(),
            ..terms("the-practice")
        };
        let refused = issue_invite(&key(2), named, T0).unwrap_err();
        assert_eq!(refused, TrustError::Malformed, "{}", bad.escape_unicode());
        // A registrar whose program does not look signs it all the same.
        let good = issue_invite(&key(2), terms("the-practice"), T0).unwrap();
        let mut invite = v1::Invite::decode(good.statement.as_slice()).unwrap();
        invite.name = bad.to_owned();
        let signed = sign(&key(2), Context::Invite, &invite).unwrap();
        assert_eq!(
            verify_invite(&signed, &seen, T0).unwrap_err(),
            TrustError::Malformed
        );
    }
    let arabic = InviteTerms {
        name: "جمعية\u{200f} (Sheffield)\u{200e} می\u{200c}خواهم".to_owned(),
        ..terms("the-practice")
    };
    let signed = issue_invite(&key(2), arabic.clone(), T0).unwrap();
    assert_eq!(verify_invite(&signed, &seen, T0).unwrap().name, arabic.name);
}

#[test]
fn every_flipped_bit_of_every_link_is_refused() {
    let good = chain();
    for link in 0..4 {
        let pick = |c: &v1::BindingChain| match link {
            0 => c.registrar.clone().unwrap(),
            1 => c.invite.clone().unwrap(),
            n => c.bindings[n - 2].clone(),
        };
        let length = pick(&good).statement.len() + 96;
        for at in (0..length).step_by(7).chain([length - 1]) {
            let mut signed = pick(&good);
            let n = signed.statement.len();
            match at {
                at if at < n => signed.statement[at] ^= 1,
                at if at < n + 64 => signed.signature[at - n] ^= 1,
                at => signed.signer[at - n - 64] ^= 1,
            }
            let mut bad = good.clone();
            match link {
                0 => bad.registrar = Some(signed),
                1 => bad.invite = Some(signed),
                n => bad.bindings[n - 2] = signed,
            }
            assert_eq!(verify(&bad), Err(TrustError::Forged), "link {link}, byte {at}");
        }
    }
}

#[test]
fn another_root_network_or_missing_part_is_refused() {
    let good = chain();
    let other = "other.example".parse().unwrap();
    assert_eq!(
        verify_chain(&good, &key(8).public(), &network(), T0),
        Err(TrustError::Forged)
    );
    assert_eq!(
        verify_chain(&good, &root(), &other, T0 + HOUR),
        Err(TrustError::Foreign)
    );
    assert_eq!(
        verify_chain(&good, &root(), &network(), T0 - HOUR),
        Err(TrustError::Clock)
    );
    let empty = v1::BindingChain {
        bindings: vec![],
        ..good.clone()
    };
    assert_eq!(verify(&empty), Err(TrustError::Broken));
    let none = v1::BindingChain {
        invite: None,
        ..good.clone()
    };
    assert_eq!(verify(&none), Err(TrustError::Malformed));
    let long = v1::BindingChain {
        bindings: vec![good.bindings[0].clone(); BINDINGS_MAX + 1],
        ..good
    };
    assert_eq!(verify(&long), Err(TrustError::TooLarge));
}

#[test]
fn swapped_reordered_repeated_and_skipped_bindings_are_refused() {
    let mut bad = chain();
    bad.bindings.swap(0, 1);
    assert_eq!(verify(&bad), Err(TrustError::Forged));
    bad.bindings.remove(1);
    assert_eq!(verify(&bad), Err(TrustError::Forged));
    bad = chain();
    bad.bindings.insert(1, bad.bindings[0].clone());
    assert_eq!(verify(&bad), Err(TrustError::Forged));
    bad = chain();
    bad.invite = Some(issue_invite(&key(2), terms("another-body"), T0).unwrap());
    assert_eq!(verify(&bad), Err(TrustError::Foreign));
    bad = chain();
    bad.registrar = Some(registrar(7, T0));
    assert_eq!(verify(&bad), Err(TrustError::Forged));
}

#[test]
fn well_signed_bindings_that_do_not_fit_are_refused() {
    let foreign = Err(TrustError::Foreign);
    assert_eq!(forge(1, 4, |b| b.network = "other.example".to_owned()), foreign);
    assert_eq!(
        forge(1, 4, |b| b.organisation = "another-body".to_owned()),
        foreign
    );
    assert_eq!(forge(1, 4, |b| b.kind = 2), foreign);
    assert_eq!(forge(0, 3, |b| b.invite_id = vec![8; 16]), foreign);
    assert_eq!(forge(1, 4, |b| b.number = 3), Err(TrustError::Broken));
    assert_eq!(forge(1, 4, |b| b.previous_hash[0] ^= 1), Err(TrustError::Broken));
    assert_eq!(forge(0, 3, |b| b.number = 2), Err(TrustError::Broken));
    assert_eq!(forge(1, 4, |b| b.made_at_ms = T0), Err(TrustError::Clock));
    assert_eq!(forge(1, 4, |b| b.effective_at_ms = T0), Err(TrustError::Clock));
    assert_eq!(
        forge(1, 4, |b| b.signing_key.truncate(31)),
        Err(TrustError::Malformed)
    );
    assert_eq!(
        forge(1, 4, |b| b.sealing_key.truncate(31)),
        Err(TrustError::Malformed)
    );
    assert_eq!(forge(1, 5, |_| ()), Err(TrustError::Forged));
    assert_eq!(forge(0, 4, |_| ()), Err(TrustError::Forged));
    let late = |b: &mut v1::Binding| (b.made_at_ms, b.effective_at_ms) = (T0 + 25 * HOUR, T0 + 25 * HOUR);
    assert_eq!(forge(0, 3, late), Err(TrustError::Expired));
}

#[test]
fn a_rekey_waits_a_day_is_flagged_and_is_not_overtaken() {
    let mut chain = chain();
    let at = T0 + 10 * HOUR;
    chain
        .bindings
        .push(rekey(&key(2), &member(&chain), &keys(6), at).unwrap());
    let found = member(&chain);
    assert!(found.bindings[2].rekey);
    assert_eq!(found.key_at(at + 24 * HOUR - 1).unwrap().number, 2);
    assert_eq!(found.key_at(at + 24 * HOUR).unwrap().number, 3);
    chain
        .bindings
        .push(next_binding(&key(6), &found, &keys(7), at + HOUR).unwrap());
    assert_eq!(member(&chain).key_at(at + HOUR).unwrap().number, 2);
    let mut early = v1::Binding::decode(chain.bindings[3].statement.as_slice()).unwrap();
    early.effective_at_ms = at + HOUR;
    chain.bindings[3] = sign(&key(6), Context::Binding, &early).unwrap();
    assert_eq!(verify(&chain), Err(TrustError::Clock));
    assert_eq!(forge(1, 2, |_| ()), Err(TrustError::Clock));
}

/// The chain gone on by invite: seed 12, keys 13, for which registrar 2 signed.
fn rekeyed_chain(at_ms: i64) -> v1::BindingChain {
    let mut chain = chain();
    let mut terms = terms("the-practice");
    terms.invite_id = InviteId::from_bytes([10; 16]);
    terms.seed_public_key = key(12).public();
    let signed = issue_rekey_invite(&key(2), terms, &Rekeyed::of(&member(&chain)).unwrap(), at_ms).unwrap();
    let seen = verify_registrar(&registrar(2, T0), &root(), &network(), at_ms).unwrap();
    let invite = verify_invite(&signed, &seen, at_ms).unwrap();
    let binding = rekey_binding(&key(12), &invite, &keys(13), at_ms).unwrap();
    chain.later_invites.push(signed);
    chain.bindings.push(binding);
    chain
}

#[test]
fn lost_keys_are_followed_by_new_ones_with_an_invite_of_the_registrar() {
    let at_ms = T0 + 3 * HOUR;
    let whole = rekeyed_chain(at_ms);
    let seen = member(&whole);
    let newest = seen.bindings.last().unwrap();
    assert!(newest.rekey && newest.number == 3 && newest.signing_key == key(13).public());
    assert_eq!(seen.key_at(at_ms + 23 * HOUR).unwrap().number, 2);
    assert_eq!(seen.key_at(at_ms + 24 * HOUR).unwrap().number, 3);
    // The member goes on with its new keys as ever.
    let mut further = whole.clone();
    further
        .bindings
        .push(next_binding(&key(13), &seen, &keys(14), at_ms + HOUR).unwrap());
    assert_eq!(member(&further).bindings.len(), 4);
    // Without its invite, with one of another place, or behind another binding it is nobody's.
    let mut without = whole.clone();
    without.later_invites.clear();
    assert_eq!(verify(&without), Err(TrustError::Forged));
    let mut elsewhere = whole.clone();
    elsewhere.bindings.remove(1);
    assert!(verify(&elsewhere).is_err());
    let thief = next_binding(&key(5), &member(&chain()), &keys(6), at_ms).unwrap();
    let mut overtaken = whole.clone();
    overtaken.bindings.insert(2, thief);
    assert!(verify(&overtaken).is_err());
    // One to join is none for a re-key, and the other way round.
    let mut first = whole.clone();
    first.invite = first.later_invites.first().cloned();
    assert!(verify(&first).is_err());
    let mut plain = whole.clone();
    plain.later_invites.push(plain.invite.clone().unwrap());
    assert_eq!(verify(&plain), Err(TrustError::Foreign));
}

#[test]
fn every_flipped_bit_of_a_rekey_by_invite_is_refused() {
    let whole = rekeyed_chain(T0 + 3 * HOUR);
    for at in 0..whole.bindings[2].statement.len() {
        let mut flipped = whole.clone();
        flipped.bindings[2].statement[at] ^= 1;
        assert!(verify(&flipped).is_err());
    }
    for at in 0..whole.later_invites[0].statement.len() {
        let mut flipped = whole.clone();
        flipped.later_invites[0].statement[at] ^= 1;
        assert!(verify(&flipped).is_err());
    }
}

#[test]
fn a_rekey_by_invite_ends_with_its_day_and_waits_one() {
    let at_ms = T0 + 3 * HOUR;
    let made = |made_at_ms: i64, effective_at_ms: i64| {
        let mut whole = rekeyed_chain(at_ms);
        let mut binding = v1::Binding::decode(whole.bindings[2].statement.as_slice()).unwrap();
        (binding.made_at_ms, binding.effective_at_ms) = (made_at_ms, effective_at_ms);
        whole.bindings[2] = sign(&key(12), Context::Binding, &binding).unwrap();
        verify(&whole)
    };
    assert!(made(at_ms, at_ms + REKEY_DELAY_MS).is_ok());
    assert_eq!(made(at_ms, at_ms + REKEY_DELAY_MS - 1), Err(TrustError::Clock));
    let late = at_ms + INVITE_LIFE_MS;
    assert_eq!(made(late, late + REKEY_DELAY_MS), Err(TrustError::Expired));
}

#[test]
fn a_rekey_after_the_registrars_year_needs_a_later_registrar() {
    let mut chain = chain();
    let at = T0 + YEAR + HOUR;
    chain
        .bindings
        .push(rekey(&key(2), &member(&chain), &keys(6), at).unwrap());
    assert_eq!(verify(&chain), Err(TrustError::Expired));
    chain.bindings.pop();
    chain
        .bindings
        .push(rekey(&key(7), &member(&chain), &keys(6), at).unwrap());
    assert_eq!(verify(&chain), Err(TrustError::Forged));
    chain.later_registrars.push(registrar(7, T0 + YEAR));
    assert!(member(&chain).bindings[2].rekey);
}

#[test]
fn registrar_invite_and_issuer_end_and_belong_to_one_network() {
    let signed = registrar(2, T0);
    let at = |now| verify_registrar(&signed, &root(), &network(), now);
    assert_eq!(at(T0 - 1), Err(TrustError::Clock));
    assert_eq!(at(T0 + YEAR), Err(TrustError::Expired));
    assert!(issue_registrar(&key(1), &network(), &root(), T0, T0 + 2 * YEAR).is_err());
    let invite = issue_invite(&key(2), terms("the-practice"), T0).unwrap();
    let open = |now| verify_invite(&invite, &at(T0).unwrap(), now);
    assert!(open(T0 + INVITE_LIFE_MS - 1).is_ok());
    assert_eq!(open(T0 + INVITE_LIFE_MS), Err(TrustError::Expired));
    let issuer = issue_issuer(&key(1), &network(), b"der", &key(9).public(), T0).unwrap();
    assert!(verify_issuer(&issuer, &root(), &network(), T0 - 1).is_ok());
    assert_eq!(
        verify_issuer(&issuer, &root(), &network(), T0),
        Err(TrustError::Expired)
    );
    assert_eq!(
        verify_registrar(&issuer, &root(), &network(), T0),
        Err(TrustError::Forged)
    );
    let pin = RootKey::Fingerprint(sha256(&[&root().0]));
    assert_eq!(pin.accept(&root()), RootKey::Key(root()).accept(&root()));
    assert_eq!(pin.accept(&key(2).public()), Err(TrustError::Forged));
}

fn token() -> InviteToken {
    let policy = v1::WitnessPolicy {
        network: network().to_string(),
        number: 1,
        ..v1::WitnessPolicy::default()
    };
    InviteToken {
        gateway: "https://gateway.camden.example:8443".to_owned(),
        root: root(),
        seed: [3; 32],
        registrar: registrar(2, T0),
        invite: issue_invite(&key(2), terms("the-practice"), T0).unwrap(),
        issuer: issue_issuer(&key(1), &network(), &[0; 400], &key(9).public(), T0 + YEAR).unwrap(),
        policy: WitnessPolicy::issue(&key(1), &policy).unwrap(),
    }
}

#[test]
fn a_token_comes_back_and_verifies() {
    let text = token().encode().unwrap();
    let back = InviteToken::decode(&format!(" {text}\n")).unwrap();
    assert!(back == token());
    assert_eq!(back.verify(T0 + HOUR).unwrap().1.org.as_str(), "the-practice");
    assert_eq!(back.verify(T0 + 24 * HOUR), Err(TrustError::Expired));
    let other = InviteToken {
        seed: [4; 32],
        ..back.clone()
    };
    assert_eq!(other.verify(T0), Err(TrustError::Forged));
    assert!(!format!("{back:?}").contains("3, 3"));
}

#[test]
fn cut_altered_long_and_foreign_text_are_told_apart() {
    let text = token().encode().unwrap();
    for n in 1..text.len() {
        assert_eq!(
            InviteToken::decode(&text[..n]).err(),
            Some(TokenError::Cut),
            "{n}"
        );
    }
    for n in TOKEN_PREFIX.len()..text.len() {
        let other = if &text[n..=n] == "A" { "B" } else { "A" };
        let altered = format!("{}{other}{}", &text[..n], &text[n + 1..]);
        let error = InviteToken::decode(&altered).err();
        assert!(
            matches!(error, Some(TokenError::Altered | TokenError::Cut)),
            "{n}: {error:?}"
        );
    }
    let error = |text: &str| InviteToken::decode(text).err().unwrap();
    assert_eq!(error(&format!("{text}A")), TokenError::Altered);
    assert_eq!(error(&text.replacen("kith1.", "kith2.", 1)), TokenError::Foreign);
    assert_eq!(error(""), TokenError::Foreign);
    assert_eq!(
        error(&format!("kith1.{}", "A".repeat(17_000))),
        TokenError::TooLarge
    );
}

proptest! {
    #[test]
    fn arbitrary_text_and_bytes_never_panic(
        text in any::<String>(),
        body in "[A-Za-z0-9_-]{0,200}",
        statement in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assert!(InviteToken::decode(&text).is_err());
        let token = format!("{TOKEN_PREFIX}{body}");
        prop_assert!(InviteToken::decode(&token).is_err());
        let _ = v1::InviteToken::decode(statement.as_slice());
        if let Ok(chain) = v1::BindingChain::decode(statement.as_slice()) {
            prop_assert!(verify(&chain).is_err());
        }
        // well signed, but any statement
        let signature = key(1).sign(Context::Registrar, &[&statement]).unwrap().0.to_vec();
        let signer = sha256(&[&root().0]).to_vec();
        let signed = v1::Signed { statement, signature, signer };
        prop_assert!(verify_registrar(&signed, &root(), &network(), T0).is_err());
    }
}
