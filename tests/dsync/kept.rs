//! Sessions are kept: a small change costs no new process. And what travels beside the mail arrives.

use crate::USER;
use crate::room::{Room, doveadm};
use anyhow::ensure;
use mailshadow::store::dovecot::doveadm::Doveadm;
use mailshadow::store::dovecot::dsync::Speaker;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use testbed::Result;
use testbed::dovecot::{Format, Version};

/// A command that writes a line for each session that it begins.
fn counted(room: &Room) -> Result<Doveadm> {
    let (script, count) = (room.folder().join("counted"), room.folder().join("count"));
    std::fs::write(
        &script,
        format!(
            "#!/bin/sh\ncase \"$*\" in *dsync-server*) echo begun >>{} ;; esac\nexec \"$@\"\n",
            count.display()
        ),
    )?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    let mut command = vec![script.display().to_string()];
    command.extend(doveadm(&room.target)?.command);
    Ok(Doveadm { command, config: None })
}

fn begun(room: &Room) -> Result<usize> {
    Ok(std::fs::read_to_string(room.folder().join("count"))?.lines().count())
}

#[test]
fn small_changes_on_2_4_sdbox_begin_no_new_session() -> Result<()> {
    let mut room = Room::new((Version::V2_4, Format::Sdbox), (Version::V2_4, Format::Sdbox))?;
    room.speaker = Speaker::new(counted(&room)?, None);
    let (mut imap, mut lmtp) = (room.source.imap(USER)?, room.source.lmtp()?);
    for number in 0..6 {
        lmtp.deliver(USER, format!("Subject: {number}\r\n\r\n{number}\r\n").as_bytes())?;
        imap.select("INBOX")?.must()?;
        imap.run("STORE * +FLAGS (\\Seen)")?.must()?;
        room.tell()?;
    }
    // The first copy, and the one that goes on from it.
    let before = begun(&room)?;
    ensure!(before == 2, "{before} sessions");
    room.compare()?;
    // A message that the session brought and that is gone again: a session of its own, for this one would lose the mailbox.
    imap.run("STORE 3:5 +FLAGS (\\Deleted)")?.must()?;
    imap.run("EXPUNGE")?.must()?;
    room.tell()?;
    room.compare()?;
    ensure!(begun(&room)? == before + 1, "{} sessions", begun(&room)?);
    // After the server was restarted the kept session is dead, and nobody notices.
    room.target.stop()?;
    room.target.start()?;
    lmtp.deliver(USER, b"Subject: after\r\n\r\nafter\r\n")?;
    room.tell()?;
    room.compare()?;
    Ok(())
}

fn script(home: &Path, name: &str) -> std::io::Result<String> {
    std::fs::read_to_string(home.join("sieve").join(name))
}

#[test]
fn sieve_scripts_on_2_3_arrive_with_the_word_which_is_active() -> Result<()> {
    let settings = "plugin {\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n}\n";
    let sdbox = (Version::V2_3, Format::Sdbox);
    let mut room = Room::with(sdbox, sdbox, settings)?;
    room.source.lmtp()?.deliver(USER, b"Subject: 1\r\n\r\n1\r\n")?;
    let (from, to) = (room.source.home(USER), room.target.home(USER));
    std::fs::create_dir(from.join("sieve"))?;
    std::fs::write(from.join("sieve/main.sieve"), "keep;\r\n")?;
    std::fs::write(from.join("sieve/other.sieve"), "# .\n.\nstop;\n")?;
    symlink("sieve/main.sieve", from.join(".dovecot.sieve"))?;
    std::os::unix::fs::chown(from.join("sieve"), Some(8), Some(8))?;
    room.tell()?;
    ensure!(script(&to, "main.sieve")? == "keep;\r\n" && script(&to, "other.sieve")? == "# .\n.\nstop;\n");
    ensure!(std::fs::read_link(to.join(".dovecot.sieve"))?.ends_with("sieve/main.sieve"));
    std::fs::remove_file(from.join(".dovecot.sieve"))?;
    std::fs::remove_file(from.join("sieve/other.sieve"))?;
    std::fs::write(from.join("sieve/main.sieve"), "discard;\n")?;
    room.tell()?;
    ensure!(script(&to, "main.sieve")? == "discard;\n" && script(&to, "other.sieve").is_err());
    ensure!(std::fs::read_link(to.join(".dovecot.sieve")).is_err());
    room.compare()?;
    Ok(())
}
