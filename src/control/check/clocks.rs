//! This machine's clock, as far as it can be judged without asking anybody.

use super::Finding;
use crate::config::Config;
use crate::io::clock;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A clock before this (1 January 2025) has never been set.
const NEVER_SET_SECONDS: i64 = 1_735_689_600;
/// Files may be a little newer than now where they lie on another machine.
const TOLERANCE_SECONDS: i64 = 60;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut found = vec![judge(clock::unix_seconds(), newest(&config.node.state))];
    found.extend(kept(synchronized()));
    found
}

/// What systemd knows of the kernel's clock; none where it can't be asked.
fn synchronized() -> Option<bool> {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]);
    let said = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    match String::from_utf8_lossy(&said.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn kept(synchronized: Option<bool>) -> Option<Finding> {
    match synchronized? {
        true => Some(Finding::ok("clock", "is kept by a time server")),
        false => Some(
            Finding::warning(
                "clock",
                "is not kept by a time server",
                "apt install chrony, then timedatectl",
            )
            .because(
                "lag and loss are told in seconds of both nodes' clocks, and clocks that nobody keeps drift apart",
            ),
        ),
    }
}

fn judge(now: i64, newest_state: Option<i64>) -> Finding {
    let topic = "clock";
    let todo = "set it, and keep it set (chrony, systemd-timesyncd): lag and loss are told in seconds of both clocks";
    if now < NEVER_SET_SECONDS {
        return Finding::error(topic, "this machine's clock has never been set", todo);
    }
    match newest_state {
        Some(newest) if newest > now + TOLERANCE_SECONDS => {
            let what = format!(
                "it went back: files in the state directory are {} s newer than now",
                newest - now
            );
            Finding::error(topic, what, todo)
        }
        _ => Finding::ok(topic, "is plausible"),
    }
}

/// Newest change in the state directory's first level, UNIX seconds.
fn newest(dir: &Path) -> Option<i64> {
    let entries = std::fs::read_dir(dir).ok()?;
    entries
        .flatten()
        .take(10_000)
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.mtime())
        .max()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_is_found_and_an_unknown_one_is_no_finding() {
        assert_eq!(kept(Some(false)).unwrap().level, Level::Warning);
        assert_eq!(kept(Some(true)).unwrap().level, Level::Ok);
        assert!(kept(None).is_none());
    }

    #[test]
    fn a_clock_that_went_back_is_found() {
        let now = NEVER_SET_SECONDS + 1_000_000;
        assert_eq!(judge(now, Some(now + 30)).level, Level::Ok);
        assert_eq!(judge(now, Some(now + 3_600)).level, Level::Error);
        assert_eq!(judge(now, None).level, Level::Ok);
        assert_eq!(judge(0, None).level, Level::Error);
    }
}
