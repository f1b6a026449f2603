//! The command line of a node: what a receptionist, a coordinator or an admin types, answered in plain sentences.
//! Called by `main` and by whoever re-executes itself as a node, with its own clock and randomness.
//! It must never hold a rule: it reads words, calls the node and says what came of it.

mod audit;
mod colleague;
mod consent;
mod doctor;
mod inbox;
mod join;
mod moves;
mod options;
mod organisations;
mod person;
mod recovery;
mod refer;
mod restore;
mod say;
mod serve;
mod statement;
mod status;
mod talk;
mod token;
mod watch;

use anyhow::bail;
use clap::{Parser, Subcommand};
use kith_proto::lifecycle::{Move, State};
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use moves::OnThread;
use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;
use talk::Talk;

/// Refer people between organisations, with their consent and nothing more.
#[derive(Debug, Parser)]
#[command(name = "kith-node", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    talk: Talk,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join a network with the token that its owner gave you.
    Join(join::Join),
    /// Run the node.
    Serve(serve::ServeArguments),
    /// Say how this node is: in which network, whether it is connected, what waits.
    Status(status::StatusArguments),
    /// Check this node: what is well, and what needs attention. Ends with 1 when there is an alarm.
    Doctor(status::StatusArguments),
    /// The recovery sheet and recovery bundles: what brings this node back when the computer is lost.
    #[command(subcommand)]
    Recovery(recovery::RecoveryCommand),
    /// Bring a node back: from a recovery bundle, with two parts of its recovery sheet, or from an older copy of its data folder.
    Restore(Box<restore::RestoreArguments>),
    /// Make, list and revoke the tokens with which people and systems sign in.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Who signs in to the workspace.
    #[command(subcommand)]
    Colleague(colleague::ColleagueCommand),
    /// Show a consent text, and say that you have reviewed it for your organisation.
    #[command(subcommand)]
    Statement(statement::StatementCommand),
    /// Record people, find them, open a record.
    #[command(subcommand)]
    Person(person::PersonCommand),
    /// Show the statement; record, narrow and withdraw consent.
    #[command(subcommand)]
    Consent(consent::ConsentCommand),
    /// Send a referral.
    Refer(Box<refer::Refer>),
    /// What came in.
    Inbox(inbox::Lines),
    /// What you sent.
    Sent(inbox::Lines),
    /// Open one referral. This is written into the trail.
    Show {
        /// Its code, such as K7M2-9QXD-44.
        code: String,
        /// Why you open it.
        #[arg(long, default_value = "")]
        opening_reason: String,
    },
    /// Say that a person here has seen it.
    Acknowledge(OnThread),
    /// Say yes.
    Accept(OnThread),
    /// Say no, with a reason.
    Decline(OnThread),
    /// Begin to help.
    Start(OnThread),
    /// The help was given.
    Complete(OnThread),
    /// The help ended without its aim.
    NotComplete(OnThread),
    /// Ask the sender something.
    RequestInfo(OnThread),
    /// Answer what was asked.
    AnswerInfo(OnThread),
    /// Call it off, or ask them to.
    Cancel(OnThread),
    /// Say no to their wish to cancel.
    RefuseCancel(OnThread),
    /// The person takes consent back, for this referral's recipient.
    Withdraw(OnThread),
    /// Take up an expired referral again.
    Reinstate(OnThread),
    /// It should never have existed.
    EnterInError(OnThread),
    /// Send words on a referral.
    Message {
        /// Its code.
        code: String,
        /// The words; `-` reads them from standard input.
        words: String,
    },
    /// Show every change as it happens.
    Watch(watch::Watch),
    /// Who is in the network and what they offer.
    Organisations(organisations::Organisations),
    /// Publish what this organisation offers.
    Service(Box<organisations::Offer>),
    /// Read, count, export and verify the trail.
    #[command(subcommand)]
    Audit(Box<audit::AuditCommand>),
}

/// Runs one command to its end. `arguments` begin with the program's name. 0 is success, 1 a refusal or failure that was
/// explained on stderr (with `--json` on stdout), 2 a command line that cannot be read.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, clock: Clock, rng: Rng) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(wrong) => {
            // Help and version come this way too; nobody is left to tell when printing fails.
            wrong.print().ok();
            return ExitCode::from(if wrong.use_stderr() { 2 } else { 0 });
        }
    };
    let out = cli.talk.out();
    match dispatch(cli, clock, rng).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out.refusal(&error);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli, clock: Clock, rng: Rng) -> anyhow::Result<()> {
    let talk = &cli.talk;
    match cli.command {
        Command::Join(arguments) => join::run(talk, arguments, clock, rng).await,
        Command::Serve(arguments) => serve::run(talk, arguments, clock, rng).await,
        Command::Status(arguments) => status::run(talk, arguments, clock).await,
        Command::Doctor(arguments) => doctor::run(talk, arguments, clock).await,
        Command::Organisations(organisations::Organisations { one: Some(one) }) => {
            organisations::show(talk, one, clock).await
        }
        Command::Recovery(command) => recovery::run(talk, command, clock, rng).await,
        Command::Restore(arguments) => restore::run(talk, *arguments, clock, rng).await,
        Command::Token(command) => token::run(talk, command, clock, rng).await,
        Command::Colleague(command) => colleague::run(talk, command, clock, rng).await,
        Command::Statement(command) => statement::run(talk, command, clock, rng).await,
        Command::Audit(command) => audit::run(talk, *command, clock, rng).await,
        Command::Watch(watch) => watch::run(talk, watch, rng).await,
        calls => call(&talk.client(rng).await?, calls).await,
    }
}

/// The commands that are calls to the running node.
async fn call(client: &talk::Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Person(command) => person::run(client, command).await,
        Command::Consent(command) => consent::run(client, command).await,
        Command::Refer(refer) => refer::run(client, *refer).await,
        Command::Inbox(lines) => inbox::list(client, v1::Side::Inbox, lines).await,
        Command::Sent(lines) => inbox::list(client, v1::Side::Sent, lines).await,
        Command::Show { code, opening_reason } => inbox::show(client, &code, &opening_reason).await,
        Command::Message { code, words } => moves::message(client, &code, words).await,
        Command::Organisations(_) => organisations::list(client).await,
        Command::Service(offer) => organisations::offer(client, *offer).await,
        other => match as_move(other) {
            Some((mv, on)) => moves::make(client, mv, on).await,
            None => bail!("This command is not a call to the node."),
        },
    }
}

/// The commands that are one lifecycle move.
fn as_move(command: Command) -> Option<(Move, OnThread)> {
    Some(match command {
        Command::Acknowledge(on) => (Move::Acknowledge, on),
        Command::Accept(on) => (Move::Accept, on),
        Command::Decline(on) => (Move::Decline, on),
        Command::Start(on) => (Move::Start, on),
        Command::Complete(on) => (Move::Complete, on),
        Command::NotComplete(on) => (Move::NotComplete, on),
        Command::RequestInfo(on) => (Move::RequestInfo, on),
        Command::AnswerInfo(on) => (Move::AnswerInfo, on),
        Command::Cancel(on) => (Move::Cancel, on),
        Command::RefuseCancel(on) => (Move::RefuseCancel, on),
        Command::Withdraw(on) => (Move::Withdraw, on),
        Command::Reinstate(on) => (Move::Reinstate, on),
        Command::EnterInError(on) => (Move::EnterInError, on),
        _ => return None,
    })
}

/// Reads a word of a closed list as people type it, or says which words there are.
fn choose<T: Copy + Display>(all: &[T], text: &str, what: &str) -> anyhow::Result<T> {
    let typed = text.to_lowercase().replace(['-', ' '], "_");
    match all.iter().find(|word| word.to_string() == typed) {
        Some(word) => Ok(*word),
        None => bail!("`{text}` is not a {what}. Choose one of: {}.", listed(all)),
    }
}

/// The words of a closed list, as they are typed.
fn listed<T: Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn category(text: &str) -> anyhow::Result<Category> {
    choose(Category::ALL, text, "part")
}

fn purpose(text: &str) -> anyhow::Result<Purpose> {
    choose(Purpose::ALL, text, "purpose")
}

fn state(text: &str) -> anyhow::Result<State> {
    choose(State::ALL, text, "state")
}

/// A word of a closed list by its number; empty for none.
fn word<T: TryFrom<i32> + Display>(number: i32) -> String {
    T::try_from(number).map_or_else(|_| String::new(), |word| word.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn words_are_read_as_people_type_them() {
        assert_eq!(purpose("Peer support").unwrap(), Purpose::PeerSupport);
        let said = category("visa").unwrap_err().to_string();
        assert!(said.contains("identity, contact"), "{said}");
        assert_eq!(word::<State>(7), "accepted");
        assert_eq!(word::<State>(0), "");
    }

    #[test]
    fn a_referral_can_be_typed_in_one_line() {
        let line = "kith-node refer --data d --person Amina --to tigrinya-circle --for peer_support --need x --share identity,contact";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert!(matches!(cli.command, Command::Refer(_)));
        assert!(
            Cli::try_parse_from(["kith-node", "accept"]).is_err(),
            "a move needs a code"
        );
        let json = Cli::try_parse_from(["kith-node", "accept", "K7M2-9QXD-44", "--json"]).unwrap();
        assert!(json.talk.json && as_move(json.command).is_some());
    }
}
