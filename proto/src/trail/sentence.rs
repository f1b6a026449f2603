//! One plain English sentence for every event: who, which organisation, what, why, allowed by which consent, when.
//! Screens, the command line's `audit` and exports call it, for nodes and gateways alike.
//! Never show a value that is not an id, a slug, a number or a word of a closed list: whoever wrote the event may have chosen it.
//!
//! A line that is missing leaves its part of the sentence out; there is a sentence for every event that can be read.

use super::Code;
use super::event::Told;
use crate::calendar::day;
use crate::id::OrgId;
use crate::log::origin::Keeper;

mod said;
mod when;

use said::Said;
pub use when::{instant, written};

/// For whom an event is told.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Whose log the event stands in.
    pub keeper: &'a Keeper,
    /// The display name of an organisation; without one its slug is shown.
    pub name_of: &'a dyn Fn(&OrgId) -> Option<String>,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader(of {:?})", self.keeper)
    }
}

/// Tells an event in one sentence of one line.
pub fn sentence(told: &Told<'_>, reader: &Reader<'_>) -> String {
    let said = Said::new(told, reader);
    let what = match told.code {
        Code::NodeJoined | Code::TokenMade | Code::TokenRevoked | Code::SignInFailed => of_the_node(&said),
        Code::ColleagueAdded
        | Code::ColleagueEnded
        | Code::SignInLinkMade
        | Code::PasskeyMade
        | Code::PasskeyEnded
        | Code::SignedIn => of_colleagues(&said),
        Code::PersonRecorded | Code::PersonChanged | Code::Opened | Code::Listed => of_records(&said),
        Code::TrailRead | Code::TrailExported | Code::StatementReviewed => of_the_trail(&said),
        Code::ConsentRefused
        | Code::GrantGiven
        | Code::GrantNarrowed
        | Code::GrantWithdrawn
        | Code::GrantExpired => of_consent(&said),
        Code::SlipIssued
        | Code::SlipStopped
        | Code::WithdrawalProved
        | Code::AccessReported
        | Code::HoldingDestroyed => of_slips(&said),
        Code::EnvelopeSent | Code::EnvelopeReceived | Code::EnvelopeRejected => of_own_envelopes(&said),
        Code::EnvelopeTaken
        | Code::EnvelopeTakenAgain
        | Code::EnvelopeRefused
        | Code::EnvelopeDropped
        | Code::EnvelopeDelivered => of_relayed_envelopes(&said),
        Code::ReferralMoved => moved(&said),
        Code::KeyRotated | Code::KeyDestroyed => of_keys(&said),
        Code::RecoverySheetMade
        | Code::BundleMade
        | Code::BundleKept
        | Code::BundleFetched
        | Code::MemberRestored
        | Code::ThreadReturned
        | Code::MemberLost => of_recovery(&said),
        Code::NetworkCreated
        | Code::MemberJoined
        | Code::MemberSuspended
        | Code::MemberResumed
        | Code::BindingPublished
        | Code::CertificateIssued
        | Code::InviteRefused
        | Code::PolicyPublished
        | Code::AlarmRaised
        | Code::EpochFollowed
        | Code::EpochOpened => of_the_network(&said),
    };
    let about = said.about();
    let why = said.why();
    let allowed = said.allowed_by();
    format!("{what}{about}{why}{allowed}, {}.", written(told.at_ms))
}

fn of_the_node(said: &Said<'_>) -> String {
    let home = said.home();
    let token = said.bracketed("sign-in", "token");
    match said.code() {
        Code::NodeJoined => format!("{} joined the network", said.machine()),
        Code::TokenMade => {
            let roles = said.listed(" for the role ", "role");
            format!("A new sign-in{token} was made at {home}{roles}")
        }
        Code::TokenRevoked => format!("A sign-in{token} was revoked at {home}"),
        _ => {
            let count = said
                .count("sign-in", "sign-ins")
                .unwrap_or_else(|| "Sign-ins".to_owned());
            format!("{count} failed at {home}")
        }
    }
}

fn of_colleagues(said: &Said<'_>) -> String {
    let home = said.home();
    let colleague = said.bracketed("sign-in", "token");
    let roles = said.listed(" for the role ", "role");
    match said.code() {
        Code::ColleagueAdded => format!("A colleague{colleague} was added at {home}{roles}"),
        Code::ColleagueEnded => format!("A colleague{colleague} of {home} can no longer sign in"),
        Code::SignInLinkMade => {
            format!("A link was made with which a colleague{colleague} of {home} signs in once")
        }
        Code::PasskeyMade => format!("A colleague{colleague} of {home} made a passkey"),
        Code::PasskeyEnded => format!("A colleague{colleague} of {home} took a passkey away"),
        _ => {
            let by = said.listed(" by ", "by");
            format!("A colleague{colleague} of {home} signed in{by}")
        }
    }
}

fn of_records(said: &Said<'_>) -> String {
    let who = said.who();
    let person = said.bracketed("record", "person");
    match said.code() {
        Code::PersonRecorded => format!("{who} recorded a person{person}"),
        Code::PersonChanged => format!("{who} changed the record of a person{person}"),
        Code::Opened => format!("{who} opened {}", said.opened()),
        _ => {
            let list = said.word("list").map(|list| format!(" of kind \"{list}\""));
            let count = said.count("line", "lines").map(|count| format!(" with {count}"));
            format!(
                "{who} was shown a list{}{}",
                list.unwrap_or_default(),
                count.unwrap_or_default()
            )
        }
    }
}

fn of_the_trail(said: &Said<'_>) -> String {
    let who = said.who();
    let lines = said.count("line", "lines").map(|count| format!("{count} of "));
    let lines = lines.unwrap_or_default();
    match said.code() {
        Code::TrailRead => format!("{who} read {lines}the trail"),
        Code::TrailExported => format!("{who} exported {lines}the trail"),
        _ => {
            let text = said.bracketed("text", "text");
            format!(
                "A named person at {} stood for the words of consent{text}",
                said.home()
            )
        }
    }
}

fn of_consent(said: &Said<'_>) -> String {
    let who = said.who();
    let person = said
        .short("person")
        .map(|person| format!(" of the person of record {person}"));
    let person = person.unwrap_or_default();
    match said.code() {
        Code::GrantGiven => format!("{who} recorded a consent{person}"),
        Code::ConsentRefused => {
            let peers = said.orgs(" about ", "to");
            format!("{who} recorded that consent{person} was asked for and not given{peers}")
        }
        Code::GrantNarrowed => {
            let peers = said.orgs(" towards ", "for");
            format!("{who} recorded that a consent{person} now allows less{peers}")
        }
        Code::GrantWithdrawn => {
            let how = if said.is("as", "invalidated") {
                "was found not to be valid"
            } else {
                "was withdrawn"
            };
            let stop = if said.is("asked_with", "stop_code") {
                " with the person's stop code"
            } else {
                ""
            };
            let peers = said.orgs(" towards ", "with");
            format!("{who} recorded that a consent{person} {how}{stop}{peers}")
        }
        _ => format!("A consent{person} ran out at {}", said.home()),
    }
}

fn of_slips(said: &Said<'_>) -> String {
    match said.code() {
        Code::SlipIssued => {
            let to = said.orgs(" for ", "to");
            format!("{} issued a consent slip{to}", said.machine())
        }
        Code::SlipStopped => {
            let by = if said.is("shown", "stop_secret") {
                ", asked with the person's stop code".to_owned()
            } else {
                said.orgs(", asked by ", "by")
            };
            format!("{} stopped a consent slip{by}", said.machine())
        }
        Code::WithdrawalProved => {
            let by = said.other("by");
            format!("{by} proved to {} what it did about a withdrawal", said.home())
        }
        Code::AccessReported => {
            let (by, count) = (said.other("by"), said.count("opening", "openings"));
            let count = count.unwrap_or_else(|| "openings".to_owned());
            let on = said.number("day_ms").map(|day_ms| format!(" on {}", day(day_ms)));
            let on = on.unwrap_or_default();
            format!("{by} told {} of {count}{on} of what it received", said.home())
        }
        _ => format!("{} destroyed the keys of what it held", said.machine()),
    }
}

fn of_own_envelopes(said: &Said<'_>) -> String {
    let thing = said.thing();
    match said.code() {
        Code::EnvelopeSent => format!("{} sent {thing}{}", said.who(), said.orgs(" to ", "to")),
        Code::EnvelopeReceived => {
            format!(
                "{} received {thing}{}",
                said.machine(),
                said.orgs(" from ", "from")
            )
        }
        _ => format!(
            "{} refused {thing} on arrival{}",
            said.machine(),
            said.orgs(" from ", "from")
        ),
    }
}

fn of_relayed_envelopes(said: &Said<'_>) -> String {
    let thing = said.thing();
    let from = match said.org("from") {
        Some(from) => format!(" from {from}"),
        None if said.is_of_gateway() => String::new(),
        None => format!(" from {}", said.home()),
    };
    let to = match said.orgs(" for ", "to") {
        // A node that tells of a sender tells of what was for itself.
        none if none.is_empty() && !said.is_of_gateway() && said.org("from").is_some() => {
            format!(" for {}", said.home())
        }
        to => to,
    };
    match said.code() {
        Code::EnvelopeTaken => format!("The gateway took {thing}{from}{to}"),
        Code::EnvelopeTakenAgain if said.is("delivery", "again") => {
            format!("The gateway took {thing}{from}{to} once more, to deliver it again")
        }
        Code::EnvelopeTakenAgain => {
            let held = if said.word("problem").is_some() {
                ""
            } else {
                ", as it is there or on its way"
            };
            format!("The gateway was sent {thing}{from}{to} once more and did not pass it on again{held}")
        }
        Code::EnvelopeRefused => format!("{thing}{from}{to} was refused"),
        Code::EnvelopeDropped => format!("{thing}{from}{to} was dropped and will not be delivered"),
        _ if said.word("problem").is_some() => {
            format!("{thing}{from}{to} was delivered and refused there")
        }
        _ => format!("{thing}{from}{to} was delivered"),
    }
}

fn moved(said: &Said<'_>) -> String {
    let party = match said.word("party").as_deref() {
        Some("person") => "the person",
        Some("sender") => "the sender",
        Some("recipient") => "the recipient",
        Some("timer") => "a deadline",
        Some("gateway") => "the gateway",
        _ => "somebody",
    };
    let step = said.word("move").map(|step| format!("the move \"{step}\""));
    let step = step.unwrap_or_else(|| "a move".to_owned());
    // What another member returned after a restore stands at its place, and not where the referral stands now.
    let (made, stands) = if said.is("as", "proposed") {
        ("was proposed", "stands")
    } else if said.is("as", "returned") {
        ("came back, as made", "stood")
    } else {
        ("was made", "stands")
    };
    let state = said
        .word("state")
        .map(|state| format!("; it {stands} at \"{state}\""));
    let state = state.unwrap_or_default();
    format!(
        "In the account of {} {step} {made} by {party} on a referral{state}",
        said.home()
    )
}

fn of_keys(said: &Said<'_>) -> String {
    let key = said
        .word("key")
        .map_or_else(|| "key".to_owned(), |key| format!("{key} key"));
    let machine = said.machine();
    match said.code() {
        Code::KeyRotated => format!("{machine} replaced its {key}"),
        _ => format!("{machine} destroyed an old {key}"),
    }
}

fn of_recovery(said: &Said<'_>) -> String {
    let member = said.org("organisation").unwrap_or_else(|| "A member".to_owned());
    let machine = said.machine();
    match said.code() {
        Code::RecoverySheetMade => format!("A recovery sheet was made at {}", said.home()),
        Code::BundleMade => {
            let kept = if said.is("kept", "gateway") {
                " and gave it to the gateway to keep"
            } else {
                ""
            };
            format!("{machine} made a recovery bundle{kept}")
        }
        Code::BundleKept => format!("{machine} keeps a recovery bundle of {member}"),
        Code::BundleFetched => format!("The recovery bundle of {member} was fetched with its secret"),
        Code::MemberRestored => {
            format!("{member} came back from a backup, and others were asked to offer again")
        }
        Code::ThreadReturned => format!("{member} returned to {} how a referral stands", said.home()),
        _ => format!("The keys of {member} were reported lost to the network's operator"),
    }
}

fn of_the_network(said: &Said<'_>) -> String {
    let member = said.org("organisation").unwrap_or_else(|| "A member".to_owned());
    let number = |what: &str| said.number("number").map(|number| format!(" {what} {number}"));
    match said.code() {
        Code::NetworkCreated => "The gateway of the network was set up".to_owned(),
        Code::MemberJoined => format!("{member} joined the network with its first keys{}", carried(said)),
        Code::MemberSuspended => {
            format!(
                "{member} was suspended by the network's operator{}",
                carried(said)
            )
        }
        Code::MemberResumed => format!("The suspension of {member} was ended by the network's operator"),
        Code::BindingPublished => {
            let by = if said.is("signed_by", "registrar") {
                ", signed by the registrar"
            } else {
                ""
            };
            format!(
                "{member} published new keys{}{by}{}",
                number("under number").unwrap_or_default(),
                carried(said)
            )
        }
        Code::CertificateIssued => format!("{member} was given a certificate for its connections"),
        Code::InviteRefused => format!("An enrolment of {member} was refused, as its invite was used up"),
        Code::PolicyPublished => {
            format!(
                "The network's witness policy{} was published{}",
                number("number").unwrap_or_default(),
                carried(said)
            )
        }
        Code::AlarmRaised => {
            let kind = said
                .word("kind")
                .map(|kind| format!(" of kind \"{kind}\""))
                .unwrap_or_default();
            let about = said.orgs(" about ", "organisation");
            format!(
                "{} raised an alarm{kind}{about}: a person must look at it",
                said.machine()
            )
        }
        Code::EpochFollowed => format!(
            "{} follows the gateway's log{} by the word of the network's root; alarms about the log before it have ended",
            said.machine(),
            said.number("epoch")
                .map(|epoch| format!(" in epoch {epoch}"))
                .unwrap_or_default()
        ),
        _ => began(said),
    }
}

/// Of what a later epoch repeats of the one before.
fn carried(said: &Said<'_>) -> String {
    let from = said.number("carried_from");
    from.map(|epoch| format!(", as epoch {epoch} of the log had it"))
        .unwrap_or_default()
}

fn began(said: &Said<'_>) -> String {
    let epoch = said.number("epoch").or_else(|| said.number("number"));
    let epoch = epoch
        .map(|epoch| format!(" as epoch {epoch}"))
        .unwrap_or_default();
    let found = match (said.number("found_epoch"), said.number("found_size")) {
        (Some(epoch), Some(size)) => format!(", after it was found at size {size} of epoch {epoch}"),
        _ => String::new(),
    };
    let reason = said.word("reason").map(|reason| format!(" (\"{reason}\")"));
    format!(
        "{} began its log{epoch}{found}{}",
        said.machine(),
        reason.unwrap_or_default()
    )
}
