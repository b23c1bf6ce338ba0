//! Reads bytes from the front, never beyond their end.

use super::{CodecError, packed};
use serde::de::DeserializeOwned;

/// The rest of some bytes, and what they are (for errors).
pub(crate) struct Cursor<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(crate) fn take(&mut self, size: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(CodecError::Short(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Short(self.what))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length that was written as 32 bits.
    pub(crate) fn length(&mut self) -> Result<usize, CodecError> {
        usize::try_from(self.u32()?).map_err(|e| CodecError::invalid(self.what, e.to_string()))
    }

    /// A packed value.
    pub(crate) fn packed<T: DeserializeOwned>(&mut self) -> Result<T, CodecError> {
        let (value, used) = packed::decode_prefix(self.rest)?;
        self.take(used)?;
        Ok(value)
    }

    /// The checked end: nothing may be left.
    pub(crate) fn end(&self) -> Result<(), CodecError> {
        match self.rest.len() {
            0 => Ok(()),
            rest => Err(CodecError::Trailing(rest)),
        }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }
}
