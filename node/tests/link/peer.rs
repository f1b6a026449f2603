//! Another member as small as a test needs it: has keys and a chain, issues slips, seals honest and crooked envelopes.
//! Never speaks to the gateway itself: the story carries what it makes.

use std::cell::Cell;

use kith_proto::envelope::{envelope_hash, seal_envelope, sealing_key_id};
use kith_proto::id::{OrgId, PersonId, SlipId};
use kith_proto::order::{self, Position};
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::seal::{self, SealingKey, SealingPublicKey};
use kith_proto::sign::{Context, SigningKey, sha256};
use kith_proto::slip::{SignedSlip, Slip, person_commitment, stop_hash, stop_secret};
use kith_proto::trust::{self, NewKeys};
use kith_proto::v1::{self, body::Body, head};
use kith_proto::words::{Category, EnvelopeKind};
use kith_service::rng::Rng;
use prost::Message as _;

use crate::gateway::{DAY_MS, Gateway, NETWORK, T0};

const SALT: [u8; 32] = [4; 32];
const PERSON: [u8; 16] = [5; 16];

/// Random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    Rng::system().bytes().unwrap()
}

/// Another member of the network.
pub(crate) struct Peer {
    pub(crate) org: OrgId,
    pub(crate) signing: SigningKey,
    pub(crate) sealing: SealingKey,
    /// Who it sends to.
    to: OrgId,
    to_key: SealingPublicKey,
    /// Where it stands towards the node of the story.
    last: Cell<Position>,
}

/// A slip and what it takes to use it.
#[derive(Clone)]
pub(crate) struct HeldSlip {
    pub(crate) slip: Slip,
    pub(crate) signed: v1::SignedSlip,
}

impl HeldSlip {
    pub(crate) fn id(&self) -> SlipId {
        self.slip.id
    }
}

impl Peer {
    /// Makes a member and has the gateway list it.
    pub(crate) fn new(gateway: &Gateway, org: &str, to: &OrgId, to_key: &SealingPublicKey) -> Self {
        let token = gateway.invite(org);
        let (_, invite) = token.verify(T0).unwrap();
        let signing = SigningKey::from_seed(random()).unwrap();
        let sealing = SealingKey::from_seed(random()).unwrap();
        let keys = NewKeys {
            signing_key: signing.public(),
            sealing_key: sealing.public().clone(),
        };
        let seed = SigningKey::from_seed(token.seed).unwrap();
        let binding = trust::first_binding(&seed, &invite, &keys, T0).unwrap();
        let chain = v1::BindingChain {
            registrar: Some(token.registrar),
            invite: Some(token.invite),
            bindings: vec![binding],
            later_registrars: Vec::new(),
            later_invites: Vec::new(),
        };
        gateway.inner.list(org, chain);
        Self {
            org: org.parse().unwrap(),
            signing,
            sealing,
            to: to.clone(),
            to_key: to_key.clone(),
            last: Cell::new(Position::START),
        }
    }

    /// The same member with a new sealing key, listed with its next binding.
    pub(crate) fn rotate(&mut self, gateway: &Gateway, at_ms: i64) {
        let mut chain = gateway.inner.chain(self.org.as_str());
        let root = SigningKey::from_seed([1; 32]).unwrap().public();
        let member = trust::verify_chain(&chain, &root, &NETWORK.parse().unwrap(), at_ms).unwrap();
        self.sealing = SealingKey::from_seed(random()).unwrap();
        let keys = NewKeys {
            signing_key: self.signing.public(),
            sealing_key: self.sealing.public().clone(),
        };
        chain
            .bindings
            .push(trust::next_binding(&self.signing, &member, &keys, at_ms).unwrap());
        gateway.inner.list(self.org.as_str(), chain);
    }

    /// Issues a slip for the node of the story: two months, identity, need and progress, care.
    pub(crate) fn slip(&self) -> HeldSlip {
        self.slip_with(|_| {})
    }

    /// As [`Peer::slip`], with something turned.
    pub(crate) fn slip_with(&self, turn: impl Fn(&mut v1::Slip)) -> HeldSlip {
        let mut wire = v1::Slip {
            slip_id: random::<16>().to_vec(),
            network: NETWORK.into(),
            from: self.org.to_string(),
            to: self.to.to_string(),
            purposes: vec![1],
            categories: vec![1, 4],
            issued_at_ms: T0,
            expires_at_ms: T0 + 60 * DAY_MS,
            progress: true,
            person_commitment: person_commitment(&SALT, &PersonId::from_bytes(PERSON)).to_vec(),
            stop_hash: stop_hash(&stop_secret(&random())).to_vec(),
        };
        turn(&mut wire);
        let slip = Slip::parse(&wire).unwrap();
        let signed = SignedSlip::issue(&slip, &self.signing).unwrap();
        HeldSlip { slip, signed }
    }

    /// A head towards the node of the story.
    pub(crate) fn head(&self, kind: EnvelopeKind, slip: &v1::SignedSlip, thread_id: [u8; 16]) -> v1::Head {
        v1::Head {
            version: 1,
            suite: 1,
            envelope_id: random::<16>().to_vec(),
            network: NETWORK.into(),
            from: self.org.to_string(),
            to: self.to.to_string(),
            kind: kind.number(),
            thread_id: thread_id.to_vec(),
            ground: Some(head::Ground::Slip(slip.clone())),
            categories: Vec::new(),
            created_at_ms: T0,
            expires_at_ms: T0 + 30 * DAY_MS,
            sealing_key_id: sealing_key_id(&self.to_key).to_vec(),
        }
    }

    /// Seals an honest envelope.
    pub(crate) fn seal(&self, head: v1::Head, body: Body) -> v1::Envelope {
        let body = self.body(body);
        seal_envelope(head, &body, &self.to_key, &self.signing, &random())
            .unwrap()
            .into_envelope()
    }

    /// Seals whatever it is told to, as an honest program never would.
    pub(crate) fn seal_anything(&self, head: &v1::Head, body: Body) -> v1::Envelope {
        self.seal_about(PERSON, head, body)
    }

    /// As [`Peer::seal_anything`], about a person of the story's choice.
    pub(crate) fn seal_about(&self, person_id: [u8; 16], head: &v1::Head, body: Body) -> v1::Envelope {
        let head = head.encode_to_vec();
        let body = v1::Body {
            person_id: person_id.to_vec(),
            ..self.body(body)
        };
        let padded = seal::pad(&body.encode_to_vec()).unwrap();
        let info = [b"kith/v1/envelope".as_slice(), NETWORK.as_bytes()].concat();
        let sealed = seal::seal(&self.to_key, &info, &head, &padded, &random()).unwrap();
        self.sign(v1::Envelope {
            head: head.into(),
            enc: sealed.enc.into(),
            ciphertext: sealed.ciphertext.into(),
            signature: Vec::new().into(),
        })
    }

    /// Signs an envelope as it stands.
    pub(crate) fn sign(&self, mut envelope: v1::Envelope) -> v1::Envelope {
        let length = (envelope.enc.len() + envelope.ciphertext.len()) as u64;
        let line = [
            sha256(&[&envelope.head]).as_slice(),
            &length.to_be_bytes(),
            &sha256(&[&envelope.enc, &envelope.ciphertext]),
        ]
        .concat();
        let signature = self
            .signing
            .sign(Context::Header, &[&envelope.head, &line])
            .unwrap();
        envelope.signature = signature.0.to_vec().into();
        envelope
    }

    fn body(&self, body: Body) -> v1::Body {
        v1::Body {
            person_salt: SALT.to_vec(),
            person_id: PERSON.to_vec(),
            body: Some(body),
        }
    }

    /// A referral with a need.
    pub(crate) fn referral(&self, slip: &HeldSlip) -> v1::Envelope {
        let mut head = self.head(EnvelopeKind::Referral, &slip.signed, random());
        head.categories = vec![Category::Need.number()];
        self.seal(
            head,
            Body::Referral(referral(&[(Category::Need, "summary", "A bicycle")])),
        )
    }

    /// The next envelopes of the pair, as the gateway delivers them.
    pub(crate) fn next(&self, envelopes: &[v1::Envelope]) -> v1::Delivered {
        let (delivered, position) = self.after(self.last.get(), envelopes);
        self.last.set(position);
        delivered
    }

    /// Envelopes after a position of the story's choice.
    pub(crate) fn after(&self, last: Position, envelopes: &[v1::Envelope]) -> (v1::Delivered, Position) {
        let hashes: Vec<[u8; 32]> = envelopes.iter().map(envelope_hash).collect();
        let (order, position) = order::sign(&self.signing, &self.org, &self.to, last, &hashes).unwrap();
        let what = |envelope: &v1::Envelope| v1::DeliveredEnvelope {
            what: Some(v1::delivered_envelope::What::Envelope(envelope.clone())),
        };
        let delivered = v1::Delivered {
            order: Some(order),
            taken_at_ms: T0,
            envelopes: envelopes.iter().map(what).collect(),
        };
        (delivered, position)
    }

    /// This member's receipts for envelopes of the node of the story, signed by `key`.
    pub(crate) fn receipts(
        &self,
        envelopes: &[v1::Envelope],
        problem: Option<Problem>,
        key: &SigningKey,
    ) -> v1::RecipientReceipts {
        let ids = envelopes
            .iter()
            .map(|e| crate::gateway::head(e).envelope_id.as_bytes().to_vec());
        let mut receipts = v1::RecipientReceipts {
            from: self.to.to_string(),
            to: self.org.to_string(),
            envelope_ids: ids.collect(),
            envelope_hashes: envelopes.iter().map(|e| envelope_hash(e).to_vec()).collect(),
            received_at_ms: T0 + 5_000,
            problems: envelopes
                .iter()
                .map(|_| problem.map_or(0, Problem::number))
                .collect(),
            signature: Vec::new(),
        };
        receipt::sign(key, &mut receipts).unwrap();
        receipts
    }
}

/// An item outside the order of the pair.
pub(crate) fn loose(envelope: v1::Envelope) -> v1::Delivered {
    let what = Some(v1::delivered_envelope::What::Envelope(envelope));
    v1::Delivered {
        order: None,
        taken_at_ms: T0,
        envelopes: vec![v1::DeliveredEnvelope { what }],
    }
}

/// A referral's body with these fields, one part each.
pub(crate) fn referral(fields: &[(Category, &str, &str)]) -> v1::Referral {
    let part = |(category, name, value): &(Category, &str, &str)| v1::Part {
        category: category.number(),
        fields: vec![v1::Field {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        }],
    };
    v1::Referral {
        purpose: 1,
        parts: fields.iter().map(part).collect(),
        consent: Some(v1::ConsentRecord {
            statement_id: "consent-v1".into(),
            language: "en".into(),
            text_hash: vec![7; 32],
            agreed_on: "2027-01-15".into(),
            interpreted_into: String::new(),
        }),
        answer_by_ms: 0,
        parent_slip_id: Vec::new(),
    }
}

/// A member's chain with a re-key by the registrar that the member did not ask for.
pub(crate) fn rekeyed(mut chain: v1::BindingChain, keys: &Peer) -> v1::BindingChain {
    let root = SigningKey::from_seed([1; 32]).unwrap().public();
    let member = trust::verify_chain(&chain, &root, &NETWORK.parse().unwrap(), T0).unwrap();
    let new = NewKeys {
        signing_key: keys.signing.public(),
        sealing_key: keys.sealing.public().clone(),
    };
    let registrar = SigningKey::from_seed([2; 32]).unwrap();
    chain
        .bindings
        .push(trust::rekey(&registrar, &member, &new, T0).unwrap());
    chain
}

/// A position as a hello says it.
pub(crate) fn position(org: &OrgId, number: u64, hash: [u8; 32]) -> v1::PairPosition {
    v1::PairPosition {
        organisation: org.to_string(),
        number,
        envelope_hash: hash.to_vec(),
    }
}
