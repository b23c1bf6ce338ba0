//! `rejoin`, `resume`, `pause`, `may-serve`.

use crate::output::{Failure, Output};
use clap::Args;
use mailshadow::config::{Config, values::parse_duration};
use mailshadow::control::client::{CallError, call};
use mailshadow::control::promotion::{DoneReport, MayServeReport, OfGroup, RejoinReport};
use mailshadow::control::verbs::Request;
use std::time::{Duration, Instant};

/// It waits for disks only.
const SILENCE_MAX: Option<Duration> = Some(Duration::from_secs(120));
/// Between two questions while no daemon answers.
const AGAIN: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct GroupArgs {
    /// One group instead of every group of this node
    #[arg(long, value_name = "G")]
    group: Option<String>,
}

#[derive(Args)]
pub(crate) struct ResumeArgs {
    /// A restarted former primary goes on although it can reach nobody, on your word that nobody else is primary
    #[arg(long)]
    alone: bool,
    /// One group instead of every group of this node
    #[arg(long, value_name = "G")]
    group: Option<String>,
}

#[derive(Args)]
pub(crate) struct MayServeArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: String,
    /// Wait so long for a daemon that answers, and for a yes
    #[arg(long, value_name = "T", default_value = "0s", value_parser = parse_duration)]
    wait: Duration,
}

pub(crate) fn rejoin(config: &Config, args: GroupArgs, output: &Output) -> Result<(), Failure> {
    let request = Request::Rejoin(OfGroup { group: args.group });
    let report: RejoinReport = call(&config.node.control, &request, SILENCE_MAX, |line| output.interim(line))?;
    output.answer(&report, |report| {
        let mut text = format!("{}: {}\n", report.group, report.note);
        report
            .tail
            .iter()
            .for_each(|line| text.push_str(&format!("  {line}\n")));
        text
    })
}

pub(crate) fn resume(config: &Config, args: ResumeArgs, output: &Output) -> Result<(), Failure> {
    let of = OfGroup { group: args.group };
    let (request, what) = match args.alone {
        true => (Request::ResumeAlone(of), "primary again, on your word"),
        false => (Request::Resume(of), "applies again"),
    };
    done(config, &request, output, what)
}

pub(crate) fn pause(config: &Config, args: GroupArgs, output: &Output) -> Result<(), Failure> {
    let request = Request::Pause(OfGroup { group: args.group });
    done(
        config,
        &request,
        output,
        "paused: nothing is applied until `shadowctl resume`, or a restart",
    )
}

fn done(config: &Config, request: &Request, output: &Output, what: &str) -> Result<(), Failure> {
    let report: DoneReport = call(&config.node.control, request, SILENCE_MAX, |line| output.interim(line))?;
    output.answer(&report, |report| {
        let lines = report.groups.iter().map(|group| format!("{group}: {what}\n"));
        lines.collect()
    })
}

pub(crate) fn may_serve(config: &Config, args: &MayServeArgs, output: &Output) -> Result<(), Failure> {
    let until = Instant::now() + args.wait;
    let request = Request::MayServe {
        group: args.group.clone(),
    };
    loop {
        let asked: Result<MayServeReport, CallError> = call(&config.node.control, &request, SILENCE_MAX, |_| {});
        let late = Instant::now() >= until;
        match asked {
            Ok(report) if report.may || late => return judge(&report, output),
            Err(error) if late || matches!(error, CallError::Verb(_)) => return Err(error.into()),
            _ => std::thread::sleep(AGAIN),
        }
    }
}

fn judge(report: &MayServeReport, output: &Output) -> Result<(), Failure> {
    output.answer(report, |report| format!("{}: {}\n", report.group, report.why))?;
    match report.may {
        true => Ok(()),
        false => Err(Failure::found("the mail server may not open its doors here")),
    }
}
