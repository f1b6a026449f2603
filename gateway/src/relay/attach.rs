//! One stream of a node from hello to end: reads its frames in order, hands submissions to the take door and receipts to the settle
//! door, and answers after their commits. Called by [`mod@super::attach`] in a task of its own.
//! Never reads on without bound: what is in flight is counted, and frames are slowed to a rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kith_proto::id::{OrgId, SlipId};
use kith_proto::problem::Problem;
use kith_proto::receipt;
use kith_proto::v1::{self, attach_request::Frame as From, attach_response::Frame};
use kith_service::store::{StoreError, Tx};
use kith_service::tls::identity::Identity;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Status};

use super::deliver::Courier;
use super::pace::Pace;
use super::settle::{Received, Settling};
use super::streams::Open;
use super::submit::{self, Submission};
use super::take::Answer;
use super::take::decide::later;
use super::{Out, RelayError, answer, reoffer};
use crate::budget::Purpose;
use crate::gate::Refusal;
use crate::gateway::Gateway;
use crate::limits::{
    DOOR_WAITING_MAX, HELLO_MS_MAX, HELLO_PAIRS_MAX, SUBMISSIONS_IN_FLIGHT_MAX, TAKE_LINES_MAX,
};
use crate::members::KnownMember;
use crate::stop;
use crate::store::pair::{self, Pair};
use crate::store::{mailbox, restore};

/// The version of the link that this gateway speaks.
const VERSION: u32 = 1;

/// Serves a stream; returns why it ended, `Ok` when the node has ended it.
pub async fn serve<S>(gateway: &Gateway, peer: &Identity, mut frames: S, out: &Out) -> Result<(), RelayError>
where
    S: Stream<Item = Result<v1::AttachRequest, Status>> + Send + Unpin,
{
    let place = gateway.relay.streams.enter(&peer.org)?;
    let hello = first(&mut frames).await?;
    place.take_over();
    let open = place.open.clone();
    // Before the hello, after which the node counts on being told of changed members.
    let courier = Courier::new(gateway, peer, &open, out);
    greet(gateway, peer, &hello, out).await?;
    let (submissions, submitted) = mpsc::channel(DOOR_WAITING_MAX);
    let (settlings, settled) = mpsc::channel(DOOR_WAITING_MAX);
    let in_flight = AtomicUsize::new(0);
    let reader = Reader {
        gateway,
        peer,
        in_flight: &in_flight,
        out,
        submissions,
        settlings,
    };
    let work = async {
        tokio::try_join!(
            reader.run(frames),
            take(gateway, &peer.org, submitted, (out, &in_flight)),
            settle(gateway, settled, &open),
        )
    };
    // In this order, not tokio's random one: a simulation must be able to repeat it.
    tokio::select! {
        biased;
        ended = work => ended.map(drop),
        error = courier.run() => Err(error),
        () = open.replaced() => Err(RelayError::Replaced),
        () = gateway.relay.closing() => Err(RelayError::Stopping),
    }
}

async fn first<S>(frames: &mut S) -> Result<v1::NodeHello, RelayError>
where
    S: Stream<Item = Result<v1::AttachRequest, Status>> + Unpin,
{
    let wait = Duration::from_millis(HELLO_MS_MAX);
    let frame = tokio::time::timeout(wait, frames.next()).await;
    let frame = frame
        .map_err(|_| RelayError::NoHello)?
        .ok_or(RelayError::NodeGone)?;
    match frame.map_err(unread)?.frame {
        Some(From::Hello(hello)) if hello.version == VERSION && hello.received.len() <= HELLO_PAIRS_MAX => {
            Ok(hello)
        }
        _ => Err(RelayError::Frame(Problem::Invalid)),
    }
}

/// A message that cannot be decoded is the node's fault and told to it; anything else is a broken line.
fn unread(status: Status) -> RelayError {
    match status.code() {
        Code::Internal => RelayError::Frame(Problem::Invalid),
        Code::OutOfRange => RelayError::Frame(Problem::TooLarge),
        _ => RelayError::NodeGone,
    }
}

/// Lets go of the tombstones that the node has passed, and says where its own pairs stand.
async fn greet(
    gateway: &Gateway,
    peer: &Identity,
    hello: &v1::NodeHello,
    out: &Out,
) -> Result<(), RelayError> {
    let passed = &passed(&peer.org, hello)?;
    let member = &peer.org;
    let taken = gateway
        .store
        .tx("attach", |mut tx| async move {
            for (pair, number) in passed {
                mailbox::passed(&mut tx, pair, *number).await?;
            }
            pair::sent_by(&mut tx, member, HELLO_PAIRS_MAX).await
        })
        .await?;
    let taken = taken.into_iter().map(|(recipient, position)| v1::PairPosition {
        organisation: recipient.to_string(),
        number: position.number(),
        envelope_hash: position.hash().map(|hash| hash.to_vec()).unwrap_or_default(),
    });
    let hello = v1::GatewayHello {
        gateway_time_ms: gateway.clock.now_ms(),
        taken: taken.collect(),
        submissions_in_flight_max: u32::try_from(SUBMISSIONS_IN_FLIGHT_MAX).unwrap_or(u32::MAX),
        issuer: Some(gateway.keys.issuer.clone()),
    };
    out.frame(Frame::Hello(hello)).await
}

fn passed(member: &OrgId, hello: &v1::NodeHello) -> Result<Vec<(Pair, u64)>, RelayError> {
    let read = |position: &v1::PairPosition| {
        let sender = position.organisation.parse();
        let sender = sender.map_err(|_| RelayError::Frame(Problem::Invalid))?;
        let recipient = member.clone();
        Ok((Pair { sender, recipient }, position.number))
    };
    hello.received.iter().map(read).collect()
}

/// Reads frames and sorts them by door.
struct Reader<'a> {
    gateway: &'a Gateway,
    peer: &'a Identity,
    in_flight: &'a AtomicUsize,
    out: &'a Out,
    submissions: mpsc::Sender<Submission>,
    settlings: mpsc::Sender<Settling>,
}

impl Reader<'_> {
    async fn run<S>(self, mut frames: S) -> Result<(), RelayError>
    where
        S: Stream<Item = Result<v1::AttachRequest, Status>> + Unpin,
    {
        let mut pace = Pace::default();
        while let Some(frame) = frames.next().await {
            pace.keep().await;
            let frame = frame.map_err(unread)?.frame;
            match frame.ok_or(RelayError::Frame(Problem::Invalid))? {
                From::Hello(_) => return Err(RelayError::Frame(Problem::Invalid)),
                From::Submission(submission) => self.submission(submission).await?,
                From::Receipts(receipts) => self.receipts(receipts).await?,
                From::Stop(notice) => self.stop(&notice).await?,
                From::StopsTold(told) => self.stops_told(told.epoch).await?,
                From::NothingToOffer(said) => self.nothing_to_offer(&said).await?,
                From::NoticesHeld(held) => {
                    let member = self.peer.org.clone();
                    let number = held.number;
                    self.settle(Settling::Notices { member, number }).await?;
                }
            }
        }
        Ok(())
    }

    async fn submission(&self, submission: v1::Submission) -> Result<(), RelayError> {
        let lines = submit::lines_of(&submission);
        let before = self.in_flight.fetch_add(lines, Ordering::Relaxed);
        if before.saturating_add(lines) > SUBMISSIONS_IN_FLIGHT_MAX {
            return Err(RelayError::Busy);
        }
        let sender = self.member()?;
        let row = submit::prepare(self.gateway, &sender, submission).await?;
        self.submissions.send(row).await.map_err(|_| RelayError::NodeGone)
    }

    async fn receipts(&self, frame: v1::RecipientReceipts) -> Result<(), RelayError> {
        let invalid = |()| RelayError::Frame(Problem::Invalid);
        receipt::verify(&self.key()?, &frame).map_err(RelayError::Receipt)?;
        if frame.to != self.peer.org.as_str() {
            return Err(RelayError::Frame(Problem::Unauthenticated));
        }
        let sender = frame.from.parse().map_err(|_| invalid(()))?;
        let ids = frame.envelope_ids.iter().zip(&frame.envelope_hashes);
        let envelopes = ids.zip(&frame.problems).map(|((id, hash), problem)| {
            Some(Received {
                envelope_id: id.as_slice().try_into().ok()?,
                envelope_hash: hash.as_slice().try_into().ok()?,
                problem: Problem::try_from(*problem).ok(),
            })
        });
        let envelopes: Option<Vec<Received>> = envelopes.collect();
        let pair = Pair {
            sender,
            recipient: self.peer.org.clone(),
        };
        self.settle(Settling::Receipts {
            pair,
            envelopes: envelopes.ok_or_else(|| invalid(()))?,
            frame,
        })
        .await
    }

    async fn settle(&self, row: Settling) -> Result<(), RelayError> {
        self.settlings.send(row).await.map_err(|_| RelayError::NodeGone)
    }

    async fn stop(&self, notice: &v1::StopNotice) -> Result<(), RelayError> {
        receipt::verify(&self.key()?, notice).map_err(RelayError::Receipt)?;
        let slip_id = SlipId::try_from(notice.slip_id.as_slice());
        let slip_id = slip_id.map_err(|_| RelayError::Frame(Problem::Invalid))?;
        let said = stop::by_member(self.gateway, &self.peer.org, slip_id).await;
        match said.map_err(RelayError::Stop)? {
            Some(stopped) => self.out.frame(Frame::Stopped(stopped)).await,
            None => Ok(()),
        }
    }

    /// Stops are worked on before the next frame is read, so that all of them are kept by now.
    async fn stops_told(&self, epoch: u64) -> Result<(), RelayError> {
        let member = &self.peer.org;
        let Some((newest, _)) = self.gateway.restored.filter(|(newest, _)| *newest == epoch) else {
            return Ok(());
        };
        let told = |mut tx: Tx| async move { restore::stops_told(&mut tx, member, newest).await };
        let store = &self.gateway.store;
        if store.tx::<_, StoreError, _, _>("stops told", told).await? {
            self.gateway.relay.streams.wake_open();
        }
        Ok(())
    }

    async fn nothing_to_offer(&self, said: &v1::NothingToOffer) -> Result<(), RelayError> {
        let recipient = said.organisation.parse().ok();
        let restore_id = said.restore_id.as_slice().try_into().ok();
        let (recipient, restore_id) = recipient
            .zip(restore_id)
            .ok_or(RelayError::Frame(Problem::Invalid))?;
        let sender = self.peer.org.clone();
        let pair = Pair { sender, recipient };
        let ended = reoffer::nothing_comes(self.gateway, &pair, &restore_id).await;
        ended.map_err(|error| RelayError::Stop(error.into()))
    }

    fn member(&self) -> Result<Arc<KnownMember>, RelayError> {
        self.gateway
            .members
            .get(&self.peer.org)
            .ok_or(RelayError::NoMember)
    }

    fn key(&self) -> Result<kith_proto::sign::PublicKey, RelayError> {
        let member = self.member()?;
        let binding = member.member.key_at(self.gateway.clock.now_ms());
        binding
            .map(|binding| binding.signing_key)
            .ok_or(RelayError::NoMember)
    }
}

/// Hands what has been read to the take door, all at once while the last call was under way, and answers.
async fn take(
    gateway: &Gateway,
    member: &OrgId,
    mut submitted: mpsc::Receiver<Submission>,
    (out, in_flight): (&Out, &AtomicUsize),
) -> Result<(), RelayError> {
    while let Some(first) = submitted.recv().await {
        let mut lines = first.lines.len();
        let mut rows = vec![first];
        while lines < TAKE_LINES_MAX
            && let Ok(next) = submitted.try_recv()
        {
            lines += next.lines.len();
            rows.push(next);
        }
        let held_back = hold_back(gateway, member, &mut rows);
        let recipients: Vec<OrgId> = rows.iter().map(|row| row.pair.recipient.clone()).collect();
        let (mut answers, mut idle_rows) = (Vec::with_capacity(lines), 0);
        let mut broken = None;
        for answer in gateway.relay.take.submit_all(rows).await {
            match answer {
                Ok(of_one) => {
                    answers.extend(of_one.lines);
                    idle_rows += of_one.idle_rows;
                }
                Err(error) => broken = broken.or(Some(error)),
            }
        }
        gateway.relay.wake_all(&recipients);
        let now_ms = gateway.clock.now_ms();
        gateway.budgets.spend(member, idle_rows, now_ms);
        answers.extend(held_back);
        // Before the answers leave: a node sends on as soon as it has read one, which may be before the last of them is out.
        in_flight.fetch_sub(answers.len(), Ordering::Relaxed);
        let frames = answer::frames(&gateway.keys.signing, answers, now_ms).map_err(RelayError::Receipt)?;
        for frame in frames {
            out.frame(frame).await?;
        }
        if let Some(error) = broken {
            return Err(RelayError::Take(error));
        }
    }
    Ok(())
}

/// Takes out what the member's budget does not allow now, and answers that it may come again; no row is left of it.
fn hold_back(gateway: &Gateway, member: &OrgId, rows: &mut Vec<Submission>) -> Vec<Answer> {
    let now_ms = gateway.clock.now_ms();
    let mut answers = Vec::new();
    rows.retain(|row| {
        let purpose = if row.ends_things() {
            Purpose::Ending
        } else {
            Purpose::Ordinary
        };
        let wait_ms = gateway.budgets.wait_ms(member, purpose, now_ms);
        if let Some(wait_ms) = wait_ms {
            let refusal = Refusal::later(Problem::Unavailable, wait_ms);
            answers.extend(row.lines.iter().map(|line| later(line, refusal)));
        }
        wait_ms.is_none()
    });
    answers
}

/// Hands receipts to the settle door, all at once while the last call was under way.
async fn settle(
    gateway: &Gateway,
    mut settled: mpsc::Receiver<Settling>,
    open: &Open,
) -> Result<(), RelayError> {
    while let Some(first) = settled.recv().await {
        let mut rows = vec![first];
        while rows.len() < DOOR_WAITING_MAX
            && let Ok(next) = settled.try_recv()
        {
            rows.push(next);
        }
        let (mut senders, mut ids) = (Vec::new(), Vec::new());
        for row in &rows {
            if let Settling::Receipts { pair, envelopes, .. } = row {
                senders.push(pair.sender.clone());
                ids.extend(envelopes.iter().map(|envelope| envelope.envelope_id));
            }
        }
        let answers = gateway.relay.settle.submit_all(rows).await;
        gateway.relay.wake_all(&senders);
        for answer in answers {
            answer.map_err(RelayError::Settle)?;
        }
        if !ids.is_empty() {
            open.receipted(&ids);
        }
    }
    Ok(())
}
