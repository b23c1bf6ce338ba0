//! The main job before your eyes: a real Dovecot, a standby, changes that arrive live. Run it by `./quickstart`.

#![expect(clippy::print_stdout, reason = "it is here to show something")]

mod failover;
mod twins;

use anyhow::{Context, ensure};
use std::io::{IsTerminal, Write};
use std::time::Instant;
use testbed::dovecot::{Dovecot, Format, PASSWORD, Version};
use testbed::imap::{Imap, Value};
use testbed::mail;
use testbed::node::Programs;
use testbed::pair::{Pair, Plan};
use testbed::rng::Rng;
use testbed::truth::{self, Truth};
use testbed::{Result, process};

const USER: &str = "user1@example.test";
const COLUMN: usize = 54;

fn main() -> Result<()> {
    let asked = |word: &str| std::env::args().any(|a| a == word);
    let (keep, began) = (asked("--keep"), Instant::now());
    if asked("--embedded") {
        twins::run()?;
        say(&format!("All of it held, in {:.0} s.", began.elapsed().as_secs_f64()));
        return Ok(());
    }
    let mut pair = start()?;
    live_changes(&pair)?;
    a_crash(&mut pair)?;
    proof(&mut pair)?;
    if !keep {
        failover::run(&mut pair)?;
    }
    say(&format!("All of it held, in {:.0} s.", began.elapsed().as_secs_f64()));
    if keep {
        next_steps(&mut pair)?;
        return until_told();
    }
    say("Everything is stopped and removed again. `./quickstart --keep` leaves it running, with commands to try.");
    Ok(())
}

/// A sentence for what comes next.
fn say(text: &str) {
    let (bold, plain) = if std::io::stdout().is_terminal() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    println!("\n{bold}{text}{plain}");
}

fn start() -> Result<Pair> {
    let version = Version::of_this_system()?;
    let plan = Plan {
        programs: &Programs::beside_this_example()?,
        version,
        format: Format::Maildir,
        users: 2,
        standbys: 1,
        extra: "",
    };
    let mut pair = plan.build()?;
    say(&format!(
        "1. A private Dovecot {} runs in {}: maildir, two users, IMAP on port {}.",
        version.series(),
        pair.folder().display(),
        pair.source.imap_port()
    ));
    let subjects = ["Minutes of Tuesday", "Your invoice", "Harbour at dawn", "Re: release"];
    deliver(&pair.source, &subjects)?;
    let mut imap = pair.source.imap(USER)?;
    imap.run("CREATE Projects")?.must()?;
    imap.run("SUBSCRIBE Projects")?.must()?;
    imap.run("LOGOUT")?;
    println!("   {} messages have been delivered to {USER}.", subjects.len());

    say("2. Two nodes start: mail-a beside that Dovecot as primary, mail-b as standby with a store of its own.");
    println!("   Dovecot's configuration is not changed and it is not restarted: mail-a reads its files.");
    pair.start_nodes()?;
    arrived(&pair, "The initial copy")?;
    side_by_side(&pair)?;
    Ok(pair)
}

fn deliver(source: &Dovecot, subjects: &[&str]) -> Result<()> {
    let mut rng = Rng::new("quickstart");
    let mut lmtp = source.lmtp()?;
    subjects
        .iter()
        .try_for_each(|subject| lmtp.deliver(USER, &mail::message_about(&mut rng, subject)))
}

fn live_changes(pair: &Pair) -> Result<()> {
    let mut imap = pair.source.imap(USER)?;
    say("3. Mail is delivered to the Dovecot while both run.");
    deliver(&pair.source, &["Just delivered"])?;
    arrived(pair, "It")?;
    side_by_side(pair)?;

    say("4. A client reads one, flags one with a keyword, moves one into Projects, expunges one.");
    imap.select("INBOX")?.must()?;
    imap.run("UID FETCH 1 (BODY[])")?.must()?;
    imap.run("UID STORE 2 +FLAGS (\\Flagged $Later)")?.must()?;
    imap.run("UID MOVE 3 Projects")?.must()?;
    imap.run("UID STORE 4 +FLAGS (\\Deleted)")?.must()?;
    imap.run("UID EXPUNGE 4")?.must()?;
    imap.run("UNSELECT")?.must()?;
    arrived(pair, "All of that")?;
    side_by_side(pair)?;

    say("5. Folders are created, one with an odd name, and a parent is renamed with its child.");
    for command in [
        "CREATE \"Projects/2026/two words\"",
        "CREATE \"Entw&APw-rfe\"",
        "RENAME Projects Archive",
    ] {
        imap.run(command)?.must()?;
    }
    arrived(pair, "The new names")?;
    side_by_side(pair)
}

fn a_crash(pair: &mut Pair) -> Result<()> {
    say("6. The standby's daemon is killed by kill -9, mail goes on, and it comes back.");
    pair.standby()?.node.kill()?;
    deliver(&pair.source, &["Sent while the standby was down"])?;
    pair.standby()?.node.start()?;
    arrived(pair, "What it had missed")?;
    side_by_side(pair)
}

fn proof(pair: &mut Pair) -> Result<()> {
    say("7. `shadowctl verify` compares digests of every mailbox, made from a fresh reading of Dovecot's index.");
    let verified = pair.primary.ask(&["verify"])?;
    let figure = |name| {
        let figure = verified.get(name).and_then(serde_json::Value::as_u64);
        figure.with_context(|| format!("no {name} in {verified}"))
    };
    let (mailboxes, equal) = (figure("mailboxes")?, figure("equal")?);
    println!("   {mailboxes} mailboxes, {equal} equal.");
    ensure!(mailboxes == equal, "verify found differences: {verified}");

    say("8. And as clients see it: every mailbox of both sides is read over IMAP and compared.");
    let users = pair.source.users().to_vec();
    // a first look may itself change a store: the second user's makes an INBOX
    Truth::read(pair.source.imap_port(), &users)?;
    pair.wait()?;
    let source = Truth::read(pair.source.imap_port(), &users)?;
    let copy = Truth::read(pair.standby()?.imap_port(), &users)?;
    // maildir has no save date of its own: Dovecot shows the file's ctime
    let differences = source.differences(&copy, &["savedate"]);
    ensure!(
        differences.is_empty(),
        "the two sides differ:\n{}",
        differences.join("\n")
    );
    println!(
        "   {} mailboxes, {} messages: the same UIDs, flags, MODSEQs, GUIDs, dates and bytes.",
        source.mailboxes(),
        source.messages()
    );
    Ok(())
}

/// Waits until the copy has it all, and says how long that took.
fn arrived(pair: &Pair, what: &str) -> Result<()> {
    let began = Instant::now();
    pair.wait()?;
    println!(
        "   {what} arrived: `shadowctl wait` came back after {} ms.",
        began.elapsed().as_millis()
    );
    Ok(())
}

/// Both sides over IMAP, in two columns.
fn side_by_side(pair: &Pair) -> Result<()> {
    let copy_port = pair.standbys.first().context("a standby")?.imap_port();
    let (source, copy) = (lines(pair.source.imap_port())?, lines(copy_port)?);
    println!("\n   {:COLUMN$}   the copy on mail-b", "Dovecot on mail-a");
    let blank = String::new();
    for row in 0..source.len().max(copy.len()) {
        let (left, right) = (source.get(row).unwrap_or(&blank), copy.get(row).unwrap_or(&blank));
        println!("   {left:COLUMN$} {} {right}", if left == right { '=' } else { '≠' });
    }
    ensure!(source == copy, "the two sides differ");
    Ok(())
}

/// One line a mailbox, one a message: UID, flags, subject.
fn lines(port: u16) -> Result<Vec<String>> {
    let mut imap = Imap::login(port, USER, PASSWORD)?;
    let mut names = truth::mailboxes(&mut imap)?;
    names.sort();
    let mut lines = Vec::new();
    for (name, selectable) in names {
        lines.push(format!(
            "{name}{}",
            if selectable { "" } else { " (holds folders only)" }
        ));
        if selectable {
            imap.run(&format!("EXAMINE {}", testbed::imap::quote(&name)))?.must()?;
            let reply = imap
                .run("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")?
                .must()?;
            lines.extend(
                truth::fetched(&reply)?
                    .into_iter()
                    .map(|(uid, items)| message_line(uid, items)),
            );
        }
    }
    Ok(lines)
}

fn message_line(uid: u64, items: &[Value]) -> String {
    let flags = truth::item(items, "FLAGS").map(Value::list).unwrap_or_default();
    let flags: Vec<String> = flags.iter().map(Value::text).filter(|f| f != "\\Recent").collect();
    let subject = truth::item(items, "BODY[HEADER.FIELDS (SUBJECT)]")
        .map(Value::text)
        .unwrap_or_default();
    let subject = subject.trim().trim_start_matches("Subject: ");
    let line = format!("  uid {uid:<3} {subject} {}", flags.join(" "));
    line.chars().take(COLUMN).collect::<String>().trim_end().to_owned()
}

fn next_steps(pair: &mut Pair) -> Result<()> {
    let shadowctl = Programs::beside_this_example()?.shadowctl;
    let (a, source_port) = (pair.primary.config(), pair.source.imap_port());
    let doveadm = pair.source.doveadm_command()?.join(" ");
    let http = pair.primary.http_port();
    let standby = pair.standby()?;
    let (b, copy_port) = (standby.node.config(), standby.imap_port());
    let (shadowctl, a, b) = (shadowctl.display(), a.display(), b.display());
    say("What to try next, in another terminal:");
    println!(
        "\n  the state of both nodes\n    {shadowctl} --config {a} status\n    {shadowctl} --config {b} status\
         \n  the stream of changes, readable\n    {shadowctl} --config {a} journal cat\
         \n  one more message, and the copy of it (user {USER}, password {PASSWORD})\
         \n    printf 'Subject: hello\\n\\nworld\\n' | {doveadm} save -u {USER} -m INBOX\
         \n    curl -s --user {USER}:{PASSWORD} 'imap://127.0.0.1:{copy_port}/INBOX;UID=*'\
         \n  any mail client on both sides\n    127.0.0.1 port {source_port} (Dovecot), {copy_port} (the copy, read only)\
         \n  metrics\n    curl -s http://127.0.0.1:{http}/metrics\
         \n  the failover: kill mail-a and the Dovecot, and make the copy the server\
         \n    pkill -9 -f {a}; {doveadm} stop; sleep 4; {shadowctl} --config {b} promote\n"
    );
    Ok(())
}

/// Until Enter; where nobody can press it, until this is killed.
fn until_told() -> Result<()> {
    print!("It runs until you press Enter. ");
    std::io::stdout().flush()?;
    if std::io::stdin().read_line(&mut String::new())? == 0 {
        process::until("an end", std::time::Duration::MAX, || Ok(false))?;
    }
    Ok(())
}
