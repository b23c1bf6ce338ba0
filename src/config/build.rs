//! From the file to [`Config`]: paths made whole, pairs of keys judged.

use super::file::{
    self, DovecotWhileStandbyText, File, LogUsersText, RejoinText, StartAsText, StoreText, WhileStandbyText,
};
use super::redirects::Nodes;
use super::values::PlainName;
use super::{
    Config, ConfigError, DovecotConfig, EmbeddedConfig, GroupConfig, LogUsers, NodeConfig, ProbeConfig, PublicOwners,
    Rejoin, StartAs, StoreConfig, TlsFiles, UserPatterns, WatchConfig, WhileStandby,
};
use crate::limits;
use crate::op::{NodeName, UserName};
use serde_spanned::Spanned;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::Range;
use std::path::Path;

pub(super) fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |message: String| ConfigError {
        file: path.to_owned(),
        line: None,
        key: String::new(),
        message,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| unreadable(format!("open the configuration: {e}")))?;
    let mut bounded = file.take(limits::CONFIG_BYTES_MAX + 1);
    let read = bounded.read_to_string(&mut text);
    read.map_err(|e| unreadable(format!("read the configuration: {e}")))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > limits::CONFIG_BYTES_MAX {
        return Err(unreadable(format!(
            "expected at most {} bytes",
            limits::CONFIG_BYTES_MAX
        )));
    }
    parse(path, &text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(text).map_err(|e| ConfigError::from_toml(path, text, &e))?;
    let mut builder = Builder {
        path,
        text,
        folder: path.parent().unwrap_or(Path::new("")),
    };
    builder.config(file)
}

/// What building needs to know of the file, and to note.
pub(super) struct Builder<'a> {
    path: &'a Path,
    text: &'a str,
    pub(super) folder: &'a Path,
}

impl Builder<'_> {
    pub(super) fn wrong(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.path, self.text, span, message)
    }

    fn config(&mut self, file: File) -> Result<Config, ConfigError> {
        let tls = TlsFiles {
            ca: file.tls.ca.under(self.folder),
            cert: file.tls.cert.under(self.folder),
            key: file.tls.key.under(self.folder),
        };
        let node = self.node(file.node);
        let mut names = BTreeSet::new();
        let mut groups = Vec::new();
        for group in file.group {
            let span = group.span();
            let group = self.group(&node.name, group.into_inner())?;
            if !names.insert(group.name.clone()) {
                return Err(self.wrong(
                    span,
                    format!("expected each group once, found \"{}\" again", group.name),
                ));
            }
            groups.push(group);
        }
        let proxies = self.proxies(file.proxy)?;
        Ok(Config {
            file: self.path.to_owned(),
            node,
            tls,
            groups,
            proxies,
        })
    }

    fn node(&self, node: file::Node) -> NodeConfig {
        NodeConfig {
            name: NodeName(node.name.0),
            state: node.state.under(self.folder),
            control: node.control.under(self.folder),
            listen: node.listen.0,
            http: node.http.map(|listen| listen.0),
            observers: node.observers.into_iter().map(|name| NodeName(name.0)).collect(),
            on_event: node.on_event.map(|argv| argv.under(self.folder)),
            log_users: match node.log_users {
                LogUsersText::Name => LogUsers::Name,
                LogUsersText::Hash => LogUsers::Hash,
            },
        }
    }

    fn group(&mut self, own: &NodeName, group: file::Group) -> Result<GroupConfig, ConfigError> {
        let mut peers = BTreeMap::new();
        for (name, address) in group.peers {
            if name.get_ref().0 == own.0 {
                let message = format!("expected the other nodes only, found this node's own name \"{own}\"");
                return Err(self.wrong(name.span(), message));
            }
            peers.insert(NodeName(name.into_inner().0), address);
        }
        let start_as = match group.start_as.get_ref() {
            StartAsText::Primary => StartAs::Primary,
            StartAsText::Standby => StartAs::Standby,
        };
        let store = self.store(&group.users, &group.store, group.dovecot, group.embedded)?;
        let rejoin = match group.rejoin {
            Some(RejoinText::Auto) => Rejoin::Auto,
            None | Some(RejoinText::Ask) => Rejoin::Ask,
        };
        let nodes = Nodes { own, peers: &peers };
        let redirects = group.redirect.into_iter().map(|r| self.redirect(&nodes, r));
        let redirects = redirects.collect::<Result<_, _>>()?;
        Ok(GroupConfig {
            name: group.name.into_inner().0,
            users: group.users,
            retain: group.retain,
            rejoin,
            start_as,
            peers,
            compress: group.compress,
            bytes_per_second: group.bytes_per_second,
            store,
            redirects,
            probes: group.probe.into_iter().map(|p| self.probe(p)).collect(),
        })
    }

    fn store(
        &mut self,
        users: &UserPatterns,
        written: &Spanned<StoreText>,
        dovecot: Option<Spanned<file::Dovecot>>,
        embedded: Option<Spanned<file::Embedded>>,
    ) -> Result<StoreConfig, ConfigError> {
        match written.get_ref() {
            StoreText::Dovecot => {
                if let Some(other) = embedded {
                    return Err(self.wrong(other.span(), "expected only where store = \"embedded\""));
                }
                let dovecot = dovecot.map(Spanned::into_inner).unwrap_or_default();
                Ok(StoreConfig::Dovecot(self.dovecot(users, dovecot)?))
            }
            StoreText::Embedded => {
                if let Some(other) = dovecot {
                    return Err(self.wrong(other.span(), "expected only where store = \"dovecot\""));
                }
                let missing = "store = \"embedded\" expects a table [group.embedded] with at least \"users\"";
                let embedded = embedded.ok_or_else(|| self.wrong(written.span(), missing))?;
                Ok(StoreConfig::Embedded(self.embedded(embedded.into_inner())?))
            }
        }
    }

    fn dovecot(&self, users: &UserPatterns, dovecot: file::Dovecot) -> Result<DovecotConfig, ConfigError> {
        Ok(DovecotConfig {
            doveadm: dovecot.doveadm.unwrap_or_default().under(self.folder),
            config: dovecot.config.map(|path| path.under(self.folder)),
            fence: dovecot.fence.map(|argv| argv.under(self.folder)),
            hold: dovecot.hold.map(|path| path.under(self.folder)),
            start_store: dovecot.start_store.map(|argv| argv.under(self.folder)),
            imap: dovecot.imap,
            lmtp: dovecot.lmtp,
            shut_while_standby: matches!(dovecot.while_standby, DovecotWhileStandbyText::Off),
            watch: dovecot.watch.map(|watch| WatchConfig {
                user: watch.user,
                password_file: watch.password_file.under(self.folder),
                imaps: watch.imaps,
                tls_name: watch.tls_name,
            }),
            public: self.public(users, dovecot.public)?,
        })
    }

    /// Each owner once, and one of the group's users: who is not would never be captured.
    fn public(
        &self,
        users: &UserPatterns,
        public: Option<Spanned<BTreeMap<String, String>>>,
    ) -> Result<PublicOwners, ConfigError> {
        let Some(public) = public else {
            return Ok(PublicOwners::new());
        };
        let mut owners = PublicOwners::new();
        for (prefix, owner) in public.get_ref() {
            let owner = UserName::from(owner.as_str());
            let why = match () {
                () if prefix.is_empty() => "expected the prefix of a public namespace, found an empty one".to_owned(),
                () if !users.matches(owner.as_str()) => {
                    format!("expected an owner whom the group's users take, found \"{owner}\"")
                }
                () if owners.values().any(|other| *other == owner) => {
                    format!("expected an owner for each namespace, found \"{owner}\" twice")
                }
                () => {
                    owners.insert(prefix.clone(), owner);
                    continue;
                }
            };
            return Err(self.wrong(public.span(), why));
        }
        Ok(owners)
    }

    fn embedded(&self, embedded: file::Embedded) -> Result<EmbeddedConfig, ConfigError> {
        let certificate = match (embedded.cert, embedded.key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((
                cert.into_inner().under(self.folder),
                key.into_inner().under(self.folder),
            )),
            (Some(one), None) => return Err(self.wrong(one.span(), "expected \"key\" beside it")),
            (None, Some(one)) => return Err(self.wrong(one.span(), "expected \"cert\" beside it")),
        };
        Ok(EmbeddedConfig {
            imap: embedded.imap.map(|listen| listen.0),
            imaps: embedded.imaps.map(|listen| listen.0),
            lmtp: embedded.lmtp.map(|listen| listen.0),
            users: embedded.users.under(self.folder),
            auth_exec: embedded.auth_exec.map(|argv| argv.under(self.folder)),
            while_standby: match embedded.while_standby {
                WhileStandbyText::ReadOnly => WhileStandby::ReadOnly,
                WhileStandbyText::Off => WhileStandby::Off,
            },
            certificate,
        })
    }

    fn probe(&mut self, probe: Spanned<file::Probe>) -> ProbeConfig {
        let probe = probe.into_inner();
        ProbeConfig {
            address: probe.address,
            tls_name: probe.tls_name,
            user: probe.user,
            password_file: probe.password_file.under(self.folder),
        }
    }
}

/// A table by the nodes' names.
pub(super) fn by_node<T>(map: BTreeMap<PlainName, T>) -> BTreeMap<NodeName, T> {
    map.into_iter().map(|(name, value)| (NodeName(name.0), value)).collect()
}
