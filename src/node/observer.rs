//! Looks at the whole node every [`OBSERVE_SECONDS`]: tells events to the log, the metrics and the command of
//! `node.on_event`; tells the service manager what the node does, and that it is alive, as long as every group proves
//! progress.

use super::answers::Answers;
use super::group::GroupHandle;
use crate::config::Argv;
use crate::control::event::{self, Event, EventKind, Severity, Stage, Watch};
use crate::control::metrics::{Metrics, OfEvent};
use crate::control::status::{GroupStatus, Role, Status};
use crate::control::verbs::Verbs;
use crate::io::clock::Stopwatch;
use crate::io::hook;
use crate::io::lifecycle::Lifecycle;
use crate::limits::{EVENTS_QUEUED_MAX, OBSERVE_SECONDS, STALLED_SECONDS_MAX};
use crate::telemetry;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What it looks at, and whom it tells.
pub(super) struct Observer {
    pub(super) answers: Arc<Answers>,
    pub(super) groups: Arc<[GroupHandle]>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) lifecycle: Lifecycle,
    /// Where events go for the command, where one is configured.
    pub(super) hook: Option<mpsc::Sender<Event>>,
}

impl Observer {
    /// Runs until the task is aborted.
    pub(super) async fn run(self) {
        let (clock, mut watch, mut said) = (Stopwatch::start(), Watch::default(), String::new());
        let mut ticks = tokio::time::interval(Duration::from_secs(OBSERVE_SECONDS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let status = self.answers.status().await;
        self.tell(event::started(&status));
        loop {
            ticks.tick().await;
            let status = self.answers.status().await;
            for event in watch.observe(clock.elapsed_ms(), &status) {
                self.tell(event);
            }
            let summary = summary(&status);
            if summary != said {
                self.lifecycle.says(&summary);
                said = summary;
            }
            if self.groups.iter().all(makes_progress) {
                self.lifecycle.alive();
            }
        }
    }

    fn tell(&self, event: Event) {
        log(&event);
        let of = OfEvent {
            event: event.event.name().to_owned(),
        };
        self.metrics.events.get_or_create(&of).inc();
        if let Some(hook) = &self.hook
            && hook.try_send(event).is_err()
        {
            self.metrics.event_commands_failed.inc();
            tracing::warn!("too many events wait for the command of node.on_event: one was dropped");
        }
    }
}

fn makes_progress(group: &GroupHandle) -> bool {
    let age = group.progress_age();
    let alive = age < Duration::from_secs(STALLED_SECONDS_MAX);
    if !alive {
        let group = &group.config.name;
        tracing::error!(
            group,
            seconds = age.as_secs(),
            "no sign of progress: the service manager may start this daemon anew"
        );
    }
    alive
}

/// One line an event. Its text names what a human must know; the rest is for filters.
fn log(event: &Event) {
    let (kind, group) = (event.event.name(), event.group.as_deref());
    // a problem's words may name a user and a file
    let text = match event.event {
        EventKind::Problem if telemetry::is_hashing() => "a problem: shadowctl status names it",
        _ => &event.text,
    };
    match (event.stage, event.severity) {
        (Stage::Ends, _) => tracing::info!(event = kind, group, "{text}"),
        (_, Severity::Info) => tracing::info!(event = kind, group, "{text}"),
        (_, Severity::Warning) => tracing::warn!(event = kind, group, "{text}"),
        (_, Severity::Error) => tracing::error!(event = kind, group, "{text}"),
    }
}

/// The command's queue and the task that runs it, one event after another.
pub(super) fn hook(command: Argv, metrics: Arc<Metrics>) -> (mpsc::Sender<Event>, impl Future<Output = ()>) {
    let (queue, mut events) = mpsc::channel::<Event>(EVENTS_QUEUED_MAX);
    let run = async move {
        while let Some(event) = events.recv().await {
            let done = match serde_json::to_vec(&event) {
                Ok(json) => hook::run(command.words(), &json).await.map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = done {
                metrics.event_commands_failed.inc();
                tracing::warn!(event = event.event.name(), error, "the command of node.on_event failed");
            }
        }
    };
    (queue, run)
}

/// What `systemctl status` shows.
fn summary(status: &Status) -> String {
    if status.groups.is_empty() {
        return "no groups".to_owned();
    }
    let groups: Vec<String> = status.groups.iter().map(group_summary).collect();
    groups.join("; ")
}

fn group_summary(group: &GroupStatus) -> String {
    let connected = group.peers.iter().filter(|peer| peer.connected).count();
    let mut parts = vec![format!("{}: {}", group.name, group.role)];
    match group.role {
        Role::Primary => parts.push(format!("{connected} of {} standbys connected", group.peers.len())),
        Role::Standby if connected > 0 => parts.push("connected".to_owned()),
        Role::Standby => parts.push("not connected".to_owned()),
        Role::Fenced => {}
    }
    if group.building {
        parts.push("building".to_owned());
    }
    if !group.problems.is_empty() {
        parts.push(format!("{} to look at", group.problems.len()));
    }
    parts.join(", ")
}
