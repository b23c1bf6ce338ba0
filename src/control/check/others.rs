//! Other daemons on this machine that capture from the same Dovecot.

use super::Finding;
use crate::config::{Config, StoreConfig};
use std::path::{Path, PathBuf};

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let own = sources(config);
    if own.is_empty() {
        return Vec::new();
    }
    let others = configurations(Path::new("/proc"));
    let others = others
        .into_iter()
        .filter_map(|(pid, file)| Some((pid, Config::load(&file).ok()?)));
    let place = |config: &Config| std::fs::canonicalize(&config.node.state).unwrap_or(config.node.state.clone());
    let twice = others.filter(|(_, other)| place(other) != place(config));
    twice
        .filter(|(_, other)| sources(other).iter().any(|source| own.contains(source)))
        .map(|(pid, other)| {
            let what = format!(
                "process {pid} ({}) captures from the same Dovecot",
                other.file.display()
            );
            let todo = format!("stop one of them: kill {pid}, or choose users that don't overlap");
            Finding::warning("second agent", what, todo)
                .because("nothing breaks, since both only read; but each change is read, stored and shipped twice")
        })
        .collect()
}

/// What tells one Dovecot from another: how `doveadm` is called.
fn sources(config: &Config) -> Vec<(Vec<String>, Option<PathBuf>)> {
    let dovecots = config.groups.iter().filter_map(|group| match &group.store {
        StoreConfig::Dovecot(dovecot) => Some((dovecot.doveadm.words().to_vec(), dovecot.config.clone())),
        StoreConfig::Embedded(_) => None,
    });
    dovecots.collect()
}

/// Processes named `shadowd` with the configuration that each was started with.
fn configurations(proc: &Path) -> Vec<(u32, PathBuf)> {
    let processes = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let ours = processes.filter_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let words = std::fs::read(process.path().join("cmdline")).ok()?;
        let words: Vec<String> = words
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let program = Path::new(words.first()?).file_name()?;
        let file = configuration(&words)?;
        // as this process would find it, also where that one runs in another folder
        let file = if file.is_absolute() {
            file
        } else {
            std::fs::read_link(process.path().join("cwd")).ok()?.join(file)
        };
        (program == "shadowd").then_some((pid, file))
    });
    ours.collect()
}

/// `--config FILE`, `--config=FILE`, or the default.
fn configuration(words: &[String]) -> Option<PathBuf> {
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(file) = word.strip_prefix("--config=") {
            return Some(PathBuf::from(file));
        }
    }
    Some(PathBuf::from("/etc/mailshadow/shadowd.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_on_the_same_dovecot_is_found_by_its_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let proc = dir.path().join("proc");
        let process = |pid: &str, words: &str| {
            std::fs::create_dir_all(proc.join(pid)).unwrap();
            std::fs::write(proc.join(pid).join("cmdline"), words.replace(' ', "\0")).unwrap();
        };
        process("10", "/usr/sbin/shadowd --config /etc/x.toml ");
        process("11", "shadowd --log json --config=/etc/y.toml ");
        process("12", "/usr/bin/dovecot -F ");
        process("13", "/usr/sbin/shadowd ");
        let mut found = configurations(&proc);
        found.sort();
        let files: Vec<_> = found.iter().map(|(pid, file)| (*pid, file.to_str().unwrap())).collect();
        assert_eq!(
            files,
            [
                (10, "/etc/x.toml"),
                (11, "/etc/y.toml"),
                (13, "/etc/mailshadow/shadowd.toml")
            ]
        );
    }
}
