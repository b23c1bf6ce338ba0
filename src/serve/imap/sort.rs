//! SORT (RFC 5256), answered as SORT or ESEARCH (RFC 5267).

use super::grammar::{Criterion, Sort, SortKey};
use super::letter::{Letter, folded};
use super::search::{Found, check_charset};
use super::session::{Reply, Session, Stop};
use crate::limits::READ_MESSAGES;
use crate::op::Uid;
use crate::store::embedded::view::{Depth, Detail, Listing, MailboxKey, View, ViewError};
use std::cmp::Ordering;
use std::sync::Arc;

impl Session {
    pub(super) async fn sort(&mut self, tag: &str, sort: Sort) -> Result<Reply, Stop> {
        check_charset(Some(&sort.charset))?;
        if sort.key.asks_modseq() {
            self.knows_modseqs();
        }
        let found = self.matching(&sort.key).await?;
        let selected = self.selected()?;
        let (listing, key, criteria) = (Arc::clone(&selected.listing), selected.row.key, sort.criteria);
        let sorted = self
            .read(move |view| sorted(view, key, &listing, &found, &criteria))
            .await?;
        let result = Found::new(self.selected()?, &sorted, sort.uid, sort.key.asks_modseq());
        let answer = match &sort.returns {
            Some(returns) => result.esearch(tag, returns),
            None => result.plain("SORT"),
        };
        let mut kept = sorted;
        kept.sort_unstable();
        self.save(sort.returns.as_deref(), &kept)?;
        self.wire.put(answer);
        if sort.uid {
            self.refresh().await?;
        }
        Reply::ok("Sort completed.")
    }
}

/// What one criterion compares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(String),
}

/// The places in order. Messages that are equal by all criteria keep the mailbox's order; so do those that are gone,
/// before all others.
fn sorted(
    view: &dyn View,
    key: MailboxKey,
    listing: &Listing,
    places: &[usize],
    criteria: &[Criterion],
) -> Result<Vec<usize>, ViewError> {
    let depth = match criteria
        .iter()
        .all(|c| matches!(c.by, SortKey::Arrival | SortKey::Size))
    {
        true => Depth::Detail,
        false => Depth::Header,
    };
    let mut rows: Vec<(usize, Vec<Value>)> = Vec::with_capacity(places.len());
    for chunk in places.chunks(READ_MESSAGES) {
        let uids: Vec<Uid> = chunk.iter().filter_map(|p| listing.uids().get(*p).copied()).collect();
        let mut left = chunk;
        view.visit(key, &uids, depth, &mut |detail, octets| {
            while let Some((place, rest)) = left.split_first() {
                left = rest;
                if listing.uids().get(*place) == Some(&detail.uid) {
                    let letter = Letter::new(octets.as_deref().unwrap_or_default());
                    let values = criteria.iter().map(|c| value(c.by, &detail, &letter));
                    rows.push((*place, values.collect()));
                    break;
                }
                rows.push((*place, Vec::new()));
            }
            true
        })?;
        rows.extend(left.iter().map(|place| (*place, Vec::new())));
    }
    rows.sort_by(|(a_place, a), (b_place, b)| compare(criteria, a, b).then(a_place.cmp(b_place)));
    Ok(rows.into_iter().map(|(place, _)| place).collect())
}

fn compare(criteria: &[Criterion], a: &[Value], b: &[Value]) -> Ordering {
    let mut pairs = criteria.iter().zip(a.iter().zip(b));
    let first = pairs.find_map(|(criterion, (a, b))| {
        let order = if criterion.reverse { b.cmp(a) } else { a.cmp(b) };
        Some(order).filter(|order| order.is_ne())
    });
    first.unwrap_or_else(|| a.is_empty().cmp(&b.is_empty()).reverse())
}

fn value(by: SortKey, detail: &Detail, letter: &Letter<'_>) -> Value {
    let text = |text: String| Value::Text(folded(&text));
    match by {
        SortKey::Arrival => Value::Number(detail.internal_date),
        SortKey::Size => Value::Number(detail.size.unwrap_or(0).cast_signed()),
        SortKey::Date => Value::Number(letter.sent().unwrap_or(detail.internal_date)),
        SortKey::Subject => text(letter.subject().base),
        SortKey::From => text(letter.mailbox("from")),
        SortKey::To => text(letter.mailbox("to")),
        SortKey::Cc => text(letter.mailbox("cc")),
        SortKey::DisplayFrom => text(letter.display("from")),
        SortKey::DisplayTo => text(letter.display("to")),
    }
}
