//! `migrate report`.

use super::ask;
use crate::output::{Failure, Output, table};
use clap::Args;
use mailshadow::config::Config;
use mailshadow::control::migration::{MigrateRequest, MigrationReport, page};
use std::path::PathBuf;

/// Differences that the text names; the page and `--json` have all.
const NAMED_MAX: usize = 30;

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// The group; may be left out where this node has one only
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// Compare the bodies too: reads every message on both sides
    #[arg(long)]
    deep: bool,
    /// Write a page for a browser into this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) fn run(config: &Config, args: ReportArgs, output: &Output) -> Result<(), Failure> {
    let request = MigrateRequest::Report {
        group: args.group,
        deep: args.deep,
    };
    let report: MigrationReport = ask(config, request, output)?;
    if let Some(file) = &args.html {
        let written = std::fs::write(file, page::render(&report));
        written.map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
    }
    output.answer(&report, text)?;
    match report.is_equal() {
        true => Ok(()),
        false => Err(Failure::found(format!(
            "{} of {} mailboxes are not equal",
            report.mailboxes.saturating_sub(report.equal),
            report.mailboxes
        ))),
    }
}

fn text(report: &MigrationReport) -> String {
    let status = &report.status;
    let mut text = format!("{}: {} → {}: {}\n", status.group, status.old, status.new, status.note);
    let equal = status.users.iter().filter(|user| user.equal == Some(true)).count();
    let how = if report.deep { "bodies included" } else { "by digest" };
    text.push_str(&format!(
        "{equal} of {} users equal; {} of {} mailboxes, {how} ({:.1} s)\n",
        status.users.len(),
        report.equal,
        report.mailboxes,
        report.seconds
    ));
    if !report.different.is_empty() {
        let mut rows = vec![["user", "mailbox", "difference"].map(str::to_owned).to_vec()];
        for one in report.different.iter().take(NAMED_MAX) {
            rows.push(vec![one.user.to_string(), one.mailbox.clone(), one.why.clone()]);
        }
        text.push_str(&format!("\n{}", table(&rows, &[])));
        if let Some(more) = report.different.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
            text.push_str(&format!("{more} more: --json and --html have all\n"));
        }
    }
    for what in &report.not_carried {
        text.push_str(&format!("not carried: {what}\n"));
    }
    text
}
