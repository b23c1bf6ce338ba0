//! What a Dovecot must be told of one user: the difference between the mail here and the marks.

use super::super::super::dovecot::dsync::{Delta, MailboxDelta, Message, Node, NodeMailbox, State};
use super::super::super::target::TargetError;
use super::super::bodies;
use super::super::mailbox::{Mailbox, Stored, read_name};
use super::super::store::Store;
use super::marks::{self, Mark};
use super::properties::{self, ToldAttribute};
use crate::limits::DELTA_MESSAGES_MAX;
use crate::op::{Guid, Leap, MailboxId, MailboxName, Modseq, Uid, UidRange, UidValidity, UserName};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// A delta, and what is noted once it was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Telling {
    /// What to tell.
    pub delta: Delta,
    /// True where this is not all: the rest comes after this was acknowledged.
    pub more: bool,
    /// True where an epoch left MODSEQs out and only the mailboxes are told so: their messages come after this was acknowledged.
    pub lifts: bool,
    /// True while a mailbox of the user has no list yet: what is unknown in the Dovecot may turn out to be it.
    pub incomplete: bool,
    /// Messages without a body: they can't be told.
    pub left_out: usize,
    pub(super) tree: [u8; 32],
    /// What is noted of each mailbox that is told.
    pub(super) marks: BTreeMap<Guid, Mark>,
    /// What was noted before.
    pub(super) known: BTreeMap<Guid, Mark>,
    /// Mailboxes that were told and are no longer in the tree.
    pub(super) leaving: Vec<Guid>,
    pub(super) attributes: Vec<ToldAttribute>,
}

impl Telling {
    /// True where INBOX is in the tree that is told. It may not be made yet, or (of public mail) never.
    #[must_use]
    pub fn has_inbox(&self) -> bool {
        let inbox = MailboxName::inbox();
        self.delta
            .tree
            .iter()
            .any(|node| node.name == inbox && node.mailbox.is_some())
    }

    /// True where the mailbox is in the tree that is told.
    #[must_use]
    pub fn has(&self, guid: Guid) -> bool {
        let mut mailboxes = self.delta.tree.iter().filter_map(|node| node.mailbox);
        mailboxes.any(|mailbox| mailbox.guid == guid)
    }
}

/// The numbers of one mailbox.
struct Numbers {
    guid: Guid,
    name: MailboxName,
    uidvalidity: UidValidity,
    uidnext: Uid,
    highest_modseq: Modseq,
    rewritten: u64,
    expunged_since: Modseq,
    floor: Modseq,
    messages: usize,
}

/// None where nothing is to be told, or no tree came yet.
pub(super) fn of_user(store: &Store, user: &UserName) -> Result<Option<Telling>, TargetError> {
    let made = store.readers.read(|tx| {
        let Some(id) = bodies::known_user(tx, user)? else {
            return Ok(None);
        };
        let (numbers, marks) = (numbers(tx, id)?, marks::of_user(tx, id)?);
        if numbers.is_empty() && marks.is_empty() {
            return Ok(None);
        }
        let mut telling = Telling::default();
        telling.delta.user = user.clone();
        telling.incomplete = numbers.iter().any(|mailbox| mailbox.uidvalidity == UidValidity(0));
        let listed: Vec<&Numbers> = numbers.iter().filter(|m| m.uidvalidity != UidValidity(0)).collect();
        telling.delta.tree = nodes(tx, id, &listed)?;
        telling.tree = fingerprint(&telling.delta.tree);
        telling.delta.acknowledged = marks.iter().map(|(guid, mark)| (*guid, mark.state)).collect();
        let stays: BTreeSet<Guid> = numbers.iter().map(|mailbox| mailbox.guid).collect();
        telling.leaving = marks.keys().filter(|guid| !stays.contains(guid)).copied().collect();
        for mailbox in &listed {
            if told(&telling.delta) >= DELTA_MESSAGES_MAX {
                telling.more = true;
                break;
            }
            of_mailbox(tx, user, mailbox, marks.get(&mailbox.guid), &mut telling)?;
        }
        let properties = properties::changed(tx, id, &telling.delta.tree)?;
        telling.known = marks;
        let tree_is_new = marks::tree(tx, id)?.is_none_or(|known| known != telling.tree);
        Ok::<_, TargetError>(Some((telling, properties, tree_is_new)))
    })?;
    let Some((mut telling, properties, tree_is_new)) = made else {
        return Ok(None);
    };
    properties::add(store, &mut telling, properties)?;
    let something = tree_is_new || !telling.delta.mailboxes.is_empty() || !telling.leaving.is_empty();
    Ok(something.then_some(telling))
}

/// Everything of a user: complete lists, without attributes.
pub(super) fn whole(store: &Store, user: &UserName) -> Result<Delta, TargetError> {
    store.readers.read(|tx| {
        let mut telling = Telling::default();
        telling.delta.user = user.clone();
        let Some(id) = bodies::known_user(tx, user)? else {
            return Ok(telling.delta);
        };
        let numbers = numbers(tx, id)?;
        let listed: Vec<&Numbers> = numbers.iter().filter(|m| m.uidvalidity != UidValidity(0)).collect();
        telling.delta.tree = nodes(tx, id, &listed)?;
        for mailbox in listed {
            of_mailbox(tx, user, mailbox, None, &mut telling)?;
        }
        Ok(telling.delta)
    })
}

fn told(delta: &Delta) -> usize {
    delta.mailboxes.iter().map(|mailbox| mailbox.changed.len()).sum()
}

/// Of every mailbox that has a name, by name.
fn numbers(tx: &Connection, user: i64) -> Result<Vec<Numbers>, TargetError> {
    let mut statement = tx.prepare_cached(
        "SELECT guid, name, uidvalidity, uidnext, highest_modseq, rewritten, expunged_since, modseq_floor, messages
         FROM mailboxes WHERE user = ?1 AND name IS NOT NULL ORDER BY name",
    )?;
    let mut rows = statement.query([user])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        found.push(Numbers {
            guid: Guid(row.get(0)?),
            name: name(&row.get::<_, String>(1)?)?,
            uidvalidity: UidValidity(row.get(2)?),
            uidnext: Uid(row.get::<_, u32>(3)?.max(1)),
            highest_modseq: Modseq(number(4)?),
            rewritten: number(5)?,
            expunged_since: Modseq(number(6)?),
            floor: Modseq(number(7)?),
            messages: usize::try_from(number(8)?).unwrap_or(usize::MAX),
        });
    }
    Ok(found)
}

fn name(stored: &str) -> Result<MailboxName, TargetError> {
    read_name(stored).map_err(|e| TargetError::Halt(format!("a stored mailbox name: {e}")))
}

/// The complete tree, by name.
fn nodes(tx: &Connection, user: i64, listed: &[&Numbers]) -> Result<Vec<Node>, TargetError> {
    let of_mailbox = |mailbox: &&Numbers| {
        let behind = NodeMailbox {
            guid: mailbox.guid,
            uid_validity: mailbox.uidvalidity,
            uid_next: mailbox.uidnext,
        };
        (mailbox.name.clone(), (Some(behind), false))
    };
    let mut nodes: BTreeMap<MailboxName, (Option<NodeMailbox>, bool)> = listed.iter().map(of_mailbox).collect();
    let mut statement = tx.prepare_cached("SELECT name FROM subscriptions WHERE user = ?1")?;
    let mut rows = statement.query([user])?;
    while let Some(row) = rows.next()? {
        nodes.entry(name(&row.get::<_, String>(0)?)?).or_default().1 = true;
    }
    let node = |(name, (mailbox, subscribed))| Node {
        name,
        mailbox,
        subscribed,
    };
    Ok(nodes.into_iter().map(node).collect())
}

/// BLAKE3 of names, GUIDs, UIDVALIDITYs and subscriptions; UIDNEXTs change with each message and don't count.
fn fingerprint(tree: &[Node]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for node in tree {
        let (guid, uidvalidity) = node
            .mailbox
            .map_or_else(Default::default, |m| (m.guid.0, m.uid_validity.0));
        hasher.update(&guid);
        hasher.update(&uidvalidity.to_le_bytes());
        hasher.update(&[u8::from(node.subscribed), u8::from(node.mailbox.is_some())]);
        hasher.update(&u64::try_from(node.name.0.len()).unwrap_or(u64::MAX).to_le_bytes());
        for level in &node.name.0 {
            hasher.update(&u64::try_from(level.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(level.as_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

/// Adds what must be told of a mailbox, where anything must.
fn of_mailbox(
    tx: &Connection,
    user: &UserName,
    now: &Numbers,
    mark: Option<&Mark>,
    telling: &mut Telling,
) -> Result<(), TargetError> {
    if let Some(mark) = mark
        && is_told(tx, now, mark)?
    {
        telling.left_out = telling.left_out.saturating_add(mark.left_out.len());
        return Ok(());
    }
    let is = MailboxId {
        user: user.clone(),
        guid: now.guid,
    };
    let Some(mailbox) = Mailbox::load(tx, &is)? else {
        return Ok(());
    };
    let mut floor = now.floor;
    let part = match mark {
        Some(mark) if goes_on(now, mark) => changed(tx, &mailbox, mark, now.floor > mark.floor)?,
        Some(mark) if only_leapt(now, mark) => {
            (floor, telling.lifts) = (mark.floor, true);
            Some(leapt(mark))
        }
        _ => None,
    };
    let Part {
        changed,
        vanished,
        left_out,
        since,
    } = match part {
        Some(part) => part,
        None => complete(tx, &mailbox)?,
    };
    let count = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
    telling.left_out = telling.left_out.saturating_add(left_out.len());
    telling.delta.mailboxes.push(MailboxDelta {
        guid: now.guid,
        uid_validity: now.uidvalidity,
        uid_next: now.uidnext,
        highest_modseq: now.highest_modseq,
        messages: mailbox.messages.saturating_sub(count(left_out.len())),
        since,
        changed,
        vanished,
        attributes: Vec::new(),
    });
    let mark = Mark {
        state: State::default(),
        floor,
        rewritten: now.rewritten,
        left_out,
    };
    telling.marks.insert(now.guid, mark);
    Ok(())
}

/// True where the mailbox stands as it was told.
fn is_told(tx: &Connection, now: &Numbers, mark: &Mark) -> rusqlite::Result<bool> {
    let state = &mark.state;
    let messages = usize::try_from(state.messages).unwrap_or(0);
    // an expunge that waited is older than what was told since, and shows in the number alone
    let same = state.uid_validity == now.uidvalidity
        && messages.saturating_add(mark.left_out.len()) == now.messages
        && state.uid.0.saturating_add(1) == now.uidnext.0
        && state.modseq == now.highest_modseq.max(Modseq(1))
        && (mark.floor, mark.rewritten) == (now.floor, now.rewritten);
    Ok(same && (mark.left_out.is_empty() || !any_body(tx, now.guid, &mark.left_out)?))
}

/// True where a message that was left out has its body now.
fn any_body(tx: &Connection, guid: Guid, left_out: &[Uid]) -> rusqlite::Result<bool> {
    let mut statement = tx.prepare_cached(
        "SELECT 1 FROM messages x JOIN mailboxes m ON m.id = x.mailbox
         WHERE m.guid = ?1 AND x.uid = ?2 AND x.body IS NOT NULL",
    )?;
    for uid in left_out {
        if statement.exists(params![guid.0, uid.0])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True where MODSEQs tell all that happened since the mark; the floor of all of them may be higher.
fn goes_on(now: &Numbers, mark: &Mark) -> bool {
    mark.state.uid_validity == now.uidvalidity
        && mark.rewritten == now.rewritten
        && mark.floor <= now.floor
        && now.expunged_since <= mark.state.modseq
        && now.uidnext.0 > mark.state.uid.0
}

/// True where nothing happened since the mark but that an epoch began and left numbers out.
fn only_leapt(now: &Numbers, mark: &Mark) -> bool {
    let state = &mark.state;
    state.uid_validity == now.uidvalidity
        && now.rewritten == mark.rewritten.wrapping_add(1)
        && now.floor > mark.floor
        && now.floor == now.highest_modseq
        && state.modseq.0.saturating_add(Leap::MODSEQS) == now.highest_modseq.0
        && now.uidnext.0 > state.uid.0.saturating_add(Leap::UIDS_MIN)
}

/// UIDNEXT and HIGHESTMODSEQ alone, which nobody may give out again: told at once. The MODSEQ of each message is told by telling
/// each, and can wait until everybody's numbers are.
fn leapt(mark: &Mark) -> Part {
    Part {
        since: Some(mark.state),
        changed: Vec::new(),
        vanished: Vec::new(),
        left_out: mark.left_out.clone(),
    }
}

/// What is told of one mailbox.
struct Part {
    since: Option<State>,
    changed: Vec<Message>,
    vanished: Vec<UidRange>,
    left_out: Vec<Uid>,
}

/// What changed since the mark, or with `lifted` all that was known then, for each has another MODSEQ; none where the numbers
/// don't add up, or a message that was left out has come.
fn changed(tx: &Connection, mailbox: &Mailbox, mark: &Mark, lifted: bool) -> Result<Option<Part>, TargetError> {
    let (uid, modseq) = (mark.state.uid, mark.state.modseq);
    let gone = expunged(tx, mailbox.id, modseq, uid)?;
    let mut known = mailbox.changed_since(tx, if lifted { Modseq(0) } else { modseq }, uid)?;
    let new = mailbox.within(
        tx,
        &UidRange {
            first: Uid(uid.0.saturating_add(1)),
            last: Uid(u32::MAX),
        },
    )?;
    let mut left_out: Vec<Uid> = mark.left_out.clone();
    left_out.retain(|uid| gone.binary_search(uid).is_err());
    if lifted {
        known.retain(|stored| left_out.binary_search(&stored.message.uid).is_err());
    }
    if known.iter().any(|stored| left_out.contains(&stored.message.uid)) || any_body(tx, mailbox.is.guid, &left_out)? {
        return Ok(None);
    }
    let told_before = usize::try_from(mark.state.messages).unwrap_or(usize::MAX);
    let never_told = mark
        .left_out
        .iter()
        .filter(|uid| gone.binary_search(uid).is_ok())
        .count();
    let (new, without) = tellable(new);
    let now = told_before
        .saturating_add(never_told)
        .saturating_sub(gone.len())
        .saturating_add(new.len());
    left_out.extend(without);
    let expected = usize::try_from(mailbox.messages)
        .unwrap_or(0)
        .saturating_sub(left_out.len());
    if now != expected {
        return Ok(None);
    }
    let mut changed = tellable(known).0;
    changed.extend(new);
    Ok(Some(Part {
        since: Some(mark.state),
        changed,
        vanished: UidRange::covering(&gone),
        left_out,
    }))
}

/// Everything.
fn complete(tx: &Connection, mailbox: &Mailbox) -> Result<Part, TargetError> {
    let (changed, left_out) = tellable(mailbox.all(tx)?);
    let gone = expunged(tx, mailbox.id, Modseq(0), Uid(u32::MAX))?;
    Ok(Part {
        since: None,
        changed,
        vanished: UidRange::covering(&gone),
        left_out,
    })
}

/// UIDs up to `last` that were expunged under a higher MODSEQ, ascending.
fn expunged(tx: &Connection, mailbox: i64, since: Modseq, last: Uid) -> rusqlite::Result<Vec<Uid>> {
    let mut statement =
        tx.prepare_cached("SELECT uid FROM expunged WHERE mailbox = ?1 AND modseq > ?2 AND uid <= ?3")?;
    let rows = statement.query_map(params![mailbox, since.0.cast_signed(), last.0], |row| {
        row.get(0).map(Uid)
    })?;
    let mut gone = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    gone.sort_unstable();
    Ok(gone)
}

/// Messages as they are told, and the UIDs of those that have no body or no GUID yet.
fn tellable(stored: Vec<Stored>) -> (Vec<Message>, Vec<Uid>) {
    let (mut messages, mut left_out) = (Vec::with_capacity(stored.len()), Vec::new());
    for Stored { message, body, .. } in stored {
        if body.is_none() || message.guid.is_unknown() {
            left_out.push(message.uid);
            continue;
        }
        messages.push(Message {
            uid: message.uid,
            guid: message.guid,
            flags: message.flags,
            keywords: message.keywords,
            modseq: message.modseq,
            internal_date: message.internal_date,
            save_date: message.save_date,
            pop3_uidl: None,
            size: message.size,
        });
    }
    (messages, left_out)
}
