//! Telling what the store holds, a piece at a time: a base for a peer, or digests for a comparison.

use crate::limits::{TELL_MAILBOXES, TELL_MESSAGES};
use crate::op::{Lsn, MailboxId, MailboxName, NodeName, Payload, UserName};
use crate::store::embedded::export::Export;
use crate::store::source::{Reply, Verified};
use crate::store::target::TargetError;
use std::collections::VecDeque;

/// What is left to be told.
pub(super) struct Telling {
    users: VecDeque<UserName>,
    mailboxes: VecDeque<(MailboxId, MailboxName)>,
    what: What,
}

enum What {
    /// Everything, for one peer.
    Base { peer: NodeName, began: Lsn },
    /// Digests for all.
    Comparison(Comparison),
}

struct Comparison {
    deep: bool,
    /// The complete lists, too.
    repair: bool,
    /// One mailbox of that name only.
    mailbox: Option<String>,
    request: u64,
    verified: Verified,
    reply: Reply<Verified>,
}

/// What a step gives.
pub(super) enum Told {
    /// Transactions.
    Some(Vec<Vec<Payload>>),
    /// Nothing is left.
    All,
}

impl Telling {
    /// Everything that the store holds, for a peer whose base began there.
    pub(super) fn base(peer: NodeName, began: Lsn, users: Vec<UserName>) -> Self {
        Self {
            users: users.into(),
            mailboxes: VecDeque::new(),
            what: What::Base { peer, began },
        }
    }

    /// Digests of these users' mailboxes and trees; `(deep, repair, mailbox)`.
    pub(super) fn comparison(
        users: Vec<UserName>,
        (deep, repair, mailbox): (bool, bool, Option<String>),
        request: u64,
        reply: Reply<Verified>,
    ) -> Self {
        Self {
            users: users.into(),
            mailboxes: VecDeque::new(),
            what: What::Comparison(Comparison {
                deep,
                repair,
                mailbox,
                request,
                verified: Verified::default(),
                reply,
            }),
        }
    }

    /// For whom alone it is.
    pub(super) fn peer(&self) -> Option<&NodeName> {
        self.began().map(|(peer, _)| peer)
    }

    /// Of a base: for whom, and where it began.
    pub(super) fn began(&self) -> Option<(&NodeName, Lsn)> {
        match &self.what {
            What::Base { peer, began } => Some((peer, *began)),
            What::Comparison(_) => None,
        }
    }

    /// Some of what is left.
    pub(super) fn step(&mut self, export: &Export) -> Result<Told, TargetError> {
        if self.mailboxes.is_empty() && self.users.is_empty() {
            return Ok(Told::All);
        }
        let (mut told, mut messages, mut mailboxes) = (Vec::new(), 0usize, 0usize);
        while mailboxes < TELL_MAILBOXES && messages < TELL_MESSAGES {
            if let Some((mailbox, _)) = self.mailboxes.pop_front() {
                mailboxes += 1;
                let (transaction, listed) = self.mailbox(export, &mailbox)?;
                messages = messages.saturating_add(listed);
                told.extend(transaction);
            } else if let Some(user) = self.users.pop_front() {
                told.extend(self.user(export, &user)?);
            } else {
                break;
            }
        }
        Ok(Told::Some(told))
    }

    /// The user's tree; the mailboxes in it follow.
    fn user(&mut self, export: &Export, user: &UserName) -> Result<Vec<Vec<Payload>>, TargetError> {
        self.mailboxes = export.mailboxes(user)?.into();
        let tree = |export: &Export| -> Result<Vec<Vec<Payload>>, TargetError> {
            let tree = vec![Payload::Tree(export.tree(user)?)];
            let attributes = export.attributes(user)?.into_iter().map(Payload::Attributes);
            Ok(std::iter::once(tree).chain(attributes.map(|one| vec![one])).collect())
        };
        let comparison = match &mut self.what {
            What::Base { .. } => {
                let settled = export
                    .merged(user)?
                    .into_iter()
                    .map(|merged| vec![Payload::Merged(merged)]);
                return Ok(tree(export)?.into_iter().chain(settled).collect());
            }
            What::Comparison(comparison) => comparison,
        };
        if let Some(wanted) = &comparison.mailbox {
            self.mailboxes.retain(|(_, name)| name.to_string() == *wanted);
            return Ok(Vec::new());
        }
        comparison.verified.trees += 1;
        let digest = Payload::TreeDigest(export.tree_digest(user, comparison.request)?);
        let mut told = vec![vec![digest]];
        if comparison.repair {
            told.extend(tree(export)?);
        }
        Ok(told)
    }

    /// The mailbox's list or digest as one transaction, and how many messages were read; none where it is gone.
    fn mailbox(&mut self, export: &Export, mailbox: &MailboxId) -> Result<(Option<Vec<Payload>>, usize), TargetError> {
        let (mut payloads, mut read) = (Vec::new(), 0);
        let lists = match &mut self.what {
            What::Base { .. } => true,
            What::Comparison(comparison) => {
                let (deep, request) = (comparison.deep, comparison.request);
                if let Some(digest) = export.digest(mailbox, deep, request)? {
                    comparison.verified.mailboxes += 1;
                    read = usize::try_from(digest.messages).unwrap_or(usize::MAX);
                    payloads.push(Payload::Digest(digest));
                }
                comparison.repair
            }
        };
        if let Some((list, attributes)) = lists.then(|| export.mailbox(mailbox)).transpose()?.flatten() {
            read = list.messages.len();
            payloads.push(Payload::State(list));
            payloads.extend(attributes.into_iter().map(Payload::Attributes));
        }
        Ok(((!payloads.is_empty()).then_some(payloads), read))
    }

    /// Tells whoever asked that all was told, up to this LSN.
    pub(super) fn reply(self, last: Lsn) {
        if let What::Comparison(comparison) = self.what {
            (comparison.reply)(Ok(Verified {
                last,
                ..comparison.verified
            }));
        }
    }
}
