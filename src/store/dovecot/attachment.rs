//! Attachments that dbox keeps in files of their own (version 2.3: `mail_attachment_dir`, 2.4:
//! `mail_ext_attachment_path`), so that equal ones are stored once.
//!
//! A message's metadata names them: `X` and groups of `<first octet in the plain message> <octets there> <options>
//! <path>`, separated by spaces. Options: `-` the file's octets as they are; `B76` base64 of them in lines of 76
//! characters, joined by LF or, with `C` too, by CRLF; the last line has no end.

use crate::limits::{ATTACHMENTS_MAX, BODY_IN_MEMORY_MAX};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::path::{Component, Path};

/// A part of a message that lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its first octet in the plain message.
    pub start: u64,
    /// Its octets there.
    pub bytes: u64,
    /// How the file's octets become those; none: they are the same.
    pub base64: Option<Base64Lines>,
    /// The file, below the folder of attachments; sdbox appends `-<mailbox GUID>-<UID>`.
    pub path: String,
}

/// How base64 was cut into lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base64Lines {
    /// Characters of a full line, a multiple of four.
    pub characters: usize,
    /// Lines are joined by CRLF, not LF.
    pub crlf: bool,
}

/// The value of an `X` line. None where it can't be right: attachments overlap, or a path leads out of the folder.
#[must_use]
pub fn parse(value: &str) -> Option<Vec<Attachment>> {
    let fields: Vec<&str> = value.split(' ').take(4 * ATTACHMENTS_MAX + 1).collect();
    let (groups, rest) = fields.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut end_before = 0;
    let mut attachments = Vec::with_capacity(groups.len());
    for [start, bytes, options, path] in groups {
        let attachment = Attachment {
            start: decimal(start)?,
            bytes: decimal(bytes)?,
            base64: lines(options)?,
            path: (*path).to_owned(),
        };
        let end = attachment.start.checked_add(attachment.bytes)?;
        if attachment.start < end_before || !stays_inside(path) {
            return None;
        }
        end_before = end;
        attachments.push(attachment);
    }
    Some(attachments)
}

fn decimal(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

fn lines(options: &str) -> Option<Option<Base64Lines>> {
    let (crlf, rest) = match options.strip_prefix('C').or_else(|| options.strip_suffix('C')) {
        Some(rest) => (true, rest),
        None => (false, options),
    };
    if rest.is_empty() || rest == "-" {
        return Some(None);
    }
    let characters = usize::try_from(decimal(rest.strip_prefix('B')?)?).ok()?;
    let possible = characters > 0 && characters.is_multiple_of(4);
    possible.then_some(Some(Base64Lines { characters, crlf }))
}

fn stays_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

impl Attachment {
    /// Appends what the file's octets are in the message.
    ///
    /// # Errors
    /// Its length is not what the message's metadata says.
    fn append(&self, file: &[u8], message: &mut Vec<u8>) -> Result<(), String> {
        let before = message.len();
        match self.base64 {
            None => message.extend_from_slice(file),
            Some(lines) => lines.append(file, message),
        }
        let made = message.len().saturating_sub(before);
        if u64::try_from(made) == Ok(self.bytes) {
            return Ok(());
        }
        Err(format!(
            "the attachment {} makes {made} bytes where the message has room for {}",
            self.path, self.bytes
        ))
    }
}

impl Base64Lines {
    fn append(self, file: &[u8], message: &mut Vec<u8>) {
        let mut encoded = String::new();
        for (number, line) in file.chunks(self.characters / 4 * 3).enumerate() {
            if number > 0 {
                message.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
            }
            encoded.clear();
            BASE64_STANDARD.encode_string(line, &mut encoded);
            message.extend_from_slice(encoded.as_bytes());
        }
    }
}

/// Octets of a message that its attachments make.
#[must_use]
pub fn bytes_of(attachments: &[Attachment]) -> u64 {
    attachments
        .iter()
        .fold(0, |sum, attachment| sum.saturating_add(attachment.bytes))
}

/// The plain message: `rest` is what was left of it when the attachments were taken out; `file` reads one's file.
///
/// # Errors
/// A file can't be read, or the pieces don't fit together.
pub fn join(
    rest: &[u8],
    attachments: &[Attachment],
    mut file: impl FnMut(&Attachment) -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>, String> {
    let rest_bytes = u64::try_from(rest.len()).unwrap_or(u64::MAX);
    let whole = rest_bytes.saturating_add(bytes_of(attachments));
    if whole > BODY_IN_MEMORY_MAX {
        return Err(format!("a message of {whole} bytes with its attachments"));
    }
    let mut message = Vec::with_capacity(usize::try_from(whole).unwrap_or_default());
    let mut rest = rest;
    for attachment in attachments {
        let length = u64::try_from(message.len()).unwrap_or(u64::MAX);
        let between = usize::try_from(attachment.start.saturating_sub(length)).unwrap_or(usize::MAX);
        let (between, behind) = rest
            .split_at_checked(between)
            .ok_or_else(|| format!("the attachment {} begins behind the message's end", attachment.path))?;
        message.extend_from_slice(between);
        attachment.append(&file(attachment)?, &mut message)?;
        rest = behind;
    }
    message.extend_from_slice(rest);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(rest: &[u8], value: &str, file: &[u8]) -> Result<Vec<u8>, String> {
        join(rest, &parse(value).unwrap(), |_| Ok(file.to_vec()))
    }

    #[test]
    fn lines_come_back_as_they_were_cut() {
        // 6 octets are exactly one line of 8, 7 begin a second one; the last line has no end.
        assert_eq!(joined(b"ab\n", "1 8 B8 p", b"abcdef").unwrap(), b"aYWJjZGVmb\n");
        assert_eq!(joined(b"ab\n", "1 13 B8 p", b"abcdefg").unwrap(), b"aYWJjZGVm\nZw==b\n");
        assert_eq!(
            joined(b"ab\n", "1 14 CB8 p", b"abcdefg").unwrap(),
            b"aYWJjZGVm\r\nZw==b\n"
        );
        assert_eq!(joined(b"ab", "2 3 - p", b"x\ny").unwrap(), b"abx\ny");
    }

    #[test]
    fn several_attachments_keep_their_places() {
        assert_eq!(joined(b"123", "1 1 - p 3 1 - q", b"x").unwrap(), b"1x2x3");
        assert_eq!(joined(b"", "0 1 - p 1 1 - q", b"x").unwrap(), b"xx");
    }

    #[test]
    fn pieces_that_do_not_fit_are_an_error() {
        assert!(joined(b"1", "1 2 - p", b"x").unwrap_err().contains("room for 2"));
        assert!(joined(b"1", "2 1 - p", b"x").unwrap_err().contains("behind"));
        assert!(joined(b"1", &format!("1 {} - p", 1_u64 << 40), b"x").is_err());
    }

    #[test]
    fn a_path_never_leads_out_of_the_folder() {
        for path in ["../x", "/etc/passwd", "a/../../b", ""] {
            assert_eq!(parse(&format!("0 1 - {path}")), None, "{path}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for value in [
            "1",
            "1 2 -",
            "1 2 B p",
            "1 2 B7 p",
            "1 2 B0 p",
            "1 2 Q p",
            "+1 2 - p",
            "2 2 - p 3 1 - q",
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
        let many = vec!["0 0 - p"; ATTACHMENTS_MAX + 1].join(" ");
        assert_eq!(parse(&many), None);
    }
}
