//! Public namespaces: mail that is nobody's own. Where the operator names an owner for one, what lies there is captured
//! once, as that user's mailboxes, without the prefix that others see before them.
//!
//! That takes a place which is the same for everybody. One that differs from user to user (index files in each user's home,
//! say) has as many truths as users, and is left out by name. So is an owner who has mail of his own: the two would be mixed
//! on the copy. A place that is a user's own store already is that user's, and nobody else's besides.

use super::attribute_settings::AttributeSettings;
use super::body_settings::BodySettings;
use super::doveadm::Users;
use super::location::{Fields, Lookup};
use super::mail_root::{Layout, MailRoot, Namespace};
use super::namespaces::{Configuration, is_visible, shown};
use super::settings::{Settings, Version};
use super::variables::Variables;
use crate::config::PublicOwners;
use crate::limits::NAMESPACES_MAX;
use crate::op::UserName;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A name that nobody's mailbox has; asked for only to see where it would lie.
pub(super) const NOBODYS: &str = "mailshadow-probe";
/// Who can't be asked is followed by so many others: each question is a process.
const ASKED_MAX: usize = 3;
/// Two users who share nothing: what both see in one place depends on no user.
const STRANGERS: [(&str, &str); 2] = [
    ("one@first.invalid", "/nonexistent/first/one"),
    ("two@second.invalid", "/nonexistent/second/two"),
];

/// What is known when the public namespaces are settled.
pub(super) struct Settling<'a> {
    pub(super) server: &'a Configuration,
    /// What the user database says of each user.
    pub(super) fields: &'a BTreeMap<UserName, Fields>,
    pub(super) owners: &'a PublicOwners,
    /// Where the server itself has a mailbox that this user names; none where it can't be asked.
    pub(super) path: &'a dyn Fn(&UserName, &str) -> Option<PathBuf>,
}

/// Whose a public namespace is.
enum Whose {
    Nobodys,
    /// Captured as the mail of this user.
    Owners(UserName, Box<MailRoot>),
    /// This user's own store, or another prefix of what is this user's.
    Already(UserName),
    /// An owner is named, and it can't be that user's.
    Unfit(UserName, String),
}

impl Settling<'_> {
    /// Adds the owners to the users, and to each user's root what the public namespaces that this user sees are.
    pub(super) fn settle(&self, users: &mut Users) {
        let all = self.server.settings.blocks("namespace").take(NAMESPACES_MAX);
        let mut blocks: Vec<&Settings> = all.filter(|block| block.value("type") == Some("public")).collect();
        // an owner's word first: an unnamed one may be the same place under another prefix
        blocks.sort_by_key(|block| !self.owners.contains_key(prefix(block)));
        let mut taken = places_of(users);
        let mut found = Vec::new();
        for block in blocks {
            let whose = self.whose(block, users, &taken);
            if let Whose::Owners(owner, root) = &whose {
                taken.extend(
                    root.namespaces
                        .iter()
                        .map(|namespace| (real(&namespace.mail), owner.clone())),
                );
            }
            found.push((block, whose));
        }
        for (user, root) in users.iter_mut() {
            if let Ok(root) = root {
                self.tell(user, root, &found);
            }
        }
        self.add_owners(users, found);
    }

    fn whose(&self, block: &Settings, users: &Users, taken: &[(PathBuf, UserName)]) -> Whose {
        let place = self.common_place(block);
        let holder = place.as_ref().ok().and_then(|place| {
            let place = real(&place.mail);
            taken.iter().find(|(path, _)| *path == place)
        });
        if let Some((_, holder)) = holder {
            return Whose::Already(holder.clone());
        }
        let Some(owner) = self.owners.get(prefix(block)) else {
            return Whose::Nobodys;
        };
        let fits = place.and_then(|place| {
            is_free(owner, users)?;
            self.confirmed(block, place, users)
        });
        match fits {
            Ok(place) => Whose::Owners(owner.clone(), Box::new(self.root(block, place, users))),
            Err(why) => Whose::Unfit(owner.clone(), why),
        }
    }

    /// The place that everybody sees it in.
    fn common_place(&self, block: &Settings) -> Result<Namespace, String> {
        let nothing = Fields::new();
        let [first, second] = STRANGERS.map(|(name, home)| {
            let user = UserName::from(name);
            self.lookup(block, &user, Some(home), &nothing, |lookup| lookup.namespace())
        });
        let place = first?;
        if second? != place {
            return Err("where it lies depends on the user who asks (a variable or ~ in its location)".to_owned());
        }
        for (user, fields) in self.fields {
            let Ok(home) = self.server.home(user, fields) else {
                continue;
            };
            let seen = self.lookup(block, user, home.as_deref(), fields, |lookup| {
                is_visible(lookup).then(|| lookup.namespace())
            });
            if let Some(Ok(other)) = seen
                && other != place
            {
                return Err(format!(
                    "the user database gives it another place for {user}: {}",
                    other.mail.display()
                ));
            }
        }
        Ok(place)
    }

    fn lookup<T>(
        &self,
        block: &Settings,
        user: &UserName,
        home: Option<&str>,
        fields: &Fields,
        ask: impl FnOnce(&Lookup<'_>) -> T,
    ) -> T {
        ask(&Lookup {
            settings: &self.server.settings,
            block,
            fields,
            variables: Variables {
                version: self.server.version,
                user,
                home: home.map(Path::new),
            },
        })
    }

    /// The place, if the server says the same for somebody who sees it. It alone tells the layout fs of a maildir of 2.4.
    fn confirmed(&self, block: &Settings, mut place: Namespace, users: &Users) -> Result<Namespace, String> {
        let name = format!("{}{NOBODYS}", prefix(block));
        let seeing = users
            .iter()
            .filter(|(user, root)| root.is_ok() && self.is_seen(user, block));
        let Some(path) = seeing.take(ASKED_MAX).find_map(|(user, _)| (self.path)(user, &name)) else {
            return Ok(place);
        };
        if place.layout == Layout::MaildirPlusPlus && path.ends_with(NOBODYS) {
            place.layout = Layout::Fs;
        }
        let at = match place.layout {
            Layout::MaildirPlusPlus => format!(".{NOBODYS}"),
            Layout::Fs => NOBODYS.to_owned(),
            Layout::Index => return Ok(place),
        };
        let ours = place.index_directory(Path::new(&at));
        match ours == path {
            true => Ok(place),
            false => Err(format!(
                "Dovecot has it at {}, but its configuration was understood as {}: please report this",
                path.display(),
                ours.display()
            )),
        }
    }

    fn is_seen(&self, user: &UserName, block: &Settings) -> bool {
        let nothing = Fields::new();
        let fields = self.fields.get(user).unwrap_or(&nothing);
        self.lookup(block, user, None, fields, is_visible)
    }

    /// The owner's root: one namespace, without its prefix.
    fn root(&self, block: &Settings, place: Namespace, users: &Users) -> MailRoot {
        let nothing = Fields::new();
        let of_strangers = STRANGERS.map(|(name, home)| {
            let user = UserName::from(name);
            self.lookup(block, &user, Some(home), &nothing, |lookup| {
                self.server.bodies.of_user(&lookup.variables)
            })
        });
        let [bodies, same] = of_strangers;
        let bodies = BodySettings {
            attachments: bodies
                .attachments
                .filter(|folder| same.attachments.as_ref() == Some(folder)),
            plugins: bodies.plugins,
        };
        let (name, home) = (UserName::from(STRANGERS[0].0), STRANGERS[0].1);
        let (attributes, namespace) = self.lookup(block, &name, Some(home), &nothing, |lookup| {
            let attributes = AttributeSettings::of_public(&self.server.settings, lookup);
            (attributes, shown(lookup, place.clone(), true).unwrap_or(place))
        });
        let others = users.values().flatten().find_map(|root| root.namespaces.first());
        let namespace = Namespace {
            prefix: String::new(),
            separator: others.map_or(namespace.separator, |other| other.separator),
            hidden: false,
            inbox_path: None,
            ..namespace
        };
        MailRoot {
            namespaces: vec![namespace],
            bodies,
            attributes,
            nonexistent_code: self.server.version == Version::V2_4,
            left_out: Vec::new(),
            elsewhere: Vec::new(),
        }
    }

    fn tell(&self, user: &UserName, root: &mut MailRoot, found: &[(&Settings, Whose)]) {
        for (block, whose) in found.iter().filter(|(block, _)| self.is_seen(user, block)) {
            let prefix = prefix(block);
            match whose {
                Whose::Nobodys => root.left_out.push(format!(
                    "public namespace {prefix}: nobody's mail, it is not copied; to copy it, add to [group.dovecot]: \
                     public = {{ {prefix:?} = \"public@example.net\" }} with a user name that nobody has"
                )),
                Whose::Owners(owner, _) => root.elsewhere.push(format!(
                    "public namespace {prefix}: copied once, as the mail of {owner}; on the copy the others do not see it, and \
                     what each of them has read of it is not copied"
                )),
                Whose::Already(owner) if owner == user => {}
                Whose::Already(owner) => root.elsewhere.push(format!(
                    "public namespace {prefix}: copied once, as the mail of {owner}, whose own it is; on the copy the others do \
                     not see it"
                )),
                Whose::Unfit(owner, why) => root
                    .left_out
                    .push(format!("public namespace {prefix}: not copied as {owner}'s: {why}")),
            }
        }
    }

    fn add_owners(&self, users: &mut Users, found: Vec<(&Settings, Whose)>) {
        let mut missing: BTreeMap<&String, &UserName> = self.owners.iter().collect();
        for (block, whose) in found {
            missing.retain(|known, _| *known != prefix(block));
            match whose {
                Whose::Owners(owner, root) => drop(users.insert(owner, Ok(*root))),
                Whose::Unfit(owner, why) => {
                    let why = format!("owner of the public namespace {}: {why}", prefix(block));
                    users.insert(owner, Err(why));
                }
                Whose::Nobodys | Whose::Already(_) => {}
            }
        }
        for (prefix, owner) in missing {
            let why =
                format!("owner of the public namespace {prefix}: this server has no public namespace of that prefix");
            users.entry(owner.clone()).or_insert(Err(why));
        }
    }
}

fn prefix(block: &Settings) -> &str {
    block.value("prefix").unwrap_or_default()
}

/// Where the users' own mail lies.
fn places_of(users: &Users) -> Vec<(PathBuf, UserName)> {
    let roots = users
        .iter()
        .filter_map(|(user, root)| Some((user, root.as_ref().ok()?)));
    roots
        .flat_map(|(user, root)| {
            let places = root.namespaces.iter().map(|namespace| real(&namespace.mail));
            places.map(|place| (place, user.clone()))
        })
        .collect()
}

/// Links resolved, as far as it exists.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Whether nothing of the owner's own would be mixed with what is public.
fn is_free(owner: &UserName, users: &Users) -> Result<(), String> {
    let choose = "name an owner whom nobody is";
    match users.get(owner) {
        None => Ok(()),
        Some(Err(why)) => Err(format!(
            "the user database has a user {owner}, whose own mail is not known ({why}): {choose}"
        )),
        Some(Ok(root)) => {
            let mut roots = root.namespaces.iter().flat_map(Namespace::roots);
            let filled = roots.find(|root| std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()));
            filled.map_or(Ok(()), |root| {
                Err(format!(
                    "{owner} is a user with mail of his own ({}): {choose}",
                    root.display()
                ))
            })
        }
    }
}

#[cfg(test)]
mod tests;
