//! `shadowctl check`: the configuration and the environment, judged without a daemon. One file a topic; each finding
//! says what to do.

mod certificates;
mod clocks;
mod files;
mod peers;
mod ports;
mod stores;

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
    /// What was looked at: a key, a file, a port, a peer.
    pub topic: String,
    /// What was found.
    pub what: String,
    /// What to do about it; none where nothing is to be done.
    pub todo: Option<String>,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(topic: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            topic: topic.into(),
            what: what.into(),
            todo: None,
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
/// `looking_at` hears each topic before it is looked at: some take seconds.
#[must_use]
pub fn run(config: &Config, mut looking_at: impl FnMut(&str)) -> CheckReport {
    let daemon_runs = StateLock::is_held(&config.node.state);
    let mut findings = vec![configuration(config)];
    looking_at("files and permissions");
    findings.extend(files::findings(config));
    looking_at("certificates");
    findings.extend(certificates::findings(config));
    looking_at("clock");
    findings.extend(clocks::findings(config));
    looking_at("ports");
    findings.extend(ports::findings(config, daemon_runs));
    for group in &config.groups {
        looking_at(&format!("store of group {}", group.name));
        findings.extend(stores::findings(group));
    }
    looking_at("peers");
    findings.extend(peers::findings(config));
    CheckReport::of(findings)
}

fn configuration(config: &Config) -> Finding {
    let file = config.file.display().to_string();
    match config.refuse_unbuilt() {
        Err(error) => Finding::error(
            "configuration",
            error.to_string(),
            "shadowd refuses to start with this key",
        ),
        Ok(()) if config.groups.is_empty() => Finding::warning(
            "configuration",
            format!("{file} has no group"),
            "add a [[group]]: nothing is done without",
        ),
        Ok(()) => Finding::ok(
            "configuration",
            format!("{file} is well-formed; groups: {}", config.groups.len()),
        ),
    }
}
