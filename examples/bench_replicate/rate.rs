//! What replication leaves of Dovecot's own delivery rate.

use crate::load;
use crate::peer::Replicator;
use crate::report::{Goal, Report};
use crate::setting::{Setting, USERS};
use anyhow::Result;
use std::time::{Duration, Instant};
use testbed::dovecot::{Dovecot, Format, Version};

/// The same server alone, with the primary's node, with both nodes, and with the replicator of Dovecot 2.3.
///
/// # Errors
/// A server or a delivery fails.
pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    let (mut alone, mut agent, mut both, mut replicated) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting.runs {
        let mut pair = setting.pair(Format::Maildir, USERS, "")?;
        alone.push(flat_out(setting, &pair.source)?);
        pair.primary.start()?;
        agent.push(flat_out(setting, &pair.source)?);
        pair.standby()?.node.start()?;
        pair.wait()?;
        both.push(flat_out(setting, &pair.source)?);
        pair.wait()?;
        drop(pair);
        let folder = tempfile::Builder::new().prefix("mailshadow-bench-").tempdir()?;
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let peer = Replicator::start(folder.path())?;
        replicated.push(flat_out(setting, &peer.source)?);
    }
    report.part(&format!(
        "Deliveries a second, flat out, {USERS} users, 4 KiB each, maildir of Dovecot {}",
        Version::V2_3.series()
    ));
    report.figure("Dovecot alone", "messages/s", &alone);
    report.figure("with the primary's node", "messages/s", &agent);
    report.figure("with both nodes on this machine", "messages/s", &both);
    report.figure("with the replicator, both on this machine", "messages/s", &replicated);
    report.ratio("with the primary's node by alone", &agent, &alone, Goal::AtLeast(0.97));
    report.ratio("with both nodes by alone", &both, &alone, Goal::AtLeast(0.90));
    report.ratio(
        "with the replicator by alone (no goal of ours)",
        &replicated,
        &alone,
        Goal::AtLeast(0.0),
    );
    Ok(())
}

fn flat_out(setting: &Setting, server: &Dovecot) -> Result<f64> {
    // what the start of processes costs is not the rate
    load::deliver(server, 0.0, Duration::from_secs(1))?;
    let began = Instant::now();
    let accepted = load::deliver(server, 0.0, setting.span(8))?;
    let messages = accepted.values().map(Vec::len).sum::<usize>();
    Ok(messages as f64 / began.elapsed().as_secs_f64())
}
