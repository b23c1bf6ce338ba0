//! Which user and mailbox an address means.
//!
//! A user is known where the stream has a tree of theirs, or the passwd-file an entry; a mail server in front decides which
//! domains are ours. `user+detail` goes to the mailbox `detail` where there is one, else to INBOX.

use super::path::Address;
use crate::op::{MailboxName, Namespaces, UserName};
use crate::serve::accounts::Accounts;
use crate::serve::auth::PasswdError;
use crate::store::embedded::view::{View, ViewError};

/// Between user and detail (RFC 5233).
const SEPARATOR: char = '+';

/// Where mail for an address goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) user: UserName,
    /// May not be there: INBOX takes it then.
    pub(super) mailbox: MailboxName,
}

/// Nobody can be looked up just now.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Passwd(#[from] PasswdError),
}

/// Where mail for the address goes; none where nobody has it. Blocks on the disk.
pub(super) fn find(address: &Address, view: &dyn View, users: &Accounts) -> Result<Option<Place>, LookupError> {
    let (local, detail) = match address.local.split_once(SEPARATOR) {
        Some((local, detail)) if !local.is_empty() => (local, detail),
        _ => (address.local.as_str(), ""),
    };
    for name in candidates(local, address.domain.as_deref()) {
        let user = UserName(name);
        if let Some(namespaces) = view.namespaces(&user)? {
            let mailbox = mailbox(detail, &namespaces);
            return Ok(Some(Place { user, mailbox }));
        }
        if let Some(user) = users.knows(user.as_str())? {
            let mailbox = mailbox(detail, &view.namespaces(&user)?.unwrap_or_default());
            return Ok(Some(Place { user, mailbox }));
        }
    }
    Ok(None)
}

/// Names under which the address may be known: with its domain before without, as written before in small letters.
fn candidates(local: &str, domain: Option<&str>) -> Vec<String> {
    let whole = domain.map(|domain| format!("{local}@{domain}"));
    let mut names = Vec::new();
    for name in whole.into_iter().chain([local.to_owned()]) {
        let small = name.to_lowercase();
        for name in [name, small] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn mailbox(detail: &str, namespaces: &Namespaces) -> MailboxName {
    let levels: Vec<&str> = detail.split(namespaces.separator).collect();
    if levels.iter().any(|level| level.is_empty()) || levels.first().is_some_and(|l| l.eq_ignore_ascii_case("INBOX")) {
        return MailboxName::inbox();
    }
    MailboxName::of(levels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_and_capitals_are_tried_first() {
        assert_eq!(
            candidates("Ann", Some("X.org")),
            ["Ann@X.org", "ann@x.org", "Ann", "ann"]
        );
        assert_eq!(candidates("ann", None), ["ann"]);
    }

    #[test]
    fn a_detail_names_a_mailbox_or_means_inbox() {
        let dots = Namespaces {
            separator: '.',
            ..Namespaces::default()
        };
        for (detail, levels) in [
            ("", &["INBOX"][..]),
            ("inbox", &["INBOX"]),
            ("lists.rust", &["lists", "rust"]),
            ("a..b", &["INBOX"]),
        ] {
            assert_eq!(
                mailbox(detail, &dots),
                MailboxName::of(levels.iter().copied()),
                "{detail}"
            );
        }
    }
}
