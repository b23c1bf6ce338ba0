//! Processes of one Dovecot that talk to clients, found without its help: its master may be dead while they live.
//!
//! Nothing in such a process names its instance: its arguments are `dovecot/imap`, its environment is wiped, its parent may
//! be dead. What holds: all processes of an instance have the same pipe as file descriptor 3 (to `anvil`, on both
//! versions), and some of them (at least `stats`, which lives as long as anybody reports to it) have a socket whose name
//! lies below the instance's `base_dir`. Processes in other network namespaces than ours are not looked at: a container's
//! sessions end with its first process.

use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// What a process title begins with.
const TITLE: &[u8] = b"dovecot/";

/// A process of some Dovecot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) id: i32,
    /// `imap`, `lmtp` …
    pub(super) service: String,
    pipe: Option<u64>,
    sockets: BTreeSet<u64>,
}

/// Processes of the server with this `base_dir` whose service is one of `wanted`.
///
/// # Errors
/// `/proc` can't be read.
pub(super) fn of_server(base_dir: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Process>> {
    let all = processes()?;
    if all.is_empty() {
        return Ok(all);
    }
    let ours = sockets_below(base_dir)?;
    let has_ours = |process: &&Process| !process.sockets.is_disjoint(&ours);
    let pipes: BTreeSet<u64> = all.iter().filter(has_ours).filter_map(|process| process.pipe).collect();
    let belongs =
        |process: &Process| process.pipe.is_some_and(|pipe| pipes.contains(&pipe)) && wanted(&process.service);
    Ok(all.into_iter().filter(belongs).collect())
}

/// Asks each to end, and makes those end that were asked before (`warned`). How many were told.
pub(super) fn end(processes: &[Process], warned: &BTreeSet<i32>) -> usize {
    let told = processes.iter().filter(|process| {
        let signal = match warned.contains(&process.id) {
            true => Signal::KILL,
            false => Signal::TERM,
        };
        let id = Pid::from_raw(process.id);
        id.is_some_and(|id| rustix::process::kill_process(id, signal).is_ok())
    });
    told.count()
}

/// How many of them are still there, after a moment to say goodbye.
pub(super) fn alive(processes: &[Process]) -> usize {
    if processes.is_empty() {
        return 0;
    }
    std::thread::sleep(super::fence::GOODBYE);
    processes.iter().filter(|process| service(process.id).is_some()).count()
}

fn processes() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    let own_net = std::fs::read_link("/proc/self/ns/net")?;
    for entry in std::fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some(service) = service(id) else { continue };
        if std::fs::read_link(format!("/proc/{id}/ns/net")).is_ok_and(|net| net != own_net) {
            continue;
        }
        let pipe = inode(Path::new(&format!("/proc/{id}/fd/3")), "pipe:[");
        found.push(Process {
            id,
            service,
            pipe,
            sockets: sockets(id),
        });
    }
    Ok(found)
}

/// What a live process of a Dovecot is; none for any other, and for one that has ended.
fn service(id: i32) -> Option<String> {
    let title = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let name = title.strip_prefix(TITLE)?;
    let name = name.split(|byte| [0, b' '].contains(byte)).next()?;
    std::str::from_utf8(name).ok().map(str::to_owned)
}

/// Those of a process that has ended meanwhile are none.
fn sockets(id: i32) -> BTreeSet<u64> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{id}/fd")) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| inode(&entry.path(), "socket:["))
        .collect()
}

/// The number in `socket:[4777063]`.
fn inode(link: &Path, before: &str) -> Option<u64> {
    let target = std::fs::read_link(link).ok()?;
    target.to_str()?.strip_prefix(before)?.strip_suffix(']')?.parse().ok()
}

fn sockets_below(base_dir: &Path) -> io::Result<BTreeSet<u64>> {
    let text = std::fs::read("/proc/net/unix")?;
    Ok(named_below(&String::from_utf8_lossy(&text), base_dir))
}

/// Columns: address, references, protocol, flags, type, state, inode, path.
fn named_below(table: &str, base_dir: &Path) -> BTreeSet<u64> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let inode = words.nth(6)?.parse().ok()?;
        Path::new(words.next()?).starts_with(base_dir).then_some(inode)
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_instance_with_a_longer_name_is_left_alone() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            00000000d6c51fa0: 00000002 00000000 00010000 0001 01 4774885 /run/dovecot/imap-master\n\
            00000000d053cbb8: 00000003 00000000 00000000 0001 03 4777063 /run/dovecot/stats-writer\n\
            00000000485ffa69: 00000002 00000000 00010000 0001 01 4774851 /run/dovecot2/stats-reader\n\
            00000000485ffa70: 00000003 00000000 00000000 0001 03 4774852\n";
        let found = named_below(table, Path::new("/run/dovecot"));
        assert_eq!(found, BTreeSet::from([4_774_885, 4_777_063]));
    }

    #[test]
    fn a_process_that_is_no_dovecot_is_never_ended() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(service(own), None);
        assert!(processes().unwrap().iter().all(|process| process.id != own));
    }
}
