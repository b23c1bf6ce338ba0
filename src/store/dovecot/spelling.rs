//! From the name of a mailbox in its store to the name that clients see.
//!
//! A level is spelled in modified UTF-7 or UTF-8; what could not stand in it is written as the escape character and two
//! hexadecimal digits. Clients see the namespace's prefix before it, but before INBOX.

use super::mail_root::{Namespace, Spelling};
use super::mutf7::{self, Undecodable};
use crate::op::MailboxName;

impl Spelling {
    /// The level that these octets spell.
    ///
    /// # Errors
    /// They spell none.
    pub fn decode(self, octets: &[u8]) -> Result<String, Undecodable> {
        let spelled = if self.utf8 {
            String::from_utf8(octets.to_vec()).map_err(|_| Undecodable(octets.to_vec()))?
        } else {
            mutf7::decode(octets)?
        };
        Ok(match self.escape {
            Some(escape) => unescape(&spelled, escape),
            None => spelled,
        })
    }
}

/// Only characters of ASCII are ever escaped; anything else behind the escape character stands for itself.
fn unescape(spelled: &str, escape: char) -> String {
    let mut plain = String::with_capacity(spelled.len());
    let mut rest = spelled;
    while let Some((before, after)) = rest.split_once(escape) {
        plain.push_str(before);
        let escaped = after.split_at_checked(2).and_then(|(digits, tail)| {
            let digits = digits.chars().all(|c| c.is_ascii_hexdigit()).then_some(digits)?;
            let octet = u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii)?;
            Some((char::from(octet), tail))
        });
        match escaped {
            Some((c, tail)) => {
                plain.push(c);
                rest = tail;
            }
            None => {
                plain.push(escape);
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

impl Namespace {
    /// The name that clients see of the mailbox with these levels in the store.
    ///
    /// # Errors
    /// A sentence for people: a level is empty or spells nothing.
    pub(crate) fn name<'a>(&self, levels: impl Iterator<Item = &'a [u8]>) -> Result<MailboxName, String> {
        let mut name = Vec::new();
        for level in levels {
            if level.is_empty() {
                return Err("a mailbox name with an empty level".to_owned());
            }
            name.push(self.spelling.decode(level).map_err(|e| e.to_string())?);
        }
        Ok(self.seen(name))
    }

    /// With the prefix. INBOX is the first level only, in whatever case, and stands without it.
    pub(crate) fn seen(&self, mut levels: Vec<String>) -> MailboxName {
        let is_inbox = |level: &String| level.eq_ignore_ascii_case("INBOX");
        let alone = levels.len() == 1 && levels.first().is_some_and(is_inbox);
        if self.inbox && (alone || self.prefix.is_empty()) {
            if let Some(first) = levels.first_mut().filter(|first| is_inbox(first)) {
                "INBOX".clone_into(first);
            }
            return MailboxName(levels);
        }
        let mut name: Vec<String> = self.prefix.split(self.separator).map(str::to_owned).collect();
        // What stands behind the last separator of a prefix begins the first level; mostly that is nothing.
        let begin = name.pop().unwrap_or_default();
        if let Some(first) = levels.first_mut() {
            first.insert_str(0, &begin);
        }
        name.append(&mut levels);
        if let Some(first) = name.first_mut().filter(|first| is_inbox(first)) {
            "INBOX".clone_into(first);
        }
        MailboxName(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::mail_root::Driver;
    use super::*;
    use std::path::Path;

    fn name(namespace: &Namespace, levels: &[&str]) -> String {
        namespace
            .name(levels.iter().map(|level| level.as_bytes()))
            .unwrap()
            .0
            .join("|")
    }

    #[test]
    fn prefix_stands_before_all_but_inbox() {
        let mut namespace = Namespace::plain(Driver::Maildir, Path::new("/m"));
        assert_eq!(name(&namespace, &["inbox"]), "INBOX");
        assert_eq!(name(&namespace, &["inbox", "low"]), "INBOX|low");
        namespace.prefix = "INBOX.".to_owned();
        assert_eq!(name(&namespace, &["INBOX"]), "INBOX");
        assert_eq!(name(&namespace, &["A", "b"]), "INBOX|A|b");
        assert_eq!(name(&namespace, &["inbox", "low"]), "INBOX|inbox|low");
        namespace.inbox = false;
        namespace.prefix = "#old.x-".to_owned();
        assert_eq!(name(&namespace, &["A", "b"]), "#old|x-A|b");
    }

    #[test]
    fn what_could_not_stand_in_a_level_is_unescaped() {
        let of = |escape, utf8, text: &str| Spelling { utf8, escape }.decode(text.as_bytes()).unwrap();
        assert_eq!(of(Some('\\'), false, "a\\2eb&AOk-\\"), "a.bé\\");
        assert_eq!(of(Some('^'), true, "é^2f^5e^zz^"), "é/^^zz^");
        assert_eq!(of(None, false, "a\\2eb"), "a\\2eb");
        assert!(Spelling::default().decode("é".as_bytes()).is_err());
        assert!(
            Spelling {
                utf8: true,
                escape: None
            }
            .decode(b"\xff")
            .is_err()
        );
    }
}
