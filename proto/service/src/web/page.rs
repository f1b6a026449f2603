//! The frame of every page: skip link, name of the organisation, menu, languages, the notice of drafts, and that this is not for emergencies.
//! Called by an edge with what is in the page. Never has a style or script in it: both are files, as the policy of [`super::protect`] asks.

use maud::{DOCTYPE, Markup, html};

use super::language::Language;
use super::own;
use super::words::Words;

/// An entry of the menu.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it leads.
    pub href: String,
    /// What it says.
    pub text: String,
    /// Whether the page belongs to it.
    pub is_here: bool,
}

/// Who is signed in, where somebody is.
#[derive(Clone, Debug)]
pub struct SignedIn<'a> {
    /// As colleagues know them.
    pub label: &'a str,
    /// What forms carry.
    pub form_token: String,
}

/// A page.
pub struct Page<'a> {
    /// Its language.
    pub words: Words<'a>,
    /// Whose pages these are.
    pub organisation: &'a str,
    /// Its title, which is its heading as well; nothing about a person.
    pub title: &'a str,
    /// Its own address, to come back to in another language.
    pub path: &'a str,
    /// Whether something in it is to be put right, so that the title says so.
    pub has_faults: bool,
    /// The menu; empty before a sign-in.
    pub menu: Vec<Entry>,
    /// Who is signed in.
    pub signed_in: Option<SignedIn<'a>>,
    /// What is in it, from its heading on.
    pub content: Markup,
}

impl Page<'_> {
    /// The whole page.
    pub fn render(&self) -> Markup {
        let words = self.words;
        let (language, title) = (words.language, self.title);
        html! {
            (DOCTYPE)
            html lang=(language.tag()) dir=(language.direction().as_str()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title {
                        @if self.has_faults { (words.say("fault")) " " }
                        (title) " – " (self.organisation)
                    }
                    link rel="stylesheet" href=(own::STYLE.path());
                    link rel="icon" href=(own::ICON.path()) type="image/svg+xml";
                    script src=(own::SCRIPT.path()) defer {}
                }
                body {
                    a.skip href="#main" { (words.say("skip")) }
                    (self.header())
                    @if language.is_draft() {
                        p.draft role="note" { (words.say("draft-notice")) }
                    }
                    main #main tabindex="-1" { (self.content) }
                    (self.footer())
                }
            }
        }
    }

    fn header(&self) -> Markup {
        let words = self.words;
        html! {
            header.top {
                div.inside {
                    p.whose { bdi { (self.organisation) } }
                    @if !self.menu.is_empty() {
                        nav aria-label=(words.say("menu")) {
                            ul {
                                @for entry in &self.menu {
                                    li {
                                        a href=(entry.href) aria-current=[entry.is_here.then_some("page")] { (entry.text) }
                                    }
                                }
                            }
                        }
                    }
                    @if let Some(who) = &self.signed_in {
                        form.leave method="post" action="/sign-out" {
                            input type="hidden" name="form_token" value=(who.form_token);
                            bdi { (who.label) } " "
                            button.plain type="submit" { (words.say("sign-out")) }
                        }
                    }
                }
            }
        }
    }

    fn footer(&self) -> Markup {
        let words = self.words;
        html! {
            footer {
                div.inside {
                    p.emergency { (words.say("not-for-emergencies")) }
                    form method="post" action="/language" {
                        input type="hidden" name="back" value=(self.path);
                        fieldset.languages {
                            legend { (words.say("languages")) }
                            @for language in Language::ALL {
                                button.plain type="submit" name="to" value=(language.tag()) lang=(language.tag())
                                    dir=(language.direction().as_str()) aria-current=[(language == words.language).then_some("true")] {
                                    (language.own_name())
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
