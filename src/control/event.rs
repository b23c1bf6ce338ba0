//! Events: what happened on a node that somebody may want to be woken for. They are drawn from one [`Status`] after
//! another, so an event says the same as `status`, and a flapping link or a growing heap is told once, not a hundred times.
//!
//! Most are conditions: they *begin* once they have lasted for a while, may *grow*, and *end*. `docs/events.md` lists
//! them; the log has one line for each, and `node.on_event` is run with each as JSON.

mod conditions;

use super::status::{GroupStatus, Role, Status};
use crate::io::clock;
use crate::op::{Epoch, NodeName};
use conditions::{Holds, Key, conditions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A count that goes on growing is told again at most this often.
const GROWS_EVERY_MS: u64 = 60_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The daemon runs.
    Started,
    /// The role or the epoch of a group is another one.
    Role,
    /// This node was overtaken by a higher epoch.
    Fenced,
    /// A fenced node's mail server lets clients in, or may.
    NotFenced,
    /// A primary's mail service does not answer, although its node does.
    ServiceDown,
    /// No session with a peer.
    PeerLost,
    /// The copy is being built (on a primary: not all mailboxes have been listed yet).
    Building,
    /// The copy is far behind.
    Lagging,
    /// Something in a group that a human should look at, as `status` tells it.
    Problem,
    /// Mailboxes of the copy whose transactions are held.
    MailboxesHeld,
    /// Entries in quarantine.
    Quarantined,
    /// Messages whose body is not on the copy.
    BodiesPending,
    /// A group's threads give no sign of progress.
    Stalled,
    /// Little room where the state lies.
    DiskLow,
    /// A certificate ends soon, or has ended.
    CertificateEnds,
}

impl EventKind {
    /// Every kind, in the order of `docs/events.md`.
    pub const ALL: [Self; 15] = [
        Self::Started,
        Self::Role,
        Self::Fenced,
        Self::NotFenced,
        Self::ServiceDown,
        Self::PeerLost,
        Self::Building,
        Self::Lagging,
        Self::Problem,
        Self::MailboxesHeld,
        Self::Quarantined,
        Self::BodiesPending,
        Self::Stalled,
        Self::DiskLow,
        Self::CertificateEnds,
    ];

    /// Its name in JSON, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Role => "role",
            Self::Fenced => "fenced",
            Self::NotFenced => "not-fenced",
            Self::ServiceDown => "service-down",
            Self::PeerLost => "peer-lost",
            Self::Building => "building",
            Self::Lagging => "lagging",
            Self::Problem => "problem",
            Self::MailboxesHeld => "mailboxes-held",
            Self::Quarantined => "quarantined",
            Self::BodiesPending => "bodies-pending",
            Self::Stalled => "stalled",
            Self::DiskLow => "disk-low",
            Self::CertificateEnds => "certificate-ends",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Error,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It is so from now on.
    Begins,
    /// It has become more.
    Grows,
    /// It is so no more.
    Ends,
    /// It has no duration.
    Happened,
}

/// One event, as the command of `node.on_event` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub event: EventKind,
    /// Begins, grows, ends, or happened.
    pub stage: Stage,
    /// How bad; `info` for every end.
    pub severity: Severity,
    /// On which node.
    pub node: NodeName,
    /// In which group; none where it concerns the node.
    pub group: Option<String>,
    /// With which peer, where it concerns one.
    pub peer: Option<NodeName>,
    /// How many, where it is counted.
    pub count: Option<u64>,
    /// The same in words.
    pub text: String,
    /// When it was seen, UNIX milliseconds.
    pub at_ms: u64,
}

struct Open {
    since_ms: u64,
    /// When, and with which count, it was told last.
    told: Option<(u64, Option<u64>)>,
    peer: Option<NodeName>,
    text: String,
}

/// Remembers what holds, and says what is news.
#[derive(Default)]
pub struct Watch {
    open: BTreeMap<Key, Open>,
    roles: BTreeMap<String, (Role, Option<Epoch>)>,
}

impl Watch {
    /// The news in `status`. `now_ms` only goes forward.
    pub fn observe(&mut self, now_ms: u64, status: &Status) -> Vec<Event> {
        let mut news = self.role_changes(status);
        let holds = conditions(status);
        let over: Vec<Key> = self
            .open
            .keys()
            .filter(|key| !holds.iter().any(|h| h.key == **key))
            .cloned()
            .collect();
        for key in over {
            let was = self.open.remove(&key);
            if let Some(was) = was.filter(|was| was.told.is_some()) {
                news.push(ended(status, &key, was));
            }
        }
        for condition in holds {
            news.extend(self.hold(now_ms, status, condition));
        }
        news
    }

    fn hold(&mut self, now_ms: u64, status: &Status, condition: Holds) -> Option<Event> {
        let open = self.open.entry(condition.key.clone()).or_insert_with(|| Open {
            since_ms: now_ms,
            told: None,
            peer: condition.peer.clone(),
            text: String::new(),
        });
        let stage = match open.told {
            None if now_ms.saturating_sub(open.since_ms) >= condition.patience_ms => Stage::Begins,
            Some((at, count)) if condition.count > count && now_ms.saturating_sub(at) >= GROWS_EVERY_MS => Stage::Grows,
            _ => return None,
        };
        open.told = Some((now_ms, condition.count));
        open.text.clone_from(&condition.text);
        let (event, group, _) = condition.key;
        Some(Event {
            event,
            stage,
            severity: condition.severity,
            node: status.node.clone(),
            group,
            peer: condition.peer,
            count: condition.count,
            text: condition.text,
            at_ms: clock::unix_ms(),
        })
    }

    fn role_changes(&mut self, status: &Status) -> Vec<Event> {
        let mut news = Vec::new();
        for group in &status.groups {
            let now = (group.role, group.epoch);
            let before = self.roles.insert(group.name.clone(), now);
            // the first epoch that a standby hears of is no change
            if before.is_some_and(|before| before.0 != now.0 || (before.1.is_some() && before.1 != now.1)) {
                let epoch = group
                    .epoch
                    .map(|epoch| format!(" in epoch {epoch}"))
                    .unwrap_or_default();
                news.push(Event {
                    event: EventKind::Role,
                    stage: Stage::Happened,
                    severity: Severity::Warning,
                    node: status.node.clone(),
                    group: Some(group.name.clone()),
                    peer: None,
                    count: None,
                    text: format!("this node is {}{epoch}", group.role),
                    at_ms: clock::unix_ms(),
                });
            }
        }
        news
    }
}

/// The daemon runs.
#[must_use]
pub fn started(status: &Status) -> Event {
    let role = |group: &GroupStatus| format!("{} of {}", group.role, group.name);
    let roles: Vec<String> = status.groups.iter().map(role).collect();
    let (node, version) = (&status.node, &status.version);
    Event {
        event: EventKind::Started,
        stage: Stage::Happened,
        severity: Severity::Info,
        node: node.clone(),
        group: None,
        peer: None,
        count: None,
        text: format!("shadowd {version} runs as {node}; {}", roles.join(", ")),
        at_ms: clock::unix_ms(),
    }
}

fn ended(status: &Status, key: &Key, was: Open) -> Event {
    Event {
        event: key.0,
        stage: Stage::Ends,
        severity: Severity::Info,
        node: status.node.clone(),
        group: key.1.clone(),
        peer: was.peer.clone(),
        count: None,
        text: match (key.0, &was.peer) {
            (EventKind::PeerLost, Some(peer)) => format!("{peer} is connected again"),
            (EventKind::Building, _) => format!("done: {}", was.text),
            (EventKind::ServiceDown, _) => "the mail service answers again".to_owned(),
            (EventKind::Lagging, _) => "the copy has caught up".to_owned(),
            (EventKind::Stalled, _) => "the group makes progress again".to_owned(),
            _ => format!("no more: {}", was.text),
        },
        at_ms: clock::unix_ms(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{node, standby};
    use super::super::status::GroupStatus;
    use super::super::vitals::{CertificateEnd, DAY_SECONDS};
    use super::*;

    /// Kind and stage of what is told at these moments of an ordered history.
    fn told(history: &[(u64, Status)]) -> Vec<(u64, EventKind, Stage)> {
        let mut watch = Watch::default();
        let mut told = Vec::new();
        for (at, status) in history {
            told.extend(
                watch
                    .observe(*at, status)
                    .into_iter()
                    .map(|event| (*at, event.event, event.stage)),
            );
        }
        told
    }

    fn away() -> Status {
        let mut group = standby();
        group.peers[0].connected = false;
        node(group)
    }

    #[test]
    fn a_flapping_link_wakes_nobody_and_a_lost_one_does_once() {
        use EventKind::PeerLost;
        let up = || node(standby());
        let flapping = [
            (0, up()),
            (2_000, away()),
            (8_000, away()),
            (10_000, up()),
            (12_000, away()),
            (20_000, up()),
        ];
        assert_eq!(told(&flapping), []);
        let lost: Vec<_> = (0..30).map(|i| (i * 2_000, away())).chain([(60_000, up())]).collect();
        assert_eq!(
            told(&lost),
            [(10_000, PeerLost, Stage::Begins), (60_000, PeerLost, Stage::Ends)]
        );
    }

    #[test]
    fn a_growing_heap_is_told_once_a_minute_not_once_a_message() {
        let heap = |count| {
            node(GroupStatus {
                quarantined: Some(count),
                ..standby()
            })
        };
        let mut history: Vec<_> = (0..90).map(|i| (i * 1_000, heap(i + 1))).collect();
        history.push((90_000, heap(0)));
        let stages: Vec<_> = told(&history).into_iter().map(|(at, _, stage)| (at, stage)).collect();
        assert_eq!(
            stages,
            [(10_000, Stage::Begins), (70_000, Stage::Grows), (90_000, Stage::Ends)]
        );
    }

    #[test]
    fn a_stalled_thread_a_full_disk_and_an_old_certificate_are_told_before_mail_is_missing() {
        let mut ill = node(GroupStatus {
            progress_seconds: Some(61.0),
            lag: super::super::status::Lag {
                seconds: Some(90.0),
                ..Default::default()
            },
            problems: vec!["this copy has stopped: no room".to_owned()],
            ..standby()
        });
        ill.vitals.state_free_bytes = Some(500 << 20);
        let until_seconds = clock::unix_seconds() + 20 * DAY_SECONDS;
        ill.vitals.certificates = vec![CertificateEnd {
            certificate: "node".to_owned(),
            until_seconds,
        }];
        let mut worse = ill.clone();
        worse.vitals.state_free_bytes = Some(1 << 20);
        let kinds = |from: u64, status: &Status, watch: &mut Watch| {
            let news = watch.observe(from, status).into_iter();
            news.map(|event| (event.event, event.severity)).collect::<Vec<_>>()
        };
        let mut watch = Watch::default();
        assert_eq!(
            kinds(0, &ill, &mut watch),
            [
                (EventKind::DiskLow, Severity::Warning),
                (EventKind::CertificateEnds, Severity::Warning),
                (EventKind::Lagging, Severity::Warning),
                (EventKind::Stalled, Severity::Error),
            ]
        );
        assert_eq!(kinds(10_000, &ill, &mut watch), [(EventKind::Problem, Severity::Error)]);
        let escalated = kinds(12_000, &worse, &mut watch);
        assert!(
            escalated.contains(&(EventKind::DiskLow, Severity::Error)),
            "{escalated:?}"
        );
    }

    #[test]
    fn a_change_of_role_is_told_and_the_first_epoch_is_none() {
        let (unknown, first) = (
            GroupStatus {
                epoch: None,
                ..standby()
            },
            standby(),
        );
        let promoted = GroupStatus {
            role: Role::Primary,
            epoch: Some(Epoch(2)),
            ..standby()
        };
        let history = [(0, node(unknown)), (1, node(first)), (2, node(promoted))];
        assert_eq!(told(&history), [(2, EventKind::Role, Stage::Happened)]);
    }

    #[test]
    fn an_event_that_nobody_documented() {
        let rows = include_str!("../../docs/events.md").lines();
        let documented: Vec<_> = rows
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .filter(|name| !name.starts_with('"'))
            .collect();
        let known = EventKind::ALL.map(EventKind::name);
        assert_eq!(documented, known);
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
