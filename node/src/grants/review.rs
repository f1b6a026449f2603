//! The review of consent texts: a named person of this organisation has read a text and stands for it.
//! Called by the command line, which makes reviews, by the edge, which shows them, and by recording, which needs one.
//! Never lets a text be used that nobody here has read, nor the demo's stand-in reviewer outside a demo.

use data_encoding::HEXLOWER;
use kith_proto::id::NetworkName;
use kith_proto::problem::Problem;
use kith_proto::text::is_of_a_name;
use kith_proto::v1;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::store::{Store, StoreError, Tx};

use super::statement;
use crate::audit::{self, Code, Event};
use crate::store;
use crate::store::counter::Counter;
use crate::store::review::Review;

/// Who stands for the texts in a network of synthetic people. Counts only under the domain kept for examples (RFC 2606), where
/// no real network can be.
pub const DEMO_REVIEWER: &str = "synthetic demo network";
const DEMO_DOMAIN: &str = ".example";
/// Longest name of a reviewer, in bytes: name and office.
pub const REVIEWER_BYTES_MAX: usize = 100;
/// Fewest digits of the text's hash that a reviewer repeats.
const HASH_DIGITS_MIN: usize = 8;

/// A review, as its reviewer gives it.
#[derive(Clone, Debug)]
pub struct NewReview {
    /// The language of the text; the statement is always the newest.
    pub language: String,
    /// The first digits of the text's hash, as it was shown with the text, so that the text that was read is the one meant.
    pub hash_begins: String,
    /// Name and office of the person who read it.
    pub reviewer: String,
}

impl NewReview {
    /// The review of a text that its reviewer has in front of them.
    pub fn of(text: &v1::Statement, reviewer: &str) -> Self {
        Self {
            language: text.language.clone(),
            hash_begins: HEXLOWER.encode(&text.text_hash),
            reviewer: reviewer.to_owned(),
        }
    }
}

/// Why a review was not kept, by what the reviewer can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// This program has no text in that language.
    #[error("there is no text in this language")]
    NoText,
    /// The digits are not the text's: read the text that is shown now.
    #[error("these are not the first 8 digits, or more, of the hash that is shown with the text")]
    OtherText,
    /// A reviewer has a name of at most [`REVIEWER_BYTES_MAX`] bytes.
    #[error("a reviewer is named, with at most 100 letters")]
    Reviewer,
    /// The demo's stand-in counts only in a demo.
    #[error("this reviewer stands for demo networks only: name the person who read the text")]
    DemoOnly,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReviewError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoText => Problem::NotFound,
            Self::OtherText | Self::Reviewer | Self::DemoOnly => Problem::Invalid,
            Self::Store(error) => error.problem(),
        }
    }
}

/// Keeps a review, in place of an earlier one of the same text, and gives it back. Takes the store alone, as the command line
/// makes one while no node runs.
pub async fn review(
    store: &Store,
    (clock, rng): (&Clock, &Rng),
    network: &NetworkName,
    new: NewReview,
) -> Result<Review, ReviewError> {
    let text =
        statement::text("", &new.language).filter(|text| text.language == statement::primary(&new.language));
    let text = text.ok_or(ReviewError::NoText)?;
    let digits = new.hash_begins.trim().to_lowercase();
    let hash = HEXLOWER.encode(&text.text_hash);
    if digits.len() < HASH_DIGITS_MIN || !hash.starts_with(&digits) {
        return Err(ReviewError::OtherText);
    }
    let reviewer = new.reviewer.trim().to_owned();
    if reviewer.is_empty() || reviewer.len() > REVIEWER_BYTES_MAX || !reviewer.chars().all(is_of_a_name) {
        return Err(ReviewError::Reviewer);
    }
    let review = Review {
        statement_id: text.statement_id,
        language: text.language,
        text_hash: text.text_hash.try_into().map_err(|_| ReviewError::NoText)?,
        reviewer,
        reviewed_at_ms: clock.now_ms(),
    };
    if !counts(&review, network) {
        return Err(ReviewError::DemoOnly);
    }
    let event = Event::new(Code::StatementReviewed, review.reviewed_at_ms);
    let event = event.hash("text", &review.text_hash);
    let (row, event) = (&review, &event);
    let put = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        store::review::put(&mut tx, row).await?;
        audit::insert(&mut tx, &mut counter, rng, std::slice::from_ref(event)).await?;
        counter.save(&mut tx).await
    };
    store.tx::<_, StoreError, _, _>("review statement", put).await?;
    Ok(review)
}

/// A text of this program with its review, where there is one that counts; `None` for an unknown statement.
pub async fn reviewed_statement(
    store: &Store,
    network: &NetworkName,
    statement_id: &str,
    language: &str,
) -> Result<Option<v1::Statement>, StoreError> {
    let Some(mut text) = statement::text(statement_id, language) else {
        return Ok(None);
    };
    let (id, tag) = (&text.statement_id, &text.language);
    let find = |mut tx: Tx| async move { store::review::find(&mut tx, id, tag).await };
    let found = store.read::<_, StoreError, _, _>("review", find).await?;
    if let Some(review) =
        found.filter(|review| review.text_hash.as_slice() == text.text_hash && counts(review, network))
    {
        text.reviewed_by = review.reviewer;
        text.reviewed_at_ms = review.reviewed_at_ms;
    }
    Ok(Some(text))
}

/// Whether somebody here stands for the text that a capture names.
pub(super) async fn is_reviewed(
    tx: &mut Tx,
    network: &NetworkName,
    capture: &v1::Capture,
) -> Result<bool, StoreError> {
    let found = store::review::find(tx, &capture.statement_id, &capture.statement_language).await?;
    Ok(found
        .is_some_and(|review| review.text_hash.as_slice() == capture.text_hash && counts(&review, network)))
}

fn counts(review: &Review, network: &NetworkName) -> bool {
    review.reviewer != DEMO_REVIEWER || network.as_str().ends_with(DEMO_DOMAIN)
}
