//! What processes used, out of `/proc`.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The kernel's clock ticks a second, as `/proc/PID/stat` counts them on Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// CPU seconds of a process, its living descendants, and all that they have waited for.
///
/// # Errors
/// It runs no more.
pub(crate) fn cpu_of_tree(root: u32) -> Result<f64> {
    let processes = processes();
    anyhow::ensure!(processes.contains_key(&root), "process {root} has ended");
    let mut ticks = 0;
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        ticks += processes.get(&id).map_or(0, |p| p.ticks);
        open.extend(
            processes
                .iter()
                .filter(|(_, p)| p.parent == id)
                .map(|(child, _)| *child),
        );
    }
    Ok(ticks as f64 / TICKS_A_SECOND)
}

/// CPU seconds of the children of this process that have ended.
///
/// # Errors
/// `/proc` can't be read.
pub(crate) fn cpu_of_ended_children() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let ticks: u64 = fields(&text)
        .skip(13)
        .take(2)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / TICKS_A_SECOND)
}

/// Resident memory in MiB.
///
/// # Errors
/// It runs no more.
pub(crate) fn resident_mib(id: u32) -> Result<f64> {
    Ok(field(&format!("/proc/{id}/status"), "VmRSS:")? as f64 / 1024.0)
}

/// Bytes that a process sent to the disk.
///
/// # Errors
/// It runs no more.
pub(crate) fn written_bytes(id: u32) -> Result<u64> {
    field(&format!("/proc/{id}/io"), "write_bytes:")
}

/// Bytes that were sent to a port of this machine over the connections that are open now, TLS and all.
///
/// # Errors
/// `ss` (iproute2) doesn't run.
pub(crate) fn sent_bytes(address: &str) -> Result<u64> {
    let out = Command::new("ss")
        .args(["-tinH", "dst", address])
        .output()
        .context("run ss")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let sent = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("bytes_sent:"));
    Ok(sent.filter_map(|number| number.parse::<u64>().ok()).sum())
}

/// Flushes a little to the disk now and then, as whoever waits for one does.
pub(crate) struct Flushes {
    stop: Sender<()>,
    thread: JoinHandle<Vec<f64>>,
}

impl Flushes {
    /// Starts beside what is measured, in this folder.
    ///
    /// # Errors
    /// No file can be made there.
    pub(crate) fn start(folder: &Path) -> Result<Flushes> {
        let mut file = fs::File::create(folder.join("flushes"))?;
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut took_ms = Vec::new();
            while stopped.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
                let began = Instant::now();
                if file.write_all(&[b'.'; 4096]).and_then(|()| file.sync_data()).is_ok() {
                    took_ms.push(began.elapsed().as_secs_f64() * 1000.0);
                }
            }
            took_ms
        });
        Ok(Flushes { stop, thread })
    }

    /// How long one took, in milliseconds: the middle one.
    pub(crate) fn median_ms(self) -> f64 {
        drop(self.stop);
        self.thread
            .join()
            .map_or(f64::NAN, |took_ms| crate::report::median(&took_ms))
    }
}

fn field(file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .with_context(|| format!("{file} has no {name}"))
}

struct Process {
    parent: u32,
    ticks: u64,
}

fn processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: u32| Some((id, process(id)?))).collect()
}

fn process(id: u32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let parent = fields(&text).nth(1)?.parse().ok()?;
    let ticks = fields(&text)
        .skip(11)
        .take(4)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    Some(Process { parent, ticks })
}

/// What stands behind the name in brackets: state, parent, … (proc(5)).
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(") ").map_or("", |halves| halves.1).split(' ')
}
