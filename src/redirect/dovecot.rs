//! A Dovecot proxy, 2.3 or 2.4: its passwd-file says by `host=` where each user's mail is, its `doveadm` ends sessions.
//!
//! Only `host=` values of our nodes are rewritten, and not in lines of users of other groups, so that one file may hold users of
//! several groups.

use super::{Done, Facts};
use crate::config::Argv;
use crate::io::{clock, hook};
use crate::limits::{
    REDIRECT_ANSWER_BYTES_MAX, REDIRECT_COMMAND_SECONDS_MAX, REDIRECT_OLD_SESSIONS_MS_MAX, REDIRECT_PASSWD_BYTES_MAX,
};
use crate::op::{NodeName, UserName};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Logins a second that the new primary is spared from exceeding, where everybody comes back at once.
const LOGINS_A_SECOND: u64 = 500;
/// Dovecot looks at the file's time once a second: so long after a switch a login may still be told the old host.
const FILE_UNREAD_MS_MAX: u64 = 1_100;
/// Longest spread of logins, seconds. Dovecot itself takes up to 300.
const SPREAD_SECONDS_MAX: u64 = 20;

/// Sends the users of these hosts to that of `node`, and ends their sessions with the others.
pub(super) async fn point(
    file: &Path,
    doveadm: &Argv,
    hosts: &BTreeMap<NodeName, IpAddr>,
    facts: &Facts,
) -> Result<Done, String> {
    let node = &facts.node;
    let new = *hosts.get(node).ok_or_else(|| format!("no host stands for {node}"))?;
    let old: Vec<IpAddr> = hosts.values().copied().filter(|host| *host != new).collect();
    let before = sessions(doveadm, &old).await?;
    let (path, all) = (file.to_owned(), hosts.values().copied().collect::<Vec<_>>());
    let facts = facts.clone();
    let ours = move |name: &str| facts.is_pointed(name);
    let written = tokio::task::spawn_blocking(move || rewrite(&path, &all, (new, spread(before)), &ours)).await;
    let written = written.map_err(|e| e.to_string())?;
    let changed = written.map_err(|e| format!("{}: {e}", file.display()))?;
    // an answer that its cache remembers names the old host
    let flushed = say(doveadm, &["auth", "cache", "flush"]).await;
    let left = kick(doveadm, &old, changed).await?;
    let unflushed = flushed
        .err()
        .map(|why| format!("its authentication cache was not flushed: {why}"));
    let stay = (left > 0).then(|| {
        format!(
            "{left} sessions are still with the old host: Dovecot 2.4 ends them only where a login process serves many \
             (restart_request_count = unlimited), whatever it says"
        )
    });
    Ok(Done {
        moved: Some(before.saturating_sub(left)),
        wrong: stay.or(unflushed),
    })
}

/// Sends one user to the host of this node. His sessions end where his old server ends them.
pub(super) async fn point_user(
    file: &Path,
    doveadm: &Argv,
    hosts: &BTreeMap<NodeName, IpAddr>,
    (user, node): (&UserName, &NodeName),
) -> Result<(), String> {
    let new = *hosts.get(node).ok_or_else(|| format!("no host stands for {node}"))?;
    let (path, all) = (file.to_owned(), hosts.values().copied().collect::<Vec<_>>());
    let his = user.clone();
    let written =
        tokio::task::spawn_blocking(move || rewrite(&path, &all, (new, None), &|name| name == his.as_str())).await;
    let written = written.map_err(|e| e.to_string())?;
    written.map_err(|e| format!("{}: he has no line of his own there: {e}", file.display()))?;
    say(doveadm, &["auth", "cache", "flush"]).await.map(drop)
}

/// Whether the file can be replaced, has lines for these hosts, and `doveadm` reaches the proxy.
pub(super) async fn look(file: &Path, doveadm: &Argv, hosts: &BTreeMap<NodeName, IpAddr>) -> Result<String, String> {
    let wrong = |e: io::Error| format!("{}: {e}", file.display());
    let mut text = String::new();
    let mut bounded = File::open(file).map_err(wrong)?.take(REDIRECT_PASSWD_BYTES_MAX);
    bounded.read_to_string(&mut text).map_err(wrong)?;
    let hosts: Vec<IpAddr> = hosts.values().copied().collect();
    let lines = text
        .lines()
        .filter_map(host_of)
        .filter(|host| hosts.contains(host))
        .count();
    if lines == 0 {
        return Err(wrong(nobody()));
    }
    let probe = beside(file, "check").map_err(wrong)?;
    let made = File::create(&probe).and_then(|_| std::fs::remove_file(&probe));
    made.map_err(|e| format!("{}: {e}", probe.display()))?;
    say(doveadm, &["proxy", "list"]).await?;
    Ok(format!(
        "{} has {lines} lines for this group, and doveadm reaches the proxy",
        file.display()
    ))
}

fn nobody() -> io::Error {
    io::Error::other("no line has a host= of this group's hosts: docs/redirects.md shows one")
}

/// A hidden file beside `path`.
fn beside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("not a file's name"))?;
    Ok(path.with_file_name(format!(".{}.{ending}", name.to_string_lossy())))
}

/// `delay_until=` for this many sessions; none where they are few.
fn spread(sessions: u64) -> Option<String> {
    let seconds = (sessions / LOGINS_A_SECOND).min(SPREAD_SECONDS_MAX);
    let soon = clock::unix_seconds().saturating_add(1);
    (seconds > 0).then(|| format!("delay_until={soon}+{seconds}"))
}

/// Ends sessions until there are none, and answers how many stay. What Dovecot says of a kick is not believed: 2.3 counts
/// nothing, and 2.4 counts what it only sent a signal that nobody obeys.
async fn kick(doveadm: &Argv, old: &[IpAddr], changed: bool) -> Result<u64, String> {
    let time = clock::Stopwatch::start();
    loop {
        for host in old {
            say(doveadm, &["proxy", "kick", "-h", &host.to_string()]).await?;
        }
        let left = sessions(doveadm, old).await?;
        let read = !changed || time.elapsed_ms() >= FILE_UNREAD_MS_MAX;
        if (left == 0 && read) || time.elapsed_ms() >= REDIRECT_OLD_SESSIONS_MS_MAX {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sessions with these hosts now.
async fn sessions(doveadm: &Argv, hosts: &[IpAddr]) -> Result<u64, String> {
    // 2.4 sums up without the last word, which 2.3 does not know
    let table = match say(doveadm, &["-f", "tab", "proxy", "list", "-1"]).await {
        Ok(table) => table,
        Err(_) => say(doveadm, &["-f", "tab", "proxy", "list"]).await?,
    };
    Ok(count(&table, hosts))
}

fn count(table: &str, hosts: &[IpAddr]) -> u64 {
    let mut rows = table.lines().map(|line| line.split('\t'));
    // 2.3 and 2.4; who has no sessions prints nothing at all
    let column = rows
        .next()
        .and_then(|mut titles| titles.position(|title| ["dest ip", "dest_ip"].contains(&title)));
    let hosts_of = rows.filter_map(|mut row| row.nth(column?)?.parse::<IpAddr>().ok());
    u64::try_from(hosts_of.filter(|host| hosts.contains(host)).count()).unwrap_or(u64::MAX)
}

async fn say(doveadm: &Argv, words: &[&str]) -> Result<String, String> {
    let mut command = doveadm.words().to_vec();
    command.extend(words.iter().map(|word| (*word).to_owned()));
    let limit = Duration::from_secs(REDIRECT_COMMAND_SECONDS_MAX);
    hook::ask(&command, limit, REDIRECT_ANSWER_BYTES_MAX)
        .await
        .map_err(|e| e.to_string())
}

/// Rewrites the file where it says something else, all of it or nothing. True where it did.
fn rewrite(
    path: &Path,
    hosts: &[IpAddr],
    (new, spread): (IpAddr, Option<String>),
    ours: &dyn Fn(&str) -> bool,
) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.len() > REDIRECT_PASSWD_BYTES_MAX {
        return Err(io::Error::other(format!(
            "larger than {REDIRECT_PASSWD_BYTES_MAX} bytes"
        )));
    }
    let mut text = String::new();
    (&mut file).take(REDIRECT_PASSWD_BYTES_MAX).read_to_string(&mut text)?;
    let Some(pointed) = pointed(&text, hosts, (new, spread.as_deref()), ours) else {
        return Err(nobody());
    };
    if pointed == text {
        return Ok(false);
    }
    replace(path, &metadata, &pointed)?;
    Ok(true)
}

/// The text with every `host=` of `hosts` made `new` in lines that are ours; none where there is no such line. Where all name `new` already it is
/// the same text.
fn pointed(
    text: &str,
    hosts: &[IpAddr],
    (new, spread): (IpAddr, Option<&str>),
    ours: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let mut found = false;
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| {
            let is_ours = ours(line.split(':').next().unwrap_or_default());
            let host = host_of(line).filter(|host| is_ours && hosts.contains(host));
            found |= host.is_some();
            match host {
                Some(host) if host != new => point_line(line, new, spread),
                _ => line.to_owned(),
            }
        })
        .collect();
    found.then(|| lines.join("\n"))
}

/// Words of the last field, where a passwd-file has its extra fields: `user:password:uid:gid:gecos:home:shell:extra`.
fn extra(line: &str) -> Option<&str> {
    let fields = line.splitn(8, ':').collect::<Vec<_>>();
    fields.get(7).copied().filter(|_| !line.trim_start().starts_with('#'))
}

fn host_of(line: &str) -> Option<IpAddr> {
    let mut words = extra(line)?.split_whitespace();
    words.find_map(|word| word.strip_prefix("host=")?.parse().ok())
}

fn point_line(line: &str, new: IpAddr, spread: Option<&str>) -> String {
    let extra = extra(line).unwrap_or_default();
    let before = line.strip_suffix(extra).unwrap_or_default();
    let words = extra
        .split_whitespace()
        .filter(|word| !word.starts_with("delay_until="));
    let mut words: Vec<String> = words
        .map(|word| match word.strip_prefix("host=") {
            Some(_) => format!("host={new}"),
            None => word.to_owned(),
        })
        .collect();
    words.extend(spread.map(str::to_owned));
    format!("{before}{}", words.join(" "))
}

/// Puts a new file in the place of the old one, with its owner and mode. Dovecot looks at whole seconds of its time and at
/// its size: two switches within a second must differ in the first.
fn replace(path: &Path, old: &Metadata, text: &str) -> io::Result<()> {
    let new = beside(path, "new")?;
    // a leftover of a crash may have another owner and mode
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::os::unix::fs::OpenOptionsExt::mode(File::options().write(true).create_new(true), 0o600).open(&new)?;
    std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
    file.set_permissions(old.permissions())?;
    file.write_all(text.as_bytes())?;
    let later = old.modified().map(|time| time + Duration::from_secs(1))?;
    file.set_modified(later.max(SystemTime::now()))?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "10.0.0.1";
    const B: &str = "10.0.0.2";

    fn point(text: &str, spread: Option<&str>) -> Option<String> {
        let hosts = [A.parse().unwrap(), B.parse().unwrap()];
        pointed(text, &hosts, (hosts[1], spread), &|_| true)
    }

    #[test]
    fn only_hosts_of_the_group_change_and_all_else_of_the_file_stays() {
        let text = "# proxies\nmain:::::::proxy=y nopassword=y host=10.0.0.1 port=143\n\nann:{SHA512-CRYPT}x:::a b:/h::host=10.0.0.9\n\
                    bob:{PLAIN}a#b::::::host=10.0.0.2\nold:x::::\n#off:::::::host=10.0.0.1\n";
        let to_b = text.replacen("host=10.0.0.1", "host=10.0.0.2", 1);
        assert_eq!(point(text, None), Some(to_b.clone()));
        assert_eq!(point(&to_b, Some("delay_until=7+3")), Some(to_b), "nothing moves twice");
        assert_eq!(point("ann:::::::host=10.0.0.9\n", None), None);
        assert_eq!(point("", None), None);
    }

    #[test]
    fn lines_of_another_group_with_the_same_hosts_stay_as_they_are() {
        let hosts = [A.parse().unwrap(), B.parse().unwrap()];
        let text = "ann@east:::::::host=10.0.0.1\ncat@west:::::::host=10.0.0.1\n";
        let east = pointed(text, &hosts, (hosts[1], None), &|name| name.ends_with("@east")).unwrap();
        assert_eq!(east, "ann@east:::::::host=10.0.0.2\ncat@west:::::::host=10.0.0.1\n");
        assert_eq!(
            pointed(text, &hosts, (hosts[1], None), &|name| name == "bob@east"),
            None
        );
    }

    #[test]
    fn a_delay_of_the_last_switch_is_replaced_by_this_ones_or_goes() {
        let line = "main:::::::host=10.0.0.1 delay_until=5+9 proxy_maybe=y";
        assert_eq!(point(line, None).unwrap(), "main:::::::host=10.0.0.2 proxy_maybe=y");
        let spread = "main:::::::host=10.0.0.2 proxy_maybe=y delay_until=7+3";
        assert_eq!(point(line, Some("delay_until=7+3")).unwrap(), spread);
        assert_eq!(super::spread(499), None);
        assert!(super::spread(1500).unwrap().ends_with("+3"));
    }

    #[test]
    fn sessions_are_counted_by_where_they_go_not_by_where_they_come_from() {
        let hosts = [A.parse().unwrap()];
        let old = "username\tproto\tsrc ip\tdest ip\tport\nann\timap\t10.0.0.1\t10.0.0.2\t143\nbob\timap\t10.0.0.2\t10.0.0.1\t143\n";
        let new = "username\tservice\tpid\tip\tdest_ip\nbob\timap-login\t7\t10.0.0.2\t10.0.0.1\nbob\timap-login\t7\t::1\t10.0.0.1\n";
        assert_eq!((count(old, &hosts), count(new, &hosts), count("", &hosts)), (1, 2, 0));
    }

    #[test]
    fn two_switches_within_a_second_differ_for_dovecot_and_owner_and_mode_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::fs::write(&path, "main:::::::host=10.0.0.1\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        let (a, b): (IpAddr, IpAddr) = (A.parse().unwrap(), B.parse().unwrap());
        let mut seconds = vec![std::fs::metadata(&path).unwrap().mtime()];
        for host in [b, a, b] {
            rewrite(&path, &[a, b], (host, None), &|_| true).unwrap();
            seconds.push(std::fs::metadata(&path).unwrap().mtime());
            assert_eq!(
                std::fs::read_to_string(&path).unwrap(),
                format!("main:::::::host={host}\n")
            );
        }
        assert!(seconds.is_sorted_by(|one, two| one < two), "{seconds:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        let other = rewrite(&path, &["10.9.9.9".parse().unwrap()], (b, None), &|_| true).unwrap_err();
        assert!(other.to_string().contains("no line has a host="));
    }
}
