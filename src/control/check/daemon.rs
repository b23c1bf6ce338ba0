//! What a running daemon says of itself. Everything else is judged without one.

use super::Finding;
use crate::config::Config;
use crate::control::client::call;
use crate::control::status::{GroupStatus, Role, Status};
use crate::control::verbs::Request;
use std::time::Duration;

const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A copy that is further behind is worth a look.
const LAG_SECONDS: f64 = 60.0;

pub(super) fn findings(config: &Config, pid: Option<u32>) -> Vec<Finding> {
    let topic = "shadowd";
    let Some(pid) = pid else {
        return vec![Finding::ok(topic, "does not run on this state directory")];
    };
    let answered = call::<Status>(
        &config.node.control,
        &Request::Status { user: None },
        Some(SILENCE_MAX),
        |_| {},
    );
    match answered {
        Ok(status) => of_status(pid, &status),
        Err(error) => {
            let what = format!("process {pid} uses {}, but {error}", config.node.state.display());
            let todo =
                format!("is it another configuration? tr '\\0' ' ' < /proc/{pid}/cmdline; else: journalctl -u shadowd");
            vec![
                Finding::error(topic, what, todo)
                    .because("two daemons can't share a state directory, and this one can't be asked"),
            ]
        }
    }
}

fn of_status(pid: u32, status: &Status) -> Vec<Finding> {
    let mut found = vec![Finding::ok(
        "shadowd",
        format!("version {} runs (process {pid})", status.version),
    )];
    let own = env!("CARGO_PKG_VERSION");
    if status.version != own {
        let what = format!("version {} runs, this command is {own}", status.version);
        found.push(Finding::warning("shadowd", what, "systemctl restart shadowd"));
    }
    let look = "see what it says, and the log: shadowctl status; journalctl -u shadowd -n 100";
    found.extend(
        status
            .problems
            .iter()
            .map(|problem| Finding::warning("shadowd", problem, look)),
    );
    for group in &status.groups {
        found.extend(of_group(group));
    }
    found
}

fn of_group(group: &GroupStatus) -> Vec<Finding> {
    let topic = format!("group {}", group.name);
    let look = "see what it says, and the log: shadowctl status; journalctl -u shadowd -n 100";
    let mut found: Vec<Finding> = group
        .problems
        .iter()
        .map(|problem| Finding::error(&topic, problem, look))
        .collect();
    let lacking = group.peers.iter().filter(|peer| !peer.connected);
    for peer in lacking {
        let why = peer.problem.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let what = format!("no session with {}{why}", peer.name);
        let todo = "see below what was found about this peer, and run check on its node";
        found.push(
            Finding::warning(&topic, what, todo).because("nothing is copied meanwhile; it is caught up afterwards"),
        );
    }
    let counts = [
        (
            group.held_mailboxes,
            "mailboxes are held",
            "shadowctl status names them; damage at the source is mended by doveadm force-resync",
        ),
        (
            group.quarantined,
            "entries are in quarantine",
            "look at each: shadowctl quarantine ls; then release or drop it",
        ),
        (
            group.bodies_pending,
            "messages lack their body on the copy",
            "the source's log names the file that is gone or damaged",
        ),
    ];
    for (count, what, todo) in counts {
        if let Some(count) = count.filter(|count| *count > 0) {
            found.push(Finding::warning(&topic, format!("{count} {what}"), todo));
        }
    }
    if let Some(lag) = group.lag.seconds.filter(|lag| *lag > LAG_SECONDS && !group.building) {
        let what = format!("the copy is {lag:.0} s behind");
        found.push(Finding::warning(
            &topic,
            what,
            "is the link full, or the standby's disk busy? shadowctl status on both nodes",
        ));
    }
    if found.is_empty() {
        let state = if group.building { ", being built" } else { "" };
        let whose = if group.role == Role::Primary {
            "its standbys are"
        } else {
            "its primary is"
        };
        found.push(Finding::ok(&topic, format!("{}{state}; {whose} connected", group.role)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::control::round_trip::{node, standby};

    #[test]
    fn a_daemon_that_needs_help_says_so_in_check_too() {
        let levels = |group| {
            of_status(7, &node(group))
                .into_iter()
                .map(|f| f.level)
                .collect::<Vec<_>>()
        };
        assert_eq!(levels(standby()), [Level::Ok, Level::Ok]);
        let mut ill = standby();
        ill.peers[0].connected = false;
        ill.quarantined = Some(3);
        ill.problems = vec!["this copy has stopped".to_owned()];
        ill.lag.seconds = Some(100.0);
        assert_eq!(
            levels(ill),
            [Level::Ok, Level::Error, Level::Warning, Level::Warning, Level::Warning]
        );
    }
}
