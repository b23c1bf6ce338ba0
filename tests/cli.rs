//! The programs as a user meets them: exit statuses, messages, JSON and nothing but JSON.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test leans on fails by panicking, as the test itself does"
)]

use mailshadow::io::tls::{PeerListener, PeerTls};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn shadowctl(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadowctl"));
    command
        .args(arguments)
        .env_remove("MAILSHADOW_CONFIG")
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A standby's folder: certificates, passwd-file, configuration.
struct Node {
    dir: TempDir,
    http: u16,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        assert!(shadowctl(&["cert", "init", &path]).status.success());
        assert!(
            shadowctl(&["cert", "issue", &path, "mail-b", "--san", "127.0.0.1"])
                .status
                .success()
        );
        std::fs::write(dir.path().join("users"), "ann:{PLAIN}pass::::::\n").unwrap();
        let (peers, http) = (free_port(), free_port());
        let config = format!(
            "[node]\nname = \"mail-b\"\nstate = \"state\"\ncontrol = \"control.sock\"\nlisten = \"127.0.0.1:{peers}\"\n\
             http = \"127.0.0.1:{http}\"\n\n[tls]\nca = \"ca.pem\"\ncert = \"mail-b.pem\"\nkey = \"mail-b.key\"\n\n\
             [[group]]\nname = \"main\"\nusers = [\"*\"]\nstart_as = \"standby\"\npeers = {{ mail-a = \"127.0.0.1:{}\" }}\n\
             store = \"embedded\"\n[group.embedded]\nusers = \"users\"\n",
            free_port()
        );
        std::fs::write(dir.path().join("shadowd.toml"), config).unwrap();
        Self { dir, http }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn edit(&self, from: &str, to: &str) {
        let file = self.dir.path().join("shadowd.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from));
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        let config = self.path("shadowd.toml");
        shadowctl(&[&["--config", &config], arguments].concat())
    }

    fn shadowd(&self) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shadowd"));
        let child = command
            .args(["--config", &self.path("shadowd.toml")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Daemon(child)
    }

    fn running(&self) -> Daemon {
        let daemon = self.shadowd();
        for _ in 0..200 {
            if self.ctl(&["status"]).status.success() {
                return daemon;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no answer to status in 10 s");
    }
}

struct Daemon(Child);

impl Daemon {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.0.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Exit status and standard error, within `limit`.
    fn ended(&mut self, limit: Duration) -> (Option<i32>, String) {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.0.try_wait().unwrap() {
                let mut text = String::new();
                self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
                return (status.code(), text);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("shadowd runs on after {limit:?}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_wrong_call_ends_with_2_and_help_with_0() {
    for wrong in [
        &["frobnicate"][..],
        &[],
        &["wait", "--timeout", "soon"],
        &["cert"],
        &["journal", "cat", "--from", "x"],
    ] {
        let output = shadowctl(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(out(&output).is_empty(), "{wrong:?}");
    }
    for right in [
        &["--help"][..],
        &["wait", "--help"],
        &["cert", "issue", "--help"],
        &["--version"],
    ] {
        assert_eq!(shadowctl(right).status.code(), Some(0), "{right:?}");
    }
    let help = out(&shadowctl(&["--help"]));
    for verb in ["cert", "check", "status", "wait", "verify", "journal"] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(verb)),
            "{verb} is not in\n{help}"
        );
    }
    let wait = out(&shadowctl(&["wait", "--help"]));
    assert!(
        wait.contains("time ran out") && wait.contains("[default: 30s]"),
        "{wait}"
    );
}

#[test]
fn a_wrong_configuration_ends_both_programs_with_2_and_one_line() {
    let node = Node::new();
    node.edit("start_as", "strat_as");
    let told = "shadowd.toml:16: group.strat_as: no such key";
    let output = node.ctl(&["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains(told) && err(&output).lines().count() == 1,
        "{}",
        err(&output)
    );
    let (code, text) = node.shadowd().ended(Duration::from_secs(5));
    assert_eq!(code, Some(2));
    assert!(text.contains(told) && text.lines().count() == 1, "{text}");
}

#[test]
fn json_is_one_document_also_when_it_fails() {
    let node = Node::new();
    for verb in [
        &["status"][..],
        &["wait"],
        &["verify"],
        &["journal", "ls"],
        &["journal", "cat"],
    ] {
        let output = node.ctl(&[&["--json"], verb].concat());
        assert_eq!(output.status.code(), Some(1), "{verb:?}");
        let document: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("no shadowd answers on "), "{message}");
        assert_eq!(document["error"]["exit"], 1);
        assert!(err(&output).contains("no shadowd answers"), "{}", err(&output));
    }
}

#[test]
fn certificates_are_made_once_and_keys_kept_private() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("new/pki");
    let pki = pki.to_str().unwrap();
    let made = shadowctl(&["--json", "cert", "init", pki]);
    let made: serde_json::Value = serde_json::from_str(&out(&made)).unwrap();
    assert_eq!(made["cert"], format!("{pki}/ca.pem"));
    let mode = Path::new(pki).join("ca.key").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(format!("{pki}/ca.key")).unwrap();
    let again = shadowctl(&["cert", "init", pki]);
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("nothing is overwritten"), "{}", err(&again));
    assert_eq!(std::fs::read(format!("{pki}/ca.key")).unwrap(), before);
    let bad = shadowctl(&["cert", "issue", pki, "mail-a", "--san", "not a name"]);
    assert_eq!(bad.status.code(), Some(1));
}

#[test]
fn a_daemon_answers_reloads_refuses_a_second_one_and_stops_within_five_seconds() {
    let node = Node::new();
    let mut daemon = node.running();
    let status = node.ctl(&["--json", "status"]);
    let status: serde_json::Value = serde_json::from_str(&out(&status)).unwrap();
    let group = &status["groups"][0];
    assert_eq!((&status["node"], &group["name"]), (&"mail-b".into(), &"main".into()));
    assert_eq!(
        (&group["role"], &group["store"]),
        (&"standby".into(), &"embedded".into())
    );
    for field in ["captured", "shipped", "durable", "applied"] {
        assert!(group["lsn"].get(field).is_some(), "{field}");
    }
    for field in ["operations", "seconds", "bytes"] {
        assert!(group["lag"].get(field).is_some(), "{field}");
    }
    for field in ["now", "warnings", "would_lose", "silent_seconds"] {
        assert!(group["promotable"].get(field).is_some(), "{field}");
    }
    assert!(out(&node.ctl(&["status"])).contains("group main: standby"));
    assert_eq!(
        node.ctl(&["wait", "--timeout", "1s", "--group", "none"])
            .status
            .code()
            .map(|code| code > 0),
        Some(true)
    );
    let page = std::net::TcpStream::connect(("127.0.0.1", node.http));
    assert!(page.is_ok(), "the HTTP port answers");

    let (code, text) = node.shadowd().ended(Duration::from_secs(5));
    assert_eq!(code, Some(1));
    assert!(text.contains("another shadowd"), "{text}");
    assert!(node.ctl(&["status"]).status.success(), "the first one lives on");

    daemon.signal("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert!(node.ctl(&["status"]).status.success());
    daemon.signal("-TERM");
    let (code, text) = daemon.ended(Duration::from_secs(5));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("certificates reloaded"), "{text}");
    assert!(!Path::new(&node.path("control.sock")).exists());
}

#[test]
fn a_daemon_that_was_killed_leaves_nothing_that_stops_the_next_one() {
    let node = Node::new();
    let mut first = node.running();
    first.signal("-KILL");
    first.ended(Duration::from_secs(5));
    assert!(Path::new(&node.path("control.sock")).exists());
    let _second = node.running();
}

fn findings(output: &Output) -> Vec<(String, String, String)> {
    let report: serde_json::Value = serde_json::from_str(&out(output)).unwrap();
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let all = report["findings"].as_array().unwrap();
    all.iter()
        .map(|finding| (text(finding, "level"), text(finding, "topic"), text(finding, "what")))
        .collect()
}

#[test]
fn check_finds_what_would_stop_the_node() {
    let node = Node::new();
    let healthy = node.ctl(&["--json", "check"]);
    let errors: Vec<_> = findings(&healthy)
        .into_iter()
        .filter(|finding| finding.0 == "error")
        .collect();
    assert_eq!((healthy.status.code(), errors), (Some(0), Vec::new()));

    // a key for everybody, a certificate of somebody else, a taken port, a full set of mistakes at once
    let key = node.path("mail-b.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    node.edit("name = \"mail-b\"", "name = \"mail-c\"");
    let taken = TcpListener::bind(("127.0.0.1", node.http)).unwrap();
    std::fs::remove_file(node.path("users")).unwrap();
    let ill = node.ctl(&["--json", "check"]);
    assert_eq!(ill.status.code(), Some(1));
    let found = findings(&ill);
    for (topic, what) in [
        ("tls.key", "can be read or written by everybody (mode 644)"),
        ("tls.cert", "names mail-b, but node.name is mail-c"),
        ("node.http", "is taken"),
        ("group main embedded.users", "No such file"),
    ] {
        let is = |finding: &&(String, String, String)| finding.1 == topic && finding.2.contains(what);
        let finding = found
            .iter()
            .find(is)
            .unwrap_or_else(|| panic!("{topic}: {what} is not in {found:?}"));
        assert_eq!(finding.0, "error", "{topic}");
    }
    assert!(out(&node.ctl(&["check"])).contains("→ chmod 0600"));
    drop(taken);
}

#[test]
fn check_tells_a_peer_that_is_away_from_one_that_is_somebody_else() {
    let (theirs, node) = (Node::new(), Node::new());
    let peer = |output: &Output| {
        findings(output)
            .into_iter()
            .find(|finding| finding.1.starts_with("peer "))
            .unwrap()
    };
    assert_eq!(peer(&node.ctl(&["--json", "check"])).0, "warning");
    // whoever listens there now is mail-b of another authority; this node looks for mail-a
    let files = mailshadow::config::Config::load(Path::new(&theirs.path("shadowd.toml")))
        .unwrap()
        .tls;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tls = std::sync::Arc::new(PeerTls::load(&files).unwrap());
    let listener = runtime
        .block_on(PeerListener::bind("127.0.0.1:0".parse().unwrap(), tls))
        .unwrap();
    let address = listener.address().unwrap();
    runtime.spawn(async move {
        while let Ok(caller) = listener.accept().await {
            // refused, which is what this is about
            let _ = caller.finish(|_| true).await;
        }
    });
    let config = std::fs::read_to_string(node.path("shadowd.toml")).unwrap();
    let old = config.split("mail-a = \"").nth(1).unwrap().split('"').next().unwrap();
    node.edit(old, &address.to_string());
    let checked = node.ctl(&["--json", "check"]);
    assert_eq!((checked.status.code(), peer(&checked).0.as_str()), (Some(1), "error"));
}

#[test]
fn an_operator_who_is_not_looking_is_told_what_happens() {
    let node = Node::new();
    let (script, told) = (node.path("page-me"), node.path("told"));
    std::fs::write(&script, format!("#!/bin/sh\ncat >> {told}\necho >> {told}\n")).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    node.edit("[tls]", "on_event = [\"./page-me\"]\n[tls]");
    let _daemon = node.running();
    let started = Instant::now();
    let events = loop {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let events: Vec<_> = lines.collect();
        if events.len() >= 2 {
            break events;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "told only {text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let field = |event: usize, name: &str| events[event][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (field(0, "event"), field(0, "stage")),
        ("started".to_owned(), "happened".to_owned())
    );
    assert_eq!(
        (field(1, "event"), field(1, "group")),
        ("building".to_owned(), "main".to_owned())
    );
    assert_eq!(
        (field(1, "node"), field(1, "severity")),
        ("mail-b".to_owned(), "info".to_owned())
    );
}

#[test]
fn a_service_manager_that_waits_for_a_sign_of_life() {
    let node = Node::new();
    let address = node.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadowd"));
    let started = command
        .args(["--config", &node.path("shadowd.toml")])
        .env("NOTIFY_SOCKET", &address);
    let _daemon = Daemon(started.stderr(Stdio::null()).spawn().unwrap());
    let mut heard = String::new();
    // ready once it listens, alive only after a look at every group, and what it does in a line
    for wanted in ["READY=1", "STATUS=main: standby, not connected, building", "WATCHDOG=1"] {
        while !heard.contains(wanted) {
            let mut buffer = [0; 4096];
            let length = socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("{wanted}: {error}; heard {heard}"));
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            heard.push('\n');
        }
    }
}
