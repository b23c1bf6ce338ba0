//! What a client can't make the server do.

use super::house::{house, house_with};
use crate::op::Flags;
use crate::serve::server::ServeLimits;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn a_guesser_is_slowed_down_and_sent_away() {
    let house = house_with(ServeLimits {
        failed_logins: 2,
        ..ServeLimits::default()
    })
    .await;
    let mut client = house.client().await;
    client.line().await;
    let began = Instant::now();
    client
        .play(
            "C: LOGIN ann wrong
             S: t NO [AUTHENTICATIONFAILED] Authentication failed.
             C: LOGIN nobody wrong
             S: * BYE Too many failed logins.
             S:",
        )
        .await;
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((house.counts.logins_failed.get(), house.counts.cut_off.get()), (2, 1));
}

#[tokio::test]
async fn a_user_has_only_so_many_sessions_and_gets_them_back() {
    let house = house_with(ServeLimits {
        per_user: 1,
        ..ServeLimits::default()
    })
    .await;
    let first = house.ann().await;
    let mut second = house.client().await;
    second.line().await;
    let full = "C: LOGIN ann secret\nS: t NO [LIMIT] Maximum number of connections of this user exceeded";
    second.play(full).await;
    drop(first);
    while house.counts.connections.get() > 1 {
        tokio::task::yield_now().await;
    }
    second.send("x LOGIN ann secret\r\n").await;
    second.until("x OK").await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_not_kept() {
    let house = house_with(ServeLimits {
        login: Duration::from_millis(50),
        idle: Duration::from_millis(300),
        ..ServeLimits::default()
    })
    .await;
    let mut stranger = house.client().await;
    stranger.line().await;
    stranger.play("S: * BYE Disconnected for inactivity.\nS:").await;
    let mut user = house.ann().await;
    user.play("C: IDLE\nS: + idling\nS: * BYE Disconnected for inactivity.\nS:")
        .await;
    assert_eq!(house.counts.cut_off.get(), 2);
}

#[tokio::test]
async fn commands_that_come_in_one_go_are_answered_one_by_one() {
    let house = house().await;
    let mut client = house.ann().await;
    client
        .send("a NOOP\r\nb EXAMINE INBOX\r\nc FETCH 1:2 (UID)\r\nd UID SEARCH FLAGGED\r\ne LOGOUT\r\n")
        .await;
    client.play("S: a OK NOOP completed.").await;
    client.until("b OK").await;
    client
        .play(
            "S: * 1 FETCH (UID 1)
             S: * 2 FETCH (UID 2)
             S: c OK Fetch completed.
             S: * SEARCH 3
             S: d OK Search completed.
             S: * BYE Logging out
             S: e OK Logout completed.
             S:",
        )
        .await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_stops_the_reading_and_then_the_session() {
    let house = house_with(ServeLimits {
        write: Duration::from_millis(300),
        ..ServeLimits::default()
    })
    .await;
    house.memory.change(|account| {
        for _ in 0..60 {
            account.mailbox(1).deliver(&vec![b'x'; 1 << 20], Flags::NONE, &[]);
        }
    });
    let mut client = house.ann().await;
    client.send("x EXAMINE INBOX\r\n").await;
    client.until("x OK").await;
    client.send("y FETCH 1:* BODY.PEEK[]\r\n").await;
    while house.counts.connections.get() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut rest = Vec::new();
    // the connection may end with a reset: the client left octets unread
    let _ = client.read.read_to_end(&mut rest).await;
    assert!(rest.len() < 30 << 20, "{} octets came", rest.len());
}

#[tokio::test]
async fn many_clients_of_one_mailbox_all_hear_of_a_change() {
    let house = house().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = house.ann().await;
        client.send("x EXAMINE INBOX\r\n").await;
        client.until("x OK").await;
        client.play("C: IDLE\nS: + idling").await;
        clients.push(client);
    }
    house.memory.change(|account| {
        account.mailbox(1).deliver(b"\r\n", Flags::NONE, &[]);
        account.mailbox(1).expunge(1);
    });
    for client in &mut clients {
        client.play("S: * 1 EXPUNGE\nS: * 3 EXISTS\nS: * 0 RECENT").await;
    }
}
