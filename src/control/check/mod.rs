//! `shadowctl check`: the configuration and the environment, judged without a daemon. One file a topic; each finding
//! says what to do.

mod certificates;
mod clocks;
mod daemon;
mod dovecot;
mod files;
mod kernel;
mod need;
mod others;
mod passwords;
mod peers;
mod ports;
mod redirects;
mod state;
mod stores;
pub(super) mod target;

use crate::config::Config;
use crate::io::lock::StateLock;
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not for long or not well.
    Warning,
    /// It does not work.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Which part of the whole it belongs to: `certificates`, `ports`, …
    #[serde(default)]
    pub section: String,
    /// What was looked at: a key, a file, a port, a peer.
    pub topic: String,
    /// What was found.
    pub what: String,
    /// Why it matters; none where that is plain.
    #[serde(default)]
    pub why: Option<String>,
    /// What to do about it; none where nothing is to be done.
    pub todo: Option<String>,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(topic: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            section: String::new(),
            topic: topic.into(),
            what: what.into(),
            why: None,
            todo: None,
        }
    }

    /// As it should be, and could be better.
    pub(super) fn hint(topic: impl Into<String>, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            todo: Some(todo.into()),
            ..Self::ok(topic, what)
        }
    }

    /// The same with the reason why it matters.
    pub(super) fn because(self, why: impl Into<String>) -> Self {
        Self {
            why: Some(why.into()),
            ..self
        }
    }

    /// It works, but not for long or not well.
    pub(super) fn warning(topic: impl Into<String>, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            todo: Some(todo.into()),
            ..Self::ok(topic, what)
        }
    }

    /// It does not work.
    pub(super) fn error(topic: impl Into<String>, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            level: Level::Error,
            ..Self::warning(topic, what, todo)
        }
    }
}

/// Everything that was looked at, in that order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The findings.
    pub findings: Vec<Finding>,
    /// How many are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
}

impl CheckReport {
    fn of(findings: Vec<Finding>) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        Self {
            errors: count(Level::Error),
            warnings: count(Level::Warning),
            findings,
        }
    }
}

/// Looks at everything; changes nothing but for a file that it writes into the state directory and removes again.
/// `looking_at` hears each section before it is looked at: some take seconds.
#[must_use]
pub fn run(config: &Config, mut looking_at: impl FnMut(&str)) -> CheckReport {
    let daemon = StateLock::holder(&config.node.state);
    let mut all = Vec::new();
    let mut section = |name: &str, look: &dyn Fn() -> Vec<Finding>| {
        looking_at(name);
        all.extend(look().into_iter().map(|finding| Finding {
            section: name.to_owned(),
            ..finding
        }));
    };
    section("configuration", &|| vec![configuration(config)]);
    section("files and rights", &|| files::findings(config));
    section("state directory", &|| state::findings(config));
    section("certificates", &|| certificates::findings(config));
    section("clock", &|| clocks::findings(config));
    section("ports", &|| ports::findings(config, daemon.is_some()));
    section("kernel", &|| kernel::findings(config, daemon));
    section("passwords", &|| passwords::findings(config));
    for group in &config.groups {
        section(&format!("store of group {}", group.name), &|| {
            let mut found = stores::findings(group);
            found.extend(dovecot::findings(group));
            found.extend(target::findings(group));
            found
        });
    }
    section("other agents", &|| others::findings(config));
    section("running daemon", &|| daemon::findings(config, daemon));
    section("peers", &|| peers::findings(config));
    section("redirects", &|| redirects::findings(config));
    CheckReport::of(all)
}

fn configuration(config: &Config) -> Finding {
    let file = config.file.display().to_string();
    if config.groups.is_empty() && config.proxies.is_empty() {
        return Finding::warning(
            "configuration",
            format!("{file} has neither a group nor a proxy"),
            "add a [[group]] or a [[proxy]]: nothing is done without",
        );
    }
    let groups = config.groups.len();
    Finding::ok("configuration", format!("{file} is well-formed; groups: {groups}"))
}
