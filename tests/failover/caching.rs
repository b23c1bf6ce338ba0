//! A client that keeps what it has loaded, the real mbsync with its state: over a failover and back it loads no body twice,
//! counted from its own log of what it sends.

use super::dead_primary::USER;
use super::{SILENCE, append, pair, until_heard, until_role};
use anyhow::{Context, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use testbed::dovecot::{Format, PASSWORD, Version};
use testbed::imap::Imap;
use testbed::{Result, process};

/// Mailbox and UID, as the client named them when it asked for a body.
type Loaded = Vec<(String, u64)>;

/// Loads what is new on the server at this port.
fn pull(folder: &Path, port: u16) -> Result<Loaded> {
    let near = folder.join("near");
    std::fs::create_dir_all(&near)?;
    let near = near.display();
    let config = format!(
        "IMAPStore far\nHost 127.0.0.1\nPort {port}\nUser {USER}\nPass {PASSWORD}\nAuthMechs LOGIN\nSSLType None\n\n\
         MaildirStore near\nPath {near}/\nInbox {near}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Near\nSync Pull\nSyncState *\n"
    );
    let file = folder.join("mbsyncrc");
    std::fs::write(&file, config)?;
    let ran = Command::new("mbsync")
        .arg("-c")
        .arg(&file)
        .args(["-Dn", "all"])
        .output();
    let out = ran.context("these tests need mbsync: run ./check once as root, it installs what is missing")?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "mbsync: {}\n{said}", out.status);
    loaded(&said)
}

/// `>>> 8 SELECT "Work/x"`, then `>>> 10 UID FETCH 1 (BODY.PEEK[])`.
fn loaded(said: &str) -> Result<Loaded> {
    let (mut mailbox, mut found) = (None, Vec::new());
    for line in said.lines().filter_map(|line| line.split_once(">>> ")) {
        let words: Vec<&str> = line.1.split(' ').collect();
        match words.as_slice() {
            [_, "SELECT", ..] => mailbox = line.1.split('"').nth(1),
            [_, "UID", "FETCH", uid, what] if what.contains("BODY") => {
                let uid = uid.parse().context("bodies are asked for one by one")?;
                found.push((mailbox.context("no mailbox is open")?.to_owned(), uid));
            }
            _ => {}
        }
    }
    Ok(found)
}

#[test]
fn a_caching_client_loads_no_body_twice_over_a_failover_and_back() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Sdbox)?;
    let client = pair.folder().join("client");
    pair.start_nodes()?;
    let mut imap = pair.source.imap(USER)?;
    imap.run("CREATE Work/plans")?.must()?;
    for number in 0..10 {
        append(&mut imap, "INBOX", &format!("message {number}"))?;
        append(&mut imap, "Work/plans", &format!("plan {number}"))?;
    }
    let mut all = pull(&client, pair.source.imap_port())?;
    ensure!(all.len() == 20, "{all:?}");
    pair.wait()?;
    until_heard(&pair.standby()?.node)?;

    pair.source.stop()?;
    pair.primary.kill()?;
    std::thread::sleep(SILENCE);
    pair.standby()?.node.ask(&["promote"])?;
    let port = pair.standby()?.imap_port();
    append(&mut Imap::login(port, USER, PASSWORD)?, "INBOX", "after the failover")?;
    let after = pull(&client, port)?;
    ensure!(after.len() == 1, "after the failover it loaded {after:?}");
    all.extend(after);

    pair.source.start()?;
    pair.primary.start()?;
    until_role(&pair.primary, "fenced")?;
    pair.primary.ask(&["rejoin"])?;
    pair.standby()?.node.ask(&["wait", "--timeout", "60s"])?;
    pair.standby()?.node.ask(&["switchover"])?;
    let port = pair.source.imap_port();
    process::until("the Dovecot lets clients in", super::LIMIT, || {
        Ok(Imap::login(port, USER, PASSWORD).is_ok())
    })?;
    append(&mut pair.source.imap(USER)?, "Work/plans", "after the fail-back")?;
    let back = pull(&client, port)?;
    ensure!(back.len() == 1, "after the fail-back it loaded {back:?}");
    all.extend(back);
    ensure!(all.iter().collect::<BTreeSet<_>>().len() == 22, "{all:?}");
    Ok(())
}
