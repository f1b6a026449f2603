//! `kith-node person`: records people, finds them, opens a record.
//! Called by the command line's dispatch; talks to the node's `PersonService`.
//! It must never guess a person from a name that two have.

use super::options::Own;
use super::say::{Out, hex};
use super::talk::{Client, answer, answer_to, ask, long_text};
use anyhow::{Context as _, bail};
use kith_proto::v1;
use kith_proto::words::Category;
use serde_json::{Value, json};

/// What to do with the records of people.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum PersonCommand {
    /// Record a person. A name they like to be called by is enough.
    Add(Told),
    /// List the people you recorded, by name.
    List {
        /// The beginning of any of their names.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Open a person's record. This is written into the trail.
    Show {
        /// The person: the id that `add` gave, or a name.
        person: String,
        /// Why you open it.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Replace what is recorded of a person.
    Change {
        /// The person: the id that `add` gave, or a name.
        person: String,
        /// What is recorded from now on.
        #[command(flatten)]
        told: Told,
    },
}

/// What a person told. Anything else goes in as `--part category.field=value`; `-` reads a text from standard input.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Told {
    /// The name they like to be called by.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Other names.
    #[arg(long)]
    pub(crate) other_names: Option<String>,
    /// A telephone that is safe to call.
    #[arg(long)]
    pub(crate) phone: Option<String>,
    /// An e-mail address that is safe to write to.
    #[arg(long)]
    pub(crate) email: Option<String>,
    /// Languages they speak.
    #[arg(long)]
    pub(crate) languages: Option<String>,
    /// Which interpreting they need.
    #[arg(long)]
    pub(crate) interpreter: Option<String>,
    /// What would help, in their words.
    #[arg(long)]
    pub(crate) need: Option<String>,
    /// Any other field, as `health.access_needs=Ground floor`.
    #[arg(long = "part", value_name = "CATEGORY.FIELD=TEXT")]
    pub(crate) parts: Vec<String>,
}

/// The fields that have an option of their own, in the order of [`Told`].
const OPTIONS: [(Category, &str, &str); 7] = [
    (Category::Identity, "preferred_name", "--name"),
    (Category::Identity, "other_names", "--other-names"),
    (Category::Contact, "safe_phone", "--phone"),
    (Category::Contact, "safe_email", "--email"),
    (Category::Communication, "languages", "--languages"),
    (Category::Communication, "interpreter", "--interpreter"),
    (Category::Need, "in_their_words", "--need"),
];

/// How the field of a part is typed.
pub(crate) fn option_of(category: i32, field: &str) -> String {
    let own = OPTIONS
        .iter()
        .find(|(of, name, _)| of.number() == category && *name == field);
    own.map_or_else(
        || format!("--part {}.{field}", super::word::<Category>(category)),
        |(_, _, option)| (*option).to_owned(),
    )
}

impl Told {
    /// The parts, in the order of the categories.
    pub(crate) fn parts(self) -> anyhow::Result<Vec<v1::Part>> {
        let values = [
            self.name,
            self.other_names,
            self.phone,
            self.email,
            self.languages,
            self.interpreter,
            self.need,
        ];
        let mut parts = Vec::new();
        for ((category, name, _), value) in OPTIONS.into_iter().zip(values) {
            if let Some(value) = value {
                put(&mut parts, category, name, long_text(value)?);
            }
        }
        for text in self.parts {
            let (category, name, value) = split(&text)?;
            put(&mut parts, category, name, long_text(value.to_owned())?);
        }
        parts.sort_by_key(|part| part.category);
        Ok(parts)
    }
}

fn split(text: &str) -> anyhow::Result<(Category, &str, &str)> {
    let say = || {
        format!(
            "`{text}` should look like category.field=text, such as health.access_needs=\"Ground floor\"."
        )
    };
    let (place, value) = text.split_once('=').with_context(say)?;
    let (category, name) = place.split_once('.').with_context(say)?;
    Ok((super::category(category)?, name, value))
}

fn put(parts: &mut Vec<v1::Part>, category: Category, name: &str, value: String) {
    let field = v1::Field {
        name: name.to_owned(),
        value,
    };
    match parts.iter_mut().find(|part| part.category == category.number()) {
        Some(part) => part.fields.push(field),
        None => parts.push(v1::Part {
            category: category.number(),
            fields: vec![field],
        }),
    }
}

/// Runs one command.
pub(crate) async fn run(client: &Client, command: PersonCommand) -> anyhow::Result<()> {
    match command {
        PersonCommand::Add(told) => add(client, told.parts()?).await,
        PersonCommand::List { name } => list(client, &name).await,
        PersonCommand::Show { person, reason } => show(client, &person, reason).await,
        PersonCommand::Change { person, told } => change(client, &person, told.parts()?).await,
    }
}

async fn add(client: &Client, parts: Vec<v1::Part>) -> anyhow::Result<()> {
    named(&parts)?;
    let told = parts.clone();
    let asked = v1::CreatePersonRequest {
        request_id: client.request_id()?,
        parts,
    };
    let added = answer_to(client.persons().create_person(ask(asked)).await, &[], &told)?;
    let person = hex(&added.person_id);
    client.out.say(
        &format!("Recorded, on this node only; nothing has been shared. Person: {person}"),
        &json!({ "person": person, "version": added.version }),
    )
}

/// A record says at least what the person is called.
fn named(parts: &[v1::Part]) -> anyhow::Result<()> {
    let is_name = |field: &v1::Field| field.name == "preferred_name";
    let identity = |part: &&v1::Part| part.category == Category::Identity.number();
    if !parts
        .iter()
        .filter(identity)
        .any(|part| part.fields.iter().any(is_name))
    {
        bail!("Say at least what they like to be called, with --name; any name will do.");
    }
    Ok(())
}

async fn list(client: &Client, name: &str) -> anyhow::Result<()> {
    let mut page_token = String::new();
    let mut shown = 0;
    loop {
        let asked = v1::ListPersonsRequest {
            name: name.to_owned(),
            page_size: 0,
            page_token,
        };
        let page = answer(client.persons().list_persons(ask(asked)).await)?;
        for line in page.persons {
            let person = hex(&line.person_id);
            let value = json!({ "person": person, "preferred_name": line.preferred_name });
            client
                .out
                .say(&format!("{person}  {}", line.preferred_name), &value)?;
            shown += 1;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if shown == 0 {
        client.out.remark("Nobody is recorded here under that name.")
    } else {
        Ok(())
    }
}

async fn open(client: &Client, person: &str, opening_reason: String) -> anyhow::Result<v1::Person> {
    let person_id = client.person(person).await?;
    let asked = v1::GetPersonRequest {
        person_id,
        opening_reason,
    };
    let own: Own = &[("opening_reason", "--reason")];
    let opened = answer_to(client.persons().get_person(ask(asked)).await, own, &[])?;
    opened.person.context("The node's answer is empty.")
}

async fn show(client: &Client, person: &str, reason: String) -> anyhow::Result<()> {
    let person = open(client, person, reason).await?;
    let id = hex(&person.person_id);
    let value = json!({ "person": id, "version": person.version, "parts": parts_json(&person.parts) });
    client.out.say(&format!("Person: {id}"), &value)?;
    parts_lines(client.out, &person.parts)
}

async fn change(client: &Client, person: &str, parts: Vec<v1::Part>) -> anyhow::Result<()> {
    named(&parts)?;
    let told = parts.clone();
    let person = open(client, person, String::from("to change it")).await?;
    let request_id = client.request_id()?;
    let asked = v1::UpdatePersonRequest {
        request_id,
        person_id: person.person_id,
        version: person.version,
        parts,
    };
    let changed = answer_to(client.persons().update_person(ask(asked)).await, &[], &told)?;
    client.out.say("Changed.", &json!({ "version": changed.version }))
}

/// Parts for machines: category, then field, then text.
pub(crate) fn parts_json(parts: &[v1::Part]) -> Value {
    let of = |part: &v1::Part| {
        let fields = part
            .fields
            .iter()
            .map(|f| (f.name.clone(), Value::from(f.value.as_str())));
        (
            super::word::<Category>(part.category),
            Value::Object(fields.collect()),
        )
    };
    Value::Object(parts.iter().map(of).collect())
}

/// Parts for people, one field a line.
pub(crate) fn parts_lines(out: Out, parts: &[v1::Part]) -> anyhow::Result<()> {
    for part in parts {
        out.remark(&format!("{}:", super::word::<Category>(part.category)))?;
        for field in &part.fields {
            out.remark(&format!("  {}: {}", field.name.replace('_', " "), field.value))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_parts_become_one_part_for_each_category() {
        let told = Told {
            name: Some("ሰላም".into()),
            phone: Some("07700 900123".into()),
            parts: vec!["identity.pronouns=she".into(), "health.access_needs=a=b".into()],
            ..Told::default()
        };
        let parts = told.parts().unwrap();
        let shape: Vec<(i32, usize)> = parts.iter().map(|p| (p.category, p.fields.len())).collect();
        assert_eq!(shape, [(1, 2), (2, 1), (5, 1)]);
        assert_eq!(parts[2].fields[0].value, "a=b");
    }

    #[test]
    fn a_part_that_cannot_be_read_is_explained() {
        for bad in ["health", "health=x", "shoes.size=9"] {
            let told = Told {
                parts: vec![bad.into()],
                ..Told::default()
            };
            assert!(told.parts().is_err(), "{bad}");
        }
    }
}
