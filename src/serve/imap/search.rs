//! SEARCH (RFC 9051 section 6.4.4), answered as SEARCH or ESEARCH (RFC 4731). Runs on a blocking thread; a message's
//! octets are read only where its other keys leave it possible.

use super::fetch::uid_places;
use super::grammar::{Day, Key, Return, Search, compact};
use super::mail::{SearchText, fold};
use super::selected::Selected;
use super::session::{Reply, Session, Stop};
use crate::store::embedded::view::{MailboxKey, MessageRow, View, ViewError};
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use time::{Date, OffsetDateTime};

impl Session {
    pub(super) async fn search(&mut self, tag: &str, search: Search) -> Result<Reply, Stop> {
        let known = |name: &str| ["UTF-8", "US-ASCII"].contains(&name);
        if search.charset.as_deref().is_some_and(|name| !known(name)) {
            return Reply::no("[BADCHARSET (UTF-8 US-ASCII)] Unknown charset");
        }
        let selected = self.selected()?.clone();
        self.condstore |= search.key.asks_modseq();
        let searched = selected.clone();
        let key = search.key.clone();
        let found = self.read(move |view| find(view, &searched, &key)).await?;
        self.wire.put(answer(tag, &search, &selected, &found));
        if search.uid {
            self.refresh().await?;
        }
        Reply::ok("Search completed.")
    }
}

/// Places of the messages that match, ascending.
fn find(view: &dyn View, selected: &Selected, key: &Key) -> Result<Vec<usize>, ViewError> {
    let plan = Plan::new(selected, key);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for (place, message) in selected.messages.iter().enumerate() {
        let candidate = Candidate {
            view,
            mailbox: selected.row.key,
            place,
            message,
            now,
            octets: OnceCell::new(),
        };
        if candidate.matches(&plan)? {
            found.push(place);
        }
    }
    Ok(found)
}

/// A key made ready: sets resolved to places, texts folded.
enum Plan {
    Places(Vec<usize>),
    Test(Key),
    Text(Texts, String),
    Not(Box<Plan>),
    Or(Box<Plan>, Box<Plan>),
    /// Cheap ones first.
    And(Vec<Plan>),
}

enum Texts {
    Header(String),
    Body,
    Anywhere,
}

impl Plan {
    fn new(selected: &Selected, key: &Key) -> Self {
        let folded = |text: &[u8]| fold(&String::from_utf8_lossy(text));
        let again = |key: &Key| Box::new(Self::new(selected, key));
        match key {
            Key::Numbers(set) => {
                let numbers = set.resolve(selected.count()).into_iter();
                let known = numbers.flat_map(|r| *r.start()..=(*r.end()).min(selected.count()));
                Self::Places(known.filter_map(|n| usize::try_from(n).ok()?.checked_sub(1)).collect())
            }
            Key::Uids(set) => Self::Places(uid_places(selected, &set.resolve(selected.last_uid().0))),
            Key::Header(name, text) => Self::Text(Texts::Header(name.clone()), folded(text)),
            Key::Body(text) => Self::Text(Texts::Body, folded(text)),
            Key::Text(text) => Self::Text(Texts::Anywhere, folded(text)),
            Key::Not(inner) => Self::Not(again(inner)),
            Key::Or(a, b) => Self::Or(again(a), again(b)),
            Key::And(keys) => {
                let mut plans: Vec<Self> = keys.iter().map(|key| Self::new(selected, key)).collect();
                plans.sort_by_key(Self::reads_octets);
                Self::And(plans)
            }
            other => Self::Test(other.clone()),
        }
    }

    fn reads_octets(&self) -> bool {
        match self {
            Self::Places(_) => false,
            Self::Test(key) => matches!(
                key,
                Key::Before(Day::Sent, _) | Key::On(Day::Sent, _) | Key::Since(Day::Sent, _)
            ),
            Self::Text(..) => true,
            Self::Not(inner) => inner.reads_octets(),
            Self::Or(a, b) => a.reads_octets() || b.reads_octets(),
            Self::And(plans) => plans.iter().any(Self::reads_octets),
        }
    }
}

/// One message under test. Its octets are read at most once.
struct Candidate<'a> {
    view: &'a dyn View,
    mailbox: MailboxKey,
    place: usize,
    message: &'a MessageRow,
    now: i64,
    octets: OnceCell<Option<Arc<[u8]>>>,
}

impl Candidate<'_> {
    fn matches(&self, plan: &Plan) -> Result<bool, ViewError> {
        Ok(match plan {
            Plan::Places(places) => places.binary_search(&self.place).is_ok(),
            Plan::Test(key) => self.test(key)?,
            Plan::Text(texts, wanted) => self.text(texts, wanted)?,
            Plan::Not(inner) => !self.matches(inner)?,
            Plan::Or(a, b) => self.matches(a)? || self.matches(b)?,
            Plan::And(plans) => {
                for plan in plans {
                    if !self.matches(plan)? {
                        return Ok(false);
                    }
                }
                true
            }
        })
    }

    fn test(&self, key: &Key) -> Result<bool, ViewError> {
        let message = self.message;
        let size = |than: &dyn Fn(u64) -> bool| message.size.is_some_and(than);
        let age = self.now.saturating_sub(message.internal_date);
        Ok(match key {
            Key::All => true,
            Key::Flag(flag) => message.flags.contains(*flag),
            Key::Keyword(name) => message.keywords.iter().any(|k| k.0.eq_ignore_ascii_case(name)),
            Key::Before(day, date) => self.day(*day)?.is_some_and(|d| d < *date),
            Key::On(day, date) => self.day(*day)?.is_some_and(|d| d == *date),
            Key::Since(day, date) => self.day(*day)?.is_some_and(|d| d >= *date),
            Key::Larger(n) => size(&|s| s > *n),
            Key::Smaller(n) => size(&|s| s < *n),
            Key::Older(seconds) => age >= i64::from(*seconds),
            Key::Younger(seconds) => age <= i64::from(*seconds),
            Key::Modseq(n) => message.modseq.0 >= *n,
            Key::Guid(guid) => message.guid.0 == *guid,
            // nothing is recent; the others have plans of their own
            _ => false,
        })
    }

    fn day(&self, day: Day) -> Result<Option<Date>, ViewError> {
        let date = |seconds: i64| {
            OffsetDateTime::from_unix_timestamp(seconds)
                .ok()
                .map(OffsetDateTime::date)
        };
        Ok(match day {
            Day::Received => date(self.message.internal_date),
            Day::Saved => self.message.save_date.and_then(date),
            Day::Sent => self.octets()?.and_then(|octets| SearchText::new(octets).sent()),
        })
    }

    fn text(&self, texts: &Texts, wanted: &str) -> Result<bool, ViewError> {
        let Some(octets) = self.octets()? else { return Ok(false) };
        let text = SearchText::new(octets);
        Ok(match texts {
            Texts::Header(name) => text.header(name, wanted),
            Texts::Body => text.body(wanted),
            Texts::Anywhere => text.anywhere(wanted),
        })
    }

    /// None while the body is pending, or gone: such a message holds no text.
    fn octets(&self) -> Result<Option<&[u8]>, ViewError> {
        if self.octets.get().is_none() {
            let read = self.view.body(self.mailbox, self.message.uid)?;
            let _ = self.octets.set(read);
        }
        Ok(self.octets.get().and_then(Option::as_deref))
    }
}

fn answer(tag: &str, search: &Search, selected: &Selected, found: &[usize]) -> String {
    let rows = found.iter().filter_map(|place| selected.messages.get(*place));
    let highest = rows
        .clone()
        .map(|m| m.modseq.0)
        .max()
        .filter(|_| search.key.asks_modseq());
    let numbers: Vec<u32> = if search.uid {
        rows.map(|m| m.uid.0).collect()
    } else {
        found
            .iter()
            .filter_map(|place| u32::try_from(place.saturating_add(1)).ok())
            .collect()
    };
    match &search.returns {
        Some(returns) => esearch(tag, search.uid, returns, &numbers, highest),
        None => {
            let words: String = numbers.iter().map(|n| format!(" {n}")).collect();
            let modseq = highest.map(|m| format!(" (MODSEQ {m})")).unwrap_or_default();
            format!("* SEARCH{words}{modseq}\r\n")
        }
    }
}

fn esearch(tag: &str, uid: bool, returns: &[Return], numbers: &[u32], highest: Option<u64>) -> String {
    let asked = |what: Return| returns.contains(&what) || (returns.is_empty() && what == Return::All);
    let mut text = format!("* ESEARCH (TAG \"{tag}\")");
    if uid {
        text.push_str(" UID");
    }
    if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
        if asked(Return::Min) {
            text.push_str(&format!(" MIN {first}"));
        }
        if asked(Return::Max) {
            text.push_str(&format!(" MAX {last}"));
        }
        if asked(Return::All) {
            text.push_str(&format!(" ALL {}", compact(numbers)));
        }
    }
    if asked(Return::Count) {
        text.push_str(&format!(" COUNT {}", numbers.len()));
    }
    if let Some(highest) = highest {
        text.push_str(&format!(" MODSEQ {highest}"));
    }
    text.push_str("\r\n");
    text
}
