//! DNS messages: the update that is sent (RFC 2136) and the answer (RFC 1035 section 4). Only what these two need.

use crate::limits::{DNS_NAME_BYTES_MAX, DNS_RECORDS_MAX};
use std::net::IpAddr;

const OPCODE_UPDATE: u16 = 5 << 11;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_SOA: u16 = 6;
pub(super) const TYPE_TSIG: u16 = 250;
const CLASS_IN: u16 = 1;
pub(super) const CLASS_ANY: u16 = 255;
/// Bytes of a header.
const HEADER_BYTES: usize = 12;
/// Where the number of records of the last section stands.
pub(super) const ADDITIONAL_COUNT_AT: usize = 10;

/// All addresses of a name, in the place of those that it had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update<'a> {
    pub(super) zone: &'a str,
    pub(super) record: &'a str,
    pub(super) ttl_seconds: u32,
    pub(super) addresses: &'a [IpAddr],
}

impl Update<'_> {
    /// The message, not signed yet.
    pub(super) fn encode(&self, id: u16) -> Result<Vec<u8>, String> {
        let (zone, record) = (name(self.zone)?, name(self.record)?);
        let changes = u16::try_from(self.addresses.len() + 2).map_err(|e| e.to_string())?;
        let mut message = Vec::new();
        for number in [id, OPCODE_UPDATE, 1, 0, changes, 0] {
            put(&mut message, number);
        }
        message.extend(&zone);
        put(&mut message, TYPE_SOA);
        put(&mut message, CLASS_IN);
        // "delete an RRset" (RFC 2136 section 2.5.2), of both families: none of the old addresses stays
        for of_type in [TYPE_A, TYPE_AAAA] {
            message.extend(&record);
            put(&mut message, of_type);
            put(&mut message, CLASS_ANY);
            message.extend([0; 6]);
        }
        for address in self.addresses {
            message.extend(&record);
            let (of_type, octets) = match address {
                IpAddr::V4(four) => (TYPE_A, four.octets().to_vec()),
                IpAddr::V6(six) => (TYPE_AAAA, six.octets().to_vec()),
            };
            put(&mut message, of_type);
            put(&mut message, CLASS_IN);
            message.extend(self.ttl_seconds.to_be_bytes());
            put_counted(&mut message, &octets)?;
        }
        Ok(message)
    }
}

/// A 16 bit number.
pub(super) fn put(message: &mut Vec<u8>, number: u16) {
    message.extend(number.to_be_bytes());
}

/// Octets with their length before them.
pub(super) fn put_counted(message: &mut Vec<u8>, octets: &[u8]) -> Result<(), String> {
    put(message, u16::try_from(octets.len()).map_err(|e| e.to_string())?);
    message.extend_from_slice(octets);
    Ok(())
}

/// A name in its wire form, in lower case.
pub(super) fn name(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("\"{text}\" is no DNS name");
    let mut wire = Vec::new();
    for label in text.strip_suffix('.').unwrap_or(text).split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..=63).contains(length));
        wire.push(length.ok_or_else(wrong)?);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    wire.push(0);
    if wire.len() > DNS_NAME_BYTES_MAX || !text.is_ascii() {
        return Err(wrong());
    }
    Ok(wire)
}

/// What a server answers to an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question's number.
    pub id: u16,
    /// What came of it: 0 is good.
    pub rcode: u8,
    /// The TSIG record, where the message ends with one.
    pub signature: Option<Signature>,
}

/// A TSIG record (RFC 8945 section 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Where the record begins in the message: what stands before it is signed.
    pub at: usize,
    /// When it was signed, UNIX seconds.
    pub time: u64,
    /// How many seconds that may be off.
    pub fudge: u16,
    /// The signature.
    pub mac: Vec<u8>,
    /// The question's number, as it was sent.
    pub original_id: u16,
    /// Why the question's signature was not taken; 0: it was.
    pub error: u16,
    /// More on that.
    pub other: Vec<u8>,
}

impl Answer {
    /// Understands a message; none where it is cut short, holds more than it should, or is no answer to an update.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut reader = Reader { message, at: 0 };
        let (id, flags) = (reader.number()?, reader.number()?);
        if flags & 0x8000 == 0 || flags & 0x7800 != OPCODE_UPDATE {
            return None;
        }
        let zones = usize::from(reader.number()?);
        let before = usize::from(reader.number()?) + usize::from(reader.number()?);
        let additional = usize::from(reader.number()?);
        if zones + before + additional > DNS_RECORDS_MAX {
            return None;
        }
        debug_assert_eq!(reader.at, HEADER_BYTES);
        for _ in 0..zones {
            reader.skip_name()?;
            reader.octets(4)?;
        }
        let mut signature = None;
        for _ in 0..before + additional {
            // only the last record of a message may be its signature
            signature = reader.record()?;
        }
        let [_, low] = flags.to_be_bytes();
        (reader.at == message.len()).then_some(Self {
            id,
            rcode: low & 0x0f,
            signature,
        })
    }
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn octets(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let octets = self.message.get(self.at..end)?;
        self.at = end;
        Some(octets)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.octets(2)?.try_into().ok()?))
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.octets(usize::from(count))
    }

    /// Steps over a name; a pointer ends it (RFC 1035 section 4.1.4).
    fn skip_name(&mut self) -> Option<()> {
        let began = self.at;
        loop {
            match self.octets(1)? {
                [0] => break,
                [length @ 1..=63] => drop(self.octets(usize::from(*length))?),
                [pointer] if *pointer >= 0xc0 => {
                    self.octets(1)?;
                    break;
                }
                _ => return None,
            }
        }
        (self.at - began <= DNS_NAME_BYTES_MAX).then_some(())
    }

    /// Steps over a record; what it says where it is a TSIG record.
    fn record(&mut self) -> Option<Option<Signature>> {
        let at = self.at;
        self.skip_name()?;
        let of_type = self.number()?;
        // class and TTL
        self.octets(6)?;
        let message = self.counted()?;
        if of_type != TYPE_TSIG {
            return Some(None);
        }
        let mut data = Reader { message, at: 0 };
        data.skip_name()?;
        let [a, b, c, d, e, f] = data.octets(6)?.try_into().ok()?;
        let signature = Signature {
            at,
            time: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            fudge: data.number()?,
            mac: data.counted()?.to_vec(),
            original_id: data.number()?,
            error: data.number()?,
            other: data.counted()?.to_vec(),
        };
        (data.at == message.len()).then_some(Some(signature))
    }
}

/// RFC 1035 section 4.1.1, RFC 2136 section 2.2.
pub(super) fn rcode_name(rcode: u8) -> String {
    let names = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
        "NOTZONE",
    ];
    names
        .get(usize::from(rcode))
        .map_or_else(|| format!("rcode {rcode}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_what_the_rfc_draws() {
        let addresses = ["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let update = Update {
            zone: "Example.net.",
            record: "imap.example.net",
            ttl_seconds: 60,
            addresses: &addresses,
        };
        let record = b"\x04imap\x07example\x03net\0".as_slice();
        let expected = [
            b"\x12\x34\x28\0\0\x01\0\0\0\x04\0\0".as_slice(),
            b"\x07example\x03net\0\0\x06\0\x01",
            record,
            b"\0\x01\0\xff\0\0\0\0\0\0",
            record,
            b"\0\x1c\0\xff\0\0\0\0\0\0",
            record,
            b"\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01",
            record,
            b"\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
        ];
        assert_eq!(update.encode(0x1234).unwrap(), expected.concat());
    }

    #[test]
    fn names_that_can_not_be_are_refused() {
        let (label, name_max) = ("a".repeat(64), ["a"; 128].join("."));
        for wrong in ["", ".", "a..b", label.as_str(), name_max.as_str(), "ä.net"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        assert_eq!(name("A.b.").unwrap(), b"\x01a\x01b\0");
    }

    #[test]
    fn an_answer_cut_short_anywhere_is_none() {
        let mut message = b"\x12\x34\xa8\x05\0\x01\0\0\0\0\0\x01\x01a\0\0\x06\0\x01".to_vec();
        message.extend(b"\xc0\x0c\0\xfa\0\xff\0\0\0\0\0\x14\x01x\0\0\0\0\0\0\x07\0\x05\0\x01\xaa\x12\x34\0\x10\0\0");
        let answer = Answer::parse(&message).unwrap();
        let signature = answer.signature.clone().unwrap();
        assert_eq!(
            (answer.id, answer.rcode, signature.at, signature.time),
            (0x1234, 5, 19, 7)
        );
        assert_eq!((signature.mac.as_slice(), signature.error), ([0xaa].as_slice(), 16));
        for end in 0..message.len() {
            assert_eq!(Answer::parse(&message[..end]), None, "{end}");
        }
        message.push(0);
        assert_eq!(Answer::parse(&message), None, "something behind the end");
    }
}
