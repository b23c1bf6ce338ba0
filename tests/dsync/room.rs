//! Two Dovecots and what lies between them: the source as a client sees it, the delta since the last time, the bodies.

use crate::USER;
use anyhow::{Context, ensure};
use mailshadow::op::{Guid, MailboxName, MessageGuid, Modseq, Uid, UidRange, UserName};
use mailshadow::store::dovecot::doveadm::Doveadm;
use mailshadow::store::dovecot::dsync::{
    AttributeDelta, Bodies, Delta, MailboxDelta, MailboxReading, Message, Outcome, Reading, Report, Speaker, State,
    Wanted,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};
use testbed::Result;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::imap::{Imap, Value, quote};
use testbed::truth::{Truth, fetched, item, mailboxes};

/// Two servers, and what the second was told.
pub(crate) struct Room {
    folder: tempfile::TempDir,
    pub(crate) source: Dovecot,
    pub(crate) target: Dovecot,
    pub(crate) speaker: Speaker,
    pub(crate) told: Told,
}

/// What the target has acknowledged, and how the source was then.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) states: BTreeMap<Guid, State>,
    seen: BTreeMap<Guid, BTreeSet<Uid>>,
    attributes: BTreeMap<Guid, Vec<AttributeDelta>>,
}

/// The source at one moment.
pub(crate) struct Snapshot {
    pub(crate) reading: Reading,
    bodies: BTreeMap<MessageGuid, Vec<u8>>,
}

/// The bodies of a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Shelf<'a>(&'a BTreeMap<MessageGuid, Vec<u8>>);

impl Snapshot {
    pub(crate) fn shelf(&self) -> Shelf<'_> {
        Shelf(&self.bodies)
    }
}

impl Bodies for Shelf<'_> {
    fn open(&mut self, _: &UserName, _: Guid, message: &Message) -> std::io::Result<Box<dyn Read + '_>> {
        match self.0.get(&message.guid) {
            Some(octets) => Ok(Box::new(octets.as_slice())),
            None => Err(std::io::Error::other("no such body")),
        }
    }
}

/// How to run a server's `doveadm`.
pub(crate) fn doveadm(dovecot: &Dovecot) -> Result<Doveadm> {
    Ok(Doveadm {
        command: dovecot.doveadm_command()?,
        config: None,
    })
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_secs());
    since.unwrap_or_default().cast_signed()
}

impl Room {
    pub(crate) fn new(source: (Version, Format), target: (Version, Format)) -> Result<Self> {
        Self::with(source, target, "")
    }

    pub(crate) fn with(source: (Version, Format), target: (Version, Format), extra: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mailshadow-dsync-").tempdir()?;
        let build = |name: &str, (version, format)| -> Result<Dovecot> {
            let mut dovecot = Dovecot::prepare(&folder.path().join(name), version, format, 1, extra)?;
            dovecot.start()?;
            Ok(dovecot)
        };
        // The folder of a temporary directory is private; mail is read by another user.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let (source, target) = (build("source", source)?, build("target", target)?);
        let speaker = Speaker::new(doveadm(&target)?, None);
        Ok(Self {
            folder,
            source,
            target,
            speaker,
            told: Told::default(),
        })
    }

    /// From now on by the running server's socket, and by nothing else.
    pub(crate) fn speak_by_socket(&mut self) {
        let none = Doveadm {
            command: vec!["false".to_owned()],
            config: None,
        };
        let socket = self.folder().join("target/run/doveadm-server");
        self.speaker = Speaker::new(none, Some(socket));
    }

    /// From now on by the running server's socket where that will do, as a node does.
    pub(crate) fn speak_by_either(&mut self) -> Result<()> {
        let socket = self.folder().join("target/run/doveadm-server");
        self.speaker = Speaker::new(doveadm(&self.target)?, Some(socket));
        Ok(())
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Reads the source: structure, flags and attributes as dsync tells them, dates and bodies as IMAP does.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        let asked = Speaker::new(doveadm(&self.source)?, None);
        let mut reading = asked.read(&USER.into(), Wanted::Everything)?;
        let mut bodies = BTreeMap::new();
        let mut imap = self.source.imap(USER)?;
        for (name, selectable) in mailboxes(&mut imap)? {
            if selectable {
                read_bodies(&mut imap, &name, &mut reading, &mut bodies)?;
            }
        }
        Ok(Snapshot { reading, bodies })
    }

    /// What the target has to be told of this.
    pub(crate) fn delta(&self, snapshot: &Snapshot) -> Delta {
        let mailboxes = snapshot.reading.mailboxes.iter();
        Delta {
            user: USER.into(),
            tree: snapshot.reading.tree.clone(),
            acknowledged: self.told.states.clone(),
            mailboxes: mailboxes
                .filter_map(|(guid, there)| self.told.since(*guid, there))
                .collect(),
            ..Delta::default()
        }
    }

    /// Notes what was acknowledged; the rest is an error.
    pub(crate) fn note(&mut self, snapshot: &Snapshot, report: &Report) -> Result<()> {
        ensure!(report.tree, "the tree: {report:?}");
        for (guid, outcome) in &report.mailboxes {
            let Outcome::Acknowledged(state) = outcome else {
                anyhow::bail!("{guid}: {outcome:?}; {:?}", report.complaints)
            };
            self.told.states.insert(*guid, *state);
            if let Some(there) = snapshot.reading.mailboxes.get(guid) {
                self.told
                    .seen
                    .insert(*guid, there.listed.iter().map(|message| message.uid).collect());
                self.told.attributes.insert(*guid, there.attributes.clone());
            }
        }
        Ok(())
    }

    /// Tells the target all that changed at the source.
    pub(crate) fn tell(&mut self) -> Result<()> {
        let snapshot = self.snapshot()?;
        let delta = self.delta(&snapshot);
        let report = self.speaker.tell(&delta, &mut snapshot.shelf(), now())?;
        self.note(&snapshot, &report).with_context(|| self.target.logs())
    }

    /// Tells it until it is acknowledged: a mailbox that was told in part, or has gone there, needs the complete list.
    pub(crate) fn tell_again(&mut self) -> Result<()> {
        let snapshot = self.snapshot()?;
        let report = self
            .speaker
            .tell(&self.delta(&snapshot), &mut snapshot.shelf(), now())?;
        let (mailboxes, stale): (BTreeMap<_, _>, BTreeMap<_, _>) = report
            .mailboxes
            .into_iter()
            .partition(|(_, outcome)| matches!(outcome, Outcome::Acknowledged(_)));
        self.note(&snapshot, &Report { mailboxes, ..report })?;
        for (guid, outcome) in stale {
            ensure!(matches!(outcome, Outcome::Stale(_)), "{outcome:?}");
            self.told.forget(guid);
        }
        self.tell()
    }

    /// What a client of either sees is equal, but for MODSEQs, which are not lower at the target.
    pub(crate) fn compare(&self) -> Result<Truth> {
        let users = [USER.to_owned()];
        let (a, b) = (
            Truth::read(self.source.imap_port(), &users)?,
            Truth::read(self.target.imap_port(), &users)?,
        );
        let mut empty: BTreeSet<String> = BTreeSet::new();
        for dovecot in [&self.source, &self.target] {
            let all = mailboxes(&mut dovecot.imap(USER)?)?;
            empty.extend(
                all.into_iter()
                    .filter(|found| !found.1)
                    .map(|found| format!("{USER}/{}: ", found.0)),
            );
        }
        let mut found = a.differences(&b, &["modseq", "highestmodseq"]);
        // 2.3 keeps directories without a mailbox, 2.4 doesn't.
        found.retain(|line| !empty.iter().any(|name| line.starts_with(name.as_str())));
        ensure!(found.is_empty(), "{}\n{}", found.join("\n"), self.target.logs());
        self.modseqs_not_lower()?;
        Ok(a)
    }

    fn modseqs_not_lower(&self) -> Result<()> {
        let read = |dovecot| -> Result<Reading> {
            Ok(Speaker::new(doveadm(dovecot)?, None).read(&USER.into(), Wanted::Everything)?)
        };
        let (source, target) = (read(&self.source)?, read(&self.target)?);
        for (guid, ours) in &source.mailboxes {
            let theirs = target.mailboxes.get(guid).context("a mailbox is missing")?;
            ensure!(
                ours.highest_modseq <= theirs.highest_modseq,
                "{guid}: {ours:?} {theirs:?}"
            );
            for (ours, theirs) in ours.listed.iter().zip(&theirs.listed) {
                ensure!(
                    ours.uid == theirs.uid && ours.modseq <= theirs.modseq,
                    "{ours:?} {theirs:?}"
                );
            }
        }
        Ok(())
    }
}

impl Told {
    /// What changed in a mailbox since it was acknowledged; none: nothing.
    fn since(&self, guid: Guid, there: &MailboxReading) -> Option<MailboxDelta> {
        let since = self
            .states
            .get(&guid)
            .filter(|known| known.uid_validity == there.uid_validity)
            .copied();
        let attributes = self.attributes_since(guid, there);
        let here = State {
            at_target: Modseq(0),
            ..there.state()
        };
        if since.map(|since| State {
            at_target: Modseq(0),
            ..since
        }) == Some(here)
            && attributes.is_empty()
        {
            return None;
        }
        let seen = self.seen.get(&guid).cloned().unwrap_or_default();
        let now: BTreeSet<Uid> = there.listed.iter().map(|message| message.uid).collect();
        let (modseq, last) = since.map_or((Modseq(0), Uid(0)), |since| (since.modseq, since.uid));
        let changed = there
            .listed
            .iter()
            .filter(|message| message.modseq > modseq || message.uid > last);
        Some(MailboxDelta {
            guid,
            uid_validity: there.uid_validity,
            uid_next: there.uid_next,
            highest_modseq: there.highest_modseq,
            messages: there.messages,
            since,
            changed: changed.cloned().collect(),
            vanished: seen.difference(&now).copied().map(UidRange::one).collect(),
            attributes,
        })
    }

    fn attributes_since(&self, guid: Guid, there: &MailboxReading) -> Vec<AttributeDelta> {
        let before = self.attributes.get(&guid).cloned().unwrap_or_default();
        let mut found: Vec<_> = there
            .attributes
            .iter()
            .filter(|now| !before.contains(now))
            .cloned()
            .collect();
        let is_there = |old: &AttributeDelta| {
            let mut all = there.attributes.iter();
            all.any(|now| (now.owner, now.kind, &now.entry) == (old.owner, old.kind, &old.entry))
        };
        found.extend(
            before
                .into_iter()
                .filter(|old| !is_there(old))
                .map(|old| AttributeDelta { value: None, ..old }),
        );
        found
    }

    /// Forgets what was acknowledged of a mailbox, as after a restored backup of our own notes.
    pub(crate) fn forget(&mut self, guid: Guid) {
        self.states.remove(&guid);
    }
}

fn read_bodies(
    imap: &mut Imap,
    name: &str,
    reading: &mut Reading,
    bodies: &mut BTreeMap<MessageGuid, Vec<u8>>,
) -> Result<()> {
    let status = imap.run(&format!("STATUS {} (X-GUID)", quote(name)))?;
    let guid = status
        .all(0, "STATUS")
        .find_map(|line| item(line.get(2)?.list(), "X-GUID").map(Value::text));
    let Some(there) = guid.and_then(|guid| reading.mailboxes.get_mut(&Guid::from_hex(&guid)?)) else {
        return Ok(());
    };
    imap.run(&format!("EXAMINE {}", quote(name)))?.must()?;
    let reply = imap.run("UID FETCH 1:* (INTERNALDATE SAVEDATE BODY.PEEK[])")?.must()?;
    for (uid, items) in fetched(&reply)? {
        let message = there.listed.iter_mut().find(|message| u64::from(message.uid.0) == uid);
        let message = message.with_context(|| format!("{name}: UID {uid} came meanwhile"))?;
        let date = |name: &str| item(items, name).map(Value::text).and_then(|text| unix_seconds(&text));
        message.internal_date = date("INTERNALDATE").context("INTERNALDATE")?;
        message.save_date = date("SAVEDATE");
        let body = item(items, "BODY[]").context("BODY[]")?;
        bodies.insert(message.guid.clone(), body.bytes().to_vec());
    }
    imap.run("UNSELECT")?.must()?;
    Ok(())
}

/// `01-Jan-2026 10:00:00 +0100`.
fn unix_seconds(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let numbers: Vec<&str> = text.trim().split([' ', '-', ':']).collect();
    let number = |place: usize| numbers.get(place)?.parse::<i64>().ok();
    let month = MONTHS.iter().position(|month| numbers.get(1) == Some(month))?;
    let month = i64::try_from(month).ok()? + 1;
    let (day, year) = (number(0)?, number(2)?);
    // Days since 1970 of the civil calendar, years counted from March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    let zone = text.rsplit_once(' ')?.1;
    let (sign, digits) = zone.split_at_checked(1)?;
    let digits: i64 = digits.parse().ok()?;
    let offset = (digits / 100 * 60 + digits % 100) * 60 * if sign == "-" { -1 } else { 1 };
    Some(days * 86_400 + number(3)? * 3600 + number(4)? * 60 + number(5)? - offset)
}

/// A mailbox's GUID, by its name.
pub(crate) fn guid_of(reading: &Reading, name: &str) -> Result<Guid> {
    let name = MailboxName::of(name.split('/'));
    let node = reading
        .tree
        .iter()
        .find(|node| node.name == name && node.mailbox.is_some());
    Ok(node
        .and_then(|node| node.mailbox)
        .with_context(|| format!("no mailbox {name}"))?
        .guid)
}
