//! A message's GUID, and how it is packed: half as long where it is a dbox's.

use crate::limits::MESSAGE_GUID_BYTES_MAX;
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A message's GUID as its store spells it: 32 hex digits in dbox, a base file name in maildir (at most 255 bytes).
/// Empty where the message was gone before its GUID could be read.
///
/// Packed it is a number: below 256 the length of a text that follows, octet by octet; from 2^64 on the GUID itself, whose
/// 32 lower-case hex digits these are. In documents for people (JSON) it is the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageGuid(pub String);

/// Smaller numbers are lengths, or nothing.
const FIRST_NUMBER: u128 = 1 << 64;

impl MessageGuid {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True where the source lost the message before its GUID could be read.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }

    /// The number that its digits are.
    fn number(&self) -> Option<u128> {
        let digits = self.0.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let number = u128::from_str_radix(&self.0, 16).ok();
        number.filter(|number| self.0.len() == 32 && digits && *number >= FIRST_NUMBER)
    }
}

impl From<&str> for MessageGuid {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for MessageGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for MessageGuid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return to.serialize_str(&self.0);
        }
        if let Some(number) = self.number() {
            return to.serialize_u128(number);
        }
        let mut parts = to.serialize_tuple(self.0.len().saturating_add(1))?;
        parts.serialize_element(&(self.0.len() as u128))?;
        for octet in self.0.as_bytes() {
            parts.serialize_element(octet)?;
        }
        parts.end()
    }
}

impl<'de> Deserialize<'de> for MessageGuid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return String::deserialize(from).map(Self);
        }
        from.deserialize_tuple(MESSAGE_GUID_BYTES_MAX.saturating_add(1), Packed)
    }
}

struct Packed;

impl<'de> Visitor<'de> for Packed {
    type Value = MessageGuid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message GUID")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<MessageGuid, A::Error> {
        let missing = || A::Error::custom("a message GUID ends too early");
        let number: u128 = parts.next_element()?.ok_or_else(missing)?;
        if number >= FIRST_NUMBER {
            return Ok(MessageGuid(format!("{number:032x}")));
        }
        let length = usize::try_from(number)
            .ok()
            .filter(|length| *length <= MESSAGE_GUID_BYTES_MAX);
        let length = length.ok_or_else(|| A::Error::custom("a message GUID is too long"))?;
        let mut octets = Vec::with_capacity(length);
        for _ in 0..length {
            octets.push(parts.next_element()?.ok_or_else(missing)?);
        }
        let guid = MessageGuid(String::from_utf8(octets).map_err(A::Error::custom)?);
        match guid.number() {
            None => Ok(guid),
            Some(_) => Err(A::Error::custom("a message GUID is not in its short form")),
        }
    }
}
