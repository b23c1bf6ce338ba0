//! What Dovecot's configuration says of bodies, out of `doveadm config -n`: which plugins transform them, and where
//! attachments lie.

use super::attachment::Attachment;
use super::plain::Plugins;
use super::variables::Variables;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

/// How one user's bodies are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodySettings {
    /// The folder of attachments that are stored apart (dbox).
    pub attachments: Option<PathBuf>,
    /// What transforms them.
    pub plugins: Plugins,
}

impl BodySettings {
    /// Reads an attachment's file, which is never larger than what it makes in the message. `suffix` is what is appended
    /// to its name.
    ///
    /// # Errors
    /// It is not there, or nobody said where; for people.
    pub(crate) fn attachment(&self, attachment: &Attachment, suffix: &str) -> Result<Vec<u8>, String> {
        let folder = self.attachments.as_deref();
        let folder = folder.ok_or("attachments are stored apart, and doveadm tells no folder of them")?;
        let path = folder.join(format!("{}{suffix}", attachment.path));
        let mut octets = Vec::new();
        let most = attachment.bytes.saturating_add(1);
        File::open(&path)
            .and_then(|file| file.take(most).read_to_end(&mut octets))
            .map_err(|error| format!("the attachment {}: {error}", path.display()))?;
        Ok(octets)
    }
}

/// The same before it is known whose they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyConfig {
    /// The folder of attachments, with Dovecot's variables in it.
    pub attachments: Option<String>,
    /// Plugins that are loaded somewhere.
    pub plugins: Plugins,
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
        self.plugins.compression |= matches!(name, "zlib" | "mail_compress");
        self.plugins.encryption |= name == "mail_crypt";
    }

    /// For a user. A folder of attachments that can't be named is missed where it is needed, with a reason.
    #[must_use]
    pub(crate) fn of_user(&self, variables: &Variables<'_>) -> BodySettings {
        let template = self.attachments.as_deref();
        let path = template.and_then(|path| variables.expand_path(path).ok());
        BodySettings {
            attachments: path.map(PathBuf::from),
            plugins: self.plugins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Version;
    use super::*;
    use crate::op::UserName;
    use std::path::Path;

    fn attachments(config: &BodyConfig, version: Version, home: Option<&str>) -> Option<PathBuf> {
        let user = UserName::from("ann");
        let home = home.map(Path::new);
        config
            .of_user(&Variables {
                version,
                user: &user,
                home,
            })
            .attachments
    }

    #[test]
    fn both_versions_tell_plugins_and_attachments() {
        let old = BodyConfig::parse(
            "mail_plugins = acl\nmail_attachment_dir = %h/attachments\nprotocol imap {\n  mail_plugins = acl zlib\n}\n",
        );
        assert!(old.plugins.compression && !old.plugins.encryption);
        assert_eq!(
            attachments(&old, Version::V2_3, Some("/h")),
            Some("/h/attachments".into())
        );
        let new = BodyConfig::parse(
            "mail_plugins {\n  mail_compress = yes\n  acl = no\n}\nmail_ext_attachment {\n  path = \"~/a b\"\n  fs posix {\n    path = /x\n  }\n}\n",
        );
        assert!(new.plugins.compression && !new.plugins.encryption);
        assert_eq!(attachments(&new, Version::V2_4, Some("/h")), Some("/h/a b".into()));
        assert!(
            BodyConfig::parse("protocol lmtp {\n  mail_plugins = quota mail_crypt\n}")
                .plugins
                .encryption
        );
    }

    #[test]
    fn a_folder_of_a_user_without_a_home_is_none() {
        let config = BodyConfig::parse("mail_ext_attachment_path = /srv/attachments\n");
        assert_eq!(
            attachments(&config, Version::V2_4, None),
            Some("/srv/attachments".into())
        );
        let config = BodyConfig::parse("mail_attachment_dir = ~/a\n");
        assert_eq!(attachments(&config, Version::V2_3, None), None);
    }
}
