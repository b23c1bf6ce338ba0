//! Plain values ↔ bytes, bounded. The only module that names `bincode`: integers as variable-length little endian,
//! strings and lists with a length before them, structs as their fields in order, no names, no types.
//!
//! Not self-describing: no `skip_serializing_if`, `tag`, `untagged` or `flatten`; no enum of more than `Option` and
//! `Result`-like shapes whose order could change; no zero-sized elements in lists (the bound doesn't count them); no
//! recursion. A changed field is a changed format version of what holds the value.

use super::CodecError;
use crate::limits::{PACKED_BYTES_MAX, PACKED_CLAIM_MAX};
use serde::{Serialize, de::DeserializeOwned};

fn config() -> impl bincode::config::Config {
    // Without the limit nine bytes can claim a string of 2^40 bytes, and the allocation aborts the process. It counts a
    // number by its size in memory, not by its bytes, and must not refuse what fits PACKED_BYTES_MAX.
    bincode::config::standard()
        .with_little_endian()
        .with_variable_int_encoding()
        .with_limit::<PACKED_CLAIM_MAX>()
}

/// The bytes of `value`.
///
/// # Errors
/// More than [`PACKED_BYTES_MAX`] bytes, or a shape that has no bytes (a map of unknown length, say).
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Puts the bytes of `value` behind what `out` holds; returns how many they are.
///
/// # Errors
/// As [`encode`]; `out` may then hold a part of the value.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<usize, CodecError> {
    let size =
        bincode::serde::encode_into_std_write(value, out, config()).map_err(|e| CodecError::Packed(e.to_string()))?;
    // The configured limit counts while decoding only; nobody may write what nobody can read.
    within_limit(size)?;
    Ok(size)
}

/// The value that `bytes` are, all of them.
///
/// # Errors
/// Too many bytes, too few, bytes left over, or no such value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    within_limit(bytes.len())?;
    let (value, used) = decode_prefix(bytes)?;
    match bytes.len().saturating_sub(used) {
        0 => Ok(value),
        rest => Err(CodecError::Trailing(rest)),
    }
}

/// The value that `bytes` start with, and how many bytes it took.
///
/// # Errors
/// The value is larger than [`PACKED_BYTES_MAX`], ends too early, or is none.
pub fn decode_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    let bytes = bytes.get(..PACKED_BYTES_MAX).unwrap_or(bytes);
    bincode::serde::decode_from_slice(bytes, config()).map_err(|e| CodecError::Packed(e.to_string()))
}

fn within_limit(size: usize) -> Result<(), CodecError> {
    if size > PACKED_BYTES_MAX {
        return Err(CodecError::TooLarge {
            what: "packed value",
            size,
            most: PACKED_BYTES_MAX,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_length_does_not_allocate() {
        // 253 says that eight bytes of length follow.
        let mut claim = vec![253];
        claim.extend((1u64 << 40).to_le_bytes());
        assert!(decode::<String>(&claim).is_err());
        assert!(decode::<Vec<u64>>(&claim).is_err());
    }

    #[test]
    fn what_can_not_be_read_back_is_not_written() {
        assert!(encode(&"x".repeat(PACKED_BYTES_MAX - 5)).is_ok());
        assert!(encode(&"x".repeat(PACKED_BYTES_MAX)).is_err());
    }

    #[test]
    fn small_numbers_are_not_counted_as_large_ones() {
        let many = vec![(0u128, 0u64, 0u32, true); PACKED_BYTES_MAX / 4 - 5];
        assert_eq!(
            decode::<Vec<(u128, u64, u32, bool)>>(&encode(&many).unwrap()).unwrap(),
            many
        );
        let texts = vec![String::new(); PACKED_BYTES_MAX - 10];
        assert_eq!(decode::<Vec<String>>(&encode(&texts).unwrap()).unwrap(), texts);
    }

    #[test]
    fn left_over_bytes_are_found() {
        let mut bytes = encode(&(7u32, "seven")).unwrap();
        assert_eq!(decode::<(u32, String)>(&bytes), Ok((7, "seven".to_owned())));
        bytes.push(0);
        assert_eq!(decode::<(u32, String)>(&bytes), Err(CodecError::Trailing(1)));
        assert_eq!(decode_prefix::<(u32, String)>(&bytes).unwrap().1, bytes.len() - 1);
    }
}
