//! Runs a list of operations to its end, heals, waits until nothing waits any more, and gathers the facts.
//! What was acknowledged to people is kept in a ledger: that is what must have come true.

use std::cell::Cell;
use std::fmt::Display;
use std::sync::Once;
use std::time::Duration;

use kith_proto::human_code::HumanCode;
use kith_proto::id::ThreadId;
use kith_proto::lifecycle::Move;

use crate::check;
use crate::desk::{self, Case};
use crate::facts::{self, Facts};
use crate::op::{By, MISTAKE, Op, Org};
use crate::world::World;

/// How long everything may take to come to rest once it is healed: the longest wait of a link is two minutes, and a node
/// may have to find out first that its stream is dead.
const REST_MAX: Duration = Duration::from_secs(10 * 60);
/// How long it must then stay so: each timer of the nodes and the gateway's streams has run several times.
const REST: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One referral as its sender's people know it.
#[derive(Clone, Debug)]
pub(crate) struct Referral {
    pub(crate) from: Org,
    pub(crate) to: Org,
    case: Option<Case>,
    /// Set when the sender's node acknowledged it.
    pub(crate) thread_id: Option<ThreadId>,
    /// Somebody was told that consent has ended.
    pub(crate) withdrawn: bool,
    /// Somebody was told that the need is left out.
    pub(crate) narrowed: bool,
    /// Messages acknowledged to both sides' people.
    pub(crate) said: usize,
}

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
        ledger: Vec::new(),
    };
    for op in ops {
        running.op(*op);
    }
    let rested = running.rest();
    let Running { world, ledger } = running;
    let ended = world.end();
    let mut facts = facts::gather(&ended, ledger);
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
    ledger: Vec<Referral>,
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
        }
        "done".to_owned()
    }

    fn refer(&mut self, from: Org, to: Org) -> String {
        let number = self.ledger.len();
        let work = move |node: std::sync::Arc<_>| async move {
            let case = desk::agree(&node, to.id(), number).await;
            let sent = desk::refer(&node, &case).await;
            (case, sent)
        };
        let done = self.world.at(from, work);
        let mut referral = Referral {
            from,
            to,
            case: None,
            thread_id: None,
            withdrawn: false,
            narrowed: false,
            said: 0,
        };
        let outcome = match done {
            None => off(),
            Some((case, sent)) => {
                referral.case = Some(case);
                referral.thread_id = sent.as_ref().ok().copied();
                told(sent.map(|id| HumanCode::of(&id)), |error| error.problem())
            }
        };
        self.ledger.push(referral);
        outcome
    }

    fn refer_again(&mut self, number: usize) -> String {
        let Some((from, case)) = self.case(number) else {
            return nothing();
        };
        let done = self
            .world
            .at(from, move |node| async move { desk::refer(&node, &case).await });
        let Some(sent) = done else {
            return off();
        };
        let first = &mut self.ledger[number].thread_id;
        let second = sent.as_ref().ok().copied();
        assert!(
            first.is_none() || *first == second,
            "a repeat got another answer than the first time"
        );
        *first = second;
        told(sent.map(|id| HumanCode::of(&id)), |error| error.problem())
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
        self.ledger[number].withdrawn |= mv == Move::Withdraw && outcome.starts_with("ok");
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
        let done = self
            .world
            .at(org, move |node| async move { desk::say(&node, thread_id).await });
        let Some(said) = done else {
            return off();
        };
        self.ledger[number].said += usize::from(said.is_ok());
        told(said.map(|()| "said"), |error| error.problem())
    }

    fn withdraw(&mut self, number: usize, by: By) -> String {
        if by == By::Recipient {
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
        self.ledger[number].withdrawn |= withdrawn.is_ok();
        told(withdrawn.map(|()| "withdrawn"), |error| error.problem())
    }

    fn narrow(&mut self, number: usize) -> String {
        let Some((from, case)) = self.case(number) else {
            return nothing();
        };
        let done = self
            .world
            .at(from, move |node| async move { desk::narrow(&node, &case).await });
        let Some(narrowed) = done else {
            return off();
        };
        self.ledger[number].narrowed |= narrowed.is_ok();
        told(narrowed.map(|()| "narrowed"), |error| error.problem())
    }

    fn case(&self, number: usize) -> Option<(Org, Case)> {
        let referral = self.ledger.get(number)?;
        Some((referral.from, referral.case.clone()?))
    }

    fn thread(&self, number: usize, by: By) -> Option<(Org, ThreadId)> {
        let referral = self.ledger.get(number)?;
        let org = match by {
            By::Sender => referral.from,
            By::Recipient => referral.to,
        };
        Some((org, referral.thread_id?))
    }

    /// Heals and lets time pass until nothing waits, and for a while after that; says whether it came to that.
    fn rest(&mut self) -> Result<(), String> {
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
                return Err(format!("still waiting: {waiting:?}"));
            }
        }
        self.world.trace.line("at rest");
        Ok(())
    }
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
