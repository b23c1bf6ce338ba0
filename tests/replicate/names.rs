//! Names as sources really write them: another separator, a prefix, characters that a store can't write as they are.
//! Clients of the copy see the very same names.

use crate::{AT_ONCE, pair_with, programs};
use anyhow::ensure;
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::imap::{Imap, quote};
use testbed::load::Mix;
use testbed::pair::Pair;
use testbed::truth::prefix_and_separator;

const USER: &str = "user1@example.test";

/// First levels that make trouble somewhere: what other layouts and servers take for a separator, wildcards, quotes,
/// escapes and what looks like them, other scripts, case, names of a store's own files.
const ODD: [&str; 22] = [
    "a.b",
    "c/d",
    "e^f",
    "100%",
    "st*r",
    "per%2fcent",
    "back\\slash",
    "quo\"te",
    " lead",
    "trail ",
    "&-amp",
    "&AOk-t&AOk-",
    "&2D3cqdg93Kk-",
    "CASE",
    "case",
    "NIL",
    "~tilde",
    ".hidden",
    "INBOXES",
    "dbox-Mails",
    "cur",
    "mailboxes",
];

/// Folders of every odd name that the source takes, at the first level, below another, and around another.
fn furnish(imap: &mut Imap) -> Result<usize> {
    let (prefix, separator) = prefix_and_separator(imap)?;
    let mut made = 0;
    for odd in ODD {
        for name in [
            odd.to_owned(),
            format!("sub{separator}{odd}"),
            format!("{odd}{separator}below"),
        ] {
            let name = quote(format!("{prefix}{name}"));
            if imap.run(&format!("CREATE {name}"))?.is_ok() {
                made += 1;
                imap.run(&format!("SUBSCRIBE {name}"))?.must()?;
            }
        }
    }
    imap.append(&format!("{prefix}case"), "", b"Subject: here\r\n\r\ntext\r\n")?
        .must()?;
    Ok(made)
}

/// Renames a parent, so that all below it have other names, and deletes one that has a child.
fn change(imap: &mut Imap) -> Result<()> {
    let (prefix, separator) = prefix_and_separator(imap)?;
    imap.run(&format!("RENAME {prefix}sub {prefix}CASE{separator}moved"))?
        .must()?;
    imap.run(&format!("DELETE {prefix}INBOXES"))?.must()?;
    Ok(())
}

fn names(version: Version, format: Format, extra: &str, at_least: usize) -> Result<Pair> {
    let mut pair = pair_with(&programs(), version, format, extra)?;
    let mut imap = pair.source.imap(USER)?;
    let made = furnish(&mut imap)?;
    ensure!(made >= at_least, "the source took {made} names only");
    pair.start_nodes()?;
    pair.wait()?;
    change(&mut imap)?;
    pair.load("names", 60, Mix::Folders, AT_ONCE).run()?;
    pair.primary.ask(&["verify"])?;
    pair.settle_and_compare()?;
    Ok(pair)
}

#[test]
fn names_below_inbox_with_dots_of_2_3_maildir() -> Result<()> {
    names(
        Version::V2_3,
        Format::Maildir,
        "namespace inbox {\n prefix = INBOX.\n separator = .\n}\n",
        40,
    )
    .map(drop)
}

#[test]
fn names_with_carets_that_2_4_maildir_escapes() -> Result<()> {
    let extra =
        "namespace inbox {\n separator = ^\n}\nmailbox_list_storage_escape_char = \"\\\\\"\nmailbox_list_utf8 = yes\n";
    names(Version::V2_4, Format::Maildir, extra, 55).map(drop)
}

#[test]
fn names_in_two_namespaces_of_2_4_mdbox_with_backslashes() -> Result<()> {
    let extra = "namespace inbox {\n separator = \"\\\\\"\n}\nnamespace archive {\n separator = \"\\\\\"\n prefix = \"Archive\\\\\"\n \
                 mail_driver = sdbox\n mail_path = ~/archive\n}\n";
    names(Version::V2_4, Format::Mdbox, extra, 40).map(drop)
}

/// An administrator changes the separator while everything runs: all names change, no mailbox does.
#[test]
fn separator_that_changes_under_a_running_agent() -> Result<()> {
    let mut pair = pair_with(&programs(), Version::V2_4, Format::Sdbox, "")?;
    let mut imap = pair.source.imap(USER)?;
    imap.run("CREATE one/two")?.must()?;
    imap.append("one/two", "", b"Subject: here\r\n\r\ntext\r\n")?.must()?;
    pair.start_nodes()?;
    pair.wait()?;
    pair.source.stop()?;
    let text = std::fs::read_to_string(pair.source.config())?;
    std::fs::write(
        pair.source.config(),
        format!("{text}namespace inbox {{\n separator = .\n}}\n"),
    )?;
    pair.source.start()?;
    pair.primary.crash_and_restart()?;
    let truth = pair.settle_and_compare()?;
    assert_eq!(truth.messages(), 1);
    let status = pair.standby()?.node.status()?;
    assert_eq!(status.pointer("/quarantined"), Some(&serde_json::json!(0)), "{status}");
    Ok(())
}
