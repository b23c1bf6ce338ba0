//! Little-endian fields out of byte slices, checked: nothing here can panic.

/// `len` bytes at `at`, none where the slice ends before.
pub(crate) fn bytes_at(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(len)?)
}

/// A fixed number of bytes at `at`.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes_at(bytes, at, N)?.try_into().ok()
}

/// Unsigned 8 bit at `at`.
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Unsigned 16 bit at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

/// Unsigned 32 bit at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

/// Unsigned 64 bit at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// A 32 bit size or offset as an index into memory.
pub(crate) fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// `value` rounded up to a multiple of 4.
pub(crate) fn pad4(value: usize) -> usize {
    value.saturating_add(3) & !3
}

/// `value` rounded up to a multiple of 8.
pub(crate) fn pad8(value: usize) -> usize {
    value.saturating_add(7) & !7
}
