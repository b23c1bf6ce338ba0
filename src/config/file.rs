//! The file as it is written: one struct a table, one field a key. Values check themselves; what needs two keys to be
//! judged is left to [`super::build`].

use super::values::{BackendServer, BytesPerSecond, Compress, DnsName, FilePath, Listen, PlainName};
use super::{Argv, HostPort, RetainFor, ServiceAddress, UserPatterns};
use serde::Deserialize;
use serde_spanned::Spanned;
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) node: Node,
    pub(super) tls: Tls,
    #[serde(default)]
    pub(super) group: Vec<Spanned<Group>>,
    #[serde(default)]
    pub(super) proxy: Vec<Spanned<Proxy>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: PlainName,
    pub(super) state: FilePath,
    pub(super) control: FilePath,
    pub(super) listen: Listen,
    pub(super) http: Option<Listen>,
    #[serde(default)]
    pub(super) observers: Vec<PlainName>,
    pub(super) on_event: Option<Argv>,
    #[serde(default)]
    pub(super) log_users: LogUsersText,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogUsersText {
    #[default]
    Name,
    Hash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) ca: FilePath,
    pub(super) cert: FilePath,
    pub(super) key: FilePath,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) name: Spanned<PlainName>,
    pub(super) users: UserPatterns,
    #[serde(default)]
    pub(super) retain: RetainFor,
    pub(super) rejoin: Option<RejoinText>,
    pub(super) start_as: Spanned<StartAsText>,
    pub(super) peers: BTreeMap<Spanned<PlainName>, HostPort>,
    #[serde(default)]
    pub(super) compress: Compress,
    pub(super) bytes_per_second: Option<BytesPerSecond>,
    pub(super) store: Spanned<StoreText>,
    pub(super) dovecot: Option<Spanned<Dovecot>>,
    pub(super) embedded: Option<Spanned<Embedded>>,
    #[serde(default)]
    pub(super) redirect: Vec<Spanned<Redirect>>,
    #[serde(default)]
    pub(super) probe: Vec<Spanned<Probe>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RejoinText {
    Ask,
    Auto,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StartAsText {
    Primary,
    Standby,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreText {
    Dovecot,
    Embedded,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dovecot {
    pub(super) doveadm: Option<Argv>,
    pub(super) config: Option<FilePath>,
    pub(super) fence: Option<Argv>,
    pub(super) hold: Option<FilePath>,
    pub(super) start_store: Option<Argv>,
    pub(super) imap: Option<ServiceAddress>,
    pub(super) lmtp: Option<ServiceAddress>,
    #[serde(default)]
    pub(super) while_standby: DovecotWhileStandbyText,
    pub(super) watch: Option<Watch>,
    pub(super) public: Option<Spanned<BTreeMap<String, String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watch {
    pub(super) user: String,
    pub(super) password_file: FilePath,
    pub(super) imaps: Option<HostPort>,
    pub(super) tls_name: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DovecotWhileStandbyText {
    #[default]
    Open,
    Off,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Embedded {
    pub(super) imap: Option<Listen>,
    pub(super) imaps: Option<Listen>,
    pub(super) lmtp: Option<Listen>,
    pub(super) users: FilePath,
    pub(super) auth_exec: Option<Argv>,
    #[serde(default)]
    pub(super) while_standby: WhileStandbyText,
    pub(super) cert: Option<Spanned<FilePath>>,
    pub(super) key: Option<Spanned<FilePath>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WhileStandbyText {
    #[default]
    ReadOnly,
    Off,
}

/// All kinds in one, so that a wrong value keeps its line; which keys a kind takes is checked afterwards.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redirect {
    pub(super) kind: Spanned<RedirectKind>,
    pub(super) socket: Option<FilePath>,
    pub(super) servers: Option<Spanned<BTreeMap<PlainName, BackendServer>>>,
    pub(super) file: Option<FilePath>,
    pub(super) doveadm: Option<Argv>,
    pub(super) hosts: Option<Spanned<BTreeMap<PlainName, IpAddr>>>,
    pub(super) server: Option<HostPort>,
    pub(super) zone: Option<DnsName>,
    pub(super) record: Option<Spanned<DnsName>>,
    pub(super) ttl: Option<u32>,
    pub(super) key: Option<FilePath>,
    pub(super) addresses: Option<Spanned<BTreeMap<PlainName, Vec<IpAddr>>>>,
    pub(super) command: Option<Argv>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RedirectKind {
    Haproxy,
    Dovecot,
    Dns,
    Exec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Probe {
    pub(super) address: HostPort,
    pub(super) tls_name: String,
    pub(super) user: String,
    pub(super) password_file: FilePath,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proxy {
    pub(super) group: PlainName,
    pub(super) listen: Listen,
    pub(super) nodes: BTreeMap<PlainName, HostPort>,
    pub(super) control: BTreeMap<PlainName, HostPort>,
    #[serde(default)]
    pub(super) proxy_protocol: bool,
}
