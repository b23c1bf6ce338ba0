//! Two embedded nodes make a pair: what clients change on the one is what they read on the other.

#![expect(
    clippy::indexing_slicing,
    reason = "a document without the field fails the test, as it should"
)]

use anyhow::{Context, ensure};
use std::path::Path;
use testbed::imap::Imap;
use testbed::node::{Node, Pki, Programs};
use testbed::truth::Truth;
use testbed::{Result, ports, process};

const USERS: [&str; 2] = ["ann@example.test", "bob@example.test"];
const PASSWORD: &str = "pass";
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// The primary, the standby, and where each serves clients.
struct Twins {
    nodes: [Node; 2],
    ports: [u16; 2],
    _folder: tempfile::TempDir,
}

impl Twins {
    fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mailshadow-twins-").tempdir()?;
        let programs = Programs {
            shadowd: env!("CARGO_BIN_EXE_shadowd").into(),
            shadowctl: env!("CARGO_BIN_EXE_shadowctl").into(),
        };
        let pki = Pki::new(&programs, &folder.path().join("pki"))?;
        let users = folder.path().join("users");
        let lines: String = USERS
            .iter()
            .map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n"))
            .collect();
        std::fs::write(&users, lines)?;
        let mut nodes = [
            node(&programs, &pki, folder.path(), "mail-a")?,
            node(&programs, &pki, folder.path(), "mail-b")?,
        ];
        let ports = [ports::free(), ports::free()];
        let [a, b] = nodes.each_ref().map(|node| (node.name().to_owned(), node.address()));
        for ((node, (name, address)), (role, port)) in nodes
            .iter()
            .zip([b, a])
            .zip([("primary", ports[0]), ("standby", ports[1])])
        {
            let store = format!(
                "store = \"embedded\"\n[group.embedded]\nimap = \"127.0.0.1:{port}\"\nusers = \"{}\"\n",
                users.display()
            );
            node.configure(&pki, role, &[(&name, address)], &store)?;
        }
        nodes.iter_mut().try_for_each(Node::start)?;
        Ok(Self {
            nodes,
            ports,
            _folder: folder,
        })
    }

    fn client(&self, user: &str) -> Result<Imap> {
        Imap::login(self.ports[0], user, PASSWORD)
    }

    /// Everything was applied, and a client sees the same on both sides.
    fn compare(&self) -> Result<()> {
        self.nodes[0].ask(&["wait", "--timeout", "60s"])?;
        let users: Vec<String> = USERS.iter().map(|user| (*user).to_owned()).collect();
        let [primary, copy] = self.ports.map(|port| Truth::read(port, &users));
        let differences = primary?.differences(&copy?, &[]);
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        let verified = self.nodes[0].ask(&["verify", "--deep"])?;
        ensure!(verified["different"] == serde_json::json!([]), "{verified}");
        ensure!(verified["mailboxes"].as_u64() > Some(0), "{verified}");
        let status = self.nodes[1].status()?;
        ensure!(
            status["quarantined"] == 0 && status["bodies_pending"] == 0 && status["building"] == false,
            "{status}"
        );
        Ok(())
    }
}

fn node(programs: &Programs, pki: &Pki, folder: &Path, name: &str) -> Result<Node> {
    pki.issue(programs, name)?;
    Node::new(programs, &folder.join(name), name)
}

fn append(imap: &mut Imap, mailbox: &str, text: &str) -> Result<()> {
    let octets = format!("Subject: {text}\r\n\r\n{}\r\n", text.repeat(50));
    imap.append(mailbox, "(\\Seen $work) ", octets.as_bytes())
        .with_context(|| format!("append {text}"))?
        .must()
        .map(drop)
}

fn work(imap: &mut Imap, round: &str) -> Result<()> {
    imap.run(&format!("CREATE {round}/deep"))?.must()?;
    for number in 0..8 {
        append(imap, "INBOX", &format!("{round}{number}"))?;
    }
    for command in [
        "SELECT INBOX",
        "STORE 1:4 +FLAGS (\\Flagged later)",
        &format!("UID COPY 1:* {round}/deep"),
        "STORE 2 +FLAGS (\\Deleted)",
        "EXPUNGE",
        &format!("MOVE 1:2 {round}/deep"),
        &format!("RENAME {round} {round}-renamed"),
        &format!("SUBSCRIBE {round}-renamed"),
        "CREATE gone",
        "DELETE gone",
    ] {
        imap.run(command)?.must().with_context(|| command.to_owned())?;
    }
    Ok(())
}

#[test]
fn two_embedded_nodes_are_equal_also_after_both_were_killed() -> Result<()> {
    let mut twins = Twins::start()?;
    for user in USERS {
        work(&mut twins.client(user)?, "first")?;
    }
    twins.compare()?;
    twins.nodes[1].kill()?;
    work(&mut twins.client(USERS[0])?, "second")?;
    twins.nodes[1].start()?;
    twins.nodes[0].crash_and_restart()?;
    // It lets nobody in until its peer has said that there is no newer primary.
    process::until("clients are let in again", LIMIT, || Ok(twins.client(USERS[1]).is_ok()))?;
    work(&mut twins.client(USERS[1])?, "third")?;
    twins.compare()
}

#[test]
fn a_standby_that_lost_everything_is_built_anew_while_clients_write() -> Result<()> {
    let mut twins = Twins::start()?;
    for user in USERS {
        work(&mut twins.client(user)?, "first")?;
    }
    twins.compare()?;
    // A new stream: the standby can't go on, and joins at a base.
    twins.nodes[1].forget()?;
    twins.nodes[0].ask(&["repair", "--stream"])?;
    twins.nodes[1].start()?;
    work(&mut twins.client(USERS[0])?, "second")?;
    process::until("the standby is built", LIMIT, || {
        Ok(twins.nodes[1].status()?["building"] == false)
    })?;
    twins.compare()
}
