//! Redirectors and proxies: could clients be pointed elsewhere by them now? Nothing is changed.

use super::Finding;
use super::peers::{connect, exchange};
use crate::config::{Config, GroupConfig, HostPort, ProxyConfig};
use crate::control::roles::{RoleQuestion, Roles};
use crate::io::tls::PeerTls;
use crate::op::NodeName;
use crate::redirect;
use std::collections::BTreeMap;
use tokio::runtime::Runtime;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let wanted = !config.proxies.is_empty() || config.groups.iter().any(|group| !group.redirects.is_empty());
    if !wanted {
        return Vec::new();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return vec![Finding::error(
                "redirects",
                format!("can't be tried: {error}"),
                "try again",
            )];
        }
    };
    let mut found: Vec<Finding> = config
        .groups
        .iter()
        .flat_map(|group| redirects(&runtime, group))
        .collect();
    found.extend(controls(&runtime, config));
    found
}

fn redirects(runtime: &Runtime, group: &GroupConfig) -> Vec<Finding> {
    let look = |redirect| {
        let topic = format!("group {} redirect {}", group.name, redirect::kind(redirect));
        match runtime.block_on(redirect::look(redirect)) {
            Ok(what) => Finding::ok(topic, what),
            Err(why) => {
                let todo = "mend it before it is needed: docs/redirects.md says what each kind wants";
                Finding::error(topic, why, todo).because("after a promotion clients would stay where they were")
            }
        }
    };
    group.redirects.iter().map(look).collect()
}

/// Whom the proxies of this node ask, each node once.
fn controls(runtime: &Runtime, config: &Config) -> Vec<Finding> {
    let mut asked: BTreeMap<(&NodeName, &HostPort), &ProxyConfig> = BTreeMap::new();
    for proxy in &config.proxies {
        asked.extend(proxy.control.iter().map(|at| (at, proxy)));
    }
    if asked.is_empty() {
        return Vec::new();
    }
    let Ok(tls) = PeerTls::load(&config.tls) else {
        let todo = "correct this node's certificates first";
        return vec![Finding::error(
            "proxy",
            "nobody can be asked without certificates",
            todo,
        )];
    };
    let look = |((node, address), proxy): ((&NodeName, &HostPort), &ProxyConfig)| {
        let topic = format!("proxy control {node}");
        match runtime.block_on(ask(&tls, node, address)) {
            Ok(roles) => of_roles(topic, &roles, &proxy.group),
            Err(finding) => {
                let finding = finding(topic, &config.node.name);
                finding.because("a proxy that can't ask keeps to the primary that it knows, and hears of no other")
            }
        }
    };
    asked.into_iter().map(look).collect()
}

/// What to say of a node that does not answer, given the topic and this node's name.
type Trouble = Box<dyn FnOnce(String, &NodeName) -> Finding>;

async fn ask(tls: &PeerTls, node: &NodeName, address: &HostPort) -> Result<Roles, Trouble> {
    let at = address.to_string();
    let mut stream = match connect(tls, node, address).await {
        Ok(stream) => stream,
        Err(why) => {
            let todo = "start shadowd there, correct the address in \"control\", or open the firewall";
            return Err(Box::new(move |topic, _| Finding::warning(topic, why, todo)));
        }
    };
    let question = serde_json::to_string(&RoleQuestion::Roles { known: None }).unwrap_or_default();
    let heard = exchange(&mut stream, question).await;
    let heard = heard.and_then(|json| serde_json::from_str(&json).map_err(|e| e.to_string()));
    heard.map_err(|why| -> Trouble {
        Box::new(move |topic, own| {
            let todo = format!("list {own} in node.observers there, and give both certificates of one CA");
            Finding::error(topic, format!("{at} tells this node no roles: {why}"), todo)
        })
    })
}

fn of_roles(topic: String, roles: &Roles, group: &str) -> Finding {
    match roles.groups.iter().find(|theirs| theirs.name == group) {
        Some(theirs) => {
            let what = format!(
                "{} is {} of group {group}, epoch {}",
                roles.node, theirs.role, theirs.epoch.number
            );
            Finding::ok(topic, what)
        }
        None => {
            let what = format!("{} tells this node nothing of a group \"{group}\"", roles.node);
            Finding::error(topic, what, "name the group as it is named there")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use std::path::Path;

    #[test]
    fn a_redirector_that_is_not_there_is_found_before_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[node]\nname = \"mail-b\"\nstate = \"s\"\ncontrol = \"c\"\nlisten = \"127.0.0.1:1\"\n[tls]\nca = \"a\"\n\
             cert = \"b\"\nkey = \"c\"\n[[group]]\nname = \"main\"\nusers = [\"*\"]\nstart_as = \"standby\"\npeers = {}\n\
             store = \"embedded\"\n[group.embedded]\nusers = \"u\"\n\
             [[group.redirect]]\nkind = \"haproxy\"\nsocket = \"none.sock\"\nservers = { mail-b = \"imap/b\" }\n\
             [[group.redirect]]\nkind = \"dovecot\"\nfile = \"proxy-users\"\ndoveadm = [\"true\"]\nhosts = { mail-b = \"10.0.0.2\" }\n\
             [[group.redirect]]\nkind = \"dns\"\nserver = \"127.0.0.1:1\"\nzone = \"z\"\nrecord = \"a.z\"\nkey = \"none\"\naddresses = { mail-b = [\"10.0.0.2\"] }\n\
             [[group.redirect]]\nkind = \"exec\"\ncommand = [\"./none\"]\n\
             [[group.redirect]]\nkind = \"exec\"\ncommand = [\"true\"]\n";
        std::fs::write(dir.path().join("proxy-users"), "x:::::::host=10.0.0.9\n").unwrap();
        let config = Config::parse(&dir.path().join(Path::new("x.toml")), text).unwrap();
        let found = findings(&config);
        let levels: Vec<_> = found.iter().map(|finding| finding.level).collect();
        use Level::{Error, Ok};
        assert_eq!(levels, [Error, Error, Error, Error, Ok], "{found:#?}");
        assert!(found[1].what.contains("no line has a host="), "{}", found[1].what);
    }
}
