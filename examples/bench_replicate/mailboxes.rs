//! Memory and idle CPU with many mailboxes.

use crate::meter;
use crate::report::{Goal, Report};
use crate::setting::Setting;
use anyhow::{Context, Result};
use std::process::Command;
use std::time::{Duration, Instant};
use testbed::dovecot::Format;
use testbed::pair::Pair;

const MAILBOXES_A_USER: usize = 20;

/// With 1,000 and with 100,000 mailboxes of users with twenty each.
///
/// # Errors
/// A server or a command fails.
pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    for mailboxes in [setting.size(1_000), setting.size(100_000)] {
        let users = (mailboxes / MAILBOXES_A_USER).max(1);
        let mut pair = setting.pair(Format::Sdbox, users, "")?;
        fill(&pair)?;
        let began = Instant::now();
        pair.start_nodes()?;
        pair.wait_for("1200s")?;
        let took = began.elapsed().as_secs_f64();
        let (a, b) = pair.daemons()?;
        std::thread::sleep(Duration::from_secs(5));
        let before = (meter::cpu_of_tree(a)?, meter::cpu_of_tree(b)?);
        let span = setting.span(70);
        std::thread::sleep(span);
        let share = |before: f64, now: f64| (now - before) / span.as_secs_f64() * 100.0;
        let idle = (
            share(before.0, meter::cpu_of_tree(a)?),
            share(before.1, meter::cpu_of_tree(b)?),
        );
        report.part(&format!("{mailboxes} mailboxes of {users} users, sdbox"));
        report.figure("initial copy", "s", &[took]);
        report.judge(
            "resident, primary",
            "MiB",
            &[meter::resident_mib(a)?],
            Goal::AtMost(64.0),
        );
        report.judge(
            "resident, standby",
            "MiB",
            &[meter::resident_mib(b)?],
            Goal::AtMost(128.0),
        );
        report.judge("idle, primary", "% of a core", &[idle.0], Goal::AtMost(0.2));
        report.judge("idle, standby", "% of a core", &[idle.1], Goal::AtMost(0.2));
    }
    Ok(())
}

/// One user's mail is made by Dovecot; the others get a copy of it, as from the same template.
fn fill(pair: &Pair) -> Result<()> {
    let first = pair.source.users().first().context("a user")?.clone();
    let mut imap = pair.source.imap(&first)?;
    for n in 1..MAILBOXES_A_USER {
        let name = format!("Folder {n}");
        imap.run(&format!("CREATE \"{name}\""))?.must()?;
        imap.append(
            &name,
            "(\\Seen) ",
            &crate::corpus::message(crate::corpus::Profile::Small, n),
        )?
        .must()?;
    }
    imap.append("INBOX", "", &crate::corpus::message(crate::corpus::Profile::Small, 0))?
        .must()?;
    imap.run("LOGOUT")?;
    let from = pair.source.home(&first);
    for user in pair.source.users().iter().skip(1) {
        let done = Command::new("cp")
            .arg("-a")
            .arg(&from)
            .arg(pair.source.home(user))
            .status()?;
        anyhow::ensure!(done.success(), "cp -a of a user's mail failed");
    }
    Ok(())
}
