//! CAPABILITY, ENABLE, ID, NAMESPACE: what the server is and can do.

use super::answer;
use super::session::{Reply, Session, State, Stop};
use crate::limits::INTAKE_MESSAGE_BYTES_MAX;

/// What a user is offered, but for compression, which can be begun only once. `docs/imap.md` says what each is.
const AFTER_LOGIN: &str = "IMAP4rev1 IMAP4rev2 SASL-IR ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS \
     THREAD=ORDEREDSUBJECT UNSELECT CHILDREN NAMESPACE LIST-EXTENDED CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN \
     LIST-STATUS BINARY PREVIEW STATUS=SIZE SAVEDATE OBJECTID PARTIAL LITERAL+ SPECIAL-USE QUOTA METADATA ACL \
     RIGHTS=texk UTF8=ACCEPT";

/// What a user is offered besides on a primary.
fn for_writers() -> String {
    format!(" UIDPLUS MULTIAPPEND MOVE REPLACE CREATE-SPECIAL-USE APPENDLIMIT={INTAKE_MESSAGE_BYTES_MAX}")
}

/// `* ID …`
pub(super) const ID: &str = concat!(
    "* ID (\"name\" \"mailshadow\" \"version\" \"",
    env!("CARGO_PKG_VERSION"),
    "\")\r\n"
);

/// What is offered to a client that has not logged in.
fn before_login(may_send_password: bool, may_begin_tls: bool) -> String {
    let mut text = String::from("IMAP4rev1 IMAP4rev2 SASL-IR ID ENABLE IDLE LITERAL+");
    if may_begin_tls {
        text.push_str(" STARTTLS");
    }
    text.push_str(if may_send_password {
        " AUTH=PLAIN AUTH=LOGIN"
    } else {
        " LOGINDISABLED"
    });
    text
}

impl Session {
    /// The capabilities in this state.
    pub(super) fn offered(&self) -> String {
        match self.state {
            State::NotAuthenticated => {
                let may_begin_tls = !self.client.encrypted && self.front.tls.is_some();
                before_login(self.client.may_send_password(), may_begin_tls)
            }
            _ => {
                let writing = if self.is_primary() {
                    for_writers()
                } else {
                    String::new()
                };
                let compression = if self.wire.is_compressed() {
                    ""
                } else {
                    " COMPRESS=DEFLATE"
                };
                format!("{AFTER_LOGIN}{writing}{compression}")
            }
        }
    }

    pub(super) fn capability(&mut self) -> Result<Reply, Stop> {
        let offered = self.offered();
        self.wire.put(format!("* CAPABILITY {offered}\r\n"));
        Reply::ok("Capability completed.")
    }

    /// `* NAMESPACE …`: the source's personal namespaces.
    pub(super) async fn namespace(&mut self) -> Result<Reply, Stop> {
        let namespaces = self.namespaces().await?.unwrap_or_default();
        let separator = answer::separator(namespaces.separator);
        let mut line = b"* NAMESPACE ".to_vec();
        for (at, prefix) in namespaces.prefixes.iter().enumerate() {
            line.extend_from_slice(if at == 0 { b"((" } else { b"(" });
            line.extend_from_slice(&answer::prefix(prefix, self.enabled.utf8));
            line.extend_from_slice(format!(" {separator})").as_bytes());
        }
        line.extend_from_slice(if namespaces.prefixes.is_empty() { b"NIL" } else { b")" });
        line.extend_from_slice(b" NIL NIL\r\n");
        self.wire.put(line);
        Reply::ok("Namespace completed.")
    }

    pub(super) fn enable(&mut self, names: &[String]) -> Result<Reply, Stop> {
        let mut words = String::new();
        for name in names {
            if self.enable_one(name) && !words.contains(name.as_str()) {
                words.push(' ');
                words.push_str(if name == "IMAP4REV2" { "IMAP4rev2" } else { name });
            }
        }
        self.wire.put(format!("* ENABLED{words}\r\n"));
        Reply::ok("Enabled.")
    }

    /// True where there is such a thing.
    fn enable_one(&mut self, name: &str) -> bool {
        match name {
            "CONDSTORE" => self.knows_modseqs(),
            "QRESYNC" => {
                self.knows_modseqs();
                self.enabled.qresync = true;
            }
            "UTF8=ACCEPT" => self.enabled.utf8 = true,
            "IMAP4REV2" => {
                self.enabled.rev2 = true;
                self.enabled.utf8 = true;
            }
            _ => return false,
        }
        true
    }

    /// The client has shown that it knows MODSEQs. In a mailbox it is told the highest, once (RFC 7162 section 3.1).
    pub(super) fn knows_modseqs(&mut self) {
        if self.enabled.condstore {
            return;
        }
        self.enabled.condstore = true;
        if let State::Selected(_, selected) = &self.state {
            let line = format!("* OK [HIGHESTMODSEQ {}] Highest\r\n", selected.row.highest_modseq);
            self.wire.put(line);
        }
    }
}
