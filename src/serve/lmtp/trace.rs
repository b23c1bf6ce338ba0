//! The fields that a delivery puts before a message (RFC 5321 section 4.4), as Dovecot's LMTP writes them.

use super::path::{Address, Path};
use std::net::IpAddr;
use time::OffsetDateTime;
use time::macros::format_description;

/// What is known of a delivery.
#[derive(Clone, Debug)]
pub(super) struct Delivery<'a> {
    /// What the client called itself.
    pub(super) helo: &'a str,
    /// Where it is.
    pub(super) peer: IpAddr,
    /// This server.
    pub(super) host: &'a str,
    /// Of this transaction, for logs.
    pub(super) id: &'a str,
    /// The envelope's sender.
    pub(super) from: &'a Path,
    /// The recipient where there is one only: others need not learn of each other.
    pub(super) to: Option<&'a Address>,
    /// UNIX seconds.
    pub(super) at: i64,
}

/// `Return-Path`, `Delivered-To`, `Received`.
pub(super) fn fields(delivery: &Delivery<'_>) -> String {
    let Delivery { helo, host, id, .. } = delivery;
    let from = delivery.from.as_ref().map_or("", |from| from.text.as_str());
    let peer = match delivery.peer.to_canonical() {
        IpAddr::V4(peer) => peer.to_string(),
        IpAddr::V6(peer) => format!("IPv6:{peer}"),
    };
    let (mut delivered_to, mut recipient) = (String::new(), String::new());
    if let Some(to) = delivery.to {
        delivered_to = format!("Delivered-To: {}\r\n", to.text);
        recipient = format!("\r\n\tfor <{}>", to.text);
    }
    let received =
        format!("from {helo} ([{peer}])\r\n\tby {host} with LMTP\r\n\tid {id}\r\n\t(envelope-from <{from}>)");
    let date = date(delivery.at);
    format!("Return-Path: <{from}>\r\n{delivered_to}Received: {received}{recipient}; {date}\r\n")
}

/// `Sun, 22 Nov 2026 14:03:08 +0000`
fn date(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let form =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] +0000");
    at.format(&form).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::path;
    use super::*;

    #[test]
    fn fields_are_those_of_dovecot() {
        let from = path::parse("<x@y>").unwrap().0;
        let to = path::parse("<user3@example.test>").unwrap().0;
        let mut delivery = Delivery {
            helo: "client.example",
            peer: [127, 0, 0, 1].into(),
            host: "vm",
            id: "g3q:T4",
            from: &from,
            to: to.as_ref(),
            at: 1_795_356_188,
        };
        let expected = "Return-Path: <x@y>\r\nDelivered-To: user3@example.test\r\nReceived: from client.example ([127.0.0.1])\r\n\
            \tby vm with LMTP\r\n\tid g3q:T4\r\n\t(envelope-from <x@y>)\r\n\tfor <user3@example.test>; \
            Sun, 22 Nov 2026 14:03:08 +0000\r\n";
        assert_eq!(fields(&delivery), expected);
        (delivery.from, delivery.to) = (&None, None);
        let several = fields(&delivery);
        assert!(several.starts_with("Return-Path: <>\r\nReceived: ") && several.contains("(envelope-from <>); Sun,"));
    }
}
