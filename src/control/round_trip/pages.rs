//! What HTTP answers.

use super::*;

async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

async fn http(fake: Fake) -> (std::net::SocketAddr, watch::Sender<bool>, Arc<Metrics>) {
    let mut server = HttpServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    server.lifetime = Duration::from_secs(5);
    let address = server.address().unwrap();
    let stop = watch::Sender::new(false);
    let metrics = Arc::new(Metrics::default());
    tokio::spawn(server.serve(Arc::new(fake), Arc::clone(&metrics), stop.subscribe()));
    (address, stop, metrics)
}

#[tokio::test]
async fn a_load_balancer_hears_who_serves() {
    let (address, _stop, _) = http(Fake::default()).await;
    for (path, code) in [
        ("/healthz", 200),
        ("/primary", 503),
        ("/standby", 200),
        ("/standby?group=main", 200),
        ("/standby?group=other", 503),
        ("/standby?group=main&lag=5s", 200),
        ("/standby?lag=2s", 503),
        ("/standby?lag=soon", 400),
        ("/nothing", 404),
    ] {
        assert_eq!(get(address, path).await.0, code, "{path}");
    }
    assert!(get(address, "/standby?lag=2s").await.1.contains("2.5 s behind"));
}

#[tokio::test]
async fn what_is_not_known_has_no_sample() {
    let (address, _stop, metrics) = http(Fake::default()).await;
    metrics.handshakes_refused.inc();
    metrics
        .transactions_applied
        .get_or_create(&OfGroup {
            group: "main".to_owned(),
        })
        .inc_by(7);
    let (code, text) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "mailshadow_handshakes_refused_total 1",
        "mailshadow_transactions_applied_total{group=\"main\"} 7",
        "mailshadow_primary{group=\"main\"} 0.0",
        "mailshadow_captured_lsn{group=\"main\"} 812.0",
        "mailshadow_lag_seconds{group=\"main\"} 2.5",
        "mailshadow_peer_connected{group=\"main\",peer=\"mail-a\"} 1.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("mailshadow_applied_lsn{"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(text.matches("# EOF").count(), 1);
}

#[tokio::test]
async fn the_page_shows_the_node_and_nothing_that_a_name_smuggles_in() {
    let (address, _stop, _) = http(Fake::default()).await;
    let (code, page) = get(address, "/").await;
    assert_eq!(code, 200);
    assert!(
        page.contains("12\u{2009}345") && page.contains("can take over") && page.contains("2.5 s"),
        "{page}"
    );
    let evil = GroupStatus {
        problems: vec!["<script>\"'&".to_owned()],
        ..standby()
    };
    let proxy = ProxyStatus {
        listen: "<b>:143".to_owned(),
        primary: Some(NodeName::from("<script")),
        ..ProxyStatus::default()
    };
    let status = Status {
        node: NodeName::from("<b>"),
        proxies: vec![proxy],
        ..node(evil)
    };
    let page = crate::control::page::render(&status);
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    assert!(page.contains("&lt;script&gt;&quot;&#39;&amp;"), "{page}");
}

#[tokio::test]
async fn a_stuck_node_is_not_healthy() {
    let (address, _stop, _) = http(Fake {
        stuck: true,
        ..Fake::default()
    })
    .await;
    let four = tokio::join!(
        get(address, "/healthz"),
        get(address, "/primary"),
        get(address, "/metrics"),
        get(address, "/")
    );
    for (code, text) in [four.0, four.1, four.2, four.3] {
        assert_eq!((code, text.contains("does not answer")), (503, true), "{text}");
    }
}

#[tokio::test]
async fn a_caller_who_never_ends_its_request_is_cut_off() {
    let (address, _stop, _) = http(Fake::default()).await;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut text = String::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut text)).await;
    assert!(read.is_ok(), "the connection is still open after a minute");
}
