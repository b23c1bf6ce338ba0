//! A Dovecot before or after a migration: what it is, what it is configured to keep, and what each user has, by its own
//! word (`doveadm mailbox status -A`): the same question for every version and format.

use super::doveadm::{Doveadm, DoveadmError};
use super::engine::omissions::sum_up;
use super::mail_root::{Layout, MailRoot};
use super::namespaces::Configuration;
use super::settings::Settings;
use crate::config::PublicOwners;
use crate::limits::{CENSUS_BYTES_MAX, CENSUS_SECONDS_MAX, SAMPLE_BYTES_MAX, SAMPLE_SECONDS_MAX};
use crate::op::{MailboxName, UserName};
use crate::store::holdings::{Holding, Holdings, NameRules};
use crate::store::source::NotCarried;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a server is, for whomever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, as in `2.3.19.1`.
    pub version: String,
    /// Formats of its users' mail.
    pub formats: Vec<String>,
    /// What clients see between the levels of a name.
    pub separators: Vec<String>,
    /// What its configuration has that mail may depend on.
    pub features: Vec<String>,
    /// Which names it can't have.
    pub name_rules: NameRules,
    /// Where the mail of its first user lies.
    pub mail: Option<PathBuf>,
    /// Users who can't be captured there, with the reason.
    pub refused: Vec<(UserName, String)>,
    /// What users have that is not carried.
    pub not_carried: Vec<NotCarried>,
}

/// Bodies that were read to see how fast that goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Octets read.
    pub bytes: u64,
    /// In how much time, seconds.
    pub seconds: f64,
}

impl Doveadm {
    /// What this server is; looks at the users that are `wanted` only.
    ///
    /// # Errors
    /// `doveadm` fails, or prints what is no configuration of 2.3 or 2.4.
    pub fn server_facts(
        &self,
        wanted: &dyn Fn(&UserName) -> bool,
        public: &PublicOwners,
    ) -> Result<ServerFacts, DoveadmError> {
        let configuration = self.configuration()?;
        let mut facts = ServerFacts {
            version: self.version_text(),
            features: features(&configuration.settings),
            ..ServerFacts::default()
        };
        let mut roots = Vec::new();
        for (user, root) in self.users(public)?.into_iter().filter(|(user, _)| wanted(user)) {
            match root {
                Ok(root) => roots.push(root),
                Err(why) => facts.refused.push((user, why)),
            }
        }
        facts.formats = distinct(&roots, |root| {
            root.namespaces.iter().map(|n| n.driver.name().to_owned()).collect()
        });
        facts.separators = distinct(&roots, |root| {
            root.namespaces.iter().map(|n| n.separator.to_string()).collect()
        });
        facts.not_carried = sum_up(roots.iter());
        facts.name_rules = name_rules(&roots);
        facts.mail = roots
            .first()
            .and_then(|root| root.namespaces.first())
            .map(|first| first.mail.clone());
        Ok(facts)
    }

    /// `2.3.19.1`, as far as it says so.
    fn version_text(&self) -> String {
        let asked = self.call(&["config", "-n"]);
        let text = asked.map(|(text, _, _)| text).unwrap_or_default();
        let first = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let version = first.and_then(|line| line.split_whitespace().next());
        version.unwrap_or_default().to_owned()
    }

    /// What each of the `wanted` users has in namespaces that are carried. Who has nothing yet is listed too; what is public
    /// counts once, as its owner's.
    ///
    /// # Errors
    /// `doveadm` fails, hangs, says too much or what can't be read. A user whose mail can't be opened counts as having none.
    pub fn holdings(
        &self,
        wanted: &dyn Fn(&UserName) -> bool,
        public: &PublicOwners,
        rules: &NameRules,
    ) -> Result<Holdings, DoveadmError> {
        let configuration = self.configuration()?;
        let names = self.user_names()?.into_iter().filter(|user| wanted(user));
        let mut found: Holdings = names.map(|user| (user.clone(), nothing_of(user))).collect();
        if found.is_empty() {
            return Ok(found);
        }
        let others = Others {
            separator: self.separator(&configuration, found.keys().next())?,
            ..Others::of(&configuration)
        };
        let arguments = ["-f", "json", "mailbox", "status", "-A", "messages vsize", "*"];
        let limit = Duration::from_secs(CENSUS_SECONDS_MAX);
        let (text, complaint, _) = self.call_for_octets(&arguments, CENSUS_BYTES_MAX, limit)?;
        let rows: Vec<Row> = serde_json::from_slice(&text).map_err(|error| match complaint.lines().last() {
            Some(last) if text.is_empty() => self.failed(&arguments, last),
            _ => self.failed(&arguments, &error.to_string()),
        })?;
        let mut public_seen = BTreeSet::new();
        for row in rows {
            let (messages, bytes) = (number(&row.messages), number(&row.vsize));
            if let Some((owner, name)) = others.public_name(public, &row.mailbox) {
                if wanted(&owner) && public_seen.insert(row.mailbox) {
                    let holding = found.entry(owner.clone()).or_insert_with(|| nothing_of(owner));
                    holding.add(&name, messages, bytes, rules);
                }
            } else if let (Some(name), Some(holding)) = (others.own_name(&row.mailbox), found.get_mut(&row.username)) {
                holding.add(&name, messages, bytes, rules);
            }
        }
        Ok(found)
    }

    /// What clients see between levels: Dovecot wants the same for all namespaces.
    fn separator(&self, configuration: &Configuration, user: Option<&UserName>) -> Result<Option<char>, DoveadmError> {
        let said = |block: &Settings| block.value("separator")?.chars().next();
        let said = configuration.settings.blocks("namespace").find_map(said);
        let (None, Some(user)) = (said, user) else {
            return Ok(said);
        };
        let fields = self.fields(std::slice::from_ref(user))?;
        let root = fields
            .get(user)
            .and_then(|fields| configuration.mail_root(user, fields).ok());
        Ok(root.and_then(|root| Some(root.namespaces.first()?.separator)))
    }

    /// Reads the newest messages of some users' INBOXes, for a few seconds at the most.
    ///
    /// # Errors
    /// `doveadm` fails.
    pub fn sample(&self, users: &[UserName]) -> Result<Sample, DoveadmError> {
        let began = Instant::now();
        let limit = Duration::from_secs(SAMPLE_SECONDS_MAX);
        let mut sample = Sample::default();
        for user in users {
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() || sample.bytes >= SAMPLE_BYTES_MAX {
                break;
            }
            let arguments = ["fetch", "-u", user.as_str(), "text", "mailbox", "INBOX", "1:50"];
            // one whose messages are larger than the bound, or too many for the time, is no part of the sample
            if let Ok((octets, _, true)) = self.call_for_octets(&arguments, SAMPLE_BYTES_MAX, left) {
                sample.bytes = sample
                    .bytes
                    .saturating_add(u64::try_from(octets.len()).unwrap_or(u64::MAX));
                sample.seconds = began.elapsed().as_secs_f64();
            }
        }
        Ok(sample)
    }
}

/// A line of `doveadm mailbox status`; both versions print numbers as texts.
#[derive(Deserialize)]
struct Row {
    username: UserName,
    mailbox: String,
    messages: String,
    vsize: String,
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}

fn nothing_of(user: UserName) -> Holding {
    Holding {
        user,
        known: true,
        ..Holding::default()
    }
}

fn distinct(roots: &[MailRoot], of: impl Fn(&MailRoot) -> BTreeSet<String>) -> Vec<String> {
    let all: BTreeSet<String> = roots.iter().flat_map(of).collect();
    all.into_iter().collect()
}

/// Namespaces whose mailboxes are nobody's own, and what stands between levels.
struct Others {
    prefixes: Vec<String>,
    separator: Option<char>,
}

impl Others {
    fn of(configuration: &Configuration) -> Self {
        let blocks = || configuration.settings.blocks("namespace");
        let of_others = |block: &&Settings| matches!(block.value("type"), Some("shared" | "public"));
        let literal = |block: &Settings| {
            let prefix = block.value("prefix").unwrap_or_default();
            // `Shared/%u/`, `Shared/$user/`: what is the same for everybody
            let end = prefix.find(['%', '$']).unwrap_or(prefix.len());
            prefix.get(..end).unwrap_or_default().to_owned()
        };
        Self {
            prefixes: blocks()
                .filter(of_others)
                .map(literal)
                .filter(|prefix| !prefix.is_empty())
                .collect(),
            separator: None,
        }
    }

    /// The name in levels; none of what belongs to others.
    fn own_name(&self, name: &str) -> Option<MailboxName> {
        let foreign = |prefix: &String| {
            let without = self.separator.map_or(prefix.as_str(), |s| prefix.trim_end_matches(s));
            name.starts_with(prefix.as_str()) || name == without
        };
        if self.prefixes.iter().any(foreign) {
            return None;
        }
        Some(self.levels(name))
    }

    /// Whose a mailbox is that is nobody's, where the configuration says so, and its name there.
    fn public_name(&self, public: &PublicOwners, name: &str) -> Option<(UserName, MailboxName)> {
        let (owner, rest) = public
            .iter()
            .find_map(|(prefix, owner)| Some((owner, name.strip_prefix(prefix.as_str())?)))?;
        Some((owner.clone(), self.levels(rest)))
    }

    fn levels(&self, name: &str) -> MailboxName {
        MailboxName(match self.separator {
            Some(separator) => name.split(separator).map(str::to_owned).collect(),
            None => vec![name.to_owned()],
        })
    }
}

/// What mail may depend on, and how a configuration says it.
fn features(settings: &Settings) -> Vec<String> {
    let plugin = |name: &str| has_plugin(settings, name);
    let mut found = Vec::new();
    let mut note = |has: bool, what: &str| {
        if has {
            found.push(what.to_owned());
        }
    };
    let metadata = deep(settings, &|s| {
        s.value("mail_attribute_dict").is_some_and(|dict| !dict.is_empty())
    });
    note(metadata || deep(settings, &|s| s.kind == "mail_attribute"), "METADATA");
    note(plugin("acl"), "ACL");
    note(plugin("sieve"), "Sieve");
    let special = deep(settings, &|s| s.kind == "mailbox" && s.value("special_use").is_some());
    note(special, "special-use");
    note(plugin("zlib") || plugin("mail_compress"), "compression");
    note(plugin("quota"), "quota");
    note(plugin("mail_crypt"), "encryption");
    note(plugin("virtual"), "virtual mailboxes");
    found
}

/// True where any block has it.
fn deep(settings: &Settings, has: &dyn Fn(&Settings) -> bool) -> bool {
    has(settings) || settings.all_blocks().any(|block| deep(block, has))
}

/// `mail_plugins = acl`, for everybody or a protocol; 2.4 also prints `mail_plugins { acl = yes }`.
fn has_plugin(settings: &Settings, name: &str) -> bool {
    deep(settings, &|s| {
        s.has_word("mail_plugins", name) || (s.kind == "mail_plugins" && s.is_yes(name))
    })
}

/// A level can't hold what its layout takes for a separator, unless it is escaped; nor can it hold what clients see between
/// levels.
fn name_rules(roots: &[MailRoot]) -> NameRules {
    let mut without = BTreeSet::new();
    for namespace in roots.iter().flat_map(|root| &root.namespaces) {
        without.insert(namespace.separator);
        if namespace.spelling.escape.is_none() && namespace.layout == Layout::MaildirPlusPlus {
            without.insert('.');
        }
        if namespace.spelling.escape.is_none() && namespace.layout == Layout::Fs {
            without.insert('/');
        }
    }
    NameRules {
        without: without.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Version;
    use super::*;

    fn others(text: &str) -> Others {
        let configuration = Configuration {
            version: Version::V2_3,
            settings: Settings::parse(text).unwrap(),
            bodies: super::super::body_settings::BodyConfig::parse(text),
        };
        Others {
            separator: Some('/'),
            ..Others::of(&configuration)
        }
    }

    #[test]
    fn mail_that_belongs_to_others_is_nobodys_own() {
        let others = others(
            "namespace inbox {\n  inbox = yes\n  separator = /\n}\nnamespace pub {\n  prefix = Public/\n  separator = /\n  \
             type = public\n}\nnamespace sh {\n  prefix = Shared/%u/\n  type = shared\n}\n",
        );
        let levels = |name| others.own_name(name).map(|name| name.0.len());
        assert_eq!(levels("Public/news"), None);
        assert_eq!(levels("Public"), None);
        assert_eq!(levels("Shared/bob/INBOX"), None);
        assert_eq!((levels("Publicity/x.y"), levels("INBOX")), (Some(2), Some(1)));
        let owners = PublicOwners::from([("Public/".to_owned(), UserName::from("pub"))]);
        let owned = others.public_name(&owners, "Public/news/old");
        assert_eq!(
            owned.map(|(owner, name)| (owner.0, name.join('/'))),
            Some(("pub".to_owned(), "news/old".to_owned()))
        );
        assert_eq!(others.public_name(&owners, "Publicity/x"), None);
    }

    #[test]
    fn a_feature_that_only_one_protocol_has_is_in_use() {
        let of = |text: &str| features(&Settings::parse(text).unwrap());
        let old = "mail_plugins = acl zlib\nmail_attribute_dict = file:%h/x\nprotocol lmtp {\n  mail_plugins = $mail_plugins sieve\n}\n\
                   namespace inbox {\n  mailbox Sent {\n    special_use = \\Sent\n  }\n}\n";
        assert_eq!(of(old), ["METADATA", "ACL", "Sieve", "special-use", "compression"]);
        let new = "mail_plugins {\n  acl = yes\n}\nmail_attribute {\n  dict file {\n  }\n}\nprotocol lmtp {\n  mail_plugins {\n    sieve = \
                   yes\n  }\n}\n";
        assert_eq!(of(new), ["METADATA", "ACL", "Sieve"]);
        assert_eq!(of("protocols = imap\n"), [""; 0]);
    }
}
