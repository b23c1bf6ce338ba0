//! Asks another node for its roles, over a connection that is kept for the next question.

use super::connection::Connection;
use super::squeeze::Manner;
use crate::codec::wire::Message;
use crate::config::HostPort;
use crate::control::migration::MigrationAnswer;
use crate::control::roles::{HandOver, HandedOver, RoleQuestion, Roles};
use crate::io::tls::{PeerTls, TlsError, Trust};
use crate::limits::{ROLES_HELD_MS, ROLES_MS_MAX};
use crate::op::NodeName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nobody there, or not who should be there.
    #[error(transparent)]
    Unreachable(#[from] TlsError),
    /// It did not answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimeOut(Duration),
    /// It does not answer this node.
    #[error("it refuses: {0}")]
    Refused(String),
    /// The connection ended, or what came was no answer.
    #[error("{0}")]
    Broken(String),
}

/// One node that is asked again and again. After an error the next question dials anew.
pub(super) struct Asking {
    tls: Arc<PeerTls>,
    node: NodeName,
    address: HostPort,
    open: Option<Connection>,
    asked: u64,
}

impl Asking {
    /// Whom to ask: `node` must be at `address`. Nothing is dialled before the first question.
    pub(super) fn new(tls: Arc<PeerTls>, node: NodeName, address: HostPort) -> Self {
        Self {
            tls,
            node,
            address,
            open: None,
            asked: 0,
        }
    }

    /// Its roles; where `known` is the version of the answer before, as soon as they have changed, or after a second all
    /// the same. Bounded by [`ROLES_MS_MAX`] without, and beside, that second; a handshake counts. May be dropped at any
    /// time.
    ///
    /// # Errors
    /// Not reachable, not that node, refused, too slow. A version is forgotten with the connection: ask without then.
    pub(super) async fn roles(&mut self, known: Option<u64>) -> Result<Roles, AskError> {
        let known = known.filter(|_| self.open.is_some());
        let held = known.map_or(0, |_| ROLES_HELD_MS);
        let limit = Duration::from_millis(ROLES_MS_MAX.saturating_add(held));
        let roles: Roles = self.within(limit, &RoleQuestion::Roles { known }).await?;
        if roles.node != self.node {
            return Err(AskError::Broken(format!("{} answers as {}", self.node, roles.node)));
        }
        Ok(roles)
    }

    /// A step of a switchover, answered within `limit`.
    ///
    /// # Errors
    /// As [`Self::roles`]; whether it was done is not known then.
    pub(super) async fn hand_over(
        &mut self,
        group: &str,
        step: HandOver,
        limit: Duration,
    ) -> Result<HandedOver, AskError> {
        let group = group.to_owned();
        self.within(limit, &RoleQuestion::HandOver { group, step }).await
    }

    /// What a migration wants to know of it, within `limit`. A connection that was kept for too long is replaced.
    ///
    /// # Errors
    /// As [`Self::roles`].
    pub(super) async fn migration(
        &mut self,
        question: &RoleQuestion,
        limit: Duration,
    ) -> Result<MigrationAnswer, AskError> {
        let was_open = self.open.is_some();
        match self.within(limit, question).await {
            Err(AskError::Broken(why)) if was_open => {
                tracing::debug!(why, peer = %self.node, "asks again over a new connection");
                self.within(limit, question).await
            }
            told => told,
        }
    }

    /// Any question, answered within `limit`.
    ///
    /// # Errors
    /// As [`Self::roles`]; whether something was done is not known then.
    pub(super) async fn within<T: DeserializeOwned>(
        &mut self,
        limit: Duration,
        question: &impl Serialize,
    ) -> Result<T, AskError> {
        // taken out: a question that fails or is dropped half way leaves no connection behind
        let open = self.open.take();
        self.asked = self.asked.wrapping_add(1);
        let asked = tokio::time::timeout(limit, self.ask(open, self.asked, question)).await;
        let (connection, told) = asked.map_err(|_| AskError::TimeOut(limit))??;
        self.open = Some(connection);
        Ok(told)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        open: Option<Connection>,
        id: u64,
        question: &impl Serialize,
    ) -> Result<(Connection, T), AskError> {
        let mut connection = match open {
            Some(connection) => connection,
            None => self.dial().await?,
        };
        let broken = |e: serde_json::Error| AskError::Broken(e.to_string());
        let json = serde_json::to_string(question).map_err(broken)?;
        connection.outgoing.say(Message::Ask { id, json });
        match connection.incoming.recv().await {
            Some(Ok(Message::Answer { id: of, json })) if of == id => {
                let told = serde_json::from_str(&json).map_err(broken)?;
                Ok((connection, told))
            }
            Some(Ok(Message::Refused { why })) => Err(AskError::Refused(why)),
            Some(Ok(other)) => Err(AskError::Broken(format!("it answers with a {} message", other.kind()))),
            Some(Err(why)) => Err(AskError::Broken(why)),
            None => Err(AskError::Broken("the connection ended".to_owned())),
        }
    }

    async fn dial(&self) -> Result<Connection, AskError> {
        let (stream, _) = self.tls.connect(&self.address, &self.node).await?;
        let trust = Trust::of(&self.tls, stream.get_ref().1);
        Ok(Connection::over(stream, Manner::PLAIN, trust))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, TlsFiles};
    use crate::control::about;
    use crate::control::metrics::Metrics;
    use crate::control::status::Role;
    use crate::io::cert;
    use crate::io::tls::PeerListener;
    use crate::node::answers::Answers;
    use crate::node::group::GroupHandle;
    use crate::node::listener;
    use crate::node::role_desk::RoleChanges;
    use crate::node::steward::Steward;
    use crate::op::Epoch;
    use std::time::Instant;
    use tempfile::TempDir;

    /// The standby `mail-b` of `mail-a`, observed by `proxy`, listening on a port of the system's choice.
    struct House {
        pki: TempDir,
        address: HostPort,
        changes: RoleChanges,
        _steward: Steward,
    }

    fn tls(pki: &TempDir, name: &str) -> Arc<PeerTls> {
        let file = |end: &str| pki.path().join(format!("{name}.{end}"));
        if !file("pem").exists() {
            cert::issue(pki.path(), name, &[]).unwrap();
        }
        let (ca, cert, key) = (pki.path().join("ca.pem"), file("pem"), file("key"));
        Arc::new(PeerTls::load(&TlsFiles { ca, cert, key }).unwrap())
    }

    impl House {
        async fn open() -> Self {
            let pki = tempfile::tempdir().unwrap();
            cert::init(pki.path()).unwrap();
            let text = "[node]\nname = \"mail-b\"\nstate = \"s\"\ncontrol = \"c\"\nlisten = \"127.0.0.1:1\"\n\
                 observers = [\"proxy\"]\n[tls]\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\n[[group]]\nname = \"main\"\n\
                 users = [\"*\"]\nstart_as = \"standby\"\npeers = { mail-a = \"127.0.0.1:2\" }\nstore = \"embedded\"\n\
                 [group.embedded]\nusers = \"u\"\n";
            let config = Arc::new(Config::parse(&pki.path().join("x.toml"), text).unwrap());
            let (own, metrics) = (tls(&pki, "mail-b"), Arc::new(Metrics::default()));
            let changes = RoleChanges::default();
            let steward = Steward::start(&config.groups[0], &config, &own, &metrics, &changes).unwrap();
            let groups: Arc<[GroupHandle]> = Arc::new([steward.means.group.clone()]);
            let answers = Answers::new(config, Arc::clone(&groups), Arc::clone(&own), changes.clone());
            let peers = PeerListener::bind("127.0.0.1:0".parse().unwrap(), own).await.unwrap();
            let port = peers.address().unwrap().port();
            tokio::spawn(listener::run(peers, Arc::new(answers), groups, metrics));
            Self {
                pki,
                address: HostPort::try_from(format!("127.0.0.1:{port}")).unwrap(),
                changes,
                _steward: steward,
            }
        }

        fn asking(&self, name: &str) -> Asking {
            Asking::new(tls(&self.pki, name), NodeName::from("mail-b"), self.address.clone())
        }

        /// What `name` hears when it begins with `message`.
        async fn heard(&self, name: &str, message: Message) -> Option<Result<Message, String>> {
            let mut connection = self.asking(name).dial().await.unwrap();
            connection.outgoing.say(message);
            connection.incoming.recv().await
        }
    }

    #[tokio::test]
    async fn a_follower_hears_of_a_change_at_once_and_that_nothing_changed_after_a_second() {
        let house = House::open().await;
        let mut peer = house.asking("mail-a");
        let first = peer.roles(None).await.unwrap();
        let main = &first.groups[0];
        assert_eq!(
            (main.name.as_str(), main.role, main.serves),
            ("main", Role::Standby, false)
        );
        assert_eq!(main.epoch.number, Epoch(0), "nothing was received yet");
        let changes = house.changes.clone();
        let promoted = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            changes.note();
            Instant::now()
        });
        let second = peer.roles(Some(first.version)).await.unwrap();
        let heard = Instant::now();
        let late = heard.duration_since(promoted.await.unwrap());
        assert!(
            second.version != first.version && late < Duration::from_millis(500),
            "{late:?}"
        );
        let third = peer.roles(Some(second.version)).await.unwrap();
        assert!(third == second && heard.elapsed() >= Duration::from_millis(ROLES_HELD_MS - 100));
    }

    #[tokio::test]
    async fn an_observer_that_asks_for_more_than_roles_and_a_stranger_are_refused() {
        let house = House::open().await;
        assert_eq!(house.asking("proxy").roles(None).await.unwrap().groups.len(), 1);
        assert_eq!(house.asking("mail-b").roles(None).await.unwrap().groups.len(), 1);
        let stranger = house.asking("mail-z").roles(None).await;
        assert!(matches!(stranger, Err(AskError::Broken(_))), "{stranger:?}");
        let about = || Message::Ask {
            id: 1,
            json: about::QUESTION.to_owned(),
        };
        let refused = house.heard("proxy", about()).await;
        assert!(
            matches!(&refused, Some(Ok(Message::Refused { why })) if why.contains("roles only")),
            "{refused:?}"
        );
        let told = house.heard("mail-a", about()).await;
        assert!(matches!(told, Some(Ok(Message::Answer { .. }))), "{told:?}");
        let refused = house.heard("proxy", Message::Ping).await;
        assert!(matches!(refused, Some(Ok(Message::Refused { .. }))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_node_that_hangs_costs_half_a_second_and_is_asked_anew_when_it_is_back() {
        let house = House::open().await;
        let hung = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = house.asking("mail-a");
        let back = std::mem::replace(&mut peer.address.port, hung.local_addr().unwrap().port());
        let began = Instant::now();
        let asked = peer.roles(None).await;
        assert!(matches!(asked, Err(AskError::TimeOut(_))), "{asked:?}");
        assert!(began.elapsed() < Duration::from_secs(1));
        peer.address.port = back;
        peer.roles(Some(7)).await.unwrap();
    }
}
