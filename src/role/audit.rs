//! The chain of role changes that is kept: each line names the hash of the one before, so that none can be taken out or
//! changed unseen. `schema/role.md` has the bytes.

use serde_json::{Value, json};

/// What stands before the first line.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One line (without its line feed) that follows the line with hash `previous`: `what` happened, with `facts`, at a UNIX
/// time in milliseconds.
#[must_use]
pub fn line(previous: &str, unix_ms: u64, what: &str, facts: &Value) -> String {
    json!({ "at_ms": unix_ms, "what": what, "facts": facts, "previous": previous }).to_string()
}

/// The hash that the next line names.
#[must_use]
pub fn hash(line: &str) -> String {
    blake3::hash(line.as_bytes()).to_hex().to_string()
}

/// The hash of the last line of a log.
///
/// # Errors
/// The number of the first line that does not follow, from 1.
pub fn verify(log: &str) -> Result<String, usize> {
    let mut last = BEGINNING.to_owned();
    for (number, line) in (1..).zip(log.lines()) {
        let read: Value = serde_json::from_str(line).map_err(|_| number)?;
        if read.get("previous").and_then(Value::as_str) != Some(&last) {
            return Err(number);
        }
        last = hash(line);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_changed_or_taken_out_is_found() {
        let mut log = String::new();
        let mut last = BEGINNING.to_owned();
        for n in 0..4 {
            let line = line(&last, n, "promoted", &json!({ "epoch": n }));
            last = hash(&line);
            log.push_str(&line);
            log.push('\n');
        }
        assert_eq!(verify(&log), Ok(last));
        assert_eq!(verify(&log.replace("\"epoch\":1", "\"epoch\":7")), Err(3));
        let without: String = log
            .lines()
            .enumerate()
            .filter(|(n, _)| *n != 1)
            .map(|(_, l)| format!("{l}\n"))
            .collect();
        assert_eq!(verify(&without), Err(2));
        assert_eq!(verify(log.get(..log.len() - 5).unwrap()), Err(4));
    }
}
