//! What the screen sets aside: telephone, NHS and National Insurance numbers, prices, times, Kith's own codes.
//! Only `screen` calls it, before it looks for numbers to refuse.
//! Never set aside a run that has the shape of a 16-digit application number.

use super::{Token, WINDOW_TOKENS, application_16, joined, shape};
use crate::human_code::HumanCode;

/// Marks what only looks like a number of the refused kinds; looks only where a digit is near.
pub(super) fn set_aside(tokens: &mut [Token<'_>], near_digit: &[usize]) {
    let mut next = 0;
    for at in near_digit.iter().copied() {
        if at < next {
            continue;
        }
        let rest = &tokens[at..];
        let run = human_code_run(rest)
            .or_else(|| insurance_run(rest))
            .or_else(|| phone_run(rest))
            .or_else(|| nhs_run(rest))
            .or_else(|| price_run(rest))
            .or_else(|| time_run(rest))
            .unwrap_or(0);
        let number_16 = application_16(rest).is_some();
        if run > 0 && !number_16 {
            tokens.iter_mut().skip(at).take(run).for_each(|t| t.aside = true);
        }
        next = at + run.max(1);
    }
}

fn human_code_run(rest: &[Token<'_>]) -> Option<usize> {
    let shaped = |n: usize| n == 1 || (n == 3 && rest[2].text.len() == 2 && rest[0].text.len() == 4);
    [1, 3]
        .into_iter()
        .find(|n| joined(rest, *n, 10).is_some_and(|t| shaped(*n) && HumanCode::parse(&t).is_ok()))
}

/// National Insurance: two letters, six digits, A to D.
fn insurance_run(rest: &[Token<'_>]) -> Option<usize> {
    (1..=5).find(|n| {
        joined(rest, *n, 9).is_some_and(|t| shape(&t) == "LLDDDDDDL" && t.ends_with(['A', 'B', 'C', 'D']))
    })
}

/// Telephone: `+` or `00` and 10 to 15 digits, or `0` and 10 or 11 in all, or `44` and 10 more. `001` is North America, where a
/// number has ten digits, so that 13 stand there.
fn phone_run(rest: &[Token<'_>]) -> Option<usize> {
    let first = rest.first()?;
    let abroad = first.gap == '+' || first.text.starts_with("00");
    let bare_44 = first.text.starts_with("44") && joined(rest, 1, 12).is_some() && first.all_digits();
    if !(abroad || bare_44 || first.text.starts_with('0') || (first.gap == '(' && first.text == "44")) {
        return None;
    }
    let max = match first.text {
        "44" => 15,
        _ if abroad => 15,
        _ if bare_44 => 12,
        _ => 11,
    };
    let (mut total, mut best) = (0, None);
    for (i, token) in rest.iter().enumerate().take(WINDOW_TOKENS) {
        let together = i == 0 || token.glued() || token.gap == '(';
        total += token.text.len();
        if !together || !token.all_digits() || total > max {
            break;
        }
        best = (total >= 10).then_some(i + 1).or(best);
    }
    let in_one = best == Some(1) && first.gap != '+';
    best.filter(|_| !(in_one && first.text.starts_with("001") && first.text.len() != 13))
}

/// NHS: ten digits in one token or 3-3-4, the last a modulo-11 check.
fn nhs_run(rest: &[Token<'_>]) -> Option<usize> {
    let shaped = |n: usize| n == 1 || (rest[0].text.len() == 3 && rest[1].text.len() == 3);
    let valid = |t: &str| {
        let sum: u32 = t
            .chars()
            .zip((1..=10).rev())
            .filter_map(|(c, w)| Some(c.to_digit(10)? * w))
            .sum();
        sum.is_multiple_of(11)
    };
    [1, 3]
        .into_iter()
        .find(|n| joined(rest, *n, 10).is_some_and(|t| shaped(*n) && shape(&t) == "DDDDDDDDDD" && valid(&t)))
}

fn price_run(rest: &[Token<'_>]) -> Option<usize> {
    let first = rest.first().filter(|t| t.gap == '$' && t.all_digits())?;
    let pence = rest
        .get(1)
        .is_some_and(|t| t.gap == '.' && t.text.len() == 2 && t.all_digits());
    Some(if pence && !first.text.is_empty() { 2 } else { 1 })
}

/// Time with a dot: `9.30`, not inside a longer dotted number.
fn time_run(rest: &[Token<'_>]) -> Option<usize> {
    let (hour, minute) = (rest.first()?, rest.get(1)?);
    let below = |t: &Token<'_>, max: u32| t.all_digits() && t.text.parse::<u32>().is_ok_and(|n| n < max);
    let alone = hour.gap != '.' && rest.get(2).is_none_or(|t| t.gap != '.');
    let fits = below(hour, 24) && hour.text.len() < 3 && below(minute, 60) && minute.text.len() == 2;
    (minute.gap == '.' && alone && fits).then_some(2)
}
