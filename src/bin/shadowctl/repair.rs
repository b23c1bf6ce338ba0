//! `repair`.

use crate::output::{Failure, Output};
use crate::verify::differences;
use clap::Args;
use mailshadow::config::Config;
use mailshadow::control::client::call;
use mailshadow::control::report::{RepairReport, StreamReport};
use mailshadow::control::verbs::{RepairRequest, Request};
use mailshadow::op::UserName;
use std::time::Duration;

/// It waits for the disk only.
const SILENCE_MAX: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(crate) struct RepairArgs {
    /// One group instead of every group that this node is primary of
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// One user instead of all
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// One mailbox by name, as "Work/2025", instead of all and the tree
    #[arg(long, value_name = "M")]
    mailbox: Option<String>,
    /// After a divergence: begin a new stream that every standby joins. Each is listed whole once more; bodies that it has
    /// don't travel again, and nothing leaves it but what the source can attest
    #[arg(long, conflicts_with_all = ["user", "mailbox"])]
    stream: bool,
}

pub(crate) fn run(config: &Config, args: RepairArgs, output: &Output) -> Result<(), Failure> {
    if args.stream {
        let request = Request::RepairStream { group: args.group };
        let report: StreamReport = call(&config.node.control, &request, Some(SILENCE_MAX), |line| {
            output.interim(line)
        })?;
        return output.answer(&report, stream_text);
    }
    let request = Request::Repair(RepairRequest {
        group: args.group,
        user: args.user.map(UserName),
        mailbox: args.mailbox,
    });
    let report: RepairReport = call(&config.node.control, &request, None, |line| output.interim(line))?;
    output.answer(&report, text)?;
    if report.remaining.is_empty() {
        return Ok(());
    }
    Err(Failure::found(
        "not everything is equal now: `shadowctl quarantine ls` on the standby says what waits for a decision",
    ))
}

fn stream_text(report: &StreamReport) -> String {
    let mut text = String::new();
    for new in &report.groups {
        let peers: Vec<String> = new.peers.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "group {}: stream {} replaces {}; {} join it, and can't take over until they are built\n",
            new.group,
            new.stream,
            new.before,
            peers.join(", ")
        ));
    }
    text.push_str(
        "`shadowctl wait --timeout 1h` returns once they have everything, `shadowctl status` says how far they are\n",
    );
    text
}

fn text(report: &RepairReport) -> String {
    let mut text = String::new();
    for (list, what) in [(&report.differed, "differed"), (&report.remaining, "differs still")] {
        if !list.is_empty() {
            text.push_str(&differences(list, what));
        }
    }
    let line = format!("{} mailboxes listed anew ({:.1} s)\n", report.mailboxes, report.seconds);
    text.push_str(&line);
    text
}
