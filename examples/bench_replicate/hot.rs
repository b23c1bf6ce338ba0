//! A mailbox that is changed so fast that its log rotates every few seconds.

use crate::report::{Goal, Report};
use crate::setting::Setting;
use anyhow::{Context, Result, anyhow};
use std::time::{Duration, Instant};
use testbed::dovecot::{Dovecot, Format};
use testbed::pair::Pair;

const MESSAGES: usize = 200;

/// While both nodes run, and with the primary's node stopped for a minute.
///
/// # Errors
/// A server or a command fails.
pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    let mut pair = setting.pair(Format::Sdbox, 1, "")?;
    fill(&pair.source)?;
    pair.start_nodes()?;
    pair.wait()?;
    let (rate, rotations) = change_for(&pair.source, setting.span(30))?;
    let live_s = settled(&pair)?;
    pair.primary.kill()?;
    let (_, missed) = change_for(&pair.source, setting.span(60))?;
    pair.primary.start()?;
    let behind_s = settled(&pair)?;
    let status = pair.standby()?.node.status()?;
    let open = ["quarantined", "held_mailboxes", "bodies_pending"].map(|key| status.get(key).and_then(|n| n.as_f64()));
    report.part("A hot mailbox: its log rotates every few seconds, sdbox");
    report.figure("flag changes", "a second", &[rate]);
    report.figure("rotations while both nodes ran", "", &[rotations]);
    report.judge("equal after the load", "s", &[live_s], Goal::AtMost(2.0));
    report.figure("rotations while the primary's node was stopped", "", &[missed]);
    report.judge("equal after its start", "s", &[behind_s], Goal::AtMost(2.0));
    let open = open
        .into_iter()
        .map(|n| n.context("a number in the status"))
        .sum::<Result<f64>>()?;
    report.judge("left for the operator", "entries", &[open], Goal::AtMost(0.0));
    Ok(())
}

fn fill(source: &Dovecot) -> Result<()> {
    let user = source.users().first().context("a user")?;
    let mut lmtp = source.lmtp()?;
    (0..MESSAGES).try_for_each(|n| lmtp.deliver(user, &crate::corpus::message(crate::corpus::Profile::Small, n)))
}

/// Flags one message after another over two connections; gives changes a second, and how often the log was rotated.
fn change_for(source: &Dovecot, span: Duration) -> Result<(f64, f64)> {
    let user = source.users().first().context("a user")?;
    let log = source
        .home(user)
        .join("sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.log");
    let before = sequence(&log)?;
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let client = source.imap(user);
            std::thread::spawn(move || flag(client?, span))
        })
        .collect();
    let mut changes = 0;
    for thread in threads {
        changes += thread.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok((changes as f64 / span.as_secs_f64(), f64::from(sequence(&log)? - before)))
}

fn flag(mut client: testbed::imap::Imap, span: Duration) -> Result<usize> {
    client.select("INBOX")?.must()?;
    let began = Instant::now();
    let mut changes = 0;
    while began.elapsed() < span {
        let sign = if (changes / MESSAGES).is_multiple_of(2) {
            '+'
        } else {
            '-'
        };
        client
            .run(&format!(
                "STORE {} {sign}FLAGS.SILENT (\\Answered hot)",
                1 + changes % MESSAGES
            ))?
            .must()?;
        changes += 1;
    }
    Ok(changes)
}

/// The log's own number: u32 at offset 8 of its header.
fn sequence(log: &std::path::Path) -> Result<u32> {
    let bytes = std::fs::read(log).with_context(|| log.display().to_string())?;
    let number: [u8; 4] = bytes.get(8..12).context("a log without a header")?.try_into()?;
    Ok(u32::from_le_bytes(number))
}

fn settled(pair: &Pair) -> Result<f64> {
    let began = Instant::now();
    pair.wait_for("300s")?;
    let took = began.elapsed().as_secs_f64();
    pair.primary.ask(&["verify"])?;
    Ok(took)
}
