//! A client that knew what a promotion lost ends with the server's truth.

use super::{append, twins_with_mail};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use testbed::Result;
use testbed::imap::{Imap, Reply, Value};
use testbed::truth::{fetched, item};
use testbed::twins::USERS;

/// UID → flags, as a caching client keeps them.
type Cache = BTreeMap<u64, Vec<String>>;

fn flags(items: &[Value]) -> Vec<String> {
    let list = item(items, "FLAGS").map(Value::list).unwrap_or_default();
    let mut flags: Vec<String> = list.iter().map(Value::text).filter(|flag| flag != "\\Recent").collect();
    flags.sort();
    flags
}

fn all(imap: &mut Imap) -> Result<Cache> {
    let reply = imap.run("UID FETCH 1:* (FLAGS)")?.must()?;
    Ok(fetched(&reply)?
        .into_iter()
        .map(|(uid, items)| (uid, flags(items)))
        .collect())
}

/// What the client does with the answer to SELECT with QRESYNC.
fn merge(cache: &mut Cache, reply: &Reply) -> Result<()> {
    for line in reply.all(0, "VANISHED") {
        let set = line.last().map(Value::text).unwrap_or_default();
        for range in set.split(',') {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            let (first, last): (u64, u64) = (first.parse()?, last.parse()?);
            cache.retain(|uid, _| *uid < first || *uid > last);
        }
    }
    for (uid, items) in fetched(reply)? {
        cache.insert(uid, flags(items));
    }
    Ok(())
}

#[test]
fn a_client_that_knew_the_lost_tail_ends_with_the_servers_truth() -> Result<()> {
    let mut twins = twins_with_mail()?;
    // from here on nothing reaches the standby
    twins.nodes[1].kill()?;
    let mut imap = twins.client(0, USERS[0])?;
    append(&mut imap, "INBOX", "lost one")?;
    append(&mut imap, "INBOX", "lost two")?;
    imap.run("SELECT INBOX")?.must()?;
    imap.run("UID STORE 1:2 +FLAGS (\\Flagged)")?.must()?;
    imap.run("UID STORE 3 +FLAGS (\\Deleted)")?.must()?;
    imap.run("UID EXPUNGE 3")?.must()?;
    let mut cache = all(&mut imap)?;
    let known = imap.run("SELECT INBOX (CONDSTORE)")?.must()?;
    let code = |reply: &Reply, name: &str| reply.code(name).with_context(|| format!("no {name}"));
    let (validity, modseq, uidnext) = (
        code(&known, "UIDVALIDITY")?,
        code(&known, "HIGHESTMODSEQ")?,
        code(&known, "UIDNEXT")?,
    );
    ensure!(cache.len() == 6, "{cache:?}");

    twins.nodes[0].kill()?;
    twins.nodes[1].start()?;
    let report = twins.nodes[1].ask(&["promote", "--max-loss", "any"])?;
    ensure!(report["epoch"] == 2, "{report}");
    let mut imap = twins.client(1, USERS[0])?;
    // mail that arrives meanwhile must not take a UID that the client knows
    append(&mut imap, "INBOX", "new")?;
    imap.run("ENABLE QRESYNC")?.must()?;
    let reply = imap
        .run(&format!(
            "SELECT INBOX (QRESYNC ({validity} {modseq} 1:{}))",
            uidnext - 1
        ))?
        .must()?;
    ensure!(
        code(&reply, "UIDVALIDITY")? == validity,
        "the mailbox would be downloaded again"
    );
    ensure!(code(&reply, "HIGHESTMODSEQ")? >= modseq + (1 << 31));
    ensure!(code(&reply, "UIDNEXT")? >= uidnext - 2 + 100_000);
    merge(&mut cache, &reply)?;
    // what is new is beyond the UIDs that the client said it knows
    let new = imap.run(&format!("UID FETCH {uidnext}:* (FLAGS)"))?.must()?;
    merge(&mut cache, &new)?;
    let truth = all(&mut imap)?;
    ensure!(cache == truth, "the client has {cache:?}\nthe server {truth:?}");
    ensure!(truth.len() == 6 && truth.contains_key(&3), "{truth:?}");
    Ok(())
}
