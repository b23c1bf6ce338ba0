//! Stored bodies that are not plain: compressed or encrypted by a plugin. Nothing in the index tells; only the first
//! octets do, and a plain message may begin with the same ones. Which of the two it is, the sizes tell that the store
//! wrote down: see [`super::plain`].

/// What a store did to a body before it wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Nothing.
    None,
    /// Compressed by gzip.
    Gzip,
    /// Compressed by bzip2.
    Bzip2,
    /// Compressed by zstd.
    Zstd,
    /// Compressed by lz4, in Dovecot's own framing.
    Lz4,
    /// Compressed by xz: read by version 2.3, written by neither.
    Xz,
    /// Encrypted by mail-crypt.
    Encrypted,
}

const MAGICS: [(&[u8], Transform); 6] = [
    (b"\x1f\x8b", Transform::Gzip),
    (b"BZh", Transform::Bzip2),
    (b"\x28\xb5\x2f\xfd", Transform::Zstd),
    (super::lz4::MAGIC, Transform::Lz4),
    (b"\xfd7zXZ\x00", Transform::Xz),
    (b"CRYPTED\x03\x07", Transform::Encrypted),
];
/// What follows bzip2's magic and level: the first block, or the end of an empty file.
const BZIP2_BLOCKS: [&[u8]; 2] = [b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90"];

impl Transform {
    /// By the first octets of a stored body.
    #[must_use]
    pub fn of(stored: &[u8]) -> Self {
        let found = MAGICS.iter().find(|(magic, _)| stored.starts_with(magic));
        match found.map_or(Self::None, |(_, transform)| *transform) {
            // Three letters that a plain header may begin with.
            Self::Bzip2 if !is_bzip2(stored) => Self::None,
            transform => transform,
        }
    }

    /// The name in messages for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::Encrypted => "mail-crypt",
        }
    }
}

fn is_bzip2(stored: &[u8]) -> bool {
    let level = stored.get(3).is_some_and(|level| (b'1'..=b'9').contains(level));
    let rest = stored.get(4..).unwrap_or_default();
    level && BZIP2_BLOCKS.iter().any(|block| rest.starts_with(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_begins_like_bzip2_is_plain_mail() {
        assert_eq!(Transform::of(b"BZh9: yes\n\nbody\n"), Transform::None);
        assert_eq!(Transform::of(b"BZh91AY&SY"), Transform::Bzip2);
        assert_eq!(Transform::of(b"\x1f\x8b\x08"), Transform::Gzip);
        assert_eq!(Transform::of(b"CRYPTED\x03\x07\x02"), Transform::Encrypted);
        assert_eq!(Transform::of(b""), Transform::None);
    }
}
