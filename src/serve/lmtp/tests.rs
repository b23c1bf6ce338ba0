//! Dialogues over a store in memory: `C:` what a sender says, `S:` what must be answered.

use crate::op::{MailboxName, UserName};
use crate::serve::accounts::Accounts;
use crate::serve::auth::PasswdFile;
use crate::serve::imap::test_store::Memory;
use crate::serve::lmtp::serve_lmtp;
use crate::serve::room::Room;
use crate::serve::server::{Access, FrontEnd, ServeLimits};
use crate::store::embedded::view::View;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

struct House {
    memory: Arc<Memory>,
    access: Arc<Mutex<Access>>,
    port: u16,
    _stop: watch::Sender<bool>,
    _users: tempfile::TempDir,
}

struct Sender {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// A primary with the folders INBOX and lists.
async fn house() -> House {
    let memory = Arc::new(Memory::new());
    memory.change(|account| {
        account.create(&["INBOX"], 7);
        account.create(&["lists"], 8);
        account.strangers = vec!["nobody@x.org".into(), "nobody".into()];
    });
    let users = tempfile::tempdir().unwrap();
    std::fs::write(users.path().join("users"), "ann@x.org:{PLAIN}secret\nbob:{PLAIN}x\n").unwrap();
    let access = Arc::new(Mutex::new(Access::ReadWrite(Arc::clone(&memory) as Arc<_>)));
    let asked = Arc::clone(&access);
    let front = FrontEnd {
        view: Arc::clone(&memory) as Arc<_>,
        auth: Arc::new(Accounts::new(
            PasswdFile::open(&users.path().join("users")).unwrap(),
            None,
        )),
        access: Arc::new(move || asked.lock().unwrap().clone()),
        limits: ServeLimits::default(),
        tls: None,
        census: Arc::default(),
        counts: crate::serve::counts::Counts::default(),
        room: Room::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve_lmtp(listener, front, "mail-b".to_owned(), stopped));
    House {
        memory,
        access,
        port,
        _stop: stop,
        _users: users,
    }
}

impl House {
    async fn sender(&self) -> Sender {
        let (read, write) = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap().into_split();
        let read = BufReader::new(read);
        Sender { read, write }
    }

    /// What a mailbox holds.
    fn mail(&self, name: &str) -> Vec<String> {
        let row = self.memory.mailbox(&UserName::default(), &MailboxName::of([name]));
        let key = row.unwrap().unwrap().key;
        let account = self.memory.lock();
        let messages = account.boxes[&key.0].1.messages.values();
        let text = |octets: &Arc<[u8]>| String::from_utf8_lossy(octets).into_owned();
        messages.map(|message| text(message.octets.as_ref().unwrap())).collect()
    }
}

impl Sender {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.read.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .expect("an answer")
            .unwrap();
        line.trim_end().to_owned()
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
    }

    /// Plays a dialogue. `…` at the end of an expected answer stands for anything, `ID` within one for the transaction.
    async fn play(&mut self, dialogue: &str) {
        for line in dialogue.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (who, text) = line.split_once(' ').unwrap_or((line, ""));
            if who == "C:" {
                self.send(format!("{text}\r\n").as_bytes()).await;
                continue;
            }
            let answer = self.line().await;
            let words: Vec<&str> = answer
                .split(' ')
                .map(|w| if w.contains(":T") { "ID" } else { w })
                .collect();
            match text.strip_suffix('…') {
                Some(start) => assert!(answer.starts_with(start), "{answer} is not {text}"),
                None => assert_eq!(words.join(" "), text),
            }
        }
    }
}

#[tokio::test]
async fn a_message_is_delivered_with_its_trace_and_its_lines_put_right() {
    let house = house().await;
    let mut sender = house.sender().await;
    sender
        .play(
            "S: 220 mail-b mailshadow ready.
             C: LHLO client.example
             S: 250-mail-b
             S: 250-8BITMIME
             S: 250-CHUNKING
             S: 250-ENHANCEDSTATUSCODES
             S: 250-PIPELINING
             S: 250-SIZE 67108864
             S: 250 SMTPUTF8
             C: MAIL FROM:<x@y> SIZE=30 BODY=8BITMIME
             S: 250 2.1.0 OK
             C: RCPT TO:<Ann@x.org>
             S: 250 2.1.5 OK
             C: DATA
             S: 354 OK",
        )
        .await;
    sender
        .send(b"Subject: hi\r\n\r\n..dot\r\nbare\nlf\r\nnul\0\r\n.\r\n")
        .await;
    sender
        .play("S: 250 2.0.0 <Ann@x.org> ID Saved\nC: QUIT\nS: 221 2.0.0 Bye\nS:")
        .await;
    let mail = house.mail("INBOX");
    let (trace, message) = mail[0].split_once("Subject:").unwrap();
    assert_eq!(message, " hi\r\n\r\n.dot\r\nbare\r\nlf\r\nnul\u{fffd}\r\n");
    assert!(trace.starts_with("Return-Path: <x@y>\r\nDelivered-To: Ann@x.org\r\nReceived: from client.example ([127.0.0.1])\r\n\tby mail-b with LMTP\r\n\tid "), "{trace}");
}

#[tokio::test]
async fn each_recipient_has_an_answer_and_each_user_one_copy() {
    let house = house().await;
    let mut sender = house.sender().await;
    sender
        .play(
            "S: 220 …
             C: MAIL FROM:<>
             S: 250 2.1.0 OK
             C: RCPT TO:<ann@x.org>
             S: 250 2.1.5 OK
             C: RCPT TO:<ann+lists@x.org>
             S: 250 2.1.5 OK
             C: RCPT TO:<ann+nothing@x.org>
             S: 250 2.1.5 OK
             C: RCPT TO:<ANN@X.ORG>
             S: 250 2.1.5 OK
             C: RCPT TO:<nobody@x.org>
             S: 550 5.1.1 <nobody@x.org> User doesn't exist: nobody@x.org
             C: DATA
             S: 354 OK
             C: x
             C: .
             S: 250 2.0.0 <ann@x.org> ID Saved
             S: 250 2.0.0 <ann+lists@x.org> ID Saved
             S: 250 2.0.0 <ann+nothing@x.org> ID Saved
             S: 250 2.0.0 <ANN@X.ORG> ID Saved",
        )
        .await;
    assert_eq!(house.mail("lists").len(), 1);
    assert!(
        !house.mail("lists")[0].contains("Delivered-To"),
        "recipients learn nothing of each other"
    );
}

#[tokio::test]
async fn chunks_make_one_message_and_what_is_out_of_order_is_refused() {
    let house = house().await;
    let mut sender = house.sender().await;
    sender
        .play(
            "S: 220 …
             C: RCPT TO:<ann@x.org>
             S: 503 5.5.0 MAIL needed first
             C: DATA
             S: 503 5.5.0 MAIL needed first
             C: MAIL FROM:<a@b> SIZE=99999999999
             S: 552 5.3.4 Message too big
             C: MAIL FROM:<a@b>
             S: 250 2.1.0 OK
             C: MAIL FROM:<a@b>
             S: 503 5.5.0 MAIL already given
             C: DATA
             S: 503 5.5.0 No valid recipients
             C: RCPT TO:<ann@x.org>
             S: 250 2.1.5 OK",
        )
        .await;
    sender
        .send(b"BDAT 9\r\nSubject: BDAT 6 LAST\r\nx\n\n.\nyDATA\r\n")
        .await;
    sender
        .play(
            "S: 250 2.0.0 Added 9 octets
             S: 250 2.0.0 <ann@x.org> ID Saved
             S: 503 5.5.0 MAIL needed first",
        )
        .await;
    assert!(house.mail("INBOX")[0].ends_with("\r\nSubject: x\r\n\r\n.\r\ny"));
    sender.send(b"BDAT 4 LAST\r\nQUITNOOP\r\n").await;
    sender.play("S: 503 5.5.0 MAIL needed first\nS: 250 2.0.0 OK").await;
}

#[tokio::test]
async fn a_node_that_is_not_the_primary_takes_nothing() {
    let house = house().await;
    let mut sender = house.sender().await;
    sender
        .play("S: 220 …\nC: MAIL FROM:<a@b>\nS: 250 2.1.0 OK\nC: RCPT TO:<ann@x.org>\nS: 250 2.1.5 OK")
        .await;
    *house.access.lock().unwrap() = Access::ReadOnly;
    sender
        .play(
            "C: RCPT TO:<bob>
             S: 451 4.3.2 <bob> This node is not the primary
             C: DATA
             S: 354 OK
             C: x
             C: .
             S: 451 4.3.2 <ann@x.org> ID Not saved",
        )
        .await;
    let mut late = house.sender().await;
    late.play("S: 421 4.3.2 This node is not the primary\nS:").await;
    assert!(house.mail("INBOX").is_empty());
}

#[tokio::test]
async fn who_talks_nonsense_is_sent_away() {
    let house = house().await;
    let mut sender = house.sender().await;
    sender.play("S: 220 …").await;
    for _ in 1..crate::limits::LMTP_WRONG_COMMANDS_MAX {
        sender.play("C: EHLO x\nS: 500 5.5.1 Unknown command").await;
    }
    sender
        .play("C: EHLO x\nS: 421 4.7.0 Too many invalid commands\nS:")
        .await;
}
