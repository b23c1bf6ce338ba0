//! Several groups on the same nodes, in both directions at once, and one Dovecot on each node that serves them all.

use super::{LIMIT, SILENCE, programs};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Duration;
use tempfile::TempDir;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::load::{Load, Mix, Running};
use testbed::node::{Node, Pki};
use testbed::truth::Truth;
use testbed::{Result, process};

pub(super) const EAST: [&str; 2] = ["ann@east.test", "bob@east.test"];
pub(super) const WEST: [&str; 2] = ["cat@west.test", "dan@west.test"];
/// What a Dovecot takes as a floor, or makes of its own configuration.
const OF_ITS_OWN: [&str; 6] = ["modseq", "highestmodseq", "savedate", "selectable", "myrights", "acl"];

/// Two nodes, each with a Dovecot of all users: `mail-a` begins as primary of `east`, `mail-b` of `west`.
pub(super) struct Crossed {
    // daemons end before their Dovecots, the folder last
    pub(super) nodes: [Node; 2],
    pub(super) dovecots: [Dovecot; 2],
    _folder: TempDir,
}

impl Crossed {
    /// `east` and `west`, by the domains of their users.
    fn start() -> Result<Self> {
        Self::start_with([("east", "\"*@east.test\""), ("west", "\"*@west.test\"")], "")
    }

    /// Two groups with their patterns, the first of them primary on `mail-a`; `lines` stand in the first.
    pub(super) fn start_with(groups: [(&str, &str); 2], lines: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("mailshadow-test-crossed-")
            .disable_cleanup(std::env::var_os("MAILSHADOW_TEST_KEEP").is_some())
            .tempdir_in(std::env::var("MAILSHADOW_TEST_DIR").unwrap_or_else(|_| "/tmp".to_owned()))?;
        let root = folder.path();
        std::fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let dovecot = |name: &str, version, format| -> Result<Dovecot> {
            let mut dovecot = Dovecot::prepare_with_hold(&root.join(name), version, format, 0)?;
            let users: Vec<_> = EAST.iter().chain(&WEST).map(|user| (*user, *user)).collect();
            dovecot.employ(&users)?;
            dovecot.start()?;
            Ok(dovecot)
        };
        let dovecots = [
            dovecot("a", Version::V2_3, Format::Maildir)?,
            dovecot("b", Version::V2_4, Format::Sdbox)?,
        ];
        let pki = Pki::new(&programs(), &root.join("pki"))?;
        let node = |name: &str| {
            pki.issue(&programs(), name)?;
            Node::new(&programs(), &root.join(name), name)
        };
        let mut nodes = [node("mail-a")?, node("mail-b")?];
        for (number, dovecot) in dovecots.iter().enumerate() {
            let peer = &nodes[1 - number];
            let peer = format!("{} = \"{}\"", peer.name(), peer.address());
            let [first, second] = [0, 1].map(|primary| {
                let role = if number == primary { "primary" } else { "standby" };
                group_of(groups[primary], role, &peer, dovecot)
            });
            let groups = format!("{}{lines}{}", first?, second?);
            nodes[number].configure_without_groups(&pki, &groups)?;
        }
        nodes.iter_mut().try_for_each(Node::start)?;
        Ok(Self {
            nodes,
            dovecots,
            _folder: folder,
        })
    }

    /// A load of these users at one of the Dovecots.
    pub(super) fn load(&self, at: usize, users: &[&str], seed: &str, over: Duration) -> Running {
        let load = Load {
            imap_port: self.dovecots[at].imap_port(),
            lmtp_port: self.dovecots[at].lmtp_port(),
            users: names(users),
            seed: seed.to_owned(),
            operations: 50,
            over,
            mix: Mix::Plain,
        };
        load.start()
    }

    /// What clients of these users see is the same at both.
    pub(super) fn equal(&self, primary: usize, group: &str, users: &[&str]) -> Result<usize> {
        let users = names(users);
        let read = |at: usize| Truth::read(self.dovecots[at].imap_port(), &users);
        read(primary)?;
        self.nodes[primary].ask(&["wait", "--group", group, "--timeout", "60s"])?;
        let (source, copy) = (read(primary)?, read(1 - primary)?);
        self.same(&source, &copy, group)?;
        Ok(source.messages())
    }

    pub(super) fn same(&self, source: &Truth, copy: &Truth, group: &str) -> Result<()> {
        let differences = source.differences(copy, &OF_ITS_OWN);
        let logs = self.nodes.each_ref().map(Node::log).join("\n");
        ensure!(differences.is_empty(), "{group}: {differences:#?}\n{logs}");
        Ok(())
    }
}

fn group_of((name, users): (&str, &str), role: &str, peer: &str, dovecot: &Dovecot) -> Result<String> {
    let doveadm = serde_json::to_string(&dovecot.doveadm_command()?)?;
    let hold = dovecot.hold_file();
    Ok(format!(
        "[[group]]\nname = \"{name}\"\nusers = [{users}]\nstart_as = \"{role}\"\npeers = {{ {peer} }}\n\
         store = \"dovecot\"\n[group.dovecot]\ndoveadm = {doveadm}\nhold = \"{}\"\n",
        hold.display()
    ))
}

fn names(users: &[&str]) -> Vec<String> {
    users.iter().map(ToString::to_string).collect()
}

/// The report of a switchover of `east`.
fn switched(node: &Node) -> Result<Value> {
    node.ask(&["switchover", "--group", "east"]).with_context(|| node.log())
}

/// One of a node's groups, out of `status`.
pub(super) fn group(node: &Node, name: &str) -> Result<Value> {
    let status = node.ask(&["status"])?;
    let groups = status["groups"].as_array().context("groups")?;
    let found = groups.iter().find(|group| group["name"] == name).cloned();
    found.with_context(|| format!("no group {name} in {status}"))
}

pub(super) fn until_group(node: &Node, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<()> {
    let waited = process::until(&format!("{} of {}: {what}", name, node.name()), LIMIT, || {
        Ok(group(node, name).is_ok_and(|group| is(&group)))
    });
    waited.with_context(|| format!("{:?}\n{}", group(node, name), node.log()))
}

/// What a delivery to this user is answered.
fn delivery(dovecot: &Dovecot, user: &str) -> Result<String> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = TcpStream::connect(("127.0.0.1", dovecot.lmtp_port()))?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "LHLO test\r\nMAIL FROM:<>\r\nRCPT TO:<{user}>\r\nQUIT\r\n")?;
    let lines: Vec<String> = BufReader::new(stream).lines().collect::<std::io::Result<_>>()?;
    let answer = lines.iter().rev().nth(1).cloned();
    answer.with_context(|| format!("{lines:?}"))
}

/// A client of this user is told to come again later, and so is a delivery to him.
pub(super) fn is_held(dovecot: &Dovecot, user: &str) -> Result<bool> {
    let login = dovecot.imap(user).err().map(|why| format!("{why:#}"));
    let delivery = delivery(dovecot, user)?;
    Ok(login.is_some_and(|why| why.contains("UNAVAILABLE")) && delivery.starts_with("451"))
}

#[test]
fn one_group_fails_over_while_the_other_goes_on_the_other_way_beside_it() -> Result<()> {
    let mut crossed = Crossed::start()?;
    let over = Duration::from_secs(2);
    let loads = [
        crossed.load(0, &EAST, "east", over),
        crossed.load(1, &WEST, "west", over),
    ];
    loads.into_iter().try_for_each(|load| load.finish().map(drop))?;
    let east = crossed.equal(0, "east", &EAST)?;
    let west = crossed.equal(1, "west", &WEST)?;
    ensure!(east > 10 && west > 10, "the load did nearly nothing");
    for (node, foreign) in [(0, "west"), (1, "east")] {
        let told = group(&crossed.nodes[node], foreign)?;
        ensure!(
            told["role"] == "standby" && told["messages"].as_u64() > Some(10),
            "{told}"
        );
        ensure!(told["quarantined"] == 0 && told["held_mailboxes"] == 0, "{told}");
    }

    // planned, with both Dovecots serving both groups
    let mut stays = crossed.dovecots[0].imap(WEST[0])?;
    let load = crossed.load(1, &WEST, "meanwhile", over);
    let report = switched(&crossed.nodes[1])?;
    ensure!(
        report["loss"]["operations"] == 0 && report["old_side_fenced"] == true,
        "{report}"
    );
    ensure!(
        is_held(&crossed.dovecots[0], EAST[0])?,
        "ann is let in where her mail is no longer taken"
    );
    stays
        .run("NOOP")?
        .must()
        .context("a client of the other group was sent away")?;
    load.finish()?;
    crossed.equal(1, "west", &WEST)?;
    crossed.load(1, &EAST, "after", Duration::ZERO).finish()?;
    let truth = Truth::read(crossed.dovecots[1].imap_port(), &names(&EAST))?;
    crossed.nodes[1].ask(&["wait", "--group", "east", "--timeout", "60s"])?;
    ensure!(
        is_held(&crossed.dovecots[0], EAST[0])?,
        "a standby that was primary lets clients in"
    );
    ensure!(group(&crossed.nodes[0], "west")?["role"] == "standby");

    // back, and let in again there
    let report = switched(&crossed.nodes[0])?;
    ensure!(report["loss"]["operations"] == 0, "{report}");
    ensure!(!is_held(&crossed.dovecots[0], EAST[0])? && is_held(&crossed.dovecots[1], EAST[0])?);
    let copy = Truth::read(crossed.dovecots[0].imap_port(), &names(&EAST))?;
    crossed.same(&truth, &copy, "east")?;
    ensure!(std::fs::read_to_string(crossed.dovecots[0].hold_file())?.is_empty());

    // the node dies: what it was primary of is taken over, what it was standby of waits for it
    crossed.nodes[1].kill()?;
    std::thread::sleep(SILENCE);
    crossed.load(0, &EAST, "alone", Duration::ZERO).finish()?;
    let report = crossed.nodes[0].ask(&["promote", "--group", "west", "--max-loss", "any"])?;
    ensure!(report["group"] == "west" && report["epoch"] == 2, "{report}");
    crossed.nodes[1].start()?;
    until_group(&crossed.nodes[1], "west", "fenced", |group| group["role"] == "fenced")?;
    until_group(&crossed.nodes[1], "west", "shut", |group| {
        group["fence"]["shut"] == true
    })?;
    ensure!(is_held(&crossed.dovecots[1], WEST[0])?);
    Ok(())
}

#[test]
fn each_of_two_standbys_has_its_own_lag_and_the_one_that_was_away_holds_up_nobody() -> Result<()> {
    let mut three = super::tails::Three::start()?;
    super::append(&mut three.client(0)?, "INBOX", "everywhere")?;
    three.nodes[0].ask(&["wait", "--timeout", "30s"])?;
    three.nodes[2].kill()?;
    for number in 0..5 {
        super::append(&mut three.client(0)?, "INBOX", &format!("at b {number}"))?;
    }
    three.until_even(1)?;
    let behind = |three: &super::tails::Three, name: &str| -> Result<i64> {
        let status = three.nodes[0].status()?;
        let peers = status["peers"].as_array().context("peers")?;
        let peer = peers.iter().find(|peer| peer["name"] == name).context("the peer")?;
        let lsn = |of: &Value, what: &str| of["lsn"][what].as_i64().unwrap_or(0);
        Ok(lsn(&status, "captured") - lsn(peer, "applied"))
    };
    process::until("mail-b has no lag", LIMIT, || Ok(behind(&three, "mail-b")? == 0))?;
    ensure!(behind(&three, "mail-c")? >= 5, "{}", three.nodes[0].status()?);
    let waited = three.nodes[0].ctl(&["wait", "--timeout", "1s"])?;
    ensure!(
        waited.status.code() == Some(4),
        "it did not wait for the standby that is away"
    );
    three.nodes[2].start()?;
    three.nodes[0].ask(&["wait", "--timeout", "30s"])?;
    ensure!(behind(&three, "mail-b")? == 0 && behind(&three, "mail-c")? == 0);

    three.nodes[0].kill()?;
    std::thread::sleep(SILENCE);
    let report = three.nodes[1].ask(&["promote"])?;
    ensure!(report["loss"]["operations"] == 0, "{report}");
    super::append(&mut three.client(1)?, "INBOX", "after")?;
    process::until("the other standby follows", LIMIT, || {
        Ok(super::subjects(&mut three.client(2)?).is_ok_and(|found| found.len() == 7))
    })?;
    let status = three.nodes[1].status()?;
    ensure!(status["role"] == json!("primary") && status["epoch"] == 2, "{status}");
    Ok(())
}
