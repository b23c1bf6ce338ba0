//! From the file to [`RedirectConfig`] and [`ProxyConfig`]: where clients are pointed.

use super::build::{Builder, by_node};
use super::file::{self, RedirectKind};
use super::values::PlainName;
use super::{ConfigError, HostPort, ProxyConfig, RedirectConfig};
use crate::op::NodeName;
use serde_spanned::Spanned;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The nodes of a group: this one, and its peers.
pub(super) struct Nodes<'a> {
    pub(super) own: &'a NodeName,
    pub(super) peers: &'a BTreeMap<NodeName, HostPort>,
}

impl Builder<'_> {
    pub(super) fn redirect(
        &self,
        nodes: &Nodes<'_>,
        redirect: Spanned<file::Redirect>,
    ) -> Result<RedirectConfig, ConfigError> {
        let span = redirect.span();
        let given = redirect.into_inner();
        let (kind, kind_span) = (*given.kind.get_ref(), given.kind.span());
        given
            .refuse_keys_of_other_kinds(kind)
            .map_err(|message| self.wrong(kind_span, message))?;
        let lacks = |key: &str| self.lacks(span.clone(), key);
        Ok(match kind {
            RedirectKind::Haproxy => RedirectConfig::Haproxy {
                socket: given.socket.ok_or_else(|| lacks("socket"))?.under(self.folder),
                servers: self
                    .of_nodes(nodes, given.servers.ok_or_else(|| lacks("servers"))?)?
                    .into_iter()
                    .map(|(node, server)| (node, server.0))
                    .collect(),
            },
            RedirectKind::Dovecot => RedirectConfig::Dovecot {
                file: given.file.ok_or_else(|| lacks("file"))?.under(self.folder),
                doveadm: given.doveadm.unwrap_or_default().under(self.folder),
                hosts: self.of_nodes(nodes, given.hosts.ok_or_else(|| lacks("hosts"))?)?,
            },
            RedirectKind::Dns => self.dns(nodes, &span, given)?,
            RedirectKind::Exec => RedirectConfig::Exec {
                command: given.command.ok_or_else(|| lacks("command"))?.under(self.folder),
            },
        })
    }

    fn dns(
        &self,
        nodes: &Nodes<'_>,
        span: &Range<usize>,
        given: file::Redirect,
    ) -> Result<RedirectConfig, ConfigError> {
        let lacks = |key: &str| self.lacks(span.clone(), key);
        let zone = given.zone.ok_or_else(|| lacks("zone"))?;
        let record = given.record.ok_or_else(|| lacks("record"))?;
        if !record.get_ref().is_within(&zone) {
            let message = format!("expected a name in the zone \"{}\"", zone.0);
            return Err(self.wrong(record.span(), message));
        }
        let addresses = given.addresses.ok_or_else(|| lacks("addresses"))?;
        if let Some((node, _)) = addresses.get_ref().iter().find(|(_, of_node)| of_node.is_empty()) {
            let message = format!(
                "expected at least one address of each node, found none of \"{}\"",
                node.0
            );
            return Err(self.wrong(addresses.span(), message));
        }
        Ok(RedirectConfig::Dns {
            server: given.server.ok_or_else(|| lacks("server"))?,
            zone: zone.0,
            record: record.into_inner().0,
            ttl_seconds: given.ttl.unwrap_or(30),
            key: given.key.ok_or_else(|| lacks("key"))?.under(self.folder),
            addresses: self.of_nodes(nodes, addresses)?,
        })
    }

    fn lacks(&self, span: Range<usize>, key: &str) -> ConfigError {
        let mut wrong = self.wrong(span, "is required by this kind, but missing");
        wrong.key = format!("group.redirect.{key}");
        wrong
    }

    /// A table by node: each a node of the group, and this one among them, for it is where clients are pointed.
    fn of_nodes<T>(
        &self,
        nodes: &Nodes<'_>,
        table: Spanned<BTreeMap<PlainName, T>>,
    ) -> Result<BTreeMap<NodeName, T>, ConfigError> {
        let span = table.span();
        let table = by_node(table.into_inner());
        let stranger = |node: &&NodeName| *node != nodes.own && !nodes.peers.contains_key(*node);
        if let Some(stranger) = table.keys().find(stranger) {
            let message = format!("expected this node or one of the group's peers, found \"{stranger}\"");
            return Err(self.wrong(span, message));
        }
        if !table.contains_key(nodes.own) {
            let message = format!("expected an entry of this node, \"{}\", too", nodes.own);
            return Err(self.wrong(span, message));
        }
        Ok(table)
    }

    /// All `[[proxy]]` tables; those of one group ask the same nodes.
    pub(super) fn proxies(&self, proxies: Vec<Spanned<file::Proxy>>) -> Result<Vec<ProxyConfig>, ConfigError> {
        let mut built: Vec<ProxyConfig> = Vec::new();
        let mut doors = BTreeSet::new();
        for proxy in proxies {
            let span = proxy.span();
            let proxy = self.proxy(proxy)?;
            let other = built.iter().find(|other| other.group == proxy.group);
            if other.is_some_and(|other| other.control != proxy.control) {
                let message = format!(
                    "expected the same \"control\" in all proxies of group \"{}\"",
                    proxy.group
                );
                return Err(self.wrong(span, message));
            }
            if !doors.insert(proxy.listen) {
                return Err(self.wrong(
                    span,
                    format!("expected each \"listen\" once, found {} again", proxy.listen),
                ));
            }
            built.push(proxy);
        }
        Ok(built)
    }

    fn proxy(&self, proxy: Spanned<file::Proxy>) -> Result<ProxyConfig, ConfigError> {
        let span = proxy.span();
        let proxy = proxy.into_inner();
        if !proxy.nodes.keys().eq(proxy.control.keys()) {
            return Err(self.wrong(span, "expected the same nodes in \"nodes\" and \"control\""));
        }
        if proxy.nodes.is_empty() {
            return Err(self.wrong(span, "expected at least one node in \"nodes\""));
        }
        Ok(ProxyConfig {
            group: proxy.group.0,
            listen: proxy.listen.0,
            nodes: by_node(proxy.nodes),
            control: by_node(proxy.control),
            proxy_protocol: proxy.proxy_protocol,
        })
    }
}

impl file::Redirect {
    fn refuse_keys_of_other_kinds(&self, kind: RedirectKind) -> Result<(), String> {
        use RedirectKind::{Dns, Dovecot, Exec, Haproxy};
        let given = [
            (self.socket.is_some(), Haproxy, "socket"),
            (self.servers.is_some(), Haproxy, "servers"),
            (self.file.is_some(), Dovecot, "file"),
            (self.doveadm.is_some(), Dovecot, "doveadm"),
            (self.hosts.is_some(), Dovecot, "hosts"),
            (self.server.is_some(), Dns, "server"),
            (self.zone.is_some(), Dns, "zone"),
            (self.record.is_some(), Dns, "record"),
            (self.ttl.is_some(), Dns, "ttl"),
            (self.key.is_some(), Dns, "key"),
            (self.addresses.is_some(), Dns, "addresses"),
            (self.command.is_some(), Exec, "command"),
        ];
        let foreign = given.iter().find(|(there, of, _)| *there && *of != kind);
        foreign.map_or(Ok(()), |(_, _, key)| Err(format!("this kind has no key \"{key}\"")))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::path::Path;

    /// What is said of a file with this behind a group of `mail-b` and its peer `mail-a`; none where it is right.
    fn mistake(more: &str) -> Option<String> {
        let text = format!(
            "[node]\nname = \"mail-b\"\nstate = \"s\"\ncontrol = \"c\"\nlisten = \"127.0.0.1:1\"\n[tls]\nca = \"a\"\n\
             cert = \"b\"\nkey = \"c\"\n[[group]]\nname = \"main\"\nusers = [\"*\"]\nstart_as = \"standby\"\n\
             peers = {{ mail-a = \"127.0.0.1:2\" }}\nstore = \"embedded\"\n[group.embedded]\nusers = \"u\"\n{more}"
        );
        let config = Config::parse(Path::new("x.toml"), &text);
        config.err().map(|e| e.to_string())
    }

    fn of_haproxy(servers: &str) -> Option<String> {
        mistake(&format!(
            "[[group.redirect]]\nkind = \"haproxy\"\nsocket = \"s\"\nservers = {{ {servers} }}\n"
        ))
    }

    fn of_dns(record: &str, addresses: &str) -> Option<String> {
        mistake(&format!(
            "[[group.redirect]]\nkind = \"dns\"\nserver = \"10.0.0.53:53\"\nzone = \"Example.net.\"\nkey = \"k\"\n\
             record = \"{record}\"\naddresses = {{ {addresses} }}\n"
        ))
    }

    fn of_proxies(proxies: &[(&str, &str)]) -> Option<String> {
        let proxy = |(listen, control): &(&str, &str)| {
            format!(
                "[[proxy]]\ngroup = \"main\"\nlisten = \"{listen}\"\nnodes = {{ a = \"h:1\" }}\ncontrol = {{ a = \"{control}\" }}\n"
            )
        };
        mistake(&proxies.iter().map(proxy).collect::<String>())
    }

    #[test]
    fn a_table_that_names_a_stranger_or_leaves_this_node_out_is_a_mistake() {
        assert_eq!(of_haproxy("mail-a = \"imap/a\", mail-b = \"imap/b\""), None);
        let told = of_haproxy("mail-b = \"imap/b\", mail-c = \"imap/c\"").unwrap();
        assert!(
            told.contains("21: group.redirect.servers: expected this node or one of the group's peers"),
            "{told}"
        );
        let told = of_haproxy("mail-a = \"imap/a\"").unwrap();
        assert!(
            told.ends_with("expected an entry of this node, \"mail-b\", too"),
            "{told}"
        );
        // more than one order in a line
        let told = of_haproxy("mail-b = \"imap/b; shutdown sessions server imap/c\"").unwrap();
        assert!(told.contains("expected \"BACKEND/SERVER\""), "{told}");
    }

    #[test]
    fn a_record_outside_its_zone_or_without_an_address_is_a_mistake() {
        assert_eq!(of_dns("imap.example.net", "mail-b = [\"10.0.0.2\"]"), None);
        assert_eq!(of_dns("example.NET", "mail-b = [\"10.0.0.2\"]"), None);
        let told = of_dns("imap.notexample.net", "mail-b = [\"10.0.0.2\"]").unwrap();
        assert!(
            told.contains("group.redirect.record: expected a name in the zone \"Example.net\""),
            "{told}"
        );
        let told = of_dns("imap.example.net", "mail-b = []").unwrap();
        assert!(told.ends_with("found none of \"mail-b\""), "{told}");
        assert!(
            of_dns("imap..net", "mail-b = []")
                .unwrap()
                .contains("expected a DNS name")
        );
    }

    #[test]
    fn proxies_of_one_group_that_ask_different_nodes_are_a_mistake() {
        assert_eq!(of_proxies(&[("0.0.0.0:143", "h:2"), ("0.0.0.0:24", "h:2")]), None);
        let told = of_proxies(&[("0.0.0.0:143", "h:2"), ("0.0.0.0:24", "h:3")]).unwrap();
        assert!(
            told.contains("expected the same \"control\" in all proxies of group \"main\""),
            "{told}"
        );
        let told = of_proxies(&[("0.0.0.0:143", "h:2"), ("0.0.0.0:143", "h:2")]).unwrap();
        assert!(told.ends_with("found 0.0.0.0:143 again"), "{told}");
    }
}
