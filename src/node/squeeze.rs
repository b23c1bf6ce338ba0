//! Whether messages are compressed: far away bytes are dear, nearby processors are
//! (`docs/adr/0010-each-message-compressed-by-itself.md`).

use crate::codec::wire::{Message, Press, WireError};
use crate::config::Compress;
use std::time::Duration;

/// A peer whose packets take longer there and back is not in the same house.
const NEAR: Duration = Duration::from_millis(5);

/// How to say things on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// As configured.
    pub(super) compress: Compress,
    /// Time that the connection's first packet took there and back, where it is known.
    pub(super) round_trip: Option<Duration>,
}

impl Manner {
    /// Of a side that says little.
    pub(super) const PLAIN: Self = Self {
        compress: Compress::Off,
        round_trip: None,
    };

    fn compresses(self) -> bool {
        match self.compress {
            Compress::On => true,
            Compress::Auto => self.round_trip.is_some_and(|time| time >= NEAR),
            Compress::Off => false,
        }
    }
}

/// Encodes what is said, compressed or not.
#[derive(Debug)]
pub(super) struct Squeeze(Option<Press>);

impl Squeeze {
    /// For one connection.
    pub(super) fn new(manner: Manner) -> Self {
        Self(manner.compresses().then(Press::default))
    }

    /// The message as it goes on the wire.
    pub(super) fn encode(&mut self, message: &Message) -> Result<Vec<u8>, WireError> {
        match &mut self.0 {
            Some(press) => press.encode(message),
            None => message.encode(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_nearby_costs_no_processor_time_and_one_far_away_few_bytes() {
        let manner = |compress, ms: Option<u64>| Manner {
            compress,
            round_trip: ms.map(Duration::from_millis),
        };
        assert!(manner(Compress::Auto, Some(20)).compresses());
        for near in [Some(0), Some(1), None] {
            assert!(!manner(Compress::Auto, near).compresses());
            assert!(manner(Compress::On, near).compresses());
        }
        assert!(!manner(Compress::Off, Some(200)).compresses());
    }
}
