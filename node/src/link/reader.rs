//! Sorts the frames that come from the gateway and checks who signed them. Called as one half of a stream.
//! Never acts on a frame before its signature, never passes one notice before another.

use kith_proto::id::{EnvelopeId, OrgId, SlipId};
use kith_proto::order::Position;
use kith_proto::problem::Problem;
use kith_proto::receipt::{self, SignedFrame};
use kith_proto::v1::attach_response::Frame;
use kith_proto::v1::{self, AttachResponse};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::Ended;
use super::attach::Session;
use super::outbound::Answer;
use super::pairs::Word;
use super::settling::Said;
use crate::settle::{DroppedNotice, Receipts, Reoffer, Settlement, Stopped};

/// Where frames go.
pub(super) struct Sorted {
    pub(super) answers: mpsc::Sender<Vec<Answer>>,
    pub(super) settlements: mpsc::Sender<Said>,
    pub(super) deliveries: mpsc::Sender<v1::Delivery>,
}

/// Reads until the gateway ends the stream, in whatever way.
pub(super) async fn read(
    session: &Session<'_>,
    mut down: Streaming<AttachResponse>,
    sorted: Sorted,
) -> Result<(), Ended> {
    while let Some(response) = down.message().await? {
        let notice = response.notice_number;
        let Some(frame) = response.frame else {
            continue;
        };
        let gone = |_| Ended::Again;
        match frame {
            Frame::Hello(_) => return Err(Ended::Protocol("a second hello")),
            Frame::Receipts(frame) => {
                sorted
                    .answers
                    .send(taken(session, &frame)?)
                    .await
                    .map_err(|_| Ended::Again)?;
            }
            Frame::Refused(frame) => {
                sorted
                    .answers
                    .send(vec![refused(session, &frame)?])
                    .await
                    .map_err(|_| Ended::Again)?;
            }
            // Only a wish to look: what is offered is asked for and verified.
            Frame::CheckpointOffered(_) => session.checkpoint_offered.notify_one(),
            Frame::Delivery(frame) => sorted.deliveries.send(frame).await.map_err(|_| Ended::Again)?,
            Frame::RecipientReceipts(frame) => {
                let settlement = received(session, &frame)?;
                sorted
                    .settlements
                    .send(Said { settlement, notice })
                    .await
                    .map_err(gone)?;
            }
            Frame::Dropped(frame) => {
                let settlement = Some(dropped(session, &frame)?);
                sorted
                    .settlements
                    .send(Said { settlement, notice })
                    .await
                    .map_err(gone)?;
            }
            Frame::Stopped(frame) => {
                let settlement = Some(stopped(&frame)?);
                sorted
                    .settlements
                    .send(Said { settlement, notice })
                    .await
                    .map_err(gone)?;
            }
            Frame::MembersChanged(_) => session.members_changed.notify_one(),
            Frame::Reoffer(frame) => {
                let settlement = Some(reoffer(session, &frame)?);
                sorted
                    .settlements
                    .send(Said { settlement, notice })
                    .await
                    .map_err(gone)?;
            }
        }
    }
    // Not `Ok`: halves that wait for nothing from the gateway would go on without it.
    Err(Ended::Status(Problem::Unavailable))
}

/// Whether the gateway, by the root's word, signed the frame.
fn by_gateway<F: SignedFrame>(session: &Session<'_>, frame: &F, what: &'static str) -> Result<(), Ended> {
    receipt::verify(&session.issuer.signing_key, frame).map_err(|_| Ended::Protocol(what))
}

fn taken(session: &Session<'_>, frame: &v1::GatewayReceipts) -> Result<Vec<Answer>, Ended> {
    by_gateway(session, frame, "receipts")?;
    let pairs = frame.envelope_ids.iter().zip(&frame.envelope_hashes);
    pairs
        .map(|(id, hash)| {
            let (envelope_id, envelope_hash) = envelope(id, hash)?;
            Ok(Answer {
                envelope_id,
                envelope_hash,
                word: Word::Taken(frame.taken_at_ms),
            })
        })
        .collect()
}

fn refused(session: &Session<'_>, frame: &v1::Refused) -> Result<Answer, Ended> {
    by_gateway(session, frame, "refusal")?;
    let (envelope_id, envelope_hash) = envelope(&frame.envelope_id, &frame.envelope_hash)?;
    let problem = problem(frame.problem).ok_or(Ended::Protocol("refusal"))?;
    let word = if frame.retry_after_ms > 0 {
        Word::NotNow {
            problem,
            retry_after_ms: frame.retry_after_ms,
        }
    } else {
        Word::Refused {
            problem,
            at_ms: frame.refused_at_ms,
        }
    };
    Ok(Answer {
        envelope_id,
        envelope_hash,
        word,
    })
}

/// A recipient's receipts; none when they are not the recipient's, which only a gateway can be the cause of. They are
/// passed over, so that they do not stand in the way of the notices behind them. Those of keys that are not in the key log yet come
/// again on the next stream, which begins with the log.
fn received(session: &Session<'_>, frame: &v1::RecipientReceipts) -> Result<Option<Settlement>, Ended> {
    let Ok(peer) = frame.to.parse::<OrgId>() else {
        return Ok(None);
    };
    let keys = session.node.members.keys_of(&peer, frame.received_at_ms);
    let signed = keys.is_some_and(|keys| receipt::verify(&keys.signing_key, frame).is_ok());
    if !signed && session.node.members.awaits_log(&peer) {
        return Err(Ended::Again);
    }
    if !signed || frame.from != session.node.organisation().as_str() {
        tracing::error!("the gateway passed on receipts that their recipient did not sign");
        return Ok(None);
    }
    let ids = frame
        .envelope_ids
        .iter()
        .zip(&frame.envelope_hashes)
        .zip(&frame.problems);
    let envelopes = ids.filter_map(|((id, hash), number)| {
        let (id, hash) = envelope(id, hash).ok()?;
        Some((id, hash, problem(*number)))
    });
    let envelopes = envelopes.collect();
    Ok(Some(Settlement::Received(Receipts {
        peer,
        received_at_ms: frame.received_at_ms,
        envelopes,
    })))
}

fn dropped(session: &Session<'_>, frame: &v1::Dropped) -> Result<Settlement, Ended> {
    by_gateway(session, frame, "tombstone")?;
    let (envelope_id, envelope_hash) = envelope(&frame.envelope_id, &frame.envelope_hash)?;
    Ok(Settlement::Dropped(DroppedNotice {
        envelope_id,
        envelope_hash,
        problem: problem(frame.problem).ok_or(Ended::Protocol("tombstone"))?,
        at_ms: frame.dropped_at_ms,
    }))
}

fn stopped(frame: &v1::SlipStopped) -> Result<Settlement, Ended> {
    let slip_id = SlipId::try_from(frame.slip_id.as_slice()).map_err(|_| Ended::Protocol("stop"))?;
    Ok(Settlement::Stopped(Stopped {
        slip_id,
        at_ms: frame.stopped_at_ms,
    }))
}

/// Nobody signs it: whoever would forge it has this node send to a member what that member was sent before.
fn reoffer(session: &Session<'_>, frame: &v1::Reoffer) -> Result<Settlement, Ended> {
    let bad = || Ended::Protocol("a re-offer");
    let held = frame.held.as_ref();
    let held = held.map(|held| Position::of_wire(held.number, &held.envelope_hash).ok_or_else(bad));
    Ok(Settlement::Reoffer(Reoffer {
        peer: frame.organisation.parse().map_err(|_| bad())?,
        restore_id: frame.restore_id.as_slice().try_into().map_err(|_| bad())?,
        held: held.transpose()?,
        since_ms: frame.since_ms,
        asked_at_ms: session.node.now_ms(),
    }))
}

pub(super) fn envelope(id: &[u8], hash: &[u8]) -> Result<(EnvelopeId, [u8; 32]), Ended> {
    let id = EnvelopeId::try_from(id).map_err(|_| Ended::Protocol("envelope id"))?;
    Ok((id, hash.try_into().map_err(|_| Ended::Protocol("envelope hash"))?))
}

pub(super) fn problem(number: i32) -> Option<Problem> {
    Problem::try_from(number).ok()
}
