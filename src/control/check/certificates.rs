//! Certificates: whom they name, until when they are good, whether they fit together.

use super::Finding;
use crate::config::{Config, StoreConfig};
use crate::io::cert::{self, CertificateFacts};
use crate::io::clock;
use crate::io::front::FrontTls;
use crate::io::tls::{self, PeerTls};
use crate::limits::CERTIFICATE_DAYS_LOW;
use std::path::Path;

const DAY: i64 = 86_400;
/// How long before its end a certificate is worth a warning.
const WARN_DAYS: i64 = CERTIFICATE_DAYS_LOW;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut found = vec![dates(
        "tls.ca",
        &config.tls.ca,
        "make a new CA and new certificates for every node",
    )];
    found.push(dates(
        "tls.cert",
        &config.tls.cert,
        "issue a new one: shadowctl cert issue, then SIGHUP to shadowd",
    ));
    found.push(name(config));
    found.push(match PeerTls::load(&config.tls) {
        Ok(_) => match tls::vouches(&config.tls) {
            Ok(()) => Finding::ok("tls", "certificate, key and CA fit together"),
            Err(error) => {
                let todo = "copy ca.pem from where this node's certificate was issued, or issue it anew there";
                Finding::error("tls", error.to_string(), todo).because("every other node would refuse this one")
            }
        },
        Err(error) => Finding::error(
            "tls",
            error.to_string(),
            "give the certificate its own key, and the CA of all nodes",
        ),
    });
    for group in &config.groups {
        let StoreConfig::Embedded(embedded) = &group.store else {
            continue;
        };
        let Some((cert, key)) = &embedded.certificate else {
            continue;
        };
        let topic = format!("group {} embedded.cert", group.name);
        found.push(dates(&topic, cert, "renew it, then SIGHUP to shadowd"));
        if let Err(error) = FrontTls::load(cert, key) {
            found.push(Finding::error(
                topic,
                error.to_string(),
                "give the certificate its own key",
            ));
        }
    }
    found
}

fn dates(topic: &str, path: &Path, renew: &str) -> Finding {
    let facts = match cert::facts(path) {
        Ok(facts) => facts,
        Err(error) => return Finding::error(topic, error.to_string(), "name a PEM file with a certificate"),
    };
    judge_dates(topic, path, &facts, clock::unix_seconds(), renew)
}

fn judge_dates(topic: &str, path: &Path, facts: &CertificateFacts, now: i64, renew: &str) -> Finding {
    let (path, validity) = (path.display(), facts.validity);
    if now < validity.from {
        let what = format!(
            "{path} is not good yet, for {} more minutes",
            (validity.from - now) / 60 + 1
        );
        return Finding::error(topic, what, "correct this machine's clock");
    }
    if now > validity.until {
        let what = format!("{path} ended {} days ago", (now - validity.until) / DAY);
        return Finding::error(topic, what, renew);
    }
    let days = (validity.until - now) / DAY;
    let what = format!("{path} is good for {days} more days");
    if days < WARN_DAYS {
        Finding::warning(topic, what, renew).because("with its last day every connection is refused")
    } else {
        Finding::ok(topic, what)
    }
}

/// Peers look for the node's name in both places: as a host name and as a URI.
fn name(config: &Config) -> Finding {
    let topic = "tls.cert";
    let own = &config.node.name;
    let todo = format!("issue one for this node: shadowctl cert issue DIR {own}; or correct node.name");
    let Ok(facts) = cert::facts(&config.tls.cert) else {
        return Finding::error(topic, "whom it names can't be read", todo);
    };
    match &facts.node {
        Some(node) if node == own && facts.names.iter().any(|name| name == own.as_str()) => Finding::ok(
            topic,
            format!("names this node: {own}; also: {}", facts.names.join(", ")),
        ),
        Some(node) if node == own => Finding::error(topic, format!("has no host name {own}"), todo),
        Some(node) => Finding::error(topic, format!("names {node}, but node.name is {own}"), todo),
        None => Finding::error(topic, format!("names no node ({}NAME)", cert::NODE_URI), todo),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::io::cert::Validity;

    #[test]
    fn a_certificate_of_another_ca_is_found_before_every_peer_refuses_it() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        for pki in [&ours, &theirs] {
            cert::init(pki).unwrap();
            cert::issue(pki, "mail-a", &[]).unwrap();
        }
        let files = |ca: &Path| crate::config::TlsFiles {
            ca: ca.join("ca.pem"),
            cert: ours.join("mail-a.pem"),
            key: ours.join("mail-a.key"),
        };
        assert!(tls::vouches(&files(&ours)).is_ok());
        assert!(PeerTls::load(&files(&theirs)).is_ok(), "loading alone does not find it");
        let error = tls::vouches(&files(&theirs)).unwrap_err().to_string();
        assert!(error.contains("theirs/ca.pem"), "{error}");
    }

    #[test]
    fn a_certificate_near_or_past_its_end_is_found_before_the_peers_refuse_it() {
        let validity = Validity {
            from: 1000,
            until: 1000 + 100 * DAY,
        };
        let facts = CertificateFacts {
            node: None,
            names: Vec::new(),
            validity,
        };
        let level = |now| judge_dates("t", Path::new("x.pem"), &facts, now, "renew").level;
        assert_eq!(level(999), Level::Error);
        assert_eq!(level(1000), Level::Ok);
        assert_eq!(level(1000 + 69 * DAY), Level::Ok);
        assert_eq!(level(1000 + 71 * DAY), Level::Warning);
        assert_eq!(level(1001 + 100 * DAY), Level::Error);
    }
}
