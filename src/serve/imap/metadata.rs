//! GETMETADATA and SETMETADATA (RFC 5464), as Dovecot answers them: entries by name, values as literals; a missing entry is NIL where it
//! was asked for itself. Of the server's annotations only those are told that are named.

use super::answer;
use super::grammar::{Depth, GetMetadata, SetMetadata};
use super::session::{Reply, Session, Stop};
use crate::op::{AttributeKind, AttributeScope, MailboxName};
use crate::store::change::{Change, Reason};
use std::collections::BTreeMap;

/// Where the entries of Dovecot's own begin, behind `/private` or `/shared`: no client sees them.
const OWN: &str = "/vendor/vendor.dovecot/pvt/";
/// The entry that tells the special use (RFC 6154 section 4).
const SPECIAL_USE: &str = "/private/specialuse";

/// Entry name → value.
type Entries = BTreeMap<String, Vec<u8>>;

impl Session {
    pub(super) async fn get_metadata(&mut self, command: &GetMetadata) -> Result<Reply, Stop> {
        let (shown, entries) = if command.mailbox.is_empty() {
            let entries = self.metadata(None).await?;
            (b"\"\"".to_vec(), entries)
        } else {
            let name = self.named(&command.mailbox)?;
            let guid = self.find(&name).await?.guid;
            let mut entries = self.metadata(Some(guid)).await?;
            if let Some(special_use) = self.special_use(&name).await? {
                entries.insert(SPECIAL_USE.to_owned(), format!("\\{special_use}").into_bytes());
            }
            (answer::name(&name, self.script()), entries)
        };
        let found = select(&entries, command);
        if !found.entries.is_empty() {
            self.wire.put(line(&shown, &found.entries));
        }
        match found.longest {
            Some(size) => Reply::ok(format!("[METADATA LONGENTRIES {size}] Getmetadata completed.")),
            None => Reply::ok("Getmetadata completed."),
        }
    }

    pub(super) async fn set_metadata(&mut self, command: SetMetadata) -> Result<Reply, Stop> {
        if let Some(why) = command.entries.iter().find_map(unsettable) {
            return Reply::no(format!("[CANNOT] {why}"));
        }
        let (mut name, mut mailbox) = (MailboxName::default(), None);
        if !command.mailbox.is_empty() {
            name = self.named(&command.mailbox)?;
            self.find(&name).await?;
            mailbox = Some(name.clone());
        }
        if command.entries.is_empty() {
            return Reply::ok("Setmetadata completed.");
        }
        let change = Change::Attributes {
            user: self.user()?,
            mailbox,
            scope: AttributeScope {
                mailbox: None,
                kind: AttributeKind::Metadata,
            },
            entries: command.entries,
        };
        match self.change(change).await {
            Ok(_) => Reply::ok("Setmetadata completed."),
            Err(refused) if refused.reason == Reason::Limit => Reply::no("[METADATA TOOMANY] Too many entries."),
            Err(refused) => Err(self.refusal(&refused, &name)),
        }
    }

    async fn metadata(&self, mailbox: Option<crate::op::Guid>) -> Result<Entries, Stop> {
        let (user, kind) = (self.user()?, AttributeKind::Metadata);
        let entries = self.read(move |view| view.attributes(&user, AttributeScope { mailbox, kind }));
        Ok(entries.await?.into_iter().collect())
    }

    async fn special_use(&self, name: &MailboxName) -> Result<Option<String>, Stop> {
        let user = self.user()?;
        let tree = self.read(move |view| view.tree(&user)).await?;
        let row = tree.rows.into_iter().find(|row| row.name == *name);
        Ok(row.and_then(|row| row.special_use))
    }
}

/// What is told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found<'a> {
    /// Entry and value; none: NIL.
    entries: Vec<(&'a str, Option<&'a [u8]>)>,
    /// Size of the longest value that was left out.
    longest: Option<u64>,
}

fn select<'a>(entries: &'a Entries, command: &'a GetMetadata) -> Found<'a> {
    let mut found = Found::default();
    for asked in &command.entries {
        match entries.get(asked) {
            Some(value) => found.add(asked, value, command.size_max),
            None if command.depth == Depth::Zero => found.entries.push((asked, None)),
            None => {}
        }
        if command.depth == Depth::Zero || command.mailbox.is_empty() {
            continue;
        }
        for (name, value) in entries {
            let below = name
                .strip_prefix(asked.as_str())
                .and_then(|rest| rest.strip_prefix('/'));
            let near = |below: &&str| command.depth == Depth::Infinity || !below.contains('/');
            if below.filter(near).is_some() && !is_own(name) {
                found.add(name, value, command.size_max);
            }
        }
    }
    found
}

/// Why a client can't set this entry.
fn unsettable((name, value): &(String, Option<Vec<u8>>)) -> Option<&'static str> {
    if name == SPECIAL_USE {
        Some("The /private/specialuse attribute cannot be changed.")
    } else if is_own(name) {
        Some("Internal mailbox attributes cannot be accessed.")
    } else if value.as_ref().is_some_and(|value| value.contains(&0)) {
        Some("Attribute string value has NULs.")
    } else {
        None
    }
}

fn is_own(name: &str) -> bool {
    let behind = name.strip_prefix("/private").or_else(|| name.strip_prefix("/shared"));
    behind.is_some_and(|behind| behind.starts_with(OWN))
}

impl<'a> Found<'a> {
    fn add(&mut self, name: &'a str, value: &'a [u8], size_max: Option<u64>) {
        let size = u64::try_from(value.len()).unwrap_or(u64::MAX);
        if size_max.is_some_and(|most| size > most) {
            self.longest = self.longest.max(Some(size));
        } else {
            self.entries.push((name, Some(value)));
        }
    }
}

fn line(mailbox: &[u8], entries: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut out = [b"* METADATA ", mailbox, b" ("].concat();
    for (at, (name, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        answer::astring(&mut out, name.as_bytes());
        match value {
            Some(value) => {
                out.extend_from_slice(format!(" {{{}}}\r\n", value.len()).as_bytes());
                out.extend_from_slice(value);
            }
            None => out.extend_from_slice(b" NIL"),
        }
    }
    out.extend_from_slice(b")\r\n");
    out
}
