//! Commands: from bytes to what is meant. Pure; every input gives a command or a reason.

mod fetch;
mod scan;
mod search;
mod set;

pub(super) use fetch::{Fetch, Item, Section, SectionText};
pub(super) use scan::{Bad, is_atom};
pub(super) use search::{Day, Key, MONTHS, Return, Search};
pub(super) use set::compact;

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
    Select {
        mailbox: Vec<u8>,
        examine: bool,
        condstore: bool,
    },
    List {
        reference: Vec<u8>,
        pattern: Vec<u8>,
    },
    Lsub {
        reference: Vec<u8>,
        pattern: Vec<u8>,
    },
    Status {
        mailbox: Vec<u8>,
        items: Vec<StatusItem>,
    },
    Check,
    Close,
    Unselect,
    Idle,
    Fetch(Fetch),
    Search(Search),
    /// One of the commands that change something.
    Write(String),
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
}

impl StatusItem {
    /// Every item with its name.
    pub(super) const NAMED: [(Self, &'static str); 8] = [
        (Self::Messages, "MESSAGES"),
        (Self::Recent, "RECENT"),
        (Self::UidNext, "UIDNEXT"),
        (Self::UidValidity, "UIDVALIDITY"),
        (Self::Unseen, "UNSEEN"),
        (Self::HighestModseq, "HIGHESTMODSEQ"),
        (Self::Size, "SIZE"),
        (Self::Guid, "X-GUID"),
    ];
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
    if is_write(&verb) {
        return Ok(Command::Write(verb));
    }
    match verb.as_str() {
        "UID FETCH" | "UID SEARCH" => {
            scan.space()?;
            scan.word();
        }
        _ => {}
    }
    match verb.as_str() {
        "FETCH" | "UID FETCH" => Fetch::parse(&mut scan, verb.starts_with("UID")).map(Command::Fetch),
        "SEARCH" | "UID SEARCH" => Search::parse(&mut scan, verb.starts_with("UID")).map(Command::Search),
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
        "SELECT" | "EXAMINE" => select(scan, verb == "EXAMINE")?,
        "LIST" => {
            let (reference, pattern) = two(scan, bounded_pattern)?;
            Command::List { reference, pattern }
        }
        "LSUB" => {
            let (reference, pattern) = two(scan, bounded_pattern)?;
            Command::Lsub { reference, pattern }
        }
        "STATUS" => status(scan)?,
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

fn select(scan: &mut Scan<'_>, examine: bool) -> Result<Command, Bad> {
    scan.space()?;
    let mailbox = scan.astring()?;
    let mut condstore = false;
    if !scan.is_done() {
        scan.space()?;
        scan.list(1, |scan| match scan.keyword().as_str() {
            "CONDSTORE" => {
                condstore = true;
                Ok(())
            }
            other => Bad::new(format!("Unknown SELECT parameter {other}")),
        })?;
    }
    Ok(Command::Select {
        mailbox,
        examine,
        condstore,
    })
}

fn status(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    scan.space()?;
    let mailbox = scan.astring()?;
    scan.space()?;
    let items = scan.list(1, |scan| {
        let word = scan.keyword();
        let item = StatusItem::NAMED.iter().find(|(_, name)| *name == word);
        item.map(|(item, _)| *item)
            .ok_or_else(|| Bad(format!("Invalid status item {word}")))
    })?;
    Ok(Command::Status { mailbox, items })
}
