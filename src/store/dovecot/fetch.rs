//! One message out of a running Dovecot, by `doveadm fetch`: for what somebody left there and must not be lost.

use super::crlf;
use super::doveadm::{Doveadm, DoveadmError};
use crate::limits::{BODY_IN_MEMORY_MAX, DOVEADM_SECONDS_MAX};
use crate::op::{Guid, Uid, UserName};
use std::time::Duration;

/// A message as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// INTERNALDATE, UNIX seconds.
    pub internal_date: i64,
    /// `BODY[]`.
    pub octets: Vec<u8>,
}

/// Reads one; none where it is gone.
///
/// # Errors
/// `doveadm` fails, hangs, or says something else than is understood.
pub fn message(doveadm: &Doveadm, user: &UserName, mailbox: Guid, uid: Uid) -> Result<Option<Fetched>, DoveadmError> {
    let (guid, uid) = (mailbox.to_hex(), uid.to_string());
    let arguments = [
        "-f",
        "pager",
        "fetch",
        "-u",
        user.as_str(),
        "date.received.unixtime text",
        "mailbox-guid",
        &guid,
        "uid",
        &uid,
    ];
    let limit = Duration::from_secs(DOVEADM_SECONDS_MAX);
    let (octets, complaint, ok) = doveadm.call_for_octets(&arguments, BODY_IN_MEMORY_MAX, limit)?;
    if !ok {
        return Err(doveadm.failed(&arguments, &complaint));
    }
    if octets.is_empty() {
        return Ok(None);
    }
    let fetched =
        parse(&octets).ok_or_else(|| doveadm.failed(&arguments, "it printed something else than a message"))?;
    Ok(Some(fetched))
}

/// `date.received.unixtime: SECONDS`, `text:` and the message to the end: form feeds stand between messages only.
fn parse(output: &[u8]) -> Option<Fetched> {
    let (first, rest) = output.split_at_checked(output.iter().position(|octet| *octet == b'\n')?)?;
    let date = std::str::from_utf8(first)
        .ok()?
        .strip_prefix("date.received.unixtime: ")?;
    let text = rest.strip_prefix(b"\ntext:\n")?;
    Some(Fetched {
        internal_date: date.trim().parse().ok()?,
        octets: crlf::to_crlf(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_to_its_last_octet() {
        let fetched = parse(b"date.received.unixtime: 1700000000\ntext:\nSubject: x\n\n\xff\x0c\nend\n").unwrap();
        assert_eq!(fetched.internal_date, 1_700_000_000);
        assert_eq!(fetched.octets, b"Subject: x\r\n\r\n\xff\x0c\r\nend\r\n");
    }

    #[test]
    fn other_words_are_no_message() {
        for words in [
            "",
            "text:\nx\n",
            "date.received.unixtime: x\ntext:\n",
            "date.received.unixtime: 1\n",
        ] {
            assert_eq!(parse(words.as_bytes()), None, "{words:?}");
        }
    }
}
