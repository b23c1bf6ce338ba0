//! What happened so far on this node, out of the log of role changes (`schema/role.md`).

use crate::control::migration::Event;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};
use crate::op::NodeName;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The last events, oldest first. A log that can't be read has none.
pub(super) fn read(dir: &Path, node: &NodeName) -> Vec<Event> {
    end_of(&dir.join("audit.jsonl")).map_or_else(|_| Vec::new(), |text| events(&text, node))
}

fn end_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(HISTORY_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(HISTORY_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lines that are cut, at the beginning or by a crash, are none.
fn events(text: &str, node: &NodeName) -> Vec<Event> {
    let mut found: Vec<Event> = text.lines().filter_map(|line| event(line, node)).collect();
    let first = found.len().saturating_sub(HISTORY_EVENTS_MAX);
    found.split_off(first)
}

fn event(line: &str, node: &NodeName) -> Option<Event> {
    let line: Value = serde_json::from_str(line).ok()?;
    let facts = line.get("facts")?;
    let note = facts.get("note").and_then(Value::as_str).map(str::to_owned);
    let epoch = ["epoch", "to", "by"]
        .iter()
        .find_map(|key| facts.get(key)?.get("number")?.as_u64());
    Some(Event {
        at_ms: line.get("at_ms")?.as_u64()?,
        what: line.get("what")?.as_str()?.to_owned(),
        node: node.clone(),
        more: note
            .or_else(|| epoch.map(|epoch| format!("epoch {epoch}")))
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_cut_tells_the_rest() {
        let text = "what\":\"x\"}\n{\"at_ms\":5,\"what\":\"yielded\",\"facts\":{\"to\":{\"number\":2,\"node\":\"b\"}}}\n\
                    {\"at_ms\":6,\"what\":\"migration copied\",\"facts\":{\"note\":\"3 messages\"}}\n{\"at_ms\":7,\"wh";
        let found = events(text, &NodeName::from("mail-a"));
        let told: Vec<_> = found
            .iter()
            .map(|e| (e.at_ms, e.what.as_str(), e.more.as_str()))
            .collect();
        assert_eq!(told, [(5, "yielded", "epoch 2"), (6, "migration copied", "3 messages")]);
        let many: String = (0..200)
            .map(|n| format!("{{\"at_ms\":{n},\"what\":\"x\",\"facts\":{{}}}}\n"))
            .collect();
        let found = events(&many, &NodeName::from("mail-a"));
        assert_eq!(
            (found.len(), found.last().map(|e| e.at_ms)),
            (HISTORY_EVENTS_MAX, Some(199))
        );
    }
}
