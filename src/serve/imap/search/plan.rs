//! A search key made ready, and asked about one message as far as that has been read.
//!
//! Each message is asked with what is cheapest first: its marks, then its detail, its header, its octets. A plan answers
//! yes, no, or that it needs more.

use crate::serve::imap::fetch::email_id;
use crate::serve::imap::grammar::{Day, Key};
use crate::serve::imap::mail::{SearchText, fold};
use crate::serve::imap::selected::Selected;
use crate::store::embedded::view::{Depth, Detail, MailboxKey, Mark};
use std::cell::OnceCell;
use std::ops::Range;
use time::{Date, OffsetDateTime};

/// Sets resolved to places, texts folded.
pub(super) enum Plan {
    Places(Vec<Range<usize>>),
    Test(Key),
    Text(Texts, String),
    Not(Box<Plan>),
    Or(Box<Plan>, Box<Plan>),
    And(Vec<Plan>),
}

pub(super) enum Texts {
    Header(String),
    Body,
    Anywhere,
}

/// What is known of a message.
pub(super) struct Facts<'a> {
    pub(super) key: MailboxKey,
    pub(super) place: usize,
    pub(super) mark: Mark<'a>,
    /// UNIX seconds.
    pub(super) now: i64,
    pub(super) detail: Option<&'a Detail>,
    /// How much of the octets was read.
    pub(super) depth: Option<Depth>,
    /// None while the body is pending: such a message holds no text.
    pub(super) octets: Option<&'a [u8]>,
    pub(super) text: OnceCell<SearchText<'a>>,
}

impl Plan {
    pub(super) fn new(selected: &Selected, key: &Key) -> Self {
        let folded = |text: &[u8]| fold(&String::from_utf8_lossy(text));
        let again = |key: &Key| Box::new(Self::new(selected, key));
        match key {
            Key::Numbers(set) => Self::Places(selected.places(set, false)),
            Key::Uids(set) => Self::Places(selected.places(set, true)),
            Key::Header(name, text) => Self::Text(Texts::Header(name.clone()), folded(text)),
            Key::Body(text) => Self::Text(Texts::Body, folded(text)),
            Key::Text(text) => Self::Text(Texts::Anywhere, folded(text)),
            Key::Not(inner) => Self::Not(again(inner)),
            Key::Or(a, b) => Self::Or(again(a), again(b)),
            Key::And(keys) => Self::And(keys.iter().map(|key| Self::new(selected, key)).collect()),
            other => Self::Test(other.clone()),
        }
    }

    /// True or false, or none where more must be read to tell.
    pub(super) fn matches(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Self::Places(places) => {
                let at = places.partition_point(|range| range.end <= facts.place);
                Some(places.get(at).is_some_and(|range| range.contains(&facts.place)))
            }
            Self::Test(key) => facts.test(key),
            Self::Text(texts, wanted) => facts.holds(texts, wanted),
            Self::Not(inner) => inner.matches(facts).map(|found| !found),
            Self::Or(a, b) => match (a.matches(facts), b.matches(facts)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::And(plans) => {
                let mut all = Some(true);
                for plan in plans {
                    match plan.matches(facts) {
                        Some(true) => {}
                        Some(false) => return Some(false),
                        None => all = None,
                    }
                }
                all
            }
        }
    }
}

impl<'a> Facts<'a> {
    /// What the listing says; `now` in UNIX seconds.
    pub(super) fn of_mark(key: MailboxKey, now: i64, place: usize, mark: Mark<'a>) -> Self {
        Self {
            key,
            place,
            mark,
            now,
            detail: None,
            depth: None,
            octets: None,
            text: OnceCell::new(),
        }
    }

    fn test(&self, key: &Key) -> Option<bool> {
        let mark = self.mark;
        match key {
            Key::All => Some(true),
            Key::Flag(flag) => Some(mark.flags.contains(*flag)),
            Key::Keyword(name) => Some(mark.keywords.iter().any(|k| k.0.eq_ignore_ascii_case(name))),
            Key::Modseq(n) => Some(mark.modseq.0 >= *n),
            Key::Before(Day::Sent, _) | Key::On(Day::Sent, _) | Key::Since(Day::Sent, _) => {
                self.depth.filter(|depth| *depth >= Depth::Header)?;
                // a day that can't be read counts as the first of all, as Dovecot takes it
                let text = self.text();
                let sent = text.map(|text| text.sent().unwrap_or(OffsetDateTime::UNIX_EPOCH.date()));
                Some(sent.is_some_and(|sent| on_day(key, sent)))
            }
            other => self.detail.map(|detail| self.test_detail(other, detail)),
        }
    }

    fn test_detail(&self, key: &Key, detail: &Detail) -> bool {
        let size = |than: &dyn Fn(u64) -> bool| detail.size.is_some_and(than);
        let age = self.now.saturating_sub(detail.internal_date);
        match key {
            Key::Larger(n) => size(&|s| s > *n),
            Key::Smaller(n) => size(&|s| s < *n),
            Key::Older(seconds) => age >= i64::from(*seconds),
            Key::Younger(seconds) => age <= i64::from(*seconds),
            Key::Guid(guid) => detail.guid.0 == *guid,
            Key::EmailId(id) => email_id(detail, self.key) == *id,
            Key::Before(day, _) | Key::On(day, _) | Key::Since(day, _) => {
                let at = match day {
                    Day::Received => Some(detail.internal_date),
                    _ => detail.save_date,
                };
                let date = at.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
                date.is_some_and(|date| on_day(key, date.date()))
            }
            // nothing is recent; the others have plans of their own
            _ => false,
        }
    }

    fn holds(&self, texts: &Texts, wanted: &str) -> Option<bool> {
        let needed = match texts {
            Texts::Header(_) => Depth::Header,
            Texts::Body | Texts::Anywhere => Depth::Whole,
        };
        self.depth.filter(|depth| *depth >= needed)?;
        let Some(text) = self.text() else { return Some(false) };
        Some(match texts {
            Texts::Header(name) => text.header(name, wanted),
            Texts::Body => text.body(wanted),
            Texts::Anywhere => text.anywhere(wanted),
        })
    }

    fn text(&self) -> Option<&SearchText<'a>> {
        let octets = self.octets?;
        Some(self.text.get_or_init(|| SearchText::new(octets)))
    }
}

fn on_day(key: &Key, date: Date) -> bool {
    match key {
        Key::Before(_, day) => date < *day,
        Key::On(_, day) => date == *day,
        Key::Since(_, day) => date >= *day,
        _ => false,
    }
}
