//! Whether the gateway's database is whole: its log by itself, and the rows that decide something against what the log says was done.
//! Called by `audit verify`. Only reads; names whatever does not fit, and repairs nothing.
//!
//! | table | what the events must say of each row |
//! |---|---|
//! | `member` | it joined, with these bindings, and stands as it was last set |
//! | `stop` | somebody stopped that slip; and no stop is gone whose slip is still in use |
//! | `slip` | what went under it went between its two members |
//! | `taken` | the envelope, by this hash, was taken or refused as the row says; and none of the last weeks is gone |
//! | `pair` | the last number and hash are those of the last event of the pair |

use crate::audit::Code;
use crate::gateway::Gateway;
use crate::limits::{DELIVERED_MS_MAX, MAILBOX_WINDOW_MS};
use crate::members::Standing;
use crate::store::whole as rows;
use data_encoding::HEXLOWER;
use kith_proto::trail::event::Told;
use kith_proto::trust::binding_hash;
use kith_service::log::{LogError, append};
use kith_service::store::{StoreError, Tx};
use std::collections::{BTreeMap, BTreeSet};

/// Events read in one step.
const STEP: i64 = 4096;

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many events were read.
    pub events: u64,
    /// What does not fit, a sentence each.
    pub faults: Vec<String>,
}

/// Looks at the log and at the rows that it vouches for. Beside a gateway that serves, what is committed meanwhile can look like a
/// fault: what a second look does not find again was none.
pub async fn look(gateway: &Gateway) -> Result<Report, LogError> {
    let mut report = look_once(gateway).await?;
    if !report.faults.is_empty() {
        let again = look_once(gateway).await?;
        report.faults.retain(|fault| again.faults.contains(fault));
    }
    Ok(report)
}

async fn look_once(gateway: &Gateway) -> Result<Report, LogError> {
    let log = gateway.log.whole(&[gateway.keys.signing.public()]).await?;
    let mut faults: Vec<String> = log.faults.iter().map(ToString::to_string).collect();
    let done = Done::read(gateway).await?;
    let now_ms = gateway.clock.now_ms();
    faults.extend(members(gateway, &done).await?);
    faults.extend(stops(gateway, &done, now_ms).await?);
    faults.extend(outcomes(gateway, &done, now_ms).await?);
    faults.extend(pairs(gateway, &done).await?);
    Ok(Report {
        events: log.events,
        faults,
    })
}

/// What the events say was done.
#[derive(Default)]
struct Done {
    members: BTreeMap<String, Joined>,
    /// Slip and who said it, to when.
    stops: BTreeMap<(String, String), i64>,
    envelopes: BTreeMap<String, Envelope>,
    pairs: BTreeMap<(String, String), (i64, String)>,
    slips: BTreeMap<String, Used>,
}

#[derive(Default)]
struct Used {
    /// The members that something went between under it.
    between: BTreeSet<String>,
    /// When something last went under it that needs it to be live.
    live_at_ms: i64,
}

#[derive(Default)]
struct Joined {
    bindings: Vec<String>,
    suspended: bool,
}

#[derive(Default)]
struct Envelope {
    hash: String,
    problem: Option<String>,
    delivered: bool,
    pair: (String, String),
    /// Of the last event about it.
    at_ms: i64,
}

impl Done {
    async fn read(gateway: &Gateway) -> Result<Self, StoreError> {
        let mut done = Self::default();
        let mut last = 0;
        loop {
            let read = |mut tx: Tx| async move { append::after(&mut tx, last, STEP).await };
            let page = gateway.store.read::<_, StoreError, _, _>("events", read).await?;
            let Some(end) = page.last().map(|event| event.seq) else {
                return Ok(done);
            };
            last = end;
            for event in &page {
                // One that cannot be read was named by the log itself.
                if let Ok(told) = Told::read(&event.preimage) {
                    done.take(&told);
                }
            }
        }
    }

    fn take(&mut self, told: &Told<'_>) {
        let text = |name: &str| told.get(name).unwrap_or_default().to_owned();
        match told.code {
            Code::MemberJoined | Code::BindingPublished => {
                let member = self.members.entry(text("organisation")).or_default();
                member.bindings.push(text("binding"));
            }
            Code::MemberSuspended | Code::MemberResumed => {
                let member = self.members.entry(text("organisation")).or_default();
                member.suspended = told.code == Code::MemberSuspended;
            }
            Code::SlipStopped => {
                self.stops.insert((text("slip"), text("by")), told.at_ms);
            }
            Code::EnvelopeTaken | Code::EnvelopeRefused => self.taken(told),
            Code::EnvelopeDropped | Code::EnvelopeDelivered => {
                if let Some(envelope) = self.envelopes.get_mut(&text("envelope")) {
                    envelope.at_ms = told.at_ms;
                    envelope.delivered |= told.code == Code::EnvelopeDelivered;
                    if told.code == Code::EnvelopeDropped {
                        envelope.problem = Some(text("problem"));
                    }
                }
            }
            _ => {}
        }
    }

    fn taken(&mut self, told: &Told<'_>) {
        let text = |name: &str| told.get(name).unwrap_or_default().to_owned();
        let number = text("number").parse().unwrap_or_default();
        if number > 0 {
            let last = self.pairs.entry((text("from"), text("to"))).or_default();
            if last.0 < number {
                *last = (number, text("envelope_hash"));
            }
        }
        if let Some(slip) = told.get("slip").filter(|_| told.code == Code::EnvelopeTaken) {
            let used = self.slips.entry(slip.to_owned()).or_default();
            used.between.extend([text("from"), text("to")]);
            if matches!(told.get("kind"), Some("referral" | "message")) {
                used.live_at_ms = told.at_ms;
            }
        }
        let envelope = Envelope {
            hash: text("envelope_hash"),
            problem: told.get("problem").map(str::to_owned),
            delivered: false,
            pair: (text("from"), text("to")),
            at_ms: told.at_ms,
        };
        self.envelopes.insert(text("envelope"), envelope);
    }
}

async fn members(gateway: &Gateway, done: &Done) -> Result<Vec<String>, StoreError> {
    let read = |mut tx: Tx| async move { rows::members(&mut tx).await };
    let stored = gateway.store.read::<_, StoreError, _, _>("members", read).await?;
    let mut faults = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for row in &stored {
        let bindings: Vec<String> = row
            .chain
            .bindings
            .iter()
            .map(|binding| HEXLOWER.encode(&binding_hash(binding)))
            .collect();
        seen.insert(row.org.as_str());
        let fits = done.members.get(row.org.as_str()).is_some_and(|joined| {
            joined.bindings == bindings && joined.suspended == (row.state == Standing::Suspended)
        });
        if !fits {
            faults.push(format!("the member {} is not as the log says", row.org));
        }
    }
    let gone = done.members.keys().filter(|org| !seen.contains(org.as_str()));
    faults.extend(gone.map(|org| format!("the member {org} is missing")));
    Ok(faults)
}

async fn stops(gateway: &Gateway, done: &Done, now_ms: i64) -> Result<Vec<String>, StoreError> {
    let read = |mut tx: Tx| async move { Ok((rows::stops(&mut tx).await?, rows::slips(&mut tx).await?)) };
    let (stops, slips) = gateway.store.read::<_, StoreError, _, _>("stops", read).await?;
    let mut faults = Vec::new();
    let said: BTreeSet<(String, String)> = stops
        .into_iter()
        .map(|(slip, by)| (HEXLOWER.encode(&slip), by))
        .collect();
    for (slip, by) in said.iter().filter(|stop| !done.stops.contains_key(*stop)) {
        faults.push(format!("a stop of slip {slip} by {} is in no event", whom(by)));
    }
    let mut known: BTreeMap<String, i64> = BTreeMap::new();
    for slip in &slips {
        let id = HEXLOWER.encode(&slip.slip_id);
        let two = BTreeSet::from([slip.sender.clone(), slip.recipient.clone()]);
        if done
            .slips
            .get(&id)
            .is_some_and(|used| !used.between.is_subset(&two))
        {
            faults.push(format!("slip {id} is not between the members that used it"));
        }
        known.insert(id, slip.expires_at_ms);
    }
    let in_use = |id: &str| {
        let until = known.get(id).copied();
        until.is_some_and(|until| until.saturating_add(MAILBOX_WINDOW_MS) > now_ms)
    };
    for (slip, by) in done.stops.keys().filter(|stop| !said.contains(*stop)) {
        if in_use(slip) {
            faults.push(format!("the stop of slip {slip} by {} is missing", whom(by)));
        }
    }
    // A slip is kept for the mailbox window after its end, so what was live within it must be there, with an end after that.
    for (slip, used) in &done.slips {
        let recent = used.live_at_ms > now_ms.saturating_sub(MAILBOX_WINDOW_MS);
        if recent && known.get(slip).is_none_or(|until| *until < used.live_at_ms) {
            faults.push(format!("slip {slip} is missing, or ends before it was last used"));
        }
    }
    Ok(faults)
}

fn whom(by: &str) -> &str {
    if by.is_empty() { "its stop secret" } else { by }
}

async fn outcomes(gateway: &Gateway, done: &Done, now_ms: i64) -> Result<Vec<String>, StoreError> {
    let mut faults = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut after: Vec<u8> = Vec::new();
    loop {
        let from = after.clone();
        let read = |mut tx: Tx| {
            let from = from.clone();
            async move { rows::outcomes(&mut tx, &from).await }
        };
        let page = gateway
            .store
            .read::<_, StoreError, _, _>("outcomes", read)
            .await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.envelope_id);
        for row in page {
            let id = HEXLOWER.encode(&row.envelope_id);
            let fits = done.envelopes.get(&id).is_some_and(|envelope| {
                envelope.hash == HEXLOWER.encode(&row.envelope_hash)
                    && envelope.problem == row.problem
                    && envelope.delivered == row.delivered
                    && envelope.pair == (row.sender.clone(), row.recipient.clone())
            });
            if !fits {
                faults.push(format!("what became of envelope {id} is not what the log says"));
            }
            seen.insert(id);
        }
    }
    let kept_ms = now_ms.saturating_sub(DELIVERED_MS_MAX);
    let recent = done
        .envelopes
        .iter()
        .filter(|(_, envelope)| envelope.at_ms > kept_ms);
    let gone = recent.filter(|(id, _)| !seen.contains(*id));
    faults.extend(gone.map(|(id, _)| format!("what became of envelope {id} is missing")));
    Ok(faults)
}

async fn pairs(gateway: &Gateway, done: &Done) -> Result<Vec<String>, StoreError> {
    let read = |mut tx: Tx| async move { rows::pairs(&mut tx).await };
    let stored = gateway.store.read::<_, StoreError, _, _>("pairs", read).await?;
    let mut faults = Vec::new();
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    for (sender, recipient, number, hash) in stored {
        let pair = (sender, recipient);
        let said = done.pairs.get(&pair).cloned().unwrap_or_default();
        let begun = number > 0 || said.0 > 0;
        if begun && said != (number, HEXLOWER.encode(&hash)) {
            faults.push(format!(
                "the order from {} to {} is not what the log says",
                pair.0, pair.1
            ));
        }
        seen.insert(pair);
    }
    let gone = done.pairs.keys().filter(|pair| !seen.contains(*pair));
    faults.extend(gone.map(|(from, to)| format!("the order from {from} to {to} is missing")));
    Ok(faults)
}
