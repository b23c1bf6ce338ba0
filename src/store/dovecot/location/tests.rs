use super::*;
use crate::op::UserName;

fn namespace(version: Version, text: &str) -> Result<Namespace, String> {
    let settings = Settings::parse(text).unwrap();
    let lookup = Lookup {
        settings: &settings,
        block: &Settings::default(),
        fields: &Fields::new(),
        variables: Variables {
            version,
            user: &UserName::from("ann@example.test"),
            home: Some(Path::new("/h/ann")),
        },
    };
    lookup.namespace()
}

fn old(location: &str) -> Result<Namespace, String> {
    namespace(Version::V2_3, &format!("mail_location = {location}\n"))
}

#[test]
fn both_release_lines_say_the_same_place() {
    for (location, settings) in [
        ("maildir:~/Maildir", "mail_driver = maildir\n"),
        (
            "maildir:~/M:LAYOUT=fs:INDEX=/i/%u:CONTROL=/c/%n",
            "mail_driver = maildir\nmail_path = ~/M\nmailbox_list_layout = fs\nmail_index_path = /i/%{user}\n\
             mail_control_path = /c/%{user | username}\n",
        ),
        (
            "sdbox:~/s:INDEX=/i/%d:ALT=/alt/%u:FULLDIRNAME=mail:UTF-8:ITERINDEX",
            "mail_driver = sdbox\nmail_path = ~/s\nmail_index_path = /i/%{user | domain}\nmail_alt_path = /alt/%{user}\n\
             mailbox_directory_name = mail\nmailbox_directory_name_legacy = no\nmailbox_list_utf8 = yes\n\
             mailbox_list_iter_from_index_dir = yes\n",
        ),
        (
            "mdbox:~/mdbox:LISTINDEX=lists/tree:SUBSCRIPTIONS=subs:MAILBOXDIR=boxes:VOLATILEDIR=/run/x:INBOX=~/in",
            "mail_driver = mdbox\nmailbox_list_index_prefix = lists/tree\nmailbox_subscriptions_filename = subs\n\
             mailbox_root_directory_name = boxes\nmail_inbox_path = ~/in\nmail_volatile_path = /run/x\n",
        ),
    ] {
        let (old, new) = (old(location).unwrap(), namespace(Version::V2_4, settings).unwrap());
        assert_eq!(old, new, "{location}");
    }
}

#[test]
fn a_leaf_or_the_layout_index_takes_inbox_from_the_root_of_a_maildir() {
    assert_eq!(
        old("maildir:~/M:LAYOUT=fs").unwrap().inbox_path,
        Some("/h/ann/M".into())
    );
    assert_eq!(old("maildir:~/M:LAYOUT=index").unwrap().inbox_path, None);
    assert_eq!(old("maildir:~/M:LAYOUT=fs:DIRNAME=.mail").unwrap().inbox_path, None);
    assert_eq!(
        old("maildir:~/M:INBOX=~/M/.INBOX").unwrap().inbox_path,
        Some("/h/ann/M/.INBOX".into())
    );
    let listed = old("sdbox:/s:LISTINDEX=a/tree:INDEX=/i").unwrap().list_index;
    assert_eq!(listed, ("/i/a".into(), "tree".to_owned()));
}

#[test]
fn names_are_escaped_where_the_plugin_or_the_layout_does_it() {
    let text = "mail_location = maildir:~/M\nmail_plugins = acl listescape\nplugin {\n listescape_char = +\n}\n";
    assert_eq!(namespace(Version::V2_3, text).unwrap().spelling.escape, Some('+'));
    for (written, escape) in [("%%", '%'), ("%", '\\'), ("", '\\')] {
        let text = text.replace('+', written);
        assert_eq!(namespace(Version::V2_3, &text).unwrap().spelling.escape, Some(escape));
    }
    assert_eq!(old("maildir:~/M").unwrap().spelling.escape, None);
    let text = "mail_driver = sdbox\nmailbox_list_layout = index\n";
    assert_eq!(namespace(Version::V2_4, text).unwrap().spelling.escape, Some('^'));
}

#[test]
fn a_colon_in_a_path_is_written_twice() {
    assert_eq!(old("maildir:/m/a::b:LAYOUT=fs").unwrap().mail, Path::new("/m/a:b"));
}

#[test]
fn what_can_not_be_captured_is_refused_by_name() {
    for (location, word) in [
        ("maildir:~/M:INDEX=MEMORY", "MEMORY"),
        ("maildir:~/M:LAYOUT=imapdir", "imapdir"),
        ("sdbox:~/M:LAYOUT=maildir++", "maildir++"),
        ("maildir:~bob/M", "another user"),
        ("maildir:M", "absolute"),
        ("imapc:~/i", "imapc"),
        ("maildir:~/M:NEW=1", "NEW"),
        ("maildir:/m/%{sha1:u}", "sha1"),
        ("", "not set"),
    ] {
        let why = old(location).unwrap_err();
        assert!(why.contains(word), "{location}: {why}");
    }
}
