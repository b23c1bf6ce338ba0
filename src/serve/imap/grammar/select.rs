//! SELECT and EXAMINE with their parameters (RFC 7162).

use super::scan::{Bad, Scan};
use super::set::SequenceSet;

/// SELECT or EXAMINE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Select {
    pub(in crate::serve::imap) mailbox: Vec<u8>,
    pub(in crate::serve::imap) examine: bool,
    pub(in crate::serve::imap) condstore: bool,
    pub(in crate::serve::imap) known: Option<Known>,
}

/// `QRESYNC (uidvalidity modseq [known-uids [(numbers uids)]])`: what a client remembers. The numbers with their UIDs
/// would only make the answer shorter where expunges were forgotten; they are read and not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::imap) struct Known {
    pub(in crate::serve::imap) uidvalidity: u32,
    pub(in crate::serve::imap) modseq: u64,
    pub(in crate::serve::imap) uids: Option<SequenceSet>,
}

impl Select {
    pub(super) fn parse(scan: &mut Scan<'_>, examine: bool) -> Result<Self, Bad> {
        scan.space()?;
        let mut select = Self {
            mailbox: scan.astring()?,
            examine,
            condstore: false,
            known: None,
        };
        if scan.is_done() {
            return Ok(select);
        }
        scan.space()?;
        scan.list(1, |scan| match scan.keyword().as_str() {
            "CONDSTORE" => {
                select.condstore = true;
                Ok(())
            }
            "QRESYNC" => {
                scan.space()?;
                select.known = Some(known(scan)?);
                Ok(())
            }
            other => Bad::new(format!("Unknown SELECT parameter {other}")),
        })?;
        Ok(select)
    }
}

fn known(scan: &mut Scan<'_>) -> Result<Known, Bad> {
    scan.need(b'(')?;
    let uidvalidity = scan.number()?;
    scan.space()?;
    let modseq = scan.number()?;
    let mut uids = None;
    if !scan.take(b')') {
        scan.space()?;
        if scan.peek() != Some(b'(') {
            uids = Some(SequenceSet::parse(scan)?);
        }
        if scan.take(b' ') {
            scan.need(b'(')?;
            SequenceSet::parse(scan)?;
            scan.space()?;
            SequenceSet::parse(scan)?;
            scan.need(b')')?;
        }
        scan.need(b')')?;
    }
    Ok(Known {
        uidvalidity,
        modseq,
        uids,
    })
}
