//! What every store keeps to when something comes in between: another transaction, a caller that goes away, a closed
//! database, more values than one statement may carry. Included once for each database, beside its `provider`.

use super::super::*;
use super::{GET, count, opened, put};
use futures::FutureExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const ADD: &str = "UPDATE thing SET n = n + 1 WHERE id = $1";

#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_and_blocks_nobody() {
    let (store, _fresh) = opened().await;
    let written = tokio::sync::Notify::new();
    let (heard, other) = (&written, &store);
    let left = store.tx("left", |mut tx| async move {
        assert_eq!(tx.run(query(ADD).bind(&b"x"[..])).await, Ok(0));
        heard.notify_one();
        std::future::pending::<Result<(), StoreError>>().await
    });
    tokio::select! {
        _ = left => {}
        () = written.notified() => {}
    }
    // Whether the database was quicker or not: mostly these go away in the middle of their `BEGIN`.
    for _ in 0..20 {
        let reading = store.read("gone", |mut tx| async move {
            tx.one(query(GET).bind(&b"a"[..])).await
        });
        let _ = reading.now_or_never();
        let writing = other.tx("gone", |mut tx| async move {
            tx.run(query(ADD).bind(&b"a"[..])).await
        });
        let _ = writing.now_or_never();
    }
    assert_eq!(put(&store, b"a", 1).await, Ok(1));
    let readings = (0..16).map(|_| count(&store));
    assert_eq!(futures::future::join_all(readings).await, [1; 16]);
}

#[tokio::test]
async fn a_transaction_kept_by_its_closure_is_not_committed() {
    let (store, _fresh) = opened().await;
    let kept = std::sync::Mutex::new(None);
    let shelf = &kept;
    let outcome: Result<(), StoreError> = store
        .tx("kept", |mut tx| async move {
            tx.run(query(super::PUT).bind(&b"a"[..]).bind(1_i64)).await?;
            *shelf.lock().unwrap() = Some(tx);
            Ok(())
        })
        .await;
    assert_eq!(outcome, Err(StoreError::Abandoned));
    drop(kept);
    assert_eq!(put(&store, b"a", 2).await, Ok(1));
}

#[tokio::test]
async fn a_batch_that_the_whole_store_refuses_tells_every_caller() {
    let (store, _fresh) = opened().await;
    let runs = Arc::new(AtomicU32::new(0));
    let seen = runs.clone();
    let door = store.batch("put", 256, move |_tx, rows: Rows<u8>| {
        seen.fetch_add(1, Ordering::Relaxed);
        async move { Ok(rows.iter().map(|row| Ok::<_, StoreError>(*row)).collect()) }
    });
    assert_eq!(door.submit_all(Vec::new()).await, []);
    store.close().await;
    let (one, two) = tokio::join!(door.submit(1), door.submit_all(vec![2, 3]));
    for answer in [vec![one], two].concat() {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert_eq!(runs.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_call_larger_than_a_batch_stays_together_and_in_order() {
    static INSERT: Insert = Insert::into("INSERT INTO thing (id, n)", 2, "");
    let (store, _fresh) = opened().await;
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = sizes.clone();
    let door = store.batch("put", 8, move |mut tx, rows: Rows<u8>| {
        seen.lock().unwrap().push(rows.len());
        async move {
            INSERT
                .rows(&mut tx, &rows, |q, n| q.bind(vec![*n]).bind(i64::from(*n)))
                .await?;
            Ok(rows.iter().map(|n| Ok::<_, StoreError>(*n)).collect())
        }
    });
    let (few, many, last) = tokio::join!(
        door.submit_all(vec![0, 1, 2]),
        door.submit_all((3..23).collect()),
        door.submit(23)
    );
    let answers = [few, many, vec![last]].concat();
    assert_eq!(answers, (0..24).map(Ok).collect::<Vec<Result<u8, StoreError>>>());
    assert_eq!(*sizes.lock().unwrap(), [3, 20, 1]);
    assert_eq!(count(&store).await, 24);
}

/// A hundred values a row: both databases reach their limit of values before the limit of rows.
static WIDE: WithRows = WithRows::new(
    "WITH v AS (VALUES",
    100,
    "INSERT INTO thing (id, n, word) SELECT column1, column2, column100 FROM v WHERE column2 >= 0 \
     ON CONFLICT (id) DO NOTHING",
);

#[tokio::test]
async fn wide_rows_stay_within_the_values_of_one_statement_and_may_begin_with_nothing() {
    let (store, _fresh) = opened().await;
    let inserted = store.tx("wide", |mut tx| async move {
        let rows: Vec<i64> = (0..1_000).collect();
        let wide = WIDE.run(&mut tx, &rows, |q, n| {
            let word = (n % 2 == 1).then_some("one");
            let q = q.bind(n.to_be_bytes().to_vec()).bind(*n);
            (2..99).fold(q, |q, _| q.bind(None::<i64>)).bind(word)
        });
        wide.await
    });
    assert_eq!(inserted.await, Ok(1_000), "filled-up rows count once");
    let words = store.read("words", |mut tx| async move {
        let row = tx
            .one(query("SELECT COUNT(word) AS n FROM thing WHERE word = $1").bind("one"))
            .await?;
        column::<i64>(&row.unwrap(), "thing", "n")
    });
    assert_eq!(words.await, Ok(500));
}

#[tokio::test]
async fn a_list_with_one_value_twice_changes_and_counts_once() {
    static DROP: InList = InList::new("DELETE FROM thing WHERE n = $1 AND id IN", 1, "RETURNING id");
    static SET: WithRows = WithRows::new(
        "WITH v(id, n) AS (VALUES",
        2,
        "UPDATE thing SET n = thing.n + v.n FROM v WHERE thing.id = v.id RETURNING thing.n",
    );
    let (store, _fresh) = opened().await;
    for id in [&b"a"[..], b"b", b"c"] {
        assert_eq!(put(&store, id, 1).await, Ok(1));
    }
    let ids = [&b"a"[..], b"b", b"c"];
    let changed = store.tx("set", |mut tx| async move {
        let rows = SET
            .all(&mut tx, &ids, |q, id| q.bind(id.to_vec()).bind(10_i64))
            .await?;
        rows.iter()
            .map(|row| column(row, "thing", "n"))
            .collect::<Result<Vec<i64>, _>>()
    });
    assert_eq!(changed.await, Ok(vec![11; 3]));
    let dropped = store.tx("drop", |mut tx| async move {
        DROP.all(&mut tx, &ids, |q| q.bind(11_i64), |q, id| q.bind(id.to_vec()))
            .await
    });
    assert_eq!(dropped.await.map(|rows: Vec<Row>| rows.len()), Ok(3));
    assert_eq!(count(&store).await, 0);
}

#[tokio::test]
async fn tables_of_nobodys_make_a_database_foreign() {
    let (store, fresh) = opened().await;
    let unclaimed: Result<u64, StoreError> = store
        .tx("unclaim", |mut tx| async move {
            tx.run(query("DROP TABLE kith_store")).await
        })
        .await;
    assert!(unclaimed.is_ok());
    store.close().await;
    let opened = Store::open(&fresh.url, "kith-test", MIGRATIONS).await;
    assert_eq!(opened.err(), Some(StoreError::Foreign));
}
