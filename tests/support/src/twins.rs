//! Two embedded nodes that are each other's standby: `mail-a` begins as primary.

use crate::imap::Imap;
use crate::node::{Node, Pki, Programs};
use crate::{Result, ports, proxy};
use anyhow::Context;
use std::path::Path;
use tempfile::TempDir;

/// The twins' users.
pub const USERS: [&str; 2] = ["ann@example.test", "bob@example.test"];
/// Everybody's password.
pub const PASSWORD: &str = "pass";

/// Both nodes, and where each serves clients; all of it ends when this is dropped.
#[derive(Debug)]
pub struct Twins {
    // the order of the fields is the order of their end: the daemons before their folder
    /// `mail-a` and `mail-b`.
    pub nodes: [Node; 2],
    /// IMAP of both.
    pub ports: [u16; 2],
    /// Where their certificates come from.
    pub pki: Pki,
    folder: TempDir,
}

impl Twins {
    /// Starts both.
    pub fn start(programs: &Programs) -> Result<Self> {
        let mut twins = Self::configure(programs, "")?;
        twins.nodes.iter_mut().try_for_each(Node::start)?;
        Ok(twins)
    }

    /// Configures both, with `extra` lines in each group; nothing runs yet.
    pub fn configure(programs: &Programs, extra: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mailshadow-test-twins-").tempdir()?;
        let pki = Pki::new(programs, &folder.path().join("pki"))?;
        let users = folder.path().join("users");
        let lines: String = USERS
            .iter()
            .map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n"))
            .collect();
        std::fs::write(&users, lines)?;
        let nodes = [
            node(programs, &pki, folder.path(), "mail-a")?,
            node(programs, &pki, folder.path(), "mail-b")?,
        ];
        let ports = [ports::free(), ports::free()];
        let [a, b] = nodes.each_ref().map(|node| (node.name().to_owned(), node.address()));
        let roles = [("primary", ports[0]), ("standby", ports[1])];
        for ((node, (name, address)), (role, port)) in nodes.iter().zip([b, a]).zip(roles) {
            let store = format!(
                "store = \"embedded\"\n{extra}[group.embedded]\nimap = \"127.0.0.1:{port}\"\nusers = \"{}\"\n",
                users.display()
            );
            node.configure(&pki, role, &[(&name, address)], &store)?;
        }
        Ok(Self {
            nodes,
            ports,
            pki,
            folder,
        })
    }

    /// The built-in proxy before both, which don't run yet; nor does it. With the port that clients use.
    pub fn proxy(&self, programs: &Programs) -> Result<(Node, u16)> {
        let [a, b] = &self.nodes;
        let [at_a, at_b] = self.ports;
        proxy::observer(programs, &self.pki, self.folder.path(), &[(a, at_a), (b, at_b)], "")
    }

    /// A client of one of them.
    pub fn client(&self, node: usize, user: &str) -> Result<Imap> {
        let port = self.ports.get(node).context("there are two nodes")?;
        Imap::login(*port, user, PASSWORD)
    }
}

fn node(programs: &Programs, pki: &Pki, folder: &Path, name: &str) -> Result<Node> {
    pki.issue(programs, name)?;
    Node::new(programs, &folder.join(name), name)
}
