//! Files of dbox bodies: `u.<uid>` (sdbox, one message) and `m.<file id>` (mdbox, one after the other).
//!
//! A line `2 M1e C6b022a7e` (version, octets of a message header, creation; hexadecimal), then per message: a header
//! `01 02 'N' … <16 hex digits: stored octets> LF`, the stored body, `LF 01 03 LF`, and lines `<key><value>` up to an
//! empty one. There are no checksums: the marks, the sizes and the GUID are all that tells damage.

use super::attachment::{self, Attachment};
use super::le::{bytes_at, u8_at};
use crate::limits::{BODY_BYTES_MAX, DBOX_METADATA_BYTES_MAX, MESSAGE_GUID_BYTES_MAX};
use crate::op::MessageGuid;

/// Octets that are enough to read the file header and, in a `u.<uid>`, the message header behind it.
pub const DBOX_PREFIX_BYTES: usize = 512;
/// A message up to this size is read as a whole also where only its metadata is wanted: one call instead of two.
pub const DBOX_ONE_READ_BYTES: u64 = 8 << 10;
/// Octets between a stored body and the first line of metadata.
pub const METADATA_MARK_BYTES: u64 = 4;
const VERSION: u32 = 2;
const MESSAGE_MARK: &[u8] = b"\x01\x02";
const METADATA_MARK: &[u8] = b"\n\x01\x03\n";
const SIZE_AT: usize = 13;
const SIZE_DIGITS: usize = 16;
const MESSAGE_HEADER_BYTES_MIN: usize = SIZE_AT + SIZE_DIGITS + 1;
const MESSAGE_HEADER_BYTES_MAX: usize = 256;

/// What can't be right in a dbox file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dbox file, byte {offset}: {why}")]
pub struct DboxError {
    /// Offset from the beginning of the octets that were looked at.
    pub offset: u64,
    /// What is wrong, for people.
    pub why: String,
}

fn wrong(offset: usize, why: impl Into<String>) -> DboxError {
    DboxError {
        offset: u64::try_from(offset).unwrap_or(u64::MAX),
        why: why.into(),
    }
}

impl DboxError {
    /// The same error in a file where the octets that were looked at begin at `base`.
    #[must_use]
    pub fn shifted(mut self, base: u64) -> Self {
        self.offset = self.offset.saturating_add(base);
        self
    }
}

/// First line of a dbox file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Octets of the line with its LF: the first message begins there.
    pub bytes: usize,
    /// Octets of each message header.
    pub message_header_bytes: usize,
}

impl FileHeader {
    /// Reads it from the file's first octets ([`DBOX_PREFIX_BYTES`] are enough).
    ///
    /// # Errors
    /// It can't be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, DboxError> {
        let end = bytes.iter().take(DBOX_PREFIX_BYTES).position(|octet| *octet == b'\n');
        let line = end.and_then(|end| std::str::from_utf8(bytes.get(..end)?).ok());
        let line = line.ok_or_else(|| wrong(0, "no file header"))?;
        let mut fields = line.split(' ');
        let version = fields.next().and_then(|field| field.parse::<u32>().ok());
        if version != Some(VERSION) {
            return Err(wrong(0, "a version that is not known"));
        }
        let size = fields.find_map(|field| field.strip_prefix('M'));
        let size = size.and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let known = MESSAGE_HEADER_BYTES_MIN..=MESSAGE_HEADER_BYTES_MAX;
        let message_header_bytes = size
            .filter(|size| known.contains(size))
            .ok_or_else(|| wrong(0, "no size of message headers"))?;
        let bytes = line.len().saturating_add(1);
        Ok(Self {
            bytes,
            message_header_bytes,
        })
    }

    /// Reads the message header at the beginning of `bytes`: octets of the stored body.
    ///
    /// # Errors
    /// It can't be read. A header of zeros is one that was never finished.
    pub fn stored_bytes(&self, bytes: &[u8]) -> Result<u64, DboxError> {
        let header =
            bytes_at(bytes, 0, self.message_header_bytes).ok_or_else(|| wrong(0, "the message header is cut"))?;
        if !header.starts_with(MESSAGE_MARK) {
            return Err(wrong(0, "no mark where a message begins"));
        }
        if u8_at(header, 2) != Some(b'N') || header.last() != Some(&b'\n') {
            return Err(wrong(2, "not a message header"));
        }
        let digits = bytes_at(header, SIZE_AT, SIZE_DIGITS).and_then(|digits| std::str::from_utf8(digits).ok());
        let size = digits
            .and_then(hexadecimal)
            .ok_or_else(|| wrong(SIZE_AT, "no size of the body"))?;
        if size > BODY_BYTES_MAX {
            return Err(wrong(SIZE_AT, format!("a body of {size} bytes")));
        }
        Ok(size)
    }
}

fn hexadecimal(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Where the parts of a message lie, counted from the beginning of its message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLayout {
    /// First octet of the stored body.
    pub body_at: u64,
    /// Its octets.
    pub body_bytes: u64,
    /// First octet of the mark before the metadata.
    pub metadata_at: u64,
}

/// Where the parts of a message lie, from the octets of its header on.
///
/// # Errors
/// The message header can't be read.
pub fn layout(file: &FileHeader, bytes: &[u8]) -> Result<MessageLayout, DboxError> {
    let body_bytes = file.stored_bytes(bytes)?;
    let body_at = u64::try_from(file.message_header_bytes).unwrap_or(u64::MAX);
    Ok(MessageLayout {
        body_at,
        body_bytes,
        metadata_at: body_at.saturating_add(body_bytes),
    })
}

/// What the lines behind a body say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Message GUID (`G`): 32 hex digits, or what another store called it, where dsync brought it.
    pub guid: Option<MessageGuid>,
    /// INTERNALDATE (`R`), UNIX seconds.
    pub received: Option<i64>,
    /// RFC822.SIZE (`V`).
    pub virtual_size: Option<u64>,
    /// Octets of the plain body (`Z`), where they are not those that are stored.
    pub plain_size: Option<u64>,
    /// Parts of the body that are in files of their own (`X`), in the order of the body.
    pub attachments: Vec<Attachment>,
    /// The mailbox it was first saved to (`B`, mdbox only), in modified UTF-7.
    pub first_mailbox: Option<Vec<u8>>,
}

impl Metadata {
    /// Reads it from the octets behind a stored body, the mark included. What comes behind its empty line is not
    /// looked at.
    ///
    /// # Errors
    /// No mark, no end, or a value that is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, DboxError> {
        let lines = bytes
            .strip_prefix(METADATA_MARK)
            .ok_or_else(|| wrong(0, "no mark where the body ends"))?;
        let lines = lines
            .get(..lines.len().min(DBOX_METADATA_BYTES_MAX))
            .unwrap_or_default();
        let mut metadata = Self::default();
        let mut at = METADATA_MARK.len();
        for line in lines.split_inclusive(|octet| *octet == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                break;
            };
            let Some((key, value)) = line.split_first() else {
                return Ok(metadata);
            };
            metadata
                .take(*key, value)
                .ok_or_else(|| wrong(at, format!("no value for {:?}", char::from(*key))))?;
            at = at.saturating_add(line.len()).saturating_add(1);
        }
        Err(wrong(at, "the metadata is cut"))
    }

    /// None where a value that is needed can't be read.
    fn take(&mut self, key: u8, value: &[u8]) -> Option<()> {
        let text = || std::str::from_utf8(value).ok();
        match key {
            b'G' => self.guid = Some(message_guid(text()?)?),
            // A time before 1970 is written as its 64 bits.
            b'R' => self.received = Some(hexadecimal(text()?)?.cast_signed()),
            b'V' => self.virtual_size = Some(hexadecimal(text()?)?),
            b'Z' => self.plain_size = Some(hexadecimal(text()?)?),
            b'X' => self.attachments = attachment::parse(text()?)?,
            b'B' => self.first_mailbox = Some(value.to_vec()),
            _ => {}
        }
        Some(())
    }
}

/// A GUID as it is spelled; none where it can't be one.
fn message_guid(text: &str) -> Option<MessageGuid> {
    let fits = !text.is_empty() && text.len() <= MESSAGE_GUID_BYTES_MAX && !text.contains(|c: char| c.is_control());
    fits.then(|| MessageGuid::from(text))
}

/// A message out of a dbox file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DboxMessage<'a> {
    /// The body as it is stored: mostly with LF line ends, perhaps transformed ([`super::transform`]).
    pub stored: &'a [u8],
    /// What is said of it.
    pub metadata: Metadata,
    /// Octets from the message header to the end of the body and its mark.
    pub layout: MessageLayout,
}

/// The message whose header is at the beginning of `bytes`; `bytes` reach to the end of its metadata or further.
///
/// # Errors
/// What can't be right; offsets count from the message header.
pub fn message<'a>(file: &FileHeader, bytes: &'a [u8]) -> Result<DboxMessage<'a>, DboxError> {
    let layout = layout(file, bytes)?;
    let body_at = file.message_header_bytes;
    let body_bytes = usize::try_from(layout.body_bytes).unwrap_or(usize::MAX);
    let stored = bytes_at(bytes, body_at, body_bytes).ok_or_else(|| wrong(bytes.len(), "the body is cut"))?;
    let trailer = bytes.get(body_at.saturating_add(body_bytes)..).unwrap_or_default();
    let metadata = Metadata::parse(trailer).map_err(|error| error.shifted(layout.metadata_at))?;
    Ok(DboxMessage {
        stored,
        metadata,
        layout,
    })
}

/// The only message of a whole `u.<uid>`.
///
/// # Errors
/// What can't be right; offsets are the file's.
pub fn sdbox_message(bytes: &[u8]) -> Result<DboxMessage<'_>, DboxError> {
    let file = FileHeader::parse(bytes)?;
    let base = u64::try_from(file.bytes).unwrap_or(u64::MAX);
    message(&file, bytes.get(file.bytes..).unwrap_or_default()).map_err(|error| error.shifted(base))
}

/// Entry point for fuzzing: any octets as a `u.<uid>`.
pub fn fuzz_dbox(bytes: &[u8]) {
    let _ = sdbox_message(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(body: &str) -> Vec<u8> {
        let guid = "20a6782ff32f026bfa4e000087ad316d";
        let header = format!("\x01\x02N          {:016X}\n", body.len());
        format!("2 M1e C6b022ff3\n{header}{body}\n\x01\x03\nR6b022ff3\nV267\nG{guid}\nBINBOX\n\n").into_bytes()
    }

    #[test]
    fn a_message_reads_back() {
        let bytes = file("Subject: x\n\nbody\n");
        let message = sdbox_message(&bytes).unwrap();
        assert_eq!(message.stored, b"Subject: x\n\nbody\n");
        assert_eq!(message.metadata.received, Some(0x6b02_2ff3));
        assert_eq!(message.metadata.virtual_size, Some(0x267));
        assert_eq!(message.metadata.first_mailbox.as_deref(), Some(&b"INBOX"[..]));
    }

    #[test]
    fn a_date_before_1970_is_a_date() {
        let bytes = String::from_utf8(file("body\n")).unwrap();
        let bytes = bytes.replace("R6b022ff3", "Rffffffffffffffff");
        let message = sdbox_message(bytes.as_bytes()).unwrap();
        assert_eq!(message.metadata.received, Some(-1));
        let bytes = bytes.replace("Rffffffffffffffff", "R1ffffffffffffffff");
        assert!(sdbox_message(bytes.as_bytes()).is_err());
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = file("Subject: x\n\nbody\n");
        for end in 0..bytes.len() {
            assert!(sdbox_message(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_zeroed_header_is_damage_with_its_place() {
        let mut bytes = file("body\n");
        bytes[16..40].fill(0);
        let error = sdbox_message(&bytes).unwrap_err();
        assert_eq!(error.offset, 16);
        let mut bytes = file("body\n");
        bytes[29..45].copy_from_slice(b"ffffffffffffffff");
        assert!(sdbox_message(&bytes).is_err());
    }
}
