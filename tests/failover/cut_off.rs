//! Promotions and switchovers that are cut off by `kill -9`, at many moments.

use super::{LIMIT, SILENCE, append, standing, subjects, twins_with_mail, until_role};
use anyhow::{Context, ensure};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testbed::twins::{Twins, USERS};
use testbed::{Result, process};

/// Milliseconds after the verb's start, over the whole of it.
const PROMOTE_AT: [u64; 12] = [1, 5, 10, 15, 20, 28, 36, 46, 60, 80, 110, 160];
const SWITCH_AT: [u64; 10] = [3, 10, 18, 26, 34, 45, 60, 80, 110, 160];

pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp: {copied}");
    Ok(())
}

/// The daemon that was asked is the one that dies.
pub(super) fn kill_asked(node: &mut testbed::node::Node, words: &[&str], after_ms: u64) -> Result<()> {
    let id = node.process_id().context("a running daemon")?;
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(after_ms));
        Command::new("kill").args(["-9", &id.to_string()]).status()
    });
    node.ctl(words)?;
    killer.join().ok().context("the killer panicked")??;
    node.kill()
}

#[test]
fn a_promotion_killed_at_any_moment_is_finished_by_running_it_again() -> Result<()> {
    let mut twins = twins_with_mail()?;
    twins.nodes[0].kill()?;
    twins.nodes[1].stop()?;
    let (state, kept) = (twins.nodes[1].state(), twins.nodes[1].state().with_extension("kept"));
    copy_folder(&state, &kept)?;
    for after_ms in PROMOTE_AT {
        copy_folder(&kept, &state)?;
        twins.nodes[1].start()?;
        kill_asked(&mut twins.nodes[1], &["promote", "--max-loss", "any"], after_ms)?;
        twins.nodes[1].start()?;
        let (role, _, epoch) = standing(&twins.nodes[1])?;
        ensure!(
            epoch <= 2 && role != "fenced",
            "{role} in epoch {epoch}, killed after {after_ms} ms"
        );
        let again = twins.nodes[1].ctl(&["promote", "--max-loss", "any"])?;
        if again.status.code() == Some(3) {
            // it had been finished: a restarted primary, whom nobody can confirm here
            ensure!(role == "primary", "refused as {role}, killed after {after_ms} ms");
            twins.nodes[1].ask(&["resume", "--alone"])?;
        }
        until_role(&twins.nodes[1], "primary")?;
        ensure!(standing(&twins.nodes[1])?.2 == 2, "killed after {after_ms} ms");
        let mut imap = twins.client(1, USERS[0])?;
        append(&mut imap, "INBOX", "after")?;
        let found = subjects(&mut imap)?;
        ensure!(found.len() == 6, "killed after {after_ms} ms: {found:?}");
        twins.nodes[1].stop()?;
    }
    Ok(())
}

#[test]
fn a_switchover_killed_at_any_moment_leaves_one_primary_or_none_and_loses_nothing() -> Result<()> {
    let mut twins = twins_with_mail()?;
    let (mut primary, mut expected) = (0, 5);
    for (number, after_ms) in SWITCH_AT.into_iter().enumerate() {
        let standby = 1 - primary;
        let killed = if number % 2 == 0 { standby } else { primary };
        cut_off(&mut twins, standby, killed, after_ms)?;
        twins.nodes[killed].start()?;
        primary = brought_to_an_end(&twins, after_ms)?;
        let mut imap = twins.client(primary, USERS[0])?;
        append(&mut imap, "INBOX", &format!("round {number}"))?;
        expected += 1;
        let found = subjects(&mut imap)?;
        ensure!(
            found.len() == expected,
            "killed after {after_ms} ms: {found:?}, not {expected}"
        );
        until_role(&twins.nodes[1 - primary], "standby")?;
        twins.nodes[primary].ask(&["wait", "--timeout", "30s"])?;
    }
    Ok(())
}

/// Runs a switchover on the standby, and kills one of the daemons on the way.
fn cut_off(twins: &mut Twins, standby: usize, killed: usize, after_ms: u64) -> Result<()> {
    if killed == standby {
        return kill_asked(&mut twins.nodes[standby], &["switchover"], after_ms);
    }
    let [a, b] = &mut twins.nodes;
    let (verb, victim) = if standby == 1 { (&*b, a) } else { (&*a, b) };
    std::thread::scope(|scope| {
        let running = scope.spawn(move || verb.ctl(&["switchover"]));
        std::thread::sleep(Duration::from_millis(after_ms));
        victim.kill()?;
        running.join().ok().context("the verb panicked")??;
        Ok(())
    })
}

/// Never two; where there is none, a promotion makes one. Which node it is.
fn brought_to_an_end(twins: &Twins, after_ms: u64) -> Result<usize> {
    let primaries = || -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for (number, node) in twins.nodes.iter().enumerate() {
            let (role, confirmed, _) = standing(node)?;
            if role == "primary" && confirmed {
                found.push(number);
            }
        }
        ensure!(found.len() <= 1, "two primaries, killed after {after_ms} ms");
        Ok(found)
    };
    let settled = process::until("somebody is primary", SILENCE, || Ok(!primaries()?.is_empty()));
    if settled.is_err() {
        let standby = |node: &testbed::node::Node| standing(node).is_ok_and(|(role, ..)| role == "standby");
        // the one that has more of the stream; the other one names it and refuses
        let promoted = twins.nodes.iter().filter(|node| standby(node)).any(|node| {
            let out = node.ctl(&["promote", "--max-loss", "any"]);
            out.is_ok_and(|out| out.status.success())
        });
        ensure!(
            promoted,
            "nobody could be promoted, killed after {after_ms} ms: {:?}",
            twins.nodes.each_ref().map(standing)
        );
    }
    process::until("somebody is primary", LIMIT, || Ok(!primaries()?.is_empty()))?;
    primaries()?.first().copied().context("a primary")
}
