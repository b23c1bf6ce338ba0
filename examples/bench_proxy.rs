//! What idle connections cost the built-in proxy: `cargo run --release --example bench_proxy [-- CONNECTIONS]` (10,000).
//!
//! The proxy runs in this process, clients and mail server in a child of it, so that this one's resident memory is the
//! proxy's. Each client is greeted, sends a line and hears it back, then idles.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use anyhow::{Context, ensure};
use mailshadow::config::{HostPort, ProxyConfig};
use mailshadow::op::{Epoch, NodeName};
use mailshadow::redirect::proxy::{Claim, Door, Leader, Mark, Word};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Result<T = ()> = anyhow::Result<T>;

fn main() -> Result {
    let mut words = std::env::args().skip(1);
    let first = words.next();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if first.as_deref() == Some("child") {
        return runtime.block_on(child());
    }
    let connections = first.map_or(Ok(10_000), |word| word.parse())?;
    raise_descriptors(2 * connections + 200)?;
    runtime.block_on(measure(connections))
}

fn raise_descriptors(wanted: u64) -> Result {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| current < wanted) {
        let maximum = now.maximum.map(|maximum| maximum.max(wanted));
        let current = Some(wanted);
        setrlimit(Resource::Nofile, Rlimit { current, maximum })
            .with_context(|| format!("{wanted} file descriptors are needed: run it as root, or ulimit -n {wanted}"))?;
    }
    Ok(())
}

async fn measure(connections: u64) -> Result {
    let state = tempfile::tempdir()?;
    let leader = Leader::recall(state.path(), "main")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let listen = listener.local_addr()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("child")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut told = BufReader::new(child.stdout.take().context("the child's output")?).lines();
    let mut next = || told.next().context("the child ended")?.map_err(anyhow::Error::from);
    let address = HostPort::try_from(format!("127.0.0.1:{}", next()?)).map_err(anyhow::Error::msg)?;
    let nodes = BTreeMap::from([(NodeName::from("a"), address)]);
    let config = ProxyConfig {
        group: "main".to_owned(),
        listen,
        control: nodes.clone(),
        nodes,
        proxy_protocol: false,
    };
    let door = Arc::new(Door::new(config, leader.course()));
    tokio::spawn(Arc::clone(&door).serve(listener));
    let epoch = Mark {
        number: Epoch(1),
        node: None,
    };
    let claim = Claim::Serves;
    leader.hear(&NodeName::from("a"), Some(Word { claim, epoch }));
    let before = resident_bytes()?;
    writeln!(
        child.stdin.as_mut().context("the child's input")?,
        "{} {connections}",
        listen.port()
    )?;
    ensure!(tokio::task::block_in_place(&mut next)? == "idle");
    let after = resident_bytes()?;
    ensure!(door.status().connections == connections, "{:?}", door.status());
    let each = after.saturating_sub(before) / connections.max(1);
    println!(
        "{connections} idle connections: {} MiB resident ({} MiB without), {each} bytes each",
        after >> 20,
        before >> 20
    );
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// The mail server and its clients.
async fn child() -> Result {
    let service = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", service.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = service.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = client.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let (port, connections) = line.trim().split_once(' ').context("port and number")?;
    let (port, connections): (u16, usize) = (port.parse()?, connections.parse()?);
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await?;
        let said = b"a1 IDLE\r\n";
        client.write_all(said).await?;
        client.read_exact(&mut [0; 9]).await?;
        clients.push(client);
    }
    println!("idle");
    // until the parent ends it
    std::future::pending().await
}
