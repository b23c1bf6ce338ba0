//! Ports: free, or held by the daemon that runs on this configuration.

use super::Finding;
use crate::config::{Config, StoreConfig};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};

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
    let proxies = config.proxies.iter().map(|proxy| proxy.listen);
    wanted.extend(proxies.map(|listen| ("proxy.listen".to_owned(), Some(listen))));
    let mut found = Vec::from_iter(deaf(config));
    let mut seen: BTreeMap<SocketAddr, String> = BTreeMap::new();
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

/// A standby that listens on loopback only hears no primary of another machine.
fn deaf(config: &Config) -> Option<Finding> {
    let is_here = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let mut addresses = config.groups.iter().flat_map(|group| group.peers.values());
    let elsewhere = addresses.find(|address| !is_here(&address.host))?;
    if !config.node.listen.ip().is_loopback() {
        return None;
    }
    let what = format!(
        "{} is this machine only, but the peer {elsewhere} is another one",
        config.node.listen
    );
    let todo = format!("node.listen = \"0.0.0.0:{}\"", config.node.listen.port());
    Some(Finding::error("node.listen", what, todo).because("the peer can't connect to this node"))
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

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use std::path::Path;

    fn config(listen: &str, peer: &str) -> Config {
        let text = format!(
            "[node]\nname = \"mail-a\"\nstate = \"s\"\ncontrol = \"c\"\nlisten = \"{listen}\"\nhttp = \"{listen}\"\n[tls]\n\
             ca = \"a\"\ncert = \"b\"\nkey = \"c\"\n[[group]]\nname = \"main\"\nusers = [\"*\"]\nstart_as = \"primary\"\n\
             peers = {{ mail-b = \"{peer}\" }}\nstore = \"dovecot\"\n"
        );
        Config::parse(Path::new("x.toml"), &text).unwrap()
    }

    #[test]
    fn a_node_that_no_peer_can_reach_is_found() {
        assert!(deaf(&config("0.0.0.0:4790", "mail-b:4790")).is_none());
        assert!(deaf(&config("127.0.0.1:4790", "127.0.0.1:4791")).is_none());
        assert_eq!(
            deaf(&config("127.0.0.1:4790", "mail-b:4790")).unwrap().level,
            Level::Error
        );
    }

    #[test]
    fn a_port_that_is_taken_or_named_twice_is_found() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(port("x", address, false).level, Level::Error);
        assert_eq!(port("x", address, true).level, Level::Ok);
        let twice = findings(&config(&address.to_string(), "127.0.0.1:1"), true);
        assert!(
            twice.iter().any(|found| found.what.ends_with("is also node.listen")),
            "{twice:?}"
        );
    }
}
