//! `repair`.

use crate::output::{Failure, Output};
use crate::verify::differences;
use clap::Args;
use mailshadow::config::Config;
use mailshadow::control::client::call;
use mailshadow::control::report::RepairReport;
use mailshadow::control::verbs::{RepairRequest, Request};
use mailshadow::op::UserName;

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
}

pub(crate) fn run(config: &Config, args: RepairArgs, output: &Output) -> Result<(), Failure> {
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
