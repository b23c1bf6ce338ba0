//! Tells whether a file was replaced or written to since it was looked at.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a file's entry said at a moment. Two equal stamps of one path: nothing was written to the file in between.
///
/// For a transaction log this is a proof: its writers append, which changes the size, or replace the file, which changes
/// the inode number, or (a number that was given out again) the time. Octets that are cut off or overwritten in place
/// are such as no reader has taken for a whole commit, and where such octets stand behind the last commit no stamp is
/// kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

/// What is kept of a stamp where there are very many: equal digests come from equal stamps, but for one in 2^63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StampDigest(NonZeroU64);

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }

    /// Of what lies at `path`; none where nothing can be seen there.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).map(|meta| Self::of(&meta)).ok()
    }

    pub(crate) fn digest(&self) -> StampDigest {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        StampDigest(NonZeroU64::MIN.saturating_add(hasher.finish() >> 1))
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}
