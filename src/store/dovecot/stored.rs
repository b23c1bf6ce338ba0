//! A message as its files tell it, whatever the format.

use super::crlf::to_crlf;
use super::transform::Transform;
use crate::limits::SMALL_BODY_BYTES_MAX;
use crate::op::{MessageGuid, Missing};
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

/// Puts in the body, where it is asked for. `offset` is where it begins in the file.
pub(crate) fn body_of(path: &Path, offset: u64, octets: &[u8], mut stored: Stored, want: Want) -> io::Result<Look> {
    if want == Want::Facts {
        return Ok(Look::Found(stored));
    }
    match Transform::plain(octets) {
        Ok(plain) => stored.body = Some(to_crlf(plain)),
        Err(e) if want == Want::Body => return Ok(contradiction(path, offset, e.to_string())),
        Err(_) => {}
    }
    let length = stored
        .body
        .as_ref()
        .map(|body| u64::try_from(body.len()).unwrap_or(u64::MAX));
    match (length, stored.size) {
        (Some(length), Some(size)) if length != size => {
            let why = format!("a body of {length} bytes where the store says {size}");
            if want == Want::Body {
                return Ok(contradiction(path, offset, why));
            }
            // It is said when the body is asked for; the facts stay true.
            stored.body = None;
        }
        _ => {}
    }
    Ok(Look::Found(stored))
}

/// A file time, where there is one.
pub(crate) fn seconds(time: i64) -> Option<i64> {
    (time > 0).then_some(time)
}
