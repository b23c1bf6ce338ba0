//! STORE and UID STORE (RFC 9051 section 6.4.6, CONDSTORE of RFC 7162).

use super::change::ranges;
use super::grammar::{Store, compact};
use super::selected::Telling;
use super::session::{Reply, Session, Stop};
use crate::op::{MailboxName, Modseq, Uid};
use crate::store::change::{Change, Changed};

impl Session {
    pub(super) async fn store(&mut self, store: Store) -> Result<Reply, Stop> {
        let selected = self.selected()?;
        if !store.uid && !store.set.fits(selected.count()) {
            return Reply::bad("Error in IMAP command STORE: Invalid messageset");
        }
        if selected.examined {
            return Reply::ok("Store ignored with read-only mailbox.");
        }
        if store.unchanged_since.is_some() {
            self.knows_modseqs();
        }
        let uids = self.selected()?.uids(&store.set, store.uid);
        if uids.is_empty() {
            self.refresh_as(&Telling::of(store.uid)).await?;
            return Reply::ok("Store completed.");
        }
        let change = Change::Store {
            mailbox: self.selected_id()?,
            uids: ranges(&uids),
            verb: store.verb,
            flags: store.list.flags,
            keywords: store.list.keywords,
            unchanged_since: store.unchanged_since.map(Modseq),
        };
        let stored = self.change_of(&MailboxName::default(), change).await?;
        let (stored, modified) = match stored {
            Changed::Stored { uids, modified, .. } => (uids, modified),
            _ => (Vec::new(), Vec::new()),
        };
        let telling = Telling {
            silent: if store.silent { stored } else { Vec::new() },
            ..Telling::of(store.uid)
        };
        // numbers in MODIFIED are those that the client knows now
        let modified = self.named_as(store.uid, &modified)?;
        self.refresh_as(&telling).await?;
        if modified.is_empty() {
            return Reply::ok("Store completed.");
        }
        Reply::ok(format!("[MODIFIED {}] Conditional store failed.", compact(&modified)))
    }

    /// UIDs as they are, or as message numbers.
    fn named_as(&self, uid: bool, uids: &[Uid]) -> Result<Vec<u32>, Stop> {
        if uid {
            return Ok(uids.iter().map(|uid| uid.0).collect());
        }
        let known = self.selected()?.listing.uids();
        let place = |uid: &Uid| known.binary_search(uid).ok();
        let number = |place: usize| u32::try_from(place.saturating_add(1)).ok();
        Ok(uids.iter().filter_map(place).filter_map(number).collect())
    }

    /// Makes messages seen because their bodies are being fetched; which of them were not.
    pub(super) async fn see(&mut self, uids: Vec<Uid>, uid: bool) -> Result<Vec<Uid>, Stop> {
        if uids.is_empty() {
            return Ok(uids);
        }
        let change = Change::Store {
            mailbox: self.selected_id()?,
            uids: ranges(&uids),
            verb: crate::store::change::FlagVerb::Add,
            flags: crate::op::Flags::SEEN,
            keywords: Vec::new(),
            unchanged_since: None,
        };
        let Changed::Stored { uids: seen, .. } = self.change_of(&MailboxName::default(), change).await? else {
            return Ok(Vec::new());
        };
        let telling = Telling {
            keeps: true,
            uids: uid,
            untold: seen.clone(),
            ..Telling::default()
        };
        self.refresh_as(&telling).await?;
        Ok(seen)
    }
}
