//! `dovecot-uidlist` of a maildir: UID → file. Not a list of the messages that exist: expunged ones linger.
//!
//! Version 3: a line `3 V<uidvalidity> N<uidnext> G<mailbox guid> …`, then a line `<uid> [<key><value> …] :<base>` a mail.
//! Version 1: `1 <uidvalidity> <uidnext>`, then `<uid> <name>`. New lines are appended in place, so the last one counts
//! only once its LF is there.

use super::maildir_name::MaildirName;
use crate::limits::UIDLIST_BYTES_MAX;
use crate::op::{Guid, MessageGuid, Uid, UidValidity};

/// Most faulty lines that are kept for people.
const PROBLEMS_MAX: usize = 16;

/// A uidlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uidlist {
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// UIDNEXT as of the last rewrite: lines that were appended later may reach it.
    pub uidnext: Uid,
    /// The mailbox's GUID; version 1 has none.
    pub mailbox_guid: Option<Guid>,
    /// Ascending UIDs.
    pub entries: Vec<UidlistEntry>,
    /// The first few lines that could not be read.
    pub problems: Vec<UidlistError>,
}

/// One mail of a uidlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UidlistEntry {
    /// UID.
    pub uid: Uid,
    /// File name without its flags.
    pub base: String,
    /// Message GUID, where it is not the file name.
    pub guid: Option<String>,
    /// Size on disk, where the file name does not tell.
    pub size: Option<u64>,
    /// RFC822.SIZE, where the file name does not tell.
    pub virtual_size: Option<u64>,
}

impl UidlistEntry {
    /// The message's GUID as Dovecot answers it.
    #[must_use]
    pub fn message_guid(&self) -> MessageGuid {
        MessageGuid(self.guid.clone().unwrap_or_else(|| self.base.clone()))
    }

    /// Octets before any compression, where list or name tells it (`S`).
    #[must_use]
    pub fn plain_bytes(&self) -> Option<u64> {
        self.size.or_else(|| MaildirName::parse(&self.base).size())
    }

    /// RFC822.SIZE, where list or name tells it.
    #[must_use]
    pub fn body_bytes(&self) -> Option<u64> {
        self.virtual_size
            .or_else(|| MaildirName::parse(&self.base).virtual_size())
    }
}

/// A line that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dovecot-uidlist, line {line}: {why}")]
pub struct UidlistError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong, for people.
    pub why: String,
}

fn wrong(line: usize, why: impl Into<String>) -> UidlistError {
    UidlistError { line, why: why.into() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Three,
}

impl Uidlist {
    /// Reads a uidlist. Faulty lines of mails are left out and listed in [`Self::problems`].
    ///
    /// # Errors
    /// The first line can't be read, or the file is too large.
    pub fn parse(bytes: &[u8]) -> Result<Self, UidlistError> {
        if u64::try_from(bytes.len()).map_or(true, |len| len > UIDLIST_BYTES_MAX) {
            return Err(wrong(1, format!("more than {UIDLIST_BYTES_MAX} bytes")));
        }
        let mut lines = bytes
            .split_inclusive(|octet| *octet == b'\n')
            .filter_map(|line| line.strip_suffix(b"\n"));
        let first = lines.next().ok_or_else(|| wrong(1, "no first line"))?;
        let (version, mut list) = Self::header(first).map_err(|why| wrong(1, why))?;
        for (number, line) in lines.enumerate() {
            let last = list.entries.last().map_or(Uid(0), |entry| entry.uid);
            match entry(version, line).and_then(|entry| ascending(entry, last)) {
                Ok(entry) => list.entries.push(entry),
                Err(why) if list.problems.len() < PROBLEMS_MAX => {
                    list.problems.push(wrong(number.saturating_add(2), why))
                }
                Err(_) => {}
            }
        }
        Ok(list)
    }

    fn header(line: &[u8]) -> Result<(Version, Self), String> {
        let line = std::str::from_utf8(line).map_err(|_| "not text")?;
        let mut list = Self {
            uidvalidity: UidValidity(0),
            uidnext: Uid(0),
            mailbox_guid: None,
            entries: Vec::new(),
            problems: Vec::new(),
        };
        let mut fields = line.split(' ');
        match fields.next() {
            Some("1") => {
                list.uidvalidity = UidValidity(number(fields.next().unwrap_or_default())?);
                list.uidnext = Uid(number(fields.next().unwrap_or_default())?);
                return Ok((Version::One, list));
            }
            Some("3") => {}
            _ => return Err("a version that is not known".to_owned()),
        }
        for field in fields {
            match field.split_at_checked(1) {
                Some(("V", value)) => list.uidvalidity = UidValidity(number(value)?),
                Some(("N", value)) => list.uidnext = Uid(number(value)?),
                Some(("G", value)) => list.mailbox_guid = Some(Guid::from_hex(value).ok_or("a GUID that is none")?),
                _ => {}
            }
        }
        Ok((Version::Three, list))
    }

    /// The entry of a UID.
    #[must_use]
    pub fn get(&self, uid: Uid) -> Option<&UidlistEntry> {
        let at = self.entries.binary_search_by_key(&uid, |entry| entry.uid).ok()?;
        self.entries.get(at)
    }
}

fn ascending(entry: UidlistEntry, last: Uid) -> Result<UidlistEntry, String> {
    if entry.uid <= last {
        return Err(format!("UID {} after UID {last}", entry.uid));
    }
    Ok(entry)
}

fn entry(version: Version, line: &[u8]) -> Result<UidlistEntry, String> {
    let line = std::str::from_utf8(line).map_err(|_| "not text")?;
    let (uid, mut rest) = line.split_once(' ').ok_or("no file name")?;
    let mut entry = UidlistEntry {
        uid: Uid(number(uid)?),
        base: String::new(),
        guid: None,
        size: None,
        virtual_size: None,
    };
    while version == Version::Three && !rest.starts_with(':') {
        let (field, after) = rest.split_once(' ').ok_or("no file name")?;
        match field.split_at_checked(1) {
            Some(("G", value)) if !value.is_empty() => entry.guid = Some(value.to_owned()),
            Some(("S", value)) => entry.size = Some(number(value)?),
            Some(("W", value)) => entry.virtual_size = Some(number(value)?),
            _ => {}
        }
        rest = after;
    }
    let name = if version == Version::Three {
        rest.get(1..).unwrap_or_default()
    } else {
        rest
    };
    entry.base = MaildirName::parse(name).base.to_owned();
    let is_file_name = !entry.base.is_empty() && !entry.base.contains(['/', '\0']);
    is_file_name.then_some(entry).ok_or_else(|| "no file name".to_owned())
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| format!("{text:?} is no number"))
}

/// Entry point for fuzzing: any octets as a uidlist.
pub fn fuzz_uidlist(bytes: &[u8]) {
    let _ = Uidlist::parse(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"3 V1795305476 N8 G90339d030430026b0803000087ad316d\n\
        1 :a,S=592,W=615\n4 Gdeadbeef S1 :b:2,S\nrubbish\n4 :again\n7 S98 W103 :1700000000.M1P1\n8 :being writ";

    #[test]
    fn a_line_that_is_being_appended_waits_for_its_end() {
        let list = Uidlist::parse(LIST).unwrap();
        let uids: Vec<u32> = list.entries.iter().map(|entry| entry.uid.0).collect();
        assert_eq!(uids, [1, 4, 7]);
    }

    #[test]
    fn one_rubbish_line_costs_one_line() {
        let list = Uidlist::parse(LIST).unwrap();
        assert_eq!(
            list.problems.iter().map(|problem| problem.line).collect::<Vec<_>>(),
            [4, 5]
        );
        let entry = list.get(Uid(4)).unwrap();
        assert_eq!((entry.base.as_str(), entry.message_guid().as_str()), ("b", "deadbeef"));
        let entry = list.get(Uid(7)).unwrap();
        assert_eq!((entry.plain_bytes(), entry.body_bytes()), (Some(98), Some(103)));
        assert_eq!(list.get(Uid(1)).unwrap().message_guid().as_str(), "a,S=592,W=615");
        assert_eq!(list.get(Uid(2)), None);
    }

    #[test]
    fn the_first_version_is_still_read() {
        let list = Uidlist::parse(b"1 1275660208 25006\n25005 1276528487.M364837P9451.kurkku,S=1355:2,\n").unwrap();
        assert_eq!(
            (list.uidvalidity, list.uidnext, list.mailbox_guid),
            (UidValidity(1_275_660_208), Uid(25_006), None)
        );
        assert_eq!(list.entries[0].base, "1276528487.M364837P9451.kurkku,S=1355");
        assert!(Uidlist::parse(b"2 V1\n").is_err());
        assert!(Uidlist::parse(b"3 V1 N1").is_err());
    }

    #[test]
    fn a_name_never_leaves_its_directory() {
        let list = Uidlist::parse(b"3 V1 N9\n1 :../../etc/passwd\n2 :\n3\n").unwrap();
        assert!(list.entries.is_empty());
        assert_eq!(list.problems.len(), 3);
    }
}
