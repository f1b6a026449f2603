//! Stories of the core on real stores: each is included twice, beside its own `provider`.
//! PostgreSQL is the server that `KITH_TEST_POSTGRES` names; without it these tests fail, they are never skipped.

#![expect(clippy::duplicate_mod, reason = "the same stories run on both databases")]

pub(crate) mod fixture;
mod large;
pub(crate) mod looked;

#[path = "tests"]
mod sqlite {
    //! The stories on SQLite, in the data folder.
    use super::fixture::Place;

    async fn provider() -> Place {
        Place::sqlite()
    }

    #[path = "consenting.rs"]
    mod consenting;
    #[path = "erasing.rs"]
    mod erasing;
    #[path = "recording.rs"]
    mod recording;
    #[path = "recovering.rs"]
    mod recovering;
    #[path = "sending.rs"]
    mod sending;
    #[path = "trails.rs"]
    mod trails;
    #[path = "whole.rs"]
    mod whole;
}

#[path = "tests"]
mod postgres {
    //! The stories on PostgreSQL, each test in a database of its own.
    use super::fixture::Place;

    async fn provider() -> Place {
        Place::postgres().await
    }

    #[path = "consenting.rs"]
    mod consenting;
    #[path = "erasing.rs"]
    mod erasing;
    #[path = "recording.rs"]
    mod recording;
    #[path = "recovering.rs"]
    mod recovering;
    #[path = "sending.rs"]
    mod sending;
    #[path = "trails.rs"]
    mod trails;
    #[path = "whole.rs"]
    mod whole;
}
