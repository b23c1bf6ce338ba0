//! APPEND with several messages (RFC 9051 section 6.3.12, RFC 3502, RFC 3516, RFC 6855) and REPLACE (RFC 8508).
//!
//! Of a message the command holds only `{n}` and the end of its line; the octets are kept apart.

use super::flags::FlagList;
use super::scan::{Bad, Scan};
use super::set::SequenceSet;
use crate::serve::imap::line::Literal;
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

/// What is said of a message that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Arrival {
    pub(in crate::serve::imap) flags: FlagList,
    /// INTERNALDATE, UNIX seconds.
    pub(in crate::serve::imap) date: Option<i64>,
    /// As announced.
    pub(in crate::serve::imap) octets: u64,
}

/// APPEND. The last message may be announced only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Append {
    pub(in crate::serve::imap) mailbox: Vec<u8>,
    pub(in crate::serve::imap) messages: Vec<Arrival>,
}

/// REPLACE or UID REPLACE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Replace {
    pub(in crate::serve::imap) uid: bool,
    pub(in crate::serve::imap) set: SequenceSet,
    pub(in crate::serve::imap) mailbox: Vec<u8>,
    pub(in crate::serve::imap) message: Arrival,
}

impl Append {
    pub(super) fn parse(scan: &mut Scan<'_>) -> Result<Self, Bad> {
        scan.space()?;
        let mailbox = scan.astring()?;
        let mut messages = Vec::new();
        while !scan.is_done() {
            scan.space()?;
            messages.push(arrival(scan)?);
        }
        if messages.is_empty() {
            return Bad::new("Missing message size");
        }
        Ok(Self { mailbox, messages })
    }
}

impl Replace {
    pub(super) fn parse(scan: &mut Scan<'_>, uid: bool) -> Result<Self, Bad> {
        scan.space()?;
        let set = SequenceSet::parse(scan)?;
        scan.space()?;
        let mailbox = scan.astring()?;
        scan.space()?;
        let message = arrival(scan)?;
        Ok(Self {
            uid,
            set,
            mailbox,
            message,
        })
    }
}

fn arrival(scan: &mut Scan<'_>) -> Result<Arrival, Bad> {
    let mut flags = FlagList::default();
    if scan.peek() == Some(b'(') {
        flags = FlagList::parenthesised(scan)?;
        scan.space()?;
    }
    let mut date = None;
    if scan.peek() == Some(b'"') {
        date = Some(internal_date(&scan.string()?)?);
        scan.space()?;
    }
    let utf8 = matches!(scan.peek(), Some(b'U' | b'u'));
    if utf8 {
        if scan.keyword() != "UTF8" {
            return Bad::new("Invalid arguments");
        }
        scan.space()?;
        scan.need(b'(')?;
    }
    let octets = announcement(scan)?;
    // an announcement ends the command so far, or its line
    let ended = scan.is_done() || (scan.take(b'\r') && scan.take(b'\n'));
    if !ended || (utf8 && !scan.is_done() && !scan.take(b')')) {
        return Bad::new("Invalid arguments");
    }
    Ok(Arrival { flags, date, octets })
}

/// `{310}`, `{310+}`, `~{310}`
fn announcement(scan: &mut Scan<'_>) -> Result<u64, Bad> {
    scan.take(b'~');
    let literal = Literal::at_end_of(scan.through(b'}')).map(|literal| literal.octets);
    literal.ok_or_else(|| Bad("Missing message size".to_owned()))
}

/// `17-Jul-2019 02:44:25 +0200`; a day below ten may have a space in front.
fn internal_date(text: &[u8]) -> Result<i64, Bad> {
    let invalid = || Bad("Invalid internal date".to_owned());
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    seconds(text).ok_or_else(invalid)
}

fn seconds(text: &str) -> Option<i64> {
    let mut words = text.trim_start().split(' ');
    let (day, clock, zone) = (words.next()?, words.next()?, words.next()?);
    let mut day = day.split('-');
    let (number, month, year) = (day.next()?, super::search::month(day.next()?)?, day.next()?);
    let mut clock = clock.split(':');
    let mut part = || two_digits(clock.next()?);
    let time = Time::from_hms(part()?, part()?, part()?.min(59)).ok()?;
    let whole = year.len() == 4 && day.next().is_none() && clock.next().is_none() && words.next().is_none();
    let date = date(year.parse().ok().filter(|_| whole)?, month, number)?;
    let local = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
    local.checked_sub(i64::from(offset(zone)?.whole_seconds()))
}

fn date(year: i32, month: Month, day: &str) -> Option<Date> {
    let digits = (1..=2).contains(&day.len()) && day.bytes().all(|b| b.is_ascii_digit());
    Date::from_calendar_date(year, month, day.parse().ok().filter(|_| digits)?).ok()
}

fn two_digits(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn offset(zone: &str) -> Option<UtcOffset> {
    let (sign, digits) = zone.split_at_checked(1)?;
    let (hours, minutes) = digits.split_at_checked(2)?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let (hours, minutes) = (i8::try_from(hours).ok()?, i8::try_from(minutes).ok()?);
    match sign {
        "+" => UtcOffset::from_hms(hours, minutes, 0).ok(),
        "-" => UtcOffset::from_hms(-hours, -minutes, 0).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Append, Bad> {
        Append::parse(&mut Scan::new(text.as_bytes()))
    }

    #[test]
    fn messages_are_told_with_their_flags_and_dates() {
        let text =
            " box (\\Seen a) \"17-Jul-2019 02:44:25 +0200\" {5}\r\n \" 1-Jan-1970 00:00:01 +0000\" ~{7+}\r\n {0}";
        let append = parse(text).unwrap();
        assert_eq!(append.mailbox, b"box");
        let told: Vec<_> = append.messages.iter().map(|m| (m.octets, m.date)).collect();
        assert_eq!(told, [(5, Some(1_563_324_265)), (7, Some(1)), (0, None)]);
        assert_eq!(append.messages[0].flags.keywords, ["a".into()]);
    }

    #[test]
    fn utf8_messages_come_in_parentheses() {
        assert_eq!(parse(" x UTF8 (~{5}\r\n) {6}\r\n").unwrap().messages.len(), 2);
        assert!(parse(" x UTF8 (~{5}").is_ok());
        assert!(parse(" x UTF8 (~{5}\r\n {6}\r\n").is_err());
        assert!(parse(" x UTF8 ~{5}\r\n").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_before_the_message_comes() {
        for (text, why) in [
            (" x", "Missing message size"),
            (" x (\\Foo) {5}", "Invalid system flag \\FOO"),
            (" x \"foo\" {5}", "Invalid internal date"),
            (" x \"30-Feb-2020 00:00:00 +0000\" {5}", "Invalid internal date"),
            (" x \"1-Feb-2020 00:00:00\" {5}", "Invalid internal date"),
            (" x {5} y", "Invalid arguments"),
            (" x five", "Missing message size"),
        ] {
            assert_eq!(parse(text), Bad::new(why), "{text}");
        }
    }

    #[test]
    fn a_replacement_has_one_message() {
        let parse = |text: &str| {
            let mut scan = Scan::new(text.as_bytes());
            let replace = Replace::parse(&mut scan, true)?;
            scan.done().map(|()| replace)
        };
        let replace = parse(" 7 Drafts (\\Draft) {12}\r\n").unwrap();
        assert_eq!(
            (replace.mailbox.as_slice(), replace.message.octets),
            (b"Drafts".as_slice(), 12)
        );
        assert!(parse(" 7 Drafts {12}\r\n {3}\r\n").is_err());
    }
}
