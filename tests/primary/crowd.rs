//! Many clients on one mailbox with mixed commands: the protocol's numbers hold for each of them, and no message is lost
//! or doubled.

use crate::strict::Strict;
use crate::{Primary, programs};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};
use testbed::imap::{Imap, Reply};
use testbed::rng::Rng;
use testbed::truth::subjects;
use testbed::twins::{PASSWORD, Twins, USERS};
use testbed::{Result, process};

const CLIENTS: usize = 10;
const COMMANDS: usize = 80;
/// How many seconds each client goes on instead, for a long run.
const SECONDS: &str = "MAILSHADOW_CROWD_SECONDS";

/// What a client did that must be found afterwards.
#[derive(Default)]
struct Deeds {
    /// UID in INBOX → the message's own word.
    appended: BTreeMap<u32, String>,
    /// UID in Other → UID in INBOX.
    copied: BTreeMap<u32, u32>,
}

/// Numbers in the code of a status line, where it has that name.
fn code(text: &str, name: &str) -> Option<Vec<Vec<u32>>> {
    let inner = text.split_once(&format!("[{name} "))?.1.split_once(']')?.0;
    let set = |set: &str| -> Option<Vec<u32>> {
        let ranges = set.split(',').map(|range| {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            Some(first.parse::<u32>().ok()?..=last.parse().ok()?)
        });
        Some(ranges.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    };
    inner.split(' ').map(set).collect()
}

/// The COPYUID of a COPY, or of the untagged OK of a MOVE.
fn copied(reply: &Reply) -> Option<Vec<Vec<u32>>> {
    code(&reply.text, "COPYUID").or_else(|| {
        let words = reply.all(0, "COPYUID").next()?;
        let words: Vec<String> = words.iter().skip(1).map(|word| word.text()).collect();
        code(&format!("[COPYUID {}]", words.join(" ")), "COPYUID")
    })
}

/// One random command.
fn act(client: &mut Strict, rng: &mut Rng, word: &str, deeds: &mut Deeds) -> Result<()> {
    client.learn()?;
    let count = client.uids.len() as u64;
    if count == 0 || rng.chance(30) {
        let reply = client.append(format!("Subject: {word}\r\n\r\ntext of {word}\r\n").as_bytes())?;
        let told = code(&reply.text, "APPENDUID").context("no APPENDUID")?;
        let uid = *told.get(1).and_then(|uids| uids.first()).context("no UID")?;
        deeds.appended.insert(uid, word.to_owned());
        return Ok(());
    }
    let n = rng.below(count) + 1;
    let uid = client
        .uids
        .get(usize::try_from(n)? - 1)
        .copied()
        .flatten()
        .context("learned")?;
    let command = match rng.below(12) {
        0 => format!("STORE {n} +FLAGS (\\Flagged)"),
        1 => format!("UID STORE {uid} -FLAGS.SILENT (\\Flagged $Work)"),
        2 => format!("STORE {n} +FLAGS (\\Deleted $Work)"),
        3 => "EXPUNGE".to_owned(),
        4 => format!("UID EXPUNGE {uid}"),
        5 => format!("COPY {n} Other"),
        6 => format!("UID MOVE {uid} Other"),
        7 => format!("FETCH {n}:* (UID FLAGS)"),
        8 => format!("UID FETCH {uid}:* (BODY[])"),
        9 => "SEARCH UNSEEN".to_owned(),
        10 => format!("MOVE {n} Other"),
        _ => "NOOP".to_owned(),
    };
    let reply = client.run(&command)?;
    // a message that somebody else expunged meanwhile may be missed, and nothing else
    ensure!(
        reply.is_ok() || reply.text.contains("[EXPUNGEISSUED]"),
        "{command}: {}",
        reply.text
    );
    if let Some([_, from, to]) = copied(&reply).as_deref() {
        ensure!(from.len() == to.len(), "{command}: {}", reply.text);
        deeds.copied.extend(to.iter().copied().zip(from.iter().copied()));
    }
    Ok(())
}

fn client(port: u16, number: usize, long: Option<Duration>) -> Result<(Strict, Deeds)> {
    let mut strict = Strict::new(Imap::login(port, USERS[0], PASSWORD)?, number % 2 == 1)?;
    let (mut rng, mut deeds) = (Rng::new(&format!("crowd {number}")), Deeds::default());
    let began = Instant::now();
    for step in 0.. {
        if long.map_or(step >= COMMANDS, |long| began.elapsed() >= long) {
            break;
        }
        act(&mut strict, &mut rng, &format!("word-{number}-{step}"), &mut deeds)?;
    }
    Ok((strict, deeds))
}

/// A copy that was promoted when its primary died, with the numbers left out that such a promotion leaves out.
fn promoted() -> Result<Twins> {
    let mut twins = Twins::start(&programs())?;
    let mut imap = twins.client(0, USERS[0])?;
    imap.run("CREATE Other")?.must()?;
    twins.nodes[0].ask(&["wait", "--timeout", "60s"])?;
    twins.nodes[0].kill()?;
    process::until("the copy is promoted", Duration::from_secs(30), || {
        Ok(twins.nodes[1].ctl(&["promote", "--max-loss", "any"])?.status.success())
    })?;
    Ok(twins)
}

#[test]
fn many_clients_on_one_promoted_mailbox_break_no_number_and_lose_no_message() -> Result<()> {
    let long = std::env::var(SECONDS)
        .ok()
        .map(|text| text.parse().map(Duration::from_secs));
    let (twins, long) = (promoted()?, long.transpose()?);
    let port = twins.ports[1];
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| thread::spawn(move || client(port, n, long)))
        .collect();
    let (mut views, mut all) = (Vec::new(), Deeds::default());
    for client in clients {
        let (view, deeds) = client.join().expect("a client's thread")?;
        let known = all.appended.len() + deeds.appended.len();
        all.appended.extend(deeds.appended);
        ensure!(all.appended.len() == known, "a UID was given twice");
        let known = all.copied.len() + deeds.copied.len();
        all.copied.extend(deeds.copied);
        ensure!(all.copied.len() == known, "a UID was given twice in Other");
        views.push(view);
    }
    let mut fresh = twins.client(1, USERS[0])?;
    let (inbox, other) = (subjects(&mut fresh, "INBOX")?, subjects(&mut fresh, "Other")?);
    ensure!(!inbox.is_empty() && !other.is_empty(), "nothing is left to compare");
    for view in &mut views {
        view.run("NOOP")?.must()?;
        view.learn()?;
        let uids: Vec<u32> = view.uids.iter().copied().flatten().collect();
        ensure!(
            uids.iter().eq(inbox.keys()),
            "a client has {uids:?}, the mailbox {:?}",
            inbox.keys()
        );
    }
    for (uid, word) in &all.appended {
        match inbox.get(uid) {
            Some(found) => ensure!(found == word, "{uid} is {found}, was {word}"),
            None => ensure!(views.iter().any(|view| view.gone.contains(uid)), "{uid} is lost"),
        }
    }
    ensure!(
        inbox.keys().all(|uid| all.appended.contains_key(uid)),
        "a message nobody sent"
    );
    let expected: BTreeMap<u32, &String> = all.copied.iter().map(|(to, from)| (*to, &all.appended[from])).collect();
    ensure!(
        other.iter().map(|(uid, word)| (*uid, word)).eq(expected),
        "copies are not those that were told"
    );
    Ok(())
}

/// What was answered is there after `kill -9`.
#[test]
fn a_crash_takes_nothing_that_was_answered() -> Result<()> {
    let mut primary = Primary::start()?;
    let mut imap = primary.client()?;
    imap.run("CREATE Other")?.must()?;
    for n in 0..5 {
        imap.append("INBOX", "(\\Flagged) ", format!("Subject: {n}\r\n\r\nx\r\n").as_bytes())?
            .must()?;
    }
    imap.select("INBOX")?.must()?;
    imap.run("MOVE 1:2 Other")?.must()?;
    imap.run("STORE 1 FLAGS ($Work)")?.must()?;
    primary.crash_and_go_on()?;
    let mut imap = primary.client()?;
    let (inbox, other) = (subjects(&mut imap, "INBOX")?, subjects(&mut imap, "Other")?);
    ensure!(
        inbox
            .into_iter()
            .eq([(3, "2".to_owned()), (4, "3".to_owned()), (5, "4".to_owned())])
    );
    ensure!(other.into_iter().eq([(1, "0".to_owned()), (2, "1".to_owned())]));
    imap.select("INBOX")?.must()?;
    let reply = imap.run("SEARCH KEYWORD $Work UNFLAGGED")?.must()?;
    let found: Vec<_> = reply
        .all(0, "SEARCH")
        .flatten()
        .skip(1)
        .filter_map(|n| n.number())
        .collect();
    ensure!(found == [1], "{found:?}");
    Ok(())
}
