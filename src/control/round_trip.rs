//! Requests over a real socket and a real port, answered by a node that is made up.

mod pages;

use super::client::{CallError, Interim, call};
use super::http::HttpServer;
use super::metrics::{Metrics, OfGroup};
use super::migration::{MigrateRequest, Migrated};
use super::moving::{MoveReport, MoveRequest};
use super::promotion::{
    DoneReport, MayServeReport, OfGroup as OfOneGroup, PromoteReport, PromoteRequest, RejoinReport, SwitchoverRequest,
};
use super::report::*;
use super::server::{ControlError, ControlServer};
use super::status::*;
use super::verbs::*;
use super::vitals::Vitals;
use crate::op::{Epoch, Lsn, NodeName, UserName};
use std::future::pending;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A standby with one group of `frames` frames.
#[derive(Default)]
struct Fake {
    frames: u64,
    stuck: bool,
    waiting: AtomicUsize,
    dropped: Arc<AtomicBool>,
}

pub(super) fn standby() -> GroupStatus {
    GroupStatus {
        name: "main".to_owned(),
        role: Role::Standby,
        confirmed: true,
        epoch: Some(Epoch(1)),
        store: StoreKind::Embedded,
        building: false,
        peers: vec![PeerStatus {
            name: NodeName::from("mail-a"),
            connected: true,
            lsn: None,
            lag: None,
            problem: None,
            held_mailboxes: None,
            bodies_pending: None,
            quarantined: None,
        }],
        lsn: Positions {
            captured: Some(Lsn(812)),
            shipped: Some(Lsn(812)),
            durable: Some(Lsn(811)),
            applied: None,
        },
        lag: Lag {
            operations: Some(1),
            seconds: Some(2.5),
            bytes: None,
        },
        mailboxes: Some(40),
        messages: Some(12_345),
        held_mailboxes: Some(0),
        bodies_pending: Some(0),
        quarantined: Some(0),
        promotable: Promotable {
            now: true,
            warnings: Vec::new(),
            would_lose: Loss {
                operations: Some(1),
                seconds: Some(0.0),
            },
            silent_seconds: Some(0.4),
        },
        problems: Vec::new(),
        progress_seconds: Some(0.7),
        journal_bytes: Some(4_096),
        quarantine: Vec::new(),
        not_carried: Vec::new(),
        fence: Some(FenceStatus {
            shut: true,
            ended: 12,
            why: None,
        }),
        service: Some(ServiceStatus {
            imap: Some(Answers::Up),
            login: Some(LoginAnswer::Accepted),
            ..ServiceStatus::default()
        }),
    }
}

/// A node with that one group.
pub(super) fn node(group: GroupStatus) -> Status {
    Status {
        node: NodeName::from("mail-b"),
        version: "0.1.0".to_owned(),
        groups: vec![group],
        proxies: Vec::new(),
        vitals: Vitals::default(),
        problems: Vec::new(),
    }
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Verbs for Fake {
    async fn status(&self) -> Status {
        if self.stuck {
            pending::<()>().await;
        }
        node(standby())
    }

    async fn user_status(&self, user: UserName) -> Result<UserStatus, VerbError> {
        Err(VerbError::usage(format!("no group of this node has the user {user}")))
    }

    async fn wait(&self, request: WaitRequest, progress: ProgressSink) -> Result<WaitReport, VerbError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _dropped = SetOnDrop(Arc::clone(&self.dropped));
        progress.tell(Progress::of("applied", 3, Some(7)));
        if request.timeout_ms > 1_000 {
            pending::<()>().await;
        }
        tokio::time::sleep(request.timeout()).await;
        Err(VerbError::timed_out("no standby is connected"))
    }

    async fn verify(&self, _request: VerifyRequest, _progress: ProgressSink) -> Result<VerifyReport, VerbError> {
        Ok(VerifyReport {
            mailboxes: 40,
            equal: 40,
            ..VerifyReport::default()
        })
    }

    async fn repair_stream(&self, _group: Option<String>) -> Result<StreamReport, VerbError> {
        Ok(StreamReport::default())
    }

    async fn promote(&self, _request: PromoteRequest, progress: ProgressSink) -> Result<PromoteReport, VerbError> {
        progress.tell(Progress::step("epoch 2 taken"));
        progress.tell(Progress::step("open for writing"));
        Ok(PromoteReport::default())
    }

    async fn switchover(&self, _request: SwitchoverRequest, _: ProgressSink) -> Result<PromoteReport, VerbError> {
        Err(VerbError::refused("mail-a is not connected"))
    }

    async fn move_users(&self, _request: MoveRequest, _: ProgressSink) -> Result<MoveReport, VerbError> {
        Ok(MoveReport::default())
    }

    async fn rejoin(&self, _of: OfOneGroup, _progress: ProgressSink) -> Result<RejoinReport, VerbError> {
        Ok(RejoinReport::default())
    }

    async fn resume_alone(&self, _of: OfOneGroup) -> Result<DoneReport, VerbError> {
        Ok(DoneReport::default())
    }

    async fn pause(&self, _of: OfOneGroup, _paused: bool) -> Result<DoneReport, VerbError> {
        Ok(DoneReport::default())
    }

    async fn migrate(&self, _request: MigrateRequest, progress: ProgressSink) -> Result<Migrated, VerbError> {
        progress.tell(Progress::of("messages", 3, Some(7)));
        Err(VerbError::refused("2 users differ: ann, bob"))
    }

    async fn may_serve(&self, group: String) -> Result<MayServeReport, VerbError> {
        let why = "this node is a standby".to_owned();
        Ok(MayServeReport { group, may: true, why })
    }

    async fn repair(&self, _request: RepairRequest, _progress: ProgressSink) -> Result<RepairReport, VerbError> {
        Err(VerbError::refused("this node is not primary"))
    }

    async fn quarantine(&self, _request: CustodyRequest) -> Result<QuarantineList, VerbError> {
        Ok(QuarantineList::default())
    }

    async fn quarantine_entry(&self, request: EntryRequest) -> Result<EntryDetail, VerbError> {
        Err(VerbError::usage(format!("there is no entry {}", request.id)))
    }

    async fn quarantine_decide(&self, request: EntryRequest, decision: Decision) -> Result<Decided, VerbError> {
        let done = format!("{decision:?}");
        Ok(Decided { id: request.id, done })
    }

    async fn retained(&self, _request: CustodyRequest) -> Result<RetainedList, VerbError> {
        Ok(RetainedList::default())
    }

    async fn retained_release(&self, request: EntryRequest) -> Result<Decided, VerbError> {
        Err(VerbError::usage(format!("there is no entry {}", request.id)))
    }

    async fn retained_restore(&self, _request: EntryRequest) -> Result<Decided, VerbError> {
        Err(VerbError::refused("this copy follows a primary"))
    }

    async fn journal_list(&self, _group: Option<String>) -> Result<JournalList, VerbError> {
        Ok(JournalList::default())
    }

    async fn journal_frames(&self, request: JournalRequest) -> Result<Vec<JournalFrame>, VerbError> {
        let first = request.from.map_or(1, |lsn| lsn.0);
        let most = request.most.unwrap();
        assert!(most <= crate::limits::JOURNAL_CAT_FRAMES_MAX);
        Ok((first..=self.frames)
            .take(usize::try_from(most).unwrap())
            .map(frame)
            .collect())
    }
}

fn frame(lsn: u64) -> JournalFrame {
    JournalFrame {
        group: "main".to_owned(),
        lsn: Lsn(lsn),
        epoch: Epoch(1),
        chain: "00".repeat(32),
        captured_ms: 1,
        kind: "mailbox".to_owned(),
        run: None,
        peer: None,
        user: None,
        mailbox: None,
        summary: "append 1".to_owned(),
        bytes: 100,
    }
}

struct Running {
    dir: tempfile::TempDir,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(fake: Fake) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ControlServer::bind(&dir.path().join("control.sock")).unwrap();
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(server.serve(Arc::new(fake), stop.subscribe()));
        Self { dir, stop, task }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("control.sock")
    }

    /// Asks as a command does: blocking, on another thread.
    async fn ask(&self, request: Request) -> (Result<serde_json::Value, CallError>, Vec<String>) {
        let socket = self.socket();
        let asked = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            let limit = Some(Duration::from_secs(20));
            let answer = call(&socket, &request, limit, |line| match line {
                Interim::Progress(progress) => lines.push(progress.what),
                Interim::Item(item) => lines.push(item["lsn"].to_string()),
            });
            (answer, lines)
        });
        asked.await.unwrap()
    }

    /// Sends raw bytes and reads all that comes back.
    async fn raw(&self, bytes: Vec<u8>) -> String {
        let socket = self.socket();
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            let mut text = String::new();
            // the server may hang up before it has read everything
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_string(&mut text);
            text
        });
        asked.await.unwrap()
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_comes_back_as_the_node_answered_it() {
    let node = Running::start(Fake {
        frames: 1_203,
        ..Fake::default()
    });
    let status = node.ask(Request::Status { user: None }).await.0.unwrap();
    assert_eq!(serde_json::from_value::<Status>(status).unwrap().groups, [standby()]);
    let user = node
        .ask(Request::Status {
            user: Some(UserName::from("ann")),
        })
        .await
        .0
        .unwrap_err();
    assert_eq!(
        (user.exit(), user.to_string().as_str()),
        (Exit::Usage, "no group of this node has the user ann")
    );
    let (wait, told) = node
        .ask(Request::Wait(WaitRequest {
            group: None,
            timeout_ms: 50,
        }))
        .await;
    assert_eq!(
        (wait.unwrap_err().exit(), told),
        (Exit::TimeOut, vec!["applied".to_owned()])
    );
    let verify = node.ask(Request::Verify(VerifyRequest::default())).await.0.unwrap();
    assert!(serde_json::from_value::<VerifyReport>(verify).unwrap().is_equal());
    let from = |from, most| {
        Request::JournalCat(JournalRequest {
            group: None,
            from,
            most,
        })
    };
    let (end, lsns) = node.ask(from(None, None)).await;
    assert_eq!(end.unwrap(), serde_json::json!({ "frames": 1_203 }));
    assert_eq!(lsns, (1..=1_203).map(|lsn| lsn.to_string()).collect::<Vec<_>>());
    assert_eq!(node.ask(from(Some(Lsn(700)), Some(3))).await.1, ["700", "701", "702"]);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_the_owners_only_and_goes_with_the_server() {
    let node = Running::start(Fake::default());
    let socket = node.socket();
    assert_eq!(socket.symlink_metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let beside = std::fs::read_dir(node.dir.path()).unwrap().count();
    assert_eq!(beside, 1, "nothing else is left beside the socket");
    let taken = ControlServer::bind(&socket).unwrap_err();
    assert!(matches!(taken, ControlError::Taken(_)), "{taken}");
    let Running { stop, task, dir } = node;
    stop.send_replace(true);
    task.await.unwrap();
    assert!(!socket.exists());
    drop(dir);
}

#[tokio::test]
async fn a_socket_that_a_killed_daemon_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    std::fs::create_dir(dir.path().join("control.sock.new")).unwrap();
    assert!(path.exists());
    ControlServer::bind(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_oversized_requests_get_an_error_and_harm_nobody() {
    let node = Running::start(Fake::default());
    for (bytes, told) in [
        (b"not json\n".to_vec(), "not a request"),
        (
            b"{\"verb\":\"format-disk\"}\n".to_vec(),
            "unknown variant `format-disk`",
        ),
        (b"{\"verb\":\"wait\"}\n".to_vec(), "missing field `timeout_ms`"),
        (b"{\"verb\":\"status\",\"x\":1}\n".to_vec(), "unknown field `x`"),
        (vec![0xff; 100], "not a request"),
        (vec![b'['; 60_000], "not a request"),
        (vec![b' '; 100_000], "a request is at most 65536 bytes"),
    ] {
        let answer = node.raw(bytes).await;
        assert!(answer.contains(told), "{answer:?} lacks {told}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["exit"], 2);
    }
    assert_eq!(node.raw(Vec::new()).await, "");
    // a client that ends its sending half, as socat does, still gets its answer
    let status = node.raw(b"{\"verb\":\"status\"}\n".to_vec()).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["ok"]["node"], "mail-b");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_verb() {
    let dropped = Arc::new(AtomicBool::new(false));
    let node = Running::start(Fake {
        dropped: Arc::clone(&dropped),
        ..Fake::default()
    });
    let mut client = UnixStream::connect(node.socket()).unwrap();
    client.write_all(b"{\"verb\":\"wait\",\"timeout_ms\":60000}\n").unwrap();
    let mut some = [0; 10];
    let client = tokio::task::spawn_blocking(move || {
        client.read_exact(&mut some).unwrap();
        client
    });
    let client = client.await.unwrap();
    assert!(!dropped.load(Ordering::SeqCst));
    drop(client);
    for _ in 0..100 {
        if dropped.load(Ordering::SeqCst) {
            return node.end().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the verb goes on without its client");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_running_verbs_at_once() {
    let dropped = Arc::new(AtomicBool::new(false));
    let node = Running::start(Fake {
        dropped: Arc::clone(&dropped),
        ..Fake::default()
    });
    let waiting = node.ask(Request::Wait(WaitRequest {
        group: None,
        timeout_ms: 60_000,
    }));
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        node.stop.send_replace(true);
    };
    let ((answer, _), ()) = tokio::join!(waiting, stopping);
    assert!(matches!(answer.unwrap_err(), CallError::Broken(_)));
    assert!(dropped.load(Ordering::SeqCst));
    node.task.await.unwrap();
}

#[test]
fn no_daemon_and_a_silent_daemon_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let ask = |path: &Path| {
        let limit = Some(Duration::from_millis(100));
        call::<Status>(path, &Request::Status { user: None }, limit, |_| {}).unwrap_err()
    };
    let nobody = ask(&path);
    assert_eq!(nobody.exit(), Exit::Failed);
    assert!(nobody.to_string().starts_with("no shadowd answers on "), "{nobody}");
    let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(ask(&path).exit(), Exit::TimeOut);
}
