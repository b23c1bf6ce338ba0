//! Tells and asks: which sessions there are, in which order, and which of them are kept.

use super::check::{Flaw, check};
use super::compare::{Remedy, compare};
use super::inbox;
use super::judge::{Judgement, judge, without};
use super::said::{SaidNode, Spelling};
use super::talk::{Talk, explained};
use super::telling::Placed;
use super::ways::Ways;
use super::{Asking, Bodies, Broken, Delta, Outcome, Reading, Report, State, Wanted};
use crate::limits::{
    DSYNC_BURDEN_MAX, DSYNC_COMPLAINTS_MAX, DSYNC_KEPT_MAX, DSYNC_KEPT_SECONDS, DSYNC_KEPT_SECONDS_MAX,
};
use crate::op::{Guid, MailboxName, UidValidity, UserName};
use crate::store::dovecot::doveadm::Doveadm;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Nothing could be said, or nothing that was said has been acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum DsyncError {
    /// The delta is wrong. Telling it again would be wrong again.
    #[error("not told to Dovecot, for it would do harm: {0}")]
    Flaw(#[from] Flaw),
    /// No `dsync-server` could be started or reached: try again later.
    #[error("dsync-server can't be reached: {0}")]
    Unreachable(String),
    /// The session ended before anything was changed: try again later.
    #[error("{0}")]
    Broken(#[from] Broken),
    /// A mailbox that nobody told has a name that is wanted for another: nothing was changed.
    #[error("the target's mailbox {name} ({guid}) is none that was told, and its name is wanted")]
    Blocked {
        /// The name.
        name: MailboxName,
        /// The GUID that it has there: in [`Delta::replaceable`] it would make room.
        guid: Guid,
    },
}

/// Speaks to one running Dovecot. Shared by threads: one user's calls wait for nobody but the Dovecot; calls for one user
/// must not overlap.
#[derive(Debug)]
pub struct Speaker {
    pub(super) ways: Ways,
    kept: Mutex<Vec<Kept>>,
    /// The newest time that attributes were told to have changed at.
    told_at: AtomicI64,
}

/// A session that waits for more.
#[derive(Debug)]
struct Kept {
    user: UserName,
    talk: Talk,
    tree: Tree,
    begun: Instant,
    used: Instant,
}

/// A session up to the point where nothing is changed yet.
struct Opened {
    talk: Talk,
    judgement: Judgement,
    spelling: Spelling,
}

/// A tree as far as only a new session can change it, by name.
type Tree = BTreeMap<MailboxName, (Option<(Guid, UidValidity)>, bool)>;

impl Speaker {
    /// One that runs `doveadm`, or uses the socket of the running server's `doveadm` service where it may be opened.
    #[must_use]
    pub fn new(doveadm: Doveadm, socket: Option<PathBuf>) -> Self {
        Self {
            ways: Ways::new(doveadm, socket),
            kept: Mutex::default(),
            told_at: AtomicI64::new(0),
        }
    }

    /// Makes the user's Dovecot what `delta` says. Repeating it changes nothing. `now`: UNIX seconds, the time of
    /// attributes' changes.
    ///
    /// # Errors
    /// Nothing of it was acknowledged. (Parts that failed later are in the report.)
    pub fn tell(&self, delta: &Delta, bodies: &mut dyn Bodies, now: i64) -> Result<Report, DsyncError> {
        check(delta)?;
        let now = self.later(delta, now);
        let kept = self.take(&delta.user);
        if let Some(mut kept) = kept {
            if kept.can_tell(delta) {
                let mut report = Report {
                    tree: true,
                    ..Report::default()
                };
                let alive = tell_all(
                    &mut kept.talk,
                    delta,
                    &judged_by_session(delta),
                    bodies,
                    now,
                    &mut report,
                );
                let acknowledged = |outcome: &Outcome| !matches!(outcome, Outcome::Unknown(_));
                if alive || report.mailboxes.values().any(acknowledged) {
                    self.keep(kept, alive);
                    return Ok(report);
                }
                // It was dead already, mostly: a server that was restarted. A new session tells it again.
            } else {
                kept.talk.close();
            }
        }
        self.tell_anew(delta, bodies, now)
    }

    /// A time later than any that attributes were told at: with equal times, Dovecot compares values, and cuts one that it has
    /// compared.
    fn later(&self, delta: &Delta, now: i64) -> i64 {
        if delta.mailboxes.iter().all(|mailbox| mailbox.attributes.is_empty()) {
            return now;
        }
        let next = |last: i64| Some(now.max(last.saturating_add(1)));
        let last = self.told_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        now.max(last.unwrap_or_default().saturating_add(1))
    }

    fn tell_anew(&self, delta: &Delta, bodies: &mut dyn Bodies, now: i64) -> Result<Report, DsyncError> {
        let opened = self.judged(delta)?;
        if opened.judgement.doubtful.is_empty() {
            return self.tell_judged(opened, delta, bodies, now);
        }
        opened.talk.close();
        let (remedied, foreign) = self.remedy(delta, &opened.judgement.doubtful)?;
        let mut opened = self.judged(&remedied)?;
        let judgement = &mut opened.judgement;
        for (guid, outcome) in foreign {
            judgement.whole = false;
            judgement.outcomes.insert(guid, outcome);
        }
        for guid in std::mem::take(&mut judgement.doubtful) {
            let changing = Outcome::Stale("the target's mailbox changes while it is compared".to_owned());
            judgement.outcomes.insert(guid, changing);
        }
        self.tell_judged(opened, &remedied, bodies, now)
    }

    /// A new session, up to the point where nothing is changed yet.
    fn judged(&self, delta: &Delta) -> Result<Opened, DsyncError> {
        let mut begun = self.begin(delta)?;
        if let Some(numbers) = inbox::unused(delta, &begun.1) {
            begun.0.close();
            inbox::renumber(&self.ways.doveadm, &delta.user, numbers)?;
            begun = self.begin(delta)?;
        }
        let mut judgement = judge(delta, &begun.1);
        if judgement.blocked.is_none()
            && let Some(numbers) = inbox::replaced(&judgement.tree, &begun.1)
            && let Some((_, _, uid_next)) = inbox::there(&begun.1)
        {
            begun.0.close();
            inbox::renew(&self.ways.doveadm, &delta.user, uid_next, numbers)?;
            begun = self.begin(delta)?;
            judgement = judge(delta, &begun.1);
        }
        let (talk, _, spelling) = begun;
        if let Some((name, guid)) = judgement.blocked {
            talk.close();
            return Err(DsyncError::Blocked { name, guid });
        }
        Ok(Opened {
            talk,
            judgement,
            spelling,
        })
    }

    /// A session up to the target's tree, by a way over which no name of it is mistaken.
    fn begin(&self, delta: &Delta) -> Result<(Talk, Vec<SaidNode>, Spelling), DsyncError> {
        let (talk, said, spelling) = Talk::begin(self.ways.cheap(&delta.user)?, &delta.user, states(delta))?;
        if !self.ways.is_doubtful(delta, &said, spelling) {
            return Ok((talk, said, spelling));
        }
        talk.close();
        Ok(Talk::begin(
            self.ways.literal(&delta.user)?,
            &delta.user,
            states(delta),
        )?)
    }

    fn tell_judged(
        &self,
        opened: Opened,
        delta: &Delta,
        bodies: &mut dyn Bodies,
        now: i64,
    ) -> Result<Report, DsyncError> {
        let Opened {
            mut talk,
            judgement,
            spelling,
        } = opened;
        talk.tree(&judgement.tree, spelling)?;
        let mut report = Report {
            tree: judgement.whole,
            mailboxes: judgement.outcomes,
            ..Report::default()
        };
        let alive = tell_all(&mut talk, delta, &judgement.told, bodies, now, &mut report);
        if judgement.told.is_empty() {
            // Only its end says that the tree was taken.
            talk.finish(&mut report.complaints)?;
            return Ok(report);
        }
        let spoke = |guid: &Guid| !matches!(report.mailboxes.get(guid), Some(Outcome::Unknown(_)) | None);
        report.tree = judgement.whole && judgement.told.iter().any(spoke);
        let kept = Kept {
            user: delta.user.clone(),
            talk,
            tree: if judgement.whole { tree_of(delta) } else { Tree::new() },
            begun: Instant::now(),
            used: Instant::now(),
        };
        self.keep(kept, alive);
        Ok(report)
    }

    /// Reads the doubtful mailboxes and finds how each becomes equal: the delta that does it, without those that hold what
    /// nobody told.
    fn remedy(&self, delta: &Delta, doubtful: &BTreeSet<Guid>) -> Result<(Delta, BTreeMap<Guid, Outcome>), DsyncError> {
        let reading = self.read(&delta.user, Wanted::Mailboxes(doubtful.clone()))?;
        let (mut mailboxes, mut foreign, mut rebuilt) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for mailbox in &delta.mailboxes {
            let there = reading
                .mailboxes
                .get(&mailbox.guid)
                .filter(|_| doubtful.contains(&mailbox.guid));
            let Some(there) = there else {
                mailboxes.push(mailbox.clone());
                continue;
            };
            match compare(mailbox, there, delta.replaceable.contains(&mailbox.guid)) {
                Remedy::Tell(remedied) => mailboxes.push(*remedied),
                Remedy::Rebuild => {
                    rebuilt.insert(mailbox.guid);
                    mailboxes.push(mailbox.clone());
                }
                Remedy::Foreign(messages) => {
                    let outcome = Outcome::Foreign {
                        why: "it holds messages or gave out UIDs that nobody told".to_owned(),
                        name: name_of(&reading, mailbox.guid),
                        messages,
                    };
                    foreign.insert(mailbox.guid, outcome);
                }
            }
        }
        self.renew_inbox(delta, &reading, &mut rebuilt)?;
        if !rebuilt.is_empty() {
            self.unmake(&delta.user, &rebuilt)?;
        }
        let remedied = Delta {
            mailboxes,
            ..delta.clone()
        };
        Ok((remedied, foreign))
    }

    /// Makes a maildir's INBOX anew, where it is one of these.
    fn renew_inbox(&self, delta: &Delta, there: &Reading, rebuilt: &mut BTreeSet<Guid>) -> Result<(), DsyncError> {
        let inbox = MailboxName::inbox();
        let there = there.tree.iter().find(|node| node.name == inbox);
        let Some(there) = there.and_then(|node| node.mailbox) else {
            return Ok(());
        };
        let mut wanted = delta.mailboxes.iter().filter(|mailbox| rebuilt.contains(&mailbox.guid));
        let Some(ours) = wanted.find(|mailbox| mailbox.guid == there.guid) else {
            return Ok(());
        };
        let numbers = inbox::Numbers {
            guid: ours.guid,
            uid_validity: ours.uid_validity,
        };
        if inbox::renew(&self.ways.doveadm, &delta.user, there.uid_next, numbers)? {
            rebuilt.remove(&ours.guid);
        }
        Ok(())
    }

    /// Takes these mailboxes away, and nothing else.
    fn unmake(&self, user: &UserName, guids: &BTreeSet<Guid>) -> Result<(), DsyncError> {
        let (mut talk, said, spelling) = Talk::begin(self.ways.literal(user)?, user, BTreeMap::new())?;
        let tree: Vec<Placed> = without(&said, guids);
        talk.tree(&tree, spelling)?;
        talk.finish(&mut Vec::new())?;
        Ok(())
    }

    /// Reads what the user's Dovecot holds. Nothing is changed there.
    ///
    /// # Errors
    /// It can't be reached, or ended in between.
    pub fn read(&self, user: &UserName, wanted: Wanted) -> Result<Reading, DsyncError> {
        let mut link = match &wanted {
            Wanted::Tree | Wanted::Everything => self.ways.literal(user)?,
            Wanted::Mailboxes(_) | Wanted::Since(_) => self.ways.cheap(user)?,
        };
        let mut asking = Asking::new(wanted);
        loop {
            if let Some(reading) = asking.step()? {
                return Ok(reading);
            }
            let heard = link.exchange(asking.out(), true)?;
            asking.push(&heard);
        }
    }

    /// The list is whole after every step with it, so a thread that panicked meanwhile left nothing half done.
    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, user: &UserName) -> Option<Kept> {
        let mut kept = self.kept();
        let place = kept.iter().position(|kept| kept.user == *user)?;
        Some(kept.swap_remove(place))
    }

    /// Keeps a session for more, or lets it go; and those that nobody used for long.
    fn keep(&self, mut session: Kept, alive: bool) {
        let mut gone = Vec::new();
        session.used = Instant::now();
        let mut kept = self.kept();
        match alive && session.talk.has_states() && !session.tree.is_empty() && session.is_fresh() {
            true => kept.push(session),
            false => gone.push(session),
        }
        while let Some(place) = kept.iter().position(|kept| !kept.is_fresh()) {
            gone.push(kept.swap_remove(place));
        }
        if kept.len() > DSYNC_KEPT_MAX {
            let oldest = kept
                .iter()
                .enumerate()
                .min_by_key(|(_, kept)| kept.used)
                .map(|(place, _)| place);
            gone.extend(oldest.map(|place| kept.swap_remove(place)));
        }
        drop(kept);
        gone.into_iter().for_each(|kept| kept.talk.close());
    }

    /// Lets every kept session go: before the Dovecot is handed over, or to rest.
    pub fn rest(&self) {
        let kept = std::mem::take(&mut *self.kept());
        kept.into_iter().for_each(|kept| kept.talk.close());
    }
}

impl Kept {
    fn is_fresh(&self) -> bool {
        self.begun.elapsed() < Duration::from_secs(DSYNC_KEPT_SECONDS_MAX)
            && self.used.elapsed() < Duration::from_secs(DSYNC_KEPT_SECONDS)
            && self.talk.burden() < DSYNC_BURDEN_MAX
    }

    fn can_tell(&self, delta: &Delta) -> bool {
        let known = delta.mailboxes.iter().all(|mailbox| self.talk.can_tell(mailbox));
        known && !delta.mailboxes.is_empty() && self.is_fresh() && self.tree == tree_of(delta)
    }
}

/// Tells all of `told`; false: the session is over. Mailboxes where something vanished come last, so that a message that was
/// moved is never in neither.
fn tell_all(
    talk: &mut Talk,
    delta: &Delta,
    told: &BTreeSet<Guid>,
    bodies: &mut dyn Bodies,
    now: i64,
    report: &mut Report,
) -> bool {
    let mut ended: Option<String> = None;
    let mut mailboxes: Vec<_> = delta
        .mailboxes
        .iter()
        .filter(|mailbox| told.contains(&mailbox.guid))
        .collect();
    mailboxes.sort_by_key(|mailbox| !mailbox.vanished.is_empty());
    for mailbox in mailboxes {
        if ended.is_none() && talk.is_over() {
            ended = Some("the session ended with a mailbox that is not as it was".to_owned());
        }
        let outcome = match &ended {
            Some(why) => Outcome::Unknown(why.clone()),
            None => talk.mailbox(mailbox, bodies, now).unwrap_or_else(|broken| {
                let complaints = talk.complaints();
                let why = explained(broken, &complaints).why;
                report.complaints.extend(complaints);
                ended = Some(why.clone());
                Outcome::Unknown(why)
            }),
        };
        report.mailboxes.insert(mailbox.guid, outcome);
    }
    report.complaints.extend(talk.complaints());
    report.complaints.truncate(DSYNC_COMPLAINTS_MAX);
    ended.is_none() && !talk.is_over()
}

/// What a session goes on from: all mailboxes of our tree, so that it can tell any of them later.
fn states(delta: &Delta) -> BTreeMap<Guid, State> {
    let ours: BTreeSet<Guid> = delta.tree.iter().filter_map(|node| Some(node.mailbox?.guid)).collect();
    let known = delta.acknowledged.iter().filter(|(guid, _)| ours.contains(guid));
    let mut states: BTreeMap<Guid, State> = known.map(|(guid, state)| (*guid, *state)).collect();
    for mailbox in &delta.mailboxes {
        match mailbox.since {
            Some(since) => states.insert(mailbox.guid, since),
            None => states.remove(&mailbox.guid),
        };
    }
    states
}

fn judged_by_session(delta: &Delta) -> BTreeSet<Guid> {
    delta.mailboxes.iter().map(|mailbox| mailbox.guid).collect()
}

fn tree_of(delta: &Delta) -> Tree {
    let nodes = delta.tree.iter().map(|node| {
        let mailbox = node.mailbox.map(|mailbox| (mailbox.guid, mailbox.uid_validity));
        (node.name.clone(), (mailbox, node.subscribed))
    });
    nodes.collect()
}

fn name_of(reading: &Reading, guid: Guid) -> MailboxName {
    let node = reading
        .tree
        .iter()
        .find(|node| node.mailbox.is_some_and(|mailbox| mailbox.guid == guid));
    node.map(|node| node.name.clone()).unwrap_or_default()
}
