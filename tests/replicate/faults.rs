//! What must not be believed: a stranger's certificate, and a file that merely vanished.

use crate::pair;
use anyhow::Context;
use std::fs;
use std::path::PathBuf;
use testbed::Result;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::imap::Value;
use testbed::node::Pki;

const USER: &str = "user1@example.test";

fn deliver(source: &Dovecot, count: usize) -> Result<()> {
    let mut lmtp = source.lmtp()?;
    (0..count).try_for_each(|n| lmtp.deliver(USER, format!("Subject: {n}\r\n\r\ntext {n}\r\n").as_bytes()))
}

#[test]
fn standby_with_a_certificate_of_another_ca_gets_nothing_until_it_has_the_right_one() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Sdbox, 1)?;
    deliver(&pair.source, 3)?;
    let programs = crate::programs();
    let right = pair.folder().join("pki");
    let stranger = Pki::new(&programs, &pair.folder().join("stranger"))?;
    stranger.issue(&programs, "mail-b")?;
    let names = ["mail-b.pem", "mail-b.key"];
    for name in names {
        fs::rename(right.join(name), right.join(format!("{name}.right")))?;
        fs::copy(pair.folder().join("stranger").join(name), right.join(name))?;
    }
    pair.start_nodes()?;
    let waited = pair.primary.ctl(&["wait", "--timeout", "3s"])?;
    assert_eq!(waited.status.code(), Some(4), "{}", pair.primary.log());
    let status = pair.standby()?.node.status()?;
    assert_eq!(
        status.pointer("/peers/0/connected"),
        Some(&serde_json::Value::Bool(false)),
        "{status}"
    );

    pair.standby()?.node.stop()?;
    for name in names {
        fs::rename(right.join(format!("{name}.right")), right.join(name))?;
    }
    pair.standby()?.node.start()?;
    assert_eq!(pair.settle_and_compare()?.messages(), 3);
    Ok(())
}

#[test]
fn wait_times_out_with_4_while_no_standby_is_connected() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Maildir, 1)?;
    deliver(&pair.source, 1)?;
    pair.primary.start()?;
    let waited = pair.primary.ctl(&["wait", "--timeout", "2s"])?;
    assert_eq!(waited.status.code(), Some(4), "{}", pair.primary.log());
    Ok(())
}

#[test]
fn second_daemon_on_the_same_state_refuses_to_start() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Sdbox, 1)?;
    pair.primary.start()?;
    let argv = [
        crate::programs().shadowd.display().to_string(),
        "--config".into(),
        pair.primary.config().display().to_string(),
    ];
    let second = testbed::process::output(&argv)?;
    assert!(!second.status.success(), "a second daemon ran");
    assert!(
        pair.primary.ctl(&["status"])?.status.success(),
        "the first daemon no longer answers"
    );
    Ok(())
}

#[test]
fn message_whose_file_vanished_stays_on_the_copy() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Maildir, 1)?;
    deliver(&pair.source, 3)?;
    pair.start_nodes()?;
    pair.source.imap(USER)?.select("INBOX")?.must()?;
    pair.wait()?;

    let cur = pair.source.home(USER).join("Maildir/cur");
    let files: Vec<PathBuf> = fs::read_dir(&cur)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    fs::remove_file(files.first().context("no file in cur")?)?;
    let left = pair.source.imap(USER)?.select("INBOX")?.must()?;
    assert_eq!(exists(&left.untagged), Some(2), "Dovecot hasn't noticed");

    let waited = pair.primary.ctl(&["wait", "--timeout", "30s"])?;
    assert_eq!(
        waited.status.code(),
        Some(1),
        "what was only inferred must be named, not applied\n{}",
        pair.primary.log()
    );
    let standby = pair.standby()?;
    let mut copy = testbed::imap::Imap::login(standby.imap_port(), USER, testbed::dovecot::PASSWORD)?;
    let seen = copy.run("EXAMINE INBOX")?.must()?;
    assert_eq!(exists(&seen.untagged), Some(3), "{}", standby.node.log());
    Ok(())
}

fn exists(untagged: &[Vec<Value>]) -> Option<u64> {
    untagged
        .iter()
        .find(|a| a.get(1).is_some_and(|v| v.is("EXISTS")))?
        .first()?
        .number()
}
