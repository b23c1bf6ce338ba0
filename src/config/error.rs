//! One message for a wrong configuration.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// What is wrong, and where: prints as `FILE:LINE: KEY: what was expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; none where the file as a whole is meant.
    pub line: Option<usize>,
    /// Dotted key, empty where no key is to blame (not TOML at all).
    pub key: String,
    /// What was expected, and what was found.
    pub message: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// A mistake at a place of the text; the key is read from the text.
    pub(super) fn at(file: &Path, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let key = key_at(text, span.start);
        Self {
            file: file.to_owned(),
            line: Some(line_at(text, span.start)),
            key,
            message: message.into(),
        }
    }

    /// What the TOML reader says: its message on one line, the key it means.
    pub(super) fn from_toml(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().replace('\n', ", ");
        let Some(span) = error.span() else {
            return Self {
                file: file.to_owned(),
                line: None,
                key: String::new(),
                message,
            };
        };
        let span_start = span.start;
        let mut wrong = Self::at(file, text, span, String::new());
        if let Some(rest) = message.strip_prefix("missing field `") {
            let name = rest.trim_end_matches('`');
            wrong.key = joined(&table_at(text, wrong.line.unwrap_or(1)), name);
            wrong.message = "is required, but missing".to_owned();
        } else if let Some((name, known)) = unknown_field(&message) {
            let table = table_at(text, wrong.line.unwrap_or(1));
            // an unknown table is named by its header already
            let in_header = table.rsplit('.').next() == Some(name) && key_at(text, span_start) == table;
            wrong.key = if in_header { table } else { joined(&table, name) };
            wrong.message = format!("no such key; expected {known}");
        } else {
            wrong.message = message;
        }
        wrong
    }
}

/// Splits serde's "unknown field `x`, expected …".
fn unknown_field(message: &str) -> Option<(&str, &str)> {
    let (name, known) = message.strip_prefix("unknown field `")?.split_once("`, ")?;
    Some((name, known.strip_prefix("expected ").unwrap_or(known)))
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// The dotted key that a byte offset belongs to: the last `key =` at or above its line, below its table's header.
fn key_at(text: &str, offset: usize) -> String {
    let line = line_at(text, offset);
    let above: Vec<&str> = text.lines().take(line).collect();
    let key = above
        .iter()
        .rev()
        .find_map(|text| key_of(text).or(header_of(text).map(|_| "")));
    joined(&table_at(text, line), key.unwrap_or_default())
}

/// The table that a line stands in.
fn table_at(text: &str, line: usize) -> String {
    let above: Vec<&str> = text.lines().take(line).collect();
    above
        .iter()
        .rev()
        .find_map(|text| header_of(text))
        .unwrap_or_default()
        .to_owned()
}

fn header_of(line: &str) -> Option<&str> {
    let inner = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
    let name = inner.split(']').next()?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._- \"".contains(c);
    (!name.is_empty() && name.chars().all(plain) && !name.starts_with('"')).then_some(name)
}

fn key_of(line: &str) -> Option<&str> {
    let name = line.split_once('=')?.0.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

fn joined(table: &str, key: &str) -> String {
    match (table, key) {
        ("", key) => key.to_owned(),
        (table, "") => table.to_owned(),
        (table, key) => format!("{table}.{key}"),
    }
}
