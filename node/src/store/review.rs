//! Rows of `statement_review`. Called by grants alone.
//! Never holds a text, only its hash.

use kith_service::store::{Row, StoreError, Tx, bytes, column, query};

const TABLE: &str = "statement_review";
const FIND: &str = "SELECT statement_id, language, text_hash, reviewer, reviewed_at_ms FROM statement_review \
     WHERE statement_id = $1 AND language = $2";
const PUT: &str = "INSERT INTO statement_review (statement_id, language, text_hash, reviewer, reviewed_at_ms) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (statement_id, language) DO UPDATE SET text_hash = excluded.text_hash, \
     reviewer = excluded.reviewer, reviewed_at_ms = excluded.reviewed_at_ms";

/// One review of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The statement.
    pub statement_id: String,
    /// Its language.
    pub language: String,
    /// SHA-256 of the text that was read.
    pub text_hash: [u8; 32],
    /// Who read it: name and office.
    pub reviewer: String,
    /// When, ms UTC.
    pub reviewed_at_ms: i64,
}

/// Finds the review of a text.
pub async fn find(tx: &mut Tx, statement_id: &str, language: &str) -> Result<Option<Review>, StoreError> {
    let asked = query(FIND)
        .bind(statement_id.to_owned())
        .bind(language.to_owned());
    tx.one(asked).await?.as_ref().map(read).transpose()
}

/// Writes a review, in place of an earlier one of the same text.
pub async fn put(tx: &mut Tx, review: &Review) -> Result<(), StoreError> {
    let put = query(PUT)
        .bind(review.statement_id.clone())
        .bind(review.language.clone())
        .bind(review.text_hash.to_vec())
        .bind(review.reviewer.clone())
        .bind(review.reviewed_at_ms);
    tx.run(put).await.map(drop)
}

fn read(row: &Row) -> Result<Review, StoreError> {
    Ok(Review {
        statement_id: column(row, TABLE, "statement_id")?,
        language: column(row, TABLE, "language")?,
        text_hash: bytes(row, TABLE, "text_hash")?,
        reviewer: column(row, TABLE, "reviewer")?,
        reviewed_at_ms: column(row, TABLE, "reviewed_at_ms")?,
    })
}
