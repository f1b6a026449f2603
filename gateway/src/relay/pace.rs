//! The pace of one stream: how many frames the gateway reads in a second. Called by the reader before each frame.
//! Never drops a frame: a node that is too fast finds its line full and waits.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::FRAMES_PER_SECOND;

/// Slows a stream to [`FRAMES_PER_SECOND`] by reading no further until the second is over.
#[derive(Debug, Default)]
pub(super) struct Pace {
    second: Option<Instant>,
    frames: u32,
}

impl Pace {
    /// Waits until one more frame may be read.
    pub(super) async fn keep(&mut self) {
        let now = Instant::now();
        let second = *self.second.get_or_insert(now);
        let next = second + Duration::from_secs(1);
        if now >= next {
            (self.second, self.frames) = (Some(now), 0);
        } else if self.frames >= FRAMES_PER_SECOND {
            tokio::time::sleep_until(next).await;
            (self.second, self.frames) = (Some(next), 0);
        }
        self.frames += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fast_node_waits_for_the_next_second_and_a_slow_one_never() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for _ in 0..FRAMES_PER_SECOND {
            pace.keep().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        pace.keep().await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        for _ in 1..FRAMES_PER_SECOND {
            pace.keep().await;
        }
        assert_eq!(
            start.elapsed(),
            Duration::from_secs(1),
            "a whole second's worth again"
        );
        tokio::time::advance(Duration::from_secs(5)).await;
        pace.keep().await;
        assert_eq!(start.elapsed(), Duration::from_secs(6));
    }
}
