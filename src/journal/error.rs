//! What can go wrong with a journal, by what can be done about it.

use crate::codec::CodecError;
use crate::op::Lsn;
use std::io;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused; nothing half-written is visible, and it may be tried again once the disk takes it.
    #[error("{deed} {file}: {source}")]
    Io {
        /// What was tried.
        deed: &'static str,
        /// File name within the journal's directory.
        file: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A flush failed, or what it left could not be undone: what is on the disk can't be known any more.
    #[error("{deed} {file}: {source}; the journal takes nothing more until the daemon is started again")]
    Flush {
        /// What was tried.
        deed: &'static str,
        /// File name within the journal's directory.
        file: String,
        /// Why it failed.
        source: io::Error,
    },
    /// An earlier flush failed.
    #[error("an earlier flush failed; the journal takes nothing more until the daemon is started again")]
    Poisoned,
    /// Bytes that had been durable are not what was written.
    #[error("{file} is damaged at byte {offset}: {why}")]
    Corrupt {
        /// File name within the journal's directory.
        file: String,
        /// Byte offset of the damaged record.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// Intact bytes that this program can't read: most likely a newer one wrote them.
    #[error("{file} at byte {offset}: {source}")]
    Unreadable {
        /// File name within the journal's directory.
        file: String,
        /// Byte offset of the record.
        offset: u64,
        /// What can't be read.
        source: CodecError,
    },
    /// A frame that does not follow what the journal holds.
    #[error("frame {lsn} does not follow: {why}")]
    DoesNotFollow {
        /// The frame's LSN.
        lsn: Lsn,
        /// What does not fit.
        why: String,
    },
    /// The frame asked for is no longer here.
    #[error("frame {wanted} was trimmed; the oldest is {oldest}")]
    Trimmed {
        /// LSN asked for.
        wanted: Lsn,
        /// Oldest LSN that can be read.
        oldest: Lsn,
    },
    /// The journal began anew while it was read.
    #[error("the journal began anew at another base")]
    Restarted,
    /// A call that breaks the journal's contract.
    #[error("{0}")]
    Refused(String),
    /// Another process has the journal open.
    #[error("{0} is in use by another process")]
    Locked(String),
}

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again later: the disk is full or busy.
    Retry,
    /// What is read or sent is not what is here: compare again, or start at a base.
    Resume,
    /// Stop, and tell the operator.
    Halt,
}

impl JournalError {
    /// What can be done about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Io { .. } => Class::Retry,
            Self::Trimmed { .. } | Self::Restarted | Self::DoesNotFollow { .. } => Class::Resume,
            Self::Flush { .. }
            | Self::Poisoned
            | Self::Corrupt { .. }
            | Self::Unreadable { .. }
            | Self::Refused(_)
            | Self::Locked(_) => Class::Halt,
        }
    }

    /// What the operator can do; empty where the error says it all.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "make room on the journal's file system, or check its permissions",
            Self::Flush { .. } | Self::Poisoned => "check the disk, then start the daemon again",
            Self::Corrupt { .. } => "check the disk; move the directory aside and start again: the copy is rebuilt",
            Self::Unreadable { .. } => "start the version that wrote it, or a newer one",
            Self::Locked(_) => "another shadowd serves this state directory",
            Self::DoesNotFollow { .. } | Self::Trimmed { .. } | Self::Restarted | Self::Refused(_) => "",
        }
    }

    pub(super) fn io(deed: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { deed, file, source }
    }

    pub(super) fn flush(deed: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Flush { deed, file, source }
    }

    pub(super) fn corrupt(file: &str, offset: u64, why: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            offset,
            why: why.into(),
        }
    }

    /// Of the contents of a record whose checksum is right.
    pub(super) fn codec(file: &str, offset: u64) -> impl FnOnce(CodecError) -> Self {
        let file = file.to_owned();
        move |source| {
            if source.is_damage() {
                Self::corrupt(&file, offset, source.to_string())
            } else {
                Self::Unreadable { file, offset, source }
            }
        }
    }
}
