//! The server's configuration as `doveadm config -n` prints it: `key = value` lines and blocks `name label { … }`.
//!
//! 2.3 prints values as they are, 2.4 between quotes where needed. What is not printed has its default.

use crate::limits::SETTINGS_NESTING_MAX;
use std::collections::BTreeMap;

/// Settings of one block, or of the whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What stands before `{`, first word: `namespace`. Empty for the whole.
    pub kind: String,
    /// What stands behind it: `inbox`.
    pub label: String,
    values: BTreeMap<String, String>,
    blocks: Vec<Settings>,
}

/// Release line of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `mail_location` and its options.
    V2_3,
    /// A setting for each.
    V2_4,
}

/// The text is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the configuration: {why}")]
pub struct SettingsError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: &'static str,
}

impl Settings {
    /// Reads the whole text.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let mut open = vec![Self::default()];
        for (at, line) in text.lines().enumerate() {
            let wrong = |why| SettingsError {
                line: at.saturating_add(1),
                why,
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == "}" {
                let block = open.pop().ok_or(wrong("a block is closed twice"))?;
                open.last_mut()
                    .ok_or(wrong("a block is closed that was not open"))?
                    .blocks
                    .push(block);
            } else if let Some(name) = line.strip_suffix('{').filter(|name| !is_assignment(name)) {
                if open.len() > SETTINGS_NESTING_MAX {
                    return Err(wrong("blocks are nested too deep"));
                }
                open.push(Self::block(name.trim()));
            } else if let Some((key, value)) = line.split_once('=') {
                let within = open.last_mut().ok_or(wrong("outside of everything"))?;
                within.values.insert(key.trim().to_owned(), unquote(value.trim()));
            }
        }
        let whole = open.pop().filter(|_| open.is_empty());
        whole.ok_or(SettingsError {
            line: text.lines().count(),
            why: "a block is not closed",
        })
    }

    fn block(name: &str) -> Self {
        let (kind, label) = name.split_once(char::is_whitespace).unwrap_or((name, ""));
        Self {
            kind: kind.to_owned(),
            label: unquote(label.trim()),
            ..Self::default()
        }
    }

    /// A value of this block itself.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// True where the value says so.
    #[must_use]
    pub fn is_yes(&self, key: &str) -> bool {
        self.value(key) == Some("yes")
    }

    /// True where a list of words (`mail_plugins`) has this one.
    #[must_use]
    pub fn has_word(&self, key: &str, word: &str) -> bool {
        self.value(key)
            .is_some_and(|words| words.split_whitespace().any(|w| w == word))
    }

    /// Blocks of every kind, in order.
    pub fn all_blocks(&self) -> impl Iterator<Item = &Settings> {
        self.blocks.iter()
    }

    /// Blocks of one kind, in order.
    pub fn blocks<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Settings> {
        self.blocks.iter().filter(move |block| block.kind == kind)
    }
}

/// A value may end in a brace too (`mail_path = %{home}`, `x = {`).
fn is_assignment(line: &str) -> bool {
    line.split_once('=')
        .is_some_and(|(key, _)| !key.trim().contains(char::is_whitespace))
}

fn unquote(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut plain = String::with_capacity(inside.len());
    let mut escaped = false;
    for c in inside.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            plain.push(c);
        }
    }
    plain
}

/// The release line, from the first comment of the text: `# 2.4.1-4 (7d8c0e5759): /etc/dovecot/dovecot.conf`.
#[must_use]
pub fn version(text: &str) -> Option<Version> {
    let first = text.lines().next()?.strip_prefix("# ")?;
    let mut numbers = first.split(['.', '-', ' ']);
    match (numbers.next()?, numbers.next()?.parse::<u32>().ok()?) {
        ("2", 3) => Some(Version::V2_3),
        ("2", minor) if minor >= 4 => Some(Version::V2_4),
        _ => None,
    }
}

/// Entry point for fuzzing: any text as a configuration.
pub fn fuzz_settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (version(&text), Settings::parse(&text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_print_blocks_and_values() {
        let old = "# 2.3.19.1 (9b53102964): /etc/dovecot.conf\nmail_location = maildir:~/Maildir:INDEX=/i/%u\n\
                   namespace inbox {\n  inbox = yes\n  location = \n  mailbox Sent {\n    special_use = \\Sent\n  }\n  prefix = INBOX.\n}\n";
        let settings = Settings::parse(old).unwrap();
        assert_eq!(version(old), Some(Version::V2_3));
        assert_eq!(settings.value("mail_location"), Some("maildir:~/Maildir:INDEX=/i/%u"));
        let inbox = settings.blocks("namespace").next().unwrap();
        assert_eq!((inbox.label.as_str(), inbox.value("prefix")), ("inbox", Some("INBOX.")));
        assert!(inbox.is_yes("inbox") && inbox.blocks("mailbox").count() == 1);
        let new = "# 2.4.1-4 (7d8c0e5759): /etc/dovecot.conf\nmail_path = %{home}/m\nmail_plugins = acl notify\n\
                   namespace inbox {\n  mailbox \"Sent Mail\" {\n    special_use = \"\\\\Sent\"\n  }\n}\n";
        let settings = Settings::parse(new).unwrap();
        assert_eq!(version(new), Some(Version::V2_4));
        assert_eq!(settings.value("mail_path"), Some("%{home}/m"));
        assert!(settings.has_word("mail_plugins", "notify") && !settings.has_word("mail_plugins", "not"));
        let sent = settings
            .blocks("namespace")
            .next()
            .unwrap()
            .blocks("mailbox")
            .next()
            .unwrap();
        assert_eq!(
            (sent.label.as_str(), sent.value("special_use")),
            ("Sent Mail", Some("\\Sent"))
        );
    }

    #[test]
    fn a_text_that_was_cut_is_an_error() {
        assert!(Settings::parse("namespace inbox {\n inbox = yes\n").is_err());
        assert!(Settings::parse("}\n").is_err());
        assert!(Settings::parse(&"a {\n".repeat(SETTINGS_NESTING_MAX + 2)).is_err());
        assert_eq!(version("doveconf: error"), None);
    }
}
