//! METADATA and ACL changes stand in the same logs as mail: they must not disturb it.

use crate::pair;
use testbed::Result;
use testbed::dovecot::{Format, Version};

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
