//! Planned switchovers.

use super::{LIMIT, append, refused, standing, subjects, twins_with_mail, until_role};
use anyhow::{Context, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testbed::imap::Imap;
use testbed::twins::{PASSWORD, USERS};
use testbed::{Result, process};

/// Appends to whichever node lets it, and remembers what was answered with OK.
fn write_on(ports: [u16; 2], stop: &AtomicBool) -> Vec<String> {
    let (mut at, mut client, mut written) = (0, None::<Imap>, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let subject = format!("under load {}", written.len());
        let done = match client.as_mut() {
            Some(imap) => append(imap, "INBOX", &subject).is_ok(),
            None => false,
        };
        if done {
            written.push(subject);
            continue;
        }
        at = 1 - at;
        client = Imap::login(ports[at], USERS[0], PASSWORD).ok();
        std::thread::sleep(Duration::from_millis(5));
    }
    written
}

#[test]
fn nothing_is_lost_by_switching_there_and_back_under_load() -> Result<()> {
    let twins = twins_with_mail()?;
    let (stop, ports) = (AtomicBool::new(false), twins.ports);
    let written = std::thread::scope(|scope| -> Result<Vec<String>> {
        let load = scope.spawn(|| write_on(ports, &stop));
        let switched = (0..4).try_for_each(|round| {
            std::thread::sleep(Duration::from_millis(500));
            // asked on the standby, and on the primary
            let asked = usize::from(round % 4 == 0 || round % 4 == 1);
            let report = twins.nodes[asked].ask(&["switchover"])?;
            ensure!(report["epoch"] == round + 2, "{report}");
            ensure!(
                report["loss"]["operations"] == 0 && report["old_side_fenced"] == true,
                "{report}"
            );
            until_role(&twins.nodes[1 - usize::try_from(round % 2)?], "primary")
        });
        std::thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
        let written = load.join().ok().context("the load panicked")?;
        switched.map(|()| written)
    })?;
    ensure!(written.len() > 10, "only {} messages were written", written.len());
    twins.nodes[0].ask(&["wait", "--timeout", "30s"])?;
    let verified = twins.nodes[0].ask(&["verify", "--deep"])?;
    ensure!(verified["different"] == serde_json::json!([]), "{verified}");
    let found = subjects(&mut twins.client(0, USERS[0])?)?;
    for subject in &written {
        let times = found.iter().filter(|found| *found == subject).count();
        ensure!(times == 1, "{subject} is there {times} times");
    }
    Ok(())
}

#[test]
fn a_switchover_that_can_not_be_brings_everything_back() -> Result<()> {
    let mut twins = twins_with_mail()?;
    // the copy applies nothing: it will not be equal in time
    twins.nodes[1].ask(&["pause"])?;
    let out = twins.nodes[1].ctl(&["switchover", "--max-wait", "1s"])?;
    ensure!(matches!(out.status.code(), Some(1 | 3 | 4)), "{}", out.status);
    ensure!(standing(&twins.nodes[0])? == ("primary".to_owned(), true, 1));
    process::until("clients are let in again", LIMIT, || {
        Ok(twins.client(0, USERS[0]).is_ok())
    })?;
    append(&mut twins.client(0, USERS[0])?, "INBOX", "still here")?;
    twins.nodes[1].ask(&["resume"])?;
    twins.nodes[0].ask(&["wait", "--timeout", "30s"])?;

    twins.nodes[1].kill()?;
    let why = refused(&twins.nodes[0], &["switchover"])?;
    ensure!(why.contains("no standby"), "{why}");
    ensure!(twins.client(0, USERS[0]).is_ok());
    Ok(())
}
