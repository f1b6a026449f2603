//! What the recipient's node refuses by itself, one fault at a time, whatever a gateway let pass: the sender is told the problem
//! over the node's signature, nothing is shown or kept, and what comes next goes through.

use kith_proto::envelope::ENVELOPE_BYTES_MAX;
use kith_proto::problem::Problem;
use kith_proto::v1::{self, body::Body};
use kith_proto::words::{Category, EnvelopeKind};

use crate::gateway::T0;
use crate::host::Story;
use crate::peer::{HeldSlip, Peer, random, referral};
use crate::receiving::refused;

/// A second member that the story's node knows.
fn other(story: &Story) -> Peer {
    Peer::new(
        &story.gateway,
        "hillcrest-school",
        &"hope-street".parse().unwrap(),
        &story.host.sealing_key(),
    )
}

/// A head that declares a need, under a slip.
fn head(peer: &Peer, slip: &HeldSlip) -> v1::Head {
    let mut head = peer.head(EnvelopeKind::Referral, &slip.signed, random());
    head.categories = vec![Category::Need.number()];
    head
}

fn need() -> Body {
    Body::Referral(referral(&[(Category::Need, "summary", "x")]))
}

#[tokio::test]
async fn a_truncated_body_is_refused_even_when_its_sender_signed_it() {
    refused(Problem::Invalid, |_, peer| {
        let mut envelope = peer.referral(&peer.slip());
        envelope.ciphertext.truncate(envelope.ciphertext.len() - 1);
        envelope
    })
    .await;
    refused(Problem::Invalid, |_, peer| {
        let mut envelope = peer.referral(&peer.slip());
        envelope.ciphertext.truncate(200);
        peer.sign(envelope)
    })
    .await;
}

#[tokio::test]
async fn an_oversized_envelope_is_refused() {
    refused(Problem::TooLarge, |_, peer| {
        let mut envelope = peer.referral(&peer.slip());
        envelope.ciphertext = vec![7; ENVELOPE_BYTES_MAX].into();
        peer.sign(envelope)
    })
    .await;
}

#[tokio::test]
async fn an_envelope_that_had_run_out_when_it_was_taken_is_refused() {
    refused(Problem::DeadlineExceeded, |_, peer| {
        let mut head = head(peer, &peer.slip());
        (head.created_at_ms, head.expires_at_ms) = (T0 - 10, T0);
        peer.seal(head, need())
    })
    .await;
}

#[tokio::test]
async fn an_envelope_of_another_network_is_refused() {
    refused(Problem::Invalid, |_, peer| {
        let elsewhere = "other-valley.example";
        let slip = peer.slip_with(|slip| slip.network = elsewhere.into());
        let mut head = head(peer, &slip);
        head.network = elsewhere.into();
        peer.seal(head, need())
    })
    .await;
}

#[tokio::test]
async fn a_slip_of_another_sender_is_refused() {
    refused(Problem::RecipientNotAllowed, |story, peer| {
        let slip = other(story).slip();
        peer.seal(head(peer, &slip), need())
    })
    .await;
}

#[tokio::test]
async fn a_slip_for_another_recipient_is_refused() {
    refused(Problem::RecipientNotAllowed, |_, peer| {
        let slip = peer.slip_with(|slip| slip.to = "harbour-welcome".into());
        peer.seal(head(peer, &slip), need())
    })
    .await;
}

#[tokio::test]
async fn a_slip_that_another_member_signed_is_refused() {
    refused(Problem::Invalid, |story, peer| {
        let mut slip = peer.slip();
        slip.signed = kith_proto::slip::SignedSlip::issue(&slip.slip, &other(story).signing).unwrap();
        peer.seal(head(peer, &slip), need())
    })
    .await;
}

#[tokio::test]
async fn a_body_about_another_person_than_the_slips_is_refused() {
    refused(Problem::ConsentMissing, |_, peer| {
        peer.seal_about([9; 16], &head(peer, &peer.slip()), need())
    })
    .await;
}

#[tokio::test]
async fn a_body_of_another_kind_than_the_head_says_is_refused() {
    refused(Problem::Invalid, |_, peer| {
        let message = v1::ThreadMessage {
            message_id: vec![1; 16],
            words: "x".into(),
            parts: Vec::new(),
        };
        peer.seal_anything(&head(peer, &peer.slip()), Body::Message(message))
    })
    .await;
}

#[tokio::test]
async fn a_hidden_character_that_its_sender_let_through_is_refused() {
    for hidden in ["\u{202e}malaS", "a\u{1b}[2Jb"] {
        refused(Problem::Invalid, |_, peer| {
            let body = Body::Referral(referral(&[(Category::Need, "summary", hidden)]));
            peer.seal(head(peer, &peer.slip()), body)
        })
        .await;
    }
}

#[tokio::test]
async fn a_text_over_its_limit_is_refused() {
    refused(Problem::TooLarge, |_, peer| {
        let long = "x".repeat(kith_proto::part::FIELD_VALUE_BYTES_MAX + 1);
        let body = Body::Referral(referral(&[(Category::Need, "summary", &long)]));
        peer.seal(head(peer, &peer.slip()), body)
    })
    .await;
}
