//! A client that believes nothing: it keeps the numbers that RFC 9051 lets it keep, and fails where an answer breaks them.

use anyhow::{Context, bail, ensure};
use std::collections::BTreeSet;
use testbed::Result;
use testbed::imap::{Imap, Reply, Value};

/// What a client knows of its mailbox.
pub(crate) struct Strict {
    imap: Imap,
    /// By message number; none: its UID was not told yet.
    pub(crate) uids: Vec<Option<u32>>,
    /// UIDs that were told to be gone.
    pub(crate) gone: BTreeSet<u32>,
    qresync: bool,
}

impl Strict {
    /// Selects the INBOX and learns its UIDs.
    pub(crate) fn new(mut imap: Imap, qresync: bool) -> Result<Strict> {
        if qresync {
            imap.run("ENABLE QRESYNC")?.must()?;
        }
        let reply = imap.select("INBOX")?.must()?;
        let mut strict = Strict {
            imap,
            uids: Vec::new(),
            gone: BTreeSet::new(),
            qresync,
        };
        strict.hear(&reply, true)?;
        strict.learn()?;
        Ok(strict)
    }

    /// Runs a command and holds its answers to what is known.
    pub(crate) fn run(&mut self, command: &str) -> Result<Reply> {
        let by_number = ["FETCH", "STORE", "SEARCH"]
            .iter()
            .any(|verb| command.starts_with(verb));
        let reply = self.imap.run(command)?;
        self.hear(&reply, !by_number)
            .with_context(|| format!("{command}: {:?}", reply.untagged))?;
        Ok(reply)
    }

    pub(crate) fn append(&mut self, message: &[u8]) -> Result<Reply> {
        let reply = self.imap.append("INBOX", "", message)?.must()?;
        self.hear(&reply, true)
            .with_context(|| format!("APPEND: {:?}", reply.untagged))?;
        Ok(reply)
    }

    /// Asks for UIDs that it doesn't know.
    pub(crate) fn learn(&mut self) -> Result<()> {
        if let Some(first) = self.uids.iter().position(Option::is_none) {
            self.run(&format!("FETCH {}:* (UID)", first + 1))?;
            ensure!(
                self.uids.iter().all(Option::is_some),
                "a message has no UID: {:?}",
                self.uids
            );
        }
        Ok(())
    }

    fn hear(&mut self, reply: &Reply, may_expunge: bool) -> Result<()> {
        for words in &reply.untagged {
            match words.as_slice() {
                [count, what] if what.is("EXISTS") => self.exists(number(count)?)?,
                [which, what] if what.is("EXPUNGE") => {
                    ensure!(may_expunge && !self.qresync, "EXPUNGE where there may be none");
                    let place = self.place(which)?;
                    self.gone.extend(self.uids.remove(place));
                }
                [what, uids] if what.is("VANISHED") => {
                    ensure!(may_expunge && self.qresync, "VANISHED where there may be none");
                    self.vanished(&uids.text())?;
                }
                [which, what, items] if what.is("FETCH") => {
                    let place = self.place(which)?;
                    self.fetched(place, items.list())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn exists(&mut self, count: usize) -> Result<()> {
        ensure!(
            count >= self.uids.len(),
            "EXISTS fell from {} to {count}",
            self.uids.len()
        );
        self.uids.resize(count, None);
        Ok(())
    }

    fn place(&self, which: &Value) -> Result<usize> {
        let n = number(which)?;
        ensure!((1..=self.uids.len()).contains(&n), "message {n} of {}", self.uids.len());
        Ok(n - 1)
    }

    fn vanished(&mut self, set: &str) -> Result<()> {
        for range in set.split(',') {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            for uid in first.parse::<u32>()?..=last.parse()? {
                let known = self.uids.iter().position(|known| *known == Some(uid));
                let unknown = || self.uids.iter().position(Option::is_none);
                let Some(place) = known.or_else(unknown) else {
                    bail!("{uid} vanished and was never there");
                };
                self.uids.remove(place);
                ensure!(self.gone.insert(uid), "{uid} vanished twice");
            }
        }
        Ok(())
    }

    fn fetched(&mut self, place: usize, items: &[Value]) -> Result<()> {
        let Some(at) = items.iter().position(|item| item.is("UID")) else {
            return Ok(());
        };
        let uid = u32::try_from(number(items.get(at + 1).context("UID without a number")?)?)?;
        let known = *self.uids.get(place).context("no such message")?;
        ensure!(
            known.is_none_or(|known| known == uid),
            "message {} was {known:?} and is {uid}",
            place + 1
        );
        self.uids
            .iter_mut()
            .skip(place)
            .take(1)
            .for_each(|slot| *slot = Some(uid));
        let before = self.uids.iter().take(place).flatten().next_back();
        ensure!(
            before.is_none_or(|before| *before < uid),
            "{uid} stands behind {before:?}"
        );
        ensure!(!self.gone.contains(&uid), "{uid} is gone and comes again");
        Ok(())
    }
}

fn number(value: &Value) -> Result<usize> {
    let number = value.number().context("no number")?;
    Ok(usize::try_from(number)?)
}
