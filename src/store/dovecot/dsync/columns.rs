//! Kinds of items, and the columns of each: both sides say at the start in which order theirs come.

use super::value::{Line, elements};
use super::{Broken, broken};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Who speaks, and what kind of session it is.
    Hello,
    /// A mailbox's state.
    State,
    /// A name in the tree.
    Node,
    /// What was deleted.
    Deletes,
    /// A mailbox.
    Mailbox,
    /// An attribute.
    Attribute,
    /// A message that is new, changed or gone.
    Change,
    /// A request for a message's body.
    Request,
    /// A message's body.
    Mail,
    /// The end.
    Finish,
    /// A field of the cache; nested only.
    CacheField,
}

use Kind::{Attribute, CacheField, Change, Deletes, Finish, Hello, Mail, Mailbox, Node, Request, State};

/// Every kind with its letter and our columns, in our order.
const KINDS: [(Kind, u8, &[&str]); 11] = [
    (
        Hello,
        b'H',
        &[
            "hostname",
            "sync_type",
            "backup_recv",
            "backup_send",
            "send_mail_requests",
            "hashed_headers",
            "alt_char",
        ],
    ),
    (
        State,
        b'S',
        &[
            "mailbox_guid",
            "last_uidvalidity",
            "last_common_uid",
            "last_common_modseq",
            "last_common_pvt_modseq",
            "last_messages_count",
            "changes_during_sync",
        ],
    ),
    (
        Node,
        b'N',
        &[
            "name",
            "existence",
            "mailbox_guid",
            "uid_validity",
            "uid_next",
            "last_renamed_or_created",
            "subscribed",
            "last_subscription_change",
        ],
    ),
    (
        Deletes,
        b'D',
        &["hierarchy_sep", "escape_char", "mailboxes", "dirs", "unsubscribes"],
    ),
    (
        Mailbox,
        b'B',
        &[
            "mailbox_guid",
            "uid_validity",
            "uid_next",
            "messages_count",
            "first_recent_uid",
            "highest_modseq",
            "highest_pvt_modseq",
            "mailbox_lost",
            "mailbox_ignore",
            "cache_fields",
            "have_guids",
            "have_save_guids",
            "have_only_guid128",
        ],
    ),
    (
        Attribute,
        b'A',
        &["type", "key", "value", "stream", "deleted", "last_change", "modseq"],
    ),
    (
        Change,
        b'C',
        &[
            "type",
            "uid",
            "guid",
            "hdr_hash",
            "modseq",
            "pvt_modseq",
            "add_flags",
            "remove_flags",
            "final_flags",
            "keywords_reset",
            "keyword_changes",
            "received_timestamp",
            "virtual_size",
        ],
    ),
    (Request, b'R', &["guid", "uid"]),
    (
        Mail,
        b'M',
        &[
            "guid",
            "uid",
            "pop3_uidl",
            "pop3_order",
            "received_date",
            "saved_date",
            "stream",
        ],
    ),
    (Finish, b'F', &["error", "mail_error", "require_full_resync"]),
    (CacheField, b'c', &["name", "decision", "last_used"]),
];

impl Kind {
    /// The letter that its lines begin with.
    pub(super) fn letter(self) -> u8 {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(b'?', |known| known.1)
    }

    pub(super) fn of(letter: u8) -> Option<Self> {
        KINDS.iter().find(|known| known.1 == letter).map(|known| known.0)
    }

    /// A line of this kind.
    pub(super) fn line(self) -> Line {
        Line::new(self.letter())
    }
}

/// Our header lines, with the line that ends them.
pub(super) fn put_headers(out: &mut Vec<u8>) {
    for (kind, _, columns) in KINDS {
        let mut line = kind.line();
        for column in columns {
            line.text(column);
        }
        line.end(out);
    }
    out.extend(b".\n");
}

/// The other side's columns.
#[derive(Debug, Default)]
pub(super) struct Columns(Vec<(Kind, Vec<String>)>);

impl Columns {
    /// Takes one header line, its letter in front. Letters that we don't know are left out.
    pub(super) fn learn(&mut self, line: &[u8]) -> Result<(), Broken> {
        let (letter, names) = line.split_first().ok_or_else(|| broken("an empty header line"))?;
        let Some(kind) = Kind::of(*letter) else {
            return Ok(());
        };
        if self.0.iter().any(|(known, _)| *known == kind) {
            return Err(broken("two header lines for one kind of item"));
        }
        let names = elements(names).into_iter().map(String::from_utf8);
        let names = names.collect::<Result<_, _>>();
        self.0
            .push((kind, names.map_err(|_| broken("a column's name is no text"))?));
        Ok(())
    }

    /// Places of a kind's columns.
    pub(super) fn of(&self, kind: Kind) -> Option<&[String]> {
        let known = self.0.iter().find(|(known, _)| *known == kind);
        known.map(|(_, columns)| columns.as_slice())
    }
}
