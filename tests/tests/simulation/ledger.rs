//! What people were told is done: that must have come true, and must stay so. A disk that is lost takes with it what had left no trace
//! anywhere else, and nothing more; so the ledger keeps of each word which envelope carried it, and who has come back since from a
//! backup of before it.

use std::collections::BTreeMap;

use kith_proto::id::ThreadId;

use crate::desk::Case;
use crate::op::{By, Org};

/// What somebody was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The referral is sent.
    Sent,
    /// Consent has ended.
    Withdrawn,
    /// The need is left out.
    Narrowed,
    /// A message is sent.
    Said { message_id: Vec<u8> },
}

/// One such word.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) what: What,
    /// Whose node said so.
    pub(crate) by: Org,
    /// Its place in the order of all words.
    at: usize,
    /// The envelope that tells the other side, where there is one to tell.
    pub(crate) envelope_id: Option<Vec<u8>>,
    /// Whether that node has come back since from a backup of before it.
    pub(crate) lost: bool,
    /// Whether the other side's node has come back since: what it had of this may be gone there too.
    pub(crate) forgotten: bool,
}

/// One referral as people know it.
#[derive(Clone, Debug)]
pub(crate) struct Referral {
    pub(crate) from: Org,
    pub(crate) to: Org,
    pub(crate) case: Option<Case>,
    /// Set when the sender's node acknowledged it.
    pub(crate) thread_id: Option<ThreadId>,
    pub(crate) told: Vec<Told>,
}

impl Referral {
    pub(crate) const fn of(&self, by: By) -> Org {
        match by {
            By::Sender => self.from,
            By::Recipient => self.to,
        }
    }

    /// That it was sent, once its sender's people were told so.
    pub(crate) fn sending(&self) -> Option<&Told> {
        self.told.iter().find(|told| told.what == What::Sent)
    }

    /// Whether its sender has come back from a backup of before it was sent.
    pub(crate) fn is_lost(&self) -> bool {
        self.sending().is_some_and(|sending| sending.lost)
    }
}

/// Every referral, and where each backup stands in the order of words.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) referrals: Vec<Referral>,
    count: usize,
    backups: BTreeMap<Org, usize>,
}

impl Ledger {
    /// Puts a word down.
    pub(crate) fn tell(&mut self, number: usize, by: By, what: What, envelope_id: Option<Vec<u8>>) {
        let referral = &mut self.referrals[number];
        // The same said twice is one word: a repeat is told the first answer.
        let is_known = |told: &Told| told.what == what && told.by == referral.of(by) && !told.lost;
        if referral.told.iter().any(is_known) {
            return;
        }
        let by = referral.of(by);
        referral.told.push(Told {
            what,
            by,
            at: self.count,
            envelope_id,
            lost: false,
            forgotten: false,
        });
        self.count += 1;
    }

    /// A backup of a node holds what was told until now.
    pub(crate) fn back_up(&mut self, org: Org) {
        self.backups.insert(org, self.count);
    }

    /// A node comes back from its backup.
    pub(crate) fn restore(&mut self, org: Org) {
        let held = self.backups[&org];
        for referral in &mut self.referrals {
            let is_party = [referral.from, referral.to].contains(&org);
            for told in referral.told.iter_mut().filter(|_| is_party) {
                told.lost |= told.by == org && told.at >= held;
                told.forgotten |= told.by != org;
            }
        }
    }
}
