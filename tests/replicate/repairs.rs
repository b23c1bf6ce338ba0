//! Damage and what Dovecot makes of it, step by step as its operators meet it: each named deed is done to a user of its
//! own, while the agent runs or while it is down. The copy is equal afterwards, or holds back what nobody asked for;
//! released, it is equal too.

use crate::deeds::{Account, After, DEEDS, Deed};
use crate::programs;
use anyhow::{Context, ensure};
use serde_json::Value;
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::node::Node;
use testbed::pair::{Pair, Plan};
use testbed::truth::Truth;

/// Main indexes are written after little, so that a log soon goes on behind one.
const INDEXED: &str = "mail_index_rewrite_min_log_bytes = 512\nmail_index_rewrite_max_log_bytes = 1024\n";
/// Dovecot takes the SAVEDATE of single files from their ctime.
const SAVED: &[&str] = &["savedate"];
/// After a roll-back the copy's MODSEQs are higher: they never fall.
const SAVED_AND_MODSEQS: &[&str] = &["savedate", "modseq", "highestmodseq"];

fn every_deed(version: Version, format: Format) -> Result<()> {
    let deeds: Vec<&Deed> = DEEDS.iter().filter(|deed| deed.fits(format)).collect();
    let mut pair = Plan {
        programs: &programs(),
        version,
        format,
        users: deeds.len(),
        standbys: 1,
        extra: INDEXED,
    }
    .build()?;
    let users = pair.source.users().to_vec();
    for user in &users {
        Account::new(&pair.source, user).furnish()?;
    }
    pair.start_nodes()?;
    pair.wait()?;
    // Each deed is done to a running agent with one version, and to a stopped one with the other.
    let parity = usize::from(version == Version::V2_4);
    let runs = |at: usize, deed: &Deed| deed.only_running || at % 2 == parity;
    let mut failures = Vec::new();
    for running in [true, false] {
        if !running {
            pair.primary.stop()?;
        }
        for (at, deed) in deeds.iter().enumerate().filter(|(at, deed)| runs(*at, deed) == running) {
            let user = users.get(at).context("a deed without a user")?;
            let done = Account::new(&pair.source, user).suffer(deed);
            done.with_context(|| format!("{}\n{}", deed.name, pair.source.logs()))?;
        }
    }
    pair.primary.start()?;
    for user in &users {
        // A first look may itself change a store.
        Truth::read(pair.source.imap_port(), std::slice::from_ref(user)).ok();
    }
    let waited = pair.primary.ctl(&["wait", "--timeout", "120s"])?;
    ensure!(
        waited.status.code() == Some(1),
        "some of it must be named: {}",
        pair.primary.log()
    );
    for (at, deed) in deeds.iter().enumerate() {
        let user = users.get(at).context("a deed without a user")?;
        if let Err(why) = judge(&mut pair, deed.after(version, format), user) {
            failures.push(format!("{} ({user}): {why:#}", deed.name));
        }
    }
    ensure!(failures.is_empty(), "{}\n{}", failures.join("\n"), pair.primary.log());
    let waited = pair.primary.ctl(&["wait", "--timeout", "60s"])?;
    ensure!(waited.status.success(), "after every decision nothing is left to do");
    Ok(())
}

fn judge(pair: &mut Pair, after: After, user: &str) -> Result<()> {
    let entries = entries(&pair.standby()?.node, user)?;
    match after {
        After::Equal => {
            ensure!(entries.is_empty(), "held back: {entries:?}");
            equal(pair, user, SAVED)
        }
        After::RolledBack => {
            ensure!(entries.is_empty(), "held back: {entries:?}");
            equal(pair, user, SAVED_AND_MODSEQS)?;
            let verified = pair.primary.ask(&["verify", "--user", user])?;
            let notes = verified.pointer("/notes").and_then(Value::as_array);
            ensure!(
                notes.is_some_and(|notes| !notes.is_empty()),
                "no word of it: {verified}"
            );
            Ok(())
        }
        After::HeldBack => {
            ensure!(!entries.is_empty(), "nothing is held back");
            for entry in entries {
                let id = entry.pointer("/id").context("an entry without id")?.to_string();
                let shown = pair.standby()?.node.ask(&["quarantine", "show", &id])?;
                ensure!(shown.pointer("/entry/why").is_some(), "{shown}");
                pair.standby()?.node.ask(&["quarantine", "release", &id])?;
            }
            equal(pair, user, SAVED_AND_MODSEQS)
        }
        After::Unreadable => {
            let copy = Truth::read(pair.standby()?.imap_port(), &[user.to_owned()])?;
            ensure!(
                copy.messages() == 10,
                "{} messages are left on the copy",
                copy.messages()
            );
            ensure!(entries.is_empty(), "held back: {entries:?}");
            Ok(())
        }
    }
}

/// Open quarantine entries of a user.
fn entries(node: &Node, user: &str) -> Result<Vec<Value>> {
    let list = node.ask(&["quarantine", "ls", "--user", user])?;
    let entries = list.pointer("/entries").and_then(Value::as_array);
    entries.cloned().context("no list of entries")
}

fn equal(pair: &mut Pair, user: &str, ignore: &[&str]) -> Result<()> {
    let users = [user.to_owned()];
    let source = Truth::read(pair.source.imap_port(), &users)?;
    // Looking may have changed it.
    pair.primary.ctl(&["wait", "--timeout", "60s"])?;
    let copy = Truth::read(pair.standby()?.imap_port(), &users)?;
    let differences = source.differences(&copy, ignore);
    ensure!(differences.is_empty(), "{differences:?}");
    Ok(())
}

#[test]
fn repairs_of_2_3_maildir_lose_nothing() -> Result<()> {
    every_deed(Version::V2_3, Format::Maildir)
}

#[test]
fn repairs_of_2_3_sdbox_lose_nothing() -> Result<()> {
    every_deed(Version::V2_3, Format::Sdbox)
}

#[test]
fn repairs_of_2_3_mdbox_lose_nothing() -> Result<()> {
    every_deed(Version::V2_3, Format::Mdbox)
}

#[test]
fn repairs_of_2_4_maildir_lose_nothing() -> Result<()> {
    every_deed(Version::V2_4, Format::Maildir)
}

#[test]
fn repairs_of_2_4_sdbox_lose_nothing() -> Result<()> {
    every_deed(Version::V2_4, Format::Sdbox)
}

#[test]
fn repairs_of_2_4_mdbox_lose_nothing() -> Result<()> {
    every_deed(Version::V2_4, Format::Mdbox)
}
