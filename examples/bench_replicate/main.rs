//! What replication costs and how fast it is, beside the peers that do the same job, in one run on one machine.
//!
//! ```sh
//! cargo build --release && cargo run --release --example bench_replicate -- --help
//! ```
//!
//! Each part runs ours and the peer in turns (A B A B), so that both meet the same noise, and prints the median with the
//! least and the most of the runs, and the ratio of each pair. All of it is kept as JSON too. It needs root, Dovecot 2.3 and
//! 2.4 (`packaging/prerequisites` installs them).
//!
//! | part | ours | peer |
//! |---|---|---|
//! | `copy` | initial copy into an empty standby | `doveadm backup` over TLS, user after user |
//! | `latency` | LMTP's 250 until a client of the copy sees it | the replicator of Dovecot 2.3 |
//! | `cost` | processor time of live mail that nobody looks at, and of quiet | – |
//! | `rate` | deliveries a second while it is replicated | the same Dovecot alone, and with the replicator |
//! | `change` | one change in a mailbox of 100,000 messages | the same change in one of 1,000 |
//! | `move` | a MOVE of 50,000 messages | – |
//! | `mailboxes` | memory and idle CPU with many mailboxes | – |
//! | `hot` | a mailbox whose log rotates every few seconds, also with our node stopped for a minute | – |
//! | `converge` | equal soon after the end of a load, again and again | – |

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

mod change;
mod converge;
mod copy;
mod corpus;
mod cost;
mod hot;
mod latency;
mod load;
mod mailboxes;
mod meter;
mod peer;
mod rate;
mod report;
mod setting;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use report::Report;
use setting::Setting;
use std::path::PathBuf;

/// Ratios against the peers, measured in pairs.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_values_t = Part::ALL)]
    parts: Vec<Part>,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// A hundredth of the sizes, to see that it works; its figures say nothing.
    #[arg(long)]
    quick: bool,
    /// Where the figures are kept.
    #[arg(long, default_value = "target/bench_replicate.json")]
    json: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Copy,
    Latency,
    Cost,
    Rate,
    Change,
    Move,
    Mailboxes,
    Hot,
    Converge,
}

impl Part {
    const ALL: [Part; 9] = [
        Part::Copy,
        Part::Latency,
        Part::Cost,
        Part::Rate,
        Part::Change,
        Part::Move,
        Part::Mailboxes,
        Part::Hot,
        Part::Converge,
    ];
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.runs > 0, "--runs 0 measures nothing");
    let setting = Setting::new(arguments.runs, arguments.quick)?;
    let mut report = Report::new(&arguments.json);
    println!("{}", setting.describe());
    for part in &arguments.parts {
        match part {
            Part::Copy => copy::measure(&setting, &mut report)?,
            Part::Latency => latency::measure(&setting, &mut report)?,
            Part::Cost => cost::measure(&setting, &mut report)?,
            Part::Rate => rate::measure(&setting, &mut report)?,
            Part::Change => change::measure(&setting, &mut report)?,
            Part::Move => change::measure_move(&setting, &mut report)?,
            Part::Mailboxes => mailboxes::measure(&setting, &mut report)?,
            Part::Hot => hot::measure(&setting, &mut report)?,
            Part::Converge => converge::measure(&setting, &mut report)?,
        }
        report.keep()?;
    }
    println!("\nkept in {}", arguments.json.display());
    Ok(())
}
