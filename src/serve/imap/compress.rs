//! COMPRESS (RFC 4978): DEFLATE in both directions, without a way back.

use super::session::{Reply, Session, Stop};
use super::wire::Ended;
use crate::limits::IMAP_READ_BYTES;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Both directions of a compressed connection. Each costs some hundred KiB, as it does everywhere.
pub(super) struct Deflate {
    outward: Compress,
    inward: Decompress,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self {
            // raw DEFLATE; the fastest level: what is answered fast must stay so
            outward: Compress::new(Compression::fast(), false),
            inward: Decompress::new(false),
        }
    }

    /// What `bytes` become on the wire, so that the client can read all of them at once.
    pub(super) fn pack(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Ended> {
        let mut packed = Vec::with_capacity(bytes.len() / 2 + 64);
        let mut rest = bytes;
        loop {
            let before = self.outward.total_in();
            let flush = FlushCompress::Sync;
            let status = self
                .outward
                .compress_vec(rest, &mut packed, flush)
                .map_err(|_| Ended::Gone)?;
            let taken = usize::try_from(self.outward.total_in().saturating_sub(before)).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            // room left means that everything is out
            if status == Status::BufError || (rest.is_empty() && packed.len() < packed.capacity()) {
                return Ok(packed);
            }
            packed.reserve(packed.capacity().max(64));
        }
    }

    /// Takes packed bytes and gives some of what they stand for, at most [`IMAP_READ_BYTES`], with the number of packed
    /// bytes used. Call it again until nothing is left or comes.
    pub(super) fn unpack(&mut self, packed: &[u8]) -> Result<(Vec<u8>, usize), Ended> {
        let mut bytes = Vec::with_capacity(IMAP_READ_BYTES);
        let before = self.inward.total_in();
        let flush = FlushDecompress::Sync;
        let status = self
            .inward
            .decompress_vec(packed, &mut bytes, flush)
            .map_err(|_| Ended::Gone)?;
        if status == Status::StreamEnd {
            return Err(Ended::Gone);
        }
        let used = usize::try_from(self.inward.total_in().saturating_sub(before)).unwrap_or(usize::MAX);
        Ok((bytes, used))
    }
}

impl Session {
    /// Answers OK uncompressed, then begins.
    pub(super) async fn compress(&mut self, tag: &str, mechanism: &str) -> Result<Reply, Stop> {
        if self.wire.is_compressed() {
            return Reply::no("[COMPRESSIONACTIVE] COMPRESSION already enabled.");
        }
        if mechanism != "DEFLATE" {
            return Reply::bad("Unknown compression mechanism.");
        }
        self.wire.put(format!("{tag} OK Begin compression.\r\n"));
        self.wire.flush().await?;
        self.wire.compress();
        Err(Stop::Answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_packed_unpacks(pieces in proptest::collection::vec(proptest::collection::vec(0_u8..4, 0..20_000), 0..4)) {
            let (mut here, mut there) = (Deflate::new(), Deflate::new());
            for piece in pieces {
                let packed = here.pack(&piece).unwrap();
                let (mut rest, mut back) = (packed.as_slice(), Vec::new());
                loop {
                    let (bytes, used) = there.unpack(rest).unwrap();
                    if bytes.is_empty() && used == 0 {
                        break;
                    }
                    back.extend(bytes);
                    rest = &rest[used..];
                }
                proptest::prop_assert_eq!(back, piece);
            }
        }

        #[test]
        fn any_bytes_unpack_or_end_the_connection(bytes: Vec<u8>) {
            let mut deflate = Deflate::new();
            let mut rest = bytes.as_slice();
            while let Ok((got, used)) = deflate.unpack(rest) {
                if got.is_empty() && used == 0 {
                    break;
                }
                rest = &rest[used..];
            }
        }
    }
}
