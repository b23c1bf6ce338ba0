//! `migrate cutover` and `migrate back`: of everybody, or of single users, which is what `move` does.

use super::ask;
use crate::moving;
use crate::output::{Failure, Output};
use clap::Args;
use mailshadow::config::{Config, values::parse_duration};
use mailshadow::control::migration::{CutoverReport, MigrateRequest};
use std::time::Duration;

#[derive(Args)]
pub(crate) struct CutoverArgs {
    /// Some users only, one after another, as `shadowctl move` does on the node that has them: docs/moving-users.md
    #[arg(value_name = "USER", required_unless_present = "all", conflicts_with = "all")]
    users: Vec<String>,
    /// Everybody at once
    #[arg(long)]
    all: bool,
    /// The group; may be left out where this node has one only
    #[arg(long, value_name = "G", conflicts_with = "users")]
    group: Option<String>,
    /// How long clients may be kept out before everything is put back
    #[arg(long, value_name = "T", default_value = "60s", value_parser = parse_duration)]
    max_wait: Duration,
}

pub(super) fn run(config: &Config, args: CutoverArgs, back: bool, output: &Output) -> Result<(), Failure> {
    if !args.users.is_empty() {
        return moving::move_all(config, &args.users, None, args.max_wait, output);
    }
    let request = MigrateRequest::Cutover {
        group: args.group,
        back,
        max_wait_ms: u64::try_from(args.max_wait.as_millis()).unwrap_or(u64::MAX),
    };
    let report: CutoverReport = ask(config, request, output)?;
    output.answer(&report, text)?;
    match report.is_partial() {
        false => Ok(()),
        true => Err(Failure::found(
            "the users' server is the other one now, but clients may not find it: see the steps that failed; what they do can \
             be done by hand",
        )),
    }
}

fn text(report: &CutoverReport) -> String {
    let side = if report.back { "old" } else { "new" };
    let Some(switchover) = &report.switchover else {
        return format!(
            "{}: users work on the {side} server already; nothing was done\n",
            report.group
        );
    };
    let mut text = String::new();
    for step in &report.steps {
        let failed = step
            .problem
            .as_ref()
            .map_or(String::new(), |why| format!(": FAILED: {why}"));
        text.push_str(&format!("{:8.3} s  {}{failed}\n", step.at_seconds, step.what));
    }
    for redirect in &switchover.redirects {
        let what = if redirect.ok { "clients are led there" } else { "FAILED" };
        let why = redirect.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        text.push_str(&format!("            {}: {what}{why}\n", redirect.kind));
    }
    for probe in &switchover.probes {
        let why = probe.why.as_deref().unwrap_or("a client could log in");
        text.push_str(&format!("            {}: {why}\n", probe.address));
    }
    text.push_str(&format!(
        "{}: users work on the {side} server, {}; nothing was lost ({:.1} s in all)\n",
        report.group, switchover.primary, report.seconds
    ));
    if !report.back {
        text.push_str("the old server follows: `shadowctl migrate back --all` leads back, with everything that happens from now on\n");
    }
    text
}
