//! `wait`.

use crate::output::{Failure, Output};
use clap::Args;
use mailshadow::config::{Config, values::parse_duration};
use mailshadow::control::client::call;
use mailshadow::control::report::WaitReport;
use mailshadow::control::verbs::{Request, WaitRequest};
use std::time::Duration;

/// A daemon that keeps its own deadline answers within this time after it.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct WaitArgs {
    /// One group instead of every group that this node is primary of
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// Give up after this time, as "30s" or "5m"
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
}

pub(crate) fn run(config: &Config, args: WaitArgs, output: &Output) -> Result<(), Failure> {
    let request = Request::Wait(WaitRequest {
        group: args.group,
        timeout_ms: u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX),
    });
    let silence_max = Some(args.timeout.saturating_add(GRACE));
    let report: WaitReport = call(&config.node.control, &request, silence_max, |line| output.interim(line))?;
    output.answer(&report, text)?;
    if report.is_diverted() {
        return Err(Failure::found(
            "applied, but not all of it reached its mailbox: see the list",
        ));
    }
    Ok(())
}

fn text(report: &WaitReport) -> String {
    let mut text = String::new();
    for group in &report.groups {
        let line = format!(
            "{}: applied up to {} ({:.1} s)\n",
            group.group, group.applied, group.seconds
        );
        text.push_str(&line);
        for diverted in &group.diverted {
            text.push_str(&format!("  {diverted}\n"));
        }
    }
    text
}
