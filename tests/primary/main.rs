//! An embedded primary as mail clients and mail servers see it: a real daemon, real connections, the real store.
//!
//! The comparison needs the Dovecot that `./check` installs; without it that test fails and says so.

mod crowd;
mod deliveries;
mod script;
mod strict;

use std::path::Path;
use tempfile::TempDir;
use testbed::imap::Imap;
use testbed::node::{Node, Pki, Programs};
use testbed::{Result, ports};

const USER: &str = "user1@example.test";
const PASSWORD: &str = "pass";

fn programs() -> Programs {
    Programs {
        shadowd: env!("CARGO_BIN_EXE_shadowd").into(),
        shadowctl: env!("CARGO_BIN_EXE_shadowctl").into(),
    }
}

/// A node that is primary of an embedded store, alone; all of it ends when this is dropped.
struct Primary {
    // the order of the fields is the order of their end: the daemon before its folder
    node: Node,
    imap_port: u16,
    lmtp_port: u16,
    _folder: TempDir,
}

impl Primary {
    fn start() -> Result<Primary> {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("mailshadow-test-").tempdir()?;
        let root = folder.path();
        let pki = Pki::new(&programs, &root.join("pki"))?;
        pki.issue(&programs, "mail-a")?;
        std::fs::write(root.join("users"), format!("{USER}:{{PLAIN}}{PASSWORD}\n"))?;
        std::fs::write(root.join("check-password"), PROGRAM)?;
        let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(root.join("check-password"), may_run)?;
        let mut node = Node::new(&programs, &root.join("mail-a"), "mail-a")?;
        let (imap_port, lmtp_port) = (ports::free(), ports::free());
        node.configure(&pki, "primary", &[], &store(root, imap_port, lmtp_port))?;
        node.start()?;
        Ok(Primary {
            node,
            imap_port,
            lmtp_port,
            _folder: folder,
        })
    }

    /// `kill -9`, a new start, and the word that nobody else has become primary: there is no peer to ask.
    fn crash_and_go_on(&mut self) -> Result<()> {
        self.node.crash_and_restart()?;
        self.node.ask(&["resume", "--alone"]).map(drop)
    }

    fn client(&self) -> Result<Imap> {
        Imap::login(self.imap_port, USER, PASSWORD)
    }
}

/// Knows one user who is in no file.
const PROGRAM: &str =
    "#!/bin/sh\nread -r name && read -r password\n[ \"$name $password\" = \"eve@example.test open sesame\" ]\n";

fn store(root: &Path, imap: u16, lmtp: u16) -> String {
    let root = root.display();
    format!(
        "store = \"embedded\"\n[group.embedded]\nusers = \"{root}/users\"\nauth_exec = [\"{root}/check-password\"]\n\
         imap = \"127.0.0.1:{imap}\"\nlmtp = \"127.0.0.1:{lmtp}\"\n"
    )
}
