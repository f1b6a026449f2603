//! The hand that carries envelopes: what the link and the gateway do, without either.
//! Never changes an envelope, never carries one that was withheld.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kith_node::node::Node;
use kith_node::receive::{self, Arrival, Opened, Receipt, What};
use kith_node::settle::{Answered, OutboxRow, Receipts, Settlement};
use kith_node::store;
use kith_proto::envelope::{self, Ground};
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::slip::SignedSlip;
use kith_proto::v1;
use kith_proto::words::EnvelopeKind;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

/// The last number given to each ordered pair of members.
#[derive(Default)]
pub(crate) struct Post {
    numbers: Mutex<BTreeMap<(String, String), u64>>,
}

/// What became of one carried row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) kind: EnvelopeKind,
    /// None when it was withheld.
    pub(crate) problem: Option<Option<Problem>>,
}

impl Post {
    fn next_number(&self, from: &Node, to: &Node) -> u64 {
        let key = (from.organisation().to_string(), to.organisation().to_string());
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = numbers.entry(key).or_insert(0);
        *number += 1;
        *number
    }

    /// Carries everything that waits for `to`, in outbox order; the sender is told what became of each.
    pub(crate) async fn carry(&self, from: &Node, to: &Node) -> Vec<Carried> {
        let read = |mut tx: Tx| async move { store::outgoing::pending(&mut tx, 0, 1_000).await };
        let rows = from
            .store
            .read::<_, StoreError, _, _>("pending", read)
            .await
            .unwrap();
        let mut carried = Vec::new();
        for row in rows.into_iter().filter(|row| row.peer == *to.organisation()) {
            let number = row.ordered.then(|| self.next_number(from, to));
            let problem = carry_one(from, to, row.clone(), number).await;
            carried.push(Carried {
                kind: row.kind,
                problem,
            });
        }
        carried
    }

    /// Carries back and forth until nothing waits.
    pub(crate) async fn carry_all(&self, one: &Node, other: &Node) {
        while !self.carry(one, other).await.is_empty() || !self.carry(other, one).await.is_empty() {}
    }
}

/// Carries one row; none when it was withheld, else what the recipient said.
async fn carry_one(from: &Node, to: &Node, row: OutboxRow, number: Option<u64>) -> Option<Option<Problem>> {
    let (id, hash, seqs) = (row.envelope_id, row.envelope_hash, [row.seq]);
    let withheld = row.withheld.then_some(Problem::ConsentWithdrawn);
    let answered = Answered {
        row,
        resealed: false,
        number,
        problem: withheld,
        at_ms: from.now_ms(),
    };
    from.settle_door
        .submit(Settlement::Answered(answered))
        .await
        .unwrap();
    if withheld.is_some() {
        return None;
    }
    let bytes = |mut tx: Tx| async move { store::outgoing::envelopes(&mut tx, &seqs).await };
    let bytes = from
        .store
        .read::<_, StoreError, _, _>("envelope", bytes)
        .await
        .unwrap();
    let receipt = deliver(
        from,
        to,
        &bytes[0].1,
        number.map(|number| Position::at(number, hash)),
    )
    .await;
    let receipts = Receipts {
        peer: to.organisation().clone(),
        received_at_ms: receipt.at_ms,
        envelopes: vec![(id, hash, receipt.problem)],
    };
    from.settle_door
        .submit(Settlement::Received(receipts))
        .await
        .unwrap();
    Some(receipt.problem)
}

/// Opens one envelope as the link does and hands it in.
async fn deliver(from: &Node, to: &Node, bytes: &[u8], position: Option<Position>) -> Receipt {
    let received = receive::receive(to, vec![arrival(from, to, bytes, position)]).await;
    received.unwrap().receipts.into_iter().next().unwrap()
}

/// Opens one envelope as the link does.
pub(crate) fn arrival(from: &Node, to: &Node, bytes: &[u8], position: Option<Position>) -> Arrival {
    let wire = v1::Envelope::decode(bytes).unwrap();
    let key = from.keys.signing.public();
    let verified = envelope::verify(&wire, |_| Some(key)).unwrap();
    let held = to.keys.sealing_key(&verified.head.sealing_key_id).unwrap();
    let body = envelope::open(&verified, &held.key).unwrap();
    let Ground::Slip { signed, .. } = verified.head.ground.clone() else {
        panic!("an envelope without a slip");
    };
    let captured = |org: &_| {
        to.members
            .keys_of(org, from.now_ms())
            .map(|keys| keys.signing_key)
    };
    let slip = SignedSlip::verify(&signed, &verified.head.network, captured).unwrap();
    Arrival {
        peer: from.organisation().clone(),
        position,
        envelope_id: verified.head.envelope_id,
        envelope_hash: verified.hash,
        what: What::Opened(Box::new(Opened {
            head: verified.head,
            signed,
            slip,
            body,
        })),
    }
}
