//! ENVELOPE (RFC 9051 section 7.5.2): what the header's fields say, raw.

use super::address::{self, Address};
use super::field::{Fields, header_of, unfold};
use crate::serve::imap::answer::{nstring, readable};
use std::collections::HashMap;

const PLAIN: [&str; 4] = ["date", "subject", "in-reply-to", "message-id"];
const LISTS: [&str; 6] = ["from", "sender", "reply-to", "to", "cc", "bcc"];

/// Writes the envelope of the message in `octets`.
pub(super) fn write(octets: &[u8]) -> Vec<u8> {
    let header = octets.get(header_of(octets, 0..octets.len())).unwrap_or_default();
    let mut values: HashMap<String, Vec<u8>> = HashMap::new();
    let mut lists: HashMap<String, Vec<Address>> = HashMap::new();
    for field in Fields(header) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        let value = unfold(field.value);
        if PLAIN.contains(&name.as_str()) {
            values.insert(name, value);
        } else if LISTS.contains(&name.as_str()) {
            // an address field that comes twice is one list
            lists.entry(name).or_default().extend(address::parse(&value));
        }
    }
    let get = |name: &str| values.get(name).map(Vec::as_slice);
    let mut out = vec![b'('];
    nstring(&mut out, get("date"));
    out.push(b' ');
    match get("subject") {
        Some(subject) => readable(&mut out, subject),
        None => nstring(&mut out, None),
    }
    let list = |name: &str| lists.get(name).map(Vec::as_slice).unwrap_or_default();
    for name in LISTS {
        out.push(b' ');
        let stands_for_from = list(name).is_empty() && ["sender", "reply-to"].contains(&name);
        write_list(&mut out, list(if stands_for_from { "from" } else { name }));
    }
    for name in ["in-reply-to", "message-id"] {
        out.push(b' ');
        nstring(&mut out, get(name));
    }
    out.push(b')');
    out
}

fn write_list(out: &mut Vec<u8>, list: &[Address]) {
    if list.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    out.push(b'(');
    for address in list {
        out.push(b'(');
        let parts = [&address.name, &address.route, &address.mailbox, &address.host];
        for (n, part) in parts.into_iter().enumerate() {
            if n > 0 {
                out.push(b' ');
            }
            match part {
                Some(name) if n == 0 => readable(out, name),
                part => nstring(out, part.as_deref()),
            }
        }
        out.push(b')');
    }
    out.push(b')');
}
