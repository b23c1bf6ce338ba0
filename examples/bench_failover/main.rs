//! How long clients are kept out by a failover: two embedded nodes, clients behind the built-in proxy on a node of its own,
//! all on this machine.
//!
//! `cargo run --release --example bench_failover [RUNS]` (default 3). Two parts, each on fresh nodes for every run:
//!
//! - a promotion: 100 clients idle when the primary is killed; the copy has 1,000 operations on its disk that it has not
//!   applied;
//! - a switchover: 100 operations a second go on all the time; nothing that was answered may be missing or doubled.

#![expect(clippy::print_stdout, reason = "it is here to show something")]
#![expect(
    clippy::indexing_slicing,
    reason = "a figure that is not there ends the run, as it should"
)]

mod crowd;
mod promotion;
mod switchover;

use std::time::Duration;
use testbed::Result;
use testbed::node::{Node, Programs};
use testbed::twins::Twins;

/// How long a silent primary counts as alive, and a little more.
const SILENCE: Duration = Duration::from_millis(3_200);
/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Both nodes, and the proxy before them.
struct Setting {
    // the order of the fields is the order of their end
    proxy: Node,
    port: u16,
    twins: Twins,
}

impl Setting {
    fn start() -> Result<Setting> {
        let programs = Programs::beside_this_example()?;
        let mut twins = Twins::configure(&programs, "")?;
        let (mut proxy, port) = twins.proxy(&programs)?;
        twins.nodes.iter_mut().try_for_each(Node::start)?;
        proxy.start()?;
        Ok(Setting { proxy, port, twins })
    }
}

/// The median of the runs with their span, in seconds, beside the goal.
fn report(name: &str, goal: f64, mut runs: Vec<f64>) {
    runs.sort_by(f64::total_cmp);
    let at = |place: usize| runs.get(place).copied().unwrap_or(f64::NAN);
    let (median, least, most) = (at(runs.len() / 2), at(0), at(runs.len().saturating_sub(1)));
    let verdict = if median <= goal { "reached" } else { "MISSED" };
    println!("  {name:<58} {median:.3} ({least:.3}-{most:.3}) s   goal ≤ {goal:.2}: {verdict}");
}

fn main() -> Result<()> {
    let runs: usize = std::env::args().nth(1).map_or(Ok(3), |n| n.parse())?;
    promotion::measure(runs)?;
    switchover::measure(runs)
}
