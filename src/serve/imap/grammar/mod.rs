//! Commands: from bytes to what is meant. Pure; every input gives a command or a reason.

mod append;
mod attributes;
mod fetch;
mod flags;
mod list;
mod scan;
mod search;
mod select;
mod set;
mod sort;
mod write;

pub(super) use append::{Append, Arrival, Replace};
pub(super) use attributes::{Depth, GetMetadata, SetAcl, SetMetadata, Sign};
pub(super) use fetch::{Fetch, Item, Section, SectionText};
pub(super) use list::List;
pub(super) use scan::{Bad, is_atom};
pub(super) use search::{Day, Key, MONTHS, Return, Search};
pub(super) use select::{Known, Select};
pub(super) use set::{SequenceSet, compact};
pub(super) use sort::{Algorithm, Criterion, Sort, SortKey, Thread};
pub(super) use write::{Copy, Store};

use crate::limits::IMAP_PATTERN_BYTES_MAX;
use scan::Scan;

/// A command without its tag. Mailbox names are still in modified UTF-7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Capability,
    Noop,
    Logout,
    StartTls,
    Authenticate {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
    Login {
        name: Vec<u8>,
        password: Vec<u8>,
    },
    Enable(Vec<String>),
    Id,
    Namespace,
    Select(Select),
    List(List),
    Lsub {
        reference: Vec<u8>,
        pattern: Vec<u8>,
    },
    Status {
        mailbox: Vec<u8>,
        items: Vec<StatusItem>,
    },
    GetMetadata(GetMetadata),
    GetAcl(Vec<u8>),
    MyRights(Vec<u8>),
    ListRights {
        mailbox: Vec<u8>,
        whom: Vec<u8>,
    },
    Check,
    Close,
    Unselect,
    Idle,
    Fetch(Fetch),
    Search(Search),
    Sort(Sort),
    Thread(Thread),
    /// COMPRESS with that mechanism.
    Compress(String),
    GetQuota(Vec<u8>),
    GetQuotaRoot(Vec<u8>),
    Append(Append),
    Replace(Replace),
    Store(Store),
    /// EXPUNGE; with a set: UID EXPUNGE.
    Expunge(Option<SequenceSet>),
    Copy(Copy),
    Create {
        mailbox: Vec<u8>,
        /// With the backslash.
        special_use: Option<String>,
    },
    Delete(Vec<u8>),
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    /// SUBSCRIBE, or UNSUBSCRIBE.
    Subscribe {
        mailbox: Vec<u8>,
        subscribed: bool,
    },
    SetMetadata(SetMetadata),
    SetAcl(SetAcl),
    DeleteAcl {
        mailbox: Vec<u8>,
        whom: Vec<u8>,
    },
}

/// Items of STATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    HighestModseq,
    Size,
    Guid,
    MailboxId,
    Deleted,
    AppendLimit,
}

impl StatusItem {
    /// Every item with its name.
    pub(super) const NAMED: [(Self, &'static str); 11] = [
        (Self::Messages, "MESSAGES"),
        (Self::Recent, "RECENT"),
        (Self::UidNext, "UIDNEXT"),
        (Self::UidValidity, "UIDVALIDITY"),
        (Self::Unseen, "UNSEEN"),
        (Self::HighestModseq, "HIGHESTMODSEQ"),
        (Self::Size, "SIZE"),
        (Self::Guid, "X-GUID"),
        (Self::MailboxId, "MAILBOXID"),
        (Self::Deleted, "DELETED"),
        (Self::AppendLimit, "APPENDLIMIT"),
    ];

    fn parse(scan: &mut Scan<'_>) -> Result<Self, Bad> {
        let word = scan.keyword();
        let item = Self::NAMED.iter().find(|(_, name)| *name == word);
        item.map(|(item, _)| *item)
            .ok_or_else(|| Bad(format!("Invalid status item {word}")))
    }
}

/// Commands that change mail, folders or their attributes: all of them end the same way on a standby.
const WRITES: [&str; 22] = [
    "APPEND",
    "STORE",
    "EXPUNGE",
    "COPY",
    "MOVE",
    "CREATE",
    "DELETE",
    "RENAME",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "SETMETADATA",
    "SETACL",
    "DELETEACL",
    "SETQUOTA",
    "REPLACE",
    "UID STORE",
    "UID EXPUNGE",
    "UID COPY",
    "UID MOVE",
    "UID REPLACE",
    "SETANNOTATION",
    "RESETKEY",
];

/// The verb at the start of a command (behind the tag), `UID` with its second word.
pub(super) fn verb(command: &[u8]) -> String {
    let mut scan = Scan::new(command);
    let verb = scan.keyword();
    if verb == "UID" && scan.space().is_ok() {
        format!("UID {}", scan.keyword())
    } else {
        verb
    }
}

/// True where the verb changes something.
pub(super) fn is_write(verb: &str) -> bool {
    WRITES.contains(&verb)
}

/// Reads a command; `bytes` begin behind the tag and its space.
pub(super) fn parse(bytes: &[u8]) -> Result<Command, Bad> {
    let verb = verb(bytes);
    let mut scan = Scan::new(bytes);
    scan.word();
    if verb.starts_with("UID ") {
        scan.space()?;
        scan.word();
    }
    match verb.as_str() {
        "FETCH" | "UID FETCH" => Fetch::parse(&mut scan, verb.starts_with("UID")).map(Command::Fetch),
        "SEARCH" | "UID SEARCH" => Search::parse(&mut scan, verb.starts_with("UID")).map(Command::Search),
        "SORT" | "UID SORT" => Sort::parse(&mut scan, verb.starts_with("UID")).map(Command::Sort),
        "THREAD" | "UID THREAD" => Thread::parse(&mut scan, verb.starts_with("UID")).map(Command::Thread),
        _ => {
            let command = plain(&verb, &mut scan)?;
            scan.done()?;
            Ok(command)
        }
    }
}

fn plain(verb: &str, scan: &mut Scan<'_>) -> Result<Command, Bad> {
    Ok(match verb {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "STARTTLS" => Command::StartTls,
        "NAMESPACE" => Command::Namespace,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "IDLE" => Command::Idle,
        "ID" => id(scan)?,
        "AUTHENTICATE" => authenticate(scan)?,
        "LOGIN" => {
            let (name, password) = two(scan, |scan| scan.astring())?;
            Command::Login { name, password }
        }
        "ENABLE" => enable(scan)?,
        "SELECT" | "EXAMINE" => Command::Select(Select::parse(scan, verb == "EXAMINE")?),
        "LIST" => Command::List(List::parse(scan)?),
        "LSUB" => {
            let (reference, pattern) = two(scan, bounded_pattern)?;
            Command::Lsub { reference, pattern }
        }
        "STATUS" => status(scan)?,
        "COMPRESS" => {
            scan.space()?;
            Command::Compress(scan.keyword())
        }
        "GETQUOTA" => {
            scan.space()?;
            Command::GetQuota(scan.astring()?)
        }
        "GETQUOTAROOT" => {
            scan.space()?;
            Command::GetQuotaRoot(scan.astring()?)
        }
        "APPEND" => Command::Append(Append::parse(scan)?),
        "REPLACE" | "UID REPLACE" => Command::Replace(Replace::parse(scan, verb.starts_with("UID"))?),
        "STORE" | "UID STORE" => Command::Store(Store::parse(scan, verb.starts_with("UID"))?),
        "EXPUNGE" => Command::Expunge(None),
        "UID EXPUNGE" => write::uid_expunge(scan)?,
        "COPY" | "UID COPY" => write::copy(scan, verb.starts_with("UID"), false)?,
        "MOVE" | "UID MOVE" => write::copy(scan, verb.starts_with("UID"), true)?,
        _ => return attributes_or_folders(verb, scan),
    })
}

fn attributes_or_folders(verb: &str, scan: &mut Scan<'_>) -> Result<Command, Bad> {
    Ok(match verb {
        "CREATE" => write::create(scan)?,
        "DELETE" => Command::Delete(write::mailbox(scan)?),
        "RENAME" => {
            let (from, to) = two(scan, |scan| scan.astring())?;
            Command::Rename { from, to }
        }
        "SUBSCRIBE" | "UNSUBSCRIBE" => Command::Subscribe {
            mailbox: write::mailbox(scan)?,
            subscribed: verb == "SUBSCRIBE",
        },
        "SETMETADATA" => Command::SetMetadata(SetMetadata::parse(scan)?),
        "SETACL" => Command::SetAcl(SetAcl::parse(scan)?),
        "DELETEACL" => {
            let (mailbox, whom) = two(scan, |scan| scan.astring())?;
            Command::DeleteAcl { mailbox, whom }
        }
        "GETMETADATA" => attributes::get_metadata(scan)?,
        "GETACL" => attributes::get_acl(scan)?,
        "MYRIGHTS" => attributes::my_rights(scan)?,
        "LISTRIGHTS" => attributes::list_rights(scan)?,
        _ => return Bad::new("Unknown command"),
    })
}

fn two(
    scan: &mut Scan<'_>,
    argument: impl Fn(&mut Scan<'_>) -> Result<Vec<u8>, Bad>,
) -> Result<(Vec<u8>, Vec<u8>), Bad> {
    scan.space()?;
    let first = argument(scan)?;
    scan.space()?;
    Ok((first, argument(scan)?))
}

fn bounded_pattern(scan: &mut Scan<'_>) -> Result<Vec<u8>, Bad> {
    let pattern = scan.pattern()?;
    if pattern.len() > IMAP_PATTERN_BYTES_MAX {
        Bad::new("Pattern too long")
    } else {
        Ok(pattern)
    }
}

/// What a client says of itself is read and forgotten.
fn id(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    scan.space()?;
    if scan.peek() == Some(b'(') {
        scan.list(0, |scan| match scan.peek() {
            Some(b'"' | b'{') => scan.string().map(drop),
            _ if scan.keyword() == "NIL" => Ok(()),
            _ => Bad::new("Invalid ID"),
        })?;
    } else if scan.keyword() != "NIL" {
        return Bad::new("Invalid ID");
    }
    Ok(Command::Id)
}

fn authenticate(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    scan.space()?;
    let mechanism = scan.keyword();
    let initial = if scan.is_done() {
        None
    } else {
        scan.space()?;
        Some(scan.astring()?)
    };
    Ok(Command::Authenticate { mechanism, initial })
}

fn enable(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    let mut names = Vec::new();
    while !scan.is_done() {
        scan.space()?;
        names.push(scan.keyword());
    }
    if names.is_empty() {
        Bad::new("Missing arguments")
    } else {
        Ok(Command::Enable(names))
    }
}

fn status(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    scan.space()?;
    let mailbox = scan.astring()?;
    scan.space()?;
    let items = scan.list(1, StatusItem::parse)?;
    Ok(Command::Status { mailbox, items })
}
