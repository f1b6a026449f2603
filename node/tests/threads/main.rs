//! Stories of threads between two nodes: moves, messages, withdrawals, timers, lists and openings, on both databases.
//! Envelopes are carried by hand from one node's outbox to the other's door, so that every order of events can be played.
//! PostgreSQL is the server that `KITH_TEST_POSTGRES` names; without it these tests fail, they are never skipped.

#![cfg(test)]
#![expect(clippy::duplicate_mod, reason = "the same stories run on both databases")]

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod post;

#[cfg(test)]
#[path = "."]
mod sqlite {
    //! The stories on SQLite.
    pub(crate) use crate::fixture::Fresh;

    pub(crate) async fn provider() -> Fresh {
        Fresh::sqlite()
    }

    mod awaiting;
    mod moving;
    mod reporting;
    mod talking;
    mod timing;
    mod viewing;
    mod withdrawing;
}

#[cfg(test)]
#[path = "."]
mod postgres {
    //! The stories on PostgreSQL, each node in a database of its own.
    pub(crate) use crate::fixture::Fresh;

    pub(crate) async fn provider() -> Fresh {
        Fresh::postgres().await
    }

    mod awaiting;
    mod moving;
    mod reporting;
    mod talking;
    mod timing;
    mod viewing;
    mod withdrawing;
}
