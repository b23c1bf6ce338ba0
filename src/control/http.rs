//! HTTP for monitoring, load balancers and browsers: `/metrics`, `/healthz`, `/primary`, `/standby`, and a page at `/`.
//! Read-only, without secrets, meant for loopback or a monitoring network.

use super::metrics::Metrics;
use super::page;
use super::status::{GroupStatus, Role, Status};
use super::verbs::Verbs;
use crate::config::values::parse_duration;
use crate::limits::{HTTP_CLIENTS_MAX, HTTP_SECONDS_MAX};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use serde::Deserialize;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

/// How long a page may wait for the node's status before it says 503.
const STATUS_SECONDS_MAX: u64 = 2;

struct Pages<V> {
    verbs: Arc<V>,
    metrics: Arc<Metrics>,
}

impl<V> Clone for Pages<V> {
    fn clone(&self) -> Self {
        Self {
            verbs: Arc::clone(&self.verbs),
            metrics: Arc::clone(&self.metrics),
        }
    }
}

/// Listens; see [`HttpServer::serve`].
pub struct HttpServer {
    tcp: TcpListener,
    /// Longest life of a connection.
    pub(super) lifetime: Duration,
}

impl HttpServer {
    /// Takes the port.
    ///
    /// # Errors
    /// It is taken, or not ours to take.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let lifetime = Duration::from_secs(HTTP_SECONDS_MAX);
        Ok(Self { tcp, lifetime })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Answers until `stop` says true.
    ///
    /// # Errors
    /// The listener failed for good.
    pub async fn serve<V: Verbs>(
        self,
        verbs: Arc<V>,
        metrics: Arc<Metrics>,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let listener = Bounded {
            tcp: self.tcp,
            lifetime: self.lifetime,
            places: Arc::new(Semaphore::new(HTTP_CLIENTS_MAX)),
        };
        let served = axum::serve(listener, router(Pages { verbs, metrics }));
        tokio::select! {
            ended = served.into_future() => ended,
            _ = stop.wait_for(|stop| *stop) => Ok(()),
        }
    }
}

fn router<V: Verbs>(pages: Pages<V>) -> Router {
    Router::new()
        .route("/", get(home::<V>))
        .route("/metrics", get(metrics::<V>))
        .route("/healthz", get(healthz::<V>))
        .route("/primary", get(primary::<V>))
        .route("/standby", get(standby::<V>))
        .with_state(pages)
}

impl<V: Verbs> Pages<V> {
    async fn status(&self) -> Result<Status, Response> {
        let limit = Duration::from_secs(STATUS_SECONDS_MAX);
        let status = tokio::time::timeout(limit, self.verbs.status()).await;
        status.map_err(|_| no("the node does not answer"))
    }
}

fn no(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

async fn home<V: Verbs>(State(pages): State<Pages<V>>) -> Response {
    match pages.status().await {
        Ok(status) => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CACHE_CONTROL, "no-store"),
                (
                    header::CONTENT_SECURITY_POLICY,
                    "default-src 'none'; style-src 'unsafe-inline'",
                ),
            ];
            (headers, page::render(&status)).into_response()
        }
        Err(no) => no,
    }
}

async fn metrics<V: Verbs>(State(pages): State<Pages<V>>) -> Response {
    let status = match pages.status().await {
        Ok(status) => status,
        Err(no) => return no,
    };
    match pages.metrics.render(&status) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => no(&format!("render the metrics: {error}")),
    }
}

async fn healthz<V: Verbs>(State(pages): State<Pages<V>>) -> Response {
    match pages.status().await {
        Ok(_) => "ok\n".into_response(),
        Err(no) => no,
    }
}

/// Which group is asked about, and how far it may be behind.
#[derive(Deserialize)]
struct Asked {
    group: Option<String>,
    lag: Option<String>,
}

/// 200 where this node is confirmed primary of the group (without one: of every group).
async fn primary<V: Verbs>(State(pages): State<Pages<V>>, Query(asked): Query<Asked>) -> Response {
    judged(&pages, &asked, |group| {
        if group.role != Role::Primary {
            return Err(format!("{} here", group.role));
        }
        if group.confirmed {
            Ok(())
        } else {
            Err("primary, but not confirmed".to_owned())
        }
    })
    .await
}

/// 200 where this node is a finished standby of the group, at most `lag` behind.
async fn standby<V: Verbs>(State(pages): State<Pages<V>>, Query(asked): Query<Asked>) -> Response {
    let bound = match asked.lag.as_deref().map(parse_duration).transpose() {
        Ok(bound) => bound,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("lag: {why}\n")).into_response(),
    };
    judged(&pages, &asked, |group| {
        if group.role != Role::Standby {
            return Err(format!("{} here", group.role));
        }
        if group.building {
            return Err("being built".to_owned());
        }
        match (bound, group.lag.seconds) {
            (None, _) => Ok(()),
            (Some(_), None) => Err("its lag is not known".to_owned()),
            (Some(bound), Some(lag)) if lag <= bound.as_secs_f64() => Ok(()),
            (Some(_), Some(lag)) => Err(format!("{lag:.1} s behind")),
        }
    })
    .await
}

async fn judged<V: Verbs>(
    pages: &Pages<V>,
    asked: &Asked,
    judge: impl Fn(&GroupStatus) -> Result<(), String>,
) -> Response {
    let status = match pages.status().await {
        Ok(status) => status,
        Err(no) => return no,
    };
    let wanted = |group: &&GroupStatus| asked.group.as_ref().is_none_or(|name| *name == group.name);
    let groups: Vec<&GroupStatus> = status.groups.iter().filter(wanted).collect();
    if groups.is_empty() {
        return no("no such group on this node");
    }
    for group in groups {
        if let Err(why) = judge(group) {
            return no(&format!("{}: {why}", group.name));
        }
    }
    "ok\n".into_response()
}

/// Accepts no more than [`HTTP_CLIENTS_MAX`] connections, each for its lifetime only.
struct Bounded {
    tcp: TcpListener,
    lifetime: Duration,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // never closed, so this waits until a connection ends
            let place = Arc::clone(&self.places).acquire_owned().await.ok();
            match self.tcp.accept().await {
                Ok((tcp, address)) => {
                    let end = Box::pin(tokio::time::sleep(self.lifetime));
                    return (
                        Connection {
                            tcp,
                            end,
                            _place: place,
                        },
                        address,
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "HTTP can't accept; trying again");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

struct Connection {
    tcp: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn check_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_time(cx)?;
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_time(cx)?;
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
