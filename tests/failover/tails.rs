//! What a dead primary never shipped comes back with its disk: found, merged once, and the node is a standby.

use super::{LIMIT, append, programs, refused, standing, subjects, twins_with_mail, until_role};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use testbed::dovecot::{Format, PASSWORD, Version};
use testbed::imap::Imap;
use testbed::lmtp::Lmtp;
use testbed::node::{Node, Pki};
use testbed::pair::Plan;
use testbed::truth::Truth;
use testbed::twins::{Twins, USERS};
use testbed::{Result, ports, process};

const ANN: &str = USERS[0];
const FAIL_BACKS: usize = 10;
/// Milliseconds after the verb's start.
const CUT_AT: [u64; 8] = [2, 8, 15, 25, 40, 60, 90, 130];

/// The standby dies, the primary goes on, and dies too.
fn leave_a_tail(twins: &mut Twins, primary: usize, write: impl FnOnce(&mut Imap) -> Result<()>) -> Result<()> {
    twins.nodes[1 - primary].kill()?;
    write(&mut twins.client(primary, ANN)?)?;
    twins.nodes[primary].kill()
}

fn promote(twins: &mut Twins, standby: usize) -> Result<()> {
    twins.nodes[standby].start()?;
    twins.nodes[standby].ask(&["promote", "--max-loss", "any"])?;
    until_role(&twins.nodes[standby], "primary")
}

fn equal(twins: &Twins, primary: usize) -> Result<()> {
    twins.nodes[primary].ask(&["wait", "--timeout", "60s"])?;
    let users: Vec<String> = USERS.iter().map(|user| (*user).to_owned()).collect();
    let [a, b] = twins.ports.map(|port| Truth::read(port, &users));
    let differences = a?.differences(&b?, &[]);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

fn all_of(imap: &mut Imap, commands: &[&str]) -> Result<()> {
    for command in commands {
        imap.run(command)?.must().with_context(|| (*command).to_owned())?;
    }
    Ok(())
}

/// Appends, flags, a move and an expunge that nobody shipped.
fn tail(imap: &mut Imap) -> Result<()> {
    append(imap, "INBOX", "tail one")?;
    append(imap, "INBOX", "tail two")?;
    all_of(
        imap,
        &[
            "SELECT INBOX",
            "STORE 1 +FLAGS (\\Flagged)",
            "STORE 2 +FLAGS (\\Answered)",
            "UID MOVE 2,7 Work",
            "UID STORE 3 +FLAGS (\\Deleted)",
            "UID EXPUNGE 3",
            "CREATE Tail",
        ],
    )?;
    append(imap, "Tail", "tail three")
}

#[test]
fn the_tail_of_a_dead_primary_is_merged_and_the_node_becomes_a_standby() -> Result<()> {
    let mut twins = twins_with_mail()?;
    leave_a_tail(&mut twins, 0, tail)?;
    promote(&mut twins, 1)?;
    append(&mut twins.client(1, ANN)?, "INBOX", "after")?;
    twins.nodes[0].start()?;
    until_role(&twins.nodes[0], "fenced")?;
    let report = twins.nodes[0].ask(&["rejoin"])?;
    let tally = &report["tally"];
    ensure!(report["role"] == "standby", "{report}");
    ensure!(
        tally["messages"] == 4 && tally["new"] == 3 && tally["copied"] == 1,
        "{report}"
    );
    ensure!(
        tally["flags"] == 1 && tally["moved"] == 1 && tally["quarantined"] == 1,
        "{report}"
    );
    ensure!(
        report["tail"].as_array().is_some_and(|lines| lines.len() > 4),
        "{report}"
    );
    let mut imap = twins.client(1, ANN)?;
    let inbox = subjects(&mut imap)?;
    let expected = ["message 0", "message 2", "message 3", "message 4", "after", "tail one"];
    ensure!(inbox == expected, "{inbox:?}");
    equal(&twins, 1)?;
    let log = std::fs::read_to_string(twins.nodes[1].state().join("groups/main/audit.jsonl"))?;
    ensure!(log.contains("tail merged") && log.contains("\"messages\":4"), "{log}");

    // the expunge waits on both; the operator's word on the primary reaches the standby
    let list = twins.nodes[1].ask(&["quarantine", "ls"])?;
    let id = list["entries"][0]["id"].as_i64().context("an entry")?.to_string();
    twins.nodes[1].ask(&["quarantine", "release", &id])?;
    equal(&twins, 1)?;
    ensure!(subjects(&mut imap)?.len() == 5);
    ensure!(twins.nodes[0].ask(&["quarantine", "ls"])?["entries"] == serde_json::json!([]));
    let why = refused(&twins.nodes[0], &["rejoin"])?;
    ensure!(why.contains("nothing to rejoin"), "{why}");
    twins.nodes[1].ask(&["switchover"])?;
    until_role(&twins.nodes[0], "primary")?;
    equal(&twins, 0)
}

/// Clients that append, and remember what was answered OK.
struct Load {
    primary: AtomicUsize,
    stop: AtomicBool,
    taken: Mutex<Vec<String>>,
}

impl Load {
    fn run(&self, ports: [u16; 2]) {
        let mut count = 0;
        while !self.stop.load(Ordering::Acquire) {
            let port = ports[self.primary.load(Ordering::Acquire)];
            let Ok(mut imap) = Imap::login(port, USERS[1], testbed::twins::PASSWORD) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            loop {
                count += 1;
                let subject = format!("load {count}");
                if append(&mut imap, "INBOX", &subject).is_err() || self.stop.load(Ordering::Acquire) {
                    break;
                }
                self.taken
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .push(subject);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

#[test]
fn failing_over_and_back_ten_times_under_load_loses_and_doubles_nothing() -> Result<()> {
    let mut twins = twins_with_mail()?;
    let ports = twins.ports;
    let load = Load {
        primary: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        taken: Mutex::default(),
    };
    let failed = std::thread::scope(|scope| {
        let running = scope.spawn(|| load.run(ports));
        let done = (0..FAIL_BACKS).try_for_each(|round| fail_back(&mut twins, &load, round));
        load.stop.store(true, Ordering::Release);
        running.join().ok().context("the load panicked")?;
        done
    });
    failed?;
    let primary = load.primary.load(Ordering::Acquire);
    equal(&twins, primary)?;
    let mut imap = twins.client(primary, USERS[1])?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for subject in subjects(&mut imap)? {
        *counts.entry(subject).or_default() += 1;
    }
    let taken = load.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    ensure!(taken.len() > FAIL_BACKS * 5, "only {} appends", taken.len());
    for subject in taken.iter() {
        let found = counts.get(subject).copied().unwrap_or(0);
        ensure!(found == 1, "\"{subject}\" was answered OK and is there {found} times");
    }
    let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(doubled.is_empty(), "{doubled:?}");
    Ok(())
}

fn fail_back(twins: &mut Twins, load: &Load, round: usize) -> Result<()> {
    let primary = load.primary.load(Ordering::Acquire);
    let standby = 1 - primary;
    leave_a_tail(twins, primary, |imap| {
        append(imap, "INBOX", &format!("tail {round}"))?;
        std::thread::sleep(Duration::from_millis(100));
        append(imap, "Work", &format!("work {round}"))
    })?;
    promote(twins, standby)?;
    load.primary.store(standby, Ordering::Release);
    std::thread::sleep(Duration::from_millis(100));
    twins.nodes[primary].start()?;
    until_role(&twins.nodes[primary], "fenced")?;
    let report = twins.nodes[primary].ask(&["rejoin"])?;
    ensure!(
        report["tally"]["lost"] == 0 && report["tally"]["quarantined"] == 0,
        "{report}"
    );
    let built = process::until("the old primary is built", LIMIT, || {
        let status = twins.nodes[primary].status()?;
        Ok(status["building"] == false && status["lsn"]["applied"].as_u64() > Some(0))
    });
    built.with_context(|| {
        format!(
            "round {round}\n{}\n{}",
            twins.nodes[primary].log(),
            twins.nodes[standby].log()
        )
    })?;
    let mut imap = twins.client(standby, ANN)?;
    let found = subjects(&mut imap)?;
    ensure!(found.len() == 6 + round, "round {round}: {found:?}");
    twins.nodes[standby].ask(&["wait", "--timeout", "30s"]).map(drop)
}

#[test]
fn a_rejoin_killed_on_either_side_at_any_moment_is_finished_by_running_it_again() -> Result<()> {
    let mut twins = twins_with_mail()?;
    leave_a_tail(&mut twins, 0, |imap| {
        tail(imap)?;
        (0..60).try_for_each(|number| append(imap, "INBOX", &format!("many {number}")))
    })?;
    promote(&mut twins, 1)?;
    twins.nodes[0].start()?;
    until_role(&twins.nodes[0], "fenced")?;
    twins.nodes.iter_mut().try_for_each(Node::stop)?;
    let states = twins.nodes.each_ref().map(Node::state);
    for state in &states {
        super::cut_off::copy_folder(state, &state.with_extension("kept"))?;
    }
    for (number, after_ms) in CUT_AT.into_iter().enumerate() {
        for state in &states {
            super::cut_off::copy_folder(&state.with_extension("kept"), state)?;
        }
        twins.nodes.iter_mut().try_for_each(Node::start)?;
        until_role(&twins.nodes[1], "primary")?;
        let [a, b] = &mut twins.nodes;
        if number % 2 == 0 {
            super::cut_off::kill_asked(a, &["rejoin"], after_ms)?;
            a.start()?;
        } else {
            std::thread::scope(|scope| {
                let running = scope.spawn(|| a.ctl(&["rejoin"]));
                std::thread::sleep(Duration::from_millis(after_ms));
                b.kill()?;
                running.join().ok().context("the verb panicked")??;
                b.start()
            })?;
        }
        until_role(&twins.nodes[1], "primary")?;
        if standing(&twins.nodes[0])?.0 == "fenced" {
            twins.nodes[0].ask(&["rejoin"])?;
        }
        until_role(&twins.nodes[0], "standby")?;
        equal(&twins, 1).with_context(|| format!("killed after {after_ms} ms"))?;
        let found = subjects(&mut twins.client(1, ANN)?)?;
        // five, one moved; an expunge that waits; one of the tail's own moved
        ensure!(found.len() == 4 + 1 + 60, "killed after {after_ms} ms: {found:?}");
        twins.nodes.iter_mut().try_for_each(Node::stop)?;
    }
    Ok(())
}

#[test]
fn a_node_that_may_rejoin_by_itself_does() -> Result<()> {
    let mut twins = Twins::configure(&programs(), "rejoin = \"auto\"\n")?;
    twins.nodes.iter_mut().try_for_each(Node::start)?;
    for user in USERS {
        append(&mut twins.client(0, user)?, "INBOX", "one")?;
    }
    twins.nodes[0].ask(&["wait", "--timeout", "30s"])?;
    leave_a_tail(&mut twins, 0, |imap| append(imap, "INBOX", "two"))?;
    promote(&mut twins, 1)?;
    twins.nodes[0].start()?;
    until_role(&twins.nodes[0], "standby")?;
    equal(&twins, 1)?;
    ensure!(subjects(&mut twins.client(1, ANN)?)?.len() == 2);
    Ok(())
}

/// One primary and two standbys, all embedded, each the others' peer.
pub(super) struct Three {
    pub(super) nodes: Vec<Node>,
    ports: Vec<u16>,
    _folder: tempfile::TempDir,
}

impl Three {
    pub(super) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mailshadow-test-three-").tempdir()?;
        let programs = programs();
        let pki = Pki::new(&programs, &folder.path().join("pki"))?;
        let users = folder.path().join("users");
        std::fs::write(&users, format!("{ANN}:{{PLAIN}}{}\n", testbed::twins::PASSWORD))?;
        let mut nodes = Vec::new();
        for name in ["mail-a", "mail-b", "mail-c"] {
            pki.issue(&programs, name)?;
            nodes.push(Node::new(&programs, &folder.path().join(name), name)?);
        }
        let ports: Vec<u16> = nodes.iter().map(|_| ports::free()).collect();
        for (number, node) in nodes.iter().enumerate() {
            let others = nodes.iter().filter(|other| other.name() != node.name());
            let peers: Vec<_> = others.map(|other| (other.name(), other.address())).collect();
            let store = format!(
                "store = \"embedded\"\n[group.embedded]\nimap = \"127.0.0.1:{}\"\nusers = \"{}\"\n",
                ports[number],
                users.display()
            );
            let role = if number == 0 { "primary" } else { "standby" };
            node.configure(&pki, role, &peers, &store)?;
        }
        nodes.iter_mut().try_for_each(Node::start)?;
        Ok(Self {
            nodes,
            ports,
            _folder: folder,
        })
    }

    pub(super) fn client(&self, node: usize) -> Result<Imap> {
        Imap::login(self.ports[node], ANN, testbed::twins::PASSWORD)
    }

    /// Applied by that standby, as far as the primary has captured.
    pub(super) fn until_even(&self, standby: usize) -> Result<()> {
        let lsn = self.nodes[0].status()?["lsn"]["captured"].as_u64();
        process::until("the standby is even", LIMIT, || {
            Ok(self.nodes[standby].status()?["lsn"]["applied"].as_u64() >= lsn)
        })
    }
}

#[test]
fn a_standby_that_was_held_back_takes_what_another_has_before_it_is_promoted() -> Result<()> {
    let mut three = Three::start()?;
    append(&mut three.client(0)?, "INBOX", "everywhere")?;
    three.until_even(2)?;
    three.nodes[2].kill()?;
    for number in 0..20 {
        append(&mut three.client(0)?, "INBOX", &format!("only at b {number}"))?;
    }
    three.until_even(1)?;
    three.nodes[0].kill()?;
    three.nodes[2].start()?;
    std::thread::sleep(super::SILENCE);
    let report = three.nodes[2].ask(&["promote", "--max-loss", "any"])?;
    let steps = report["steps"].to_string();
    ensure!(steps.contains("taken from mail-b"), "{report}");
    until_role(&three.nodes[2], "primary")?;
    ensure!(subjects(&mut three.client(2)?)?.len() == 21);
    // the other standby follows, and the old primary finds that it has nothing alone
    append(&mut three.client(2)?, "INBOX", "after")?;
    process::until("the other standby follows", LIMIT, || {
        Ok(subjects(&mut three.client(1)?).is_ok_and(|found| found.len() == 22))
    })?;
    three.nodes[0].start()?;
    until_role(&three.nodes[0], "fenced")?;
    let report = three.nodes[0].ask(&["rejoin"])?;
    ensure!(report["role"] == "standby" && report["tally"]["new"] == 0, "{report}");
    three.nodes[2].ask(&["wait", "--timeout", "30s"])?;
    ensure!(subjects(&mut three.client(0)?)?.len() == 22);
    Ok(())
}

#[test]
fn a_standby_beyond_the_fork_brings_what_it_has_alone_and_follows() -> Result<()> {
    let mut three = Three::start()?;
    append(&mut three.client(0)?, "INBOX", "everywhere")?;
    three.until_even(2)?;
    three.nodes[2].kill()?;
    append(&mut three.client(0)?, "INBOX", "only at b")?;
    three.until_even(1)?;
    three.nodes[0].kill()?;
    // b can't be reached when c is promoted
    three.nodes[1].kill()?;
    three.nodes[2].start()?;
    three.nodes[2].ask(&["promote", "--max-loss", "any"])?;
    until_role(&three.nodes[2], "primary")?;
    append(&mut three.client(2)?, "INBOX", "after")?;
    three.nodes[1].start()?;
    process::until("the standby is told that its history was left", LIMIT, || {
        let out = three.nodes[1].ctl(&["rejoin"])?;
        Ok(out.status.success())
    })?;
    process::until("it follows", LIMIT, || {
        Ok(subjects(&mut three.client(1)?).is_ok_and(|found| found.len() == 3))
    })?;
    ensure!(subjects(&mut three.client(2)?)?.len() == 3);
    Ok(())
}

#[test]
fn the_tail_of_a_dovecot_2_3_in_its_journal_and_its_logs_is_merged_once_and_it_goes_back() -> Result<()> {
    tail_of_a_dovecot(Version::V2_3, Format::Maildir)
}

#[test]
fn the_tail_of_a_dovecot_2_4_in_its_journal_and_its_logs_is_merged_once_and_it_goes_back() -> Result<()> {
    tail_of_a_dovecot(Version::V2_4, Format::Sdbox)
}

fn tail_of_a_dovecot(version: Version, format: Format) -> Result<()> {
    let programs = programs();
    let mut pair = Plan {
        programs: &programs,
        version,
        format,
        users: 2,
        standbys: 1,
        extra: "",
    }
    .build()?;
    pair.start_nodes()?;
    let user = pair.source.users()[0].clone();
    let deliver = |port: u16, subject: &str| -> Result<()> {
        let text = format!("From: a@example.org\r\nSubject: {subject}\r\n\r\n{subject}\r\n");
        Lmtp::connect(port)?.deliver(&user, text.as_bytes())
    };
    let lmtp = pair.source.lmtp_port();
    deliver(lmtp, "common one")?;
    deliver(lmtp, "common two")?;
    pair.wait()?;
    pair.standby()?.node.kill()?;
    let captured =
        |pair: &testbed::pair::Pair| -> Result<Option<u64>> { Ok(pair.primary.status()?["lsn"]["captured"].as_u64()) };
    let before = captured(&pair)?;
    deliver(lmtp, "in the journal")?;
    process::until("it is captured", LIMIT, || Ok(captured(&pair)? > before))?;
    pair.primary.kill()?;
    deliver(lmtp, "in the logs alone")?;
    let mut imap = Imap::login(pair.source.imap_port(), &user, PASSWORD)?;
    all_of(&mut imap, &["SELECT INBOX", "STORE 1 +FLAGS (\\Flagged)", "LOGOUT"])?;

    pair.standby()?.node.start()?;
    pair.standby()?.node.ask(&["promote", "--max-loss", "any"])?;
    until_role(&pair.standby()?.node, "primary")?;
    let mut imap = Imap::login(pair.standby()?.imap_port(), &user, PASSWORD)?;
    append(&mut imap, "INBOX", "after")?;
    pair.primary.start()?;
    until_role(&pair.primary, "fenced")?;
    let report = pair.primary.ask(&["rejoin"])?;
    ensure!(
        report["role"] == "standby" && report["tally"]["new"] == 2 && report["tally"]["lost"] == 0,
        "{report}"
    );
    let mut found = subjects(&mut imap)?;
    found.sort();
    let expected = [
        "after",
        "common one",
        "common two",
        "in the journal",
        "in the logs alone",
    ];
    ensure!(found == expected, "{found:?}");
    let flagged = imap.run("UID SEARCH FLAGGED")?.must()?;
    let found = flagged
        .all(0, "SEARCH")
        .flatten()
        .filter_map(testbed::imap::Value::number);
    ensure!(found.eq([1]), "{flagged:?}");
    dovecot_takes_over_again(&mut pair, &user, &expected)
}

/// The Dovecot has what it should, once.
fn dovecot_takes_over_again(pair: &mut testbed::pair::Pair, user: &str, expected: &[&str]) -> Result<()> {
    pair.standby()?.node.ask(&["wait", "--timeout", "60s"])?;
    pair.standby()?.node.ask(&["switchover"])?;
    until_role(&pair.primary, "primary")?;
    process::until("the Dovecot lets clients in", LIMIT, || {
        Ok(Imap::login(pair.source.imap_port(), user, PASSWORD).is_ok())
    })?;
    let mut found = subjects(&mut Imap::login(pair.source.imap_port(), user, PASSWORD)?)?;
    found.sort();
    ensure!(found == expected, "{found:?}");
    Ok(())
}
