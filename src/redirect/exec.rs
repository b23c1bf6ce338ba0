//! A command of the operator's, with the facts in its environment.

use super::{Done, Facts};
use crate::config::Argv;
use crate::io::hook;
use crate::limits::REDIRECT_COMMAND_SECONDS_MAX;
use crate::op::{NodeName, UserName};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Runs it to its end. It can't say how many sessions it moved.
pub(super) async fn tell(command: &Argv, facts: &Facts) -> Result<Done, String> {
    let environment = [
        ("MAILSHADOW_GROUP", facts.group.clone()),
        ("MAILSHADOW_ROLE", facts.role.clone()),
        ("MAILSHADOW_NODE", facts.node.to_string()),
        (
            "MAILSHADOW_PEER",
            facts.peer.as_ref().map(NodeName::to_string).unwrap_or_default(),
        ),
        ("MAILSHADOW_EPOCH", facts.epoch.0.to_string()),
    ];
    let limit = Duration::from_secs(REDIRECT_COMMAND_SECONDS_MAX);
    let ran = hook::run_in(command.words(), &environment, limit).await;
    ran.map(|()| Done::default()).map_err(|e| e.to_string())
}

/// The same for one user, who is in the environment too.
pub(super) async fn tell_user(command: &Argv, user: &UserName, node: &NodeName, group: &str) -> Result<(), String> {
    let environment = [
        ("MAILSHADOW_GROUP", group.to_owned()),
        ("MAILSHADOW_NODE", node.to_string()),
        ("MAILSHADOW_USER", user.to_string()),
    ];
    let limit = Duration::from_secs(REDIRECT_COMMAND_SECONDS_MAX);
    let ran = hook::run_in(command.words(), &environment, limit).await;
    ran.map_err(|e| e.to_string())
}

/// Whether there is such a program; it is not run.
pub(super) fn look(command: &Argv) -> Result<String, String> {
    let program = command.program();
    let is_program = |path: &Path| {
        path.metadata()
            .is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0)
    };
    let found = match program.contains('/') {
        true => is_program(Path::new(program)),
        false => std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| is_program(&dir.join(program)))),
    };
    match found {
        true => Ok(format!("{program} is a program")),
        false => Err(format!("there is no program {program}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Redirected, run};
    use super::*;
    use crate::config::{RedirectConfig, UserPatterns};
    use crate::op::Epoch;

    async fn told(script: &str) -> Redirected {
        let words = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let command = Argv::try_from(words).unwrap();
        let facts = Facts {
            group: "main".to_owned(),
            role: "primary".to_owned(),
            node: NodeName::from("mail-b"),
            peer: Some(NodeName::from("mail-a")),
            epoch: Epoch(4),
            users: UserPatterns::try_from(vec!["*".to_owned()]).unwrap(),
            others: Vec::new(),
        };
        run(&RedirectConfig::Exec { command }, &facts).await
    }

    #[tokio::test]
    async fn a_command_knows_who_is_primary_and_its_failure_is_told() {
        let knows = "test \"$MAILSHADOW_GROUP $MAILSHADOW_ROLE $MAILSHADOW_NODE $MAILSHADOW_PEER $MAILSHADOW_EPOCH\" = \
                     'main primary mail-b mail-a 4'";
        let done = told(knows).await;
        assert!(
            done.ok && done.kind == "exec" && done.moved_sessions.is_none(),
            "{done:?}"
        );
        let failed = told("head -c 1000000 /dev/zero; echo no route >&2; exit 3").await;
        assert!(!failed.ok && failed.why.unwrap().contains("no route"));
    }
}
