//! Referrals in number, so many in flight, each until it stands in the recipient's inbox. Used by the benchmarks.
//! Never counts a referral as arrived that only its sender has seen.

use anyhow::{Context as _, bail};
use kith_demo::cast::PEERS;
use kith_demo::client::Client;
use kith_proto::v1::{self, send_referrals_response::Outcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::load::{self, Ready};

/// The longest that one referral may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends each referral with at most `in_flight` not yet in the inbox; returns the time of the whole and of each.
pub async fn send_all(
    a: &Client,
    b: &Client,
    ready: &[Ready],
    in_flight: usize,
) -> anyhow::Result<(Duration, Vec<Duration>)> {
    let requests: Vec<_> = ready
        .iter()
        .map(|one| load::referral(a, PEERS.id, one))
        .collect::<Result<_, _>>()?;
    let places = Arc::new(Semaphore::new(in_flight));
    let (called, mut calls) = mpsc::unbounded_channel();
    let (submit, submitted) = mpsc::channel(in_flight);
    let mut arrivals = arrivals(b).await?;
    let mut answers = a
        .clone()
        .referrals
        .send_referrals(ReceiverStream::new(submitted))
        .await?
        .into_inner();
    let started = Instant::now();
    let feeder_places = Arc::clone(&places);
    let feeder = tokio::spawn(async move {
        for request in requests {
            feeder_places.acquire().await?.forget();
            called.send((request.request_id.clone(), Instant::now()))?;
            submit
                .send(v1::SendReferralsRequest {
                    referral: Some(request),
                })
                .await?;
        }
        anyhow::Ok(())
    });
    let (mut at, mut threads, mut arrived) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut took = Vec::with_capacity(ready.len());
    let mut unanswered = ready.len();
    while took.len() < ready.len() {
        let thread_id = tokio::select! {
            answer = answers.message(), if unanswered > 0 => {
                unanswered -= 1;
                let answer = answer?.context("the stream of answers ended")?;
                let Some(Outcome::Sent(sent)) = answer.outcome else {
                    bail!("a referral was refused: {:?}", answer.outcome);
                };
                while let Ok((request_id, when)) = calls.try_recv() {
                    at.insert(request_id, when);
                }
                let when = at.remove(&answer.request_id).context("an answer to nothing")?;
                threads.insert(sent.thread_id.clone(), when);
                sent.thread_id
            }
            line = tokio::time::timeout(PATIENCE, arrivals.message()) => {
                let line = line.context("nothing arrives any more")??.context("the watch ended")?;
                let thread_id = line.referral.unwrap_or_default().thread_id;
                arrived.entry(thread_id.clone()).or_insert_with(Instant::now);
                thread_id
            }
        };
        if let (Some(began), Some(ended)) = (threads.get(&thread_id), arrived.get(&thread_id)) {
            took.push(*ended - *began);
            threads.remove(&thread_id);
            places.add_permits(1);
        }
    }
    let wall = started.elapsed();
    feeder.await??;
    Ok((wall, took))
}

/// Changes at the recipient from now on.
async fn arrivals(b: &Client) -> anyhow::Result<tonic::Streaming<v1::WatchReferralsResponse>> {
    let mut client = b.clone();
    let mut cursor = String::new();
    loop {
        let from = v1::WatchReferralsRequest {
            cursor: cursor.clone(),
        };
        let mut changes = client.referrals.watch_referrals(from).await?.into_inner();
        let quiet = Duration::from_millis(300);
        match tokio::time::timeout(quiet, changes.message()).await {
            Err(_) => return Ok(changes),
            Ok(change) => cursor = change?.context("the watch ended")?.cursor,
        }
        while let Ok(change) = tokio::time::timeout(quiet, changes.message()).await {
            cursor = change?.context("the watch ended")?.cursor;
        }
    }
}
