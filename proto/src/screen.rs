//! Refuses free text that looks like it has an immigration number in it (design, section 12).
//! Forms, imports and the sending use-case call it on every free-text field before anything is sealed.
//! Never keep, return or print the text or the number: a finding is a kind and a place.
//!
//! How: the text becomes tokens (runs of letters and digits, digits of any script folded to 0-9), and short runs of
//! neighbouring tokens are compared with shapes. Plain shapes count anywhere; vague ones only near a word such as
//! "visa". Telephone, NHS and National Insurance numbers, times, prices and Kith's own codes are set aside first.
//! Every number has a digit, so nothing is compared where no digit is near: most text costs little more than reading it.

mod aside;
mod digits;
#[cfg(test)]
mod tests;

/// Longest free-text field, in bytes; callers refuse longer ones with `too_large` (the scan itself is linear).
pub const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Most tokens that one number may be spread over (16 digits and a word).
const WINDOW_TOKENS: usize = 18;
/// The longest number without letters that is looked for near a context word: visa control numbers have 14 digits.
const DIGITS_MAX: usize = 14;
/// Most bytes of the tokens that one number may be spread over: 16 digits and a short word.
const WINDOW_BYTES: usize = 24;
/// How far before a number its context word may stand, in tokens.
const WORDS_BEFORE: usize = 6;
/// How far after a number its context word may stand, in tokens.
const WORDS_AFTER: usize = 4;
/// Short words that stand before numbers without being part of one.
const SHORT_WORDS: [&str; 12] = [
    "NO", "PO", "TO", "ON", "AT", "ID", "BY", "OR", "IN", "IS", "OF", "NI",
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
    if !text.chars().any(|c| digits::digit(c).is_some()) {
        return Ok(());
    }
    let (folded, spans) = tokenize(text);
    let mut tokens: Vec<Token<'_>> = spans.iter().map(|span| span.token(&folded)).collect();
    let near_digit = near_digit(&tokens);
    aside::set_aside(&mut tokens, &near_digit);
    for first in near_digit {
        if let Some((kind, last)) = number_at(&tokens, first) {
            return Err(Found {
                kind,
                start: tokens[first].start,
                end: tokens[last].end,
            });
        }
    }
    Ok(())
}

/// The places, rising, from which a digit is so near that a number may begin there.
fn near_digit(tokens: &[Token<'_>]) -> Vec<usize> {
    let mut bytes_before = WINDOW_BYTES;
    let mut near: Vec<usize> = Vec::new();
    for (at, token) in tokens.iter().enumerate().rev() {
        bytes_before = if token.digits() > 0 {
            0
        } else {
            bytes_before.saturating_add(token.text.len())
        };
        if bytes_before < WINDOW_BYTES {
            near.push(at);
        }
    }
    near.reverse();
    near
}

/// Where a run of letters and digits stands in the folded text and in the original.
struct Span {
    folded: std::ops::Range<usize>,
    start: usize,
    end: usize,
    gap: char,
    upper: bool,
}

impl Span {
    fn token<'a>(&self, folded: &'a str) -> Token<'a> {
        Token {
            text: folded.get(self.folded.clone()).unwrap_or_default(),
            start: self.start,
            end: self.end,
            gap: self.gap,
            upper: self.upper,
            aside: false,
        }
    }
}

/// A run of letters and digits.
struct Token<'a> {
    /// Upper case, digits folded to 0-9.
    text: &'a str,
    start: usize,
    end: usize,
    /// What stands before it: `'|'` nothing, one of `" -./(+$"`, or `'!'` for whatever ends a number.
    gap: char,
    /// No lower-case letter in the original.
    upper: bool,
    /// Belongs to something harmless.
    aside: bool,
}

impl Token<'_> {
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

/// The folded letters and digits of a text, one run after the other, and where each run stands.
fn tokenize(text: &str) -> (String, Vec<Span>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut all = String::with_capacity(text.len());
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
            && spans.last().is_some_and(|span| {
                let so_far = span.token(&all).text;
                !so_far.contains(|d: char| d.is_ascii_digit()) && so_far.chars().count() > 3
            });
        let from = all.len();
        all.push(folded);
        match spans.last_mut().filter(|_| open && !splits) {
            Some(span) => {
                span.folded.end = all.len();
                span.end = end;
                span.upper &= !c.is_lowercase();
            }
            None => {
                let gap = if splits { '|' } else { gap };
                let upper = !c.is_lowercase();
                spans.push(Span {
                    folded: from..all.len(),
                    start,
                    end,
                    gap,
                    upper,
                });
            }
        }
        open = true;
    }
    (all, spans)
}

/// One character as it is compared: digits of any script, full-width forms, upper case.
fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    if let Some(digit) = digits::digit(c) {
        return digit;
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

/// The joined text of the first `count` tokens, if they stand together and have so many bytes.
fn joined(rest: &[Token<'_>], count: usize, bytes: usize) -> Option<String> {
    let run = rest.get(..count)?;
    let length: usize = run.iter().map(|t| t.text.len()).sum();
    let stands = length == bytes && run.iter().skip(1).all(Token::glued);
    stands.then(|| run.iter().map(|t| t.text).collect())
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
fn application_16(rest: &[Token<'_>]) -> Option<usize> {
    [1, 4, 16].into_iter().find(|n| {
        let even = rest
            .iter()
            .take(*n)
            .all(|t| t.text.len() == 16 / n && t.all_digits());
        even && joined(rest, *n, 16).is_some()
    })
}

/// The number that begins at a token, with the place of its last token.
fn number_at(tokens: &[Token<'_>], first: usize) -> Option<(FoundKind, usize)> {
    let rest = &tokens[first..];
    if let Some(count) = application_16(rest) {
        return Some((FoundKind::Application, first + count - 1));
    }
    let (mut text, mut found) = (String::new(), None);
    for (i, token) in rest.iter().enumerate().take(WINDOW_TOKENS) {
        if token.aside || (i > 0 && !token.glued()) || text.len() + token.text.len() > WINDOW_BYTES {
            break;
        }
        text.push_str(token.text);
        let run = &rest[..=i];
        let last = first + i;
        found = plain_shape(run, &text)
            .or_else(|| vague_shape(run, &text, || nearest(tokens, first, last)))
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
fn even(run: &[Token<'_>]) -> bool {
    let one_by_one = run.iter().all(|t| t.text.chars().count() == 1);
    let word_first = run.first().is_some_and(|t| t.digits() == 0);
    let mut gaps = run.iter().skip(if word_first { 2 } else { 1 }).map(|t| t.gap);
    let gap = gaps.next().unwrap_or('|');
    let groups = if gap == ' ' || gap == '/' { 3 } else { 5 } + usize::from(word_first);
    gaps.all(|g| g == gap) && (one_by_one || run.len() <= groups)
}

/// Shapes that count anywhere.
fn plain_shape(run: &[Token<'_>], text: &str) -> Option<FoundKind> {
    if !matches!(text.len(), 8 | 9 | 12 | 16) {
        return None;
    }
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
    let word = apart && (SHORT_WORDS.contains(&head.text) || !(head.upper || tail.len() == 1 || one_by_one));
    let year = tail.iter().any(Token::is_year);
    let certain = kind == FoundKind::Application;
    (certain || (even(run) && !word && !year)).then_some(kind)
}

/// Shapes that count only near a context word.
fn vague_shape(run: &[Token<'_>], text: &str, near: impl FnOnce() -> Option<FoundKind>) -> Option<FoundKind> {
    let length = text.chars().count();
    let digits: usize = run.iter().map(Token::digits).sum();
    let longest = if digits == length { DIGITS_MAX } else { 10 };
    if !(7..=longest).contains(&length) || digits == 0 {
        return None;
    }
    let near = near()?;
    if near == FoundKind::ShareCode && length == 9 && text.is_ascii() {
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
    (enough && parts && even(run) && !word && !year).then_some(near)
}

fn context_at(tokens: &[Token<'_>], at: usize) -> Option<FoundKind> {
    let word = tokens.get(at)?.text;
    let next = tokens.get(at + 1).map_or("", |t| t.text);
    let is = |w: &str| word == w || (!w.is_ascii() && word.contains(w));
    let single = CONTEXT
        .iter()
        .find(|(_, words)| words.split(' ').any(is))
        .map(|(kind, _)| *kind);
    let pair = |(_, a, b): &&(FoundKind, &str, &str)| word == *a && b.split(' ').any(|w| w == next);
    single.or_else(|| CONTEXT_PAIRS.iter().find(pair).map(|(kind, ..)| *kind))
}

/// The context word nearest to a run of tokens, if near enough; at equal distance the one before.
fn nearest(tokens: &[Token<'_>], first: usize, last: usize) -> Option<FoundKind> {
    (1..=WORDS_BEFORE).find_map(|distance| {
        let before = first.checked_sub(distance).and_then(|at| context_at(tokens, at));
        let after = || {
            (distance <= WORDS_AFTER)
                .then(|| context_at(tokens, last + distance))
                .flatten()
        };
        before.or_else(after)
    })
}
