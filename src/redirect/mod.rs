//! Where clients are pointed. A redirect has two halves: new logins go to the new primary, and old sessions with the old one
//! end; most balancers leave the second to whoever drives them. `docs/redirects.md` says what each kind does and can't do.
//!
//! | file | what it drives |
//! |---|---|
//! | [`proxy`] | nothing: it is the built-in redirector, and follows the nodes by itself |
//! | `haproxy` | HAProxy, by its runtime socket |
//! | `dovecot` | a Dovecot proxy, by its passwd-file and its `doveadm` |
//! | `dns` | a name server, by DNS UPDATE with TSIG |
//! | `exec` | a command of the operator's |

pub mod dns;
mod dovecot;
mod exec;
mod haproxy;
pub mod proxy;

use crate::config::{RedirectConfig, UserPatterns};
use crate::io::clock::Stopwatch;
use crate::limits::{REDIRECT_LOOK_SECONDS_MAX, REDIRECT_SECONDS_MAX};
use crate::op::{Epoch, NodeName, UserName};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a redirect is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose clients.
    pub group: String,
    /// What this node is in it now: `primary`, `standby`, `fenced`.
    pub role: String,
    /// The primary: where clients are to go.
    pub node: NodeName,
    /// The primary before, where there was one.
    pub peer: Option<NodeName>,
    /// The epoch that `node` took.
    pub epoch: Epoch,
    /// The group's users.
    pub users: UserPatterns,
    /// Users of the other groups here: they are pointed elsewhere.
    pub others: Vec<UserPatterns>,
}

impl Facts {
    /// True where a name is to be pointed with this group: a user of it, or nobody's, as the name of a line for everybody is.
    fn is_pointed(&self, name: &str) -> bool {
        self.users.matches(name) || !self.others.iter().any(|others| others.matches(name))
    }
}

/// What became of one redirect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Redirected {
    /// `haproxy`, `dovecot`, `dns` or `exec`.
    pub kind: String,
    /// True where new logins go to the new primary and no old session is known to be left.
    pub ok: bool,
    /// Sessions with other nodes that were ended; none where this kind can't know.
    pub moved_sessions: Option<u64>,
    /// What went wrong, or what should be known although it went well.
    pub why: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// What a driver did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Done {
    moved: Option<u64>,
    /// What is left to be done, where something is.
    wrong: Option<String>,
}

/// Points clients at `facts.node`. Doing it again does no harm, and finishes what was left half done. Takes at most
/// [`REDIRECT_SECONDS_MAX`]; what goes wrong stands in the answer.
pub async fn run(config: &RedirectConfig, facts: &Facts) -> Redirected {
    let time = Stopwatch::start();
    let limit = Duration::from_secs(REDIRECT_SECONDS_MAX);
    let done = tokio::time::timeout(limit, Box::pin(drive(config, facts))).await;
    let done = done.unwrap_or_else(|_| Err(format!("not done within {} s", limit.as_secs())));
    let (ok, moved_sessions, why) = match done {
        Ok(done) => (done.wrong.is_none(), done.moved, done.wrong),
        Err(why) => (false, None, Some(why)),
    };
    Redirected {
        kind: kind(config).to_owned(),
        ok,
        moved_sessions,
        why,
        seconds: time.elapsed().as_secs_f64(),
    }
}

/// Points one user at `node`, where this kind can. Takes as long as [`run`]; what goes wrong stands in the answer.
pub async fn point_user(config: &RedirectConfig, user: &UserName, node: &NodeName, group: &str) -> Redirected {
    let time = Stopwatch::start();
    let limit = Duration::from_secs(REDIRECT_SECONDS_MAX);
    let pointed = async {
        match config {
            RedirectConfig::Dovecot { file, doveadm, hosts } => {
                dovecot::point_user(file, doveadm, hosts, (user, node)).await
            }
            RedirectConfig::Exec { command } => exec::tell_user(command, user, node, group).await,
            RedirectConfig::Haproxy { .. } | RedirectConfig::Dns { .. } => {
                Err("it knows no users: it can't point one of them elsewhere".to_owned())
            }
        }
    };
    let done = tokio::time::timeout(limit, pointed).await;
    let why = done
        .unwrap_or_else(|_| Err(format!("not done within {} s", limit.as_secs())))
        .err();
    Redirected {
        kind: kind(config).to_owned(),
        ok: why.is_none(),
        moved_sessions: None,
        why,
        seconds: time.elapsed().as_secs_f64(),
    }
}

/// Whether this redirector could be driven now, in words; nothing is changed.
///
/// # Errors
/// What stands against it.
pub async fn look(config: &RedirectConfig) -> Result<String, String> {
    let limit = Duration::from_secs(REDIRECT_LOOK_SECONDS_MAX);
    let looked = async {
        match config {
            RedirectConfig::Haproxy { socket, servers } => haproxy::look(socket, servers).await,
            RedirectConfig::Dovecot { file, doveadm, hosts } => dovecot::look(file, doveadm, hosts).await,
            RedirectConfig::Dns { server, key, .. } => dns::look(server, key).await,
            RedirectConfig::Exec { command } => exec::look(command),
        }
    };
    let looked = tokio::time::timeout(limit, looked).await;
    looked.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
}

/// What the configuration calls it.
#[must_use]
pub fn kind(config: &RedirectConfig) -> &'static str {
    match config {
        RedirectConfig::Haproxy { .. } => "haproxy",
        RedirectConfig::Dovecot { .. } => "dovecot",
        RedirectConfig::Dns { .. } => "dns",
        RedirectConfig::Exec { .. } => "exec",
    }
}

async fn drive(config: &RedirectConfig, facts: &Facts) -> Result<Done, String> {
    match config {
        RedirectConfig::Haproxy { socket, servers } => haproxy::point(socket, servers, &facts.node).await,
        RedirectConfig::Dovecot { file, doveadm, hosts } => dovecot::point(file, doveadm, hosts, facts).await,
        RedirectConfig::Dns { .. } => dns::point(config, &facts.node).await,
        RedirectConfig::Exec { command } => exec::tell(command, facts).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_everybody_is_pointed_and_a_user_of_another_group_is_not() {
        let of = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            UserPatterns::try_from(patterns).unwrap()
        };
        let facts = |users: &[&str], others: &[&str]| Facts {
            group: "one".to_owned(),
            role: "primary".to_owned(),
            node: NodeName::from("mail-b"),
            peer: None,
            epoch: Epoch(2),
            users: of(users),
            others: vec![of(others)],
        };
        let east = facts(&["*@east"], &["*@west"]);
        assert!(east.is_pointed("ann@east") && east.is_pointed("everybody") && !east.is_pointed("cat@west"));
        let (main, moved) = (facts(&["*"], &[]), facts(&[], &["*"]));
        assert!(main.is_pointed("ann@east") && !moved.is_pointed("everybody"));
    }
}
