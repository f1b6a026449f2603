//! What the gate refuses, one fault at a time, over real sockets: the sender gets the problem over the gateway's signature, the
//! recipient a tombstone, nothing is kept, and what is sent next goes through.

use kith_proto::envelope::{ENVELOPE_BYTES_MAX, HEAD_BYTES_MAX};
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::sign::SigningKey;
use kith_proto::slip::{SignedSlip, Slip};
use kith_proto::v1::{self, attach_request::Frame as Up, attach_response::Frame, head};
use kith_proto::words::EnvelopeKind::{Referral, Withdrawal};
use prost::Message as _;

use crate::network::{DAY_MS, Network, START_MS};
use crate::node::{Answered, HeldSlip, Node, alone, refused};
use crate::place;

const TAKEN: Answered = Answered::Taken { at_ms: START_MS };
const WAITING: &str = "SELECT COUNT(*) AS n FROM mailbox WHERE envelope IS NOT NULL";
const TAKEN_ROWS: &str = "SELECT COUNT(*) AS n FROM taken WHERE problem IS NULL";
const REFUSED_ROWS: &str = "SELECT COUNT(*) AS n FROM audit_event WHERE code = 'envelope_refused'";

/// Three members; the first sends to the second.
struct Three {
    network: Network,
    gp: Node,
    peers: Node,
    mosque: Node,
}

impl Three {
    async fn join() -> Self {
        let network = Network::start(place().await).await;
        Self {
            gp: network.node("riverside-gp", 1).await,
            peers: network.node("tigrinya-circle", 2).await,
            mosque: network.node("hope-mosque", 3).await,
            network,
        }
    }

    /// A good one, the bad one, a good one: each in a submission of its own, as an envelope may fill one alone.
    async fn refuse(mut self, problem: Problem, bad: impl Fn(&Self) -> v1::Envelope) {
        let slip = self.gp.slip(&self.peers);
        let good = self.gp.envelope(&self.peers, Referral, &slip);
        let bad = bad(&self);
        let next = self.gp.envelope(&self.peers, Referral, &slip);
        let mut line = self.gp.attach().await;
        let taken = Answered::Taken {
            at_ms: self.network.gateway.clock.now_ms(),
        };
        for (envelope, expected) in [(good, taken.clone()), (bad, refused(problem)), (next, taken)] {
            let submission = self.gp.submission(&self.peers, vec![envelope]);
            let expected = vec![expected];
            assert_eq!(line.submit(&submission).await, expected);
            assert_eq!(line.submit(&submission).await, expected, "answered as before");
        }
        assert_eq!(self.network.count(WAITING).await, 2);
        assert_eq!(self.network.count(TAKEN_ROWS).await, 2);
        assert_eq!(self.network.count(REFUSED_ROWS).await, 1);
        let got = self.peers.attach().await.delivered(3).await;
        let got: Vec<_> = got.iter().map(|got| (got.number, got.tombstone)).collect();
        assert_eq!(
            got,
            [(Some(1), None), (Some(2), Some(problem)), (Some(3), None)],
            "the order stays whole"
        );
    }

    fn good(&self) -> v1::Envelope {
        self.gp
            .envelope(&self.peers, Referral, &self.gp.slip(&self.peers))
    }

    /// An honest slip with something turned, signed by `key`.
    fn slip_with(&self, key: &SigningKey, turn: impl Fn(&mut v1::Slip)) -> HeldSlip {
        let mut held = self.gp.slip(&self.peers);
        let mut wire = held.slip.to_wire();
        turn(&mut wire);
        held.slip = Slip::parse(&wire).unwrap();
        held.signed = SignedSlip::issue(&held.slip, key).unwrap();
        held
    }
}

#[tokio::test]
async fn a_forged_envelope_is_refused() {
    let Three {
        network,
        gp,
        peers,
        mosque,
    } = Three::join().await;
    let slip = gp.slip(&peers);
    let mut line = gp.attach().await;
    // Outside the order the envelope's own signature says whose it is.
    let mut flipped = gp.envelope(&peers, Withdrawal, &slip);
    let mut signature = flipped.signature.to_vec();
    signature[7] ^= 1;
    flipped.signature = signature.into();
    let from = gp.org.to_string();
    let by_another = mosque.seal(&peers, Withdrawal, &slip, |head| head.from.clone_from(&from));
    for forged in [flipped, by_another] {
        let answered = line.submit(&alone(forged)).await;
        assert_eq!(answered, [refused(Problem::Invalid)]);
    }
    let good = gp.envelope(&peers, Withdrawal, &slip);
    assert_eq!(line.submit(&alone(good)).await, [TAKEN]);
    assert_eq!(network.count(WAITING).await, 1);
}

#[tokio::test]
async fn an_envelope_that_its_line_does_not_name_ends_the_stream() {
    let Three {
        network,
        mut gp,
        peers,
        ..
    } = Three::join().await;
    let good = gp.envelope(&peers, Referral, &gp.slip(&peers));
    let mut submission = gp.submission(&peers, vec![good]);
    let mut ciphertext = submission.envelopes[0].ciphertext.to_vec();
    ciphertext[9] ^= 1;
    submission.envelopes[0].ciphertext = ciphertext.into();
    let mut line = gp.attach().await;
    line.send(Up::Submission(submission)).await;
    let (frames, problem) = line.ended().await;
    assert_eq!((frames.len(), problem), (0, Problem::Invalid));
    assert_eq!(network.count(WAITING).await, 0);
}

#[tokio::test]
async fn another_members_envelope_is_not_passed_on_as_ones_own() {
    let replayed = |three: &Three| {
        let slip = three.mosque.slip(&three.peers);
        three.mosque.envelope(&three.peers, Referral, &slip)
    };
    Three::join().await.refuse(Problem::Invalid, replayed).await;
}

#[tokio::test]
async fn a_truncated_envelope_is_refused() {
    let short_body = |three: &Three| {
        let mut envelope = three.good();
        envelope.ciphertext.truncate(300);
        envelope
    };
    Three::join().await.refuse(Problem::Invalid, short_body).await;
    let short_head = |three: &Three| {
        let mut envelope = three.good();
        envelope.head.truncate(50);
        envelope
    };
    Three::join().await.refuse(Problem::Invalid, short_head).await;
}

#[tokio::test]
async fn an_oversized_envelope_or_head_is_refused() {
    let long_body = |three: &Three| {
        let mut envelope = three.good();
        envelope.ciphertext = vec![7; ENVELOPE_BYTES_MAX].into();
        envelope
    };
    Three::join().await.refuse(Problem::TooLarge, long_body).await;
    let long_head = |three: &Three| {
        let mut envelope = three.good();
        let mut head = v1::Head::decode(&*envelope.head).unwrap();
        head.categories = vec![1; HEAD_BYTES_MAX];
        envelope.head = head.encode_to_vec().into();
        envelope
    };
    Three::join().await.refuse(Problem::TooLarge, long_head).await;
}

#[tokio::test]
async fn an_envelope_of_another_network_is_refused() {
    let elsewhere = |three: &Three| {
        let other = "other-valley.example";
        let slip = three.slip_with(&three.gp.signing, |slip| slip.network = other.into());
        three
            .gp
            .seal(&three.peers, Referral, &slip, |head| head.network = other.into())
    };
    Three::join().await.refuse(Problem::Invalid, elsewhere).await;
}

#[tokio::test]
async fn a_slip_of_another_sender_or_recipient_is_refused() {
    let of_the_mosque = |three: &Three| {
        let slip = three.mosque.slip(&three.peers);
        three.gp.envelope(&three.peers, Referral, &slip)
    };
    let three = Three::join().await;
    three.refuse(Problem::RecipientNotAllowed, of_the_mosque).await;
    let for_the_mosque = |three: &Three| {
        let slip = three.gp.slip(&three.mosque);
        three.gp.envelope(&three.peers, Referral, &slip)
    };
    let three = Three::join().await;
    three.refuse(Problem::RecipientNotAllowed, for_the_mosque).await;
}

#[tokio::test]
async fn a_slip_that_has_run_out_or_does_not_hold_yet_is_refused() {
    let over = |three: &Three| {
        let slip = three.slip_with(&three.gp.signing, |slip| {
            slip.expires_at_ms = START_MS + 1;
        });
        three.gp.envelope(&three.peers, Referral, &slip)
    };
    let three = Three::join().await;
    three.network.hand.advance(1);
    three.refuse(Problem::ConsentExpired, over).await;
    let early = |three: &Three| {
        let slip = three.slip_with(&three.gp.signing, |slip| slip.issued_at_ms = START_MS + DAY_MS);
        three.gp.envelope(&three.peers, Referral, &slip)
    };
    Three::join().await.refuse(Problem::Invalid, early).await;
}

/// Under the consent of the recipient only its own signature counts; that a sender's own slip is good, its recipient checks.
#[tokio::test]
async fn a_slip_with_a_wrong_signature_is_refused() {
    let flipped = |three: &Three| {
        let mut slip = three.peers.slip(&three.gp);
        slip.signed.signature[3] ^= 1;
        three.gp.envelope(&three.peers, Referral, &slip)
    };
    Three::join().await.refuse(Problem::Invalid, flipped).await;
    let by_the_sender = |three: &Three| {
        let mut slip = three.peers.slip(&three.gp);
        slip.signed = SignedSlip::issue(&slip.slip, &three.gp.signing).unwrap();
        three.gp.envelope(&three.peers, Referral, &slip)
    };
    Three::join().await.refuse(Problem::Invalid, by_the_sender).await;
    let widened = |three: &Three| {
        let mut slip = three.peers.slip(&three.gp);
        let mut wire = slip.slip.to_wire();
        wire.categories.push(5);
        slip.signed.slip = wire.encode_to_vec();
        let turn = |head: &mut v1::Head| head.categories = vec![5];
        three.gp.seal(&three.peers, Referral, &slip, turn)
    };
    Three::join().await.refuse(Problem::Invalid, widened).await;
}

#[tokio::test]
async fn an_envelope_without_a_slip_is_refused() {
    let bare = |three: &Three| {
        let mut envelope = three.good();
        let mut head = v1::Head::decode(&*envelope.head).unwrap();
        head.ground = None::<head::Ground>;
        envelope.head = head.encode_to_vec().into();
        envelope
    };
    Three::join().await.refuse(Problem::Invalid, bare).await;
}

#[tokio::test]
async fn what_is_too_large_for_a_frame_ends_the_stream_and_nothing_else() {
    let Three {
        network,
        mut gp,
        peers,
        ..
    } = Three::join().await;
    let slip = gp.slip(&peers);
    let big = |bytes: usize| {
        let mut envelope = gp.envelope(&peers, Referral, &slip);
        envelope.ciphertext = vec![7; bytes].into();
        envelope
    };
    let frames = [
        vec![big(3 << 20)],
        vec![big(600 << 10), big(600 << 10)],
        gp.copies(&gp.envelope(&peers, Referral, &slip), 65),
    ];
    for envelopes in frames {
        let submission = gp.submission(&peers, envelopes);
        gp.go_back(&peers, kith_proto::order::Position::START);
        let mut line = gp.attach().await;
        line.send(Up::Submission(submission)).await;
        assert_eq!(line.ended().await, (vec![], Problem::TooLarge));
    }
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM taken").await, 0);
    let good = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(gp.attach().await.submit(&good).await, [TAKEN]);
}

#[tokio::test]
async fn a_frame_that_was_cut_or_is_none_ends_the_stream_and_nothing_else() {
    let Three {
        network,
        mut gp,
        peers,
        ..
    } = Three::join().await;
    let slip = gp.slip(&peers);
    let good = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    let hello = v1::NodeHello {
        version: 1,
        node_time_ms: START_MS,
        received: Vec::new(),
    };
    let encoded = |frame| v1::AttachRequest { frame: Some(frame) }.encode_to_vec();
    let mut cut = encoded(Up::Submission(good.clone()));
    cut.truncate(cut.len() - 7);
    for bytes in [cut, b"a letter that nobody encoded".to_vec()] {
        let frames = vec![encoded(Up::Hello(hello.clone())), bytes];
        assert_eq!(raw::attach(gp.channel(), frames).await, Problem::Invalid);
    }
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM taken").await, 0);
    assert_eq!(gp.attach().await.submit(&good).await, [TAKEN]);
}

#[tokio::test]
async fn a_submission_that_another_member_repeats_ends_that_members_stream() {
    let Three {
        network,
        mut gp,
        peers,
        mosque,
    } = Three::join().await;
    let slip = gp.slip(&peers);
    let submission = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    let mut thief = mosque.attach().await;
    thief.send(Up::Submission(submission.clone())).await;
    assert_eq!(thief.ended().await, (vec![], Problem::Unauthenticated));
    assert_eq!(network.count("SELECT COUNT(*) AS n FROM taken").await, 0);
    assert_eq!(gp.attach().await.submit(&submission).await, [TAKEN]);
}

#[tokio::test]
async fn what_the_recipient_refuses_its_sender_is_told_as_the_recipient_signed_it() {
    let Three {
        network,
        mut gp,
        peers,
        ..
    } = Three::join().await;
    let slip = gp.slip(&peers);
    let mut sending = gp.attach().await;
    let envelope = gp.envelope(&peers, Referral, &slip);
    let submission = gp.submission(&peers, vec![envelope]);
    assert_eq!(sending.submit(&submission).await, [TAKEN]);
    let mut receiving = peers.attach().await;
    let got = receiving.delivered(1).await;
    let mut receipts = peers.receipt(&gp.org, &[(got[0].id, got[0].hash)]);
    receipts.problems = vec![Problem::CategoryNotAllowed.number()];
    receipt::sign(&peers.signing, &mut receipts).unwrap();
    receiving.send(Up::Receipts(receipts.clone())).await;
    let told = sending.notices(1).await;
    assert_eq!(told[0].1, Frame::RecipientReceipts(receipts));
    assert_eq!(network.count(WAITING).await, 0, "it does not come again");
    let next = gp.submission(&peers, vec![gp.envelope(&peers, Referral, &slip)]);
    assert_eq!(sending.submit(&next).await, [TAKEN]);
}

mod raw {
    //! A stream whose frames are bytes of the story's choice.

    use kith_proto::problem::Problem;
    use kith_service::status::failure_of;
    use prost::bytes::{Buf as _, BufMut as _};
    use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
    use tonic::{Request, Status};

    #[derive(Default)]
    struct Bytes;

    impl Codec for Bytes {
        type Encode = Vec<u8>;
        type Decode = ();
        type Encoder = Self;
        type Decoder = Self;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Self {
            Self
        }
    }

    impl Encoder for Bytes {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, frame: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
            out.put_slice(&frame);
            Ok(())
        }
    }

    impl Decoder for Bytes {
        type Item = ();
        type Error = Status;

        fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
            frame.advance(frame.remaining());
            Ok(Some(()))
        }
    }

    /// Sends frames and says with which problem the gateway ended the stream.
    pub(super) async fn attach(channel: tonic::transport::Channel, frames: Vec<Vec<u8>>) -> Problem {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        // Open until the gateway ends it: a node that went away would be told nothing.
        let frames = tokio_stream::StreamExt::chain(tokio_stream::iter(frames), tokio_stream::pending());
        let path = "/kith.v1.RelayService/Attach".parse().unwrap();
        let mut down = client
            .streaming(Request::new(frames), path, Bytes)
            .await
            .unwrap()
            .into_inner();
        loop {
            match down.message().await {
                Ok(Some(())) => {}
                Ok(None) => panic!("the stream ended without a status"),
                Err(status) => return failure_of(&status).problem,
            }
        }
    }
}
