//! What a client sees of a whole mail store, and how two stores differ.

use crate::imap::{Imap, Reply, Value, quote};
use crate::{Result, dovecot};
use anyhow::{Context, bail};
use std::collections::{BTreeMap, BTreeSet};

/// Entries of the server that tests set.
pub const SERVER_ENTRIES: [&str; 3] = [
    "/private/comment",
    "/private/vendor/vendor.test/one",
    "/shared/vendor/vendor.test/two",
];

/// Named properties of a mailbox or message, each as text.
type Fields = BTreeMap<&'static str, String>;

/// Everything that clients see of a store, by user name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Truth {
    users: BTreeMap<String, Account>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Account {
    /// Prefixes and separators, as NAMESPACE tells them.
    namespaces: Vec<Value>,
    /// METADATA of the server, as this user sees it.
    fields: Fields,
    mailboxes: BTreeMap<String, Mailbox>,
    subscriptions: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Mailbox {
    fields: Fields,
    messages: BTreeMap<u64, Fields>,
}

impl Truth {
    /// Reads every mailbox of these users on a port of 127.0.0.1.
    ///
    /// Of a mailbox: `selectable`, `uidvalidity`, `uidnext`, `highestmodseq`, `guid`, `metadata`, `acl`, `myrights`. Of a
    /// message, by UID: `flags` (keywords too, sorted, without `\Recent`), `internaldate`, `size`, `modseq`, `savedate`,
    /// `guid`, `octets` and `hash` (BLAKE3 of the body).
    pub fn read(port: u16, users: &[String]) -> Result<Truth> {
        let mut truth = Truth::default();
        for user in users {
            let account = Account::read(port, user).with_context(|| format!("read {user} on port {port}"))?;
            truth.users.insert(user.clone(), account);
        }
        Ok(truth)
    }

    /// One line for each difference, without the fields named in `ignore`.
    pub fn differences(&self, other: &Truth, ignore: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        each(&self.users, &other.users, "", &mut found, |user, a, b, found| {
            if a.namespaces != b.namespaces {
                found.push(format!("{user}: namespaces {:?} != {:?}", a.namespaces, b.namespaces));
            }
            compare(user, &a.fields, &b.fields, ignore, found);
            if a.subscriptions != b.subscriptions {
                found.push(format!(
                    "{user}: subscriptions {:?} != {:?}",
                    a.subscriptions, b.subscriptions
                ));
            }
            each(
                &a.mailboxes,
                &b.mailboxes,
                &format!("{user}/"),
                found,
                |mailbox, a, b, found| {
                    compare(mailbox, &a.fields, &b.fields, ignore, found);
                    each(
                        &a.messages,
                        &b.messages,
                        &format!("{mailbox} uid "),
                        found,
                        |message, a, b, found| {
                            compare(message, a, b, ignore, found);
                        },
                    );
                },
            );
        });
        found
    }

    /// The mailboxes alone that a user sees below a prefix, without it, as if they were those of `named`.
    pub fn below(&self, user: &str, prefix: &str, named: &str) -> Truth {
        let mailboxes = self.users.get(user).into_iter().flat_map(|account| &account.mailboxes);
        let mailboxes = mailboxes.filter_map(|(name, mailbox)| Some((name.strip_prefix(prefix)?, mailbox)));
        let account = Account {
            mailboxes: mailboxes
                .map(|(name, mailbox)| (name.to_owned(), mailbox.clone()))
                .collect(),
            ..Account::default()
        };
        Truth {
            users: BTreeMap::from([(named.to_owned(), account)]),
        }
    }

    /// How many messages it holds.
    pub fn messages(&self) -> usize {
        self.users
            .values()
            .flat_map(|u| u.mailboxes.values())
            .map(|m| m.messages.len())
            .sum()
    }

    /// How many mailboxes it holds, those that can't be selected too.
    pub fn mailboxes(&self) -> usize {
        self.users.values().map(|u| u.mailboxes.len()).sum()
    }
}

/// Calls `both` for keys of both maps, and reports those that only one of them has.
fn each<K: Ord + std::fmt::Display, V>(
    first: &BTreeMap<K, V>,
    second: &BTreeMap<K, V>,
    prefix: &str,
    found: &mut Vec<String>,
    mut both: impl FnMut(&str, &V, &V, &mut Vec<String>),
) {
    for key in first.keys().chain(second.keys()).collect::<BTreeSet<_>>() {
        let name = format!("{prefix}{key}");
        match (first.get(key), second.get(key)) {
            (Some(a), Some(b)) => both(&name, a, b, found),
            (Some(_), None) => found.push(format!("{name}: only in the first")),
            _ => found.push(format!("{name}: only in the second")),
        }
    }
}

/// The GUID in an answer to STATUS.
fn guid(status: &Reply) -> Option<(&'static str, String)> {
    let answer = |s: &[Value]| item(s.get(2)?.list(), "X-GUID").map(|guid| guid.text().to_ascii_lowercase());
    Some(("guid", status.all(0, "STATUS").find_map(answer)?))
}

fn compare(name: &str, first: &Fields, second: &Fields, ignore: &[&str], found: &mut Vec<String>) {
    for field in first.keys().chain(second.keys()).collect::<BTreeSet<_>>() {
        let (a, b) = (first.get(field), second.get(field));
        if a != b && !ignore.contains(field) {
            let shown = |v: Option<&String>| v.map_or("nothing".to_owned(), Clone::clone);
            found.push(format!("{name}: {field} {} != {}", shown(a), shown(b)));
        }
    }
}

impl Account {
    fn read(port: u16, user: &str) -> Result<Account> {
        let mut imap = Imap::login(port, user, dovecot::PASSWORD)?;
        if imap.can("ENABLE") && imap.can("CONDSTORE") {
            // without it a server may leave HIGHESTMODSEQ out
            imap.run("ENABLE CONDSTORE")?.must()?;
        }
        let mut account = Account {
            namespaces: namespaces(&mut imap)?,
            ..Account::default()
        };
        for (name, selectable) in mailboxes(&mut imap)? {
            let mailbox = if selectable {
                Mailbox::read(&mut imap, &name)?
            } else {
                Mailbox::unselectable()
            };
            account.mailboxes.insert(name, mailbox);
        }
        if imap.can("METADATA") {
            // the server's annotations are told only where they are named
            let told = imap
                .run(&format!("GETMETADATA \"\" ({})", SERVER_ENTRIES.join(" ")))?
                .must()?;
            account.fields.insert("metadata", metadata(&told));
        }
        let subscribed = imap.run("LSUB \"\" \"*\"")?.must()?;
        account.subscriptions = subscribed
            .all(0, "LSUB")
            .filter_map(|l| l.get(3))
            .map(Value::text)
            .collect();
        imap.run("LOGOUT")?;
        Ok(account)
    }
}

/// The personal namespaces: a list of prefix and separator each.
fn namespaces(imap: &mut Imap) -> Result<Vec<Value>> {
    let reply = imap.run("NAMESPACE")?.must()?;
    let personal = reply.all(0, "NAMESPACE").find_map(|answer| answer.get(1));
    Ok(personal.context("NAMESPACE has no answer")?.list().to_vec())
}

/// What stands before the names of new mailboxes, and between their levels.
pub fn prefix_and_separator(imap: &mut Imap) -> Result<(String, String)> {
    let namespaces = namespaces(imap)?;
    let first = namespaces.first().map(Value::list).unwrap_or_default();
    match first {
        [prefix, separator] => Ok((prefix.text(), separator.text())),
        other => bail!("a namespace without prefix and separator: {other:?}"),
    }
}

/// Every mailbox name as the server writes it, and whether it can be selected.
pub fn mailboxes(imap: &mut Imap) -> Result<Vec<(String, bool)>> {
    let reply = imap.run("LIST \"\" \"*\"")?.must()?;
    let named = reply.all(0, "LIST").filter_map(|line| {
        let [_, flags, _, name] = line else { return None };
        let selectable = !flags.list().iter().any(|f| f.is("\\Noselect") || f.is("\\NonExistent"));
        let name = if name.is("INBOX") {
            "INBOX".to_owned()
        } else {
            name.text()
        };
        Some((name, selectable))
    });
    Ok(named.collect())
}

impl Mailbox {
    fn unselectable() -> Mailbox {
        Mailbox {
            fields: Fields::from([("selectable", "no".to_owned())]),
            messages: BTreeMap::new(),
        }
    }

    /// A name that is listed as a mailbox but can't be opened: so it is with a Maildir++ parent after its DELETE, which
    /// Dovecot's list index goes on showing for the sake of its children. `refusal` is what SELECT says, without the time
    /// it took; STATUS may still tell the `guid`.
    fn stale(imap: &mut Imap, name: &str, refusal: &str) -> Result<Mailbox> {
        let words = refusal.rsplit_once(" (").map_or(refusal, |(words, _)| words);
        let mut mailbox = Mailbox {
            fields: Fields::from([("selectable", "stale".to_owned()), ("refusal", words.to_owned())]),
            messages: BTreeMap::new(),
        };
        let status = imap.run(&format!("STATUS {} (X-GUID)", quote(name)))?;
        mailbox.fields.extend(guid(&status));
        Ok(mailbox)
    }

    fn read(imap: &mut Imap, name: &str) -> Result<Mailbox> {
        let opened = imap.run(&format!("EXAMINE {}", quote(name)))?;
        if !opened.is_ok() && opened.text.contains("Mailbox doesn't exist") {
            return Mailbox::stale(imap, name, &opened.text);
        }
        let opened = opened.must().with_context(|| format!("EXAMINE {name}"))?;
        let mut mailbox = Mailbox {
            fields: Fields::from([("selectable", "yes".to_owned())]),
            messages: BTreeMap::new(),
        };
        for (field, code) in [
            ("uidvalidity", "UIDVALIDITY"),
            ("uidnext", "UIDNEXT"),
            ("highestmodseq", "HIGHESTMODSEQ"),
        ] {
            if let Some(number) = opened.code(code) {
                mailbox.fields.insert(field, number.to_string());
            }
        }
        mailbox.read_messages(imap)?;
        imap.run("UNSELECT")?.must()?;
        let status = imap.run(&format!("STATUS {} (X-GUID)", quote(name)))?.must()?;
        mailbox.fields.extend(guid(&status));
        mailbox.fields.extend(attributes(imap, name)?);
        Ok(mailbox)
    }

    fn read_messages(&mut self, imap: &mut Imap) -> Result<()> {
        let saved = if imap.can("SAVEDATE") { " SAVEDATE" } else { "" };
        let items = format!("(FLAGS INTERNALDATE RFC822.SIZE MODSEQ X-GUID{saved} BODY.PEEK[])");
        let reply = imap.run(&format!("UID FETCH 1:* {items}"))?.must()?;
        for (uid, items) in fetched(&reply)? {
            self.messages.insert(uid, message(items));
        }
        Ok(())
    }
}

/// METADATA and access control of a mailbox, where the server tells them. What is empty is left out.
fn attributes(imap: &mut Imap, name: &str) -> Result<Fields> {
    let mut fields = Fields::new();
    if imap.can("METADATA") {
        let told = imap.run(&format!(
            "GETMETADATA (DEPTH infinity) {} (/private /shared)",
            quote(name)
        ))?;
        fields.insert("metadata", metadata(&told.must()?));
    }
    if imap.can("ACL") {
        let told = imap.run(&format!("GETACL {}", quote(name)))?;
        let rights = told
            .all(0, "ACL")
            .flat_map(|line| line.get(2..).unwrap_or_default().chunks(2));
        let rights: BTreeSet<String> = rights.map(|pair| words(pair, sorted)).collect();
        fields.insert("acl", rights.into_iter().collect::<Vec<_>>().join(", "));
        let mine = imap.run(&format!("MYRIGHTS {}", quote(name)))?;
        let mine = mine
            .all(0, "MYRIGHTS")
            .filter_map(|line| line.get(2))
            .map(|rights| sorted(&rights.text()));
        fields.insert("myrights", mine.collect());
    }
    fields.retain(|_, value| !value.is_empty());
    Ok(fields)
}

/// Every entry with the BLAKE3 of its value, in the order of their names.
pub fn metadata(reply: &Reply) -> String {
    let entries = reply.all(0, "METADATA").filter_map(|line| line.get(2));
    let entries: BTreeSet<String> = entries
        .flat_map(|list| list.list().chunks(2))
        .filter_map(|pair| {
            let [name, value] = pair else { return None };
            Some(format!("{} {}", name.text(), fingerprint(value.bytes())))
        })
        .collect();
    entries.into_iter().collect::<Vec<_>>().join(", ")
}

/// How many octets, and the beginning of their BLAKE3.
pub fn fingerprint(octets: &[u8]) -> String {
    let hash = blake3::hash(octets).to_hex();
    format!("{} {}", octets.len(), hash.get(..16).unwrap_or_default())
}

/// An identifier and its rights, whose order says nothing.
fn words(pair: &[Value], rights: impl Fn(&str) -> String) -> String {
    let text = |at: usize| pair.get(at).map(Value::text).unwrap_or_default();
    format!("{} {}", text(0), rights(&text(1)))
}

fn sorted(letters: &str) -> String {
    let letters: BTreeSet<char> = letters.chars().collect();
    letters.into_iter().collect()
}

/// UID and items of each FETCH answer that names a UID.
pub fn fetched(reply: &Reply) -> Result<Vec<(u64, &[Value])>> {
    let mut found = Vec::new();
    for answer in reply.all(1, "FETCH") {
        let Some(items) = answer.get(2) else {
            bail!("a FETCH answer without items")
        };
        if let Some(uid) = item(items.list(), "UID").and_then(Value::number) {
            found.push((uid, items.list()));
        }
    }
    Ok(found)
}

/// UID → what its `Subject:` says, of a whole mailbox.
pub fn subjects(imap: &mut Imap, mailbox: &str) -> Result<BTreeMap<u32, String>> {
    imap.run(&format!("EXAMINE {}", quote(mailbox)))?.must()?;
    let reply = imap.run("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")?.must()?;
    let mut found = BTreeMap::new();
    for (uid, items) in fetched(&reply)? {
        let text = item(items, "BODY[HEADER.FIELDS (SUBJECT)]")
            .context("no header")?
            .text();
        let subject = text.trim().strip_prefix("Subject: ").context("no subject")?;
        found.insert(u32::try_from(uid)?, subject.to_owned());
    }
    Ok(found)
}

/// The value after `name` in a list of names and values.
pub fn item<'a>(items: &'a [Value], name: &str) -> Option<&'a Value> {
    items
        .chunks(2)
        .find(|pair| pair.first().is_some_and(|v| v.is(name)))?
        .get(1)
}

fn message(items: &[Value]) -> Fields {
    let mut fields = Fields::new();
    for (field, name) in [
        ("internaldate", "INTERNALDATE"),
        ("size", "RFC822.SIZE"),
        ("savedate", "SAVEDATE"),
        ("guid", "X-GUID"),
    ] {
        fields.extend(item(items, name).map(|v| (field, v.text())));
    }
    let modseq = item(items, "MODSEQ").and_then(|v| v.list().first());
    fields.extend(modseq.map(|v| ("modseq", v.text())));
    fields.extend(item(items, "FLAGS").map(|v| ("flags", flags(v.list()))));
    if let Some(body) = item(items, "BODY[]") {
        fields.insert("octets", body.bytes().len().to_string());
        fields.insert("hash", blake3::hash(body.bytes()).to_hex().to_string());
    }
    fields
}

/// Sorted; system flags in one case, keywords as they are, without `\Recent`, which is a client's own.
fn flags(list: &[Value]) -> String {
    let word = |v: &Value| {
        let text = v.text();
        if text.starts_with('\\') {
            text.to_ascii_lowercase()
        } else {
            text
        }
    };
    let sorted: BTreeSet<String> = list.iter().map(word).filter(|f| f != "\\recent").collect();
    sorted.into_iter().collect::<Vec<_>>().join(" ")
}

/// The UIDs that a client with this MODSEQ is told: gone, and changed.
pub fn resync(imap: &mut Imap, name: &str, uid_validity: u32, modseq: u64) -> Result<(String, BTreeSet<u64>)> {
    imap.run("ENABLE QRESYNC")?.must()?;
    let reply = imap
        .run(&format!("SELECT {} (QRESYNC ({uid_validity} {modseq}))", quote(name)))?
        .must()?;
    let vanished = reply
        .all(0, "VANISHED")
        .filter_map(|line| line.last())
        .map(Value::text)
        .collect();
    let changed = fetched(&reply)?.into_iter().map(|(uid, _)| uid).collect();
    Ok((vanished, changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(flags: &str) -> Truth {
        let fields = Fields::from([("flags", flags.to_owned()), ("savedate", "now".to_owned())]);
        let mailbox = Mailbox {
            fields: Fields::new(),
            messages: BTreeMap::from([(7, fields)]),
        };
        let account = Account {
            mailboxes: BTreeMap::from([("INBOX".to_owned(), mailbox)]),
            ..Account::default()
        };
        Truth {
            users: BTreeMap::from([("u".to_owned(), account)]),
        }
    }

    #[test]
    fn difference_in_one_flag_is_named() {
        assert_eq!(
            truth("a").differences(&truth("b"), &[]),
            ["u/INBOX uid 7: flags a != b"]
        );
        assert!(truth("a").differences(&truth("b"), &["flags"]).is_empty());
        assert!(truth("a").differences(&truth("a"), &[]).is_empty());
    }

    #[test]
    fn lost_message_and_lost_mailbox_are_differences() {
        let mut fewer = truth("a");
        fewer
            .users
            .get_mut("u")
            .unwrap()
            .mailboxes
            .get_mut("INBOX")
            .unwrap()
            .messages
            .clear();
        assert_eq!(
            truth("a").differences(&fewer, &[]),
            ["u/INBOX uid 7: only in the first"]
        );
        fewer.users.get_mut("u").unwrap().mailboxes.clear();
        assert_eq!(fewer.differences(&truth("a"), &[]), ["u/INBOX: only in the second"]);
    }
}
