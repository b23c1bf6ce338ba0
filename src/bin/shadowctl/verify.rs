//! `verify`.

use crate::output::{Failure, Output, table};
use clap::Args;
use mailshadow::config::Config;
use mailshadow::control::client::call;
use mailshadow::control::report::{Difference, VerifyReport};
use mailshadow::control::verbs::{Request, VerifyRequest};
use mailshadow::op::UserName;

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// One group instead of every group that this node is primary of
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// One user instead of all
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// Compare the bodies too: reads every message on both sides
    #[arg(long)]
    deep: bool,
}

pub(crate) fn run(config: &Config, args: VerifyArgs, output: &Output) -> Result<(), Failure> {
    let request = Request::Verify(VerifyRequest {
        group: args.group,
        user: args.user.map(UserName),
        deep: args.deep,
    });
    let report: VerifyReport = call(&config.node.control, &request, None, |line| output.interim(line))?;
    output.answer(&report, text)?;
    if report.is_equal() {
        return Ok(());
    }
    let open = report.mailboxes.saturating_sub(report.equal);
    Err(Failure::found(format!(
        "{open} of {} mailboxes are not equal",
        report.mailboxes
    )))
}

fn text(report: &VerifyReport) -> String {
    let mut text = String::new();
    for (list, what) in [(&report.different, "difference"), (&report.notes, "note")] {
        if list.is_empty() {
            continue;
        }
        text.push_str(&differences(list, what));
    }
    let how = if report.deep { "bodies included" } else { "by digest" };
    let line = format!(
        "{} of {} mailboxes equal, {how} ({:.1} s)\n",
        report.equal, report.mailboxes, report.seconds
    );
    text.push_str(&line);
    text
}

/// A table of mailboxes whose copies are not as the source; `what` heads the reasons.
pub(crate) fn differences(list: &[Difference], what: &str) -> String {
    let mut rows = vec![["user", "mailbox", "standby", what].map(str::to_owned).to_vec()];
    for difference in list {
        let peer = difference.peer.as_ref().map(ToString::to_string).unwrap_or_default();
        rows.push(vec![
            difference.user.to_string(),
            difference.mailbox.clone(),
            peer,
            difference.why.clone(),
        ]);
    }
    table(&rows, &[])
}
