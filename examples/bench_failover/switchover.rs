//! A planned switchover there and back while clients write.

use crate::{Setting, report};
use anyhow::{Context, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testbed::Result;
use testbed::imap::Imap;
use testbed::twins::{PASSWORD, USERS};

const WRITERS: usize = 4;
/// Each of the writers appends so often: 100 operations a second together.
const INTERVAL: Duration = Duration::from_millis(40);
/// How long there is only load, before and after each switchover.
const LOAD: Duration = Duration::from_secs(3);

/// Prints the figures of so many switchovers there and back.
pub(crate) fn measure(runs: usize) -> Result<()> {
    println!("A switchover under 100 operations/s of {WRITERS} clients, built-in proxy");
    let (mut gaps, mut verbs) = (Vec::new(), Vec::new());
    let mut answered = 0;
    for _ in 0..runs {
        let setting = Setting::start()?;
        for primary in [0, 1] {
            let (gap, verb, written) = one(&setting, primary)?;
            gaps.push(gap);
            verbs.push(verb);
            answered += written;
        }
    }
    report("longest time that a client got no answer", 0.25, gaps);
    report("`shadowctl switchover` from start to end", 1.0, verbs);
    println!("  {answered} appends were answered: each is there once");
    Ok(())
}

/// Switches away from this node; the longest gap, the verb's time (both in seconds) and how many messages were written.
fn one(setting: &Setting, primary: usize) -> Result<(f64, f64, usize)> {
    let (stop, port) = (AtomicBool::new(false), setting.port);
    let (writers, verb) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                scope.spawn({
                    let stop = &stop;
                    move || write(port, primary, number, stop)
                })
            })
            .collect();
        std::thread::sleep(LOAD);
        let began = Instant::now();
        let told = setting.twins.nodes[1 - primary].ask(&["switchover"]);
        let verb = began.elapsed().as_secs_f64();
        std::thread::sleep(LOAD);
        stop.store(true, Ordering::Relaxed);
        let writers: Result<Vec<_>> = writers
            .into_iter()
            .map(|writer| writer.join().ok().context("a writer panicked")?)
            .collect();
        told.and_then(|_| Ok((writers?, verb)))
    })?;
    for writer in &writers {
        is_there_once(port, writer)?;
    }
    let gap = writers
        .iter()
        .map(|writer| writer.gap.as_secs_f64())
        .fold(0.0, f64::max);
    Ok((gap, verb, writers.iter().map(|writer| writer.answered.len()).sum()))
}

/// What one writer did.
struct Written {
    user: &'static str,
    answered: Vec<String>,
    gap: Duration,
}

/// Appends at its rate until told to stop; where it is cut off, it logs in again and goes on with the next message.
fn write(port: u16, round: usize, number: usize, stop: &AtomicBool) -> Result<Written> {
    let user = USERS.get(number % USERS.len()).copied().context("a user")?;
    let (mut answered, mut gap, mut client) = (Vec::new(), Duration::ZERO, None::<Imap>);
    let mut last = Instant::now();
    for message in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let subject = format!("{round} {number} {message}");
        let Some(imap) = client.as_mut() else {
            client = Imap::login(port, user, PASSWORD).ok();
            continue;
        };
        match imap.append("INBOX", "", format!("Subject: {subject}\r\n\r\nx\r\n").as_bytes()) {
            Ok(reply) if reply.is_ok() => {
                answered.push(subject);
                gap = gap.max(last.elapsed().saturating_sub(INTERVAL));
                last = Instant::now();
                std::thread::sleep(INTERVAL);
            }
            _ => client = None,
        }
    }
    ensure!(answered.len() > 50, "only {} appends were answered", answered.len());
    Ok(Written { user, answered, gap })
}

fn is_there_once(port: u16, writer: &Written) -> Result<()> {
    let found = testbed::truth::subjects(&mut Imap::login(port, writer.user, PASSWORD)?, "INBOX")?;
    for subject in &writer.answered {
        let times = found.values().filter(|found| *found == subject).count();
        ensure!(times == 1, "{subject} is there {times} times");
    }
    Ok(())
}
