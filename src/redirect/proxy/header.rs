//! The PROXY protocol, version 2: who the client is, ahead of its own bytes.
//! <https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>, section 2.2.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header for a client at `client` who connected to `here`.
pub(super) fn encode(client: SocketAddr, here: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(VERSION_PROXY);
    match (client.ip().to_canonical(), here.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([TCP_OVER_IPV4, 0, 12]);
            header.extend(from.octets());
            header.extend(to.octets());
        }
        (from, to) => {
            header.extend([TCP_OVER_IPV6, 0, 36]);
            header.extend(six(from));
            header.extend(six(to));
        }
    }
    header.extend(client.port().to_be_bytes());
    header.extend(here.port().to_be_bytes());
    header
}

fn six(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => six.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_told_as_the_specification_draws_them() {
        let header = |client: &str, here: &str| encode(client.parse().unwrap(), here.parse().unwrap());
        let four = header("192.0.2.7:50000", "10.0.0.1:143");
        assert_eq!(
            four,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\xc3\x50\0\x8f"
        );
        assert_eq!(header("[::ffff:192.0.2.7]:50000", "[::ffff:10.0.0.1]:143"), four);
        let six = header("[2001:db8::7]:1", "[2001:db8::1]:993");
        assert_eq!((six.len(), &six[12..16]), (16 + 36, b"\x21\x21\0\x24".as_slice()));
        assert_eq!(&six[six.len() - 4..], [0, 1, 3, 0xe1]);
    }
}
