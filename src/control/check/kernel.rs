//! What the kernel grants: inotify instances, file descriptors, memory.

use super::Finding;
use crate::config::{Config, StoreConfig};
use crate::control::vitals::open_files_max;
use crate::limits::OPEN_LOGS_MAX;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const INSTANCES_FILE: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Descriptors beside the logs: journals, databases, packs, peers.
const OTHER_FILES: u64 = 300;
/// Descriptors of a standby with its front end's clients.
const STANDBY_FILES: u64 = 2_000;
/// Both daemons need less than 128 MiB; a machine with less than this left will swap or kill.
const MEMORY_LOW_KIB: u64 = 128 << 10;

/// `daemon` is the process of a running daemon.
pub(super) fn findings(config: &Config, daemon: Option<u32>) -> Vec<Finding> {
    let captures = config
        .groups
        .iter()
        .any(|group| matches!(group.store, StoreConfig::Dovecot(_)));
    let mut found = vec![files(captures, daemon)];
    // a running daemon has its instance
    if captures && daemon.is_none() {
        found.push(instances());
    }
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    found.extend(available_kib(&memory).map(memory_left));
    found
}

fn files(captures: bool, daemon: Option<u32>) -> Finding {
    let process = daemon.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap_or_default();
    let whose = match daemon {
        Some(pid) => format!("shadowd (process {pid})"),
        None => "a process started here".to_owned(),
    };
    judge_files(captures, &whose, open_files_max(&limits))
}

fn judge_files(captures: bool, whose: &str, allowed: Option<u64>) -> Finding {
    let topic = "file descriptors";
    let logs = u64::try_from(OPEN_LOGS_MAX).unwrap_or(u64::MAX);
    let needed = if captures {
        logs.saturating_add(OTHER_FILES)
    } else {
        STANDBY_FILES
    };
    match allowed {
        Some(allowed) if allowed < needed => {
            let what = format!("{whose} may open {allowed} files; up to {needed} may be needed");
            let todo = "the packaged unit allows enough; elsewhere LimitNOFILE=65536 in the unit, or ulimit -n 65536";
            Finding::warning(topic, what, todo)
                .because("logs that are open are followed over a rotation; without descriptors connections are refused")
        }
        Some(allowed) => Finding::ok(topic, format!("{whose} may open {allowed} files")),
        None => Finding::ok(topic, format!("{whose} may open files without limit")),
    }
}

fn instances() -> Finding {
    let allowed = std::fs::read_to_string(INSTANCES_FILE).ok();
    let allowed = allowed.and_then(|text| text.trim().parse::<u64>().ok());
    judge_instances(allowed, count_instances(Path::new("/proc")))
}

/// inotify instances of this user's processes; those that may not be looked at are not counted.
fn count_instances(proc: &Path) -> u64 {
    let own = std::fs::metadata(proc.join("self")).map(|meta| meta.uid()).ok();
    let processes = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let ours = processes.filter(|process| process.metadata().map(|meta| meta.uid()).ok() == own);
    let descriptors = ours.flat_map(|process| {
        std::fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten()
    });
    let instances = descriptors
        .filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:inotify"));
    u64::try_from(instances.count()).unwrap_or(u64::MAX)
}

fn judge_instances(allowed: Option<u64>, used: u64) -> Finding {
    let topic = "inotify instances";
    let Some(allowed) = allowed else {
        return Finding::warning(
            topic,
            format!("{INSTANCES_FILE} can't be read"),
            "is this Linux, and /proc mounted?",
        );
    };
    let what = format!("{used} of {allowed} in use by this user; shadowd needs one");
    if used >= allowed {
        let todo = format!(
            "sysctl fs.inotify.max_user_instances={}; keep it in /etc/sysctl.d",
            allowed.max(64) * 4
        );
        return Finding::error(topic, what, todo).because("without one no change is noticed but by the slow scan");
    }
    Finding::ok(topic, what)
}

/// `MemAvailable:  12345 kB` of `/proc/meminfo`.
fn available_kib(memory: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn memory_left(kib: u64) -> Finding {
    let what = format!("{} MiB available", kib >> 10);
    if kib < MEMORY_LOW_KIB {
        return Finding::warning(
            "memory",
            what,
            "find what uses it (ps --sort -rss aux | head), or give the machine more",
        )
        .because("shadowd needs about 100 MiB; a kernel without memory ends processes");
    }
    Finding::ok("memory", what)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn too_few_descriptors_are_found_where_the_logs_need_them() {
        assert_eq!(judge_files(true, "x", Some(1024)).level, Level::Warning);
        assert_eq!(judge_files(true, "x", Some(65_536)).level, Level::Ok);
        assert_eq!(judge_files(false, "x", Some(4096)).level, Level::Ok);
        assert_eq!(judge_files(true, "x", None).level, Level::Ok);
    }

    #[test]
    fn used_up_inotify_instances_are_found() {
        assert_eq!(judge_instances(Some(128), 128).level, Level::Error);
        assert_eq!(judge_instances(Some(128), 3).level, Level::Ok);
        assert_eq!(judge_instances(None, 0).level, Level::Warning);
        let before = count_instances(Path::new("/proc"));
        let instance = notify::recommended_watcher(|_| {}).unwrap();
        assert!(count_instances(Path::new("/proc")) > 0, "{before} before");
        drop(instance);
    }

    #[test]
    fn a_machine_without_memory_is_found() {
        assert_eq!(
            available_kib("MemTotal: 9 kB\nMemAvailable:   65536 kB\n"),
            Some(65_536)
        );
        assert_eq!(
            (memory_left(65_536).level, memory_left(1 << 20).level),
            (Level::Warning, Level::Ok)
        );
    }
}
