//! `journal ls`, `journal cat`.

use crate::output::{Failure, Output, table};
use clap::Subcommand;
use mailshadow::config::Config;
use mailshadow::control::client::{Interim, call};
use mailshadow::control::report::{JournalFrame, JournalList};
use mailshadow::control::verbs::{JournalRequest, Request};
use mailshadow::op::Lsn;
use std::time::Duration;

const SILENCE_MAX: Duration = Duration::from_secs(60);

#[derive(Subcommand)]
pub(crate) enum Journal {
    /// List the journals' files with the LSNs they hold
    Ls {
        /// One group instead of all
        #[arg(long, value_name = "G")]
        group: Option<String>,
    },
    /// Print frames, one a line: LSN, what it is, whose, what it does (never message content)
    Cat {
        /// Which group; may be left out where the node has one
        #[arg(long, value_name = "G")]
        group: Option<String>,
        /// Start at this LSN instead of the first that is still here
        #[arg(long, value_name = "LSN")]
        from: Option<u64>,
        /// At most so many frames
        #[arg(long, value_name = "N")]
        most: Option<u64>,
    },
}

pub(crate) fn run(config: &Config, journal: Journal, output: &Output) -> Result<(), Failure> {
    match journal {
        Journal::Ls { group } => {
            let request = Request::JournalLs { group };
            let list: JournalList = call(&config.node.control, &request, Some(SILENCE_MAX), |_| {})?;
            output.answer(&list, list_text)
        }
        Journal::Cat { group, from, most } => {
            let from = from.map(Lsn);
            cat(
                config,
                Request::JournalCat(JournalRequest { group, from, most }),
                output,
            )
        }
    }
}

fn list_text(list: &JournalList) -> String {
    let lsn = |lsn: Option<Lsn>| lsn.map_or_else(|| "-".to_owned(), |lsn| lsn.to_string());
    let mut text = String::new();
    for group in &list.groups {
        let head = format!(
            "{}: stream {}, epoch {}, {} bytes\n",
            group.group, group.stream, group.epoch, group.bytes
        );
        text.push_str(&head);
        let mut rows = vec![["file", "first", "last", "bytes"].map(str::to_owned).to_vec()];
        for segment in &group.segments {
            rows.push(vec![
                segment.file.clone(),
                lsn(segment.first),
                lsn(segment.last),
                segment.bytes.to_string(),
            ]);
        }
        text.push_str(&table(&rows, &[false, true, true, true]));
    }
    text
}

/// Prints each frame as it comes: a journal may be larger than memory. With `--json` one array.
fn cat(config: &Config, request: Request, output: &Output) -> Result<(), Failure> {
    let mut printed: Result<u64, Failure> = Ok(0);
    let answered = call::<serde_json::Value>(&config.node.control, &request, Some(SILENCE_MAX), |line| {
        if let (Interim::Item(item), Ok(count)) = (line, &printed) {
            let count = *count;
            printed = print_frame(item, count == 0, output).map(|()| count + 1);
        }
    });
    let count = printed?;
    if let Err(error) = answered {
        // an array that was begun is closed, so that the document stays readable; the status says that it is cut
        if output.is_json() && count > 0 {
            output.piece("\n]\n")?;
            return Err(Failure::found(error.to_string()));
        }
        return Err(error.into());
    }
    match (output.is_json(), count) {
        (true, 0) => output.piece("[]\n"),
        (true, _) => output.piece("\n]\n"),
        (false, _) => Ok(()),
    }
}

fn print_frame(item: serde_json::Value, is_first: bool, output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        let before = if is_first { "[\n" } else { ",\n" };
        return output.piece(&format!("{before}{item}"));
    }
    let frame: JournalFrame =
        serde_json::from_value(item).map_err(|e| Failure::failed(format!("a frame that can't be read: {e}")))?;
    output.piece(&frame_text(&frame))
}

fn frame_text(frame: &JournalFrame) -> String {
    let user = frame.user.as_ref().map(ToString::to_string).unwrap_or_default();
    let mailbox = frame.mailbox.as_deref().unwrap_or_default();
    let run = frame.run.as_ref().map(|run| format!(" ({run})")).unwrap_or_default();
    let peer = frame
        .peer
        .as_ref()
        .map(|peer| format!(" for {peer}"))
        .unwrap_or_default();
    format!(
        "{:>8} {:<11} {user} {mailbox} {}{run}{peer}\n",
        frame.lsn.0, frame.kind, frame.summary
    )
}
