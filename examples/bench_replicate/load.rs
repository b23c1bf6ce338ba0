//! Deliveries at a rate or flat out, and when each is seen on the copy.

use crate::corpus::{self, Profile};
use anyhow::{Context, Result, anyhow};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testbed::dovecot::{Dovecot, PASSWORD};
use testbed::imap::Imap;

/// Connections that deliver at the same time.
const CONNECTIONS: usize = 4;
/// How long to look for what has not been seen yet.
const PATIENCE: Duration = Duration::from_secs(60);

/// When each user's messages were accepted, or seen; users by their place in the list.
pub(crate) type Times = BTreeMap<usize, Vec<Instant>>;
/// Something arrived: this user has so many messages now.
type Arrival = (usize, u64, Instant);

/// What one connection delivered: whose, and when its 250 came.
type Accepted = Vec<(usize, Instant)>;

/// What a load was like.
pub(crate) struct Outcome {
    /// From the 250 until it was seen, of each message, in milliseconds.
    pub(crate) latencies_ms: Vec<f64>,
    /// From the last 250 until the last was seen, in seconds.
    pub(crate) drained_s: f64,
    /// Deliveries.
    pub(crate) messages: usize,
    /// Deliveries that were never seen.
    pub(crate) unseen: usize,
}

/// Delivers for `span`, at `rate` a second or, where that is 0, as fast as it goes; gives when each user's 250s came.
///
/// # Errors
/// A delivery fails.
pub(crate) fn deliver(server: &Dovecot, rate: f64, span: Duration) -> Result<Times> {
    let began = Instant::now();
    let threads: Vec<JoinHandle<Result<Accepted>>> = (0..CONNECTIONS)
        .map(|connection| {
            let (users, port) = (server.users().to_vec(), server.lmtp_port());
            std::thread::spawn(move || one_connection(connection, &users, port, rate, began, span))
        })
        .collect();
    let mut accepted: Times = BTreeMap::new();
    for thread in threads {
        for (user, at) in thread.join().map_err(|_| anyhow!("a sender panicked"))?? {
            accepted.entry(user).or_default().push(at);
        }
    }
    Ok(accepted)
}

/// Users of one connection are of no other, so that each user's messages stay in order.
fn one_connection(
    connection: usize,
    users: &[String],
    port: u16,
    rate: f64,
    began: Instant,
    span: Duration,
) -> Result<Accepted> {
    let mut lmtp = testbed::lmtp::Lmtp::connect(port)?;
    let pool: Vec<Vec<u8>> = (0..50)
        .map(|n| corpus::message(Profile::Small, 1_000_000 + n))
        .collect();
    let mut accepted = Vec::new();
    let mut number = connection;
    loop {
        if rate > 0.0 {
            let due = Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        if began.elapsed() >= span {
            return Ok(accepted);
        }
        let user = number % users.len();
        let (Some(name), Some(text)) = (users.get(user), pool.get(number % pool.len())) else {
            anyhow::bail!("no users");
        };
        lmtp.deliver(name, text)?;
        accepted.push((user, Instant::now()));
        number += CONNECTIONS;
    }
}

/// Delivers while `watch` looks, and compares.
///
/// # Errors
/// A delivery fails.
pub(crate) fn run(server: &Dovecot, watch: &mut Watch, rate: f64, span: Duration) -> Result<Outcome> {
    watch.forget();
    let accepted = deliver(server, rate, span)?;
    let messages = accepted.values().map(Vec::len).sum::<usize>();
    let last = accepted
        .values()
        .flatten()
        .max()
        .copied()
        .context("nothing was delivered")?;
    let seen = watch.until_seen(&accepted);
    let mut latencies_ms = Vec::new();
    let mut seen_last = last;
    for (user, times) in &accepted {
        let arrivals = seen.get(user).map_or(&[][..], Vec::as_slice);
        for (accepted, arrived) in times.iter().zip(arrivals) {
            latencies_ms.push(arrived.saturating_duration_since(*accepted).as_secs_f64() * 1000.0);
            seen_last = seen_last.max(*arrived);
        }
    }
    Ok(Outcome {
        drained_s: seen_last.duration_since(last).as_secs_f64(),
        messages,
        unseen: messages - latencies_ms.len(),
        latencies_ms,
    })
}

/// Sees mail arrive on a copy.
pub(crate) struct Watch {
    arrivals: Receiver<Arrival>,
    counts: BTreeMap<usize, u64>,
    stop: Arc<AtomicBool>,
    // ends with this
    _files: Option<RecommendedWatcher>,
}

impl Watch {
    /// As clients of the embedded store do: one IDLE a user.
    ///
    /// # Errors
    /// A user can't log in.
    pub(crate) fn by_idle(port: u16, users: &[String]) -> Result<Watch> {
        let (sender, arrivals) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut counts = BTreeMap::new();
        for (number, user) in users.iter().enumerate() {
            let mut imap = Imap::login(port, user, PASSWORD)?;
            let opened = imap.run("EXAMINE INBOX")?.must()?;
            let there = opened
                .all(1, "EXISTS")
                .last()
                .and_then(|a| a.first())
                .and_then(|n| n.number());
            counts.insert(number, there.unwrap_or(0));
            let (sender, stop) = (sender.clone(), Arc::clone(&stop));
            std::thread::spawn(move || follow(imap, number, &sender, &stop));
        }
        Ok(Watch {
            arrivals,
            counts,
            stop,
            _files: None,
        })
    }

    /// As files appear in maildirs: Dovecot's own IDLE waits half a second on purpose.
    ///
    /// # Errors
    /// A folder can't be watched.
    pub(crate) fn by_files(copy: &Dovecot) -> Result<Watch> {
        let (sender, arrivals) = channel();
        let homes: Vec<PathBuf> = copy.users().iter().map(|user| copy.home(user)).collect();
        let mut counts: BTreeMap<usize, u64> = (0..homes.len()).map(|user| (user, 0)).collect();
        let owners = homes.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let at = Instant::now();
            for file in moved_in(event) {
                if let Some(user) = owners.iter().position(|home| file.starts_with(home)) {
                    let count = counts.entry(user).or_default();
                    *count += 1;
                    // the receiver may have gone: then nobody asks any more
                    _ = sender.send((user, *count, at));
                }
            }
        })?;
        for home in &homes {
            for part in ["Maildir/new", "Maildir/cur"] {
                watcher.watch(&home.join(part), RecursiveMode::NonRecursive)?;
            }
        }
        Ok(Watch {
            arrivals,
            counts: (0..homes.len()).map(|user| (user, 0)).collect(),
            stop: Arc::new(AtomicBool::new(false)),
            _files: Some(watcher),
        })
    }

    /// What was there before a load doesn't count.
    fn forget(&mut self) {
        while let Ok((user, count, _)) = self.arrivals.try_recv() {
            self.counts.insert(user, count);
        }
    }

    /// Waits until all of it was seen, or patience ends; gives when each user's messages came.
    fn until_seen(&mut self, accepted: &Times) -> Times {
        let deadline = Instant::now() + PATIENCE;
        let mut seen: Times = BTreeMap::new();
        let mut missing = accepted.values().map(Vec::len).sum::<usize>();
        while missing > 0 {
            let rest = deadline.saturating_duration_since(Instant::now());
            let Ok((user, count, at)) = self.arrivals.recv_timeout(rest) else {
                break;
            };
            let known = self.counts.entry(user).or_default();
            let new = count.saturating_sub(*known);
            *known = count;
            missing = missing.saturating_sub(usize::try_from(new).unwrap_or(0));
            let times = seen.entry(user).or_default();
            times.extend((0..new).map(|_| at));
        }
        seen
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn moved_in(event: notify::Result<notify::Event>) -> Vec<PathBuf> {
    use notify::EventKind;
    use notify::event::{ModifyKind, RenameMode};
    match event {
        Ok(event) if matches!(event.kind, EventKind::Modify(ModifyKind::Name(RenameMode::To))) => event.paths,
        _ => Vec::new(),
    }
}

fn follow(imap: Imap, user: usize, sender: &Sender<Arrival>, stop: &AtomicBool) {
    let Ok(mut idle) = imap.idle() else { return };
    while let Ok(line) = idle.next_line() {
        let at = Instant::now();
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["*", count, "EXISTS"] = words.as_slice()
            && let Ok(count) = count.parse()
            && (sender.send((user, count, at)).is_err() || stop.load(Ordering::Relaxed))
        {
            return;
        }
    }
}
