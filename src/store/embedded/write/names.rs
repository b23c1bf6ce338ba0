//! Which names a mailbox may be given: what Dovecot takes, in the user's namespaces.

use super::super::super::change::Reason;
use super::built::{Stop, refuse};
use crate::limits::{NAME_BYTES_MAX, NAME_LEVEL_BYTES_MAX, NAME_LEVELS_MAX};
use crate::op::{MailboxName, Namespaces};

/// Refuses what can't be a new mailbox's name.
pub(super) fn check(name: &MailboxName, namespaces: &Namespaces) -> Result<(), Stop> {
    if *name == MailboxName::inbox() {
        return Ok(());
    }
    let written = name.join(namespaces.separator);
    if name.0.len() > NAME_LEVELS_MAX || written.len() > NAME_BYTES_MAX {
        return refuse(Reason::Limit, "the name is too long");
    }
    for level in &name.0 {
        if level.is_empty() {
            return refuse(Reason::Cannot, "a level of the name is empty");
        }
        if level.len() > NAME_LEVEL_BYTES_MAX {
            return refuse(Reason::Limit, "a level of the name is too long");
        }
        if level.contains(namespaces.separator) || level.chars().any(is_forbidden) {
            return refuse(Reason::Cannot, "the name has a character that no name may have");
        }
    }
    match name.0.first() {
        None => refuse(Reason::Cannot, "the name is empty"),
        Some(first) if first != "INBOX" && first.eq_ignore_ascii_case("INBOX") => {
            refuse(Reason::Cannot, "INBOX is written in capitals")
        }
        Some(_) if !is_in_a_namespace(&written, namespaces) => refuse(
            Reason::Cannot,
            &format!("names begin with {}", namespaces.prefixes.join(" or ")),
        ),
        Some(_) => Ok(()),
    }
}

/// RFC 9755 section 3, and the byte order mark.
fn is_forbidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn is_in_a_namespace(written: &str, namespaces: &Namespaces) -> bool {
    let below = |prefix: &String| written.len() > prefix.len() && written.starts_with(prefix.as_str());
    namespaces.prefixes.is_empty() || namespaces.prefixes.iter().any(below)
}

/// True where the name is a namespace's own, or above one: it is there without being listed.
pub(super) fn is_prefix(name: &MailboxName, namespaces: &Namespaces) -> bool {
    let mut written = name.join(namespaces.separator);
    written.push(namespaces.separator);
    namespaces.prefixes.iter().any(|prefix| prefix.starts_with(&written))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_good(levels: &[&str], namespaces: &Namespaces) -> bool {
        check(&MailboxName::of(levels.iter().copied()), namespaces).is_ok()
    }

    #[test]
    fn names_that_dovecot_refuses_are_refused() {
        let slash = Namespaces::default();
        let (fits, long) = ("x".repeat(255), "x".repeat(256));
        for good in [
            &["INBOX"][..],
            &["a"],
            &["INBOX", "a"],
            &["Entwürfe", "2026"],
            &["a.b"],
            &[&fits],
        ] {
            assert!(is_good(good, &slash), "{good:?}");
        }
        for bad in [
            &[][..],
            &[""],
            &["a", ""],
            &["", "a"],
            &["a/b"],
            &["a\n"],
            &["a\u{7f}"],
            &["a\u{85}"],
            &["a\u{2028}"],
            &["inbox"],
            &["Inbox", "a"],
            &[&long],
        ] {
            assert!(!is_good(bad, &slash), "{bad:?}");
        }
        assert!(!is_good(&["x"; 129], &slash));
        assert!(!is_good(&[fits.as_str(); 17], &slash));
    }

    #[test]
    fn a_name_outside_every_namespace_is_refused() {
        let dots = Namespaces {
            separator: '.',
            prefixes: vec!["INBOX.".to_owned(), "Archive.old.".to_owned()],
        };
        for good in [
            &["INBOX"][..],
            &["INBOX", "a"],
            &["Archive", "old", "2020"],
            &["INBOX", "a/b"],
        ] {
            assert!(is_good(good, &dots), "{good:?}");
        }
        for bad in [&["a"][..], &["INBOX", "a.b"], &["Archive", "old"], &["Archive", "new"]] {
            assert!(!is_good(bad, &dots), "{bad:?}");
        }
        assert!(is_prefix(&MailboxName::of(["Archive"]), &dots));
        assert!(!is_prefix(&MailboxName::of(["Arch"]), &dots));
    }
}
