//! `migrate status`.

use super::{GroupArgs, ask};
use crate::output::{Failure, Output, date, table};
use mailshadow::config::Config;
use mailshadow::control::migration::plan::size;
use mailshadow::control::migration::{Counts, Event, MigrateRequest, MigrationStatus, UserParity};

/// Users that the text names; `--json` has all.
const NAMED_MAX: usize = 50;

pub(super) fn run(config: &Config, args: GroupArgs, output: &Output) -> Result<(), Failure> {
    let status: MigrationStatus = ask(config, MigrateRequest::Status { group: args.group }, output)?;
    output.answer(&status, text)
}

fn text(status: &MigrationStatus) -> String {
    let mut text = format!("{}: {} → {}: {}\n", status.group, status.old, status.new, status.note);
    if let Some(operations) = status.lag.operations {
        let seconds = status
            .lag
            .seconds
            .map_or(String::new(), |seconds| format!(", {seconds:.1} s"));
        text.push_str(&format!("behind: {operations} operations{seconds}\n"));
    }
    text.push_str(&format!("\n{}", users(&status.users)));
    if !status.history.is_empty() {
        text.push_str(&format!("\n{}", history(&status.history)));
    }
    for problem in &status.problems {
        text.push_str(&format!("! {problem}\n"));
    }
    text
}

/// Who differs in number first; then by name.
fn users(users: &[UserParity]) -> String {
    let differs = |one: &&UserParity| one.old != one.new;
    let first = users.iter().filter(differs);
    let rest = users.iter().filter(|one| !differs(one));
    let mut rows = vec![
        ["user", "messages", "mailboxes", "size", "on the other side"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for one in first.chain(rest).take(NAMED_MAX) {
        let there = match (one.old, one.new) {
            (Some(old), Some(new)) if old == new => "the same".to_owned(),
            (_, Some(new)) => counts(new),
            (_, None) => "nobody of that name".to_owned(),
        };
        let old = one.old.unwrap_or_default();
        rows.push(vec![
            one.user.to_string(),
            old.messages.to_string(),
            old.mailboxes.to_string(),
            size(old.bytes),
            there,
        ]);
    }
    let mut text = table(&rows, &[false, true, true, true, false]);
    if let Some(more) = users.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("{more} more users: --json has all\n"));
    }
    text
}

fn counts(counts: Counts) -> String {
    format!(
        "{} messages, {} mailboxes, {}",
        counts.messages,
        counts.mailboxes,
        size(counts.bytes)
    )
}

fn history(events: &[Event]) -> String {
    let row = |event: &Event| {
        let seconds = i64::try_from(event.at_ms / 1000).unwrap_or(i64::MAX);
        vec![
            date(seconds),
            event.node.to_string(),
            event.what.clone(),
            event.more.clone(),
        ]
    };
    let rows: Vec<_> = events.iter().map(row).collect();
    table(&rows, &[])
}
