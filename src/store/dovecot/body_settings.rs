//! What Dovecot's configuration says of bodies, out of `doveadm config -n`: which plugins transform them, and where
//! attachments lie.

use std::path::PathBuf;

/// How one user's bodies are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodySettings {
    /// The folder of attachments that are stored apart (dbox).
    pub attachments: Option<PathBuf>,
    /// A compression plugin is loaded: what begins like compressed mail is decompressed.
    pub decompresses: bool,
    /// mail-crypt is loaded: bodies can't be read.
    pub encrypts: bool,
}

/// The same before it is known whose they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyConfig {
    /// The folder of attachments, with Dovecot's variables in it.
    pub attachments: Option<String>,
    /// A compression plugin is loaded somewhere.
    pub decompresses: bool,
    /// mail-crypt is loaded somewhere.
    pub encrypts: bool,
}

impl BodyConfig {
    /// Out of the non-default settings of either version: `key = value` in nested `section { … }`. What can't be read is
    /// left out. A plugin counts wherever it is loaded: for one protocol, say.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut config = Self::default();
        let mut sections: Vec<&str> = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_suffix('{') {
                sections.push(section.trim());
            } else if line == "}" {
                sections.pop();
            } else if let Some((key, value)) = line.split_once('=') {
                config.take(sections.last().copied().unwrap_or_default(), key.trim(), value.trim());
            }
        }
        config
    }

    fn take(&mut self, section: &str, key: &str, value: &str) {
        match (section, key) {
            (_, "mail_plugins") => value.split_whitespace().for_each(|plugin| self.plugin(plugin)),
            ("mail_plugins", plugin) if value == "yes" => self.plugin(plugin),
            (_, "mail_attachment_dir" | "mail_ext_attachment_path") | ("mail_ext_attachment", "path") => {
                let value = value
                    .strip_prefix('"')
                    .and_then(|value| value.strip_suffix('"'))
                    .unwrap_or(value);
                self.attachments = (!value.is_empty()).then(|| value.to_owned());
            }
            _ => {}
        }
    }

    fn plugin(&mut self, name: &str) {
        self.decompresses |= matches!(name, "zlib" | "mail_compress");
        self.encrypts |= name == "mail_crypt";
    }

    /// The folder of attachments as a template of `doveadm user -e`, which does not know `~`. None where it is the same
    /// for everybody, or there is none.
    #[must_use]
    pub(crate) fn template(&self, is_2_4: bool) -> Option<String> {
        let path = self.attachments.as_deref()?;
        let home = if is_2_4 { "%{home}" } else { "%h" };
        match path.strip_prefix('~') {
            Some(rest) => Some(format!("{home}{rest}")),
            None => path.contains('%').then(|| path.to_owned()),
        }
    }

    /// For a user whose folder of attachments this is; none: the same for everybody.
    #[must_use]
    pub(crate) fn of_user(&self, attachments: Option<PathBuf>) -> BodySettings {
        let fixed = || {
            self.template(false)
                .is_none()
                .then(|| self.attachments.clone().map(PathBuf::from))
        };
        BodySettings {
            attachments: attachments.or_else(|| fixed().flatten()),
            decompresses: self.decompresses,
            encrypts: self.encrypts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_tell_plugins_and_attachments() {
        let old = BodyConfig::parse(
            "mail_plugins = acl\nmail_attachment_dir = %h/attachments\nprotocol imap {\n  mail_plugins = acl zlib\n}\n",
        );
        assert!(old.decompresses && !old.encrypts);
        assert_eq!(old.template(false).unwrap(), "%h/attachments");
        let new = BodyConfig::parse(
            "mail_plugins {\n  mail_compress = yes\n  acl = no\n}\nmail_ext_attachment {\n  path = \"~/a b\"\n  fs posix {\n    path = /x\n  }\n}\n",
        );
        assert!(new.decompresses && !new.encrypts);
        assert_eq!(new.template(true).unwrap(), "%{home}/a b");
        assert!(BodyConfig::parse("protocol lmtp {\n  mail_plugins = quota mail_crypt\n}").encrypts);
    }

    #[test]
    fn a_common_folder_needs_no_question() {
        let config = BodyConfig::parse("mail_ext_attachment_path = /srv/attachments\n");
        assert_eq!(config.template(true), None);
        assert_eq!(config.of_user(None).attachments, Some("/srv/attachments".into()));
        assert_eq!(BodyConfig::default().of_user(None), BodySettings::default());
        // Without an answer the template itself is no folder.
        assert_eq!(
            BodyConfig::parse("mail_attachment_dir = ~/a").of_user(None).attachments,
            None
        );
    }
}
