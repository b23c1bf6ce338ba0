//! A name server, by DNS UPDATE (RFC 2136) signed with TSIG (RFC 8945), over TCP. The addresses of one name are replaced
//! in one message. What no message can do: end old sessions, or reach who remembers the old address until its TTL is over.
//!
//! | file | what it does |
//! |---|---|
//! | `key` | reads a TSIG key as BIND and Knot write it |
//! | `message` | the update's bytes, and the answer's |
//! | `tsig` | signs the one, checks the other |

pub mod key;
pub mod message;
mod tsig;

use super::Done;
use crate::config::{HostPort, RedirectConfig};
use crate::io::clock;
use crate::limits::DNS_SECONDS_MAX;
use crate::op::NodeName;
use key::TsigKey;
use message::{Answer, Update};
use ring::rand::{SecureRandom, SystemRandom};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Makes the record name the addresses of `node`, and no others.
pub(super) async fn point(config: &RedirectConfig, node: &NodeName) -> Result<Done, String> {
    let RedirectConfig::Dns {
        server,
        zone,
        record,
        ttl_seconds,
        key,
        addresses,
    } = config
    else {
        return Err("this redirect is not of the kind dns".to_owned());
    };
    let addresses = addresses
        .get(node)
        .ok_or_else(|| format!("no addresses stand for {node}"))?;
    let update = Update {
        zone,
        record,
        ttl_seconds: *ttl_seconds,
        addresses,
    };
    let key = read_key(key)?;
    let mut id = [0; 2];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| "no random number".to_owned())?;
    let plain = update.encode(u16::from_be_bytes(id))?;
    let (signed, mac) = tsig::sign(&plain, &key, now())?;
    let limit = Duration::from_secs(DNS_SECONDS_MAX);
    let heard = tokio::time::timeout(limit, exchange(server, &signed)).await;
    let heard = heard.map_err(|_| format!("{server}: no answer within {DNS_SECONDS_MAX} s"))?;
    let heard = heard.map_err(|e| format!("{server}: {e}"))?;
    judge(&plain, &heard, &key, &mac).map_err(|why| format!("{server}: {why}"))?;
    Ok(Done::default())
}

/// Reads the file of a TSIG key.
///
/// # Errors
/// It can't be read, or holds no key; in words.
pub fn read_key(path: &Path) -> Result<TsigKey, String> {
    TsigKey::read(path).map_err(|why| format!("{}: {why}", path.display()))
}

/// Whether the key can be read and the server be reached.
pub(super) async fn look(server: &HostPort, key: &Path) -> Result<String, String> {
    read_key(key)?;
    let reached = TcpStream::connect((server.host.as_str(), server.port)).await;
    reached.map_err(|e| format!("{server}: {e}"))?;
    Ok(format!(
        "{server} can be reached over TCP, and {} is a key",
        key.display()
    ))
}

fn now() -> u64 {
    u64::try_from(clock::unix_seconds()).unwrap_or(0)
}

async fn exchange(server: &HostPort, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Whether the server did it, and whether it was the server who says so.
fn judge(asked: &[u8], heard: &[u8], key: &TsigKey, mac: &[u8]) -> Result<(), String> {
    let answer = Answer::parse(heard).ok_or_else(|| "its answer can't be understood".to_owned())?;
    if asked.get(..2) != Some(&answer.id.to_be_bytes()) {
        return Err("it answers another question".to_owned());
    }
    // who does not know the key can't sign: what such an answer says is no more than a hint
    let hint = || match &answer.signature {
        Some(signature) if signature.error != 0 => format!(", {}", tsig::error_name(signature.error)),
        _ => String::new(),
    };
    if let Err(why) = tsig::verify(heard, &answer, key, mac, now()) {
        return Err(format!("{}{}; {why}", message::rcode_name(answer.rcode), hint()));
    }
    match answer.rcode {
        0 => Ok(()),
        rcode => Err(format!(
            "the update was refused: {}{}",
            message::rcode_name(rcode),
            hint()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn key(secret: &str) -> TsigKey {
        TsigKey::parse(&format!("hmac-sha256:shadow:{secret}")).unwrap()
    }

    /// What a server that knows `key` would answer to a signed message: the header alone, with this rcode.
    fn answered(plain: &[u8], mac: &[u8], key: &TsigKey, rcode: u8) -> Vec<u8> {
        let mut header = plain[..2].to_vec();
        header.extend([0xa8, rcode, 0, 0, 0, 0, 0, 0, 0, 0]);
        tsig::sign_answer(&header, key, now(), mac).unwrap()
    }

    #[test]
    fn an_answer_counts_only_where_it_is_signed_with_our_key_for_our_question() {
        let ours = key("c2VjcmV0c2VjcmV0");
        let addresses: [IpAddr; 1] = ["10.0.0.1".parse().unwrap()];
        let update = Update {
            zone: "example.net",
            record: "imap.example.net",
            ttl_seconds: 30,
            addresses: &addresses,
        };
        let plain = update.encode(7).unwrap();
        let (_, mac) = tsig::sign(&plain, &ours, now()).unwrap();
        let good = answered(&plain, &mac, &ours, 0);
        judge(&plain, &good, &ours, &mac).unwrap();
        let why = |heard: &[u8]| judge(&plain, heard, &ours, &mac).unwrap_err();
        assert!(why(&answered(&plain, &mac, &ours, 5)).contains("refused: REFUSED"));
        assert!(why(&answered(&plain, &mac, &key("b3RoZXI="), 0)).contains("signed"));
        assert!(why(&answered(&plain, b"of another question", &ours, 0)).contains("signed"));
        assert!(
            why(&good[..12]).contains("can't be understood"),
            "a count without its record"
        );
        let mut unsigned = good[..12].to_vec();
        unsigned[11] = 0;
        assert!(why(&unsigned).contains("not signed"));
        let mut changed = good.clone();
        changed[3] = 5;
        assert!(why(&changed).contains("signed"));
        let mut other = good;
        other[1] = 8;
        assert!(why(&other).contains("another question"));
    }
}
