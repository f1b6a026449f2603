//! What the events say that the tables must hold: gathered while the events are read, held against the rows after.
//! Called by `whole` alone. Never reads a table.

use kith_proto::trail::Code;
use kith_proto::trail::event::Told;
use std::collections::{BTreeMap, BTreeSet};

/// A grant as it was given.
#[derive(Default)]
pub(super) struct Grant {
    pub(super) person: String,
    pub(super) given_at_ms: i64,
    pub(super) until_ms: String,
    pub(super) expired: bool,
    pub(super) invalidated: bool,
    /// When it was last narrowed, as an event's number.
    pub(super) narrowed: i64,
}

/// A slip that was issued here.
pub(super) struct Issued {
    pub(super) grant: String,
    pub(super) to: String,
    pub(super) hash: String,
    pub(super) until_ms: String,
    pub(super) at_ms: i64,
}

/// How a slip ended, and what was proved of it.
#[derive(Default)]
pub(super) struct Ended {
    /// Whether a withdrawal names it.
    pub(super) withdrawn: bool,
    /// The times of every end that the trail tells of.
    pub(super) at_ms: BTreeSet<i64>,
    /// The last event that ended it, and the last that proved something.
    pub(super) last: i64,
    pub(super) proved: i64,
}

/// A referral that was sent from here.
pub(super) struct Sent {
    pub(super) envelope: String,
    pub(super) slip: String,
    pub(super) to: String,
    pub(super) purpose: String,
    pub(super) at_ms: i64,
}

/// A referral that had been sent from here and was given back after a restore.
pub(super) struct Returned {
    pub(super) envelope: String,
    pub(super) slip: String,
    pub(super) peer: String,
    pub(super) purpose: String,
    pub(super) created_at_ms: String,
}

/// Openings that a recipient reported.
pub(super) struct Reported {
    pub(super) slip: String,
    pub(super) day_ms: String,
    pub(super) hash: String,
}

/// A move as last told.
pub(super) struct Moved {
    pub(super) mv: String,
    pub(super) state: String,
    pub(super) party: String,
    pub(super) number: String,
    pub(super) at_ms: i64,
    pub(super) proposed: bool,
}

/// Where a thread stands after its last move.
#[derive(Default)]
pub(super) struct Stands {
    pub(super) state: Option<String>,
    pub(super) number: String,
}

/// Everything that the events say of the tables, by ids in hexadecimal.
#[derive(Default)]
pub(super) struct Account {
    pub(super) grants: BTreeMap<String, Grant>,
    pub(super) issued: BTreeMap<String, Issued>,
    pub(super) ended: BTreeMap<String, Ended>,
    pub(super) sent: BTreeMap<String, Sent>,
    pub(super) returned: BTreeMap<String, Returned>,
    /// Of envelopes that came: slip and sender, and thread, envelope, slip and sender.
    pub(super) slips_came: BTreeSet<(String, String)>,
    pub(super) came: BTreeSet<(String, String, String, String)>,
    pub(super) moves: BTreeMap<(String, String), Moved>,
    pub(super) stands: BTreeMap<String, Stands>,
    /// Reports of openings by their envelopes.
    pub(super) reported: BTreeMap<String, Reported>,
    pub(super) last_at_ms: i64,
}

impl Account {
    /// Takes in the next event.
    pub(super) fn take(&mut self, seq: i64, told: &Told<'_>) {
        let text = |name: &str| told.get(name).unwrap_or_default().to_owned();
        self.last_at_ms = self.last_at_ms.max(told.at_ms);
        match told.code {
            Code::GrantGiven => {
                let grant = self.grants.entry(text("grant")).or_default();
                grant.person = text("person");
                grant.given_at_ms = told.at_ms;
                grant.until_ms = text("until_ms");
            }
            Code::GrantExpired => self.grants.entry(text("grant")).or_default().expired = true,
            Code::GrantNarrowed => self.grants.entry(text("grant")).or_default().narrowed = seq,
            Code::GrantWithdrawn => self.withdrawn(seq, told),
            Code::SlipIssued => {
                let issued = Issued {
                    grant: text("grant"),
                    to: text("to"),
                    hash: text("slip_hash"),
                    until_ms: text("until_ms"),
                    at_ms: told.at_ms,
                };
                self.issued.insert(text("slip"), issued);
            }
            Code::HoldingDestroyed => {
                let ended = self.ended.entry(text("slip")).or_default();
                ended.at_ms.insert(told.at_ms);
                ended.last = seq;
            }
            Code::WithdrawalProved => self.ended.entry(text("slip")).or_default().proved = seq,
            Code::EnvelopeSent if told.get("move") == Some("send") => {
                let sent = Sent {
                    envelope: text("envelope"),
                    slip: text("slip"),
                    to: text("to"),
                    purpose: text("purpose"),
                    at_ms: told.at_ms,
                };
                self.sent.insert(text("thread"), sent);
            }
            Code::EnvelopeReceived => {
                self.slips_came.insert((text("slip"), text("from")));
                let came = (text("thread"), text("envelope"), text("slip"), text("from"));
                self.came.insert(came);
            }
            Code::ThreadReturned if told.get("side") == Some("sent") => {
                let returned = Returned {
                    envelope: text("envelope"),
                    slip: text("slip"),
                    peer: text("organisation"),
                    purpose: text("purpose"),
                    created_at_ms: text("created_at_ms"),
                };
                // The first one brought it; a later one finds it here.
                self.returned.entry(text("thread")).or_insert(returned);
            }
            Code::AccessReported => {
                let reported = Reported {
                    slip: text("slip"),
                    day_ms: text("day_ms"),
                    hash: text("openings_hash"),
                };
                self.reported.insert(text("envelope"), reported);
            }
            Code::ReferralMoved => self.moved(told),
            _ => {}
        }
    }

    fn withdrawn(&mut self, seq: i64, told: &Told<'_>) {
        if let Some(grant) = told
            .get("grant")
            .filter(|_| told.get("as") == Some("invalidated"))
        {
            self.grants.entry(grant.to_owned()).or_default().invalidated = true;
        }
        for slip in told.all("slip") {
            let ended = self.ended.entry(slip.to_owned()).or_default();
            ended.withdrawn = true;
            ended.at_ms.insert(told.at_ms);
            ended.last = seq;
        }
    }

    fn moved(&mut self, told: &Told<'_>) {
        let text = |name: &str| told.get(name).unwrap_or_default().to_owned();
        let moved = Moved {
            mv: text("move"),
            state: text("state"),
            party: text("party"),
            number: text("number"),
            at_ms: told.at_ms,
            proposed: told.get("as") == Some("proposed"),
        };
        let stands = self.stands.entry(text("thread")).or_default();
        // What was given back after a restore at its place, behind where the thread stands, leads nowhere.
        if !moved.proposed && told.get("as") != Some("returned") {
            stands.state = Some(moved.state.clone());
            if moved.number != "0" {
                stands.number.clone_from(&moved.number);
            }
        }
        self.moves.insert((text("thread"), text("event")), moved);
    }
}
