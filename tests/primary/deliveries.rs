//! Mail that comes by LMTP, and users whom a program knows.

use crate::{PASSWORD, Primary, USER};
use anyhow::{Context, ensure};
use testbed::Result;
use testbed::imap::Imap;
use testbed::lmtp::Lmtp;

#[test]
fn mail_is_delivered_to_somebody_who_has_nothing_yet_and_to_a_mailbox_of_the_address() -> Result<()> {
    let mut primary = Primary::start()?;
    let mut lmtp = Lmtp::connect(primary.lmtp_port)?;
    lmtp.deliver(USER, b"Subject: first\r\n\r\n.dot\r\nbare\n\r\n")?;
    primary.client()?.run("CREATE lists")?.must()?;
    lmtp.deliver("user1+lists@example.test", b"Subject: second\r\n\r\nx\r\n")?;
    lmtp.deliver("user1+nothing@example.test", b"Subject: third\r\n\r\nx\r\n")?;
    let unknown = lmtp
        .deliver("nobody@example.test", b"x\r\n")
        .expect_err("nobody has no mailbox");
    ensure!(unknown.to_string().contains("550 5.1.1"), "{unknown}");
    primary.crash_and_go_on()?;
    let mut imap = primary.client()?;
    for (mailbox, subjects) in [("INBOX", &["first", "third"][..]), ("lists", &["second"])] {
        imap.select(mailbox)?.must()?;
        for subject in subjects {
            let reply = imap.run(&format!("SEARCH SUBJECT {subject}"))?.must()?;
            ensure!(reply.all(0, "SEARCH").flatten().count() == 2, "{subject} in {mailbox}");
        }
    }
    imap.select("INBOX")?.must()?;
    let reply = imap.run("FETCH 1 (BODY[])")?.must()?;
    let items = reply.all(1, "FETCH").next().context("no message")?[2].list().to_vec();
    let text = items.last().context("no body")?.text();
    ensure!(
        text.starts_with("Return-Path: <sender@example.org>\r\nDelivered-To: user1@example.test\r\n"),
        "{text}"
    );
    ensure!(text.ends_with("\r\n\r\n.dot\r\nbare\r\n\r\n"), "{text}");
    Ok(())
}

#[test]
fn a_program_lets_in_whom_the_file_does_not_name() -> Result<()> {
    let primary = Primary::start()?;
    let mut eve = Imap::login(primary.imap_port, "Eve@example.test", "open sesame")?;
    eve.append("INBOX", "", b"Subject: x\r\n\r\ny\r\n")?.must()?;
    ensure!(Imap::login(primary.imap_port, "eve@example.test", "wrong").is_err());
    ensure!(Imap::login(primary.imap_port, USER, "open sesame").is_err());
    Imap::login(primary.imap_port, USER, PASSWORD)?;
    Lmtp::connect(primary.lmtp_port)?.deliver("eve@example.test", b"Subject: z\r\n\r\n")
}
