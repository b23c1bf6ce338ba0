//! `dovecot-acl`: a mailbox's access control list, a line each: whom, then rights.
//!
//! `user=bob lrs`, `"group=the staff" lr :named right`, `-user=eve w` (taken away), `owner`, `anyone`. Empty lines and
//! those that begin with `#` say nothing. The file is written anew beside the old one and renamed over it; Dovecot leaves
//! it empty, never away, where the last entry is taken out.

use crate::limits::{ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_MAX, VALUE_HERE_BYTES_MAX};
use crate::op::{AttributeValue, Attributes};
use std::collections::{BTreeMap, BTreeSet};

/// The file's name in a mailbox's directory.
pub const FILE: &str = "dovecot-acl";

/// The bytes are no access control list: nothing of it is believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct AclError {
    /// Byte offset of the line that is wrong.
    pub offset: u64,
    /// What is wrong.
    pub why: &'static str,
}

/// Rights by letter and name, in the order in which Dovecot writes and shows them.
const RIGHTS: [(char, &str); 11] = [
    ('a', "admin"),
    ('k', "create"),
    ('x', "delete"),
    ('e', "expunge"),
    ('i', "insert"),
    ('l', "lookup"),
    ('p', "post"),
    ('r', "read"),
    ('w', "write"),
    ('t', "write-deleted"),
    ('s', "write-seen"),
];

/// Reads a whole file: identifier as spelled there (with its `-`) → rights as Dovecot would write them. Several lines
/// for one identifier add up.
///
/// # Errors
/// [`AclError`]
pub fn parse(bytes: &[u8]) -> Result<Attributes, AclError> {
    let mut lists: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut offset = 0_u64;
    for line in bytes.split_inclusive(|octet| *octet == b'\n') {
        let wrong = |why| AclError { offset, why };
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = std::str::from_utf8(text).map_err(|_| wrong("no text"))?;
        let text = text.trim_end_matches('\r');
        if !text.is_empty() && !text.starts_with('#') {
            let (whom, rights) = split(text).ok_or(wrong("an identifier that is quoted wrongly"))?;
            if !is_known(&whom) {
                return Err(wrong("an unknown kind of identifier"));
            }
            let long = whom.len() > ATTRIBUTE_NAME_BYTES_MAX || rights.len() > VALUE_HERE_BYTES_MAX;
            if long || lists.len() >= ATTRIBUTES_MAX {
                return Err(wrong("longer than any list of people"));
            }
            let names = names(rights).ok_or(wrong("an unknown right"))?;
            lists.entry(whom).or_default().extend(names);
        }
        offset = offset.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
    }
    let value = |names| AttributeValue::of(written(&names).as_bytes());
    Ok(lists.into_iter().map(|(whom, names)| (whom, value(names))).collect())
}

/// `lr :write named` as names of rights; none where a letter is none.
fn names(rights: &str) -> Option<Vec<&str>> {
    let (letters, named) = rights.split_once(':').unwrap_or((rights, ""));
    let mut found: Vec<&str> = named.split_whitespace().collect();
    for letter in letters.chars().filter(|c| !c.is_whitespace()) {
        let right = RIGHTS.iter().find(|(known, _)| *known == letter)?;
        found.push(right.1);
    }
    Some(found)
}

fn written(names: &BTreeSet<&str>) -> String {
    let letters: String = RIGHTS
        .iter()
        .filter(|(_, name)| names.contains(name))
        .map(|(letter, _)| *letter)
        .collect();
    let named = names
        .iter()
        .filter(|name| RIGHTS.iter().all(|(_, known)| known != *name));
    let named: Vec<&str> = named.copied().collect();
    match named.is_empty() {
        true => letters,
        false => format!("{letters} :{}", named.join(" ")),
    }
}

/// Rights as our values spell them (`lrs :named`), as names with spaces between; none where a letter is none.
pub(super) fn in_words(rights: &[u8]) -> Option<String> {
    let rights = std::str::from_utf8(rights).ok()?;
    let mut names = names(rights)?;
    names.sort_unstable();
    names.dedup();
    Some(names.join(" "))
}

/// Names with spaces between, as our values spell them.
pub(super) fn in_letters(words: &[u8]) -> String {
    written(&String::from_utf8_lossy(words).split_whitespace().collect())
}

fn split(line: &str) -> Option<(String, &str)> {
    let Some(quoted) = line.strip_prefix('"') else {
        let (whom, rights) = line.split_once(' ').unwrap_or((line, ""));
        return Some((whom.to_owned(), rights));
    };
    let mut whom = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let rest = chars.as_str();
                let rights = rest.strip_prefix(' ').unwrap_or(rest);
                return (rest.is_empty() || rights.len() < rest.len()).then_some((whom, rights));
            }
            '\\' => whom.push(chars.next()?),
            c => whom.push(c),
        }
    }
    None
}

fn is_known(whom: &str) -> bool {
    let positive = whom.strip_prefix('-').unwrap_or(whom);
    let named = ["user=", "group=", "group-override="];
    ["anyone", "authenticated", "owner"].contains(&positive) || named.iter().any(|prefix| positive.starts_with(prefix))
}

/// Entry point for fuzzing: any octets as an access control list.
pub fn fuzz_acl(bytes: &[u8]) {
    // both outcomes are fine
    drop(parse(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(String, String)> {
        let text_of = |value: AttributeValue| match value {
            AttributeValue::Here(octets) => String::from_utf8(octets).unwrap(),
            AttributeValue::Body { .. } => panic!("rights are short"),
        };
        let entries = parse(text.as_bytes()).unwrap().into_iter();
        entries.map(|(whom, rights)| (whom, text_of(rights))).collect()
    }

    #[test]
    fn lines_as_dovecot_writes_and_people_edit_them() {
        let text = "# who may\ngroup=grp lrs\nowner akxeilprwts\nuser=bob \n-user=carol w\n\"user=a \\\"b\" sr :lookup x\nanyone\nuser=bob srl";
        let owned = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(a, b)| (a.to_string(), b.to_string()))
                .collect::<Vec<_>>()
        };
        let expected = [
            ("-user=carol", "w"),
            ("anyone", ""),
            ("group=grp", "lrs"),
            ("owner", "akxeilprwts"),
            ("user=a \"b", "lrs :x"),
            ("user=bob", "lrs"),
        ];
        assert_eq!(entries(text), owned(&expected));
        assert!(entries("").is_empty());
    }

    #[test]
    fn a_list_that_dovecot_would_refuse_is_not_believed() {
        for (text, offset) in [
            ("user=bob lr\nusr=eve lr\n", 12),
            ("\"user=bob lr\n", 0),
            ("\"user=bob\"lr\n", 0),
            ("owner lr\n\u{1}\n", 9),
            ("owner lr\nuser=bob lrq\n", 9),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().offset, offset, "{text}");
        }
        assert!(parse(b"user=\xff lr\n").is_err());
    }
}
