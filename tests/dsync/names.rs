//! Names that a Dovecot can mistake, and the one that it does not let go.

use crate::USER;
use crate::room::Room;
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::imap::Imap;

fn run(imap: &mut Imap, commands: &[&str]) -> Result<()> {
    for command in commands {
        imap.run(command)?.must()?;
    }
    Ok(())
}

/// Folders whose names look as if they held escaped octets are made, renamed and deleted.
fn octets(version: Version, format: Format) -> Result<()> {
    let mut room = Room::new((version, Format::Sdbox), (version, format))?;
    room.speak_by_either()?;
    let mut imap = room.source.imap(USER)?;
    let mail = b"Subject: x\r\n\r\ntext\r\n";
    run(
        &mut imap,
        &[
            "CREATE per%cent3",
            "CREATE a%20b/x%25y",
            "CREATE 100%",
            "SUBSCRIBE a%20b/x%25y",
            "CREATE gone%41",
            "SUBSCRIBE gone%41",
            "DELETE gone%41",
        ],
    )?;
    imap.append("INBOX", "", mail)?.must()?;
    imap.append("per%cent3", "", mail)?.must()?;
    imap.append("a%20b/x%25y", "(\\Seen) ", mail)?.must()?;
    room.tell()?;
    room.compare()?;
    run(
        &mut imap,
        &[
            "RENAME per%cent3 plain",
            "RENAME a%20b/x%25y b^20c",
            "UNSUBSCRIBE gone%41",
        ],
    )?;
    imap.append("plain", "", mail)?.must()?;
    room.tell()?;
    room.compare()?;
    run(
        &mut imap,
        &["RENAME plain %ffplain", "DELETE b^20c", "UNSUBSCRIBE a%20b/x%25y"],
    )?;
    room.tell()?;
    room.compare()?;
    run(&mut imap, &["DELETE %ffplain", "DELETE 100%"])?;
    room.tell()?;
    room.compare()?;
    Ok(())
}

#[test]
fn names_with_escaped_octets_are_renamed_and_deleted_on_2_4_sdbox() -> Result<()> {
    octets(Version::V2_4, Format::Sdbox)
}

/// INBOX is renamed at the source: it gets another GUID, and its mail has another name.
fn renamed_inbox(version: Version) -> Result<()> {
    let mut room = Room::new((version, Format::Sdbox), (version, Format::Maildir))?;
    let mut imap = room.source.imap(USER)?;
    let mail = b"Subject: x\r\n\r\ntext\r\n";
    for flags in ["(\\Seen) ", "(kw) ", ""] {
        imap.append("INBOX", flags, mail)?.must()?;
    }
    room.tell()?;
    room.compare()?;
    run(&mut imap, &["RENAME INBOX old"])?;
    imap.append("INBOX", "(kw) ", mail)?.must()?;
    room.tell_again()?;
    room.compare()?;
    // and once more, now that it stands under a UID list of its own
    run(&mut imap, &["RENAME INBOX older"])?;
    imap.append("INBOX", "", mail)?.must()?;
    room.tell_again()?;
    room.compare()?;
    Ok(())
}

#[test]
fn an_inbox_that_was_renamed_is_renamed_on_2_4_maildir() -> Result<()> {
    renamed_inbox(Version::V2_4)
}
