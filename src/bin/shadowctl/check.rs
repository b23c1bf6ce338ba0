//! `check`.

use crate::output::{Failure, Output};
use mailshadow::config::Config;
use mailshadow::control::check::{self, CheckReport, Level};
use mailshadow::control::client::Interim;
use mailshadow::control::verbs::Progress;
use std::path::Path;

pub(crate) fn run(file: &Path, output: &Output) -> Result<(), Failure> {
    let config = Config::load(file).map_err(|error| Failure::usage(error.to_string()))?;
    let looking_at = |topic: &str| {
        let what = format!("looking at {topic}");
        output.interim(Interim::Progress(Progress {
            what,
            done: None,
            total: None,
        }));
    };
    let report = check::run(&config, looking_at);
    output.answer(&report, text)?;
    match report.errors {
        0 => Ok(()),
        1 => Err(Failure::found("1 error: see above")),
        errors => Err(Failure::found(format!("{errors} errors: see above"))),
    }
}

fn text(report: &CheckReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let level = match finding.level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Error => "ERROR  ",
        };
        text.push_str(&format!("{level}  {}: {}\n", finding.topic, finding.what));
        if let Some(todo) = &finding.todo {
            text.push_str(&format!("         → {todo}\n"));
        }
    }
    let line = format!(
        "looked at: {}; warnings: {}; errors: {}\n",
        report.findings.len(),
        report.warnings,
        report.errors
    );
    text.push_str(&line);
    text
}
