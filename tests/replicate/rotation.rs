//! Dovecot rotates its transaction logs away while the node runs; `outage` has the same while it doesn't.

use crate::{AT_ONCE, programs};
use anyhow::Context;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use testbed::dovecot::{Format, Version};
use testbed::load::Mix;
use testbed::pair::{Pair, Plan};
use testbed::{Result, process};

const USER: &str = "user1@example.test";
/// Logs rotate after a few KiB, and the one before is deleted soon, so that a few seconds do a week's work.
const EAGER: &str = "mail_index_log_rotate_min_size = 4 k\nmail_index_log_rotate_max_size = 8 k\n\
                     mail_index_log_rotate_min_age = 1 secs\nmail_index_log2_max_age = 1 secs\n";

pub(crate) fn pair(version: Version, format: Format) -> Result<Pair> {
    Plan {
        programs: &programs(),
        version,
        format,
        users: 1,
        standbys: 1,
        extra: EAGER,
    }
    .build()
}

/// The file sequence in the header of a mailbox's log: it rises with each rotation.
fn log_sequence(pair: &Pair, mailbox: &str) -> Result<u32> {
    let home = pair.source.home(USER).join(pair.source.format().folder());
    let directory = match (pair.source.format(), mailbox) {
        (Format::Maildir, "INBOX") => home,
        (Format::Maildir, _) => home.join(format!(".{mailbox}")),
        (Format::Sdbox | Format::Mdbox, _) => home.join("mailboxes").join(mailbox).join("dbox-Mails"),
    };
    let log: &Path = &directory.join("dovecot.index.log");
    let bytes = fs::read(log).with_context(|| format!("read {}", log.display()))?;
    let field = bytes.get(8..12).context("a log without header")?;
    Ok(u32::from_le_bytes(field.try_into()?))
}

/// Changes one message's flags until the mailbox's log has been rotated twice: no log tells anything of the others any
/// more.
pub(crate) fn rotate_twice(pair: &Pair, mailbox: &str) -> Result<()> {
    let before = log_sequence(pair, mailbox)?;
    let mut imap = pair.source.imap(USER)?;
    imap.select(mailbox)?.must()?;
    process::until("a log rotates twice", Duration::from_secs(60), || {
        for round in 0..150 {
            let sign = if round % 2 == 0 { '+' } else { '-' };
            imap.run(&format!("STORE 1 {sign}FLAGS (\\Flagged keyword-{})", round % 7))?
                .must()?;
        }
        imap.run("STORE 1 +FLAGS (\\Answered)")?.must()?;
        sleep(Duration::from_millis(200));
        Ok(log_sequence(pair, mailbox)? >= before + 2)
    })
}

/// Until a client first asks for MODSEQs, Dovecot keeps none for messages whose log is gone: what nobody can have seen
/// must not count as a difference.
pub(crate) fn verify_before_anybody_asked_for_modseqs(pair: &Pair) -> Result<()> {
    pair.wait()?;
    pair.primary.ask(&["verify"]).map(drop)
}

fn rotated_while_running(version: Version, format: Format) -> Result<()> {
    let mut pair = pair(version, format)?;
    pair.load("before", 80, Mix::Normal, AT_ONCE).run()?;
    pair.start_nodes()?;
    pair.wait()?;
    rotate_twice(&pair, "INBOX")?;
    pair.load("after", 80, Mix::Normal, AT_ONCE).run()?;
    verify_before_anybody_asked_for_modseqs(&pair)?;
    pair.settle_and_compare()?;
    Ok(())
}

#[test]
fn log_of_2_4_mdbox_rotates_while_it_is_read() -> Result<()> {
    rotated_while_running(Version::V2_4, Format::Mdbox)
}
