//! What the other side says, item by item.

use super::columns::{Columns, Kind};
use super::value::{elements, values};
use super::{Broken, broken};
use crate::limits::{NAME_BYTES_MAX, NAME_LEVELS_MAX};
use crate::op::{Flags, Guid, Keyword, MailboxName, MessageGuid, Modseq, Uid, UidValidity};

/// One thing that the other side said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Its `H`: the session has begun.
    Hello,
    /// A name of its tree.
    Node(SaidNode),
    /// Its deletions, which nobody asks for; with them how it spells names.
    Deletes(Spelling),
    /// A mailbox as it stands there.
    Mailbox(SaidMailbox),
    /// An attribute. With `streamed` its value follows as a stream.
    Attribute(SaidAttribute),
    /// A message of a list.
    Change(SaidChange),
    /// It lacks this message.
    Request(MessageGuid, Uid),
    /// A message's body; `true`: it follows as a stream.
    Mail(bool),
    /// What it has agreed to.
    State(SaidState),
    /// It is done.
    Finish(SaidFinish),
    /// Octets of the stream that follows an item.
    Part(Vec<u8>),
    /// The end of that stream.
    PartsEnd,
    /// The end of a list.
    End,
    /// It closes the session: done, or failed.
    Closing,
}

impl Said {
    /// What it is, without what it says: for error messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello => "a greeting",
            Self::Node(_) => "a name of the tree",
            Self::Deletes(_) => "a list of deletions",
            Self::Mailbox(_) => "a mailbox",
            Self::Attribute(_) => "an attribute",
            Self::Change(_) => "a change",
            Self::Request(..) => "a request",
            Self::Mail(_) => "a message",
            Self::State(_) => "a state",
            Self::Finish(_) => "a finish",
            Self::Part(_) | Self::PartsEnd => "a stream",
            Self::End => "the end of a list",
            Self::Closing => "a closing",
        }
    }
}

/// How the other side spells names of mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// Between levels. A level that has it is stored with `_` for it.
    pub separator: char,
    /// Begins two hexadecimal digits that stand for an octet. With `%`, dsync's own, Dovecot takes names that way although it
    /// doesn't write its own so: a name with a bare `%ce` would become another one. Any other is one that the session's
    /// configuration has: then Dovecot escapes by itself what it hears.
    pub escape: Option<char>,
}

impl Spelling {
    /// A level of a name, so that it arrives as it is.
    pub(super) fn level(self, level: &str) -> String {
        match self.escape {
            Some('%') => level.replace('%', "%25"),
            None => level.to_owned(),
            // what Dovecot would escape here it would read as a separator later
            Some(_) => level.replace(self.separator, "_"),
        }
    }
}

/// A name of the other side's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidNode {
    /// The name.
    pub name: MailboxName,
    /// The mailbox, with UIDVALIDITY and UIDNEXT; none: a directory, or a name that is only subscribed.
    pub mailbox: Option<(Guid, UidValidity, Uid)>,
    /// Whether it is subscribed.
    pub subscribed: bool,
}

/// A mailbox as it stands at the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaidMailbox {
    /// Which.
    pub guid: Guid,
    /// UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// UIDNEXT.
    pub uid_next: Uid,
    /// Messages in it.
    pub messages: u32,
    /// HIGHESTMODSEQ.
    pub highest_modseq: Modseq,
    /// True: it can't be worked on (unknown there, or a state that is of no use any more).
    pub lost: bool,
}

/// An attribute at the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidAttribute {
    /// True for `/private`, false for `/shared`.
    pub private: bool,
    /// Its key, as Dovecot spells it.
    pub key: String,
    /// Its value, where it stands in the line.
    pub value: Option<Vec<u8>>,
    /// True: the value follows.
    pub streamed: bool,
}

/// What a message of the other side's list is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is new to the state, or one of a complete list.
    Saved,
    /// Its flags or keywords changed.
    Flagged,
    /// It is gone.
    Expunged,
}

/// A message of the other side's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidChange {
    /// Why it is listed.
    pub deed: Deed,
    /// Its UID.
    pub uid: Uid,
    /// Its GUID; unknown where the other side doesn't say it.
    pub guid: MessageGuid,
    /// Its MODSEQ.
    pub modseq: Modseq,
    /// Its flags now.
    pub flags: Flags,
    /// Its keywords now.
    pub keywords: Vec<Keyword>,
}

/// What the other side has agreed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaidState {
    /// Of which mailbox.
    pub guid: Guid,
    /// UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// Last common UID.
    pub uid: Uid,
    /// Last common MODSEQ.
    pub modseq: Modseq,
    /// Messages in it.
    pub messages: u32,
    /// True: others changed something meanwhile.
    pub meanwhile: bool,
}

/// How the other side ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaidFinish {
    /// What went wrong, where it says so.
    pub error: Option<String>,
    /// True: a state was of no use.
    pub full_resync: bool,
}

/// Values of one line by name.
struct Row<'a> {
    columns: &'a [String],
    values: Vec<Option<Vec<u8>>>,
}

impl Row<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let place = self.columns.iter().position(|column| column == name)?;
        self.values.get(place)?.as_deref()
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.get(name)?).into_owned())
    }

    fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, Broken> {
        let text = self.get(name).and_then(|octets| std::str::from_utf8(octets).ok());
        let number = text.and_then(|text| text.parse().ok());
        number.ok_or_else(|| broken(format!("no number where {name} should be")))
    }

    fn number_or_0<T: std::str::FromStr + Default>(&self, name: &'static str) -> Result<T, Broken> {
        match self.has(name) {
            true => self.number(name),
            false => Ok(T::default()),
        }
    }

    fn guid(&self, name: &'static str) -> Result<Guid, Broken> {
        let guid = self.text(name).and_then(|text| Guid::from_hex(&text));
        guid.ok_or_else(|| broken(format!("no GUID where {name} should be")))
    }

    fn flags(&self, name: &'static str) -> Result<Flags, Broken> {
        let Some(octets) = self.get(name) else {
            return Ok(Flags::NONE);
        };
        let text = std::str::from_utf8(octets).unwrap_or_default();
        let bits = u32::from_str_radix(text, 16).map_err(|_| broken("flags are no number"))?;
        Ok(u8::try_from(bits & 0x1f).map_or(Flags::NONE, Flags::from_bits))
    }
}

/// Reads an item's line: its letter, then its values. None for letters that we don't know.
pub(super) fn item(line: &[u8], columns: &Columns) -> Result<Option<Said>, Broken> {
    let (letter, rest) = line.split_first().ok_or_else(|| broken("an empty line"))?;
    let Some(kind) = Kind::of(*letter) else {
        return Ok(None);
    };
    let columns = columns
        .of(kind)
        .ok_or_else(|| broken("an item whose columns were not said"))?;
    let row = Row {
        columns,
        values: values(rest),
    };
    let said = match kind {
        Kind::Hello => Said::Hello,
        Kind::Node => Said::Node(node(&row)?),
        Kind::Deletes => Said::Deletes(spelling(&row)?),
        Kind::Mailbox => Said::Mailbox(mailbox(&row)?),
        Kind::Attribute => Said::Attribute(attribute(&row)?),
        Kind::Change => Said::Change(change(&row)?),
        Kind::Request => Said::Request(
            MessageGuid(row.text("guid").unwrap_or_default()),
            Uid(row.number_or_0("uid")?),
        ),
        Kind::Mail => Said::Mail(row.has("stream")),
        Kind::State => Said::State(state(&row)?),
        Kind::Finish => Said::Finish(SaidFinish {
            error: row.text("error").or_else(|| row.text("mail_error")),
            full_resync: row.has("require_full_resync"),
        }),
        Kind::CacheField => return Err(broken("a cache field outside a mailbox")),
    };
    Ok(Some(said))
}

fn node(row: &Row<'_>) -> Result<SaidNode, Broken> {
    let levels = elements(row.get("name").unwrap_or_default());
    let bytes: usize = levels.iter().map(Vec::len).sum();
    if levels.is_empty() || levels.len() > NAME_LEVELS_MAX || bytes > NAME_BYTES_MAX {
        return Err(broken("a mailbox's name is out of bounds"));
    }
    let levels = levels
        .into_iter()
        .map(|level| String::from_utf8_lossy(&level).into_owned());
    let exists = row.get("existence") == Some(b"y") && row.has("mailbox_guid");
    let mailbox = match exists {
        false => None,
        true => Some((
            row.guid("mailbox_guid")?,
            UidValidity(row.number_or_0("uid_validity")?),
            Uid(row.number_or_0("uid_next")?),
        )),
    };
    Ok(SaidNode {
        name: MailboxName::of(levels),
        mailbox,
        subscribed: row.has("subscribed"),
    })
}

fn spelling(row: &Row<'_>) -> Result<Spelling, Broken> {
    let one = |name| match row.get(name) {
        Some([one]) if one.is_ascii_graphic() => Some(char::from(*one)),
        _ => None,
    };
    Ok(Spelling {
        separator: one("hierarchy_sep").ok_or_else(|| broken("no hierarchy separator"))?,
        escape: one("escape_char"),
    })
}

fn mailbox(row: &Row<'_>) -> Result<SaidMailbox, Broken> {
    Ok(SaidMailbox {
        guid: row.guid("mailbox_guid")?,
        uid_validity: UidValidity(row.number("uid_validity")?),
        uid_next: Uid(row.number("uid_next")?),
        messages: row.number("messages_count")?,
        highest_modseq: Modseq(row.number("highest_modseq")?),
        lost: row.has("mailbox_lost") || row.has("mailbox_ignore"),
    })
}

fn attribute(row: &Row<'_>) -> Result<SaidAttribute, Broken> {
    let private = match row.get("type") {
        Some(b"p") => true,
        Some(b"s") => false,
        _ => return Err(broken("an attribute is neither private nor shared")),
    };
    let key = row.text("key").ok_or_else(|| broken("an attribute has no key"))?;
    let deleted = row.has("deleted");
    Ok(SaidAttribute {
        private,
        key,
        value: row.get("value").filter(|_| !deleted).map(<[u8]>::to_vec),
        streamed: row.has("stream") && !row.has("value"),
    })
}

fn change(row: &Row<'_>) -> Result<SaidChange, Broken> {
    let deed = match row.get("type") {
        Some(b"s") => Deed::Saved,
        Some(b"f") => Deed::Flagged,
        Some(b"e") => Deed::Expunged,
        _ => return Err(broken("a change of no known type")),
    };
    let mut keywords = Vec::new();
    for element in elements(row.get("keyword_changes").unwrap_or_default()) {
        match element.split_first() {
            Some((b'=' | b'&', name)) => keywords.push(Keyword(String::from_utf8_lossy(name).into_owned())),
            // added or removed by its log, and not there
            Some((b'+' | b'-', _)) => {}
            _ => return Err(broken("a keyword changes in no known way")),
        }
    }
    Ok(SaidChange {
        deed,
        uid: Uid(row.number("uid")?),
        guid: MessageGuid(row.text("guid").unwrap_or_default()),
        modseq: Modseq(row.number_or_0("modseq")?),
        // what its log says was added may have been taken away again by what its log no longer says
        flags: row.flags("final_flags")?,
        keywords,
    })
}

fn state(row: &Row<'_>) -> Result<SaidState, Broken> {
    Ok(SaidState {
        guid: row.guid("mailbox_guid")?,
        uid_validity: UidValidity(row.number("last_uidvalidity")?),
        uid: Uid(row.number("last_common_uid")?),
        modseq: Modseq(row.number("last_common_modseq")?),
        messages: row.number_or_0("last_messages_count")?,
        meanwhile: row.has("changes_during_sync"),
    })
}
