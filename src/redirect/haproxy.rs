//! HAProxy, by its runtime socket (level admin): <https://docs.haproxy.org/2.6/management.html#9.3>.
//!
//! A server in `maint` gets no new session and keeps the old ones: these are shut down apart, and counted.

use super::Done;
use crate::io::clock::Stopwatch;
use crate::limits::{REDIRECT_ANSWER_BYTES_MAX, REDIRECT_OLD_SESSIONS_MS_MAX};
use crate::op::NodeName;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Bits of `srv_admin_state` that keep sessions away: forced maintenance, inherited, configured, forced and inherited
/// drain, lost name resolution.
const KEPT_AWAY: u64 = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20;

/// Makes the server of `node` the only one of `servers` (`backend/server` each) that gets sessions.
pub(super) async fn point(
    socket: &Path,
    servers: &BTreeMap<NodeName, String>,
    node: &NodeName,
) -> Result<Done, String> {
    let new = servers
        .get(node)
        .ok_or_else(|| format!("no server stands for {node}"))?;
    let old: Vec<&str> = servers
        .values()
        .filter(|server| *server != new)
        .map(String::as_str)
        .collect();
    // in one line, so that there is no moment between in which nobody serves
    let maint = old.iter().map(|server| format!("set server {server} state maint; "));
    order(
        socket,
        &format!("{}set server {new} state ready", maint.collect::<String>()),
    )
    .await?;
    // its health checks may have failed until now, and would take seconds to find out
    if let Err(why) = order(socket, &format!("set server {new} health up")).await {
        tracing::debug!(why, server = new, "HAProxy goes by its own checks");
    }
    let before = sessions(socket, &old).await?;
    for server in &old {
        order(socket, &format!("shutdown sessions server {server}")).await?;
    }
    let left = await_end(socket, &old).await?;
    Ok(Done {
        moved: Some(before.saturating_sub(left)),
        wrong: verify(socket, new, &old, left).await?,
    })
}

/// Whether the socket may give orders, and knows all these servers.
pub(super) async fn look(socket: &Path, servers: &BTreeMap<NodeName, String>) -> Result<String, String> {
    let level = ask(socket, "show cli level").await?;
    if level.trim() != "admin" {
        let level = level.trim();
        return Err(format!(
            "{}: has the level {level}, but \"level admin\" is needed",
            socket.display()
        ));
    }
    let table = ask(socket, "show servers state").await?;
    for server in servers.values() {
        kept_away(&table, server).ok_or_else(|| format!("HAProxy has no server {server}"))?;
    }
    Ok(format!(
        "{} takes orders, and knows all {} servers",
        socket.display(),
        servers.len()
    ))
}

/// Sessions that the old servers still have when they had time to end.
async fn await_end(socket: &Path, old: &[&str]) -> Result<u64, String> {
    let time = Stopwatch::start();
    loop {
        let left = sessions(socket, old).await?;
        if left == 0 || time.elapsed_ms() >= REDIRECT_OLD_SESSIONS_MS_MAX {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is not as it should be now, where something is.
async fn verify(socket: &Path, new: &str, old: &[&str], left: u64) -> Result<Option<String>, String> {
    let text = ask(socket, "show servers state").await?;
    let is_away = |server: &str| kept_away(&text, server).ok_or_else(|| format!("HAProxy has no server {server}"));
    if is_away(new)? {
        return Ok(Some(format!("{new} is kept from getting sessions")));
    }
    for server in old {
        if !is_away(server)? {
            return Ok(Some(format!("{server} still gets sessions")));
        }
    }
    Ok((left > 0).then(|| format!("{left} sessions are still with the old server")))
}

/// Whether the state table says that `server` gets no sessions.
fn kept_away(table: &str, server: &str) -> Option<bool> {
    let (backend, name) = server.split_once('/')?;
    let header = table.lines().find_map(|line| line.strip_prefix("# "))?;
    let column = |wanted: &str| header.split(' ').position(|title| title == wanted);
    let (of_backend, of_name, of_state) = (column("be_name")?, column("srv_name")?, column("srv_admin_state")?);
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let mut rows = rows.map(|line| line.split(' ').collect::<Vec<_>>());
    let row = rows.find(|row| row.get(of_backend) == Some(&backend) && row.get(of_name) == Some(&name))?;
    let state: u64 = row.get(of_state)?.parse().ok()?;
    Some(state & KEPT_AWAY != 0)
}

/// Sessions with these servers now.
async fn sessions(socket: &Path, servers: &[&str]) -> Result<u64, String> {
    let table = ask(socket, "show stat -1 4 -1").await?;
    current_sessions(&table, servers).ok_or_else(|| "HAProxy's statistics can't be understood".to_owned())
}

fn current_sessions(table: &str, servers: &[&str]) -> Option<u64> {
    let header = table.lines().find_map(|line| line.strip_prefix("# "))?;
    let column = |wanted: &str| header.split(',').position(|title| title == wanted);
    let (of_backend, of_name, of_count) = (column("pxname")?, column("svname")?, column("scur")?);
    let mut sum = 0_u64;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let row: Vec<&str> = line.split(',').collect();
        let (Some(backend), Some(name)) = (row.get(of_backend), row.get(of_name)) else {
            continue;
        };
        if servers
            .iter()
            .any(|server| server.split_once('/') == Some((backend, name)))
        {
            sum = sum.saturating_add(row.get(of_count)?.parse().ok()?);
        }
    }
    Some(sum)
}

/// An order, which HAProxy answers with nothing.
async fn order(socket: &Path, line: &str) -> Result<(), String> {
    let said = ask(socket, line).await?;
    match said.trim() {
        "" => Ok(()),
        complaint => Err(format!("\"{line}\": HAProxy says: {complaint}")),
    }
}

/// One line, and all that is answered.
async fn ask(socket: &Path, line: &str) -> Result<String, String> {
    let wrong = |e: std::io::Error| format!("{}: {e}", socket.display());
    let mut stream = UnixStream::connect(socket).await.map_err(wrong)?;
    stream.write_all(format!("{line}\n").as_bytes()).await.map_err(wrong)?;
    let mut said = String::new();
    let mut bounded = stream.take(REDIRECT_ANSWER_BYTES_MAX);
    bounded.read_to_string(&mut said).await.map_err(wrong)?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_titles_and_other_servers_do_not_count() {
        let stat = "# pxname,svname,qcur,qmax,scur,smax,\nimap,a,0,0,3,5,\nimap,b,0,0,2,2,\nlmtp,a,0,0,7,7,\n\n";
        assert_eq!(current_sessions(stat, &["imap/a", "lmtp/a"]), Some(10));
        assert_eq!(current_sessions(stat, &["imap/z"]), Some(0));
        assert_eq!(current_sessions("Permission denied\n", &["imap/a"]), None);
        let state = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n\
                     3 imap 1 a 127.0.0.1 0 5 1\n3 imap 2 b 127.0.0.1 2 0 1\n";
        assert_eq!(kept_away(state, "imap/a"), Some(true));
        assert_eq!(kept_away(state, "imap/b"), Some(false));
        assert_eq!((kept_away(state, "imap/c"), kept_away("", "imap/a")), (None, None));
    }
}
