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

/// The changed part of a user's tree, applied at once, so that swaps and chains of renames are legal.
///
/// In a run, changes of one user that follow each other directly are parts of one: see [`super::whole`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeChange {
    /// Whose tree.
    pub user: UserName,
    /// True: this replaces the whole tree; what is not in it and not genuinely gone is *inferred* gone.
    pub complete: bool,
    /// Mailboxes that are new, have another name or are gone.
    pub mailboxes: Vec<TreeMailbox>,
    /// Names that are (`true`) or no longer are (`false`) listed without being selectable.
    pub noselect: Vec<(MailboxName, bool)>,
    /// Names that are (`true`) or no longer are (`false`) subscribed. They need not exist.
    pub subscriptions: Vec<(MailboxName, bool)>,
}
