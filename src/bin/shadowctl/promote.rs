//! `promote` and `switchover`.

use crate::output::{Failure, Output, date};
use clap::Args;
use mailshadow::config::{Config, values::parse_duration};
use mailshadow::control::client::call;
use mailshadow::control::promotion::{LossStatement, MaxLoss, PromoteReport, PromoteRequest, SwitchoverRequest};
use mailshadow::control::verbs::Request;
use std::time::Duration;

/// Messages of the loss statement that the text names; `--json` and the log of role changes have all.
const NAMED_MAX: usize = 20;

#[derive(Args)]
pub(crate) struct PromoteArgs {
    /// The group; may be left out where this node has one only
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// What may be lost: "none", a number of announced operations, a time as "30s", or "any"
    #[arg(long, value_name = "WHAT", default_value = "30s")]
    max_loss: MaxLoss,
    /// Refuse where the source was silent for longer than this time before
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    max_silence: Option<Duration>,
    /// Promote a fenced node too, where no higher epoch answers
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(config: &Config, args: PromoteArgs, output: &Output) -> Result<(), Failure> {
    let request = Request::Promote(PromoteRequest {
        group: args.group,
        max_loss: args.max_loss,
        max_silence_ms: args.max_silence.map(millis),
        force: args.force,
    });
    finish(config, &request, output)
}

#[derive(Args)]
pub(crate) struct SwitchoverArgs {
    /// The group; may be left out where this node has one only
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// How long clients may be kept out before everything is put back
    #[arg(long, value_name = "T", default_value = "30s", value_parser = parse_duration)]
    max_wait: Duration,
}

pub(crate) fn switch_over(config: &Config, args: SwitchoverArgs, output: &Output) -> Result<(), Failure> {
    let request = Request::Switchover(SwitchoverRequest {
        group: args.group,
        max_wait_ms: millis(args.max_wait),
    });
    finish(config, &request, output)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn finish(config: &Config, request: &Request, output: &Output) -> Result<(), Failure> {
    let report: PromoteReport = call(&config.node.control, request, None, |line| output.interim(line))?;
    output.answer(&report, text)?;
    if report.is_partial() {
        return Err(Failure::found(
            "this node is primary, but clients may not find it: see the steps that failed; what they do can be done by hand",
        ));
    }
    Ok(())
}

fn text(report: &PromoteReport) -> String {
    let mut text = format!(
        "{} is primary of group {} in epoch {}; the old history ends at LSN {} ({:.2} s)\n",
        report.primary, report.group, report.epoch, report.applied_lsn, report.seconds
    );
    text.push_str(&loss(&report.loss));
    text.push_str(match report.old_side_fenced {
        true => "old side fenced: its mail server lets nobody in\n",
        false => "old side NOT fenced: make sure that nobody can reach the old mail server\n",
    });
    for redirect in &report.redirects {
        let moved = redirect
            .moved_sessions
            .map_or(String::new(), |n| format!(", {n} old sessions ended"));
        let what = if redirect.ok { "clients are led here" } else { "FAILED" };
        let why = redirect.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        text.push_str(&format!("{}: {what}{moved}{why}\n", redirect.kind));
    }
    for probe in &report.probes {
        let why = probe.why.as_deref().unwrap_or("a client could log in");
        text.push_str(&format!("{}: {why}\n", probe.address));
    }
    for what in &report.not_carried {
        text.push_str(&format!("not here: {what}\n"));
    }
    text
}

fn loss(loss: &LossStatement) -> String {
    let least = if loss.at_least { "at least " } else { "" };
    let mut text = match (loss.operations, loss.seconds) {
        (Some(0), Some(seconds)) if seconds <= 0.0 && !loss.at_least => "lost: nothing that was announced".to_owned(),
        (Some(operations), Some(seconds)) => format!("lost: {least}{operations} announced operations, {seconds:.1} s"),
        (Some(operations), None) => format!("lost: {least}{operations} announced operations"),
        (None, _) => "lost: not known".to_owned(),
    };
    if let Some(silent) = loss.silent_seconds {
        text.push_str(&format!(
            "; the source was silent for {silent:.1} s, and what it did then can't be known"
        ));
    }
    if let Some(ms) = loss.last_applied_ms {
        let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
        text.push_str(&format!("\nlast applied: captured {}", date(seconds)));
    }
    text.push('\n');
    for message in loss.known_missing.iter().take(NAMED_MAX) {
        text.push_str(&format!(
            "  missing: {} {} UID {}\n",
            message.user, message.mailbox, message.uid
        ));
    }
    let named = u64::try_from(loss.known_missing.len().min(NAMED_MAX)).unwrap_or(0);
    let all = u64::try_from(loss.known_missing.len()).unwrap_or(u64::MAX);
    let more = all.saturating_sub(named).saturating_add(loss.unnamed_missing);
    if more > 0 {
        text.push_str(&format!(
            "  missing: {more} more messages; --json and audit.jsonl have what is known\n"
        ));
    }
    text
}
