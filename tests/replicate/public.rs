//! Public namespaces: what several users see below a prefix is copied once, as the mail of the owner whom the operator names.

use crate::programs;
use anyhow::{Context, ensure};
use serde_json::json;
use std::process::Command;
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::imap::Imap;
use testbed::pair::{Pair, Plan};
use testbed::truth::Truth;

const ANN: &str = "user1@example.test";
const BOB: &str = "user2@example.test";
/// Nobody of whom the source's user database knows.
const OWNER: &str = "public@example.test";

fn namespace(version: Version, format: Format) -> String {
    let format = format.name();
    let place = match version {
        Version::V2_3 => format!("location = {format}:@DIR@/mail/everybodys"),
        Version::V2_4 => format!("mail_driver = {format}\n  mail_path = @DIR@/mail/everybodys"),
    };
    format!(
        "namespace everybodys {{\n  type = public\n  prefix = Public/\n  separator = /\n  subscriptions = no\n  {place}\n}}\n"
    )
}

/// A pair whose source has a public namespace that everybody may change. Nothing runs but the source.
fn pair(version: Version, format: Format) -> Result<Pair> {
    let plan = Plan {
        programs: &programs(),
        version,
        format,
        users: 2,
        standbys: 1,
        extra: &namespace(version, format),
    };
    let pair = plan.build()?;
    let place = pair.folder().join("source/mail/everybodys");
    // where the format has the namespace's own list of rights
    let root = match format {
        Format::Maildir => place.clone(),
        Format::Sdbox | Format::Mdbox => place.join("mailboxes"),
    };
    std::fs::create_dir_all(&root)?;
    std::fs::write(root.join("dovecot-acl"), "anyone lrwstipekxa\n")?;
    let owned = Command::new("chown").args(["-R", "8:8"]).arg(&place).status()?;
    ensure!(owned.success(), "chown failed");
    Ok(pair)
}

/// Names the owner, and lets him read the copy.
fn with_owner(pair: &Pair) -> Result<()> {
    let config = std::fs::read_to_string(pair.primary.config())?;
    let owner = format!("{config}public = {{ \"Public/\" = \"{OWNER}\" }}\n");
    std::fs::write(pair.primary.config(), owner)?;
    let users = pair.folder().join("mail-b/users");
    let known = std::fs::read_to_string(&users)?;
    let password = testbed::dovecot::PASSWORD;
    Ok(std::fs::write(
        users,
        format!("{known}{OWNER}:{{PLAIN}}{password}::::::\n"),
    )?)
}

fn append(imap: &mut Imap, mailbox: &str, subject: &str) -> Result<()> {
    let octets = format!("Subject: {subject}\r\n\r\n{subject}\r\n");
    imap.append(mailbox, "(\\Flagged work) ", octets.as_bytes())?
        .must()
        .map(drop)
}

/// What everybody sees below the prefix is what the owner sees on the copy.
fn is_equal(pair: &mut Pair) -> Result<Truth> {
    // a first look may itself change a store: from then on it keeps MODSEQs
    Truth::read(pair.source.imap_port(), &[BOB.to_owned()])?;
    pair.wait()?;
    let source = Truth::read(pair.source.imap_port(), &[BOB.to_owned()])?;
    let source = source.below(BOB, "Public/", OWNER);
    let copy = Truth::read(pair.standby()?.imap_port(), &[OWNER.to_owned()])?;
    // on the copy somebody owns it, and has all rights beside those who are named
    let ignore = ["acl", "myrights", "savedate"];
    let differences = source.differences(&copy.below(OWNER, "", OWNER), &ignore);
    ensure!(
        differences.is_empty(),
        "{}\n{}",
        differences.join("\n"),
        pair.primary.log()
    );
    let mut owner = Imap::login(pair.standby()?.imap_port(), OWNER, testbed::dovecot::PASSWORD)?;
    let rights = owner.run("GETACL offers")?.must()?;
    let named = rights.all(0, "ACL").flatten().any(|word| word.is("anyone"));
    ensure!(named, "{rights:?}");
    Ok(copy)
}

fn public_mail(version: Version, format: Format) -> Result<()> {
    let mut pair = pair(version, format)?;
    with_owner(&pair)?;
    let (mut ann, mut bob) = (pair.source.imap(ANN)?, pair.source.imap(BOB)?);
    append(&mut ann, "INBOX", "for Ann alone")?;
    ann.run("CREATE Public/offers")?.must()?;
    append(&mut ann, "Public/offers", "before")?;
    pair.start_nodes()?;
    bob.run("CREATE Public/plans/old")?.must()?;
    append(&mut bob, "Public/offers", "by Bob")?;
    append(&mut bob, "Public/plans/old", "a plan")?;
    is_equal(&mut pair)?;

    pair.primary.kill()?;
    ann.run("RENAME Public/plans/old Public/plans/new")?.must()?;
    ann.select("Public/offers")?.must()?;
    ann.run("STORE 1 +FLAGS (\\Seen seen-by-ann)")?.must()?;
    ann.run("MOVE 2 Public/plans/new")?.must()?;
    pair.primary.start()?;
    append(&mut bob, "Public/offers", "after")?;
    let copy = is_equal(&mut pair)?;
    ensure!(copy.messages() == 4, "{copy:?}");

    // nothing of it is anybody else's, and those who see it at the source are told
    let others = Truth::read(pair.standby()?.imap_port(), &[ANN.to_owned(), BOB.to_owned()])?;
    ensure!(others.messages() == 1, "{others:?}");
    let told = not_carried(&pair)?;
    ensure!(told.contains("as the mail of public@example.test"), "{told}");

    let verified = pair.primary.ask(&["verify", "--user", OWNER, "--deep"])?;
    let (different, equal) = (verified.pointer("/different"), verified.pointer("/equal"));
    ensure!(different == Some(&json!([])) && equal == Some(&json!(2)), "{verified}");
    pair.primary.ask(&["repair", "--user", OWNER])?;
    is_equal(&mut pair).map(drop)
}

fn not_carried(pair: &Pair) -> Result<String> {
    let status = pair.primary.status()?;
    Ok(status.pointer("/not_carried").context("not_carried")?.to_string())
}

#[test]
fn public_mail_of_2_3_maildir_that_several_users_change_is_copied_once() -> Result<()> {
    public_mail(Version::V2_3, Format::Maildir)
}

#[test]
fn public_mail_of_2_4_mdbox_that_several_users_change_is_copied_once() -> Result<()> {
    public_mail(Version::V2_4, Format::Mdbox)
}

#[test]
fn public_mail_without_an_owner_is_named_with_the_line_that_copies_it() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Sdbox)?;
    let line = "public = { \\\"Public/\\\" = ";
    pair.source.imap(ANN)?.run("CREATE Public/offers")?.must()?;
    let checked = pair.primary.ctl(&["check"])?;
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    ensure!(checked.contains(line), "{checked}");
    pair.start_nodes()?;
    pair.wait()?;
    let told = not_carried(&pair)?;
    ensure!(told.contains("public = {"), "{told}");
    ensure!(pair.primary.log().contains("public = {"), "{}", pair.primary.log());

    // an owner who has mail of his own: refused, and nothing of either is mixed
    pair.stop_nodes()?;
    pair.source.employ(&[(ANN, ANN), (BOB, BOB), (OWNER, OWNER)])?;
    append(&mut pair.source.imap(OWNER)?, "INBOX", "his own")?;
    with_owner(&pair)?;
    pair.start_nodes()?;
    pair.wait()?;
    let status = pair.primary.status()?.to_string();
    ensure!(status.contains("mail of his own"), "{status}");
    let checked = pair.primary.ctl(&["check"])?;
    ensure!(checked.status.code() == Some(1) && String::from_utf8_lossy(&checked.stdout).contains("mail of his own"));
    let copy = Truth::read(pair.standby()?.imap_port(), &[OWNER.to_owned()])?;
    ensure!(copy.messages() == 0, "{copy:?}");
    Ok(())
}
