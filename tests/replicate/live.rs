//! The main job: a live store under a mixed load, with both nodes killed on the way.

use crate::{AT_ONCE, pair};
use std::thread::sleep;
use std::time::Duration;
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::load::Mix;

const LIVE: Duration = Duration::from_secs(12);

/// Both nodes are killed during the initial copy and again during a load; then a storm of folder changes.
fn both_nodes_killed_twice(version: Version, format: Format) -> Result<()> {
    let mut pair = pair(version, format, 1)?;
    pair.load("before", 200, Mix::Normal, AT_ONCE).run()?;
    pair.start_nodes()?;
    pair.primary.crash_and_restart()?;
    pair.standby()?.node.crash_and_restart()?;

    let live = pair.load("during", 500, Mix::Normal, LIVE).start();
    sleep(LIVE / 3);
    pair.primary.crash_and_restart()?;
    sleep(LIVE / 3);
    pair.standby()?.node.crash_and_restart()?;
    assert!(live.is_going_on(), "the load ended before the last restart");
    live.finish()?;
    pair.load("folders", 150, Mix::Folders, AT_ONCE).run()?;

    let truth = pair.settle_and_compare()?;
    assert!(
        truth.messages() > 100 && truth.mailboxes() > 10,
        "the load did nearly nothing"
    );
    Ok(())
}

#[test]
fn both_nodes_killed_over_2_3_maildir() -> Result<()> {
    both_nodes_killed_twice(Version::V2_3, Format::Maildir)
}

#[test]
fn both_nodes_killed_over_2_3_sdbox() -> Result<()> {
    both_nodes_killed_twice(Version::V2_3, Format::Sdbox)
}

#[test]
fn both_nodes_killed_over_2_3_mdbox() -> Result<()> {
    both_nodes_killed_twice(Version::V2_3, Format::Mdbox)
}

#[test]
fn both_nodes_killed_over_2_4_maildir() -> Result<()> {
    both_nodes_killed_twice(Version::V2_4, Format::Maildir)
}

#[test]
fn both_nodes_killed_over_2_4_sdbox() -> Result<()> {
    both_nodes_killed_twice(Version::V2_4, Format::Sdbox)
}

#[test]
fn both_nodes_killed_over_2_4_mdbox() -> Result<()> {
    both_nodes_killed_twice(Version::V2_4, Format::Mdbox)
}
