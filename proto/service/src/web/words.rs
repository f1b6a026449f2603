//! Texts of the pages: Fluent files, one a language, with numbers, plurals and days by ICU4X. Built once by an edge from its own files and
//! those of the frame; pages ask for texts by their key.
//! Never shows a key: what a language lacks is said in English. A test of each edge holds its files against each other and against its pages.

use std::collections::{BTreeMap, BTreeSet};

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use icu_calendar::{Date, Gregorian};
use icu_datetime::FixedCalendarDateTimeFormatter;
use icu_datetime::fieldsets::{YMD, YMDT};
use icu_decimal::DecimalFormatter;
use icu_decimal::input::Decimal;
use icu_locale_core::Locale;
use icu_plurals::{PluralCategory, PluralRules};
use icu_time::{DateTime, Time};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::language::Language;

/// A Fluent file: its language, and what is in it.
pub type Source = (Language, &'static str);

/// The texts of the frame and of form parts.
pub const FRAME: [Source; 5] = [
    (Language::En, include_str!("../../words/en.ftl")),
    (Language::Ar, include_str!("../../words/ar.ftl")),
    (Language::FaAf, include_str!("../../words/fa-AF.ftl")),
    (Language::Uk, include_str!("../../words/uk.ftl")),
    (Language::Ti, include_str!("../../words/ti.ftl")),
];

/// Why texts cannot be used: a fault of the build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A file cannot be read, or has a key twice.
    #[error("the texts in {0} cannot be read: {1}")]
    File(&'static str, String),
    /// The data of a language is not in this program.
    #[error("dates or numbers cannot be written in {0}")]
    Data(&'static str),
}

/// One language.
struct Book {
    bundle: FluentBundle<FluentResource>,
    plurals: PluralRules,
    numbers: DecimalFormatter,
    days: FixedCalendarDateTimeFormatter<Gregorian, YMD>,
    times: FixedCalendarDateTimeFormatter<Gregorian, YMDT>,
}

impl Book {
    fn new(language: Language) -> Result<Self, WordsError> {
        let tag = language.tag();
        let bad = |_| WordsError::Data(tag);
        let locale: Locale = language.locale().parse().map_err(|_| WordsError::Data(tag))?;
        let identifier = tag.parse().map_err(|_| WordsError::Data(tag))?;
        let day = YMD::long();
        Ok(Self {
            bundle: FluentBundle::new_concurrent(vec![identifier]),
            plurals: PluralRules::try_new((&locale).into(), Default::default())
                .map_err(|_| WordsError::Data(tag))?,
            numbers: DecimalFormatter::try_new((&locale).into(), Default::default())
                .map_err(|_| WordsError::Data(tag))?,
            days: FixedCalendarDateTimeFormatter::try_new((&locale).into(), day).map_err(bad)?,
            times: FixedCalendarDateTimeFormatter::try_new((&locale).into(), day.with_time_hm())
                .map_err(bad)?,
        })
    }

    fn add(&mut self, tag: &'static str, text: &str) -> Result<(), WordsError> {
        let resource = FluentResource::try_new(text.to_owned())
            .map_err(|(_, errors)| WordsError::File(tag, format!("{errors:?}")))?;
        self.bundle
            .add_resource(resource)
            .map_err(|errors| WordsError::File(tag, format!("{errors:?}")))
    }

    fn say(&self, key: &str, arguments: Option<&FluentArgs<'_>>) -> Option<String> {
        let pattern = self.bundle.get_message(key)?.value()?;
        let mut errors = Vec::new();
        let text = self.bundle.format_pattern(pattern, arguments, &mut errors);
        if !errors.is_empty() {
            tracing::error!(key, "a text of a page lacks something that it names");
        }
        Some(text.into_owned())
    }
}

/// Every text in every language.
pub struct Texts {
    books: BTreeMap<Language, Book>,
    zone: TimeZone,
}

impl Texts {
    /// Reads the files of the frame and those of an edge. Times are said in this zone.
    pub fn load(files: &[Source], zone: TimeZone) -> Result<Self, WordsError> {
        let mut books = BTreeMap::new();
        for language in Language::ALL {
            let mut book = Book::new(language)?;
            for (_, text) in FRAME.iter().chain(files).filter(|(of, _)| *of == language) {
                book.add(language.tag(), text)?;
            }
            books.insert(language, book);
        }
        Ok(Self { books, zone })
    }

    /// The words of one language.
    pub const fn of(&self, language: Language) -> Words<'_> {
        Words {
            texts: self,
            language,
        }
    }
}

/// The words of one language.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    texts: &'a Texts,
    /// Which.
    pub language: Language,
}

impl Words<'_> {
    fn book(&self, language: Language) -> Option<&Book> {
        self.texts.books.get(&language)
    }

    fn find(&self, key: &str, arguments: Option<&FluentArgs<'_>>) -> String {
        let own = self.book(self.language).and_then(|book| book.say(key, arguments));
        let found = own.or_else(|| self.book(Language::En).and_then(|book| book.say(key, arguments)));
        found.unwrap_or_else(|| {
            tracing::error!(key, "a page asks for a text that is in no file");
            String::new()
        })
    }

    /// The text of a key.
    pub fn say(&self, key: &str) -> String {
        self.find(key, None)
    }

    /// The text of a word of a closed list: its key is the list's name, a hyphen, and the word.
    pub fn word(&self, list: &str, word: &str) -> String {
        self.find(&format!("{list}-{}", word.replace('_', "-")), None)
    }

    /// The text of a key, with what it names.
    pub fn say_with(&self, key: &str, named: &[(&'static str, &str)]) -> String {
        let mut arguments = FluentArgs::new();
        for (name, value) in named {
            arguments.set(*name, FluentValue::from(*value));
        }
        self.find(key, Some(&arguments))
    }

    /// The text of a key with a number: `$count` as the language writes it, `$form` which of its plural forms it takes (CLDR: zero, one,
    /// two, few, many, other).
    pub fn count(&self, key: &str, count: u64) -> String {
        let form = self
            .book(self.language)
            .map_or(PluralCategory::Other, |book| book.plurals.category_for(count));
        let form = match form {
            PluralCategory::Zero => "zero",
            PluralCategory::One => "one",
            PluralCategory::Two => "two",
            PluralCategory::Few => "few",
            PluralCategory::Many => "many",
            PluralCategory::Other => "other",
        };
        self.say_with(key, &[("count", &self.number(count)), ("form", form)])
    }

    /// A number as the language writes it.
    pub fn number(&self, number: u64) -> String {
        self.book(self.language).map_or_else(
            || number.to_string(),
            |book| book.numbers.format(&Decimal::from(number)).to_string(),
        )
    }

    /// A day, such as 27 November 2026, of a time in ms UTC.
    pub fn day(&self, at_ms: i64) -> String {
        let written = self.local(at_ms).zip(self.book(self.language));
        written.map_or_else(String::new, |(at, book)| book.days.format(&at.date).to_string())
    }

    /// A day with its time, of a time in ms UTC.
    pub fn time(&self, at_ms: i64) -> String {
        let written = self.local(at_ms).zip(self.book(self.language));
        written.map_or_else(String::new, |(at, book)| book.times.format(&at).to_string())
    }

    /// None for a time outside the calendar.
    fn local(&self, at_ms: i64) -> Option<DateTime<Gregorian>> {
        let at = Timestamp::from_millisecond(at_ms).ok()?;
        let at = at.to_zoned(self.texts.zone.clone());
        let part = |part: i8| u8::try_from(part).ok();
        Some(DateTime {
            date: Date::try_new_gregorian(at.year().into(), part(at.month())?, part(at.day())?).ok()?,
            time: Time::try_new(part(at.hour())?, part(at.minute())?, part(at.second())?, 0).ok()?,
        })
    }
}

/// The keys of a file in its order, each with the names that its text uses; for tests that hold files against each other.
pub fn keys(text: &str) -> Vec<(String, BTreeSet<String>)> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut keys: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, _)) = line.split_once(" =")
            && key.chars().all(is_of_name)
        {
            keys.push((key.to_owned(), BTreeSet::new()));
        }
        if let Some((_, names)) = keys.last_mut() {
            let used = line.split('$').skip(1);
            names.extend(used.map(|rest| rest.chars().take_while(|c| is_of_name(*c)).collect::<String>()));
        }
    }
    keys
}

#[cfg(test)]
mod tests;
