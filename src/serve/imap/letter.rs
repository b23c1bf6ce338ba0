//! What SORT and THREAD compare of a message's header: decoded, and cut down to what counts (RFC 5256 section 2.1). Pure.

use super::mail::{Fields, addresses, fold, unfold};
use crate::limits::REFERENCES_MAX;
use mail_parser::parsers::MessageStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A message's header.
pub(super) struct Letter<'a>(&'a [u8]);

/// A subject without what answering and forwarding add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) base: String,
    /// True where something was taken off: the message answers or forwards another.
    pub(super) is_reply: bool,
}

impl<'a> Letter<'a> {
    /// Of octets that hold the header.
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The first field of that name, on one line.
    fn field(&self, name: &str) -> Option<Vec<u8>> {
        let field = Fields(self.0).find(|f| f.name.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(unfold(field.value))
    }

    /// UNIX seconds of the `Date` field; none where it can't be read.
    pub(super) fn sent(&self) -> Option<i64> {
        let value = self.field("date")?;
        let parse = AssertUnwindSafe(|| MessageStream::new(&with_end(&value)).parse_date().into_datetime());
        let date = catch_unwind(parse).ok().flatten()?;
        date.is_valid().then(|| date.to_timestamp())
    }

    pub(super) fn subject(&self) -> Subject {
        let value = self.field("subject").unwrap_or_default();
        Subject::of(&decoded(&value))
    }

    /// The local part of the first address of that field.
    pub(super) fn mailbox(&self, field: &str) -> String {
        let value = self.field(field).unwrap_or_default();
        let first = addresses(&value).into_iter().next();
        let mailbox = first.and_then(|address| address.mailbox).unwrap_or_default();
        String::from_utf8_lossy(&mailbox).into_owned()
    }

    /// The name of the first address of that field; the address itself where it has none.
    pub(super) fn display(&self, field: &str) -> String {
        let value = self.field(field).unwrap_or_default();
        let Some(first) = addresses(&value).into_iter().next() else {
            return String::new();
        };
        match first.name.filter(|name| !name.is_empty()) {
            Some(name) => decoded(&name),
            None => {
                let part = |part: Option<Vec<u8>>| String::from_utf8_lossy(&part.unwrap_or_default()).into_owned();
                format!("{}@{}", part(first.mailbox), part(first.host))
            }
        }
    }

    /// The message's own id.
    pub(super) fn id(&self) -> Option<Vec<u8>> {
        self.field("message-id")
            .and_then(|value| ids(&value).into_iter().next())
    }

    /// Ids of the messages before it in its thread, the oldest first: `References`, or else the first of `In-Reply-To`.
    pub(super) fn references(&self) -> Vec<Vec<u8>> {
        let references = self.field("references").map(|value| ids(&value)).unwrap_or_default();
        if !references.is_empty() {
            return references;
        }
        let answered = self.field("in-reply-to").map(|value| ids(&value)).unwrap_or_default();
        answered.into_iter().take(1).collect()
    }
}

/// `<a@b> <c@d>` → `a@b`, `c@d`. What is no id is passed over.
fn ids(value: &[u8]) -> Vec<Vec<u8>> {
    let mut ids: Vec<Vec<u8>> = Vec::new();
    for piece in value.split(|b| *b == b'<').skip(1) {
        let Some(end) = piece.iter().position(|b| *b == b'>') else {
            continue;
        };
        let id: Vec<u8> = piece
            .iter()
            .take(end)
            .copied()
            .filter(|b| !b" \t".contains(b))
            .collect();
        if id.contains(&b'@') && !ids.contains(&id) {
            ids.push(id);
        }
        if ids.len() >= REFERENCES_MAX {
            break;
        }
    }
    ids
}

fn with_end(value: &[u8]) -> Vec<u8> {
    [value, b"\r\n"].concat()
}

/// Encoded words (RFC 2047) as text.
fn decoded(value: &[u8]) -> String {
    let plain = || String::from_utf8_lossy(value).into_owned();
    if !value.windows(2).any(|w| w == b"=?") {
        return plain();
    }
    // the decoder has panicked on corrupt mail before
    let parse = AssertUnwindSafe(|| {
        let line = with_end(value);
        let text = MessageStream::new(&line).parse_unstructured();
        text.as_text().map(str::to_owned)
    });
    catch_unwind(parse).ok().flatten().unwrap_or_else(plain)
}

/// Text as it is compared: case doesn't count.
pub(super) fn folded(text: &str) -> String {
    fold(text).to_uppercase()
}

impl Subject {
    /// The steps of RFC 5256 section 2.1, until nothing more comes off.
    pub(super) fn of(subject: &str) -> Self {
        let words: Vec<&str> = subject.split_whitespace().collect();
        let mut rest = words.join(" ");
        let mut is_reply = false;
        loop {
            let before = rest.clone();
            while let Some(shorter) = without_trailer(&rest) {
                rest = shorter;
                is_reply = true;
            }
            while let Some(shorter) = without_leader(&rest, &mut is_reply).or_else(|| without_blob(&rest)) {
                rest = shorter;
            }
            if let Some(inner) = forwarded(&rest) {
                rest = inner;
                is_reply = true;
            }
            if rest == before {
                return Self { base: rest, is_reply };
            }
        }
    }
}

/// Without `(fwd)` and blanks at the end.
fn without_trailer(text: &str) -> Option<String> {
    let trimmed = text.trim_end();
    let shorter = match trimmed.len().checked_sub(5).and_then(|at| trimmed.split_at_checked(at)) {
        Some((before, end)) if end.eq_ignore_ascii_case("(fwd)") => before.trim_end(),
        _ => return None,
    };
    Some(shorter.to_owned())
}

/// Without `Re:`, `Fw[x]:` and blanks at the start, and list names before these.
fn without_leader(text: &str, is_reply: &mut bool) -> Option<String> {
    let text = text.trim_start();
    let mut rest = text;
    while let Some(after) = behind_blob(rest) {
        rest = after;
    }
    let lower = rest.get(..3).unwrap_or(rest).to_ascii_lowercase();
    let length = match lower.as_str() {
        "fwd" => 3,
        l if l.starts_with("re") || l.starts_with("fw") => 2,
        _ => return None,
    };
    let mut rest = rest.get(length..)?.trim_start();
    if let Some(after) = behind_blob(rest) {
        rest = after;
    }
    let rest = rest.strip_prefix(':')?;
    *is_reply = true;
    Some(rest.trim_start().to_owned())
}

/// Without a `[list name]` at the start, where something is left.
fn without_blob(text: &str) -> Option<String> {
    let rest = behind_blob(text.trim_start())?;
    (!rest.is_empty()).then(|| rest.to_owned())
}

/// What follows a `[…]` and its blanks.
fn behind_blob(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[')?;
    let (blob, rest) = inside.split_once(']')?;
    (!blob.contains('[')).then(|| rest.trim_start())
}

/// What stands within `[fwd: …]`.
fn forwarded(text: &str) -> Option<String> {
    let (start, rest) = text.split_at_checked(5)?;
    if !start.eq_ignore_ascii_case("[fwd:") {
        return None;
    }
    Some(rest.strip_suffix(']')?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_cut_down_to_what_was_first_written() {
        for (subject, base, is_reply) in [
            ("hello", "hello", false),
            ("Re: hello", "hello", true),
            ("RE [2]:  hello  world (fwd) ", "hello world", true),
            ("[list] hello", "hello", false),
            ("[list] Re: [list] hello", "hello", true),
            ("[fwd: Re: hello]", "hello", true),
            ("Fwd: Fw: hello (FWD) (fwd)", "hello", true),
            ("[only]", "[only]", false),
            ("Re: [only]", "[only]", true),
            ("reply", "reply", false),
            ("", "", false),
            ("Re:", "", true),
        ] {
            let expected = Subject {
                base: base.to_owned(),
                is_reply,
            };
            assert_eq!(Subject::of(subject), expected, "{subject}");
        }
    }

    #[test]
    fn what_counts_is_read_from_folded_and_encoded_fields() {
        let header = b"From: =?utf-8?q?J=C3=BCrgen?= <j@x.org>\r\nTo: bare@y.org\r\nSubject: =?utf-8?b?UmU6IGdyw7xu?=\r\n\
            Date: Tue, 1 Feb 2022 03:04:05 +0100\r\nMessage-ID: <1@x>\r\nReferences: <a@b> junk\r\n <c@d> <a@b>\r\n\r\n";
        let letter = Letter::new(header);
        assert_eq!(letter.display("from"), "Jürgen");
        assert_eq!(
            (letter.mailbox("from"), letter.display("to")),
            ("j".into(), "bare@y.org".into())
        );
        assert_eq!(
            (letter.subject().base.as_str(), letter.subject().is_reply),
            ("grün", true)
        );
        assert_eq!(letter.sent(), Some(1_643_681_045));
        assert_eq!(letter.id().unwrap(), b"1@x");
        assert_eq!(letter.references(), [b"a@b".to_vec(), b"c@d".to_vec()]);
        let none = Letter::new(b"Date: nonsense\r\n\r\n");
        assert_eq!((none.sent(), none.id(), none.references().len()), (None, None, 0));
    }

    proptest::proptest! {
        #[test]
        fn any_subject_has_a_base_that_is_its_own_base(subject: String) {
            let base = Subject::of(&subject).base;
            let again = Subject::of(&base);
            proptest::prop_assert_eq!((again.base, again.is_reply), (base, false));
        }

        #[test]
        fn any_octets_are_a_letter(octets: Vec<u8>) {
            let letter = Letter::new(&octets);
            let _ = (letter.sent(), letter.subject(), letter.display("from"), letter.id(), letter.references());
        }
    }
}
