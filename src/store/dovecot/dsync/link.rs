//! The way to a `dsync-server`: a process of the configured `doveadm`, or the socket of the running server's `doveadm`
//! service. Both directions at once, with a bound on silence.

use super::greeting::Greeting;
use super::{Broken, broken};
use crate::limits::{DSYNC_COMPLAINT_BYTES_MAX, DSYNC_READ_BYTES, DSYNC_SILENCE_SECONDS_MAX};
use crate::op::UserName;
use crate::store::dovecot::doveadm::Doveadm;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// An open way to one user's `dsync-server`.
#[derive(Debug)]
pub(super) struct Link {
    way: Way,
    /// What the server complained of, its newest part.
    complaints: Vec<u8>,
}

#[derive(Debug)]
enum Way {
    Process {
        child: Child,
        input: Option<ChildStdin>,
        output: ChildStdout,
        errors: Option<ChildStderr>,
    },
    Socket {
        stream: UnixStream,
        greeting: Greeting,
        /// What the greeting has to say.
        owed: Vec<u8>,
    },
}

impl Link {
    /// Runs `doveadm OPTIONS dsync-server -u USER`.
    ///
    /// # Errors
    /// It can't be run.
    pub(super) fn process(doveadm: &Doveadm, options: &[&str], user: &UserName) -> io::Result<Self> {
        let arguments = [options, &["dsync-server", "-u", user.as_str()]].concat();
        let mut command = doveadm.prepared(&arguments).map_err(io::Error::other)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let missing = || io::Error::other("a process without pipes");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let errors = child.stderr.take().ok_or_else(missing)?;
        for end in [input.as_fd(), output.as_fd(), errors.as_fd()] {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        Ok(Self::of(Way::Process {
            child,
            input: Some(input),
            output,
            errors: Some(errors),
        }))
    }

    /// Connects to the socket of the `doveadm` service, which lets in who may open it.
    ///
    /// # Errors
    /// There is none, or this process may not open it.
    pub(super) fn socket(path: &Path, user: &UserName) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        let mut owed = Vec::new();
        let greeting = Greeting::new(user, &mut owed);
        Ok(Self::of(Way::Socket { stream, greeting, owed }))
    }

    fn of(way: Way) -> Self {
        Self {
            way,
            complaints: Vec::new(),
        }
    }

    /// Sends all of `out`, and takes what comes meanwhile; with `wait` not before something has come.
    ///
    /// # Errors
    /// The other side went away, or was silent for too long.
    pub(super) fn exchange(&mut self, out: &mut Vec<u8>, wait: bool) -> Result<Vec<u8>, Broken> {
        let (mut sent, mut heard) = (0, Vec::new());
        let mut heard_from = Instant::now();
        loop {
            let unsent = out.get(sent..).unwrap_or_default();
            let (wrote, read) = self.turn(unsent, &mut heard)?;
            sent = sent.saturating_add(wrote);
            if sent >= out.len() && !self.owes() && (!wait || !heard.is_empty()) {
                out.clear();
                return Ok(heard);
            }
            if wrote > 0 || read {
                heard_from = Instant::now();
                continue;
            }
            let silence = Duration::from_secs(DSYNC_SILENCE_SECONDS_MAX);
            let Some(left) = silence.checked_sub(heard_from.elapsed()) else {
                return Err(broken(format!("no answer within {DSYNC_SILENCE_SECONDS_MAX} s")));
            };
            let sending = sent < out.len() || self.owes();
            self.wait(sending, left).map_err(|e| broken(e.to_string()))?;
        }
    }

    fn owes(&self) -> bool {
        match &self.way {
            Way::Process { .. } => false,
            Way::Socket { owed, greeting, .. } => !owed.is_empty() || !greeting.is_open(),
        }
    }

    /// One attempt in each direction: octets written, and whether anything was read.
    fn turn(&mut self, unsent: &[u8], heard: &mut Vec<u8>) -> Result<(usize, bool), Broken> {
        match &mut self.way {
            Way::Process {
                input, output, errors, ..
            } => {
                let complained = listen(errors, &mut self.complaints);
                let input = input.as_mut().ok_or_else(|| broken("the session is closed"))?;
                let both = read(output, heard).and_then(|read| Ok((write(input, unsent)?, read)));
                let (wrote, read) = both.map_err(|why| {
                    // Its last words came before its end.
                    while listen(errors, &mut self.complaints) {}
                    gone(&why, &self.complaints)
                })?;
                Ok((wrote, read || complained))
            }
            Way::Socket { stream, greeting, owed } => {
                let mut framed = Vec::new();
                let read = read(stream, &mut framed).map_err(|why| gone(&why, &self.complaints))?;
                let mut log = Vec::new();
                greeting.take(&framed, owed, heard, &mut log)?;
                self.complaints.extend(log);
                keep_newest(&mut self.complaints);
                if !owed.is_empty() {
                    let wrote = write(stream, owed).map_err(|why| gone(&why, &self.complaints))?;
                    owed.drain(..wrote.min(owed.len()));
                    return Ok((0, read || wrote > 0));
                }
                if !greeting.is_open() {
                    return Ok((0, read));
                }
                let wrote = write(stream, unsent).map_err(|why| gone(&why, &self.complaints))?;
                Ok((wrote, read))
            }
        }
    }

    fn wait(&self, sending: bool, limit: Duration) -> io::Result<()> {
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        let mut wanted = Vec::new();
        match &self.way {
            Way::Process {
                input, output, errors, ..
            } => {
                wanted.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
                let others = errors
                    .as_ref()
                    .map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
                wanted.extend(others);
                let input: Option<BorrowedFd<'_>> = input.as_ref().map(AsFd::as_fd).filter(|_| sending);
                wanted.extend(input.map(|end| PollFd::from_borrowed_fd(end, PollFlags::OUT)));
            }
            Way::Socket { stream, owed, greeting } => {
                let mut flags = PollFlags::IN;
                if !owed.is_empty() || (sending && greeting.is_open()) {
                    flags |= PollFlags::OUT;
                }
                wanted.push(PollFd::from_borrowed_fd(stream.as_fd(), flags));
            }
        }
        match poll(&mut wanted, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// What the server complained of so far, a line each.
    pub(super) fn complaints(&mut self) -> Vec<String> {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.complaints)).into_owned();
        let lines = text.lines().map(|line| line.trim_matches(|c: char| c.is_control()));
        lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

impl Drop for Link {
    /// Ends the process: closing its input makes it go by itself, killing it makes sure that nothing waits for it.
    fn drop(&mut self) {
        if let Way::Process { child, input, .. } = &mut self.way {
            drop(input.take());
            let deadline = Instant::now() + Duration::from_millis(200);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            // What it can still do, or can't, is all the same to us: it has no more input.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn listen(errors: &mut Option<ChildStderr>, complaints: &mut Vec<u8>) -> bool {
    let Some(end) = errors else {
        return false;
    };
    match read(end, complaints) {
        Ok(read) => {
            keep_newest(complaints);
            read
        }
        Err(_) => {
            // It closed its standard error: nothing more comes from there.
            *errors = None;
            false
        }
    }
}

fn keep_newest(complaints: &mut Vec<u8>) {
    let surplus = complaints.len().saturating_sub(DSYNC_COMPLAINT_BYTES_MAX);
    complaints.drain(..surplus);
}

/// Reads what there is; false: nothing now.
fn read(from: &mut impl Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = vec![0; DSYNC_READ_BYTES];
    match from.read(&mut buffer) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(length) => {
            into.extend(buffer.get(..length).unwrap_or_default());
            Ok(true)
        }
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
        Err(e) => Err(e),
    }
}

fn write(to: &mut impl Write, octets: &[u8]) -> io::Result<usize> {
    if octets.is_empty() {
        return Ok(0);
    }
    match to.write(octets) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        other => other,
    }
}

/// The other side went away; the last line of what it said is mostly why.
fn gone(error: &io::Error, complaints: &[u8]) -> Broken {
    let said = String::from_utf8_lossy(complaints);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    match last {
        Some(last) => broken(format!(
            "dsync-server ended: {}",
            last.trim_matches(|c: char| c.is_control())
        )),
        None => broken(format!("dsync-server ended: {error}")),
    }
}
