//! What every store keeps to, whichever database it stands on. Included once for each, beside its `provider`.

use super::super::*;
use super::provider;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const COUNT: &str = "SELECT COUNT(*) AS n FROM thing";
const PUT: &str = "INSERT INTO thing (id, n) VALUES ($1, $2)";
const ADD: &str = "UPDATE thing SET n = n + 1 WHERE id = $1";
const GET: &str = "SELECT id, n, body, word FROM thing WHERE id = $1";

#[path = "rerun.rs"]
mod rerun;

async fn opened() -> (Store, Fresh) {
    let fresh = provider().await;
    let store = Store::open(&fresh.url, "kith-test", MIGRATIONS).await.unwrap();
    (store, fresh)
}

async fn count(store: &Store) -> i64 {
    let read = store.read("count", |mut tx| async move {
        let row = tx.one(query(COUNT)).await?.unwrap();
        column::<i64>(&row, "thing", "n")
    });
    read.await.unwrap()
}

async fn put(store: &Store, id: &'static [u8], n: i64) -> Result<u64, StoreError> {
    store
        .tx("put", |mut tx| async move {
            tx.run(query(PUT).bind(id).bind(n)).await
        })
        .await
}

#[tokio::test]
async fn a_transaction_that_errs_leaves_nothing() {
    let (store, _fresh) = opened().await;
    put(&store, b"a", 1).await.unwrap();
    let undone: Result<(), StoreError> = store
        .tx("undone", |mut tx| async move {
            tx.run(query(PUT).bind(&b"b"[..]).bind(2_i64)).await?;
            Err(StoreError::Foreign)
        })
        .await;
    assert_eq!(undone, Err(StoreError::Foreign));
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_key_twice_is_told_apart_and_a_failure_passed_over_keeps_nothing() {
    let (store, _fresh) = opened().await;
    put(&store, b"a", 1).await.unwrap();
    assert_eq!(put(&store, b"a", 2).await, Err(StoreError::Unique));
    let regardless: Result<(), StoreError> = store
        .tx("regardless", |mut tx| async move {
            tx.run(query(PUT).bind(&b"b"[..]).bind(2_i64)).await?;
            tx.run(query(PUT).bind(&b"a"[..]).bind(2_i64)).await.ok();
            Ok(())
        })
        .await;
    assert_eq!(regardless, Err(StoreError::Abandoned));
    assert_eq!(count(&store).await, 1);
}

/// Of a statement that fails at its second row the first may be there until the rollback: nothing may be added to it.
#[tokio::test]
async fn nothing_of_a_list_stays_whose_second_row_clashes_and_nothing_comes_after_it() {
    static LIST: Insert = Insert::into("INSERT INTO thing (id, n)", 2, "");
    let (store, _fresh) = opened().await;
    put(&store, b"b", 1).await.unwrap();
    let regardless: Result<(), StoreError> = store
        .tx("regardless", |mut tx| async move {
            let rows: [&[u8]; 3] = [b"a", b"b", b"c"];
            let list = LIST.rows(&mut tx, &rows, |q, id| q.bind(*id).bind(2_i64)).await;
            assert_eq!(list, Err(StoreError::Unique));
            let next = tx.run(query(PUT).bind(&b"d"[..]).bind(2_i64)).await;
            assert_eq!(next, Err(StoreError::Abandoned));
            Ok(())
        })
        .await;
    assert_eq!(regardless, Err(StoreError::Abandoned));
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn the_reading_door_does_not_write() {
    let (store, _fresh) = opened().await;
    let written = store.read("write", |mut tx| async move {
        tx.run(query(PUT).bind(&b"a"[..]).bind(1_i64)).await
    });
    assert!(matches!(written.await, Err(StoreError::Failed(_))));
    assert_eq!(count(&store).await, 0);
}

#[tokio::test]
async fn a_look_is_one_statement_that_reads() {
    let (store, _fresh) = opened().await;
    put(&store, b"a", 1).await.unwrap();
    let look = async |statements: usize| -> Result<i64, StoreError> {
        let counted = store.look("count", |mut tx| async move {
            let mut n = 0;
            for _ in 0..statements {
                let row = tx.one(query(COUNT)).await?.unwrap();
                n = column::<i64>(&row, "thing", "n")?;
            }
            Ok(n)
        });
        counted.await
    };
    assert_eq!(look(1).await, Ok(1));
    assert!(matches!(look(2).await, Err(StoreError::Failed(_))));
    let written = store.look("write", |mut tx| async move {
        tx.run(query(PUT).bind(&b"b"[..]).bind(1_i64)).await
    });
    assert!(matches!(written.await, Err(StoreError::Failed(_))));
    assert_eq!(look(1).await, Ok(1));
    put(&store, b"b", 1).await.unwrap();
    assert_eq!(look(1).await, Ok(2));
}

#[tokio::test]
async fn large_values_extremes_and_nothing_come_back_as_they_went() {
    const FULL: &str = "INSERT INTO thing (id, n, body, word) VALUES ($1, $2, $3, $4)";
    let (store, _fresh) = opened().await;
    let large = vec![7_u8; 2 << 20];
    store
        .tx("extremes", |mut tx| {
            let large = large.clone();
            async move {
                tx.run(query(FULL).bind(&b"a"[..]).bind(i64::MAX).bind(large).bind("two"))
                    .await?;
                tx.run(
                    query(FULL)
                        .bind(&b"b"[..])
                        .bind(i64::MIN)
                        .bind(None::<Vec<u8>>)
                        .bind(None::<String>),
                )
                .await
            }
        })
        .await
        .unwrap();
    for (id, n, body, word) in [
        (&b"a"[..], i64::MAX, Some(large), Some("two".to_owned())),
        (&b"b"[..], i64::MIN, None, None),
    ] {
        let read = store.read("get", |mut tx| async move { tx.one(query(GET).bind(id)).await });
        let row = read.await.unwrap().unwrap();
        assert_eq!(column::<i64>(&row, "thing", "n"), Ok(n));
        assert_eq!(column::<Option<Vec<u8>>>(&row, "thing", "body"), Ok(body));
        assert_eq!(column::<Option<String>>(&row, "thing", "word"), Ok(word));
        let corrupt = StoreError::Corrupt {
            table: "thing",
            column: "id",
        };
        assert_eq!(bytes::<16>(&row, "thing", "id"), Err(corrupt));
    }
}

#[tokio::test]
async fn no_value_is_in_an_error() {
    let (store, _fresh) = opened().await;
    let canary = "Letesh-Canary";
    const WORD: &str = "INSERT INTO thing (id, n, word) VALUES ($1, 1, $2)";
    let refused: Result<u64, StoreError> = store
        .tx("check", |mut tx| async move {
            tx.run(query(WORD).bind(&b"a"[..]).bind(canary)).await
        })
        .await;
    let error = refused.unwrap_err();
    assert!(matches!(error, StoreError::Failed(_)));
    assert!(!format!("{error} {error:?}").contains(canary));
}

#[tokio::test]
async fn more_rows_than_one_statement_holds_are_inserted_found_and_changed() {
    static INSERT: Insert = Insert::into("INSERT INTO thing (id, n)", 2, "ON CONFLICT (id) DO NOTHING");
    static FIND: InList = InList::new("SELECT id, n FROM thing WHERE n >= $1 AND id IN", 1, "");
    static SET: WithRows = WithRows::new(
        "WITH v(id, n) AS (VALUES",
        2,
        "UPDATE thing SET n = v.n FROM v WHERE thing.id = v.id",
    );
    let (store, _fresh) = opened().await;
    let rows: Arc<Vec<(Vec<u8>, i64)>> =
        Arc::new((0..1_301_i64).map(|n| (n.to_be_bytes().to_vec(), n)).collect());
    let shared = || rows.clone();
    let inserted = store.tx("insert", |mut tx| {
        let rows = shared();
        async move {
            INSERT
                .rows(&mut tx, &rows, |q, (id, n)| q.bind(id.clone()).bind(*n))
                .await
        }
    });
    assert_eq!(inserted.await, Ok(1_301));
    let again = store.tx("again", |mut tx| {
        let rows = shared();
        async move {
            INSERT
                .rows(&mut tx, &rows, |q, (id, n)| q.bind(id.clone()).bind(*n))
                .await
        }
    });
    assert_eq!(again.await, Ok(0));
    let found = store.read("find", |mut tx| {
        let rows = shared();
        async move {
            FIND.all(
                &mut tx,
                &rows,
                |q| q.bind(1_000_i64),
                |q, (id, _)| q.bind(id.clone()),
            )
            .await
        }
    });
    assert_eq!(found.await.map(|rows: Vec<Row>| rows.len()), Ok(301));
    let changed = store.tx("set", |mut tx| {
        let rows = shared();
        async move {
            SET.run(&mut tx, &rows, |q, (id, n)| q.bind(id.clone()).bind(-n))
                .await
        }
    });
    assert_eq!(changed.await, Ok(1_301));
    let none: Result<u64, StoreError> = store
        .tx("none", |mut tx| async move {
            INSERT.rows(&mut tx, &[] as &[(Vec<u8>, i64)], |q, _| q).await
        })
        .await;
    assert_eq!(none, Ok(0));
}

#[tokio::test]
async fn a_row_without_a_key_or_with_too_few_values_is_refused_not_left_out() {
    static INSERT: Insert = Insert::into("INSERT INTO thing (id, n)", 2, "");
    let (store, _fresh) = opened().await;
    let put = async |key: Option<Vec<u8>>, whole: bool| -> Result<u64, StoreError> {
        let rows = [Some(vec![1]), key];
        let write = store.tx("put", |mut tx| {
            let rows = rows.clone();
            async move {
                let bound = INSERT.rows(&mut tx, &rows, |q, key| {
                    let q = q.bind(key.clone());
                    if whole { q.bind(1_i64) } else { q }
                });
                bound.await
            }
        });
        write.await
    };
    assert!(matches!(put(None, true).await, Err(StoreError::Failed(_))));
    assert!(matches!(
        put(Some(vec![2]), false).await,
        Err(StoreError::Failed(_))
    ));
    assert_eq!(count(&store).await, 0);
    assert_eq!(put(Some(vec![2]), true).await, Ok(2));
}

#[tokio::test]
async fn eight_writers_lose_no_increment() {
    let (store, _fresh) = opened().await;
    put(&store, b"a", 0).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    let add = store.tx(
                        "add",
                        |mut tx| async move { tx.run(query(ADD).bind(&b"a"[..])).await },
                    );
                    assert_eq!(add.await, Ok(1));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let read = store.read(
        "get",
        |mut tx| async move { tx.one(query(GET).bind(&b"a"[..])).await },
    );
    let row = read.await.unwrap().unwrap();
    assert_eq!(column::<i64>(&row, "thing", "n"), Ok(200));
}

#[tokio::test]
async fn a_batch_answers_each_row_after_one_commit() {
    static INSERT: Insert = Insert::into("INSERT INTO thing (id, n)", 2, "");
    let (store, _fresh) = opened().await;
    let runs = Arc::new(AtomicU32::new(0));
    let seen = runs.clone();
    let door = store.batch("put", 256, move |mut tx, rows: Rows<(u8, i64)>| {
        seen.fetch_add(1, Ordering::Relaxed);
        async move {
            let good: Vec<_> = rows.iter().filter(|(_, n)| *n >= 0).collect();
            INSERT
                .rows(&mut tx, &good, |q, (id, n)| q.bind(vec![*id]).bind(*n))
                .await?;
            let answer = |n: i64| if n >= 0 { Ok(n) } else { Err(StoreError::Foreign) };
            Ok(rows.iter().map(|(_, n)| answer(*n)).collect())
        }
    });
    let calls: Vec<_> = (0..100_u8)
        .map(|id| {
            let door = door.clone();
            tokio::spawn(async move { door.submit((id, i64::from(id) - 1)).await })
        })
        .collect();
    for (id, call) in calls.into_iter().enumerate() {
        let expected = if id == 0 {
            Err(StoreError::Foreign)
        } else {
            Ok(i64::try_from(id).unwrap() - 1)
        };
        assert_eq!(call.await.unwrap(), expected);
    }
    assert_eq!(count(&store).await, 99);
    assert!(runs.load(Ordering::Relaxed) < 100, "rows were not gathered");
}

#[tokio::test]
async fn one_callers_bad_row_does_not_refuse_anothers() {
    static INSERT: Insert = Insert::into("INSERT INTO thing (id, n)", 2, "");
    let (store, _fresh) = opened().await;
    put(&store, &[1], 1).await.unwrap();
    let door = store.batch("put", 256, |mut tx, rows: Rows<u8>| async move {
        INSERT
            .rows(&mut tx, &rows, |q, id| q.bind(vec![*id]).bind(1_i64))
            .await?;
        Ok(rows.iter().map(|id| Ok::<_, StoreError>(*id)).collect())
    });
    let (taken, new, pair) = tokio::join!(door.submit(1), door.submit(2), door.submit_all(vec![1, 3]));
    assert_eq!((taken, new), (Err(StoreError::Unique), Ok(2)));
    assert_eq!(pair, [Err(StoreError::Unique), Err(StoreError::Unique)]);
    assert_eq!(count(&store).await, 2);
    let miscounted = store.batch(
        "miscounted",
        256,
        |_tx, _rows: Rows<u8>| async move { Ok(Vec::new()) },
    );
    let answer: Result<u8, StoreError> = miscounted.submit(9).await;
    assert!(matches!(answer, Err(StoreError::Failed(_))));
}

#[tokio::test]
async fn a_newer_a_foreign_and_an_unreadable_database_are_refused() {
    let (store, fresh) = opened().await;
    store.close().await;
    assert!(matches!(
        put(&store, b"a", 1).await,
        Err(StoreError::Unavailable(_))
    ));
    let other = Store::open(&fresh.url, "kith-other", MIGRATIONS).await;
    assert_eq!(other.err(), Some(StoreError::Foreign));
    let newer = Store::open(&fresh.url, "kith-test", NEWER).await.unwrap();
    newer.close().await;
    let older = Store::open(&fresh.url, "kith-test", MIGRATIONS).await;
    assert_eq!(older.err(), Some(StoreError::Newer));
    let unknown = Store::open("mysql://127.0.0.1/x", "kith-test", MIGRATIONS).await;
    assert!(matches!(unknown.err(), Some(StoreError::Failed(_))));
}

#[tokio::test]
async fn another_owners_database_is_not_brought_up_to_date() {
    const OWNER: &str = "SELECT word FROM thing WHERE n = 7";
    const CLAIM: &str = "INSERT INTO thing (id, n, word) VALUES ($1, 7, 'one')";
    let (store, fresh) = opened().await;
    let claimed: Result<u64, StoreError> = store
        .tx("claim", |mut tx| async move {
            tx.run(query(CLAIM).bind(&b"a"[..])).await
        })
        .await;
    assert_eq!(claimed, Ok(1));
    store.close().await;
    let open_of = |name| Store::open_of(&fresh.url, "kith-test", Owner { find: OWNER, name }, NEWER);
    assert_eq!(open_of("two").await.err(), Some(StoreError::Foreign));
    let still = Store::open(&fresh.url, "kith-test", MIGRATIONS).await.unwrap();
    still.close().await;
    open_of("one").await.unwrap().close().await;
    let older = Store::open(&fresh.url, "kith-test", MIGRATIONS).await;
    assert_eq!(older.err(), Some(StoreError::Newer));
}
