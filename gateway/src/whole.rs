//! Whether the gateway's database is whole: its log by itself, and the rows that decide something against what the log says was done.
//! Called by `audit verify`. Only reads; names whatever does not fit, and repairs nothing.
//!
//! | table | what the events must say of each row |
//! |---|---|
//! | `member` | it joined, with these bindings, and stands as it was last set; a later epoch of the log began with the same of it |
//! | `stop` | somebody stopped that slip; and no stop is gone whose slip is still in use |
//! | `slip` | what went under it went between its two members; it ends and is stopped as it was issued, and is there as long |
//! | `mailbox` | what was taken and has come to no end waits there, by the same hash |
//! | `counter` | the last event's number is the last one given out |
//! | `taken` | the envelope, by this hash, was taken or refused as the row says; and none of the last weeks is gone |
//! | `pair` | the last number and hash are those of the last event of the pair |

use crate::audit::Code;
use crate::gateway::Gateway;
use crate::limits::{DELIVERED_MS_MAX, MAILBOX_WINDOW_MS, RESTORE_MS_MAX, TAKEN_MS_MAX};
use crate::members::Standing;
use crate::store::counter::{self, Counter};
use crate::store::whole as rows;
use data_encoding::HEXLOWER;
use kith_proto::problem::Problem;
use kith_proto::slip::SLIP_LIFE_MS_MAX;
use kith_proto::trail::event::Told;
use kith_proto::trust::binding_hash;
use kith_service::log::{LogError, whole};
use kith_service::store::{StoreError, Tx};
use std::collections::{BTreeMap, BTreeSet};

/// How long after its time a row may still be there: a gateway that was off for a week sweeps at its start.
const SPARE_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many events were read.
    pub events: u64,
    /// What does not fit, a sentence each.
    pub faults: Vec<String>,
}

/// Looks at the log and at the rows that it vouches for, on one unchanging view: beside a gateway that serves as well.
pub async fn look(gateway: &Gateway) -> Result<Report, LogError> {
    let look = |mut tx: Tx| async move { look_within(&mut tx, gateway).await };
    gateway.store.read("whole", look).await
}

async fn look_within(tx: &mut Tx, gateway: &Gateway) -> Result<Report, LogError> {
    let now_ms = gateway.clock.now_ms();
    // A row may outlive its time until the next sweep, or until a re-offer of its pair has ended.
    let kept_ms = TAKEN_MS_MAX + RESTORE_MS_MAX + SPARE_MS;
    let since_ms = now_ms.saturating_sub(kept_ms);
    let whose = whole::Whose {
        keeper: &gateway.log.keeper,
        network: &gateway.network,
        key: gateway.keys.signing.public(),
    };
    let given = counter::read(tx, Counter::Audit).await?;
    let mut done = Done::default();
    let log = whole::look(tx, whose, Some(given), |_, told| done.take(told, since_ms)).await?;
    let mut faults: Vec<String> = log.faults.iter().map(ToString::to_string).collect();
    faults.extend(done.carried());
    faults.extend(members(tx, &done).await?);
    faults.extend(slips(tx, &done, now_ms).await?);
    faults.extend(outcomes(tx, &done, now_ms).await?);
    faults.extend(mailboxes(tx, &done).await?);
    faults.extend(pairs(tx, &done).await?);
    Ok(Report {
        events: log.events,
        faults,
    })
}

/// What the events say was done.
#[derive(Default)]
struct Done {
    members: BTreeMap<String, Joined>,
    /// What the epoch before said of members; the one after it begins with all of it.
    before: BTreeMap<String, Joined>,
    /// Slip and who said it, to when.
    stops: BTreeMap<(String, String), i64>,
    /// Of the last weeks: what may still have a row.
    envelopes: BTreeMap<String, Envelope>,
    pairs: BTreeMap<(String, String), (i64, String)>,
    slips: BTreeMap<String, Used>,
}

#[derive(Default)]
struct Joined {
    kind: String,
    invite: String,
    tls_key_hash: String,
    /// As its joining said, or as the epoch before was carried on.
    first_tls_key_hash: String,
    bindings: Vec<String>,
    suspended: bool,
    /// Its keys were reported lost once: from then on each certificate says which TLS key counts.
    lost: bool,
}

#[derive(Default)]
struct Used {
    /// The members that something went between under it.
    between: BTreeSet<String>,
    /// When it ends and what stops it, as a referral under it said.
    terms: Option<(i64, String)>,
}

#[derive(Default)]
struct Envelope {
    hash: String,
    problem: Option<String>,
    delivered: bool,
    dropped: bool,
    pair: (String, String),
    taken_at_ms: i64,
    /// Of the last event about it.
    at_ms: i64,
}

impl Done {
    fn take(&mut self, told: &Told<'_>, since_ms: i64) {
        let text = |name: &str| told.get(name).unwrap_or_default().to_owned();
        match told.code {
            Code::EpochOpened => {
                let before = std::mem::take(&mut self.members);
                self.before.extend(before);
            }
            Code::MemberJoined | Code::BindingPublished => {
                let org = text("organisation");
                let was_lost = self.before.get(&org).is_some_and(|before| before.lost);
                let member = self.members.entry(org).or_default();
                if told.code == Code::MemberJoined {
                    member.kind = text("kind");
                    member.invite = text("invite");
                    member.first_tls_key_hash = text("tls_key_hash");
                    member.lost = was_lost;
                }
                // New keys after a loss are those of the connection as well.
                if let Some(hash) = told.get("tls_key_hash") {
                    hash.clone_into(&mut member.tls_key_hash);
                }
                member.bindings.push(text("binding"));
            }
            Code::MemberLost => self.members.entry(text("organisation")).or_default().lost = true,
            Code::CertificateIssued => {
                if let Some(member) = self
                    .members
                    .get_mut(&text("organisation"))
                    .filter(|member| member.lost)
                {
                    member.tls_key_hash = text("tls_key_hash");
                }
            }
            Code::MemberSuspended | Code::MemberResumed => {
                let member = self.members.entry(text("organisation")).or_default();
                member.suspended = told.code == Code::MemberSuspended;
            }
            Code::SlipStopped => {
                self.stops.insert((text("slip"), text("by")), told.at_ms);
            }
            Code::EnvelopeTaken | Code::EnvelopeTakenAgain | Code::EnvelopeRefused => {
                self.taken(told, since_ms);
            }
            Code::EnvelopeDropped | Code::EnvelopeDelivered => {
                if let Some(envelope) = self.envelopes.get_mut(&text("envelope")) {
                    envelope.at_ms = told.at_ms;
                    envelope.delivered |= told.code == Code::EnvelopeDelivered;
                    if told.code == Code::EnvelopeDropped {
                        envelope.dropped = true;
                        envelope.problem = Some(text("problem"));
                    }
                }
            }
            _ => {}
        }
    }

    /// Members of whom the newest epoch says less than the one before.
    fn carried(&self) -> Vec<String> {
        let is_carried = |(org, before): &(&String, &Joined)| {
            let now = self.members.get(*org);
            now.is_some_and(|now| {
                now.bindings.starts_with(&before.bindings)
                    && (&now.kind, &now.invite, &now.first_tls_key_hash)
                        == (&before.kind, &before.invite, &before.tls_key_hash)
            })
        };
        let lost = self.before.iter().filter(|before| !is_carried(before));
        lost.map(|(org, _)| format!("the newest epoch of the log does not carry the member {org} on"))
            .collect()
    }

    fn taken(&mut self, told: &Told<'_>, since_ms: i64) {
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
            if let Some(until) = told.get("until_ms").and_then(|until| until.parse().ok()) {
                used.terms = Some((until, text("stop_hash")));
            }
        }
        if told.at_ms >= since_ms {
            let is_second = told.code == Code::EnvelopeTakenAgain;
            let id = text(if is_second { "stand_in" } else { "envelope" });
            let second = is_second.then_some(Problem::Conflict.as_str());
            let envelope = Envelope {
                hash: text("envelope_hash"),
                problem: second.or(told.get("problem")).map(str::to_owned),
                pair: (text("from"), text("to")),
                taken_at_ms: told.at_ms,
                at_ms: told.at_ms,
                ..Envelope::default()
            };
            self.envelopes.insert(id, envelope);
        }
    }
}

async fn members(tx: &mut Tx, done: &Done) -> Result<Vec<String>, StoreError> {
    let stored = rows::members(tx).await?;
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
            joined.bindings == bindings
                && joined.suspended == (row.state == Standing::Suspended)
                && joined.kind == row.kind.as_str()
                && joined.invite == HEXLOWER.encode(row.invite_id.as_bytes())
                && joined.tls_key_hash == HEXLOWER.encode(&row.tls_key_hash)
        });
        if !fits {
            faults.push(format!("the member {} is not as the log says", row.org));
        }
    }
    let gone = done.members.keys().filter(|org| !seen.contains(org.as_str()));
    faults.extend(gone.map(|org| format!("the member {org} is missing")));
    Ok(faults)
}

/// Slips and their stops: a slip is kept for the mailbox window after its end, and as long its stops.
async fn slips(tx: &mut Tx, done: &Done, now_ms: i64) -> Result<Vec<String>, StoreError> {
    let said: BTreeSet<(String, String)> = rows::stops(tx)
        .await?
        .into_iter()
        .map(|(slip, by)| (HEXLOWER.encode(&slip), by))
        .collect();
    let mut faults = Vec::new();
    for (slip, by) in said.iter().filter(|stop| !done.stops.contains_key(*stop)) {
        faults.push(format!("a stop of slip {slip} by {} is in no event", whom(by)));
    }
    let mut known: BTreeMap<String, i64> = BTreeMap::new();
    for slip in rows::slips(tx).await? {
        let id = HEXLOWER.encode(&slip.slip_id);
        let two = BTreeSet::from([slip.sender.clone(), slip.recipient.clone()]);
        let terms = Some((slip.expires_at_ms, HEXLOWER.encode(&slip.stop_hash)));
        let used = done.slips.get(&id);
        if used.is_some_and(|used| !used.between.is_subset(&two)) {
            faults.push(format!("slip {id} is not between the members that used it"));
        }
        if used.is_some_and(|used| used.terms.is_some() && used.terms != terms) {
            faults.push(format!(
                "slip {id} does not end, or is not stopped, as it was issued"
            ));
        }
        known.insert(id, slip.expires_at_ms);
    }
    let is_kept = |until_ms: i64| until_ms.saturating_add(MAILBOX_WINDOW_MS) > now_ms;
    let in_use = |id: &String| known.get(id).is_some_and(|until_ms| is_kept(*until_ms));
    // Of a slip that nothing went under yet, nobody knows the end: its stops are kept as long as a slip can live at all.
    let unseen_ms = now_ms
        .saturating_sub(MAILBOX_WINDOW_MS)
        .saturating_sub(SLIP_LIFE_MS_MAX);
    for (stop, at_ms) in done.stops.iter().filter(|(stop, _)| !said.contains(*stop)) {
        let was_seen = known.contains_key(&stop.0) || done.slips.contains_key(&stop.0);
        if in_use(&stop.0) || (!was_seen && *at_ms > unseen_ms) {
            let (slip, by) = stop;
            faults.push(format!("the stop of slip {slip} by {} is missing", whom(by)));
        }
    }
    for (slip, used) in &done.slips {
        let must_be_there = used
            .terms
            .as_ref()
            .is_some_and(|(until_ms, _)| is_kept(*until_ms));
        if must_be_there && !known.contains_key(slip) {
            faults.push(format!("slip {slip} is missing"));
        }
    }
    Ok(faults)
}

fn whom(by: &str) -> &str {
    if by.is_empty() { "its stop secret" } else { by }
}

async fn outcomes(tx: &mut Tx, done: &Done, now_ms: i64) -> Result<Vec<String>, StoreError> {
    let mut faults = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = rows::outcomes(tx, &after).await?;
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
    // Delivered ones are let go of a month after, all others two months after they were taken.
    let kept = |envelope: &Envelope| {
        let is_young = envelope.taken_at_ms > now_ms.saturating_sub(TAKEN_MS_MAX);
        let is_waiting = !envelope.delivered || envelope.at_ms > now_ms.saturating_sub(DELIVERED_MS_MAX);
        is_young && is_waiting
    };
    let recent = done.envelopes.iter().filter(|(_, envelope)| kept(envelope));
    let gone = recent.filter(|(id, _)| !seen.contains(*id));
    faults.extend(gone.map(|(id, _)| format!("what became of envelope {id} is missing")));
    Ok(faults)
}

/// What was taken and neither delivered nor dropped waits in its recipient's mailbox, the same to the byte.
async fn mailboxes(tx: &mut Tx, done: &Done) -> Result<Vec<String>, StoreError> {
    let waiting: BTreeMap<String, String> = rows::waiting(tx)
        .await?
        .into_iter()
        .map(|(id, hash)| (HEXLOWER.encode(&id), HEXLOWER.encode(&hash)))
        .collect();
    let must_wait = done
        .envelopes
        .iter()
        .filter(|(_, envelope)| envelope.problem.is_none() && !envelope.delivered);
    Ok(must_wait
        .filter(|(id, envelope)| waiting.get(*id) != Some(&envelope.hash))
        .map(|(id, _)| format!("envelope {id} is not in the mailbox where it should wait"))
        .collect())
}

async fn pairs(tx: &mut Tx, done: &Done) -> Result<Vec<String>, StoreError> {
    let mut faults = Vec::new();
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    for (sender, recipient, number, hash) in rows::pairs(tx).await? {
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
