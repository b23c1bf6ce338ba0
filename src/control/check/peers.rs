//! Peers: reachable, with a certificate of our CA, being who the configuration says, taking us for who we are, and with
//! a configuration that fits ours.

use super::Finding;
use super::need::{self, Need};
use super::state::size;
use crate::codec::wire::{Message, body_length};
use crate::config::{Config, GroupConfig, HostPort, StartAs, StoreConfig};
use crate::control::about::{About, QUESTION};
use crate::control::status::Role;
use crate::io::clock;
use crate::io::tls::{PeerTls, TlsError};
use crate::limits::ABOUT_BYTES_MAX;
use crate::op::NodeName;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A peer that refuses our certificate says so within a round trip, and one that does not answers at once.
const ANSWER: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(5);
/// Clocks that differ by more make figures of lag and loss wrong by as much.
const CLOCK_WARNING_MS: u64 = 2_000;
/// Certificates count from an hour before they were made; half of it is left for the next one.
const CLOCK_ERROR_MS: u64 = 30 * 60 * 1_000;
/// Room that a copy needs beyond the mail: database, journal, packs being compacted.
const ROOM_PERCENT: u64 = 120;

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
            .flat_map(|(name, at)| runtime.block_on(peer(config, &tls, name, at)))
            .collect(),
        Err(error) => vec![Finding::error("peers", format!("can't be asked: {error}"), "try again")],
    }
}

async fn peer(config: &Config, tls: &PeerTls, name: &NodeName, address: &HostPort) -> Vec<Finding> {
    let topic = format!("peer {name}");
    let connected = tokio::time::timeout(CONNECT, tls.connect(address, name)).await;
    let mut stream = match connected {
        Ok(Ok((stream, _))) => stream,
        Ok(Err(error)) => return vec![unreachable_peer(topic, &error)],
        Err(_) => {
            let what = format!("{address}: no answer within {} s", CONNECT.as_secs());
            let todo =
                "look for a firewall between the nodes, and whether shadowd runs there: systemctl status shadowd";
            return vec![Finding::warning(topic, what, todo)];
        }
    };
    let asked_ms = clock::unix_ms();
    let heard = tokio::time::timeout(ANSWER, ask(&mut stream, QUESTION.to_owned())).await;
    let heard = heard.map(|heard| heard.and_then(|json| read_about(&json)));
    let answered_ms = clock::unix_ms();
    // a clean goodbye, so that the peer's log does not speak of a broken connection; who refused us is gone already
    let _ = tokio::time::timeout(ANSWER, stream.shutdown()).await;
    let list = format!(
        "list {} in \"peers\" of its group there, and give both certificates of one CA",
        config.node.name
    );
    match heard {
        Ok(Ok(about)) => {
            let ok = format!(
                "{address} is {name} (version {}), and takes this node's certificate",
                about.version
            );
            let mut found = vec![Finding::ok(&topic, ok)];
            found.push(clocks(&topic, &about, asked_ms, answered_ms));
            found.extend(of_groups(&topic, config, name, &about));
            found
        }
        Ok(Err(why)) => {
            let what = format!("{address} is {name}, but refuses this node: {why}");
            vec![Finding::error(topic, what, list).because("no session can be opened, so nothing is copied")]
        }
        Err(_) => {
            let what = format!("{address} is {name}, but did not answer within {} s", ANSWER.as_secs());
            vec![Finding::warning(
                topic,
                what,
                "look into its log: journalctl -u shadowd -n 50",
            )]
        }
    }
}

/// A connection to `node` at `address`; else what is wrong.
pub(super) async fn connect(
    tls: &PeerTls,
    node: &NodeName,
    address: &HostPort,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, String> {
    match tokio::time::timeout(CONNECT, tls.connect(address, node)).await {
        Ok(connected) => connected.map(|(stream, _)| stream).map_err(|e| e.to_string()),
        Err(_) => Err(format!("{address}: no answer within {} s", CONNECT.as_secs())),
    }
}

/// One question and its answer, within bounds, and a clean goodbye.
pub(super) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    question: String,
) -> Result<String, String> {
    let heard = tokio::time::timeout(ANSWER, ask(stream, question)).await;
    // whoever refused us is gone already
    let _ = tokio::time::timeout(ANSWER, stream.shutdown()).await;
    heard.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER.as_secs())))
}

fn read_about(json: &str) -> Result<About, String> {
    serde_json::from_str(json).map_err(|e| format!("its answer: {e}"))
}

/// Asks another node. Whoever refuses this node's certificate ends the connection instead.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), json: String) -> Result<String, String> {
    let question = Message::Ask { id: 1, json };
    let bytes = question.encode().map_err(|e| e.to_string())?;
    let ended = |_| "it ended the connection".to_owned();
    stream.write_all(&bytes).await.map_err(ended)?;
    stream.flush().await.map_err(ended)?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await.map_err(ended)?;
    let length = body_length(prefix).map_err(|e| e.to_string())?;
    if length > ABOUT_BYTES_MAX {
        return Err(format!("its answer has {length} bytes"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(ended)?;
    match Message::decode(&body) {
        Ok(Message::Answer { json, .. }) => Ok(json),
        Ok(Message::Refused { why }) => Err(why),
        Ok(other) => Err(format!("it answers with a {} message", other.kind())),
        Err(error) => Err(error.to_string()),
    }
}

/// The peer's clock was read somewhere between asking and being answered.
fn clocks(topic: &str, about: &About, asked_ms: u64, answered_ms: u64) -> Finding {
    let off_ms = if about.unix_ms < asked_ms {
        asked_ms - about.unix_ms
    } else {
        about.unix_ms.saturating_sub(answered_ms)
    };
    let what = format!(
        "its clock and this one differ by {}.{} s",
        off_ms / 1000,
        off_ms % 1000 / 100
    );
    let todo = "keep both set: apt install chrony (or systemd-timesyncd), then timedatectl";
    let why = "lag and loss are told in seconds of both clocks, and certificates are good from one moment to another";
    match off_ms {
        CLOCK_ERROR_MS.. => Finding::error(topic, what, todo).because(why),
        CLOCK_WARNING_MS.. => Finding::warning(topic, what, todo).because(why),
        _ => Finding::ok(topic, what),
    }
}

fn of_groups(topic: &str, config: &Config, peer: &NodeName, about: &About) -> Vec<Finding> {
    let shared = config.groups.iter().filter(|group| group.peers.contains_key(peer));
    let need = |group: &GroupConfig| match (&group.store, group.start_as) {
        (StoreConfig::Dovecot(dovecot), StartAs::Primary) => need::estimate(dovecot, &group.users),
        _ => None,
    };
    let found = shared.flat_map(|group| {
        let mut found = vec![of_group(topic, &config.node.name, group, about)];
        found.extend(need(group).and_then(|need| room(topic, group, about, need)));
        found
    });
    found.collect()
}

fn of_group(topic: &str, own: &NodeName, group: &GroupConfig, about: &About) -> Finding {
    let Some(theirs) = about.groups.iter().find(|theirs| theirs.name == group.name) else {
        let names: Vec<&str> = about.groups.iter().map(|theirs| theirs.name.as_str()).collect();
        let has = if names.is_empty() {
            format!("no group there has {own} as a peer")
        } else {
            format!("there {own} is a peer in: {}", names.join(", "))
        };
        let what = format!("group {} is not shared: {has}", group.name);
        let todo = "give the group the same name on both nodes, and list each node in the other's \"peers\"";
        return Finding::error(topic, what, todo)
            .because("sessions are opened for a group by its name: this one can't be");
    };
    let begin = "set start_as = \"standby\" on the node that holds the copy; where it has begun already, move its state directory away";
    match (group.start_as, theirs.role) {
        (StartAs::Primary, Role::Primary) => {
            let what = format!("both nodes are primary of group {}", group.name);
            Finding::error(topic, what, begin).because("neither takes what the other captures: there is no copy")
        }
        (StartAs::Standby, Role::Standby) => {
            let what = format!("both nodes are standby of group {}", group.name);
            let todo = "set start_as = \"primary\" on the node beside the Dovecot that clients use";
            Finding::error(topic, what, todo).because("nobody captures: there is no copy")
        }
        (_, role) => Finding::ok(topic, format!("is {role} of group {}", group.name)),
    }
}

/// What a standby has does not count again: only one that holds nothing yet can be judged by its free bytes.
fn room(topic: &str, group: &GroupConfig, about: &About, need: Need) -> Option<Finding> {
    let free = about.state_free_bytes?;
    let needed = need.bytes / 100 * ROOM_PERCENT;
    let how = format!("estimated from {} of {} users", need.sampled, need.users);
    let what = format!(
        "group {}: the copy needs about {} ({how}); {} free there",
        group.name,
        size(needed),
        size(free)
    );
    if free >= needed {
        return Some(Finding::ok(topic, what));
    }
    let todo = "where the copy is not complete yet, give its state directory a larger filesystem: df -h there";
    Some(Finding::warning(topic, what, todo).because("a standby without room stops taking changes, and says so"))
}

fn unreachable_peer(topic: String, error: &TlsError) -> Finding {
    let what = error.to_string();
    match error {
        TlsError::Network { .. } | TlsError::TimeOut { .. } => Finding::warning(
            topic,
            what,
            "start shadowd there (systemctl start shadowd), correct the address in \"peers\", or open the firewall",
        )
        .because("nothing is copied until it answers; the journal here keeps what it will need"),
        TlsError::Handshake { .. } | TlsError::Stranger { .. } => {
            let todo =
                "give both nodes certificates of one CA, each with its node's name, and connect to shadowd's port";
            Finding::error(topic, what, todo).because("no session can be opened, so nothing is copied")
        }
        TlsError::File(_) | TlsError::Certificates(_) => {
            Finding::error(topic, what, "correct this node's certificates first")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::control::about::AboutGroup;
    use std::path::Path;

    fn about(name: &str, role: Role) -> About {
        About {
            node: NodeName::from("mail-a"),
            version: "0.1.0".to_owned(),
            unix_ms: 1_000_000,
            state_free_bytes: Some(10 << 30),
            groups: vec![AboutGroup {
                name: name.to_owned(),
                role,
            }],
        }
    }

    fn config(start_as: &str, store: &str) -> Config {
        let text = format!(
            "[node]\nname = \"mail-b\"\nstate = \"s\"\ncontrol = \"c\"\nlisten = \"127.0.0.1:1\"\n[tls]\nca = \"a\"\n\
             cert = \"b\"\nkey = \"c\"\n[[group]]\nname = \"main\"\nusers = [\"*\"]\nstart_as = \"{start_as}\"\n\
             peers = {{ mail-a = \"127.0.0.1:2\" }}\nstore = \"{store}\"\n"
        );
        Config::parse(Path::new("x.toml"), &text).unwrap()
    }

    #[test]
    fn two_nodes_that_do_not_fit_together_are_told_before_anybody_wonders_where_the_copy_is() {
        let own = NodeName::from("mail-b");
        let judged = |start_as: &str, store: &str, about: &About| {
            let found = of_group("peer", &own, &config(start_as, store).groups[0], about);
            (found.level, found.what)
        };
        let standby = "embedded\"\n[group.embedded]\nusers = \"u";
        assert_eq!(judged("standby", standby, &about("main", Role::Primary)).0, Level::Ok);
        assert_eq!(
            judged("standby", standby, &about("main", Role::Standby)).0,
            Level::Error
        );
        assert_eq!(
            judged("primary", "dovecot", &about("main", Role::Primary)).0,
            Level::Error
        );
        let renamed = judged("primary", "dovecot", &about("mail", Role::Standby));
        assert!(
            renamed.0 == Level::Error && renamed.1.ends_with("mail-b is a peer in: mail"),
            "{renamed:?}"
        );
    }

    #[test]
    fn clocks_that_differ_and_a_disk_that_is_too_small_are_found() {
        let about = about("main", Role::Standby);
        let level = |asked, answered| clocks("peer", &about, asked, answered).level;
        assert_eq!(level(999_900, 1_000_100), Level::Ok);
        assert_eq!(level(990_000, 990_200), Level::Warning);
        assert_eq!(level(1_005_000, 1_005_100), Level::Warning);
        assert_eq!(level(10_000_000, 10_000_100), Level::Error);
        let need = |gib: u64| Need {
            users: 40,
            sampled: 20,
            bytes: gib << 30,
        };
        let room = |gib| {
            room("peer", &config("primary", "dovecot").groups[0], &about, need(gib))
                .unwrap()
                .level
        };
        assert_eq!((room(5), room(9)), (Level::Ok, Level::Warning));
    }
}
