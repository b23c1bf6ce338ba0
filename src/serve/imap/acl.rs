//! GETACL, MYRIGHTS, LISTRIGHTS, SETACL and DELETEACL (RFC 4314), as Dovecot answers a mailbox's owner.

use super::answer;
use super::grammar::{SetAcl, Sign};
use super::session::{Reply, Session, Stop};
use crate::op::{AttributeKind, AttributeScope, MailboxName, UserName};
use crate::store::change::Change;

/// Every right, in the order of Dovecot's lists.
const ALL: &str = "lrwstipekxa";

/// Rights that can be given one by one; none is given always. `c` and `d` are RFC 2086's.
const GRANTABLE: &str = "\"\" l r w s t i p e k x a c d";

impl Session {
    pub(super) async fn get_acl(&mut self, mailbox: &[u8]) -> Result<Reply, Stop> {
        let name = self.named(mailbox)?;
        if let Err(stop) = self.find(&name).await {
            // Dovecot goes on telling the list of a name that is listed although its mailbox was deleted.
            let (user, stale) = (self.user()?, name.clone());
            if self.read(move |view| view.stale(&user, &stale)).await?.is_none() {
                return Err(stop);
            }
        }
        let (user, acl) = (self.user()?, self.acl(&name).await?);
        let mine = acl.rights_of_owner(&user);
        if !mine.contains('a') {
            return if mine.contains('l') {
                Reply::no("[NOPERM] You lack administrator privileges on this mailbox.")
            } else {
                Err(self.nonexistent(&name))
            };
        }
        let mut line = b"* ACL ".to_vec();
        answer::astring(&mut line, mailbox);
        for (whom, rights) in acl.shown(&user) {
            line.push(b' ');
            answer::astring(&mut line, whom.as_bytes());
            line.push(b' ');
            line.extend_from_slice(with_old_letters(&rights).as_bytes());
        }
        line.extend_from_slice(b"\r\n");
        self.wire.put(line);
        Reply::ok("Getacl completed.")
    }

    /// Of a mailbox that is not there, Dovecot tells what its owner might do with it.
    pub(super) async fn my_rights(&mut self, mailbox: &[u8]) -> Result<Reply, Stop> {
        let acl = match self.named(mailbox) {
            Ok(name) if !mailbox.is_empty() => self.acl(&name).await?,
            Ok(_) => Acl::default(),
            Err(stop) => return Err(stop),
        };
        let mine = acl.rights_of_owner(&self.user()?);
        if mine.is_empty() || mine == "p" {
            let name = self.named(mailbox)?;
            return Err(self.nonexistent(&name));
        }
        let mut line = b"* MYRIGHTS ".to_vec();
        answer::astring(&mut line, mailbox);
        line.extend_from_slice(format!(" {}\r\n", with_old_letters(&mine)).as_bytes());
        self.wire.put(line);
        Reply::ok("Myrights completed.")
    }

    pub(super) fn list_rights(&mut self, mailbox: &[u8], whom: &[u8]) -> Result<Reply, Stop> {
        self.named(mailbox)?;
        let mut line = b"* LISTRIGHTS ".to_vec();
        answer::astring(&mut line, mailbox);
        line.push(b' ');
        answer::astring(&mut line, whom);
        line.extend_from_slice(format!(" {GRANTABLE}\r\n").as_bytes());
        self.wire.put(line);
        Reply::ok("Listrights completed.")
    }

    pub(super) async fn set_acl(&mut self, command: &SetAcl) -> Result<Reply, Stop> {
        let letters =
            new_letters(&command.letters).map_err(|right| wrong("SETACL", &format!("Invalid ACL right: {right}")))?;
        let (name, entry) = self.administered(&command.mailbox, &command.whom, "SETACL").await?;
        let user = self.user()?;
        let acl = self.acl(&name).await?;
        let had = acl.letters_of(&entry).unwrap_or_default();
        let mut rights = match command.sign {
            Sign::Replace => letters,
            Sign::Add => had.to_owned() + &letters,
            Sign::Remove => had.chars().filter(|right| !letters.contains(*right)).collect(),
        };
        // an owner who may not administer could never take it back
        if !entry.starts_with('-') && Whom::of(&entry).is_some_and(|whom| whom.is_owner(&user)) {
            rights.push('a');
        }
        let rights = in_order(&rights);
        self.change_acl(&name, entry, Some(rights.into_bytes())).await?;
        Reply::ok("Setacl complete.")
    }

    pub(super) async fn delete_acl(&mut self, mailbox: &[u8], whom: &[u8]) -> Result<Reply, Stop> {
        let (name, entry) = self.administered(mailbox, whom, "DELETEACL").await?;
        if self.acl(&name).await?.letters_of(&entry).is_some() {
            self.change_acl(&name, entry, None).await?;
        }
        Reply::ok("Deleteacl complete.")
    }

    /// The mailbox, where the user may administer it, and the name of the entry for `whom`.
    async fn administered(&mut self, mailbox: &[u8], whom: &[u8], verb: &str) -> Result<(MailboxName, String), Stop> {
        let name = self.named(mailbox)?;
        self.find(&name).await?;
        let entry = entry_of(whom).map_err(|why| wrong(verb, &why))?;
        if !self.acl(&name).await?.rights_of_owner(&self.user()?).contains('a') {
            let text = "[NOPERM] You lack administrator privileges on this mailbox.";
            return Err(Stop::Reply(Reply::No(text.to_owned())));
        }
        Ok((name, entry))
    }

    async fn change_acl(&mut self, name: &MailboxName, entry: String, value: Option<Vec<u8>>) -> Result<(), Stop> {
        let change = Change::Attributes {
            user: self.user()?,
            mailbox: Some(name.clone()),
            scope: AttributeScope {
                mailbox: None,
                kind: AttributeKind::Acl,
            },
            entries: vec![(entry, value)],
        };
        self.change_of(name, change).await.map(drop)
    }

    async fn acl(&self, name: &MailboxName) -> Result<Acl, Stop> {
        let (user, name) = (self.user()?, name.clone());
        let entries = self.read(move |view| {
            let Some(row) = view.mailbox(&user, &name)? else {
                return Ok(Vec::new());
            };
            let (mailbox, kind) = (Some(row.guid), AttributeKind::Acl);
            view.attributes(&user, AttributeScope { mailbox, kind })
        });
        Ok(Acl::of(entries.await?))
    }
}

fn wrong(verb: &str, why: &str) -> Stop {
    Stop::Reply(Reply::Bad(format!("Error in IMAP command {verb}: {why}")))
}

/// The entry for an identifier as clients write it: `bob`, `$group`, `!$group`, `owner`, each with `-` for what is
/// taken away. As with Dovecot, nobody gives rights to everybody.
fn entry_of(whom: &[u8]) -> Result<String, String> {
    let whom = std::str::from_utf8(whom).map_err(|_| "Invalid identifier".to_owned())?;
    if whom.contains(char::is_control) {
        return Err("Invalid identifier".to_owned());
    }
    let (sign, whom) = match whom.strip_prefix('-') {
        Some(whom) => ("-", whom),
        None => ("", whom),
    };
    if let Some(group) = whom.strip_prefix("!$") {
        return Ok(format!("{sign}group-override={group}"));
    }
    if let Some(group) = whom.strip_prefix('$') {
        return Ok(format!("{sign}group={group}"));
    }
    match whom {
        "anyone" | "authenticated" => Err(format!("'{whom}' identifier is disallowed")),
        "owner" => Ok(format!("{sign}owner")),
        user => Ok(format!("{sign}user={user}")),
    }
}

/// Letters with RFC 2086's `c` and `d` as today's; the letter that is none.
fn new_letters(letters: &str) -> Result<String, char> {
    let mut new = String::new();
    for letter in letters.chars() {
        match letter {
            'c' => new.push_str("kx"),
            'd' => new.push_str("et"),
            known if ALL.contains(known) => new.push(known),
            other => return Err(other),
        }
    }
    Ok(new)
}

/// Each letter once, in the order of Dovecot's files.
fn in_order(letters: &str) -> String {
    "akxeilprwts".chars().filter(|right| letters.contains(*right)).collect()
}

/// Whom an entry is for, in the order in which Dovecot applies and shows them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    Anyone,
    Authenticated,
    Group(String),
    Owner,
    User(String),
    GroupOverride(String),
}

impl Whom {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "anyone" => Self::Anyone,
            "authenticated" => Self::Authenticated,
            "owner" => Self::Owner,
            named => {
                let (kind, name) = named.split_once('=')?;
                let name = name.to_owned();
                match kind {
                    "user" => Self::User(name),
                    "group" => Self::Group(name),
                    "group-override" => Self::GroupOverride(name),
                    _ => return None,
                }
            }
        })
    }

    fn shown(&self) -> String {
        match self {
            Self::Anyone => "anyone".to_owned(),
            Self::Authenticated => "authenticated".to_owned(),
            Self::Group(name) => format!("${name}"),
            Self::Owner => "owner".to_owned(),
            Self::User(name) => name.clone(),
            Self::GroupOverride(name) => format!("!${name}"),
        }
    }

    fn is_owner(&self, user: &UserName) -> bool {
        match self {
            Self::Owner => true,
            Self::User(name) => *name == user.0,
            _ => false,
        }
    }
}

/// A mailbox's list: whom, whether rights are taken away, and their letters. In order, what is given before what is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Acl(Vec<(Whom, bool, String)>);

impl Acl {
    /// From attributes (`schema/operations.md`).
    fn of(entries: Vec<(String, Vec<u8>)>) -> Self {
        let entry = |(name, rights): (String, Vec<u8>)| {
            let taken = name.starts_with('-');
            let whom = Whom::of(name.trim_start_matches('-'))?;
            let rights = String::from_utf8_lossy(&rights);
            let letters = rights.split(':').next().unwrap_or_default();
            Some((whom, taken, letters.trim().to_owned()))
        };
        let mut entries: Vec<_> = entries.into_iter().filter_map(entry).collect();
        entries.sort();
        Self(entries)
    }

    /// The owner has every right unless an entry for the owner, or for the user by name, says otherwise; the latter
    /// replaces the former.
    fn rights_of_owner(&self, user: &UserName) -> String {
        let (mut given, mut taken) = (ALL, "");
        for (_, takes, letters) in self.0.iter().filter(|(whom, ..)| whom.is_owner(user)) {
            *(if *takes { &mut taken } else { &mut given }) = letters;
        }
        ALL.chars()
            .filter(|right| given.contains(*right) && !taken.contains(*right))
            .collect()
    }

    /// The letters of the entry of that name.
    fn letters_of(&self, entry: &str) -> Option<&str> {
        let (takes, whom) = match entry.strip_prefix('-') {
            Some(whom) => (true, Whom::of(whom)?),
            None => (false, Whom::of(entry)?),
        };
        let found = self
            .0
            .iter()
            .find(|(known, taken, _)| *known == whom && *taken == takes);
        found.map(|(.., letters)| letters.as_str())
    }

    /// As GETACL tells it: the owner is called by name, where no other entry has that name.
    fn shown(&self, user: &UserName) -> Vec<(String, String)> {
        let whole = |whom: &Whom| self.0.iter().any(|(known, ..)| known == whom);
        let both = whole(&Whom::Owner) && whole(&Whom::User(user.0.clone()));
        let owner = if both { Whom::Owner } else { Whom::User(user.0.clone()) };
        let entry = |(whom, takes, letters): &(Whom, bool, String)| {
            let whom = if *whom == Whom::Owner { &owner } else { whom };
            let sign = if *takes { "-" } else { "" };
            (format!("{sign}{}", whom.shown()), letters.clone())
        };
        let mut shown: Vec<_> = self.0.iter().map(entry).collect();
        if !self.0.iter().any(|(whom, takes, _)| whom.is_owner(user) && !takes) {
            shown.push((owner.shown(), ALL.to_owned()));
        }
        shown
    }
}

/// Letters, with RFC 2086's `c` and `d` where one of theirs is among them; `""` where there are none.
fn with_old_letters(letters: &str) -> String {
    let mut shown = letters.to_owned();
    for (old, new) in [("c", ['k', 'x']), ("d", ['t', 'e'])] {
        if letters.contains(new) {
            shown.push_str(old);
        }
    }
    if shown.is_empty() { "\"\"".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(&str, &str)]) -> Acl {
        Acl::of(
            entries
                .iter()
                .map(|(whom, rights)| (whom.to_string(), rights.as_bytes().to_vec()))
                .collect(),
        )
    }

    fn shown(acl: &Acl) -> String {
        let words: Vec<String> = acl
            .shown(&"ann".into())
            .into_iter()
            .map(|(whom, rights)| format!("{whom} {}", with_old_letters(&rights)))
            .collect();
        words.join(" ")
    }

    #[test]
    fn lists_are_told_as_dovecot_tells_them() {
        assert_eq!(shown(&acl(&[])), "ann lrwstipekxacd");
        let all = [
            ("user=zed", "lrws"),
            ("-user=zed", "s"),
            ("user=bob", ""),
            ("owner", "alr"),
            ("group-override=g", "w :named"),
            ("group=grp", "lrs"),
            ("authenticated", "r"),
            ("anyone", "l"),
        ];
        let expected = "anyone l authenticated r $grp lrs ann alr bob \"\" zed lrws -zed s !$g w";
        assert_eq!(shown(&acl(&all)), expected);
        let both = acl(&[("owner", "akxeilprwts"), ("user=ann", "a")]);
        assert_eq!(shown(&both), "owner akxeilprwtscd ann a");
        assert_eq!(both.rights_of_owner(&"ann".into()), "a");
    }

    #[test]
    fn the_owner_has_all_rights_until_an_entry_says_otherwise() {
        let mine = |entries: &[(&str, &str)]| acl(entries).rights_of_owner(&"ann".into());
        assert_eq!(mine(&[("anyone", "l"), ("user=bob", "lr")]), ALL);
        assert_eq!(mine(&[("owner", "alr")]), "lra");
        assert_eq!(mine(&[("-owner", "w")]), "lrstipekxa");
        assert_eq!(mine(&[("owner", "alr"), ("user=ann", "lr"), ("-user=ann", "r")]), "l");
    }
}
