//! A process from start to end: signals, and what systemd is told.

use super::renewal::Renewal;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What the node hears of the process, and tells it.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// True once the node must stop.
    pub stop: watch::Receiver<bool>,
    /// Counts reload requests: read certificates again.
    pub reload: watch::Receiver<u64>,
}

impl Lifecycle {
    /// Returns once the node must stop (or nobody is there any more to say so).
    pub async fn stopped(&mut self) {
        // the error says that the sender is gone: then stopping is right too
        let _ = self.stop.wait_for(|stop| *stop).await;
    }

    /// Tells systemd that the node is up. Call it once everything listens.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// Tells systemd, and so `systemctl status`, what the node does, in one line.
    pub fn says(&self, text: &str) {
        tell(&[NotifyState::Status(&text.replace('\n', " "))]);
    }

    /// Tells systemd's watchdog that the node is alive. Whoever calls it has seen progress; without the call a node that
    /// stands still is started anew.
    pub fn alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "can't tell systemd");
    }
}

/// Listens to SIGTERM, SIGINT and SIGHUP.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    stop: watch::Sender<bool>,
    reload: watch::Sender<u64>,
}

impl Signals {
    /// From now on these signals don't end the process. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            stop: watch::Sender::new(false),
            reload: watch::Sender::new(0),
        })
    }

    /// The node's end.
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        Lifecycle {
            stop: self.stop.subscribe(),
            reload: self.reload.subscribe(),
        }
    }

    /// Passes signals on until one asks for the end; a renewal counts as SIGHUP.
    pub async fn pass_on(&mut self, renewal: &mut Renewal) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hang_up.recv() => self.reload(),
                () = renewal.changed() => self.reload(),
            }
        }
        tell(&[NotifyState::Stopping]);
        self.stop.send_replace(true);
    }

    fn reload(&self) {
        tracing::info!("reloading");
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "can't tell systemd"),
        }
        self.reload.send_modify(|count| *count += 1);
        tell(&[NotifyState::Ready]);
    }
}
