//! Ports: free, or held by the daemon that runs on this configuration.

use super::Finding;
use crate::config::{Config, StoreConfig};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};

pub(super) fn findings(config: &Config, daemon_runs: bool) -> Vec<Finding> {
    let mut wanted = vec![("node.listen".to_owned(), Some(config.node.listen))];
    wanted.push(("node.http".to_owned(), config.node.http));
    for group in &config.groups {
        let StoreConfig::Embedded(embedded) = &group.store else {
            continue;
        };
        for (key, address) in [
            ("imap", embedded.imap),
            ("imaps", embedded.imaps),
            ("lmtp", embedded.lmtp),
        ] {
            wanted.push((format!("group {} embedded.{key}", group.name), address));
        }
    }
    let mut seen: BTreeMap<SocketAddr, String> = BTreeMap::new();
    let mut found = Vec::new();
    for (topic, address) in wanted {
        let Some(address) = address else { continue };
        if let Some(other) = seen.insert(address, topic.clone()) {
            let what = format!("{address} is also {other}");
            found.push(Finding::error(topic, what, "give each its own port"));
        } else {
            found.push(port(&topic, address, daemon_runs));
        }
    }
    found
}

fn port(topic: &str, address: SocketAddr, daemon_runs: bool) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(topic, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && daemon_runs => {
            Finding::ok(topic, format!("{address} is in use, and shadowd runs"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let todo = format!(
                "end what listens there (ss -ltnp 'sport = {}'), or choose another port",
                address.port()
            );
            Finding::error(topic, format!("{address} is taken"), todo)
        }
        Err(error) => {
            let todo = "choose an address of this machine, and a port that shadowd may take (below 1024: as root)";
            Finding::error(topic, format!("{address}: {error}"), todo)
        }
    }
}
