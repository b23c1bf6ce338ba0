//! `migrate run`.

use super::ask;
use crate::output::{Failure, Output};
use clap::Args;
use mailshadow::config::{Config, values::parse_duration};
use mailshadow::control::migration::plan::{size, time};
use mailshadow::control::migration::{MigrateRequest, RunReport};
use std::time::Duration;

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The group; may be left out where this node has one only
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// Stop looking after this time, as "8h"; the copying goes on (default: no limit)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

pub(super) fn run(config: &Config, args: RunArgs, output: &Output) -> Result<(), Failure> {
    let request = MigrateRequest::Run {
        group: args.group,
        timeout_ms: args
            .timeout
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    };
    let report: RunReport = ask(config, request, output)?;
    output.answer(&report, text)?;
    match report.diverted.is_empty() {
        true => Ok(()),
        false => Err(Failure::found(
            "copied, but not all of it reached its mailbox: see the list",
        )),
    }
}

fn text(report: &RunReport) -> String {
    let mut text = format!(
        "{}: the new server has everything: {} users, {} mailboxes, {} messages, {} ({} came in {})\n",
        report.group,
        report.totals.users,
        report.totals.mailboxes,
        report.totals.messages,
        size(report.totals.bytes),
        size(report.bytes),
        time(report.seconds)
    );
    for diverted in &report.diverted {
        text.push_str(&format!("  {diverted}\n"));
    }
    text
}
