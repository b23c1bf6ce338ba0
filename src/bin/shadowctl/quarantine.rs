//! `quarantine`.

use crate::output::{Failure, Output, date, table};
use clap::{Args, Subcommand};
use mailshadow::config::Config;
use mailshadow::control::client::call;
use mailshadow::control::report::{Decided, Entry, EntryDetail, EntryId, QuarantineList, Reason};
use mailshadow::control::verbs::{CustodyRequest, EntryRequest, Request};
use mailshadow::limits::CUSTODY_ROWS_MAX;
use mailshadow::op::UserName;
use std::time::Duration;

/// A decision may rewrite a mailbox of a million messages.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// Which entries.
#[derive(Args)]
pub(crate) struct Which {
    /// One group instead of all that this node holds a copy of
    #[arg(long, value_name = "G")]
    pub(crate) group: Option<String>,
    /// One user instead of all
    #[arg(long, value_name = "U")]
    pub(crate) user: Option<String>,
}

impl Which {
    pub(crate) fn request(self) -> CustodyRequest {
        CustodyRequest {
            group: self.group,
            user: self.user.map(UserName),
        }
    }
}

/// One entry.
#[derive(Args)]
pub(crate) struct One {
    /// The entry's number, as `ls` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: EntryId,
    /// Which group; may be left out where this node holds a copy of one
    #[arg(long, value_name = "G")]
    pub(crate) group: Option<String>,
}

impl One {
    pub(crate) fn request(self) -> EntryRequest {
        EntryRequest {
            group: self.group,
            id: self.id,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Quarantine {
    /// List the open entries, one a mailbox
    Ls(Which),
    /// Show one entry with the messages that it is about (never their content)
    Show(One),
    /// It was meant: apply it. What leaves is retained
    Release(One),
    /// It was not meant: forget it, the copy keeps what it has
    Drop(One),
}

pub(crate) fn run(config: &Config, verb: Quarantine, output: &Output) -> Result<(), Failure> {
    let socket = &config.node.control;
    match verb {
        Quarantine::Ls(which) => {
            let request = Request::QuarantineLs(which.request());
            let list: QuarantineList = call(socket, &request, Some(SILENCE_MAX), |_| {})?;
            output.answer(&list, list_text)
        }
        Quarantine::Show(one) => {
            let request = Request::QuarantineShow(one.request());
            let detail: EntryDetail = call(socket, &request, Some(SILENCE_MAX), |_| {})?;
            output.answer(&detail, detail_text)
        }
        Quarantine::Release(one) => decide(config, &Request::QuarantineRelease(one.request()), output),
        Quarantine::Drop(one) => decide(config, &Request::QuarantineDrop(one.request()), output),
    }
}

/// Says what came of a decision.
pub(crate) fn decide(config: &Config, request: &Request, output: &Output) -> Result<(), Failure> {
    let decided: Decided = call(&config.node.control, request, Some(SILENCE_MAX), |_| {})?;
    output.answer(&decided, |decided| format!("{}: {}\n", decided.id, decided.done))
}

fn list_text(list: &QuarantineList) -> String {
    if list.entries.is_empty() {
        return "nothing is held back\n".to_owned();
    }
    let mut text = entries_table(&list.entries, "");
    if list.entries.len() >= usize::try_from(CUSTODY_ROWS_MAX).unwrap_or(usize::MAX) {
        text.push_str(&format!(
            "only the first {CUSTODY_ROWS_MAX} are listed: ask by --user\n"
        ));
    }
    text.push_str("`shadowctl quarantine show ID` says what release and drop would do\n");
    text
}

/// A line an entry, each after `indent`.
pub(crate) fn entries_table(entries: &[Entry], indent: &str) -> String {
    let mut rows = vec![
        ["id", "user", "mailbox", "reason", "messages", "why"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for entry in entries {
        rows.push(vec![
            entry.id.to_string(),
            entry.user.to_string(),
            entry.mailbox.clone(),
            reason(entry.reason).to_owned(),
            entry.messages.to_string(),
            entry.why.clone(),
        ]);
    }
    let lines = table(&rows, &[true, false, false, false, true, false]);
    lines.lines().map(|line| format!("{indent}{line}\n")).collect()
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Held => "held",
        Reason::Vanished => "vanished",
        Reason::Inferred => "inferred",
        Reason::Waiting => "waiting",
    }
}

fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::Held => {
            "repair the mailbox from the primary (shadowctl repair), or release: the source's list then replaces this copy's"
        }
        Reason::Vanished => "release: the mailbox is deleted here too. drop: the copy keeps it",
        Reason::Inferred => "release: the messages leave the copy too. drop: the copy keeps them",
        Reason::Waiting => "nothing, once the held mailbox is decided. release: don't wait for it",
    }
}

fn detail_text(detail: &EntryDetail) -> String {
    let entry = &detail.entry;
    let mut text = format!(
        "{}: {} {} ({}): {}\n{}\n",
        entry.id,
        entry.user,
        entry.mailbox,
        reason(entry.reason),
        entry.why,
        advice(entry.reason)
    );
    if let (Some(first), Some(last)) = (detail.diverted.first(), detail.diverted.last()) {
        text.push_str(&format!("{} frames diverted, LSN {first} to {last}\n", entry.diverted));
    }
    let mut rows = vec![["uid", "bytes", "received", "guid"].map(str::to_owned).to_vec()];
    for message in &detail.messages {
        rows.push(vec![
            message.uid.to_string(),
            message.size.map_or_else(|| "-".to_owned(), |size| size.to_string()),
            date(message.internal_date),
            message.guid.to_string(),
        ]);
    }
    if !detail.messages.is_empty() {
        text.push_str(&table(&rows, &[true, true, true, false]));
    }
    text
}
