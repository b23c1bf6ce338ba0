//! Flags and keywords as clients write them, in APPEND and STORE.

use super::scan::{Bad, Scan, is_atom};
use crate::limits::KEYWORD_BYTES_MAX;
use crate::op::{Flags, Keyword};

/// System flags and keywords, each keyword once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::serve::imap) struct FlagList {
    pub(in crate::serve::imap) flags: Flags,
    pub(in crate::serve::imap) keywords: Vec<Keyword>,
}

impl FlagList {
    /// `(\Seen work)`
    pub(super) fn parenthesised(scan: &mut Scan<'_>) -> Result<Self, Bad> {
        let mut list = Self::default();
        scan.list(0, |scan| list.add(scan))?;
        Ok(list)
    }

    /// `(\Seen work)`, or `\Seen work` up to the end.
    pub(super) fn parse(scan: &mut Scan<'_>) -> Result<Self, Bad> {
        if scan.peek() == Some(b'(') {
            return Self::parenthesised(scan);
        }
        let mut list = Self::default();
        list.add(scan)?;
        while !scan.is_done() {
            scan.space()?;
            if !scan.is_done() {
                list.add(scan)?;
            }
        }
        Ok(list)
    }

    fn add(&mut self, scan: &mut Scan<'_>) -> Result<(), Bad> {
        let system = scan.take(b'\\');
        let word = scan.flag_word();
        if word.is_empty() {
            return Bad::new("Flags list contains non-atoms");
        }
        let word = String::from_utf8_lossy(word).into_owned();
        if system {
            self.flags = self.flags.changed(system_flag(&word)?, Flags::NONE);
        } else if word.len() > KEYWORD_BYTES_MAX {
            return Bad::new("Keyword too long");
        } else if !self.keywords.iter().any(|known| known.0.eq_ignore_ascii_case(&word)) {
            self.keywords.push(Keyword(word));
        }
        Ok(())
    }
}

fn system_flag(word: &str) -> Result<Flags, Bad> {
    let named = |(_, name): &&(Flags, &str)| name.strip_prefix('\\').is_some_and(|n| n.eq_ignore_ascii_case(word));
    let found = Flags::NAMED.iter().find(named);
    found
        .map(|(flag, _)| *flag)
        .ok_or_else(|| Bad(format!("Invalid system flag \\{}", word.to_ascii_uppercase())))
}

impl<'a> Scan<'a> {
    /// A keyword, which may hold a `]` (Dovecot takes such).
    fn flag_word(&mut self) -> &'a [u8] {
        self.while_in(|b| is_atom(b) || b == b']')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<FlagList, Bad> {
        let mut scan = Scan::new(text.as_bytes());
        let list = FlagList::parse(&mut scan)?;
        scan.done()?;
        Ok(list)
    }

    #[test]
    fn flags_are_read_with_and_without_parentheses_and_each_once() {
        let expected = FlagList {
            flags: Flags::SEEN.changed(Flags::DRAFT, Flags::NONE),
            keywords: vec!["$Junk".into(), "work".into()],
        };
        for text in ["(\\seen $Junk work \\Draft WORK)", "\\SEEN $Junk \\Draft work"] {
            assert_eq!(list(text), Ok(expected.clone()), "{text}");
        }
        assert_eq!(list("()"), Ok(FlagList::default()));
    }

    #[test]
    fn what_is_no_flag_is_named() {
        for (text, why) in [
            ("(\\Foo)", "Invalid system flag \\FOO"),
            ("(\\Recent)", "Invalid system flag \\RECENT"),
            ("(a (b))", "Flags list contains non-atoms"),
            ("(a", "Missing ')'"),
            ("", "Flags list contains non-atoms"),
        ] {
            assert_eq!(list(text), Bad::new(why), "{text}");
        }
    }
}
