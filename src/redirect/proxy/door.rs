//! Where clients of one proxy come in.

use super::follow::Course;
use super::{carry, header};
use crate::config::{HostPort, ProxyConfig};
use crate::limits::{
    PROXY_CONNECT_SECONDS_MAX, PROXY_CONNECTIONS_MAX, PROXY_CUT_MS_MAX, PROXY_HELD_MAX, PROXY_HELD_SECONDS_MAX,
    PROXY_KEEPALIVE_SECONDS, PROXY_RETRY_MS,
};
use crate::op::{Epoch, NodeName};
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// A proxy at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Whose clients.
    pub group: String,
    /// Where they connect to.
    pub listen: String,
    /// The node that they are sent to; none while nobody is primary.
    pub primary: Option<NodeName>,
    /// True where new clients are sent there; otherwise they are held.
    pub opens: bool,
    /// The highest epoch that was ever seen; none where none was.
    pub epoch: Option<Epoch>,
    /// Clients connected now, the held ones included.
    pub connections: u64,
    /// Clients that wait for a primary.
    pub held: u64,
    /// Sessions that were cut because the primary changed.
    pub moved: u64,
    /// Clients that were turned away: held too long, or too many.
    pub refused: u64,
}

impl ProxyStatus {
    /// What a human should look at, in words, where something is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let why = match (&self.primary, self.opens) {
            (_, true) => return None,
            (Some(node), false) => format!("{node} is primary and takes no new clients now"),
            (None, false) => "no node says that it is primary".to_owned(),
        };
        Some(format!(
            "proxy {} of group {}: {why}: clients wait",
            self.listen, self.group
        ))
    }
}

/// Counts of one proxy.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    held: AtomicU64,
    moved: AtomicU64,
    refused: AtomicU64,
}

/// One more of these, until this is dropped.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    /// None where there are `most` already.
    fn enter(count: &'a AtomicU64, most: u64) -> Option<Self> {
        let next = |now: u64| (now < most).then_some(now + 1);
        let entered = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        entered.is_ok().then_some(Self(count))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Door {
    config: ProxyConfig,
    course: watch::Receiver<Course>,
    counts: Counts,
    held_max: Duration,
}

impl Door {
    /// The door of this proxy, which obeys `course`.
    #[must_use]
    pub fn new(config: ProxyConfig, course: watch::Receiver<Course>) -> Self {
        Self {
            config,
            course,
            counts: Counts::default(),
            held_max: Duration::from_secs(PROXY_HELD_SECONDS_MAX),
        }
    }

    /// The same, holding clients for another time.
    #[cfg(test)]
    pub(super) fn holding(self, held_max: Duration) -> Self {
        Self { held_max, ..self }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> ProxyStatus {
        let course = self.course.borrow().clone();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ProxyStatus {
            group: self.config.group.clone(),
            listen: self.config.listen.to_string(),
            primary: course.keeps,
            opens: course.opens,
            epoch: Some(course.epoch).filter(|epoch| *epoch != Epoch(0)),
            connections: count(&self.counts.connections),
            held: count(&self.counts.held),
            moved: count(&self.counts.moved),
            refused: count(&self.counts.refused),
        }
    }

    /// Takes clients in until the task is aborted.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((client, address)) => {
                    let door = Arc::clone(&self);
                    tokio::spawn(async move { door.attend(client, address).await });
                }
                Err(error) => {
                    tracing::warn!(%error, listen = %self.config.listen, "accept at the proxy");
                    // out of file descriptors: don't spin until some are free again
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn attend(&self, client: TcpStream, address: SocketAddr) {
        let Some(_inside) = Counted::enter(&self.counts.connections, PROXY_CONNECTIONS_MAX) else {
            return self.refuse(address, "too many connections");
        };
        let mut course = self.course.clone();
        let Some((node, server)) = self.primary(&mut course, address).await else {
            return;
        };
        let carried = tokio::select! {
            carried = self.carry(&client, &server, address) => carried,
            () = left(&mut course, &node) => {
                drop(server);
                let number = self.counts.moved.fetch_add(1, Ordering::Relaxed);
                // nothing goes to the old node any more; that not all come back at once is for the new one's sake
                return sleep(self.spread(number)).await;
            }
        };
        if let Err(error) = carried {
            tracing::debug!(%address, %node, %error, "a proxied connection ended");
        }
    }

    async fn carry(&self, client: &TcpStream, server: &TcpStream, address: SocketAddr) -> io::Result<()> {
        settle(client)?;
        settle(server)?;
        if self.config.proxy_protocol {
            carry::deliver(server, &header::encode(address, client.local_addr()?)).await?;
        }
        carry::both_ways(client, server).await
    }

    /// A connection to the primary, as soon as there is one that answers; none where that takes too long.
    async fn primary(&self, course: &mut watch::Receiver<Course>, client: SocketAddr) -> Option<(NodeName, TcpStream)> {
        let until = Instant::now() + self.held_max;
        let mut held = None;
        loop {
            let target = course.borrow_and_update().clone();
            if let Some(node) = target.keeps.filter(|_| target.opens)
                && let Some(address) = self.config.nodes.get(&node)
            {
                match connect(address).await {
                    Ok(server) => return Some((node, server)),
                    Err(error) => tracing::debug!(%node, %address, %error, "the primary's service does not answer"),
                }
            }
            if held.is_none() {
                held = Counted::enter(&self.counts.held, PROXY_HELD_MAX);
                if held.is_none() {
                    self.refuse(client, "too many wait for a primary");
                    return None;
                }
            }
            let pause = Duration::from_millis(PROXY_RETRY_MS);
            let changed = timeout_at(until.min(Instant::now() + pause), course.changed()).await;
            if matches!(changed, Ok(Err(_))) || Instant::now() >= until {
                self.refuse(client, "nobody was primary for long");
                return None;
            }
        }
    }

    fn refuse(&self, client: SocketAddr, why: &str) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%client, why, listen = %self.config.listen, "client turned away");
    }

    /// How long the end of the session of this number is put off: a millisecond for every ten sessions, spread evenly.
    fn spread(&self, number: u64) -> Duration {
        let most = (self.counts.connections.load(Ordering::Relaxed) / 10).min(PROXY_CUT_MS_MAX);
        Duration::from_millis(number % (most + 1))
    }
}

/// Returns once sessions with `node` have to end.
async fn left(course: &mut watch::Receiver<Course>, node: &NodeName) {
    // who steers is gone: the node is stopping, and with it this task
    drop(course.wait_for(|course| course.keeps.as_ref() != Some(node)).await);
}

async fn connect(address: &HostPort) -> io::Result<TcpStream> {
    let limit = Duration::from_secs(PROXY_CONNECT_SECONDS_MAX);
    let dialled = TcpStream::connect((address.host.as_str(), address.port));
    timeout(limit, dialled).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Small pieces go at once, and a host that is gone is noticed: an IDLE client is silent for half an hour.
fn settle(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let every = Duration::from_secs(PROXY_KEEPALIVE_SECONDS);
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(every).with_interval(every))
}
