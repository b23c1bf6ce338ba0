use super::*;

#[test]
fn sessions_are_read_from_both_versions_tables() {
    let of_2_3 = "username\tproto\tpid\tip\nuser1@example.test\timap\t27937\t127.0.0.1\n";
    let of_2_4 = "username\tservice\tpid\tip\tdest_ip\nuser1@example.test\timap\t28050\t127.0.0.1\t\n";
    let imap = Session {
        user: "user1@example.test".to_owned(),
        service: "imap".to_owned(),
    };
    assert_eq!(who(of_2_3), who(of_2_4));
    assert_eq!(who(of_2_4), [imap]);
    assert_eq!(who("username\tproto\tpid\tip\n"), []);
    assert_eq!(who(""), []);
}

#[test]
fn a_stopped_service_is_told_from_one_that_listens() {
    let text = "name: lmtp\nlistening: n\ndoveadm_stop: y\nprocess_total: 0\n\nname: imap-login\nlistening: n\ndoveadm_stop: n\n";
    let found = services(text);
    assert!(found["lmtp"].stopped && !found["imap-login"].stopped);
    assert_eq!(found.len(), 2);
}

#[test]
fn a_server_that_may_not_be_asked_is_not_taken_for_one_that_does_not_run() {
    let said = |why: &str| format!("Fatal: net_connect_unix(/run/dovecot/master) failed: {why}\n");
    assert!(is_absent(&said("Connection refused")) && is_absent(&said("No such file or directory")));
    assert!(!is_absent(&said("Permission denied")));
    assert!(!is_absent(
        "Error: No such file or directory: /etc/dovecot/dovecot.conf"
    ));
    assert!(!is_absent("Error response from daemon: container is not running"));
}

/// A `doveadm` that says what it is told to, and keeps what it was asked.
fn fake(dir: &std::path::Path, script: &str) -> Doveadm {
    let log = dir.join("asked");
    let script = format!("echo \"$*\" >>{}\n{script}", log.display());
    let command = ["sh", "-c", &script, "doveadm"].map(str::to_owned).to_vec();
    Doveadm { command, config: None }
}

fn patterns(patterns: &[&str]) -> UserPatterns {
    let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    UserPatterns::try_from(patterns).unwrap()
}

#[test]
fn a_server_of_several_groups_goes_on_for_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"case "$*" in
        "service status") printf 'name: imap-login\ndoveadm_stop: n\n' ;;
        "user *") printf 'a@x\nb@y\n' ;;
        *who*) printf 'username\tproto\tpid\tip\na@x\timap\t1\t::1\nb@y\timap\t2\t::1\n' ;;
    esac"#;
    let mut fence = Fence::new(fake(dir.path(), script), patterns(&["*@x"]), None);
    let fenced = fence.shut().unwrap();
    assert!(!fenced.refused && !fenced.is_shut());
    assert_eq!((fenced.left, fenced.stopped.len()), (1, 0));
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
    assert!(asked.contains("kick a@x\n"), "{asked}");
    assert!(
        !asked.contains("b@y") && !asked.contains("stop") && !asked.contains("kick *"),
        "{asked}"
    );
}

#[test]
fn a_file_that_the_server_does_not_heed_keeps_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"case "$*" in
        "service status") printf 'name: imap-login\ndoveadm_stop: n\n' ;;
        "user *") printf 'a@x\nb@y\n' ;;
        "auth lookup"*) printf 'passdb: a@x\n' ;;
    esac"#;
    let held = dir.path().join("held");
    let mut fence = Fence::new(fake(dir.path(), script), patterns(&["*@x"]), Some(held.clone()));
    let error = fence.shut().unwrap_err().to_string();
    assert!(error.contains("does not heed"), "{error}");
    let heeds = r#"case "$*" in
        "service status") printf 'name: imap-login\ndoveadm_stop: n\n' ;;
        "user *") printf 'a@x\nb@y\n' ;;
        "auth lookup"*) echo 'Error: auth-master: passdb lookup(a@x): Auth PASS lookup failed' >&2; exit 75 ;;
    esac"#;
    let mut fence = Fence::new(fake(dir.path(), heeds), patterns(&["*@x"]), Some(held.clone()));
    assert!(fence.shut().unwrap().is_shut());
    assert_eq!(std::fs::read_to_string(held).unwrap(), "a@x:::::::held=%{held}\n");
}

#[test]
fn a_server_that_can_not_be_asked_is_not_said_to_be_shut() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo 'Fatal: net_connect_unix(/run/dovecot/master) failed: Permission denied' >&2; exit 75";
    let mut fence = Fence::new(fake(dir.path(), script), patterns(&["*"]), None);
    let error = fence.shut().unwrap_err().to_string();
    assert!(error.contains("Permission denied"), "{error}");
}
