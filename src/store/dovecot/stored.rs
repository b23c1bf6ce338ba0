//! A message as its files tell it, whatever the format.

use super::crlf::{into_crlf, to_crlf};
use crate::limits::SMALL_BODY_BYTES_MAX;
use crate::op::{MessageGuid, Missing};
use std::borrow::Cow;
use std::io;
use std::path::Path;

/// How much of a message is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// GUID, dates, size.
    Facts,
    /// The body too, where it costs little.
    SmallBody,
    /// The body.
    Body,
}

impl Want {
    /// True where a file of `bytes` is read as a whole.
    pub(crate) fn reads(self, bytes: u64) -> bool {
        match self {
            Self::Facts => false,
            Self::SmallBody => bytes <= SMALL_BODY_BYTES_MAX,
            Self::Body => true,
        }
    }
}

/// What was found of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) guid: MessageGuid,
    /// INTERNALDATE, UNIX seconds.
    pub(crate) received: i64,
    /// SAVEDATE, UNIX seconds.
    pub(crate) saved: Option<i64>,
    /// RFC822.SIZE.
    pub(crate) size: Option<u64>,
    /// As `BODY[]` answers it, where it was read.
    pub(crate) body: Option<Vec<u8>>,
}

/// How looking for a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Found(Stored),
    /// Not there any more; its GUID where that is known all the same.
    Gone(MessageGuid),
    Damaged(Missing),
}

/// The files contradict each other.
pub(crate) fn contradiction(path: &Path, offset: u64, why: String) -> Look {
    Look::Damaged(Missing {
        gone: false,
        file: path.display().to_string(),
        offset,
        why,
    })
}

/// The file can't be read.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Look {
    contradiction(path, 0, error.to_string())
}

/// Puts in the body that the plain octets make. `offset` is where it is stored in the file. What is wrong with it is said
/// when the body is asked for; until then the facts stay true.
pub(crate) fn with_body(
    path: &Path,
    offset: u64,
    plain: Result<Cow<'_, [u8]>, String>,
    mut stored: Stored,
    want: Want,
) -> Look {
    match (plain.and_then(|plain| sized(plain, stored.size)), want) {
        (Ok(body), _) => stored.body = Some(body),
        (Err(why), Want::Body) => return contradiction(path, offset, why),
        (Err(_), _) => {}
    }
    Look::Found(stored)
}

/// The body, where it has the size that the store says.
fn sized(plain: Cow<'_, [u8]>, size: Option<u64>) -> Result<Vec<u8>, String> {
    let body = match plain {
        Cow::Borrowed(octets) => to_crlf(octets),
        Cow::Owned(octets) => into_crlf(octets),
    };
    match size {
        Some(said) if usize::try_from(said) != Ok(body.len()) => {
            Err(format!("a body of {} bytes where the store says {said}", body.len()))
        }
        _ => Ok(body),
    }
}

/// A file time, where there is one.
pub(crate) fn seconds(time: i64) -> Option<i64> {
    (time > 0).then_some(time)
}
