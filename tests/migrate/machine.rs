//! A machine of the guide: a Dovecot, a folder in place of `/etc`, `/var/lib` and `/run`, and the daemon.

use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use testbed::dovecot::Dovecot;
use testbed::node::tail;
use testbed::process::{self, Server, words};
use testbed::truth::Truth;
use testbed::{Result, ports};

/// What stands in the page for the start of the packaged unit.
const START: &str = "systemctl enable --now shadowd\n";

/// Addresses of the page, and what they are here.
pub(crate) struct Places(Vec<(&'static str, String)>);

impl Places {
    pub(crate) fn new() -> Self {
        let here = |there| (there, format!("127.0.0.1:{}", ports::free()));
        Self(["10.77.0.1:4790", "10.77.0.2:4790"].map(here).to_vec())
    }
}

/// Makes a CA and the nodes' certificates.
pub(crate) fn issue(folder: &Path, names: &[&str]) -> Result<()> {
    let (program, folder) = (env!("CARGO_BIN_EXE_shadowctl"), folder.display().to_string());
    process::check(&words(&[program, "cert", "init", &folder]))?;
    for name in names {
        process::check(&words(&[program, "cert", "issue", &folder, name, "--san", "127.0.0.1"]))?;
    }
    Ok(())
}

/// See the module.
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    pub(crate) folder: PathBuf,
    daemon: Option<Server>,
    pub(crate) dovecot: Dovecot,
    instead: Vec<(String, String)>,
}

impl Machine {
    /// With the certificates out of `root/pki`.
    pub(crate) fn new(root: &Path, name: &'static str, dovecot: Dovecot, places: &Places) -> Result<Self> {
        let folder = root.join(name);
        for part in ["etc", "state", "run", "bin"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        for file in ["ca.pem".to_owned(), format!("{name}.pem"), format!("{name}.key")] {
            std::fs::copy(root.join("pki").join(&file), folder.join("etc").join(&file))?;
        }
        let doveadm = dovecot.doveadm_command()?.join("' '");
        let script = folder.join("bin/doveadm");
        // the program that it calls may have its own name
        let path = std::env::var("PATH").unwrap_or_default();
        std::fs::write(&script, format!("#!/bin/sh\nPATH='{path}'\nexec '{doveadm}' \"$@\"\n"))?;
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let programs = [
            ("shadowctl", env!("CARGO_BIN_EXE_shadowctl")),
            ("shadowd", env!("CARGO_BIN_EXE_shadowd")),
        ];
        for (program, path) in programs {
            std::os::unix::fs::symlink(path, folder.join("bin").join(program))?;
        }
        let mut instead: Vec<_> = [
            ("/etc/mailshadow", "etc"),
            ("/var/lib/mailshadow", "state"),
            ("/run/mailshadow", "run"),
        ]
        .map(|(there, here)| (there.to_owned(), folder.join(here).display().to_string()))
        .to_vec();
        instead.extend(places.0.iter().map(|(there, here)| ((*there).to_owned(), here.clone())));
        Ok(Self {
            name,
            folder,
            daemon: None,
            dovecot,
            instead,
        })
    }

    fn here(&self, text: &str) -> String {
        let replace = |text: String, (there, here): &(String, String)| text.replace(there, here);
        self.instead.iter().fold(text.to_owned(), replace)
    }

    fn environment(&self) -> Vec<String> {
        let folder = self.folder.display();
        let path = std::env::var("PATH").unwrap_or_default();
        words(&[
            "env",
            &format!("PATH={folder}/bin:{path}"),
            &format!("MAILSHADOW_CONFIG={folder}/etc/shadowd.toml"),
        ])
    }

    /// Writes a file of the page.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        std::fs::write(self.here(path), self.here(text)).with_context(|| format!("write {path} on {}", self.name))
    }

    /// Runs a block of the page until a command of it fails.
    pub(crate) fn run(&mut self, script: &str) -> Result<()> {
        let mut parts = script.split(START).peekable();
        while let Some(part) = parts.next() {
            if !part.trim().is_empty() {
                let shell = words(&["timeout", "120", "bash", "-eo", "pipefail", "-c", &self.here(part)]);
                let argv = [self.environment(), shell].concat();
                process::check(&argv).with_context(|| format!("on {}:\n{part}\n{}", self.name, self.log()))?;
            }
            if parts.peek().is_some() {
                self.start()?;
            }
        }
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        let config = self.folder.join("etc/shadowd.toml").display().to_string();
        let argv = [self.environment(), words(&["shadowd", "--config", &config])].concat();
        let mut server = Server::start("shadowd", &argv, &self.folder.join("shadowd.log"))?;
        process::until("shadowctl status answers", Duration::from_secs(30), || {
            if let Some(status) = server.ended()? {
                bail!("shadowd ended: {status}\n{}", self.log());
            }
            Ok(self.output(&["status"])?.status.success())
        })?;
        self.daemon = Some(server);
        Ok(())
    }

    pub(crate) fn crash_and_restart(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), Server::kill)?;
        self.start()
    }

    /// What `shadowctl` says, whatever that is.
    pub(crate) fn output(&self, arguments: &[&str]) -> Result<Output> {
        process::output(&[self.environment(), words(&["shadowctl"]), words(arguments)].concat())
    }

    /// The document of `shadowctl --json`, which must succeed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<Value> {
        let argv = [self.environment(), words(&["shadowctl", "--json"]), words(arguments)].concat();
        let text = process::check(&argv).with_context(|| self.log())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What the users see on this server.
    pub(crate) fn truth(&self) -> Result<Truth> {
        Truth::read(self.dovecot.imap_port(), self.dovecot.users())
    }

    /// The first user gets a message.
    pub(crate) fn append(&self, message: &[u8]) -> Result<()> {
        let user = self.dovecot.users().first().context("a user")?;
        self.dovecot.imap(user)?.append("INBOX", "() ", message)?.must()?;
        Ok(())
    }

    /// What the page's script was told last.
    pub(crate) fn clients_go_to(&self) -> Result<String> {
        let told = std::fs::read_to_string(self.folder.join("state/clients-go-to"));
        Ok(told.with_context(|| self.log())?.trim().to_owned())
    }

    pub(crate) fn log(&self) -> String {
        format!("log of {}:\n{}", self.name, tail(&self.folder.join("shadowd.log")))
    }
}
