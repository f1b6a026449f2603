//! Shares: any two give the secret, one gives nothing, and what is mistyped is found and named.

use super::{RecoverySecret, SHARE_GROUPS, Share, ShareError};
use crate::human_code::SYMBOLS;

fn shares(seed: u8) -> [Share; 3] {
    Share::split(&RecoverySecret::from_bytes([seed; 32]), &[0x5a ^ seed; 32]).unwrap()
}

fn groups(share: &Share) -> Vec<String> {
    share.to_string().split(' ').map(str::to_owned).collect()
}

#[test]
fn any_two_of_three_give_the_secret_back_as_typed() {
    let printed = shares(7).map(|share| share.to_string());
    for (one, other) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let (one, other) = (&printed[one], &printed[other]);
        let secret = Share::combine(
            &Share::parse(&one.to_lowercase().replace(' ', "-")).unwrap(),
            &Share::parse(&other.replace(' ', "").replace('0', "o").replace('1', "l")).unwrap(),
        );
        assert_eq!(secret.unwrap().bytes(), &[7; 32]);
    }
}

/// The bytes on paper stay readable for as long as the paper lasts.
#[test]
fn the_golden_share() {
    let [first, ..] = shares(7);
    assert_eq!(
        first.to_string(),
        include_str!("../golden/recovery_share.txt").trim(),
        "what is printed has changed: sheets in drawers would not be read any more"
    );
    assert_eq!(
        first.sheet().to_string(),
        include_str!("../golden/recovery_sheet_id.txt").trim()
    );
}

#[test]
fn a_share_alone_says_nothing_of_the_secret() {
    // The same share stands for every secret: with another random byte it comes out alike.
    let [first, ..] = shares(7);
    let other = RecoverySecret::from_bytes([9; 32]);
    let random = std::array::from_fn(|at| first.bytes_for_tests()[at] ^ 9);
    let [same, ..] = Share::split(&other, &random).unwrap();
    assert_eq!(same.bytes_for_tests(), first.bytes_for_tests());
    assert_eq!(format!("{first:?}"), format!("Share(1 of {})", first.sheet()));
}

#[test]
fn every_wrong_letter_and_every_swap_is_found_and_its_group_named() {
    let [share, ..] = shares(3);
    let good: Vec<char> = share.to_string().chars().filter(|c| *c != ' ').collect();
    let parse = |letters: &[char]| Share::parse(&letters.iter().collect::<String>());
    assert_eq!(parse(&good), Ok(share.clone()));
    for place in 0..good.len() {
        for symbol in SYMBOLS.iter().map(|s| char::from(*s)).chain(['U', '%']) {
            let mut bad = good.clone();
            bad[place] = symbol;
            let expected = if symbol == good[place] {
                Ok(share.clone())
            } else {
                Err(ShareError::Group(place / 4 + 1))
            };
            assert_eq!(parse(&bad), expected, "place {place}, {symbol}");
        }
        if place > 0 && good[place] != good[place - 1] {
            let mut bad = good.clone();
            bad.swap(place, place - 1);
            assert_eq!(
                parse(&bad),
                Err(ShareError::Group((place - 1) / 4 + 1)),
                "swap at {place}"
            );
        }
    }
}

#[test]
fn groups_that_change_places_are_left_out_or_are_too_many_are_found() {
    let [share, ..] = shares(3);
    let good = groups(&share);
    for at in 1..SHARE_GROUPS {
        let mut swapped = good.clone();
        swapped.swap(at, at - 1);
        assert_eq!(Share::parse(&swapped.join(" ")), Err(ShareError::Group(at)));
        let mut short = good.clone();
        short.remove(at - 1);
        assert_eq!(Share::parse(&short.join(" ")), Err(ShareError::Group(at)));
    }
    let all = share.to_string();
    for (text, letters) in [
        (String::new(), 0),
        (all.get(..4).unwrap().to_owned(), 4),
        (format!("{all} 0"), 81),
        (format!("{all} {}", good[0]), 84),
    ] {
        assert_eq!(Share::parse(&text), Err(ShareError::Length(letters)), "{text}");
    }
    assert!(Share::parse(&all.repeat(20)).is_err());
    assert!(Share::parse(&"é".repeat(600)).is_err());
}

#[test]
fn shares_that_do_not_belong_together_are_told_apart() {
    let [a1, a2, _] = shares(1);
    let [_, b2, _] = shares(2);
    let error = |one: &Share, other: &Share| Share::combine(one, other).unwrap_err();
    assert_eq!(error(&a1, &a1), ShareError::Same);
    assert_eq!(error(&a1, &b2), ShareError::OtherSheet(a1.sheet(), b2.sheet()));
    let sentence = error(&a1, &b2).to_string();
    assert!(sentence.contains(&a1.sheet().to_string()), "{sentence}");
    let mut wrong = a2.clone();
    wrong.spoil_for_tests();
    assert_eq!(error(&a1, &wrong), ShareError::DoNotFit);
    // The spoiled one prints with good check letters: only the two together show it.
    assert_eq!(Share::parse(&wrong.to_string()), Ok(wrong));
}

#[test]
fn the_field_has_its_inverses() {
    for value in 1..=255 {
        assert_eq!(super::share::product_for_tests(value), 1, "{value}");
    }
}
