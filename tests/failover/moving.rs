//! Users who are moved, one by one, to the other node and back, with everything that happened since.

use super::both_ways::{Crossed, EAST, WEST, group, is_held};
use super::{LIMIT, SILENCE, append, refused, subjects};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::time::Duration;
use testbed::node::Node;
use testbed::truth::Truth;
use testbed::{Result, process};

const ANN: &str = EAST[0];
const BOB: &str = EAST[1];
/// When a node is killed, counted from the beginning of a move.
const KILLED_AFTER_MS: [(usize, u64); 3] = [(0, 300), (0, 1_300), (1, 700)];

/// All users of `main`, on `mail-a`; whoever is moved is of `moved`, on `mail-b`. With a proxy's passwd-file.
fn start(proxy: &str) -> Result<Crossed> {
    let redirect = format!(
        "[[group.redirect]]\nkind = \"dovecot\"\nfile = \"{proxy}\"\ndoveadm = [\"true\"]\n\
         hosts = {{ mail-a = \"10.0.0.1\", mail-b = \"10.0.0.2\" }}\n"
    );
    Crossed::start_with([("main", "\"*\""), ("moved", "")], &redirect)
}

fn moved(node: &Node, user: &str) -> Result<Value> {
    let report = node.ask(&["move", user])?;
    ensure!(report["users"][0]["moved"] == true, "{report}\n{}", node.log());
    Ok(report)
}

/// Nothing of these groups is held back on either node.
fn is_clean(crossed: &Crossed) -> Result<()> {
    for (node, name) in [(0, "moved"), (1, "main")] {
        let told = group(&crossed.nodes[node], name)?;
        ensure!(told["quarantined"] == 0 && told["held_mailboxes"] == 0, "{told}");
    }
    Ok(())
}

/// What clients of this user find.
fn seen(crossed: &Crossed, at: usize, user: &str) -> Result<Truth> {
    Truth::read(crossed.dovecots[at].imap_port(), &[user.to_owned()])
}

/// The copy of a group, into which no client is let, is equal to the octet.
fn is_copied(primary: &Node, group: &str) -> Result<()> {
    primary.ask(&["wait", "--group", group, "--timeout", "60s"])?;
    // what was found to differ is told anew
    let mut last = String::new();
    let equal = process::until("both sides are equal", LIMIT, || {
        let verified = primary.ctl(&["verify", "--group", group, "--deep"])?;
        last = String::from_utf8_lossy(&verified.stdout).into_owned();
        let report: Value = serde_json::from_str(&last)?;
        Ok(report["mailboxes"].as_u64() > Some(0) && verified.status.success())
    });
    equal.context(last)
}

#[test]
fn a_user_goes_to_the_other_node_and_comes_back_with_everything_and_nobody_else_notices() -> Result<()> {
    let proxy = tempfile::tempdir()?;
    let proxy = proxy.path().join("proxy-users");
    let line = |user: &str, host: &str| format!("{user}:::::::proxy=y nopassword=y host={host}\n");
    std::fs::write(&proxy, line(ANN, "10.0.0.1") + &line(BOB, "10.0.0.1"))?;
    let mut crossed = start(&proxy.display().to_string())?;
    let [a, b] = &crossed.nodes;
    crossed.load(0, &EAST, "before", Duration::ZERO).finish()?;
    crossed.equal(0, "main", &EAST)?;

    let (mut ann, mut bob) = (crossed.dovecots[0].imap(ANN)?, crossed.dovecots[0].imap(BOB)?);
    let report = moved(a, ANN)?;
    ensure!(report["users"][0]["redirects"][0]["ok"] == true, "{report}");
    ensure!(ann.run("NOOP").is_err(), "her session at the old server lives on");
    bob.run("NOOP")?.must().context("another user was sent away")?;
    ensure!(is_held(&crossed.dovecots[0], ANN)? && !is_held(&crossed.dovecots[1], ANN)?);
    ensure!(!is_held(&crossed.dovecots[0], BOB)?);
    ensure!(std::fs::read_to_string(&proxy)? == line(ANN, "10.0.0.2") + &line(BOB, "10.0.0.1"));
    ensure!(refused(a, &["move", ANN])?.contains("run it on mail-b"));

    let loads = [
        crossed.load(1, &[ANN], "there", Duration::ZERO),
        crossed.load(0, &[BOB], "here", Duration::ZERO),
    ];
    loads.into_iter().try_for_each(|load| load.finish().map(drop))?;
    is_copied(b, "moved")?;
    crossed.equal(0, "main", &[BOB])?;
    is_clean(&crossed)?;
    let there = seen(&crossed, 1, ANN)?;

    let report = b.ask(&["migrate", "back", ANN])?;
    ensure!(report["users"][0]["moved"] == true, "{report}");
    crossed.same(&there, &seen(&crossed, 0, ANN)?, "moved")?;
    ensure!(is_held(&crossed.dovecots[1], ANN)? && !is_held(&crossed.dovecots[0], ANN)?);
    crossed.load(0, &[ANN], "back", Duration::ZERO).finish()?;
    is_copied(a, "main")?;
    is_clean(&crossed)?;
    let back = seen(&crossed, 0, ANN)?;
    moved(a, ANN)?;
    crossed.same(&back, &seen(&crossed, 1, ANN)?, "main")?;
    append(&mut crossed.dovecots[1].imap(ANN)?, "INBOX", "there again")?;
    is_copied(b, "moved")?;
    is_clean(&crossed)?;

    // the node that writes for her dies: her old one takes over, for her alone
    until_heard_of(a, "moved")?;
    crossed.nodes[1].kill()?;
    std::thread::sleep(SILENCE);
    let report = crossed.nodes[0].ask(&["promote", "--group", "moved"])?;
    ensure!(report["loss"]["operations"] == 0, "{report}");
    process::until("she is let in where her copy was", LIMIT, || {
        Ok(!is_held(&crossed.dovecots[0], ANN)?)
    })?;
    let found = subjects(&mut crossed.dovecots[0].imap(ANN)?)?;
    ensure!(found.last().is_some_and(|last| last == "there again"), "{found:?}");
    Ok(())
}

/// Until a standby of this group could say what a promotion would lose.
fn until_heard_of(node: &Node, name: &str) -> Result<()> {
    process::until("the primary is heard", LIMIT, || {
        let told = group(node, name)?;
        Ok(told
            .pointer("/promotable/would_lose/seconds")
            .is_some_and(Value::is_number))
    })
}

#[test]
fn a_node_killed_at_any_moment_of_a_move_leaves_one_writer_or_none_and_running_it_again_finishes() -> Result<()> {
    let proxy = tempfile::tempdir()?;
    let mut crossed = start(&proxy.path().join("nobody").display().to_string())?;
    crossed.load(0, &EAST, "before", Duration::ZERO).finish()?;
    crossed.load(0, &WEST, "before", Duration::ZERO).finish()?;
    let users = EAST.into_iter().chain(WEST);
    for (user, (killed, after_ms)) in users.zip(KILLED_AFTER_MS) {
        crossed.nodes[0].ask(&["wait", "--group", "main", "--timeout", "60s"])?;
        let config = crossed.nodes[0].config();
        std::thread::scope(|scope| -> Result<()> {
            let asked = scope.spawn(move || {
                let words = [
                    env!("CARGO_BIN_EXE_shadowctl"),
                    "--config",
                    &config.display().to_string(),
                    "move",
                    user,
                ];
                process::output(&process::words(&words))
            });
            std::thread::sleep(Duration::from_millis(after_ms));
            crossed.nodes[killed].crash_and_restart()?;
            asked.join().ok().context("the thread of the move")?.map(drop)
        })?;
        process::until("he is moved", LIMIT, || {
            let again = crossed.nodes[0].ctl(&["move", user])?;
            let text = String::from_utf8_lossy(&again.stdout).into_owned();
            Ok(again.status.success() || text.contains("run it on mail-b"))
        })
        .with_context(|| format!("{user}\n{}\n{}", crossed.nodes[0].log(), crossed.nodes[1].log()))?;
        ensure!(
            is_held(&crossed.dovecots[0], user)? && !is_held(&crossed.dovecots[1], user)?,
            "{user}"
        );
        append(&mut crossed.dovecots[1].imap(user)?, "INBOX", "after")?;
        is_copied(&crossed.nodes[1], "moved")?;
    }
    is_clean(&crossed)
}
