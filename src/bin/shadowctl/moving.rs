//! `move`.

use crate::output::{Failure, Output};
use clap::Args;
use mailshadow::config::{Config, values::parse_duration};
use mailshadow::control::client::call;
use mailshadow::control::moving::{MoveReport, MoveRequest, MovedReport};
use mailshadow::control::verbs::Request;
use mailshadow::op::UserName;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct MoveArgs {
    /// Who; one after another
    #[arg(value_name = "USER", required = true)]
    users: Vec<String>,
    /// The group to move to; may be left out where only one is possible
    #[arg(long, value_name = "G")]
    to: Option<String>,
    /// How long each of them may be kept out before everything is put back
    #[arg(long, value_name = "T", default_value = "30s", value_parser = parse_duration)]
    max_wait: Duration,
}

pub(crate) fn run(config: &Config, args: MoveArgs, output: &Output) -> Result<(), Failure> {
    move_all(config, &args.users, args.to, args.max_wait, output)
}

/// One after another. Going back is the same: asked on the node that has them.
pub(crate) fn move_all(
    config: &Config,
    users: &[String],
    to: Option<String>,
    max_wait: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let request = Request::Move(MoveRequest {
        users: users.iter().map(|user| UserName::from(user.as_str())).collect(),
        to,
        max_wait_ms: u64::try_from(max_wait.as_millis()).unwrap_or(u64::MAX),
    });
    let report: MoveReport = call(&config.node.control, &request, None, |line| output.interim(line))?;
    output.answer(&report, |report| report.users.iter().map(line).collect())?;
    match report.users.iter().filter(|user| !user.moved).count() {
        0 => Ok(()),
        stay => Err(Failure::found(format!(
            "{stay} users were not moved: see why; running it again is safe"
        ))),
    }
}

fn line(user: &MovedReport) -> String {
    let mut text = match &user.why {
        None => format!(
            "{}: moved from {} to {}, out for {:.2} s\n",
            user.user, user.from, user.to, user.out_seconds
        ),
        Some(why) => format!("{}: NOT moved: {why}\n", user.user),
    };
    for redirect in user.redirects.iter().filter(|redirect| !redirect.ok) {
        let why = redirect.why.as_deref().unwrap_or("it failed");
        text.push_str(&format!("  {}: he is not led there: {why}\n", redirect.kind));
    }
    text
}
