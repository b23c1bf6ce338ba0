//! Proxies before fake nodes: services that greet with their name and echo.

use super::*;
use crate::config::{HostPort, ProxyConfig};
use crate::op::Epoch;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A service that says `name` to everybody, then echoes.
async fn service(name: &'static str) -> HostPort {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                client.write_all(name.as_bytes()).await.unwrap();
                let (mut read, mut write) = client.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    at(port)
}

fn at(port: u16) -> HostPort {
    HostPort::try_from(format!("127.0.0.1:{port}")).unwrap()
}

/// A proxy before the nodes `a` and `b`, and who tells it who is primary.
struct Town {
    leader: Leader,
    door: Arc<Door>,
    address: SocketAddr,
    state: TempDir,
}

impl Town {
    async fn of(a: HostPort, b: HostPort, held_max: Duration, proxy_protocol: bool) -> Self {
        let state = tempfile::tempdir().unwrap();
        let leader = Leader::recall(state.path(), "main").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let nodes = BTreeMap::from([(NodeName::from("a"), a), (NodeName::from("b"), b)]);
        let config = ProxyConfig {
            group: "main".to_owned(),
            listen: address,
            control: nodes.clone(),
            nodes,
            proxy_protocol,
        };
        let door = Arc::new(Door::new(config, leader.course()).holding(held_max));
        tokio::spawn(Arc::clone(&door).serve(listener));
        Self {
            leader,
            door,
            address,
            state,
        }
    }

    async fn new() -> Self {
        Self::of(service("a").await, service("b").await, Duration::from_secs(10), false).await
    }

    fn say(&self, node: &str, claim: Claim, number: u64) {
        let epoch = Mark {
            number: Epoch(number),
            node: None,
        };
        self.leader.hear(&NodeName::from(node), Some(Word { claim, epoch }));
    }

    /// A client that has been greeted, and by whom.
    async fn client(&self) -> (TcpStream, u8) {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        let greeting = client.read_u8().await.unwrap();
        (client, greeting)
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_client_that_comes_between_two_primaries_waits_and_the_old_ones_are_cut() {
    let town = Town::new().await;
    town.say("a", Claim::Serves, 1);
    let (mut old, greeting) = town.client().await;
    assert_eq!(greeting, b'a');
    // b took the next epoch and is not open yet
    town.say("b", Claim::Stands, 2);
    assert_eq!(
        old.read(&mut [0; 1]).await.unwrap(),
        0,
        "cut before anybody else serves"
    );
    let waits = town.client();
    tokio::pin!(waits);
    let early = tokio::time::timeout(Duration::from_millis(250), &mut waits).await;
    assert!(early.is_err());
    assert_eq!((town.door.status().held, town.door.status().primary), (1, None));
    // the old one does not know yet, and would serve
    town.say("a", Claim::Serves, 1);
    town.say("b", Claim::Serves, 2);
    assert_eq!(waits.await.1, b'b');
    let status = town.door.status();
    assert_eq!((status.moved, status.held, status.epoch), (1, 0, Some(Epoch(2))));
    drop(old);
}

#[tokio::test]
async fn a_control_link_that_breaks_leaves_sessions_and_new_clients_alone() {
    let town = Town::new().await;
    town.say("a", Claim::Serves, 1);
    let (mut client, _) = town.client().await;
    town.leader.hear(&NodeName::from("a"), None);
    assert_eq!(town.client().await.1, b'a');
    client.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn a_client_is_not_held_for_ever() {
    let nowhere = at(1);
    let town = Town::of(nowhere.clone(), nowhere, Duration::from_millis(200), false).await;
    // nobody is primary, then one whose service does not answer
    for _ in 0..2 {
        let mut client = TcpStream::connect(town.address).await.unwrap();
        let began = Instant::now();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(began.elapsed() >= Duration::from_millis(150));
        town.say("a", Claim::Serves, 1);
    }
    until("both counted", || town.door.status().refused == 2).await;
    until("nobody is left", || town.door.status().connections == 0).await;
}

#[tokio::test]
async fn a_service_that_starts_late_gets_its_clients_all_the_same() {
    let late = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = late.local_addr().unwrap().port();
    drop(late);
    let town = Town::of(at(port), at(1), Duration::from_secs(10), false).await;
    town.say("a", Claim::Serves, 1);
    let client = tokio::spawn({
        let address = town.address;
        async move { TcpStream::connect(address).await.unwrap().read_u8().await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    listener.accept().await.unwrap().0.write_all(b"!").await.unwrap();
    assert_eq!(client.await.unwrap(), b'!');
}

#[tokio::test]
async fn a_side_that_has_said_all_still_hears_the_rest() {
    let town = Town::new().await;
    town.say("a", Claim::Serves, 1);
    let (mut client, _) = town.client().await;
    client.write_all(&[7; 100_000]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, [7; 100_000]);
    until("the session ends with both halves", || {
        town.door.status().connections == 0
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_read_stops_its_client_and_nothing_is_lost() {
    let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = slow.local_addr().unwrap().port();
    let town = Town::of(at(port), at(1), Duration::from_secs(10), false).await;
    town.say("a", Claim::Serves, 1);
    let mut client = TcpStream::connect(town.address).await.unwrap();
    let (mut server, _) = slow.accept().await.unwrap();
    let mut sent = 0_usize;
    // until the kernel's buffers of both connections are full
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), client.write(&[3; 60_000])).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "the proxy swallows everything");
    }
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert!(heard.len() == sent && heard.iter().all(|byte| *byte == 3));
}

#[tokio::test]
async fn a_thousand_sessions_move_within_a_second_and_none_is_left_behind() {
    let town = Town::new().await;
    town.say("a", Claim::Serves, 1);
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(town.client().await.0);
    }
    assert_eq!(town.door.status().connections, 1000);
    let began = Instant::now();
    town.say("b", Claim::Serves, 2);
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(town.door.status().moved, 1000);
    assert_eq!(town.client().await.1, b'b');
}

#[tokio::test]
async fn the_service_is_told_who_the_client_is_before_anything_else() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let town = Town::of(
        at(plain.local_addr().unwrap().port()),
        at(1),
        Duration::from_secs(1),
        true,
    )
    .await;
    town.say("a", Claim::Serves, 1);
    let mut client = TcpStream::connect(town.address).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let (mut server, _) = plain.accept().await.unwrap();
    let mut heard = [0; 33];
    server.read_exact(&mut heard).await.unwrap();
    let told = header::encode(client.local_addr().unwrap(), town.address);
    assert_eq!(heard.as_slice(), [told.as_slice(), b"hello"].concat());
}

#[tokio::test]
async fn the_highest_epoch_outlives_the_proxy_and_is_on_disk_before_it_counts() {
    let town = Town::new().await;
    town.say("b", Claim::Serves, 5);
    let again = Leader::recall(town.state.path(), "main").unwrap();
    again.hear(
        &NodeName::from("a"),
        Some(Word {
            claim: Claim::Serves,
            epoch: Mark {
                number: Epoch(4),
                node: None,
            },
        }),
    );
    assert_eq!(again.course().borrow().keeps, None, "an older primary");
    // a disk that takes nothing
    std::fs::remove_dir_all(town.state.path()).unwrap();
    town.say("a", Claim::Serves, 6);
    let course = town.leader.course().borrow().clone();
    assert!(course.keeps == Some(NodeName::from("a")) && !course.opens);
    std::fs::create_dir_all(town.state.path().join("proxy")).unwrap();
    town.say("a", Claim::Serves, 6);
    assert!(town.leader.course().borrow().opens);
}
