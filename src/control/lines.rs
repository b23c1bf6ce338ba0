//! One JSON object a line, in both directions.

use super::verbs::{Progress, Request, VerbError};
use crate::limits::CONTROL_LINE_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::io::BufRead;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// A line of an answer: any number of `progress` and `item`, then one `ok` or `error`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    /// How far the work has come.
    Progress(Progress),
    /// One of many answers (`journal-cat`).
    Item(serde_json::Value),
    /// Done.
    Ok(serde_json::Value),
    /// Not done.
    Error(VerbError),
}

impl Answer {
    /// With its line end. A value that has no JSON form becomes an error that says so.
    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_else(|error| {
            let text = format!("the answer has no JSON form: {error}");
            format!(
                r#"{{"error":{{"exit":1,"message":{}}}}}"#,
                serde_json::Value::from(text)
            )
            .into_bytes()
        });
        line.push(b'\n');
        line
    }
}

/// Reads one request line; none at the end of the stream.
pub(super) async fn read_request(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Request>, String> {
    let mut line = Vec::new();
    let bounded = reader.take(CONTROL_LINE_BYTES_MAX + 1);
    tokio::pin!(bounded);
    let read = bounded.read_until(b'\n', &mut line).await;
    read.map_err(|e| format!("read the request: {e}"))?;
    if line.is_empty() {
        return Ok(None);
    }
    if u64::try_from(line.len()).unwrap_or(u64::MAX) > CONTROL_LINE_BYTES_MAX {
        return Err(format!("a request is at most {CONTROL_LINE_BYTES_MAX} bytes"));
    }
    let request = serde_json::from_slice(&line);
    request.map(Some).map_err(|e| format!("not a request: {e}"))
}

/// Reads one answer line; none at the end of the stream.
pub(super) fn read_answer(reader: &mut impl BufRead) -> std::io::Result<Option<Answer>> {
    let mut line = Vec::new();
    std::io::Read::take(&mut *reader, crate::limits::CONTROL_ANSWER_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let answer = serde_json::from_slice(&line);
    answer
        .map(Some)
        .map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))
}
