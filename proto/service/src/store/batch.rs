//! The door for hot steps: many callers' rows become a few multi-row statements in one transaction.
//! Called by use-cases that are worth it (send, take, receive, settle); made once per step at start.
//! Never answers a caller before the commit, and never splits the rows of one call over two transactions.

use std::ops::{Deref, Range};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Store;
use super::error::StoreError;
use super::tx::Tx;

/// Calls that may wait for a batch door; the next one waits for a place. With a batch of 256 rows each 10 ms this is
/// far below a call's deadline.
pub const BATCH_QUEUE_MAX: usize = 1_024;

/// What the writer of a batch door runs: one answer for each row, in the rows' order, or a failure for all of them.
/// It may be run again with the same rows, so it has no effects outside the database.
pub type BatchAnswers<A, E> = Result<Vec<Result<A, E>>, StoreError>;

/// A handle of a batch door; cheap to clone. The writer ends when the last handle is gone and its queue is empty.
pub struct Batch<R, A, E> {
    queue: mpsc::Sender<Call<R, A, E>>,
}

/// The rows of one batch, in the order in which they came; reads as a slice.
pub struct Rows<R> {
    all: Arc<Vec<R>>,
    range: Range<usize>,
}

struct Call<R, A, E> {
    rows: Vec<R>,
    answer: Answer<A, E>,
}

type Answer<A, E> = oneshot::Sender<Vec<Result<A, E>>>;

impl<R, A, E> Batch<R, A, E>
where
    R: Send + Sync + 'static,
    A: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    /// Hands in one row and waits for its answer, which comes after the commit. A caller that goes away before does
    /// not undo its row.
    pub async fn submit(&self, row: R) -> Result<A, E> {
        self.submit_all(vec![row])
            .await
            .pop()
            .unwrap_or_else(|| Err(gone()))
    }

    /// Hands in rows that stay together and in order, and waits for one answer each, in the same order.
    pub async fn submit_all(&self, rows: Vec<R>) -> Vec<Result<A, E>> {
        let count = rows.len();
        if count == 0 {
            return Vec::new();
        }
        let (answer, answered) = oneshot::channel();
        let lost = || (0..count).map(|_| Err(gone())).collect();
        match self.queue.send(Call { rows, answer }).await {
            Ok(()) => answered.await.unwrap_or_else(|_| lost()),
            Err(_) => lost(),
        }
    }

    pub(crate) fn start<F, Fut>(store: Store, name: &'static str, rows_max: usize, f: F) -> Self
    where
        F: FnMut(Tx, Rows<R>) -> Fut + Send + 'static,
        Fut: Future<Output = BatchAnswers<A, E>> + Send + 'static,
    {
        let (queue, calls) = mpsc::channel(BATCH_QUEUE_MAX);
        tokio::spawn(
            Writer {
                store,
                name,
                rows_max,
                f,
            }
            .drain(calls),
        );
        Self { queue }
    }
}

impl<R, A, E> Clone for Batch<R, A, E> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<R> Deref for Rows<R> {
    type Target = [R];

    fn deref(&self) -> &[R] {
        self.all.get(self.range.clone()).unwrap_or_default()
    }
}

/// The one writer of a batch door.
struct Writer<F> {
    store: Store,
    name: &'static str,
    rows_max: usize,
    f: F,
}

impl<F> Writer<F> {
    /// Takes what waits, up to `rows_max` rows (a larger call goes alone), writes it, answers; until nobody is left.
    async fn drain<R, A, E, Fut>(mut self, mut calls: mpsc::Receiver<Call<R, A, E>>)
    where
        E: From<StoreError>,
        F: FnMut(Tx, Rows<R>) -> Fut,
        Fut: Future<Output = BatchAnswers<A, E>>,
    {
        let mut held_over: Option<Call<R, A, E>> = None;
        loop {
            let first = match held_over.take() {
                Some(call) => call,
                None => match calls.recv().await {
                    Some(call) => call,
                    None => return,
                },
            };
            let mut rows = first.rows;
            let mut waiting = vec![(rows.len(), first.answer)];
            while let Ok(call) = calls.try_recv() {
                if rows.len() + call.rows.len() > self.rows_max {
                    held_over = Some(call);
                    break;
                }
                waiting.push((call.rows.len(), call.answer));
                rows.extend(call.rows);
            }
            self.write(Arc::new(rows), waiting).await;
        }
    }

    /// Writes the rows together. Were they refused for what they hold, each call's rows are written alone, so that
    /// one caller's row cannot refuse another's.
    async fn write<R, A, E, Fut>(&mut self, all: Arc<Vec<R>>, waiting: Vec<(usize, Answer<A, E>)>)
    where
        E: From<StoreError>,
        F: FnMut(Tx, Rows<R>) -> Fut,
        Fut: Future<Output = BatchAnswers<A, E>>,
    {
        let together = self
            .write_once(Rows {
                range: 0..all.len(),
                all: all.clone(),
            })
            .await;
        let alone = waiting.len() > 1
            && together
                .as_ref()
                .is_err_and(|error| !error.is_of_the_whole_store());
        let mut together = together.map(Vec::into_iter);
        let mut start = 0;
        for (count, caller) in waiting {
            let range = start..start + count;
            start = range.end;
            let answers = if alone {
                let own = Rows {
                    range,
                    all: all.clone(),
                };
                self.write_once(own)
                    .await
                    .unwrap_or_else(|error| all_failed(count, &error))
            } else {
                match &mut together {
                    Ok(answers) => answers.by_ref().take(count).collect(),
                    Err(error) => all_failed(count, error),
                }
            };
            // A caller that went away does not want its answers.
            let _ = caller.send(answers);
        }
    }

    async fn write_once<R, A, E, Fut>(&mut self, rows: Rows<R>) -> BatchAnswers<A, E>
    where
        F: FnMut(Tx, Rows<R>) -> Fut,
        Fut: Future<Output = BatchAnswers<A, E>>,
    {
        let count = rows.len();
        let f = &mut self.f;
        let attempt = |tx| {
            let answers = f(
                tx,
                Rows {
                    all: rows.all.clone(),
                    range: rows.range.clone(),
                },
            );
            async move { answers.await.and_then(|answers| counted(answers, count)) }
        };
        let outcome = self.store.tx(self.name, attempt).await;
        if let Err(error) = &outcome {
            tracing::warn!(batch = self.name, rows = count, %error, "a batch was not written");
        }
        outcome
    }
}

/// Refuses a batch whose closure did not answer each row, before it is committed.
fn counted<T>(answers: Vec<T>, count: usize) -> Result<Vec<T>, StoreError> {
    if answers.len() == count {
        Ok(answers)
    } else {
        Err(StoreError::failed("answers do not match rows"))
    }
}

fn all_failed<A, E: From<StoreError>>(count: usize, error: &StoreError) -> Vec<Result<A, E>> {
    (0..count).map(|_| Err(E::from(error.clone()))).collect()
}

fn gone<E: From<StoreError>>() -> E {
    StoreError::unavailable("batch writer gone").into()
}
