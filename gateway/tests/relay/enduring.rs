//! Enduring: limits, windows, failing commits, and callers that go away in the middle.

use kith_service::store::{StoreError, query};

use super::place;
use crate::network::Network;

#[tokio::test]
async fn a_reader_that_goes_away_leaves_nothing_open() {
    let network = Network::start(place().await).await;
    for patience in 0..200 {
        let store = network.gateway.store.clone();
        let reading = tokio::spawn(async move {
            let read = store.read("test", |mut tx| async move {
                tx.all(query("SELECT name FROM counter")).await.map(drop)
            });
            let read: Result<(), StoreError> = read.await;
            read
        });
        // Some go away before the transaction begins, some while it begins, some within.
        for _ in 0..patience % 40 {
            tokio::task::yield_now().await;
        }
        reading.abort();
        network
            .run("UPDATE counter SET value = value WHERE name = 'audit'")
            .await;
    }
}
