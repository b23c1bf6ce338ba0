//! Where a user's attributes lie, and what of them can't be carried, from the server's configuration.

use super::location::Lookup;
use super::settings::{Settings, Version};
use super::variables::Variables;
use crate::op::MailboxName;
use std::path::{Path, PathBuf};

/// Where a user's attributes lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeSettings {
    /// The file with METADATA; none where METADATA is off or kept elsewhere.
    pub dict: Option<PathBuf>,
    /// True where mailboxes have `dovecot-acl` files.
    pub acl: bool,
    /// The user's own Sieve scripts.
    pub sieve: Option<SievePlaces>,
    /// Special uses that the configuration gives to names.
    pub special_uses: Vec<SpecialUse>,
    /// What is there and is not carried, a sentence each.
    pub not_carried: Vec<String>,
}

/// Where Sieve scripts lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SievePlaces {
    /// The directory with `NAME.sieve`.
    pub scripts: Option<PathBuf>,
    /// The active script: a link to one of them, or a file.
    pub active: PathBuf,
}

/// A special use that the configuration gives to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialUse {
    /// The whole name as clients see it; `*` and `?` stand for anything and for one character.
    pattern: String,
    /// What separates its levels.
    separator: char,
    /// Without the backslash.
    special_use: String,
}

/// Attributes of mailboxes: Dovecot's default place for a user's scripts.
const SIEVE_SCRIPTS: &str = "~/sieve";
const SIEVE_ACTIVE: &str = "~/.dovecot.sieve";

impl AttributeSettings {
    /// From the configuration; paths are the user's. Whatever can't be understood is among [`Self::not_carried`].
    #[must_use]
    pub fn of(version: Version, settings: &Settings, variables: &Variables<'_>) -> Self {
        let mut found = Self {
            special_uses: special_uses(settings),
            ..Self::default()
        };
        let reading = Reading { settings, variables };
        match version {
            Version::V2_3 => found.of_2_3(&reading),
            Version::V2_4 => found.of_2_4(&reading),
        }
        found
    }

    /// Of a public namespace: its mailboxes' access control lists, and the special uses that its own block gives to their names,
    /// without its prefix. What is a user's own is nobody's there.
    #[must_use]
    pub(super) fn of_public(settings: &Settings, lookup: &Lookup<'_>) -> Self {
        let version = lookup.variables.version;
        let mut found = Self::of(version, settings, &lookup.variables);
        if found.dict.take().is_some() {
            found.lacks(
                "METADATA of public mailboxes lies in the dicts of those who set it: it is not carried".to_owned(),
            );
        }
        found.sieve = None;
        found.special_uses = special_uses_of(lookup.block, "");
        found
    }

    /// The special use that the configuration gives to a name, without the backslash.
    #[must_use]
    pub fn special_use(&self, name: &MailboxName) -> Option<&str> {
        let gives = |special: &&SpecialUse| {
            let seen = name.join(special.separator);
            matches(special.pattern.as_bytes(), seen.as_bytes())
        };
        // As Dovecot: the first that fits.
        self.special_uses
            .iter()
            .find(gives)
            .map(|special| special.special_use.as_str())
    }

    fn of_2_3(&mut self, reading: &Reading<'_>) {
        if let Some(dict) = reading.of_imap("mail_attribute_dict") {
            self.dict = match dict.strip_prefix("file:") {
                Some(path) => self.path(
                    reading,
                    path.split(':').next().unwrap_or_default(),
                    "mail_attribute_dict",
                ),
                None => {
                    let driver = dict.split(':').next().unwrap_or_default();
                    self.lacks(format!(
                        "METADATA is kept by the dict driver {driver}: only file is read"
                    ));
                    None
                }
            };
        }
        let plugin = |key: &str| reading.settings.blocks("plugin").find_map(|block| block.value(key));
        let driver = plugin("acl").filter(|_| reading.has_plugin("acl"));
        self.acl = driver.is_some_and(|driver| driver == "vfile" || driver.starts_with("vfile:"));
        match driver {
            Some(driver) if !self.acl => {
                self.lacks(format!("ACLs are kept by the driver {driver}: only vfile is read"))
            }
            Some(driver) if driver.starts_with("vfile:/") => self.lacks_global_acls(),
            _ => {}
        }
        self.acl &= plugin("acl_globals_only") != Some("yes");
        let legacy = plugin("sieve_dir");
        let location = plugin("sieve");
        if location.is_some() || legacy.is_some() || reading.has_plugin("sieve") {
            let default = format!("file:{SIEVE_SCRIPTS};active={SIEVE_ACTIVE}");
            self.sieve = self.sieve_location(reading, location.unwrap_or(&default), legacy);
        }
        let locations = reading
            .settings
            .blocks("namespace")
            .filter_map(|block| block.value("location"));
        if locations
            .chain(reading.settings.value("mail_location"))
            .any(|location| location.contains(":INDEXPVT="))
        {
            self.lacks_private_flags();
        }
    }

    fn of_2_4(&mut self, reading: &Reading<'_>) {
        let dicts = reading
            .settings
            .blocks("mail_attribute")
            .flat_map(|block| block.blocks("dict"));
        for dict in dicts {
            let driver = dict.value("driver").unwrap_or(&dict.label);
            if driver == "file" {
                let path = dict
                    .value("path")
                    .or_else(|| dict.value("dict_file_path"))
                    .unwrap_or_default();
                self.dict = self.path(reading, path, "mail_attribute");
            } else {
                self.lacks(format!(
                    "METADATA is kept by the dict driver {driver}: only file is read"
                ));
            }
        }
        let driver = reading.of_imap("acl_driver").filter(|_| reading.has_plugin("acl"));
        self.acl = driver == Some("vfile");
        if let Some(driver) = driver.filter(|driver| *driver != "vfile") {
            self.lacks(format!("ACLs are kept by the driver {driver}: only vfile is read"));
        }
        if self.acl && reading.of_imap("acl_global_path").is_some() {
            self.lacks_global_acls();
        }
        self.acl &= reading.of_imap("acl_globals_only") != Some("yes");
        for script in reading.settings.blocks("sieve_script") {
            let value = |key: &str| {
                script
                    .value(key)
                    .or_else(|| script.value(&format!("sieve_script_{key}")))
            };
            if value("type").unwrap_or("personal") != "personal" {
                continue;
            }
            match value("driver").unwrap_or("file") {
                "file" => {
                    let scripts = value("path").unwrap_or(SIEVE_SCRIPTS);
                    let active = value("active_path").unwrap_or(SIEVE_ACTIVE);
                    self.sieve = self.sieve_places(reading, Some(scripts), active);
                }
                driver => self.lacks(format!(
                    "Sieve scripts are kept by the driver {driver}: only file is read"
                )),
            }
        }
        let private = reading
            .settings
            .blocks("namespace")
            .filter_map(|block| block.value("mail_index_private_path"));
        if private
            .chain(reading.settings.value("mail_index_private_path"))
            .any(|path| !path.is_empty())
        {
            self.lacks_private_flags();
        }
    }

    /// `file:~/sieve;active=~/.dovecot.sieve`, or the older `~/.dovecot.sieve` with `sieve_dir` beside it.
    fn sieve_location(&mut self, reading: &Reading<'_>, location: &str, legacy: Option<&str>) -> Option<SievePlaces> {
        let mut parts = location.split(';');
        let first = parts.next().unwrap_or_default();
        let (driver, path) = match first.split_once(':') {
            Some((driver, path)) if !driver.contains('/') => (driver, path),
            _ => ("file", first),
        };
        if driver != "file" {
            self.lacks(format!(
                "Sieve scripts are kept by the driver {driver}: only file is read"
            ));
            return None;
        }
        match parts.find_map(|part| part.trim().strip_prefix("active=")) {
            Some(active) => self.sieve_places(reading, Some(path), active),
            // One path: it is the active script's, and the others lie in sieve_dir; or it is the directory.
            None if first.starts_with("file:") && !path.ends_with(".sieve") => {
                self.sieve_places(reading, Some(path), SIEVE_ACTIVE)
            }
            None => self.sieve_places(reading, legacy.or(Some(SIEVE_SCRIPTS)), path),
        }
    }

    fn sieve_places(&mut self, reading: &Reading<'_>, scripts: Option<&str>, active: &str) -> Option<SievePlaces> {
        let scripts = scripts.and_then(|path| self.path(reading, path, "Sieve"));
        let active = self.path(reading, active, "Sieve")?;
        Some(SievePlaces { scripts, active })
    }

    /// A path of the user's; none, and said, where it can't be known.
    fn path(&mut self, reading: &Reading<'_>, text: &str, what: &str) -> Option<PathBuf> {
        match reading.path(text) {
            Ok(path) => Some(path),
            Err(why) => {
                self.lacks(format!("{what}: {why}"));
                None
            }
        }
    }

    fn lacks(&mut self, why: String) {
        if !self.not_carried.contains(&why) {
            self.not_carried.push(why);
        }
    }

    fn lacks_global_acls(&mut self) {
        self.lacks("global ACLs are configuration, not mail: only those of the mailboxes are carried".to_owned());
    }

    fn lacks_private_flags(&mut self) {
        self.lacks(
            "private flags (INDEXPVT=, mail_index_private_path) belong to others' mailboxes, which are copied as their \
             owners' only: what each reader has seen of them is not carried"
                .to_owned(),
        );
    }
}

struct Reading<'a> {
    settings: &'a Settings,
    variables: &'a Variables<'a>,
}

impl<'a> Reading<'a> {
    /// As IMAP has it: in its own block, else at the top. An empty value is none.
    fn of_imap(&self, key: &str) -> Option<&'a str> {
        let imap = self.settings.blocks("protocol").filter(|block| block.label == "imap");
        let value = imap.filter_map(|block| block.value(key)).last();
        value
            .or_else(|| self.settings.value(key))
            .filter(|value| !value.is_empty())
    }

    /// True where a plugin is loaded anywhere: 2.3 and 2.4 list words, 2.4 also has a block with `NAME = yes`.
    fn has_plugin(&self, name: &str) -> bool {
        let top = std::iter::once(self.settings);
        top.chain(self.settings.blocks("protocol")).any(|block| {
            let listed = block.blocks("mail_plugins").any(|plugins| plugins.is_yes(name));
            listed || block.has_word("mail_plugins", name)
        })
    }

    fn path(&self, text: &str) -> Result<PathBuf, String> {
        let text = self.variables.expand(text)?;
        let path = match (text.strip_prefix("~/"), self.variables.home) {
            (Some(below), Some(home)) => home.join(below),
            (Some(_), None) => return Err("the user database tells no home directory".to_owned()),
            (None, _) => PathBuf::from(text),
        };
        match path.is_absolute() {
            true => Ok(path),
            false => Err(format!("{} is no absolute path", Path::new(&path).display())),
        }
    }
}

fn special_uses(settings: &Settings) -> Vec<SpecialUse> {
    let mut found = Vec::new();
    for namespace in settings.blocks("namespace") {
        let prefix = namespace.value("prefix").unwrap_or_default();
        found.extend(special_uses_of(namespace, prefix));
    }
    found
}

fn special_uses_of(namespace: &Settings, prefix: &str) -> Vec<SpecialUse> {
    let separator = namespace
        .value("separator")
        .and_then(|text| text.chars().next())
        .unwrap_or('/');
    let of = |mailbox: &Settings| {
        let name = mailbox.value("name").unwrap_or(&mailbox.label);
        // Of several only the first is a special use that one mailbox can have here.
        let special_use = mailbox.value("special_use")?.split_whitespace().next()?;
        Some(SpecialUse {
            pattern: format!("{prefix}{name}"),
            separator,
            special_use: special_use.trim_start_matches('\\').to_owned(),
        })
    };
    namespace.blocks("mailbox").filter_map(of).collect()
}

/// Shell-like: `*` anything, `?` one octet. Time is bounded by name times pattern.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut rows = vec![false; name.len().saturating_add(1)];
    if let Some(first) = rows.first_mut() {
        *first = true;
    }
    for wanted in pattern {
        let mut next = vec![false; rows.len()];
        let mut any = false;
        for (at, mark) in next.iter_mut().enumerate() {
            let here = rows.get(at).copied().unwrap_or_default();
            let before = at.checked_sub(1);
            let fits = before
                .and_then(|b| name.get(b))
                .is_some_and(|octet| *wanted == b'?' || octet == wanted);
            any |= here;
            *mark = match wanted {
                b'*' => any,
                _ => fits && before.and_then(|b| rows.get(b)).copied().unwrap_or_default(),
            };
        }
        rows = next;
    }
    rows.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::UserName;

    fn of(version: Version, text: &str) -> AttributeSettings {
        let user = UserName::from("ann@example.test");
        let variables = Variables {
            version,
            user: &user,
            home: Some(Path::new("/h/ann")),
        };
        AttributeSettings::of(version, &Settings::parse(text).unwrap(), &variables)
    }

    #[test]
    fn both_versions_say_the_same_in_their_own_words() {
        let old = "mail_plugins = acl notify\nmail_attribute_dict = file:%h/dovecot-attributes\n\
                   namespace inbox {\n  mailbox Sent {\n    special_use = \\Sent\n  }\n  prefix = \n  separator = /\n}\n\
                   plugin {\n  acl = vfile\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n}\n";
        let new = "acl_driver = vfile\nmail_plugins = acl notify\nmail_attribute {\n  dict file {\n\
                   path = %{home}/dovecot-attributes\n  }\n}\nnamespace inbox {\n  separator = /\n  mailbox Sent {\n\
                   special_use = \"\\\\Sent\"\n  }\n}\nsieve_script personal {\n  driver = file\n  path = ~/sieve\n\
                   active_path = ~/.dovecot.sieve\n}\n";
        let (old, new) = (of(Version::V2_3, old), of(Version::V2_4, new));
        assert_eq!(old, new);
        assert_eq!(old.dict.as_deref(), Some(Path::new("/h/ann/dovecot-attributes")));
        let sieve = old.sieve.clone().unwrap();
        assert_eq!(sieve.scripts.as_deref(), Some(Path::new("/h/ann/sieve")));
        assert_eq!(sieve.active, Path::new("/h/ann/.dovecot.sieve"));
        assert!(old.acl && old.not_carried.is_empty());
        let special = |name: &[&str]| {
            old.special_use(&MailboxName::of(name.iter().copied()))
                .map(str::to_owned)
        };
        assert_eq!(special(&["Sent"]).as_deref(), Some("Sent"));
        assert_eq!((special(&["Sent", "2020"]), special(&["sent"])), (None, None));
    }

    #[test]
    fn what_is_off_is_not_looked_for() {
        for version in [Version::V2_3, Version::V2_4] {
            let nothing = of(version, "protocols = imap\n");
            assert_eq!(nothing, AttributeSettings::default());
        }
        // The setting alone does nothing without the plugin.
        assert!(!of(Version::V2_3, "plugin {\n acl = vfile\n}\n").acl);
        assert!(!of(Version::V2_4, "acl_driver = vfile\n").acl);
    }

    #[test]
    fn what_is_not_carried_is_said() {
        let old = "mail_attribute_dict = proxy::metadata\nmail_plugins = acl\nprotocol lmtp {\n mail_plugins = sieve\n}\n\
                   mail_location = maildir:~/M:INDEXPVT=~/pvt\nplugin {\n acl = vfile:/etc/dovecot/global-acls\n\
                   sieve = ldap:/etc/sieve.conf\n}\n";
        let found = of(Version::V2_3, old);
        assert_eq!((found.dict, found.sieve, found.acl), (None, None, true));
        for word in ["proxy", "global", "ldap", "private flags"] {
            assert!(
                found.not_carried.iter().any(|why| why.contains(word)),
                "{word}: {:?}",
                found.not_carried
            );
        }
        let new = "mail_index_private_path = ~/p\nmail_plugins {\n acl = yes\n}\nacl_driver = vfile\nacl_global_path = /e\n\
                   mail_attribute {\n dict proxy {\n name = x\n }\n}\nsieve_script personal {\n driver = dict\n}\n";
        let found = of(Version::V2_4, new);
        assert!(found.acl);
        assert_eq!(found.not_carried.len(), 4, "{:?}", found.not_carried);
    }

    #[test]
    fn older_ways_to_say_where_scripts_lie_are_understood() {
        let places = |sieve: &str| of(Version::V2_3, &format!("plugin {{\n{sieve}\n}}\n")).sieve.unwrap();
        let legacy = places("sieve = ~/.dovecot.sieve\nsieve_dir = ~/scripts");
        assert_eq!(legacy.scripts.as_deref(), Some(Path::new("/h/ann/scripts")));
        assert_eq!(legacy.active, Path::new("/h/ann/.dovecot.sieve"));
        let directory = places("sieve = file:/v/%n/sieve");
        assert_eq!(directory.scripts.as_deref(), Some(Path::new("/v/ann/sieve")));
        assert_eq!(directory.active, Path::new("/h/ann/.dovecot.sieve"));
    }

    #[test]
    fn a_pattern_gives_its_use_to_every_name_that_fits() {
        for (pattern, name, fits) in [
            ("Archive/*", "Archive/2020", true),
            ("Archive/*", "Archive", false),
            ("Tra?h", "Trash", true),
            ("*", "", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1b2", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
