//! Every key, and every kind of mistake with its message.

use super::*;
use std::time::Duration;

/// The sample of the documentation, with every key.
const EVERY_KEY: &str = r#"
[node]
name    = "mail-a"
state   = "/var/lib/mailshadow"
control = "/run/mailshadow/shadowd.sock"
listen  = "0.0.0.0:4790"
http    = "127.0.0.1:4791"
observers = ["proxy-1"]
on_event = ["/usr/local/bin/page-me", "--now"]
log_users = "hash"

[tls]
ca   = "ca.pem"
cert = "pki/mail-a.pem"
key  = "/etc/mailshadow/mail-a.key"

[[group]]
name     = "main"
users    = ["*", "!root"]
retain   = "1h30m"
rejoin   = "auto"
start_as = "primary"
compress = "on"
bytes_per_second = 2500000
peers    = { mail-b = "mail-b.example.net:4790", mail-c = "[2001:db8::1]:4790" }
store    = "dovecot"

[group.dovecot]
doveadm = ["bin/doveadm", "-v"]
config = "dovecot.conf"
fence = ["/usr/local/bin/fence-mail"]
hold = "held"
start_store = ["systemctl", "start", "dovecot"]
watch = { user = "probe@example.net", password_file = "watch.pw", imaps = "127.0.0.1:993", tls_name = "mail-a" }
public = { "Public/" = "public@example.net" }

[[group.redirect]]
kind    = "haproxy"
socket  = "/run/haproxy/admin.sock"
servers = { mail-a = "imap/a", mail-b = "imap/b" }
[[group.redirect]]
kind    = "dovecot"
file    = "/etc/dovecot/proxy-users"
doveadm = ["doveadm"]
hosts   = { mail-a = "10.0.0.1", mail-b = "10.0.0.2" }
[[group.redirect]]
kind    = "dns"
server  = "10.0.0.53:53"
zone    = "example.net"
record  = "imap.example.net"
ttl     = 60
key     = "tsig.key"
addresses = { mail-a = ["10.0.0.1", "2001:db8::1"], mail-b = ["10.0.0.2"] }
[[group.redirect]]
kind    = "exec"
command = ["/usr/local/bin/move-vip"]

[[group.probe]]
address = "imap.example.net:993"
tls_name = "imap.example.net"
user = "probe@example.net"
password_file = "probe.pw"

[[group]]
name     = "vault"
users    = ["*"]
start_as = "standby"
peers    = {}
store    = "embedded"
[group.embedded]
imap  = "0.0.0.0:143"
imaps = "[::]:993"
lmtp  = "127.0.0.1:24"
users = "users"
while_standby = "off"
cert = "front.pem"
key = "front.key"

[[proxy]]
group  = "main"
listen = "0.0.0.0:1143"
nodes  = { mail-a = "10.0.0.1:143", mail-b = "10.0.0.2:143" }
control = { mail-a = "10.0.0.1:4790", mail-b = "10.0.0.2:4790" }
proxy_protocol = true
"#;

/// The least that a node needs.
const LEAST: &str = r#"[node]
name = "mail-b"
state = "state"
control = "control.sock"
listen = "127.0.0.1:4790"

[tls]
ca = "ca.pem"
cert = "mail-b.pem"
key = "mail-b.key"

[[group]]
name = "main"
users = ["*"]
start_as = "standby"
peers = { mail-a = "127.0.0.1:4780" }
store = "embedded"

[group.embedded]
users = "users"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/mailshadow/shadowd.toml"), text)
}

#[test]
fn every_key_is_read() {
    let config = parse(EVERY_KEY).unwrap();
    let (node, tls) = (&config.node, &config.tls);
    assert_eq!(node.name, NodeName::from("mail-a"));
    assert_eq!(node.state, Path::new("/var/lib/mailshadow"));
    assert_eq!(node.control, Path::new("/run/mailshadow/shadowd.sock"));
    assert_eq!(node.listen.to_string(), "0.0.0.0:4790");
    assert_eq!(node.http.unwrap().to_string(), "127.0.0.1:4791");
    assert_eq!(node.observers, [NodeName::from("proxy-1")]);
    assert_eq!(
        node.on_event.as_ref().unwrap().words(),
        ["/usr/local/bin/page-me", "--now"]
    );
    assert_eq!(node.log_users, LogUsers::Hash);
    assert_eq!(tls.ca, Path::new("/etc/mailshadow/ca.pem"));
    assert_eq!(tls.cert, Path::new("/etc/mailshadow/pki/mail-a.pem"));
    let main = config.group("main").unwrap();
    assert!(main.users.matches("ann") && !main.users.matches("root"));
    assert_eq!(main.retain.0, Duration::from_secs(5_400));
    assert_eq!(main.compress, Compress::On);
    assert_eq!(main.bytes_per_second, Some(BytesPerSecond(2_500_000)));
    assert_eq!((main.rejoin, main.start_as), (Rejoin::Auto, StartAs::Primary));
    let peers: Vec<String> = main.peers.iter().map(|(name, at)| format!("{name}={at}")).collect();
    assert_eq!(peers, ["mail-b=mail-b.example.net:4790", "mail-c=[2001:db8::1]:4790"]);
    let StoreConfig::Dovecot(dovecot) = &main.store else {
        panic!("dovecot")
    };
    assert_eq!(dovecot.doveadm.words(), ["/etc/mailshadow/bin/doveadm", "-v"]);
    assert_eq!(
        dovecot.config.as_deref(),
        Some(Path::new("/etc/mailshadow/dovecot.conf"))
    );
    assert_eq!(dovecot.fence.as_ref().unwrap().program(), "/usr/local/bin/fence-mail");
    assert_eq!(dovecot.hold.as_deref(), Some(Path::new("/etc/mailshadow/held")));
    assert_eq!(dovecot.start_store.as_ref().unwrap().arguments(), ["start", "dovecot"]);
    let watch = dovecot.watch.as_ref().unwrap();
    assert_eq!(watch.password_file, Path::new("/etc/mailshadow/watch.pw"));
    let public = dovecot.public.get("Public/");
    assert_eq!(public.map(UserName::as_str), Some("public@example.net"));
    assert_eq!(watch.imaps.as_ref().unwrap().to_string(), "127.0.0.1:993");
    assert_eq!(
        (watch.user.as_str(), watch.tls_name.as_deref()),
        ("probe@example.net", Some("mail-a"))
    );
    assert!(matches!(
        main.redirects.as_slice(),
        [
            RedirectConfig::Haproxy { .. },
            RedirectConfig::Dovecot { .. },
            RedirectConfig::Dns { ttl_seconds: 60, .. },
            RedirectConfig::Exec { .. },
        ]
    ));
    assert_eq!(main.probes[0].password_file, Path::new("/etc/mailshadow/probe.pw"));
    let StoreConfig::Embedded(embedded) = &config.group("vault").unwrap().store else {
        panic!("embedded")
    };
    assert_eq!(embedded.imap.unwrap().port(), 143);
    assert_eq!(embedded.imaps.unwrap().to_string(), "[::]:993");
    assert_eq!(embedded.lmtp.unwrap().port(), 24);
    assert_eq!(embedded.while_standby, WhileStandby::Off);
    assert_eq!(
        embedded.certificate.as_ref().unwrap().1,
        Path::new("/etc/mailshadow/front.key")
    );
    assert!(config.proxies[0].proxy_protocol && config.proxies[0].group == "main");
}

#[test]
fn what_is_left_out_has_the_documented_value() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.node.state, Path::new("/etc/mailshadow/state"));
    assert!(config.node.http.is_none() && config.node.observers.is_empty() && config.node.on_event.is_none());
    assert_eq!(config.node.log_users, LogUsers::Name);
    let group = &config.groups[0];
    assert_eq!(group.retain.0, Duration::from_secs(14 * 86_400));
    assert_eq!(group.rejoin, Rejoin::Ask);
    let StoreConfig::Embedded(embedded) = &group.store else {
        panic!("embedded")
    };
    assert!(embedded.imap.is_none() && embedded.imaps.is_none() && embedded.lmtp.is_none());
    assert_eq!(embedded.while_standby, WhileStandby::ReadOnly);
    assert!(embedded.certificate.is_none() && embedded.auth_exec.is_none());
    let dovecot = LEAST
        .replace("standby", "primary")
        .replace("embedded", "dovecot")
        .replace("users = \"users\"", "");
    let config = parse(&dovecot).unwrap();
    let StoreConfig::Dovecot(dovecot) = &config.groups[0].store else {
        panic!("dovecot")
    };
    assert_eq!(dovecot.doveadm.words(), ["doveadm"]);
}

/// In [`LEAST`], `from` becomes `to`: then this is the message, after the file's name.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("[node]", "[node", "1: node: unclosed table, expected `]`"),
    ("name = \"mail-b\"\n", "", "1: node.name: is required, but missing"),
    (
        "name = \"mail-b\"",
        "nmae = \"mail-b\"",
        "2: node.nmae: no such key; expected one of",
    ),
    (
        "\"mail-b\"",
        "\"mail b\"",
        "2: node.name: expected a name of 1 to 64 letters, digits",
    ),
    (
        "\"mail-b\"",
        "7",
        "2: node.name: invalid type: integer `7`, expected a string",
    ),
    (
        "state = \"state\"",
        "state = \"\"",
        "3: node.state: expected a path, found an empty one",
    ),
    (
        "127.0.0.1:4790",
        "localhost:4790",
        "5: node.listen: expected \"IP:PORT\"",
    ),
    (
        "127.0.0.1:4790",
        "127.0.0.1:0",
        "5: node.listen: expected a port other than 0",
    ),
    (
        "[tls]",
        "log_users = \"none\"\n[tls]",
        "7: node.log_users: unknown variant `none`, expected `name` or `hash`",
    ),
    (
        "[tls]",
        "on_event = []\n[tls]",
        "7: node.on_event: expected a list: the program, then its arguments",
    ),
    ("[tls]\n", "[tsl]\n", "7: tsl: no such key; expected one of"),
    ("ca = \"ca.pem\"\n", "", "7: tls.ca: is required, but missing"),
    (
        "[\"*\"]",
        "[\"!a\"]",
        "14: group.users: expected at least one pattern without \"!\"",
    ),
    (
        "[\"*\"]",
        "\"*\"",
        "14: group.users: invalid type: string \"*\", expected a sequence",
    ),
    (
        "\"standby\"",
        "\"fenced\"",
        "15: group.start_as: unknown variant `fenced`, expected `primary` or `standby`",
    ),
    (
        "start_as = \"standby\"\n",
        "",
        "12: group.start_as: is required, but missing",
    ),
    (
        "mail-a =",
        "mail-b =",
        "16: group.peers: expected the other nodes only, found this node's own name \"mail-b\"",
    ),
    (
        "127.0.0.1:4780",
        "127.0.0.1",
        "16: group.peers: expected \"HOST:PORT\", found \"127.0.0.1\"",
    ),
    (
        "store = \"embedded\"",
        "store = \"imap\"",
        "17: group.store: unknown variant `imap`",
    ),
    (
        "store = \"embedded\"",
        "store = \"dovecot\"",
        "19: group.embedded: expected only where store = \"embedded\"",
    ),
    (
        "[group.embedded]\nusers = \"users\"\n",
        "",
        "17: group.store: store = \"embedded\" expects a table [group.embedded]",
    ),
    (
        "store = \"embedded\"\n\n[group.embedded]\nusers = \"users\"",
        "store = \"dovecot\"\ndovecot.public = { a = \"x\", b = \"x\" }",
        "18: group.dovecot.public: expected an owner for each namespace, found \"x\" twice",
    ),
    (
        "users = \"users\"",
        "",
        "19: group.embedded.users: is required, but missing",
    ),
    (
        "users = \"users\"",
        "users = \"users\"\ncert = \"x\"",
        "21: group.embedded.cert: expected \"key\" beside it",
    ),
    (
        "users = \"users\"",
        "users = \"users\"\nkey = \"x\"",
        "21: group.embedded.key: expected \"cert\" beside it",
    ),
    (
        "store = \"embedded\"",
        "bytes_per_second = 100\nstore = \"embedded\"",
        "17: group.bytes_per_second: expected a number of bytes from 10000 on, found 100",
    ),
    (
        "store = \"embedded\"",
        "compress = \"yes\"\nstore = \"embedded\"",
        "17: group.compress: unknown variant `yes`",
    ),
    (
        "store = \"embedded\"",
        "retain = \"14\"\nstore = \"embedded\"",
        "17: group.retain: expected a time like \"30s\"",
    ),
    (
        "store = \"embedded\"",
        "retain = \"99999d\"\nstore = \"embedded\"",
        "17: group.retain: expected a time like",
    ),
    (
        "[group.embedded]",
        "[[group.redirect]]\nkind = \"haproxy\"\nservers = {}\n[group.embedded]",
        "19: group.redirect.socket: is required by this kind, but missing",
    ),
    (
        "[group.embedded]",
        "[[group.redirect]]\nkind = \"exec\"\ncommand = [\"x\"]\nttl = 3\n[group.embedded]",
        "20: group.redirect.kind: this kind has no key \"ttl\"",
    ),
    (
        "[[group]]",
        "[[proxy]]\ngroup = \"main\"\nlisten = \"0.0.0.0:1\"\nnodes = {}\ncontrol = { a = \"b:1\" }\n[[group]]",
        "12: proxy: expected the same nodes in \"nodes\" and \"control\"",
    ),
];

#[test]
fn a_mistake_is_told_with_its_line_its_key_and_what_was_expected() {
    let mut wrong = Vec::new();
    for (from, to, message) in MISTAKES {
        assert!(LEAST.contains(from), "{from}");
        let text = LEAST.replacen(from, to, 1);
        let error = parse(&text)
            .err()
            .unwrap_or_else(|| panic!("{to} was accepted"))
            .to_string();
        let expected = format!("/etc/mailshadow/shadowd.toml:{message}");
        if !error.starts_with(&expected) || error.lines().count() != 1 {
            wrong.push(format!("{to}\n   found: {error}\nexpected: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_same_group_twice_is_a_mistake() {
    let group = LEAST.split_once("[[group]]").unwrap().1;
    let twice = format!("{LEAST}[[group]]{group}");
    assert!(
        parse(&twice)
            .unwrap_err()
            .to_string()
            .contains("expected each group once, found \"main\" again")
    );
}

#[test]
fn a_file_that_is_not_there_or_too_long_is_told_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shadowd.toml");
    let missing = Config::load(&path).unwrap_err().to_string();
    assert!(
        missing.contains("shadowd.toml: open the configuration: No such file"),
        "{missing}"
    );
    std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
    let long = Config::load(&path).unwrap_err().to_string();
    assert!(long.contains("expected at most 1048576 bytes"), "{long}");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(Config::load(&path).is_err());
}

#[test]
fn times_are_read_as_they_are_written() {
    for (text, seconds) in [
        ("30s", 30),
        ("1h30m", 5_400),
        ("14d", 1_209_600),
        ("1w", 604_800),
        ("1500ms", 1),
        ("0s", 0),
    ] {
        assert_eq!(values::parse_duration(text).unwrap().as_secs(), seconds, "{text}");
    }
    for wrong in [
        "",
        "s",
        "3",
        "3 s",
        "-3s",
        "3y",
        "1.5h",
        "99999999999999999999s",
        "18446744073709551615w",
        "11000d",
    ] {
        assert!(values::parse_duration(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_address_keeps_its_form() {
    for text in ["mail-b.example.net:4790", "10.0.0.1:1", "[::1]:65535"] {
        assert_eq!(HostPort::try_from(text.to_owned()).unwrap().to_string(), text);
    }
    for wrong in [
        "", "a", "a:", ":1", "a:0", "a:65536", "::1:5", "[a]:1", "[::1]", "a b:1", "a/b:1",
    ] {
        assert!(HostPort::try_from(wrong.to_owned()).is_err(), "{wrong}");
    }
}

proptest::proptest! {
    /// A configuration is written by people: whatever they write, they get a message, never a crash.
    #[test]
    fn no_text_makes_the_reader_crash(at in 0..LEAST.len(), inserted in ".{0,12}", cut in 0..40_usize) {
        let (before, after) = LEAST.split_at(at);
        let rest: String = after.chars().skip(cut).collect();
        if let Err(error) = parse(&format!("{before}{inserted}{rest}")) {
            proptest::prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
    }
}
