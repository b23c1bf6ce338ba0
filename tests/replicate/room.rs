//! Disks that are full: what waits must go on by itself once there is room, and nothing may be lost or doubled.

use crate::pair;
use anyhow::Context;
use std::time::Duration;
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::load::Mix;
use testbed::node::Node;
use testbed::process;

const USER: &str = "user1@example.test";
const LARGE: usize = 400_000;

/// Text that doesn't compress.
fn noise(seed: usize) -> Vec<u8> {
    let mut rng = testbed::rng::Rng::new(&seed.to_string());
    let mut text = format!("Subject: {seed}\r\n\r\n").into_bytes();
    while text.len() < LARGE {
        for _ in 0..8 {
            text.extend(format!("{:016x}", rng.word()).bytes());
        }
        text.extend(b"\r\n");
    }
    text
}

fn until_it_says(node: &Node, words: &str) -> Result<()> {
    process::until(words, Duration::from_secs(60), || Ok(node.log().contains(words))).with_context(|| node.log())
}

#[test]
fn standby_whose_disk_is_full_waits_and_goes_on_when_there_is_room() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Mdbox, 1)?;
    pair.standby()?.node.start_in_room(8)?;
    pair.primary.start()?;
    let mut lmtp = pair.source.lmtp()?;
    (0..30).try_for_each(|n| lmtp.deliver(USER, &noise(n)))?;
    until_it_says(&pair.standby()?.node, "goes on by itself once")?;
    let status = pair.standby()?.node.status()?;
    assert!(
        status.to_string().contains("waits:"),
        "status does not say it: {status}"
    );
    // what happens meanwhile is not lost
    pair.load("meanwhile", 60, Mix::Normal, Duration::ZERO).run()?;
    let waited = pair.primary.ctl(&["wait", "--timeout", "2s"])?;
    assert_eq!(waited.status.code(), Some(4), "nothing can be applied on a full disk");
    pair.standby()?.node.change_room(200)?;
    assert!(pair.settle_and_compare()?.messages() >= 30);
    Ok(())
}

#[test]
fn primary_whose_disk_is_full_waits_and_goes_on_when_there_is_room() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Maildir, 1)?;
    pair.primary.start_in_room(1)?;
    // nobody takes what it captures
    pair.load("backlog", 500, Mix::Normal, Duration::ZERO).run()?;
    let mut imap = pair.source.imap(USER)?;
    imap.select("INBOX")?.must()?;
    for n in 0..8_000 {
        let sign = if n % 2 == 0 { '+' } else { '-' };
        imap.run(&format!("STORE 1 {sign}FLAGS.SILENT (\\Flagged)"))?.must()?;
    }
    until_it_says(&pair.primary, "goes on by itself once")?;
    let status = pair.primary.status()?;
    assert!(
        status.to_string().contains("waits:"),
        "status does not say it: {status}"
    );
    pair.primary.change_room(100)?;
    pair.standby()?.node.start()?;
    pair.settle_and_compare().map(drop)
}
