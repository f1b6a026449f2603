//! What the log promises, on whichever database `provider` gives.

use super::*;
use crate::store::{StoreError, query};
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::proof::{Plan, verify_consistency, verify_inclusion};
use kith_proto::log::tile::{Tile, entries};
use kith_proto::log::tree::{TreeHead, head_of};
use kith_proto::log::witness::{AddCheckpoint, WitnessRefusal};
use kith_proto::sign::SigningKey;
use kith_proto::trail::{Code, Event, Leaf, key};

pub(super) fn signing_key() -> SigningKey {
    SigningKey::from_seed([9; 32]).unwrap()
}

pub(super) async fn log() -> (Log, Option<tempfile::TempDir>) {
    let (store, folder) = provider().await;
    let network = "lune-valley.example".parse().unwrap();
    (
        Log::open(&store, &network, Keeper::Gateway).await.unwrap(),
        folder,
    )
}

fn event(number: i64) -> Event {
    let mut thread = [0; 16];
    thread[..8].copy_from_slice(&(number / 3).to_be_bytes());
    let code = if number % 2 == 0 {
        Code::EnvelopeTaken
    } else {
        Code::EnvelopeDelivered
    };
    Event::new(code, 1_000 + number).id("thread", &thread)
}

fn leaf(number: i64) -> Leaf {
    Leaf::new(
        event(number).code(),
        &[number as u8; 16],
        event(number).preimage(),
    )
}

pub(super) async fn append(log: &Log, numbers: std::ops::RangeInclusive<i64>) {
    let first = *numbers.start();
    let events: Vec<(Event, [u8; 16])> = numbers.map(|n| (event(n), [n as u8; 16])).collect();
    let events = &events;
    log.store
        .tx("append", |mut tx| async move {
            let rows: Vec<_> = events.iter().map(|(event, salt)| (event, *salt)).collect();
            append::insert(&mut tx, first, &rows).await
        })
        .await
        .unwrap();
}

pub(super) async fn run(log: &Log, statement: &'static str) -> u64 {
    let ran: Result<u64, StoreError> = log
        .store
        .tx("run", |mut tx| async move { tx.run(query(statement)).await })
        .await;
    ran.unwrap()
}

fn opened(note: &Note) -> TreeHead {
    let keys = [Keeper::Gateway.log_key(&"lune-valley.example".parse().unwrap(), 1, signing_key().public())];
    *Checkpoint::open(note, &keys).unwrap().head()
}

#[tokio::test]
async fn events_become_leaves_tiles_and_checkpoints_in_steps_of_any_size() {
    let (log, _folder) = log().await;
    let mut grown = log.grown();
    let mut end = 0;
    for count in [1, 1, 253, 1, 1, 300, 700] {
        append(&log, end + 1..=end + count).await;
        end += count;
        assert_eq!(log.catch_up(&signing_key()).await.unwrap(), end as u64);
        assert_eq!(*grown.borrow_and_update(), end as u64);
        let epoch = log.newest().await.unwrap();
        let expected = head_of((1..=end).map(|n| leaf(n).hash())).unwrap();
        assert_eq!(opened(epoch.signed.as_ref().unwrap()), expected);
        assert_eq!(
            log.frontier_of_tiles(1, expected.size).await.unwrap(),
            epoch.frontier
        );
    }
    assert_eq!(
        log.step(&signing_key()).await.unwrap(),
        sequencer::Step {
            appended: 0,
            size: end as u64
        }
    );
    let head = log.newest().await.unwrap().frontier.head();
    for index in [0, 1, 255, 256, 511, 1000, 1256] {
        let proof = log
            .store
            .read("prove", |mut tx| async move {
                let plan = Plan::inclusion(index, head.size)?;
                tiles::Prover::new(1, head.size).hashes(&mut tx, &plan).await
            })
            .await
            .unwrap();
        verify_inclusion(&head, index, &leaf(index as i64 + 1).hash(), &proof).unwrap();
    }
    let old = head_of((1..=600).map(|n| leaf(n).hash())).unwrap();
    let proof = log.prove_consistency(1, 600, head.size).await.unwrap();
    verify_consistency(&old, &head, &proof).unwrap();
}

#[tokio::test]
async fn tiles_and_bundles_are_served_as_far_as_they_go() {
    let (log, _folder) = log().await;
    append(&log, 1..=600).await;
    log.catch_up(&signing_key()).await.unwrap();
    let read = async |path: &str| {
        let tile: Tile = path.parse().unwrap();
        let bytes = log
            .store
            .read(
                "tile",
                |mut tx| async move { tiles::tile(&mut tx, 1, tile).await },
            )
            .await
            .unwrap();
        bytes.map(|bytes| (tile, bytes))
    };
    let (_, whole) = read("tile/0/001").await.unwrap();
    assert_eq!(whole.len(), 256 * 32);
    let (_, cut) = read("tile/0/001.p/7").await.unwrap();
    assert_eq!(cut, whole[..7 * 32]);
    assert_eq!(read("tile/1/000.p/2").await.unwrap().1.len(), 64);
    assert_eq!(read("tile/1/000").await, None);
    assert_eq!(read("tile/0/002").await, None);
    assert_eq!(read("tile/2/000.p/1").await, None);
    let (tile, bundle) = read("tile/entries/002.p/88").await.unwrap();
    let held = entries(tile, &bundle).unwrap();
    assert_eq!(held.len(), 88);
    assert_eq!(held[87], leaf(600).to_string().as_bytes());
    assert_eq!(read("tile/entries/002.p/89").await, None);
    let some = log
        .store
        .read("entries", |mut tx| async move {
            tiles::entries(&mut tx, 1, 510, 9).await
        })
        .await
        .unwrap();
    assert_eq!(some, [leaf(511).to_string(), leaf(512).to_string()]);
}

#[tokio::test]
async fn sequencers_side_by_side_make_one_tree() {
    let (log, _folder) = log().await;
    append(&log, 1..=500).await;
    let (first, second) = (log.clone(), log.clone());
    let both = tokio::join!(async { first.catch_up(&signing_key()).await }, async {
        second.catch_up(&signing_key()).await
    });
    assert!(both.0.is_ok() && both.1.is_ok());
    log.catch_up(&signing_key()).await.unwrap();
    let head = log.newest().await.unwrap().frontier.head();
    assert_eq!(head, head_of((1..=500).map(|n| leaf(n).hash())).unwrap());
}

#[tokio::test]
async fn a_missing_event_stops_the_log_and_is_named() {
    let (log, _folder) = log().await;
    append(&log, 1..=5).await;
    run(&log, "DELETE FROM audit_event WHERE seq = 3").await;
    assert_eq!(log.step(&signing_key()).await, Err(LogError::Broken(3)));
    assert_eq!(log.newest().await.unwrap().frontier.size(), 0);
}

/// Each write of a step, failed: nothing of the step is kept, and the next one goes on to the same tree.
#[tokio::test]
async fn a_step_that_fails_at_any_write_keeps_nothing_and_is_taken_again_without_a_fork() {
    let (log, _folder) = log().await;
    append(&log, 1..=300).await;
    log.catch_up(&signing_key()).await.unwrap();
    append(&log, 301..=600).await;
    let before = log.newest().await.unwrap();
    for (broken, mended) in [
        (
            "ALTER TABLE log_tile RENAME TO gone",
            "ALTER TABLE gone RENAME TO log_tile",
        ),
        (
            "ALTER TABLE log_tile RENAME COLUMN bytes TO gone",
            "ALTER TABLE log_tile RENAME COLUMN gone TO bytes",
        ),
        (
            "ALTER TABLE log_epoch RENAME COLUMN signed TO gone",
            "ALTER TABLE log_epoch RENAME COLUMN gone TO signed",
        ),
    ] {
        run(&log, broken).await;
        assert!(log.step(&signing_key()).await.is_err(), "{broken}");
        run(&log, mended).await;
        assert_eq!(log.newest().await.unwrap(), before, "{broken}");
    }
    // Stored, but the answer was lost: whoever asks again finds nothing to do.
    log.step(&signing_key()).await.unwrap();
    let after = log.newest().await.unwrap();
    assert_eq!(log.step(&signing_key()).await.unwrap().appended, 0);
    assert_eq!(log.newest().await.unwrap(), after);
    assert_eq!(
        after.frontier.head(),
        head_of((1..=600).map(|n| leaf(n).hash())).unwrap()
    );
    let proof = log.prove_consistency(1, 300, 600).await.unwrap();
    verify_consistency(&before.frontier.head(), &after.frontier.head(), &proof).unwrap();
}

#[tokio::test]
async fn events_are_found_by_their_keys_once_the_index_has_followed() {
    let (log, _folder) = log().await;
    append(&log, 1..=30).await;
    index::follow(&log, false).await.unwrap();
    let find = async |key: i64, before: i64, limit: i64| {
        let found = log.store.read("find", |mut tx| async move {
            index::found(&mut tx, key, (0, before), limit).await
        });
        found.await.unwrap()
    };
    let taken = key::key("code", "envelope_taken");
    assert!(find(taken, i64::MAX, 9).await.is_empty());
    index::follow(&log, true).await.unwrap();
    index::follow(&log, true).await.unwrap();
    assert_eq!(find(taken, i64::MAX, 3).await, [30, 28, 26]);
    assert_eq!(find(taken, 26, 2).await, [24, 22]);
    let thread = event(7);
    let told = kith_proto::trail::event::Told::read(thread.preimage()).unwrap();
    assert_eq!(
        find(key::key("thread", told.get("thread").unwrap()), i64::MAX, 9).await,
        [8, 7, 6]
    );
}

fn note(checkpoint: &Checkpoint) -> Note {
    checkpoint
        .note(vec![checkpoint.sign(&signing_key()).unwrap()])
        .unwrap()
}

#[tokio::test]
async fn a_witness_cosigns_only_what_goes_on_and_keeps_both_sides_of_a_fork() {
    let (log, _folder) = log().await;
    append(&log, 1..=20).await;
    log.catch_up(&signing_key()).await.unwrap();
    let (store, _other) = provider().await;
    let name = "w.example".parse().unwrap();
    let own = SigningKey::from_seed([3; 32]).unwrap();
    let witness = seen::Witness {
        name: &name,
        key: &own,
        store: &store,
    };
    let origin = Keeper::Gateway.origin(&log.network, 1);
    let keys = [Keeper::Gateway.log_key(&log.network, 1, signing_key().public())];
    let at = async |old: u64, size: u64| {
        let head = head_of((1..=size as i64).map(|n| leaf(n).hash())).unwrap();
        let proof = log.prove_consistency(1, old, size).await.unwrap();
        AddCheckpoint::new(old, proof, note(&Checkpoint::new(&origin, head).unwrap())).unwrap()
    };
    let first = at(0, 8).await;
    let line = witness.cosign(&first, &keys, 5_000).await.unwrap();
    let mut cosigned = first.note().clone();
    cosigned.add(line).unwrap();
    let known = [kith_proto::log::note::VerifierKey::new(
        name.clone(),
        kith_proto::log::note::KeyKind::Cosignature,
        own.public(),
    )];
    assert_eq!(cosigned.verify(&known).unwrap()[0].time_s, Some(5));
    let refused = async |request: &AddCheckpoint| match witness.cosign(request, &keys, 6_000).await {
        Err(seen::CosignError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(&at(0, 20).await).await,
        WitnessRefusal::OtherSize { size: 8 }
    );
    witness.cosign(&at(8, 20).await, &keys, 6_000).await.unwrap();
    assert_eq!(
        refused(&at(8, 20).await).await,
        WitnessRefusal::OtherSize { size: 20 }
    );
    // Rolled back, and another tree of a larger size.
    let other = head_of((1..=21).map(|n| leaf(n + 1).hash())).unwrap();
    let fork = AddCheckpoint::new(
        20,
        vec![other.root],
        note(&Checkpoint::new(&origin, other).unwrap()),
    )
    .unwrap();
    for _ in 0..2 {
        assert_eq!(refused(&fork).await, WitnessRefusal::Inconsistent);
    }
    let kept = store
        .read("forks", |mut tx| async move { seen::forks(&mut tx).await })
        .await
        .unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((opened(&kept[0].held).size, &kept[0].offered), (20, fork.note()));
    let last = store.read("last", |mut tx| async move {
        seen::last(&mut tx, "lune-valley.example/log/1").await
    });
    let last: Option<seen::Seen> = last.await.map_err(|error: StoreError| error).unwrap();
    assert_eq!(last.unwrap().head.size, 20);
    // A row that was altered is not gone on from.
    set_back(&store).await;
    let refused = witness.cosign(&at(8, 20).await, &keys, 7_000).await;
    assert!(matches!(
        refused,
        Err(seen::CosignError::Store(StoreError::Corrupt { .. }))
    ));
}

/// Lets a witness's row say that it saw less.
async fn set_back(store: &Store) {
    let set = |mut tx: crate::store::Tx| async move { tx.run(query("UPDATE log_seen SET size = 8")).await };
    let set: Result<u64, StoreError> = store.tx("set back", set).await;
    assert_eq!(set, Ok(1));
}

/// Five events, of which three were counted when the server was lost; its backup comes back and goes on as epoch 4.
async fn restored(log: &Log) {
    append(log, 1..=3).await;
    log.catch_up(&signing_key()).await.unwrap();
    let counted = &log.newest().await.unwrap().signed.unwrap();
    append(log, 4..=5).await;
    log.catch_up(&signing_key()).await.unwrap();
    let opened = &Event::new(Code::EpochOpened, 9_000).number("epoch", 4);
    let begin = |mut tx| async move {
        epoch::count(&mut tx, 1, counted).await?;
        append::insert(&mut tx, 6, &[(opened, [6; 16])]).await?;
        epoch::begin(&mut tx, 4, 6).await
    };
    let begun: Result<(), StoreError> = log.store.tx("begin", begin).await;
    begun.unwrap();
    append(log, 7..=8).await;
    assert_eq!(log.catch_up(&signing_key()).await, Ok(3));
}

#[tokio::test]
async fn a_later_epoch_goes_on_and_what_the_old_one_left_unproven_is_told_apart() {
    let (log, _folder) = log().await;
    restored(&log).await;
    let prove = |mut tx: crate::store::Tx| async move {
        let mut proofs = proofs::Proofs::load(&mut tx, proofs::Basis::CountedOrSigned).await?;
        let mut told = Vec::new();
        for seq in 1..=8 {
            let receipt = proofs.receipt(&mut tx, seq).await?;
            told.push((receipt.is_some(), proofs.is_left_behind(seq)));
        }
        let epochs: Vec<u64> = proofs.checkpoints().map(|(epoch, _)| epoch).collect();
        Ok::<_, LogError>((told, epochs))
    };
    let (told, epochs): (Vec<(bool, bool)>, Vec<u64>) = log.store.read("prove", prove).await.unwrap();
    let (proven, left) = ((true, false), (false, true));
    assert_eq!(told[..5], [proven, proven, proven, left, left]);
    assert_eq!(told[5..], [proven; 3]);
    assert_eq!(epochs, [1, 4]);
    let read = async |path: &str, epoch: u64| {
        let tile: Tile = path.parse().unwrap();
        let read = |mut tx| async move { tiles::tile(&mut tx, epoch, tile).await };
        log.store.read("tile", read).await.unwrap().is_some()
    };
    assert!(read("tile/0/000.p/5", 1).await && read("tile/0/000.p/3", 4).await);
    let thread = key::key("thread", "00000000000000020000000000000000");
    assert_eq!(log.found(thread).await, Ok(vec![7, 8]));
    let whose = whole::Whose {
        keeper: &log.keeper,
        network: &log.network,
        key: signing_key().public(),
    };
    let look = |mut tx| async move { whole::look(&mut tx, whose, Some(8), |_, _| ()).await };
    let whole: whole::Whole = log.store.read("whole", look).await.unwrap();
    assert_eq!((whole.events, whole.faults), (8, vec![]));
}

#[tokio::test]
async fn a_later_epoch_that_does_not_begin_with_its_reason_is_not_signed() {
    let (log, _folder) = log().await;
    append(&log, 1..=5).await;
    log.catch_up(&signing_key()).await.unwrap();
    let begin = |mut tx| async move { epoch::begin(&mut tx, 2, 6).await };
    let begun: Result<(), StoreError> = log.store.tx("begin", begin).await;
    begun.unwrap();
    append(&log, 6..=6).await;
    assert_eq!(log.step(&signing_key()).await, Err(LogError::Broken(6)));
}
