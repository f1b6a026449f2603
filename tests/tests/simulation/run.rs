//! Runs a list of operations to its end, heals, waits until nothing waits any more, and gathers the facts.
//! What was acknowledged to people is kept in a ledger: that is what must have come true.

use std::cell::Cell;
use std::fmt::Display;
use std::sync::Once;
use std::time::Duration;

use kith_node::node::Node;
use kith_node::referrals::SendError;
use kith_proto::human_code::HumanCode;
use kith_proto::id::ThreadId;
use kith_proto::lifecycle::Move;

use crate::check;
use crate::desk::{self, Case};
use crate::facts::{self, Facts};
use crate::ledger::{Ledger, Referral, What};
use crate::op::{By, Host, MISTAKE, Op, Org};
use crate::world::World;

/// How long everything may take to come to rest once it is healed: the longest wait of a link is two minutes, and a node
/// may have to find out first that its stream is dead.
const REST_MAX: Duration = Duration::from_secs(10 * 60);
/// How long it must then stay so: each timer of the nodes and the gateway's streams has run several times.
const REST: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) trace: String,
    pub(crate) facts: Facts,
}

/// Runs a list and panics, with what is needed to run it again, unless everything holds that must.
pub(crate) fn holds(seed: u64, ops: &[Op]) -> Ran {
    let ran = run(seed, ops);
    let breaches = check::all(&ran.facts);
    let list: String = ops.iter().map(|op| format!("    {op:?},\n")).collect();
    assert!(
        breaches.is_empty(),
        "{}\nseed {seed}, list:\n{list}trace:\n{}",
        breaches.join("\n"),
        ran.trace,
    );
    ran
}

/// Runs a list.
pub(crate) fn run(seed: u64, ops: &[Op]) -> Ran {
    count_panics();
    let panics = PANICS.get();
    let mut running = Running {
        world: World::begin(seed),
        ledger: Ledger::default(),
        rested: Ok(()),
    };
    for op in ops {
        running.op(*op);
    }
    running.rest();
    let Running {
        world,
        ledger,
        rested,
    } = running;
    let ended = world.end();
    let mut facts = facts::gather(&ended, ledger.referrals);
    facts.rested = rested;
    facts.panics = PANICS.get() - panics;
    Ran {
        trace: ended.trace.text(),
        facts,
    }
}

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Counts panics of this thread: those of tasks are caught by the runtime, which tells nobody.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            print(panic);
        }));
    });
}

struct Running {
    world: World,
    ledger: Ledger,
    /// The first time that something went on waiting.
    rested: Result<(), String>,
}

impl Running {
    fn op(&mut self, op: Op) {
        let outcome = self.outcome(op);
        self.world.trace.line(format_args!("{op:?} -> {outcome}"));
    }

    fn outcome(&mut self, op: Op) -> String {
        match op {
            Op::Refer { from, to } => return self.refer(from, to),
            Op::ReferAgain { referral } => return self.refer_again(referral),
            Op::Move { referral, by, mv } => return self.make(referral, by, mv),
            Op::Next { referral, by, pick } => return self.next(referral, by, pick),
            Op::Say { referral, by } => return self.say(referral, by),
            Op::Withdraw { referral, by } => return self.withdraw(referral, by),
            Op::Narrow { referral } => return self.narrow(referral),
            Op::Wait { ms } => self.world.pass(Duration::from_millis(ms)),
            Op::PutForward { hours } => self.world.time.put_forward(hours * 3_600_000),
            Op::Partition { org } => self.world.partition(org),
            Op::Hold { org } => self.world.hold(org),
            Op::Repair { org } => self.world.repair(org),
            Op::Crash { host } => self.world.crash(host),
            Op::Start { host } => self.world.start(host),
            Op::Backup { host } => return self.back_up(host),
            Op::Restore { host } => return self.restore(host),
            Op::Rest => self.rest(),
        }
        "done".to_owned()
    }

    fn refer(&mut self, from: Org, to: Org) -> String {
        let number = self.ledger.referrals.len();
        let work = move |node: std::sync::Arc<_>| async move {
            let case = desk::agree(&node, to.id(), number).await;
            let sent = sent(&node, &case).await;
            (case, sent)
        };
        let done = self.world.at(from, work);
        self.ledger.referrals.push(Referral {
            from,
            to,
            case: None,
            thread_id: None,
            told: Vec::new(),
        });
        let Some((case, sent)) = done else {
            return off();
        };
        self.ledger.referrals[number].case = Some(case);
        self.sent(number, sent)
    }

    /// Puts down that a referral was sent, where it was.
    fn sent(&mut self, number: usize, sent: Sent) -> String {
        if let Ok((thread_id, envelope_id)) = &sent {
            self.ledger.referrals[number].thread_id = Some(*thread_id);
            self.ledger
                .tell(number, By::Sender, What::Sent, envelope_id.clone());
        }
        told(sent.map(|(id, _)| HumanCode::of(&id)), |error| error.problem())
    }

    fn refer_again(&mut self, number: usize) -> String {
        let Some((from, case)) = self.case(number) else {
            return nothing();
        };
        let first = &self.ledger.referrals[number];
        if first.is_lost() {
            // Its request is forgotten with it: whoever repeats it refers the person a second time, which is another referral.
            return "it was lost, and is not made again".to_owned();
        }
        let first = first.thread_id;
        let done = self
            .world
            .at(from, move |node| async move { sent(&node, &case).await });
        let Some(sent) = done else {
            return off();
        };
        let second = sent.as_ref().ok().map(|(thread_id, _)| *thread_id);
        assert!(
            first.is_none() || first == second,
            "a repeat got another answer than the first time"
        );
        self.sent(number, sent)
    }

    fn make(&mut self, number: usize, by: By, mv: Move) -> String {
        let Some((org, thread_id)) = self.thread(number, by) else {
            return nothing();
        };
        let done = self.world.at(
            org,
            move |node| async move { desk::make(&node, thread_id, mv).await },
        );
        let outcome = done.map_or_else(off, |made| told(made, |error| error.problem()));
        if mv == Move::Withdraw && outcome.starts_with("ok") {
            self.ledger.tell(number, by, What::Withdrawn, None);
        }
        outcome
    }

    fn next(&mut self, number: usize, by: By, pick: usize) -> String {
        let Some((org, thread_id)) = self.thread(number, by) else {
            return nothing();
        };
        let done = self.world.at(org, move |node| async move {
            desk::open_moves(&node, thread_id).await
        });
        match done {
            None => off(),
            Some(mut open) => {
                open.retain(|mv| *mv != Move::Withdraw && (*mv != Move::EnterInError || pick >= MISTAKE));
                match open.get(pick % open.len().max(1)) {
                    None => "no move is open".to_owned(),
                    Some(mv) => format!("{mv}: {}", self.make(number, by, *mv)),
                }
            }
        }
    }

    fn say(&mut self, number: usize, by: By) -> String {
        let Some((org, thread_id)) = self.thread(number, by) else {
            return nothing();
        };
        let done = self.world.at(org, move |node| async move {
            let said = desk::say(&node, thread_id).await;
            (said, facts::newest_outgoing(&node.store, thread_id).await)
        });
        let Some((said, envelope_id)) = done else {
            return off();
        };
        if let Ok(message_id) = &said {
            let message_id = message_id.clone();
            self.ledger
                .tell(number, by, What::Said { message_id }, envelope_id);
        }
        told(said.map(|_| "said"), |error| error.problem())
    }

    fn withdraw(&mut self, number: usize, by: By) -> String {
        // A grant that was lost with its person cannot be taken back, but the thread that is listed again can.
        let is_lost = |referral: &Referral| referral.is_lost();
        if by == By::Recipient || self.ledger.referrals.get(number).is_some_and(is_lost) {
            return self.make(number, by, Move::Withdraw);
        }
        let Some((from, case)) = self.case(number) else {
            return nothing();
        };
        let done = self.world.at(from, move |node| async move {
            desk::withdraw(&node, case.grant_id).await
        });
        let Some(withdrawn) = done else {
            return off();
        };
        if withdrawn.is_ok() {
            self.ledger.tell(number, by, What::Withdrawn, None);
        }
        told(withdrawn.map(|()| "withdrawn"), |error| error.problem())
    }

    fn narrow(&mut self, number: usize) -> String {
        let Some((from, case)) = self.case(number) else {
            return nothing();
        };
        let thread_id = self.ledger.referrals[number].thread_id;
        let done = self.world.at(from, move |node| async move {
            let narrowed = desk::narrow(&node, &case).await;
            let envelope_id = match thread_id {
                None => None,
                Some(thread_id) => facts::newest_outgoing(&node.store, thread_id).await,
            };
            (narrowed, envelope_id)
        });
        let Some((narrowed, envelope_id)) = done else {
            return off();
        };
        if narrowed.is_ok() {
            self.ledger.tell(number, By::Sender, What::Narrowed, envelope_id);
        }
        told(narrowed.map(|()| "narrowed"), |error| error.problem())
    }

    fn case(&self, number: usize) -> Option<(Org, Case)> {
        let referral = self.ledger.referrals.get(number)?;
        Some((referral.from, referral.case.clone()?))
    }

    fn thread(&self, number: usize, by: By) -> Option<(Org, ThreadId)> {
        let referral = self.ledger.referrals.get(number)?;
        Some((referral.of(by), referral.thread_id?))
    }

    fn back_up(&mut self, host: Host) -> String {
        if !self.world.back_up(host) {
            return "it is off".to_owned();
        }
        if let Host::Node(org) = host {
            self.ledger.back_up(org);
        }
        "done".to_owned()
    }

    fn restore(&mut self, host: Host) -> String {
        if let Err(why) = self.world.restore(host) {
            return why.to_owned();
        }
        if let Host::Node(org) = host {
            self.ledger.restore(org);
        }
        "begun".to_owned()
    }

    /// Heals and lets time pass until nothing waits, and for a while after that; notes where it does not come to that.
    fn rest(&mut self) {
        self.world.heal();
        self.world.trace.line("healed");
        let mut waited = Duration::ZERO;
        let mut quiet = Duration::ZERO;
        while quiet < REST {
            self.world.pass(LOOK_EVERY);
            waited += LOOK_EVERY;
            let waiting = self.world.waiting();
            quiet = if waiting.is_nothing() {
                quiet + LOOK_EVERY
            } else {
                Duration::ZERO
            };
            if waited > REST_MAX {
                let waits = Err(format!("still waiting: {waiting:?}"));
                self.rested = std::mem::replace(&mut self.rested, Ok(())).and(waits);
                return;
            }
        }
        self.world.trace.line("at rest");
    }
}

/// A referral's thread, and the envelope that carries it.
type Sent = Result<(ThreadId, Option<Vec<u8>>), SendError>;

async fn sent(node: &Node, case: &Case) -> Sent {
    let thread_id = desk::refer(node, case).await?;
    Ok((thread_id, facts::newest_outgoing(&node.store, thread_id).await))
}

fn off() -> String {
    "the node is off".to_owned()
}

fn nothing() -> String {
    "there is no such referral".to_owned()
}

/// An outcome as people would be told it.
fn told<T: Display, E>(
    outcome: Result<T, E>,
    problem: impl Fn(&E) -> kith_proto::problem::Problem,
) -> String {
    match outcome {
        Ok(done) => format!("ok, {done}"),
        Err(error) => format!("refused, {}", problem(&error)),
    }
}
