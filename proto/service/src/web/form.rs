//! Parts of forms: fields with label, hint and fault, lists of choices, and the summary of faults on top. Called by pages.
//! Never loses what somebody wrote: a field shows again what came.

use maud::{Markup, html};

use super::words::Words;

/// Something that is to be put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field's name.
    pub field: &'static str,
    /// What to do, in a sentence.
    pub sentence: String,
}

/// All that is to be put right in a form, in the order of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    pub fn add(&mut self, field: &'static str, sentence: String) {
        self.0.push(Fault { field, sentence });
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of a field.
    fn of(&self, field: &str) -> Option<&str> {
        let found = self.0.iter().find(|fault| fault.field == field);
        found.map(|fault| fault.sentence.as_str())
    }

    /// The summary, which stands above the heading and is read out first; nothing where there is no fault.
    pub fn summary(&self, words: Words<'_>) -> Markup {
        html! {
            @if !self.is_empty() {
                section.faults aria-labelledby="faults" tabindex="-1" role="alert" {
                    h2 #faults { (words.say("faults-title")) }
                    ul {
                        @for fault in &self.0 {
                            li { a href={ "#" (fault.field) } { (fault.sentence) } }
                        }
                    }
                }
            }
        }
    }
}

/// A field that somebody writes into.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its name, which is its id as well.
    pub name: &'static str,
    /// What it asks for.
    pub label: &'a str,
    /// What helps to answer; empty for nothing.
    pub hint: &'a str,
    /// What is in it.
    pub value: &'a str,
    /// Most characters that it takes.
    pub length_max: usize,
    /// Whether it may be left empty.
    pub is_optional: bool,
}

/// What describes a field, for those who hear the page.
fn described(name: &str, has_hint: bool, has_fault: bool) -> Option<String> {
    match (has_hint, has_fault) {
        (false, false) => None,
        (true, false) => Some(format!("{name}-hint")),
        (false, true) => Some(format!("{name}-fault")),
        (true, true) => Some(format!("{name}-hint {name}-fault")),
    }
}

fn hint_and_fault(words: Words<'_>, (name, hint): (&str, &str), fault: Option<&str>) -> Markup {
    html! {
        @if !hint.is_empty() { p.hint id={ (name) "-hint" } { (hint) } }
        @if let Some(fault) = fault {
            p.fault id={ (name) "-fault" } { strong { (words.say("fault")) } " " (fault) }
        }
    }
}

fn label(words: Words<'_>, field: &Field<'_>) -> Markup {
    html! {
        label for=(field.name) {
            (field.label)
            @if field.is_optional { " " span.optional { (words.say("optional")) } }
        }
    }
}

/// One line.
pub fn line(words: Words<'_>, field: &Field<'_>, faults: &Faults) -> Markup {
    let fault = faults.of(field.name);
    html! {
        div.field.wrong[fault.is_some()] {
            (label(words, field))
            (hint_and_fault(words, (field.name, field.hint), fault))
            input type="text" id=(field.name) name=(field.name) value=(field.value) maxlength=(field.length_max) dir="auto"
                autocomplete="off" aria-invalid=[fault.map(|_| "true")]
                aria-describedby=[described(field.name, !field.hint.is_empty(), fault.is_some())];
        }
    }
}

/// Several lines.
pub fn area(words: Words<'_>, field: &Field<'_>, faults: &Faults) -> Markup {
    let fault = faults.of(field.name);
    html! {
        div.field.wrong[fault.is_some()] {
            (label(words, field))
            (hint_and_fault(words, (field.name, field.hint), fault))
            textarea id=(field.name) name=(field.name) rows="5" maxlength=(field.length_max) dir="auto"
                aria-invalid=[fault.map(|_| "true")]
                aria-describedby=[described(field.name, !field.hint.is_empty(), fault.is_some())] { (field.value) }
        }
    }
}

/// A question with choices.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Its name; the first choice has it as its id.
    pub name: &'static str,
    /// What it asks.
    pub legend: &'a str,
    /// What helps to answer; empty for nothing.
    pub hint: &'a str,
    /// Whether more than one may be chosen.
    pub many: bool,
}

/// A choice.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What is sent.
    pub value: String,
    /// What it says.
    pub text: String,
    /// What helps to choose it; empty for nothing.
    pub hint: String,
    /// Whether it is chosen.
    pub is_chosen: bool,
}

/// One or several of some.
pub fn choices(words: Words<'_>, question: &Question<'_>, choices: &[Choice], faults: &Faults) -> Markup {
    let fault = faults.of(question.name);
    let kind = if question.many { "checkbox" } else { "radio" };
    html! {
        fieldset.field.wrong[fault.is_some()]
            aria-describedby=[described(question.name, !question.hint.is_empty(), fault.is_some())] {
            legend { (question.legend) }
            (hint_and_fault(words, (question.name, question.hint), fault))
            @for (place, choice) in choices.iter().enumerate() {
                @let id = if place == 0 { question.name.to_owned() } else { format!("{}-{place}", question.name) };
                div.choice {
                    input type=(kind) id=(id) name=(question.name) value=(choice.value) checked[choice.is_chosen]
                        aria-describedby=[(!choice.hint.is_empty()).then(|| format!("{id}-hint"))];
                    label for=(id) { (choice.text) }
                    @if !choice.hint.is_empty() { p.hint id={ (id) "-hint" } { (choice.hint) } }
                }
            }
        }
    }
}
