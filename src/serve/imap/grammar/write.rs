//! Commands that change flags, messages and folders.

use super::Command;
use super::flags::FlagList;
use super::scan::{Bad, Scan};
use super::set::SequenceSet;
use crate::store::change::FlagVerb;

/// STORE or UID STORE (RFC 9051 section 6.4.6, RFC 7162 section 3.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Store {
    pub(in crate::serve::imap) uid: bool,
    pub(in crate::serve::imap) set: SequenceSet,
    pub(in crate::serve::imap) verb: FlagVerb,
    pub(in crate::serve::imap) silent: bool,
    pub(in crate::serve::imap) list: FlagList,
    pub(in crate::serve::imap) unchanged_since: Option<u64>,
}

/// COPY, MOVE and their UID forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Copy {
    pub(in crate::serve::imap) uid: bool,
    pub(in crate::serve::imap) set: SequenceSet,
    pub(in crate::serve::imap) mailbox: Vec<u8>,
    pub(in crate::serve::imap) moved: bool,
}

impl Store {
    pub(super) fn parse(scan: &mut Scan<'_>, uid: bool) -> Result<Self, Bad> {
        scan.space()?;
        let set = SequenceSet::parse(scan)?;
        scan.space()?;
        let unchanged_since = if scan.peek() == Some(b'(') {
            let since = modifiers(scan)?;
            scan.space()?;
            since
        } else {
            None
        };
        let (verb, silent) = verb(scan)?;
        scan.space()?;
        let list = FlagList::parse(scan)?;
        Ok(Self {
            uid,
            set,
            verb,
            silent,
            list,
            unchanged_since,
        })
    }
}

fn modifiers(scan: &mut Scan<'_>) -> Result<Option<u64>, Bad> {
    let mut since = None;
    scan.list(1, |scan| match scan.keyword().as_str() {
        "UNCHANGEDSINCE" => {
            scan.space()?;
            let number = scan
                .number()
                .map_err(|_| Bad("Invalid UNCHANGEDSINCE modseq.".to_owned()))?;
            since = Some(number);
            Ok(())
        }
        _ => Bad::new("Unknown STORE modifier"),
    })?;
    Ok(since)
}

fn verb(scan: &mut Scan<'_>) -> Result<(FlagVerb, bool), Bad> {
    let word = scan.keyword();
    let (verb, item) = match word.strip_prefix('+') {
        Some(item) => (FlagVerb::Add, item),
        None => match word.strip_prefix('-') {
            Some(item) => (FlagVerb::Remove, item),
            None => (FlagVerb::Replace, word.as_str()),
        },
    };
    match item {
        "FLAGS" => Ok((verb, false)),
        "FLAGS.SILENT" => Ok((verb, true)),
        _ => Bad::new("Invalid arguments"),
    }
}

pub(super) fn copy(scan: &mut Scan<'_>, uid: bool, moved: bool) -> Result<Command, Bad> {
    scan.space()?;
    let set = SequenceSet::parse(scan)?;
    scan.space()?;
    Ok(Command::Copy(Copy {
        uid,
        set,
        mailbox: scan.astring()?,
        moved,
    }))
}

/// `CREATE name [(USE (\Sent))]` (RFC 6154 section 3). Of several uses the first counts.
pub(super) fn create(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    scan.space()?;
    let mailbox = scan.astring()?;
    let mut special_use = None;
    if !scan.is_done() {
        scan.space()?;
        scan.list(0, |scan| {
            if scan.keyword() != "USE" {
                return Bad::new("Unknown CREATE parameter");
            }
            scan.space()?;
            let uses = scan.list(0, special)?;
            special_use = uses.into_iter().next();
            Ok(())
        })?;
    }
    Ok(Command::Create { mailbox, special_use })
}

fn special(scan: &mut Scan<'_>) -> Result<String, Bad> {
    scan.need(b'\\')?;
    let word = String::from_utf8_lossy(scan.word()).into_owned();
    if word.is_empty() {
        return Bad::new("Invalid special-use attribute");
    }
    Ok(format!("\\{word}"))
}

pub(super) fn mailbox(scan: &mut Scan<'_>) -> Result<Vec<u8>, Bad> {
    scan.space()?;
    scan.astring()
}

pub(super) fn uid_expunge(scan: &mut Scan<'_>) -> Result<Command, Bad> {
    scan.space()?;
    Ok(Command::Expunge(Some(SequenceSet::parse(scan)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(text: &str) -> Result<Store, Bad> {
        let mut scan = Scan::new(text.as_bytes());
        let store = Store::parse(&mut scan, false)?;
        scan.done().map(|()| store)
    }

    #[test]
    fn the_three_verbs_are_told_apart() {
        for (text, verb, silent) in [
            (" 1 FLAGS (a)", FlagVerb::Replace, false),
            (" 1 +flags.silent \\Seen", FlagVerb::Add, true),
            (" 1:* -FLAGS ()", FlagVerb::Remove, false),
        ] {
            let store = store(text).unwrap();
            assert_eq!((store.verb, store.silent), (verb, silent), "{text}");
        }
        assert!(store(" 1 FOO (a)").is_err() && store(" 1 FLAGS").is_err() && store(" FLAGS (a)").is_err());
    }

    #[test]
    fn a_condition_is_read() {
        assert_eq!(
            store(" 1 (UNCHANGEDSINCE 12) FLAGS a").unwrap().unchanged_since,
            Some(12)
        );
        assert!(store(" 1 (UNCHANGEDSINCE x) FLAGS a").is_err() && store(" 1 (FOO 1) FLAGS a").is_err());
    }

    #[test]
    fn a_folder_may_be_made_for_a_use() {
        let create = |text: &str| create(&mut Scan::new(text.as_bytes()));
        let made = |mailbox: &[u8], special_use: Option<&str>| Command::Create {
            mailbox: mailbox.to_vec(),
            special_use: special_use.map(str::to_owned),
        };
        assert_eq!(create(" x"), Ok(made(b"x", None)));
        assert_eq!(create(" x (USE (\\Sent \\Junk))"), Ok(made(b"x", Some("\\Sent"))));
        assert!(create(" x (FOO)").is_err());
    }
}
