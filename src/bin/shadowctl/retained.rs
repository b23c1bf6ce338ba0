//! `retained`.

use crate::output::{Failure, Output, date, table};
use crate::quarantine::{One, Which, decide};
use clap::Subcommand;
use mailshadow::config::Config;
use mailshadow::control::client::call;
use mailshadow::control::report::RetainedList;
use mailshadow::control::verbs::Request;
use mailshadow::limits::CUSTODY_ROWS_MAX;
use std::time::Duration;

const SILENCE_MAX: Duration = Duration::from_secs(60);

#[derive(Subcommand)]
pub(crate) enum Retained {
    /// List what is kept, newest first
    Ls(Which),
    /// Bring a message back as a new one (refused on a copy that follows a primary)
    Restore(One),
    /// It was meant to go: don't keep it any longer
    Release(One),
}

pub(crate) fn run(config: &Config, verb: Retained, output: &Output) -> Result<(), Failure> {
    match verb {
        Retained::Ls(which) => {
            let request = Request::RetainedLs(which.request());
            let list: RetainedList = call(&config.node.control, &request, Some(SILENCE_MAX), |_| {})?;
            output.answer(&list, text)
        }
        Retained::Restore(one) => decide(config, &Request::RetainedRestore(one.request()), output),
        Retained::Release(one) => decide(config, &Request::RetainedRelease(one.request()), output),
    }
}

fn text(list: &RetainedList) -> String {
    if list.messages.is_empty() {
        return "nothing is kept\n".to_owned();
    }
    let head = ["id", "user", "mailbox", "uid", "bytes", "left", "why", "body", "guid"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for kept in &list.messages {
        let message = &kept.message;
        rows.push(vec![
            kept.id.to_string(),
            kept.user.to_string(),
            kept.mailbox.clone(),
            message.uid.to_string(),
            message.size.map_or_else(|| "-".to_owned(), |size| size.to_string()),
            kept.since_ms.map_or_else(|| "just now".to_owned(), left),
            kept.why.clone(),
            if kept.body { "here" } else { "pending" }.to_owned(),
            message.guid.to_string(),
        ]);
    }
    let mut text = table(&rows, &[true, false, false, true, true, false, false, false, false]);
    if list.messages.len() >= usize::try_from(CUSTODY_ROWS_MAX).unwrap_or(usize::MAX) {
        text.push_str(&format!(
            "only the newest {CUSTODY_ROWS_MAX} are listed: ask by --user\n"
        ));
    }
    text
}

fn left(since_ms: u64) -> String {
    date(i64::try_from(since_ms / 1000).unwrap_or(i64::MAX))
}
