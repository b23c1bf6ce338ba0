//! SORT and THREAD (RFC 5256; RFC 5267 ESORT; RFC 5957 DISPLAYFROM and DISPLAYTO).

use super::scan::{Bad, Scan};
use super::search::{self, Key, Return};

/// SORT or UID SORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Sort {
    pub(in crate::serve::imap) uid: bool,
    /// Present where the client wants an ESEARCH answer; empty means ALL.
    pub(in crate::serve::imap) returns: Option<Vec<Return>>,
    pub(in crate::serve::imap) criteria: Vec<Criterion>,
    pub(in crate::serve::imap) charset: String,
    pub(in crate::serve::imap) key: Key,
}

/// One criterion, those before it being equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Criterion {
    pub(in crate::serve::imap) reverse: bool,
    pub(in crate::serve::imap) by: SortKey,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum SortKey {
    Arrival,
    Cc,
    Date,
    DisplayFrom,
    DisplayTo,
    From,
    Size,
    Subject,
    To,
}

/// THREAD or UID THREAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Thread {
    pub(in crate::serve::imap) uid: bool,
    pub(in crate::serve::imap) algorithm: Algorithm,
    pub(in crate::serve::imap) charset: String,
    pub(in crate::serve::imap) key: Key,
}

/// How messages become threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) enum Algorithm {
    OrderedSubject,
    /// By references, then by subject.
    References,
    /// By references alone, threads by their newest message.
    Refs,
}

impl Sort {
    pub(super) fn parse(scan: &mut Scan<'_>, uid: bool) -> Result<Self, Bad> {
        scan.space()?;
        let returns = search::returns(scan)?;
        let criteria = scan.list(1, criterion)?;
        scan.space()?;
        let charset = charset(scan)?;
        Ok(Self {
            uid,
            returns,
            criteria,
            charset,
            key: search::keys(scan)?,
        })
    }
}

impl Thread {
    pub(super) fn parse(scan: &mut Scan<'_>, uid: bool) -> Result<Self, Bad> {
        scan.space()?;
        let algorithm = match scan.keyword().as_str() {
            "ORDEREDSUBJECT" => Algorithm::OrderedSubject,
            "REFERENCES" => Algorithm::References,
            "REFS" => Algorithm::Refs,
            _ => return Bad::new("Unknown thread algorithm."),
        };
        scan.space()?;
        let charset = charset(scan)?;
        Ok(Self {
            uid,
            algorithm,
            charset,
            key: search::keys(scan)?,
        })
    }
}

fn charset(scan: &mut Scan<'_>) -> Result<String, Bad> {
    let charset = String::from_utf8_lossy(&scan.astring()?).to_ascii_uppercase();
    scan.space()?;
    Ok(charset)
}

fn criterion(scan: &mut Scan<'_>) -> Result<Criterion, Bad> {
    let mut word = scan.keyword();
    let reverse = word == "REVERSE";
    if reverse {
        scan.space()?;
        word = scan.keyword();
    }
    let by = match word.as_str() {
        "ARRIVAL" => SortKey::Arrival,
        "CC" => SortKey::Cc,
        "DATE" => SortKey::Date,
        "DISPLAYFROM" => SortKey::DisplayFrom,
        "DISPLAYTO" => SortKey::DisplayTo,
        "FROM" => SortKey::From,
        "SIZE" => SortKey::Size,
        "SUBJECT" => SortKey::Subject,
        "TO" => SortKey::To,
        _ => return Bad::new("Unknown sort argument."),
    };
    Ok(Criterion { reverse, by })
}
