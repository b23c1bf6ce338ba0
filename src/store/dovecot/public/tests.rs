//! Who gets what lies in public namespaces, and who must not.

use super::*;
use crate::store::dovecot::body_settings::BodyConfig;
use crate::store::dovecot::mail_root::Driver;

const ANN: &str = "ann@example.test";
const BOB: &str = "bob@example.test";
const OWNER: &str = "public@example.test";
const PRIVATE: &str =
    "mail_location = maildir:~/M\nmail_plugins = acl\nnamespace inbox {\n inbox = yes\n separator = /\n}\n";

fn public(location: &str) -> String {
    format!(
        "{PRIVATE}namespace all {{\n type = public\n prefix = Public/\n separator = /\n location = {location}\n subscriptions = no\n \
         mailbox Done {{\n special_use = \\Archive\n }}\n}}\n"
    )
}

/// Ann and Bob, then whatever else the user database says, on a server with this configuration.
struct World {
    configuration: Configuration,
    fields: BTreeMap<UserName, Fields>,
    owners: PublicOwners,
    path: Option<PathBuf>,
}

impl World {
    fn new(text: &str) -> Self {
        let configuration = Configuration {
            version: Version::V2_3,
            settings: Settings::parse(text).unwrap(),
            bodies: BodyConfig::parse(text),
        };
        let mut world = Self {
            configuration,
            fields: BTreeMap::new(),
            owners: PublicOwners::from([("Public/".to_owned(), OWNER.into())]),
            path: None,
        };
        world.user(ANN, "/nowhere/h/ann", &[]);
        world.user(BOB, "/nowhere/h/bob", &[]);
        world
    }

    fn user(&mut self, name: &str, home: &str, more: &[(&str, &str)]) {
        let fields = more.iter().copied().chain([("home", home)]);
        let fields = fields.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.fields.insert(name.into(), fields.collect());
    }

    fn settled(&self) -> Users {
        let root = |(user, fields): (&UserName, &Fields)| (user.clone(), self.configuration.mail_root(user, fields));
        let mut users: Users = self.fields.iter().map(root).collect();
        let settling = Settling {
            server: &self.configuration,
            fields: &self.fields,
            owners: &self.owners,
            path: &|_, _| self.path.clone(),
        };
        settling.settle(&mut users);
        users
    }

    /// The owner's root, or why there is none.
    fn owner(&self) -> Result<MailRoot, String> {
        self.settled()
            .remove(&UserName::from(OWNER))
            .unwrap_or(Err("no such user".to_owned()))
    }
}

fn ann(users: &Users) -> &MailRoot {
    users.get(&UserName::from(ANN)).unwrap().as_ref().unwrap()
}

#[test]
fn public_mail_is_its_owners_once_and_without_the_prefix() {
    let world = World::new(&public("maildir:/srv/public:INDEXPVT=~/public"));
    let users = world.settled();
    assert_eq!(users.len(), 3);
    let root = world.owner().unwrap();
    let [only] = root.namespaces.as_slice() else { panic!() };
    assert_eq!(
        (only.driver, only.mail.as_path()),
        (Driver::Maildir, Path::new("/srv/public"))
    );
    assert_eq!((only.prefix.as_str(), only.separator, only.inbox), ("", '/', true));
    assert_eq!(
        (only.inbox_index(), &only.subscriptions),
        (None, &None),
        "the place itself is no INBOX"
    );
    let special = |name| {
        root.attributes
            .special_use(&crate::op::MailboxName::of([name]))
            .map(str::to_owned)
    };
    assert_eq!(special("Done").as_deref(), Some("Archive"));
    assert!(
        root.attributes
            .not_carried
            .iter()
            .any(|why| why.contains("private flags"))
    );
    let ann = ann(&users);
    assert!(
        ann.left_out.is_empty() && ann.elsewhere[0].contains(OWNER),
        "{:?}",
        ann.elsewhere
    );
    assert_eq!(ann.namespaces.len(), 1);
}

#[test]
fn a_public_namespace_without_an_owner_is_named_with_the_line_that_helps() {
    let mut world = World::new(&public("maildir:/srv/public"));
    world.owners.clear();
    let users = world.settled();
    assert_eq!(users.len(), 2);
    let [said] = ann(&users).left_out.as_slice() else {
        panic!()
    };
    assert!(
        said.contains("[group.dovecot]: public = { \"Public/\" = \"public@example.net\" }"),
        "{said}"
    );
}

#[test]
fn a_place_that_depends_on_the_user_is_nobodys_as_a_whole() {
    for location in [
        "maildir:~/public",
        "maildir:/srv/public:INDEX=~/public",
        "maildir:/srv/%d/public",
        "maildir:/srv/public:CONTROL=/c/%n",
    ] {
        let world = World::new(&public(location));
        let why = world.owner().unwrap_err();
        assert!(why.contains("depends on the user"), "{location}: {why}");
        assert!(ann(&world.settled()).left_out[0].contains("depends on the user"));
    }
    let mut world = World::new(&public("maildir:/srv/public"));
    world.user(
        BOB,
        "/nowhere/h/bob",
        &[("namespace/all/location", "maildir:/srv/other")],
    );
    let why = world.owner().unwrap_err();
    assert!(why.contains("/srv/other") && why.contains(BOB), "{why}");
    // who doesn't see it has no say
    let unseen = [
        ("namespace/all/location", "maildir:/srv/other"),
        ("namespace/all/disabled", "yes"),
    ];
    world.user(BOB, "/nowhere/h/bob", &unseen);
    assert!(world.owner().is_ok());
    let bob = world.settled().remove(&UserName::from(BOB)).unwrap().unwrap();
    assert!(bob.elsewhere.is_empty());
}

/// As 2.4 has it: what the user database says of a user's mail is no word on a namespace with a place of its own.
#[test]
fn a_user_whose_own_mail_lies_elsewhere_sees_public_mail_where_all_do() {
    let text = "mail_driver = maildir\nmail_path = ~/M\nnamespace inbox {\n inbox = yes\n separator = /\n}\n\
                namespace all {\n type = public\n prefix = Public/\n mail_path = /srv/public\n}\n";
    let mut world = World::new(text);
    world.configuration.version = Version::V2_4;
    world.user(BOB, "/nowhere/h/bob", &[("mail_path", "/nowhere/else")]);
    assert_eq!(world.owner().unwrap().namespaces[0].mail, Path::new("/srv/public"));
    world.user(BOB, "/nowhere/h/bob", &[("namespace/all/mail_path", "/nowhere/else")]);
    assert!(world.owner().unwrap_err().contains(BOB));
}

#[test]
fn public_mail_that_is_a_users_own_store_is_not_copied_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("M");
    std::fs::create_dir(&store).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&store, &link).unwrap();
    for place in [&store, &link] {
        let mut world = World::new(&public(&format!("maildir:{}", place.display())));
        world.user("team@example.test", &folder.path().display().to_string(), &[]);
        let users = world.settled();
        assert!(!users.contains_key(&UserName::from(OWNER)), "{}", place.display());
        assert!(ann(&users).elsewhere[0].contains("team@example.test"));
    }
    // the owner himself, with that store as his own
    let mut world = World::new(&public(&format!("maildir:{}", store.display())));
    world.user(OWNER, &folder.path().display().to_string(), &[]);
    let root = world.owner().unwrap();
    assert!(
        root.namespaces[0].inbox_index().is_some(),
        "his own root, with its INBOX"
    );
    assert!(root.elsewhere.is_empty());
}

#[test]
fn two_prefixes_of_one_place_are_copied_once() {
    let text = public("maildir:/srv/public");
    let world = World::new(&format!(
        "{text}namespace old {{\n type = public\n prefix = Old/\n hidden = yes\n location = maildir:/srv/public\n}}\n"
    ));
    let users = world.settled();
    assert_eq!(users.len(), 3);
    let ann = ann(&users);
    assert_eq!((ann.left_out.len(), ann.elsewhere.len()), (0, 2));
}

#[test]
fn an_owner_with_mail_of_his_own_is_refused_and_one_without_is_not() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::new(&public("maildir:/srv/public"));
    world.user(OWNER, &home.path().display().to_string(), &[]);
    assert_eq!(world.owner().unwrap().namespaces[0].mail, Path::new("/srv/public"));
    std::fs::create_dir_all(home.path().join("M/cur")).unwrap();
    let why = world.owner().unwrap_err();
    assert!(why.contains("mail of his own") && why.contains("Public/"), "{why}");
    // a user whose place nobody knows may have mail
    world.fields.insert(OWNER.into(), Fields::new());
    assert!(world.owner().unwrap_err().contains("not known"));
}

#[test]
fn a_prefix_that_no_namespace_has_is_named() {
    let mut world = World::new(&public("maildir:/srv/public"));
    world.owners = PublicOwners::from([("Publik/".to_owned(), OWNER.into())]);
    let why = world.owner().unwrap_err();
    assert!(why.contains("Publik/") && why.contains("no public namespace"), "{why}");
}

#[test]
fn dovecot_has_the_last_word_on_where_it_lies() {
    let mut world = World::new(&public("maildir:/srv/public"));
    world.path = Some(format!("/srv/public/.{NOBODYS}").into());
    assert_eq!(world.owner().unwrap().namespaces[0].layout, Layout::MaildirPlusPlus);
    world.path = Some(format!("/srv/public/{NOBODYS}").into());
    assert_eq!(world.owner().unwrap().namespaces[0].layout, Layout::Fs);
    world.path = Some(format!("/elsewhere/.{NOBODYS}").into());
    assert!(world.owner().unwrap_err().contains("/elsewhere"));
}
