//! LIST with its options (RFC 5258 LIST-EXTENDED, RFC 5819 LIST-STATUS, RFC 6154 SPECIAL-USE).

use super::StatusItem;
use super::scan::{Bad, Scan};

/// LIST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::serve::imap) struct List {
    pub(in crate::serve::imap) reference: Vec<u8>,
    pub(in crate::serve::imap) patterns: Vec<Vec<u8>>,
    /// Only subscribed names, whether they exist or not.
    pub(in crate::serve::imap) subscribed: bool,
    /// Also names above those that are selected.
    pub(in crate::serve::imap) recursive: bool,
    /// Only names with a special use.
    pub(in crate::serve::imap) special_use: bool,
    pub(in crate::serve::imap) returns: Option<ListReturn>,
}

/// What LIST tells of each name beyond the usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::serve::imap) struct ListReturn {
    pub(in crate::serve::imap) subscribed: bool,
    pub(in crate::serve::imap) children: bool,
    pub(in crate::serve::imap) special_use: bool,
    pub(in crate::serve::imap) status: Vec<StatusItem>,
}

impl List {
    /// True where the client uses any of the extensions.
    pub(in crate::serve::imap) fn is_extended(&self) -> bool {
        self.subscribed || self.special_use || self.returns.is_some() || self.patterns.len() > 1
    }

    pub(super) fn parse(scan: &mut Scan<'_>) -> Result<Self, Bad> {
        scan.space()?;
        let mut list = Self::default();
        if scan.peek() == Some(b'(') {
            list.select(scan)?;
            scan.space()?;
        }
        list.reference = super::bounded_pattern(scan)?;
        scan.space()?;
        list.patterns = if scan.peek() == Some(b'(') {
            scan.list(1, super::bounded_pattern)?
        } else {
            vec![super::bounded_pattern(scan)?]
        };
        if !scan.is_done() {
            scan.space()?;
            if scan.keyword() != "RETURN" {
                return Bad::new("Unknown LIST parameter");
            }
            scan.space()?;
            list.returns = Some(returns(scan)?);
        }
        Ok(list)
    }

    fn select(&mut self, scan: &mut Scan<'_>) -> Result<(), Bad> {
        scan.list(0, |scan| {
            match scan.keyword().as_str() {
                "SUBSCRIBED" => self.subscribed = true,
                "RECURSIVEMATCH" => self.recursive = true,
                "SPECIAL-USE" => self.special_use = true,
                // there are none
                "REMOTE" => {}
                _ => return Bad::new("Unknown select options"),
            }
            Ok(())
        })?;
        if self.recursive && !self.subscribed && !self.special_use {
            return Bad::new("RECURSIVEMATCH must not be the only selection.");
        }
        Ok(())
    }
}

fn returns(scan: &mut Scan<'_>) -> Result<ListReturn, Bad> {
    let mut returns = ListReturn::default();
    scan.list(0, |scan| {
        match scan.keyword().as_str() {
            "SUBSCRIBED" => returns.subscribed = true,
            "CHILDREN" => returns.children = true,
            "SPECIAL-USE" => returns.special_use = true,
            "STATUS" => {
                scan.space()?;
                returns.status = scan.list(1, StatusItem::parse)?;
            }
            _ => return Bad::new("Unknown return options"),
        }
        Ok(())
    })?;
    Ok(returns)
}
