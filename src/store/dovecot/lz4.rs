//! lz4 in Dovecot's own framing: a magic, the largest size of a chunk (u32, big endian), then chunks of
//! `{u32 big endian: compressed octets, one raw lz4 block}` to the end of the file. There is no checksum and no mark of
//! the end: a file that is cut between two chunks is noticed by its size only.

use crate::limits::LZ4_CHUNK_BYTES_MAX;

/// First octets of such a body.
pub const MAGIC: &[u8] = b"Dovecot-LZ4\x0d\x2a\x9b\xc5";

/// Appends the plain octets to `plain`, and stops once there are more than `most`.
///
/// # Errors
/// Where and why it can't be read.
pub fn decompress(stored: &[u8], most: usize, plain: &mut Vec<u8>) -> Result<(), String> {
    let rest = stored.strip_prefix(MAGIC).ok_or("no lz4 magic")?;
    let (chunk_max, mut rest) = u32_be(rest).ok_or("the lz4 header is cut")?;
    if chunk_max > LZ4_CHUNK_BYTES_MAX {
        return Err(format!("lz4 chunks of {chunk_max} bytes"));
    }
    let mut chunk = vec![0; chunk_max];
    while !rest.is_empty() && plain.len() <= most {
        let at = stored.len().saturating_sub(rest.len());
        let cut = || format!("the lz4 chunk at byte {at} is cut");
        let (compressed, behind) = u32_be(rest).ok_or_else(cut)?;
        if compressed == 0 || compressed > LZ4_CHUNK_BYTES_MAX {
            return Err(format!("an lz4 chunk of {compressed} bytes at byte {at}"));
        }
        let (block, behind) = behind.split_at_checked(compressed).ok_or_else(cut)?;
        let written = lz4_flex::block::decompress_into(block, &mut chunk)
            .map_err(|error| format!("the lz4 chunk at byte {at}: {error}"))?;
        plain.extend_from_slice(chunk.get(..written).unwrap_or_default());
        rest = behind;
    }
    Ok(())
}

fn u32_be(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_be_bytes(*number)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(chunks: &[&[u8]]) -> Vec<u8> {
        let mut stored = [MAGIC, &65_536_u32.to_be_bytes()].concat();
        for chunk in chunks {
            stored.extend_from_slice(&u32::try_from(chunk.len()).unwrap().to_be_bytes());
            stored.extend_from_slice(chunk);
        }
        stored
    }

    fn read(stored: &[u8]) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        decompress(stored, 1 << 20, &mut plain).map(|()| plain)
    }

    /// One literal run, as every lz4 block may end.
    const ABC: &[u8] = b"\x30abc";

    #[test]
    fn chunks_follow_each_other() {
        assert_eq!(read(&framed(&[ABC, ABC])).unwrap(), b"abcabc");
        assert_eq!(read(&framed(&[])).unwrap(), b"");
    }

    #[test]
    fn a_cut_inside_a_chunk_is_an_error_with_its_place() {
        let whole = framed(&[ABC, ABC]);
        let boundaries = [framed(&[]).len(), framed(&[ABC]).len(), whole.len()];
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]).is_ok(), boundaries.contains(&end), "cut at {end}");
        }
        assert!(read(&whole[..whole.len() - 1]).unwrap_err().contains("byte 27"));
    }

    #[test]
    fn a_header_that_claims_gigabytes_gets_none() {
        let mut stored = framed(&[ABC]);
        stored[MAGIC.len()] = 0x7f;
        assert!(read(&stored).unwrap_err().contains("chunks of"));
        let mut stored = framed(&[ABC]);
        stored[MAGIC.len() + 4] = 0x7f;
        assert!(read(&stored).is_err());
    }
}
