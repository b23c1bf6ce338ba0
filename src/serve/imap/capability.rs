//! CAPABILITY, ENABLE, ID, NAMESPACE: what the server is and can do. Pure texts.

/// What is offered to a client that has not logged in.
pub(super) fn before_login(may_send_password: bool, may_begin_tls: bool) -> String {
    let mut text = String::from("IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+");
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

/// What is offered to a user.
pub(super) const AFTER_LOGIN: &str = "IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+ UNSELECT CHILDREN NAMESPACE \
     CONDSTORE ESEARCH WITHIN STATUS=SIZE SAVEDATE SPECIAL-USE";

/// `* NAMESPACE …`: one personal namespace.
pub(super) const NAMESPACE: &str = "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n";

/// `* ID …`
pub(super) const ID: &str = concat!(
    "* ID (\"name\" \"mailshadow\" \"version\" \"",
    env!("CARGO_PKG_VERSION"),
    "\")\r\n"
);

/// What of `names` can be enabled.
pub(super) fn enabled(names: &[String]) -> Vec<&str> {
    let mut found: Vec<&str> = names.iter().map(String::as_str).filter(|n| *n == "CONDSTORE").collect();
    found.dedup();
    found
}
