//! SEARCH (RFC 9051 section 6.4.4), answered as SEARCH or ESEARCH (RFC 4731), with SAVE (RFC 5182) and PARTIAL
//! (RFC 9394). Runs on a blocking thread; a message is read no further than its keys need.

mod plan;

use super::grammar::{Key, Return, Search, compact};
use super::selected::Selected;
use super::session::{Enabled, Reply, Session, Stop};
use crate::limits::READ_MESSAGES;
use crate::op::Uid;
use crate::store::embedded::view::{Depth, Listing, MailboxKey, View, ViewError};
use plan::{Facts, Plan};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

impl Session {
    pub(super) async fn search(&mut self, tag: &str, search: Search) -> Result<Reply, Stop> {
        check_charset(search.charset.as_deref())?;
        if search.key.asks_modseq() {
            self.knows_modseqs();
        }
        let found = self.matching(&search.key).await?;
        let selected = self.selected()?;
        let result = Found::new(selected, &found, search.uid, search.key.asks_modseq());
        let returns = returns(search.returns, self.enabled);
        let answer = match &returns {
            Some(returns) => result.esearch(tag, returns),
            None => result.plain("SEARCH"),
        };
        self.save(returns.as_deref(), &found)?;
        self.wire.put(answer);
        if search.uid {
            self.refresh().await?;
        }
        Reply::ok("Search completed.")
    }

    /// Places of the messages that match, ascending.
    pub(super) async fn matching(&mut self, key: &Key) -> Result<Vec<usize>, Stop> {
        let selected = self.selected()?;
        let plan = Plan::new(selected, key);
        let (listing, key) = (Arc::clone(&selected.listing), selected.row.key);
        self.read(move |view| find(view, key, &listing, &plan)).await
    }

    /// Keeps what SAVE asks to keep: all, or only the ends where only those are asked for.
    pub(super) fn save(&mut self, returns: Option<&[Return]>, found: &[usize]) -> Result<(), Stop> {
        let Some(returns) = returns.filter(|returns| returns.contains(&Return::Save)) else {
            return Ok(());
        };
        let asked = |what: &Return| returns.contains(what);
        let ends = (asked(&Return::Min) || asked(&Return::Max)) && !asked(&Return::All) && !asked(&Return::Count);
        let selected = self.selected_mut()?;
        let uids = selected.listing.uids();
        let mut saved: Vec<Uid> = found.iter().filter_map(|place| uids.get(*place).copied()).collect();
        if ends {
            let first = saved.first().copied().filter(|_| asked(&Return::Min));
            let last = saved.last().copied().filter(|_| asked(&Return::Max));
            saved = first.into_iter().chain(last).collect();
            saved.dedup();
        }
        selected.saved = Arc::new(saved);
        Ok(())
    }
}

/// A charset of texts that is known here.
pub(super) fn check_charset(name: Option<&str>) -> Result<(), Stop> {
    if name.is_none_or(|name| ["UTF-8", "US-ASCII"].contains(&name)) {
        return Ok(());
    }
    let text = "[BADCHARSET (UTF-8 US-ASCII)] Unknown charset";
    Err(Stop::Reply(Reply::No(text.to_owned())))
}

/// IMAP4rev2 has no other answer than ESEARCH.
fn returns(asked: Option<Vec<Return>>, enabled: Enabled) -> Option<Vec<Return>> {
    asked.or(enabled.rev2.then(Vec::new))
}

fn find(view: &dyn View, key: MailboxKey, listing: &Listing, plan: &Plan) -> Result<Vec<usize>, ViewError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (mut found, mut open) = (Vec::new(), Vec::new());
    for (place, mark) in listing.iter().enumerate() {
        match plan.matches(&Facts::of_mark(key, now, place, mark)) {
            Some(true) => found.push(place),
            Some(false) => {}
            None => open.push(place),
        }
    }
    for depth in [Depth::Detail, Depth::Header, Depth::Whole] {
        let mut still_open = Vec::new();
        for places in open.chunks(READ_MESSAGES) {
            let uids: Vec<Uid> = places.iter().filter_map(|p| listing.uids().get(*p).copied()).collect();
            view.visit(key, &uids, depth, &mut |detail, octets| {
                let place = listing.uids().binary_search(&detail.uid);
                let Some((place, mark)) = place.ok().and_then(|p| Some((p, listing.get(p)?))) else {
                    return true;
                };
                let facts = Facts {
                    detail: Some(&detail),
                    depth: Some(depth),
                    octets: octets.as_deref(),
                    ..Facts::of_mark(key, now, place, mark)
                };
                match plan.matches(&facts) {
                    Some(true) => found.push(place),
                    Some(false) => {}
                    None => still_open.push(place),
                }
                true
            })?;
        }
        open = still_open;
    }
    found.sort_unstable();
    Ok(found)
}

/// What was found, as it is answered: message numbers or UIDs, in the order of the answer.
pub(super) struct Found {
    uid: bool,
    numbers: Vec<u32>,
    highest: Option<u64>,
}

impl Found {
    pub(super) fn new(selected: &Selected, places: &[usize], uid: bool, modseq: bool) -> Self {
        let marks = || places.iter().filter_map(|place| selected.listing.get(*place));
        let number = |place: &usize| u32::try_from(place.saturating_add(1)).ok();
        Self {
            uid,
            numbers: if uid {
                marks().map(|mark| mark.uid.0).collect()
            } else {
                places.iter().filter_map(number).collect()
            },
            highest: marks().map(|mark| mark.modseq.0).max().filter(|_| modseq),
        }
    }

    /// `* SEARCH 1 2`
    pub(super) fn plain(&self, verb: &str) -> String {
        let mut text = format!("* {verb}");
        for number in &self.numbers {
            text.push(' ');
            text.push_str(&number.to_string());
        }
        if let Some(highest) = self.highest {
            text.push_str(&format!(" (MODSEQ {highest})"));
        }
        text.push_str("\r\n");
        text
    }

    /// `* ESEARCH (TAG "a") UID MIN 1 …`; nothing where only SAVE was asked for.
    pub(super) fn esearch(&self, tag: &str, returns: &[Return]) -> String {
        if returns == [Return::Save] {
            return String::new();
        }
        let nothing = returns.iter().all(|what| *what == Return::Save);
        let asked = |what: Return| returns.contains(&what) || (nothing && what == Return::All);
        let mut text = format!("* ESEARCH (TAG {})", quoted(tag));
        if self.uid {
            text.push_str(" UID");
        }
        if let (Some(first), Some(last)) = (self.numbers.first(), self.numbers.last()) {
            if asked(Return::Min) {
                text.push_str(&format!(" MIN {first}"));
            }
            if asked(Return::Max) {
                text.push_str(&format!(" MAX {last}"));
            }
            if asked(Return::All) {
                text.push_str(&format!(" ALL {}", compact(&self.numbers)));
            }
        }
        for what in returns {
            text.push_str(&self.partial(*what).unwrap_or_default());
        }
        if asked(Return::Count) {
            text.push_str(&format!(" COUNT {}", self.numbers.len()));
        }
        if let Some(highest) = self.highest {
            text.push_str(&format!(" MODSEQ {highest}"));
        }
        text.push_str("\r\n");
        text
    }

    /// ` PARTIAL (1:2 4,7)`
    fn partial(&self, what: Return) -> Option<String> {
        let Return::Partial { first, last, from_end } = what else {
            return None;
        };
        let place = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let (skipped, end) = (place(first).saturating_sub(1), place(last).min(self.numbers.len()));
        let range = if from_end {
            self.numbers.len().saturating_sub(end)..self.numbers.len().saturating_sub(skipped)
        } else {
            skipped..end
        };
        let part = self.numbers.get(range).unwrap_or_default();
        let sign = if from_end { "-" } else { "" };
        let set = if part.is_empty() {
            "NIL".to_owned()
        } else {
            compact(part)
        };
        Some(format!(" PARTIAL ({sign}{first}:{sign}{last} {set})"))
    }
}

/// A tag between quotes; it holds neither these nor backslashes.
fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}
