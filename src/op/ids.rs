//! Names and numbers, each with its own type so that none is taken for another.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Gives each variant a number that is fixed for good: bytes never depend on the order in an enum.
macro_rules! numbered {
    ($name:ident { $($variant:ident = $number:literal),+ }) => {
        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => $number),+ }
            }
        }
        impl TryFrom<u8> for $name {
            type Error = String;
            fn try_from(number: u8) -> Result<Self, Self::Error> {
                match number {
                    $($number => Ok(Self::$variant),)+
                    other => Err(format!(concat!("unknown ", stringify!($name), " {}"), other)),
                }
            }
        }
    };
}
pub(crate) use numbered;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Place in a group's stream: dense 1, 2, 3 …, given out by the primary's journal only. 0 is "before the first".
    Lsn(u64)
);
number!(
    /// Whose history it is: starts at 1, a promotion takes the highest known plus one.
    Epoch(u64)
);
number!(
    /// Unique identifier of a message in one mailbox (RFC 9051 section 2.3.1.1). Never 0 on a real message.
    Uid(u32)
);
number!(
    /// UIDVALIDITY of a mailbox (RFC 9051 section 2.3.1.1). 0 while the source has not given one out.
    UidValidity(u32)
);
number!(
    /// Modification sequence (RFC 7162 section 3.1), as Dovecot counts it.
    Modseq(u64)
);

impl Lsn {
    /// The next place in the stream.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

macro_rules! bytes {
    ($(#[$doc:meta])* $name:ident($len:literal)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);
        impl $name {
            /// Lower-case hexadecimal, the form of logs and JSON.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }
            /// Reads what [`Self::to_hex`] writes (either case).
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                unhex(text).and_then(|b| b.try_into().ok()).map(Self)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.to_hex())
            }
        }
    };
}

bytes!(
    /// A mailbox's GUID: what it is, whatever it is called.
    Guid(16)
);
bytes!(
    /// Identity of a group's stream, made by its primary; a rebuilt stream has a new one.
    StreamId(16)
);
bytes!(
    /// Hash over a frame and everything before it in its stream (BLAKE3).
    ChainHash(32)
);
bytes!(
    /// BLAKE3 of a body's octets: what a stored body is named by.
    BodyHash(32)
);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let byte = |pair: &[u32]| u8::try_from(pair.first()? * 16 + pair.get(1)?).ok();
    digits.chunks(2).map(byte).collect()
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub String);
        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(
    /// A user's name as the source's user database spells it.
    UserName
);
text!(
    /// The name in a node's certificate.
    NodeName
);
text!(
    /// A keyword as the source spells it: `$Forwarded`, `work`. Compared without regard to ASCII case.
    Keyword
);
/// What a mailbox is, on both sides: its owner and its GUID. Names are in the tree only.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxId {
    /// The owner.
    pub user: UserName,
    /// The mailbox's GUID at the source.
    pub guid: Guid,
}

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.guid)
    }
}

/// A mailbox's name: Unicode levels from the root, without a separator. INBOX is exactly `["INBOX"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxName(pub Vec<String>);

impl MailboxName {
    /// From levels.
    pub fn of<S: Into<String>>(levels: impl IntoIterator<Item = S>) -> Self {
        Self(levels.into_iter().map(Into::into).collect())
    }

    /// The user's INBOX.
    #[must_use]
    pub fn inbox() -> Self {
        Self::of(["INBOX"])
    }

    /// Levels joined by `separator`; for display and for IMAP, never for identity.
    #[must_use]
    pub fn join(&self, separator: char) -> String {
        self.0.join(&separator.to_string())
    }

    /// True where `self` lies below `other`.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.join('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_back() {
        let guid = Guid([0xab; 16]);
        assert_eq!(Guid::from_hex(&guid.to_hex()), Some(guid));
        for bad in ["", "ab", "zz", "é", &"ab".repeat(17)] {
            assert_eq!(Guid::from_hex(bad), None);
        }
    }

    #[test]
    fn a_name_is_below_its_parent_only() {
        let (a, ab, c) = (
            MailboxName::of(["a"]),
            MailboxName::of(["a", "b"]),
            MailboxName::of(["ab"]),
        );
        assert!(ab.is_below(&a) && !a.is_below(&ab) && !a.is_below(&a) && !c.is_below(&a));
    }
}
