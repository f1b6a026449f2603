//! What may happen in a simulation, and lists of it drawn from a seed.
//! An operation prints as it is written in Rust, so that a failing list can be pasted into `lists`.

use std::collections::BTreeSet;

use kith_proto::id::OrgId;
use kith_proto::lifecycle::Move;
use kith_proto::words::OrganisationKind;
use kith_service::rng::Rng;

/// The organisations of every simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Org {
    Gp,
    Circle,
    Charity,
}

/// What can crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    Gateway,
    Node(Org),
}

/// Who acts on a referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Sender,
    Recipient,
}

/// One operation. A referral is named by its number in the list, from 0; what cannot be done is tried all the same and
/// refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A new person agrees and is referred.
    Refer { from: Org, to: Org },
    /// The same request once more, as by a caller who got no answer.
    ReferAgain { referral: usize },
    /// A move with the reason `other`.
    Move { referral: usize, by: By, mv: Move },
    /// One of the moves that are open just then, the one to which `pick` counts. Not the withdrawal, which is [`Op::Withdraw`];
    /// and that it was all a mistake only where `pick` is [`MISTAKE`] or more.
    Next { referral: usize, by: By, pick: usize },
    /// A message.
    Say { referral: usize, by: By },
    /// The person takes the whole consent back at the sender, or asks the recipient to end it.
    Withdraw { referral: usize, by: By },
    /// The person leaves their need out from now on.
    Narrow { referral: usize },
    /// Time passes.
    Wait { ms: u64 },
    /// All clocks are put forward, as after days of sleep.
    PutForward { hours: i64 },
    /// Nothing gets through between a node and the gateway; what is under way is lost.
    Partition { org: Org },
    /// What is sent between a node and the gateway is held up.
    Hold { org: Org },
    /// The way is free again; what was held up arrives.
    Repair { org: Org },
    /// The process ends without a word.
    Crash { host: Host },
    /// The process starts again; a running one is restarted.
    Start { host: Host },
    /// The folder of a running process is copied.
    Backup { host: Host },
    /// The process ends, its disk is lost, and it comes back from its newest backup, as its operator restores it.
    Restore { host: Host },
    /// Everything is mended, and time passes until nothing waits.
    Rest,
}

/// See [`Op::Next`].
pub(crate) const MISTAKE: usize = 11;

impl Org {
    pub(crate) const ALL: [Self; 3] = [Self::Gp, Self::Circle, Self::Charity];

    /// Its id, which is also its host's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gp => "riverside-gp",
            Self::Circle => "tigrinya-circle",
            Self::Charity => "hope-street",
        }
    }

    pub(crate) fn id(self) -> OrgId {
        self.name().parse().unwrap()
    }

    pub(crate) const fn kind(self) -> OrganisationKind {
        match self {
            Self::Gp => OrganisationKind::Gp,
            Self::Circle => OrganisationKind::PeerGroup,
            Self::Charity => OrganisationKind::Charity,
        }
    }
}

impl Host {
    pub(crate) const ALL: [Self; 4] = [
        Self::Gateway,
        Self::Node(Org::Gp),
        Self::Node(Org::Circle),
        Self::Node(Org::Charity),
    ];

    /// Its name in the network.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Node(org) => org.name(),
        }
    }
}

/// Draws a list of `count` operations.
pub(crate) fn draw(seed: u64, count: usize) -> Vec<Op> {
    let mut draw = Draw {
        rng: Rng::seeded(seed),
        referrals: 0,
        cut: BTreeSet::new(),
        off: BTreeSet::new(),
        backups: BTreeSet::new(),
        came_back: None,
        ahead_hours: 0,
    };
    (0..count).map(|_| draw.op()).collect()
}

/// What a list has come to so far.
struct Draw {
    rng: Rng,
    referrals: usize,
    /// Nodes that are cut off or held up.
    cut: BTreeSet<Org>,
    /// Processes that have ended.
    off: BTreeSet<Host>,
    /// What there is a backup of.
    backups: BTreeSet<Host>,
    /// Whose coming back may be under way.
    came_back: Option<Host>,
    /// How far the clocks were put forward.
    ahead_hours: i64,
}

impl Draw {
    /// A number below `end`.
    fn below(&self, end: usize) -> usize {
        let drawn = u64::from_be_bytes(self.rng.bytes().unwrap());
        usize::try_from(drawn % u64::try_from(end).unwrap()).unwrap()
    }

    fn one<T: Copy>(&self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn op(&mut self) -> Op {
        let roll = self.below(100);
        if self.referrals == 0 {
            return self.refer();
        }
        let referral = self.below(self.referrals);
        let by = self.one(&[By::Sender, By::Recipient, By::Recipient]);
        match roll {
            0..10 => self.refer(),
            10..12 => Op::ReferAgain { referral },
            12..38 => Op::Next {
                referral,
                by,
                pick: self.below(12),
            },
            38..46 => Op::Say { referral, by },
            46..49 => Op::Withdraw { referral, by },
            49..52 => Op::Narrow { referral },
            52..53 => self.sleep(),
            53..71 => self.trouble(),
            71..75 => self.loss(),
            // More often short than long: most of what goes wrong does so within a second.
            _ => Op::Wait {
                ms: 8 << self.below(12),
            },
        }
    }

    fn refer(&mut self) -> Op {
        self.referrals += 1;
        let from = self.below(3);
        let to = (from + 1 + self.below(2)) % 3;
        Op::Refer {
            from: Org::ALL[from],
            to: Org::ALL[to],
        }
    }

    /// Together shorter than the month for which mail is kept, after which what could not be sent is given up.
    fn sleep(&mut self) -> Op {
        let drawn = self.one(&[1, 24, 9 * 24]);
        let hours = if self.ahead_hours + drawn < 25 * 24 {
            drawn
        } else {
            1
        };
        self.ahead_hours += hours;
        Op::PutForward { hours }
    }

    /// A backup, or, where there is one, a disk that is lost. While one comes back, no other is lost. No node comes back from before another
    /// node's loss: what both have lost is nobody's any more. The gateway may.
    fn loss(&mut self) -> Op {
        let host = self.one(&Host::ALL);
        if self.below(2) == 0 || !self.backups.contains(&host) {
            self.backups.insert(host);
            return Op::Backup { host };
        }
        if self.came_back.is_some_and(|other| other != host) {
            self.came_back = None;
            self.cut.clear();
            self.off.clear();
            return Op::Rest;
        }
        self.came_back = Some(host);
        self.off.remove(&host);
        if host != Host::Gateway {
            self.backups
                .retain(|other| *other == host || *other == Host::Gateway);
        }
        Op::Restore { host }
    }

    /// What is broken is mended as often as something else breaks, so that most of the network works most of the time.
    fn trouble(&mut self) -> Op {
        let (cut, off): (Vec<Org>, Vec<Host>) = (
            self.cut.iter().copied().collect(),
            self.off.iter().copied().collect(),
        );
        let (org, host) = (self.one(&Org::ALL), self.one(&Host::ALL));
        match self.below(10) {
            0..=2 if !cut.is_empty() => {
                let org = self.one(&cut);
                self.cut.remove(&org);
                Op::Repair { org }
            }
            3 | 4 if !off.is_empty() => {
                let host = self.one(&off);
                self.off.remove(&host);
                Op::Start { host }
            }
            0..=3 => {
                self.cut.insert(org);
                Op::Partition { org }
            }
            4 | 5 => {
                self.cut.insert(org);
                Op::Hold { org }
            }
            6 | 7 => {
                self.off.insert(host);
                Op::Crash { host }
            }
            _ => {
                self.off.remove(&host);
                Op::Start { host }
            }
        }
    }
}
