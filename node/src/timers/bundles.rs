//! The daily recovery bundle, as a worker of its own: reading a whole database must keep no deadline waiting.
//! Spawned by the server. Never makes two at once, never keeps the node from stopping: a bundle that was begun is begun again.

use std::sync::Arc;
use std::time::Duration;

use kith_service::shutdown::Shutdown;

use crate::node::Node;
use crate::recovery::keep;

/// How often it is looked whether one is due: a new sheet or key is in one within seconds.
const LOOK: Duration = Duration::from_secs(5);

/// Makes bundles as they fall due, until the wish to stop.
#[expect(clippy::disallowed_methods, reason = "the worker that makes bundles")]
pub async fn run(node: Arc<Node>, shutdown: Shutdown) {
    let work = async {
        let mut is_told = false;
        loop {
            match keep::when_due(&node, node.now_ms()).await {
                Ok(made) => {
                    if made {
                        tracing::info!("a recovery bundle was made");
                        is_told = false;
                    }
                }
                // Told once, not at every look.
                Err(error) if !is_told => {
                    tracing::warn!(%error, "no recovery bundle could be made");
                    is_told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        () = work => {}
        () = shutdown.wait() => {}
    }
}
