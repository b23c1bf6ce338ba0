//! What a command prints: people's text or one JSON document on standard output, all else on standard error.

use mailshadow::control::client::{CallError, Interim};
use mailshadow::control::verbs::{Exit, Progress, VerbError};
use mailshadow::io::clock::Stopwatch;
use serde::Serialize;
use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Plain progress lines come at most this often.
const LINE_EVERY: Duration = Duration::from_secs(2);
const BAR_CELLS: u64 = 30;

/// Why a command ends with another status than 0.
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    /// The answer is on standard output already.
    answered: bool,
}

impl Failure {
    /// Usage or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        VerbError::usage(message).into()
    }

    /// It went wrong.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        VerbError::failed(message).into()
    }

    /// The verb was done and its answer printed; what it found is no success.
    pub(crate) fn found(message: impl Into<String>) -> Self {
        Self {
            answered: true,
            ..Self::failed(message)
        }
    }
}

impl From<VerbError> for Failure {
    fn from(error: VerbError) -> Self {
        Self {
            exit: error.exit,
            message: error.message,
            answered: false,
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self {
            exit: error.exit(),
            message: error.to_string(),
            answered: false,
        }
    }
}

/// Where everything goes.
pub(crate) struct Output {
    json: bool,
    terminal: bool,
    last_line: RefCell<Option<Stopwatch>>,
}

impl Output {
    /// `json`: one document instead of text.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            terminal: std::io::stderr().is_terminal(),
            last_line: RefCell::new(None),
        }
    }

    /// True where the answer is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// The answer, in the form that was asked for.
    pub(crate) fn answer<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let answer = if self.json {
            let json = serde_json::to_string_pretty(value);
            json.map_err(|e| Failure::failed(format!("the answer has no JSON form: {e}")))? + "\n"
        } else {
            text(value)
        };
        self.clear_bar();
        print(&answer)
    }

    /// Part of a long answer, as it stands.
    pub(crate) fn piece(&self, text: &str) -> Result<(), Failure> {
        print(text)
    }

    /// Passes on progress; other interim lines are not for here.
    pub(crate) fn interim(&self, interim: Interim) {
        if let Interim::Progress(progress) = interim {
            self.progress(&progress);
        }
    }

    fn progress(&self, progress: &Progress) {
        if progress.lasting {
            self.clear_bar();
            eprintln!("{}", progress.what);
        } else if self.terminal {
            eprint!("\r\x1b[K{}", bar(progress));
        } else {
            self.line(progress);
        }
    }

    fn line(&self, progress: &Progress) {
        let mut last = self.last_line.borrow_mut();
        if last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            eprintln!("{}", plain(progress));
            *last = Some(Stopwatch::start());
        }
    }

    fn clear_bar(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }

    /// Says why, and gives the exit status.
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        self.clear_bar();
        if self.json && !failure.answered {
            let error = VerbError {
                exit: failure.exit,
                message: failure.message.clone(),
            };
            let document = serde_json::json!({ "error": error });
            if print(&format!("{document:#}\n")).is_err() {
                return ExitCode::from(1);
            }
        }
        if !failure.message.is_empty() {
            eprintln!("shadowctl: {}", failure.message);
        }
        ExitCode::from(u8::from(failure.exit))
    }
}

/// A reader that has gone (`| head`) is no mistake worth a message, but the rest was not printed.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::found(""),
        _ => Failure::found(format!("print: {error}")),
    })
}

fn plain(progress: &Progress) -> String {
    match (progress.done, progress.total) {
        (Some(done), Some(total)) => format!("{}: {done} of {total}", progress.what),
        (Some(done), None) => format!("{}: {done}", progress.what),
        (None, _) => progress.what.clone(),
    }
}

fn bar(progress: &Progress) -> String {
    let (Some(done), Some(total)) = (progress.done, progress.total) else {
        return plain(progress);
    };
    let cells_done = done.min(total).saturating_mul(BAR_CELLS).checked_div(total);
    let filled = cells_done.unwrap_or(BAR_CELLS);
    let cells: String = (0..BAR_CELLS)
        .map(|cell| if cell < filled { '█' } else { '░' })
        .collect();
    format!("{cells} {done}/{total}  {}", progress.what)
}

/// Rows with aligned columns; the first row is the head. Numbers stand right where `right` says so.
pub(crate) fn table(rows: &[Vec<String>], right: &[bool]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths.get(column).copied().unwrap_or(0);
            let padded = match right.get(column) {
                Some(true) => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            };
            line.push_str(&padded);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A moment of UNIX time, in seconds; a dash for one that no calendar has.
pub(crate) fn date(unix_seconds: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    let moment = time::OffsetDateTime::from_unix_timestamp(unix_seconds).ok();
    let shown = moment.and_then(|moment| moment.format(format).ok());
    shown.unwrap_or_else(|| "-".to_owned())
}
