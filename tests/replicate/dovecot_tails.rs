//! A Dovecot dies with mail that nobody shipped, another Dovecot takes over, and what the dead one had alone is merged there,
//! once, while clients use it.

use super::onto_dovecot::{OF_ITS_OWN, Onto};
use anyhow::{Context, ensure};
use std::time::Duration;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::imap::Imap;
use testbed::node::Node;
use testbed::truth::{Truth, subjects};
use testbed::{Result, process};

const LIMIT: Duration = Duration::from_secs(30);

fn until_role(node: &Node, role: &str) -> Result<()> {
    process::until(&format!("{} is {role}", node.name()), LIMIT, || {
        let said = |status: &serde_json::Value, key: &str| status.get(key).cloned().unwrap_or_default();
        let status = node.status();
        Ok(status.is_ok_and(|status| said(&status, "role") == role && said(&status, "confirmed") == true))
    })
}

fn all_of(imap: &mut Imap, commands: &[&str]) -> Result<()> {
    for command in commands {
        imap.run(command)?.must().with_context(|| (*command).to_owned())?;
    }
    Ok(())
}

fn append(imap: &mut Imap, mailbox: &str, subject: &str) -> Result<()> {
    let id = subject.replace(' ', "-");
    let text = format!("Message-ID: <{id}@example.test>\r\nSubject: {subject}\r\n\r\n{subject}\r\n");
    imap.append(mailbox, "(\\Seen) ", text.as_bytes())?.must().map(drop)
}

fn named(dovecot: &Dovecot, user: &str, mailbox: &str) -> Result<Vec<String>> {
    let mut found: Vec<String> = subjects(&mut dovecot.imap(user)?, mailbox)?.into_values().collect();
    found.sort();
    Ok(found)
}

/// What both have, and what the source then has alone: partly in its node's journal, partly in its logs only.
fn leave_a_tail(onto: &mut Onto, user: &str) -> Result<()> {
    let mut imap = onto.source.imap(user)?;
    all_of(&mut imap, &["CREATE Work", "CREATE Old"])?;
    for number in 1..=5 {
        append(&mut imap, "INBOX", &format!("common {number}"))?;
    }
    onto.start_nodes()?;
    onto.compare()?;
    onto.standby.kill()?;
    let captured = |node: &Node| -> Result<Option<u64>> {
        Ok(node
            .status()?
            .pointer("/lsn/captured")
            .and_then(serde_json::Value::as_u64))
    };
    let before = captured(&onto.primary)?;
    append(&mut imap, "INBOX", "in the journal")?;
    process::until("it is captured", LIMIT, || Ok(captured(&onto.primary)? > before))?;
    onto.primary.kill()?;
    append(&mut imap, "INBOX", "in the logs alone")?;
    append(&mut imap, "INBOX", "arrived twice")?;
    all_of(
        &mut imap,
        &[
            "SELECT INBOX",
            "UID STORE 1 +FLAGS (\\Flagged later)",
            "UID STORE 2 +FLAGS (\\Draft)",
            "UID MOVE 3 Work",
            "UID STORE 4 +FLAGS (\\Deleted)",
            "UID EXPUNGE 4",
            "CREATE Tail",
            "SUBSCRIBE Tail",
            "RENAME Old New",
        ],
    )?;
    append(&mut imap, "Tail", "in a new folder")?;
    all_of(&mut imap, &["LOGOUT"]).or(Ok(()))
}

/// The standby takes over, and is used.
fn take_over(onto: &mut Onto, user: &str) -> Result<()> {
    onto.standby.start()?;
    onto.standby.ask(&["promote", "--max-loss", "any"])?;
    until_role(&onto.standby, "primary")?;
    let mut imap = onto.target.imap(user)?;
    append(&mut imap, "INBOX", "after")?;
    append(&mut imap, "INBOX", "arrived twice")?;
    all_of(&mut imap, &["SELECT INBOX", "UID STORE 2 +FLAGS (\\Answered)"])?;
    onto.primary.start()?;
    until_role(&onto.primary, "fenced")
}

/// Everything of the tail is there once, and the dead one stands by, is equal, and takes over again.
fn merged(onto: &Onto, user: &str) -> Result<()> {
    let inbox = named(&onto.target, user, "INBOX")?;
    let expected = [
        "after",
        "arrived twice",
        "common 1",
        "common 2",
        "common 4",
        "common 5",
        "in the journal",
        "in the logs alone",
    ];
    ensure!(inbox == expected, "{inbox:?}");
    ensure!(named(&onto.target, user, "Work")? == ["common 3"]);
    ensure!(named(&onto.target, user, "Tail")? == ["in a new folder"]);
    let mut imap = onto.target.imap(user)?;
    all_of(&mut imap, &["SELECT New", "SELECT INBOX"])?;
    let flagged = imap.run("UID SEARCH FLAGGED KEYWORD later SEEN")?.must()?;
    let flagged = flagged.all(0, "SEARCH").flatten();
    ensure!(flagged.filter_map(testbed::imap::Value::number).eq([1]));
    let drafts = imap.run("UID SEARCH DRAFT")?.must()?;
    ensure!(drafts.all(0, "SEARCH").flatten().count() <= 1, "{drafts:?}");
    let folders = testbed::truth::mailboxes(&mut imap)?;
    ensure!(
        folders.iter().all(|(name, _)| !name.contains("Recovered")),
        "{folders:?}"
    );
    onto.standby.ask(&["wait", "--timeout", "60s"])?;
    let users = onto.source.users().to_vec();
    let there = Truth::read(onto.target.imap_port(), &users)?;
    let log = onto.primary.log();
    ensure!(!log.contains("damage"), "{log}");
    // a Dovecot that stands by stays shut
    onto.primary.ask(&["switchover", "--max-wait", "60s"])?;
    let here = Truth::read(onto.source.imap_port(), &users)?;
    let differences = there.differences(&here, &OF_ITS_OWN);
    ensure!(
        differences.is_empty(),
        "{}\n{}",
        differences.join("\n"),
        onto.primary.log()
    );
    Ok(())
}

#[test]
fn the_tail_of_a_2_3_maildir_is_merged_into_the_2_4_sdbox_that_took_over() -> Result<()> {
    let mut onto = Onto::start((Version::V2_3, Format::Maildir), (Version::V2_4, Format::Sdbox))?;
    let user = onto.source.users().first().cloned().context("a user")?;
    leave_a_tail(&mut onto, &user)?;
    take_over(&mut onto, &user)?;
    let report = onto.primary.ask(&["rejoin"])?;
    let tally = &report["tally"];
    for (figure, count) in [
        ("messages", 5),
        ("new", 3),
        ("copied", 1),
        ("known", 1),
        ("lost", 0),
        ("flags", 1),
        ("flags_kept", 1),
        ("moved", 1),
        ("expunges_left", 1),
        ("mailboxes", 1),
        ("renamed", 1),
    ] {
        ensure!(tally[figure] == count, "{figure}: {report}");
    }
    until_role(&onto.primary, "standby")?;
    merged(&onto, &user)
}

/// Milliseconds after the verb's start at which the new primary's node is killed.
const CUT_AT: [u64; 2] = [200, 700];

#[test]
fn a_merge_into_a_2_3_maildir_that_is_cut_is_finished_by_running_it_again() -> Result<()> {
    let mut onto = Onto::start((Version::V2_4, Format::Mdbox), (Version::V2_3, Format::Maildir))?;
    let user = onto.source.users().first().cloned().context("a user")?;
    leave_a_tail(&mut onto, &user)?;
    take_over(&mut onto, &user)?;
    for after in CUT_AT {
        let (old, new) = (&onto.primary, &mut onto.standby);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| old.ctl(&["rejoin"]));
            std::thread::sleep(Duration::from_millis(after));
            new.kill()?;
            running.join().ok().context("the verb panicked")??;
            new.start()
        })?;
        until_role(&onto.standby, "primary")?;
    }
    if onto.primary.status()?["role"] == "fenced" {
        onto.primary.ask(&["rejoin"])?;
    }
    until_role(&onto.primary, "standby")?;
    merged(&onto, &user)
}
