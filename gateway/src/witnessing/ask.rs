//! The gateway's own questions to witnesses elsewhere: one worker a witness asks for a cosignature under whatever is on offer.
//! `serve` spawns [`run`] for each URL that it was given. Never adds a line that is not verified, which [`super::add`] sees to.

use super::{WitnessingError, add};
use crate::gateway::Gateway;
use crate::limits::WITNESS_RETRY_MS;
use crate::log::ReadError;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::{Note, NoteError};
use kith_proto::log::witness::AddCheckpoint;
use kith_proto::problem::Problem;
use kith_service::log::LogError;
use kith_service::log::ask::{Answered, AskError, Asker, WitnessUrl};
use kith_service::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Questions about one checkpoint: the first, one with the size that the witness said, and one if that moved meanwhile.
const QUESTIONS_MAX: usize = 3;

/// Why a witness has not cosigned, by what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum AskingError {
    /// The witness was not reached, or refused.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The witness has cosigned a larger tree of this log: was the gateway restored from a backup? Tell a person.
    #[error("the witness has cosigned a larger tree, of size {0}; was this gateway restored from a backup?")]
    Ahead(u64),
    /// The witness says another size each time.
    #[error("the witness says another size each time")]
    Restless,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The root's word for this epoch cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The request cannot be made.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// What it answered is no cosignature of the policy's witnesses.
    #[error(transparent)]
    Add(#[from] WitnessingError),
}

impl AskingError {
    /// The problem code that an edge answers.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Ask(error) => error.problem(),
            Self::Ahead(_) => Problem::Conflict,
            Self::Restless => Problem::Unavailable,
            Self::Log(error) => error.problem(),
            Self::Read(error) => error.problem(),
            Self::Note(error) => error.problem(),
            Self::Add(error) => error.problem(),
        }
    }
}

/// What is remembered of a witness, while the process lives.
#[derive(Debug, Default)]
struct Remembered {
    epoch: u64,
    /// The size that it last cosigned, as far as is known.
    size: u64,
    /// The text that it cosigned.
    text: String,
}

/// Asks a witness for its cosignature under every checkpoint on offer, until the wish to stop. A failure is logged when it begins.
pub async fn run(gateway: Arc<Gateway>, asker: Asker, url: WitnessUrl, shutdown: Shutdown) {
    let mut stands = gateway.witnessing.follow();
    let mut remembered = Remembered::default();
    let wish = shutdown.wait();
    tokio::pin!(wish);
    let mut failed = None;
    loop {
        stands.borrow_and_update();
        let asked = tokio::select! {
            biased;
            () = &mut wish => return,
            asked = ask(&gateway, &asker, &url, &mut remembered) => asked,
        };
        let error = asked.err().map(|error| error.to_string());
        if let Some(error) = error.as_ref().filter(|_| error != failed) {
            tracing::warn!(witness = %url, error, "a witness has not cosigned; it is asked again");
        }
        failed = error;
        let again = Instant::now() + Duration::from_millis(WITNESS_RETRY_MS);
        tokio::select! {
            biased;
            () = &mut wish => return,
            () = tokio::time::sleep_until(again), if failed.is_some() => {}
            changed = stands.changed(), if failed.is_none() => if changed.is_err() { return },
        }
    }
}

/// Asks about what is on offer, unless the witness has cosigned it.
async fn ask(
    gateway: &Gateway,
    asker: &Asker,
    url: &WitnessUrl,
    remembered: &mut Remembered,
) -> Result<(), AskingError> {
    let epoch = gateway.log.newest().await?;
    let Some(offered) = epoch.offered else {
        return Ok(());
    };
    if remembered.epoch != epoch.number {
        // Before the first checkpoint of a later epoch: the witness takes up its origin by the root's word.
        if let Some(word) = crate::log::word(gateway, Some(epoch.number)).await? {
            let took = asker.add_epoch(url, word).await?;
            tracing::info!(witness = %url, epoch = epoch.number, took, "a witness was shown the root's word for this epoch");
        }
        *remembered = Remembered {
            epoch: epoch.number,
            ..Remembered::default()
        };
    }
    if remembered.text == offered.text() {
        return Ok(());
    }
    let size = offered.text().parse::<Checkpoint>()?.head().size;
    for _ in 0..QUESTIONS_MAX {
        let old = remembered.size;
        if old > size {
            // Another replica may have offered and asked meanwhile; what is on offer by then is asked about next.
            let size = gateway.log.newest().await?.frontier.size();
            return if old > size {
                Err(AskingError::Ahead(old))
            } else {
                Ok(())
            };
        }
        let proof = gateway.log.prove_consistency(epoch.number, old, size).await?;
        let request = AddCheckpoint::new(old, proof, offered.clone())?;
        match asker.add_checkpoint(url, &request).await? {
            Answered::HeldSize(held) => remembered.size = held,
            Answered::Cosigned(lines) => {
                remembered.size = size;
                let note = Note::new(offered.text().to_owned(), lines)?;
                match add(gateway, &note).await {
                    // Another checkpoint is on offer by now, and asked about next.
                    Ok(_) | Err(WitnessingError::NotOnOffer) => {}
                    Err(error) => return Err(error.into()),
                }
                remembered.text = offered.text().to_owned();
                return Ok(());
            }
        }
    }
    Err(AskingError::Restless)
}
