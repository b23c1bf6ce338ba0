//! Clients that idle, and log in again at once when they are cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testbed::Result;
use testbed::imap::Imap;
use testbed::twins::{PASSWORD, USERS};

/// How long a client waits after a refused login, as a human's program hardly would.
const AGAIN: Duration = Duration::from_millis(10);

/// The clients; each login of each is told with its time.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    logins: Receiver<(usize, Instant)>,
    clients: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// So many clients of this port.
    pub(crate) fn start(port: u16, clients: usize) -> Crowd {
        let (stop, (told, logins)) = (Arc::new(AtomicBool::new(false)), channel());
        let clients = (0..clients).map(|number| {
            let (stop, told) = (Arc::clone(&stop), told.clone());
            std::thread::spawn(move || live(port, number, &stop, &told))
        });
        Crowd {
            clients: clients.collect(),
            stop,
            logins,
        }
    }

    /// When each client's first login behind `since` was done, in seconds from then, the slowest last.
    ///
    /// # Errors
    /// Not all were let in within the limit.
    pub(crate) fn logins_since(&self, since: Instant) -> Result<Vec<f64>> {
        let mut first = vec![None; self.clients.len()];
        while first.iter().any(Option::is_none) {
            let (number, at) = self.logins.recv_timeout(super::LIMIT)?;
            if let Some(place) = first.get_mut(number).filter(|place| place.is_none() && at > since) {
                *place = Some(at.duration_since(since).as_secs_f64());
            }
        }
        let mut seconds: Vec<f64> = first.into_iter().flatten().collect();
        seconds.sort_by(f64::total_cmp);
        Ok(seconds)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // those that still idle end with their server
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn live(port: u16, number: usize, stop: &AtomicBool, told: &Sender<(usize, Instant)>) {
    let user = USERS.get(number % USERS.len()).copied().unwrap_or_default();
    while !stop.load(Ordering::Relaxed) {
        if idle_until_cut_off(port, number, user, told).is_err() {
            std::thread::sleep(AGAIN);
        }
    }
}

fn idle_until_cut_off(port: u16, number: usize, user: &str, told: &Sender<(usize, Instant)>) -> Result<()> {
    let mut imap = Imap::login(port, user, PASSWORD)?;
    imap.run("EXAMINE INBOX")?.must()?;
    told.send((number, Instant::now()))?;
    let mut idle = imap.idle()?;
    loop {
        idle.next_line()?;
    }
}
