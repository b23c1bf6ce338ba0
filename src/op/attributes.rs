//! Attributes: what belongs to a mailbox or a user and is neither mail nor a name.
//!
//! | kind | of | entry | value |
//! |---|---|---|---|
//! | METADATA (RFC 5464) | a mailbox; the user (what IMAP calls server annotations) | `/private/comment`, `/shared/vendor/x/y` | octets |
//! | ACL (RFC 4314) | a mailbox | whom, as Dovecot's files spell it: `user=bob`, `group=staff`, `owner`, `-user=eve` | letters, then named rights behind ` :` |
//! | Sieve (RFC 5228) | the user | `script/NAME`; `active`; `active-file` | a script; the active one's NAME; the active script where it is no link |
//!
//! A value of more than [`VALUE_HERE_BYTES_MAX`] travels as a body, named by its hash.

use super::ids::numbered;
use super::{BodyHash, BodyName, BodyPlace, Guid, MailboxId, MessageGuid, Uid, UidValidity, UserName};
use crate::limits::VALUE_HERE_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

numbered!(AttributeKind { Metadata = 1, Acl = 2, Sieve = 3 });

/// Which kind of attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum AttributeKind {
    /// IMAP METADATA.
    Metadata,
    /// IMAP access control lists.
    Acl,
    /// Sieve scripts of the user's own.
    Sieve,
}

impl AttributeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Metadata, Self::Acl, Self::Sieve];

    /// Its name in logs, in JSON and among the differences that `verify` finds.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Acl => "acl",
            Self::Sieve => "sieve",
        }
    }
}

/// Whose attributes of which kind: what one change speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttributeScope {
    /// The mailbox; none: the user.
    pub mailbox: Option<Guid>,
    /// The kind.
    pub kind: AttributeKind,
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// Its octets, at most [`VALUE_HERE_BYTES_MAX`].
    Here(Vec<u8>),
    /// Longer ones travel beside the frames.
    Body {
        /// BLAKE3 of the octets.
        hash: BodyHash,
        /// How many they are.
        size: u64,
    },
}

/// Where the GUID of a value's body begins; what follows is the hash. No message's GUID has a colon.
const BODY_GUID: &str = "attribute:";

impl AttributeValue {
    /// The value that has these octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        if octets.len() <= VALUE_HERE_BYTES_MAX {
            return Self::Here(octets.to_vec());
        }
        Self::Body {
            hash: hash(octets),
            size: u64::try_from(octets.len()).unwrap_or(u64::MAX),
        }
    }

    /// BLAKE3 of the octets.
    #[must_use]
    pub fn hash(&self) -> BodyHash {
        match self {
            Self::Here(octets) => hash(octets),
            Self::Body { hash, .. } => *hash,
        }
    }

    /// The body that must be fetched to have the value. Its place is no message's: the UID is 0.
    #[must_use]
    pub fn body(&self, user: &UserName, scope: AttributeScope) -> Option<BodyName> {
        let Self::Body { hash, size } = self else {
            return None;
        };
        Some(BodyName {
            place: BodyPlace {
                mailbox: MailboxId {
                    user: user.clone(),
                    guid: scope.mailbox.unwrap_or_default(),
                },
                uidvalidity: UidValidity(0),
                uid: Uid(0),
            },
            guid: MessageGuid(format!("{BODY_GUID}{hash}")),
            size: Some(*size),
        })
    }
}

fn hash(octets: &[u8]) -> BodyHash {
    BodyHash(*blake3::hash(octets).as_bytes())
}

/// The hash of an attribute's value, where the body that has this GUID is one.
#[must_use]
pub fn value_hash(guid: &MessageGuid) -> Option<BodyHash> {
    BodyHash::from_hex(guid.0.strip_prefix(BODY_GUID)?)
}

/// All entries of one scope: name → value.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// What a scope holds, in 8 bytes: by it a source knows after a restart what it has emitted. Zeros: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeFingerprint(pub [u8; 8]);

impl AttributeFingerprint {
    /// Of these entries: the first bytes of BLAKE3 over each name's length, name and value's hash, by ascending name.
    #[must_use]
    pub fn of(entries: &Attributes) -> Self {
        if entries.is_empty() {
            return Self::default();
        }
        let mut hasher = blake3::Hasher::new();
        for (name, value) in entries {
            hasher.update(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&value.hash().0);
        }
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        Self(first)
    }
}

/// A change of the attributes of one scope.
///
/// In a run, changes of one scope that follow each other directly are parts of one: see [`fn@super::whole`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributesChange {
    /// Whose.
    pub user: UserName,
    /// Of what.
    pub scope: AttributeScope,
    /// True: these are all entries of the scope; what is not among them is unset.
    pub complete: bool,
    /// Name, and value or none where it is unset.
    pub entries: Vec<(String, Option<AttributeValue>)>,
    /// What the scope holds after it.
    pub fingerprint: AttributeFingerprint,
    /// With a base, of the user's scope only: the mailboxes that hold attributes of this kind. All others hold none.
    pub holders: Option<Vec<Guid>>,
}

impl AttributesChange {
    /// The one that makes the scope hold exactly these.
    #[must_use]
    pub fn complete(user: UserName, scope: AttributeScope, entries: Attributes) -> Self {
        Self {
            user,
            scope,
            complete: true,
            fingerprint: AttributeFingerprint::of(&entries),
            entries: entries.into_iter().map(|(name, value)| (name, Some(value))).collect(),
            holders: None,
        }
    }

    /// Bodies that must be fetched to have all values.
    pub fn bodies(&self) -> impl Iterator<Item = BodyName> {
        let values = self.entries.iter().filter_map(|(_, value)| value.as_ref());
        values.filter_map(|value| value.body(&self.user, self.scope))
    }

    /// What the scope holds after the change; `entries` are those before it.
    pub fn apply_to(&self, entries: &mut Attributes) {
        if self.complete {
            entries.clear();
        }
        for (name, value) in &self.entries {
            match value {
                Some(value) => entries.insert(name.clone(), value.clone()),
                None => entries.remove(name),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_asked_for_by_a_guid_that_no_message_has() {
        let scope = AttributeScope {
            mailbox: None,
            kind: AttributeKind::Sieve,
        };
        let long = AttributeValue::of(&vec![b'x'; VALUE_HERE_BYTES_MAX + 1]);
        let body = long.body(&"u".into(), scope).unwrap();
        assert_eq!(value_hash(&body.guid), Some(long.hash()));
        assert_eq!(body.place.uid, Uid(0));
        assert_eq!(
            AttributeValue::of(&[0; VALUE_HERE_BYTES_MAX]).body(&"u".into(), scope),
            None
        );
        for guid in ["", "attribute:", "attribute:zz", "0123456789abcdef0123456789abcdef"] {
            assert_eq!(value_hash(&guid.into()), None, "{guid}");
        }
    }

    #[test]
    fn entries_that_only_moved_their_border_have_another_fingerprint() {
        let one = |name: &str, value: &str| {
            let value = AttributeValue::of(value.as_bytes());
            AttributeFingerprint::of(&[(name.to_owned(), value)].into())
        };
        assert_ne!(one("a", "bc"), one("ab", "c"));
        assert_ne!(one("a", ""), AttributeFingerprint::default());
        assert_eq!(
            AttributeFingerprint::of(&Attributes::new()),
            AttributeFingerprint::default()
        );
    }
}
