//! Figures of the proxies of `[[proxy]]`.

use super::{GaugeOf, Labels, count, is, register};
use crate::control::status::{ProxyStatus, Status};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

const GAUGES: [GaugeOf<ProxyStatus>; 4] = [
    ("proxy_open", "1 while new clients are sent to a primary", |p| {
        is(p.opens)
    }),
    ("proxy_epoch", "Highest epoch that the proxy has ever seen", |p| {
        p.epoch.map(|epoch| count(epoch.0))
    }),
    ("proxy_connections", "Clients connected, the held ones included", |p| {
        Some(count(p.connections))
    }),
    ("proxy_held", "Clients that wait for a primary", |p| Some(count(p.held))),
];

/// What only grows.
type CounterOf = (&'static str, &'static str, fn(&ProxyStatus) -> u64);

const COUNTERS: [CounterOf; 2] = [
    ("proxy_moved", "Sessions cut because the primary changed", |p| p.moved),
    (
        "proxy_refused",
        "Clients turned away: held too long, or too many",
        |p| p.refused,
    ),
];

pub(super) fn registry(status: &Status) -> Registry {
    let mut all = Registry::with_prefix("mailshadow");
    let labels = |proxy: &ProxyStatus| vec![("group", proxy.group.clone()), ("listen", proxy.listen.clone())];
    for gauge in &GAUGES {
        let proxies = status.proxies.iter().map(|proxy| (labels(proxy), proxy));
        register(&mut all, gauge, proxies);
    }
    for (name, help, value) in &COUNTERS {
        let family = Family::<Labels, Counter<u64, AtomicU64>>::default();
        for proxy in &status.proxies {
            family.get_or_create(&labels(proxy)).inc_by(value(proxy));
        }
        all.register(*name, *help, family);
    }
    all
}
