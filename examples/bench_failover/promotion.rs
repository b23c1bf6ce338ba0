//! The primary dies; its copy is promoted with a backlog, and many clients want in.

use crate::crowd::Crowd;
use crate::{LIMIT, SILENCE, Setting, report};
use anyhow::{Context, ensure};
use std::time::Instant;
use testbed::imap::Imap;
use testbed::twins::{PASSWORD, USERS};
use testbed::{Result, process};

const CLIENTS: usize = 100;
const BACKLOG: usize = 1_000;

/// Prints the figures of so many promotions.
pub(crate) fn measure(runs: usize) -> Result<()> {
    println!(
        "A promotion: {CLIENTS} clients that idled, {BACKLOG} operations on the copy's disk not applied, built-in proxy"
    );
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..runs {
        for (figure, seconds) in figures.iter_mut().zip(one()?) {
            figure.push(seconds);
        }
    }
    let [first, last, verb] = figures;
    report("first client logged in, from the start of `promote`", 1.0, first);
    report("last of all clients logged in", 1.0, last);
    report("`shadowctl promote` from start to end", 1.0, verb);
    Ok(())
}

fn one() -> Result<[f64; 3]> {
    let mut setting = Setting::start()?;
    write(setting.port, 10)?;
    setting.twins.nodes[0].ask(&["wait", "--timeout", "60s"])?;
    let crowd = Crowd::start(setting.port, CLIENTS);
    crowd.logins_since(Instant::now())?;
    setting.twins.nodes[1].ask(&["pause"])?;
    write(setting.port, BACKLOG)?;
    durable_but_not_applied(&setting)?;
    setting.twins.nodes[0].kill()?;
    std::thread::sleep(SILENCE);
    let began = Instant::now();
    let told = setting.twins.nodes[1].ask(&["promote"])?;
    let verb = began.elapsed().as_secs_f64();
    ensure!(told["loss"]["operations"] == 0, "{told}");
    let seconds = crowd.logins_since(began)?;
    let (first, last) = (seconds.first().copied(), seconds.last().copied());
    ensure!(setting.proxy.process_id().is_some());
    Ok([first.context("no client")?, last.context("no client")?, verb])
}

/// So many appends, from four clients at once.
fn write(port: u16, messages: usize) -> Result<()> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4usize)
            .map(|n| scope.spawn(move || append(port, n, messages / 4)))
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().ok().context("a client panicked")?)
    })
}

fn append(port: u16, client: usize, messages: usize) -> Result<()> {
    let mut imap = Imap::login(port, USERS[client % USERS.len()], PASSWORD)?;
    for number in 0..messages {
        let octets = format!("Subject: {client} {number}\r\n\r\ntext\r\n");
        imap.append("INBOX", "(\\Seen) ", octets.as_bytes())?.must()?;
    }
    Ok(())
}

/// Until the whole backlog is on the copy's disk.
fn durable_but_not_applied(setting: &Setting) -> Result<()> {
    let lsn = |name: &str| -> Result<u64> {
        let status = setting.twins.nodes[1].status()?;
        let lsn = status.pointer(&format!("/lsn/{name}"));
        lsn.and_then(serde_json::Value::as_u64)
            .with_context(|| format!("no {name} in {status}"))
    };
    process::until("the backlog is on the copy's disk", LIMIT, || {
        Ok(lsn("durable")? >= lsn("applied")? + (BACKLOG as u64))
    })
}
