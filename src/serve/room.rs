//! Memory for messages that clients are sending: bounded in all, taken before the first octet.

use crate::limits::INTAKE_BYTES_MAX;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Octets that one permit stands for.
const PIECE: u64 = 1024;
/// How long a message waits for room. Others are written within milliseconds, unless they come over slow links.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room for [`INTAKE_BYTES_MAX`] octets, of all front ends that share it.
#[derive(Clone, Debug)]
pub struct Room {
    pieces: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(INTAKE_BYTES_MAX, PATIENCE)
    }
}

/// Room that was taken; given back when dropped.
#[derive(Debug)]
pub struct Taken(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

impl Room {
    fn of(octets: u64, patience: Duration) -> Self {
        let pieces = usize::try_from(octets / PIECE).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            pieces: Arc::new(Semaphore::new(pieces.min(Semaphore::MAX_PERMITS))),
            patience,
        }
    }

    /// Room for a message of so many octets; none where others have it, also after some seconds.
    pub async fn take(&self, octets: u64) -> Option<Taken> {
        let pieces = u32::try_from(octets.div_ceil(PIECE).max(1)).ok()?;
        let acquire = Arc::clone(&self.pieces).acquire_many_owned(pieces);
        let permit = tokio::time::timeout(self.patience, acquire).await.ok()?;
        permit.ok().map(Taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_that_would_not_fit_together_are_not_taken_together() {
        let room = Room::of(10 * PIECE, Duration::from_millis(20));
        let first = room.take(9 * PIECE).await;
        assert!(first.is_some() && room.take(2 * PIECE).await.is_none());
        let last = room.take(0).await;
        assert!(last.is_some() && room.take(0).await.is_none());
        drop(first);
        assert!(room.take(9 * PIECE).await.is_some());
    }
}
