//! Ends a process in order: one wish to stop, seen by every task, and a limited wait for them all.
//! `main` makes one [`Shutdown`], spawns its long tasks through it and ends with [`Shutdown::finish`].
//! It must never kill a task within its limit, nor wait for one beyond it.

use kith_proto::problem::Problem;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks were still at work when the limit had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tasks} tasks had not finished in time")]
pub struct Unfinished {
    /// How many.
    pub tasks: usize,
}

impl Unfinished {
    /// The problem that a caller is told: whatever the tasks were at has no known outcome.
    pub const fn problem(&self) -> Problem {
        Problem::DeadlineExceeded
    }
}

/// The wish to stop, and the tasks that heed it. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    wish: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Nothing is to stop yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything to stop; asking again changes nothing.
    pub fn request(&self) {
        self.wish.cancel();
    }

    /// Whether it is time to stop.
    pub fn requested(&self) -> bool {
        self.wish.is_cancelled()
    }

    /// Waits until it is time to stop; owned, so that it can be given to `serve_with_incoming_shutdown`.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        self.wish.clone().cancelled_owned()
    }

    /// Spawns a task that [`Shutdown::finish`] waits for; it must end soon after [`Shutdown::wait`] does.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tasks.spawn(task)
    }

    /// Makes SIGINT and SIGTERM ask for the stop, from now on; fails when the system refuses the handlers.
    pub fn on_signal(&self) -> io::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let wish = self.wish.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("asked to stop");
            wish.cancel();
        });
        Ok(())
    }

    /// Asks for the stop and waits, at most `limit`, until every spawned task has ended.
    pub async fn finish(&self, limit: Duration) -> Result<(), Unfinished> {
        self.request();
        self.tasks.close();
        let waited = tokio::time::timeout(limit, self.tasks.wait()).await;
        waited.map_err(|_| Unfinished {
            tasks: self.tasks.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_see_the_wish_and_are_waited_for() {
        let shutdown = Shutdown::new();
        let wish = shutdown.wait();
        let task = shutdown.spawn(async move {
            wish.await;
            7
        });
        assert!(!shutdown.requested());
        shutdown.finish(Duration::from_secs(30)).await.unwrap();
        assert!(shutdown.requested());
        assert_eq!(task.await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_counted_and_left() {
        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending::<()>());
        let unfinished = shutdown.finish(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(unfinished, Unfinished { tasks: 1 });
        assert_eq!(unfinished.problem(), Problem::DeadlineExceeded);
    }

    #[tokio::test]
    async fn a_signal_asks_for_the_stop() {
        let shutdown = Shutdown::new();
        shutdown.on_signal().unwrap();
        let me = std::process::id().to_string();
        let sent = tokio::process::Command::new("kill").args(["-TERM", &me]).status();
        assert!(sent.await.unwrap().success());
        shutdown.wait().await;
        assert!(shutdown.requested());
    }
}
