//! Grants, slips, referrals and moves against what the events say of them.
//! Called by `whole` alone. Never believes a column that the trail speaks of.
//!
//! | table | held against the trail |
//! |---|---|
//! | `grant_record` | person, times, state: given, expired, withdrawn with its last slip |
//! | `slip` | grant, peer, times, the bytes by their hash or their signature, state and end, whether there is a proof |
//! | `referral` | peer, slip, purpose, envelope, and state and number after the last move |
//! | `event` | move, state, party, number and time as last told |
//! | `opening_reported` | slip and day of each report, its openings by their hash |

use kith_proto::sign::{PublicKey, sha256};
use kith_proto::slip::{SignedSlip, Slip};
use kith_proto::v1;
use kith_service::store::Tx;
use std::collections::BTreeMap;

use super::Findings;
use super::told::{Account, Ended};
use crate::access;
use crate::keys::Membership;
use crate::members::Members;
use crate::store::trail_whole::{self, RawRow};
use crate::trail::TrailError;

const UNKNOWN: &str = "the trail says nothing of this row";
const MISSING: &str = "the trail says that this row must be there, and it is not";

/// Who signed slips.
pub(crate) struct Signers<'a> {
    /// This node.
    pub(crate) me: &'a Membership,
    /// Its signing key.
    pub(crate) key: &'a PublicKey,
    /// Everybody, as the directory has them.
    pub(crate) members: &'a Members,
}

type ByKey = BTreeMap<String, RawRow>;

/// Holds every row against the account.
pub(super) async fn check(
    tx: &mut Tx,
    account: &Account,
    signers: &Signers<'_>,
    findings: &mut Findings,
) -> Result<(), TrailError> {
    let slips = by_key(trail_whole::rows(tx, &trail_whole::SLIPS).await?);
    grants(
        account,
        &by_key(trail_whole::rows(tx, &trail_whole::GRANTS).await?),
        findings,
    );
    for (key, row) in &slips {
        slip(account, (key, row), signers, findings);
    }
    missing("slip", account.issued.keys(), &slips, findings);
    let referrals = by_key(trail_whole::rows(tx, &trail_whole::REFERRALS).await?);
    for (key, row) in &referrals {
        referral(account, (key, row), &slips, findings);
    }
    let threads = account.sent.keys();
    let moved = account
        .stands
        .keys()
        .filter(|key| !account.sent.contains_key(*key));
    missing("referral", threads.chain(moved), &referrals, findings);
    let events = by_key(trail_whole::rows(tx, &trail_whole::EVENT_ROWS).await?);
    moves(account, &events, findings);
    openings(
        account,
        &trail_whole::rows(tx, &trail_whole::OPENINGS).await?,
        findings,
    );
    Ok(())
}

fn by_key(rows: Vec<RawRow>) -> ByKey {
    rows.into_iter().map(|row| (row.key.clone(), row)).collect()
}

fn missing<'a>(
    table: &'static str,
    keys: impl Iterator<Item = &'a String>,
    rows: &ByKey,
    findings: &mut Findings,
) {
    for key in keys.filter(|key| !rows.contains_key(*key)) {
        findings.name(table, key, MISSING);
    }
}

/// Names the columns that are not as told.
fn columns(table: &'static str, row: &RawRow, expected: &[(&str, Option<&str>)], findings: &mut Findings) {
    for (name, value) in expected {
        if row.get(name) != *value {
            findings.name(
                table,
                &row.key,
                format!("its column {name} is not what the trail says"),
            );
        }
    }
}

fn grants(account: &Account, rows: &ByKey, findings: &mut Findings) {
    const TABLE: &str = "grant_record";
    missing(TABLE, account.grants.keys(), rows, findings);
    // Of each grant: whether it has slips, and whether all are withdrawn.
    let mut slips: BTreeMap<&str, bool> = BTreeMap::new();
    for (key, issued) in &account.issued {
        let gone = account.ended.get(key).is_some_and(|ended| {
            let until_ms = issued.until_ms.parse().unwrap_or(i64::MAX);
            ended.withdrawn || ended.at_ms.iter().any(|at_ms| *at_ms < until_ms)
        });
        let all = slips.entry(issued.grant.as_str()).or_insert(true);
        *all &= gone;
    }
    for (key, row) in rows {
        let Some(grant) = account.grants.get(key) else {
            findings.name(TABLE, key, UNKNOWN);
            continue;
        };
        let given = grant.given_at_ms.to_string();
        let expected = [
            ("person_id", Some(grant.person.as_str())),
            ("given_at_ms", Some(given.as_str())),
            ("expires_at_ms", Some(grant.until_ms.as_str())),
        ];
        columns(TABLE, row, &expected, findings);
        let gone = slips.get(key.as_str()).copied().unwrap_or(false);
        let state = row.get("state").unwrap_or_default();
        let fits = match state {
            "live" => !gone && !grant.expired,
            "expired" => !gone && grant.expired,
            "withdrawn" => gone && !grant.invalidated,
            "invalidated" => gone && grant.invalidated,
            _ => false,
        };
        if !fits {
            findings.name(TABLE, key, "its state is not what the trail says");
        }
        if row.get("ended_at_ms").is_none() != (state == "live") {
            findings.name(TABLE, key, "its end does not fit its state");
        }
    }
}

fn slip(account: &Account, (key, row): (&String, &RawRow), signers: &Signers<'_>, findings: &mut Findings) {
    const TABLE: &str = "slip";
    let bytes = |name: &str| {
        let hex = row.get(name).unwrap_or_default();
        data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap_or_default()
    };
    let signed = v1::SignedSlip {
        slip: bytes("slip"),
        signature: bytes("signature"),
    };
    match row.get("side") {
        Some("captured") => match account.issued.get(key) {
            None => {
                let peer = row.get("peer").unwrap_or_default();
                let mut returned = account.returned.values();
                if row.get("grant_id").is_some() || !returned.any(|one| one.slip == *key && one.peer == peer)
                {
                    return findings.name(TABLE, key, UNKNOWN);
                }
            }
            Some(issued) => {
                let at_ms = issued.at_ms.to_string();
                let expected = [
                    ("grant_id", Some(issued.grant.as_str())),
                    ("peer", Some(issued.to.as_str())),
                    ("issued_at_ms", Some(at_ms.as_str())),
                    ("expires_at_ms", Some(issued.until_ms.as_str())),
                ];
                columns(TABLE, row, &expected, findings);
                if data_encoding::HEXLOWER.encode(&sha256(&[&signed.slip])) != issued.hash {
                    findings.name(
                        TABLE,
                        key,
                        "its bytes are not those that the trail has the hash of",
                    );
                }
            }
        },
        _ => {
            let peer = row.get("peer").unwrap_or_default().to_owned();
            if account.issued.contains_key(key) || !account.slips_came.contains(&(key.clone(), peer)) {
                return findings.name(TABLE, key, UNKNOWN);
            }
        }
    }
    if !is_signed(&signed, row, signers) {
        findings.name(TABLE, key, "its bytes, its columns and its signature do not fit");
    }
    let nothing = Ended::default();
    let ended = account.ended.get(key).unwrap_or(&nothing);
    if !ended_as_told(account, row, ended) {
        findings.name(TABLE, key, "its state or end is not what the trail says");
    }
    let grant = row.get("grant_id").and_then(|grant| account.grants.get(grant));
    let reset = ended.last.max(grant.map_or(0, |grant| grant.narrowed));
    let proof = row.get("proof").is_some();
    if (ended.proved > reset && !proof) || (ended.proved == 0 && proof) {
        findings.name(TABLE, key, "its proof is not what the trail says");
    }
}

/// Whether the bytes are a slip of these columns, signed by whoever issued it, as far as their keys are known here.
fn is_signed(signed: &v1::SignedSlip, row: &RawRow, signers: &Signers<'_>) -> bool {
    let Ok(slip) = Slip::decode(&signed.slip) else {
        return false;
    };
    let peer = if slip.from == signers.me.organisation {
        &slip.to
    } else {
        &slip.from
    };
    let issued = slip.issued_at_ms.to_string();
    let expires = slip.expires_at_ms.to_string();
    let same = row.get("slip_id") == Some(data_encoding::HEXLOWER.encode(slip.id.as_bytes()).as_str())
        && row.get("peer") == Some(peer.as_str())
        && row.get("issued_at_ms") == Some(issued.as_str())
        && row.get("expires_at_ms") == Some(expires.as_str());
    let of_members = signers.members.keys_of(&slip.from, slip.issued_at_ms);
    let mut keys: Vec<PublicKey> = of_members.iter().map(|binding| binding.signing_key).collect();
    if slip.from == signers.me.organisation {
        keys.push(*signers.key);
    }
    let verifies = |key: &PublicKey| SignedSlip::verify(signed, &signers.me.network, |_| Some(*key)).is_ok();
    same && (keys.is_empty() || keys.iter().any(verifies))
}

fn ended_as_told(account: &Account, row: &RawRow, ended: &Ended) -> bool {
    let until_ms: i64 = row
        .get("expires_at_ms")
        .and_then(|at| at.parse().ok())
        .unwrap_or(i64::MAX);
    let at_ms: Option<i64> = row.get("ended_at_ms").and_then(|at| at.parse().ok());
    let over = until_ms <= account.last_at_ms;
    match (row.get("state"), at_ms) {
        (Some("live"), None) => ended.at_ms.is_empty(),
        (Some("expired"), None) => over && ended.at_ms.is_empty(),
        (Some("expired"), Some(at_ms)) => over && !ended.withdrawn && ended.at_ms.contains(&at_ms),
        // Withdrawn after it had been cut because its time was over: no key was left to destroy.
        (Some("withdrawn"), Some(at_ms)) => {
            ended.at_ms.contains(&at_ms) || ended.at_ms.iter().any(|end| *end >= until_ms && *end < at_ms)
        }
        _ => false,
    }
}

fn referral(account: &Account, (key, row): (&String, &RawRow), slips: &ByKey, findings: &mut Findings) {
    const TABLE: &str = "referral";
    let stands = account.stands.get(key);
    let text = |name: &str| row.get(name).unwrap_or_default().to_owned();
    match (row.get("side"), account.sent.get(key)) {
        (Some("sent"), Some(sent)) => {
            let at_ms = sent.at_ms.to_string();
            let expected = [
                ("peer", Some(sent.to.as_str())),
                ("slip_id", Some(sent.slip.as_str())),
                ("purpose", Some(sent.purpose.as_str())),
                ("envelope_id", Some(sent.envelope.as_str())),
                ("created_at_ms", Some(at_ms.as_str())),
            ];
            columns(TABLE, row, &expected, findings);
        }
        (Some("sent"), None) if account.returned.contains_key(key) => {
            if let Some(returned) = account.returned.get(key) {
                let expected = [
                    ("peer", Some(returned.peer.as_str())),
                    ("slip_id", Some(returned.slip.as_str())),
                    ("purpose", Some(returned.purpose.as_str())),
                    ("envelope_id", Some(returned.envelope.as_str())),
                    ("created_at_ms", Some(returned.created_at_ms.as_str())),
                ];
                columns(TABLE, row, &expected, findings);
            }
        }
        (Some("inbox"), None) if stands.is_some() => {
            let came = (key.clone(), text("envelope_id"), text("slip_id"), text("peer"));
            if !account.came.contains(&came) {
                findings.name(TABLE, key, "no envelope that the trail tells of brought it so");
            }
        }
        _ => return findings.name(TABLE, key, UNKNOWN),
    }
    if !slips.contains_key(&text("slip_id")) {
        findings.name("slip", text("slip_id"), MISSING);
    }
    let state = stands.and_then(|stands| stands.state.as_deref());
    let number = stands.map_or("0", |stands| match stands.number.as_str() {
        "" => "0",
        number => number,
    });
    let expected = [("state", Some(state.unwrap_or("sent"))), ("number", Some(number))];
    columns(TABLE, row, &expected, findings);
}

fn moves(account: &Account, rows: &ByKey, findings: &mut Findings) {
    const TABLE: &str = "event";
    let mut begun: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, row) in rows {
        let (thread, event) = key.split_once('/').unwrap_or((key, ""));
        match account.moves.get(&(thread.to_owned(), event.to_owned())) {
            Some(told) => {
                let at_ms = told.at_ms.to_string();
                let expected = [
                    ("move", Some(told.mv.as_str())),
                    ("party", Some(told.party.as_str())),
                    ("number", Some(told.number.as_str())),
                    ("happened_at_ms", Some(at_ms.as_str())),
                ];
                columns(TABLE, row, &expected, findings);
                if !told.proposed {
                    columns(TABLE, row, &[("state", Some(told.state.as_str()))], findings);
                }
            }
            // The first event of what was sent from here is told as the sending of its envelope.
            None => match account.sent.get(thread) {
                Some(sent) if row.get("move") == Some("send") => {
                    *begun.entry(thread).or_default() += 1;
                    let at_ms = sent.at_ms.to_string();
                    let expected = [
                        ("state", Some("sent")),
                        ("party", Some("sender")),
                        ("number", Some("0")),
                        ("happened_at_ms", Some(at_ms.as_str())),
                    ];
                    columns(TABLE, row, &expected, findings);
                }
                _ => findings.name(TABLE, key, UNKNOWN),
            },
        }
    }
    for (thread, event) in account.moves.keys() {
        let key = format!("{thread}/{event}");
        if !rows.contains_key(&key) {
            findings.name(TABLE, key, MISSING);
        }
    }
    for thread in account.sent.keys() {
        if begun.get(thread.as_str()).copied().unwrap_or(0) != 1 {
            findings.name(TABLE, thread, "its first event must be there once");
        }
    }
}

/// Rows in the order of their reports' envelopes and places.
fn openings(account: &Account, rows: &[RawRow], findings: &mut Findings) {
    const TABLE: &str = "opening_reported";
    let text = |row: &'_ RawRow, name: &str| row.get(name).unwrap_or_default().to_owned();
    let mut reports: BTreeMap<String, Vec<&RawRow>> = BTreeMap::new();
    for row in rows {
        reports.entry(text(row, "envelope_id")).or_default().push(row);
    }
    for (envelope, rows) in &reports {
        let Some(told) = account.reported.get(envelope) else {
            findings.name(TABLE, envelope, UNKNOWN);
            continue;
        };
        let expected = [
            ("slip_id", Some(told.slip.as_str())),
            ("day_ms", Some(told.day_ms.as_str())),
        ];
        for row in rows {
            columns(TABLE, row, &expected, findings);
        }
        let said = rows.iter().map(|row| {
            let (role, reason) = (row.get("role"), row.get("reason"));
            (
                text(row, "hour"),
                role.unwrap_or_default(),
                reason.unwrap_or_default(),
            )
        });
        if data_encoding::HEXLOWER.encode(&access::hash_of(said)) != told.hash {
            findings.name(
                TABLE,
                envelope,
                "its openings are not those that the trail has the hash of",
            );
        }
    }
    for envelope in account.reported.keys().filter(|key| !reports.contains_key(*key)) {
        findings.name(TABLE, envelope, MISSING);
    }
}
