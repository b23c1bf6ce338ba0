//! A former primary that starts again.

use super::{LIMIT, append, refused, standing, subjects, twins_with_mail, until_role};
use anyhow::ensure;
use testbed::twins::USERS;
use testbed::{Result, process};

#[test]
fn a_primary_that_starts_again_alone_serves_nobody_until_the_operator_says_so() -> Result<()> {
    let mut twins = twins_with_mail()?;
    twins.nodes[1].kill()?;
    twins.nodes[0].crash_and_restart()?;
    ensure!(standing(&twins.nodes[0])? == ("primary".to_owned(), false, 1));
    ensure!(
        twins.client(0, USERS[0]).is_err(),
        "an unconfirmed primary let a client in"
    );
    let closed = twins.nodes[0].ctl(&["may-serve", "main"])?;
    ensure!(
        closed.status.code() == Some(1),
        "may-serve ended with {}",
        closed.status
    );
    let waited = twins.nodes[0].ctl(&["wait", "--timeout", "1s"])?;
    ensure!(waited.status.code() == Some(4), "wait ended with {}", waited.status);

    twins.nodes[0].ask(&["resume", "--alone"])?;
    twins.nodes[0].ask(&["may-serve", "main"])?;
    process::until("a client gets in", LIMIT, || Ok(twins.client(0, USERS[0]).is_ok()))?;
    append(&mut twins.client(0, USERS[0])?, "INBOX", "alone")?;
    let why = refused(&twins.nodes[0], &["resume", "--alone"])?;
    ensure!(
        why.contains("nothing to resume") || why.contains("waits for anybody"),
        "{why}"
    );
    Ok(())
}

#[test]
fn both_nodes_that_start_again_go_on_as_they_were() -> Result<()> {
    let mut twins = twins_with_mail()?;
    for node in &mut twins.nodes {
        node.kill()?;
    }
    for node in &mut twins.nodes {
        node.start()?;
    }
    until_role(&twins.nodes[0], "primary")?;
    // the doors open a moment after the role is confirmed
    process::until("a client gets in", LIMIT, || Ok(twins.client(0, USERS[0]).is_ok()))?;
    append(&mut twins.client(0, USERS[0])?, "INBOX", "after")?;
    twins.nodes[0].ask(&["wait", "--timeout", "30s"])?;
    let copy = subjects(&mut twins.client(1, USERS[0])?)?;
    ensure!(copy.len() == 6, "{copy:?}");
    Ok(())
}

#[test]
fn a_primary_that_was_replaced_while_it_was_down_is_fenced_when_it_returns() -> Result<()> {
    let mut twins = twins_with_mail()?;
    twins.nodes[0].kill()?;
    std::thread::sleep(super::SILENCE);
    let report = twins.nodes[1].ask(&["promote"])?;
    ensure!(report["epoch"] == 2 && report["old_side_fenced"] == false, "{report}");
    append(&mut twins.client(1, USERS[0])?, "INBOX", "after the promotion")?;

    twins.nodes[0].start()?;
    until_role(&twins.nodes[0], "fenced")?;
    ensure!(twins.client(0, USERS[0]).is_err(), "a fenced node let a client in");
    let why = refused(&twins.nodes[0], &["promote"])?;
    ensure!(why.contains("fenced"), "{why}");
    let why = refused(&twins.nodes[0], &["switchover"])?;
    ensure!(why.contains("fenced"), "{why}");
    // it knows of the higher epoch for good, also when it can ask nobody
    twins.nodes[1].kill()?;
    twins.nodes[0].crash_and_restart()?;
    ensure!(standing(&twins.nodes[0])?.0 == "fenced");
    ensure!(twins.nodes[0].ctl(&["may-serve", "main"])?.status.code() == Some(1));
    Ok(())
}
