//! Real handshakes over loopback: who gets in, who doesn't, and what is said.

use super::cert::{self, Validity};
use super::clock;
use super::tls::{PeerListener, PeerTls, TlsError};
use crate::config::{HostPort, TlsFiles};
use crate::op::NodeName;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn authority() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    cert::init(dir.path()).unwrap();
    dir
}

fn files(dir: &Path, name: &str) -> TlsFiles {
    TlsFiles {
        ca: dir.join("ca.pem"),
        cert: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}.key")),
    }
}

fn node(dir: &Path, name: &str) -> PeerTls {
    cert::issue(dir, name, &[]).unwrap();
    PeerTls::load(&files(dir, name)).unwrap()
}

async fn listen(tls: PeerTls) -> (PeerListener, HostPort) {
    let listener = PeerListener::bind("127.0.0.1:0".parse().unwrap(), Arc::new(tls))
        .await
        .unwrap();
    let address = listener.address().unwrap();
    let address = HostPort {
        host: address.ip().to_string(),
        port: address.port(),
    };
    (listener, address)
}

/// What both sides of a meeting see: the caller connects as `caller`, looking for `expected`; the listener knows `known`.
async fn meet(
    listener: PeerTls,
    caller: &PeerTls,
    expected: &str,
    known: &str,
) -> (Result<NodeName, TlsError>, Result<Vec<u8>, TlsError>) {
    let (listener, address) = listen(listener).await;
    let known = NodeName::from(known);
    let serve = async {
        let (mut tls, name) = listener.accept().await.unwrap().finish(|name| *name == known).await?;
        // a caller that has found out who we are may be gone already
        let _ = tls.write_all(b"hello").await;
        let _ = tls.shutdown().await;
        Ok(name)
    };
    let call = async {
        let (mut tls, _) = caller.connect(&address, &NodeName::from(expected)).await?;
        let mut heard = Vec::new();
        // a refusal of our certificate shows here, not in connect()
        let read = tls.read_to_end(&mut heard).await;
        read.map(|_| heard).map_err(|error| TlsError::Network {
            address: String::new(),
            error,
        })
    };
    tokio::join!(serve, call)
}

#[tokio::test]
async fn two_nodes_of_one_authority_meet() {
    let pki = authority();
    let (a, b) = (node(pki.path(), "mail-a"), node(pki.path(), "mail-b"));
    let (served, heard) = meet(b, &a, "mail-b", "mail-a").await;
    assert_eq!(served.unwrap(), NodeName::from("mail-a"));
    assert_eq!(heard.unwrap(), b"hello");
}

#[tokio::test]
async fn a_node_of_a_foreign_authority_is_refused_by_both_sides() {
    let (ours, theirs) = (authority(), authority());
    let (b, stranger) = (node(ours.path(), "mail-b"), node(theirs.path(), "mail-a"));
    let (served, heard) = meet(b, &stranger, "mail-b", "mail-a").await;
    assert!(heard.unwrap_err().to_string().contains("UnknownIssuer"));
    let served = served.unwrap_err();
    assert!(
        served.is_refusal() && served.to_string().starts_with("127.0.0.1:"),
        "{served}"
    );

    // one who trusts us, but whom we don't trust: its connect() succeeds, and then it hears the refusal
    let mixed = TlsFiles {
        ca: ours.path().join("ca.pem"),
        ..files(theirs.path(), "mail-a")
    };
    cert::issue(ours.path(), "mail-c", &[]).unwrap();
    let c = PeerTls::load(&files(ours.path(), "mail-c")).unwrap();
    let (served, heard) = meet(c, &PeerTls::load(&mixed).unwrap(), "mail-c", "mail-a").await;
    assert!(served.unwrap_err().is_refusal());
    assert!(heard.unwrap_err().to_string().contains("UnknownCA"));
}

#[tokio::test]
async fn a_node_that_the_configuration_does_not_list_is_refused_by_name() {
    let pki = authority();
    let (b, c) = (node(pki.path(), "mail-b"), node(pki.path(), "mail-c"));
    let (served, _) = meet(b, &c, "mail-b", "mail-a").await;
    let refused = served.unwrap_err();
    assert!(refused.is_refusal());
    assert!(
        refused
            .to_string()
            .contains("its certificate names mail-c, expected a peer"),
        "{refused}"
    );
}

#[tokio::test]
async fn another_node_at_the_peers_address_is_found_out() {
    let pki = authority();
    let (a, c) = (node(pki.path(), "mail-a"), node(pki.path(), "mail-c"));
    let (_, heard) = meet(c, &a, "mail-b", "mail-a").await;
    let wrong = heard.unwrap_err();
    assert!(wrong.is_refusal() && wrong.to_string().contains("mail-b"), "{wrong}");
}

#[tokio::test]
async fn a_host_name_that_another_node_took_as_its_san_does_not_make_it_that_node() {
    let pki = authority();
    let a = node(pki.path(), "mail-a");
    cert::issue(pki.path(), "mail-c", &["mail-b".to_owned()]).unwrap();
    let c = PeerTls::load(&files(pki.path(), "mail-c")).unwrap();
    let (_, heard) = meet(c, &a, "mail-b", "mail-a").await;
    let wrong = heard.unwrap_err().to_string();
    assert!(
        wrong.contains("its certificate names mail-c, expected mail-b"),
        "{wrong}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let pki = authority();
    let b = node(pki.path(), "mail-b");
    let now = clock::unix_seconds();
    let past = Validity {
        from: now - 7_200,
        until: now - 3_600,
    };
    cert::issue_for(pki.path(), "mail-a", &[], past).unwrap();
    let expired = PeerTls::load(&files(pki.path(), "mail-a")).unwrap();
    let (served, _) = meet(b, &expired, "mail-b", "mail-a").await;
    let refused = served.unwrap_err().to_string();
    assert!(refused.contains("Expired") || refused.contains("expired"), "{refused}");
}

#[tokio::test]
async fn a_caller_without_tls_is_refused_and_does_not_stop_the_listener() {
    let pki = authority();
    let (a, b) = (node(pki.path(), "mail-a"), node(pki.path(), "mail-b"));
    let (listener, address) = listen(b).await;
    let mut plain = TcpStream::connect((address.host.as_str(), address.port)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let refused = listener.accept().await.unwrap().finish(|_| true).await.unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    let expected = NodeName::from("mail-b");
    let serve = async { listener.accept().await.unwrap().finish(|_| true).await };
    let (served, called) = tokio::join!(serve, a.connect(&address, &expected));
    assert_eq!(served.unwrap().1, NodeName::from("mail-a"));
    called.unwrap();
}

#[tokio::test]
async fn silent_callers_do_not_keep_their_places_for_ever() {
    let pki = authority();
    let (listener, address) = listen(node(pki.path(), "mail-b")).await;
    let silent = TcpStream::connect((address.host.as_str(), address.port)).await.unwrap();
    let mut caller = listener.accept().await.unwrap();
    caller.limit = std::time::Duration::from_millis(200);
    let refused = caller.finish(|_| true).await.unwrap_err();
    assert!(matches!(refused, TlsError::TimeOut { .. }), "{refused}");
    drop(silent);
}

#[tokio::test]
async fn reloaded_certificates_count_for_the_next_connection() {
    let (old, new) = (authority(), authority());
    let a = node(old.path(), "mail-a");
    cert::issue(new.path(), "mail-a", &[]).unwrap();
    let b_new = node(new.path(), "mail-b");
    a.reload(&files(new.path(), "mail-a")).unwrap();
    let (served, heard) = meet(b_new, &a, "mail-b", "mail-a").await;
    assert_eq!(
        (served.unwrap(), heard.unwrap()),
        (NodeName::from("mail-a"), b"hello".to_vec())
    );

    std::fs::write(new.path().join("mail-a.pem"), "rubbish").unwrap();
    a.reload(&files(new.path(), "mail-a")).unwrap_err();
    cert::issue(new.path(), "mail-d", &[]).unwrap();
    let d = PeerTls::load(&files(new.path(), "mail-d")).unwrap();
    let (served, _) = meet(d, &a, "mail-d", "mail-a").await;
    assert_eq!(served.unwrap(), NodeName::from("mail-a"));
}

#[tokio::test]
async fn a_peer_whose_authority_was_replaced_is_trusted_no_longer() {
    let (old, new) = (authority(), authority());
    let (a, b) = (node(old.path(), "mail-a"), Arc::new(node(old.path(), "mail-b")));
    cert::issue(new.path(), "mail-b", &[]).unwrap();
    let listener = PeerListener::bind("[::]:0".parse().unwrap(), Arc::clone(&b))
        .await
        .unwrap();
    let address = HostPort {
        host: "::1".to_owned(),
        port: listener.address().unwrap().port(),
    };
    let name = NodeName::from("mail-b");
    let serve = async { listener.accept().await.unwrap().finish(|_| true).await };
    let (served, called) = tokio::join!(serve, a.connect(&address, &name));
    called.unwrap();
    let (stream, _) = served.unwrap();
    let mut trust = super::tls::Trust::of(&b, stream.get_ref().1);
    let still = std::time::Duration::from_millis(50);
    b.reload(&files(old.path(), "mail-b")).unwrap();
    tokio::time::timeout(still, trust.lost()).await.unwrap_err();
    b.reload(&files(new.path(), "mail-b")).unwrap();
    let why = tokio::time::timeout(std::time::Duration::from_secs(5), trust.lost())
        .await
        .unwrap();
    assert!(why.contains("not trusted any more"), "{why}");
}

#[test]
fn nothing_is_overwritten_and_keys_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let pki = authority();
    let again = cert::init(pki.path()).unwrap_err().to_string();
    assert!(again.contains("ca.pem: exists already"), "{again}");
    let issued = cert::issue(
        pki.path(),
        "mail-a",
        &["10.0.0.1".to_owned(), "::1".to_owned(), "mx.test".to_owned()],
    )
    .unwrap();
    cert::issue(pki.path(), "mail-a", &[]).unwrap_err();
    for key in [&issued.key, &pki.path().join("ca.key")] {
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let facts = cert::facts(&issued.cert).unwrap();
    assert_eq!(facts.node, Some(NodeName::from("mail-a")));
    assert_eq!(facts.names, ["mail-a", "10.0.0.1", "::1", "mx.test"]);
    let days = (facts.validity.until - clock::unix_seconds()) / 86_400;
    assert!((729..=730).contains(&days), "{days}");
    let years = (cert::facts(&pki.path().join("ca.pem")).unwrap().validity.until - clock::unix_seconds()) / 31_557_600;
    assert!((9..=10).contains(&years), "{years}");
}

#[test]
fn a_name_that_can_not_stand_in_a_certificate_is_refused() {
    let pki = authority();
    for name in ["", "ca", "-a", "a b", "../a", "a/b", "ä", &"a".repeat(65)] {
        assert!(cert::issue(pki.path(), name, &[]).is_err(), "{name}");
    }
    for san in ["", "a b", "http://a", "10.0.0.1/8"] {
        assert!(cert::issue(pki.path(), "mail-a", &[san.to_owned()]).is_err(), "{san}");
    }
    let names: Vec<_> = std::fs::read_dir(pki.path()).unwrap().collect();
    assert_eq!(names.len(), 2, "a refused request leaves nothing behind");
}

#[test]
fn files_that_are_no_certificates_are_told_by_name() {
    let pki = authority();
    cert::issue(pki.path(), "mail-a", &[]).unwrap();
    cert::issue(pki.path(), "mail-b", &[]).unwrap();
    let good = files(pki.path(), "mail-a");
    let told = |files: TlsFiles| PeerTls::load(&files).err().unwrap().to_string();
    let missing = TlsFiles {
        ca: pki.path().join("none.pem"),
        ..good.clone()
    };
    assert!(told(missing).contains("none.pem: open: No such file"));
    let no_key = TlsFiles {
        key: good.cert.clone(),
        ..good.clone()
    };
    assert!(told(no_key).contains("mail-a.pem: holds no private key"));
    let no_cert = TlsFiles {
        cert: good.key.clone(),
        ..good.clone()
    };
    assert!(told(no_cert).contains("mail-a.key: holds no certificate"));
    let foreign_key = TlsFiles {
        key: pki.path().join("mail-b.key"),
        ..good
    };
    assert!(told(foreign_key).contains("mail-a.pem with "));
}

proptest::proptest! {
    #[test]
    fn no_certificate_makes_the_reader_crash(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = cert::facts_of(&bytes);
    }
}
