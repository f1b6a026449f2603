//! The trail as it is read: every filter against a plain look at every event, pages, proofs, and that reading is in the trail first.

use kith_proto::human_code::HumanCode;
use kith_proto::id::ThreadId;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::note::Note;
use kith_proto::trail::Leaf;
use kith_proto::trail::event::Told;
use kith_proto::v1;
use kith_proto::words::Purpose;
use kith_service::log::{epoch, index};
use kith_service::store::{StoreError, Tx};
use std::collections::{BTreeMap, BTreeSet};

use super::provider;
use crate::audit::Code;
use crate::tests::fixture::{Story, caller};
use crate::tests::looked::{all, fill, filters, hex, meant};
use crate::threads::DAY_MS;
use crate::tokens::Role;
use crate::trail::{self, About, Asked, Filter, TrailError};

fn asked(filter: Filter, page_size: u32, before: Option<i64>) -> Asked {
    Asked {
        caller: caller(4, &[Role::Auditor]),
        filter,
        page_size,
        before,
    }
}

/// The numbers that all pages of a filter give, newest first.
async fn listed(story: &Story, filter: &Filter, page_size: u32) -> Vec<i64> {
    let (mut before, mut numbers) = (None, Vec::new());
    loop {
        let page = trail::list(&story.node, &asked(filter.clone(), page_size, before))
            .await
            .unwrap();
        assert!(page.lines.len() <= page_size as usize);
        numbers.extend(page.lines.iter().map(|line| line.number as i64));
        before = page.next;
        if before.is_none() {
            return numbers;
        }
    }
}

#[tokio::test]
async fn every_filter_finds_what_a_look_at_every_event_finds() {
    let story = Story::begin(provider().await).await;
    let made = fill(&story).await;
    let purposes: BTreeMap<String, Purpose> = made
        .threads
        .iter()
        .map(|thread| (hex(thread.as_bytes()), Purpose::PeerSupport))
        .collect();
    // Nothing in the index, everything, and what came after.
    for round in 0..3 {
        if round > 0 {
            index::follow(&story.node.log, round == 1).await.unwrap();
        }
        for filter in filters(&made) {
            let events = all(&story).await;
            let expected = meant(&events, &filter, &purposes);
            let found = listed(&story, &filter, 7).await;
            // The readings of the pages before stand in front.
            let newest = events[0].0;
            let found: Vec<i64> = found.into_iter().filter(|seq| *seq <= newest).collect();
            assert_eq!(found, expected, "{filter:?} in round {round}");
        }
    }
    let nobody = Filter {
        about: Some(About::Code(HumanCode::of(&ThreadId::from_bytes([0xdd; 16])))),
        ..Filter::default()
    };
    let refused = trail::list(&story.node, &asked(nobody, 5, None))
        .await
        .unwrap_err();
    assert!(matches!(refused, TrailError::NotFound));
}

#[tokio::test]
async fn pages_of_any_size_give_every_event_once() {
    let story = Story::begin(provider().await).await;
    fill(&story).await;
    index::follow(&story.node.log, true).await.unwrap();
    for size in [1, 2, 3, 50, 200] {
        let events: Vec<i64> = all(&story).await.into_iter().map(|(seq, _)| seq).collect();
        let found = listed(&story, &Filter::default(), size).await;
        assert_eq!(found, events, "pages of {size}");
    }
}

#[tokio::test]
async fn nothing_is_shown_when_the_reading_cannot_be_written_down() {
    let story = Story::begin(provider().await).await;
    fill(&story).await;
    let before = story.trail(Code::TrailRead).await;
    trail::list(&story.node, &asked(Filter::default(), 5, None))
        .await
        .unwrap();
    let read = all(&story).await;
    let told = Told::read(&read[0].1).unwrap();
    assert_eq!(
        (told.code, told.get("about"), told.get("count")),
        (Code::TrailRead, Some("everything"), Some("5"))
    );
    assert_eq!(told.get("role"), Some("auditor"));
    assert_eq!(story.trail(Code::TrailRead).await, before + 1);
    story.change("DELETE FROM counter").await;
    let auditor = caller(4, &[Role::Auditor]);
    trail::list(&story.node, &asked(Filter::default(), 5, None))
        .await
        .unwrap_err();
    trail::count(&story.node, &auditor, &Filter::default())
        .await
        .unwrap_err();
    trail::check(&story.node, &auditor).await.unwrap_err();
    assert_eq!(story.trail(Code::TrailRead).await, before + 1);
}

#[tokio::test]
async fn every_line_is_proven_under_the_newest_checkpoint_that_counts() {
    let story = Story::begin(provider().await).await;
    fill(&story).await;
    let (log, keys) = (&story.node.log, &story.node.keys);
    let page = async || {
        trail::list(&story.node, &asked(Filter::default(), 200, None))
            .await
            .unwrap()
            .lines
    };
    assert!(
        page().await.iter().all(|line| line.proof.is_empty()),
        "no checkpoint yet"
    );
    log.catch_up(&keys.signing).await.unwrap();
    let counted = log.newest().await.unwrap().signed.unwrap();
    opens(&story, &page().await, &counted);
    let note = &counted;
    let count = |mut tx: Tx| async move { epoch::count(&mut tx, 1, note).await };
    log.store.tx::<_, StoreError, _, _>("count", count).await.unwrap();
    log.catch_up(&keys.signing).await.unwrap();
    assert_ne!(log.newest().await.unwrap().signed.unwrap(), counted);
    opens(&story, &page().await, &counted);
}

/// Each line that the checkpoint reaches opens under it, the others have no proof.
fn opens(story: &Story, lines: &[v1::TrailLine], under: &Note) {
    let key = story.node.log.keeper.log_key(
        &story.node.membership.network,
        1,
        story.node.keys.signing.public(),
    );
    let text: kith_proto::log::checkpoint::Checkpoint = under.text().parse().unwrap();
    for line in lines {
        if line.number > text.head().size {
            assert!(line.proof.is_empty());
            continue;
        }
        let proof: LeafProof = line.proof.parse().unwrap();
        let salt: [u8; 16] = line.salt.as_slice().try_into().unwrap();
        let (leaf, told) = Leaf::opened(&salt, &line.preimage).unwrap();
        assert_eq!((told.code.as_str(), told.at_ms), (line.code.as_str(), line.at_ms));
        let opened = proof.open(&leaf.hash(), std::slice::from_ref(&key)).unwrap();
        assert_eq!((proof.index() + 1, opened.head()), (line.number, text.head()));
    }
}

#[tokio::test]
async fn counts_are_those_of_the_lines_and_never_under_five() {
    let story = Story::begin(provider().await).await;
    let made = fill(&story).await;
    index::follow(&story.node.log, true).await.unwrap();
    let events = all(&story).await;
    let count = |code: Code| {
        events
            .iter()
            .filter(|(_, text)| Told::read(text).unwrap().code == code)
            .count() as u64
    };
    let counts = trail::count(&story.node, &caller(4, &[Role::Admin]), &Filter::default())
        .await
        .unwrap();
    let told = |code: Code, purpose: i32| {
        let one = counts
            .iter()
            .find(|one| one.code == code.as_str() && one.purpose == purpose)
            .unwrap();
        (one.count, one.fewer_than_five)
    };
    let sent = made.threads.len() as u64;
    assert_eq!(
        told(Code::EnvelopeSent, Purpose::PeerSupport.number()),
        (sent - sent % 5, false)
    );
    assert_eq!(told(Code::SlipIssued, Purpose::PeerSupport.number()), (10, false));
    assert_eq!(count(Code::SlipIssued), 12);
    assert_eq!(told(Code::PersonRecorded, 0), (0, true));
    let told: BTreeSet<(&str, i32)> = counts
        .iter()
        .map(|one| (one.code.as_str(), one.purpose))
        .collect();
    assert_eq!(told.len(), counts.len(), "no group twice");
}

#[tokio::test]
async fn no_line_has_a_name_or_a_word_of_a_person() {
    let story = Story::begin(provider().await).await;
    fill(&story).await;
    story.node.log.catch_up(&story.node.keys.signing).await.unwrap();
    let page = trail::list(&story.node, &asked(Filter::default(), 200, None))
        .await
        .unwrap();
    let everything = format!("{:?}", page.lines);
    for canary in ["Selam", "Canary", "07700 900", "meet others", "asthma", "ring me"] {
        assert!(!everything.contains(canary), "{canary}");
    }
    assert!(everything.contains("womens-circle"), "organisations are named");
}

/// The kinds of gaps with how many of each and how many lines show it.
async fn gaps(story: &Story) -> Vec<(String, u64, usize)> {
    let found = trail::check(&story.node, &caller(4, &[Role::Auditor]))
        .await
        .unwrap();
    found
        .into_iter()
        .map(|gap| (gap.kind, gap.count, gap.lines.len()))
        .collect()
}

fn gap(kind: &str, count: u64, lines: usize) -> (String, u64, usize) {
    (kind.to_owned(), count, lines)
}

#[tokio::test]
async fn gaps_are_found_where_there_are_some_and_nowhere_else() {
    let story = Story::begin(provider().await).await;
    fill(&story).await;
    index::follow(&story.node.log, true).await.unwrap();
    let none = [
        "opening_without_consent",
        "delivery_without_receipt",
        "withdrawal_without_proof",
    ];
    assert_eq!(gaps(&story).await, none.map(|kind| gap(kind, 0, 0)));
    // Said to be delivered, with nothing in the trail.
    story
        .change("UPDATE referral SET delivery = 'delivered' WHERE arrival = 1")
        .await;
    // Taken long ago, with nothing after it.
    story
        .change("UPDATE referral SET delivery = 'taken' WHERE arrival = 2")
        .await;
    // Ended before it was opened, without an end in the trail.
    story
        .change(
            "UPDATE slip SET state = 'withdrawn', ended_at_ms = 1 WHERE slip_id = (SELECT slip_id FROM referral WHERE arrival = 1)",
        )
        .await;
    story.hand.advance(40 * DAY_MS);
    let found = gaps(&story).await;
    assert_eq!(found[1].1, 2);
    assert_eq!(found[2], gap(none[2], 1, 1));
    assert!(found[0].1 >= 1 && found[0].2 as u64 == found[0].1, "{found:?}");
}
