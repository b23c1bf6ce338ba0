//! What SEARCH asks for (RFC 9051 section 6.4.4; RFC 4731 ESEARCH; RFC 5032 WITHIN; RFC 7162 MODSEQ; RFC 8514 SAVEDATE).

use super::scan::{Bad, Scan};
use super::set::SequenceSet;
use crate::op::Flags;
use time::{Date, Month};

/// SEARCH or UID SEARCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Search {
    pub(in crate::serve::imap) uid: bool,
    /// Present where the client wants an ESEARCH answer; empty means ALL.
    pub(in crate::serve::imap) returns: Option<Vec<Return>>,
    pub(in crate::serve::imap) charset: Option<String>,
    pub(in crate::serve::imap) key: Key,
}

/// Parts of an ESEARCH answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum Return {
    Min,
    Max,
    All,
    Count,
    /// Nothing is answered; the result is kept as `$`.
    Save,
    /// A part of the result, by its places in it: from 1, or from the end.
    Partial {
        first: u32,
        last: u32,
        from_end: bool,
    },
}

/// Which of a message's days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum Day {
    /// INTERNALDATE.
    Received,
    /// The `Date:` field as written.
    Sent,
    /// SAVEDATE.
    Saved,
}

/// One search key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum Key {
    All,
    /// Nothing: `\Recent` is never set here, and there are no thread ids.
    None,
    Numbers(SequenceSet),
    Uids(SequenceSet),
    Flag(Flags),
    Keyword(String),
    Before(Day, Date),
    On(Day, Date),
    Since(Day, Date),
    Larger(u64),
    Smaller(u64),
    /// At least so many seconds ago.
    Older(u32),
    /// At most so many seconds ago.
    Younger(u32),
    Modseq(u64),
    /// Field name in lower case, text.
    Header(String, Vec<u8>),
    Body(Vec<u8>),
    Text(Vec<u8>),
    Guid(String),
    /// EMAILID (RFC 8474).
    EmailId(String),
    Not(Box<Key>),
    Or(Box<Key>, Box<Key>),
    And(Vec<Key>),
}

impl Search {
    pub(super) fn parse(scan: &mut Scan<'_>, uid: bool) -> Result<Self, Bad> {
        scan.space()?;
        let returns = returns(scan)?;
        let charset = match after_keyword(scan, "CHARSET") {
            true => {
                let name = scan.astring()?;
                scan.space().map_err(|_| Bad("Missing search parameters".to_owned()))?;
                Some(String::from_utf8_lossy(&name).to_ascii_uppercase())
            }
            false => None,
        };
        Ok(Self {
            uid,
            returns,
            charset,
            key: keys(scan)?,
        })
    }
}

/// `RETURN (…)` and the space behind it, where it comes next.
pub(super) fn returns(scan: &mut Scan<'_>) -> Result<Option<Vec<Return>>, Bad> {
    if !after_keyword(scan, "RETURN") {
        return Ok(None);
    }
    let list = scan.list(0, returned)?;
    scan.space()?;
    Ok(Some(list))
}

/// One or more keys, to the end.
pub(super) fn keys(scan: &mut Scan<'_>) -> Result<Key, Bad> {
    let mut keys = Vec::new();
    loop {
        keys.push(key(scan)?);
        if !scan.is_done() {
            scan.space()?;
        }
        if scan.is_done() {
            return Ok(Key::And(keys));
        }
    }
}

impl Key {
    /// True where the key, or one within it, asks for MODSEQ.
    pub(in crate::serve::imap) fn asks_modseq(&self) -> bool {
        match self {
            Self::Modseq(_) => true,
            Self::Not(inner) => inner.asks_modseq(),
            Self::Or(a, b) => a.asks_modseq() || b.asks_modseq(),
            Self::And(keys) => keys.iter().any(Self::asks_modseq),
            _ => false,
        }
    }
}

/// Takes `word` and the space behind it where they come next.
fn after_keyword(scan: &mut Scan<'_>, word: &str) -> bool {
    let mut ahead = *scan;
    let found = ahead.keyword() == word && ahead.space().is_ok();
    if found {
        *scan = ahead;
    }
    found
}

fn returned(scan: &mut Scan<'_>) -> Result<Return, Bad> {
    match scan.keyword().as_str() {
        "MIN" => Ok(Return::Min),
        "MAX" => Ok(Return::Max),
        "ALL" => Ok(Return::All),
        "COUNT" => Ok(Return::Count),
        "SAVE" => Ok(Return::Save),
        "PARTIAL" => partial(scan),
        other => Bad::new(format!("Unknown SEARCH return option {other}")),
    }
}

/// `PARTIAL 1:100`, or from the end `-1:-100` (RFC 9394).
fn partial(scan: &mut Scan<'_>) -> Result<Return, Bad> {
    scan.space()?;
    let from_end = scan.take(b'-');
    let a: u32 = scan.number()?;
    scan.need(b':')?;
    if from_end {
        scan.need(b'-')?;
    }
    let b: u32 = scan.number()?;
    if a == 0 || b == 0 {
        return Bad::new("PARTIAL range broken");
    }
    Ok(Return::Partial {
        first: a.min(b),
        last: a.max(b),
        from_end,
    })
}

fn key(scan: &mut Scan<'_>) -> Result<Key, Bad> {
    match scan.peek() {
        Some(b'(') => return scan.nested(|scan| Ok(Key::And(scan.list(1, key)?))),
        Some(b'*' | b'$' | b'0'..=b'9') => return Ok(Key::Numbers(SequenceSet::parse(scan)?)),
        Some(b'"' | b'{') => return Bad::new("Unexpected string as search key"),
        _ => {}
    }
    let word = scan.keyword();
    if let Some(key) = bare(&word) {
        return Ok(key);
    }
    match word.as_str() {
        "NOT" => scan.nested(|scan| Ok(Key::Not(Box::new(next(scan)?)))),
        "OR" => scan.nested(|scan| Ok(Key::Or(Box::new(next(scan)?), Box::new(next(scan)?)))),
        _ => with_argument(&word, scan),
    }
}

fn next(scan: &mut Scan<'_>) -> Result<Key, Bad> {
    scan.space()?;
    key(scan)
}

/// Keys without an argument.
fn bare(word: &str) -> Option<Key> {
    let not = |key| Key::Not(Box::new(key));
    Some(match word {
        "ALL" | "OLD" | "SAVEDATESUPPORTED" => Key::All,
        "NEW" | "RECENT" => Key::None,
        "ANSWERED" => Key::Flag(Flags::ANSWERED),
        "DELETED" => Key::Flag(Flags::DELETED),
        "DRAFT" => Key::Flag(Flags::DRAFT),
        "FLAGGED" => Key::Flag(Flags::FLAGGED),
        "SEEN" => Key::Flag(Flags::SEEN),
        "UNANSWERED" => not(Key::Flag(Flags::ANSWERED)),
        "UNDELETED" => not(Key::Flag(Flags::DELETED)),
        "UNDRAFT" => not(Key::Flag(Flags::DRAFT)),
        "UNFLAGGED" => not(Key::Flag(Flags::FLAGGED)),
        "UNSEEN" => not(Key::Flag(Flags::SEEN)),
        _ => return None,
    })
}

fn with_argument(word: &str, scan: &mut Scan<'_>) -> Result<Key, Bad> {
    let known = scan.peek() == Some(b' ');
    if let Some((day, relation)) = dated(word) {
        scan.space()?;
        return Ok(relation(day, date(scan)?));
    }
    let argument = |scan: &mut Scan<'_>| {
        if known {
            scan.space()
        } else {
            Bad::new("Missing parameter for search key")
        }
    };
    Ok(match word {
        "UID" => {
            argument(scan)?;
            Key::Uids(SequenceSet::parse(scan)?)
        }
        "KEYWORD" | "UNKEYWORD" => {
            argument(scan)?;
            let name = Key::Keyword(String::from_utf8_lossy(scan.word()).into_owned());
            if word == "KEYWORD" {
                name
            } else {
                Key::Not(Box::new(name))
            }
        }
        "LARGER" | "SMALLER" | "OLDER" | "YOUNGER" => {
            argument(scan)?;
            measured(word, scan)?
        }
        "MODSEQ" => {
            argument(scan)?;
            modseq(scan)?
        }
        // searches here are not fuzzy: a match is a match (RFC 6203 leaves the how to the server)
        "FUZZY" => scan.nested(next)?,
        "BODY" | "TEXT" | "X-GUID" | "EMAILID" | "THREADID" | "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => {
            argument(scan)?;
            textual(word, scan.astring()?)
        }
        "HEADER" => {
            argument(scan)?;
            let field = String::from_utf8_lossy(&scan.astring()?).to_ascii_lowercase();
            argument(scan)?;
            Key::Header(field, scan.astring()?)
        }
        _ => return Bad::new(format!("Unknown argument {word}")),
    })
}

fn textual(word: &str, text: Vec<u8>) -> Key {
    match word {
        "BODY" => Key::Body(text),
        "TEXT" => Key::Text(text),
        "X-GUID" => Key::Guid(String::from_utf8_lossy(&text).into_owned()),
        "EMAILID" => Key::EmailId(String::from_utf8_lossy(&text).into_owned()),
        "THREADID" => Key::None,
        field => Key::Header(field.to_ascii_lowercase(), text),
    }
}

fn measured(word: &str, scan: &mut Scan<'_>) -> Result<Key, Bad> {
    let seconds = |n: u64| u32::try_from(n).ok().filter(|n| *n > 0);
    let number = scan.number()?;
    match word {
        "LARGER" => Ok(Key::Larger(number)),
        "SMALLER" => Ok(Key::Smaller(number)),
        "OLDER" => seconds(number).map(Key::Older).ok_or(Bad("Invalid number".to_owned())),
        _ => seconds(number)
            .map(Key::Younger)
            .ok_or(Bad("Invalid number".to_owned())),
    }
}

/// `MODSEQ ["entry" type] n`; the entry makes no difference here, MODSEQs are a message's.
fn modseq(scan: &mut Scan<'_>) -> Result<Key, Bad> {
    if scan.peek() == Some(b'"') {
        scan.string()?;
        scan.space()?;
        scan.word();
        scan.space()?;
    }
    Ok(Key::Modseq(scan.number()?))
}

type Relation = fn(Day, Date) -> Key;

fn dated(word: &str) -> Option<(Day, Relation)> {
    let (day, rest) = match word {
        w if w.starts_with("SENT") => (Day::Sent, w.strip_prefix("SENT")?),
        w if w.starts_with("SAVED") => (Day::Saved, w.strip_prefix("SAVED")?),
        w => (Day::Received, w),
    };
    let relation: Relation = match rest {
        "BEFORE" => Key::Before,
        "ON" => Key::On,
        "SINCE" => Key::Since,
        _ => return None,
    };
    Some((day, relation))
}

/// `"1-Jul-2019"`, with or without quotes.
fn date(scan: &mut Scan<'_>) -> Result<Date, Bad> {
    let text = scan.astring()?;
    let text = String::from_utf8_lossy(&text);
    let mut parts = text.trim().splitn(3, '-');
    let mut part = || parts.next().unwrap_or_default();
    let (day, month, year) = (part().parse(), month(part()), part().parse());
    let found = match (day, month, year) {
        (Ok(day), Some(month), Ok(year)) => Date::from_calendar_date(year, month, day).ok(),
        _ => None,
    };
    found.ok_or_else(|| Bad("Invalid search date parameter".to_owned()))
}

/// Month names as IMAP writes them.
pub(in crate::serve::imap) const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

pub(super) fn month(name: &str) -> Option<Month> {
    let place = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(name))?;
    u8::try_from(place).ok().and_then(|n| Month::try_from(n + 1).ok())
}
