//! HAProxy, by its runtime socket.

use crate::{folder, look, point, redirect};
use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use testbed::process::{Server, until, words};
use testbed::{Result, ports};

/// Says `name` to everybody, and ends when they do.
fn service(port: u16, name: u8) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            std::thread::spawn(move || {
                // a health check is gone already
                let greeted = client.write_all(&[name]).is_ok();
                greeted.then(|| client.read(&mut [0]))
            });
        }
    });
    Ok(())
}

fn haproxy(folder: &Path, port: u16, a: u16, b: u16) -> Result<Server> {
    let text = format!(
        "global\n  stats socket {}/admin.sock mode 600 level admin\n\
         defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1m\n  timeout server 1m\n\
         frontend in\n  bind 127.0.0.1:{port}\n  default_backend imap\n\
         backend imap\n  server a 127.0.0.1:{a} check inter 1s\n  server b 127.0.0.1:{b} check inter 60s fall 1\n",
        folder.display()
    );
    let config = folder.join("haproxy.cfg");
    std::fs::write(&config, text)?;
    let argv = words(&["haproxy", "-db", "-f", &config.display().to_string()]);
    let mut server = Server::start("haproxy", &argv, &folder.join("haproxy.log"))
        .context("these tests need HAProxy: run ./check once as root, it installs what is missing")?;
    let answers = until("HAProxy listens", Duration::from_secs(10), || {
        if let Some(status) = server.ended()? {
            anyhow::bail!("haproxy ended: {status}: run ./check once as root, it installs what is missing");
        }
        Ok(UnixStream::connect(folder.join("admin.sock")).is_ok())
    });
    answers.with_context(|| testbed::node::tail(&folder.join("haproxy.log")))?;
    Ok(server)
}

/// A client, and who served it.
fn client(port: u16) -> Result<(TcpStream, u8)> {
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut greeting = [0];
    client.read_exact(&mut greeting)?;
    Ok((client, greeting[0]))
}

#[test]
fn server_whose_checks_failed_takes_over_at_once_and_idle_sessions_end() -> Result<()> {
    let folder = folder()?;
    let (port, a, b) = (ports::free(), ports::free(), ports::free());
    service(a, b'a')?;
    let _haproxy = haproxy(folder.path(), port, a, b)?;
    let keys = "kind = \"haproxy\"\nsocket = \"admin.sock\"\nservers = { mail-a = \"imap/a\", mail-b = \"imap/b\" }";
    let ours = redirect(folder.path(), keys)?;
    look(&ours)?.map_err(anyhow::Error::msg)?;
    let first = point(&ours, "mail-a")?;
    ensure!(first.ok, "{first:?}");
    let mut idle = (0..5).map(|_| client(port)).collect::<Result<Vec<_>>>()?;
    ensure!(idle.iter().all(|(_, greeting)| *greeting == b'a'));
    // b opens only now, and its next check is a minute away
    service(b, b'b')?;
    let moved = point(&ours, "mail-b")?;
    ensure!(moved.ok && moved.moved_sessions == Some(5), "{moved:?}");
    for (client, _) in &mut idle {
        ensure!(client.read(&mut [0])? == 0, "an idle session was left");
    }
    ensure!(client(port)?.1 == b'b');
    let again = point(&ours, "mail-b")?;
    ensure!(again.ok && again.moved_sessions == Some(0), "{again:?}");
    let back = point(&ours, "mail-a")?;
    ensure!(back.ok && client(port)?.1 == b'a', "{back:?}");
    Ok(())
}

#[test]
fn server_that_haproxy_does_not_know_is_told_before_and_when_it_is_needed() -> Result<()> {
    let folder = folder()?;
    let (port, a, b) = (ports::free(), ports::free(), ports::free());
    service(a, b'a')?;
    let _haproxy = haproxy(folder.path(), port, a, b)?;
    let keys = "kind = \"haproxy\"\nsocket = \"admin.sock\"\nservers = { mail-b = \"imap/z\" }";
    let wrong = redirect(folder.path(), keys)?;
    let told = look(&wrong)?;
    ensure!(told == Err("HAProxy has no server imap/z".to_owned()), "{told:?}");
    let failed = point(&wrong, "mail-b")?;
    let why = failed.why.clone().unwrap_or_default();
    ensure!(!failed.ok && why.contains("No such server"), "{failed:?}");
    Ok(())
}
