//! Refuses free text that looks like it has an immigration number in it (design, section 12).
//! Forms, imports and the sending use-case call it on every free-text field before anything is sealed.
//! Never keep, return or print the text or the number: a finding is a kind and a place.
//!
//! How: the text becomes tokens (runs of letters and digits, digits of any script folded to 0-9), and short runs of
//! neighbouring tokens are compared with shapes. Plain shapes count anywhere; vague ones only near a word such as
//! "visa". Telephone, NHS and National Insurance numbers, times, prices and Kith's own codes are set aside first.

mod aside;

use std::collections::VecDeque;

/// Longest free-text field, in bytes; callers refuse longer ones with `too_large` (the scan itself is linear).
pub const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Most tokens that one number may be spread over (16 digits and a word).
const WINDOW_TOKENS: usize = 18;
/// How far before a number its context word may stand, in tokens.
const WORDS_BEFORE: usize = 6;
/// How far after a number its context word may stand, in tokens.
const WORDS_AFTER: usize = 4;
/// Short words that stand before numbers without being part of one.
const SHORT_WORDS: [&str; 12] = [
    "NO", "PO", "TO", "ON", "AT", "ID", "BY", "OR", "IN", "IS", "OF", "NI",
];
/// The zero of each script's decimal digits.
const ZEROS: [char; 15] = [
    '0', '٠', '۰', '߀', '०', '০', '੦', '૦', '௦', '๐', '༠', '၀', '០', '᠐', '０',
];
/// Context words, upper case; those not in ASCII also count inside a longer word (articles, case endings).
const CONTEXT: [(FoundKind, &str); 6] = [
    (
        FoundKind::Passport,
        "PASSPORT PASSPORTS PASSEPORT PASAPORTE PASAPORT BAASABOOR ПАСПОРТ جواز پاسپورت گذرنامه ፓስፖርት",
    ),
    (
        FoundKind::Visa,
        "VISA VISAS EVISA EVISAS VIGNETTE VIGNETTES ВІЗ ВИЗ تأشيرة ویزا ቪዛ",
    ),
    (FoundKind::ResidencePermit, "BRP BRPS PERMIT PERMITS"),
    (FoundKind::ShareCode, "SHARECODE SHARECODES"),
    (FoundKind::HomeOffice, "HOREF"),
    (FoundKind::Application, "UAN GWF"),
];
/// Context of two words.
const CONTEXT_PAIRS: [(FoundKind, &str, &str); 3] = [
    (FoundKind::ShareCode, "SHARE", "CODE CODES"),
    (FoundKind::HomeOffice, "HOME", "OFFICE"),
    (FoundKind::HomeOffice, "HO", "REF REFERENCE NUMBER NO"),
];

/// What a number looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FoundKind {
    /// A Home Office reference (`A1234567/2`).
    HomeOffice,
    /// An application number: 16 digits, `GWF` and nine digits, or `IHS` and nine digits.
    Application,
    /// A biometric residence permit (`RA1234567`).
    ResidencePermit,
    /// A visa or vignette number.
    Visa,
    /// A passport number.
    Passport,
    /// An eVisa share code (`W7X 9YZ 2AB`).
    ShareCode,
}

/// Where a text looks like it has an immigration number; holds no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text looks like it has an immigration number in it")]
pub struct Found {
    /// What it looks like.
    pub kind: FoundKind,
    /// First byte of it in the original text; a character boundary.
    pub start: usize,
    /// One past its last byte; a character boundary.
    pub end: usize,
}

/// Writes the sentence that is the same but for the name of the number.
macro_rules! explained {
    ($what:literal) => {
        concat!(
            "This looks like ",
            $what,
            ". Kith never carries immigration numbers: remove it and send again; nothing else was lost."
        )
    };
}

impl Found {
    /// One sentence or two for the writer: what it looks like, why it is refused, what to do.
    pub const fn explain(&self) -> &'static str {
        match self.kind {
            FoundKind::HomeOffice => explained!("a Home Office reference"),
            FoundKind::Application => explained!("a visa or Home Office application number"),
            FoundKind::ResidencePermit => explained!("a residence permit number"),
            FoundKind::Visa => explained!("a visa number"),
            FoundKind::Passport => explained!("a passport number"),
            FoundKind::ShareCode => explained!("an eVisa share code"),
        }
    }
}

/// Looks through one free-text field for the first thing that looks like an immigration number.
///
/// # Errors
/// The first finding, as byte range of `text`. It is a guard, not a proof: words can still describe a status.
pub fn screen(text: &str) -> Result<(), Found> {
    let mut tokens = tokenize(text);
    aside::set_aside(&mut tokens);
    let mut contexts = VecDeque::new();
    let mut looked = 0;
    for first in 0..tokens.len() {
        let furthest = first + WINDOW_TOKENS + WORDS_AFTER;
        while looked < tokens.len() && looked <= furthest {
            contexts.extend(context_at(&tokens, looked).map(|kind| (looked, kind)));
            looked += 1;
        }
        while contexts.front().is_some_and(|(at, _)| *at + WORDS_BEFORE < first) {
            contexts.pop_front();
        }
        if let Some((kind, last)) = number_at(&tokens, first, &contexts) {
            return Err(Found {
                kind,
                start: tokens[first].start,
                end: tokens[last].end,
            });
        }
    }
    Ok(())
}

/// A run of letters and digits.
struct Token {
    /// Upper case, digits folded to 0-9.
    text: String,
    start: usize,
    end: usize,
    /// What stands before it: `'|'` nothing, one of `" -./(+$"`, or `'!'` for whatever ends a number.
    gap: char,
    /// No lower-case letter in the original.
    upper: bool,
    /// Belongs to something harmless.
    aside: bool,
}

impl Token {
    fn digits(&self) -> usize {
        self.text.bytes().filter(u8::is_ascii_digit).count()
    }

    fn all_digits(&self) -> bool {
        self.digits() == self.text.len()
    }

    fn is_year(&self) -> bool {
        self.text.len() == 4
            && self.all_digits()
            && (self.text.starts_with("19") || self.text.starts_with("20"))
    }

    fn glued(&self) -> bool {
        matches!(self.gap, '|' | ' ' | '-' | '.' | '/')
    }
}

fn tokenize(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let (mut gap, mut gap_chars, mut open) = ('!', 0, false);
    for (start, c) in text.char_indices() {
        if is_invisible(c) {
            continue;
        }
        let folded = fold(c);
        if !folded.is_alphanumeric() {
            let next = gap_kind(c);
            if open {
                (gap, gap_chars, open) = ('|', 0, false);
            }
            gap_chars += 1;
            gap = if gap_chars > 4 && next != '+' && next != '$' {
                '!'
            } else {
                merge(gap, next)
            };
            continue;
        }
        let end = start + c.len_utf8();
        // "passport123" is a word and a number.
        let splits = open
            && folded.is_ascii_digit()
            && tokens.last().is_some_and(|t| {
                !t.text.contains(|d: char| d.is_ascii_digit()) && t.text.chars().count() > 3
            });
        match tokens.last_mut().filter(|_| open && !splits) {
            Some(token) => {
                token.text.push(folded);
                token.end = end;
                token.upper &= !c.is_lowercase();
            }
            None => {
                let gap = if splits { '|' } else { gap };
                let upper = !c.is_lowercase();
                tokens.push(Token {
                    text: folded.to_string(),
                    start,
                    end,
                    gap,
                    upper,
                    aside: false,
                });
            }
        }
        open = true;
    }
    tokens
}

/// One character as it is compared: digits of any script, full-width forms, upper case.
fn fold(c: char) -> char {
    for zero in ZEROS {
        if let Some(digit) = u32::from(c).checked_sub(u32::from(zero)).filter(|d| *d < 10) {
            return char::from_digit(digit, 10).unwrap_or(c);
        }
    }
    let narrow = match u32::from(c) {
        wide @ (0xff21..=0xff3a | 0xff41..=0xff5a) => char::from_u32(wide - 0xfee0).unwrap_or(c),
        _ => c,
    };
    narrow.to_uppercase().next().unwrap_or(narrow)
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn gap_kind(c: char) -> char {
    match c {
        '\n' | '\r' => '!',
        '-' | '_' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0d}' => '-',
        '.' | '·' | '\u{ff0e}' => '.',
        '/' | '\\' | '\u{ff0f}' => '/',
        '(' | ')' => '(',
        '+' => '+',
        '£' | '$' | '€' => '$',
        space if space.is_whitespace() => ' ',
        _ => '!',
    }
}

/// A gap of several characters: spaces add nothing, a sign before a number wins, and else two kinds end a number.
fn merge(before: char, next: char) -> char {
    match (before, next) {
        (_, '+' | '$') => next,
        ('|' | ' ', _) => next,
        (_, ' ') => before,
        _ if before == next => before,
        _ => '!',
    }
}

/// The joined text of the first `count` tokens, if they stand together.
fn joined(rest: &[Token], count: usize) -> Option<String> {
    let run = rest.get(..count)?;
    run.iter()
        .skip(1)
        .all(Token::glued)
        .then(|| run.iter().map(|t| t.text.as_str()).collect())
}

/// `L` for each ASCII letter, `D` for each digit, `?` for the rest.
fn shape(text: &str) -> String {
    let class = |c: char| match c {
        '0'..='9' => 'D',
        'A'..='Z' => 'L',
        _ => '?',
    };
    text.chars().map(class).collect()
}

/// 16 digits in one token, 4-4-4-4 or one by one: how many tokens.
fn application_16(rest: &[Token]) -> Option<usize> {
    [1, 4, 16].into_iter().find(|n| {
        let even = rest
            .iter()
            .take(*n)
            .all(|t| t.text.len() == 16 / n && t.all_digits());
        even && joined(rest, *n).is_some_and(|t| t.len() == 16)
    })
}

/// The number that begins at a token, with the place of its last token.
fn number_at(
    tokens: &[Token],
    first: usize,
    contexts: &VecDeque<(usize, FoundKind)>,
) -> Option<(FoundKind, usize)> {
    let rest = &tokens[first..];
    if let Some(count) = application_16(rest) {
        return Some((FoundKind::Application, first + count - 1));
    }
    let (mut text, mut found) = (String::new(), None);
    for (i, token) in rest.iter().enumerate().take(WINDOW_TOKENS) {
        if token.aside || (i > 0 && !token.glued()) || text.len() + token.text.len() > 24 {
            break;
        }
        text.push_str(&token.text);
        let run = &rest[..=i];
        let last = first + i;
        let near = nearest(contexts, first, last);
        found = plain_shape(run, &text)
            .or_else(|| vague_shape(run, &text, near))
            .map(|kind| (kind, last));
        if found.is_some() {
            break;
        }
    }
    let (kind, mut last) = found?;
    let suffix = tokens
        .get(last + 1)
        .filter(|t| t.gap == '/' && t.text.len() <= 3 && t.all_digits());
    last += usize::from(kind == FoundKind::HomeOffice && suffix.is_some());
    Some((kind, last))
}

/// Whether tokens stand together the way one number is written: one kind of gap, few groups or single signs.
fn even(run: &[Token]) -> bool {
    let one_by_one = run.iter().all(|t| t.text.chars().count() == 1);
    let word_first = run.first().is_some_and(|t| t.digits() == 0);
    let mut gaps = run.iter().skip(if word_first { 2 } else { 1 }).map(|t| t.gap);
    let gap = gaps.next().unwrap_or('|');
    let groups = if gap == ' ' || gap == '/' { 3 } else { 5 } + usize::from(word_first);
    gaps.all(|g| g == gap) && (one_by_one || run.len() <= groups)
}

/// Shapes that count anywhere.
fn plain_shape(run: &[Token], text: &str) -> Option<FoundKind> {
    let kind = match shape(text).as_str() {
        "LDDDDDDD" => FoundKind::HomeOffice,
        "LLDDDDDDD" => FoundKind::ResidencePermit,
        "LLLDDDDDD" if text.starts_with('Z') || (text.starts_with('R') && text[2..].starts_with('X')) => {
            FoundKind::ResidencePermit
        }
        "LLLDDDDDDDDD" if text.starts_with("GWF") || text.starts_with("IHS") => FoundKind::Application,
        "DDDDDDDDDDDDDDDD" if even(run) => FoundKind::Application,
        _ => return None,
    };
    let (head, tail) = run.split_first()?;
    let one_by_one = run.iter().all(|t| t.text.len() == 1);
    let apart = head.digits() == 0 && tail.first().is_some_and(|t| t.gap == ' ');
    let word = apart
        && (SHORT_WORDS.contains(&head.text.as_str()) || !(head.upper || tail.len() == 1 || one_by_one));
    let year = tail.iter().any(Token::is_year);
    let certain = kind == FoundKind::Application;
    (certain || (even(run) && !word && !year)).then_some(kind)
}

/// Shapes that count only near a context word.
fn vague_shape(run: &[Token], text: &str, near: Option<FoundKind>) -> Option<FoundKind> {
    let near = near?;
    let length = text.chars().count();
    let digits: usize = run.iter().map(Token::digits).sum();
    if near == FoundKind::ShareCode && length == 9 && digits > 0 && text.is_ascii() {
        let written = run.iter().all(|t| t.upper || t.digits() > 0) || run.iter().all(|t| t.text.len() == 1);
        let threes = run.iter().all(|t| t.text.len() == 3) || run.len() == 1 || run.len() == 9;
        return (written && threes && digits < 9).then_some(near);
    }
    let parts = run
        .iter()
        .enumerate()
        .all(|(i, t)| t.digits() > 0 || (i == 0 && t.text.chars().count() < 4));
    let word = run.len() > 1
        && run
            .first()
            .is_some_and(|t| t.digits() == 0 && !t.upper && t.text.len() > 1);
    let year = run.len() > 1 && run.iter().any(Token::is_year);
    let enough = digits >= if run.len() == 1 { 4 } else { 5 };
    ((7..=10).contains(&length) && enough && parts && even(run) && !word && !year).then_some(near)
}

fn context_at(tokens: &[Token], at: usize) -> Option<FoundKind> {
    let word = tokens.get(at)?.text.as_str();
    let next = tokens.get(at + 1).map_or("", |t| t.text.as_str());
    let is = |w: &str| word == w || (!w.is_ascii() && word.contains(w));
    let single = CONTEXT
        .iter()
        .find(|(_, words)| words.split(' ').any(is))
        .map(|(kind, _)| *kind);
    let pair = |(_, a, b): &&(FoundKind, &str, &str)| word == *a && b.split(' ').any(|w| w == next);
    single.or_else(|| CONTEXT_PAIRS.iter().find(pair).map(|(kind, ..)| *kind))
}

/// The context word nearest to a run of tokens, if near enough.
fn nearest(contexts: &VecDeque<(usize, FoundKind)>, first: usize, last: usize) -> Option<FoundKind> {
    let distance = |at: usize| match at {
        before if before < first => Some(first - before).filter(|d| *d <= WORDS_BEFORE),
        after if after > last => Some(after - last).filter(|d| *d <= WORDS_AFTER),
        _ => None,
    };
    contexts
        .iter()
        .filter_map(|(at, kind)| Some((distance(*at)?, *kind)))
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REFUSED: [(FoundKind, &str); 6] = [
        (
            FoundKind::HomeOffice,
            "A1234567 | his ref is a1234567/2 today | A-12-34-567 | A 1234567 | A.123.4567 | A 1 2 3 4 5 6 7 | \
             A١٢٣٤٥٦٧ | A۱۲۳۴۵۶۷ | Ａ１２３４５６７ | HO ref 12345678 | Home Office number: 1234567/1 | A\u{200b}1234567 | T 123 4567",
        ),
        (
            FoundKind::Application,
            "1234-5678-9012-3456 | 1234 5678 9012 3456 | UAN: 1234567890123456 | GWF012345678 | gwf 012 345 678 | \
             GWF-012345678 | ١٢٣٤-٥٦٧٨-٩٠١٢-٣٤٥٦ | IHS123456789 | 1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6 | 0770 0900 1234 5678",
        ),
        (
            FoundKind::ResidencePermit,
            "RA1234567 | zu1234567 | ZUX123456 | card RA 123 4567 | ru-123-4567 | BRP number 12X45678 | his BRP is RAA123456",
        ),
        (
            FoundKind::Visa,
            "visa 012345678 | visa number: 12345678 | vignette no 123 456 789 | 87654321 is her visa | віза 12345678 | \
             تأشيرة رقم ١٢٣٤٥٦٧٨",
        ),
        (
            FoundKind::Passport,
            "passport 123456789 | passport no. 123 456 789 | Passport: FU123456 | passport123456789 | eritrean passport k0123456x | \
             passport C01X00T47 | 123456789 (passport) | паспорт FB123456 | جواز سفر رقم ۱۲۳۴۵۶۷۸۹ | passport P-1234-5678-9",
        ),
        (
            FoundKind::ShareCode,
            "share code W7X 9YZ 2AB | share code: w7x9yz2ab | W7X-9YZ-2AB is my share code | Share code is WLE JFZ 6FT | sharecode W 7 X 9 Y Z 2 A B",
        ),
    ];

    const PASSED: &str = "NHS 943 476 5919 | 9434765919 | visa help, NHS 943 476 5919 | 943-476-5919 | 07700 900123 | 07700900123 | \
        +44 20 7946 0958 | +44 (0)20 7946 0958 | 0044 20 7946 0958 | (020) 7946 0958 | passport office 0300 222 0000 | \
        passport query: +44 20 7946 0958 | Room B12 07700 900123 | E16 07700 900123 | 07700 900123 07700 900456 | K7M2-9QXD-44 | \
        visa worry, see K7M2-9QXD-44 | k7m29qxd44 | passport talk K7M2 9QXD 44 | SW1A 1AA | LA1 4YW | lives at E16 2AB, visa | 12/03/2027 | \
        passport expires 12/03/2027 | visa ends 2027-03-12 | born 14.05.1990 | on a 1/12/2024 | Class B 1/12/2024 | 10:30 to 12:30 | \
        Class B 9.30-11.30 | B1 10-12 1-3 | Class A 10.30 | £1,523.00 | visa fee £1523.00 | costs £12345.67 for a visa | 221b Baker Street | \
        Flat 4, 1200 High Road | bus B1, 20, 40 and 60 | bus X1 then 555 | QQ123456C | visa and NI QQ 12 34 56 C | QQ 12 34 56 A | \
        share code for the 2nd | she has a visa and a passport | visa in 2023 2024 2025 | visa 2024/2025 | no 1234567 | ESOL Entry 3, room 204 | \
        Monday 9-11, Tuesday 13.00 | لديها موعد ١٢/٠٣/٢٠٢٧ | تلفن ۰۷۷۰۰ ۹۰۰۱۲۳ | covid19 jab and visa | 3 children aged 4, 7 and 11";

    #[test]
    fn immigration_numbers_are_refused() {
        for (kind, text) in REFUSED
            .iter()
            .flat_map(|(kind, all)| all.split(" | ").map(move |t| (*kind, t)))
        {
            assert_eq!(screen(text).map_err(|f| f.kind), Err(kind), "{text}");
            let around = format!("سلام, she said: {text}. Please call her.");
            assert_eq!(screen(&around).map_err(|f| f.kind), Err(kind), "{around}");
        }
    }

    #[test]
    fn everyday_numbers_pass() {
        for text in PASSED.split(" | ") {
            assert_eq!(screen(text), Ok(()), "{text}");
            let around = format!("Hello, she said: {text}. Please call her.");
            assert_eq!(screen(&around), Ok(()), "{around}");
        }
    }

    #[test]
    fn a_finding_says_where_and_nothing_else() {
        let text = "رقم A1234567/2 ok";
        let found = screen(text).unwrap_err();
        assert_eq!(&text[found.start..found.end], "A1234567/2");
        assert!(!format!("{found:?} {found} {}", found.explain()).contains("A1234567"));
    }

    proptest! {
        #[test]
        fn any_text_is_screened_without_panic(text in "(?s).{0,80}|[AZ٣3 ./+(£０visa-]{0,60}") {
            if let Err(found) = screen(&text) {
                prop_assert!(found.start < found.end);
                prop_assert!(text.get(found.start..found.end).is_some());
            }
        }
    }
}
