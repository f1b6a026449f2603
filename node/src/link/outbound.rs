//! Takes rows from the outbox to the gateway, in the order of each pair, as many at once as it lets. Called as one half of a
//! stream. Never leaves a row behind: what waits is read again when its time has come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kith_proto::id::{EnvelopeId, OrgId, SlipId};
use kith_proto::order::{self, Position};
use kith_proto::problem::Problem;
use kith_proto::v1::attach_request::Frame;
use kith_proto::v1::{self, Envelope};
use kith_proto::words::EnvelopeKind;
use kith_proto::{envelope::ENVELOPE_BYTES_MAX, receipt};
use kith_service::store::StoreError;
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::mpsc;

use super::attach::Session;
use super::pairs::{Leaving, Pairs, Settled, Word};
use super::settling::Said;
use super::{Ended, reseal, rewinding, state};
use crate::keys::KeysError;
use crate::settle::{OutboxRow, Settlement};
use crate::store;

/// Most envelopes under way, whatever the gateway lets: memory for the largest is bounded by [`READ_BYTES_MAX`] apart.
const IN_FLIGHT_MAX: usize = 1024;
/// Most rows read at once.
const READ_ROWS_MAX: usize = 256;
/// Most bytes of envelopes read at once.
const READ_BYTES_MAX: usize = 8 << 20;
/// Most envelopes of one submission.
const SUBMISSION_ENVELOPES_MAX: usize = 64;
/// Stops sent at once; the rest follow at the next look.
const STOPS_MAX: i64 = 256;
/// How often to look without being woken: for stops, and in case a wake was lost with a stream.
const LOOK: Duration = Duration::from_secs(5);

/// What the gateway said about one envelope.
pub(super) struct Answer {
    pub(super) envelope_id: EnvelopeId,
    pub(super) envelope_hash: [u8; 32],
    pub(super) word: Word,
}

/// The sending half of one stream.
pub(super) struct Outbound<'a> {
    session: &'a Session<'a>,
    settlements: mpsc::Sender<Said>,
    pairs: Pairs,
    /// Everything up to this place in the outbox has been read once on this stream.
    cursor: i64,
    /// Stops that left on this stream.
    stops: BTreeSet<SlipId>,
    /// Whether the gateway was told on this stream that it has all of them.
    stops_told: bool,
}

impl<'a> Outbound<'a> {
    /// Starts from what the store holds receipts of and what the gateway says it took.
    pub(super) async fn start(
        session: &'a Session<'a>,
        greeting: &v1::GatewayHello,
        settlements: mpsc::Sender<Said>,
    ) -> Result<Self, Ended> {
        let read = |mut tx| async move {
            let run = store::restore::run(&mut tx).await?;
            Ok((run, store::pair::sent(&mut tx).await?))
        };
        let node = session.node;
        let (run, held) = node.store.read::<_, StoreError, _, _>("pairs sent", read).await?;
        let start = Position::run(run).map_err(|_| Ended::Protocol("the number of its log's epoch"))?;
        let held = rewinding::go_back(node, (start, held), greeting).await?;
        let theirs = usize::try_from(greeting.submissions_in_flight_max).unwrap_or(IN_FLIGHT_MAX);
        let mut pairs = Pairs::new(start, held, theirs.clamp(1, IN_FLIGHT_MAX));
        let (mut listed, mut is_stopped) = (BTreeSet::new(), false);
        for taken in &greeting.taken {
            let (org, position) = rewinding::position(taken)?;
            listed.insert(org.clone());
            if !pairs.compare(org, position) {
                is_stopped = true;
                tracing::error!(
                    "the gateway holds another history of what this node sent; one pair is stopped"
                );
            }
        }
        if pairs.stop_unlisted(&listed) > 0 {
            tracing::error!("the gateway has lost what this node sent; pairs are stopped");
            is_stopped = true;
        }
        if is_stopped {
            state::put(session.node, state::UP, Some(Problem::Conflict)).await;
        }
        session.node.fresh.clear();
        Ok(Self {
            session,
            settlements,
            pairs,
            cursor: 0,
            stops: BTreeSet::new(),
            stops_told: false,
        })
    }

    /// Sends until the stream ends.
    #[expect(clippy::disallowed_methods, reason = "the worker that sends")]
    pub(super) async fn run(mut self, mut answered: mpsc::Receiver<Vec<Answer>>) -> Result<(), Ended> {
        let mut look_at_stops = true;
        loop {
            if look_at_stops {
                self.send_stops().await?;
            }
            look_at_stops = self.fill().await?;
            let mut frames = Vec::new();
            // In this order, not tokio's random one: a simulation must be able to repeat it.
            tokio::select! {
                biased;
                count = answered.recv_many(&mut frames, 64) => {
                    if count == 0 {
                        return Ok(());
                    }
                    let answers: Vec<Answer> = frames.into_iter().flatten().collect();
                    self.answer(answers).await?;
                }
                () = self.session.node.outbox_ready.notified() => {}
                () = tokio::time::sleep(self.until_due()) => look_at_stops = true,
            }
        }
    }

    fn until_due(&self) -> Duration {
        if self.pairs.room() == 0 {
            // An answer makes room first.
            return LOOK;
        }
        let now_ms = self.session.node.clock.now_ms();
        let wait_ms = self
            .pairs
            .next_due_ms()
            .map(|due_ms| due_ms.saturating_sub(now_ms).max(1));
        let wait = wait_ms
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Duration::from_millis);
        wait.map_or(LOOK, |wait| wait.min(LOOK))
    }

    /// Takes answers in and hands on what they settle; answers to nothing that is under way are passed over.
    async fn answer(&mut self, answers: Vec<Answer>) -> Result<(), Ended> {
        let now_ms = self.session.node.clock.now_ms();
        let mut settled = Settled::default();
        for one in answers {
            let more = self
                .pairs
                .answer(&one.envelope_id, &one.envelope_hash, one.word, now_ms);
            settled.answered.extend(more.answered);
            settled.stale.extend(more.stale);
        }
        for answered in settled.answered {
            let said = Said {
                settlement: Some(Settlement::Answered(answered)),
                notice: 0,
            };
            self.settlements.send(said).await.map_err(|_| Ended::Again)?;
        }
        if !settled.stale.is_empty() {
            let waiting = reseal::reseal(self.session, settled.stale).await?;
            let until_ms = now_ms.saturating_add(reseal::PAUSE_MS);
            for row in &waiting {
                self.pairs.hold(row, until_ms);
            }
        }
        Ok(())
    }

    /// Sends all that may leave now; says whether a withdrawal was among it, with which a stop may have come.
    async fn fill(&mut self) -> Result<bool, Ended> {
        let now_ms = self.session.node.clock.now_ms();
        let mut withdrawals = false;
        for (org, after) in self.pairs.due(now_ms) {
            self.take_up(&org, after).await?;
        }
        let due = self.pairs.due_loose(now_ms, READ_ROWS_MAX, READ_BYTES_MAX);
        if !due.is_empty() {
            let due = &due;
            let read = |mut tx| async move { store::outgoing::by_seq(&mut tx, due).await };
            let rows = self
                .session
                .node
                .store
                .look::<_, StoreError, _, _>("outbox again", read)
                .await?;
            let leaving = rows.into_iter().filter_map(|row| self.pairs.take(row)).collect();
            self.submit(leaving).await?;
        }
        while self.pairs.room() > 0 {
            let (after, limit) = (self.cursor, self.read_max());
            let read = |mut tx| async move { store::outgoing::pending(&mut tx, after, limit).await };
            let mut rows = self
                .session
                .node
                .store
                .look::<_, StoreError, _, _>("outbox", read)
                .await?;
            fit(&mut rows);
            let Some(last) = rows.last() else {
                break;
            };
            self.cursor = last.seq;
            withdrawals |= rows.iter().any(|row| row.kind == EnvelopeKind::Withdrawal);
            let leaving = rows.into_iter().filter_map(|row| self.pairs.take(row)).collect();
            self.submit(leaving).await?;
        }
        Ok(withdrawals)
    }

    fn read_max(&self) -> i64 {
        i64::try_from(self.pairs.room().min(READ_ROWS_MAX)).unwrap_or(1)
    }

    /// Reads on for one pair that was passed over.
    async fn take_up(&mut self, org: &OrgId, after: i64) -> Result<(), Ended> {
        let limit = self.read_max();
        if limit == 0 {
            return Ok(());
        }
        let between = (after, self.cursor);
        let read = |mut tx| async move { store::outgoing::pending_of(&mut tx, org, between, limit).await };
        let mut rows = self
            .session
            .node
            .store
            .look::<_, StoreError, _, _>("outbox of pair", read)
            .await?;
        let found = rows.len();
        fit(&mut rows);
        let all = rows.len() == found && i64::try_from(found).is_ok_and(|found| found < limit);
        let leaving = self.pairs.take_up(org, rows, all);
        self.submit(leaving).await
    }

    /// Sends rows, grouped by pair; each pair's stay in their order.
    async fn submit(&mut self, leaving: Vec<Leaving>) -> Result<(), Ended> {
        if self.pairs.went_back() {
            return Err(Ended::Again);
        }
        if leaving.is_empty() {
            return Ok(());
        }
        let fresh = &self.session.node.fresh;
        let mut envelopes = BTreeMap::new();
        let mut seqs = Vec::new();
        for row in leaving.iter().map(|l| &l.row).filter(|row| !row.withheld) {
            match fresh.take(row.seq, &row.envelope_hash) {
                Some(envelope) => drop(envelopes.insert(row.seq, envelope)),
                None => seqs.push(row.seq),
            }
        }
        self.read_envelopes(&seqs, &mut envelopes).await?;
        let mut by_pair: BTreeMap<OrgId, Vec<Leaving>> = BTreeMap::new();
        for one in leaving {
            if one.number.is_some() {
                by_pair.entry(one.row.peer.clone()).or_default().push(one);
            } else if let Some(envelope) = envelopes.remove(&one.row.seq) {
                let submission = v1::Submission {
                    envelopes: vec![envelope],
                    order: None,
                };
                self.session.send(Frame::Submission(submission)).await?;
            }
        }
        for (org, rows) in by_pair {
            for group in groups(&rows) {
                let submission = self.ordered(&org, group, &mut envelopes)?;
                self.session.send(Frame::Submission(submission)).await?;
            }
        }
        Ok(())
    }

    /// Reads envelopes, at most [`READ_ROWS_MAX`].
    async fn read_envelopes(
        &self,
        seqs: &[i64],
        envelopes: &mut BTreeMap<i64, Envelope>,
    ) -> Result<(), StoreError> {
        if seqs.is_empty() {
            return Ok(());
        }
        let store = &self.session.node.store;
        let read = |mut tx| async move { store::outgoing::envelopes(&mut tx, seqs).await };
        for (seq, bytes) in store.look::<_, StoreError, _, _>("envelopes", read).await? {
            let corrupt = StoreError::Corrupt {
                table: "outbox_envelope",
                column: "envelope",
            };
            envelopes.insert(seq, Envelope::decode(Bytes::from(bytes)).map_err(|_| corrupt)?);
        }
        Ok(())
    }

    /// One submission of a pair: its envelopes and one signature over their lines. A row without an envelope was withheld.
    fn ordered(
        &self,
        org: &OrgId,
        group: &[Leaving],
        envelopes: &mut BTreeMap<i64, Envelope>,
    ) -> Result<v1::Submission, Ended> {
        let node = self.session.node;
        let first = group.first().and_then(|one| one.number).unwrap_or(1);
        let hashes: Vec<[u8; 32]> = group.iter().map(|one| one.row.envelope_hash).collect();
        let before = self.pairs.before(org, first);
        let signed = order::sign(&node.keys.signing, node.organisation(), org, before, &hashes);
        let (order, _) = signed.map_err(|_| KeysError::Library)?;
        let envelopes = group
            .iter()
            .filter_map(|one| envelopes.remove(&one.row.seq))
            .collect();
        Ok(v1::Submission {
            envelopes,
            order: Some(order),
        })
    }

    /// Tells the gateway of slips that are to be stopped, each once on this stream, until it says that they are; and when none is left that it was not told.
    async fn send_stops(&mut self) -> Result<(), Ended> {
        let node = self.session.node;
        let read = |mut tx| async move { store::slip_link::stops(&mut tx, STOPS_MAX).await };
        let stops = node.store.look::<_, StoreError, _, _>("stops", read).await?;
        let all = i64::try_from(stops.len()).is_ok_and(|count| count < STOPS_MAX);
        for (slip_id, withdrawn_at_ms) in stops {
            if !self.stops.insert(slip_id) {
                continue;
            }
            let mut notice = v1::StopNotice {
                slip_id: slip_id.as_bytes().to_vec(),
                withdrawn_at_ms,
                signature: Vec::new(),
            };
            receipt::sign(&node.keys.signing, &mut notice).map_err(|_| KeysError::Library)?;
            self.session.send(Frame::Stop(notice)).await?;
        }
        if all && !self.stops_told {
            self.stops_told = true;
            let read = |mut tx| async move { store::keylog::epoch(&mut tx).await };
            let epoch = node.store.look::<_, StoreError, _, _>("log epoch", read).await?;
            self.session
                .send(Frame::StopsTold(v1::StopsTold { epoch }))
                .await?;
        }
        Ok(())
    }
}

/// Cuts rows off that do not fit into memory at once; at least one stays.
fn fit(rows: &mut Vec<OutboxRow>) {
    let mut bytes = 0_usize;
    let fits = |row: &OutboxRow| {
        bytes = bytes.saturating_add(row.envelope_bytes);
        bytes <= READ_BYTES_MAX
    };
    let count = rows.iter().map(fits).take_while(|fits| *fits).count();
    rows.truncate(count.max(1));
}

/// Splits the rows of a pair into submissions by count and bytes, and in front of a run; an envelope that is over the bytes alone goes alone.
fn groups(rows: &[Leaving]) -> impl Iterator<Item = &[Leaving]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let (mut bytes, mut last) = (0_usize, None);
        let fits = |one: &Leaving| {
            bytes = bytes.saturating_add(one.row.envelope_bytes);
            let follows = last.is_none() || last.zip(one.number).is_some_and(|(last, this)| last + 1 == this);
            last = one.number;
            follows && bytes <= ENVELOPE_BYTES_MAX
        };
        let count = rest
            .iter()
            .take(SUBMISSION_ENVELOPES_MAX)
            .map(fits)
            .take_while(|fits| *fits)
            .count();
        let (group, after) = rest.split_at_checked(count.max(1))?;
        rest = after;
        Some(group)
    })
}
