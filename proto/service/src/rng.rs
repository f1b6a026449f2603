//! Randomness as an argument: the system's own generator, or a seeded one for simulations.
//! Called by every room that makes an id, a code or a key seed.
//! Never hands out bytes it could not get: a failing system generator is an error, not zeros.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kith_proto::problem::Problem;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A source of random bytes. Cheap to clone; the clones of a seeded one draw from one stream.
#[derive(Clone)]
pub struct Rng(Source);

#[derive(Clone)]
enum Source {
    System(Arc<Mutex<Drawn>>),
    Seeded(Arc<Mutex<ChaCha20Rng>>),
}

/// Bytes drawn from the system at once: a referral needs a dozen small pieces, and each draw costs the generator as much as
/// a thousand bytes do.
const DRAWN_AT_ONCE: usize = 1024;
/// The longest piece that is small: ids, nonces, salts. Keys and what seals are longer and come straight from the system, so that
/// a copy of this process's memory holds none that is still to be used.
const SMALL_MAX: usize = 31;

/// Bytes that nobody has had yet, at the end; what was given out is wiped.
struct Drawn {
    bytes: [u8; DRAWN_AT_ONCE],
    given: usize,
}

impl Drawn {
    fn give(&mut self, out: &mut [u8]) -> Result<(), RandomFailed> {
        if out.len() > SMALL_MAX {
            return aws_lc_rs::rand::fill(out).map_err(|_| RandomFailed);
        }
        if self.given + out.len() > DRAWN_AT_ONCE {
            self.given = DRAWN_AT_ONCE;
            aws_lc_rs::rand::fill(&mut self.bytes).map_err(|_| RandomFailed)?;
            self.given = 0;
        }
        let end = self.given + out.len();
        let fresh = self.bytes.get_mut(self.given..end).ok_or(RandomFailed)?;
        out.copy_from_slice(fresh);
        fresh.fill(0);
        self.given = end;
        Ok(())
    }
}

/// The system's generator gave no bytes; the call may be repeated later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator gave no bytes")]
pub struct RandomFailed;

impl Rng {
    /// The generator of the cryptography library, seeded by the operating system.
    pub fn system() -> Self {
        Self(Source::System(Arc::new(Mutex::new(Drawn {
            bytes: [0; DRAWN_AT_ONCE],
            given: DRAWN_AT_ONCE,
        }))))
    }

    /// ChaCha20 from `seed`: the same seed always gives the same bytes. For simulations and tests only.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(ChaCha20Rng::seed_from_u64(
            seed,
        )))))
    }

    /// Draws `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], RandomFailed> {
        let mut out = [0; N];
        match &self.0 {
            Source::System(drawn) => drawn
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .give(&mut out)?,
            Source::Seeded(rng) => rng
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .fill_bytes(&mut out),
        }
        Ok(out)
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System(_) => "Rng(system)",
            Source::Seeded(_) => "Rng(seeded)",
        })
    }
}

impl RandomFailed {
    /// The problem shown to a caller: try again later.
    pub fn problem(&self) -> Problem {
        Problem::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let (one, same, other) = (Rng::seeded(7), Rng::seeded(7), Rng::seeded(8));
        let first: [u8; 32] = one.bytes().unwrap();
        assert_eq!(same.bytes(), Ok(first));
        assert_ne!(other.bytes(), Ok(first));
        assert_ne!(one.bytes(), Ok(first), "a stream goes on");
    }

    #[test]
    fn clones_of_a_seeded_generator_draw_from_one_stream() {
        let (one, two) = (Rng::seeded(7), Rng::seeded(7));
        let copy = one.clone();
        let draws: [[u8; 8]; 2] = [one.bytes().unwrap(), copy.bytes().unwrap()];
        assert_eq!(draws, [two.bytes().unwrap(), two.bytes().unwrap()]);
    }

    #[test]
    fn the_system_generator_does_not_repeat_itself() {
        let rng = Rng::system();
        let draws: std::collections::BTreeSet<[u8; 16]> = (0..1000).map(|_| rng.bytes().unwrap()).collect();
        assert_eq!(draws.len(), 1000);
        let (odd, long): ([u8; 1000], [u8; 5000]) = (rng.bytes().unwrap(), rng.bytes().unwrap());
        for drawn in [&odd[..], &long[..]] {
            let rest = drawn.rchunks(500).next().unwrap();
            assert!(rest.iter().any(|byte| *byte != 0));
        }
    }

    #[test]
    fn what_was_given_out_is_wiped() {
        let Source::System(drawn) = Rng::system().0 else {
            panic!()
        };
        let mut drawn = drawn.lock().unwrap();
        let mut out = [0; SMALL_MAX];
        for _ in 0..DRAWN_AT_ONCE / SMALL_MAX {
            drawn.give(&mut out).unwrap();
            assert_eq!(drawn.bytes[..drawn.given], [0; DRAWN_AT_ONCE][..drawn.given]);
        }
        drawn.give(&mut out).unwrap();
        assert_eq!(drawn.given, SMALL_MAX, "drawn anew");
        drawn.give(&mut [0; 32]).unwrap();
        assert_eq!(drawn.given, SMALL_MAX, "a key is no small piece");
    }
}
