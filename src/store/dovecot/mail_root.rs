//! Where a user's mail lies: its namespaces, and for each mailbox the directories of index, messages and control files.
//!
//! A mailbox is known by its *index directory*: its log is there. The other directories follow from it, since all of a
//! namespace's trees have the same shape:
//!
//! | layout | below the mail root | INBOX |
//! |---|---|---|
//! | Maildir++ | `.A.B` | the root itself |
//! | fs, maildir | `A/B` | the root itself |
//! | fs, dbox | `mailboxes/A/B/dbox-Mails` | as any other |
//! | index | `[mailboxes/]GUID` | as any other |
//!
//! A separate tree of index or control files has no `dbox-Mails` (unless configured so), and INBOX as any other name.

use super::attribute_settings::AttributeSettings;
use super::body_settings::BodySettings;
use crate::op::Namespaces;
use std::path::{Path, PathBuf};

/// Format of the messages' files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Driver {
    /// A file a message, whose name carries the flags.
    Maildir,
    /// A file a message.
    Sdbox,
    /// Many messages a file, shared by a user's mailboxes.
    Mdbox,
}

impl Driver {
    /// As Dovecot's configuration calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Maildir => "maildir",
            Self::Sdbox => "sdbox",
            Self::Mdbox => "mdbox",
        }
    }
}

/// How directories make a tree of mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The whole name in one directory's name: `.A.B`.
    MaildirPlusPlus,
    /// A directory a level.
    Fs,
    /// A directory a mailbox, called by its GUID; the list index alone has the names.
    Index,
}

impl Layout {
    /// What separates levels where a whole name is written in one piece.
    #[must_use]
    pub fn separator(self) -> char {
        match self {
            Self::MaildirPlusPlus => '.',
            Self::Fs | Self::Index => '/',
        }
    }
}

/// How a level of a name is spelled on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spelling {
    /// UTF-8 instead of modified UTF-7.
    pub utf8: bool,
    /// Before two hexadecimal digits: an octet that could not stand there itself.
    pub escape: Option<char>,
}

/// One private namespace: a tree of mailboxes with a place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// What clients see before its names, with its separator: `INBOX.`, `Archive/`; mostly empty.
    pub prefix: String,
    /// What clients see between levels.
    pub separator: char,
    /// True where NAMESPACE doesn't show it.
    pub hidden: bool,
    /// True where INBOX is in it.
    pub inbox: bool,
    /// Format of the messages.
    pub driver: Driver,
    /// Shape of the trees.
    pub layout: Layout,
    /// Root of the messages.
    pub mail: PathBuf,
    /// Root of the index files, where it is another one.
    pub index: Option<PathBuf>,
    /// Root of the control files (`dovecot-uidlist`, `subscriptions`), where it is another one.
    pub control: Option<PathBuf>,
    /// Root of messages that were moved to a second storage (dbox).
    pub alternative: Option<PathBuf>,
    /// Where INBOX lies, if not where its name says.
    pub inbox_path: Option<PathBuf>,
    /// Below each root: the directory with all mailboxes. May be empty.
    pub mailboxes: String,
    /// In each mailbox: the directory with its files. May be empty.
    pub leaf: String,
    /// True where separate trees have [`Self::leaf`] too.
    pub leaf_everywhere: bool,
    /// True where mailboxes are found in the tree of index files.
    pub iterate_index: bool,
    /// The list index: its directory and the beginning of its files' names.
    pub list_index: (PathBuf, String),
    /// Name of the file of subscriptions in the control root; none where another namespace keeps them.
    pub subscriptions: Option<String>,
    /// How names are spelled.
    pub spelling: Spelling,
}

/// A mailbox's place in each of a namespace's trees.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Spot {
    /// INBOX, where it lies apart.
    Inbox,
    /// Below `mailboxes`, without the leaf.
    At(PathBuf),
}

impl Namespace {
    /// A namespace as Dovecot has it where nothing but format and root is configured.
    #[must_use]
    pub fn plain(driver: Driver, mail: &Path) -> Self {
        let dbox = |text: &str| match driver {
            Driver::Maildir => String::new(),
            Driver::Sdbox | Driver::Mdbox => text.to_owned(),
        };
        let (layout, inbox_path) = match driver {
            Driver::Maildir => (Layout::MaildirPlusPlus, Some(mail.to_owned())),
            Driver::Sdbox | Driver::Mdbox => (Layout::Fs, None),
        };
        Self {
            prefix: String::new(),
            separator: layout.separator(),
            hidden: false,
            inbox: true,
            driver,
            layout,
            mail: mail.to_owned(),
            index: None,
            control: None,
            alternative: None,
            inbox_path,
            mailboxes: dbox("mailboxes"),
            leaf: dbox("dbox-Mails"),
            leaf_everywhere: false,
            iterate_index: false,
            list_index: (mail.to_owned(), "dovecot.list.index".to_owned()),
            subscriptions: Some("subscriptions".to_owned()),
            spelling: Spelling::default(),
        }
    }

    /// Root of the index files, `dovecot.mailbox.log` among them.
    #[must_use]
    pub fn index_root(&self) -> &Path {
        self.index.as_deref().unwrap_or(&self.mail)
    }

    /// Root of the control files.
    #[must_use]
    pub fn control_root(&self) -> &Path {
        self.control.as_deref().unwrap_or(&self.mail)
    }

    /// Roots of all its trees, each once.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        let apart = [
            self.index.as_deref(),
            self.control.as_deref(),
            self.alternative.as_deref(),
        ];
        std::iter::once(self.mail.as_path()).chain(apart.into_iter().flatten())
    }

    /// Where mdbox keeps bodies.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.mail.join("storage")
    }

    /// Where mdbox keeps the map of bodies.
    #[must_use]
    pub fn storage_index(&self) -> PathBuf {
        self.index_root().join("storage")
    }

    /// The second storage's root: as configured, or where Dovecot's link in the mail root leads.
    #[must_use]
    pub fn alternative_root(&self) -> PathBuf {
        let link = || self.mail.join("dbox-alt-root");
        self.alternative.clone().unwrap_or_else(link)
    }

    /// The tree in which mailboxes are found, and whether its mailboxes have [`Self::leaf`].
    pub(crate) fn listed_tree(&self) -> (PathBuf, bool) {
        if self.iterate_index {
            (self.tree(self.index_root()), self.has_leaf(self.index.is_some()))
        } else {
            (self.tree(&self.mail), self.has_leaf(false))
        }
    }

    fn tree(&self, root: &Path) -> PathBuf {
        if self.mailboxes.is_empty() {
            root.to_owned()
        } else {
            root.join(&self.mailboxes)
        }
    }

    /// Only with a directory a level is there need to keep a mailbox's files apart from its children.
    fn has_leaf(&self, separate: bool) -> bool {
        self.layout == Layout::Fs && !self.leaf.is_empty() && (!separate || self.leaf_everywhere)
    }

    /// Where INBOX lies apart in the tree of `root`; none: as any other mailbox.
    fn inbox_in(&self, root: Option<&Path>) -> Option<PathBuf> {
        let apart = self.inbox_path.as_ref()?;
        Some(match root {
            None => apart.clone(),
            Some(root) => self.place(root, Path::new(&self.inbox_name()), true),
        })
    }

    fn inbox_name(&self) -> String {
        match self.layout {
            Layout::MaildirPlusPlus => ".INBOX".to_owned(),
            Layout::Fs | Layout::Index => "INBOX".to_owned(),
        }
    }

    fn place(&self, root: &Path, at: &Path, separate: bool) -> PathBuf {
        let directory = self.tree(root).join(at);
        if self.has_leaf(separate) {
            directory.join(&self.leaf)
        } else {
            directory
        }
    }

    /// INBOX's index directory, where INBOX lies apart from its name.
    pub(crate) fn inbox_index(&self) -> Option<PathBuf> {
        self.inbox_in(self.index.as_deref())
    }

    /// INBOX's index directory; none where only the list index knows (layout index).
    pub(crate) fn inbox_index_directory(&self) -> Option<PathBuf> {
        let named = || (self.layout != Layout::Index).then(|| self.index_directory(Path::new(&self.inbox_name())));
        self.inbox_index().or_else(named)
    }

    /// Index directory of what lies at `at` in the tree, leaf not included.
    pub(crate) fn index_directory(&self, at: &Path) -> PathBuf {
        self.place(self.index_root(), at, self.index.is_some())
    }

    fn spot(&self, index_directory: &Path) -> Option<Spot> {
        if self.inbox_index().is_some_and(|inbox| inbox == index_directory) {
            return Some(Spot::Inbox);
        }
        let at = index_directory.strip_prefix(self.tree(self.index_root())).ok()?;
        let has_leaf = self.has_leaf(self.index.is_some());
        let at = if has_leaf && at.ends_with(&self.leaf) {
            at.parent()?
        } else {
            at
        };
        Some(Spot::At(at.to_owned()))
    }

    /// Where the messages of a mailbox lie.
    #[must_use]
    pub fn mail_directory(&self, index_directory: &Path) -> PathBuf {
        match self.spot(index_directory) {
            Some(Spot::Inbox) => self.inbox_path.clone().unwrap_or_else(|| self.mail.clone()),
            Some(Spot::At(at)) => self.place(&self.mail, &at, false),
            None => index_directory.to_owned(),
        }
    }

    /// Where the control files of a mailbox lie.
    #[must_use]
    pub fn control_directory(&self, index_directory: &Path) -> PathBuf {
        let Some(control) = self.control.as_deref() else {
            return self.mail_directory(index_directory);
        };
        match self.spot(index_directory) {
            Some(Spot::Inbox) => self.inbox_in(Some(control)).unwrap_or_else(|| control.to_owned()),
            Some(Spot::At(at)) => self.place(control, &at, true),
            None => index_directory.to_owned(),
        }
    }

    /// Where messages of a mailbox lie that were moved to the second storage.
    #[must_use]
    pub fn alternative_directory(&self, index_directory: &Path) -> Option<PathBuf> {
        match self.spot(index_directory)? {
            Spot::Inbox => None,
            Spot::At(at) => Some(self.place(&self.alternative_root(), &at, false)),
        }
    }

    /// True where `index_directory` is one of this namespace.
    fn holds(&self, index_directory: &Path) -> bool {
        index_directory.starts_with(self.index_root())
            || self.inbox_index().is_some_and(|inbox| inbox == index_directory)
    }
}

/// A user's own namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRoot {
    /// The one with INBOX first.
    pub namespaces: Vec<Namespace>,
    /// How its bodies are kept.
    pub bodies: BodySettings,
    /// Where its attributes lie.
    pub attributes: AttributeSettings,
    /// True where the server says `[NONEXISTENT]` of a mailbox that is not there: since version 2.4.
    pub nonexistent_code: bool,
    /// Namespaces that are not this user's own mail, and why each is left out.
    pub left_out: Vec<String>,
    /// Namespaces that this user sees and that are copied as somebody else's mail, and what that means.
    pub elsewhere: Vec<String>,
}

impl MailRoot {
    /// One namespace, nothing left out.
    #[must_use]
    pub fn of(namespace: Namespace) -> Self {
        Self {
            namespaces: vec![namespace],
            bodies: BodySettings::default(),
            attributes: AttributeSettings::default(),
            nonexistent_code: true,
            left_out: Vec::new(),
            elsewhere: Vec::new(),
        }
    }

    /// The date of a message as clients see it. Dovecot's cache has 32 bits for it: since version 2.4 it keeps the nearest
    /// date that fits, before that what is left of another.
    #[must_use]
    pub fn seen_date(&self, time: i64) -> i64 {
        const LAST: i64 = 0xffff_ffff;
        if self.nonexistent_code {
            time.clamp(0, LAST)
        } else {
            time & LAST
        }
    }

    /// How clients see names.
    #[must_use]
    pub fn seen_namespaces(&self) -> Namespaces {
        let shown = self.namespaces.iter().filter(|namespace| !namespace.hidden);
        let separator = self.namespaces.first().map(|first| first.separator);
        Namespaces {
            separator: separator.unwrap_or('/'),
            prefixes: shown.map(|namespace| namespace.prefix.clone()).collect(),
        }
    }

    /// Files other than directories whose change may change the tree.
    pub(crate) fn tree_files(&self) -> impl Iterator<Item = PathBuf> {
        self.namespaces.iter().flat_map(|namespace| {
            let subscriptions = namespace.subscriptions.as_ref();
            let (directory, name) = &namespace.list_index;
            let is_tree = namespace.layout == Layout::Index;
            let files = [
                subscriptions.map(|name| namespace.control_root().join(name)),
                Some(namespace.index_root().join("dovecot.mailbox.log")),
                is_tree.then(|| directory.join(format!("{name}.log"))),
            ];
            files.into_iter().flatten()
        })
    }

    /// True where a list index is the tree (layout index), or says how names without a mailbox are listed (Maildir++).
    pub(crate) fn heeds_list_index(&self, any_unselectable: bool) -> bool {
        self.namespaces.iter().any(|namespace| match namespace.layout {
            Layout::Index => true,
            Layout::MaildirPlusPlus => any_unselectable,
            Layout::Fs => false,
        })
    }

    /// The namespace whose index files are there: the innermost, where one lies in another.
    #[must_use]
    pub fn namespace_of(&self, index_directory: &Path) -> Option<&Namespace> {
        let holding = self
            .namespaces
            .iter()
            .filter(|namespace| namespace.holds(index_directory));
        holding.max_by_key(|namespace| namespace.index_root().components().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(namespace: &Namespace, index: &str) -> [PathBuf; 2] {
        let index = Path::new(index);
        [namespace.mail_directory(index), namespace.control_directory(index)]
    }

    fn both(mail: &str, control: &str) -> [PathBuf; 2] {
        [mail.into(), control.into()]
    }

    #[test]
    fn maildir_with_separate_trees_has_inbox_as_any_other_name() {
        let mut namespace = Namespace::plain(Driver::Maildir, Path::new("/m"));
        assert_eq!(namespace.inbox_index(), Some("/m".into()));
        assert_eq!(places(&namespace, "/m"), both("/m", "/m"));
        assert_eq!(places(&namespace, "/m/.A.B"), both("/m/.A.B", "/m/.A.B"));
        namespace.index = Some("/i".into());
        namespace.control = Some("/c".into());
        assert_eq!(namespace.inbox_index(), Some("/i/.INBOX".into()));
        assert_eq!(places(&namespace, "/i/.INBOX"), both("/m", "/c/.INBOX"));
        assert_eq!(places(&namespace, "/i/.A.B"), both("/m/.A.B", "/c/.A.B"));
        namespace.layout = Layout::Fs;
        assert_eq!(places(&namespace, "/i/INBOX"), both("/m", "/c/INBOX"));
        assert_eq!(places(&namespace, "/i/A/B"), both("/m/A/B", "/c/A/B"));
    }

    #[test]
    fn a_separate_tree_of_dbox_has_no_leaf_unless_configured() {
        let mut namespace = Namespace::plain(Driver::Sdbox, Path::new("/m"));
        let own = "/m/mailboxes/A/B/dbox-Mails";
        assert_eq!(places(&namespace, own), both(own, own));
        namespace.index = Some("/i".into());
        assert_eq!(places(&namespace, "/i/mailboxes/A/B"), both(own, own));
        assert_eq!(
            namespace.index_directory(Path::new("A/B")),
            Path::new("/i/mailboxes/A/B")
        );
        namespace.leaf_everywhere = true;
        assert_eq!(places(&namespace, "/i/mailboxes/A/B/dbox-Mails"), both(own, own));
        namespace.alternative = Some("/alt".into());
        assert_eq!(
            namespace.alternative_directory(Path::new("/i/mailboxes/A/B/dbox-Mails")),
            Some("/alt/mailboxes/A/B/dbox-Mails".into())
        );
    }

    #[test]
    fn dates_that_no_cache_can_keep_are_seen_as_dovecot_shows_them() {
        let mut root = MailRoot::of(Namespace::plain(Driver::Maildir, Path::new("/m")));
        let seen = |root: &MailRoot| [-1, -(1 << 31), 0, 1 << 31, 1 << 32].map(|time| root.seen_date(time));
        assert_eq!(seen(&root), [0, 0, 0, 1 << 31, 0xffff_ffff]);
        root.nonexistent_code = false;
        assert_eq!(seen(&root), [0xffff_ffff, 1 << 31, 0, 1 << 31, 0]);
    }

    #[test]
    fn the_innermost_namespace_has_the_mailbox() {
        let mut root = MailRoot::of(Namespace::plain(Driver::Maildir, Path::new("/m")));
        let mut archive = Namespace::plain(Driver::Maildir, Path::new("/m/archive"));
        archive.prefix = "Archive.".to_owned();
        root.namespaces.push(archive);
        let prefix = |path: &str| root.namespace_of(Path::new(path)).map(|n| n.prefix.as_str());
        assert_eq!(prefix("/m/.A"), Some(""));
        assert_eq!(prefix("/m/archive/.A"), Some("Archive."));
        assert_eq!(prefix("/elsewhere"), None);
    }
}
