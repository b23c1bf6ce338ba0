//! Processor time of both daemons for live mail that nobody looks at.

use crate::latency::one_each;
use crate::load;
use crate::meter;
use crate::peer::OF_THE_SOURCE;
use crate::report::{Goal, Report};
use crate::setting::{Setting, USERS};
use anyhow::Result;
use testbed::dovecot::Format;

/// Deliveries a second.
const RATE: f64 = 100.0;

/// At 100 a second, each format: what it costs on the primary and on the standby, and while nothing happens.
///
/// # Errors
/// A server or a delivery fails.
pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    for format in [Format::Maildir, Format::Sdbox, Format::Mdbox] {
        let (mut primary_ms, mut standby_ms, mut both_ms, mut idle) = (vec![], vec![], vec![], vec![]);
        for _ in 0..setting.runs {
            let mut pair = setting.pair(format, USERS, OF_THE_SOURCE)?;
            one_each(&pair.source)?;
            pair.start_nodes()?;
            pair.wait()?;
            let (a, b) = pair.daemons()?;
            let cpu = || anyhow::Ok((meter::cpu_of_tree(a)?, meter::cpu_of_tree(b)?));
            let before = cpu()?;
            let accepted = load::deliver(&pair.source, RATE, setting.span(15))?;
            pair.wait()?;
            let after = cpu()?;
            let each = 1000.0 / accepted.values().map(Vec::len).sum::<usize>() as f64;
            primary_ms.push((after.0 - before.0) * each);
            standby_ms.push((after.1 - before.1) * each);
            both_ms.push((after.0 - before.0 + after.1 - before.1) * each);
            let span = setting.span(20);
            std::thread::sleep(span);
            let quiet = cpu()?;
            idle.push((quiet.0 - after.0 + quiet.1 - after.1) * 100.0 / span.as_secs_f64());
        }
        report.part(&format!(
            "CPU of live mail that nobody looks at, {RATE}/s, {USERS} users, {}",
            format.name()
        ));
        report.figure("primary, a message", "ms", &primary_ms);
        report.figure("standby, a message", "ms", &standby_ms);
        report.judge("both, a message", "ms", &both_ms, Goal::AtMost(0.5));
        report.judge("both, nothing to do", "% of a core", &idle, Goal::AtMost(0.4));
    }
    Ok(())
}
