//! A standby that can't go on with the stream: it joins at a base, which a crash doesn't make begin again, and which an
//! operator asks for where the two histories differ.

use crate::{AT_ONCE, programs};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::time::Duration;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::load::Mix;
use testbed::pair::{Pair, Plan};
use testbed::{Result, process};

const MAILBOXES: usize = 40;
const USERS: usize = 3;

fn furnished(version: Version, format: Format) -> Result<Pair> {
    let pair = Plan {
        programs: &programs(),
        version,
        format,
        users: USERS,
        standbys: 1,
        extra: "",
    }
    .build()?;
    let mut lmtp = pair.source.lmtp()?;
    for user in pair.source.users() {
        (0..3).try_for_each(|n| lmtp.deliver(user, format!("Subject: {n}\r\n\r\ntext {n}\r\n").as_bytes()))?;
        furnish(&pair.source, user)?;
    }
    Ok(pair)
}

fn furnish(source: &Dovecot, user: &str) -> Result<()> {
    let mut imap = source.imap(user)?;
    imap.select("INBOX")?.must()?;
    for n in 0..MAILBOXES {
        imap.run(&format!("CREATE box{n}"))?.must()?;
        imap.run(&format!("COPY 1:3 box{n}"))?.must()?;
    }
    Ok(())
}

/// Frames of one kind that were made for the standby alone.
fn made_for_standby(pair: &Pair, kind: &str) -> Result<usize> {
    let frames = pair.primary.ask(&["journal", "cat"])?;
    let frames = frames.as_array().context("no list of frames")?;
    let is = |frame: &&Value| {
        frame.pointer("/kind").is_some_and(|k| k == kind) && frame.pointer("/peer").is_some_and(|peer| peer == "mail-b")
    };
    Ok(frames.iter().filter(is).count())
}

fn until_listed(pair: &Pair, mailboxes: usize) -> Result<()> {
    process::until("some of the base was listed", Duration::from_secs(60), || {
        Ok(made_for_standby(pair, "state")? >= mailboxes)
    })
}

#[test]
fn base_goes_on_where_it_was_when_both_nodes_are_killed_in_it() -> Result<()> {
    let mut pair = furnished(Version::of_this_system()?, Format::Sdbox)?;
    // so slow that it takes a while
    let config = std::fs::read_to_string(pair.primary.config())?;
    let slow = config.replace("store = ", "bytes_per_second = 20000\nstore = ");
    pair.start_nodes()?;
    pair.wait()?;
    pair.primary.stop()?;
    std::fs::write(pair.primary.config(), slow)?;
    pair.primary.start()?;
    process::until(
        "the primary is told that it still is one",
        Duration::from_secs(60),
        || Ok(pair.primary.status()?["confirmed"] == true),
    )?;
    pair.primary.ask(&["repair", "--stream"])?;
    until_listed(&pair, 5)?;
    pair.standby()?.node.kill()?;
    pair.primary.kill()?;
    pair.standby()?.node.start()?;
    pair.primary.start()?;
    pair.load("meanwhile", 40, Mix::Normal, AT_ONCE).run()?;
    until_listed(&pair, 30)?;
    pair.primary.crash_and_restart()?;
    pair.standby()?.node.crash_and_restart()?;
    settled(&mut pair)?;
    let (bases, lists) = (made_for_standby(&pair, "base")?, made_for_standby(&pair, "state")?);
    let most = USERS * (MAILBOXES + 1);
    ensure!(bases == 1, "{bases} bases were made\n{}", pair.primary.log());
    ensure!(
        (most / 2..=most).contains(&lists),
        "{lists} mailboxes were listed, of {most}"
    );
    pair.settle_and_compare().map(drop)
}

/// Everything arrived, and nothing was held back.
fn settled(pair: &mut Pair) -> Result<()> {
    let waited = pair.primary.ctl(&["wait", "--timeout", "120s"])?;
    let held = pair.standby()?.node.ask(&["quarantine", "ls"])?;
    ensure!(waited.status.success(), "{held}\n{}", pair.primary.log());
    Ok(())
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    let words = ["cp", "-a", &from.display().to_string(), &to.display().to_string()].map(str::to_owned);
    process::check(&words).map(drop)
}

#[test]
fn operator_begins_a_new_stream_after_yesterdays_state_was_put_back() -> Result<()> {
    let mut pair = furnished(Version::of_this_system()?, Format::Maildir)?;
    pair.start_nodes()?;
    pair.wait()?;
    pair.primary.stop()?;
    let (state, kept) = (pair.primary.state(), pair.folder().join("yesterday"));
    copy(&state, &kept)?;
    pair.primary.start()?;
    pair.load("today", 60, Mix::Normal, AT_ONCE).run()?;
    pair.wait()?;
    pair.primary.stop()?;
    std::fs::remove_dir_all(&state)?;
    copy(&kept, &state)?;
    pair.primary.start()?;
    process::until("both sides say it", Duration::from_secs(30), || {
        Ok(pair.primary.status()?.to_string().contains("repair --stream"))
    })?;
    let waited = pair.primary.ctl(&["wait", "--timeout", "2s"])?;
    ensure!(
        waited.status.code() == Some(4),
        "something flows in spite of a divergence"
    );
    let report = pair.primary.ask(&["repair", "--stream"])?;
    let new = &report["groups"][0];
    ensure!(
        new["before"] != new["stream"] && new["peers"][0] == "mail-b",
        "{report}"
    );
    pair.wait()?;
    pair.load("tomorrow", 60, Mix::Normal, AT_ONCE).run()?;
    pair.settle_and_compare().map(drop)
}
