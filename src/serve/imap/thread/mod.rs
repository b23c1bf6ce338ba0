//! THREAD (RFC 5256): the command; [`forest`] puts messages together, [`references`] and [`subjects`] say how.

mod forest;
mod references;
mod subjects;

use super::grammar::{Algorithm, Thread};
use super::letter::{Letter, Subject, folded};
use super::search::check_charset;
use super::session::{Reply, Session, Stop};
use crate::limits::READ_MESSAGES;
use crate::op::Uid;
use crate::store::embedded::view::{Depth, Listing, MailboxKey, View, ViewError};
use std::sync::Arc;

/// What threading needs to know of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Threaded {
    /// How the answer names it.
    number: u32,
    /// UNIX seconds: when it was sent, else when it came.
    sent: i64,
    subject: Subject,
    id: Option<Vec<u8>>,
    /// The oldest first.
    references: Vec<Vec<u8>>,
}

impl Session {
    pub(super) async fn thread(&mut self, thread: Thread) -> Result<Reply, Stop> {
        check_charset(Some(&thread.charset))?;
        if thread.key.asks_modseq() {
            self.knows_modseqs();
        }
        let found = self.matching(&thread.key).await?;
        let selected = self.selected()?;
        let (listing, key) = (Arc::clone(&selected.listing), selected.row.key);
        let (uid, algorithm) = (thread.uid, thread.algorithm);
        let answer = self.read(move |view| {
            let messages = messages(view, key, &listing, &found, uid)?;
            Ok(match algorithm {
                Algorithm::OrderedSubject => subjects::ordered(&messages),
                Algorithm::References => references::by_references(&messages, true),
                Algorithm::Refs => references::by_references(&messages, false),
            })
        });
        let answer = answer.await?;
        let space = if answer.is_empty() { "" } else { " " };
        self.wire.put(format!("* THREAD{space}{answer}\r\n"));
        if uid {
            self.refresh().await?;
        }
        Reply::ok("Thread completed.")
    }
}

/// Reads what threading needs; messages that are gone are left out.
fn messages(
    view: &dyn View,
    key: MailboxKey,
    listing: &Listing,
    places: &[usize],
    uid: bool,
) -> Result<Vec<Threaded>, ViewError> {
    let mut messages = Vec::with_capacity(places.len());
    for chunk in places.chunks(READ_MESSAGES) {
        let uids: Vec<Uid> = chunk.iter().filter_map(|p| listing.uids().get(*p).copied()).collect();
        view.visit(key, &uids, Depth::Header, &mut |detail, octets| {
            let place = listing.uids().binary_search(&detail.uid).unwrap_or_default();
            let letter = Letter::new(octets.as_deref().unwrap_or_default());
            let subject = letter.subject();
            messages.push(Threaded {
                number: if uid {
                    detail.uid.0
                } else {
                    u32::try_from(place.saturating_add(1)).unwrap_or(u32::MAX)
                },
                sent: letter.sent().unwrap_or(detail.internal_date),
                subject: Subject {
                    base: folded(&subject.base),
                    ..subject
                },
                id: letter.id(),
                references: letter.references(),
            });
            true
        })?;
    }
    Ok(messages)
}
