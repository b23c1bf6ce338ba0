//! Changes in large mailboxes.

use crate::meter;
use crate::report::{Goal, Report, median};
use crate::setting::Setting;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use testbed::dovecot::{Format, PASSWORD};
use testbed::imap::Imap;
use testbed::pair::Pair;

const SMALL: usize = 1_000;
const CHANGES: usize = 100;

/// One flag at a time, in a mailbox of 1,000 and in one of 100,000 messages, each format.
///
/// # Errors
/// A server or a command fails.
pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    let large = setting.size(100_000).max(SMALL);
    for format in [Format::Maildir, Format::Sdbox, Format::Mdbox] {
        let mut pair = setting.pair(format, 1, "")?;
        fill(&pair, "small", SMALL)?;
        fill(&pair, "large", large)?;
        pair.start_nodes()?;
        pair.wait_for("600s")?;
        let (mut small_ms, mut large_ms, mut small_cpu, mut large_cpu) = (vec![], vec![], vec![], vec![]);
        for _ in 0..setting.runs {
            for (mailbox, times, cpu) in [
                ("small", &mut small_ms, &mut small_cpu),
                ("large", &mut large_ms, &mut large_cpu),
            ] {
                let (took_ms, cpu_ms) = one_run(&mut pair, mailbox)?;
                times.push(took_ms);
                cpu.push(cpu_ms);
            }
        }
        report.part(&format!(
            "One flag in a mailbox of {SMALL} and of {large} messages, {format:?}"
        ));
        report.figure("seen on the copy, in the small one", "ms", &small_ms);
        report.figure("seen on the copy, in the large one", "ms", &large_ms);
        report.figure("CPU of both daemons, in the small one", "ms", &small_cpu);
        report.figure("CPU of both daemons, in the large one", "ms", &large_cpu);
        report.ratio("until seen, large by small", &large_ms, &small_ms, Goal::AtMost(1.1));
        report.ratio("CPU, large by small", &large_cpu, &small_cpu, Goal::AtMost(1.1));
    }
    Ok(())
}

/// Appends some, then copies all of it within the mailbox until there are enough.
fn fill(pair: &Pair, mailbox: &str, messages: usize) -> Result<()> {
    let user = pair.source.users().first().context("a user")?;
    let mut imap = pair.source.imap(user)?;
    imap.run(&format!("CREATE {mailbox}"))?.must()?;
    let mut there = 0;
    while there < 100.min(messages) {
        imap.append(
            mailbox,
            "",
            &crate::corpus::message(crate::corpus::Profile::Small, there),
        )?
        .must()?;
        there += 1;
    }
    imap.select(mailbox)?.must()?;
    while there < messages {
        let more = there.min(messages - there);
        imap.run(&format!("COPY 1:{more} {mailbox}"))?.must()?;
        imap.run("NOOP")?.must()?;
        there += more;
    }
    imap.run("LOGOUT")?;
    Ok(())
}

/// The middle latency, and the CPU a change.
fn one_run(pair: &mut Pair, mailbox: &str) -> Result<(f64, f64)> {
    let user = pair.source.users().first().context("a user")?.clone();
    let mut client = pair.source.imap(&user)?;
    client.select(mailbox)?.must()?;
    let mut copy = Imap::login(pair.standby()?.imap_port(), &user, PASSWORD)?;
    copy.run(&format!("EXAMINE {mailbox}"))?.must()?;
    let mut idle = copy.idle()?;
    let (a, b) = pair.daemons()?;
    let before = meter::cpu_of_tree(a)? + meter::cpu_of_tree(b)?;
    let mut times = Vec::new();
    for n in 0..CHANGES {
        let sign = if n % 2 == 0 { '+' } else { '-' };
        client
            .run(&format!("STORE {} {sign}FLAGS.SILENT (\\Flagged)", 1 + n / 2))?
            .must()?;
        let began = Instant::now();
        // a maildir's change may be told twice: once of the log, once of the file
        let told = format!("* {} FETCH ", 1 + n / 2);
        while !told_so(&idle.next_line()?, &told, n % 2 == 0) {}
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        std::thread::sleep(Duration::from_millis(10));
    }
    let cpu = meter::cpu_of_tree(a)? + meter::cpu_of_tree(b)? - before;
    Ok((median(&times), cpu * 1000.0 / CHANGES as f64))
}

fn told_so(line: &str, told: &str, flagged: bool) -> bool {
    line.starts_with(told) && line.contains("\\Flagged") == flagged
}

/// What moving everything costs: bytes on the wire, and CPU.
///
/// # Errors
/// A server or a command fails.
pub(crate) fn measure_move(setting: &Setting, report: &mut Report) -> Result<()> {
    let messages = setting.size(50_000).max(SMALL);
    for format in [Format::Maildir, Format::Sdbox, Format::Mdbox] {
        let mut pair = setting.pair(format, 1, "")?;
        fill(&pair, "large", messages)?;
        pair.start_nodes()?;
        pair.wait_for("600s")?;
        let user = pair.source.users().first().context("a user")?.clone();
        let mut client = pair.source.imap(&user)?;
        client.run("CREATE target")?.must()?;
        client.select("large")?.must()?;
        pair.wait()?;
        let (a, b) = pair.daemons()?;
        let wire = pair.standby()?.node.address();
        let (cpu, bytes) = (
            meter::cpu_of_tree(a)? + meter::cpu_of_tree(b)?,
            meter::sent_bytes(&wire)?,
        );
        client.run("MOVE 1:* target")?.must()?;
        let began = Instant::now();
        pair.wait_for("600s")?;
        let took = began.elapsed().as_secs_f64();
        let each = |total: f64| total / messages as f64;
        report.part(&format!("A MOVE of {messages} messages, {format:?}"));
        let sent = meter::sent_bytes(&wire)?.saturating_sub(bytes);
        report.judge(
            "on the wire a message",
            "bytes",
            &[each(sent as f64)],
            Goal::AtMost(64.0),
        );
        let cpu = meter::cpu_of_tree(a)? + meter::cpu_of_tree(b)? - cpu;
        report.figure("CPU of both daemons a message", "ms", &[each(cpu * 1000.0)]);
        report.figure("applied after the client's OK", "s", &[took]);
    }
    Ok(())
}
