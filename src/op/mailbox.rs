//! Operations of one mailbox. See `schema/operations.md` for their bytes and numeric tags.

use super::ids::numbered;
use super::{Keyword, MailboxId, MessageGuid, Modseq, SourcePosition, Uid, UidValidity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

numbered!(KeywordVerb { Add = 1, Remove = 2, Replace = 3, Reset = 4 });
numbered!(Lineage { Initial = 1, Whole = 2, Broken = 3, Believed = 4 });

/// The system flags that a client can see, in Dovecot's bits (`\Recent` is a session's matter and not replicated).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// `\Answered`
    pub const ANSWERED: Self = Self(0x01);
    /// `\Flagged`
    pub const FLAGGED: Self = Self(0x02);
    /// `\Deleted`
    pub const DELETED: Self = Self(0x04);
    /// `\Seen`
    pub const SEEN: Self = Self(0x08);
    /// `\Draft`
    pub const DRAFT: Self = Self(0x10);
    /// Every flag with its IMAP name.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::ANSWERED, "\\Answered"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::DELETED, "\\Deleted"),
        (Self::SEEN, "\\Seen"),
        (Self::DRAFT, "\\Draft"),
    ];

    /// The client-visible part of Dovecot's flag byte.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 0x1f)
    }

    /// Dovecot's bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// True where every flag of `other` is set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// After one change: `remove` first, then `add`, as Dovecot does it.
    #[must_use]
    pub fn changed(self, add: Self, remove: Self) -> Self {
        Self((self.0 & !remove.0) | add.0)
    }
}

/// UIDs `first..=last`, `first <= last`. May cover UIDs that don't exist: the copy intersects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UidRange {
    /// First UID, not 0.
    pub first: Uid,
    /// Last UID, included.
    pub last: Uid,
}

impl UidRange {
    /// Every UID.
    pub const ALL: Self = Self {
        first: Uid(1),
        last: Uid(u32::MAX),
    };

    /// One UID.
    #[must_use]
    pub fn one(uid: Uid) -> Self {
        Self { first: uid, last: uid }
    }

    /// Ascending UIDs as ranges.
    #[must_use]
    pub fn covering(uids: &[Uid]) -> Vec<Self> {
        let runs = uids.chunk_by(|a, b| a.0.saturating_add(1) == b.0);
        let range = |run: &[Uid]| {
            Some(Self {
                first: *run.first()?,
                last: *run.last()?,
            })
        };
        runs.filter_map(range).collect()
    }

    /// True where `uid` lies within.
    #[must_use]
    pub fn contains(&self, uid: Uid) -> bool {
        self.first <= uid && uid <= self.last
    }
}

/// A message as it stands in a mailbox: appended, or listed by a `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// UID in the mailbox.
    pub uid: Uid,
    /// The message's GUID, unknown where it was gone before it could be read.
    pub guid: MessageGuid,
    /// RFC822.SIZE in octets, absent where the format doesn't tell it without reading the body.
    pub size: Option<u64>,
    /// INTERNALDATE, UNIX seconds. 0 where the message was gone before it could be read.
    pub internal_date: i64,
    /// SAVEDATE (RFC 8514), UNIX seconds, where the store has one.
    pub save_date: Option<i64>,
    /// System flags.
    pub flags: Flags,
    /// Keywords, in no order, none twice.
    pub keywords: Vec<Keyword>,
    /// The message's MODSEQ.
    pub modseq: Modseq,
}

impl Append {
    /// Takes over from `before`, the same message as the copy had it, what a list could not tell because the message's
    /// file was not there to be read; its MODSEQ does not fall.
    pub fn keep_known(&mut self, before: &Self) {
        self.modseq = self.modseq.max(before.modseq);
        self.size = self.size.or(before.size);
        if self.guid.is_unknown() {
            self.guid = before.guid.clone();
        }
        if self.internal_date == 0 {
            self.internal_date = before.internal_date;
            self.save_date = self.save_date.or(before.save_date);
        }
    }

    /// True where a client sees the same flags and keywords.
    #[must_use]
    pub fn looks_like(&self, other: &Self) -> bool {
        let keywords = |of: &Self| -> BTreeSet<String> {
            let lower = of.keywords.iter().map(|keyword| keyword.0.to_ascii_lowercase());
            lower.collect()
        };
        self.flags == other.flags && keywords(self) == keywords(other)
    }
}

/// System flags of some messages change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagChange {
    /// Which messages.
    pub uids: Vec<UidRange>,
    /// Flags to set, after those of `remove` were cleared.
    pub add: Flags,
    /// Flags to clear.
    pub remove: Flags,
    /// MODSEQ of every message in `uids`, changed or not (as Dovecot counts it); never lowers one. Without flags to add
    /// or remove the MODSEQ alone changes.
    pub modseq: Modseq,
}

/// What a [`KeywordChange`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum KeywordVerb {
    /// Set the keyword.
    Add,
    /// Clear the keyword.
    Remove,
    /// The keyword becomes the only one.
    Replace,
    /// Clear every keyword (`keyword` is empty).
    Reset,
}

/// One keyword of some messages changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeywordChange {
    /// Which messages.
    pub uids: Vec<UidRange>,
    /// What happens.
    pub verb: KeywordVerb,
    /// To which keyword.
    pub keyword: Keyword,
    /// MODSEQ of every message in `uids`, changed or not; never lowers one.
    pub modseq: Modseq,
}

/// Messages are gone from the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expunge {
    /// Which messages.
    pub uids: Vec<UidRange>,
    /// True where the same chain of the log holds the request: genuine. False: the mail merely vanished (guarantee 7).
    pub requested: bool,
    /// MODSEQ of the expunge.
    pub modseq: Modseq,
}

/// One operation on one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A message arrives (delivered, appended, copied or moved in).
    Append(Append),
    /// System flags change.
    Flags(FlagChange),
    /// A keyword changes.
    Keywords(KeywordChange),
    /// Messages are gone.
    Expunge(Expunge),
}

/// What one source transaction made of one mailbox; never split. Without `ops` it is a `floor`: it only raises UIDNEXT
/// or HIGHESTMODSEQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxTxn {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Under which UIDVALIDITY. Another one than the copy's is a contradiction: only a `state` changes it.
    pub uidvalidity: UidValidity,
    /// In the log's order.
    pub ops: Vec<Op>,
    /// UIDNEXT afterwards.
    pub uidnext: Uid,
    /// HIGHESTMODSEQ afterwards.
    pub highest_modseq: Modseq,
    /// Where the source's log stands afterwards.
    pub position: SourcePosition,
}

/// What the source knows of the way between the copy's mailbox and this list (guarantee 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Lineage {
    /// The first list of this mailbox that this stream carries.
    #[default]
    Initial,
    /// Parts of the log were not read, but nothing speaks of damage: same index id, UIDVALIDITY and GUID; file
    /// sequence, MODSEQ and UIDNEXT not lower; no repair mark. What is missing may be attested by asking `gone?`.
    Whole,
    /// A reset, a roll-back, a repair or a foreign log: what is missing is only inferred.
    Broken,
    /// An operator's word on a primary: this list is the truth, whatever it contradicts. What is not in it is retained.
    Believed,
}

/// A part of a `state`: the mailbox's complete list of messages at one source position. The parts of one `state` are a
/// run of frames; header fields are the same in each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChunk {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY now.
    pub uidvalidity: UidValidity,
    /// How this list follows on what was sent before.
    pub lineage: Lineage,
    /// Messages by ascending UID; ascending over the parts too.
    pub messages: Vec<Append>,
    /// UIDNEXT.
    pub uidnext: Uid,
    /// HIGHESTMODSEQ.
    pub highest_modseq: Modseq,
    /// Where the source's log stands.
    pub position: SourcePosition,
}

/// Largest MODSEQ (RFC 7162 section 1: 63 bits).
const MODSEQ_MAX: Modseq = Modseq(i64::MAX.cast_unsigned());

impl Modseq {
    /// Raised, as a copy does that has seen higher ones before the source's log was taken back.
    #[must_use]
    pub fn lifted(self, lift: u64) -> Self {
        Self(self.0.saturating_add(lift)).min(self.max(MODSEQ_MAX))
    }
}

impl Op {
    /// MODSEQ that the operation gives.
    #[must_use]
    pub fn modseq(&self) -> Modseq {
        match self {
            Self::Append(append) => append.modseq,
            Self::Flags(change) => change.modseq,
            Self::Keywords(change) => change.modseq,
            Self::Expunge(expunge) => expunge.modseq,
        }
    }

    /// The messages from before that it changes; an append changes none.
    #[must_use]
    pub fn uids(&self) -> &[UidRange] {
        match self {
            Self::Append(_) => &[],
            Self::Flags(change) => &change.uids,
            Self::Keywords(change) => &change.uids,
            Self::Expunge(expunge) => &expunge.uids,
        }
    }
}

impl MailboxTxn {
    /// The same transaction with every MODSEQ raised by `lift`.
    #[must_use]
    pub fn lifted(mut self, lift: u64) -> Self {
        if lift == 0 {
            return self;
        }
        for op in &mut self.ops {
            let modseq = match op {
                Op::Append(append) => &mut append.modseq,
                Op::Flags(change) => &mut change.modseq,
                Op::Keywords(change) => &mut change.modseq,
                Op::Expunge(expunge) => &mut expunge.modseq,
            };
            *modseq = modseq.lifted(lift);
        }
        self.highest_modseq = self.highest_modseq.lifted(lift);
        self
    }

    /// The transaction's appends, in order.
    pub fn appends(&self) -> impl Iterator<Item = &Append> {
        self.ops.iter().filter_map(|op| match op {
            Op::Append(append) => Some(append),
            _ => None,
        })
    }

    /// Why this can't follow on a mailbox with that UIDVALIDITY (0: no list of it has arrived yet) and UIDNEXT.
    #[must_use]
    pub fn contradiction(&self, uidvalidity: UidValidity, uidnext: Uid) -> Option<String> {
        if uidvalidity == UidValidity(0) {
            return Some("a transaction came before any list of the mailbox".to_owned());
        }
        if self.uidvalidity != uidvalidity {
            return Some(format!(
                "UIDVALIDITY is {} and the transaction says {}",
                uidvalidity, self.uidvalidity
            ));
        }
        let mut next = uidnext.max(Uid(1));
        for append in self.appends() {
            if append.uid < next {
                return Some(format!("UID {} is appended where UIDNEXT is {next}", append.uid));
            }
            next = Uid(append.uid.0.saturating_add(1));
        }
        if self.appends().next().is_some() && self.uidnext < next {
            return Some(format!("UIDNEXT {} is not above the appended UIDs", self.uidnext));
        }
        let highest = self.ops.iter().map(Op::modseq).max().max(Some(self.highest_modseq));
        (highest > Some(MODSEQ_MAX)).then(|| "a MODSEQ has more than 63 bits".to_owned())
    }
}

impl StateChunk {
    /// Why this list (all parts together) can't be a mailbox's.
    #[must_use]
    pub fn flaw(&self) -> Option<String> {
        if self.uidvalidity == UidValidity(0) {
            return Some("the list has no UIDVALIDITY".to_owned());
        }
        let mut last = Uid(0);
        for message in &self.messages {
            if message.uid <= last {
                return Some(format!("the list has UID {} after {last}", message.uid));
            }
            last = message.uid;
        }
        if last > Uid(0) && self.uidnext <= last {
            return Some(format!("the list has UID {last} where UIDNEXT is {}", self.uidnext));
        }
        let highest = self
            .messages
            .iter()
            .map(|m| m.modseq)
            .max()
            .max(Some(self.highest_modseq));
        (highest > Some(MODSEQ_MAX)).then(|| "a MODSEQ has more than 63 bits".to_owned())
    }
}
