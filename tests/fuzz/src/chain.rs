//! Whole chains of a member. The input is a `BindingChain` whose statements are signed here: the first byte of each `signer`
//! chooses the key, and a `previous_hash` of one byte becomes the hash of the binding before it.

use crate::refused;
use crate::statements::{invite, read_registrar, registrar, signed};
use crate::world::{DAY_MS, NOW_MS, SEALING, key, network};
use kith_proto::sign::Context;
use kith_proto::trust::{
    BINDINGS_MAX, CLOCK_SKEW_MS, Member, NewKeys, REKEY_DELAY_MS, TrustError, binding_hash, first_binding,
    next_binding, rekey, verify_chain, verify_invite,
};
use kith_proto::v1;
use prost::Message as _;

fn keys(number: u8) -> NewKeys {
    NewKeys {
        signing_key: key(number).public(),
        sealing_key: SEALING.public().clone(),
    }
}

/// Root 1, registrar 2, seed 3; the member's keys 4, 5 and 6, the last after a re-key.
fn chain(length: usize) -> v1::BindingChain {
    let joined = NOW_MS - 10 * DAY_MS;
    let invite = invite(joined);
    let open = verify_invite(&invite, &read_registrar(), joined).expect("the invite");
    let first = first_binding(&key(3), &open, &keys(4), joined).expect("a binding");
    let mut chain = v1::BindingChain {
        registrar: Some(registrar()),
        invite: Some(invite),
        bindings: vec![first],
        later_registrars: vec![registrar()],
        later_invites: vec![],
    };
    let next = next_binding(&key(4), &verified(&chain), &keys(5), joined + DAY_MS).expect("the next");
    chain.bindings.push(next);
    let again = rekey(&key(2), &verified(&chain), &keys(6), joined + 2 * DAY_MS).expect("a re-key");
    chain.bindings.push(again);
    let next = next_binding(&key(6), &verified(&chain), &keys(4), joined + 4 * DAY_MS).expect("the next");
    chain.bindings.push(next);
    chain.bindings.truncate(length);
    chain
}

fn verified(chain: &v1::BindingChain) -> Member {
    read(chain).expect("a good chain")
}

fn read(chain: &v1::BindingChain) -> Result<Member, TrustError> {
    verify_chain(chain, &key(1).public(), &network(), NOW_MS)
}

/// The chains with signatures left out, and one byte where a key or a hash is to be put in.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let bare = |signed: &v1::Signed, signer: u8, statement: Vec<u8>| v1::Signed {
        statement: if statement.is_empty() {
            signed.statement.clone()
        } else {
            statement
        },
        signature: Vec::new(),
        signer: vec![signer],
    };
    let seed = |length: usize| {
        let chain = chain(length);
        let bindings = chain
            .bindings
            .iter()
            .zip([3_u8, 4, 2, 6])
            .map(|(signed, signer)| {
                let mut binding = v1::Binding::decode(signed.statement.as_slice()).expect("its own bytes");
                binding.previous_hash.truncate(1);
                bare(signed, signer, binding.encode_to_vec())
            });
        let seed = v1::BindingChain {
            bindings: bindings.collect(),
            registrar: chain.registrar.as_ref().map(|signed| bare(signed, 1, Vec::new())),
            invite: chain.invite.as_ref().map(|signed| bare(signed, 2, Vec::new())),
            later_registrars: chain
                .later_registrars
                .iter()
                .map(|signed| bare(signed, 1, Vec::new()))
                .collect(),
            later_invites: vec![],
        };
        seed.encode_to_vec()
    };
    (1..=4).map(seed).collect()
}

fn sign_all(chain: &mut v1::BindingChain) {
    let with = |made: &v1::Signed, context: Context, statement: &[u8]| {
        signed(
            &key(made.signer.first().copied().unwrap_or(1)),
            context,
            statement,
        )
    };
    chain.registrar = chain
        .registrar
        .as_ref()
        .map(|made| with(made, Context::Registrar, &made.statement));
    chain.invite = chain
        .invite
        .as_ref()
        .map(|made| with(made, Context::Invite, &made.statement));
    for later in &mut chain.later_registrars {
        *later = with(later, Context::Registrar, &later.statement);
    }
    let mut previous = None;
    for made in &mut chain.bindings {
        let mut statement = made.statement.clone();
        let binding = v1::Binding::decode(statement.as_slice());
        if let (Ok(mut binding), Some(hash)) = (binding, previous)
            && binding.previous_hash.len() == 1
        {
            binding.previous_hash = hash;
            statement = binding.encode_to_vec();
        }
        *made = with(made, Context::Binding, &statement);
        previous = Some(binding_hash(made).to_vec());
    }
}

pub(crate) fn check(data: &[u8]) {
    let Ok(mut chain) = v1::BindingChain::decode(data) else {
        return;
    };
    chain.later_registrars.truncate(200);
    if let Err(error) = read(&chain) {
        refused(error.problem());
    }
    sign_all(&mut chain);
    let member = match read(&chain) {
        Ok(member) => member,
        Err(error) => return refused(error.problem()),
    };
    assert!(member.network == network() && (1..=BINDINGS_MAX).contains(&chain.bindings.len()));
    assert_eq!(member.bindings.len(), chain.bindings.len());
    for ((binding, signed), number) in member.bindings.iter().zip(&chain.bindings).zip(1..) {
        assert_eq!((binding.number, binding.hash), (number, binding_hash(signed)));
        assert!((0..=NOW_MS + CLOCK_SKEW_MS).contains(&binding.made_at_ms));
        assert!(binding.effective_at_ms >= binding.made_at_ms);
        let wait = binding.effective_at_ms - binding.made_at_ms;
        assert!(
            !binding.rekey || (number > 1 && wait >= REKEY_DELAY_MS),
            "a re-key waits"
        );
    }
    for pair in member.bindings.windows(2) {
        let [before, after] = pair else { continue };
        assert!(after.made_at_ms >= before.made_at_ms && after.effective_at_ms >= before.effective_at_ms);
    }
    let at_once = member.bindings.iter().rev().find(|b| b.effective_at_ms <= NOW_MS);
    assert_eq!(member.key_at(NOW_MS), at_once);
    assert_eq!(member.key_at(-1), None);
    links(&chain, &member);
}

/// Each beginning of a chain is a chain; a chain without a link, or with one twice, is none.
fn links(chain: &v1::BindingChain, member: &Member) {
    let mut shorter = chain.clone();
    shorter.bindings.pop();
    match read(&shorter) {
        Ok(before) => assert_eq!(
            before.bindings.as_slice(),
            &member.bindings[..before.bindings.len()]
        ),
        Err(error) => assert_eq!((error, shorter.bindings.len()), (TrustError::Broken, 0)),
    }
    let mut twice = chain.clone();
    twice.bindings.extend(chain.bindings.last().cloned());
    assert!(read(&twice).is_err());
    if chain.bindings.len() > 1 {
        let mut without = chain.clone();
        without.bindings.remove(0);
        assert!(read(&without).is_err());
    }
    let mut forged = chain.clone();
    for signed in &mut forged.bindings {
        signed.signature.reverse();
    }
    assert_eq!(read(&forged), Err(TrustError::Forged));
}
