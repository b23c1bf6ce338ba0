//! Free TCP ports, below the kernel's ephemeral range: a client's own port never sits where a server restarts.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 24_000;
const COUNT: u16 = 7_000;

/// A port on 127.0.0.1 that nobody listens on, and that this process has not given out before.
///
/// # Panics
/// Where all ports of the range are taken.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // processes start at different places, so that two of them seldom ask for the same port at the same time
    let start = u16::try_from(std::process::id() * 61 % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let place = (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", FIRST + place)).is_ok() {
            return FIRST + place;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
