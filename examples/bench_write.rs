//! APPEND and STORE on an embedded primary against a Dovecot 2.3 on the same machine, through IMAP, in turns: ratios above
//! 1 mean that ours is faster.
//!
//! `cargo run --release --example bench_write [ROUNDS]` (default 5; needs root and Dovecot 2.3). No standby is connected.
//! Prints each figure as the median of the rounds with their span.

#![expect(clippy::print_stdout, reason = "it is here to show something")]

use anyhow::{Context, bail};
use std::time::{Duration, Instant};
use testbed::dovecot::{Dovecot, Format, PASSWORD, Version};
use testbed::imap::Imap;
use testbed::node::{Node, Pki, Programs};
use testbed::{Result, ports};

const USERS: usize = 8;
const MESSAGE_BYTES: usize = 4096;
const TIME: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(5), |n| n.parse())?;
    let folder = tempfile::Builder::new().prefix("mailshadow-bench-").tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut theirs = Dovecot::prepare(&folder.path().join("source"), Version::V2_3, Format::Maildir, USERS, "")?;
    theirs.start()?;
    let (_ours, port) = primary(folder.path(), theirs.users())?;
    let servers = [theirs.imap_port(), port];
    println!(
        "{:<44} {:>22} {:>22} {:>8}",
        "", "Dovecot 2.3 maildir", "mailshadow", "ratio"
    );
    type Command = fn(&mut Imap, usize) -> Result<()>;
    let deeds: [(&str, Command); 2] = [("APPEND of 4 KiB", append), ("STORE of one message's flag", store)];
    for (name, deed) in deeds {
        for clients in [1, USERS] {
            let mut seen = [Vec::new(), Vec::new()];
            for _ in 0..rounds {
                for (port, seen) in servers.iter().zip(&mut seen) {
                    let users = theirs.users().get(..clients).unwrap_or_default();
                    seen.push(rate(*port, users, deed)?);
                }
            }
            report(&format!("{name}, {clients} clients, /s"), seen);
        }
    }
    Ok(())
}

fn report(name: &str, mut seen: [Vec<f64>; 2]) {
    seen.iter_mut().for_each(|rates| rates.sort_by(f64::total_cmp));
    let at = |rates: &[f64], place: usize| rates.get(place).copied().unwrap_or(f64::NAN);
    let median = |rates: &[f64]| at(rates, rates.len() / 2);
    let told = |rates: &[f64]| {
        let (least, most) = (at(rates, 0), at(rates, rates.len().saturating_sub(1)));
        format!("{:.0} ({least:.0}-{most:.0})", median(rates))
    };
    let [theirs, ours] = &seen;
    let ratio = median(ours) / median(theirs);
    println!("{name:<44} {:>22} {:>22} {ratio:>8.2}", told(theirs), told(ours));
}

/// An embedded primary that lets these users in, and its IMAP port.
fn primary(folder: &std::path::Path, users: &[String]) -> Result<(Node, u16)> {
    let programs = Programs::beside_this_example()?;
    let pki = Pki::new(&programs, &folder.join("pki"))?;
    pki.issue(&programs, "mail-a")?;
    let mut node = Node::new(&programs, &folder.join("mail-a"), "mail-a")?;
    let (port, file) = (ports::free(), folder.join("users"));
    let lines: String = users
        .iter()
        .map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n"))
        .collect();
    std::fs::write(&file, lines)?;
    let file = file.display();
    let store = format!("store = \"embedded\"\n[group.embedded]\nimap = \"127.0.0.1:{port}\"\nusers = \"{file}\"\n");
    node.configure(
        &pki,
        "primary",
        &[("mail-b", format!("127.0.0.1:{}", ports::free()))],
        &store,
    )?;
    node.start()?;
    Ok((node, port))
}

/// Commands a second that as many clients as users get answered, each in a mailbox of its own user.
fn rate(port: u16, users: &[String], deed: fn(&mut Imap, usize) -> Result<()>) -> Result<f64> {
    let work = |user: &String| -> Result<usize> {
        let mut imap = Imap::login(port, user, PASSWORD)?;
        append(&mut imap, 0)?;
        imap.run("SELECT INBOX")?.must()?;
        let (began, mut done) = (Instant::now(), 0);
        while began.elapsed() < TIME {
            deed(&mut imap, done)?;
            done += 1;
        }
        Ok(done)
    };
    let done: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = users.iter().map(|user| scope.spawn(|| work(user))).collect();
        let mut sum = 0;
        for client in clients {
            let Ok(done) = client.join() else {
                bail!("a client panicked")
            };
            sum += done.context("a client")?;
        }
        Ok(sum)
    })?;
    Ok(done as f64 / TIME.as_secs_f64())
}

fn append(imap: &mut Imap, number: usize) -> Result<()> {
    let line = "a line of text that is neither long nor short, but there are many of it\r\n";
    let text = line.repeat(MESSAGE_BYTES / line.len());
    let octets = format!("Subject: {number}\r\n\r\n{text}");
    imap.append("INBOX", "", octets.as_bytes())?.must().map(drop)
}

fn store(imap: &mut Imap, number: usize) -> Result<()> {
    let sign = if number.is_multiple_of(2) { '+' } else { '-' };
    imap.run(&format!("STORE 1 {sign}FLAGS.SILENT (\\Flagged)"))?
        .must()
        .map(drop)
}
