//! The same without any Dovecot: two embedded nodes, each the other's standby.

#![expect(clippy::indexing_slicing, reason = "there are two nodes")]

use super::failover::promote;
use super::say;
use anyhow::{Context, ensure};
use std::time::Duration;
use testbed::Result;
use testbed::imap::Value;
use testbed::node::Programs;
use testbed::truth;
use testbed::twins::{Twins, USERS};

const SILENCE: Duration = Duration::from_millis(3_200);

pub(crate) fn run() -> Result<()> {
    say("1. Two nodes start, each with a store, IMAP and LMTP of its own: mail-a is primary, mail-b stands by.");
    let mut twins = Twins::start(&Programs::beside_this_example()?)?;
    write(&twins, 0, &["Minutes of Tuesday", "Your invoice"])?;
    twins.nodes[0].ask(&["wait", "--timeout", "60s"])?;
    show(&twins, 1)?;

    say("2. A planned switchover, and back: nothing is lost, clients are out for a moment.");
    for node in [1, 0] {
        let told = twins.nodes[node].say(&["switchover"])?;
        told.lines().for_each(|line| println!("     {line}"));
    }
    write(&twins, 0, &["Written after both"])?;
    twins.nodes[0].ask(&["wait", "--timeout", "60s"])?;
    show(&twins, 1)?;

    say("3. mail-a is killed by kill -9, and mail-b takes over.");
    std::thread::sleep(Duration::from_secs(2));
    twins.nodes[0].kill()?;
    std::thread::sleep(SILENCE);
    promote(&twins.nodes[1])?;
    write(&twins, 1, &["Written after the failover"])?;
    let found = show(&twins, 1)?;
    ensure!(found == 4, "{found} messages instead of 4");

    say("4. mail-a comes back: a newer primary exists, so it is fenced and lets nobody in.");
    twins.nodes[0].start()?;
    testbed::process::until("mail-a is fenced", Duration::from_secs(30), || {
        Ok(twins.nodes[0]
            .status()?
            .get("role")
            .is_some_and(|role| role == "fenced"))
    })?;
    println!("   mail-a is fenced.");
    Ok(())
}

fn write(twins: &Twins, node: usize, subjects: &[&str]) -> Result<()> {
    let user = USERS.first().context("a user")?;
    let mut imap = twins.client(node, user)?;
    for subject in subjects {
        let message = format!("Subject: {subject}\r\n\r\n{subject}\r\n");
        imap.append("INBOX", "", message.as_bytes())?.must()?;
        println!("   appended \"{subject}\" on {}", twins.nodes[node].name());
    }
    Ok(())
}

/// What a client reads there; how many messages.
fn show(twins: &Twins, node: usize) -> Result<usize> {
    let user = USERS.first().context("a user")?;
    let mut imap = twins.client(node, user)?;
    imap.run("EXAMINE INBOX")?.must()?;
    let reply = imap.run("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")?.must()?;
    let found = truth::fetched(&reply)?;
    println!("   INBOX on {}:", twins.nodes[node].name());
    for (uid, items) in &found {
        let subject = truth::item(items, "BODY[HEADER.FIELDS (SUBJECT)]").map(Value::text);
        println!("     uid {uid:<7} {}", subject.unwrap_or_default().trim());
    }
    Ok(found.len())
}
