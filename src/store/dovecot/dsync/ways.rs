//! Which way leads to a user's `dsync-server`, and over which one names are what they are.
//!
//! 2.4's dsync reads names of its own mailboxes as if `%` and two hexadecimal digits stood for an octet, and then does not find
//! such a mailbox under the name that it read: it is neither renamed nor deleted. Its configuration's own escape character ends
//! that, and a process can be given one. The running server's socket can't, so it serves where no name can be mistaken.

use super::link::Link;
use super::said::{SaidNode, Spelling};
use super::{Delta, DsyncError};
use crate::op::{Guid, MailboxName, UserName};
use crate::store::dovecot::doveadm::Doveadm;
use crate::store::dovecot::settings::Version;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Any character but `%` does.
const LITERAL: [&str; 2] = ["-o", "mailbox_list_visible_escape_char=^"];

/// The ways to one Dovecot.
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) doveadm: Doveadm,
    socket: Option<PathBuf>,
    version: OnceLock<Version>,
}

impl Ways {
    pub(super) fn new(doveadm: Doveadm, socket: Option<PathBuf>) -> Self {
        Self {
            doveadm,
            socket,
            version: OnceLock::new(),
        }
    }

    /// The cheapest one.
    pub(super) fn cheap(&self, user: &UserName) -> Result<Link, DsyncError> {
        if let Some(path) = &self.socket
            && let Ok(link) = Link::socket(path, user)
        {
            return Ok(link);
        }
        let options: &[&str] = match self.version() {
            Some(Version::V2_4) => &LITERAL,
            _ => &[],
        };
        Link::process(&self.doveadm, options, user).map_err(|e| DsyncError::Unreachable(e.to_string()))
    }

    /// One over which each name is said and heard as it is.
    pub(super) fn literal(&self, user: &UserName) -> Result<Link, DsyncError> {
        if self.version() != Some(Version::V2_4) {
            return self.cheap(user);
        }
        Link::process(&self.doveadm, &LITERAL, user).map_err(|e| DsyncError::Unreachable(e.to_string()))
    }

    /// True where a session that said this of its names could mistake one.
    pub(super) fn is_doubtful(&self, delta: &Delta, said: &[SaidNode], spelling: Spelling) -> bool {
        spelling.escape == Some('%') && is_mistakable(delta, said) && self.version() == Some(Version::V2_4)
    }

    /// Asked once; none while the server can't be asked.
    fn version(&self) -> Option<Version> {
        if let Some(version) = self.version.get() {
            return Some(*version);
        }
        match self.doveadm.configuration() {
            Ok(configuration) => Some(*self.version.get_or_init(|| configuration.version)),
            Err(error) => {
                tracing::debug!(%error, "the mail server's version");
                None
            }
        }
    }
}

/// True where a name of ours has what is read as an octet, or a name there may be one that was read so: it is not ours.
fn is_mistakable(delta: &Delta, said: &[SaidNode]) -> bool {
    let ours: BTreeMap<&MailboxName, (Option<Guid>, bool)> = delta
        .tree
        .iter()
        .map(|node| (&node.name, (node.mailbox.map(|mailbox| mailbox.guid), node.subscribed)))
        .collect();
    let is_ours = |node: &SaidNode| {
        let theirs = node.mailbox.map(|mailbox| mailbox.0);
        let same = |(guid, subscribed): &(Option<Guid>, bool)| {
            (theirs.is_none() || theirs == *guid) && (*subscribed || !node.subscribed)
        };
        (theirs.is_none() && !node.subscribed) || ours.get(&node.name).is_some_and(same)
    };
    let inbox = MailboxName::inbox();
    let levels = ours.keys().flat_map(|name| &name.0);
    levels.into_iter().any(|level| has_octet(level)) || !said.iter().all(|node| node.name == inbox || is_ours(node))
}

/// True where `%` stands before two hexadecimal digits.
fn has_octet(level: &str) -> bool {
    let is_hex = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_hexdigit);
    let mut parts = level.split('%');
    parts.next();
    parts.any(|part| is_hex(part.as_bytes().first()) && is_hex(part.as_bytes().get(1)))
}

#[cfg(test)]
mod tests {
    use super::super::{Node, NodeMailbox};
    use super::*;
    use crate::op::{Uid, UidValidity};

    fn ours(name: &str, number: u8, subscribed: bool) -> Delta {
        let mailbox = NodeMailbox {
            guid: Guid([number; 16]),
            uid_validity: UidValidity(1),
            uid_next: Uid(1),
        };
        Delta {
            tree: vec![Node {
                name: MailboxName::of([name]),
                mailbox: Some(mailbox),
                subscribed,
            }],
            ..Delta::default()
        }
    }

    fn theirs(name: &str, number: u8, subscribed: bool) -> [SaidNode; 1] {
        [SaidNode {
            name: MailboxName::of([name]),
            mailbox: Some((Guid([number; 16]), UidValidity(1), Uid(1))),
            subscribed,
        }]
    }

    #[test]
    fn a_name_that_may_have_been_read_as_another_is_not_trusted() {
        assert!(!is_mistakable(&ours("Work", 1, false), &theirs("Work", 1, false)));
        assert!(!is_mistakable(&ours("100%", 1, true), &theirs("100%", 1, false)));
        assert!(!is_mistakable(&ours("Work", 1, false), &[]));
        assert!(!is_mistakable(&ours("Work", 1, false), &theirs("INBOX", 2, true)));
        // renamed, replaced, unsubscribed, deleted
        assert!(is_mistakable(&ours("Work", 1, false), &theirs("W rk", 1, false)));
        assert!(is_mistakable(&ours("Work", 1, false), &theirs("Work", 2, false)));
        assert!(is_mistakable(&ours("Work", 1, false), &theirs("Work", 1, true)));
        assert!(is_mistakable(&Delta::default(), &theirs("Work", 1, false)));
        for (name, has) in [
            ("a%20", true),
            ("a%2g", false),
            ("%", false),
            ("%%fF", true),
            ("%2%", false),
        ] {
            assert_eq!(is_mistakable(&ours(name, 1, false), &[]), has, "{name}");
        }
    }
}
