//! Nodes: `shadowd` processes with their configuration and certificates, and `shadowctl` calls.

use crate::process::{self, Server};
use crate::{Result, ports};
use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

/// A debug build on a busy machine of two cores.
const START_LIMIT: Duration = Duration::from_secs(30);
/// What `shadowd` promises for SIGTERM is 5 s.
const STOP_LIMIT: Duration = Duration::from_secs(6);

/// Where the two programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The daemon.
    pub shadowd: PathBuf,
    /// The command.
    pub shadowctl: PathBuf,
}

impl Programs {
    /// Those in the folder above the running example's.
    pub fn beside_this_example() -> Result<Programs> {
        let example = std::env::current_exe()?;
        let folder = example.ancestors().nth(2).context("this program has no folder")?;
        let [shadowd, shadowctl] = ["shadowd", "shadowctl"].map(|name| folder.join(name));
        if !shadowd.exists() {
            bail!("no shadowd in {}: build the programs first", folder.display());
        }
        Ok(Programs { shadowd, shadowctl })
    }
}

/// A private CA with the nodes' certificates in a folder.
#[derive(Debug, Clone)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// Makes a CA with `shadowctl cert init`.
    pub fn new(programs: &Programs, folder: &Path) -> Result<Pki> {
        let argv = [
            &programs.shadowctl.display().to_string(),
            "cert",
            "init",
            &folder.display().to_string(),
        ];
        process::check(&process::words(&argv))?;
        Ok(Pki { folder: folder.into() })
    }

    /// Issues a certificate with `shadowctl cert issue`.
    pub fn issue(&self, programs: &Programs, name: &str) -> Result<()> {
        let (program, folder) = (
            programs.shadowctl.display().to_string(),
            self.folder.display().to_string(),
        );
        process::check(&process::words(&[
            &program,
            "cert",
            "issue",
            &folder,
            name,
            "--san",
            "127.0.0.1",
        ]))?;
        Ok(())
    }

    fn config(&self, name: &str) -> String {
        let folder = self.folder.display();
        format!("[tls]\nca = \"{folder}/ca.pem\"\ncert = \"{folder}/{name}.pem\"\nkey = \"{folder}/{name}.key\"\n")
    }
}

/// One node: a folder with its configuration, state and log, and the daemon while it runs.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: PathBuf,
    programs: Programs,
    port: u16,
    http_port: u16,
    daemon: Option<Server>,
}

impl Node {
    /// A node in `folder` that doesn't run yet and has no configuration.
    pub fn new(programs: &Programs, folder: &Path, name: &str) -> Result<Node> {
        std::fs::create_dir_all(folder)?;
        Ok(Node {
            name: name.to_owned(),
            folder: folder.into(),
            programs: programs.clone(),
            port: ports::free(),
            http_port: ports::free(),
            daemon: None,
        })
    }

    /// Its name, as in its certificate.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its peers reach it, as in `127.0.0.1:4790`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The daemon's process, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.daemon.as_ref().map(Server::id)
    }

    /// Removes all that it has learned, as if it had never run.
    pub fn forget(&mut self) -> Result<()> {
        self.stop()?;
        if self.state().exists() {
            std::fs::remove_dir_all(self.state())?;
        }
        Ok(())
    }

    /// Where metrics and health are.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("shadowd.toml")
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Writes the configuration: one group `main` of all users with these peers (name, address) and this store.
    pub fn configure(&self, pki: &Pki, start_as: &str, peers: &[(&str, String)], store: &str) -> Result<()> {
        let peers: Vec<String> = peers
            .iter()
            .map(|(name, address)| format!("{name} = \"{address}\""))
            .collect();
        let group = format!(
            "[[group]]\nname = \"main\"\nusers = [\"*\"]\nstart_as = \"{start_as}\"\npeers = {{ {} }}\n{store}",
            peers.join(", "),
        );
        self.configure_without_groups(pki, &group)
    }

    /// Writes the configuration of a node that is nothing yet, with these lines behind it.
    pub fn configure_without_groups(&self, pki: &Pki, lines: &str) -> Result<()> {
        let folder = self.folder.display();
        let text = format!(
            "[node]\nname = \"{}\"\nstate = \"{folder}/state\"\ncontrol = \"{folder}/shadowd.sock\"\n\
             listen = \"{}\"\nhttp = \"127.0.0.1:{}\"\n\n{}\n{lines}",
            self.name,
            self.address(),
            self.http_port,
            pki.config(&self.name),
        );
        Ok(std::fs::write(self.config(), text)?)
    }

    /// Starts the daemon and waits until `shadowctl status` answers.
    pub fn start(&mut self) -> Result<()> {
        self.start_by(&[])
    }

    /// As [`Self::start`], with a state directory that has room for so much and is gone with the daemon.
    pub fn start_in_room(&mut self, mib: u32) -> Result<()> {
        std::fs::create_dir_all(self.state())?;
        let state = self.state().display().to_string();
        let mount = format!("mount -t tmpfs -o size={mib}m tmpfs '{state}' && exec \"$@\"");
        self.start_by(&process::words(&[
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            &mount,
            "in-room",
        ]))
    }

    /// Makes the room of [`Self::start_in_room`] another size.
    pub fn change_room(&self, mib: u32) -> Result<()> {
        let id = self.process_id().context("the daemon doesn't run")?.to_string();
        let state = self.state().display().to_string();
        let size = format!("remount,size={mib}m");
        process::check(&process::words(&[
            "nsenter", "-t", &id, "-m", "mount", "-o", &size, &state,
        ]))
        .map(drop)
    }

    fn start_by(&mut self, before: &[String]) -> Result<()> {
        let mut argv = before.to_vec();
        argv.extend([
            self.programs.shadowd.display().to_string(),
            "--config".into(),
            self.config().display().to_string(),
        ]);
        let mut server = Server::start("shadowd", &argv, &self.log_file())?;
        let answered = process::until("shadowctl status answers", START_LIMIT, || {
            if let Some(status) = server.ended()? {
                bail!("shadowd ended: {status}");
            }
            Ok(self.ctl(&["status"])?.status.success())
        });
        answered.with_context(|| format!("start {}\n{}", self.name, self.log()))?;
        self.daemon = Some(server);
        Ok(())
    }

    /// Ends the daemon as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), Server::kill)
    }

    /// Ends the daemon by SIGTERM; an error where that takes longer than it may.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), |d| d.stop(STOP_LIMIT))
    }

    /// `kill -9` and a new start on the same state.
    pub fn crash_and_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start()
    }

    /// Runs `shadowctl --json` with these words, whatever it answers.
    pub fn ctl(&self, words: &[&str]) -> Result<Output> {
        let (program, config) = (
            self.programs.shadowctl.display().to_string(),
            self.config().display().to_string(),
        );
        let mut argv = process::words(&[&program, "--config", &config, "--json"]);
        argv.extend(process::words(words));
        process::output(&argv)
    }

    /// Runs `shadowctl --json`, which must succeed, and gives its document.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        let out = self.ctl(words)?;
        let (text, error) = (
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr),
        );
        if !out.status.success() {
            bail!(
                "{}: shadowctl {words:?}: {}\n{text}{error}\n{}",
                self.name,
                out.status,
                self.log()
            );
        }
        serde_json::from_str(&text).with_context(|| format!("shadowctl {words:?} printed {text}"))
    }

    /// Runs `shadowctl` with these words as a person would, and gives what it prints: its steps, then its answer.
    pub fn say(&self, words: &[&str]) -> Result<String> {
        let (program, config) = (
            self.programs.shadowctl.display().to_string(),
            self.config().display().to_string(),
        );
        let mut argv = process::words(&[&program, "--config", &config]);
        argv.extend(process::words(words));
        let out = process::output(&argv)?;
        let text = [out.stderr, out.stdout]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat();
        match out.status.success() {
            true => Ok(text),
            false => bail!("{}: shadowctl {words:?}: {}\n{text}", self.name, out.status),
        }
    }

    /// The group `main` out of `shadowctl status`.
    pub fn status(&self) -> Result<Value> {
        let status = self.ask(&["status"])?;
        status
            .pointer("/groups/0")
            .cloned()
            .with_context(|| format!("no group in {status}"))
    }

    /// The end of the daemon's log.
    pub fn log(&self) -> String {
        format!("log of {}:\n{}", self.name, tail(&self.log_file()))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("shadowd.log")
    }
}

/// The last lines of a file, or why there are none; for error messages.
pub fn tail(file: &Path) -> String {
    match std::fs::read(file) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines
                .get(lines.len().saturating_sub(25)..)
                .unwrap_or_default()
                .join("\n")
        }
        Err(error) => format!("{}: {error}", file.display()),
    }
}
