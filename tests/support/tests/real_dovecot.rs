//! The harness itself, on plain Dovecots: what the other tests rest on.

use std::path::Path;
use std::time::Duration;
use testbed::Result;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::load::{Load, Mix};
use testbed::truth::Truth;

fn load(source: &Dovecot, seed: &str, mix: Mix) -> Load {
    Load {
        imap_port: source.imap_port(),
        lmtp_port: source.lmtp_port(),
        users: source.users().to_vec(),
        seed: seed.to_owned(),
        operations: 150,
        over: Duration::ZERO,
        mix,
    }
}

/// A loaded store reads the same twice, over a restart too, and not the same after one more flag.
fn truth_is_stable(version: Version, format: Format) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("mailshadow-test-").tempdir_in("/tmp")?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut source = Dovecot::prepare(&folder.path().join("source"), version, format, 2, "")?;
    source.start()?;
    load(&source, "one", Mix::Normal).run()?;
    let refused = load(&source, "two", Mix::Folders).run()?;
    Truth::read(source.imap_port(), source.users())?;
    let before = Truth::read(source.imap_port(), source.users())?;
    source.stop()?;
    source.start()?;
    let after = Truth::read(source.imap_port(), source.users())?;
    assert_eq!(before.differences(&after, &[]), Vec::<String>::new());
    println!(
        "{} mailboxes, {} messages, {refused} refused",
        before.mailboxes(),
        before.messages()
    );
    assert!(
        before.messages() > 20 && before.mailboxes() > 10,
        "the load did nearly nothing"
    );
    assert!(
        Path::new(&source.home("user1@example.test"))
            .join(format.folder())
            .exists()
    );

    let mut client = source.imap("user1@example.test")?;
    source
        .lmtp()?
        .deliver("user1@example.test", b"Subject: one more\r\n\r\n.\r\n..\r\nend")?;
    client.select("INBOX")?.must()?;
    client.run("STORE * +FLAGS (one-more)")?.must()?;
    let differences = before.differences(&Truth::read(source.imap_port(), source.users())?, &[]);
    assert!(
        differences.iter().any(|d| d.contains("only in the second")),
        "{differences:?}"
    );
    Ok(())
}

#[test]
fn truth_of_2_3_maildir_is_stable() -> Result<()> {
    truth_is_stable(Version::V2_3, Format::Maildir)
}

#[test]
fn truth_of_2_3_sdbox_is_stable() -> Result<()> {
    truth_is_stable(Version::V2_3, Format::Sdbox)
}

#[test]
fn truth_of_2_4_maildir_is_stable() -> Result<()> {
    truth_is_stable(Version::V2_4, Format::Maildir)
}

#[test]
fn truth_of_2_4_mdbox_is_stable() -> Result<()> {
    truth_is_stable(Version::V2_4, Format::Mdbox)
}
