//! `check`.

use crate::output::{Failure, Output};
use clap::Args;
use mailshadow::config::Config;
use mailshadow::control::check::{self, CheckReport, Finding, Level};
use mailshadow::control::client::Interim;
use mailshadow::control::verbs::Progress;
use std::path::Path;

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// List also what is as it should be, line by line
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(file: &Path, args: &CheckArgs, output: &Output) -> Result<(), Failure> {
    let config = Config::load(file).map_err(|error| Failure::usage(error.to_string()))?;
    let looking_at = |section: &str| {
        let what = format!("looking at {section}");
        output.interim(Interim::Progress(Progress {
            what,
            done: None,
            total: None,
            lasting: false,
        }));
    };
    let report = check::run(&config, looking_at);
    output.answer(&report, |report| text(report, args.all))?;
    match report.errors {
        0 => Ok(()),
        1 => Err(Failure::found("1 error: see above")),
        errors => Err(Failure::found(format!("{errors} errors: see above"))),
    }
}

/// A line a section where all is well; what is not stands below it with the reason and the remedy.
fn text(report: &CheckReport, all: bool) -> String {
    let mut text = String::new();
    let mut rest = report.findings.as_slice();
    while let Some(first) = rest.first() {
        let length = rest
            .iter()
            .take_while(|finding| finding.section == first.section)
            .count();
        let (section, after) = rest.split_at(length);
        rest = after;
        text.push_str(&section_text(&first.section, section, all));
    }
    text.push_str(&summary(report));
    text
}

fn section_text(name: &str, findings: &[Finding], all: bool) -> String {
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let well = findings.iter().filter(|finding| finding.level == Level::Ok).count();
    let mut text = match worst {
        Level::Ok => format!("ok       {name}\n"),
        Level::Warning | Level::Error => format!("         {name} ({well} of {} as they should be)\n", findings.len()),
    };
    for finding in findings {
        match finding.level {
            Level::Ok if finding.todo.is_some() => text.push_str(&ill("hint   ", finding)),
            Level::Ok if !all => {}
            Level::Ok => text.push_str(&format!("         · {}: {}\n", finding.topic, finding.what)),
            Level::Warning => text.push_str(&ill("warning", finding)),
            Level::Error => text.push_str(&ill("ERROR  ", finding)),
        }
    }
    text
}

fn ill(level: &str, finding: &Finding) -> String {
    let mut text = format!("{level}  {}: {}\n", finding.topic, finding.what);
    if let Some(why) = &finding.why {
        text.push_str(&format!("         {why}\n"));
    }
    if let Some(todo) = &finding.todo {
        text.push_str(&format!("         → {todo}\n"));
    }
    text
}

fn summary(report: &CheckReport) -> String {
    let looked = report.findings.len();
    match (report.errors, report.warnings) {
        (0, 0) => format!("\nall is well: {looked} things were looked at\n"),
        (errors, warnings) => format!("\n{looked} things were looked at; errors: {errors}, warnings: {warnings}\n"),
    }
}
