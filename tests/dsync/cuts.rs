//! The server's process is killed between any two items of a session: told again, it is equal.

use crate::USER;
use crate::room::{Room, doveadm, now};
use anyhow::ensure;
use mailshadow::store::dovecot::doveadm::Doveadm;
use mailshadow::store::dovecot::dsync::{DsyncError, Outcome, Speaker};
use std::os::unix::fs::PermissionsExt;
use testbed::Result;
use testbed::dovecot::{Format, Version};

/// A command that lets a session through up to so many lines of ours, and then kills the server's process.
fn cut_after(room: &Room, lines: usize) -> Result<Doveadm> {
    let script = room.folder().join("cut");
    let text = "#!/bin/sh\nlines=$1; shift\npipe=$(mktemp -u); mkfifo \"$pipe\"\n\"$@\" <\"$pipe\" &\nchild=$!\n\
                exec 4>\"$pipe\"; rm \"$pipe\"\nsed -u \"${lines}q\" >&4\nsleep 0.1\nkill -9 $child\n";
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    let mut command = vec![script.display().to_string(), lines.to_string()];
    command.extend(doveadm(&room.target)?.command);
    Ok(Doveadm { command, config: None })
}

fn cut_anywhere(version: Version, format: Format) -> Result<()> {
    let mut room = Room::new((version, Format::Sdbox), (version, format))?;
    let mut imap = room.source.imap(USER)?;
    let append = |imap: &mut testbed::imap::Imap, name: &str, number: usize| -> Result<()> {
        let mail = format!("Subject: {number}\r\n\r\n{number}\r\n");
        imap.append(name, "", mail.as_bytes())?.must().map(drop)
    };
    imap.run("CREATE Work")?.must()?;
    for number in 1..=4 {
        append(&mut imap, "INBOX", number)?;
        append(&mut imap, "Work", number)?;
    }
    room.tell()?;
    imap.select("INBOX")?.must()?;
    let (mut lines, mut number, mut cuts) = (16, 4, 0);
    loop {
        // Each round: one message flagged, one expunged, two new, and the folder renamed.
        number += 2;
        let names = if cuts % 2 == 0 { "Work Play" } else { "Play Work" };
        imap.run(&format!("RENAME {names}"))?.must()?;
        append(&mut imap, "INBOX", number - 1)?;
        append(&mut imap, "INBOX", number)?;
        imap.run(&format!("STORE 2 +FLAGS (k{number})"))?.must()?;
        imap.run("STORE 1 +FLAGS (\\Deleted)")?.must()?;
        imap.run("EXPUNGE")?.must()?;
        let cut = Speaker::new(cut_after(&room, lines)?, None);
        let snapshot = room.snapshot()?;
        let whole = match cut.tell(&room.delta(&snapshot), &mut snapshot.shelf(), now()) {
            Ok(report) => report
                .mailboxes
                .values()
                .all(|outcome| matches!(outcome, Outcome::Acknowledged(_))),
            Err(DsyncError::Broken(_)) => false,
            Err(other) => return Err(other.into()),
        };
        room.tell_again()?;
        room.compare()?;
        if whole {
            break;
        }
        (lines, cuts) = (lines + 2, cuts + 1);
    }
    ensure!(cuts > 5, "only {cuts} sessions were cut");
    Ok(())
}

#[test]
fn session_cut_anywhere_on_2_3_maildir() -> Result<()> {
    cut_anywhere(Version::V2_3, Format::Maildir)
}

#[test]
fn session_cut_anywhere_on_2_4_mdbox() -> Result<()> {
    cut_anywhere(Version::V2_4, Format::Mdbox)
}
