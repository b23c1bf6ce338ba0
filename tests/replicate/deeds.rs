//! What happens to mail stores: damage, repairs and restores, each as a person or a machine does it.

use anyhow::{Context, bail};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::imap::{Imap, Reply, Value};
use testbed::{Result, process};

/// Accesses until a mailbox must have healed.
const ACCESSES_MAX: usize = 8;

/// What the copy must look like afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// As the source; nothing held back.
    Equal,
    /// As the source, but for MODSEQs, which fell there.
    RolledBack,
    /// What disappeared without a request is held back; released, the copy is as the source.
    HeldBack,
    /// Dovecot can't read it; the copy keeps everything.
    Unreadable,
}

/// One of them.
pub(crate) struct Deed {
    pub(crate) name: &'static str,
    formats: &'static [Format],
    deed: fn(&Account<'_>) -> Result<()>,
    after: fn(Version, Format) -> After,
    /// True where the copy must have followed what happens before the damage.
    pub(crate) only_running: bool,
}

impl Deed {
    pub(crate) fn fits(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    pub(crate) fn after(&self, version: Version, format: Format) -> After {
        (self.after)(version, format)
    }
}

/// One user's mail.
pub(crate) struct Account<'a> {
    source: &'a Dovecot,
    user: &'a str,
}

impl<'a> Account<'a> {
    pub(crate) fn new(source: &'a Dovecot, user: &'a str) -> Self {
        Self { source, user }
    }

    fn root(&self) -> PathBuf {
        self.source.home(self.user).join(self.source.format().folder())
    }

    fn inbox(&self) -> PathBuf {
        match self.source.format() {
            Format::Maildir => self.root(),
            Format::Sdbox | Format::Mdbox => self.root().join("mailboxes/INBOX/dbox-Mails"),
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        match self.source.format() {
            Format::Maildir => self.root().join(format!(".{name}")),
            Format::Sdbox | Format::Mdbox => self.root().join("mailboxes").join(name),
        }
    }

    fn index(&self) -> PathBuf {
        self.inbox().join("dovecot.index")
    }

    fn log(&self) -> PathBuf {
        self.inbox().join("dovecot.index.log")
    }

    fn uidlist(&self) -> PathBuf {
        self.inbox().join("dovecot-uidlist")
    }

    /// A file with a body: of one message, or of all (mdbox).
    fn body(&self) -> Result<PathBuf> {
        match self.source.format() {
            Format::Maildir => {
                let files = fs::read_dir(self.root().join("cur"))?;
                let files: Vec<PathBuf> = files.map(|e| e.map(|e| e.path())).collect::<std::io::Result<_>>()?;
                files.into_iter().min().context("no message in cur")
            }
            Format::Sdbox => Ok(self.inbox().join("u.2")),
            Format::Mdbox => Ok(self.root().join("storage/m.1")),
        }
    }

    fn imap(&self) -> Result<Imap> {
        self.source.imap(self.user)
    }

    fn deliver(&self, count: usize) -> Result<()> {
        let mut lmtp = self.source.lmtp()?;
        (0..count).try_for_each(|n| lmtp.deliver(self.user, format!("Subject: {n}\r\n\r\ntext {n}\r\n").as_bytes()))
    }

    fn doveadm(&self, verb: &[&str], last: &[&str]) -> Result<()> {
        let words = [verb, &["-u", self.user], last].concat();
        self.source.doveadm(&words).map(drop)
    }

    /// Ten messages in three mailboxes, a main index, and a log that goes on behind it.
    pub(crate) fn furnish(&self) -> Result<()> {
        self.deliver(5)?;
        let mut imap = self.imap()?;
        for name in ["other", "third"] {
            imap.run(&format!("CREATE {name}"))?.must()?;
        }
        imap.select("INBOX")?.must()?;
        imap.run("COPY 1:4 other")?.must()?;
        imap.run("COPY 1:2 third")?.must()?;
        imap.run("STORE 2 +FLAGS (word)")?.must()?;
        imap.run("STORE 5 +FLAGS (\\Deleted)")?.must()?;
        imap.run("EXPUNGE")?.must()?;
        for round in 0..100 {
            let sign = if round % 2 == 0 { '+' } else { '-' };
            imap.run(&format!("STORE 1 {sign}FLAGS (\\Flagged)"))?.must()?;
        }
        imap.run("LOGOUT")?;
        let mut imap = self.imap()?;
        imap.select("INBOX")?.must()?;
        imap.run("STORE 3 +FLAGS (\\Answered)")?.must()?;
        imap.run("LOGOUT")?;
        anyhow::ensure!(self.index().exists(), "no main index was written");
        Ok(())
    }

    /// The deed, and then clients until Dovecot has healed.
    pub(crate) fn suffer(&self, deed: &Deed) -> Result<()> {
        (deed.deed)(self)?;
        let after = deed.after(self.source.version(), self.source.format());
        let mut good = 0;
        for _ in 0..ACCESSES_MAX {
            good = if self.use_all().is_ok() { good + 1 } else { 0 };
            if good == 2 {
                return Ok(());
            }
        }
        match after {
            After::Unreadable => Ok(()),
            _ => bail!("Dovecot does not heal"),
        }
    }

    /// What clients do.
    fn use_all(&self) -> Result<()> {
        let mut imap = self.imap()?;
        imap.run("LIST \"\" *")?.must()?;
        for name in ["INBOX", "other", "third"] {
            let selected = imap.select(name)?;
            if !selected.is_ok() && name == "INBOX" {
                bail!("no INBOX");
            }
            if exists(&selected) > 0 {
                imap.run("FETCH 1:* (UID FLAGS BODY.PEEK[])")?.must()?;
                imap.run("STORE 1 +FLAGS (touched)")?.must()?;
            }
        }
        Ok(())
    }
}

fn exists(selected: &Reply) -> u64 {
    let counted = selected
        .untagged
        .iter()
        .find(|a| a.get(1).is_some_and(|v| v.is("EXISTS")));
    counted.and_then(|a| a.first()).and_then(Value::number).unwrap_or(0)
}

/// Overwrites octets where they stand.
fn overwrite(file: &Path, at: u64, octets: &[u8]) -> Result<()> {
    let open = fs::File::options().write(true).open(file);
    let file = open.with_context(|| format!("open {}", file.display()))?;
    Ok(file.write_all_at(octets, at)?)
}

fn append(file: &Path, octets: &[u8]) -> Result<()> {
    overwrite(file, fs::metadata(file)?.len(), octets)
}

fn cut(file: &Path, octets: u64) -> Result<()> {
    let size = fs::metadata(file)?.len().saturating_sub(octets);
    Ok(fs::File::options().write(true).open(file)?.set_len(size)?)
}

fn shell(words: &[&str]) -> Result<()> {
    process::check(&process::words(words)).map(drop)
}

/// A machine's backup of yesterday, put back today.
fn restore_backup(account: &Account<'_>) -> Result<()> {
    let home = account.source.home(account.user);
    let backup = home.with_extension("backup");
    let (home, backup) = (home.display().to_string(), backup.display().to_string());
    shell(&["cp", "-a", &home, &backup])?;
    account.deliver(2)?;
    let mut imap = account.imap()?;
    imap.select("INBOX")?.must()?;
    imap.run("STORE 1 +FLAGS (\\Deleted)")?.must()?;
    imap.run("EXPUNGE")?.must()?;
    drop(imap);
    // The agent copies what will be undone.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    fs::remove_dir_all(&home)?;
    shell(&["mv", &backup, &home])?;
    account.deliver(1)
}

fn swap_names(account: &Account<'_>) -> Result<()> {
    let mut imap = account.imap()?;
    for (from, to) in [("other", "between"), ("third", "other"), ("between", "third")] {
        imap.run(&format!("RENAME {from} {to}"))?.must()?;
    }
    Ok(())
}

/// A message that comes and goes before anybody looks.
fn come_and_go(account: &Account<'_>) -> Result<()> {
    account.deliver(1)?;
    let mut imap = account.imap()?;
    imap.select("INBOX")?.must()?;
    imap.run("STORE * +FLAGS (\\Deleted)")?.must()?;
    imap.run("EXPUNGE")?.must()?;
    Ok(())
}

fn change_uidvalidity_in_uidlist(account: &Account<'_>) -> Result<()> {
    let text = fs::read_to_string(account.uidlist())?;
    let at = text.find('V').context("no UIDVALIDITY in the uidlist")?;
    let mut text = text;
    text.replace_range(at + 1..at + 3, "18");
    Ok(fs::write(account.uidlist(), text)?)
}

fn delete_map(account: &Account<'_>) -> Result<()> {
    let map = account.root().join("storage/dovecot.map.index");
    if map.exists() {
        fs::remove_file(&map)?;
    }
    Ok(fs::remove_file(map.with_extension("index.log"))?)
}

const ALL: &[Format] = &[Format::Maildir, Format::Sdbox, Format::Mdbox];
const MAILDIR: &[Format] = &[Format::Maildir];
const SDBOX: &[Format] = &[Format::Sdbox];
const MDBOX: &[Format] = &[Format::Mdbox];
const FILES: &[Format] = &[Format::Maildir, Format::Sdbox];

fn equal(_: Version, _: Format) -> After {
    After::Equal
}

fn rolled_back(_: Version, _: Format) -> After {
    After::RolledBack
}

fn held_back(_: Version, _: Format) -> After {
    After::HeldBack
}

/// An index that begins anew: a maildir's files say all, a dbox mailbox comes back empty and as another one.
fn begun_anew(_: Version, format: Format) -> After {
    match format {
        Format::Maildir => After::RolledBack,
        Format::Sdbox | Format::Mdbox => After::HeldBack,
    }
}

const fn deed(
    name: &'static str,
    formats: &'static [Format],
    deed: fn(&Account<'_>) -> Result<()>,
    after: fn(Version, Format) -> After,
) -> Deed {
    Deed {
        name,
        formats,
        deed,
        after,
        only_running: false,
    }
}

/// All of them; `docs/damage.md` lists them for operators.
pub(crate) const DEEDS: &[Deed] = &[
    deed(
        "log_marked_corrupt",
        ALL,
        |a| overwrite(&a.log(), 4, &[0; 4]),
        rolled_back,
    ),
    deed(
        "log_with_garbage_at_its_end",
        ALL,
        |a| append(&a.log(), &[1; 40]),
        rolled_back,
    ),
    deed(
        "log_with_zeros_at_its_end",
        ALL,
        |a| append(&a.log(), &[0; 40]),
        rolled_back,
    ),
    deed("log_cut_in_a_record", ALL, |a| cut(&a.log(), 6), rolled_back),
    deed("log_deleted", ALL, |a| Ok(fs::remove_file(a.log())?), rolled_back),
    deed("log_emptied", ALL, |a| cut(&a.log(), u64::MAX), rolled_back),
    deed("index_deleted", ALL, |a| Ok(fs::remove_file(a.index())?), equal),
    deed("index_zeroed", ALL, |a| overwrite(&a.index(), 0, &[0; 64]), begun_anew),
    deed(
        "index_of_a_foreign_mailbox",
        ALL,
        |a| overwrite(&a.index(), 16, &[1, 2, 3, 4]),
        |version, _| match version {
            Version::V2_3 => After::RolledBack,
            Version::V2_4 => After::Equal,
        },
    ),
    deed(
        "index_cut_in_a_message",
        ALL,
        |a| cut(&a.index(), 8),
        |_, format| match format {
            // Dovecot drops the message without a word and finds its file again later.
            Format::Maildir => After::HeldBack,
            Format::Sdbox | Format::Mdbox => After::Equal,
        },
    ),
    deed(
        "index_and_log_deleted",
        ALL,
        |a| {
            fs::remove_file(a.index())
                .and_then(|()| fs::remove_file(a.log()))
                .map_err(Into::into)
        },
        begun_anew,
    ),
    deed("uidlist_deleted", MAILDIR, |a| Ok(fs::remove_file(a.uidlist())?), equal),
    deed(
        "uidlist_with_a_garbage_line",
        MAILDIR,
        |a| append(&a.uidlist(), b"garbage\n"),
        equal,
    ),
    deed(
        "uidvalidity_changed_in_the_uidlist",
        MAILDIR,
        change_uidvalidity_in_uidlist,
        equal,
    ),
    deed("force_resync", ALL, |a| a.doveadm(&["force-resync"], &["INBOX"]), equal),
    deed(
        "uidvalidity_changed_by_doveadm",
        ALL,
        |a| a.doveadm(&["mailbox", "update"], &["--uid-validity", "1900000000", "INBOX"]),
        equal,
    ),
    deed(
        "body_deleted_by_hand",
        FILES,
        |a| Ok(fs::remove_file(a.body()?)?),
        held_back,
    ),
    deed(
        "body_with_a_broken_header",
        SDBOX,
        |a| overwrite(&a.body()?, 0, b"~~~~"),
        |version, _| match version {
            // 2.3 aborts on each access.
            Version::V2_3 => After::Unreadable,
            Version::V2_4 => After::Equal,
        },
    ),
    deed(
        "body_cut",
        SDBOX,
        |a| Ok(fs::File::options().write(true).open(a.body()?)?.set_len(20)?),
        held_back,
    ),
    deed("storage_purged", MDBOX, |a| a.doveadm(&["purge"], &[]), equal),
    deed("map_of_bodies_deleted", MDBOX, delete_map, equal),
    deed(
        "storage_with_a_broken_header",
        MDBOX,
        |a| overwrite(&a.body()?, 0, b"~~~~"),
        |_, _| After::Unreadable,
    ),
    deed(
        "folder_removed_by_hand",
        ALL,
        |a| Ok(fs::remove_dir_all(a.folder("other"))?),
        held_back,
    ),
    deed(
        "home_removed_by_hand",
        ALL,
        |a| Ok(fs::remove_dir_all(a.source.home(a.user))?),
        held_back,
    ),
    deed("names_swapped", ALL, swap_names, equal),
    deed("message_gone_before_it_was_read", ALL, come_and_go, equal),
    Deed {
        only_running: true,
        ..deed("backup_restored", ALL, restore_backup, held_back)
    },
];
