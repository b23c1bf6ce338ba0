//! `/metrics`: counters that the rooms count up, gauges read from `status` at each scrape. Labels are groups, peers, kinds
//! of events and names of certificates, all of them few; never users or mailboxes. `docs/metrics.md` lists them all.

mod groups;
mod proxies;

use super::status::{GroupStatus, PeerStatus, Status};
use super::vitals::Vitals;
use crate::io::clock;
use crate::op::Lsn;
use crate::serve::counts::Counts;
use groups::{GROUP_GAUGES, PEER_GAUGES};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// Of which group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfGroup {
    /// Its name.
    pub group: String,
}

/// Of which group and peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfPeer {
    /// The group's name.
    pub group: String,
    /// The peer's name.
    pub peer: String,
}

/// Of which kind of event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfEvent {
    /// As `docs/events.md` names it.
    pub event: String,
}

/// Counts of what happened since the start; shared by all rooms. A series appears with its first event.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Callers refused for their certificate or protocol.
    pub handshakes_refused: Counter,
    /// Sessions opened.
    pub sessions: Family<OfPeer, Counter>,
    /// Frames sent to a peer.
    pub frames_sent: Family<OfPeer, Counter>,
    /// Frames received from a peer.
    pub frames_received: Family<OfPeer, Counter>,
    /// Bodies sent to a peer.
    pub bodies_sent: Family<OfPeer, Counter>,
    /// Bodies received from a peer.
    pub bodies_received: Family<OfPeer, Counter>,
    /// Transactions applied.
    pub transactions_applied: Family<OfGroup, Counter>,
    /// Digests that differed.
    pub digests_different: Family<OfGroup, Counter>,
    /// Events that began, ended or happened.
    pub events: Family<OfEvent, Counter>,
    /// Events that the command of `node.on_event` did not get, or failed on.
    pub event_commands_failed: Counter,
    /// Of the embedded store's front end.
    pub imap: Counts,
}

impl Metrics {
    /// The text that Prometheus reads (OpenMetrics 1.0).
    ///
    /// # Errors
    /// A value can't be written.
    pub fn render(&self, status: &Status) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.counters())?;
        encode_registry(&mut text, &groups(status))?;
        encode_registry(&mut text, &proxies::registry(status))?;
        encode_registry(&mut text, &node(status))?;
        encode_registry(&mut text, &process(&status.vitals))?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    fn counters(&self) -> Registry {
        let mut all = Registry::with_prefix("mailshadow");
        let refused = "Callers refused for their certificate or protocol";
        all.register("handshakes_refused", refused, self.handshakes_refused.clone());
        all.register("sessions", "Sessions opened with the peer", self.sessions.clone());
        all.register("frames_sent", "Frames sent to the peer", self.frames_sent.clone());
        let received = "Frames received from the peer";
        all.register("frames_received", received, self.frames_received.clone());
        let sent = "Message bodies sent to the peer";
        all.register("bodies_sent", sent, self.bodies_sent.clone());
        let received = "Message bodies received from the peer";
        all.register("bodies_received", received, self.bodies_received.clone());
        let applied = "Transactions that the store here has decided";
        all.register("transactions_applied", applied, self.transactions_applied.clone());
        let different = "Digests of mailboxes that differed from the source";
        all.register("digests_different", different, self.digests_different.clone());
        let events = "Events that began, ended or happened, by kind";
        all.register("events", events, self.events.clone());
        let failed = "Events that the command of node.on_event did not get or failed on";
        all.register("event_commands_failed", failed, self.event_commands_failed.clone());
        self.imap_counters(&mut all);
        all
    }

    fn imap_counters(&self, all: &mut Registry) {
        let imap = &self.imap;
        let now = "Connections of mail clients to the front end";
        all.register("imap_connections", now, imap.connections.clone());
        let refused = "Connections of mail clients refused for a bound on their number";
        all.register("imap_refused", refused, imap.refused.clone());
        all.register("imap_logins", "Logins of mail clients", imap.logins.clone());
        let failed = "Logins of mail clients that were refused";
        all.register("imap_logins_failed", failed, imap.logins_failed.clone());
        let cut_off = "Connections of mail clients ended for a bound on time, length or failed logins";
        all.register("imap_cut_off", cut_off, imap.cut_off.clone());
    }
}

type Figure = Gauge<f64, AtomicU64>;

/// Name, help, and the value; what is not known has no sample.
type GaugeOf<T> = (&'static str, &'static str, fn(&T) -> Option<f64>);

const NODE_GAUGES: [GaugeOf<Vitals>; 3] = [
    (
        "state_free_bytes",
        "Bytes that may still be written where the state lies",
        |v| v.state_free_bytes.map(count),
    ),
    ("state_size_bytes", "Size of the filesystem where the state lies", |v| {
        v.state_size_bytes.map(count)
    }),
    (
        "state_free_inodes",
        "Files that may still be made where the state lies",
        |v| v.state_free_inodes.map(count),
    ),
];

/// Names that dashboards know from other programs, so without our prefix.
const PROCESS_GAUGES: [GaugeOf<Vitals>; 3] = [
    ("process_resident_memory_bytes", "Resident memory size in bytes", |v| {
        v.resident_bytes.map(count)
    }),
    ("process_open_fds", "Number of open file descriptors", |v| {
        v.open_files.map(count)
    }),
    ("process_max_fds", "Maximum number of open file descriptors", |v| {
        v.open_files_max.map(count)
    }),
];

fn groups(status: &Status) -> Registry {
    let mut all = Registry::with_prefix("mailshadow");
    let of_group = |group: &GroupStatus| ("group", group.name.clone());
    for gauge in &GROUP_GAUGES {
        register(
            &mut all,
            gauge,
            status.groups.iter().map(|group| (vec![of_group(group)], group)),
        );
    }
    for gauge in &PEER_GAUGES {
        let peers = status.groups.iter().flat_map(|group| {
            let of = move |peer: &PeerStatus| vec![of_group(group), ("peer", peer.name.as_str().to_owned())];
            group.peers.iter().map(move |peer| (of(peer), peer))
        });
        register(&mut all, gauge, peers);
    }
    all
}

fn node(status: &Status) -> Registry {
    let mut all = Registry::with_prefix("mailshadow");
    let build = Info::new(vec![("version", status.version.clone())]);
    all.register("build", "The version that runs", build);
    for gauge in &NODE_GAUGES {
        register(&mut all, gauge, [(Vec::new(), &status.vitals)]);
    }
    let ends = Family::<Labels, Figure>::default();
    for end in &status.vitals.certificates {
        let of = vec![("certificate", end.certificate.clone())];
        ends.get_or_create(&of)
            .set(count(u64::try_from(end.until_seconds).unwrap_or(0)));
    }
    let help = "UNIX time at which the certificate ends";
    all.register("certificate_expiry_timestamp_seconds", help, ends);
    let problems = Figure::default();
    problems.set(length(&status.problems).unwrap_or_default());
    let help = "Problems of the node itself that a human should look at";
    all.register("node_problems", help, problems);
    let clock = Figure::default();
    clock.set(count(clock::unix_ms()) / 1000.0);
    all.register("clock_timestamp_seconds", "This node's clock, UNIX time", clock);
    all
}

fn process(vitals: &Vitals) -> Registry {
    let mut all = Registry::default();
    for gauge in &PROCESS_GAUGES {
        register(&mut all, gauge, [(Vec::new(), vitals)]);
    }
    let cpu = Counter::<f64, AtomicU64>::default();
    cpu.inc_by(vitals.cpu_seconds.unwrap_or_default());
    all.register("process_cpu_seconds", "Processor time used in seconds", cpu);
    all
}

type Labels = Vec<(&'static str, String)>;

/// One gauge with a sample for each of those that know theirs.
fn register<'a, T: 'a>(all: &mut Registry, gauge: &GaugeOf<T>, of: impl IntoIterator<Item = (Labels, &'a T)>) {
    let (name, help, value) = gauge;
    let family = Family::<Labels, Figure>::default();
    for (labels, one) in of {
        if let Some(value) = value(one) {
            family.get_or_create(&labels).set(value);
        }
    }
    all.register(*name, *help, family);
}

fn is(yes: bool) -> Option<f64> {
    Some(f64::from(u8::from(yes)))
}

fn lsn(lsn: Option<Lsn>) -> Option<f64> {
    lsn.map(|lsn| count(lsn.0))
}

fn length(list: &[String]) -> Option<f64> {
    u64::try_from(list.len()).ok().map(count)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "Prometheus knows no other numbers; up to 2^53 they are exact"
)]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{node, standby};
    use super::super::status::{Lag, Loss, Positions, Promotable, ProxyStatus};
    use super::super::vitals::CertificateEnd;
    use super::*;
    use crate::op::Epoch;
    use std::collections::BTreeSet;

    /// A node that knows everything, and to which everything has happened once.
    fn all_known() -> (Metrics, Status) {
        let (metrics, mut group) = (Metrics::default(), standby());
        let peer = OfPeer::default();
        for family in [
            &metrics.sessions,
            &metrics.frames_sent,
            &metrics.frames_received,
            &metrics.bodies_sent,
            &metrics.bodies_received,
        ] {
            family.get_or_create(&peer).inc();
        }
        metrics.transactions_applied.get_or_create(&OfGroup::default()).inc();
        metrics.digests_different.get_or_create(&OfGroup::default()).inc();
        metrics.events.get_or_create(&OfEvent::default()).inc();
        let lsn = Positions {
            captured: Some(Lsn(9)),
            shipped: Some(Lsn(9)),
            durable: Some(Lsn(9)),
            applied: Some(Lsn(9)),
        };
        let lag = Lag {
            operations: Some(1),
            seconds: Some(1.0),
            bytes: Some(1),
        };
        group.epoch = Some(Epoch(3));
        (group.lsn, group.lag) = (lsn, lag);
        group.promotable = Promotable {
            would_lose: Loss {
                operations: Some(1),
                seconds: Some(1.0),
            },
            silent_seconds: Some(1.0),
            ..Promotable::default()
        };
        (group.peers[0].lsn, group.peers[0].lag) = (Some(lsn), Some(lag));
        let mut status = node(group);
        status.proxies = vec![ProxyStatus {
            epoch: Some(Epoch(3)),
            ..ProxyStatus::default()
        }];
        status.vitals = Vitals {
            state_free_bytes: Some(1),
            state_size_bytes: Some(1),
            state_free_inodes: Some(1),
            resident_bytes: Some(1),
            open_files: Some(1),
            open_files_max: Some(1),
            cpu_seconds: Some(1.0),
            certificates: vec![CertificateEnd {
                certificate: "node".to_owned(),
                until_seconds: 1,
            }],
        };
        (metrics, status)
    }

    /// Rows of the tables in `docs/metrics.md`: name, kind, labels, meaning.
    fn documented() -> BTreeSet<String> {
        let rows = include_str!("../../docs/metrics.md").lines();
        rows.filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
    }

    /// The same rows as the text says them; every sample must have a row.
    fn rendered(text: &str) -> BTreeSet<String> {
        let mut rows = BTreeSet::new();
        let mut help = std::collections::BTreeMap::new();
        let mut kinds = std::collections::BTreeMap::new();
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(text)) => {
                    help.insert(name.to_owned(), text.trim_end_matches('.').to_owned());
                }
                (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                    kinds.insert(name.to_owned(), kind.to_owned());
                }
                (Some("#"), ..) => {}
                (Some(sample), ..) => {
                    let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
                    let base = ["_total", "_info"].iter().find_map(|end| name.strip_suffix(end));
                    let base = base.filter(|base| kinds.contains_key(*base)).unwrap_or(name);
                    let labels: Vec<String> = labels
                        .split(',')
                        .filter_map(|label| label.split_once('='))
                        .map(|(label, _)| format!("`{label}`"))
                        .collect();
                    rows.insert(format!(
                        "| `{name}` | {} | {} | {} |",
                        kinds[base],
                        labels.join(", "),
                        help[base]
                    ));
                }
                _ => {}
            }
        }
        rows
    }

    #[test]
    fn an_alert_on_a_metric_that_does_not_exist() {
        let documented: BTreeSet<_> = documented()
            .iter()
            .filter_map(|row| row.split('`').nth(1).map(str::to_owned))
            .collect();
        let rules = include_str!("../../packaging/prometheus/alerts.yml");
        let expressions = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
        let mut used = BTreeSet::new();
        for expression in expressions {
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            used.extend(words.filter(|word| word.starts_with("mailshadow_") || word.starts_with("process_")));
        }
        assert!(used.len() > 15, "the rules are not read: {used:?}");
        let unknown: Vec<_> = used.into_iter().filter(|name| !documented.contains(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn a_metric_that_nobody_documented_and_a_document_of_none() {
        let (metrics, status) = all_known();
        let text = metrics.render(&status).unwrap();
        let (said, is) = (documented(), rendered(&text));
        let missing: Vec<_> = is.difference(&said).cloned().collect();
        let wrong: Vec<_> = said.difference(&is).cloned().collect();
        assert!(
            missing.is_empty() && wrong.is_empty(),
            "not in docs/metrics.md:\n{}\nin docs/metrics.md only:\n{}",
            missing.join("\n"),
            wrong.join("\n")
        );
    }
}
