//! Takes in callers: a certificate of ours, a name that the configuration lists, and a first message that says for
//! which group. Anybody else is refused, warned of once in a while, and counted.

use super::answers::Answers;
use super::connection::{Connection, LOST};
use super::group::{GroupHandle, Side};
use super::moving;
use super::receiver::Incoming;
use super::role_desk;
use super::squeeze::Manner;
use super::steward::Deed;
use super::tail_desk;
use crate::codec::wire::{Hello, Message, PROTOCOL, Place, Welcome};
use crate::control::about::{self, About};
use crate::control::metrics::Metrics;
use crate::io::tls::{Caller, PeerListener, PeerTls, Trust};
use crate::op::{EpochId, NodeName};
use crate::role::{Role, Standing};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time for the first message.
const HELLO_MAX: Duration = Duration::from_secs(10);

/// Refusals that are remembered so that each is warned of once; then all are forgotten.
const REFUSALS_MAX: usize = 1024;

/// Who was refused for what, by address.
type Refusals = Mutex<BTreeSet<(IpAddr, String)>>;

/// Runs until the task is aborted.
pub(super) async fn run(
    listener: PeerListener,
    answers: Arc<Answers>,
    groups: Arc<[GroupHandle]>,
    metrics: Arc<Metrics>,
) {
    let refusals = Arc::new(Refusals::default());
    loop {
        match listener.accept().await {
            Ok(caller) => {
                let (groups, metrics, refusals) = (Arc::clone(&groups), Arc::clone(&metrics), Arc::clone(&refusals));
                let (answers, tls) = (Arc::clone(&answers), Arc::clone(listener.tls()));
                tokio::spawn(async move {
                    let address = caller.address();
                    if let Err(why) = take_in(caller, &tls, &answers, &groups).await {
                        metrics.handshakes_refused.inc();
                        refuse(&refusals, address.ip(), why.replace(&format!("{address}: "), ""));
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "accept a peer's connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn refuse(refusals: &Refusals, address: IpAddr, why: String) {
    let mut known = refusals.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= REFUSALS_MAX {
        known.clear();
    }
    if known.insert((address, why.clone())) {
        tracing::warn!(%address, why, "caller refused");
    } else {
        tracing::debug!(%address, why, "caller refused again");
    }
}

async fn take_in(caller: Caller, tls: &Arc<PeerTls>, answers: &Answers, groups: &[GroupHandle]) -> Result<(), String> {
    let listed = |name: &NodeName| answers.is_peer(name) || answers.is_observer(name);
    let (stream, peer) = caller.finish(listed).await.map_err(|e| e.to_string())?;
    let trust = Trust::of(tls, stream.get_ref().1);
    let mut connection = Connection::over(stream, Manner::PLAIN, trust);
    let first = tokio::time::timeout(HELLO_MAX, connection.incoming.recv()).await;
    let hello = match first {
        Ok(Some(Ok(Message::Ask { id, json }))) if let Some(question) = role_desk::question(&json) => {
            return role_desk::converse(connection, &peer, (id, question), answers).await;
        }
        Ok(Some(Ok(Message::Ask { id, json })))
            if answers.is_peer(&peer)
                && let Some(question) = tail_desk::question(&json) =>
        {
            return tail_desk::converse(connection, &peer, (id, question), answers).await;
        }
        Ok(Some(Ok(Message::Ask { id, json }))) if let Some(question) = moving::desk::question(&json) => {
            let answer = answers.take_user(&peer, question).await;
            let json = serde_json::to_string(&answer).map_err(|e| e.to_string())?;
            connection.outgoing.say(Message::Answer { id, json });
            connection.close().await;
            return Ok(());
        }
        Ok(Some(Ok(other))) if !answers.is_peer(&peer) => {
            let why = format!(
                "{peer} may ask for roles only, and began with a {} message",
                other.kind()
            );
            return role_desk::refuse(connection, why).await;
        }
        Ok(Some(Ok(Message::Hello(hello)))) => hello,
        Ok(Some(Ok(Message::Ask { id, json }))) if json == about::QUESTION => {
            return tell_about(connection, id, answers.about(&peer)).await;
        }
        Ok(Some(Ok(other))) => return Err(format!("{peer} began with a {} message", other.kind())),
        // `check` on the other node shakes hands and leaves.
        Ok(Some(Err(why))) if why == LOST => return Ok(()),
        Ok(None) => return Ok(()),
        Ok(Some(Err(why))) => return Err(format!("{peer}: {why}")),
        Err(_) => return Err(format!("{peer} said nothing")),
    };
    match standby_of(&peer, &hello, groups).await {
        Ok(Entry::Standby(incoming)) => {
            let message = Message::Hello(hello);
            let taken = incoming.send(Incoming {
                peer,
                connection,
                hello: message,
            });
            taken.await.map_err(|_| "this node is stopping".to_owned())
        }
        Ok(Entry::Newer(welcome)) => {
            connection.outgoing.say(Message::Welcome(welcome));
            connection.close().await;
            Ok(())
        }
        Err(why) => role_desk::refuse(connection, why).await,
    }
}

/// What becomes of a sender.
enum Entry {
    /// It is heard.
    Standby(tokio::sync::mpsc::Sender<Incoming>),
    /// It is of an older epoch, and told the newer one.
    Newer(Welcome),
}

/// A peer wants to know who this is, nothing more: no session is opened, and none is replaced.
async fn tell_about(connection: Connection, id: u64, about: About) -> Result<(), String> {
    let json = serde_json::to_string(&about).map_err(|e| e.to_string())?;
    connection.outgoing.say(Message::Answer { id, json });
    connection.close().await;
    Ok(())
}

async fn standby_of(peer: &NodeName, hello: &Hello, groups: &[GroupHandle]) -> Result<Entry, String> {
    if &hello.node != peer {
        return Err(format!("{peer} calls itself {}", hello.node));
    }
    let group = groups
        .iter()
        .find(|group| group.config.name == hello.group && group.config.peers.contains_key(peer))
        .ok_or_else(|| format!("{peer} is no peer of a group \"{}\" here", hello.group))?;
    let standing = group.standing();
    if standing.epoch().number > hello.epoch {
        return Ok(Entry::Newer(welcome(group, &standing)));
    }
    // whoever sends took the epoch that he writes in
    let epoch = EpochId {
        number: hello.epoch,
        node: peer.clone(),
    };
    if standing.role() != Role::Standby {
        let deed = Deed::Hear {
            peer: peer.clone(),
            number: epoch.number,
            taken_by: Some(peer.clone()),
            role: Role::Primary,
        };
        group
            .deeds
            .send(deed)
            .await
            .map_err(|_| "this node is stopping".to_owned())?;
        return Err(format!(
            "this node is {} of group \"{}\", no standby",
            standing.role(),
            hello.group
        ));
    }
    // the steward is asked where that is news only: it may be busy with what waits for this very stream
    if *standing.epoch() != epoch {
        let followed = group.ask(|done| Deed::Follow { epoch, done }).await;
        followed.map_err(|refused| refused.to_string())?;
    }
    match group.side() {
        Side::Standby(_, incoming) => Ok(Entry::Standby(incoming)),
        Side::Primary(_) | Side::Idle(_) => Err("its role is changing".to_owned()),
    }
}

/// Says the epoch that is known here, and nothing that could be gone on with.
fn welcome(group: &GroupHandle, standing: &Standing) -> Welcome {
    let head = group.journal().head().unwrap_or(super::files::NOWHERE);
    Welcome {
        protocol: PROTOCOL,
        node: standing.node().clone(),
        stream: head.stream,
        epoch: standing.epoch().number,
        head: Place {
            lsn: head.lsn,
            chain: head.chain,
        },
        durable: head.lsn,
        applied: head.lsn,
        need_base: None,
    }
}
