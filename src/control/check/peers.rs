//! Peers: reachable, with a certificate of our CA, being who the configuration says, and taking us for who we are.

use super::Finding;
use crate::config::{Config, HostPort};
use crate::io::tls::{PeerTls, TlsError};
use crate::op::NodeName;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A peer that refuses our certificate says so within a round trip; one that waits for our first word is content.
const ANSWER: Duration = Duration::from_millis(700);
const CONNECT: Duration = Duration::from_secs(5);

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let peers: BTreeSet<(&NodeName, &HostPort)> = config.groups.iter().flat_map(|group| &group.peers).collect();
    if peers.is_empty() {
        return Vec::new();
    }
    let Ok(tls) = PeerTls::load(&config.tls) else {
        let todo = "correct this node's certificates first";
        return vec![Finding::error("peers", "can't be asked without certificates", todo)];
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => peers
            .into_iter()
            .map(|(name, at)| runtime.block_on(peer(&tls, name, at)))
            .collect(),
        Err(error) => vec![Finding::error("peers", format!("can't be asked: {error}"), "try again")],
    }
}

async fn peer(tls: &PeerTls, name: &NodeName, address: &HostPort) -> Finding {
    let topic = format!("peer {name}");
    let connected = tokio::time::timeout(CONNECT, tls.connect(address, name)).await;
    let mut stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return unreachable_peer(topic, &error),
        Err(_) => {
            let what = format!("{address}: no answer within {} s", CONNECT.as_secs());
            return Finding::warning(
                topic,
                what,
                "look for a firewall between the nodes, and whether shadowd runs there",
            );
        }
    };
    let mut byte = [0; 1];
    let heard = tokio::time::timeout(ANSWER, stream.read(&mut byte)).await;
    // a clean goodbye, so that the peer's log does not speak of a broken connection; who refused us is gone already
    let _ = tokio::time::timeout(ANSWER, stream.shutdown()).await;
    match heard {
        Ok(Err(error)) => {
            let what = format!("{address} is {name}, but refuses this node: {error}");
            Finding::error(
                topic,
                what,
                "list this node in its \"peers\", and give both certificates of one CA",
            )
        }
        Ok(Ok(0)) => {
            let what = format!("{address} is {name}, but ended the connection");
            Finding::warning(topic, what, "look into its log; list this node in its \"peers\"")
        }
        Ok(Ok(_)) | Err(_) => Finding::ok(topic, format!("{address} is {name}, and takes this node's certificate")),
    }
}

fn unreachable_peer(topic: String, error: &TlsError) -> Finding {
    let what = error.to_string();
    match error {
        TlsError::Network { .. } | TlsError::TimeOut { .. } => Finding::warning(
            topic,
            what,
            "start shadowd there, correct the address in \"peers\", or open the firewall",
        ),
        TlsError::Handshake { .. } | TlsError::Stranger { .. } => {
            let todo =
                "give both nodes certificates of one CA, each with its node's name, and connect to shadowd's port";
            Finding::error(topic, what, todo)
        }
        TlsError::File(_) | TlsError::Certificates(_) => {
            Finding::error(topic, what, "correct this node's certificates first")
        }
    }
}
