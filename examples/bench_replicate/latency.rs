//! From LMTP's 250 until the message is seen on the copy.

use crate::corpus::{self, Profile};
use crate::load::{self, Outcome, Watch};
use crate::meter::{self, Flushes};
use crate::peer::{OF_THE_SOURCE, Replicator};
use crate::report::{Goal, Report, median, percentile};
use crate::setting::{Setting, USERS};
use anyhow::Result;
use testbed::dovecot::{Dovecot, Format};
use testbed::pair::Pair;

/// One rate's runs.
#[derive(Default)]
struct Runs {
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    drained_s: Vec<f64>,
    cpu_ms: Vec<f64>,
    unseen: Vec<f64>,
    flush_ms: Vec<f64>,
}

impl Runs {
    fn add(&mut self, outcome: &Outcome, cpu_s: f64) {
        self.p50_ms.push(percentile(&outcome.latencies_ms, 0.5));
        self.p99_ms.push(percentile(&outcome.latencies_ms, 0.99));
        self.drained_s.push(outcome.drained_s);
        self.cpu_ms.push(cpu_s * 1000.0 / outcome.messages as f64);
        self.unseen.push(outcome.unseen as f64);
    }
}

/// At 10 a second, at 100 a second, and as fast as Dovecot delivers.
///
/// # Errors
/// A server or a delivery fails.
pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    let mut pair = setting.pair(Format::Maildir, USERS, OF_THE_SOURCE)?;
    one_each(&pair.source)?;
    pair.start_nodes()?;
    pair.wait()?;
    let mut ours = Watch::by_idle(pair.standby()?.imap_port(), pair.source.users())?;
    let replicator = Replicator::start(pair.folder())?;
    one_each(&replicator.source)?;
    replicator.settle()?;
    let mut theirs = Watch::by_files(&replicator.copy)?;
    for (rate, seconds, p50, p99) in [
        (10.0, 20, 8.0, 40.0),
        (100.0, 15, 15.0, 60.0),
        (0.0, 8, f64::INFINITY, 250.0),
    ] {
        let (mut mine, mut peer) = (Runs::default(), Runs::default());
        for _ in 0..setting.runs {
            one_of_ours(setting, &pair, &mut ours, rate, seconds, &mut mine)?;
            let outcome = load::run(&replicator.source, &mut theirs, rate, setting.span(seconds))?;
            // its own CPU can't be told from the delivery's, which is the same for both
            peer.add(&outcome, f64::NAN);
        }
        print(report, rate, &mine, &peer, (p50, p99));
    }
    Ok(())
}

/// An INBOX for each user.
pub(crate) fn one_each(server: &Dovecot) -> Result<()> {
    let mut lmtp = server.lmtp()?;
    let text = corpus::message(Profile::Small, 0);
    server.users().iter().try_for_each(|user| lmtp.deliver(user, &text))
}

fn one_of_ours(
    setting: &Setting,
    pair: &Pair,
    watch: &mut Watch,
    rate: f64,
    seconds: u64,
    runs: &mut Runs,
) -> Result<()> {
    let (a, b) = pair.daemons()?;
    let before = meter::cpu_of_tree(a)? + meter::cpu_of_tree(b)?;
    let flushes = Flushes::start(pair.folder())?;
    let outcome = load::run(&pair.source, watch, rate, setting.span(seconds))?;
    runs.flush_ms.push(flushes.median_ms());
    runs.add(&outcome, meter::cpu_of_tree(a)? + meter::cpu_of_tree(b)? - before);
    Ok(())
}

fn print(report: &mut Report, rate: f64, mine: &Runs, peer: &Runs, (p50, p99): (f64, f64)) {
    let speed = if rate > 0.0 {
        format!("{rate}/s")
    } else {
        "flat out".to_owned()
    };
    report.part(&format!(
        "Latency from LMTP's 250 until seen on the copy, {speed}, {USERS} users, maildir"
    ));
    report.figure("fdatasync of 4 KiB beside it, p50", "ms", &mine.flush_ms);
    if p50.is_finite() {
        // on a busy disk what counts is how often it is waited for
        let busy = 5.0 + 3.0 * median(&mine.flush_ms);
        report.judge("ours, p50", "ms", &mine.p50_ms, Goal::AtMost(p50.max(busy)));
    } else {
        report.judge("ours, drained after the load", "s", &mine.drained_s, Goal::AtMost(0.5));
    }
    report.judge("ours, p99", "ms", &mine.p99_ms, Goal::AtMost(p99));
    report.judge("ours, never seen", "messages", &mine.unseen, Goal::AtMost(0.0));
    report.figure("replicator, p50", "ms", &peer.p50_ms);
    report.figure("replicator, p99", "ms", &peer.p99_ms);
    report.figure("replicator, drained after the load", "s", &peer.drained_s);
    report.figure("replicator, never seen", "messages", &peer.unseen);
    if rate == 100.0 {
        report.judge(
            "ours, CPU of both daemons a message",
            "ms",
            &mine.cpu_ms,
            Goal::AtMost(0.5),
        );
    } else {
        report.figure("ours, CPU of both daemons a message", "ms", &mine.cpu_ms);
    }
}
