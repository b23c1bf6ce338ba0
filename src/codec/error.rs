//! What can be wrong with bytes.

/// Bytes that can't be read, or a value that can't be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end too early.
    #[error("{0} ends too early")]
    Short(&'static str),
    /// These are not such bytes at all.
    #[error("no {0} starts here")]
    Magic(&'static str),
    /// Another format version, most likely a newer one.
    #[error("{what} has format version {found}, this program reads version {known}")]
    Version {
        /// Of what.
        what: &'static str,
        /// Found version.
        found: u16,
        /// The version that this program reads and writes.
        known: u16,
    },
    /// A numeric tag that this program doesn't know, most likely of a newer one.
    #[error("{what} has the unknown tag {found}")]
    Tag {
        /// Tag of what.
        what: &'static str,
        /// Found tag.
        found: u8,
    },
    /// The checksum does not match the bytes.
    #[error("{what} has checksum {computed:08x}, it says {stored:08x}")]
    Checksum {
        /// Of what.
        what: &'static str,
        /// As it stands in the bytes.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// Larger than its bound in [`crate::limits`].
    #[error("{what} has {size} bytes or items, at most {most} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The bound.
        most: usize,
    },
    /// Bytes stand after the value.
    #[error("{0} bytes stand after the value")]
    Trailing(usize),
    /// A plain value that can't be read or written.
    #[error("packed value: {0}")]
    Packed(String),
    /// Readable, but it can't be meant.
    #[error("{what}: {why}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl CodecError {
    /// True where the bytes were harmed on their way, so that asking for them again may help. Everything else was
    /// written like that (by a newer program, say) and stays so: halt, and name it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Short(_) | Self::Magic(_) | Self::Checksum { .. })
    }

    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { what, why: why.into() }
    }
}
