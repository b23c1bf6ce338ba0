//! The `subscriptions` file: one subscribed name a line, in the order of subscribing. Names need not exist.
//!
//! Version 2 begins with `V<TAB>2`, an empty line, and separates a name's levels by TAB; the old form has a full name a
//! line. Levels are spelled as directories are ([`Spelling`]); control characters are escaped as Dovecot does it everywhere.

use super::mail_root::Spelling;
use super::mutf7::Undecodable;
use crate::limits::{SUBSCRIPTIONS_BYTES_MAX, SUBSCRIPTIONS_MAX};
use crate::op::MailboxName;

const HEADER: &[u8] = b"V\t2\n\n";

/// A user's subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// The names, none twice.
    pub names: Vec<MailboxName>,
    /// Lines that are no name.
    pub undecodable: Vec<Undecodable>,
}

/// There is more in the file than anybody subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {SUBSCRIPTIONS_MAX} subscriptions or {SUBSCRIPTIONS_BYTES_MAX} bytes")]
pub struct TooMany;

/// Reads the file. `separator` is what stands between levels in the store, for the old form. Names are the store's: without
/// the namespace's prefix.
///
/// # Errors
/// [`TooMany`]
pub fn parse(bytes: &[u8], separator: char, spelling: Spelling) -> Result<Subscriptions, TooMany> {
    if bytes.len() > SUBSCRIPTIONS_BYTES_MAX {
        return Err(TooMany);
    }
    let (lines, separator) = match bytes.strip_prefix(HEADER) {
        Some(lines) => (lines, b'\t'),
        None => (bytes, u8::try_from(separator).unwrap_or(b'/')),
    };
    let mut found = Subscriptions::default();
    let mut seen = std::collections::BTreeSet::new();
    for line in lines.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
        if seen.len() >= SUBSCRIPTIONS_MAX {
            return Err(TooMany);
        }
        if !seen.insert(line) {
            continue;
        }
        match name(line, separator, spelling) {
            Ok(name) => found.names.push(name),
            Err(undecodable) => found.undecodable.push(undecodable),
        }
    }
    Ok(found)
}

fn name(line: &[u8], separator: u8, spelling: Spelling) -> Result<MailboxName, Undecodable> {
    let level = |octets| {
        spelling
            .decode(&unescape(octets))
            .map_err(|_| Undecodable(line.to_vec()))
    };
    let levels: Result<Vec<String>, Undecodable> = line.split(|octet| *octet == separator).map(level).collect();
    levels.map(MailboxName)
}

/// Dovecot's escapes: octet 1 and a letter.
fn unescape(octets: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(octets.len());
    let mut octets = octets.iter().copied();
    while let Some(octet) = octets.next() {
        plain.push(match (octet, octet == 1) {
            (_, false) => octet,
            _ => match octets.next() {
                Some(b'0') => 0,
                Some(b'1') | None => 1,
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(other) => other,
            },
        });
    }
    plain
}

/// Entry point for fuzzing: any octets as a subscriptions file.
pub fn fuzz_subscriptions(bytes: &[u8]) {
    let _ = parse(bytes, '.', Spelling::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_give_the_same_names() {
        let new = parse(
            b"V\t2\n\nProjects\tSub\nR&AOk-sum&AOk-\nProjects\tSub\n",
            '.',
            Spelling::default(),
        )
        .unwrap();
        let old = parse(b"Projects.Sub\nR&AOk-sum&AOk-\n", '.', Spelling::default()).unwrap();
        assert_eq!(new, old);
        assert_eq!(
            new.names,
            [MailboxName::of(["Projects", "Sub"]), MailboxName::of(["Résumé"])]
        );
    }

    #[test]
    fn a_name_that_nobody_can_read_is_kept_apart() {
        let found = parse(b"good\nb\xff\xffd\n", '/', Spelling::default()).unwrap();
        assert_eq!(found.names, [MailboxName::of(["good"])]);
        assert_eq!(found.undecodable, [Undecodable(b"b\xff\xffd".to_vec())]);
    }
}
