//! Order-free digests: equal digests prove that source and copy agree.

use super::attributes::{AttributeKind, AttributeScope, AttributeValue};
use super::{Append, BodyHash, Lsn, MailboxId, MailboxName, Modseq, Uid, UidValidity, UserName};
use serde::{Deserialize, Serialize};

/// Sum of hashes: adding and removing members in any order gives the same value. 128 bit of BLAKE3 a member, added
/// modulo 2^128; chosen against accidents, not against an attacker who chooses messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum(pub u128);

impl Sum {
    fn hash(parts: &[&[u8]]) -> u128 {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part);
        }
        let mut first = [0; 16];
        hasher.finalize_xof().fill(&mut first);
        u128::from_le_bytes(first)
    }

    /// Adds a member made of `parts`.
    pub fn add(&mut self, parts: &[&[u8]]) {
        self.0 = self.0.wrapping_add(Self::hash(parts));
    }
}

/// What a mailbox holds, as one comparable value, at the LSN of the frame that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxDigest {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// UIDNEXT.
    pub uidnext: Uid,
    /// HIGHESTMODSEQ; compared apart from `content`.
    pub highest_modseq: Modseq,
    /// Number of messages.
    pub messages: u32,
    /// UID, GUID, flags, keywords, INTERNALDATE and size of each message.
    pub content: Sum,
    /// UID and MODSEQ of each message; compared apart from `content`, and only where both sides have them: until a
    /// client first asks for MODSEQs a Dovecot forgets those of messages that no log tells of any more, and after a
    /// roll-back of the source's log the copy's are higher.
    pub modseqs: Option<Sum>,
    /// UID and BLAKE3 of each body, where bodies were read too (`Some` of an empty sum for an empty mailbox).
    pub bodies: Option<Sum>,
    /// Number of the request that asked for it (0: nobody).
    pub request: u64,
}

impl MailboxDigest {
    /// Of an empty mailbox.
    #[must_use]
    pub fn empty(mailbox: MailboxId, uidvalidity: UidValidity, uidnext: Uid, highest_modseq: Modseq) -> Self {
        Self {
            mailbox,
            uidvalidity,
            uidnext,
            highest_modseq,
            messages: 0,
            content: Sum::default(),
            modseqs: Some(Sum::default()),
            bodies: None,
            request: 0,
        }
    }

    /// Counts one message in. A size that is unknown (on the source, say) is left out of the hash on both sides by
    /// passing `size: None`; the copy therefore digests the size that the source declared, not the body's.
    pub fn add(&mut self, message: &Append) {
        let mut keywords: Vec<String> = message.keywords.iter().map(|k| k.0.to_ascii_lowercase()).collect();
        keywords.sort_unstable();
        keywords.dedup();
        let keywords = keywords.join("\n");
        let size = message.size.map_or([0xff; 8], u64::to_le_bytes);
        self.content.add(&[
            &message.uid.0.to_le_bytes(),
            message.guid.0.as_bytes(),
            &[message.flags.bits()],
            keywords.as_bytes(),
            &message.internal_date.to_le_bytes(),
            &size,
        ]);
        if let Some(modseqs) = &mut self.modseqs {
            modseqs.add(&[&message.uid.0.to_le_bytes(), &message.modseq.0.to_le_bytes()]);
        }
        self.messages = self.messages.saturating_add(1);
    }

    /// Takes back that the copy raised the source's MODSEQs by `lift`: those of single messages can't be told then.
    pub fn lower(&mut self, lift: u64) {
        if lift > 0 {
            self.highest_modseq = Modseq(self.highest_modseq.0.saturating_sub(lift));
            self.modseqs = None;
        }
    }

    /// Counts in a body that was read. Bodies that can't be had are left out on both sides.
    pub fn add_body(&mut self, uid: Uid, hash: &BodyHash) {
        let bodies = self.bodies.get_or_insert_default();
        bodies.add(&[&uid.0.to_le_bytes(), &hash.0]);
    }

    /// What differs on `copy`: `uidvalidity`, `uidnext`, `count`, `content`, `modseq`, `bodies`, with commas; empty
    /// where they are equal. Bodies are compared where both sides read them.
    #[must_use]
    pub fn difference(&self, copy: &Self) -> String {
        let bodies = |d: &Self| d.bodies.unwrap_or_default();
        let modseqs = self.modseqs.is_none() || copy.modseqs.is_none() || self.modseqs == copy.modseqs;
        let checks = [
            ("uidvalidity", self.uidvalidity == copy.uidvalidity),
            ("uidnext", self.uidnext == copy.uidnext),
            ("count", self.messages == copy.messages),
            ("content", self.content == copy.content),
            ("modseq", self.highest_modseq == copy.highest_modseq && modseqs),
            ("bodies", self.bodies.is_none() || bodies(self) == bodies(copy)),
        ];
        let unequal = checks.into_iter().filter_map(|(what, equal)| (!equal).then_some(what));
        unequal.collect::<Vec<_>>().join(", ")
    }
}

/// A user's tree as one comparable value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeDigest {
    /// Whose tree.
    pub user: UserName,
    /// Number of selectable mailboxes.
    pub mailboxes: u32,
    /// GUID and name of each mailbox, GUID and special use where it has one, mark and name of each unselectable name,
    /// each subscribed name, separator and prefixes.
    pub content: Sum,
    /// Kinds of attributes that could be read, each with the sum of all entries of that kind, the user's and the named
    /// mailboxes'.
    pub attributes: Vec<(AttributeKind, Sum)>,
    /// Number of the request that asked for it (0: nobody).
    pub request: u64,
}

impl TreeDigest {
    /// Of an empty tree.
    #[must_use]
    pub fn empty(user: UserName) -> Self {
        Self {
            user,
            mailboxes: 0,
            content: Sum::default(),
            attributes: Vec::new(),
            request: 0,
        }
    }

    /// Counts in one attribute, of a kind that is among [`Self::attributes`].
    pub fn add_attribute(&mut self, scope: AttributeScope, name: &str, value: &AttributeValue) {
        let sum = self.attributes.iter_mut().find(|(kind, _)| *kind == scope.kind);
        if let Some((_, sum)) = sum {
            let mailbox = scope.mailbox.map_or_else(Vec::new, |guid| guid.0.to_vec());
            sum.add(&[&mailbox, name.as_bytes(), &value.hash().0]);
        }
    }

    /// Counts in one name; `kind` is `m` (mailbox, with its GUID), `u` (special use of the mailbox with this GUID, as
    /// the only level), `n` (unselectable, with its mark), `s` (subscribed) or `h` ([`super::Namespaces::to_levels`], once).
    pub fn add(&mut self, kind: u8, guid: &[u8], name: &MailboxName) {
        let levels: Vec<&[u8]> = name.0.iter().map(String::as_bytes).collect();
        let mut parts: Vec<&[u8]> = vec![std::slice::from_ref(&kind), guid];
        parts.extend(levels);
        self.content.add(&parts);
        if kind == b'm' {
            self.mailboxes = self.mailboxes.saturating_add(1);
        }
    }

    /// What differs on `copy`: `count`, `content`, names of kinds of attributes, with commas; empty where they are equal.
    /// Attributes are compared where the source could read them.
    #[must_use]
    pub fn difference(&self, copy: &Self) -> String {
        let mut unequal = Vec::new();
        if self.mailboxes != copy.mailboxes {
            unequal.push("count");
        }
        if self.content != copy.content {
            unequal.push("content");
        }
        let lacks = |of: &&(AttributeKind, Sum)| !copy.attributes.contains(of);
        unequal.extend(self.attributes.iter().filter(lacks).map(|(kind, _)| kind.name()));
        unequal.join(", ")
    }
}

/// What a copy found when it applied a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestVerdict {
    /// Frame that carried the digest.
    pub lsn: Lsn,
    /// The request's number.
    pub request: u64,
    /// Whose mailbox or tree.
    pub user: UserName,
    /// The mailbox's name on the copy, or empty for a tree.
    pub mailbox: String,
    /// What differs (`content`, `modseq`, `uidnext` …); empty: equal.
    pub why: String,
    /// What should be known although it is no difference; empty: nothing.
    pub note: String,
}
