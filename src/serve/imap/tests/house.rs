//! A server over a store in memory, and clients of it. In a transcript `C:` lines are sent with a tag, `c:` lines as they
//! stand; `S:` lines must come exactly so.

use super::memory::Memory;
use super::writer::noselect;
use crate::op::{Flags, MailboxName};
use crate::serve::accounts::Accounts;
use crate::serve::auth::PasswdFile;
use crate::serve::counts::Counts;
use crate::serve::room::Room;
use crate::serve::server::{Access, FrontEnd, ServeLimits, serve_imap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) const MAIL: &[u8] = b"From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\n\
    Date: Tue, 1 Feb 2022 03:04:05 +0000\r\nMessage-ID: <1@example.org>\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>two</b>\r\n--b--\r\n";

pub(super) struct House {
    pub(super) memory: Arc<Memory>,
    pub(super) access: Arc<Mutex<Access>>,
    pub(super) shutdown: watch::Sender<bool>,
    port: u16,
    pub(super) counts: Counts,
    _users: tempfile::TempDir,
}

/// A server over a store with an INBOX of three messages and some folders.
pub(super) async fn house() -> House {
    house_with(ServeLimits::default()).await
}

/// The same, with bounds of its own.
pub(super) async fn house_with(limits: ServeLimits) -> House {
    house_of(limits, Role::Standby).await
}

/// The same store on a node that takes changes.
pub(super) async fn primary() -> House {
    primary_with(ServeLimits::default()).await
}

/// The same, with bounds of its own.
pub(super) async fn primary_with(limits: ServeLimits) -> House {
    house_of(limits, Role::Primary).await
}

#[derive(PartialEq, Eq)]
enum Role {
    Standby,
    Primary,
}

async fn house_of(limits: ServeLimits, role: Role) -> House {
    let memory = Arc::new(Memory::new());
    memory.change(|account| {
        let inbox = account.create(&["INBOX"], 77);
        let mailbox = account.mailbox(inbox);
        mailbox.deliver(MAIL, Flags::SEEN, &["$Forwarded"]);
        mailbox.deliver(b"Subject: plain\r\n\r\nhello\r\n", Flags::NONE, &[]);
        mailbox.deliver(b"\r\nno header\r\n", Flags::FLAGGED, &["work"]);
        account.create(&["a", "b", "täst"], 78);
        account.tree.rows.push(noselect(&["empty"]));
        account.create(&["Sent"], 79);
        account.tree.rows.last_mut().unwrap().special_use = Some("Sent".into());
        account.tree.subscribed = vec![MailboxName::of(["a", "b", "täst"]), MailboxName::of(["gone"])];
    });
    let users = tempfile::tempdir().unwrap();
    std::fs::write(users.path().join("users"), "ann:{PLAIN}secret::::::\n").unwrap();
    let access = Arc::new(Mutex::new(match role {
        Role::Standby => Access::ReadOnly,
        Role::Primary => Access::ReadWrite(Arc::clone(&memory) as Arc<_>),
    }));
    let asked = Arc::clone(&access);
    let counts = Counts::default();
    let front = FrontEnd {
        view: Arc::clone(&memory) as Arc<_>,
        auth: Arc::new(Accounts::new(
            PasswdFile::open(&users.path().join("users")).unwrap(),
            None,
        )),
        access: Arc::new(move || asked.lock().unwrap().clone()),
        limits,
        tls: None,
        census: Arc::default(),
        counts: counts.clone(),
        room: Room::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (shutdown, stop) = watch::channel(false);
    tokio::spawn(serve_imap(listener, front, false, stop));
    House {
        memory,
        access,
        shutdown,
        port,
        counts,
        _users: users,
    }
}

pub(super) struct Client {
    pub(super) read: BufReader<OwnedReadHalf>,
    pub(super) write: OwnedWriteHalf,
}

impl House {
    pub(super) async fn client(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let (read, write) = stream.into_split();
        let read = BufReader::new(read);
        Client { read, write }
    }

    /// A client that has logged in.
    pub(super) async fn ann(&self) -> Client {
        let mut client = self.client().await;
        client.line().await;
        client.send("x LOGIN ann secret\r\n").await;
        assert!(client.line().await.starts_with("x OK [CAPABILITY "));
        client
    }
}

impl Client {
    pub(super) async fn send(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
    }

    /// A line without its end, literals within; empty where the server closed.
    pub(super) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            let read = self.read.read_until(b'\n', &mut line);
            tokio::time::timeout(Duration::from_secs(10), read)
                .await
                .expect("an answer")
                .unwrap();
            let text = String::from_utf8_lossy(&line).into_owned();
            let literal = text
                .trim_end()
                .strip_suffix('}')
                .and_then(|t| t.rsplit_once('{')?.1.parse::<usize>().ok());
            let Some(octets) = literal else {
                return text.trim_end_matches("\r\n").to_owned();
            };
            let start = line.len();
            line.resize(start + octets, 0);
            self.read.read_exact(&mut line[start..]).await.unwrap();
        }
    }

    /// Passes over lines up to one that begins with `start`.
    pub(super) async fn until(&mut self, start: &str) {
        loop {
            let line = self.line().await;
            assert!(!line.is_empty(), "closed before {start}");
            if line.starts_with(start) {
                return;
            }
        }
    }

    /// Plays a transcript.
    pub(super) async fn play(&mut self, transcript: &str) {
        for (number, line) in transcript.lines().map(str::trim).filter(|l| !l.is_empty()).enumerate() {
            let (who, text) = line.split_once(' ').unwrap_or((line, ""));
            match who {
                "C:" => self.send(&format!("t {text}\r\n")).await,
                "c:" => self.send(&format!("{text}\r\n")).await,
                "S:" => assert_eq!(self.line().await.replace("\r\n", "⏎").trim_end(), text, "line {number}"),
                other => panic!("{other}"),
            }
        }
    }
}
