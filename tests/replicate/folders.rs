//! Folders that come and go while others hang on them.

use crate::pair;
use testbed::Result;
use testbed::dovecot::{Format, Version};

const USER: &str = "user1@example.test";

/// Dovecot goes on listing some of them as if they were there: the copy must say what Dovecot says.
fn parents_deleted_before_their_children(version: Version, format: Format) -> Result<()> {
    let mut pair = pair(version, format, 1)?;
    pair.start_nodes()?;
    let mut imap = pair.source.imap(USER)?;
    for name in ["kept", "bare", "again", "moved"] {
        imap.run(&format!("CREATE {name}"))?.must()?;
        imap.run(&format!("CREATE {name}/child"))?.must()?;
        imap.run(&format!("STATUS {name} (X-GUID MESSAGES)"))?.must()?;
    }
    pair.wait()?;
    for name in ["kept", "bare", "again", "moved"] {
        imap.run(&format!("DELETE {name}"))?.must()?;
    }
    imap.run("LIST \"\" *")?.must()?;
    pair.wait()?;
    imap.run("DELETE bare/child")?.must()?;
    imap.run("CREATE again")?.must()?;
    imap.run("RENAME moved away")?.must()?;
    // Made for its child only: its entry in the list index never was a mailbox's.
    imap.run("CREATE never/child")?.must()?;
    let truth = pair.settle_and_compare()?;
    assert!(truth.mailboxes() > 6, "the folders are not there");
    Ok(())
}

#[test]
fn parents_of_2_3_maildir_deleted_before_their_children() -> Result<()> {
    parents_deleted_before_their_children(Version::V2_3, Format::Maildir)
}

#[test]
fn parents_of_2_4_maildir_deleted_before_their_children() -> Result<()> {
    parents_deleted_before_their_children(Version::V2_4, Format::Maildir)
}

#[test]
fn parents_of_2_4_sdbox_deleted_before_their_children() -> Result<()> {
    parents_deleted_before_their_children(Version::V2_4, Format::Sdbox)
}
