//! A Dovecot whose machine dies, and the promoted copy.

use super::{SILENCE, append, pair, refused, standing, until_heard, until_role};
use anyhow::{Context, ensure};
use testbed::Result;
use testbed::dovecot::{Format, PASSWORD, Version};
use testbed::imap::Imap;
use testbed::load::Mix;
use testbed::pair::Pair;
use testbed::truth::Truth;

pub(crate) const USER: &str = "user1@example.test";

/// Everything that a client sees but what a promotion moves on purpose.
fn is_as_before(before: &Truth, pair: &mut Pair) -> Result<()> {
    let users = pair.source.users().to_vec();
    let after = Truth::read(pair.standby()?.imap_port(), &users)?;
    let differences = before.differences(
        &after,
        &["savedate", "uidnext", "modseq", "highestmodseq", "metadata", "acl"],
    );
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

fn fail_over(version: Version, format: Format) -> Result<()> {
    let mut pair = pair(version, format)?;
    pair.start_nodes()?;
    pair.load("failover", 60, Mix::Normal, std::time::Duration::ZERO)
        .run()?;
    pair.wait()?;
    let users = pair.source.users().to_vec();
    // a first look may itself change a store
    Truth::read(pair.source.imap_port(), &users)?;
    pair.wait()?;
    let before = Truth::read(pair.source.imap_port(), &users)?;
    pair.wait()?;
    until_heard(&pair.standby()?.node)?;
    let why = refused(&pair.standby()?.node, &["promote"])?;
    ensure!(why.contains("alive") || why.contains("is primary"), "{why}");

    pair.source.stop()?;
    pair.primary.kill()?;
    std::thread::sleep(SILENCE);
    let report = pair.standby()?.node.ask(&["promote"])?;
    ensure!(report["epoch"] == 2 && report["loss"]["operations"] == 0, "{report}");
    let steps = report["steps"].as_array().context("steps")?;
    ensure!(
        steps.iter().all(|step| step["problem"].is_null()) && steps.len() > 3,
        "{report}"
    );
    until_role(&pair.standby()?.node, "primary")?;
    is_as_before(&before, &mut pair)?;
    let mut imap = Imap::login(pair.standby()?.imap_port(), USER, PASSWORD)?;
    append(&mut imap, "INBOX", "after the failover")?;
    let why = refused(&pair.standby()?.node, &["promote"])?;
    ensure!(why.contains("primary already"), "{why}");

    pair.primary.start()?;
    until_role(&pair.primary, "fenced")?;
    ensure!(standing(&pair.standby()?.node)? == ("primary".to_owned(), true, 2));
    ensure!(pair.primary.ctl(&["may-serve", "main"])?.status.code() == Some(1));
    Ok(())
}

#[test]
fn a_dead_dovecot_2_3_is_replaced_by_its_copy_and_fenced_when_it_returns() -> Result<()> {
    fail_over(Version::V2_3, Format::Mdbox)
}

#[test]
fn a_dead_dovecot_2_4_is_replaced_by_its_copy_and_fenced_when_it_returns() -> Result<()> {
    fail_over(Version::V2_4, Format::Maildir)
}

#[test]
fn a_dovecot_hands_over_as_planned_and_lets_nobody_in_any_more() -> Result<()> {
    let mut pair = pair(Version::V2_4, Format::Sdbox)?;
    pair.start_nodes()?;
    pair.load("planned", 40, Mix::Normal, std::time::Duration::ZERO).run()?;
    let users = pair.source.users().to_vec();
    Truth::read(pair.source.imap_port(), &users)?;
    pair.wait()?;
    let before = Truth::read(pair.source.imap_port(), &users)?;
    pair.wait()?;
    let report = pair.primary.ask(&["switchover"])?;
    ensure!(report["primary"] == "mail-b" && report["epoch"] == 2, "{report}");
    ensure!(
        report["loss"]["operations"] == 0 && report["old_side_fenced"] == true,
        "{report}"
    );
    // nothing was left out: a client sees the very same numbers
    let after = Truth::read(pair.standby()?.imap_port(), &users)?;
    let differences = before.differences(&after, &["savedate"]);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    ensure!(
        Imap::login(pair.source.imap_port(), USER, PASSWORD).is_err(),
        "the old Dovecot lets a client in"
    );
    let mut imap = Imap::login(pair.standby()?.imap_port(), USER, PASSWORD)?;
    append(&mut imap, "INBOX", "after the switchover")?;
    until_role(&pair.primary, "standby")
}
