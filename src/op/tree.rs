//! Changes of a user's tree: which mailbox is called what.

use super::ids::numbered;
use super::{Guid, MailboxName, UserName};
use serde::{Deserialize, Serialize};

numbered!(Disappearance { Genuine = 1, Attested = 2, Inferred = 3 });

/// Why something is no longer there (guarantee 7). *Renumbered* is no disappearance: the copy finds it by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Disappearance {
    /// The source's own log says that somebody asked for it.
    Genuine,
    /// The log has a hole, the lineage is whole and the body is gone.
    Attested,
    /// Anything else. Never applied by itself.
    Inferred,
}

/// One mailbox of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeMailbox {
    /// Which mailbox.
    pub guid: Guid,
    /// Its name now, or why it has none any more.
    pub name: Result<MailboxName, Disappearance>,
    /// Special use without the backslash (`Sent`), where the store itself says so.
    pub special_use: Option<String>,
}

/// How a name that has no mailbox is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unselectable {
    /// With `\Noselect`.
    Noselect,
    /// As if it could be selected.
    Stale(Stale),
}

/// What a server still says of a mailbox that was deleted and had children: with Maildir++, Dovecot's list index keeps
/// its entry, so LIST shows no `\Noselect`, and STATUS (X-GUID) answers the old GUID; everything else is answered NO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stale {
    /// GUID of the mailbox that was. Zeros: the server never learned it, and answers NO to STATUS (X-GUID) too.
    pub guid: Guid,
    /// True where that NO carries `[NONEXISTENT]`: since Dovecot 2.4.
    pub nonexistent_code: bool,
}

impl Unselectable {
    const NOSELECT: u8 = 1;
    const STALE: u8 = 2;
    const STALE_WITH_CODE: u8 = 3;

    /// The same as octets: 1, or 2 or 3 (with response code) and the GUID. Part of the format (`schema/operations.md`).
    #[must_use]
    pub fn to_mark(self) -> Vec<u8> {
        let Self::Stale(stale) = self else {
            return vec![Self::NOSELECT];
        };
        let number = if stale.nonexistent_code {
            Self::STALE_WITH_CODE
        } else {
            Self::STALE
        };
        let mut mark = vec![number];
        mark.extend(stale.guid.0);
        mark
    }

    /// Reads what [`Self::to_mark`] wrote; none where it is no such mark.
    #[must_use]
    pub fn from_mark(mark: &[u8]) -> Option<Self> {
        let (number, guid) = mark.split_first()?;
        if (*number, guid.len()) == (Self::NOSELECT, 0) {
            return Some(Self::Noselect);
        }
        let nonexistent_code = match *number {
            Self::STALE => false,
            Self::STALE_WITH_CODE => true,
            _ => return None,
        };
        let guid = Guid(guid.try_into().ok()?);
        Some(Self::Stale(Stale { guid, nonexistent_code }))
    }

    /// What is still said of it, where the name is stale.
    #[must_use]
    pub fn stale(self) -> Option<Stale> {
        match self {
            Self::Noselect => None,
            Self::Stale(stale) => Some(stale),
        }
    }
}

/// How a user's server writes names: what clients see between levels, and before its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// The hierarchy separator: one graphic character of ASCII.
    pub separator: char,
    /// Prefixes of the personal namespaces that NAMESPACE shows (`INBOX.`, `Archive/`, mostly just the empty one), with
    /// their separator, in the order in which it shows them. Names in the tree have them in front already.
    pub prefixes: Vec<String>,
}

/// What most servers have, and what holds until a source says otherwise.
impl Default for Namespaces {
    fn default() -> Self {
        Self {
            separator: '/',
            prefixes: vec![String::new()],
        }
    }
}

impl Namespaces {
    /// As levels of a name, the form in which it is kept: the separator, then the prefixes.
    #[must_use]
    pub fn to_levels(&self) -> MailboxName {
        MailboxName::of(std::iter::once(self.separator.to_string()).chain(self.prefixes.clone()))
    }

    /// Reads what [`Self::to_levels`] wrote; none where it is nothing of that kind.
    #[must_use]
    pub fn from_levels(name: MailboxName) -> Option<Self> {
        let mut levels = name.0.into_iter();
        let separator = levels.next()?;
        let mut characters = separator.chars();
        let one = characters.next().filter(char::is_ascii_graphic);
        Some(Self {
            separator: one.filter(|_| characters.next().is_none())?,
            prefixes: levels.collect(),
        })
    }
}

/// The changed part of a user's tree, applied at once, so that swaps and chains of renames are legal.
///
/// In a run, changes of one user that follow each other directly are parts of one: see [`fn@super::whole`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeChange {
    /// Whose tree.
    pub user: UserName,
    /// True: this replaces the whole tree; what is not in it and not genuinely gone is *inferred* gone.
    pub complete: bool,
    /// How names are written, where that is new.
    pub namespaces: Option<Namespaces>,
    /// Mailboxes that are new, have another name or are gone.
    pub mailboxes: Vec<TreeMailbox>,
    /// Names that are listed without being selectable, and how; none: that one no longer is.
    pub unselectable: Vec<(MailboxName, Option<Unselectable>)>,
    /// Names that are (`true`) or no longer are (`false`) subscribed. They need not exist.
    pub subscriptions: Vec<(MailboxName, bool)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_that_are_none_are_not_read() {
        let dots = Namespaces {
            separator: '.',
            prefixes: vec!["INBOX.".to_owned()],
        };
        for namespaces in [Namespaces::default(), dots] {
            assert_eq!(Namespaces::from_levels(namespaces.to_levels()), Some(namespaces));
        }
        for bad in [&[][..], &[""], &["ab", ""], &[" "], &["é"]] {
            assert_eq!(Namespaces::from_levels(MailboxName::of(bad.iter().copied())), None);
        }
    }

    #[test]
    fn a_mark_that_was_cut_is_none() {
        let stale = |nonexistent_code| {
            Unselectable::Stale(Stale {
                guid: Guid([7; 16]),
                nonexistent_code,
            })
        };
        for unselectable in [Unselectable::Noselect, stale(false), stale(true)] {
            let mark = unselectable.to_mark();
            assert_eq!(Unselectable::from_mark(&mark), Some(unselectable));
            assert_eq!(Unselectable::from_mark(&mark[1..]), None);
            assert_eq!(Unselectable::from_mark(&[mark.as_slice(), &[1]].concat()), None);
        }
    }
}
