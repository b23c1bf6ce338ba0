//! Which namespaces are a user's own: those are captured. What others own is theirs to be captured, once.

use super::attribute_settings::AttributeSettings;
use super::body_settings::BodyConfig;
use super::location::{Fields, Lookup};
use super::mail_root::{MailRoot, Namespace};
use super::settings::{Settings, Version};
use super::variables::Variables;
use crate::limits::{NAME_BYTES_MAX, NAMESPACES_MAX};
use crate::op::UserName;
use std::path::Path;

/// What the server's configuration says, for whomever.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) version: Version,
    pub(crate) settings: Settings,
    pub(crate) bodies: BodyConfig,
}

impl Configuration {
    /// A user's own namespaces, by the user's fields in the user database.
    ///
    /// # Errors
    /// A sentence for people: why this user can't be captured.
    pub(crate) fn mail_root(&self, user: &UserName, fields: &Fields) -> Result<MailRoot, String> {
        let home = self.home(user, fields)?;
        let variables = Variables {
            version: self.version,
            user,
            home: home.as_deref().map(Path::new),
        };
        let implicit = Settings::default();
        let mut blocks: Vec<&Settings> = self.settings.blocks("namespace").take(NAMESPACES_MAX).collect();
        let nothing_said = blocks.is_empty();
        if nothing_said {
            blocks.push(&implicit);
        }
        let mut root = MailRoot {
            namespaces: Vec::new(),
            bodies: self.bodies.of_user(&variables),
            attributes: AttributeSettings::of(self.version, &self.settings, &variables),
            nonexistent_code: self.version == Version::V2_4,
            left_out: Vec::new(),
            elsewhere: Vec::new(),
        };
        for block in blocks {
            let settings = &self.settings;
            let lookup = Lookup {
                settings,
                block,
                fields,
                variables,
            };
            add(
                &mut root,
                &lookup,
                nothing_said || lookup.of_namespace("inbox") == Some("yes"),
            )?;
        }
        root.namespaces.sort_by_key(|namespace| !namespace.inbox);
        if !root.namespaces.first().is_some_and(|first| first.inbox) {
            return Err("no namespace has inbox = yes".to_owned());
        }
        one_separator(&mut root.namespaces);
        // Kept for every user.
        root.namespaces.shrink_to_fit();
        Ok(root)
    }

    pub(super) fn home(&self, user: &UserName, fields: &Fields) -> Result<Option<String>, String> {
        if let Some(home) = fields.get("home").filter(|home| !home.is_empty()) {
            return Ok(Some(home.clone()));
        }
        let template = self.settings.value("mail_home").filter(|home| !home.is_empty());
        let variables = Variables {
            version: self.version,
            user,
            home: None,
        };
        template.map(|home| variables.expand(home)).transpose()
    }
}

fn add(root: &mut MailRoot, lookup: &Lookup<'_>, inbox: bool) -> Result<(), String> {
    let of = |key: &str| lookup.of_namespace(key);
    let name = match lookup.block.label.as_str() {
        "" => of("prefix").unwrap_or_default().to_owned(),
        label => label.to_owned(),
    };
    if !is_visible(lookup) {
        return Ok(());
    }
    match of("type").unwrap_or("private") {
        "private" => {}
        "shared" => {
            let why = "each of its mailboxes is copied as its owner's";
            root.left_out.push(format!("shared namespace {name}: {why}"));
            return Ok(());
        }
        // settled for all users at once
        "public" => return Ok(()),
        kind => {
            root.left_out
                .push(format!("{kind} namespace {name}: nobody's own mail, it is not copied"));
            return Ok(());
        }
    }
    let namespace = match lookup.namespace() {
        Ok(namespace) => namespace,
        Err(why) if inbox => return Err(why),
        Err(why) => {
            root.left_out.push(format!("namespace {name}: {why}"));
            return Ok(());
        }
    };
    if root
        .namespaces
        .iter()
        .any(|known| known.mail == namespace.mail && known.layout == namespace.layout)
    {
        // The same mailboxes under other names, as kept for old clients.
        return Ok(());
    }
    let namespace = shown(lookup, namespace, inbox).map_err(|why| format!("namespace {name}: {why}"))?;
    root.namespaces.push(namespace);
    Ok(())
}

/// False where this user has no such namespace, or has it as another name of one.
pub(super) fn is_visible(lookup: &Lookup<'_>) -> bool {
    lookup.of_namespace("disabled") != Some("yes") && lookup.of_namespace("alias_for").is_none()
}

/// A place with what clients see of it.
///
/// # Errors
/// A sentence for people: they can't.
pub(super) fn shown(lookup: &Lookup<'_>, place: Namespace, inbox: bool) -> Result<Namespace, String> {
    let of = |key: &str| lookup.of_namespace(key);
    let separator = of("separator").and_then(|text| text.chars().next());
    let separator = separator.unwrap_or(place.separator);
    let prefix = of("prefix").unwrap_or_default();
    if !separator.is_ascii_graphic() || prefix.len() > NAME_BYTES_MAX {
        return Err("IMAP can't show its separator or its prefix".to_owned());
    }
    let keeps_subscriptions = of("subscriptions") != Some("no");
    Ok(Namespace {
        prefix: prefix.to_owned(),
        separator,
        hidden: of("hidden") == Some("yes"),
        inbox,
        inbox_path: place.inbox_path.filter(|_| inbox),
        subscriptions: place.subscriptions.filter(|_| keeps_subscriptions),
        ..place
    })
}

/// Dovecot wants the same separator everywhere; where one is not said, the first namespace's holds.
fn one_separator(namespaces: &mut [Namespace]) {
    let Some(separator) = namespaces.first().map(|first| first.separator) else {
        return;
    };
    namespaces
        .iter_mut()
        .for_each(|namespace| namespace.separator = separator);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::mail_root::{Driver, Layout};

    fn root(version: Version, text: &str, fields: &[(&str, &str)]) -> Result<MailRoot, String> {
        let fields = fields.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let configuration = Configuration {
            version,
            settings: Settings::parse(text).unwrap(),
            bodies: BodyConfig::parse(text),
        };
        configuration.mail_root(&UserName::from("ann@example.test"), &fields)
    }

    const HOME: (&str, &str) = ("home", "/h/ann");

    #[test]
    fn without_any_namespace_there_is_the_one_of_the_inbox() {
        let found = root(Version::V2_3, "mail_location = mdbox:~/mdbox\n", &[HOME]).unwrap();
        let [only] = found.namespaces.as_slice() else { panic!() };
        assert_eq!(*only, Namespace::plain(Driver::Mdbox, Path::new("/h/ann/mdbox")));
        let found = root(
            Version::V2_4,
            "mail_driver = maildir\nmail_path = /m/%{user|username}\nmail_home = /x\n",
            &[],
        );
        assert_eq!(found.unwrap().namespaces[0].mail, Path::new("/m/ann"));
    }

    #[test]
    fn what_others_own_is_left_out_and_said() {
        let text = "mail_location = maildir:~/M\nnamespace inbox {\n inbox = yes\n prefix = INBOX.\n separator = .\n}\n\
                    namespace old {\n hidden = yes\n list = no\n prefix = \n}\n\
                    namespace archive {\n prefix = Archive.\n location = sdbox:/archive/%n\n}\n\
                    namespace all {\n type = public\n prefix = Public.\n location = maildir:/public\n}\n\
                    namespace others {\n type = shared\n prefix = shared.%%u.\n location = maildir:%%h/M\n}\n\
                    namespace v {\n prefix = Virtual.\n location = virtual:~/v\n}\n";
        let found = root(Version::V2_3, text, &[HOME]).unwrap();
        let prefixes: Vec<&str> = found.namespaces.iter().map(|n| n.prefix.as_str()).collect();
        assert_eq!(prefixes, ["INBOX.", "Archive."]);
        assert_eq!((found.namespaces[1].separator, found.namespaces[1].inbox), ('.', false));
        assert_eq!(found.left_out.len(), 2, "{:?}", found.left_out);
    }

    #[test]
    fn the_user_database_has_the_last_word() {
        let text = "mail_location = maildir:~/M\nnamespace inbox {\n inbox = yes\n}\n";
        let found = root(Version::V2_3, text, &[HOME, ("mail", "sdbox:/other/%u:LAYOUT=index")]).unwrap();
        let first = &found.namespaces[0];
        assert_eq!((first.driver, first.layout), (Driver::Sdbox, Layout::Index));
        assert_eq!(first.mail, Path::new("/other/%u"));
        let text = "mail_driver = maildir\nmail_path = ~/M\nnamespace inbox {\n inbox = yes\n}\n";
        let found = root(
            Version::V2_4,
            text,
            &[HOME, ("mail_path", "/other"), ("namespace/inbox/separator", ".")],
        );
        let found = found.unwrap();
        assert_eq!(
            (found.namespaces[0].mail.as_path(), found.namespaces[0].separator),
            (Path::new("/other"), '.')
        );
    }

    #[test]
    fn clients_see_the_prefixes_of_what_is_not_hidden() {
        let text = "mail_location = maildir:~/M\nnamespace a {\n prefix = A^\n location = sdbox:~/a\n}\n\
                    namespace inbox {\n inbox = yes\n separator = ^\n}\n\
                    namespace h {\n prefix = H^\n hidden = yes\n location = sdbox:~/h\n}\n";
        let seen = root(Version::V2_3, text, &[HOME]).unwrap().seen_namespaces();
        assert_eq!(
            (seen.separator, seen.prefixes),
            ('^', vec![String::new(), "A^".to_owned()])
        );
        let text = "mail_location = maildir:~/M\nnamespace inbox {\n inbox = yes\n separator = é\n}\n";
        assert!(root(Version::V2_3, text, &[HOME]).unwrap_err().contains("separator"));
    }

    #[test]
    fn a_user_without_a_home_or_an_inbox_is_refused_by_name() {
        assert!(
            root(Version::V2_3, "mail_location = maildir:~/M\n", &[])
                .unwrap_err()
                .contains("home")
        );
        let text = "mail_location = maildir:~/M\nnamespace a {\n prefix = x/\n}\n";
        assert!(root(Version::V2_3, text, &[HOME]).unwrap_err().contains("inbox"));
        assert!(
            root(Version::V2_3, "mail_location = mbox:~/mail\n", &[HOME])
                .unwrap_err()
                .contains("mbox")
        );
    }
}
