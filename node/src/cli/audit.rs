//! `kith-node audit`: read, count and export the trail, look for gaps, and verify exports and this node's own database.
//! Called by the command line's dispatch. What needs the node's answer is a call to it; the rest works offline.
//! It must never call a line proven that the verifier did not prove, nor end well after one that is not.

mod files;
mod own;

use super::options::Own;
use super::say::{DAY_MS, end_of_day_ms, hex, id};
use super::talk::{Client, Talk, answer_to, ask};
use anyhow::bail;
use kith_proto::v1;
use kith_proto::v1::trail_filter::About;
use kith_proto::words::Purpose;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What the fields of a filter are called at the command line.
const OWN: Own = &[
    ("filter", ""),
    ("filter.referral", "--referral"),
    ("filter.thread_id", "--thread"),
    ("filter.grant_id", "--grant"),
    ("filter.person_id", "--person"),
    ("filter.organisation", "--organisation"),
    ("filter.purpose", "--for"),
    ("filter.category", "--category"),
    ("filter.role", "--role"),
    ("filter.code", "--code"),
    ("filter.from_ms", "--from"),
    ("filter.until_ms", "--until"),
    ("form", "--form"),
];

/// What to do with trails.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum AuditCommand {
    /// Show lines of the trail, newest first. With --json each has its proof. That you read it is in the trail.
    List {
        #[command(flatten)]
        filter: FilterOptions,
        /// Only the newest so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        most: u32,
    },
    /// Count lines by what happened and for what; fewer than five are not told apart, larger numbers told in steps of five.
    Count {
        #[command(flatten)]
        filter: FilterOptions,
    },
    /// Look for openings without consent, deliveries without a receipt, withdrawals without proof.
    Gaps,
    /// Write a part of the trail into a file, which can be verified offline. That you exported it is in the trail.
    Export {
        /// The file to make; it must not be there yet.
        file: PathBuf,
        #[command(flatten)]
        filter: FilterOptions,
        /// How it is written: trail (verifies offline), fhir (AuditEvents) or csv.
        #[arg(long, default_value = "trail", value_parser = ["trail", "fhir", "csv"])]
        form: String,
    },
    /// Verify an export line by line, offline, with nothing but the fingerprint of the network's root key; without a file, this
    /// node's own database against its log.
    Verify {
        /// The export.
        #[arg(requires = "root")]
        file: Option<PathBuf>,
        /// The fingerprint of the root key, as the network's owner handed it over: 64 hexadecimal digits.
        #[arg(long, value_name = "FINGERPRINT", requires = "file")]
        root: Option<String>,
        /// This node's database, when it is not the one in the data folder.
        #[arg(long, value_name = "URL", conflicts_with = "file")]
        store: Option<String>,
    },
    /// Compare what sender, recipient and gateway say of one referral, offline; each file is verified first.
    Compare {
        /// Two or three exports.
        #[arg(required = true, num_args = 2..=3)]
        files: Vec<PathBuf>,
        /// The fingerprint of the root key: 64 hexadecimal digits.
        #[arg(long, value_name = "FINGERPRINT")]
        root: String,
        /// The referral's id (32 hexadecimal digits), when the exports were not asked for one referral.
        #[arg(long, value_name = "ID")]
        thread: Option<String>,
    },
    /// Where this node's log and its copy of the gateway's stand.
    Status,
}

/// Which lines; what is given must all hold.
#[derive(clap::Args, Debug)]
pub(crate) struct FilterOptions {
    /// About a referral, by its code.
    #[arg(long, group = "about", value_name = "CODE")]
    referral: Option<String>,
    /// About a referral, by its id.
    #[arg(long, group = "about", value_name = "ID")]
    thread: Option<String>,
    /// About a consent and what rests on it.
    #[arg(long, group = "about", value_name = "ID")]
    grant: Option<String>,
    /// About a person's record and what rests on it.
    #[arg(long, group = "about", value_name = "ID")]
    person: Option<String>,
    /// Naming this organisation.
    #[arg(long)]
    organisation: Option<String>,
    /// For this purpose.
    #[arg(long = "for", value_name = "PURPOSE")]
    purpose: Option<String>,
    /// About this part.
    #[arg(long)]
    category: Option<String>,
    /// By somebody in this role.
    #[arg(long)]
    role: Option<String>,
    /// What happened, such as opened.
    #[arg(long)]
    code: Option<String>,
    /// From this day on (UTC), such as 2026-11-23.
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Until the end of this day (UTC).
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
}

impl FilterOptions {
    fn filter(&self) -> anyhow::Result<v1::TrailFilter> {
        let about = match (&self.referral, &self.thread, &self.grant, &self.person) {
            (Some(code), ..) => Some(About::Referral(code.clone())),
            (_, Some(thread), ..) => Some(About::ThreadId(id(thread)?)),
            (_, _, Some(grant), _) => Some(About::GrantId(id(grant)?)),
            (.., Some(person)) => Some(About::PersonId(id(person)?)),
            _ => None,
        };
        let purpose = self.purpose.as_deref().map(super::purpose).transpose()?;
        let category = self.category.as_deref().map(super::category).transpose()?;
        let from = self.from.as_deref().map(end_of_day_ms).transpose()?;
        let until = self.until.as_deref().map(end_of_day_ms).transpose()?;
        Ok(v1::TrailFilter {
            about,
            organisation: self.organisation.clone().unwrap_or_default(),
            purpose: purpose.map_or(0, Purpose::number),
            category: category.map_or(0, kith_proto::words::Category::number),
            role: self.role.clone().unwrap_or_default(),
            code: self.code.clone().unwrap_or_default(),
            from_ms: from.map_or(0, |end_ms| (end_ms + 1 - DAY_MS).max(0)),
            until_ms: until.map_or(0, |end_ms| (end_ms + 1).max(1)),
        })
    }
}

/// Runs one command.
pub(crate) async fn run(talk: &Talk, command: AuditCommand, clock: Clock, rng: Rng) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify {
            file: Some(file),
            root,
            ..
        } => files::verify(talk.out(), &file, root.as_deref().unwrap_or_default()),
        AuditCommand::Verify { store, .. } => own::verify(talk, store, clock).await,
        AuditCommand::Compare { files, root, thread } => {
            files::compare(talk.out(), &files, &root, thread.as_deref())
        }
        online => call(&talk.client(rng).await?, online).await,
    }
}

async fn call(client: &Client, command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::List { filter, most } => list(client, filter.filter()?, most).await,
        AuditCommand::Count { filter } => count(client, filter.filter()?).await,
        AuditCommand::Gaps => gaps(client).await,
        AuditCommand::Export { file, filter, form } => {
            let form = match form.as_str() {
                "fhir" => v1::ExportForm::Fhir,
                "csv" => v1::ExportForm::Csv,
                _ => v1::ExportForm::Trail,
            };
            files::export(client, &file, filter.filter()?, form).await
        }
        AuditCommand::Status => status(client).await,
        AuditCommand::Verify { .. } | AuditCommand::Compare { .. } => {
            bail!("This command is not a call to the node.")
        }
    }
}

async fn list(client: &Client, filter: v1::TrailFilter, most: u32) -> anyhow::Result<()> {
    let (mut left, mut page_token, mut any) = (most, String::new(), false);
    loop {
        let asked = v1::ListTrailRequest {
            filter: Some(filter.clone()),
            page_size: left.min(200),
            page_token,
        };
        let page = answer_to(client.audit().list_trail(ask(asked)).await, OWN, &[])?;
        for line in &page.lines {
            client.out.say(&sentence(line), &line_json(line))?;
            any = true;
        }
        left = left.saturating_sub(u32::try_from(page.lines.len()).unwrap_or(u32::MAX));
        page_token = page.next_page_token;
        if page_token.is_empty() || left == 0 {
            break;
        }
    }
    if !any {
        client.out.remark("There is nothing here.")?;
    }
    if !page_token.is_empty() {
        client
            .out
            .remark("There are older ones; show more with --most.")?;
    }
    Ok(())
}

fn sentence(line: &v1::TrailLine) -> String {
    format!("{:>7}  {}", line.number, line.sentence)
}

fn line_json(line: &v1::TrailLine) -> Value {
    json!({
        "number": line.number,
        "at_ms": line.at_ms,
        "code": line.code,
        "sentence": line.sentence,
        "proof": line.proof,
        "salt": hex(&line.salt),
        "preimage": line.preimage,
    })
}

async fn count(client: &Client, filter: v1::TrailFilter) -> anyhow::Result<()> {
    let asked = v1::CountTrailRequest { filter: Some(filter) };
    let counts = answer_to(client.audit().count_trail(ask(asked)).await, OWN, &[])?.counts;
    for one in &counts {
        let purpose = super::word::<Purpose>(one.purpose);
        let what = if purpose.is_empty() {
            one.code.clone()
        } else {
            format!("{} for {purpose}", one.code)
        };
        let many = if one.fewer_than_five {
            "fewer than five".to_owned()
        } else {
            format!("{} or a few more", one.count)
        };
        let value = json!({
            "code": one.code,
            "purpose": purpose,
            "count": one.count,
            "fewer_than_five": one.fewer_than_five,
        });
        client.out.say(&format!("{what}: {many}"), &value)?;
    }
    if counts.is_empty() {
        client.out.remark("There is nothing here.")?;
    }
    Ok(())
}

async fn gaps(client: &Client) -> anyhow::Result<()> {
    let checked = client.audit().check_gaps(ask(v1::CheckGapsRequest {})).await;
    for gap in answer_to(checked, OWN, &[])?.gaps {
        let lines: Vec<Value> = gap.lines.iter().map(line_json).collect();
        let value = json!({
            "kind": gap.kind,
            "count": gap.count,
            "sentence": gap.sentence,
            "lines": lines,
        });
        let kind = gap.kind.replace('_', " ");
        if gap.count == 0 {
            client.out.say(&format!("{kind}: none"), &value)?;
            continue;
        }
        client
            .out
            .say(&format!("{kind}: {}. {}", gap.count, gap.sentence), &value)?;
        for line in &gap.lines {
            client.out.remark(&sentence(line))?;
        }
    }
    Ok(())
}

async fn status(client: &Client) -> anyhow::Result<()> {
    let asked = client
        .audit()
        .get_log_status(ask(v1::GetLogStatusRequest {}))
        .await;
    let status = answer_to(asked, OWN, &[])?;
    let said = [
        format!("{}: {} leaves.", status.origin, status.size),
        match status.cosigned_size {
            0 => "The gateway has cosigned none of them yet.".to_owned(),
            size => format!(
                "The gateway has cosigned {size} of them, last on {}.",
                super::say::day(status.cosigned_at_ms)
            ),
        },
        match status.gateway_size {
            0 => "This node has not followed the gateway's log yet.".to_owned(),
            size => format!(
                "{}: {size} leaves, seen on {}. {}",
                status.gateway_origin,
                super::say::day(status.gateway_seen_at_ms),
                status.gateway_standing
            ),
        },
    ];
    let value = json!({
        "origin": status.origin,
        "size": status.size,
        "cosigned_size": status.cosigned_size,
        "cosigned_at_ms": status.cosigned_at_ms,
        "gateway_origin": status.gateway_origin,
        "gateway_size": status.gateway_size,
        "gateway_seen_at_ms": status.gateway_seen_at_ms,
        "gateway_standing": status.gateway_standing,
        "alarms": status.alarms,
    });
    client.out.say(&said.join("\n"), &value)?;
    for alarm in &status.alarms {
        client.out.remark(alarm)?;
    }
    Ok(())
}
