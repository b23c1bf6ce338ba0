//! What the configuration says of the place of one namespace's mail, in either release line's words.
//!
//! 2.3 has one string, `mail_location = FORMAT:ROOT[:OPTION[=VALUE]]…`; 2.4 has a setting for each. The user database
//! may override both for a user: 2.3 by `mail` and `namespace/NAME/location`, 2.4 by any setting's name.

use super::mail_root::{Driver, Layout, Namespace, Spelling};
use super::settings::{Settings, Version};
use super::variables::Variables;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A user's fields in the user database.
pub(crate) type Fields = BTreeMap<String, String>;

/// Where a namespace's settings are looked up, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) settings: &'a Settings,
    /// The namespace's own block.
    pub(crate) block: &'a Settings,
    pub(crate) fields: &'a Fields,
    pub(crate) variables: Variables<'a>,
}

/// The place, not yet with the defaults of its format.
#[derive(Debug, Default)]
struct Options {
    driver: String,
    root: String,
    layout: Option<String>,
    inbox: Option<String>,
    index: Option<String>,
    control: Option<String>,
    alternative: Option<String>,
    mailboxes: Option<String>,
    leaf: Option<String>,
    leaf_everywhere: bool,
    list_index: Option<String>,
    subscriptions: Option<String>,
    iterate_index: bool,
    utf8: bool,
    escape: Option<char>,
}

impl Lookup<'_> {
    /// A setting of the namespace itself: the user database's word before the configuration's.
    pub(crate) fn of_namespace(&self, key: &str) -> Option<&str> {
        let field = format!("namespace/{}/{key}", self.block.label);
        let field = self.fields.get(&field).map(String::as_str);
        field
            .or_else(|| self.block.value(key))
            .filter(|value| !value.is_empty())
    }

    /// The namespace, without prefix and separator of its own.
    ///
    /// # Errors
    /// A sentence for people: a format, layout or variable that is not supported.
    pub(crate) fn namespace(&self) -> Result<Namespace, String> {
        let options = match self.variables.version {
            Version::V2_3 => self.options_2_3()?,
            Version::V2_4 => self.options_2_4()?,
        };
        options.namespace()
    }

    fn options_2_3(&self) -> Result<Options, String> {
        let own = format!("namespace/{}/location", self.block.label);
        let expanded = |key: &str| self.fields.get(key).filter(|value| !value.is_empty()).cloned();
        let configured = |text: Option<&str>| match text.filter(|text| !text.is_empty()) {
            Some(text) => self.variables.expand(text).map(Some),
            None => Ok(None),
        };
        let location = match expanded(&own) {
            Some(location) => Some(location),
            None => configured(self.block.value("location"))?,
        };
        let location = match location
            .or_else(|| expanded("mail"))
            .or_else(|| expanded("mail_location"))
        {
            Some(location) => Some(location),
            None => configured(self.settings.value("mail_location"))?,
        };
        let location = location.ok_or("mail_location is not set: Dovecot guesses, mailshadow does not")?;
        let mut options = self.parse_location(&location)?;
        if self.settings.has_word("mail_plugins", "listescape") {
            let mut plugin = self.settings.blocks("plugin");
            let escape = plugin.find_map(|plugin| plugin.value("listescape_char"));
            // A percent sign begins a variable, and stands for itself where there are two.
            let escape = escape.map(|text| text.strip_prefix('%').unwrap_or(text));
            options.escape = escape.and_then(|text| text.chars().next()).or(Some('\\'));
        }
        Ok(options)
    }

    fn parse_location(&self, location: &str) -> Result<Options, String> {
        let mut parts = split_location(location).into_iter();
        let mut options = Options {
            driver: parts.next().unwrap_or_default(),
            root: self.variables.home_path(&parts.next().unwrap_or_default())?,
            ..Options::default()
        };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((&part, ""));
            let path = || self.variables.home_path(value).map(Some);
            let text = || Some(value.to_owned());
            match key {
                "LAYOUT" => options.layout = text(),
                "INBOX" => options.inbox = path()?,
                "INDEX" => options.index = path()?,
                "CONTROL" => options.control = path()?,
                "ALT" => options.alternative = path()?,
                "MAILBOXDIR" => options.mailboxes = text(),
                "DIRNAME" => options.leaf = text(),
                "FULLDIRNAME" => (options.leaf, options.leaf_everywhere) = (text(), true),
                "LISTINDEX" => options.list_index = text(),
                "SUBSCRIPTIONS" => options.subscriptions = text(),
                "ITERINDEX" => options.iterate_index = true,
                "UTF-8" => options.utf8 = true,
                // They change nothing of what is read here.
                "VOLATILEDIR" | "INDEXCACHE" | "INDEXPVT" | "ALTNOCHECK" | "BROKENCHAR" | "NO-NOSELECT"
                | "NO-FS-VALIDATION" => {}
                other => return Err(format!("the option {other} in mail_location is not known")),
            }
        }
        Ok(options)
    }

    fn options_2_4(&self) -> Result<Options, String> {
        let driver = self.setting("", "mail_driver")?.unwrap_or_default();
        let of = |key: &str| self.setting(&driver, key);
        let yes = |key: &str| of(key).map(|value| value.as_deref() == Some("yes"));
        let path = |key: &str| match of(key)? {
            Some(text) => self.variables.home_path(&text).map(Some),
            None => Ok(None),
        };
        let default_root = match driver.as_str() {
            "maildir" => "~/Maildir",
            "sdbox" => "~/sdbox",
            "mdbox" => "~/mdbox",
            _ => "",
        };
        let layout = of("mailbox_list_layout")?;
        let escape = of("mailbox_list_storage_escape_char")?.and_then(|text| text.chars().next());
        let leaf_everywhere = of("mailbox_directory_name_legacy")?.as_deref() == Some("no");
        Ok(Options {
            root: path("mail_path")?.map_or_else(|| self.variables.home_path(default_root), Ok)?,
            inbox: path("mail_inbox_path")?,
            index: path("mail_index_path")?,
            control: path("mail_control_path")?,
            alternative: path("mail_alt_path")?,
            mailboxes: of("mailbox_root_directory_name")?,
            leaf: of("mailbox_directory_name")?,
            leaf_everywhere,
            list_index: of("mailbox_list_index_prefix")?,
            subscriptions: of("mailbox_subscriptions_filename")?,
            iterate_index: yes("mailbox_list_iter_from_index_dir")?,
            utf8: yes("mailbox_list_utf8")?,
            escape: escape.or_else(|| (layout.as_deref() == Some("index")).then_some('^')),
            layout,
            driver,
        })
    }

    /// A setting of 2.4, expanded: of the namespace, then of the user, of the format, of all. A namespace's own is overridden
    /// only by what the user database says of that namespace.
    fn setting(&self, driver: &str, key: &str) -> Result<Option<String>, String> {
        let field = |key: &str| self.fields.get(key).filter(|value| !value.is_empty()).cloned();
        if let Some(value) = field(&format!("namespace/{}/{key}", self.block.label)) {
            return Ok(Some(value));
        }
        let filtered = |within: &Settings| {
            within
                .blocks(driver)
                .find_map(|block| block.value(key).map(str::to_owned))
        };
        let own = self.block.value(key).map(str::to_owned);
        let configured = match own.or_else(|| filtered(self.block)) {
            Some(own) => Some(own),
            None => match field(key) {
                Some(value) => return Ok(Some(value)),
                None => filtered(self.settings).or_else(|| self.settings.value(key).map(str::to_owned)),
            },
        };
        configured
            .filter(|value| !value.is_empty())
            .map(|value| self.variables.expand(&value))
            .transpose()
    }
}

/// Parts between colons; two colons are one that belongs to a part.
fn split_location(location: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = location.chars().peekable();
    while let Some(c) = characters.next() {
        if c == ':' && characters.next_if_eq(&':').is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

impl Options {
    fn namespace(self) -> Result<Namespace, String> {
        let driver = match self.driver.as_str() {
            "maildir" => Driver::Maildir,
            "sdbox" | "dbox" => Driver::Sdbox,
            "mdbox" => Driver::Mdbox,
            "" => return Err("mail_driver is not set: Dovecot guesses, mailshadow does not".to_owned()),
            other => {
                return Err(format!(
                    "the mail format {other} is not supported: only maildir, sdbox and mdbox are"
                ));
            }
        };
        let mail = absolute(&self.root)?;
        let mut namespace = Namespace::plain(driver, &mail);
        namespace.layout = self.layout(driver)?;
        namespace.separator = namespace.layout.separator();
        namespace.leaf = self.leaf.unwrap_or(namespace.leaf);
        namespace.inbox_path = inbox_path(self.inbox.as_deref(), &namespace)?;
        if self.index.as_deref() == Some("MEMORY") {
            return Err("the index files are kept in memory only (MEMORY): there is no log to read".to_owned());
        }
        let root = |path: Option<String>| path.as_deref().map(absolute).transpose();
        let apart = |path: Option<PathBuf>| path.filter(|path| *path != mail);
        namespace.index = apart(root(self.index)?);
        namespace.control = apart(root(self.control)?);
        namespace.alternative = root(self.alternative)?;
        let mailboxes = self.mailboxes.map(|name| name.trim_matches('/').to_owned());
        namespace.mailboxes = mailboxes.unwrap_or(namespace.mailboxes);
        namespace.leaf_everywhere = self.leaf_everywhere;
        namespace.iterate_index = self.iterate_index;
        namespace.subscriptions = self.subscriptions.or(namespace.subscriptions);
        namespace.list_index = list_index(namespace.index_root(), self.list_index.as_deref());
        namespace.spelling = Spelling {
            utf8: self.utf8,
            escape: self.escape,
        };
        Ok(namespace)
    }

    fn layout(&self, driver: Driver) -> Result<Layout, String> {
        match (self.layout.as_deref(), driver) {
            (None | Some("maildir++"), Driver::Maildir) => Ok(Layout::MaildirPlusPlus),
            (None, _) | (Some("fs"), _) => Ok(Layout::Fs),
            (Some("index"), _) => Ok(Layout::Index),
            (Some(other), _) => Err(format!(
                "the layout {other} is not supported for {}: only Maildir++ (maildir), fs and index are",
                driver.name()
            )),
        }
    }
}

/// Maildir's INBOX is the root itself, but with a directory a mailbox (layout index) or a leaf.
fn inbox_path(configured: Option<&str>, namespace: &Namespace) -> Result<Option<PathBuf>, String> {
    let at_root = namespace.driver == Driver::Maildir && namespace.layout != Layout::Index && namespace.leaf.is_empty();
    match configured {
        Some(".") => Ok(Some(namespace.mail.clone())),
        Some(path) if path.starts_with('/') => Ok(Some(path.into())),
        Some(path) => Ok(Some(namespace.mail.join(path))),
        None => Ok(at_root.then(|| namespace.mail.clone())),
    }
}

/// `LISTINDEX`, `mailbox_list_index_prefix`: a file name, or a path from the index root.
fn list_index(index_root: &Path, configured: Option<&str>) -> (PathBuf, String) {
    let name = configured.unwrap_or("dovecot.list.index");
    match name.rsplit_once('/') {
        Some((directory, name)) => (index_root.join(directory), name.to_owned()),
        None => (index_root.to_owned(), name.to_owned()),
    }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        Ok(PathBuf::from(path))
    } else {
        Err(format!("the mail path {path:?} is not absolute"))
    }
}

#[cfg(test)]
mod tests;
