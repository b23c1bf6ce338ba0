//! The initial copy.

use crate::corpus::{self, Filled, Profile};
use crate::meter;
use crate::peer::{OF_THE_SOURCE, Peer};
use crate::report::{Goal, Report};
use crate::setting::{Setting, USERS};
use anyhow::{Context, Result};
use std::time::Instant;
use testbed::dovecot::{Format, Version};
use testbed::pair::Pair;

/// What one copy took.
#[derive(Default)]
struct Runs {
    messages_s: Vec<f64>,
    mb_s: Vec<f64>,
    cpu_ms: Vec<f64>,
    written: Vec<f64>,
    wire: Vec<f64>,
    wire_compressed: Vec<f64>,
}

impl Runs {
    fn add(&mut self, filled: Filled, seconds: f64, cpu_s: f64) {
        self.messages_s.push(filled.messages as f64 / seconds);
        self.mb_s.push(filled.octets as f64 / 1e6 / seconds);
        self.cpu_ms.push(cpu_s * 1000.0 / filled.messages as f64);
    }
}

/// Small mail and real mail, ours and `doveadm backup`, both over TLS on loopback.
///
/// # Errors
/// A server or a copy fails.
pub(crate) fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    for (profile, name, messages) in [
        (Profile::Small, "4 KiB each", setting.size(20_000)),
        (Profile::Real, "real sizes", setting.size(5_000)),
    ] {
        report.part(&format!(
            "Initial copy: {USERS} users, {messages} messages, {name}; maildir of Dovecot 2.3, TLS 1.3"
        ));
        let (ours, peer) = pairs_of_runs(setting, profile, messages)?;
        report.figure("ours", "messages/s", &ours.messages_s);
        report.figure("doveadm backup to 2.4 maildir", "messages/s", &peer.messages_s);
        report.figure("ours", "MB/s", &ours.mb_s);
        report.figure("doveadm backup", "MB/s", &peer.mb_s);
        report.figure("ours, CPU of both daemons", "ms/message", &ours.cpu_ms);
        report.figure("doveadm backup, CPU of both sides", "ms/message", &peer.cpu_ms);
        if profile == Profile::Small {
            report.ratio(
                "messages/s, ours by doveadm's",
                &ours.messages_s,
                &peer.messages_s,
                Goal::AtLeast(10.0),
            );
        } else {
            report.ratio("MB/s, ours by doveadm's", &ours.mb_s, &peer.mb_s, Goal::AtLeast(4.0));
        }
        report.ratio(
            "CPU a message, ours by doveadm's",
            &ours.cpu_ms,
            &peer.cpu_ms,
            Goal::AtMost(0.34),
        );
        report.judge(
            "written by the primary's node a byte of mail",
            "bytes",
            &ours.written,
            Goal::AtMost(0.1),
        );
        // `auto` spares a near peer the time
        report.figure("on the wire a byte of mail, near peer", "bytes", &ours.wire);
        let what = "on the wire a byte of mail, compress = \"on\"";
        if profile == Profile::Small {
            report.judge(what, "bytes", &ours.wire_compressed, Goal::AtMost(0.6));
        } else {
            report.figure(what, "bytes", &ours.wire_compressed);
        }
    }
    Ok(())
}

fn pairs_of_runs(setting: &Setting, profile: Profile, messages: usize) -> Result<(Runs, Runs)> {
    let mut pair = setting.pair(Format::Maildir, USERS, OF_THE_SOURCE)?;
    let filled = corpus::fill(&pair.source, profile, messages)?;
    let peer = Peer::start(setting, pair.folder(), Version::V2_4)?;
    let (mut ours, mut theirs) = (Runs::default(), Runs::default());
    for _ in 0..setting.runs {
        peer.wipe()?;
        let server = peer.dovecot.process_id().context("the peer runs")?;
        let (before, began) = (
            meter::cpu_of_tree(server)? + meter::cpu_of_ended_children()?,
            Instant::now(),
        );
        peer.backup(&pair.source)?;
        let took = began.elapsed().as_secs_f64();
        let cpu = meter::cpu_of_tree(server)? + meter::cpu_of_ended_children()? - before;
        theirs.add(filled, took, cpu);
        one_of_ours(&mut pair, filled, &mut ours)?;
    }
    let config = std::fs::read_to_string(pair.primary.config())?;
    let compressed = config.replacen("store = ", "compress = \"on\"\nstore = ", 1);
    std::fs::write(pair.primary.config(), compressed)?;
    let mut with_compression = Runs::default();
    one_of_ours(&mut pair, filled, &mut with_compression)?;
    ours.wire_compressed = with_compression.wire;
    Ok((ours, theirs))
}

/// From the start of the primary's daemon to the answer of `wait`.
fn one_of_ours(pair: &mut Pair, filled: Filled, ours: &mut Runs) -> Result<()> {
    pair.forget()?;
    pair.standby()?.node.start()?;
    let began = Instant::now();
    pair.primary.start()?;
    pair.wait()?;
    let took = began.elapsed().as_secs_f64();
    let (a, b) = pair.daemons()?;
    ours.add(filled, took, meter::cpu_of_tree(a)? + meter::cpu_of_tree(b)?);
    let octets = filled.octets as f64;
    ours.written.push(meter::written_bytes(a)? as f64 / octets);
    ours.wire
        .push(meter::sent_bytes(&pair.standby()?.node.address())? as f64 / octets);
    pair.stop_nodes()
}
