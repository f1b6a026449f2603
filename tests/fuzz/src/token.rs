//! The invite token. Text that begins as a token is read as it is; anything else is taken for the message inside one and put
//! into a token here, by the layout that the head of `token.rs` tells.

use crate::refused;
use crate::statements::{invite, issuer, registrar};
use crate::world::{NOW_MS, key};
use data_encoding::BASE64URL_NOPAD;
use kith_proto::log::policy::WitnessPolicy;
use kith_proto::sign::sha256;
use kith_proto::trust::{InviteToken, TOKEN_PREFIX, TOKEN_TEXT_BYTES_MAX, TokenError};
use kith_proto::v1;
use prost::Message as _;

fn token() -> InviteToken {
    let policy = v1::WitnessPolicy {
        network: "lune-valley.example".to_owned(),
        number: 1,
        ..v1::WitnessPolicy::default()
    };
    InviteToken {
        gateway: "gateway.lune-valley.example:7400".to_owned(),
        root: key(1).public(),
        seed: [3; 32],
        registrar: registrar(),
        invite: invite(NOW_MS),
        issuer: issuer(),
        policy: WitnessPolicy::issue(&key(1), &policy).expect("a policy"),
    }
}

fn message() -> v1::InviteToken {
    let token = token();
    v1::InviteToken {
        gateway: token.gateway,
        root_fingerprint: sha256(&[&token.root.0]).to_vec(),
        seed: token.seed.to_vec(),
        registrar: Some(token.registrar),
        invite: Some(token.invite),
        root_public_key: token.root.0.to_vec(),
        issuer: Some(token.issuer),
        policy: Some(token.policy),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let text = token().encode().expect("a token");
    let short = v1::InviteToken {
        invite: None,
        ..message()
    };
    vec![
        text.clone().into_bytes(),
        format!("  {text}\n").into_bytes(),
        message().encode_to_vec(),
        short.encode_to_vec(),
    ]
}

/// A token around any message.
fn around(message: &[u8]) -> String {
    let length = u32::try_from(message.len()).expect("a length").to_be_bytes();
    let bytes = [length.as_slice(), message, &sha256(&[message])[..8]].concat();
    format!("{TOKEN_PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
}

pub(crate) fn check(data: &[u8]) {
    let given = String::from_utf8_lossy(data);
    let text = if given.trim().starts_with(TOKEN_PREFIX) {
        given.into_owned()
    } else {
        if let Err(error) = InviteToken::decode(&given) {
            refused(error.problem());
        }
        around(data)
    };
    let token = match InviteToken::decode(&text) {
        Ok(token) => token,
        Err(error) => return refused(error.problem()),
    };
    let text = text.trim();
    assert!(text.len() <= TOKEN_TEXT_BYTES_MAX);
    assert!(!token.gateway.is_empty() && token.gateway.bytes().all(|b| b.is_ascii_graphic()));
    let encoded = token.encode().expect("what is read can be written");
    assert_eq!(InviteToken::decode(&encoded).as_ref(), Ok(&token));
    assert_eq!(
        InviteToken::decode(&format!("\t{encoded} \r\n")).as_ref(),
        Ok(&token)
    );
    let end = 1 + data.len() % (encoded.len() - 1);
    assert_eq!(
        InviteToken::decode(&encoded[..end]),
        Err(TokenError::Cut),
        "the first {end} bytes"
    );
    let mut altered = encoded.clone().into_bytes();
    altered[end] = if altered[end] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).expect("a text");
    assert!(InviteToken::decode(&altered).is_err(), "byte {end} altered");
    assert!(!format!("{token:?}").contains("seed"));
    match token.verify(NOW_MS) {
        Ok((registrar, invite)) => {
            assert!(registrar.valid_at(NOW_MS) && NOW_MS < invite.expires_at_ms);
            assert_eq!(registrar.network, invite.network);
        }
        Err(error) => refused(error.problem()),
    }
}
