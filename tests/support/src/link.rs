//! A network link of our own: a TCP relay with a rate, a delay, and everything that happens to links.

use crate::Result;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bytes that are carried at a time.
const PIECE_BYTES: usize = 8 << 10;
/// How soon a change of the link is noticed.
const LOOK: Duration = Duration::from_millis(20);

/// What a link is like.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// One way.
    pub delay: Duration,
    /// In each direction.
    pub bytes_per_second: u64,
}

/// A link to one address. It ends when this is dropped.
#[derive(Debug)]
pub struct Link {
    state: Arc<State>,
    port: u16,
}

#[derive(Debug)]
struct State {
    quality: Quality,
    to: String,
    open: Mutex<Vec<TcpStream>>,
    carried: AtomicU64,
    /// Nothing arrives any more, and nobody is told.
    silent: AtomicBool,
    /// The next piece towards the address arrives with another byte in it.
    spoil: AtomicBool,
    ended: AtomicBool,
}

impl Link {
    /// A link to `to` (host and port).
    pub fn to(to: &str, quality: Quality) -> Result<Link> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            quality,
            to: to.to_owned(),
            open: Mutex::default(),
            carried: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            spoil: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || serving.serve(&listener));
        Ok(Link { state, port })
    }

    /// Where it begins, as in `127.0.0.1:4790`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Bytes that arrived at the address so far.
    pub fn carried(&self) -> u64 {
        self.state.carried.load(Ordering::Relaxed)
    }

    /// Ends all connections; new ones may be made.
    pub fn cut(&self) {
        self.state.silent.store(false, Ordering::Relaxed);
        for stream in self.state.open().drain(..) {
            // It may be gone already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// From now on nothing arrives on the open connections, as behind a firewall that forgot them. New ones are like
    /// the old ones until [`Self::cut`].
    pub fn fall_silent(&self) {
        self.state.silent.store(true, Ordering::Relaxed);
    }

    /// Harms one byte on its way to the address.
    pub fn spoil_a_byte(&self) {
        self.state.spoil.store(true, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes whoever accepts.
        drop(TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port))));
    }
}

impl State {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for near in listener.incoming() {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            // An address that does not answer is a link that ends at once.
            if let Ok(near) = near
                && let Ok(far) = TcpStream::connect(&self.to)
                && let Err(error) = self.join(near, far)
            {
                eprintln!("link to {}: {error}", self.to);
            }
        }
    }

    fn join(self: &Arc<Self>, near: TcpStream, far: TcpStream) -> std::io::Result<()> {
        for stream in [&near, &far] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LOOK))?;
            self.open().push(stream.try_clone()?);
        }
        self.carry(near.try_clone()?, far.try_clone()?, true);
        self.carry(far, near, false);
        Ok(())
    }

    /// One direction: a thread that takes in at the link's rate, one that gives out after its delay. Between them is as
    /// much as is on its way on such a link, and a small queue.
    fn carry(self: &Arc<Self>, from: TcpStream, into: TcpStream, counts: bool) {
        let on_its_way =
            u64::try_from(self.quality.delay.as_millis()).unwrap_or(0) * self.quality.bytes_per_second / 1000;
        let pieces = usize::try_from(on_its_way).unwrap_or(0) / PIECE_BYTES + 16;
        let (taken, giving) = sync_channel(pieces);
        let (state, other) = (Arc::clone(self), Arc::clone(self));
        std::thread::spawn(move || state.take_in(from, &taken, counts));
        std::thread::spawn(move || other.give_out(into, &giving, counts));
    }

    fn take_in(&self, mut from: TcpStream, taken: &SyncSender<(Instant, Vec<u8>)>, counts: bool) {
        let mut piece = vec![0; PIECE_BYTES];
        let mut free_at = Instant::now();
        loop {
            let read = match from.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.ended.load(Ordering::Relaxed) {
                        return;
                    }
                    continue;
                }
                Err(_) => return,
            };
            if self.silent.load(Ordering::Relaxed) {
                continue;
            }
            let mut bytes = piece.get(..read).unwrap_or_default().to_vec();
            if counts
                && self.spoil.swap(false, Ordering::Relaxed)
                && let Some(byte) = bytes.last_mut()
            {
                *byte ^= 0x10;
            }
            let wire = Duration::from_secs_f64(read as f64 / self.quality.bytes_per_second as f64);
            free_at = free_at.max(Instant::now()) + wire;
            sleep(free_at.saturating_duration_since(Instant::now()));
            if taken.send((free_at + self.quality.delay, bytes)).is_err() {
                return;
            }
        }
    }

    fn give_out(&self, mut into: TcpStream, taken: &Receiver<(Instant, Vec<u8>)>, counts: bool) {
        while let Ok((at, bytes)) = taken.recv() {
            sleep(at.saturating_duration_since(Instant::now()));
            if self.silent.load(Ordering::Relaxed) {
                continue;
            }
            if into.write_all(&bytes).is_err() {
                return;
            }
            if counts {
                self.carried.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        }
        // The other side has ended.
        drop(into.shutdown(Shutdown::Write));
    }
}
