//! Undoes what a compression plugin did to a body, and makes never more octets than are asked for: a megabyte of zeros
//! compresses to a kilobyte, and whoever may send mail may send that.

use super::lz4;
use super::transform::Transform;
use crate::limits::DECOMPRESSOR_BYTES_MAX;
use std::io::Read;

/// The body can't be had from what is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The keys are the user's: they are not ours to have.
    #[error("encrypted by mail-crypt: it can't be read without the user's key")]
    Encrypted,
    /// More octets than were asked for.
    #[error("more than {most} bytes once {} is undone", .transform.name())]
    TooLarge {
        /// How it is stored.
        transform: Transform,
        /// How many octets were asked for.
        most: u64,
    },
    /// The stored octets are damaged.
    #[error("stored by {}, and damaged: {why}", .transform.name())]
    Damaged {
        /// How it is stored.
        transform: Transform,
        /// What is wrong, for people.
        why: String,
    },
}

/// The octets before they were compressed, at most `most`.
///
/// # Errors
/// [`DecompressError`]
pub fn decompress(transform: Transform, stored: &[u8], most: u64) -> Result<Vec<u8>, DecompressError> {
    let damaged = |why: String| DecompressError::Damaged { transform, why };
    let one_more = most.saturating_add(1);
    let mut plain = Vec::new();
    let mut fill = |reader: &mut dyn Read| reader.take(one_more).read_to_end(&mut plain).map(|_| ());
    let read = match transform {
        Transform::None => fill(&mut &*stored),
        Transform::Encrypted => return Err(DecompressError::Encrypted),
        // Several gzip files one behind the other are one body, to Dovecot too.
        Transform::Gzip => fill(&mut flate2::bufread::MultiGzDecoder::new(stored)),
        // What follows the first stream is not looked at, as Dovecot doesn't.
        Transform::Bzip2 => fill(&mut bzip2::bufread::BzDecoder::new(stored)),
        Transform::Zstd => zstd_reader(stored).and_then(|mut reader| fill(&mut reader)),
        Transform::Xz => fill(&mut lzma_rust2::XzReader::new_mem_limit(stored, true, XZ_KIB_MAX)),
        Transform::Lz4 => {
            lz4::decompress(stored, usize::try_from(most).unwrap_or(usize::MAX), &mut plain).map_err(damaged)?;
            Ok(())
        }
    };
    // Whatever comes behind: it is too much.
    if u64::try_from(plain.len()).unwrap_or(u64::MAX) > most {
        return Err(DecompressError::TooLarge { transform, most });
    }
    read.map(|()| plain).map_err(|error| damaged(error.to_string()))
}

const XZ_KIB_MAX: u32 = DECOMPRESSOR_BYTES_MAX >> 10;

fn zstd_reader(stored: &[u8]) -> std::io::Result<impl Read> {
    let mut reader = zstd::stream::read::Decoder::with_buffer(stored)?;
    reader.window_log_max(DECOMPRESSOR_BYTES_MAX.ilog2())?;
    Ok(reader)
}

/// Entry point for fuzzing: any octets as a stored body.
pub fn fuzz_decompress(bytes: &[u8]) {
    const MOST: u64 = 1 << 20;
    if let Ok(plain) = decompress(Transform::of(bytes), bytes, MOST) {
        assert!(plain.len() <= 1 << 20, "more than was asked for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const MAIL: &[u8] = b"Subject: x\n\nthe same line\nthe same line\nthe same line\n";

    /// Each way of storing that we can write ourselves; real ones are among the vectors.
    fn stored(plain: &[u8]) -> Vec<(Transform, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(plain).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        bzip2.write_all(plain).unwrap();
        vec![
            (Transform::Gzip, gzip.finish().unwrap()),
            (Transform::Bzip2, bzip2.finish().unwrap()),
            (Transform::Zstd, zstd::stream::encode_all(plain, 1).unwrap()),
        ]
    }

    #[test]
    fn a_bomb_ends_at_its_bound() {
        for (transform, bomb) in stored(&vec![0; 8 << 20]) {
            assert_eq!(Transform::of(&bomb), transform);
            let most = 1 << 20;
            assert_eq!(
                decompress(transform, &bomb, most),
                Err(DecompressError::TooLarge { transform, most })
            );
        }
    }

    #[test]
    fn a_cut_anywhere_is_damage() {
        for (transform, whole) in stored(MAIL) {
            assert_eq!(decompress(transform, &whole, 1 << 20).unwrap(), MAIL);
            for end in 0..whole.len() {
                let cut = decompress(transform, &whole[..end], 1 << 20);
                assert!(
                    cut.as_ref().map_or(true, Vec::is_empty),
                    "{transform:?} cut at {end}: {cut:?}"
                );
            }
        }
    }

    #[test]
    fn what_follows_is_read_as_dovecot_reads_it() {
        for (transform, whole) in stored(MAIL) {
            let twice = decompress(transform, &[&whole[..], &whole[..]].concat(), 1 << 20).unwrap();
            let once_only = transform == Transform::Bzip2;
            assert_eq!(twice.len(), MAIL.len() * if once_only { 1 } else { 2 }, "{transform:?}");
            let garbage = decompress(transform, &[&whole[..], b"garbage"].concat(), 1 << 20);
            assert_eq!(garbage.is_ok(), once_only, "{transform:?}: {garbage:?}");
        }
    }

    #[test]
    fn a_window_of_gigabytes_is_refused() {
        // A zstd frame header with a window of 2^41 bytes; an xz block header with a dictionary of 1 GiB.
        let zstd = b"\x28\xb5\x2f\xfd\x00\xf8\x01\x00\x00";
        assert!(decompress(Transform::Zstd, zstd, 1 << 20).is_err());
        let xz = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01$\0\0\0^\x1f\xc7\xf9\x01\0\x05hello\x0a\0\0\0\xa5`\x97\xf1\x94\xf6\xfd\xe0\0\x01\x1e\x06\xc1/\xa4\x1d\x1f\xb6\xf3}\x01\0\0\0\0\x04YZ";
        let why = decompress(Transform::Xz, xz, 1 << 20).unwrap_err().to_string();
        assert!(why.contains("memory"), "{why}");
    }
}
