//! Why a session ended, and what can be done about it.

use crate::codec::wire::WireError;
use crate::op::{Epoch, Lsn};

/// What the driver does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Connect again after a pause.
    Retry,
    /// The peer has seen a higher epoch: this node is no primary any more.
    Fence,
    /// The two histories differ: nothing flows until an operator rebuilds the stream.
    Diverged,
    /// What came can't be taken, and asking again would not help.
    Halt,
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Nothing was heard for [`crate::limits::DEAD_AFTER_MS`].
    #[error("the peer is silent")]
    Silent,
    /// The peer said something that has no place here.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
    /// The peer's bytes are no message, or ours would be none.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer refused the session.
    #[error("the peer refused: {0}")]
    Refused(String),
    /// The peer fell behind what our journal still holds; the next connection starts with a base.
    #[error("frames from LSN {0} on were trimmed before the peer had them")]
    FellBehind(Lsn),
    /// One of both writes in an epoch that is over.
    #[error("epoch {ours} here, epoch {theirs} there")]
    Epoch {
        /// Highest epoch of this node.
        ours: Epoch,
        /// Highest epoch of the peer.
        theirs: Epoch,
    },
    /// The two histories differ.
    #[error("diverged: {0}")]
    Diverged(String),
    /// A frame can't be taken, for the second time, or it is of an unknown format.
    #[error("frame {lsn}: {why}")]
    Frame {
        /// The LSN that was expected.
        lsn: Lsn,
        /// What is wrong with it.
        why: String,
    },
}

impl SessionError {
    /// What can be done about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Silent | Self::Protocol(_) | Self::Wire(_) | Self::Refused(_) | Self::FellBehind(_) => Class::Retry,
            Self::Epoch { ours, theirs } if theirs > ours => Class::Fence,
            // The peer is the one to be fenced; it was told, and may come back in a higher epoch.
            Self::Epoch { .. } => Class::Retry,
            Self::Diverged(_) => Class::Diverged,
            Self::Frame { .. } => Class::Halt,
        }
    }

    /// What the operator can do, where something is to be done.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self.class() {
            Class::Retry => None,
            Class::Fence => Some("the node with the lower epoch is fenced; see `shadowctl status` and `rejoin`"),
            Class::Diverged => Some(
                "the copy is kept as it is. Where this primary has the right mail, `shadowctl repair --stream` on it begins a \
                 new stream that every standby joins",
            ),
            Class::Halt => Some("`shadowctl journal ls` on both nodes shows the frame; upgrade the older node first"),
        }
    }
}
