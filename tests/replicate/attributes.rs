//! METADATA, access control lists and Sieve scripts: they arrive whole, and don't disturb the mail in whose logs they stand.

use crate::{pair, pair_with, programs};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use testbed::Result;
use testbed::dovecot::{Format, PASSWORD, Version};
use testbed::imap::Imap;
use testbed::pair::Pair;
use testbed::truth::{Truth, fingerprint, metadata};

const USER: &str = "user1@example.test";

fn attributes_between_mail(version: Version, format: Format) -> Result<()> {
    let mut pair = pair(version, format, 1)?;
    pair.start_nodes()?;
    let (mut imap, mut lmtp) = (pair.source.imap(USER)?, pair.source.lmtp()?);
    imap.run("CREATE Shared")?.must()?;
    for number in 0..30 {
        lmtp.deliver(USER, format!("Subject: number {number}\r\n\r\ntext\r\n").as_bytes())?;
        imap.run(&format!(
            "SETMETADATA INBOX (/private/comment \"{number}\" /shared/comment \"{number}\")"
        ))?
        .must()?;
        imap.run(&format!("SETACL Shared reader{number}@example.test lrs"))?
            .must()?;
        imap.select("INBOX")?.must()?;
        imap.run("STORE * +FLAGS (seen-by-test)")?.must()?;
        imap.run("COPY * Shared")?.must()?;
        imap.run("UNSELECT")?.must()?;
    }
    imap.run("SETMETADATA INBOX (/private/comment NIL)")?.must()?;
    let truth = pair.settle_and_compare()?;
    assert_eq!(truth.messages(), 60);
    Ok(())
}

#[test]
fn attributes_between_mail_of_2_3_sdbox() -> Result<()> {
    attributes_between_mail(Version::V2_3, Format::Sdbox)
}

#[test]
fn attributes_between_mail_of_2_4_maildir() -> Result<()> {
    attributes_between_mail(Version::V2_4, Format::Maildir)
}

/// Where a server keeps scripts. The tests' 2.4 has no Pigeonhole, and its doveconf refuses the settings of one.
fn scripts(version: Version) -> &'static str {
    match version {
        Version::V2_3 => "plugin {\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n}\n",
        Version::V2_4 => "",
    }
}

/// Values that a line of text can't hold: control characters, octets above 127, line ends, quotes, and one that travels as a
/// body. (NUL is refused by Dovecot.)
fn values() -> [(&'static str, String); 4] {
    [
        ("/private/vendor/vendor.test/control", "a\u{1}b\u{7f}\t".to_owned()),
        (
            "/private/vendor/vendor.test/eight",
            "gr\u{fc}\u{df}e \u{1f4ec}\r\n\"quoted\" \\".to_owned(),
        ),
        ("/shared/vendor/vendor.test/lines", "one\r\ntwo\r\n".to_owned()),
        ("/private/vendor/vendor.test/long", "0123456789abcdef".repeat(4_000)),
    ]
}

fn set(imap: &mut Imap, mailbox: &str, entry: &str, value: &str) -> Result<()> {
    let octets = value.len();
    let set = format!("SETMETADATA \"{mailbox}\" ({entry} {{{octets}+}}\r\n{value})");
    imap.run(&set)?
        .must()
        .with_context(|| format!("{mailbox} {entry}"))
        .map(drop)
}

fn write_scripts(home: &Path) -> Result<()> {
    let dir = home.join("sieve");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("away.sieve"), "keep;\n")?;
    fs::write(dir.join("sort.sieve"), "# \u{fc}\r\nkeep;\r\n".repeat(2_000))?;
    Ok(symlink("sieve/away.sieve", home.join(".dovecot.sieve"))?)
}

fn change_scripts(home: &Path) -> Result<()> {
    let active = home.join(".dovecot.sieve");
    fs::remove_file(&active)?;
    symlink("sieve/sort.sieve", &active)?;
    Ok(fs::remove_file(home.join("sieve/away.sieve"))?)
}

/// What clients see and what digests say (of scripts only these tell) is equal.
fn equal(pair: &mut Pair) -> Result<()> {
    let users = [USER.to_owned()];
    // A first look may itself make an INBOX.
    Truth::read(pair.source.imap_port(), &users)?;
    pair.wait()?;
    let source = Truth::read(pair.source.imap_port(), &users)?;
    let copy = Truth::read(pair.standby()?.imap_port(), &users)?;
    let differences = source.differences(&copy, &["savedate"]);
    ensure!(differences.is_empty(), "{differences:?}\n{}", pair.primary.log());
    let verified = pair.primary.ask(&["verify"])?;
    ensure!(
        verified
            .pointer("/different")
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty),
        "{verified}"
    );
    Ok(())
}

/// Sieve frames in the stream.
fn told_of_scripts(pair: &Pair) -> Result<usize> {
    let frames = pair.primary.ask(&["journal", "cat"])?;
    let frames = frames.as_array().context("no list of frames")?;
    let is = |summary: &str| summary.contains("sieve");
    Ok(frames
        .iter()
        .filter(|frame| frame.pointer("/summary").and_then(Value::as_str).is_some_and(is))
        .count())
}

fn all_of_them(version: Version, format: Format) -> Result<()> {
    let mut pair = pair_with(&programs(), version, format, scripts(version))?;
    let home = pair.source.home(USER);
    let mut imap = pair.source.imap(USER)?;
    imap.run("CREATE Team")?.must()?;
    imap.run("CREATE Gone")?.must()?;
    set(&mut imap, "Team", "/shared/comment", "before the agent ran")?;
    if version == Version::V2_3 {
        write_scripts(&home)?;
    }
    pair.start_nodes()?;
    equal(&mut pair)?;

    for (entry, value) in values() {
        set(&mut imap, "Team", entry, &value)?;
        set(&mut imap, "Gone", entry, &value)?;
    }
    for (entry, value) in [
        ("/private/comment", "of the server"),
        ("/private/vendor/vendor.test/one", "a\u{1}b"),
        ("/shared/vendor/vendor.test/two", "two"),
    ] {
        set(&mut imap, "", entry, value)?;
    }
    for (who, rights) in [
        ("bob@example.test", "lrs"),
        ("-carl@example.test", "w"),
        ("dora@example.test", "lrswipkxtea"),
    ] {
        imap.run(&format!("SETACL Team {who} {rights}"))?.must()?;
    }
    equal(&mut pair)?;
    let mut copy = Imap::login(pair.standby()?.imap_port(), USER, PASSWORD)?;
    for (entry, value) in values() {
        let told = copy.run(&format!("GETMETADATA Team {entry}"))?.must()?;
        let octets = format!("{entry} {}", fingerprint(value.as_bytes()));
        ensure!(metadata(&told) == octets, "{} is not {octets}", metadata(&told));
    }

    set(&mut imap, "Team", "/shared/comment", "another")?;
    imap.run("SETMETADATA Team (/private/vendor/vendor.test/control NIL)")?
        .must()?;
    imap.run("SETMETADATA \"\" (/private/comment NIL)")?.must()?;
    imap.run("DELETEACL Team bob@example.test")?.must()?;
    imap.run("RENAME Team Crew")?.must()?;
    imap.run("DELETE Gone")?.must()?;
    imap.run("CREATE Gone")?.must()?;
    if version == Version::V2_3 {
        change_scripts(&home)?;
        testbed::process::until("the other script is active", std::time::Duration::from_secs(30), || {
            Ok(told_of_scripts(&pair)? >= 2)
        })?;
    }
    pair.primary.crash_and_restart()?;
    equal(&mut pair)
}

#[test]
fn attributes_of_2_3_maildir_arrive_whole() -> Result<()> {
    all_of_them(Version::V2_3, Format::Maildir)
}

#[test]
fn attributes_of_2_4_mdbox_arrive_whole() -> Result<()> {
    all_of_them(Version::V2_4, Format::Mdbox)
}
