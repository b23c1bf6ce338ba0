//! Dovecot's file dict with METADATA (`dovecot-attributes`): lines that are key and value in turn.
//!
//! Keys are `priv/GUID/KEY` and `shared/GUID/KEY`. In both, octet 1 escapes: `\x01` followed by `0 1 t r n` stands for NUL,
//! 1, TAB, CR, LF. The file is written anew beside the old one, flushed, and renamed over it.
//!
//! Server annotations (RFC 5464) are kept with INBOX's, under `vendor/vendor.dovecot/pvt/server/`. What else is below
//! `vendor/vendor.dovecot/pvt/` is Dovecot's own (keys of its encryption, say), no client sees it, and it is not carried.

use crate::limits::{ATTRIBUTE_BYTES_MAX, ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_MAX};
use crate::op::{AttributeValue, Attributes, Guid};
use std::collections::BTreeMap;

/// Where a mailbox's own keys of Dovecot begin.
const PRIVATE: &str = "vendor/vendor.dovecot/pvt/";
/// Behind [`PRIVATE`]: server annotations.
const SERVER: &str = "server/";

/// What a dict file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dict {
    /// METADATA of mailboxes, by entry name.
    pub mailboxes: BTreeMap<Guid, Attributes>,
    /// Server annotations, by the mailbox that they are kept with: INBOX's are the user's.
    pub server: BTreeMap<Guid, Attributes>,
    /// Entries beyond our bounds, which are left out: their keys.
    pub left_out: Vec<String>,
}

/// The bytes are no dict file: nothing of it is believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct DictError {
    /// Byte offset of what is wrong.
    pub offset: u64,
    /// What is wrong.
    pub why: &'static str,
}

/// Reads a whole file.
///
/// # Errors
/// [`DictError`]
pub fn parse(bytes: &[u8]) -> Result<Dict, DictError> {
    let mut dict = Dict::default();
    each(bytes, &mut |key, octets| add(&mut dict, key, octets))?;
    Ok(dict)
}

/// The first value that is the wanted one.
pub(crate) fn value(bytes: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut found = None;
    let take = &mut |_: &str, octets: &[u8]| {
        if found.is_none() && wanted(octets) {
            found = Some(octets.to_vec());
        }
    };
    each(bytes, take).ok()?;
    found
}

/// Calls `take` with each key and value.
fn each(bytes: &[u8], take: &mut dyn FnMut(&str, &[u8])) -> Result<(), DictError> {
    let mut lines = bytes.split_inclusive(|octet| *octet == b'\n');
    let mut offset = 0_u64;
    while let Some(key) = lines.next() {
        let wrong = |why| DictError { offset, why };
        let key = whole(key).ok_or(wrong("the last line is cut"))?;
        let value = lines.next().ok_or(wrong("a key has no value"))?;
        let value = whole(value).ok_or(wrong("the last line is cut"))?;
        let key_text = unescape(key).and_then(|key| String::from_utf8(key).ok());
        let key_text = key_text.ok_or(wrong("a key is no text"))?;
        take(&key_text, &unescape(value).ok_or(wrong("a value is escaped wrongly"))?);
        let length = key.len().saturating_add(value.len()).saturating_add(2);
        offset = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(())
}

fn whole(line: &[u8]) -> Option<&[u8]> {
    line.strip_suffix(b"\n")
}

/// None where octet 1 escapes nothing.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut octets = text.iter();
    while let Some(octet) = octets.next() {
        plain.push(match octet {
            1 => match octets.next()? {
                b'0' => 0,
                b'1' => 1,
                b't' => b'\t',
                b'r' => b'\r',
                b'n' => b'\n',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(plain)
}

fn add(dict: &mut Dict, key: &str, octets: &[u8]) {
    let Some((class, guid, name)) = split(key) else {
        return;
    };
    let (scopes, name) = match name.strip_prefix(PRIVATE) {
        None => (&mut dict.mailboxes, name),
        Some(own) => match own.strip_prefix(SERVER) {
            Some(name) => (&mut dict.server, name),
            None => return,
        },
    };
    let entries = scopes.entry(guid).or_default();
    let large = u64::try_from(octets.len()).unwrap_or(u64::MAX) > ATTRIBUTE_BYTES_MAX;
    let name = format!("/{class}/{name}");
    if large || name.len() > ATTRIBUTE_NAME_BYTES_MAX || entries.len() >= ATTRIBUTES_MAX {
        dict.left_out.push(key.chars().take(ATTRIBUTE_NAME_BYTES_MAX).collect());
        return;
    }
    entries.insert(name, AttributeValue::of(octets));
}

/// `priv` or `shared` as IMAP calls it, mailbox, key. None: no attribute of a mailbox.
fn split(key: &str) -> Option<(&'static str, Guid, &str)> {
    let (class, rest) = key.split_once('/')?;
    let class = match class {
        "priv" => "private",
        "shared" => "shared",
        _ => return None,
    };
    let (guid, name) = rest.split_once('/')?;
    Some((class, Guid::from_hex(guid)?, name)).filter(|_| !name.is_empty())
}

/// Entry point for fuzzing: any octets as a dict.
pub fn fuzz_attribute_dict(bytes: &[u8]) {
    // both outcomes are fine
    drop(parse(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "18a6660dd393026b9347000083ecc375";
    const OTHER: &str = "c84ed10dd393026b9347000083ecc375";

    fn file() -> Vec<u8> {
        // As Dovecot 2.3.19 and 2.4.1 wrote it.
        format!(
            "priv/{GUID}/vendor/x/y\na\"b\nshared/{GUID}/comment\n\npriv/{OTHER}/vendor/vendor.dovecot/pvt/server/comment\n\
             srv\npriv/{GUID}/comment\nl1\x01nl2\\\npriv/{OTHER}/vendor/vendor.dovecot/pvt/crypt/active\nkey\n"
        )
        .into_bytes()
    }

    #[test]
    fn what_dovecot_wrote_is_what_clients_see() {
        let dict = parse(&file()).unwrap();
        let guid = Guid::from_hex(GUID).unwrap();
        let expected = [
            ("/private/comment", "l1\nl2\\"),
            ("/private/vendor/x/y", "a\"b"),
            ("/shared/comment", ""),
        ];
        let expected: Attributes = expected
            .into_iter()
            .map(|(name, value)| (name.to_owned(), AttributeValue::of(value.as_bytes())))
            .collect();
        assert_eq!(dict.mailboxes, [(guid, expected)].into());
        let server = &dict.server[&Guid::from_hex(OTHER).unwrap()];
        assert_eq!(server.keys().collect::<Vec<_>>(), ["/private/comment"]);
        assert!(dict.left_out.is_empty());
    }

    #[test]
    fn a_file_that_was_cut_is_not_believed() {
        let file = file();
        let lines: Vec<usize> = (1..=file.len()).filter(|at| file[at - 1] == b'\n').collect();
        for cut in 1..file.len() {
            let whole_pairs = lines
                .iter()
                .position(|end| *end == cut)
                .is_some_and(|line| line % 2 == 1);
            assert_eq!(parse(&file[..cut]).is_ok(), whole_pairs, "{cut}");
        }
        assert_eq!(
            parse(b"priv/x/y\na\x01z\n").unwrap_err().why,
            "a value is escaped wrongly"
        );
        assert!(parse(b"").unwrap().mailboxes.is_empty());
    }

    #[test]
    fn keys_that_are_no_attributes_are_passed_over() {
        let dict =
            parse(b"priv/last-login\n1\nshared/zz/comment\nx\npriv/18a6660dd393026b9347000083ecc375/\nx\n").unwrap();
        assert_eq!(dict, Dict::default());
    }
}
