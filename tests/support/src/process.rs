//! Child processes that can't outlive the thread that started them.

use crate::Result;
use anyhow::{Context, bail};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A server process. It is killed when this is dropped, and by the kernel when its parent thread ends.
#[derive(Debug)]
pub struct Server {
    child: Child,
    name: String,
}

impl Server {
    /// Starts `argv` with both outputs appended to `log`.
    pub fn start(name: &str, argv: &[String], log: &Path) -> Result<Server> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open {}", log.display()))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(argv)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {name} by setpriv"))?;
        Ok(Server {
            child,
            name: name.to_owned(),
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, where it has ended by itself.
    pub fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|s| s.to_string()))
    }

    /// SIGKILL, as a crash.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; an error where it hasn't ended after `limit`.
    pub fn stop(mut self, limit: Duration) -> Result<()> {
        let term = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        if !term.success() && self.child.try_wait()?.is_none() {
            bail!("{}: SIGTERM can't be sent", self.name);
        }
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > limit {
                bail!("{} didn't stop within {limit:?} of SIGTERM", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // the process may have ended already: then there is nothing to kill and only wait() counts
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a command to its end.
pub fn output(argv: &[String]) -> Result<Output> {
    let (program, rest) = argv.split_first().context("an empty command")?;
    Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", argv.join(" ")))
}

/// Runs a command that must succeed, and gives its standard output.
pub fn check(argv: &[String]) -> Result<String> {
    let out = output(argv)?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        bail!(
            "{}: {}\n{text}{}",
            argv.join(" "),
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(text)
}

/// Asks `done` every 20 ms; an error that names `what` where it isn't true within `limit`.
pub fn until(what: &str, limit: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !done()? {
        if began.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Words as a command's arguments.
pub fn words(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|w| (*w).to_owned()).collect()
}
