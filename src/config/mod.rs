//! The one TOML file of a node, read once, checked wholly, and handed on as types that can't be wrong.
//!
//! [`mod@file`] is the file as it is written, [`build`] turns it into [`Config`]. Every mistake ends in one [`ConfigError`]:
//! file, line, key, what was expected. All keys, defaults and bounds: `schema/config.md`.

mod build;
mod error;
mod file;
#[cfg(test)]
mod mistakes;
pub mod moved;
mod redirects;
pub mod users;
pub mod values;

pub use error::ConfigError;
pub use moved::{KeptOut, Moved, MovedUser, Told};
pub use users::UserPatterns;
pub use values::{Argv, BytesPerSecond, Compress, HostPort, RetainFor, ServiceAddress};

use crate::op::{NodeName, UserName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A node's whole configuration. Paths are absolute or relative to the working directory, never to the file.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from.
    pub file: PathBuf,
    /// The node itself.
    pub node: NodeConfig,
    /// Its certificate.
    pub tls: TlsFiles,
    /// Groups, none twice.
    pub groups: Vec<GroupConfig>,
    /// Built-in redirectors.
    pub proxies: Vec<ProxyConfig>,
}

impl Config {
    /// Every certificate and key that it names, none twice.
    #[must_use]
    pub fn certificate_files(&self) -> Vec<PathBuf> {
        let embedded = self.groups.iter().filter_map(|group| match &group.store {
            StoreConfig::Embedded(embedded) => embedded.certificate.clone(),
            StoreConfig::Dovecot(_) => None,
        });
        let own = [&self.tls.ca, &self.tls.cert, &self.tls.key].map(PathBuf::clone);
        let fronts = embedded.flat_map(|(cert, key)| [cert, key]);
        own.into_iter()
            .chain(fronts)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first mistake found. Programs answer it with exit status 2.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        build::load(file)
    }

    /// Checks a text as if it had been read from `file`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        build::parse(file, text)
    }

    /// The group of that name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&GroupConfig> {
        self.groups.iter().find(|group| group.name == name)
    }
}

/// `[node]`
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The name in this node's certificate.
    pub name: NodeName,
    /// Folder of journals, positions, roles, embedded stores.
    pub state: PathBuf,
    /// Admin socket.
    pub control: PathBuf,
    /// Where peers connect to (mutual TLS 1.3).
    pub listen: SocketAddr,
    /// Metrics, health and the status page.
    pub http: Option<SocketAddr>,
    /// Certificate names that may ask for roles and nothing else.
    pub observers: Vec<NodeName>,
    /// Run on events.
    pub on_event: Option<Argv>,
    /// How logs name users.
    pub log_users: LogUsers,
}

/// How logs name users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogUsers {
    /// As they are.
    #[default]
    Name,
    /// By a short hash: the same user is recognised, but not named.
    Hash,
}

/// PEM files of a certificate: `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our CA.
    pub ca: PathBuf,
    /// The certificate, with any chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[[group]]`
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// Name, fit for a file name.
    pub name: String,
    /// Which users belong to it.
    pub users: UserPatterns,
    /// How long what was expunged on the copy stays undoable.
    pub retain: RetainFor,
    /// What a fenced node does by itself.
    pub rejoin: Rejoin,
    /// The role at the first start only.
    pub start_as: StartAs,
    /// Name in the certificate → address.
    pub peers: BTreeMap<NodeName, HostPort>,
    /// Whether what is shipped is compressed.
    pub compress: Compress,
    /// How fast stored mail is copied at the most; none: as fast as it goes. Live changes are not held up.
    pub bytes_per_second: Option<BytesPerSecond>,
    /// What holds the mail here.
    pub store: StoreConfig,
    /// Where clients are pointed.
    pub redirects: Vec<RedirectConfig>,
    /// Logins that prove a promotion.
    pub probes: Vec<ProbeConfig>,
}

/// The role at the first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAs {
    /// Captures at once, epoch 1.
    Primary,
    /// Waits for its primary.
    Standby,
}

/// What a fenced node does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rejoin {
    /// Nothing: an operator says `rejoin`.
    #[default]
    Ask,
    /// Rejoins.
    Auto,
}

/// What holds a group's mail on this node.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// A running Dovecot.
    Dovecot(DovecotConfig),
    /// Our own store with its front end.
    Embedded(EmbeddedConfig),
}

/// `[group.dovecot]`
#[derive(Clone, Debug)]
pub struct DovecotConfig {
    /// The `doveadm` command; a chroot or container may stand before it.
    pub doveadm: Argv,
    /// Passed to `doveadm -c`.
    pub config: Option<PathBuf>,
    /// Run in place of the built-in way to fence.
    pub fence: Option<Argv>,
    /// The file of users who are kept out, which the first passdb of this Dovecot reads.
    pub hold: Option<PathBuf>,
    /// Starts the mail server.
    pub start_store: Option<Argv>,
    /// Where its IMAP service is watched; none: where its configuration says.
    pub imap: Option<ServiceAddress>,
    /// Where its LMTP service is watched; none: where its configuration says.
    pub lmtp: Option<ServiceAddress>,
    /// Whether clients and deliveries are kept out while this node is a standby.
    pub shut_while_standby: bool,
    /// Whom the watch of its IMAP service logs in as; none: it only reads the greeting.
    pub watch: Option<WatchConfig>,
    /// As whose the mail of public namespaces is copied.
    pub public: PublicOwners,
}

/// Prefix of a public namespace → the user as whose mail lies there, none twice.
pub type PublicOwners = BTreeMap<String, UserName>;

/// `[group.dovecot.watch]`
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// As whom.
    pub user: String,
    /// File with the password, read at each login.
    pub password_file: PathBuf,
    /// IMAP over TLS from the first byte; none: the plain door that is watched anyway.
    pub imaps: Option<HostPort>,
    /// Name in the server's certificate; none: the host's.
    pub tls_name: Option<String>,
}

/// `[group.embedded]`
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// IMAP, plain or STARTTLS.
    pub imap: Option<SocketAddr>,
    /// IMAP over TLS.
    pub imaps: Option<SocketAddr>,
    /// LMTP.
    pub lmtp: Option<SocketAddr>,
    /// passwd-file as Dovecot reads it.
    pub users: PathBuf,
    /// Asked of users that the passwd-file doesn't name; name and password on its standard input.
    pub auth_exec: Option<Argv>,
    /// What clients may do before a promotion.
    pub while_standby: WhileStandby,
    /// The front end's certificate and key, where they differ from `[tls]`.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What clients may do before a promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhileStandby {
    /// Read.
    #[default]
    ReadOnly,
    /// Nothing: the listeners are closed.
    Off,
}

/// `[[group.redirect]]`
#[derive(Clone, Debug)]
pub enum RedirectConfig {
    /// HAProxy's runtime socket.
    Haproxy {
        /// The socket.
        socket: PathBuf,
        /// Node → `backend/server`.
        servers: BTreeMap<NodeName, String>,
    },
    /// A Dovecot proxy's passwd-file.
    Dovecot {
        /// The passwd-file.
        file: PathBuf,
        /// That proxy's `doveadm`.
        doveadm: Argv,
        /// Node → host: an address, for `doveadm` ends sessions by it.
        hosts: BTreeMap<NodeName, std::net::IpAddr>,
    },
    /// DNS UPDATE with TSIG (RFC 2136, RFC 8945).
    Dns {
        /// The server.
        server: HostPort,
        /// The zone.
        zone: String,
        /// The record.
        record: String,
        /// Its time to live, seconds.
        ttl_seconds: u32,
        /// TSIG key file.
        key: PathBuf,
        /// Node → addresses.
        addresses: BTreeMap<NodeName, Vec<std::net::IpAddr>>,
    },
    /// A command.
    Exec {
        /// The command.
        command: Argv,
    },
}

/// `[[group.probe]]`
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// Where to log in.
    pub address: HostPort,
    /// Name in the server's certificate.
    pub tls_name: String,
    /// As whom.
    pub user: String,
    /// File with the password.
    pub password_file: PathBuf,
}

/// `[[proxy]]`
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Which group's clients.
    pub group: String,
    /// Where they connect to.
    pub listen: SocketAddr,
    /// Node → where the service is while that node is primary.
    pub nodes: BTreeMap<NodeName, HostPort>,
    /// Node → where to ask who is primary.
    pub control: BTreeMap<NodeName, HostPort>,
    /// Send PROXY v2.
    pub proxy_protocol: bool,
}
