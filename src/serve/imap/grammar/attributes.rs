//! GETMETADATA and SETMETADATA (RFC 5464), and access control lists (RFC 4314).

use super::Command;
use super::scan::{Bad, Scan};

/// How far below the entries that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum Depth {
    /// Not at all.
    Zero,
    /// Their children.
    One,
    /// All of it.
    Infinity,
}

/// A GETMETADATA command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct GetMetadata {
    /// In modified UTF-7; empty: the server's annotations.
    pub(in crate::serve::imap) mailbox: Vec<u8>,
    /// DEPTH.
    pub(in crate::serve::imap) depth: Depth,
    /// MAXSIZE: longer values are left out.
    pub(in crate::serve::imap) size_max: Option<u64>,
    /// Entries, in lower case.
    pub(in crate::serve::imap) entries: Vec<String>,
}

/// What stands behind the verb.
pub(super) fn get_metadata(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    let mut command = GetMetadata {
        mailbox: Vec::new(),
        depth: Depth::Zero,
        size_max: None,
        entries: Vec::new(),
    };
    scan.space()?;
    if scan.peek() == Some(b'(') {
        scan.list(0, |scan| option(scan, &mut command))?;
        scan.space()?;
    }
    command.mailbox = scan.astring()?;
    scan.space()?;
    command.entries = if scan.peek() == Some(b'(') {
        scan.list(0, entry)?
    } else {
        vec![entry(scan)?]
    };
    Ok(Command::GetMetadata(command))
}

/// A SETMETADATA command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct SetMetadata {
    /// In modified UTF-7; empty: the server's annotations.
    pub(in crate::serve::imap) mailbox: Vec<u8>,
    /// Entries, in lower case, with their values; none: taken away.
    pub(in crate::serve::imap) entries: Vec<(String, Option<Vec<u8>>)>,
}

impl SetMetadata {
    pub(super) fn parse(scan: &mut Scan<'_>) -> Result<Self, Bad> {
        scan.space()?;
        let mailbox = scan.astring()?;
        scan.space()?;
        let entries = scan.list(0, |scan| {
            let name = entry(scan)?;
            scan.space()?;
            Ok((name, value(scan)?))
        })?;
        Ok(Self { mailbox, entries })
    }
}

/// A string, a binary literal or NIL; Dovecot takes an atom too.
fn value(scan: &mut Scan<'_>) -> Result<Option<Vec<u8>>, Bad> {
    scan.take(b'~');
    let quoted = matches!(scan.peek(), Some(b'"' | b'{'));
    let value = scan.astring()?;
    Ok((quoted || !value.eq_ignore_ascii_case(b"NIL")).then_some(value))
}

/// What SETACL does to the rights that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum Sign {
    Add,
    Remove,
    Replace,
}

/// A SETACL command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct SetAcl {
    pub(in crate::serve::imap) mailbox: Vec<u8>,
    pub(in crate::serve::imap) whom: Vec<u8>,
    pub(in crate::serve::imap) sign: Sign,
    pub(in crate::serve::imap) letters: String,
}

impl SetAcl {
    pub(super) fn parse(scan: &mut Scan<'_>) -> Result<Self, Bad> {
        scan.space()?;
        let mailbox = scan.astring()?;
        scan.space()?;
        let whom = scan.astring()?;
        scan.space()?;
        let rights = String::from_utf8_lossy(&scan.astring()?).into_owned();
        let (sign, letters) = match rights.split_at_checked(1) {
            Some(("+", letters)) => (Sign::Add, letters),
            Some(("-", letters)) => (Sign::Remove, letters),
            _ => (Sign::Replace, rights.as_str()),
        };
        if whom.is_empty() {
            return Bad::new("Invalid arguments");
        }
        Ok(Self {
            mailbox,
            whom,
            sign,
            letters: letters.to_owned(),
        })
    }
}

fn option(scan: &mut Scan<'_>, command: &mut GetMetadata) -> Result<(), Bad> {
    match scan.keyword().as_str() {
        "MAXSIZE" => {
            scan.space()?;
            let size = scan
                .number()
                .map_err(|_| Bad("Invalid value for MAXSIZE option".to_owned()))?;
            command.size_max = Some(size);
        }
        "DEPTH" => {
            scan.space()?;
            command.depth = match scan.keyword().as_str() {
                "0" => Depth::Zero,
                "1" => Depth::One,
                "INFINITY" => Depth::Infinity,
                _ => return Bad::new("Invalid value for DEPTH option"),
            };
        }
        _ => return Bad::new("Unknown option"),
    }
    Ok(())
}

/// Names are told apart without regard to case; Dovecot keeps them in lower case.
fn entry(scan: &mut Scan<'_>) -> Result<String, Bad> {
    let name = scan.pattern()?;
    let wrong = |why: &str| Bad(format!("Entry name {why}"));
    if !name.starts_with(b"/") {
        return Err(wrong("must begin with '/'"));
    }
    let mut before = 0;
    for octet in &name {
        match octet {
            b'/' if before == b'/' => return Err(wrong("can't contain consecutive '/'")),
            b'*' => return Err(wrong("can't contain '*'")),
            b'%' => return Err(wrong("can't contain '%'")),
            0..=0x19 => return Err(wrong("can't contain control chars")),
            _ => {}
        }
        before = *octet;
    }
    if name.ends_with(b"/") {
        return Err(wrong("can't end with '/'"));
    }
    let name = String::from_utf8(name)
        .map_err(|_| wrong("is no text"))?
        .to_ascii_lowercase();
    let begins = |root: &str| {
        name.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if begins("/private") || begins("/shared") {
        Ok(name)
    } else {
        Err(wrong("must begin with /private or /shared"))
    }
}

pub(super) fn get_acl(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    scan.space()?;
    Ok(Command::GetAcl(scan.astring()?))
}

pub(super) fn my_rights(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    scan.space()?;
    Ok(Command::MyRights(scan.astring()?))
}

pub(super) fn list_rights(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    scan.space()?;
    let mailbox = scan.astring()?;
    scan.space()?;
    let whom = scan.astring()?;
    Ok(Command::ListRights { mailbox, whom })
}
