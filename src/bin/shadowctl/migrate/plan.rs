//! `migrate plan`.

use super::{GroupArgs, ask};
use crate::output::{Failure, Output, table};
use mailshadow::config::Config;
use mailshadow::control::check::{Finding, Level};
use mailshadow::control::migration::plan::{size, time};
use mailshadow::control::migration::{MigrateRequest, PlanReport, PlanSide};

pub(super) fn run(config: &Config, args: GroupArgs, output: &Output) -> Result<(), Failure> {
    let report: PlanReport = ask(config, MigrateRequest::Plan { group: args.group }, output)?;
    output.answer(&report, text)?;
    match report
        .findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .count()
    {
        0 => Ok(()),
        1 => Err(Failure::found("1 thing must be put right before: see above")),
        errors => Err(Failure::found(format!(
            "{errors} things must be put right before: see above"
        ))),
    }
}

fn text(report: &PlanReport) -> String {
    let mut text = format!("group {}: {}\n\n", report.group, report.stage.in_words());
    text.push_str(&sides(report));
    let totals = report.totals;
    text.push_str(&format!(
        "\nto carry: {} users, {} mailboxes, {} messages, {}\n",
        totals.users,
        totals.mailboxes,
        totals.messages,
        size(totals.bytes)
    ));
    text.push_str(&largest(report));
    text.push_str(&findings(&report.findings));
    text.push_str(&estimate(report));
    text
}

fn sides(report: &PlanReport) -> String {
    let mut rows = vec![["", "from", "to"].map(str::to_owned).to_vec()];
    let mut row = |what: &str, of: &dyn Fn(&PlanSide) -> String| {
        let to = report.target.as_ref().map_or("no answer".to_owned(), of);
        rows.push(vec![what.to_owned(), of(&report.source), to]);
    };
    row("node", &|side| side.node.to_string());
    row("server", &|side| side.facts.server.clone());
    row("format", &|side| side.facts.formats.join(", "));
    row("separator", &|side| side.facts.separators.join(" "));
    row("keeps", &|side| side.facts.features.join(", "));
    table(&rows, &[])
}

fn largest(report: &PlanReport) -> String {
    if report.largest_users.is_empty() {
        return String::new();
    }
    let mut rows = vec![
        ["largest users", "mailboxes", "messages", "size"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for holding in &report.largest_users {
        rows.push(vec![
            holding.user.to_string(),
            holding.mailboxes.to_string(),
            holding.messages.to_string(),
            size(holding.bytes),
        ]);
    }
    let mut text = format!("\n{}", table(&rows, &[false, true, true, true]));
    let mut rows = vec![
        ["largest mailboxes", "", "messages", "size"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (user, mailbox) in &report.largest_mailboxes {
        rows.push(vec![
            user.to_string(),
            mailbox.mailbox.clone(),
            mailbox.messages.to_string(),
            size(mailbox.bytes),
        ]);
    }
    text.push_str(&format!("\n{}", table(&rows, &[false, false, true, true])));
    text
}

fn findings(findings: &[Finding]) -> String {
    let mut text = String::from("\n");
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Error => "ERROR  ",
        };
        text.push_str(&format!("{level}  {}: {}\n", finding.topic, finding.what));
        for (mark, more) in [("", &finding.why), ("→ ", &finding.todo)] {
            if let Some(more) = more.as_ref().filter(|_| finding.level != Level::Ok) {
                text.push_str(&format!("         {mark}{more}\n"));
            }
        }
    }
    text
}

fn estimate(report: &PlanReport) -> String {
    let estimate = &report.estimate;
    let takes = match estimate.seconds {
        Some(_) if estimate.bytes_left == 0 => "nothing is left to copy".to_owned(),
        Some(seconds) => format!("about {} for {}", time(seconds), size(estimate.bytes_left)),
        None => format!("not known, for {}", size(estimate.bytes_left)),
    };
    format!("\ntime to copy: {takes}\n  {}\n", estimate.basis)
}
